"""A kernel whose schedules are carried out in no time: real executions, and a runner that ends each run at once.

The plugin `books` stands in the place of the scripts: it knows a few, keeps what was submitted, and can refuse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kernel import Caller, Kernel
from kernel.testing import ALLOW_ALL, TestClock, running_kernel

ADA = Caller("user:ada", ("role:user",))
BOB = Caller("user:bob", ("role:user",))

BOOKS = """
from kernel import BadInput, Context, Denied, NotFound, Overloaded, Plugin, needs

books = Plugin("books", version="1.0.0", topics=["script"], migrations=[
    "CREATE TABLE books__mode (name TEXT PRIMARY KEY, value TEXT)"])

held = {}

def mode(ctx, name):
    row = ctx.store.one("SELECT value FROM books__mode WHERE name = ?", (name,))
    return "" if row is None else row["value"]

@books.service("scripts")
class Scripts:
    @needs("script:check")
    async def registers(self, ctx: Context, name: str) -> dict:
        if mode(ctx, "gone"):
            raise NotFound("there is no script " + name)
        name = name if name.endswith(".aether") else name + ".aether"
        return {"name": name, "hash": "1", "registers": {"entries": ["sweep"]}}

    @needs("job:read")
    async def submit(self, ctx: Context, script_name: str, parameters: dict, context: dict,
                     idempotency_key: str | None, entry: str | None, parent: str | None) -> dict:
        refuse = mode(ctx, "refuse")
        if refuse == "denied":
            raise Denied("ada may not script:run")
        if refuse == "busy":
            raise Overloaded("too many jobs wait")
        given = {"parameters": parameters, "context": context, "entry": entry}
        return await ctx.service("executions").submit("script", script_name, given, idempotency_key=idempotency_key,
                                                      parent=parent)

    @needs("signal:read")
    async def signals(self, ctx: Context) -> dict:
        return {}

    @needs("system:admin")
    async def set(self, ctx: Context, name: str, value: str) -> None:
        def put(tx):
            tx.execute("INSERT OR REPLACE INTO books__mode VALUES (?, ?)", (name, value))
        await ctx.store.write(put)

@books.service("runner.script")
class Runner:
    @needs("system:admin")
    async def start(self, ctx: Context, execution: dict) -> dict:
        held[execution["id"]] = execution["attempt"]
        if not mode(ctx, "hold"):
            await ctx.service("executions").finish(execution["id"], execution["attempt"], "completed", None)
        return {"wall_s": None}

    @needs("system:admin")
    async def stop(self, ctx: Context, execution: str) -> None:
        await ctx.service("executions").finish(execution, held.get(execution, 0), "cancelled", None)
"""


class ScheduleHouse:
    """A running kernel and what a test does with it."""

    def __init__(self, kernel: Kernel, clock: TestClock) -> None:
        self.kernel = kernel
        self.clock = clock
        self.user = ADA
        """For whom the test asks where it names nobody."""

    def schedules(self, caller: Caller | None = None) -> Any:
        """Return the service for that caller."""
        return self.kernel.context(caller or self.user).service("schedules")

    async def set(self, name: str, value: str) -> None:
        """Change how the books behave: `refuse` is denied or busy, `hold` keeps runs going, `gone` loses scripts."""
        await self.kernel.context(Caller("core:test")).service("scripts").set(name, value)

    async def jobs(self) -> list[dict[str, Any]]:
        """Return the user's jobs, oldest first."""
        executions = self.kernel.context(self.user).service("executions")
        found = (await executions.list(limit=500))["executions"]
        return [job for job in reversed(found) if job["owner"] == self.user.id]

    async def jobs_once(self, count: int) -> list[dict[str, Any]]:
        """Return all jobs once there are so many: what reads in threads, the clock does not wait for."""
        for _ in range(1_000):
            await self.clock.settle()
            if len(found := await self.jobs()) >= count:
                return found
        return found

    async def fired(self, id: str) -> None:
        """Return when a schedule has run, or has surely had the time to."""
        for _ in range(1_000):
            await self.clock.settle()
            if (await self.schedules().get(id))["runs"]:
                return
            await self.jobs()  # a read in a thread, as the one that is waited for

    async def end(self, job: Mapping[str, Any], how: str = "completed") -> None:
        """Let a run that is held end."""
        executions = self.kernel.context(Caller("core:test")).service("executions")
        await executions.finish(job["id"], job["attempt"], how)

    async def dues(self) -> list[str]:
        """Return the due times for which there are jobs, in the order of their submits."""
        return [str(job["parent"]).partition(":")[2].partition(":")[2] for job in await self.jobs()]


@asynccontextmanager
async def schedule_house(
    home: Path, clock: TestClock, overrides: Mapping[str, Any] | None = None
) -> AsyncIterator[ScheduleHouse]:
    """Run a kernel with the plugin under test in `home`; the clock stands still while the store writes."""
    async with running_kernel(
        home,
        plugins={"allow_all": ALLOW_ALL, "books": BOOKS},
        bundled=["executions", "schedules"],
        clock=clock,
        overrides=overrides,
    ) as kernel:
        clock.watch(lambda: kernel.store.pending)
        for module in kernel.modules.known():
            assert module.status == "active", (module.name, module.reason)
        await clock.settle()
        yield ScheduleHouse(kernel, clock)
