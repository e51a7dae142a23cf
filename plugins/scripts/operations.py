"""What the hub does for a running script, operation by operation (language reference, sections 13, 20 and 21).

Each is a typed function: its arguments are checked by its annotations before it runs. `ctx` acts for the user through
the script, so whatever it reaches decides by the rights of both. What no loaded plugin can do is a clear error.
"""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Awaitable, Callable
from random import SystemRandom
from typing import Any, Final, Protocol

import msgspec

from kernel import AetherraError, Context, iso

from .faults import fault, in_script_words, not_yet, of_function
from .questions import Question
from .signals import measured

Named = dict[str, Any]
_random = SystemRandom()


class RunView(Protocol):
    """What an operation may know and tell of the run it serves."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def name(self) -> str:
        """The script's name."""

    @property
    def story(self) -> list[str]:
        """What the script has narrated."""

    @property
    def data_class(self) -> str:
        """The class of the script's data, by its own policy."""

    @property
    def export_most(self) -> str:
        """The highest class of data that may leave the hub."""

    @property
    def questions(self) -> dict[str, Question]:
        """What the run asks people."""

    @property
    def before(self) -> dict[str, Named]:
        """By token, what a committed transaction put something else in the place of."""

    trace_level: str

    def remaining_s(self) -> float | None:
        """Return the seconds the run may still take, or None without a limit."""

    def note(self, topic: str, data: Named) -> None:
        """Add a line to the job's history."""

    def refused(self, denial: Named) -> None:
        """Keep why a right was refused, for whoever started the run."""


