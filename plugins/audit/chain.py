"""The chain: how a record becomes text, and how each is bound to all before it. Pure; `docs/audit.md` tells others.

`hash_n = SHA-256(hash_(n-1) + canonical(record_n))`, with 32 zero bytes before the first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

ZERO = "0" * 64
"""What stands for the hash before the first record."""
DEPTH = 8
"""Maps and lists within each other that details may have; what lies deeper is cut."""


def canonical(value: Mapping[str, Any]) -> str:
    """Return the one text of a record: JSON with sorted keys, no spaces, and nothing escaped that need not be."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair has no UTF-8; escaped, it is JSON still, and reads back as it was.
    return text.encode("utf-8", "backslashreplace").decode()


def linked(previous: str, text: str) -> str:
    """Return the hash of the record `text` that follows the one whose hash is `previous`; both in hex."""
    return hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest()


def line(text: str, digest: str) -> str:
    """Return the line of the file for a record, without its end."""
    return f'{{"hash":"{digest}","record":{text}}}'


def tidy(value: Any, depth: int = DEPTH) -> Any:
    """Return plain data that has a canonical text: no bytes, no infinities, not deeper than `DEPTH`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): tidy(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(inner, depth - 1) for inner in value]
    return str(value)
