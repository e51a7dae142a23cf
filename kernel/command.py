"""Verbs that plugins add to the `aether` command: finding them without a hub, and the `Terminal` they are given first.

A verb runs in the terminal's own process. The hub does the work; the verb asks and prints.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from kernel.config import Config
from kernel.contribution import Command, Contribution, Owned
from kernel.errors import LoadError
from kernel.folders import Folder, plugin_folders
from kernel.loader import Loader, Source
from kernel.watch import entries

log = logging.getLogger("kernel.command")


class Terminal(Protocol):
    """The terminal a command runs in, and its line to the hub over `HOME/hub.sock`.

    Whoever may open that socket is the hub's own user, so a verb acts as `core:console`, with the role admin.
    """

    @property
    def home(self) -> Path:
        """The hub's HOME."""
        ...

    @property
    def config(self) -> Config:
        """The settings that count for this command line: its folders above all."""
        ...

    @property
    def json(self) -> bool:
        """True when the user asked for `--json`: print data, no tables."""
        ...

    @property
    def console(self) -> Any:
        """The rich console on standard output."""
        ...

    def print(self, value: Any = "") -> None:
        """Print a line of text or a rich renderable; under `--json`, `value` as one line of JSON."""
        ...

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows under a head; cells are text or rich's `Text`. A column without a word is left out.

        Only the last column is cut to fit the terminal, so what is copied from the others is whole.
        """
        ...

    async def request(self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Ask the hub and return its decoded answer.

        Raises the `AetherraError` that the hub's answer stands for, and `ServiceUnavailable` with the code
        `HUB_NOT_RUNNING` when nobody answers.
        """
        ...

    def stream(
        self, path: str, *, method: str = "GET", json: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a stream as the hub sends them: `seq`, `topic`, `time`, `data`, `source`, `trace`.

        A stream of typed values yields those values. Raises as `request` does, also for an error that ends the stream.
        """
        ...


def load_commands(config: Config) -> dict[str, Owned[Command]]:
    """Return the verbs of bundled plugins and of trusted folders, by name, each with its plugin's name as owner.

    Only imports: no store, no policy, no hub. A plugin that cannot be loaded is logged and left out, and so is a verb
    whose name is that of a group which others have made, or the other way round.
    """
    found: dict[str, Owned[Command]] = {}
    groups: dict[str, str] = {}
    for contribution in _contributions(config):
        for command in contribution.commands:
            verb = found.get(command.group or "")
            if verb is not None:
                _left_out(command, contribution.name, f"`aether {verb.item.name}` of {verb.owner} is a verb, no group")
            elif command.name in groups:
                _left_out(command, contribution.name, f"{groups[command.name]} has made it a group")
            else:
                if command.group is not None:
                    groups.setdefault(command.group, contribution.name)
                found.setdefault(command.name, Owned(command, contribution.name))
    return found


def _left_out(command: Command, plugin: str, why: str) -> None:
    log.warning("the verb `aether %s` of %s is left out: %s", command.name, plugin, why)


def load_settings(config: Config) -> None:
    """Let the plugins of the same folders claim their settings, so that `config` can tell them; raise for a wrong one.

    As a hub does at its start, but without a store, a policy, or any of them opened.
    """
    for name, struct in plugin_settings(config).items():
        config.plugin(name, struct)


def plugin_settings(config: Config) -> dict[str, type[msgspec.Struct]]:
    """Return the Struct of each plugin of the same folders that has settings, by the plugin's name."""
    return {c.name: c.settings for c in _contributions(config) if c.settings is not None}


def _contributions(config: Config) -> Iterator[Contribution]:
    for found in loaded(config):
        if found.contribution is not None:
            yield found.contribution
        else:
            log.warning("%s: %s", found.path.name, found.reason)


class Loaded(msgspec.Struct, frozen=True):
    """A plugin that was imported without a hub, or the reason why it could not be."""

    name: str
    path: Path
    folder: Folder
    contribution: Contribution | None
    reason: str = ""


def loaded(config: Config) -> Iterator[Loaded]:
    """Import what a hub would: bundled plugins and those of trusted folders, the first of each name."""
    folders = plugin_folders(config)
    loader = Loader(folder.path for folder in folders if folder.bundled)
    loader.install()
    seen: set[str] = set()
    for folder in folders:
        if not (folder.bundled or folder.trusted):
            continue
        for path in entries(folder.path):
            if not (folder.packages if path.is_dir() else folder.files):
                continue
            try:
                source = Source.read(path)
                if source.name in seen:
                    continue  # the first folder's counts, as in a hub
                _, contribution = loader.load_now(f"plugins/{source.name}@0", source)
            except LoadError as error:
                yield Loaded(path.stem, path, folder, None, error.message)
                continue
            seen.add(source.name)
            yield Loaded(source.name, path, folder, contribution)
