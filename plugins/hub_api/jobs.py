"""Jobs: running a script, its state, its events as they happen, and cancelling it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, Protocol

import msgspec

from kernel import (
    AetherraError,
    Conflict,
    Context,
    Event,
    EventStream,
    NotFound,
    Plugin,
    Reply,
    StorageFull,
    TooLarge,
)

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Before = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
ScriptName = Annotated[
    str,
    msgspec.Meta(
        description="A script of the library, such as `system/goals`; the suffix may be left out.",
        extra_json_schema={"maxLength": 200, "pattern": "^[A-Za-z0-9_./-]*$"},
    ),
]
"""The rules are checked where the library is, which says more about a name that breaks them."""
State = Literal["pending", "running", "completed", "failed", "cancelled"]

KIND = "script"
TERMINAL = ("completed", "failed", "cancelled")
LAST = frozenset(f"job.{state}" for state in TERMINAL)
SYNC_S = 30.0
"""How long a synchronous run is waited for, as documented."""
RUN_S = SYNC_S + 10.0
"""How long a request that runs a script may take: the wait, and room for the submit before it and the answer after."""

RUNS: dict[str, Any] = {
    "needs": "script:run",
    "status": 201,
    "deadline_s": RUN_S,
    "keyed": True,
    "raises": (NotFound, Conflict, TooLarge, StorageFull),
}
"""How a door says that it runs a script."""


class Scripts(Protocol):
    """What this part asks of the scripts."""

    async def submit(
        self,
        script_name: str | None,
        parameters: dict[str, Any],
        context: dict[str, Any],
        source: str | None,
        priority: int | str,
        deadline_s: float | None,
        entry: str | None = None,
        command: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Accept a run."""

    async def decide(self, id: str, approved: bool, question: str | None) -> dict[str, Any]:
        """Answer what a run asks."""


