"""The home: whose it is, whether it holds, and whether its database is sound."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil

from hub.doctor.running import HubThere
from hub.first_steps import command_line
from hub.home import SOCKET_CHARS, socket_path
from kernel import Config, Finding

MB = 1024 * 1024
DISK_FAIL_MB = 100
"""Below this the database, whose log alone may grow to some tens of MB, is about to refuse writes."""
DISK_WARN_MB = 1_024
CHECK_S = 1.5
"""How long the database is checked; a large one is checked as far as that goes."""
SQLITE_NEEDED = (3, 35, 0)
"""The first with RETURNING."""
OVER_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})


def home_findings(config: Config, there: HubThere) -> Iterator[Finding]:
    """Look at HOME, the room left there, SQLite and the database."""
    home = config.paths.home
    yield _home(home)
    yield from _socket(home)
    yield from _disk(home)
    yield _sqlite()
    yield _database(config.paths.database, there)


def _home(home: Path) -> Finding:
    try:
        about = home.stat()
    except FileNotFoundError:
        advice = f"{command_line('init', home)} makes it with explanations"
        return Finding("home", "ok", f"{home} is not there yet; the first start makes it", advice)
    except OSError as error:
        return Finding("home", "fail", f"{home}: {error.strerror or error}", "name another with --home")
    mode = stat.S_IMODE(about.st_mode)
    if not stat.S_ISDIR(about.st_mode):
        return Finding("home", "fail", f"{home} is no folder", "name another with --home")
    if about.st_uid != os.geteuid():
        found = f"{home} belongs to user {about.st_uid}, and this is user {os.geteuid()}"
        return Finding("home", "fail", found, "run as its owner, or chown it to the hub's user")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return Finding("home", "fail", f"{home} cannot be written (mode {mode:o})", f"chmod 700 {home}")
    if mode & 0o077:
        found = f"{home} is open to other users (mode {mode:o}); the next start closes it"
        return Finding("home", "warn", found, f"chmod 700 {home}")
    return Finding("home", "ok", f"{home}, yours alone (mode {mode:o})")


def _socket(home: Path) -> Iterator[Finding]:
    length = len(os.fsencode(socket_path(home)))
    if length > SOCKET_CHARS:
        found = f"{socket_path(home)} has {length} bytes; a socket's path has at most {SOCKET_CHARS}"
        yield Finding("socket", "fail", found, "choose a shorter --home")


def _disk(home: Path) -> Iterator[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free // MB
    level: Literal["ok", "warn", "fail"] = "fail" if free < DISK_FAIL_MB else "warn" if free < DISK_WARN_MB else "ok"
    advice = "" if level == "ok" else "make room, or name a --home on another disk"
    yield Finding("disk", level, f"{free:,} MB free where {place} lies", advice)
    kind = _file_system(place)
    if kind in OVER_A_NETWORK:
        found = f"{place} lies on {kind}; SQLite's log needs a disk of this machine"
        yield Finding("disk", "fail", found, "name a --home on a local disk")


def _file_system(place: Path) -> str | None:
    mounts = [p for p in psutil.disk_partitions(all=True) if place.resolve().is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else None


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    lacking = []
    if sqlite3.sqlite_version_info < SQLITE_NEEDED:
        lacking.append(f"version {'.'.join(map(str, SQLITE_NEEDED))} or newer")
    with sqlite3.connect(":memory:") as memory:
        for feature, statement in (
            ("full-text search (FTS5)", "CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = 'unicode61')"),
            ("JSON", "SELECT json_extract('{\"a\": 1}', '$.a') FROM json_each('[1]')"),
        ):
            try:
                memory.execute(statement).close()
            except sqlite3.OperationalError:
                lacking.append(feature)
    memory.close()
    if lacking:
        found = f"SQLite {version} of this Python lacks {', '.join(lacking)}"
        return Finding("sqlite", "fail", found, "use a Python that was built with a complete, newer SQLite")
    return Finding("sqlite", "ok", f"SQLite {version} with FTS5 and JSON")


def _database(path: Path, there: HubThere) -> Finding:
    try:
        size = path.stat().st_size
    except OSError:
        return Finding("database", "ok", f"{path} is not there yet")
    shown = f"{path}, {size / MB:,.1f} MB"
    if there.locked:
        return Finding("database", "ok", f"{shown}, in use by the hub (pid {there.pid}), which tells of it itself")
    if size == 0:
        return Finding("database", "ok", f"{shown}, empty")
    advice = "keep a copy of the file, and restore the last backup"
    try:
        wrong, finished = _quick_check(path)
    except sqlite3.DatabaseError as error:
        return Finding("database", "fail", f"{shown}: {error}", advice)
    if wrong:
        return Finding("database", "fail", f"{shown} is damaged: {'; '.join(wrong[:3])}", advice)
    how = "sound (quick_check)" if finished else f"no damage in the {CHECK_S:g} s that were looked at"
    return Finding("database", "ok", f"{shown}, {how}")


def _quick_check(path: Path) -> tuple[list[str], bool]:
    """Return what SQLite finds wrong with a database that nobody has open, and whether it came to the end."""
    log = path.with_name(path.name + "-wal")
    # After a crash the log holds what was committed last, so it must be read along; else no file is touched at all.
    how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    until = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        said = [row[0] for row in connection.execute("PRAGMA quick_check(10)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return [], False
        raise
    finally:
        connection.close()
    return [line for line in said if line != "ok"], True
