"""Signatures of scripts (section 19 of the language reference): what is signed, and what a script's first line proves.

Pure: no file, no policy and no clock is read here. `cryptography` is loaded at the first ed25519 line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from .errors import Diagnostic, Source, SyntaxProblem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

State = Literal["missing", "wrong", "integrity", "unknown key", "valid"]
"""`missing`: no signature line. `wrong`: it cannot be read, or does not fit the text. `integrity`: a plain hash that
fits, which proves nothing about who wrote it. `unknown key`: signed by a key that the policy does not name. `valid`."""
Mode = Literal["off", "warn", "strict"]
"""What is made of it. `strict`: only `valid` passes. `warn`: it is told when a script is `missing` one, and when its
line is `wrong` or by an `unknown key`."""

MARK: Final = b"# @signature:"
VERSION: Final = b"aether-script-v1"
LINE_MOST: Final = 256
"""Bytes of a signature line; a longer one is none that can be right."""

_FORM = re.compile(
    rb"# @signature: (?:ed25519:(?P<id>[A-Za-z0-9_.-]{1,64}):(?P<base64>[A-Za-z0-9+/]{86}==)|(?P<hash>[0-9a-fA-F]{64}))"
)
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TRIED = re.compile(rb"(?:\xef\xbb\xbf)?\s*#\s*@\s*signature\b", re.IGNORECASE)
_ELSEWHERE = re.compile(rb"^[ \t]*# @signature:", re.MULTILINE)
_LOOKED_THROUGH: Final = 4096

_CODES: Final[Mapping[State, str]] = {"missing": "AW601", "wrong": "AW602", "unknown key": "AW603"}


class Verdict(msgspec.Struct, frozen=True):
    """What the first line of a script proves. `key_id` is that of an ed25519 line, "" else; `reason` is a sentence
    for people."""

    state: State
    reason: str
    key_id: str = ""


class SignatureLine(msgspec.Struct, frozen=True):
    """The signature line of a script. `signature` has 64 bytes of an ed25519 line, `hash` the 32 of a plain one;
    `key_id` is "" for the latter."""

    key_id: str
    signature: bytes
    hash: bytes


def is_signed(text: str) -> bool:
    """True when the first line of a script is a signature, right or wrong: to change the text would break it."""
    return text.removeprefix("\ufeff").startswith(MARK.decode())


def parse_line(line: bytes) -> SignatureLine | None:
    """The signature that a line holds, its line end left out; None when it is not exactly of one of the two forms."""
    found = _FORM.fullmatch(line.removesuffix(b"\r")) if len(line) <= LINE_MOST else None
    if found is None:
        return None
    if found["hash"] is not None:
        return SignatureLine("", b"", bytes.fromhex(found["hash"].decode()))
    signature = base64.b64decode(found["base64"])
    # The last letter has bits to spare: one signature shall have one spelling.
    if base64.b64encode(signature) != found["base64"]:
        return None
    return SignatureLine(found["id"].decode(), signature, b"")


def body_of(data: bytes) -> bytes:
    """What a signature of this script covers: all bytes behind the line feed of its signature line, else all."""
    return data.partition(b"\n")[2] if data.startswith(MARK) else data


def signed_message(path: str, body: bytes) -> bytes:
    """The bytes that are signed: a mark of the form, the script's path below its root, and the SHA-256 of its body."""
    return VERSION + b"\0" + path.encode("utf-8", "surrogatepass") + b"\0" + hashlib.sha256(body).digest()


def verify(data: bytes, path: str | None, keys: Mapping[str, str]) -> Verdict:
    """What the first line of a script proves, for the script at `path` below its root (None: it has none) and the
    `keys` of the policy: `ed25519:` and the public key in base64, by id. Raises nothing, whatever the bytes are."""
    if not data.startswith(MARK):
        if _TRIED.match(data[:LINE_MOST]):
            return Verdict("wrong", "the signature line must begin with the very first byte: `# @signature: `")
        if _ELSEWHERE.search(data[:_LOOKED_THROUGH]):
            return Verdict("missing", "a signature counts on the very first line only")
        return Verdict("missing", "the script is not signed")
    line = parse_line(data.partition(b"\n")[0])
    body = body_of(data)
    if line is None:
        return Verdict("wrong", "the signature line cannot be read")
    if not line.key_id:
        if hashlib.sha256(body).digest() != line.hash:
            return Verdict("wrong", "the script was changed after its hash was taken")
        return Verdict("integrity", "the script is as its hash says; a hash does not tell who made it")
    return _verify_signed(line, body, path, keys)


def _verify_signed(line: SignatureLine, body: bytes, path: str | None, keys: Mapping[str, str]) -> Verdict:
    known = keys.get(line.key_id)
    if known is None:
        return Verdict("unknown key", f"the policy's [trust] keys has no key '{line.key_id}'", line.key_id)
    if path is None:
        return Verdict("wrong", "a signature is for a path in a script folder, and this source has none", line.key_id)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(known.removeprefix("ed25519:"), validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(line.signature, signed_message(path, body))
    except InvalidSignature:
        reason = f"this is not what '{line.key_id}' signed: the text, its path ({path}) or the key is another"
        return Verdict("wrong", reason, line.key_id)
    except (ValueError, binascii.Error):
        return Verdict("unknown key", f"the policy's key '{line.key_id}' is no ed25519 key", line.key_id)
    return Verdict("valid", f"signed by '{line.key_id}'", line.key_id)


def signed(data: bytes, path: str, key: Ed25519PrivateKey, key_id: str) -> bytes:
    """The script with a signature line by that key in front, in place of one it had. Raises `ValueError` for an id
    that cannot stand in the line."""
    check_key_id(key_id)
    body = body_of(data).removeprefix(b"\xef\xbb\xbf")
    signature = base64.b64encode(key.sign(signed_message(path, body)))
    return MARK + b" ed25519:" + key_id.encode() + b":" + signature + b"\n" + body


def hashed(data: bytes) -> bytes:
    """The script with its plain hash in front, in place of a line it had: integrity only."""
    body = body_of(data).removeprefix(b"\xef\xbb\xbf")
    return MARK + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half of a key as the policy's `[trust] keys` writes it."""
    return "ed25519:" + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def check_key_id(key_id: str) -> None:
    """Raise `ValueError` unless the id may stand in a signature line: 1 to 64 of A-Z a-z 0-9 _ . -"""
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError(f"a key's id has 1 to 64 of A-Z a-z 0-9 _ . -; got {key_id[:80]!r}")


def passes(verdict: Verdict, mode: Mode) -> bool:
    """True when a script with that verdict may be parsed and run under that mode."""
    return mode != "strict" or verdict.state == "valid"


def finding(verdict: Verdict, mode: Mode, text: str, name: str) -> Diagnostic | None:
    """What the checker says of a verdict: an error (`AE601`) where the mode refuses the script, a warning where it
    only tells, None where there is nothing to say."""
    if not passes(verdict, mode):
        message = f"this script may not run: {verdict.reason}"
        problem = SyntaxProblem("AE601", message, 0, 1, kind="check", suggestion="aether sign FILE --key KEY")
    elif mode != "off" and verdict.state in _CODES:
        problem = SyntaxProblem(_CODES[verdict.state], verdict.reason, 0, 1, kind="check")
    else:
        return None
    return Source(text.partition("\n")[0], name).diagnose(problem)
