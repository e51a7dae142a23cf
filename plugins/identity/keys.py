"""The keys that sign access tokens: Ed25519, one signs, the one before it still verifies; each in a file of its own.

A key's file, `HOME/keys/access-KID.pem`, is readable by the hub's own user alone. Its name begins with the second in
which the key was made, so the names sort by age.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from kernel import StorageError

FOLDER = "keys"
KEPT = 2
"""One that signs, and the one before it."""

ALGORITHM = "EdDSA"


class Keys:
    """The keys of one hub, read at the first use. `for_kid` is the local table that fixes what a token may name."""

    def __init__(self, home: Path, days: float) -> None:
        self._folder = home / FOLDER
        self._seconds = days * 86_400
        self._private: dict[str, Any] = {}

    def signing(self, now: float) -> tuple[str, Any]:
        """Return the id and the private key that sign at this time; the first one, and one in time, are made here."""
        self._read()
        newest = max(self._private, default=None)
        if newest is None or now - _made_at(newest) > self._seconds:
            newest = self._make(now)
            self._drop(keep=KEPT)
        return newest, self._private[newest]

    def for_kid(self, kid: str) -> Any | None:
        """Return the public key of this id, or None: then no token that names it holds."""
        self._read()
        private = self._private.get(kid)
        return None if private is None else private.public_key()

    def replace(self, now: float) -> str:
        """Make a new key and drop all others at once: every access token out there ends. Returns the new id."""
        self._read()
        kid = self._make(max(now, *(_made_at(kid) + 1 for kid in self._private)) if self._private else now)
        self._drop(keep=1)
        return kid

    def _read(self) -> None:
        if self._private or not self._folder.is_dir():
            return
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        for path in sorted(self._folder.glob("access-*.pem"))[-KEPT:]:
            kid = path.stem.removeprefix("access-")
            try:
                self._private[kid] = load_pem_private_key(path.read_bytes(), password=None)
            except (OSError, ValueError) as error:
                raise StorageError(
                    f"{path} is no key that can be read: {error}; remove it, and whoever is logged in logs in anew"
                ) from None

    def _make(self, now: float) -> str:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        kid = f"{int(now):012d}-{secrets.token_hex(4)}"
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"access-{kid}.pem"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._private[kid] = key
        return kid

    def _drop(self, *, keep: int) -> None:
        for kid in sorted(self._private)[:-keep]:
            del self._private[kid]
        for path in sorted(self._folder.glob("access-*.pem"))[:-keep]:
            path.unlink(missing_ok=True)


def _made_at(kid: str) -> float:
    number = kid.partition("-")[0]
    return float(number) if number.isdigit() else 0.0
