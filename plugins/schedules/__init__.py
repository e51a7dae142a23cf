"""schedules runs scripts when they are due, and keeps scripts resident: what they register is live.

A schedule belongs to a user. When it is due, a job is submitted for him, with the rights that he has then; each due
time once, whatever happens in between. All lies in the hub's database, so schedules outlive reloads and restarts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from kernel import Context, Event, Plugin

from . import commands, firing, residents
from .callers import houses
from .clockwork import Clockwork
from .following import Following
from .service import Schedules
from .settings import Settings

schedules = Plugin(
    "schedules",
    version="1.0.0",
    description="Runs scripts when they are due, and keeps scripts resident.",
    category="system",
    requires={"scripts": ">=1.0", "executions": ">=1.0"},
    topics=["schedule"],
    migrations="migrations",
)

schedules.settings(Settings)
schedules.service("schedules")(Schedules)
schedules.counter(firing.FIRED, "Schedules that were due and began a run")
schedules.counter(firing.PASSED_OVER, "Due times without a run, by why", ["why"])
commands.add(schedules)

followings: list[Following] = []
handed: list[dict[str, Any]] = []


@schedules.lifespan
async def lifespan(ctx: Context) -> AsyncIterator[None]:
    """Follow what resident scripts follow; at the end nothing more."""
    following = Following(ctx)
    followings.append(following)
    houses.append(ctx)
    yield
    houses.clear()
    followings.clear()
    await following.close()


@schedules.task("clockwork", restart="always")
async def clockwork(ctx: Context) -> None:
    """Carry out what is due."""
    await Clockwork(ctx).keep()


@schedules.task("residents", restart="always")
async def follow(ctx: Context) -> None:
    """Read what resident scripts register, follow it, and look at the signals from time to time."""
    following = followings[0]
    await residents.renew(ctx)
    while True:
        if residents.changed.is_set():
            residents.changed.clear()
            following.read_anew()
            while handed:
                following.take_over(handed.pop())
        try:
            async with ctx.clock.timeout(ctx.settings.signals_s if following.residents else None):
                await residents.changed.wait()
        except TimeoutError:
            await following.look()


@schedules.on("script.changed")
async def script_changed(ctx: Context, event: Event) -> None:
    """Read anew what the scripts register that have changed."""
    if event.source == "scripts" and isinstance(event.data, dict):
        await residents.renew(ctx, [name for name in event.data.get("scripts", []) if isinstance(name, str)])


@schedules.on("job.completed")
@schedules.on("job.failed")
@schedules.on("job.cancelled")
async def job_ended(ctx: Context, event: Event) -> None:
    """A resident whose run is over goes on with what waits."""
    if event.source == "executions" and followings:
        await followings[0].ended(event.data["job_id"])


@schedules.health
async def health(ctx: Context) -> str | None:
    """Return why schedules cannot be read, or None."""
    ctx.store.one("SELECT 1 FROM schedules__schedules LIMIT 1")
    return None


@schedules.export_state
def export_state() -> dict[str, Any]:
    """Hand over what waits for resident scripts."""
    return followings[0].export() if followings else {}


@schedules.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Go on with it, once the rows are read."""
    if state:
        handed.append(state)
