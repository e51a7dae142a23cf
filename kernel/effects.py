"""Exactly once: the result of a write beneath a durable call, kept in the same savepoint as what it wrote.

The same call made again, after a crash say, finds its row and gets the stored result instead of a second effect.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from kernel.errors import BadInput, Conflict, TooLarge

EffectKey = tuple[str, int] | tuple[str, int, str]
"""The key of the durable call, the number of its write, and where the caller has one a hash of what it asks for."""
Effect = tuple[str, int, str]
"""The same, with a hash that also tells which function of which namespace writes."""

TABLE = """CREATE TABLE IF NOT EXISTS kernel__effects (
    key TEXT NOT NULL, n INTEGER NOT NULL, hash TEXT NOT NULL, result BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (key, n)) WITHOUT ROWID"""


def identify(effect: EffectKey, namespace: str, fn: Callable[..., Any]) -> Effect:
    """Return the effect with its hash."""
    named: Any = fn
    while isinstance(named, partial):
        named = named.func
    asked = effect[2] if len(effect) == 3 else ""
    name = getattr(named, "__qualname__", type(named).__qualname__)
    digest = hashlib.sha256(f"{namespace}\0{name}\0{asked}".encode()).hexdigest()
    return effect[0], effect[1], digest


def once(connection: sqlite3.Connection, effect: Effect, run: Callable[[], Any], *, at: float, largest: int) -> Any:
    """Return what `run` returned the first time, and run it only then; `at` is now, `largest` in bytes.

    Raises `Conflict` (code EFFECT_CHANGED) where the row was left by another write, `BadInput` for a result that is not
    plain data, and `TooLarge`.
    """
    key, n, digest = effect
    row = connection.execute("SELECT hash, result FROM kernel__effects WHERE key = ? AND n = ?", (key, n)).fetchone()
    if row is not None:
        if row["hash"] != digest:
            raise Conflict(
                f"write {n} of the call {key!r} is not the one it was the first time; the run is not deterministic "
                "or the plugin's code has changed in between",
                code="EFFECT_CHANGED",
                details={"key": key, "n": n},
            )
        return msgspec.msgpack.decode(row["result"])
    result = run()
    try:
        stored = msgspec.msgpack.encode(result, enc_hook=_plain_row)
    except (TypeError, NotImplementedError) as error:
        raise BadInput(f"the result of a write beneath a durable call is plain data: {error}") from error
    if len(stored) > largest:
        raise TooLarge(f"the result of a write beneath a durable call has {len(stored)} bytes, more than {largest}")
    connection.execute(
        "INSERT INTO kernel__effects (key, n, hash, result, at) VALUES (?, ?, ?, ?, ?)", (key, n, digest, stored, at)
    )
    # Decoded again, so that the first time and every later one return the same shape.
    return msgspec.msgpack.decode(stored)


def forget(connection: sqlite3.Connection, prefix: str, batch: int) -> int:
    """Delete the effects whose key begins with `prefix`, at most `batch` of them; return how many those were."""
    sql = (
        "DELETE FROM kernel__effects WHERE (key, n) IN (SELECT key, n FROM kernel__effects "
        "WHERE key >= ? AND key < ? LIMIT ?)"
    )
    return connection.execute(sql, (prefix, prefix + "\U0010ffff", batch)).rowcount


def _plain_row(value: Any) -> Any:
    if isinstance(value, sqlite3.Row):
        return {name: value[name] for name in value.keys()}  # noqa: SIM118 - iterating a Row gives its values
    raise NotImplementedError(f"{type(value).__name__} is not plain data")
