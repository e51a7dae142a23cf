"""Sessions and their refresh tokens: opaque, kept as a hash, and good once.

A refresh token that comes a second time was copied: by whom cannot be told, so its whole session ends.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Any, Literal

import msgspec

PREFIX = "aer_"
LOGGED_OUT: Literal["logged_out"] = "logged_out"
REVOKED: Literal["revoked"] = "revoked"
OVER_KEPT_S = 86_400.0
"""How long a session is kept that expired or was logged out: what comes with its tokens is told that it is over."""
REVOKED_KEPT_S = 400 * 86_400.0
SPENT_KEPT = 1_000
"""Spent refresh tokens of one session that are remembered; older ones are as unknown as those never given."""


class Session(msgspec.Struct, frozen=True):
    """One log-in, for as long as its refresh token is renewed. `ended` says how it ended, if it did."""

    id: str
    account: str
    created_at: float
    used_at: float
    expires_at: float
    ended: str | None


def hashed(secret: str) -> bytes:
    """Return what is kept of a secret of 256 random bits: its SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def new_secret(prefix: str) -> str:
    """Return a secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


COLUMNS = "id, account, created_at, used_at, expires_at, ended"


def find(store: Any, id: str) -> Session | None:
    """Return a session, ended ones too while they are kept."""
    row = store.one(f"SELECT {COLUMNS} FROM identity__sessions WHERE id = ?", [id])  # noqa: S608
    return None if row is None else Session(**dict(row))


def begin(tx: Any, account: str, now: float, seconds: float, most: int) -> tuple[Session, str, list[str]]:
    """Begin a session; return it, its refresh token, and the ids of those that ended to make room."""
    session = Session(str(uuid.uuid4()), account, now, now, now + seconds, None)
    tx.execute(
        f"INSERT INTO identity__sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
        msgspec.structs.astuple(session),
    )
    rows = tx.all(
        "SELECT id FROM identity__sessions WHERE account = ? AND ended IS NULL AND expires_at > ? AND id <> ? "
        "ORDER BY used_at DESC LIMIT 1000 OFFSET ?",
        [account, now, session.id, most - 1],
    )
    crowded = [row["id"] for row in rows]
    for id in crowded:
        end(tx, id, LOGGED_OUT)
    return session, _give(tx, session.id), crowded


def renew(tx: Any, refresh: str, now: float, seconds: float) -> tuple[Session, str] | Session | None:
    """Spend a refresh token: return its session and the next one.

    None when it is unknown or its session is over; the session alone when it was spent before, which ended it.
    """
    row = tx.one("SELECT session, spent_at FROM identity__refreshes WHERE hash = ?", [hashed(refresh)])
    session = None if row is None else find(tx, row["session"])
    if session is None or session.ended is not None or session.expires_at <= now:
        return None
    if row["spent_at"] is not None:
        end(tx, session.id, REVOKED)
        return session
    tx.execute("UPDATE identity__refreshes SET spent_at = ? WHERE hash = ?", [now, hashed(refresh)])
    tx.execute(
        "DELETE FROM identity__refreshes WHERE hash IN (SELECT hash FROM identity__refreshes "
        "WHERE session = ? AND spent_at IS NOT NULL ORDER BY spent_at DESC LIMIT -1 OFFSET ?)",
        [session.id, SPENT_KEPT],
    )
    tx.execute(
        "UPDATE identity__sessions SET used_at = ?, expires_at = ? WHERE id = ?", [now, now + seconds, session.id]
    )
    return msgspec.structs.replace(session, used_at=now, expires_at=now + seconds), _give(tx, session.id)


def end(tx: Any, id: str, how: str) -> None:
    """End a session. Revoked is what was logged out before, too, and never the other way round."""
    tx.execute(
        "UPDATE identity__sessions SET ended = ? WHERE id = ? AND (ended IS NULL OR ended <> ?)", [how, id, REVOKED]
    )


def end_all(tx: Any, account: str, how: str) -> list[str]:
    """End every session of an account; return their ids."""
    rows = tx.all("SELECT id FROM identity__sessions WHERE account = ? AND ended IS NULL", [account])
    ids = [row["id"] for row in rows]
    for id in ids:
        end(tx, id, how)
    return ids


def prune(tx: Any, now: float, most: int) -> int:
    """Forget sessions that are long over, and their refresh tokens, at most so many of each kind; return how many.

    That one was revoked is remembered for as long as a run may be parked that was set going in it.
    """
    found = [
        *tx.all(
            "SELECT id FROM identity__sessions WHERE expires_at < ? AND ended IS NULL LIMIT ?",
            [now - OVER_KEPT_S, most],
        ),
        *tx.all(
            "SELECT id FROM identity__sessions WHERE ended = ? AND used_at < ? LIMIT ?",
            [LOGGED_OUT, now - OVER_KEPT_S, most],
        ),
        *tx.all(
            "SELECT id FROM identity__sessions WHERE ended = ? AND used_at < ? LIMIT ?",
            [REVOKED, now - REVOKED_KEPT_S, most],
        ),
    ]
    for row in found:
        tx.execute("DELETE FROM identity__refreshes WHERE session = ?", [row["id"]])
        tx.execute("DELETE FROM identity__sessions WHERE id = ?", [row["id"]])
    return len(found)


def _give(tx: Any, session: str) -> str:
    refresh = new_secret(PREFIX)
    tx.execute("INSERT INTO identity__refreshes (hash, session) VALUES (?, ?)", [hashed(refresh), session])
    return refresh