class Operations:
    """One run's operations; `TABLE` maps their names to the functions."""

    def __init__(self, run: RunView) -> None:
        self.run = run

    # Time, chance, signals ---------------------------------------------------------------------------------------

    async def now(self, ctx: Context) -> float:
        """Seconds since 1970."""
        return ctx.clock.now()

    async def sleep(self, ctx: Context, seconds: float) -> Awaitable[None]:
        """Wait, in the kernel; a run cannot wait for longer than it may take."""
        if not math.isfinite(seconds):
            raise fault("ValueError", "a wait is a finite number of seconds")
        left = self.run.remaining_s()
        if left is not None and seconds > left:
            raise not_yet(
                f"waiting {seconds:g} s, longer than the {max(left, 0):.0f} s that this run may still take",
                "schedule another run instead of waiting",
            )
        return ctx.clock.sleep(max(seconds, 0.0))

    async def number(self, ctx: Context) -> float:
        """A number from 0 up to 1."""
        return _random.random()

    async def integer(self, ctx: Context, a: int | float, b: int | float) -> int:
        """A whole number from a to b, both included."""
        if not (math.isfinite(a) and math.isfinite(b)):
            raise fault("ValueError", "random_int needs a range of finite numbers")
        low, high = int(a), int(b)
        if low > high:
            raise fault("ValueError", f"random_int needs a range, from {low} to {high} there is none")
        return _random.randint(low, high)

    async def id(self, ctx: Context) -> str:
        """A short random id."""
        return secrets.token_hex(8)

    async def uuid(self, ctx: Context) -> str:
        """A uuid4."""
        return str(uuid.uuid4())

    async def session(self, ctx: Context) -> str:
        """A random id that says session."""
        return f"session_{secrets.token_hex(8)}"

    async def signal(self, ctx: Context, name: str) -> Any:
        """Load and idleness of the machine; null for a signal that nobody measures."""
        return measured().get(name)

    # The job's own -----------------------------------------------------------------------------------------------

    async def trace(self, ctx: Context, level: str | None = None) -> None:
        """From level `debug` on every operation is noted with its arguments and result."""
        self.run.trace_level = level or "debug"

    async def metrics(self, ctx: Context, values: Named) -> None:
        """Note figures in the job's history."""
        self.run.note("job.metrics", {"values": values})

    async def stream_open(self, ctx: Context, name: str) -> str:
        """A named stream of the job's log."""
        return name

    async def stream_write(self, ctx: Context, name: str, data: Any = None) -> None:
        """A record in a named stream of the job's log."""
        self.run.note("job.log", {"level": "info", "stream": name, "message": _text(data), "data": data})

    async def narrate(self, ctx: Context, text: Any = None) -> str:
        """Add to the story of the run, or return it."""
        if text is not None:
            self.run.story.append(_text(text))
        return " ".join(self.run.story)

    # Events and intents ------------------------------------------------------------------------------------------

    async def emit(self, ctx: Context, event: str, data: Any = None) -> int:
        """Publish under `user.` unless the script may publish under the name as it stands; tells that it was one."""
        topic = _topic(ctx, event)
        await ctx.require("event:emit", topic)
        await ctx.publish(topic, {"data": data, **_origin(self.run), "owner": ctx.owner})
        return 1

    async def intent(self, ctx: Context, verb: str, target: Any = None, slots: Any = None, text: str = "") -> Named:
        """Record what is wanted, for whoever listens."""
        await ctx.require("intent:act", verb)
        record = {"verb": verb, "target": target, "slots": slots, "text": text, "status": "recorded"}
        await ctx.publish("intent.recorded", {**record, **_origin(self.run)})
        return record

    async def verb(self, ctx: Context, verb: str, slots: Any = None, text: str = "") -> Named:
        """A plugin's own verb: its function `verb_<verb>`; without one it is not handled."""
        functions = ctx.table.bare_functions.get(f"verb_{verb}", ())
        if len(functions) != 1:
            return {"handled": False}
        return {"handled": True, "result": await self._called(ctx, functions[0], [slots, text], {})}

    async def notify(self, ctx: Context, user: Any = None, team: Any = None, content: Any = None) -> None:
        """Tell a person or a team, as an event that a dashboard shows."""
        await _tell(ctx, self.run, {"user": user, "team": team, "content": content})

    async def alert(self, ctx: Context, text: Any) -> None:
        """Tell everybody."""
        await _tell(ctx, self.run, {"content": text, "level": "alert"})

    async def speak(self, ctx: Context, text: Any) -> None:
        """Say something."""
        await _tell(ctx, self.run, {"content": text, "channel": "voice"})

    # Plugins -----------------------------------------------------------------------------------------------------

    async def call(self, ctx: Context, name: str, args: list[Any] | None = None, kwargs: Named | None = None) -> Any:
        """A plugin's function by its full name, or its bare name while one plugin alone offers it."""
        return await self._called(ctx, name, args or [], kwargs or {})

    async def _called(self, ctx: Context, name: str, args: list[Any], kwargs: Named) -> Any:
        try:
            result = await ctx.call(name, *args, **kwargs)
        except AetherraError as error:
            raise of_function(error) from None
        except Exception:
            ctx.log.exception("job %s: the function %s failed", self.run.id, name)
            raise fault("PluginError", f"the function {name!r} failed; the reason is in the hub's log") from None
        if not _holdable(result):
            raise fault("ValueError", f"the result of {name!r} has a number that is not finite or beyond 64 bits")
        return result

    async def try_call(
        self, ctx: Context, name: str, args: list[Any] | None = None, kwargs: Named | None = None
    ) -> Named:
        """The same; what goes wrong is part of the answer."""
        try:
            return {"success": True, "data": await self.call(ctx, name, args, kwargs), "error": None}
        except AetherraError as error:
            return {"success": False, "data": None, "error": in_script_words(error, "plugin.try").message}

    async def receiver(
        self, ctx: Context, receiver: str, function: str, args: list[Any] | None = None, kwargs: Named | None = None
    ) -> Any:
        """`name.f()`: the function of the plugin of that name."""
        if not any(owner.plugin == receiver for owner in ctx.table.owners):
            raise fault("NameError", f"nothing is bound to {receiver!r}, and there is no plugin or agent of that name")
        return await self.call(ctx, f"{receiver}.{function}", args, kwargs)

    async def exists(self, ctx: Context, name: str) -> bool:
        """Is there such a plugin, or such a function."""
        return name in ctx.table.functions or any(owner.plugin == name for owner in ctx.table.owners)

    async def has_function(self, ctx: Context, plugin: Any, name: str) -> bool:
        """Does that plugin offer the function."""
        owner = plugin.get("name") if isinstance(plugin, dict) else plugin
        return f"{owner}.{name}" in ctx.table.functions

    async def plugins(self, ctx: Context) -> list[Named]:
        """All plugins, with their state."""
        return [_plugin(module) for module in await ctx.service("modules").list()]

    async def active_plugins(self, ctx: Context) -> list[Named]:
        """Those that serve."""
        return [plugin for plugin in await self.plugins(ctx) if plugin["status"] == "active"]

    async def load_plugin(self, ctx: Context, name: str) -> Named:
        """Load a plugin anew."""
        return _plugin(await ctx.service("modules").reload(name))

    async def read_out(self, ctx: Context, what: str, words: list[Any] | None = None) -> Any:
        """`goal status`, `memory summary`, `memory tags`, `list plugins`, `plugin info p`, `show ..`, `status`."""
        words = words or []
        if what == "goal":
            return await ctx.service("goals").statistics()
        if what == "memory":
            return await (ctx.service("memory").tags() if "tags" in words else ctx.service("memory").status())
        if what in ("list", "plugin"):
            if what == "plugin" and words[1:]:
                return _plugin(await ctx.service("modules").get(str(words[1])))
            return await self.plugins(ctx)
        return {"job_id": self.run.id, "script": self.run.name, "time": iso(ctx.clock.now())}


