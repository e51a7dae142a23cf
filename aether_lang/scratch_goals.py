"""Goals as one run sees them: its own writes over those that are kept, by the same rules."""

from collections.abc import Callable
from typing import Any

from . import goals, requests
from .goals import FINISHED, LISTED_MOST, STATUSES, Goal
from .overlay import Overlay
from .refusals import Refused
from .remembered import Bounds
from .values import ScriptError

Named = dict[str, Any]
Base = Callable[[str, Named], Any]


class ScratchGoals:
    """The operations `goal.*`, by the names of their methods."""

    def __init__(
        self,
        base: Base | None,
        now: Callable[[], float],
        new_id: Callable[[], str],
        *,
        bounds: Bounds,
        most_mb: float,
    ) -> None:
        """As `Scratch` takes them."""
        self._base = base
        self._now = now
        self._new_id = new_id
        self._bounds = bounds
        self.records = Overlay(self._theirs, most_mb)

    def _theirs(self, identity: str) -> Goal | None:
        return next((goal for goal in self._of_base() if goal["id"] == identity), None)

    def _of_base(self) -> list[Goal]:
        """The base's goals: the oldest 500, and the oldest 500 of those under way."""
        if self._base is None:
            return []
        found: list[Goal] = self._base("goal.all", {})
        if len(found) == LISTED_MOST:
            known = {goal["id"] for goal in found}
            found += [goal for goal in self._base("goal.active", {}) if goal["id"] not in known]
        return found

    # Reading -----------------------------------------------------------------------------------------------------

    def all(self) -> list[Goal]:
        """All goals, oldest first, at most 500."""
        theirs = [] if self._base is None else self._base("goal.all", {})
        return self.records.merged(theirs, lambda _: True)[:LISTED_MOST]

    def active(self) -> list[Goal]:
        """Those under way."""
        theirs = [] if self._base is None else self._base("goal.active", {})
        return self.records.merged(theirs, _is_active)[:LISTED_MOST]

    def count_active(self) -> int:
        """How many are under way."""
        there = 0 if self._base is None else int(self._base("goal.count_active", {}))
        return there + sum(map(_is_active, self.records.own())) - sum(map(_is_active, self.records.replaced()))

    def check(self, goal: Any) -> Goal | None:
        """The goal of that id or title, or None."""
        wanted = goal.get("id") if isinstance(goal, dict) else goal
        return next((one for one in self.all() if wanted in (one["id"], one["title"])), None)

    def statistics(self) -> Named:
        """Figures about the goals."""
        there: Named = {} if self._base is None else self._base("goal.status", {})
        if there and not self.records:
            return there
        now, own, gone = self._now(), list(self.records.own()), list(self.records.replaced())

        def more(count: Callable[[Goal], Any]) -> Any:
            return sum(map(count, own)) - sum(map(count, gone))

        counts: dict[str, int] = {
            status: there.get(status, 0) + more(lambda goal, status=status: goal["status"] == status)  # type: ignore[misc]
            for status in STATUSES
        }
        waiting = sum(counts[status] for status in STATUSES if status not in FINISHED)
        was_waiting = sum(there.get(status, 0) for status in STATUSES if status not in FINISHED)
        progress = there.get("average_progress", 0.0) * was_waiting + more(_open_progress)
        ended = counts["completed"] + counts["failed"]
        return {
            "total": sum(counts.values()),
            **counts,
            "overdue": there.get("overdue", 0) + more(lambda goal: _is_late(goal, now)),
            "average_progress": round(progress / waiting, 4) if waiting else 0.0,
            "success_rate": round(counts["completed"] / ended, 4) if ended else None,
        }

    # Writing -----------------------------------------------------------------------------------------------------

    def set(self, goal: Any) -> Goal:
        """Declare a goal by its title, or by its fields."""
        title, fields = requests.goal(goal)
        return self._declare(title, **fields)

    def update(self, goal: Any) -> Goal | None:
        """Merge fields into the goal with its id; without one, declare it."""
        if not isinstance(goal, dict) or not isinstance(goal.get("id"), str):
            return self.set(goal)
        before = self.records.get(goal["id"])
        changes = goals.asked_changes(goal["id"], goal, self._now())
        return None if before is None else self._change(before, changes)

    def declare(self, title: str, priority: str | None = None, deadline: Any = None, metrics: Any = None) -> str:
        """`goal: ..`: the goal's id."""
        more = metrics if isinstance(metrics, dict) or metrics is None else {"text": metrics}
        return str(self._declare(title, priority=priority, deadline=deadline, metrics=more)["id"])

    def finish(self, id: str, state: str) -> Goal:
        """Mark a goal as completed or failed."""
        before = self.records.get(id)
        if before is None:
            raise ScriptError("KeyError", f"there is no goal {id!r}")
        done = state == "completed"
        return self._change(before, {"status": "completed"} if done else _FAILED)

    def _declare(
        self, title: str, priority: Any = None, deadline: Any = None, metrics: Any = None, fields: Named | None = None
    ) -> Goal:
        for name, value, kinds in (("priority", priority, str), ("deadline", deadline, int | float | str)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise Refused(f"{name}: expected a text{' or a time' if name == 'deadline' else ''}", {"field": name})
        if metrics is not None and not isinstance(metrics, dict):
            raise Refused("metrics: expected names with their targets", {"field": "metrics"})
        goal = goals.drafted(
            title,
            priority or "normal",
            deadline,
            metrics,
            fields,
            now=self._now(),
            new_id=self._new_id,
            bounds=self._bounds,
        )
        before = self._unfinished(goal["title"])
        if before is None:
            return self._keep(goal, fresh=True)
        new = goals.said_again(goal, before, priority=priority, deadline=deadline, metrics=metrics, fields=fields)
        return self._change(before, new) if new else before

    def _unfinished(self, title: str) -> Goal | None:
        found = self.records.merged(self._of_base(), lambda _: True)
        return next((goal for goal in found if goal["title"] == title and goal["status"] not in FINISHED), None)

    def _change(self, before: Goal, changes: Named) -> Goal:
        return self._keep(goals.changed(before, changes, now=self._now(), bounds=self._bounds))

    def _keep(self, goal: Goal, *, fresh: bool = False) -> Goal:
        document = goals.document(goal, self._bounds)
        row = {"overdue_at": None, "completed_at": None, **goal, "document": document}
        self.records.put(goals.read({**row, "progress": float(goal["progress"])}), len(document), fresh=fresh)
        return goal


_FAILED: Named = {"status": "failed", "reason": "its body failed"}


def _is_active(goal: Goal) -> bool:
    return bool(goal["status"] == "active")


def _open_progress(goal: Goal) -> float:
    return 0.0 if goal["status"] in FINISHED else goal["progress"]


def _is_late(goal: Goal, now: float) -> bool:
    return goal["status"] not in FINISHED and goal["deadline"] is not None and goal["deadline"] <= now
