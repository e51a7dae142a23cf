"""`Kernel`: owns the parts, starts them, stops them in reverse. It has no behaviour of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from kernel import figures
from kernel.audit import Auditing
from kernel.bus import Bus
from kernel.capabilities import Caller, Chain, Gate
from kernel.clock import Clock, SystemClock
from kernel.config import Config
from kernel.context import Context
from kernel.contribution import Owned, Route, Table
from kernel.errors import AetherraError, ContractError, NotFound, Unauthenticated
from kernel.event_log import EventLog
from kernel.events import KERNEL_STARTED, KERNEL_STOPPING, POLICY_LOADED
from kernel.folders import plugin_folders
from kernel.generation import Generation
from kernel.grounds import Grounds
from kernel.identity import Credential, Identity
from kernel.metrics import Metrics
from kernel.modules import Modules
from kernel.scheduler import Scheduler
from kernel.status import built_in
from kernel.store import Store
from kernel.supervisor import Supervisor
from kernel.version import VERSION
from kernel.workers import Workers

log = logging.getLogger("kernel")


class Kernel:
    """A running house: build it from a `Config`, `await start()`, and `await stop()` at the end.

    Nothing here is global: two kernels live in one process side by side.
    """

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        limits = config.limits
        self.config = config
        self.version = VERSION
        self.clock: Clock = clock or SystemClock()
        self.state: Literal["starting", "ready", "stopping", "stopped"] = "starting"
        self.started_at = self.clock.now()
        self.started_monotonic = self.clock.monotonic()
        self.table = Table()
        self.reserved: dict[str, str] = {}
        """Paths that no plugin may claim, with the words for who owns them; known before the start."""
        self.reported: dict[str, Callable[[], Any]] = {}
        """Figures that the house around the kernel measures and lets it tell, by name."""
        self._watchers: list[Callable[[Table], None]] = []
        self.metrics = Metrics(max_series=limits.max_series)
        self.bus = Bus(self.clock, ring=limits.ring, memo=limits.memo, on_error=_handler_failed)
        self.store = Store(
            config.paths.database,
            clock=self.clock,
            bus=self.bus,
            queue=limits.store_queue,
            group=limits.store_group,
            read_rows=limits.read_rows,
            busy_ms=round(config.store.busy_s * 1000),
        )
        self.event_log = EventLog(self.store, self.bus, self.clock, config.events, config.store.retention_days)
        self.store.log = self.event_log
        self.auditing = Auditing(lambda: self.table)
        self.gate = Gate(
            self.bus,
            self.clock,
            self.metrics,
            lambda: self.table,
            kept=limits.denials_kept,
            auditing=self.auditing,
        )
        lanes = {
            "high_priority": limits.lane_high_priority,
            "normal_priority": limits.lane_normal_priority,
            "background": limits.lane_background,
        }
        self.scheduler = Scheduler(self.clock, limits=lanes, queue=limits.lane_queue)
        self.supervisor = Supervisor(
            self.clock, self.bus, _task_failed, deaths=limits.task_deaths, window_s=limits.task_window_s
        )
        self.workers = Workers(self.clock)
        self.modules = Modules(
            self,
            folders=plugin_folders(config),
            bus=self.bus,
            gate=self.gate,
            clock=self.clock,
            metrics=self.metrics,
            store=self.store,
            event_log=self.event_log,
            supervisor=self.supervisor,
            config=config,
            open_s=limits.open_s,
            drain_s=limits.drain_s,
            pause_ms=limits.pause_ms,
            history_kept=limits.generations_kept,
        )
        figures.declare(self)

    # Starting and stopping ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, load every plugin, and be ready; a plugin that fails is told of, and hinders nobody."""
        await self.store.open()
        await self.event_log.open()
        self.switch(Table.merge([built_in(self)], version=1))
        self.bus.listen(POLICY_LOADED, self._policy_changed, name="kernel.reconsider")
        # A retired generation is proved gone by a collection. What lives as long as the hub need not be walked then; no
        # plugin is among it yet, since what is frozen is never collected.
        gc.collect()
        gc.freeze()
        await self.modules.start()
        await self.event_log.opened()
        self.supervisor.group("kernel").start("events", self.event_log.keep_house)
        self.state = "ready"
        self.bus.emit(KERNEL_STARTED, {"version": self.version}, source="kernel")

    async def stop(self, grace_s: float = 10.0) -> None:
        """Stop everything in reverse: work, plugins, workers, then the store, once nobody uses it, and the bus."""
        if self.state in ("stopping", "stopped"):
            return
        self.state = "stopping"
        # Emitted: a subscriber that blocks must not keep us from ending.
        self.bus.emit(KERNEL_STOPPING, {}, source="kernel")
        await self.scheduler.stop(grace_s)
        await self.modules.stop()
        await self.supervisor.stop()
        await self.workers.stop()
        await self.event_log.close()
        await self.store.close()
        await self.bus.close()
        self.state = "stopped"

    async def _policy_changed(self, _event: Any) -> None:
        if self.state == "ready":
            await self.modules.reconsider()

    # The table ---------------------------------------------------------------------------------------------------

    def switch(self, table: Table) -> None:
        """Put another table in force and tell who keeps something compiled from it; all in one step of the loop."""
        self.table = table
        for watcher in self._watchers:
            watcher(table)

    def on_table(self, watcher: Callable[[Table], None]) -> Callable[[], None]:
        """Call `watcher(table)` now and at every switch; returns its undo."""
        self._watchers.append(watcher)
        watcher(self.table)
        return lambda: self._watchers.remove(watcher)

    # Entering ----------------------------------------------------------------------------------------------------

    def context(
        self,
        caller: Caller,
        *,
        trace: str = "",
        deadline: float | None = None,
        idempotency_key: str | None = None,
        address: str = "",
        grounds: Grounds | None = None,
    ) -> Context:
        """Return the context a request begins with."""
        return Context(
            self,
            None,
            Chain(caller),
            trace=trace,
            deadline=deadline,
            idempotency_key=idempotency_key,
            address=address,
            grounds=grounds,
        )

    async def identify(self, credential: Credential) -> Identity:
        """Return whom a credential proves; `Unauthenticated` when it proves nobody."""
        authenticator = self.table.authenticator
        if authenticator is None:
            raise Unauthenticated("this hub cannot verify credentials: no plugin of it knows accounts and tokens")
        identity = await authenticator.item(credential)
        if not isinstance(identity, Identity):
            raise ContractError(f"{authenticator.owner.plugin} proved somebody with {identity!r:.80}, no Identity")
        return identity

    def own_context(self, generation: Generation) -> Context:
        """Return the context in which a plugin acts for itself."""
        return Context(self, generation, Chain(Caller(generation.principal)))

    async def serve(
        self,
        owned: Owned[Route],
        ctx: Context,
        arguments: dict[str, Any],
        *,
        entering: Callable[[Route], Awaitable[None]] | None = None,
    ) -> Any:
        """Ask for the route's right and run its handler; return its result, or an async iterator where it streams.

        While its plugin hands its state over, the call waits and enters the next generation. `entering` is awaited
        with the route that is entered, once the right is given and before its handler begins. A right whose grant is
        audited is on record by then.
        """
        entered: Route | None = None
        while True:
            while owned.owner.paused is not None and not ctx.passes_through(owned.owner):
                await owned.owner.paused.wait()
                owned = self._again(owned)
            route, owner = owned.item, owned.owner
            decision = self.gate.check(ctx.chain, route.needs, trace=ctx.trace, plugin=owner.plugin)
            if ctx.grounds is not None:
                ctx.grounds.note(ctx.chain, route.needs)
            if entered is route or not (decision.audited or entering):
                break
            if decision.audited:
                await self.gate.record(decision, ctx.chain, route.needs, trace=ctx.trace, plugin=owner.plugin)
            if entering is not None:
                await entering(route)
            entered = route  # the plugin may have been paused meanwhile
        child = ctx.into(owner, ceiling=route.effect)
        if route.signature.streams:
            return owner.stream(route.fn, child, arguments)
        if route.signature.socket:
            return await owner.converse(route.fn, child, arguments)
        return await owner.call(route.fn, child, arguments)

    def _again(self, owned: Owned[Route]) -> Owned[Route]:
        for candidate in self.table.routes:
            if candidate.item.key == owned.item.key:
                return candidate
        raise NotFound(f"{owned.item.method} {owned.item.path} was taken away while it was called")

    # Readiness ---------------------------------------------------------------------------------------------------

    async def ready(self, *, within_s: float | None = None) -> dict[str, str | None]:
        """Return, by component, None where it works and otherwise the reason why it does not.

        A health function has `within_s` to answer, or `[limits] open_s`; that it did not is its reason then.
        """
        seconds = self.config.limits.open_s if within_s is None else within_s
        reasons: dict[str, str | None] = {"kernel": None if self.state == "ready" else self.state}
        reasons["database"] = self.store.problem()
        # Every policy that can be loaded lets the house look at itself; no answer means that nobody may do anything.
        decision = self.gate.decide(Chain(Caller("core:kernel")), "system:read")
        reasons["policy"] = None if decision.allowed else decision.reason
        asked: dict[str, Generation] = {}
        for module in self.modules.known():
            generation = module.generation
            if generation is None:
                told = module.status in ("failed", "waiting", "refused")
                reasons[module.name] = f"{module.status}: {module.reason}" if told else None
            elif generation.contribution.health is not None:
                asked[module.name] = generation
        reasons |= zip(asked, await asyncio.gather(*(self._health(g, seconds) for g in asked.values())), strict=True)
        return reasons

    async def _health(self, generation: Generation, seconds: float) -> str | None:
        try:
            async with self.clock.timeout(seconds):
                return await generation.unhealthy()
        except TimeoutError:
            return "its health function did not answer in time"


def _handler_failed(name: str, topic: str, error: BaseException) -> None:
    log.error("handler %s failed on %s", name, topic, exc_info=error)


def _task_failed(owner: str, name: str, error: BaseException) -> None:
    if isinstance(error, AetherraError):
        log.error("task %s of %s failed: %s", name, owner, error.message)
    else:
        log.error("task %s of %s failed", name, owner, exc_info=error)