def _text(value: Any) -> str:
    """The text of a value as scripts write it (language reference, 6.3): a string as it is, else compact JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _holdable(value: Any) -> bool:
    """Tell whether a script can hold every number in what a function gave."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)
        elif isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, int) and not -(1 << 63) <= one < 1 << 64:
            return False
    return True


async def _tell(ctx: Context, run: RunView, message: Named) -> None:
    await ctx.require("ui:notify", _receiver(message))
    await ctx.publish("ui.notified", {**message, **_origin(run)})


async def permit_object(ctx: Context, operation: str, args: Named) -> None:
    """Raise `Denied` where the right depends on what the operation is done to, and is not there."""
    if operation == "event.emit":
        await ctx.require("event:emit", _topic(ctx, str(args.get("event"))))
    elif operation == "intent.record":
        await ctx.require("intent:act", str(args.get("verb")))
    elif operation.startswith("ui."):
        await ctx.require("ui:notify", _receiver(args))


def _topic(ctx: Context, event: str) -> str:
    return event if "." in event and ctx.may(f"event:emit:{event}") else f"user.{event.removeprefix('user.')}"


def _receiver(message: Named) -> str:
    return str(message.get("user") or message.get("team") or "everybody")


def _origin(run: RunView) -> Named:
    return {"job_id": run.id, "script": run.name, "data_class": run.data_class}


def _plugin(module: Named) -> Named:
    return {
        "id": module["name"],
        "name": module["name"],
        "status": module["status"],
        "version": module.get("version"),
        "description": module.get("description"),
        "health": module["reason"] or "ok",
    }


TABLE: Final[dict[str, Callable[..., Any]]] = {
    "time.now": Operations.now,
    "time.sleep": Operations.sleep,
    "random.number": Operations.number,
    "random.int": Operations.integer,
    "random.id": Operations.id,
    "random.uuid": Operations.uuid,
    "random.session": Operations.session,
    "signal.read": Operations.signal,
    "trace.level": Operations.trace,
    "metrics.record": Operations.metrics,
    "log.stream_open": Operations.stream_open,
    "log.stream_write": Operations.stream_write,
    "story.narrate": Operations.narrate,
    "event.emit": Operations.emit,
    "intent.record": Operations.intent,
    "verb.handle": Operations.verb,
    "ui.notify": Operations.notify,
    "ui.alert": Operations.alert,
    "ui.speak": Operations.speak,
    "plugin.call": Operations.call,
    "plugin.try": Operations.try_call,
    "function.call": Operations.call,
    "receiver.call": Operations.receiver,
    "plugin.exists": Operations.exists,
    "plugin.has_function": Operations.has_function,
    "plugin.all": Operations.plugins,
    "plugin.available": Operations.plugins,
    "plugin.active": Operations.active_plugins,
    "plugin.load": Operations.load_plugin,
    "status.read": Operations.read_out,
}

SERVICES: Final[dict[str, str]] = {
    "agent": "agents",
    "ai": "ai",
    "http": "egress",
    "file": "files",
    "secret": "vault",
    "schedule": "schedules",
    "park": "schedules",
    "time": "schedules",
    "memory": "memory",
    "collection": "memory",
    "goal": "goals",
}
"""By the first word of an operation, the service that stands behind it."""
