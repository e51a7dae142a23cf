"""The compiled files of plugins that ship, kept on the disk beside their source and told apart by its content.

The format is Python's own, hash-based and checked (PEP 552): what is found is used only where the hash of the very
bytes that were read is written in it, so that a quick edit of equal length, or a clock that went back, cannot serve old
code. What a folder that cannot be written to holds is compiled at each start.

Only for what was installed with the hub, as the hub itself runs from such files. Of a dropped plugin the source is what
people read, and what its hash in the history names: code that was dropped along with it must never run instead.
"""

from __future__ import annotations

import importlib.util
import logging
import marshal
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType

CHECKED_HASH = (3).to_bytes(4, "little")
"""The flags of PEP 552: hash-based, and to be checked."""

log = logging.getLogger("kernel.bytecode")


def kept(content: bytes, origin: str, compiled: Callable[[bytes, str], CodeType]) -> CodeType:
    """Return the code of the file `origin` whose bytes are `content`; `compiled` makes it where none is kept."""
    cache = Path(importlib.util.cache_from_source(origin))
    head = importlib.util.MAGIC_NUMBER + CHECKED_HASH + importlib.util.source_hash(content)
    code = _read(cache, head, origin)
    if code is None:
        code = compiled(content, origin)
        if not sys.dont_write_bytecode:
            _write(cache, head + marshal.dumps(code), mode=_mode(origin))
    return code


def _read(cache: Path, head: bytes, origin: str) -> CodeType | None:
    try:
        found = cache.read_bytes()
        code = marshal.loads(found[len(head) :]) if found.startswith(head) else None  # noqa: S302 - trusted as its source is
    except (OSError, EOFError, ValueError, TypeError):
        return None  # none there, or one that was cut: it is compiled, and written anew
    # A folder that was moved since would show its old place in every traceback.
    return code if isinstance(code, CodeType) and code.co_filename == origin else None


def _mode(origin: str) -> int:
    """Return the rights of the source: who may read that may read this."""
    try:
        return os.stat(origin).st_mode & 0o666
    except OSError:
        return 0o600


def _write(cache: Path, data: bytes, *, mode: int) -> None:
    staged: str | None = None
    try:
        cache.parent.mkdir(exist_ok=True)
        descriptor, staged = tempfile.mkstemp(dir=cache.parent, prefix=cache.name)
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, mode)
        os.replace(staged, cache)  # whole or not at all: other processes read it meanwhile
        staged = None
    except OSError as error:
        log.debug("%s is not kept: %s", cache, error)
    finally:
        if staged is not None:
            Path(staged).unlink(missing_ok=True)
