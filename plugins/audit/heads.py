"""Signed heads and cuts: what the hub says the chain was at a time, with a key of the audit's own.

A head lies in the table and in a file, which an operator puts where the hub's user cannot rewrite it. A cut says where
the records that are kept begin.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from .chain import canonical

Kind = Literal["head", "cut"]


class Signed(msgspec.Struct, frozen=True):
    """A record's number and hash, as they were `at` that time, signed; `key` is the public key in base64."""

    seq: int
    hash: str
    at: str
    key: str
    signature: str

    def values(self) -> tuple[int, str, str, str, str]:
        """Return it as the values of a row."""
        return self.seq, self.hash, self.at, self.key, self.signature


def message(kind: Kind, seq: int, digest: str, at: str) -> bytes:
    """Return what is signed."""
    return canonical({"at": at, "hash": digest, "kind": f"aetherra-audit-{kind}-v1", "seq": seq}).encode()


class Signer:
    """The private key in a file of its owner's alone, made at the first use."""

    def __init__(self, file: Path) -> None:
        # Costs 30 ms to import, and most commands and the start need no key.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.made = not file.exists()
        if self.made:
            _make(file, Ed25519PrivateKey.generate().private_bytes_raw())
        self._key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(file.read_text().strip(), validate=True))
        self.public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, kind: Kind, seq: int, digest: str, at: str) -> Signed:
        """Return the signed head or cut."""
        signature = self._key.sign(message(kind, seq, digest, at))
        return Signed(seq, digest, at, self.public, base64.b64encode(signature).decode())


def _make(file: Path, raw: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partly = file.with_suffix(".new")
    partly.unlink(missing_ok=True)
    descriptor = os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(base64.b64encode(raw) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    partly.replace(file)


def public_key(file: Path) -> str:
    """Return the public key, in base64, of the private one in the file."""
    return Signer(file).public


def holds(signed: Signed, kind: Kind, keys: Iterable[str]) -> bool:
    """Tell whether one of the keys signed this."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signed.key not in keys:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed.key, validate=True))
        signature = base64.b64decode(signed.signature, validate=True)
        key.verify(signature, message(kind, signed.seq, signed.hash, signed.at))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def written(signed: Signed) -> str:
    """Return the line of the heads' file."""
    return canonical(msgspec.to_builtins(signed)) + "\n"


def read(text: bytes) -> Iterator[tuple[int, Signed | None]]:
    """Yield the number of each line of a heads' file and the head, or None for what is none, or written otherwise."""
    for number, row in enumerate(text.removesuffix(b"\n").split(b"\n") if text else (), 1):
        try:
            value: Any = json.loads(row)
            head = msgspec.convert(value, Signed)
        except (ValueError, RecursionError, msgspec.ValidationError):
            yield number, None
            continue
        yield number, head if written(head).encode() == row + b"\n" else None


def add_to_file(file: Path, heads: Iterable[Signed]) -> None:
    """Append the heads that the file does not have yet, and let the disk have them."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as out:
        content = out.read()
        there = {head.signature for _, head in read(content) if head is not None}
        missing = "".join(written(head) for head in heads if head.signature not in there)
        if not missing:
            return
        if content and not content.endswith(b"\n"):
            missing = "\n" + missing  # the line before it was torn by a crash
        out.write(missing.encode())
        out.flush()
        os.fsync(out.fileno())
