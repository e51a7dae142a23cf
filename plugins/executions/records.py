"""Executions as rows: every statement on them, each within one transaction of the store's writer.

Each change of a row appends to its history in the same transaction; a history row is also the event that is published
once the change is committed, and its number `n` travels in the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from kernel import Conflict, NotFound, iso

from .states import TERMINAL, End, State

IDEMPOTENCY_S = 24 * 3600.0
"""For how long a key stands for its first job (promise P3)."""
BATCH = 1_000
"""Rows that one transaction deletes at most (promise P18)."""
RESULT_IN_EVENT = 16 * 1024
"""Bytes of a result that still travel in the event of its end; a larger one is fetched."""

SUMMARY = (
    "seq, id, kind, owner, state, name, error, priority, parent, deadline_s, attempt, "
    "created_at, started_at, completed_at, cancel_requested_at"
)
WHOLE = SUMMARY + ", input, result"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_TIMES = ("created_at", "started_at", "completed_at", "cancel_requested_at")


class Tx(Protocol):
    """What is asked of a transaction."""

    def execute(self, sql: str, params: Any = ()) -> Any:
        """Run one statement."""

    def one(self, sql: str, params: Any = ()) -> Any:
        """Return the first row, or None."""

    def all(self, sql: str, params: Any = (), limit: int | None = None) -> list[Any]:
        """Return the rows."""

    def publish(self, topic: str, data: Any = None) -> None:
        """Publish once committed."""


class Entry(msgspec.Struct, frozen=True):
    """One line of a history: `job.log`, `job.output` or another topic of the job's life, and its data."""

    topic: str
    data: dict[str, Any]


class New(msgspec.Struct, frozen=True):
    """What a submit brings."""

    id: str
    kind: str
    owner: str
    caller: dict[str, Any]
    name: str
    input: dict[str, Any]
    priority: int
    parent: str | None
    trace: str
    deadline_s: float | None
    key: str | None

    @property
    def digest(self) -> str:
        """The hash by which a repeated submit is told from another one under the same key."""
        asked = _encode([self.kind, self.name, self.input, self.priority, self.parent, self.deadline_s])
        return hashlib.sha256(asked).hexdigest()


def shown(row: Any) -> dict[str, Any]:
    """Return a row as plain data, with times as text and JSON decoded."""
    data = dict(row)
    if "completed_at" in data:
        ran = data["completed_at"] is not None and data["started_at"] is not None
        data["duration_s"] = round(data["completed_at"] - data["started_at"], 6) if ran else None
    for name in _TIMES:
        if data.get(name) is not None:
            data[name] = iso(data[name])
    for name in ("input", "result", "error"):
        if data.get(name) is not None:
            data[name] = _decode(data[name])
    return data


def append(tx: Tx, execution: str, at: float, entries: Sequence[Entry]) -> None:
    """Append to the history of an execution, and publish each entry as an event once that is committed."""
    for entry in entries:
        cursor = tx.execute(
            "INSERT INTO executions__history (execution, at, topic, data) VALUES (?, ?, ?, ?)",
            (execution, at, entry.topic, _encode(entry.data).decode()),
        )
        tx.publish(entry.topic, event_data(execution, cursor.lastrowid, entry.data))


