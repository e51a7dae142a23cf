"""The module manager: loads, reloads, rolls back and unloads plugins as generations.

A reload is atomic, lossless and reversible (`docs/walk.md`, "A reload"): the newcomer is staged and checked beside the
running generation, state is carried over, one assignment switches the table, the old one drains and is retired. A
failure at any stage before the switch leaves the running generation untouched and says why.

One manager task does all the work, one plugin at a time; an edit that comes during a reload waits, and of several
waiting for one plugin the last wins.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from kernel.bus import Bus
from kernel.bus import Subscription as Queue
from kernel.capabilities import Caller, Chain, Gate
from kernel.clock import Clock
from kernel.contribution import Contribution, Metric, Table
from kernel.durable_subscription import DurableReader, DurableSubscription
from kernel.errors import AetherraError, BadInput, Conflict, LoadError, NotFound, ServiceUnavailable
from kernel.event_log import EventLog
from kernel.events import (
    KERNEL_WORDS,
    MODULE_LOADED,
    MODULE_REFUSED,
    MODULE_RELOAD_FAILED,
    MODULE_RELOADED,
    MODULE_ROLLED_BACK,
    MODULE_UNLOADED,
    MODULE_WAITING,
)
from kernel.folders import Folder
from kernel.generation import Generation, Reader, Tally, made_up
from kernel.history import Action, History, Switched, describe
from kernel.loader import BEING_WRITTEN, Loader, Source
from kernel.metrics import Metrics
from kernel.plugin import NAME
from kernel.redaction import redactions
from kernel.retirement import Retirement
from kernel.services import check_protocol, protocol_methods
from kernel.store import Store
from kernel.suggest import nearest
from kernel.supervisor import Supervisor
from kernel.versions import satisfies
from kernel.watch import entries, is_plugin, watch

log = logging.getLogger("kernel.modules")

Status = Literal["loading", "active", "failed", "waiting", "refused", "disabled", "unloaded"]
"""`loading` until the first load has ended one way or the other."""
HEALTH_LATE = "its health function did not answer"
RENAME_GRACE_S = 0.1
"""How long a vanished file may take to come back: some editors delete before they write anew."""


class Module(msgspec.Struct):
    """What is known about one plugin: where it comes from, how it stands, and the generation that serves."""

    name: str
    path: Path
    folder: Folder
    status: Status = "loading"
    reason: str | None = None
    generation: Generation | None = None
    loads: int = 0
    seen: str | None = None
    """Hash of the content that was last tried, whatever came of it: the same again is no edit."""
    clashed: bool = False
    """It failed over a claim of another plugin's or a right, and is tried again when a plugin leaves or the policy
    changes."""
    readers: list[tuple[Reader | DurableReader, asyncio.Task[None]]] = msgspec.field(default_factory=list)
    queues: dict[str, Queue] = msgspec.field(default_factory=dict)
    durable: dict[str, DurableSubscription] = msgspec.field(default_factory=dict)
    past: Tally = msgspec.field(default_factory=Tally)
    """What its retired generations did."""
    leaving: list[Tally] = msgspec.field(default_factory=list)
    """What those did that are replaced and may still have calls inside."""

    def tally(self) -> Tally:
        """Return what all generations did; no figure of it ever goes back."""
        whole = Tally()
        for part in (self.past, *self.leaving, *([self.generation.tally] if self.generation is not None else ())):
            whole.add(part)
        return whole


class Counts(msgspec.Struct, frozen=True):
    """Reload figures, counted since the start."""

    attempts: int
    success: int
    rollback: int
    leaked: int
    draining: int
    """Generations that were replaced and are not proved gone."""


class Surroundings(Protocol):
    """What the manager needs of the kernel besides its parts: the table to switch, and contexts for plugins."""

    table: Table
    reserved: dict[str, str]

    def switch(self, table: Table) -> None: ...
    def own_context(self, generation: Generation) -> Any: ...


class Modules:
    """Owns every plugin's life. All changes pass one queue; each returns when its switch is made."""

    def __init__(
        self,
        house: Surroundings,
        *,
        folders: Sequence[Folder],
        bus: Bus,
        gate: Gate,
        clock: Clock,
        metrics: Metrics,
        store: Store,
        event_log: EventLog,
        supervisor: Supervisor,
        config: Any,
        open_s: float,
        drain_s: float,
        pause_ms: int,
        history_kept: int,
    ) -> None:
        self._house = house
        self._folders = tuple(folders)
        self._bus = bus
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._store = store
        self._event_log = event_log
        self._supervisor = supervisor
        self._config = config
        self._open_s = open_s
        self._drain_s = drain_s
        self._pause_s = pause_ms / 1000
        self._loader = Loader(folder.path for folder in folders if folder.bundled)
        self._modules: dict[str, Module] = {}
        self._history = History(clock, history_kept)
        self._due: dict[str, tuple[Callable[[], Any], asyncio.Future[Any] | None]] = {}
        self._wake = asyncio.Event()
        self._stop_watch = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._retirement = Retirement(
            bus=bus, clock=clock, metrics=metrics, drain_s=drain_s, close=self._close, counted=self._count_in
        )
        self._attempts = self._successes = self._rollbacks = 0
        self._reloads = metrics.counter("aetherra_module_reloads_total", "Reloads of plugins", ("plugin", "result"))
        self._reload_s = metrics.histogram(
            "aetherra_module_reload_seconds",
            "From noticing an edit to serving it",
            (),
            (0.005, 0.01, 0.02, 0.035, 0.1, 1.0),
        )

    # Starting and stopping ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load everything that is there, in an order in which what is required comes first, then watch for changes."""
        self._loader.install()
        self._workers.append(asyncio.create_task(self._work(), name="modules"))
        ready = asyncio.get_running_loop().create_future()
        folders = [folder.path for folder in self._folders]
        watching = watch(folders, self._noticed, self._stop_watch, _once(ready))
        self._workers.append(asyncio.create_task(watching, name="watch plugins"))
        await ready
        await self._boot()

    async def _boot(self) -> None:
        # Bundled ones first: among them is the one that decides, also about which folders may run here.
        await self._boot_from([f for f in self._folders if f.bundled])
        await self._boot_from([f for f in self._folders if not f.bundled])
        await self._retry()

    async def _boot_from(self, folders: Sequence[Folder]) -> None:
        admitted = [self._admit(folder, path) for folder in folders for path in entries(folder.path)]
        staged: list[tuple[Module, Source, Any, Contribution]] = []
        for module in admitted:
            if module is None or module.status == "refused":
                continue
            try:
                source = Source.read(module.path)
                module.seen = source.hash
                staged.append((module, source, *await self._loader.load(source, timeout_s=self._open_s)))
            except LoadError as error:
                self._failed(module, error)
        # The one that decides comes first: nothing is checked against an absent policy. Then the one that keeps the
        # audit: what the others do is on record.
        staged.sort(key=lambda s: (s[3].decider is None, s[3].auditor is None, s[0].name))
        for module, source, imported, contribution in staged:
            try:
                await self._begin(module, source, imported, contribution, "load")
            except AetherraError as error:
                self._failed(module, error)

    async def stop(self) -> None:
        """Stop watching, end every plugin's tasks, close every plugin in reverse order of loading, and forget all."""
        self._stop_watch.set()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for _, answer in self._due.values():
            if answer is not None and not answer.done():
                answer.set_exception(ServiceUnavailable("the hub is stopping", details={"service": "modules"}))
        self._due.clear()
        await self._retirement.hasten(self._open_s)
        served = {id(module.generation): module for module in self._modules.values() if module.generation is not None}
        for generation in reversed(self._house.table.owners):
            module = served.get(id(generation))
            if module is not None:
                await self._end_activity(module)
                await self._close_durable(module, list(module.durable))
                await self._close(generation)
                module.generation, module.status = None, "unloaded"
        await self._retirement.end()
        self._loader.remove()

    # What others ask for -----------------------------------------------------------------------------------------

    def known(self) -> Sequence[Module]:
        """Return every plugin known, by name."""
        return [self._modules[name] for name in sorted(self._modules)]

    def get(self, name: str) -> Module:
        """Return one plugin, or raise `NotFound` with the nearest name."""
        module = self._modules.get(name)
        if module is None:
            close = nearest(name, list(self._modules))
            raise NotFound(f"there is no plugin {name!r}" + (f"; did you mean {close!r}?" if close else ""))
        return module

    async def settled(self) -> None:
        """Return once every generation that was replaced is proved gone, or told of as a leak."""
        await self._retirement.settled()

    def history(self) -> Sequence[Switched]:
        """Return the switches since the start, newest first."""
        return self._history.newest_first()

    def way_back(self, name: str) -> str | None:
        """Return the token that takes the plugin back to what served before, or None when there is no way back."""
        return self._history.way_back(name)

    def counts(self) -> Counts:
        """Return reload figures since the start."""
        return Counts(
            self._attempts, self._successes, self._rollbacks, self._retirement.leaked, self._retirement.under_way
        )

    async def reload(self, name: str) -> Module:
        """Load the plugin anew from its file, even if nothing changed; raise why it could not be."""
        module = self.get(name)
        await self._ask(name, lambda: self._reload(module, force=True))
        return module

    async def register(self, name: str, version: str | None) -> Module:
        """Put into service what lies under `name` in a drop folder; what serves already stays as it is.

        Raises `NotFound` when nothing lies there, and `Conflict` when the code does not declare `version`, when it is
        bundled, or when it cannot serve yet; it is not put into service then.
        """
        if not NAME.match(name):
            raise BadInput(
                f"name: expected the name of a plugin (a-z, 0-9, _), got {name[:80]!r}", details={"field": "name"}
            )
        await self._ask(name, lambda: self._register(name, version))
        return self.get(name)

    async def remove(self, name: str, kept: Path) -> Path:
        """Take a dropped plugin out of service and move what lies in the drop folder to `kept`; return where to.

        What was kept there under the same name before is replaced. Raises `Conflict` for a bundled plugin.
        """
        module = self.get(name)
        drop = self._config.paths.plugins
        if module.folder.bundled or module.folder.path != drop:
            raise Conflict(
                f"{name} does not lie in the drop folder {drop} but in {module.folder.path}, where nothing is removed; "
                "disable it instead",
                details={"plugin": name},
            )
        target = kept / module.path.name
        await self._ask(name, lambda: self._remove(module, target))
        return target

    async def unload(self, name: str) -> Module:
        """Take the plugin out of service until it is reloaded or its file changes."""
        module = self.get(name)
        await self._ask(name, lambda: self._unload(module, "disabled", "taken out of service by a person"))
        return module

    async def roll_back(self, token: str) -> Module:
        """Take a plugin back to the source that served before the switch that yielded `token`."""
        switched = self._history.find(token)
        if switched is None:
            raise NotFound(f"there is no rollback token {token!r}; `aether plugins` and /api/klm/history list them")
        if switched.previous is None:
            raise Conflict(f"{token} was {switched.plugin}'s first load: nothing served before it")
        module = self.get(switched.plugin)
        previous = switched.previous
        await self._ask(module.name, lambda: self._roll_back(module, previous))
        return module

    async def _ask(self, name: str, work: Callable[[], Any]) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        earlier = self._due.pop(name, None)
        if earlier is not None and earlier[1] is not None and not earlier[1].done():
            earlier[1].set_exception(Conflict(f"a later change of {name} took its place"))
        self._due[name] = (work, answer)
        self._wake.set()
        await asyncio.shield(answer)

    # The manager's own task --------------------------------------------------------------------------------------

    def _noticed(self, _folder: Path, entry: str) -> None:
        name = entry.removesuffix(".py")
        # A person's request that already waits is not overtaken by the edit that came with it.
        if name not in self._due:
            self._due[name] = (partial(self._look_at, name), None)
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                name = next(iter(self._due))
                work, answer = self._due.pop(name)
                error: Exception | None = None
                try:
                    await work()
                except AetherraError as caught:
                    error = caught
                except asyncio.CancelledError:
                    self._due[name] = (work, answer)  # told with those that still wait
                    raise
                except Exception as caught:
                    log.exception("changing %s failed", name)
                    error = LoadError(f"changing {name} failed: {caught}")
                if answer is not None and not answer.done():
                    answer.set_exception(error) if error else answer.set_result(None)

    async def _look_at(self, name: str) -> None:
        """Make what is loaded under `name` agree with what lies in the folders, whatever happened to get there."""
        known = self._modules.get(name)
        if known is not None and not is_plugin(known.path):
            await self._clock.sleep(RENAME_GRACE_S)
            if not is_plugin(known.path):
                await self._unload(known, "unloaded", "its file is gone")
                del self._modules[name]
                await self._retry(clashed=True)
        for folder, path in self._places(name):
            module = self._admit(folder, path)
            if module is not None and module.status != "refused":
                await self._reload(module, force=False)
        await self._retry()

    def _places(self, name: str) -> list[tuple[Folder, Path]]:
        """Return where a plugin of this name lies, the place that counts first."""
        places = []
        for folder in self._folders:
            wanted = ([name] if folder.packages else []) + ([f"{name}.py"] if folder.files else [])
            places += [(folder, folder.path / entry) for entry in wanted if is_plugin(folder.path / entry)]
        return places

    def _admit(self, folder: Folder, path: Path) -> Module | None:
        """Return the record of what lies at `path`, new or known; note a refusal where it may not run here."""
        is_package = path.is_dir()
        if (is_package and not folder.packages) or (not is_package and not folder.files):
            return None
        name = path.stem if path.suffix == ".py" else path.name
        known = self._modules.get(name)
        if known is not None:
            if known.path == path and known.status == "refused" and self._trusted(folder):
                known.status, known.reason = "loading", None
            if known.path != path:
                taken = f"{path} is ignored: a plugin named {name} is loaded from {known.path}"
                log.warning(taken)
                self._bus.emit(MODULE_REFUSED, {"plugin": name, "path": str(path), "reason": taken}, source="kernel")
                return None
            return known
        module = self._modules[name] = Module(name, path, folder)
        if not self._trusted(folder):
            module.status, module.reason = "refused", _untrusted(folder)
            self._bus.emit(
                MODULE_REFUSED, {"plugin": name, "path": str(path), "reason": module.reason}, source="kernel"
            )
        return module

    def trusts(self, path: Path) -> bool:
        """Return whether what is dropped into the plugin folder `path` may run in this process."""
        return any(self._trusted(folder) for folder in self._folders if folder.path == path and not folder.bundled)

    def _trusted(self, folder: Folder) -> bool:
        if folder.bundled or folder.trusted:
            return True
        trusts = self._house.table.trusts
        if trusts is None:
            return False
        try:
            return bool(trusts.item(str(folder.path.resolve())))
        except (Exception, SystemExit, KeyboardInterrupt):
            log.exception("deciding whether %s is trusted failed, so it is not", folder.path)
            return False

    async def reconsider(self) -> None:
        """Look again at what was refused or waits, and stop what has lost a right that it asked for.

        A policy or a provider has changed.
        """
        for module in self.known():
            trusted = self._trusted(module.folder)
            if module.generation is not None and not trusted:
                await self._ask(module.name, partial(self._unload, module, "refused", _untrusted(module.folder)))
            elif module.generation is not None and (lost := self._right_not_given(module.generation)) is not None:
                await self._ask(module.name, partial(self._unload, module, "refused", lost.message))
            elif module.status == "refused" and trusted:
                await self._ask(module.name, partial(self._look_at, module.name))
            elif module.clashed and module.generation is None:
                await self._ask(module.name, partial(self._retry, clashed=True))

    # Loading -----------------------------------------------------------------------------------------------------

    async def _reload(self, module: Module, *, force: bool, version: str | None = None) -> None:
        began = self._clock.monotonic()
        running = module.generation
        try:
            if not self._trusted(module.folder):
                raise LoadError(_untrusted(module.folder), details={"plugin": module.name})
            source = Source.read(module.path)
            if not force and self._is_no_edit(module, source):
                return
            module.seen = source.hash
            self._attempts += running is not None
            imported, contribution = await self._loader.load(source, timeout_s=self._open_s)
            _agree(contribution, version)
            await self._begin(module, source, imported, contribution, "load" if running is None else "reload")
        except AetherraError as error:
            if error.code == BEING_WRITTEN and not force:
                return  # the writer's next event decides
            self._failed(module, error)
            raise
        self._reload_s.observe(self._clock.monotonic() - began)

    def _is_no_edit(self, module: Module, source: Source) -> bool:
        running = module.generation
        if running is not None and running.source.hash == source.hash and module.status == "active":
            module.seen, module.reason = source.hash, None  # a broken edit was taken back, if there was one
            return True
        # A version that was rolled back or taken out of service does not come again because its file was touched.
        return module.seen == source.hash and module.status in ("active", "failed", "disabled", "waiting")

    async def _roll_back(self, module: Module, source: Source) -> None:
        if not self._trusted(module.folder):
            raise LoadError(_untrusted(module.folder), details={"plugin": module.name})
        imported, contribution = await self._loader.load(source, timeout_s=self._open_s)
        await self._begin(module, source, imported, contribution, "rollback")
        self._rollbacks += 1

    async def _begin(
        self,
        module: Module,
        source: Source,
        imported: Any,
        contribution: Contribution,
        action: Action,
    ) -> None:
        """Check, open, carry over, switch; then drain the predecessor in the background."""
        module.loads += 1
        newcomer = Generation(module.loads, source, imported, contribution, module.folder.bundled)
        old = module.generation
        try:
            self._check(newcomer, old)
            await self._prepare(newcomer, old)
            await self._carry_over(module, old, newcomer)
        except _Waiting as waiting:
            self._forget(newcomer)
            if old is not None:
                raise LoadError(str(waiting)) from None
            self._waits(module, str(waiting))
            return
        except BaseException as error:
            await self._close(newcomer)
            if old is not None:
                await self._declare_durable(module.name, old)
            fault = _as_load_error(error, newcomer)
            if fault is error:
                raise
            raise fault from error
        previous = old.source if old is not None else None
        module.generation, module.status, module.reason, module.clashed = newcomer, "active", None, False
        if old is not None:
            module.leaving.append(old.tally)
        switched = self._history.add(newcomer, action, previous)
        await self._start_activity(module, newcomer)
        await self._declare_durable(module.name, newcomer)
        topic = {"load": MODULE_LOADED, "reload": MODULE_RELOADED, "rollback": MODULE_ROLLED_BACK}[action]
        self._reloads.labels(module.name, "ok").inc()
        self._successes += action == "reload"
        # Emitted, here and below: a subscriber that blocks must not hold up the one task that could replace it.
        self._bus.emit(topic, describe(switched), source="kernel")
        if old is not None:
            self._retirement.begin(module.name, old)

    async def _declare_durable(self, name: str, generation: Generation) -> None:
        try:
            await self._event_log.declare(name, generation.contribution.manifest.durable)
        except AetherraError as error:
            log.warning("%s: its topics are durable as before, since that could not be written: %s", name, error)

    def _waits(self, module: Module, reason: str) -> None:
        module.loads -= 1  # its number was not used
        if (module.status, module.reason) != ("waiting", reason):
            self._bus.emit(MODULE_WAITING, {"plugin": module.name, "reason": reason}, source="kernel")
        module.status, module.reason = "waiting", reason

    def _check(self, newcomer: Generation, old: Generation | None) -> None:
        """Resolve what the newcomer declares against the table and the policy; raise what does not hold."""
        contribution, table = newcomer.contribution, self._house.table
        for route in contribution.routes:
            holder = self._house.reserved.get(route.key[1])
            if holder is not None:
                raise LoadError(
                    f"{newcomer.plugin} claims {route.method} {route.path}, a path that belongs to {holder}; "
                    "choose another",
                    details={"plugin": newcomer.plugin, "path": route.path},
                )
        others = [owner for owner in table.owners if owner is not old]
        merged = Table.merge([*others, newcomer], version=table.version + 1)
        for service, wanted in contribution.manifest.requires.items():
            provider = merged.services.get(service)
            if provider is None:
                close = nearest(service, list(merged.services))
                raise _Waiting(
                    f"{newcomer.plugin} requires the service {service!r}, which no loaded plugin provides"
                    + (f"; did you mean {close!r}?" if close else "; it is loaded as soon as one does")
                )
            version = provider.owner.contribution.manifest.version
            if not satisfies(version, wanted):
                raise _Waiting(f"{newcomer.plugin} requires {service} {wanted}; {provider.owner.plugin} is {version}")
        for consumer in merged.owners:
            for service, protocol in consumer.contribution.uses:
                owned = merged.services.get(service)
                if owned is not None and newcomer in (consumer, owned.owner):
                    check_protocol(protocol_methods(protocol), owned.item, owned.owner.plugin, consumer.plugin)
        self._check_durable(newcomer, merged)
        if table.decider is not None:
            self._check_rights(newcomer)

    def _check_durable(self, newcomer: Generation, merged: Table) -> None:
        """Hold durable subscriptions to durable topics: those of the newcomer, and others' on what it declares."""
        patterns, plugin = newcomer.contribution.manifest.durable, newcomer.plugin
        for name, pattern in self._event_log.subscribed():
            if name.partition(".")[0] != plugin and not self._event_log.covers_without(plugin, patterns, pattern):
                raise LoadError(
                    f"{plugin} no longer declares {pattern} durable, and {name} subscribes to it durably; "
                    "keep it in durable=[...], or change that subscription first",
                    details={"plugin": plugin, "subscription": name},
                )
        for subscription in newcomer.contribution.subscriptions:
            pattern = subscription.pattern
            if not subscription.durable or self._event_log.covers_without(plugin, patterns, pattern):
                continue
            word = pattern.partition(".")[0]
            holder = merged.topics.get(word)
            if holder is None and word not in ("*", "#") and word not in KERNEL_WORDS:
                raise _Waiting(
                    f"{subscription.name} subscribes durably to {pattern}, which neither a loaded plugin nor "
                    "[events] durable declares durable"
                )
            raise LoadError(
                f"{subscription.name} subscribes durably to {pattern}, but not every topic that fits it is durable: "
                + (f"{holder} would have to declare it in durable=[...]" if holder else "name it in [events] durable")
                + ", or leave out durable=True",
                details={"plugin": plugin, "pattern": pattern},
            )

    def _check_rights(self, newcomer: Generation) -> None:
        missing = self._right_not_given(newcomer)
        if missing is not None:
            raise missing

    def _right_not_given(self, generation: Generation) -> LoadError | None:
        """Return the refusal of the first right that a plugin asks for and the policy does not give."""
        chain = Chain(Caller(generation.principal))
        for capability in generation.contribution.manifest.capabilities:
            decision = self._gate.decide(chain, capability)
            if not decision.allowed:
                return LoadError(
                    f"{generation.plugin} asks for {capability}, which the policy does not give it: {decision.reason}",
                    details={"plugin": generation.plugin, "capability": capability, "source": decision.source},
                )
        return None

    async def _prepare(self, newcomer: Generation, old: Generation | None) -> None:
        contribution = newcomer.contribution
        if contribution.settings is not None:
            newcomer.settings = self._config.plugin(newcomer.plugin, contribution.settings)
        collectors = {m.name: self._declared(m) for m in contribution.metrics if m.read is None}
        for metric in contribution.metrics:
            if metric.read is not None:
                self._metrics.check_free(metric.name)
        newcomer.equip(self._house.own_context, collectors)
        if contribution.manifest.migrations:
            await self._store.migrate(newcomer.plugin, contribution.manifest.migrations)
        # What it publishes while it opens is kept already; what only its predecessor declared is so until the switch.
        before, durable = self._event_log.declared_by(newcomer.plugin), contribution.manifest.durable
        await self._event_log.declare(newcomer.plugin, tuple(dict.fromkeys((*before, *durable))))
        try:
            async with self._clock.timeout(self._open_s):
                await newcomer.open()
                reason = await newcomer.unhealthy()
        except TimeoutError:
            late = "its lifespan did not reach its yield" if newcomer.stage == "staged" else HEALTH_LATE
            raise LoadError(f"{newcomer.plugin}: {late} within {self._open_s:g} s ([limits] open_s)") from None
        if reason is not None and old is not None:
            raise LoadError(f"{newcomer.plugin} says it would not work: {reason}")

    def _declared(self, metric: Metric) -> Any:
        if metric.kind == "histogram":
            return self._metrics.histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets)
        declare = self._metrics.counter if metric.kind == "counter" else self._metrics.gauge
        return declare(metric.name, metric.help, metric.labels)

    async def _carry_over(self, module: Module, old: Generation | None, newcomer: Generation) -> None:
        """Hand the old generation's state over and switch, with no await between; the old one's tasks end before."""
        if old is None:
            self._switch(old, newcomer)
            return
        hands_over = old.contribution.export_state is not None and newcomer.contribution.import_state is not None
        await self._end_activity(module)
        try:
            if hands_over:
                old.paused = asyncio.Event()
                await self._wait_quiet(old)
                state = old.contribution.export_state()  # type: ignore[misc]
                newcomer.contribution.import_state(old.contribution.manifest.version, state)  # type: ignore[misc]
            self._switch(old, newcomer)
        except BaseException as error:
            await self._start_activity(module, old)
            if isinstance(error, AetherraError) or (
                not isinstance(error, Exception) and made_up(error, module.name) is None
            ):
                raise
            raise LoadError(f"{module.name}: handing over its state failed: {type(error).__name__}: {error}") from None
        finally:
            if old.paused is not None:
                paused, old.paused = old.paused, None
                paused.set()

    async def _wait_quiet(self, old: Generation) -> None:
        try:
            async with self._clock.timeout(self._pause_s):
                await old.quiet()
        except TimeoutError:
            log.warning("%s: %d calls did not end before its state was handed over", old.plugin, old.in_flight)

    def _switch(self, old: Generation | None, newcomer: Generation) -> None:
        # Merged anew: what was checked may be older than another plugin's switch made while this one opened.
        table = self._house.table
        owners = [newcomer if owner is old else owner for owner in table.owners]
        if old is None:
            owners.append(newcomer)
        self._house.switch(Table.merge(owners, version=table.version + 1))
        newcomer.stage = "serving"
        if old is not None:
            old.stage = "draining"

    # Activity: tasks and subscriptions ---------------------------------------------------------------------------

    async def _start_activity(self, module: Module, generation: Generation) -> None:
        group = self._supervisor.group(module.name)
        for task in generation.contribution.tasks:
            group.start(task.name, _bound(generation, task.fn), restart=task.restart)
        declared = generation.contribution.subscriptions
        wanted = {s.name + " " + s.pattern: s for s in declared if not s.durable}
        for key in [k for k in module.queues if k not in wanted]:
            module.queues.pop(key).close()
        for key, subscription in wanted.items():
            queue = module.queues.get(key)
            if queue is None:
                queue = self._bus.subscribe(
                    subscription.pattern,
                    name=subscription.name,
                    limit=subscription.limit,
                    when_full=subscription.when_full,
                )
                module.queues[key] = queue
            self._read(module, subscription.name, Reader(generation, subscription, queue, self._bus))
        durable = {s.name: s for s in declared if s.durable}
        await self._close_durable(module, [name for name in module.durable if name not in durable])
        for name, subscription in durable.items():
            state = module.durable.get(name)
            if state is None:
                state = DurableSubscription(name, subscription.pattern, self._event_log, self._clock, self._bus)
                module.durable[name] = state
            state.change(subscription.pattern)
            try:
                await state.begin()  # before the plugin counts as loaded: it must not miss what comes from here on
            except AetherraError as error:
                log.warning("%s: its offset could not be written yet: %s", name, error.message)
            self._read(module, name, DurableReader(generation, subscription, state, self._bus, self._clock))

    def _read(self, module: Module, name: str, reader: Reader | DurableReader) -> None:
        module.readers.append((reader, asyncio.create_task(reader.run(), name=f"events of {name}")))

    async def _close_durable(self, module: Module, names: Sequence[str]) -> None:
        await asyncio.gather(*(module.durable.pop(name).close() for name in names))

    async def _end_activity(self, module: Module) -> None:
        await self._supervisor.group(module.name).stop()
        readers, module.readers = module.readers, []
        await asyncio.gather(*(reader.end(task, self._drain_s) for reader, task in readers))

    # Registering and removing ------------------------------------------------------------------------------------

    async def _register(self, name: str, version: str | None) -> None:
        folder, path = self._dropped(name)
        module = self._admit(folder, path)
        if module is None:
            raise Conflict(f"a plugin named {name} is loaded from {self.get(name).path}; choose another name")
        serving = module.generation
        if serving is not None and Source.read(path).hash == serving.source.hash:
            _agree(serving.contribution, version)
            return
        await self._reload(module, force=True, version=version)
        if module.status == "waiting":
            raise Conflict(str(module.reason), details={"plugin": name}, code="PLUGIN_WAITING")

    def _dropped(self, name: str) -> tuple[Folder, Path]:
        places = self._places(name)
        for folder, path in places:
            if not folder.bundled:
                return folder, path
        if places:
            raise Conflict(f"{name} is part of the hub; it is loaded without being registered")
        wanted = " and ".join(str(folder.path) for folder in self._folders if not folder.bundled)
        raise NotFound(
            f"no plugin {name!r} lies in {wanted}; put {name}.py there first, then register it",
            details={"name": name},
        )

    async def _remove(self, module: Module, target: Path) -> None:
        await self._unload(module, "unloaded", "removed by a person")
        await asyncio.to_thread(_move, module.path, target)
        self._modules.pop(module.name, None)
        await self._retry(clashed=True)

    # Leaving -----------------------------------------------------------------------------------------------------

    async def _unload(self, module: Module, status: Status, reason: str) -> None:
        generation = module.generation
        if generation is None:
            module.status, module.reason = status, reason
            return
        table = self._house.table
        owners = [owner for owner in table.owners if owner is not generation]
        self._house.switch(Table.merge(owners, version=table.version + 1))
        generation.stage = "draining"
        module.generation, module.status, module.reason = None, status, reason
        module.leaving.append(generation.tally)
        await self._end_activity(module)
        for queue in module.queues.values():
            queue.close()
        module.queues.clear()
        await self._close_durable(module, list(module.durable))
        self._bus.emit(MODULE_UNLOADED, {"plugin": module.name, "reason": reason}, source="kernel")
        self._retirement.begin(module.name, generation)

    def _count_in(self, name: str, tally: Tally) -> None:
        module = self._modules.get(name)
        for at, leaving in enumerate(module.leaving if module is not None else ()):
            if leaving is tally and module is not None:
                del module.leaving[at]
                module.past.add(tally)
                return

    async def _close(self, generation: Generation) -> None:
        try:
            async with self._clock.timeout(self._open_s):
                await generation.close()
        except TimeoutError:
            log.error("%s: generation %d did not close within %g s", generation.plugin, generation.number, self._open_s)
        self._forget(generation)

    def _forget(self, generation: Generation) -> None:
        self._loader.forget(generation.module.__name__)

    def _failed(self, module: Module, error: AetherraError) -> None:
        log.warning("%s: %s", module.name, error.message)
        self._reloads.labels(module.name, "failed").inc()
        module.reason = redactions.text(error.message)
        if module.generation is None and module.status != "refused":
            module.status = "failed"
            module.clashed = "claim" in error.details or "capability" in error.details
        event = {
            "plugin": module.name,
            "error": module.reason,
            "code": error.code,
            "serving": module.generation.number if module.generation else None,
        }
        self._bus.emit(MODULE_RELOAD_FAILED, event, source="kernel")

    async def _retry(self, *, clashed: bool = False) -> None:
        """Try what waits for a service again, or what `clashed`; go on while that makes something else possible."""
        progress = True
        while progress:
            progress = False
            for module in list(self._modules.values()):
                if module.generation is None and (module.status == "waiting" or (clashed and module.clashed)):
                    try:
                        await self._begin_from_file(module, "load")
                    except AetherraError as error:
                        self._failed(module, error)
                    progress = progress or module.generation is not None

    async def _begin_from_file(self, module: Module, action: Action) -> None:
        source = Source.read(module.path)
        module.seen = source.hash
        imported, contribution = await self._loader.load(source, timeout_s=self._open_s)
        await self._begin(module, source, imported, contribution, action)


