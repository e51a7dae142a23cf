"""The database file: whether it is sound, how it is opened, and SQLite's errors as ours."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel.errors import (
    AetherraError,
    BadInput,
    Conflict,
    DeadlineExceeded,
    Overloaded,
    StorageError,
    StorageFull,
)

Params = Sequence[Any] | Mapping[str, Any]
"""What stands for the ? or :name of a statement."""

MAGIC = b"SQLite format 3\x00"
ADVICE = "stop the hub, keep a copy of the file, and restore the last backup"

log = logging.getLogger("kernel.sqlite_file")


def read_only(path: Path) -> str:
    """Return the URI with which SQLite opens the file and cannot write to it."""
    return f"{path.absolute().as_uri()}?mode=ro"


def check_header(path: Path) -> None:
    """Make sure of the file's first bytes and length; create it, for its owner alone, when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        header, size = os.read(descriptor, 100), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if size == 0:
        return
    if len(header) < 100 or not header.startswith(MAGIC):
        raise StorageError(f"{path} is not an SQLite database, or its beginning is damaged; {ADVICE}")
    page = int.from_bytes(header[16:18]) or 0
    page = 65_536 if page == 1 else page
    if page < 512 or page & (page - 1):
        raise StorageError(f"the header of {path} names a page size of {page} bytes, which cannot be; {ADVICE}")
    pages, wal = int.from_bytes(header[28:32]), path.with_name(path.name + "-wal")
    if size < pages * page and not (wal.exists() and wal.stat().st_size):
        raise StorageError(f"{path} has {size} bytes where its header promises {pages * page}; {ADVICE}")


def insist(connection: sqlite3.Connection, pragma: str, value: str, wanted: Any) -> None:
    """Set a pragma and read it back: SQLite does not say when it ignores one."""
    connection.execute(f"PRAGMA {pragma}={value}").close()
    got = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if got != wanted:
        raise StorageError(
            f"SQLite did not accept {pragma}={value} (it says {got!r}), so nothing would be durable; keep the database "
            "on a local file system that is writable"
        )


def undo(connection: sqlite3.Connection) -> None:
    """End a transaction that is open, as if it had never begun; an error there is logged, the first one counts."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("a failed transaction could not be rolled back")


def mapped(error: BaseException, path: Path) -> BaseException:
    """Return our error for one of SQLite's that says something about the store; mistakes in SQL stay as they are."""
    if isinstance(error, StopIteration):
        return RuntimeError(f"a write raised StopIteration({error.value!r})")  # a future cannot carry it
    if isinstance(error, OverflowError) and "SQLite" in str(error):
        return BadInput("a whole number is outside of what the store can hold or look for: -2^63 to 2^63-1")
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    ours = _storage_error(error, path)
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _storage_error(error: sqlite3.Error | OSError, path: Path) -> AetherraError | None:
    if isinstance(error, OSError):
        return StorageError(f"the database {path} cannot be opened: {error}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.IntegrityError):
        name = getattr(error, "sqlite_errorname", "SQLITE_CONSTRAINT")
        return Conflict(f"a constraint of the store forbids it: {error}", details={"constraint": name})
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no room left for {path}: nothing was written, reads go on; make room and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Overloaded(f"another process holds the lock of {path}; try again", retry_after_s=1.0)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(f"{path} is damaged ({error}); {ADVICE}", code="STORAGE_CORRUPT")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StorageError(f"{path} cannot be read or written ({error}); look at the disk and its permissions")
    if code == sqlite3.SQLITE_INTERRUPT:
        return DeadlineExceeded(
            f"a statement took longer than it may ({error}); long reads belong to query(), long writes in smaller steps"
        )
    return None
