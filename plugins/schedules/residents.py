"""Resident scripts: what one registers, as rows beside it, and read anew when the script changes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from kernel import AetherraError, BadInput, Context, NotFound, TooLarge

from . import records, timing
from .callers import acting_for
from .firing import TRANSIENT
from .settings import Settings

changed = asyncio.Event()
"""Set when what is to be followed may be another."""


def check(found: Mapping[str, Any], settings: Settings) -> None:
    """Raise `BadInput` for a script that registers nothing, `TooLarge` for one that registers too much."""
    parts = [found["registers"].get(kind, []) for kind in ("schedules", "events", "conditions")]
    count = sum(map(len, parts))
    if not count:
        raise BadInput(
            f"{found['name']} registers nothing: a resident script has a schedule (`schedule:` of meta or a plugin "
            "block, `every 5 minutes:`), a handler (`on event`, `when name:`) or a condition (`when load > 0.75:`)",
            details={"field": "script"},
            code="NOTHING_REGISTERED",
        )
    if count > settings.registered:
        raise TooLarge(
            f"{found['name']} registers {count} schedules, events and conditions; a resident script has at most "
            f"{settings.registered} ([plugins.schedules] registered)",
            code="SCHEDULES_FULL",
        )


def followed(registers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resident row keeps of a script's registrations; schedules are rows of their own."""
    return {"events": registers.get("events", []), "conditions": registers.get("conditions", [])}


def children(resident: records.New, registers: Mapping[str, Any], now: float) -> list[records.New]:
    """Return the schedules that a script registers, as rows to be made."""
    return [_child(resident, one, now) for one in registers.get("schedules", [])]


def _child(resident: records.New, one: Mapping[str, Any], now: float) -> records.New:
    when = timing.parsed(one["schedule"], one["tz"])
    return msgspec.structs.replace(
        resident,
        id=str(uuid.uuid4()),
        kind="time",
        source="script",
        entry=one["entry"],
        written=one["schedule"],
        schedule=timing.stored(when),
        every=when.seconds,
        tz=when.tz,
        next_due=timing.due_after(when, now),
        resident=resident.id,
        hash=None,
        registers=None,
        key=None,
    )


async def renew(own: Context, scripts: Sequence[str] | None = None) -> None:
    """Read the registrations of resident scripts anew: of all, or of those with these names."""
    for row in own.store.all(
        "SELECT * FROM schedules__schedules WHERE kind = 'resident' ORDER BY seq", limit=1_000_000
    ):
        if scripts is None or row["script"] in scripts:
            await _renew(own, row)
    changed.set()


async def _renew(own: Context, row: Any) -> None:
    ctx = acting_for(own, records.decode(row["caller"]))
    try:
        found = await ctx.service("scripts").registers(row["script"])
        if found["hash"] == row["hash"] and row["reason"] is None:
            return
        check(found, own.settings)
        await own.store.write(partial(_adopt, row["id"], found, own.clock.now(), own.settings))
    except NotFound:
        await own.store.write(partial(_lost, row["id"]))
    except TRANSIENT as error:
        own.log.warning("what %s registers could not be read, the last known is kept: %s", row["script"], error)
    except AetherraError as error:
        await own.store.write(partial(_unread, row["id"], f"{error.code}: {error.message}"))


# Run in the writer's thread, with the transaction.

GONE = "the script is gone from the script folders; it goes on when it is there again"


def _adopt(id: str, found: Mapping[str, Any], now: float, settings: Settings, tx: Any) -> None:
    """Make the rows of a resident those that its script registers now; what stayed the same keeps its times."""
    row = records.find(tx, id)
    resident = _as_new(row)
    wanted = {(one.entry, one.schedule): one for one in children(resident, found["registers"], now)}
    revived = row["reason"] == GONE
    for child in tx.all("SELECT * FROM schedules__schedules WHERE resident = ?", (id,)):
        known = wanted.pop((child["entry"], child["schedule"]), None)
        if known is None:
            tx.execute("DELETE FROM schedules__schedules WHERE id = ?", (child["id"],))
        elif revived:
            tx.execute(
                "UPDATE schedules__schedules SET enabled = 1, reason = NULL, next_due = ? WHERE id = ?",
                (known.next_due, child["id"]),
            )
    for one in wanted.values():
        records.insert(tx, msgspec.structs.replace(one, enabled=revived or bool(row["enabled"])), now, settings)
    tx.execute(
        "UPDATE schedules__schedules SET hash = ?, registers = ?, failure = NULL, reason = NULL, enabled = ? "
        "WHERE id = ?",
        (found["hash"], records.encode(followed(found["registers"])).decode(), int(revived or row["enabled"]), id),
    )


def _as_new(row: Mapping[str, Any]) -> records.New:
    return records.New(
        id=row["id"],
        owner=row["owner"],
        caller=records.decode(row["caller"]),
        kind="resident",
        source="request",
        script=row["script"],
        entry=None,
        parameters=records.decode(row["parameters"]),
        written=None,
        schedule=None,
        every=None,
        tz=row["tz"],
        enabled=bool(row["enabled"]),
        next_due=None,
    )


def _lost(id: str, tx: Any) -> None:
    row = records.find(tx, id)
    if row["enabled"]:
        records.switch(tx, id, on=False, due={}, reason=GONE)
        records.tell(tx, "schedule.failed", row, reason=GONE)


def _unread(id: str, why: str, tx: Any) -> None:
    row = records.find(tx, id)
    if row["failure"] != why[: records.REASON_CHARS]:
        tx.execute("UPDATE schedules__schedules SET failure = ? WHERE id = ?", (why[: records.REASON_CHARS], id))
        records.tell(tx, "schedule.failed", row, reason=why[: records.REASON_CHARS])
