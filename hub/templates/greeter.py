"""greeter greets by name over HTTP and from scripts, and remembers for a while whom it has greeted."""

from typing import Annotated, Any

import msgspec

from kernel import Context, Plugin

# Importing this file does nothing: decorators only collect, and the hub asks for what they collected.
p = Plugin(
    "greeter",  # the name of this file
    version="0.1.0",
    description="Greets by name.",
    # Each runs once, ever. To change a table, add a step at the end; every name begins with the plugin's and __.
    migrations=["CREATE TABLE greeter__met (name TEXT PRIMARY KEY, times INTEGER NOT NULL, last_at REAL NOT NULL)"],
)

GREETINGS = p.counter("aetherra_greeter_greetings_total", "Greetings given")  # in GET /metrics, across reloads

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]  # who sends another gets a 400 that says so


@p.settings
class Settings(msgspec.Struct, frozen=True):
    """`[plugins.greeter]` in aetherra.toml."""

    word: str = "Hello"
    """What a greeting begins with."""
    keep_days: Annotated[int, msgspec.Meta(ge=1)] = 30
    """How long somebody who does not come back is remembered."""


class Met(msgspec.Struct):
    """Somebody who was greeted."""

    name: str
    times: int
    last_at: float


counts = {"greetings": 0}  # each version has its own; what it holds is handed over below


@p.post("/api/greeter/{name}")  # a route: its parameters come from the path and the body
@p.function("greet", effect="staged")  # greeter.greet(...) in scripts, a tool for agents; staged: it writes
async def greet(ctx: Context, name: Name) -> str:
    """Greet somebody, and remember it."""
    now = ctx.clock.now()

    def remember(tx: Any) -> int:  # runs in the writer's thread, and is committed when it returns
        tx.execute(
            "INSERT INTO greeter__met VALUES (?, 1, ?) ON CONFLICT (name) DO UPDATE SET times = times + 1, last_at = ?",
            (name, now, now),
        )
        tx.publish("greeter.greeted", {"name": name})  # an event, once the commit stands
        return int(tx.one("SELECT times FROM greeter__met WHERE name = ?", (name,))["times"])

    times = await ctx.store.write(remember)
    counts["greetings"] += 1
    ctx.metric(GREETINGS).inc()
    return f"{ctx.settings.word}, {name}!" if times == 1 else f"{ctx.settings.word} again, {name}!"


@p.get("/api/greeter")  # a GET changes nothing
@p.function("met", effect="read")
async def met(ctx: Context) -> list[Met]:
    """Return whom it has greeted, the latest first, at most 100."""
    rows = ctx.store.all("SELECT name, times, last_at FROM greeter__met ORDER BY last_at DESC LIMIT 100")
    return [Met(**row) for row in map(dict, rows)]


class Arrived(msgspec.Struct):
    """What `emit "user.arrived" with {name: "Ada"}` says in a script."""

    name: Name


@p.on("user.arrived")  # an event; the parameters are the fields that are read of it, its other fields do not matter
async def arrived(ctx: Context, data: Arrived, script: str) -> None:
    """Greet who arrives."""
    ctx.log.info("%s arrived, says %s", data.name, script)
    await greet(ctx, data.name)


@p.task("forget")  # runs as long as the plugin does; if it fails, it is started again
async def forget(ctx: Context) -> None:
    """Forget once an hour who did not come back."""

    def old(tx: Any) -> None:
        tx.execute("DELETE FROM greeter__met WHERE last_at < ?", (ctx.clock.now() - ctx.settings.keep_days * 86_400,))

    while True:
        await ctx.clock.sleep(3_600)
        await ctx.store.write(old)


@p.health
def health(ctx: Context) -> str | None:
    """Return None while it works, else the reason why not; GET /health/ready shows it."""
    return None if ctx.store.one("SELECT count(*) AS n FROM greeter__met") else "the table cannot be read"


@p.export_state
def export_state() -> dict[str, Any]:
    """Hand the count over at a reload: plain data only."""
    return {"counts": counts}


@p.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Go on counting; `version` is the one that handed over, which may be older, or newer."""
    counts.update(state.get("counts", {}))
