"""Service tokens: named secrets for programs, with scopes, an expiry and the time of their last use.

One that was made for an account acts as that account, narrowed to its scopes; any other is `token:NAME` to the policy.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import msgspec

from kernel import BadInput, Conflict, NotFound

PREFIX = "aek_"
SCOPES = 64
STATIC = {"ai-api": ("ai:*",), "agents-api": ("agent:*",)}
"""The documented static tokens, which come with the settings: their names and scopes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class Token(msgspec.Struct, frozen=True):
    """One service token; the secret itself is not kept."""

    name: str
    account: str | None
    scopes: tuple[str, ...]
    created_by: str
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None

    def holds(self, now: float) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


COLUMNS = "name, account, scopes, created_by, created_at, expires_at, used_at, revoked_at"


def read(row: sqlite3.Row) -> Token:
    """Return the token of a row with `COLUMNS`."""
    values = dict(row)
    return Token(**values | {"scopes": tuple(values["scopes"].split())})


def check_name(name: str) -> None:
    """Raise `BadInput` unless this may be the name of a new token."""
    if not _NAME.fullmatch(name) or name in STATIC:
        what = "is one of the hub's own" if name in STATIC else "is none: a-z, 0-9 and _ . -, 64 at most"
        raise BadInput(f"the name of a token: {name!r:.80} {what}", details={"field": "name"})


def insert(tx: Any, token: Token, hash: bytes, now: float, most: int) -> None:
    """Store a new token; raise `Conflict` for a name that is taken, `BadInput` for one too many."""
    known = tx.one(f"SELECT {COLUMNS} FROM identity__tokens WHERE name = ?", [token.name])  # noqa: S608
    if known is not None:
        state = "holds" if read(known).holds(now) else "is over, but what it did stays under its name"
        raise Conflict(f"there is a token {token.name!r} already, which {state}; choose another name")
    count = tx.one("SELECT count(*) AS n FROM identity__tokens")["n"]
    if count >= most:
        raise BadInput(f"this hub has {count} tokens, the bound ([plugins.identity] tokens)")
    values = msgspec.structs.astuple(msgspec.structs.replace(token, scopes=" ".join(token.scopes)))
    tx.execute(f"INSERT INTO identity__tokens ({COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*values, hash])  # noqa: S608


def find(store: Any, name: str) -> Token | None:
    """Return the token of a name, over or not."""
    row = store.one(f"SELECT {COLUMNS} FROM identity__tokens WHERE name = ?", [name])  # noqa: S608
    return None if row is None else read(row)


def find_by_hash(store: Any, hash: bytes) -> Token | None:
    """Return the token whose secret has this hash, over or not."""
    row = store.one(f"SELECT {COLUMNS} FROM identity__tokens WHERE hash = ?", [hash])  # noqa: S608
    return None if row is None else read(row)


def revoke(tx: Any, name: str, now: float) -> Token:
    """Revoke a token, once; return it. Raises `NotFound`."""
    token = find(tx, name)
    if token is None:
        raise NotFound(f"there is no token {name!r:.80}", details={"token": name[:80]})
    if token.revoked_at is None:
        tx.execute("UPDATE identity__tokens SET revoked_at = ? WHERE name = ?", [now, name])
        token = msgspec.structs.replace(token, revoked_at=now)
    return token
