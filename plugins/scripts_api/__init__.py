"""The Script Execution API: its routes, fields and error names, over the services `scripts` and `executions`; it holds
nothing. (`GET /health` and the documentation pages are the hub's own.)
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from kernel import AetherraError, BadInput, Conflict, Context, NotFound, Plugin, Reply, StorageFull, TooLarge

scripts_api = Plugin(
    "scripts_api",
    version="1.0.0",
    description="The Script Execution API: /run, /status, /cancel, /jobs, /scripts, /stats.",
    category="api",
    requires={"scripts": ">=1.0", "executions": ">=1.0"},
)

DIALECT = "scripts"
KIND = "script"
DAY_S = 86_400.0
STATES = ("pending", "running", "completed", "failed", "cancelled")
PRIORITIES = ("low", "normal", "medium", "high", "urgent", "critical")

ScriptName = Annotated[
    str,
    msgspec.Meta(
        description="A script of the library, such as `goals.aether`.",
        extra_json_schema={"maxLength": 200, "pattern": "^[A-Za-z0-9_./-]*$"},
    ),
]
StateName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]
"""Checked by hand, for the error that the document names."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


@scripts_api.uses("scripts")
class Scripts(Protocol):
    """What this dialect asks of the scripts."""

    async def submit(
        self, script_name: str, parameters: dict[str, Any], context: dict[str, Any], priority: str
    ) -> dict[str, Any]:
        """Accept a run."""

    async def list(self) -> list[dict[str, Any]]:
        """Return the library."""

    async def stats(self) -> dict[str, Any]:
        """Return figures."""


@scripts_api.uses("executions")
class Executions(Protocol):
    """What this dialect asks of the executions."""

    async def get(self, id: str, kind: str) -> dict[str, Any]:
        """Return one."""

    async def list(self, kind: str, state: str | None, limit: int, skip: int) -> dict[str, Any]:
        """Return a page."""

    async def cancel(self, id: str, kind: str) -> dict[str, Any]:
        """Cancel one."""

    async def cleanup(self, older_than_s: float) -> dict[str, Any]:
        """Delete old ones."""

    async def stats(self, kind: str) -> dict[str, Any]:
        """Return figures."""


class Started(msgspec.Struct):
    """A job that was accepted: its row is committed, and it runs as soon as there is room."""

    job_id: str
    status: str
    script_name: str
    started_at: str


class Status(msgspec.Struct, omit_defaults=True):
    """A job. `output` is what a completed script returned, `error` says why it did not complete.

    Clients of this document expect an object as output: another value v is shown as `{"result": v}`.
    """

    job_id: str
    script_name: str
    status: str
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None


class Cancelled(msgspec.Struct):
    """What became of a cancellation: `cancelled`, or `cancelling` for a script that is being stopped."""

    job_id: str
    status: str
    message: str


class Jobs(msgspec.Struct):
    """A page of jobs, newest first."""

    jobs: list[Status]
    count: int
    limit: int
    skip: int


class ScriptRow(msgspec.Struct):
    """A script of the library."""

    name: str
    description: str
    size: int
    modified_at: str


class ScriptList(msgspec.Struct):
    """The library."""

    scripts: list[ScriptRow]
    count: int


class Pool(msgspec.Struct):
    """Worker processes of one kind: alive and idle, jobs that wait for one, and totals since the start."""

    alive: int
    idle: int
    waiting: int
    started_total: int
    ended_total: int
    jobs_total: int


class Stats(msgspec.Struct):
    """Figures: jobs by state, how many run and wait, and the mean time of completed ones in seconds."""

    total_jobs: int
    jobs_by_status: dict[str, int]
    running: int
    waiting: int
    average_duration_s: float | None
    scripts_available: int
    workers: dict[str, Pool]


class Cleanup(msgspec.Struct):
    """How many finished jobs are being deleted."""

    removed: int
    message: str


@scripts_api.post(
    "/run",
    needs="script:run",
    dialect=DIALECT,
    documented=True,
    keyed=True,
    raises=(NotFound, Conflict, TooLarge, StorageFull),
)
async def run_script(
    ctx: Context,
    script_name: ScriptName,
    parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
) -> Reply[Started]:
    """Run a script of the library; `context.priority` may be low, normal, high, urgent or critical."""
    about = context or {}
    named = about.get("priority")
    priority = named if named in PRIORITIES else "normal"
    row = await ctx.service("scripts", Scripts).submit(
        script_name=script_name, parameters=parameters or {}, context=about, priority=priority
    )
    headers = {"Idempotency-Replayed": "true"} if row["replayed"] else {}
    return Reply(Started(row["id"], "started", row["name"], row["started_at"] or row["created_at"]), headers=headers)


