"""Training jobs: executions of the kind `training`."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel import Context, Plugin

KIND = "training"
EVALUATION = "eval"
"""The name of a training job that measures a model."""


class Counted(Protocol):
    """What this part asks of the executions."""

    async def stats(self, kind: str | None, name: str | None) -> dict[str, Any]:
        """Return how many there are, by state."""


class TrainerStatus(msgspec.Struct):
    """Whether training jobs can be run, and how many of the caller's are under way or were evaluations.

    `enabled` is whether a loaded plugin runs jobs of this kind.
    """

    enabled: bool
    jobs_active: int
    evals_run: int


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("executions")(Counted)
    p.get("/api/trainer/status", needs="job:read:own", documented=True, raises=())(trainer_status)


async def trainer_status(ctx: Context) -> TrainerStatus:
    """Return the state of training, counted from the executions."""
    executions = ctx.service("executions", Counted)
    jobs = (await executions.stats(kind=KIND, name=None))["by_state"]
    evaluations = (await executions.stats(kind=KIND, name=EVALUATION))["by_state"]
    return TrainerStatus(
        enabled=f"runner.{KIND}" in ctx.table.services,
        jobs_active=jobs["pending"] + jobs["running"],
        evals_run=evaluations["completed"],
    )
