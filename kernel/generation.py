"""One loaded version of a plugin while it lives: it is opened, serves, drains, and is retired.

Every call into a plugin passes `call` or `stream` here. They count what is in flight, so that a reload can wait for it,
cut what does not end, and prove afterwards that nothing of the old version is left.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import typing
from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any, Literal

import msgspec

from kernel.bus import Bus
from kernel.bus import Subscription as Queue
from kernel.contribution import Contribution, Subscription
from kernel.errors import AetherraError, BadInput, ContractError, LoadError, Overloaded, PluginError
from kernel.events import PLUGIN_ERROR, Event
from kernel.loader import Source
from kernel.redaction import redactions
from kernel.services import plain
from kernel.suggest import nearest

log = logging.getLogger("kernel.generation")

Stage = Literal["staged", "open", "serving", "draining", "retired"]


def made_up(error: BaseException, plugin: str) -> PluginError | None:
    """Return what to raise instead of what no plugin may: an exit would end the hub, a cancellation its caller's task.

    None for a cancellation that really came from outside, and for a generator that is being closed.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            return None
        return PluginError(f"{plugin} raised a cancellation that nobody asked for", details={"plugin": plugin})
    if isinstance(error, GeneratorExit):
        return None
    return PluginError(
        f"{plugin} raised {type(error).__name__}, which would end the hub; only the hub itself ends",
        details={"plugin": plugin},
    )


class Tally(msgspec.Struct):
    """What a generation did, as measured."""

    calls: int = 0
    errors: int = 0
    busy_s: float = 0.0

    def add(self, other: Tally) -> None:
        """Take another's figures in."""
        self.calls += other.calls
        self.errors += other.errors
        self.busy_s += other.busy_s


