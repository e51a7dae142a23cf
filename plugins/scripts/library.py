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
        self._changes = 0
        self._watched: frozenset[Path] = frozenset()

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
        with _opened(root, name) as fd:
            if fd is None:
                return None
            size = os.fstat(fd).st_size
            if size > self._most:
                raise _too_large(name, size, self._most)
            return _whole(fd, self._most, name)

    def _unknown(self, name: str, checked: str) -> NotFound:
        # Without the suffix, which all have in common and which would make any two names look alike.
        known: dict[str, str] = {}
        for listed in self.list():
            stem = listed.name.removesuffix(SUFFIX)
            known[stem] = listed.name
            known.setdefault(stem.removeprefix(f"{SYSTEM}/"), listed.name)
        close = nearest(checked.removesuffix(SUFFIX), known)
        return NotFound(
            f"there is no script {name[:80]!r}" + (f"; did you mean {known[close]!r}?" if close else ""),
            details={"type": "ScriptNotFound", "script_name": name[:80]},
            code="SCRIPT_NOT_FOUND",
        )

    # Listing -----------------------------------------------------------------------------------------------------

    def list(self) -> Sequence[Listed]:
        """Return all scripts by name, each once; while the folders are watched, kept until a change is noticed."""
        # A folder that came after the watch began is not watched, so nothing would be noticed there.
        unwatched = any(root.path not in self._watched and root.path.is_dir() for root in self.roots)
        listed = None if unwatched else self._listed
        if listed is None:
            changes, found = self._changes, dict[str, Listed]()
            for root in self.roots:
                for name in _files(root):
                    if name not in found and _serves(root, name) and len(found) < LISTED_MOST:
                        about = _listed(root, name)
                        if about is not None:
                            found[name] = about
            listed = [found[name] for name in sorted(found)]
            # Read in a thread: what changed meanwhile may be missing in it, so it serves this question only.
            if changes == self._changes:
                self._listed = listed
        return listed

    async def watch(self, stop: asyncio.Event, changed: Callable[[Sequence[str]], None]) -> None:
        """Forget the list whenever something in a root changes, and tell which scripts; until `stop`."""
        from watchfiles import awatch  # costs 30 ms to import, and the hub listens first

        there = frozenset(root.path for root in self.roots if root.path.is_dir())
        if not there:
            await stop.wait()
            return
        watching = awatch(*there, stop_event=stop, step=20, debounce=50, recursive=True)
        self._watched = there
        try:
            async for changes in watching:
                self.forget_list()
                names = {self._name_of(Path(path)) for _, path in changes} - {""}
                if names:
                    changed(sorted(names))
        finally:
            self._watched = frozenset()
            await watching.aclose()

    def forget_list(self) -> None:
        """Read the folders anew at the next question."""
        self._changes += 1
        self._listed = None

    def _name_of(self, path: Path) -> str:
        """Return the name of the script that is served from there, or "" where none can be."""
        for root in self.roots:
            if path.suffix == SUFFIX and path.is_relative_to(root.path):
                name = path.relative_to(root.path).as_posix()
                with contextlib.suppress(BadInput):
                    return check_name(name) if _serves(root, name) else ""
        return ""


def _serves(root: Root, name: str) -> bool:
    first = name.partition("/")[0]
    return first != INLINE and (root.bundled or first != SYSTEM)


@contextlib.contextmanager
def _opened(root: Root, name: str) -> Iterator[int | None]:
    """Open a file beneath a root, part by part; None for what is not there, not readable, a link or no plain file."""
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
            yield None  # why is no business of whoever asks by name
            return
        yield fd if stat.S_ISREG(os.fstat(fd).st_mode) else None


def _files(root: Root) -> Iterator[str]:
    for folder, folders, files in os.walk(root.path, followlinks=False):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            if file.endswith(SUFFIX):
                with contextlib.suppress(BadInput):
                    yield check_name((Path(folder) / file).relative_to(root.path).as_posix())


def _listed(root: Root, name: str) -> Listed | None:
    with _opened(root, name) as fd:
        if fd is None:
            return None
        about, head = os.fstat(fd), os.read(fd, 16 * 1024).decode("utf-8", "replace")
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