def event_data(execution: str, n: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the event of a history row carries."""
    return {"job_id": execution, "n": n, **data}


def insert(tx: Tx, new: New, now: float) -> dict[str, Any]:
    """Insert a pending execution, or find the one that its key stands for; `replayed` says which.

    Raises `Conflict` when the key stands for another request.
    """
    if new.key is not None:
        earlier = _earlier(tx, new, now)
        if earlier is not None:
            return earlier | {"replayed": True}
    values = {
        "id": new.id,
        "kind": new.kind,
        "owner": new.owner,
        "caller": _encode(new.caller).decode(),
        "state": "pending",
        "name": new.name,
        "input": _encode(new.input).decode(),
        "priority": new.priority,
        "parent": new.parent,
        "trace": new.trace,
        "deadline_s": new.deadline_s,
        "created_at": now,
    }
    tx.execute(
        "INSERT INTO executions__executions (id, kind, owner, caller, state, name, input, priority, parent, trace, "
        "deadline_s, created_at) VALUES (:id, :kind, :owner, :caller, :state, :name, :input, :priority, :parent, "
        ":trace, :deadline_s, :created_at)",
        values,
    )
    if new.key is not None:
        tx.execute(
            "INSERT INTO executions__idempotency (principal, key, body, execution, at) VALUES (?, ?, ?, ?, ?)",
            (new.owner, new.key, new.digest, new.id, now),
        )
    told = {"kind": new.kind, "name": new.name, "owner": new.owner, "state": "pending", "priority": new.priority}
    append(tx, new.id, now, [Entry("job.created", told)])
    return shown(find(tx, new.id)) | {"replayed": False}


def _earlier(tx: Tx, new: New, now: float) -> dict[str, Any] | None:
    row = tx.one(
        "SELECT body, execution, at FROM executions__idempotency WHERE principal = ? AND key = ?", (new.owner, new.key)
    )
    if row is None:
        return None
    first = tx.one(f"SELECT {WHOLE} FROM executions__executions WHERE id = ?", (row["execution"],))  # noqa: S608
    if row["at"] <= now - IDEMPOTENCY_S or first is None:
        tx.execute("DELETE FROM executions__idempotency WHERE principal = ? AND key = ?", (new.owner, new.key))
        return None
    if row["body"] != new.digest:
        raise Conflict(
            f"the Idempotency-Key {new.key!r} was used for another request within the last 24 hours; use a new one",
            details={"key": new.key, "job_id": row["execution"]},
            code="IDEMPOTENCY_KEY_REUSED",
        )
    return shown(first)


def find(tx: Tx, execution: str) -> Any:
    """Return the row, or raise `NotFound`."""
    row = tx.one(f"SELECT {WHOLE} FROM executions__executions WHERE id = ?", (execution,))  # noqa: S608
    if row is None:
        raise unknown(execution)
    return row


def unknown(execution: str) -> NotFound:
    """Return the error for an id that does not exist, or belongs to somebody else, which must look the same."""
    return NotFound(f"there is no job {execution[:80]!r}", details={"job_id": execution[:80]}, code="JOB_NOT_FOUND")


def claim(tx: Tx, execution: str, now: float) -> dict[str, Any] | None:
    """Make a pending execution running and count the attempt; None when it is pending no longer."""
    changed = tx.execute(
        "UPDATE executions__executions SET state = 'running', attempt = attempt + 1, started_at = ? "
        "WHERE id = ? AND state = 'pending'",
        (now, execution),
    ).rowcount
    if not changed:
        return None
    row = tx.one(f"SELECT {WHOLE}, caller, trace FROM executions__executions WHERE id = ?", (execution,))  # noqa: S608
    told = {
        "kind": row["kind"],
        "name": row["name"],
        "owner": row["owner"],
        "state": "running",
        "attempt": row["attempt"],
    }
    append(tx, execution, now, [Entry("job.started", told)])
    return shown(row) | {"caller": _decode(row["caller"]), "trace": row["trace"]}


def finish(tx: Tx, execution: str, attempt: int, end: End, now: float) -> bool:
    """Give this attempt its one end; False when the execution is not running it any more."""
    result = None if end.result is None else _encode(end.result).decode()
    error = None if end.error is None else _encode(end.error).decode()
    changed = tx.execute(
        "UPDATE executions__executions SET state = ?, result = ?, error = ?, completed_at = ? "
        "WHERE id = ? AND state = 'running' AND attempt = ?",
        (end.state, result, error, now, execution, attempt),
    ).rowcount
    if not changed:
        return False
    row = tx.one("SELECT kind, name, owner FROM executions__executions WHERE id = ?", (execution,))
    told: dict[str, Any] = {"kind": row["kind"], "name": row["name"], "owner": row["owner"], "state": end.state}
    if end.error is not None:
        told["error"] = msgspec.to_builtins(end.error)
    elif result is None or len(result) <= RESULT_IN_EVENT:
        told["result"] = end.result
    append(tx, execution, now, [Entry(f"job.{end.state}", told)])
    return True


def cancel_requested(tx: Tx, execution: str, attempt: int) -> bool:
    """Tell whether a cancellation of this attempt was accepted."""
    row = tx.one(
        "SELECT cancel_requested_at FROM executions__executions WHERE id = ? AND attempt = ?", (execution, attempt)
    )
    return row is not None and row["cancel_requested_at"] is not None


def ask_to_cancel(tx: Tx, execution: str, error: Any, now: float) -> State:
    """Cancel what is pending, note the wish for what is running; return the state it now has.

    Raises `Conflict` for what is over.
    """
    row = find(tx, execution)
    state: State = row["state"]
    if state in TERMINAL:
        raise Conflict(
            f"the job is {state} already; only one that is pending or running can be cancelled",
            details={"job_id": execution, "status": state},
            code="JOB_FINISHED",
        )
    tx.execute(
        "UPDATE executions__executions SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?",
        (now, execution),
    )
    if state == "running":
        return state
    tx.execute(
        "UPDATE executions__executions SET state = 'cancelled', completed_at = ?, error = ? WHERE id = ?",
        (now, _encode(error).decode(), execution),
    )
    told = {
        "kind": row["kind"],
        "name": row["name"],
        "owner": row["owner"],
        "state": "cancelled",
        "error": msgspec.to_builtins(error),
    }
    append(tx, execution, now, [Entry("job.cancelled", told)])
    return "cancelled"


def forget_old(tx: Tx, before: float, owner: str | None) -> tuple[int, bool]:
    """Delete at most `BATCH` rows of executions that ended before that time: first history, then the executions.

    Returns how many executions went, and whether there may be more to delete.
    """
    whose = "" if owner is None else " AND owner = ?"
    params = (before,) if owner is None else (before, owner)
    oldest = (
        "SELECT id FROM executions__executions WHERE completed_at IS NOT NULL "  # noqa: S608
        f"AND completed_at < ?{whose} ORDER BY completed_at LIMIT {BATCH}"
    )
    lines = tx.execute(
        "DELETE FROM executions__history WHERE seq IN "  # noqa: S608
        f"(SELECT seq FROM executions__history WHERE execution IN ({oldest}) LIMIT {BATCH})",
        params,
    ).rowcount
    if lines:
        return 0, True
    gone = tx.execute(f"DELETE FROM executions__executions WHERE id IN ({oldest})", params).rowcount  # noqa: S608
    return gone, gone == BATCH


def forget_keys(tx: Tx, now: float) -> int:
    """Delete at most `BATCH` idempotency keys whose time is over; return how many."""
    rows = tx.all(
        "SELECT principal, key FROM executions__idempotency WHERE at <= ? LIMIT ?", (now - IDEMPOTENCY_S, BATCH)
    )
    for row in rows:
        tx.execute(
            "DELETE FROM executions__idempotency WHERE principal = ? AND key = ?", (row["principal"], row["key"])
        )
    return len(rows)
