"""The second half of the battery, a program of its own: the plugin lives in a hub's kernel, and leaves it again.

The kernel has a temporary home, every plugin that ships, and the policy that ships, beside which a rule gives the
plugin the rights that it declares. So what works here works in a hub whose operator has added that rule; what a policy
that says yes to everything would hide is found. Its clock stands still unless moved.
"""

from __future__ import annotations

import asyncio
import copy
import shutil
import sys
import threading
import weakref
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import msgspec

from kernel.battery.calls import check_calls
from kernel.battery.child import Child, on_thread_start
from kernel.battery.report import Findings
from kernel.capabilities import Caller, Chain
from kernel.contribution import Contribution, Table
from kernel.errors import AetherraError, ContractError
from kernel.events import MODULE_LEAKED, PLUGIN_ERROR
from kernel.generation import Generation
from kernel.kernel import Kernel
from kernel.loader import Loader, Source
from kernel.modules import HEALTH_LATE, Module
from kernel.testing import Recording, TestClock, kernel_config

SETTLED_S = 10.0
"""How long a change in the drop folder may take to be noticed and carried out."""
HEALTH_S = 5.0
TICK_S = 0.05
RUN_S = 60
"""How many seconds of its own clock a plugin's tasks are watched for."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Claimant:
    """A plugin that is not loaded yet, in the place of a generation."""

    contribution: Contribution

    @property
    def plugin(self) -> str:
        return self.contribution.name


class _Threads:
    """The threads that the plugin's own code has started."""

    POOLS = ("asyncio_", "AnyIO worker thread")
    """Of those that come from pools which all share and which keep them, nothing is to be ended."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = roots
        self._started: list[weakref.ref[threading.Thread]] = []
        on_thread_start(self._note)

    def alive(self) -> Iterator[threading.Thread]:
        """Yield those that still run."""
        for thread in filter(None, (ref() for ref in self._started)):
            if thread.is_alive() and not thread.name.startswith(self.POOLS):
                yield thread

    def _note(self, thread: threading.Thread, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._roots):
                self._started.append(weakref.ref(thread))
                return
            frame = frame.f_back


class Life:
    """One plugin's life in one kernel, and what is found at each stage."""

    def __init__(self, child: Child, kernel: Kernel, clock: TestClock, source: Source, seen: Recording) -> None:
        self.child = child
        self.findings: Findings = child.findings
        self.kernel = kernel
        self.clock = clock
        self.source = source
        self.name = source.name
        self.seen = seen
        # A dropped plugin runs from the drop folder of the temporary home, one that ships where it lies.
        self.roots = (str(kernel.config.paths.plugins / source.path.name), str(source.path))
        self.threads = _Threads(self.roots)

    async def check(self) -> None:
        """Go through the stages; one that fails ends those that build on it."""
        self.child.reach("claims", "rights", "migrations")
        bundled = self._bundled()
        if not bundled:
            await self._look_before()
        if self.findings.failed("claims", "rights", "migrations"):
            return
        if bundled:
            await self._in_time(self.kernel.modules.unload(self.name))
            await self._settled()
        self.child.reach("load")
        module = await self._load(bundled)
        if module is None:
            return
        self.child.reach("health")
        healthy = await self._check_health(module)
        self.child.reach("background")
        await self._check_background()
        self.child.reach("arguments", "reads")
        await check_calls(self.kernel, _serving(module), self.clock, self.findings)
        self._own_errors()
        self.child.reach("state", "reload")
        if healthy:
            await self._check_reloads(module)
        else:
            for check in ("state", "reload"):
                self.findings.skip(check, "a plugin that says it would not work is not taken at a reload")
        self.child.reach("unload")
        await self._check_unload()
        self.child.reach()

    def _bundled(self) -> bool:
        bundled = self.kernel.config.paths.bundled_plugins.resolve()
        return self.source.package and self.source.path.resolve().parent == bundled

    # Before it is loaded -----------------------------------------------------------------------------------------

    async def _look_before(self) -> None:
        loader = Loader()
        loader.install()
        name = f"plugins/{self.name}@0"
        try:
            _, contribution = loader.load_now(name, self.source)
            self._check_claims(contribution)
            self._check_rights(contribution)
            await self._check_migrations(contribution)
        finally:
            loader.remove()

    def _check_claims(self, contribution: Contribution) -> None:
        table = self.kernel.table
        if self.name in {owner.plugin for owner in table.owners}:
            self.findings.fail("claims", f"a plugin named {self.name} comes with the hub; give yours another name")
            return
        for route in contribution.routes:
            holder = self.child.order.reserved.get(route.key[1])
            if holder is not None:
                self.findings.fail("claims", f"{route.method} {route.path} belongs to {holder}; choose another path")
        try:
            Table.merge([*table.owners, _Claimant(contribution)], version=0)
        except ContractError as error:
            self.findings.fail("claims", error.message)

    def _check_rights(self, contribution: Contribution) -> None:
        decide, house = self.kernel.gate.decide, Chain(Caller(f"core:{self.name}"))
        missing = []
        for right in contribution.manifest.capabilities:
            unknown = decide(house, right)
            if not unknown.allowed and not unknown.rule:
                self.findings.fail("rights", f"capabilities: {unknown.reason}")
            elif not decide(Chain(Caller(f"plugin:{self.name}")), right).allowed:
                missing.append(right)
        for what, right in _demanded(contribution):
            refusal = decide(house, right)
            if not refusal.allowed and not refusal.rule:
                self.findings.fail("rights", f"{what} needs {right!r}, which nobody can have: {refusal.reason}")
        if missing and not self.findings.failed("rights"):
            rule = f'"plugin:{self.name}" = {msgspec.json.encode(missing).decode()}'
            self.findings.warn(
                "rights",
                f"the policy that ships does not give it {', '.join(missing)}; where it is to run, add {rule} to "
                "[capabilities.allow] of the policy (here it is given)",
            )
            file = self.kernel.config.paths.policies / "battery.toml"
            file.write_text(f"version = 1\n[capabilities.allow]\n{rule}\n")

    async def _check_migrations(self, contribution: Contribution) -> None:
        steps, store = contribution.manifest.migrations, self.kernel.store
        try:
            await store.migrate(self.name, steps)
            again = await store.migrate(self.name, steps)
        except AetherraError as error:
            self.findings.fail("migrations", error.message)
        else:
            if again:
                self.findings.fail("migrations", f"applied a second time, the steps {again} did something again")

    # Loading -----------------------------------------------------------------------------------------------------

    async def _load(self, bundled: bool) -> Module | None:
        modules = self.kernel.modules
        if bundled:
            try:
                module = await self._in_time(modules.reload(self.name))
            except AetherraError as error:
                self.findings.fail("load", error.message)
                return None
        else:
            await self._drop()
            module = modules.get(self.name)
        if module.generation is None:
            hint = "; a plugin that provides it can be loaded beside it" if module.status == "waiting" else ""
            check = "health" if HEALTH_LATE in (module.reason or "") else "load"
            self.findings.fail(check, f"{module.status}: {module.reason}{hint}")
            return None
        return module

    async def _drop(self) -> None:
        """Put it into the drop folder, whole, and wait for what comes of it."""
        if (self.kernel.config.paths.policies / "battery.toml").exists():
            await self.seen.wait_for("policy.loaded", timeout_s=SETTLED_S)
        drop, staged = self.kernel.config.paths.plugins, self.kernel.config.paths.home / "staged"
        staged.mkdir()
        _write(self.source, staged / self.source.path.name)
        (staged / self.source.path.name).rename(drop / self.source.path.name)
        await self._in_time(
            self.seen.wait_until(
                lambda event: event.topic.startswith("module.") and event.data.get("plugin") == self.name,
                timeout_s=SETTLED_S,
                what=f"event about {self.name}",
            )
        )

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Await what the kernel bounds by its clock; meanwhile that goes as fast as the real one."""
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait({task}, timeout=TICK_S))[0]:
            await self.clock.advance(TICK_S)
        return task.result()

    async def _check_health(self, module: Module) -> bool:
        generation = _serving(module)
        try:
            async with asyncio.timeout(HEALTH_S):
                reason = await generation.unhealthy()
        except TimeoutError:
            self.findings.fail("health", f"it did not answer within {HEALTH_S:g} s; health only looks at what is known")
            return False
        if reason is None:
            return True
        if reason.startswith("its health function failed"):
            self.findings.fail("health", f"{reason}; it returns None, or the reason why the plugin does not work")
        else:
            self.findings.warn("health", f"in a home of its own it says that it does not work: {reason}")
        return False

    # Running -----------------------------------------------------------------------------------------------------

    async def _check_background(self) -> None:
        until = asyncio.get_running_loop().time() + 2.0
        for _ in range(RUN_S):
            await self.clock.advance(1.0)
            if asyncio.get_running_loop().time() > until:
                break
        for task in self.kernel.supervisor.stats().tasks:
            if task.owner == self.name and (task.deaths or task.state == "failed"):
                self.findings.fail(
                    "background",
                    f"the task {task.name} died {task.deaths} times within {RUN_S} s, at last of: {task.last_error}",
                )

    def _own_errors(self) -> None:
        for event in self.seen.of(PLUGIN_ERROR):
            if event.data.get("plugin") == self.name:
                told = f"{event.data.get('where')} failed on {event.data.get('topic')}: {event.data.get('error')}"
                self.findings.fail("background", told)

    # Reloading ---------------------------------------------------------------------------------------------------

    async def _check_reloads(self, module: Module) -> None:
        subscriptions = len(self.kernel.bus.subscriptions())
        state = self._exported(module)
        for number in (1, 2):
            try:
                await self._in_time(self.kernel.modules.reload(self.name))
            except AetherraError as error:
                stage = "state" if "handing over its state" in error.message else "reload"
                self.findings.fail(stage, f"reload {number}: {error.message}")
                return
            await self._settled()
            now = self._exported(module)
            if not self.findings.failed("state") and now != state:
                self.findings.fail(
                    "state",
                    f"reload {number} changed what is exported from {_short(state)} to {_short(now)}; import_state "
                    "takes up all that export_state gives",
                )
        self._leaks("reload")
        if len(self.kernel.bus.subscriptions()) != subscriptions:
            names = sorted({s.name for s in self.kernel.bus.subscriptions()})
            self.findings.fail("reload", f"it left subscriptions behind; there are now {', '.join(names)}")
        self._check_import(module, state)

    def _exported(self, module: Module) -> Any:
        """Return what the plugin would hand over now, noting what is no plain data."""
        export = _serving(module).contribution.export_state
        if export is None:
            return None
        try:
            state, again = copy.deepcopy(export()), export()
        except Exception as error:
            self.findings.fail("state", f"export_state raised {type(error).__name__}: {error}")
            return None
        strange = next(_strange(state, "state"), None)
        if strange is not None:
            self.findings.fail(
                "state",
                f"export_state gives {strange}; only None, bool, int, float, str, bytes, lists and maps cross to the "
                "next version: an object keeps the old version's code alive, and its class is not the new one's",
            )
        elif state != again:
            self.findings.fail("state", "export_state gives something else when it is asked again; it only looks")
        return state

    def _check_import(self, module: Module, state: Any) -> None:
        """Give the state to import_state as another version would have left it."""
        contribution = _serving(module).contribution
        take = contribution.import_state
        if (take is None) != (contribution.export_state is None):
            there, missing = ("import_state", "export_state") if take else ("export_state", "import_state")
            self.findings.fail("state", f"{there} is declared and {missing} is not; alone neither hands anything over")
            return
        if take is None or self.findings.failed("state"):
            return
        try:
            take("0.0.1", copy.deepcopy(state))
        except Exception as error:
            self.findings.fail(
                "state",
                f"import_state refuses the same state from version 0.0.1 ({type(error).__name__}: {error}); a version "
                "that it can read it should take, since a rollback hands over as well",
            )
            return
        for key in state if isinstance(state, dict) else ():
            try:
                take("0.0.1", {k: copy.deepcopy(v) for k, v in state.items() if k != key})
            except Exception as error:
                self.findings.warn(
                    "state",
                    f"import_state needs {key!r} ({type(error).__name__}: {error}); a version that did not export it "
                    f"could not be replaced by this one without a restart: read it with state.get({key!r}, ...)",
                )

    async def _settled(self) -> None:
        await self._in_time(self.kernel.modules.settled())

    def _leaks(self, check: str) -> None:
        for event in self.seen.of(MODULE_LEAKED):
            if event.data["plugin"] == self.name:
                self.findings.fail(
                    check,
                    f"generation {event.data['generation']} stays in memory ({', '.join(event.data['left'])}): "
                    "something outside still holds a function, object or class of it, such as a callback that was "
                    "registered with a library, or a cache",
                )

    # Leaving -----------------------------------------------------------------------------------------------------

    async def _check_unload(self) -> None:
        before = len(self.seen.of(MODULE_LEAKED))
        await self._in_time(self.kernel.modules.unload(self.name))
        await self._settled()
        if len(self.seen.of(MODULE_LEAKED)) > before and not self.findings.failed("reload"):
            self._leaks("unload")
        for left in self._left():
            self.findings.fail("unload", f"{left}; what a plugin begins it ends, in @p.lifespan after the yield")

    def _left(self) -> Iterator[str]:
        for thread in self.threads.alive():
            yield f"the thread {thread.name!r} is still there"
        for task in asyncio.all_tasks():
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and code.co_filename.startswith(self.roots):
                yield f"the asyncio task of {code.co_qualname} still runs"
        for task_stats in self.kernel.supervisor.stats().tasks:
            if task_stats.owner == self.name:
                yield f"the task {task_stats.name} still runs"
        for subscription in self.kernel.bus.subscriptions():
            if subscription.name.startswith(f"{self.name}."):
                yield f"the subscription {subscription.name} is still there"
        for name in sys.modules:
            if name.startswith(f"plugins/{self.name}@"):
                yield f"the module {name} is still in sys.modules"


def _serving(module: Module) -> Generation:
    assert module.generation is not None
    return module.generation


def _demanded(contribution: Contribution) -> Iterator[tuple[str, str]]:
    """Yield (door, the right that its callers must have)."""
    for route in contribution.routes:
        yield f"{route.method} {route.path}", route.needs
    for function in contribution.functions:
        yield f"the function {function.name}", function.needs
    for service in contribution.services:
        for method in service.methods.values():
            yield f"{service.name}.{method.name}", method.needs


def _strange(value: Any, where: str) -> Iterator[str]:
    """Yield what is no plain data in a value, with its place."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return
    if type(value) in (list, tuple):
        for number, item in enumerate(value):
            yield from _strange(item, f"{where}[{number}]")
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) not in (str, int):
                yield f"the key {key!r:.40} at {where}"
            yield from _strange(item, f"{where}[{key!r}]")
    else:
        yield f"a {type(value).__name__} at {where}"


def _short(value: Any) -> str:
    return f"{value!r:.120}"


def _write(source: Source, target: Path) -> None:
    if not source.package:
        target.write_bytes(source.files[source.path.name])
        return
    for name, content in source.files.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


async def main(child: Child) -> None:
    """Make the checks that need a kernel."""
    source = Source.read(child.path)
    beside = [Path(path) for path in child.order.beside]
    config = kernel_config(Path(child.order.home), bundled=None)
    for path in beside:
        target = config.paths.plugins / path.name
        shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    clock = TestClock()
    kernel = Kernel(config, clock=clock)
    clock.watch(lambda: kernel.store.pending)
    try:
        await kernel.start()
        with Recording(kernel.bus) as seen:
            await Life(child, kernel, clock, source, seen).check()
    finally:
        await kernel.stop()


if __name__ == "__main__":
    Child.run(main)