class Executions(Protocol):
    """What this part asks of the executions."""

    async def get(self, id: str) -> dict[str, Any]:
        """Return one."""

    async def list(
        self, kind: str | None, state: str | None, name: str | None, limit: int, skip: int, before: int | None
    ) -> dict[str, Any]:
        """Return a page."""

    async def cancel(self, id: str) -> dict[str, Any]:
        """Cancel one."""

    async def history(self, id: str) -> dict[str, Any]:
        """Return what happened so far."""

    def watch(self, id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the row once it is over."""


class Job(msgspec.Struct):
    """An execution as the Hub shows it; `result` is what it returned, `error` why it did not complete."""

    job_id: str
    kind: str
    script: str
    status: str
    created_at: str
    started_at: str | None
    completed_at: str | None
    duration_s: float | None
    priority: int
    attempt: int
    cancel_requested_at: str | None
    error: dict[str, Any] | None
    args: dict[str, Any] | None = None
    result: Any = None


class JobList(msgspec.Struct):
    """A page of jobs, newest first, without arguments and results; `next` is the `before` of the next page."""

    jobs: list[Job]
    count: int
    next: int | None


class Accepted(msgspec.Struct, omit_defaults=True):
    """A run that was accepted: its row is committed. `result` and `error` are there when its end was waited for."""

    job_id: str
    status: str
    started_at: str
    script: str = ""
    result: Any = None
    error: dict[str, Any] | None = None


class Decision(msgspec.Struct):
    """What was decided about a question of a job."""

    question: str
    text: str
    approved: bool


class Answer(msgspec.Struct):
    """What became of an order."""

    ok: bool
    message: str


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("executions")(Executions)
    p.uses("scripts")(Scripts)
    p.post("/api/run", documented=True, **RUNS)(run)
    p.post(
        "/api/cancel/{job_id}",
        needs="job:cancel:own",
        effect="irreversible",
        documented=True,
        raises=(NotFound, Conflict, StorageFull),
    )(cancel)
    p.get("/api/jobs", needs="job:read:own", raises=())(list_jobs)
    p.get("/api/jobs/{job_id}", needs="job:read:own", raises=(NotFound,))(show_job)
    p.get("/api/jobs/{job_id}/events", needs="job:read:own", raises=(NotFound,))(job_events)
    p.post("/api/jobs/{job_id}/approve", needs="job:cancel:own", effect="irreversible", raises=(NotFound, Conflict))(
        approve
    )


async def run(
    ctx: Context, script: ScriptName, args: dict[str, Any] | None = None, async_: bool = True
) -> Reply[Accepted]:
    """Run a script of the library with `args`; with `async` false the answer waits for its end, 30 s at most."""
    row = await ctx.service("scripts", Scripts).submit(
        script_name=script, parameters=args or {}, context={}, source=None, priority="normal", deadline_s=None
    )
    return await accepted(ctx, row, wait=not async_)


async def accepted(ctx: Context, row: dict[str, Any], *, wait: bool) -> Reply[Accepted]:
    """Return the answer to a submit: at once, or with the end of the job when that comes in time."""
    ended = await _end_of(ctx, row) if wait else None
    headers = {"Idempotency-Replayed": "true"} if row["replayed"] else {}
    if ended is None:
        started = row["started_at"] or row["created_at"]
        return Reply(Accepted(row["id"], "running", started, row["name"]), headers=headers)
    started = ended["started_at"] or ended["created_at"]
    answer = Accepted(ended["id"], ended["state"], started, ended["name"], ended["result"], ended["error"])
    return Reply(answer, headers=headers)


async def _end_of(ctx: Context, row: dict[str, Any]) -> dict[str, Any] | None:
    try:
        async with ctx.clock.timeout(SYNC_S):
            while True:
                try:
                    async for ended in ctx.service("executions", Executions).watch(id=row["id"]):
                        return ended
                except AetherraError as error:
                    if error.code != "GENERATION_ENDED":
                        raise
    except TimeoutError:
        return None


async def approve(ctx: Context, job_id: str, approved: bool = True, question: str | None = None) -> Decision:
    """Answer what a job waits for with `await approval`; `question` says which, where it asks several things."""
    decided = await ctx.service("scripts", Scripts).decide(id=job_id, approved=approved, question=question)
    return Decision(decided["question"], decided["text"], decided["approved"])


async def cancel(ctx: Context, job_id: str) -> Answer:
    """Cancel a job that waits or runs; after this it never completes."""
    row = await ctx.service("executions", Executions).cancel(id=job_id)
    return Answer(True, "Job cancelled" if row["state"] == "cancelled" else "Job is being cancelled")


async def list_jobs(
    ctx: Context,
    status: State | None = None,
    kind: str | None = None,
    script: str | None = None,
    limit: Limit = 50,
    skip: Skip = 0,
    before: Before | None = None,
) -> JobList:
    """List jobs, newest first: one's own, or all with the right to read all."""
    page = await ctx.service("executions", Executions).list(
        kind=kind, state=status, name=script, limit=limit, skip=skip, before=before
    )
    jobs = [_shown(row) for row in page["executions"]]
    return JobList(jobs, len(jobs), page["next"])


async def show_job(ctx: Context, job_id: str) -> Job:
    """Return a job with its arguments, and its result or error once it is over."""
    return _shown(await ctx.service("executions", Executions).get(id=job_id))


async def job_events(ctx: Context, job_id: str) -> EventStream:
    """Stream what happens to a job (SSE), from its beginning to its end: states, log records, output."""
    past = await ctx.service("executions", Executions).history(id=job_id)
    opening = tuple(
        Event(line["seq"], line["topic"], line["at"], line["data"], "executions") for line in past["entries"]
    )
    return EventStream(topics=("job.#",), where={"job_id": job_id}, opening=opening, since=past["position"], until=LAST)


def _shown(row: dict[str, Any]) -> Job:
    given = row.get("input")
    return Job(
        job_id=row["id"],
        kind=row["kind"],
        script=row["name"],
        status=row["state"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        duration_s=row["duration_s"],
        priority=row["priority"],
        attempt=row["attempt"],
        cancel_requested_at=row["cancel_requested_at"],
        error=row["error"],
        args=given.get("parameters", given) if isinstance(given, dict) else None,
        result=row.get("result"),
    )
