"""File changes in the plugin folders, told at once as the names of the plugins they touch."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

log = logging.getLogger("kernel.watch")

DEBOUNCE_MS = 50
STEP_MS = 5

# What editors and installers leave beside a file on its way to being saved.
_NOISE = re.compile(r"(^[.#])|(~$)|(\.(pyc|pyo|swp|swx|tmp|bak|orig)$)|(^__pycache__$)")


def entries(folder: Path) -> list[Path]:
    """Return what may be a plugin in `folder`: files ending in .py, and folders with an `__init__.py`, by name."""
    try:
        listed = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [
        path
        for path in listed
        if not _NOISE.search(path.name) and (path.suffix == ".py" or (path / "__init__.py").is_file())
    ]


def touched(folder: Path, changed: str) -> str | None:
    """Return the name of the file or folder directly in `folder` that a changed path belongs to, or None for noise."""
    try:
        parts = Path(changed).relative_to(folder).parts
    except ValueError:
        return None
    if not parts or any(_NOISE.search(part) for part in parts):
        return None
    return parts[0]


async def watch(
    folders: Sequence[Path], changed: Callable[[Path, str], None], stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Call `changed(folder, entry)` for every change below `folders` until `stop` is set.

    `ready` is called when the watch stands: what changes after that is seen.
    """
    from watchfiles import awatch  # costs 30 ms to import, and the hub listens first

    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        ready()
        await stop.wait()
        return
    resolved = {folder.resolve(): folder for folder in present}
    watching = awatch(
        *resolved,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        watch_filter=None,
        recursive=True,
    )
    try:
        first = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)  # the native watcher stands as soon as the generator has run once
        ready()
        batch = await first
        while True:
            seen: set[tuple[Path, str]] = set()
            for _, path in batch:
                for folder, named in resolved.items():
                    entry = touched(folder, path)
                    if entry is not None:
                        seen.add((named, entry))
            for named, entry in sorted(seen):
                changed(named, entry)
            batch = await anext(watching)
    except StopAsyncIteration:
        return
    finally:
        await watching.aclose()
