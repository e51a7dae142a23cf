"""The first administrator: from the environment, or with a set-up code, good once and for a quarter of an hour."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from pathlib import Path

from kernel import Clock, Denied, redactions

FILE = "setup-code"
VALID_S = 900.0
PREFIX = "setup-"
VARIABLES = ("AETHERRA_ADMIN_PASSWORD", "AETHERRA_AI_API_TOKEN", "AETHERRA_AGENTS_API_TOKEN")
"""Variables with secrets, which are taken out of the environment once they were read: children would inherit them."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without what looks alike


class SetupCode:
    """The code by which the first administrator is made while there is none; kept in `HOME/setup-code` as well."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._path = home / FILE
        self._clock = clock
        self._code = ""
        self._until = 0.0
        self.in_use = asyncio.Lock()
        """Held while an administrator is made with it, so that it makes one."""

    def issue(self) -> str:
        """Make a code, and write it where only the hub's own user can read it."""
        groups = ("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
        self._code = PREFIX + "-".join(groups)  # 99 bits
        self._until = self._clock.monotonic() + VALID_S
        redactions.register(self._code)
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._code + "\n")
        return self._code

    def check(self, given: str) -> None:
        """Raise `Denied` unless this is the code, and it is still good."""
        fits = hmac.compare_digest(given.strip().encode(), self._code.encode())
        if not self._code or not fits or self._clock.monotonic() > self._until:
            raise Denied(
                f"this is not the set-up code, or its {VALID_S / 60:g} minutes are over; a hub without an "
                "administrator issues one at its start, and keeps it in HOME/setup-code",
                code="SETUP_CODE",
            )

    def used(self) -> None:
        """There is an administrator: the code is good no more."""
        self._code = ""
        self._path.unlink(missing_ok=True)


def forget_environment() -> None:
    """Take secrets out of the environment of this process."""
    for variable in VARIABLES:
        os.environ.pop(variable, None)