@scripts_api.get("/status/{job_id}", needs="job:read:own", dialect=DIALECT, documented=True, raises=(NotFound,))
async def job_status(ctx: Context, job_id: str) -> Status:
    """Return a job's status, and its output or error once it is over."""
    try:
        return _shown(await ctx.service("executions", Executions).get(id=job_id, kind=KIND))
    except NotFound as error:
        raise _not_found(error) from None


@scripts_api.post(
    "/cancel/{job_id}",
    needs="job:cancel:own",
    effect="irreversible",
    dialect=DIALECT,
    documented=True,
    raises=(NotFound, Conflict, StorageFull),
)
async def cancel_job(ctx: Context, job_id: str) -> Cancelled:
    """Cancel a job that waits or runs."""
    try:
        row = await ctx.service("executions", Executions).cancel(id=job_id, kind=KIND)
    except NotFound as error:
        raise _not_found(error) from None
    except AetherraError as error:
        if error.code == "JOB_FINISHED":
            error.details["type"] = "JobNotCancellable"
        raise
    if row["state"] == "cancelled":
        return Cancelled(job_id, "cancelled", "Job cancelled")
    return Cancelled(job_id, "cancelling", "The script is being stopped")


@scripts_api.get("/jobs", needs="job:read:own", dialect=DIALECT, documented=True, raises=())
async def list_jobs(ctx: Context, status: StateName | None = None, limit: Limit = 50, skip: Skip = 0) -> Jobs:
    """List jobs, newest first, all or those with a status."""
    if status is not None and status not in STATES:
        raise BadInput(
            f"status is one of {', '.join(STATES)}; got {status[:40]!r}",
            details={"type": "InvalidParameters", "field": "status", "expected": list(STATES)},
        )
    page = await ctx.service("executions", Executions).list(kind=KIND, state=status, limit=limit, skip=skip)
    jobs = [_shown(row) for row in page["executions"]]
    return Jobs(jobs, len(jobs), limit, skip)


@scripts_api.delete(
    "/jobs/cleanup", needs="job:cancel:own", effect="irreversible", dialect=DIALECT, documented=True, raises=()
)
async def clean_up(ctx: Context, older_than_hours: Hours = 24.0) -> Cleanup:
    """Delete finished jobs that ended longer ago; they go in the background, in small batches."""
    found = await ctx.service("executions", Executions).cleanup(older_than_s=older_than_hours * 3_600)
    return Cleanup(found["jobs"], f"{found['jobs']} finished jobs are being deleted")


@scripts_api.get("/scripts", needs="script:check", dialect=DIALECT, documented=True, raises=())
async def list_scripts(ctx: Context) -> ScriptList:
    """List the scripts that can be run."""
    rows = [
        ScriptRow(one["name"], one["description"], one["size"], one["modified_at"])
        for one in await ctx.service("scripts", Scripts).list()
    ]
    return ScriptList(rows, len(rows))


@scripts_api.get("/stats", needs="metrics:read", dialect=DIALECT, documented=True, raises=())
async def stats(ctx: Context) -> Stats:
    """Return figures of jobs, scripts and workers."""
    jobs = await ctx.service("executions", Executions).stats(kind=KIND)
    about = await ctx.service("scripts", Scripts).stats()
    return Stats(
        total_jobs=jobs["total"],
        jobs_by_status=jobs["by_state"],
        running=jobs["by_state"]["running"],
        waiting=jobs["by_state"]["pending"],
        average_duration_s=jobs["mean_run_s"],
        scripts_available=about["scripts"],
        workers=msgspec.convert(about["workers"], dict[str, Pool]),
    )


def _shown(row: dict[str, Any]) -> Status:
    result = row.get("result")
    if row["state"] == "completed" and "result" in row and not isinstance(result, dict):
        result = {"result": result}
    return Status(
        job_id=row["id"],
        script_name=row["name"],
        status=row["state"],
        output=result,
        error=row["error"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def _not_found(error: NotFound) -> NotFound:
    return NotFound(error.message, details={"type": "JobNotFound", **error.details}, code=error.code)
