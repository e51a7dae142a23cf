"""Creates with an Idempotency-Key: the same key and body get the first answer again, another body is refused.

An answer is kept in the same savepoint as what it answers for, so a crash leaves both or neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from kernel import BadInput, Conflict, Overloaded

from .records import change_count
from .settings import Settings

KEY_CHARS = 255


class Answer(msgspec.Struct):
    """The record that a create made, and whether this was an earlier create's answer."""

    record: dict[str, Any]
    replayed: bool


def once(
    tx: Any, owner: str, key: str, body: Any, make: Callable[[], dict[str, Any]], now: float, settings: Settings
) -> Answer:
    """Return what `make` returns, or what it returned when this owner first used this key.

    Raises `Conflict` when the key came with another body before.
    """
    if not 0 < len(key) <= KEY_CHARS:
        raise BadInput(f"Idempotency-Key: expected 1 to {KEY_CHARS} characters, got {len(key)}")
    oldest = now - settings.answers_h * 3_600
    expired = tx.execute("DELETE FROM memory__answers WHERE owner = ? AND at < ?", (owner, oldest)).rowcount
    if expired:
        change_count(tx, owner, "keys", -expired)
    digest = hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    row = tx.one("SELECT digest, answer FROM memory__answers WHERE owner = ? AND key = ?", (owner, key))
    if row is not None:
        if row["digest"] != digest:
            raise Conflict(
                "this Idempotency-Key came with another body before; use a new key for a new request",
                code="IDEMPOTENCY_KEY_REUSED",
                details={"key": key},
            )
        return Answer(msgspec.json.decode(row["answer"]), replayed=True)
    if change_count(tx, owner, "keys", 1) > settings.answers_per_owner:
        raise Overloaded(
            f"{settings.answers_per_owner} answers to creates with an Idempotency-Key are kept already, which is "
            "[plugins.memory] answers_per_owner; leave the key out, or try again when the oldest has expired",
            retry_after_s=3_600,
        )
    record = make()
    tx.execute(
        "INSERT INTO memory__answers (owner, key, digest, answer, at) VALUES (?, ?, ?, ?, ?)",
        (owner, key, digest, msgspec.json.encode(record).decode(), now),
    )
    return Answer(record, replayed=False)
