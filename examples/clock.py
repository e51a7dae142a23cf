"""clock tells the time of any zone, rings alarms and runs stopwatches. It uses every door once: the second to read."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Protocol
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from kernel import BadInput, Conflict, Context, Finding, NotFound, Overloaded, Plugin, Socket, Terminal, nearest, needs

clock = Plugin(
    "clock",
    version="1.0.0",
    description="Time, alarms and stopwatches.",
    capabilities=["memory:write:own"],  # what it does to others; its own tables and events need no right
    migrations=["CREATE TABLE clock__alarms (id INTEGER PRIMARY KEY, due REAL NOT NULL, text TEXT NOT NULL)"],
)

# Each version of the plugin is a module of its own, so these names are its private state.
zones: set[str] = set()  # filled when it opens
stopwatches: dict[str, float] = {}  # handed over at a reload
changed = asyncio.Event()  # wakes the task that rings

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]


@clock.settings
class Settings(msgspec.Struct, frozen=True):
    """`[plugins.clock]`; changed by a restart, or by a reload of the plugin."""

    zone: str = "UTC"
    """The zone that is meant when none is named."""
    alarms: Annotated[int, msgspec.Meta(ge=1)] = 100
    """Alarms that may be set at a time; one more is refused with 503."""


rung = clock.counter("aetherra_clock_alarms_rung_total", "Alarms that rang")
clock.gauge("aetherra_clock_stopwatches", "Stopwatches that run", read=lambda: float(len(stopwatches)))


class Time(msgspec.Struct):
    """A moment in a zone."""

    zone: str
    time: str


class Alarm(msgspec.Struct):
    """An alarm that is set, or one that rang; `due` in seconds since 1970, UTC."""

    id: int
    due: float
    text: str


def time_in(ctx: Context, zone: str | None) -> Time:
    """Return the time of a zone; raise `BadInput` with the nearest name for one that is not there."""
    name = zone or ctx.settings.zone
    if name not in zones:
        close = nearest(name, zones)
        raise BadInput(f"there is no zone {name!r}" + (f"; did you mean {close}?" if close else ""))
    moment = datetime.fromtimestamp(ctx.clock.now(), UTC).astimezone(ZoneInfo(name))
    return Time(name, moment.isoformat(timespec="milliseconds"))


# Over HTTP, from scripts, over a socket ------------------------------------------------------------------------------


@clock.get("/api/clock")  # GET /api/clock?zone=Europe/Oslo
@clock.function("now", effect="free")  # clock.now("Europe/Oslo") in scripts, a tool for agents
async def now(ctx: Context, zone: str | None = None) -> Time:
    """Return the time of a zone, or of the house's own."""
    return time_in(ctx, zone)


@clock.get("/api/clock/ticks")  # a stream: SSE, since it yields
async def ticks(ctx: Context, every_s: Annotated[float, msgspec.Meta(ge=0.05, le=3600)] = 1.0) -> AsyncIterator[Time]:
    """Yield the time again and again, until the client leaves."""
    while True:
        yield time_in(ctx, None)
        await ctx.clock.sleep(every_s)


class Ask(msgspec.Struct):
    """What a client of the socket sends."""

    zone: str


@clock.socket("/api/clock/socket", effect="free", stateless=True)  # stateless: a reload takes it over unnoticed
async def answer(ctx: Context, socket: Socket[Ask, Time | str]) -> None:
    """Answer each zone that is asked for with its time, or with why there is none."""
    async for ask in socket:
        try:
            await socket.send(time_in(ctx, ask.zone))
        except BadInput as error:
            await socket.send(error.message)


# Alarms: a table, a task, events, a service --------------------------------------------------------------------------


@clock.service("clock")  # for other plugins: ctx.service("clock").alarms()
class Alarms:
    """The alarms that are set."""

    @needs("schedule:read")
    async def alarms(self, ctx: Context) -> list[Alarm]:
        """Return them, the next one first."""
        return [Alarm(**dict(row)) for row in ctx.store.all("SELECT * FROM clock__alarms ORDER BY due LIMIT 1000")]


@clock.get("/api/clock/alarms")
async def alarms(ctx: Context) -> list[Alarm]:
    """Return the alarms that are set, the next one first."""
    return await Alarms().alarms(ctx)


