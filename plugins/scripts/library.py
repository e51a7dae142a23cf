"""The script library: the operator's folders, then the bundled one.

It is read anew at every use, so a new script is there at once. `system/` is served by the bundled folder only, whatever
another holds. A file is opened beneath its root part by part, following no link, so that nothing outside a root can be
reached by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kernel import BadInput, NotFound, TooLarge, iso, nearest

from .names import INLINE, SUFFIX, SYSTEM, candidates, check_name, module_candidates

HEADER_LINES: Final = 60
"""How far into a script its description is looked for."""
LISTED_MOST: Final = 5_000

_DESCRIPTION = re.compile(r"""\s*description\s*:\s*(["']?)(?P<text>.+?)\1\s*$""")
_COMMENT = re.compile(r"\s*(#|//)\s*(?P<text>.*?)\s*$")
_BELOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that scripts are served from."""

    path: Path
    bundled: bool


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it was read: its name below the root, its text, and the hash of its bytes."""

    name: str
    source: str
    hash: str
    bundled: bool


class Listed(msgspec.Struct, frozen=True):
    """A script in the list."""

    name: str
    description: str
    root: str
    """`bundled`, or `operator` for one of the operator's folders."""
    size: int
    modified_at: str


class Library:
    """Finds and lists scripts. `source_kb` bounds what is read."""

    def __init__(self, roots: Sequence[Root], source_kb: int) -> None:
        self.roots = tuple(roots)
        self._most = source_kb * 1024
        self._listed: list[Listed] | None = None

    # Finding -----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Script:
        """Return the script: `NAME`, else `system/NAME`; `NotFound` with the nearest name when there is neither."""
        checked = check_name(name)
        found = self._first(candidates(checked))
        if found is None:
            raise self._unknown(name, checked)
        return found

    def module(self, path: str) -> Script:
        """Return the script that a module path stands for; `NotFound` when no root has one."""
        for candidate in module_candidates(path):
            found = self._first((candidate,))
            if found is not None:
                return found
        raise NotFound(f"there is no module {path[:80]!r} in the script folders", details={"module": path[:80]})

    def _first(self, names: Sequence[str]) -> Script | None:
        for name in names:
            for root in self.roots:
                if _serves(root, name):
                    data = self._read(root, name)
                    if data is not None:
                        return Script(name, _text(data, name), hashlib.sha256(data).hexdigest(), root.bundled)
        return None

    def _read(self, root: Root, name: str) -> bytes | None:
        with contextlib.ExitStack() as opened:
            try:
                fd = os.open(root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.callback(os.close, fd)
                *folders, last = name.split("/")
                for folder in folders:
                    fd = os.open(folder, _BELOW | os.O_DIRECTORY, dir_fd=fd)
                    opened.callback(os.close, fd)
                # A FIFO in the folder must not hold the hub.
                fd = os.open(last, _BELOW | os.O_NONBLOCK, dir_fd=fd)
                opened.callback(os.close, fd)
            except OSError:
                return None  # not there, not readable, or a link: all the same to whoever asks by name
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                return None
            if about.st_size > self._most:
                raise _too_large(name, about.st_size, self._most)
            return _whole(fd, self._most, name)

    def _unknown(self, name: str, checked: str) -> NotFound:
        known = [listed.name for listed in self.list()]
        close = nearest(checked, known) or nearest(checked, [one.removeprefix(f"{SYSTEM}/") for one in known])
        return NotFound(
            f"there is no script {name[:80]!r}" + (f"; did you mean {close!r}?" if close else ""),
            details={"type": "ScriptNotFound", "script_name": name[:80]},
            code="SCRIPT_NOT_FOUND",
        )

    # Listing -----------------------------------------------------------------------------------------------------

    def list(self) -> Sequence[Listed]:
        """Return all scripts by name, each once; kept until a change is noticed."""
        if self._listed is None:
            found: dict[str, Listed] = {}
            for root in self.roots:
                for name, path in _files(root):
                    if name not in found and _serves(root, name) and len(found) < LISTED_MOST:
                        listed = _listed(root, name, path)
                        if listed is not None:
                            found[name] = listed
            self._listed = [found[name] for name in sorted(found)]
        return self._listed

    async def watch(self, stop: asyncio.Event, changed: Callable[[Sequence[str]], None]) -> None:
        """Forget the list whenever something in a root changes, and tell which scripts; until `stop`."""
        from watchfiles import awatch  # costs 30 ms to import, and the hub listens first

        there = [root.path for root in self.roots if root.path.is_dir()]
        if not there:
            await stop.wait()
            return
        async for changes in awatch(*there, stop_event=stop, step=20, debounce=50, recursive=True):
            self._listed = None
            names = {self._name_of(Path(path)) for _, path in changes} - {""}
            if names:
                changed(sorted(names))

    def forget_list(self) -> None:
        """Read the folders anew at the next question."""
        self._listed = None

    def _name_of(self, path: Path) -> str:
        for root in self.roots:
            if path.suffix == SUFFIX and path.is_relative_to(root.path):
                return path.relative_to(root.path).as_posix()
        return ""


def _serves(root: Root, name: str) -> bool:
    first = name.partition("/")[0]
    return first != INLINE and (root.bundled or first != SYSTEM)


def _files(root: Root) -> Iterator[tuple[str, Path]]:
    for folder, folders, files in os.walk(root.path, followlinks=False):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            path = Path(folder) / file
            if file.endswith(SUFFIX) and not path.is_symlink():
                name = path.relative_to(root.path).as_posix()
                with contextlib.suppress(BadInput):
                    yield check_name(name), path


def _listed(root: Root, name: str, path: Path) -> Listed | None:
    try:
        about = path.stat()
        with path.open("rb") as file:
            head = file.read(16 * 1024).decode("utf-8", "replace")
    except OSError:
        return None  # it went away meanwhile
    return Listed(
        name,
        description(head),
        "bundled" if root.bundled else "operator",
        about.st_size,
        iso(about.st_mtime),
    )


def description(source: str) -> str:
    """Return what a script's header says about it: its `description:`, else its first comment, else nothing."""
    comment = ""
    for line in source.splitlines()[:HEADER_LINES]:
        described = _DESCRIPTION.match(line)
        if described is not None:
            return described["text"][:300]
        remark = _COMMENT.match(line)
        if remark is not None and not comment and not remark["text"].startswith(("@", "!")):
            comment = remark["text"].strip("-=# ")[:300]
    return comment


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{name} is not UTF-8: byte {error.start + 1} cannot be read",
            details={"type": "InvalidScript", "script_name": name},
            code="INVALID_SCRIPT",
        ) from None


def _whole(fd: int, most: int, name: str) -> bytes:
    parts, size = [], 0
    while part := os.read(fd, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(name, size, most)
    return b"".join(parts)


def _too_large(name: str, size: int, most: int) -> TooLarge:
    return TooLarge(
        f"{name} has {size} bytes; a script has at most {most} (limit source_kb)",
        details={"type": "ScriptTooLarge", "script_name": name},
        code="SCRIPT_TOO_LARGE",
    )