class Generation(msgspec.Struct, eq=False, weakref=True):
    """A version of a plugin: its source, its module, what it contributes, and the calls that are inside it."""

    number: int
    source: Source
    module: ModuleType
    contribution: Contribution
    bundled: bool
    settings: Any = None
    stage: Stage = "staged"
    paused: asyncio.Event | None = None
    """While set, new calls wait: state is being handed to the next generation."""
    tally: Tally = msgspec.field(default_factory=Tally)
    _context: Callable[[Any], Any] | None = None
    _collectors: dict[str, Any] = msgspec.field(default_factory=dict)
    _providers: dict[str, Any] = msgspec.field(default_factory=dict)
    _inside: dict[int, asyncio.Timeout] = msgspec.field(default_factory=dict)
    _unary: int = 0
    _conversing: int = 0
    _next: int = 0
    _empty: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    _lifespan: Any = None

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self.contribution.name

    @property
    def principal(self) -> str:
        """Who this plugin is to the policy: a bundled one is the house itself, any other is `plugin:NAME`."""
        return f"core:{self.plugin}" if self.bundled else f"plugin:{self.plugin}"

    def equip(self, context: Callable[[Any], Any], collectors: dict[str, Any]) -> None:
        """Give it the maker of its own contexts and the collectors of its metrics."""
        self._context = context
        self._collectors = collectors

    def context(self) -> Any:
        """Return a context in which the plugin acts for itself, as its tasks and subscriptions do."""
        if self._context is None:
            raise LoadError(f"{self.plugin} is not equipped yet")
        return self._context(self)

    def metric(self, name: str) -> Any:
        """Return the collector of a declared metric."""
        try:
            return self._collectors[name]
        except KeyError:
            close = nearest(name, list(self._collectors))
            raise ContractError(
                f"{self.plugin} did not declare the metric {name!r}"
                + (f"; did you mean {close!r}?" if close else "; p.counter, p.gauge and p.histogram declare one")
            ) from None

    def provider(self, service: str) -> Any:
        """Return this generation's one object for a service that it provides."""
        return self._providers[service]

    # Opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the providers and run the lifespan up to its yield; raise what it raises."""
        for service in self.contribution.services:
            self._providers[service.name] = service.provider()
        if self.contribution.lifespan is not None:
            lifespan = self.contribution.lifespan(self.context())
            try:
                await anext(lifespan)
            except StopAsyncIteration:
                raise LoadError(f"{self.plugin}: its lifespan ended without a yield") from None
            self._lifespan = lifespan
        self.stage = "open"

    async def close(self) -> None:
        """Run the lifespan to its end; an error there is logged, since nobody waits for it any more."""
        lifespan, self._lifespan = self._lifespan, None
        self.stage = "retired"
        if lifespan is not None:
            try:
                await anext(lifespan)
            except StopAsyncIteration:
                pass
            except (Exception, SystemExit, KeyboardInterrupt):
                log.exception("%s: closing generation %d failed", self.plugin, self.number)
            except asyncio.CancelledError as error:
                if made_up(error, self.plugin) is None:
                    raise
                log.exception("%s: closing generation %d failed", self.plugin, self.number)
            else:
                log.error("%s: its lifespan yielded twice", self.plugin)
                await lifespan.aclose()
        self._providers.clear()

    async def unhealthy(self) -> str | None:
        """Return why the plugin says it does not work, or None."""
        probe = self.contribution.health
        if probe is None:
            return None
        try:
            answer = probe(self.context()) if inspect.signature(probe).parameters else probe()
            if inspect.isawaitable(answer):
                answer = await answer
        except AetherraError as error:
            return error.message
        except BaseException as error:
            if not isinstance(error, Exception) and made_up(error, self.plugin) is None:
                raise
            log.exception("%s: its health function failed", self.plugin)
            return f"its health function failed: {type(error).__name__}"
        return None if answer is None else str(answer)

    # Calls -------------------------------------------------------------------------------------------------------

    async def call(self, fn: Callable[..., Any], ctx: Any, arguments: dict[str, Any]) -> Any:
        """Run `fn(ctx, **arguments)` on this generation, counted and, at a drain that lasts too long, cut."""
        began = time.perf_counter()
        self._unary += 1
        try:
            return await self._counted(fn, ctx, arguments)
        finally:
            self._unary -= 1
            self.tally.busy_s += time.perf_counter() - began
            self._left()

    async def converse(self, fn: Callable[..., Any], ctx: Any, arguments: dict[str, Any]) -> Any:
        """Run the function of a socket: a call that lasts as long as its client likes, so no handover waits for it."""
        self._conversing += 1
        try:
            return await self._counted(fn, ctx, arguments)
        finally:
            self._conversing -= 1
            self._left()

    def _left(self) -> None:
        if not self._unary:
            self._empty.set()

    async def _counted(self, fn: Callable[..., Any], ctx: Any, arguments: dict[str, Any]) -> Any:
        self.tally.calls += 1
        try:
            return await self._within(fn, ctx, arguments)
        except AetherraError:
            raise
        except Exception:
            self.tally.errors += 1
            raise
        except BaseException as error:
            self._contain(error)
            raise

    async def _within(self, fn: Callable[..., Any], ctx: Any, arguments: dict[str, Any]) -> Any:
        ticket = self._next = self._next + 1
        try:
            async with asyncio.timeout(None) as limit:
                self._inside[ticket] = limit
                result = fn(ctx, **arguments) if _takes_context(fn) else fn(**arguments)
                return await result if inspect.isawaitable(result) else result
        except TimeoutError:
            if limit.expired():
                raise self._cut() from None
            raise
        finally:
            del self._inside[ticket]

    async def stream(self, fn: Callable[..., Any], ctx: Any, arguments: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Yield what the async generator `fn` yields, until it ends, the reader leaves, or the generation is cut."""
        self.tally.calls += 1
        source = fn(ctx, **arguments) if _takes_context(fn) else fn(**arguments)
        ticket = self._next = self._next + 1
        try:
            while True:
                try:
                    async with asyncio.timeout(None) as limit:
                        self._inside[ticket] = limit
                        item = await anext(source)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if limit.expired():
                        raise self._cut() from None
                    raise
                self._inside.pop(ticket, None)
                if self.stage == "retired":
                    raise self._cut()
                yield item
        except AetherraError:
            raise
        except Exception:
            self.tally.errors += 1
            raise
        except BaseException as error:
            self._contain(error)
            raise
        finally:
            self._inside.pop(ticket, None)
            await source.aclose()

    def _contain(self, error: BaseException) -> None:
        fault = made_up(error, self.plugin)
        if fault is not None:
            self.tally.errors += 1
            raise fault from error

    def _cut(self) -> Overloaded:
        return Overloaded(
            f"{self.plugin} was replaced by a newer version and this call did not end in time; repeat it",
            details={"plugin": self.plugin},
            code="GENERATION_ENDED",
            retry_after_s=1.0,
        )

    @property
    def in_flight(self) -> int:
        """How many calls and waiting streams are inside."""
        return len(self._inside)

    async def quiet(self, *, conversations: bool = False) -> None:
        """Return when no call is inside; streams are not waited for, and sockets only if they are asked for."""
        while self._unary or (conversations and self._conversing):
            self._empty.clear()
            await self._empty.wait()

    def cut(self) -> int:
        """End everything that is still inside, now; return how much that was."""
        now = asyncio.get_running_loop().time()
        for limit in self._inside.values():
            limit.reschedule(now)
        return len(self._inside)


def _takes_context(fn: Callable[..., Any]) -> bool:
    code = getattr(fn, "__func__", fn).__code__
    names = code.co_varnames[: code.co_argcount]
    return bool(names) and names[1 if inspect.ismethod(fn) and len(names) > 1 else 0] == "ctx"


class Reader:
    """Feeds one subscription's events to one generation, in order; the queue behind it outlives the reader."""

    def __init__(self, generation: Generation, subscription: Subscription, queue: Queue, bus: Bus) -> None:
        self._generation = generation
        self._subscription = subscription
        self._queue = queue
        self._bus = bus
        self._handling = False
        self._ending = False

    async def run(self) -> None:
        """Handle events until told to end; an event that was taken is always handled to its end."""
        async for event in self._queue:
            self._handling = True
            try:
                await self._handle(event)
            finally:
                self._handling = False
            if self._ending:
                return

    async def end(self, task: asyncio.Task[None], timeout_s: float) -> None:
        """Let the event in hand finish, then stop; after `timeout_s` cancel it."""
        self._ending = True
        if self._handling:
            await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.wait([task])

    async def _handle(self, event: Event) -> None:
        subscription, generation = self._subscription, self._generation
        try:
            arguments = bind_event(subscription, event)
            await generation.call(subscription.fn, generation.context(), arguments)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s failed on %s", subscription.name, event.topic)
            if event.topic != PLUGIN_ERROR:
                failure = {
                    "plugin": generation.plugin,
                    "where": subscription.name,
                    "topic": event.topic,
                    "error": redactions.text(str(error)),
                }
                self._bus.emit(PLUGIN_ERROR, failure, source="kernel")  # published, it could wait for its own reader


def bind_event(subscription: Subscription, event: Event) -> dict[str, Any]:
    """Return the arguments of an event handler: the whole `Event` where it asks for one, else the event's data.

    A handler with one parameter reads the data into its type, a Struct or a map; where it is a map and the type takes
    none, the field of the parameter's name. A handler with several parameters reads the fields of their names.
    """
    signature, data = subscription.signature, plain(event.data)
    parameters = signature.parameters
    if len(parameters) == 1:
        only = parameters[0]
        if only.type is Event:
            return {only.name: event}
        try:
            return signature.part([only.field], lax=False, extras=True).bind({only.field: data})
        except BadInput:
            if not isinstance(data, dict) or not (only.field in data or _is_scalar(only.type)):
                raise
    fields = data if isinstance(data, dict) else {}
    return signature.part([p.field for p in parameters], lax=False, extras=True).bind(fields)


def _is_scalar(kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Annotated:
        return _is_scalar(typing.get_args(kind)[0])
    return kind in (str, int, float, bool)
