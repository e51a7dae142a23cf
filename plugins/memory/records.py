"""Writing entries: what runs in the writer's thread, within one savepoint, on behalf of one owner.

Every function takes the transaction first. Table, index of words, tags and counts change together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kernel import TooLarge

from .entries import Draft, Entry, draft, entry_of, read
from .settings import Settings

STORED, UPDATED, DELETED, CLEARED = "memory.stored", "memory.updated", "memory.deleted", "memory.cleared"

TOLD_EACH = 100
"""Up to so many deletions of one write are told one by one; more of them as one `memory.cleared` with their number."""

_FIND = "SELECT * FROM memory__records WHERE owner = ? AND id = ?"


def find(tx: Any, owner: str, identity: str) -> Any:
    """Return the row of this owner's entry, or None."""
    return tx.one(_FIND, (owner, identity))


def insert(tx: Any, owner: str, new: Draft, now: float, settings: Settings) -> Entry:
    """Write an entry that is not there yet and return it; raise `TooLarge` when the owner has as many as he may."""
    count = change_count(tx, owner, "records", 1)
    if count > settings.records_per_owner:
        raise TooLarge(
            f"{owner} has {settings.records_per_owner} entries, which is [plugins.memory] records_per_owner; "
            "forget some first",
            code="MEMORY_FULL",
        )
    created = now if new.created_at is None else new.created_at
    cursor = tx.execute(
        "INSERT INTO memory__records (owner, id, collection, created_at, updated_at, archived, document) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (owner, new.id, new.collection, created, now, new.archived, new.document),
    )
    _index(tx, owner, cursor.lastrowid, new, created)
    tx.publish(STORED, told(owner, new))
    return entry_of(new, created, now)


def overwrite(tx: Any, owner: str, row: Any, new: Draft, now: float) -> Entry:
    """Put `new` in the place of an entry that is there, and return it; it keeps its age unless it brings one."""
    created = row["created_at"] if new.created_at is None else new.created_at
    tx.execute(
        "UPDATE memory__records SET collection = ?, created_at = ?, updated_at = ?, archived = ?, document = ? "
        "WHERE seq = ?",
        (new.collection, created, now, new.archived, new.document, row["seq"]),
    )
    _unindex(tx, [row["seq"]])
    _index(tx, owner, row["seq"], new, created)
    tx.publish(UPDATED, told(owner, new))
    return entry_of(new, created, now)


def put(tx: Any, owner: str, new: Draft, now: float, settings: Settings) -> Entry:
    """Write an entry, in the place of the one with its id if there is one, and return it."""
    row = find(tx, owner, new.id)
    return insert(tx, owner, new, now, settings) if row is None else overwrite(tx, owner, row, new, now)


def merge(
    tx: Any, owner: str, identity: str, changes: Mapping[str, Any], now: float, settings: Settings
) -> Entry | None:
    """Merge fields into an entry (the right side wins) and return it; None when there is none with that id."""
    row = find(tx, owner, identity)
    if row is None:
        return None
    merged = {**read(row), **changes, "id": identity}
    return overwrite(tx, owner, row, draft(merged, settings), now)


def drop(tx: Any, owner: str, rows: Sequence[Any]) -> int:
    """Delete the entries of rows that have `seq`, `id` and `document`; return how many those were."""
    if not rows:
        return 0
    numbers = [(row["seq"],) for row in rows]
    _unindex(tx, [row["seq"] for row in rows])
    tx.executemany("DELETE FROM memory__records WHERE seq = ?", numbers)
    change_count(tx, owner, "records", -len(rows))
    if len(rows) > TOLD_EACH:
        tx.publish(CLEARED, {"owner": owner, "count": len(rows)})
        return len(rows)
    for row in rows:
        tags = msgspec.json.decode(row["document"])["tags"]
        tx.publish(DELETED, {"id": row["id"], "owner": owner, "tags": tags})
    return len(rows)


def rows_of(tx: Any, owner: str, ids: Iterable[str]) -> list[Any]:
    """Return the rows of those of the ids that the owner has."""
    return tx.all(  # type: ignore[no-any-return]
        "SELECT seq, id, document FROM memory__records WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
        (owner, json.dumps(list(ids))),
    )


def change_count(tx: Any, owner: str, column: str, by: int) -> int:
    """Change how many `records`, `goals` or `keys` an owner has and return the new number."""
    sql = _COUNTS[column]
    row = tx.one(sql, (owner, by))
    return int(row[0])


_COUNTS = {
    column: f"INSERT INTO memory__owners (owner, {column}) VALUES (?, ?) "  # noqa: S608 - three names of our own
    f"ON CONFLICT (owner) DO UPDATE SET {column} = {column} + excluded.{column} RETURNING {column}"
    for column in ("records", "goals", "keys")
}


def told(owner: str, new: Draft) -> dict[str, Any]:
    """Return what the events about an entry say: never its content."""
    return {"id": new.id, "owner": owner, "tags": list(new.tags), "collection": new.collection}


def _index(tx: Any, owner: str, seq: int, new: Draft, created: float) -> None:
    tx.execute("INSERT INTO memory__fts (rowid, text) VALUES (?, ?)", (seq, new.text))
    if new.tags:
        tx.executemany(
            "INSERT INTO memory__tags (owner, tag, created_at, seq) VALUES (?, ?, ?, ?)",
            [(owner, tag, created, seq) for tag in new.tags],
        )
    if new.suffixed:
        tx.executemany(
            "INSERT INTO memory__suffixed (owner, field, seq) VALUES (?, ?, ?)",
            [(owner, field, seq) for field in new.suffixed],
        )


def _unindex(tx: Any, numbers: Iterable[int]) -> None:
    rows = [(seq,) for seq in numbers]
    tx.executemany("DELETE FROM memory__fts WHERE rowid = ?", rows)
    tx.executemany("DELETE FROM memory__tags WHERE seq = ?", rows)
    tx.executemany("DELETE FROM memory__suffixed WHERE seq = ?", rows)
