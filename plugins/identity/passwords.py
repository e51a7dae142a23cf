"""Passwords: what may be one, and how it is kept: argon2id (RFC 9106), at most a few at a time.

A log-in of somebody unknown costs a hash as well, so that its time tells nothing.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kernel import BadInput, Overloaded

T = TypeVar("T")

SHORTEST, LONGEST = 8, 128
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
"""The parameters of argon2id. A hash that was made with weaker ones is made anew at log-in."""

_LIST = Path(__file__).with_name("common_passwords.txt")


def normalised(password: str) -> str:
    """Return the password as it is hashed: NFKC, so that it does not depend on how a keyboard composes letters."""
    return unicodedata.normalize("NFKC", password)


def fault(password: str, *names: str) -> str | None:
    """Return why this cannot be a password of somebody with these names, or None."""
    text = normalised(password)
    if not SHORTEST <= len(text) <= LONGEST:
        return f"Password must be {SHORTEST} to {LONGEST} characters, got {len(text)}"
    lowered = text.casefold()
    if len(set(lowered)) < 4:
        return "Password must have at least 4 different characters"
    if any(name and lowered == name.casefold() for name in names):
        return "Password must not be the username or the email address"
    if lowered in _common():
        return "Password is one of the most common ones; choose another"
    return None


_known: set[str] = set()


def _common() -> set[str]:
    if not _known:
        _known.update(line for line in _LIST.read_text().split() if not line.startswith("#"))
    return _known


class Hasher:
    """Hashes and verifies, `at_once` at a time in threads; `waiting` more may wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0
        self._dummy = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.running = 0
        """Hashes that are made at this moment."""

    async def make(self, password: str) -> str:
        """Return the hash of a password, with its parameters and salt in it."""
        return str(await self._alone(lambda: _argon2().hash(normalised(password))))

    async def verify(self, hash: str | None, password: str) -> bool:
        """Tell whether the password fits; without a hash the answer is no, and takes as long."""
        text = normalised(password)[: LONGEST + 1]
        return await self._alone(lambda: self._fits(hash, text))

    def _fits(self, hash: str | None, text: str) -> bool:
        if hash is None:
            # Made with the same parameters; racing threads make it twice at most.
            self._dummy = self._dummy or _argon2().hash("a password that nobody has")
        fits = _verified(hash or self._dummy, text)
        return fits and hash is not None

    def outdated(self, hash: str) -> bool:
        """Tell whether a hash was made with other parameters than are used now."""
        return bool(_argon2().check_needs_rehash(hash))

    async def _alone(self, work: Callable[[], T]) -> T:
        if self._inside >= self._most:
            raise Overloaded(
                f"{self._inside} log-ins are being verified, the bound ([plugins.identity] hashes, hashes_waiting)",
                code="RATE_LIMITED",
                retry_after_s=1.0,
            )
        self._inside += 1
        task = asyncio.create_task(self._work(work), name="a password is hashed")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A client that leaves does not make room: the thread goes on, and its place is taken until it ends.
        return await asyncio.shield(task)

    async def _work(self, work: Callable[[], T]) -> T:
        try:
            async with self._room:
                self.running += 1
                try:
                    return await asyncio.to_thread(work)
                finally:
                    self.running -= 1
        finally:
            self._inside -= 1


def _argon2() -> Any:
    from argon2 import PasswordHasher  # at the first log-in: most runs of the hub see none

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def _verified(hash: str, text: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return bool(_argon2().verify(hash, text))
    except (VerificationError, InvalidHashError):
        return False


def check(password: str, *names: str, field: str = "password") -> None:
    """Raise `BadInput` naming the field unless this may be a password of somebody with these names."""
    wrong = fault(password, *names)
    if wrong is not None:
        raise BadInput(wrong, details={"errors": [{"field": field, "message": wrong}]})