@clock.post("/api/clock/alarms", status=201)
@clock.function("alarm", effect="staged")
async def alarm(ctx: Context, text: Text, in_s: Seconds) -> Alarm:
    """Set an alarm that rings in so many seconds."""
    due, most = ctx.clock.now() + in_s, ctx.settings.alarms

    def insert(tx: Any) -> int:  # in the writer's thread; committed when it returns
        if tx.one("SELECT count(*) AS n FROM clock__alarms")["n"] >= most:
            raise Overloaded(f"{most} alarms are set, and no more may be ([plugins.clock] alarms)")
        return int(tx.execute("INSERT INTO clock__alarms (due, text) VALUES (?, ?)", (due, text)).lastrowid)

    made = await ctx.store.write(insert)
    changed.set()
    return Alarm(made, due, text)


@clock.task("ring")  # ends before the next version's begins; what it waits for is in the table, so nothing is lost
async def ring(ctx: Context) -> None:
    """Ring what is due, then sleep until the next alarm is, or until there is another one."""
    while True:
        changed.clear()
        due = ctx.store.one("SELECT id, due, text FROM clock__alarms ORDER BY due LIMIT 1")
        if due is not None and due["due"] <= ctx.clock.now():
            await ctx.store.write(partial(take, row=dict(due)))
            ctx.metric(rung).inc()
            continue
        try:
            async with ctx.clock.timeout(None if due is None else due["due"] - ctx.clock.now()):
                await changed.wait()
        except TimeoutError:
            pass  # it is due now


def take(tx: Any, row: dict[str, Any]) -> None:
    """Delete an alarm and tell that it rang, both in one commit: it rings once, whatever happens."""
    tx.execute("DELETE FROM clock__alarms WHERE id = ?", (row["id"],))
    tx.publish("clock.alarmed", row)


@clock.uses("memory")  # what it expects of a service, compared with the provider at each load of either
class Memory(Protocol):
    """The part of memory that is needed here."""

    async def store(self, content: str, tags: list[str]) -> dict[str, Any]:
        """Remember a text."""
        ...


@clock.on("clock.alarmed")  # an event, its own here; the parameter's type says what is read of it
async def remember(ctx: Context, alarm: Alarm) -> None:
    """Remember that an alarm rang."""
    await ctx.service("memory", Memory).store(f"the alarm rang: {alarm.text}", tags=["clock"])


# Stopwatches: state in memory that outlives a reload -----------------------------------------------------------------


@clock.post("/api/clock/stopwatches/{name}")
async def start(ctx: Context, name: Text) -> None:
    """Start a stopwatch."""
    if name in stopwatches:
        raise Conflict(f"the stopwatch {name!r} runs already")
    if len(stopwatches) >= 1000:
        raise Overloaded("1000 stopwatches run; stop one")
    stopwatches[name] = ctx.clock.monotonic()


@clock.delete("/api/clock/stopwatches/{name}")
async def stop(ctx: Context, name: Text) -> float:
    """Stop a stopwatch, and return the seconds that it ran."""
    if name not in stopwatches:
        raise NotFound(f"no stopwatch {name!r} runs")
    return ctx.clock.monotonic() - stopwatches.pop(name)


@clock.export_state
def export_state() -> dict[str, Any]:
    """Hand the stopwatches over: plain data, since no class of this version is one of the next."""
    return {"stopwatches": stopwatches}


@clock.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Let them run on; an older version may not have had any."""
    stopwatches.update(state.get("stopwatches", {}))


# Its life, its health, and a verb ------------------------------------------------------------------------------------


@clock.lifespan
async def life(ctx: Context) -> AsyncIterator[None]:
    """Open before it serves, and close after: here only the names of the zones, which lie on disk."""
    zones.update(await asyncio.to_thread(available_timezones))
    yield
    zones.clear()


@clock.health
def health(ctx: Context) -> str | None:
    """Return None while it works, else why not; GET /health/ready shows it."""
    if ctx.settings.zone not in zones:
        return f"[plugins.clock] zone is {ctx.settings.zone!r}, which is no zone of this machine"
    return None


@clock.examination
def examine(config: Any) -> list[Finding]:
    """Tell `aether doctor`, without a hub, whether this machine has any zones."""
    if found := len(available_timezones()):
        return [Finding("zones", "ok", f"{found} time zones")]
    return [Finding("zones", "fail", "no time zones", "install the system's package tzdata, or pip install tzdata")]


@clock.command("alarm")  # aether alarm tea --in-s 180
async def alarm_verb(terminal: Terminal, text: str, in_s: float = 60.0) -> None:
    """Set an alarm in the running hub."""
    made = await terminal.request("POST", "/api/clock/alarms", json={"text": text, "in_s": in_s})
    terminal.print(made if terminal.json else f"alarm {made['id']} rings in {in_s:g} s: {text}")
