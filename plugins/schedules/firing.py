"""What happens when a schedule is due: a run of its script is submitted for its owner, once, or it is noted why not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from kernel import AetherraError, Context, NotFound, Overloaded, ServiceUnavailable, StorageError, iso

from . import records, timing
from .callers import acting_for

TRANSIENT = (Overloaded, ServiceUnavailable, StorageError)
"""What the hub cannot do for the moment: the run is submitted again, and its time has not passed."""
TERMINAL = ("completed", "failed", "cancelled")
KEY_HOLDS_S = 20 * 3600.0
"""For how long an idempotency key surely finds a job; of what was due earlier it is looked up whether it ran."""
FIRED, PASSED_OVER = "aetherra_schedules_fired_total", "aetherra_schedules_passed_over_total"


class Scripts(Protocol):
    """What is asked of the scripts."""

    async def submit(
        self,
        script_name: str,
        parameters: dict[str, Any],
        context: dict[str, Any],
        idempotency_key: str | None,
        entry: str | None,
        parent: str | None,
    ) -> dict[str, Any]:
        """Accept a run."""


class Executions(Protocol):
    """What is asked of the executions."""

    async def get(self, id: str) -> dict[str, Any]:
        """Return one."""

    async def list(self, parent: str | None, limit: int) -> dict[str, Any]:
        """Return those that something has set going."""


async def fire(own: Context, row: Mapping[str, Any]) -> bool:
    """Carry out a schedule that is due; False when the hub could not take the run and it is to be tried again.

    The key of the submit is the schedule and its due time. So whatever is between the submit and the note of it, a
    crash or a reload, the next attempt finds the same job.
    """
    schedule, due, now = timing.restored(row["schedule"]), row["next_due"], own.clock.now()
    if await under_way(own, row["last_job"]):
        step = timing.after_skip(schedule, due, now)
        why = f"the run before it, {row['last_job']}, was still going"
        await own.store.write(partial(_passed_over, dict(row), why, step, False))
        own.metric(PASSED_OVER).labels("skipped").inc()
        return True
    try:
        job = await _known(own, row, now) or await submitted(own, row, due)
    except TRANSIENT as error:
        own.log.warning("schedule %s of %s is tried again: %s", row["id"], row["owner"], error)
        return False
    except AetherraError as error:
        await _failed(own, row, timing.after_skip(schedule, due, now), error)
        return True
    step = timing.after_start(schedule, due, now)
    await own.store.write(partial(_started, dict(row), job, now, step))
    own.metric(FIRED).inc()
    return True


async def submitted(own: Context, row: Mapping[str, Any], due: float) -> str:
    """Submit the run of a due time for the owner, with the rights that he has now; return the job's id."""
    ctx = acting_for(own, records.decode(row["caller"]))
    about = {"id": row["id"], "due": iso(due)}
    accepted = await ctx.service("scripts", Scripts).submit(
        script_name=row["script"],
        parameters=records.decode(row["parameters"]),
        context={"schedule": about},
        idempotency_key=_name(row, due),
        entry=row["entry"],
        parent=_name(row, due),
    )
    return str(accepted["id"])


async def under_way(own: Context, job: str | None) -> bool:
    """Tell whether a job waits or runs."""
    if job is None:
        return False
    try:
        return (await own.service("executions", Executions).get(id=job))["state"] not in TERMINAL
    except NotFound:
        return False
    except TRANSIENT:
        return False  # then nothing can be submitted either, and that says so


async def _known(own: Context, row: Mapping[str, Any], now: float) -> str | None:
    """Return the job of a due time that was submitted so long ago that its key may be forgotten."""
    if now - row["next_due"] < KEY_HOLDS_S:
        return None
    found = await own.service("executions", Executions).list(parent=_name(row, row["next_due"]), limit=1)
    return str(found["executions"][0]["id"]) if found["executions"] else None


def _name(row: Mapping[str, Any], due: float) -> str:
    return f"schedule:{row['id']}:{iso(due)}"


async def _failed(own: Context, row: Mapping[str, Any], step: timing.Step, error: AetherraError) -> None:
    own.log.warning("schedule %s of %s could not run: %s", row["id"], row["owner"], error)
    await own.store.write(partial(_passed_over, dict(row), f"{error.code}: {error.message}", step, True))
    own.metric(PASSED_OVER).labels("failed").inc()


# Run in the writer's thread, with the transaction.


def _started(row: dict[str, Any], job: str, now: float, step: timing.Step, tx: Any) -> bool:
    return records.started(tx, row, job, now, step.next_due, step.missed)


def _passed_over(row: dict[str, Any], why: str, step: timing.Step, failed: bool, tx: Any) -> bool:
    return records.passed_over(tx, row, why, step.next_due, step.missed, failed=failed)
