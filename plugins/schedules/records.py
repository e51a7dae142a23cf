"""Schedules as rows: what runs in the writer's thread, within one savepoint.

Every function takes the transaction first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kernel import Conflict, NotFound, TooLarge, iso

from .settings import Settings

REPLAY_S = 24 * 3600.0
"""For how long an Idempotency-Key stands for the schedule that was made with it."""
REASON_CHARS = 500
_TIMES = ("created_at", "next_due", "last_due", "last_started_at")
_HIDDEN = ("seq", "caller", "every", "hash", "key", "digest")

encode = msgspec.json.Encoder().encode
decode = msgspec.json.decode


class New(msgspec.Struct, frozen=True):
    """A schedule that is to be made. `source` is `request`, `script` (a resident registers it) or `run`."""

    id: str
    owner: str
    caller: dict[str, Any]
    kind: str
    source: str
    script: str
    entry: str | None
    parameters: dict[str, Any]
    written: str | float | None
    schedule: str | None
    every: float | None
    tz: str
    enabled: bool
    next_due: float | None
    resident: str | None = None
    hash: str | None = None
    registers: dict[str, Any] | None = None
    key: str | None = None

    @property
    def digest(self) -> str:
        """The hash by which a repeated request is told from another one under the same key."""
        asked = [self.kind, self.script, self.entry, self.parameters, self.written, self.tz, self.enabled]
        return hashlib.sha256(encode(asked)).hexdigest()


def insert(tx: Any, new: New, now: float, settings: Settings) -> None:
    """Write a schedule; raise `TooLarge` when its owner, or the hub, has as many as may be."""
    own = tx.one("SELECT count(*) AS n FROM schedules__schedules WHERE owner = ?", (new.owner,))["n"]
    if own >= settings.per_owner:
        raise _full(f"{new.owner} has {own} schedules", "per_owner")
    if tx.one("SELECT count(*) AS n FROM schedules__schedules")["n"] >= settings.total:
        raise _full(f"there are {settings.total} schedules", "total")
    tx.execute(
        "INSERT INTO schedules__schedules (id, owner, caller, kind, source, resident, script, entry, parameters, "
        "written, schedule, every, tz, enabled, hash, registers, created_at, next_due, key, digest) VALUES "
        "(:id, :owner, :caller, :kind, :source, :resident, :script, :entry, :parameters, :written, :schedule, :every, "
        ":tz, :enabled, :hash, :registers, :created_at, :next_due, :key, :digest)",
        {
            **msgspec.structs.asdict(new),
            "caller": encode(new.caller).decode(),
            "parameters": encode(new.parameters).decode(),
            "written": None if new.written is None else encode(new.written).decode(),
            "registers": None if new.registers is None else encode(new.registers).decode(),
            "enabled": int(new.enabled),
            "created_at": now,
            "digest": None if new.key is None else new.digest,
        },
    )


def _full(what: str, setting: str) -> TooLarge:
    return TooLarge(f"{what}, which is [plugins.schedules] {setting}; remove some first", code="SCHEDULES_FULL")


def replayed(tx: Any, new: New, now: float) -> str | None:
    """Return the id of the schedule that the key of this request stands for; `Conflict` when it was another request."""
    row = tx.one(
        "SELECT id, digest FROM schedules__schedules WHERE owner = ? AND key = ? AND created_at > ?",
        (new.owner, new.key, now - REPLAY_S),
    )
    if row is None:
        # An old key may stand for another schedule again.
        tx.execute("UPDATE schedules__schedules SET key = NULL WHERE owner = ? AND key = ?", (new.owner, new.key))
        return None
    if row["digest"] != new.digest:
        raise Conflict(
            f"the Idempotency-Key {new.key!r} was used for another request within the last 24 hours; use a new one",
            details={"key": new.key, "id": row["id"]},
            code="IDEMPOTENCY_KEY_REUSED",
        )
    return str(row["id"])


def find(tx: Any, id: str) -> Any:
    """Return the row, or raise `NotFound`."""
    row = tx.one("SELECT * FROM schedules__schedules WHERE id = ?", (id,))
    if row is None:
        raise unknown(id)
    return row


def unknown(id: str) -> NotFound:
    """Return the error for an id that does not exist, or belongs to somebody else, which must look the same."""
    return NotFound(f"there is no schedule {id[:80]!r}", details={"id": id[:80]}, code="SCHEDULE_NOT_FOUND")


def shown(row: Any) -> dict[str, Any]:
    """Return a row as plain data, times as text and JSON decoded."""
    data = {name: row[name] for name in row.keys() if name not in _HIDDEN}  # noqa: SIM118 - a row has no items
    for name in _TIMES:
        data[name] = None if data[name] is None else iso(data[name])
    for name in ("parameters", "written", "schedule", "registers"):
        data[name] = None if data[name] is None else decode(data[name])
    data["enabled"] = bool(data["enabled"])
    return data


# What becomes of one that is due --------------------------------------------------------------------------------


def started(tx: Any, row: Mapping[str, Any], job: str, now: float, next_due: float | None, missed: int) -> bool:
    """Note a run; False when the schedule is gone or was moved on meanwhile."""
    changed = tx.execute(
        "UPDATE schedules__schedules SET runs = runs + 1, last_job = ?, last_started_at = ?, last_due = ?, "
        "next_due = ?, missed = missed + ?, failure = NULL WHERE id = ? AND next_due = ?",
        (job, now, row["next_due"], next_due, missed, row["id"], row["next_due"]),
    ).rowcount
    if changed:
        tell(tx, "schedule.fired", row, job_id=job, due=iso(row["next_due"]), missed=missed)
    return bool(changed)


def passed_over(
    tx: Any, row: Mapping[str, Any], why: str, next_due: float | None, missed: int, *, failed: bool
) -> bool:
    """Note a due time without a run: skipped, or failed because the run was not accepted."""
    columns = "failed = failed + 1, failure = ?" if failed else "skipped = skipped + 1, skip_reason = ?"
    changed = tx.execute(
        f"UPDATE schedules__schedules SET {columns}, last_due = ?, next_due = ?, missed = missed + ? "  # noqa: S608
        "WHERE id = ? AND next_due = ?",
        (why[:REASON_CHARS], row["next_due"], next_due, missed, row["id"], row["next_due"]),
    ).rowcount
    if changed:
        topic = "schedule.failed" if failed else "schedule.skipped"
        tell(tx, topic, row, reason=why[:REASON_CHARS], due=iso(row["next_due"]))
    return bool(changed)


def noted(
    tx: Any, row: Mapping[str, Any], now: float, *, job: str | None, skipped: int, why: str, failure: str | None
) -> None:
    """Note what a resident script did for an event or a condition: a run, what was skipped before it, or a failure."""
    tx.execute(
        "UPDATE schedules__schedules SET runs = runs + ?, last_job = coalesce(?, last_job), "
        "last_started_at = CASE WHEN ? IS NULL THEN last_started_at ELSE ? END, skipped = skipped + ?, "
        "skip_reason = CASE WHEN ? > 0 THEN ? ELSE skip_reason END, failed = failed + ?, "
        "failure = CASE WHEN ? IS NULL THEN failure ELSE ? END WHERE id = ?",
        (int(job is not None), job, job, now, skipped, skipped, why, int(failure is not None), failure, failure,
         row["id"]),
    )  # fmt: skip
    if job is not None:
        tell(tx, "schedule.fired", row, job_id=job)
    if skipped:
        tell(tx, "schedule.skipped", row, reason=why, count=skipped)
    if failure is not None:
        tell(tx, "schedule.failed", row, reason=failure)


def tell(tx: Any, topic: str, row: Mapping[str, Any], **more: Any) -> None:
    """Publish what happened to a schedule."""
    about = {name: row[name] for name in ("id", "owner", "script", "entry")}
    tx.publish(topic, {**about, **more})


# Changing -------------------------------------------------------------------------------------------------------


def remove(tx: Any, id: str) -> int:
    """Delete a schedule, and what its script registers where it is a resident's; return how many went."""
    return int(tx.execute("DELETE FROM schedules__schedules WHERE id = ? OR resident = ?", (id, id)).rowcount)


def switch(tx: Any, id: str, *, on: bool, due: Mapping[str, float | None], reason: str | None = None) -> None:
    """Enable or disable a schedule and what belongs to it; `due` has the next due time of each that has one."""
    tx.execute(
        "UPDATE schedules__schedules SET enabled = ?, reason = ? WHERE id = ? OR resident = ?",
        (int(on), reason, id, id),
    )
    tx.executemany("UPDATE schedules__schedules SET next_due = ? WHERE id = ?", [(at, one) for one, at in due.items()])


def family(tx: Any, id: str) -> Sequence[Any]:
    """Return the rows of a schedule and of what belongs to it."""
    found: Sequence[Any] = tx.all(
        "SELECT * FROM schedules__schedules WHERE id = ? OR resident = ? ORDER BY seq", (id, id)
    )
    return found
