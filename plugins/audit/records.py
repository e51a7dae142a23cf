"""A record as it is kept: plain data with a number, its row in the table, and the reading of such rows."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from kernel import AuditRecord, iso

from .chain import ZERO, canonical, linked, tidy

CHAIN, TEXT = 1_000, 500
"""Characters kept of a chain, and of any other text of a record."""
ARROW = " → "


class Reads(Protocol):
    """What is asked of a store, or of a transaction."""

    def one(self, sql: str, params: Any = ()) -> Any:
        """Return the first row, or None."""


class Tx(Reads, Protocol):
    """What is asked of a transaction."""

    def execute(self, sql: str, params: Any = ()) -> Any:
        """Run one statement."""


def plain_record(record: AuditRecord, largest: int) -> dict[str, Any]:
    """Return the record as it is hashed, but for its number: what is empty left out, what is too long cut.

    Details whose text is longer than `largest` bytes are replaced by that length.
    """
    details = tidy(record.details)
    size = len(canonical(details).encode()) if details else 0
    if size > largest:
        details = {"left_out_bytes": size}
    fields = {
        "action": record.action[:TEXT],
        "at": iso(record.at),
        "capability": record.capability[:TEXT],
        "chain": _cut(record.chain, CHAIN),
        "details": details,
        "outcome": record.outcome,
        "plugin": record.plugin[:TEXT],
        "policy": record.policy[:TEXT],
        "reason": _cut(record.reason, TEXT),
        "source": _cut(record.source, TEXT),
        "trace": record.trace[:TEXT],
    }
    return {name: value for name, value in fields.items() if value}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def head(store: Reads) -> tuple[int, str]:
    """Return number and hash of the last record; (0, zeros) before the first."""
    row = store.one("SELECT seq, hash FROM audit__records ORDER BY seq DESC LIMIT 1")
    return (row["seq"], row["hash"]) if row is not None else (0, ZERO)


def append(record: dict[str, Any], tx: Tx) -> int:
    """In the writer's thread: add the record after the last one; return its number."""
    last, previous = head(tx)
    seq = last + 1
    text = canonical({**record, "seq": seq})
    tx.execute(
        "INSERT INTO audit__records (seq, action, outcome, principal, capability, record, hash) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (seq, *columns(record), text, linked(previous, text)),
    )
    return seq


def appending(record: dict[str, Any]) -> Any:
    """Return the write that adds this record."""
    return partial(append, record)


def columns(record: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what a row has beside its record, to be found by: action, outcome, principal, capability."""
    who = principal_of(record.get("chain", ""))
    return record["action"], record["outcome"], who, record.get("capability", "")


def principal_of(chain: str) -> str:
    """Return who began a chain."""
    return chain.partition(ARROW)[0]


def page(
    *, before: int | None, action: str | None, outcome: str | None, principal: str | None, capability: str | None
) -> tuple[str, list[Any]]:
    """Return the statement, without its LIMIT, that reads records from the newest on, and its parameters.

    An action, as a capability, also stands for all that begin with it: `login` for `login.failed`.
    """
    conditions: list[str] = []
    values: list[Any] = []
    if before is not None:
        conditions.append("seq < ?")
        values.append(before)
    for column, value in (("outcome", outcome), ("principal", principal)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    for column, value, mark in (("action", action, "."), ("capability", capability, ":")):
        if value is not None:
            start = value.rstrip(mark) + mark
            conditions.append(f"({column} = ? OR substr({column}, 1, ?) = ?)")
            values += [value, len(start), start]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT seq, record, hash FROM audit__records{where} ORDER BY seq DESC LIMIT ?", values  # noqa: S608
