"""Where the policy for a verb comes from: the hub that runs, its folder, or files that are named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kernel import Config

from . import rules
from .folder import read_folder, read_words
from .policy import NetworkSettings, Policy
from .rules import FILE_BYTES, MAIN, Mistake
from .words import Words


class InForceFiles(msgspec.Struct, frozen=True):
    """The files that make the policy in force, by name, and what the environment adds.

    `closed` says why there are none: the policy could not be loaded.
    """

    hash: str
    closed: str | None
    network: NetworkSettings
    files: dict[str, str]

    def policy(self, words: Words) -> Policy:
        """Return the policy that they make."""
        if self.closed is not None:
            return Policy.shut(self.closed, words)
        return Policy.load({name: text.encode() for name, text in self.files.items()}, words, self.network)


def words_of(config: Config) -> Words:
    """Return the table of words."""
    return read_words(config.paths.bundled_policies)


def folder_of(config: Config) -> Path:
    """Return the folder that a hub would read: at a first start it copies the one that ships."""
    paths = config.paths
    at_first_start = not paths.policies.exists() and paths.policies == paths.home / "policies"
    return paths.bundled_policies if at_first_start else paths.policies


def network_of(config: Config) -> NetworkSettings:
    """Return what the settings add to the network part."""
    return NetworkSettings(config.network.strict, tuple(config.network.allowlist))


def sources_at(path: Path) -> Mapping[str, bytes]:
    """Return the policy files of a folder, or a single file as the main one; raise `Mistake` for what is neither."""
    if path.is_dir():
        return read_folder(path)
    return {MAIN: read_file(path)}


def sources_of(paths: list[Path]) -> Mapping[str, bytes]:
    """Return files that lie in several folders, the first as the main one, the others under their own names."""
    first, *others = paths
    found = {MAIN: read_file(first)}
    for path in others:
        if path.name in found:
            raise Mistake(str(path), None, f"another file is called {path.name} already")
        found[path.name] = read_file(path)
    return found


def read_file(path: Path) -> bytes:
    """Return the content of one file; raise `Mistake` where it cannot be read."""
    try:
        with path.open("rb") as source:
            return source.read(FILE_BYTES + 1)
    except OSError as error:
        raise Mistake(str(path), None, f"cannot be read: {error.strerror or error}") from None


def policy_at(path: Path, config: Config) -> Policy:
    """Return the policy of a folder or file, as a hub would read it; raise `Mistake` where it would not take it."""
    return Policy.load(sources_at(path), words_of(config), network_of(config))


def mistakes_at(path: Path, config: Config) -> list[Mistake]:
    """Return the first mistake of each file of a folder; where each is right by itself, that of all together."""
    words, found = words_of(config), []
    try:
        sources = sources_at(path)
    except Mistake as mistake:
        return [mistake]
    for name in sorted(sources):
        try:
            rules.read(name, sources[name], words)
        except Mistake as mistake:
            found.append(mistake)
    if not found:
        try:
            Policy.load(sources, words, network_of(config))
        except Mistake as mistake:
            found.append(mistake)
    return found
