"""Changes in the plugin folders, told as the names of the plugins they touch: at once by the system's own events.

What those miss (a queue of events that overflowed, a folder that came later or was replaced, a network folder) a look
at every file's size and time finds, once a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path

from kernel.loader import FILES_PER_PLUGIN

log = logging.getLogger("kernel.watch")

DEBOUNCE_MS = 50
STEP_MS = 2
LOOK_EVERY_MS = 1_000

# What editors and installers leave beside a file on its way to being saved, and the tests that lie beside a plugin.
_NOISE = re.compile(
    r"(^[.#])|(~$)|(\.(pyc|pyo|swp|swx|tmp|bak|orig)$)|(^__pycache__$)|(^test_\w*\.py$)|(^conftest\.py$)"
)

Shape = tuple[tuple[object, ...], ...]


def is_plugin(path: Path) -> bool:
    """Tell whether a plugin may lie at `path`: a file ending in .py, or a folder with an `__init__.py`."""
    if _NOISE.search(path.name):
        return False
    return path.is_file() if path.suffix == ".py" else (path / "__init__.py").is_file()


def entries(folder: Path) -> list[Path]:
    """Return what may be a plugin in `folder`, by name."""
    try:
        return [path for path in sorted(folder.iterdir()) if is_plugin(path)]
    except OSError:
        return []


def touched(folder: Path, changed: str) -> str | None:
    """Return the name of the file or folder directly in `folder` that a changed path belongs to, or None for noise."""
    try:
        parts = Path(changed).relative_to(folder).parts
    except ValueError:
        return None
    if not parts or any(_NOISE.search(part) for part in parts):
        return None
    return parts[0]


class Looks:
    """What lies in the folders, as of the last look."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._seen = self._look()

    def changes(self) -> list[tuple[Path, str]]:
        """Look again; return (folder, entry) of all that came, went or changed since the last time."""
        before, self._seen = self._seen, self._look()
        return sorted(key for key in before.keys() | self._seen.keys() if before.get(key) != self._seen.get(key))

    def note(self, folder: Path, entry: str) -> None:
        """Remember how an entry stands whose change is being told already."""
        if is_plugin(folder / entry):
            self._seen[folder, entry] = _shape(folder / entry)
        else:
            self._seen.pop((folder, entry), None)

    def _look(self) -> dict[tuple[Path, str], Shape]:
        return {(folder, path.name): _shape(path) for folder in self._folders for path in entries(folder)}


def _shape(path: Path) -> Shape:
    """Return what changes whenever the plugin's files do: their names, sizes and times."""
    found = []
    for file in islice(_files(path), FILES_PER_PLUGIN + 1):
        try:
            about = file.stat()
        except OSError:
            continue
        found.append((str(file), about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(sorted(found))


def _files(path: Path) -> Iterator[Path]:
    if path.suffix == ".py":
        yield path
        return
    for root, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not _NOISE.search(name)]
        yield from (Path(root, name) for name in files if not _NOISE.search(name))


async def watch(
    folders: Sequence[Path], changed: Callable[[Path, str], None], stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Call `changed(folder, entry)` for every change below `folders` until `stop` is set.

    `ready` is called when the watch stands: what changes after that is seen.
    """
    looks = Looks(folders)
    told = False
    while not stop.is_set():
        before = _identities(folders)
        try:
            await _follow(folders, before, looks, changed, stop, ready)
        except (OSError, RuntimeError) as error:
            # No more watches left, say; watchfiles words its own failures as RuntimeError.
            if not told:
                log.error("changes of plugins are found by looking once a second, not at once: %s", error)
            told = True
            ready()
            await _pause(stop)
        for folder, entry in await asyncio.to_thread(looks.changes):
            changed(folder, entry)


async def _follow(
    folders: Sequence[Path],
    before: dict[Path, int],
    looks: Looks,
    changed: Callable[[Path, str], None],
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Tell changes as they come, until one of the folders is another than it was before."""
    if not before:
        ready()
        await _pause(stop)
        return
    from watchfiles import awatch  # costs 30 ms to import, and the hub listens first

    resolved = {folder.resolve(): folder for folder in folders if folder in before}
    looked = time.monotonic()
    watching = awatch(
        *resolved,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        rust_timeout=LOOK_EVERY_MS,
        yield_on_timeout=True,
        watch_filter=None,
        recursive=True,
    )
    async with aclosing(watching):
        following = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)  # the native watcher stands as soon as the generator has run once
        if not following.done():
            ready()
        while True:
            try:
                batch = await following
            except StopAsyncIteration:
                return
            seen = set()
            for _, path in batch:
                for folder, named in resolved.items():
                    entry = touched(folder, path)
                    if entry is not None:
                        seen.add((named, entry))
            for named, entry in sorted(seen):
                looks.note(named, entry)
                changed(named, entry)
            if time.monotonic() - looked >= LOOK_EVERY_MS / 1000:
                looked = time.monotonic()
                for named, entry in await asyncio.to_thread(looks.changes):
                    changed(named, entry)
                if _identities(folders) != before:
                    return
            following = asyncio.ensure_future(anext(watching))


def _identities(folders: Sequence[Path]) -> dict[Path, int]:
    """Return the inodes of the folders that are there: one that was moved away and made anew has another."""
    found = {}
    for folder in folders:
        try:
            found[folder] = folder.stat().st_ino
        except OSError:
            continue
    return found


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_EVERY_MS / 1000):
            await stop.wait()
    except TimeoutError:
        pass  # time to look again
