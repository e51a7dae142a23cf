"""The one life cycle, as pure functions: pending → running → completed | failed | cancelled, forward only.

That somebody asked for a cancellation is a column beside the state, not a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from kernel import BadInput

State = Literal["pending", "running", "completed", "failed", "cancelled"]

STATES: Final[tuple[State, ...]] = ("pending", "running", "completed", "failed", "cancelled")
TERMINAL: Final[frozenset[State]] = frozenset({"completed", "failed", "cancelled"})

KINDS: Final[Mapping[str, str]] = {
    "script": "script:run",
    "agent": "agent:run",
    "task": "agent:run",
    "training": "trainer:run",
}
"""What can be executed, and the right that starting one needs, with its name as the object."""

PRIORITIES: Final[Mapping[str, int]] = {
    "low": 20,
    "normal": 50,
    "medium": 50,
    "high": 80,
    "urgent": 90,
    "critical": 100,
}
"""What the words stand for (language reference, 14.1)."""
LANES: Final[tuple[str, ...]] = ("high_priority", "normal_priority", "background")


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an execution failed: `code` for a program, `message` for a person, and the place in the script, if any.

    `type` is the error's name in the script's words (language reference, 17.2).
    """

    code: str
    message: str
    type: str = "HostError"
    line: int | None = None
    column: int | None = None
    file: str | None = None
    data: Any = None
    stack: list[dict[str, Any]] = []
    diagnostics: list[dict[str, Any]] = []


class Outcome(msgspec.Struct, frozen=True):
    """How a runner says that a run ended; `cancelled` means that it stopped because it was asked to."""

    how: Literal["completed", "failed", "cancelled"]
    result: Any = None
    error: Failure | None = None


class End(msgspec.Struct, frozen=True):
    """The terminal state that an outcome leads to."""

    state: Literal["completed", "failed", "cancelled"]
    result: Any = None
    error: Failure | None = None


CANCELLED: Final = Failure("CANCELLED", "the job was cancelled on request", type="Cancelled")
HUB_STOPPING: Final = Failure("HUB_STOPPING", "the hub was stopped while it ran; submit it again", type="Cancelled")
HUB_STOPPED: Final = Failure(
    "HUB_STOPPED",
    "the hub stopped while it ran; runs are not resumed in this version, so submit it again",
    type="HostError",
)


def too_long(seconds: float) -> Failure:
    """Return the failure of a run that took longer than it may."""
    return Failure(
        "DEADLINE_EXCEEDED",
        f"the job took longer than the {seconds:g} s it may take (limit wall_s)",
        type="LimitError",
        data={"limit": "wall_s", "value": seconds},
    )


def may_become(state: State, wanted: State) -> bool:
    """Tell whether a state may be followed by another one."""
    if state == "pending":
        return wanted in ("running", "cancelled")
    return state == "running" and wanted in TERMINAL


def conclude(outcome: Outcome, *, cancel_requested: bool, stopped: Failure | None) -> End:
    """Return the end of a run: what it says itself, unless a cancellation was accepted or the house stopped it.

    After an accepted cancellation there is no success any more (promise P8); what ended by itself before it was stopped
    keeps its own end.
    """
    if cancel_requested:
        return End("cancelled", error=CANCELLED)
    if outcome.how == "completed":
        return End("completed", result=outcome.result)
    if stopped is not None:
        return End("failed", error=stopped)
    if outcome.how == "cancelled":
        return End("cancelled", error=outcome.error or CANCELLED)
    return End("failed", error=outcome.error or Failure("INTERNAL", "it failed without saying why"))


def priority_of(value: int | str) -> int:
    """Return a priority from 0 to 100 for a number or one of the words of `PRIORITIES`; raise `BadInput` for others."""
    if isinstance(value, str):
        found = PRIORITIES.get(value.lower())
        if found is None:
            raise BadInput(
                f"a priority is a number from 0 to 100 or one of {', '.join(PRIORITIES)}; got {value[:40]!r}",
                details={"field": "priority"},
            )
        return found
    if not 0 <= value <= 100:
        raise BadInput(f"a priority is from 0 to 100, got {value}", details={"field": "priority"})
    return value


def lane_of(priority: int) -> str:
    """Return the kernel's lane for a priority from 0 to 100."""
    if priority >= 70:
        return "high_priority"
    return "normal_priority" if priority >= 30 else "background"
