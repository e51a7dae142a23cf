"""`Context`: on whose behalf something runs, why, and until when; and the only way a plugin reaches the house.

A context is passed explicitly. What is derived from one never has more rights than it: a child's chain is longer, and
a longer chain can only do less.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, get_args, overload

import msgspec

from kernel.audit import Auditing, AuditRecord, Outcome
from kernel.bus import Bus, Subscription
from kernel.capabilities import Caller, Chain, Decision, Gate
from kernel.clock import Clock
from kernel.contribution import Effect, Function, Owned, Table, above
from kernel.errors import AetherraError, BadInput, Denied, NotFound, TooLarge
from kernel.event_log import EventLog, Published
from kernel.events import KERNEL_TOPICS, KERNEL_WORDS, Event
from kernel.grounds import Grounds
from kernel.patterns import check_topic
from kernel.scheduler import Scheduler, Ticket
from kernel.services import Handle, plain
from kernel.store import Store, StoreHandle
from kernel.suggest import nearest
from kernel.waiting import next_event, readable

P = TypeVar("P")
T = TypeVar("T")

CORE = "core:"


def new_trace() -> str:
    """Return an id of 128 random bits that joins everything one request or run caused."""
    return secrets.token_hex(16)


class House(Protocol):
    """The parts of the kernel that a context reaches."""

    table: Table
    gate: Gate
    auditing: Auditing
    bus: Bus
    event_log: EventLog
    store: Store
    scheduler: Scheduler
    workers: Any
    clock: Clock
    config: Any


class EventStream(msgspec.Struct, frozen=True):
    """A stream of bus events, returned by a handler and run by the hub, so that it outlives a reload of the plugin.

    `opening` goes out first; then what the ring holds after `since` (or the client's `Last-Event-ID`), then live
    events, each once. `where` keeps those whose data has all the given values; the stream ends after an event whose
    topic is in `until`.
    """

    topics: tuple[str, ...]
    where: dict[str, Any] = {}
    opening: tuple[Event, ...] = ()
    since: int | None = None
    until: frozenset[str] = frozenset()


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """A handler's answer with a status or headers of its own; `value` is encoded like any other result.

    A handler that returns `Reply[Job]` documents `Job` as its result; a bare `Reply` documents nothing.
    """

    value: T
    status: int | None = None
    headers: dict[str, str] = {}

    if not TYPE_CHECKING:
        # The one of `typing` remembers what it was given, and so would keep the structs of an old generation alive.
        __class_getitem__ = classmethod(types.GenericAlias)


class Context:
    """What a handler, a task or a service method is given first. Public attributes are all a plugin may use.

    `chain` says on whose behalf, `trace` joins what was caused, `deadline` is monotonic seconds or None, `plugin` is
    whose code this is, `effect_key` is equal on every attempt of one effect of a script (None elsewhere),
    `idempotency_key` is what the client sent under that header, and `address` where it sent it from (empty where no
    client on a network did).
    """

    __slots__ = (
        "_effects",
        "_kernel",
        "_owner",
        "address",
        "ceiling",
        "chain",
        "deadline",
        "effect_key",
        "grounds",
        "idempotency_key",
        "plugin",
        "trace",
    )

    def __init__(
        self,
        kernel: House,
        owner: Any,
        chain: Chain,
        *,
        trace: str = "",
        deadline: float | None = None,
        ceiling: Effect = "irreversible",
        effect_key: str | None = None,
        effects: Iterator[int] | None = None,
        idempotency_key: str | None = None,
        address: str = "",
        grounds: Grounds | None = None,
    ) -> None:
        self._kernel = kernel
        self._owner = owner
        self.chain = chain
        self.trace = trace or new_trace()
        self.deadline = deadline
        self.ceiling = ceiling
        self.plugin: str = owner.plugin if owner is not None else "hub"
        self.effect_key = effect_key
        self._effects = effects
        self.idempotency_key = idempotency_key
        self.address = address
        self.grounds = grounds

    # Who and why -------------------------------------------------------------------------------------------------

    @property
    def owner(self) -> str:
        """The id to store as the owner of what this call makes, such as `user:local`."""
        return self.chain.caller.id

    @property
    def log(self) -> logging.Logger:
        """The plugin's logger; its name carries no generation, so a reload leaves none behind."""
        return logging.getLogger(f"plugin.{self.plugin}")

    @property
    def table(self) -> Table:
        """Everything that is contributed at this moment."""
        return self._kernel.table

    async def require(self, capability: str, resource: str | None = None) -> Decision:
        """Return the decision when the chain may do this; raise `Denied`, with the reason, when it may not."""
        wanted = f"{capability}:{resource}" if resource is not None else capability
        gate = self._kernel.gate
        # `Gate.require` in two steps: most rights are not audited, and need no other coroutine.
        decision = gate.check(self.chain, wanted, ceiling=self.ceiling, trace=self.trace, plugin=self.plugin)
        if self.grounds is not None:
            self.grounds.note(self.chain, wanted)
        if decision.audited:
            await gate.record(decision, self.chain, wanted, trace=self.trace, plugin=self.plugin)
        return decision

    def may(self, capability: str) -> bool:
        """Tell whether the chain may do this, without recording the question."""
        decision = self._kernel.gate.decide(self.chain, capability)
        allowed = decision.allowed and not above(decision.effect, self.ceiling)
        if allowed and self.grounds is not None:
            self.grounds.note(self.chain, capability)
        return allowed

    async def audit(self, action: str, outcome: Outcome = "ok", /, **details: Any) -> None:
        """Put on record that this chain did something; returns once that is committed.

        `action` is of the form of a topic, `login.succeeded`, and its first word is no other plugin's; who acted, by
        which plugin and for which request is added. `details` are plain data and never secrets. Raises `StorageError`
        where it cannot be committed: then what was to be recorded must not happen.
        """
        check_topic(action)
        if outcome not in get_args(Outcome):
            raise BadInput(f"outcome: expected one of {', '.join(get_args(Outcome))}, got {outcome!r:.80}")
        self._may_tell(action)
        record = AuditRecord(
            self.clock.now(),
            action,
            outcome,
            str(self.chain),
            details=plain(details),
            trace=self.trace,
            plugin=self.plugin,
        )
        await self._kernel.auditing.keep(record)

    # What a plugin has of its own --------------------------------------------------------------------------------

    @property
    def store(self) -> StoreHandle:
        """The plugin's own tables. Beneath a script's effect, a write happens exactly once."""
        return StoreHandle(self._kernel.store, self.plugin, self._next_effect, self._owns)

    def _next_effect(self) -> tuple[str, int] | None:
        if self.effect_key is None or self._effects is None:
            return None
        return self.effect_key, next(self._effects)

    @property
    def settings(self) -> Any:
        """The plugin's settings, as the Struct that it declared."""
        return self._owner.settings

    @property
    def config(self) -> Any:
        """The house's configuration: `ctx.config.paths.home` and the like."""
        return self._kernel.config

    def metric(self, name: str) -> Any:
        """Return the collector of a metric that the plugin declared."""
        return self._owner.metric(name)

    @property
    def clock(self) -> Clock:
        """The only place that knows the time."""
        return self._kernel.clock

    # Reaching others ---------------------------------------------------------------------------------------------

    @overload
    def service(self, name: str) -> Any: ...
    @overload
    def service(self, name: str, protocol: type[P]) -> P: ...
    def service(self, name: str, protocol: type[Any] | None = None) -> Any:
        """Return a handle of the service; with a Protocol of one's own, checked against the provider's methods."""
        return Handle(self, name, protocol)

    def find_function(self, name: str) -> Owned[Function]:
        """Return the function `plugin.name`, or the bare `name` while one plugin alone offers it; else `NotFound`."""
        table = self._kernel.table
        found = table.functions.get(name)
        if found is not None:
            return found
        full = table.bare_functions.get(name, ())
        if len(full) == 1:
            return table.functions[full[0]]
        if full:
            raise BadInput(
                f"several plugins offer {name!r}: write {' or '.join(full)}", details={"functions": list(full)}
            )
        close = nearest(name, [*table.functions, *table.bare_functions])
        raise NotFound(
            f"no plugin offers the function {name!r}" + (f"; did you mean {close}?" if close else ""),
            details={"function": name},
            code="UNKNOWN_FUNCTION",
        )

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a plugin's function as this chain and return plain data; its right is asked first.

        What a function streams is collected into a list; `TooLarge` above `[limits] call_items`.
        """
        owned = self.find_function(name)
        while owned.owner.paused is not None and not self.passes_through(owned.owner):
            await owned.owner.paused.wait()
            owned = self.find_function(name)
        function = owned.item
        child = await self.calling(owned.owner, function.needs, exact=True, ceiling=function.effect)
        arguments = function.signature.positional(args, kwargs)
        bound = function.signature.binder.bind({key: plain(value) for key, value in arguments.items()})
        if function.signature.streams:
            return await _collected(owned.owner.stream(function.fn, child, bound), name, self.config.limits.call_items)
        return plain(await owned.owner.call(function.fn, child, bound))

    async def publish(self, topic: str, data: Any = None) -> Event:
        """Publish a fact. Under the plugin's own topics freely; elsewhere the chain needs `event:emit`.

        On a durable topic this returns once the event is committed. Topics of another plugin, or of the kernel, are
        not for anybody else to publish: `Denied`.
        """
        await self._may_publish(topic)
        return await self._kernel.bus.publish(topic, plain(data), source=self.plugin, trace=self.trace)

    async def publish_once(self, topic: str, data: Any = None, *, key: str | None) -> Published:
        """Publish a fact for the caller, who repeats the request with the same key when no answer came.

        Rights as for `publish`. Raises `Conflict` for a key that came with another topic or data before, and `TooLarge`
        for data above `[events] event_kb`, whatever the topic.
        """
        await self._may_publish(topic)
        return await self._kernel.event_log.publish_for(
            topic, plain(data), self.plugin, self.trace, owner=self.owner, key=key
        )

    async def _may_publish(self, topic: str) -> None:
        check_topic(topic)
        if self._owns(topic):
            return
        self._may_tell(topic)
        wanted = f"event:emit:{topic}"
        try:
            await self._kernel.gate.require(
                self._own_chain(), wanted, ceiling=self.ceiling, trace=self.trace, plugin=self.plugin
            )
        except Denied as denied:
            own = f"; {self.plugin}.* is its own and needs no right" if self._owner is not None else ""
            raise Denied(denied.message + own, details=denied.details) from None

    def _may_tell(self, topic: str) -> None:
        """Raise `Denied` for a topic, or an action on record, that another plugin or the kernel alone tells of."""
        word = topic.partition(".")[0]
        holder = self._kernel.table.topics.get(word)
        if topic in KERNEL_TOPICS or word in KERNEL_WORDS:
            holder = "kernel"
        if holder is not None and not self._owns(topic):
            raise Denied(
                f"{self.plugin} may not publish {topic}: events under {word} are told by {holder} alone",
                details={"topic": topic, "plugin": holder},
            )

    def _owns(self, topic: str) -> bool:
        word = topic.partition(".")[0]
        return self._kernel.table.topics.get(word) == self.plugin or self._declares(word)

    def _declares(self, word: str) -> bool:
        # While a plugin opens, the table does not list it yet.
        manifest = self._owner.contribution.manifest if self._owner is not None else None
        return manifest is not None and word in (manifest.name, *manifest.topics)

    def follow(self, patterns: Sequence[str], *, limit: int) -> Subscription:
        """Return a queue of at most `limit` events that fit any of the patterns; only the house's own tasks may ask.

        It is theirs to close, and to ask the rights of whoever they read for: none is asked here.
        """
        if not self.chain.caller.id.startswith(CORE):
            raise Denied(f"{self.chain} may not follow events by itself: only a bundled plugin's own tasks may")
        return self._kernel.bus.subscribe(patterns, name=f"{self.plugin}.follow", limit=limit)

    def next_event(
        self,
        topics: Sequence[str],
        *,
        timeout_s: float | None,
        late: AetherraError,
        own: frozenset[str] = frozenset(),
        give: Mapping[str, str] = types.MappingProxyType({}),
    ) -> Coroutine[Any, Any, Any]:
        """Return a wait for the next event of these topics that this chain may read; it ends with the event's data.

        See `can_read` for `own`. `give` has plugins, and the field of their events that is given in the place of the
        whole data. After `timeout_s` seconds the wait raises `late`. It holds nothing of the plugin that asks, so the
        kernel may be given it to wait for.
        """
        return next_event(self._kernel, self.chain, topics, timeout_s=timeout_s, late=late, own=own, give=give)

    def can_read(self, event: Event, own: frozenset[str] = frozenset()) -> bool:
        """Tell whether this chain may read an event: by the right `event:read` on its topic, or because it is its own.

        `own` are the plugins whose events say in their field `owner` whose they are; the right `event:read:own` covers
        those of the caller.
        """
        return readable(self._kernel.gate, self.chain, event, own)

    def position(self) -> int:
        """Return the sequence number of the newest event: where a stream that starts now begins."""
        return self._kernel.bus.position

    async def position_at(self, time: float) -> int:
        """Return the number after which a stream has the events that came at this wall time and later."""
        return await self._kernel.event_log.position_at(time)

    def submit(
        self, lane: str, fn: Callable[[], Awaitable[Any]], *, name: str, deadline_s: float | None = None
    ) -> Ticket:
        """Put work into one of the kernel's lanes; the ticket can be awaited and cancelled."""
        return self._kernel.scheduler.submit(lane, fn, name=f"{self.plugin}.{name}", deadline_s=deadline_s)

    @property
    def workers(self) -> Any:
        """Child processes for work that must not run in the hub."""
        return self._kernel.workers

    # Deriving ----------------------------------------------------------------------------------------------------

    def _own_chain(self) -> Chain:
        return self.chain if self._owner is None else self.chain.through(self._owner.principal)

    def into(self, owner: Any, *, ceiling: Effect | None = None) -> Context:
        """Return the same context for the code of another plugin; used by the kernel when it enters a handler."""
        return Context(
            self._kernel,
            owner,
            self.chain,
            trace=self.trace,
            deadline=self.deadline,
            ceiling=self.ceiling if ceiling is None or above(ceiling, self.ceiling) else ceiling,
            effect_key=self.effect_key,
            effects=self._effects,
            idempotency_key=self.idempotency_key,
            address=self.address,
            grounds=self.grounds,
        )

    async def calling(self, owner: Any, needs: str, *, exact: bool = False, ceiling: Effect | None = None) -> Context:
        """Ask for the right of a call into another plugin; return the context for it, this plugin in the chain."""
        chain = self._own_chain()
        wanted = needs if exact or needs.count(":") > 1 else f"{needs}:own"
        # A service method's right has the class of what it lets happen; a function's own class is known.
        gate, trace, plugin = self._kernel.gate, self.trace, self.plugin
        decision = gate.check(chain, wanted, ceiling=self.ceiling, effect=ceiling, trace=trace, plugin=plugin)
        if self.grounds is not None:
            self.grounds.note(chain, wanted)
        if decision.audited:
            await gate.record(decision, chain, wanted, trace=trace, plugin=plugin)
        child = self.into(owner, ceiling=ceiling)
        child.chain = chain
        return child

    def passes_through(self, owner: Any) -> bool:
        """Tell whether this chain already runs through that plugin: then it is let in while the plugin is paused."""
        return (
            owner.plugin == self.plugin or owner.principal in self.chain.via or owner.principal == self.chain.caller.id
        )

    def through(self, principal: str, *, effect_key: str | None = None, deadline: float | None = None) -> Context:
        """Return a context with `principal` (a script, an agent) in the chain, for one effect if a key is given."""
        child = self.into(self._owner)
        child.chain = self.chain.through(principal)
        if deadline is not None:
            child.deadline = deadline if self.deadline is None else min(deadline, self.deadline)
        if effect_key is not None:
            child.effect_key = effect_key
            child._effects = itertools.count()
        return child

    def on_behalf(self, caller: Caller, *, trace: str = "") -> Context:
        """Return a context that acts for a stored caller; only the house itself may: it has every right anyway."""
        if not self.chain.caller.id.startswith(CORE):
            raise Denied(f"{self.chain} may not act for {caller.id}: only a bundled plugin's own tasks may")
        return Context(self._kernel, self._owner, Chain(caller), trace=trace or self.trace)


async def _collected(stream: AsyncGenerator[Any, None], name: str, most: int) -> list[Any]:
    items: list[Any] = []
    async with aclosing(stream):  # a generator that is left early is closed here, not whenever it is collected
        async for item in stream:
            if len(items) == most:
                raise TooLarge(f"{name} streams more than {most} items; a call collects no more ([limits] call_items)")
            items.append(plain(item))
    return items
