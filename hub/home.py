"""HOME while a hub runs in it: the lock that keeps a second hub out, and the place of the console's socket."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from kernel import Conflict

LOCK = "hub.lock"
SOCKET = "hub.sock"
SOCKET_CHARS = 107
"""How long the path of a socket may be, by the system."""


class HomeLock:
    """Holds HOME for this process: `with HomeLock(home):`. Raises `Conflict` naming the process that has it.

    The system lets go of the lock when the process ends, however it ends.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / LOCK
        self._descriptor: int | None = None

    def __enter__(self) -> HomeLock:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"a hub is running on {self._path.parent} already (pid {pid}); stop it, or choose another --home",
                details={"home": str(self._path.parent), "pid": pid},
                code="HOME_IN_USE",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def socket_path(home: Path) -> Path:
    """Return where the console's socket lies."""
    return home / SOCKET
