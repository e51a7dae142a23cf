"""The service `goals`: what a user wants to reach, how far it is, and until when.

To its owner a goal is one flat dict: `id title priority status progress deadline attempts created_at updated_at` (times
in seconds since 1970), `overdue_at` and `completed_at` where they happened, `metrics`, and its free fields.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec

from kernel import BadInput, Conflict, Context, NotFound, TooLarge, needs

from .deadlines import woken
from .entries import named
from .records import change_count
from .settings import Settings
from .times import moment, span

Status = Literal["active", "paused", "blocked", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINISHED = frozenset({"completed", "failed", "cancelled"})
LISTED_MOST = 500
TITLE_CHARS = 2_000

Goal = dict[str, Any]
Found = list[dict[str, Any]]
Statuses = Status | list[Status]
Page = Annotated[int, msgspec.Meta(ge=1, le=LISTED_MOST)]
Skip = Annotated[int, msgspec.Meta(ge=0)]

_COLUMNS = ("title", "priority", "status", "progress", "deadline")
_SET_BY_US = frozenset({"id", "attempts", "overdue_at", "completed_at", "created_at", "updated_at"})
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
        given = {"priority": priority, "deadline": goal["deadline"], "metrics": metrics, **(fields or {})}
        changes = {name: value for name, value in given.items() if value is not None}
        relative = isinstance(deadline, str) and span(deadline) is not None
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings

        def declare(tx: Any) -> Goal:
            row = tx.one(
                "SELECT * FROM memory__goals WHERE owner = ? AND title = ? "
                "AND status IN ('active', 'paused', 'blocked') ORDER BY created_at, seq LIMIT 1",
                (owner, goal["title"]),
            )
            if row is None:
                return _insert(tx, owner, goal, settings)
            kept = {"deadline"} if relative and row["deadline"] is not None else set()
            new = {name: value for name, value in changes.items() if name not in kept}
            return _change(tx, owner, row, new, now, settings, "goal.updated") if new else read(row)

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
        if changes.get("id", id) != id:
            raise BadInput("id: a goal keeps its id", details={"field": "id"})
        changes = {name: value for name, value in changes.items() if name not in _SET_BY_US}
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


def read(row: Any) -> Goal:
    """Return the goal that a row of `memory__goals` holds."""
    fixed = ("id", "title", "priority", "status", "progress", "deadline", "attempts", "created_at", "updated_at")
    goal: Goal = {name: row[name] for name in fixed}
    for name in ("overdue_at", "completed_at"):
        if row[name] is not None:
            goal[name] = row[name]
    return {**msgspec.json.decode(row["document"]), **goal}


# Parts of the above ----------------------------------------------------------------------------------------------


def _drafted(ctx: Context, title: str, priority: str, deadline: float | str | None, metrics: Any, fields: Any) -> Goal:
    now = ctx.clock.now()
    goal = {
        **(fields or {}),
        "metrics": metrics or {},
        "id": str(uuid.uuid4()),
        "title": title.strip(),
        "priority": priority,
        "status": "active",
        "progress": (fields or {}).get("progress", 0.0),
        "deadline": None if deadline is None else moment(deadline, "deadline", now, past=False),
        "attempts": 0,
        "created_at": now,
        "updated_at": now,
    }
    _check(goal, ctx.settings)
    return goal


def _check(goal: Mapping[str, Any], settings: Settings) -> None:
    """Raise `BadInput` naming the field that is not as it must be."""
    title, progress = goal["title"], goal["progress"]
    if not isinstance(title, str) or not 0 < len(title) <= TITLE_CHARS:
        raise BadInput(f"title: expected a text of 1 to {TITLE_CHARS} characters, got {title!r:.60}")
    named("priority", goal["priority"], settings)
    if goal["status"] not in STATUSES:
        raise BadInput(
            f"status: expected one of {', '.join(STATUSES)}, got {goal['status']!r:.60}", details={"field": "status"}
        )
    if isinstance(progress, bool) or not isinstance(progress, int | float) or not 0 <= progress <= 1:
        raise BadInput(f"progress: expected a number from 0 to 1 (or 80%), got {progress!r:.60}")
    if not isinstance(goal.get("metrics", {}), Mapping):
        raise BadInput(f"metrics: expected names with their targets, got {goal['metrics']!r:.60}")
    deadline = goal["deadline"]
    if deadline is not None and not (isinstance(deadline, float) and math.isfinite(deadline)):
        raise BadInput(f"deadline: expected a time, got {deadline!r:.60}", details={"field": "deadline"})


def _document(goal: Mapping[str, Any], settings: Settings) -> str:
    free = {name: value for name, value in goal.items() if name not in _SET_BY_US and name not in _COLUMNS}
    encoded = msgspec.json.encode(free)
    if len(encoded) > settings.entry_kb * 1024:
        raise TooLarge(f"a goal has {len(encoded)} bytes as JSON, more than {settings.entry_kb} KiB (entry_kb)")
    return encoded.decode()


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
            *(goal[name] for name in _COLUMNS),
            goal["created_at"],
            goal["updated_at"],
            _document(goal, settings),
        ),
    )
    tx.publish("goal.created", _told(owner, goal))
    return goal


async def _changed(ctx: Context, id: str, changes: dict[str, Any], topic: str) -> Goal | None:
    owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
    if isinstance(changes.get("deadline"), str | int | float) and not isinstance(changes["deadline"], bool):
        changes = {**changes, "deadline": moment(changes["deadline"], "deadline", now, past=False)}

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
    goal = {**before, **changes, "updated_at": now}
    goal = {name: value for name, value in goal.items() if value is not None or name in _COLUMNS}
    _check(goal, settings)
    _move(before, goal, now)
    if goal["deadline"] != before["deadline"]:
        goal.pop("overdue_at", None)  # a new deadline can be missed anew
    columns = (*(goal[name] for name in _COLUMNS), goal.get("overdue_at"), goal["attempts"], now)
    tx.execute(_PATCH, (*columns, goal.get("completed_at"), _document(goal, settings), row["seq"]))
    tx.publish(_topic(before, goal, topic), _told(owner, goal))
    return goal


def _move(before: Goal, goal: Goal, now: float) -> None:
    """Carry out what a change of state means: a further attempt, an end, or a refusal."""
    was, is_now = before["status"], goal["status"]
    if was in ("completed", "cancelled") and is_now not in FINISHED:
        raise Conflict(f"the goal {before['title']!r} is {was}; only an unfinished or failed one is taken up again")
    if was == "failed" and is_now == "active":
        goal["attempts"] += 1
    if is_now != "completed":
        goal.pop("completed_at", None)
    elif was != "completed":
        goal["completed_at"] = now
        goal["progress"] = 1.0


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
