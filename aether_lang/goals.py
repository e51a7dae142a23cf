"""What a goal is and how it may change: checked and merged here, for the hub's memory and for a run's own changes.

To its owner a goal is one flat dict: `id title priority status progress deadline attempts created_at updated_at` (times
in seconds since 1970), `overdue_at` and `completed_at` where they happened, `metrics`, and its free fields. All pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import msgspec

from .moments import moment, span
from .refusals import Impossible, Refused
from .remembered import Bounds, named

Status = Literal["active", "paused", "blocked", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINISHED = frozenset({"completed", "failed", "cancelled"})
TITLE_CHARS = 2_000
LISTED_MOST = 500

COLUMNS = ("title", "priority", "status", "progress", "deadline")
SET_BY_STORE = frozenset({"id", "attempts", "overdue_at", "completed_at", "created_at", "updated_at"})
_FIXED = ("id", "title", "priority", "status", "progress", "deadline", "attempts", "created_at", "updated_at")

Goal = dict[str, Any]


def drafted(
    title: str,
    priority: str,
    deadline: float | str | None,
    metrics: Mapping[str, Any] | None,
    fields: Mapping[str, Any] | None,
    *,
    now: float,
    new_id: Callable[[], str],
    bounds: Bounds,
) -> Goal:
    """Return a new active goal, checked; a deadline as a span counts from `now`."""
    goal = {
        **(fields or {}),
        "metrics": metrics or {},
        "id": new_id(),
        "title": title.strip(),
        "priority": priority,
        "status": "active",
        "progress": (fields or {}).get("progress", 0.0),
        "deadline": None if deadline is None else moment(deadline, "deadline", now, past=False),
        "attempts": 0,
        "created_at": now,
        "updated_at": now,
    }
    _check(goal, bounds)
    return goal


def said_again(
    goal: Goal,
    before: Goal,
    *,
    priority: str | None,
    deadline: float | str | None,
    metrics: Mapping[str, Any] | None,
    fields: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what a declaration changes in the goal that is there: a deadline given as a span counts from the first."""
    given = {"priority": priority, "deadline": goal["deadline"], "metrics": metrics, **(fields or {})}
    changes = {name: value for name, value in given.items() if value is not None}
    if isinstance(deadline, str) and span(deadline) is not None and before["deadline"] is not None:
        changes.pop("deadline", None)
    return changes


def asked_changes(identity: str, changes: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the changes that an update asks for; what the store itself sets stays as it is."""
    if changes.get("id", identity) != identity:
        raise Refused("id: a goal keeps its id", {"field": "id"})
    wanted = {name: value for name, value in changes.items() if name not in SET_BY_STORE}
    if isinstance(wanted.get("deadline"), str | int | float) and not isinstance(wanted["deadline"], bool):
        wanted["deadline"] = moment(wanted["deadline"], "deadline", now, past=False)
    return wanted


def changed(before: Goal, changes: Mapping[str, Any], *, now: float, bounds: Bounds) -> Goal:
    """Return the goal with the changes merged in: null removes a free field, a `status` does what it means."""
    goal = {**before, **changes, "updated_at": now}
    goal = {name: value for name, value in goal.items() if value is not None or name in COLUMNS}
    _check(goal, bounds)
    _move(before, goal, now)
    if goal["deadline"] != before["deadline"]:
        goal.pop("overdue_at", None)  # a new deadline can be missed anew
    return goal


def document(goal: Mapping[str, Any], bounds: Bounds) -> str:
    """Return the JSON of a goal's free fields."""
    free = {name: value for name, value in goal.items() if name not in SET_BY_STORE and name not in COLUMNS}
    encoded = msgspec.json.encode(free)
    if len(encoded) > bounds.entry_kb * 1024:
        raise Refused(
            f"a goal has {len(encoded)} bytes as JSON, more than {bounds.entry_kb} KiB (entry_kb)", too_large=True
        )
    return encoded.decode()


def read(row: Any) -> Goal:
    """Return the goal that a row holds: its columns and its `document`."""
    goal: Goal = {name: row[name] for name in _FIXED}
    for name in ("overdue_at", "completed_at"):
        if row[name] is not None:
            goal[name] = row[name]
    return {**msgspec.json.decode(row["document"]), **goal}


def _check(goal: Mapping[str, Any], bounds: Bounds) -> None:
    """Raise `Refused` naming the field that is not as it must be."""
    title, progress = goal["title"], goal["progress"]
    if not isinstance(title, str) or not 0 < len(title) <= TITLE_CHARS:
        raise Refused(f"title: expected a text of 1 to {TITLE_CHARS} characters, got {title!r:.60}")
    named("priority", goal["priority"], bounds)
    if goal["status"] not in STATUSES:
        raise Refused(f"status: expected one of {', '.join(STATUSES)}, got {goal['status']!r:.60}", {"field": "status"})
    if isinstance(progress, bool) or not isinstance(progress, int | float) or not 0 <= progress <= 1:
        raise Refused(f"progress: expected a number from 0 to 1 (or 80%), got {progress!r:.60}")
    if not isinstance(goal.get("metrics", {}), Mapping):
        raise Refused(f"metrics: expected names with their targets, got {goal['metrics']!r:.60}")
    deadline = goal["deadline"]
    if deadline is not None and not (isinstance(deadline, float) and math.isfinite(deadline)):
        raise Refused(f"deadline: expected a time, got {deadline!r:.60}", {"field": "deadline"})


def _move(before: Goal, goal: Goal, now: float) -> None:
    """Carry out what a change of state means: a further attempt, an end, or a refusal."""
    was, is_now = before["status"], goal["status"]
    if was in ("completed", "cancelled") and is_now not in FINISHED:
        raise Impossible(f"the goal {before['title']!r} is {was}; only an unfinished or failed one is taken up again")
    if was == "failed" and is_now == "active":
        goal["attempts"] += 1
    if is_now != "completed":
        goal.pop("completed_at", None)
    elif was != "completed":
        goal["completed_at"] = now
        goal["progress"] = 1.0
