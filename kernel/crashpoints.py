"""Named places where a test may kill the process, to prove what survives. Without the environment variable: nothing.

`AETHERRA_CRASHPOINT=store.after_commit:3` ends the process at once, as SIGKILL would, at the third pass of that place.
"""

from __future__ import annotations

import os

from kernel.errors import ConfigError

VARIABLE = "AETHERRA_CRASHPOINT"


def _read(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    name, _, count = text.rpartition(":")
    if not name or not count.isdecimal() or int(count) < 1:
        raise ConfigError(f"{VARIABLE} is written NAME:N with N from 1, such as store.after_commit:1; got {text!r}")
    return name, int(count)


_armed = _read(os.environ.get(VARIABLE, ""))
_passes = 0


def crashpoint(name: str) -> None:
    """End the process with status 137 if this is the armed place and its turn; otherwise return at once."""
    global _passes
    if _armed is None or _armed[0] != name:
        return
    _passes += 1
    if _passes == _armed[1]:
        os._exit(137)
