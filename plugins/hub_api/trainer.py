"""Training jobs: executions of the kind `training`."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from kernel import Conflict, Context, Plugin, Reply, ServiceUnavailable, StorageFull, TooLarge

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

KIND = "training"
EVALUATION = "eval"
"""The name of a training job that measures a model."""


class Executions(Protocol):
    """What this part asks of the executions."""

    async def submit(self, kind: str, name: str, input: dict[str, Any]) -> dict[str, Any]:
        """Accept one."""

    async def stats(self, kind: str | None, name: str | None) -> dict[str, Any]:
        """Return how many there are, by state."""


class TrainerStatus(msgspec.Struct):
    """Whether training jobs can be run, and how many of the caller's are under way or were evaluations.

    `enabled` is whether a loaded plugin runs jobs of this kind.
    """

    enabled: bool
    jobs_active: int
    evals_run: int


class TrainingJob(msgspec.Struct):
    """A job that was accepted: its row is committed."""

    job_id: str
    status: str


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("executions")(Executions)
    p.get("/api/trainer/status", needs="job:read:own", documented=True, raises=())(trainer_status)
    p.post(
        "/api/trainer/jobs",
        needs="trainer:run",
        status=201,
        documented=True,
        keyed=True,
        raises=(ServiceUnavailable, Conflict, TooLarge, StorageFull),
    )(start_training)


async def trainer_status(ctx: Context) -> TrainerStatus:
    """Return the state of training, counted from the executions."""
    executions = ctx.service("executions", Executions)
    jobs = (await executions.stats(kind=KIND, name=None))["by_state"]
    evaluations = (await executions.stats(kind=KIND, name=EVALUATION))["by_state"]
    return TrainerStatus(
        enabled=f"runner.{KIND}" in ctx.table.services,
        jobs_active=jobs["pending"] + jobs["running"],
        evals_run=evaluations["completed"],
    )


async def start_training(ctx: Context, task: Name, dataset: Name) -> Reply[TrainingJob]:
    """Start a training job; without a plugin that runs such jobs, `503` names the service that is missing."""
    row = await ctx.service("executions", Executions).submit(
        kind=KIND, name=task, input={"task": task, "dataset": dataset}
    )
    headers = {"Idempotency-Replayed": "true"} if row["replayed"] else {}
    return Reply(TrainingJob(row["id"], row["state"]), headers=headers)
