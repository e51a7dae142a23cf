"""The service `goals`: what a user wants to reach, how far it is, and until when.

To its owner a goal is one flat dict: `id title priority status progress deadline attempts created_at updated_at` (times
in seconds since 1970), `overdue_at` and `completed_at` where they happened, `metrics`, and its free fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from aether_lang import goals as rules
from aether_lang.goals import COLUMNS, FINISHED, LISTED_MOST, STATUSES, Goal, Status, read
from kernel import Context, NotFound, TooLarge, needs

from .deadlines import woken
from .entries import new_id
from .records import change_count
from .refusals import in_kernel_words
from .settings import Settings

Found = list[dict[str, Any]]
Statuses = Status | list[Status]
Page = Annotated[int, msgspec.Meta(ge=1, le=LISTED_MOST)]
Skip = Annotated[int, msgspec.Meta(ge=0)]

_PATCH = (
    "UPDATE memory__goals SET title = ?, priority = ?, status = ?, progress = ?, deadline = ?, overdue_at = ?, "
    "attempts = ?, updated_at = ?, completed_at = ?, document = ? WHERE seq = ?"
)


class Goals:
    """The methods of the service; one object for each generation, which holds nothing."""

    # Writing -----------------------------------------------------------------------------------------------------

    @needs("goal:write")
    async def create(
        self,
        ctx: Context,
        title: str,
        priority: str = "normal",
        deadline: float | str | None = None,
        metrics: dict[str, Any] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> Goal:
        """Create an active goal and return it; `deadline` is a time, or a span such as `2 days` from now."""
        goal = _drafted(ctx, title, priority, deadline, metrics, fields)
        owner, settings = ctx.owner, ctx.settings
        created: Goal = await ctx.store.write(lambda tx: _insert(tx, owner, goal, settings))
        woken.set()
        return created

    @needs("goal:write")
    async def declare(
        self,
        ctx: Context,
        title: str,
        priority: str | None = None,
        deadline: float | str | None = None,
        metrics: dict[str, Any] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> Goal:
        """Return the unfinished goal of that title, with what is given here merged in; create it if there is none.

        So a script that states its goal at every run has one goal, not one for each run; a deadline given as a span
        counts from the first of them.
        """
        goal = _drafted(ctx, title, priority or "normal", deadline, metrics, fields)
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings

        def declare(tx: Any) -> Goal:
            row = tx.one(
                "SELECT * FROM memory__goals WHERE owner = ? AND title = ? "
                "AND status IN ('active', 'paused', 'blocked') ORDER BY created_at, seq LIMIT 1",
                (owner, goal["title"]),
            )
            if row is None:
                return _insert(tx, owner, goal, settings)
            before = read(row)
            new = rules.said_again(goal, before, priority=priority, deadline=deadline, metrics=metrics, fields=fields)
            return _change(tx, owner, row, new, now, settings, "goal.updated") if new else before

        declared: Goal = await ctx.store.write(declare)
        woken.set()
        return declared

    @needs("goal:write")
    async def update(self, ctx: Context, id: str, changes: dict[str, Any]) -> Goal | None:
        """Merge fields into a goal and return it; None when there is none with that id.

        null removes a free field. A `status` does what the methods below do: taking a failed goal up again counts an
        attempt, completing one sets its progress. What the store itself sets (`attempts`, the times) stays as it is,
        so a whole goal that was read and changed can be given.
        """
        return await _changed(ctx, id, changes, "goal.updated")

    @needs("goal:write")
    async def complete(self, ctx: Context, id: str, note: str | None = None) -> Goal:
        """Mark a goal as completed and return it; `NotFound` when there is none with that id."""
        changes = {"status": "completed", **({} if note is None else {"note": note})}
        return _there(await _changed(ctx, id, changes, "goal.completed"), id)

    @needs("goal:write")
    async def fail(self, ctx: Context, id: str, reason: str = "") -> Goal:
        """Mark a goal as failed, with the reason, and return it; `NotFound` when there is none with that id."""
        return _there(await _changed(ctx, id, {"status": "failed", "reason": reason}, "goal.failed"), id)

    @needs("goal:write")
    async def resume(self, ctx: Context, id: str) -> Goal:
        """Make a goal active again and return it; one that had failed counts a further attempt.

        Raises `NotFound` when there is none with that id and `Conflict` when it is completed or cancelled. A goal that
        is active already counts as touched again.
        """
        return _there(await _changed(ctx, id, {"status": "active"}, "goal.resumed"), id)

    # Reading -----------------------------------------------------------------------------------------------------

    @needs("goal:read")
    async def get(self, ctx: Context, id: str) -> Goal | None:
        """Return the goal with that id, or None."""
        row = ctx.store.one("SELECT * FROM memory__goals WHERE owner = ? AND id = ?", (ctx.owner, id))
        return None if row is None else read(row)

    @needs("goal:read")
    async def list(
        self, ctx: Context, status: Statuses | None = None, limit: Page = LISTED_MOST, skip: Skip = 0
    ) -> Found:
        """Return the goals in those states (all of them without), oldest first."""
        wanted = STATUSES if status is None else (status,) if isinstance(status, str) else tuple(status)
        marks = ", ".join("?" * len(wanted)) or "NULL"
        sql = (
            f"SELECT * FROM memory__goals WHERE owner = ? AND status IN ({marks}) "  # noqa: S608 - question marks only
            "ORDER BY created_at, seq LIMIT ? OFFSET ?"
        )
        return [read(row) for row in await ctx.store.query(sql, [ctx.owner, *wanted, limit, skip])]

    @needs("goal:read")
    async def count(self, ctx: Context, status: Status = "active") -> int:
        """Return how many goals are in that state."""
        sql = "SELECT count(*) FROM memory__goals WHERE owner = ? AND status = ?"
        return int(ctx.store.all(sql, (ctx.owner, status))[0][0])

    @needs("goal:read")
    async def statistics(self, ctx: Context) -> dict[str, Any]:
        """Return how many goals each state has, how many are overdue, and what share of the ended ones succeeded."""
        sql = (
            "SELECT status, count(*) AS n, sum(deadline IS NOT NULL AND deadline <= ?) AS late, "
            "sum(progress) AS progress FROM memory__goals WHERE owner = ? GROUP BY status"
        )
        rows = {row["status"]: row for row in await ctx.store.query(sql, (ctx.clock.now(), ctx.owner))}
        counts: dict[str, int] = {status: rows[status]["n"] if status in rows else 0 for status in STATUSES}
        ended = counts["completed"] + counts["failed"]
        open_ones = [rows[status] for status in rows if status not in FINISHED]
        waiting = sum(row["n"] for row in open_ones)
        return {
            "total": sum(counts.values()),
            **counts,
            "overdue": sum(row["late"] for row in open_ones),
            "average_progress": round(sum(row["progress"] for row in open_ones) / waiting, 4) if waiting else 0.0,
            "success_rate": round(counts["completed"] / ended, 4) if ended else None,
        }


# Parts of the above ----------------------------------------------------------------------------------------------


def _drafted(ctx: Context, title: str, priority: str, deadline: float | str | None, metrics: Any, fields: Any) -> Goal:
    with in_kernel_words():
        return rules.drafted(
            title, priority, deadline, metrics, fields, now=ctx.clock.now(), new_id=new_id, bounds=ctx.settings
        )


def _insert(tx: Any, owner: str, goal: Goal, settings: Settings) -> Goal:
    if change_count(tx, owner, "goals", 1) > settings.goals_per_owner:
        raise TooLarge(
            f"{owner} has {settings.goals_per_owner} goals, which is [plugins.memory] goals_per_owner",
            code="GOALS_FULL",
        )
    tx.execute(
        "INSERT INTO memory__goals (owner, id, title, priority, status, progress, deadline, created_at, updated_at, "
        "document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            owner,
            goal["id"],
            *(goal[name] for name in COLUMNS),
            goal["created_at"],
            goal["updated_at"],
            _document(goal, settings),
        ),
    )
    tx.publish("goal.created", _told(owner, goal))
    return goal


def find(tx: Any, owner: str, id: str) -> Any:
    """Return the row of this owner's goal, or None."""
    return tx.one("SELECT * FROM memory__goals WHERE owner = ? AND id = ?", (owner, id))


