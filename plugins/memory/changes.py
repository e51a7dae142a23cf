"""Many changes at once: what a script's transaction commits, and what takes it back (language reference, 12.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from aether_lang.goals import read as read_goal
from kernel import Context

from . import goals, records
from .entries import draft, read

Named = dict[str, Any]


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole `entries` and `goals`, each in the place of the one with its id; ids of the entries that are `deleted`, and
    of the goals that are `gone`."""

    entries: list[Named] = []
    deleted: list[str] = []
    goals: list[Named] = []
    gone: list[str] = []


async def apply(ctx: Context, changes: Changes, source: str) -> Named:
    """Write all of it in one transaction; return the changes that put back what was there before."""
    if changes.deleted:
        await ctx.require("memory:delete", "own")
    if changes.goals or changes.gone:
        await ctx.require("goal:write", "own")
    owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
    drafts = [draft({"source": source, **entry}, settings) for entry in changes.entries]

    def write(tx: Any) -> Named:
        before = _before(tx, owner, changes)
        records.drop(tx, owner, records.rows_of(tx, owner, changes.deleted))
        for new in drafts:
            records.put(tx, owner, new, now, settings)
        for goal in changes.goals:
            goals.put(tx, owner, goal, settings)
        for id in changes.gone:
            goals.drop(tx, owner, id)
        return before

    before: Named = await ctx.store.write(write)
    return before


def _before(tx: Any, owner: str, changes: Changes) -> Named:
    ids = [*(str(entry["id"]) for entry in changes.entries), *changes.deleted]
    entries = _found(records.find(tx, owner, id) for id in ids)
    known = {entry["id"] for entry in entries}
    wanted = [*(str(goal["id"]) for goal in changes.goals), *changes.gone]
    had = [read_goal(row) for row in (goals.find(tx, owner, id) for id in wanted) if row is not None]
    kept = {goal["id"] for goal in had}
    return {
        "entries": entries,
        "deleted": [id for id in ids if id not in known],
        "goals": had,
        "gone": [id for id in wanted if id not in kept],
    }


def _found(rows: Iterable[Any]) -> list[Named]:
    return [dict(read(row)) for row in rows if row is not None]
