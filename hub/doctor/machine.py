"""What the machine offers: walls around scripts, file descriptors, a clock."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hub.descriptors import connections_within, needed_descriptors
from hub.settings import HubSettings
from kernel import Config, Finding

CLOCK_BEHIND_S = 300.0

_LANDLOCK_CREATE_RULESET = 444  # one number on every architecture
_LANDLOCK_VERSION = 1
_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")


def machine_findings(config: Config) -> Iterator[Finding]:
    """Look at the walls that the system offers, the descriptors it allows, and its clock."""
    yield _isolation()
    yield from _root()
    yield _descriptors(config.hub)
    yield _clock(config)


def _isolation() -> Finding:
    offered = [f"Landlock (ABI {abi})"] if (abi := landlock_abi()) else []
    offered += ["seccomp filters"] if seccomp_filters() else []
    lacking = [name for name in ("Landlock", "seccomp") if not any(name in offer for offer in offered)]
    system = f"{platform.system()} {platform.release()}"
    found = (
        "degraded: scripts run in processes of their own, with an empty environment, one socket and a limit on "
        "memory, but this version does not seal them; "
        f"{system} offers {' and '.join(offered) or 'nothing to seal them with'}"
    )
    if offered and lacking:
        found += f", and lacks {' and '.join(lacking)}"
    return Finding("isolation", "warn", found, "run only scripts and plugins whose authors you trust")


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel offers; 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syscall") or platform.system() != "Linux":
        return 0
    answer = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION))
    return max(0, int(answer))


def seccomp_filters() -> bool:
    """Tell whether the kernel filters system calls on demand."""
    try:
        return "errno" in _ACTIONS.read_text().split()
    except OSError:
        return False


def _root() -> Iterator[Finding]:
    if os.geteuid() == 0:
        found = "this is root: what a plugin or an escaped script does, it does as root"
        yield Finding("user", "warn", found, "run the hub as a user of its own")


def _descriptors(hub: HubSettings) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = needed_descriptors(hub)
    shown = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} files may be open"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Finding("descriptors", "ok", f"{shown}; [hub] connections = {hub.connections} needs {needed:,}")
    wanted = f"[hub] connections = {hub.connections} needs {needed:,}"
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return Finding("descriptors", "ok", f"{shown}; {wanted}, to which a hub raises it for itself")
    found = f"{shown}, at most {hard:,}, but {wanted}; a hub lets in {connections_within(hard, hub)}"
    advice = f"raise the hard limit (a service: LimitNOFILE={needed}), or lower connections"
    return Finding("descriptors", "warn", found, advice)


def _clock(config: Config) -> Finding:
    """Compare the clock with the newest thing it was written down in."""
    now = time.time()
    written = {"this installation": Path(__file__).stat().st_mtime}
    for path in (config.paths.database, config.paths.database.with_name(config.paths.database.name + "-wal")):
        if path.exists():
            written[str(path)] = path.stat().st_mtime
    newest = max(written, key=lambda name: written[name])
    shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if written[newest] - now > CLOCK_BEHIND_S:
        found = f"it is {shown}, but {newest} was written {written[newest] - now:,.0f} s later than that"
        return Finding("clock", "fail", found, "set the clock; schedules and deadlines go by it")
    return Finding("clock", "ok", shown)