def _agree(contribution: Contribution, version: str | None) -> None:
    declared = contribution.manifest.version
    if version is not None and version != declared:
        raise Conflict(
            f"{contribution.name} declares version {declared}, not {version}: the declaration in code is what counts",
            details={"plugin": contribution.name, "declared": declared, "given": version},
            code="VERSION_MISMATCH",
        )


def _move(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        shutil.move(path, target)
    except OSError as error:
        raise LoadError(
            f"{path} could not be moved to {target}: {error.strerror or error}", details={"path": str(path)}
        ) from error


def _untrusted(folder: Folder) -> str:
    return (
        f"{folder.path} is not trusted to run in the hub's process, and there are no isolated hosts yet; "
        f"name it in [trust] plugin_folders or start with --trust-plugins {folder.path}"
    )


def _as_load_error(error: BaseException, newcomer: Generation) -> BaseException:
    """Return what a failed load is told as: our own errors and a real cancellation as they are."""
    if isinstance(error, AetherraError) or (
        not isinstance(error, Exception) and made_up(error, newcomer.plugin) is None
    ):
        return error
    log.error("%s could not be loaded", newcomer.plugin, exc_info=error)
    return LoadError(
        redactions.text(f"{newcomer.plugin} could not be loaded: {type(error).__name__}: {error}"),
        details={"plugin": newcomer.plugin, "error": type(error).__name__},
    )


class _Waiting(Exception):
    """What a plugin requires is not there yet; it is tried again when something else has been loaded."""


def _once(ready: asyncio.Future[None]) -> Callable[[], None]:
    return lambda: None if ready.done() else ready.set_result(None)


def _bound(generation: Generation, fn: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: fn(generation.context())