def put(tx: Any, owner: str, goal: Goal, settings: Settings) -> None:
    """Write a whole goal, in the place of the one with its id if there is one."""
    row = find(tx, owner, str(goal["id"]))
    if row is None:
        _insert(tx, owner, goal, settings)
        return
    columns = (*(goal[name] for name in COLUMNS), goal.get("overdue_at"), goal["attempts"], goal["updated_at"])
    tx.execute(_PATCH, (*columns, goal.get("completed_at"), _document(goal, settings), row["seq"]))
    tx.publish(_topic(read(row), goal, "goal.updated"), _told(owner, goal))


def drop(tx: Any, owner: str, id: str) -> None:
    """Take a goal away that should never have been there."""
    row = find(tx, owner, id)
    if row is not None:
        tx.execute("DELETE FROM memory__goals WHERE seq = ?", (row["seq"],))
        change_count(tx, owner, "goals", -1)
        tx.publish("goal.updated", _told(owner, {**read(row), "status": "cancelled"}))


async def _changed(ctx: Context, id: str, changes: dict[str, Any], topic: str) -> Goal | None:
    owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
    with in_kernel_words():
        changes = rules.asked_changes(id, changes, now)

    def change(tx: Any) -> Goal | None:
        row = tx.one("SELECT * FROM memory__goals WHERE owner = ? AND id = ?", (owner, id))
        return None if row is None else _change(tx, owner, row, changes, now, settings, topic)

    changed: Goal | None = await ctx.store.write(change)
    woken.set()
    return changed


def _change(
    tx: Any, owner: str, row: Any, changes: Mapping[str, Any], now: float, settings: Settings, topic: str
) -> Goal:
    before = read(row)
    with in_kernel_words():
        goal = rules.changed(before, changes, now=now, bounds=settings)
    columns = (*(goal[name] for name in COLUMNS), goal.get("overdue_at"), goal["attempts"], now)
    tx.execute(_PATCH, (*columns, goal.get("completed_at"), _document(goal, settings), row["seq"]))
    tx.publish(_topic(before, goal, topic), _told(owner, goal))
    return goal


def _topic(before: Goal, goal: Goal, topic: str) -> str:
    was, is_now = before["status"], goal["status"]
    if topic != "goal.updated" or was == is_now:
        return topic
    return {"completed": "goal.completed", "failed": "goal.failed", "active": "goal.resumed"}.get(is_now, topic)


def _told(owner: str, goal: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("id", "title", "priority", "status", "progress", "deadline")
    return {"owner": owner, **{name: goal[name] for name in shown}}


def _there(goal: Goal | None, id: str) -> Goal:
    if goal is None:
        raise NotFound(f"there is no goal {id!r}", details={"id": id})
    return goal


def _document(goal: Mapping[str, Any], settings: Settings) -> str:
    with in_kernel_words():
        return rules.document(goal, settings)
