"""For tests, of the house and of plugin authors: a kernel in a folder, a clock that jumps, a bus that is recorded, and
the battery that says whether a plugin is a good one."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import shutil
import tempfile
import unittest
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from kernel.battery import CHECKS, Finding, Report, check_plugin
from kernel.bus import Bus
from kernel.clock import Clock
from kernel.config import Config, Paths
from kernel.errors import Gone, LoadError
from kernel.events import Event
from kernel.kernel import Kernel
from kernel.patterns import check_pattern

__all__ = [
    "ALLOW_ALL",
    "CHECKS",
    "Finding",
    "PluginTest",
    "Recording",
    "Report",
    "TestClock",
    "TestSocket",
    "check_plugin",
    "kernel_config",
    "running_kernel",
    "running_plugin",
]

SETTLE_TURNS = 10_000
"""Turns of the loop after which `TestClock.settle` stops waiting for tasks that never rest."""
BUSY_S, BUSY_TURNS = 0.001, 1_000
"""How often, and how often in all, it asks what it was told to `watch`."""


class _Timer:
    __slots__ = ("cancelled", "fire")

    def __init__(self, fire: Callable[[], None]) -> None:
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        # It stays in its place in the heap; what it would have woken must not stay with it.
        self.cancelled, self.fire = True, _nothing


def _nothing() -> None:
    return None


class TestClock:
    """A clock that stands still until `advance` moves it; `sleep` and `timeout` obey it. Nothing waits for real.

    It knows the loop only: what runs in threads or child processes is not waited for, unless `watch` tells of it.
    """

    __test__ = False

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._wall = now
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._busy: Callable[[], object] = _nothing

    def watch(self, busy: Callable[[], object]) -> None:
        """Let time stand still while `busy()` is true, for a second of real time at most: writes under way, say."""
        self._busy = busy

    def now(self) -> float:
        """Return the wall time: the start, what was advanced and what was jumped."""
        return self._wall + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due = asyncio.get_running_loop().create_future()
        timer = self._after(seconds, lambda: None if due.done() else due.set_result(None))
        try:
            await due
        finally:
            timer.cancel()

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Return a block that raises `TimeoutError` once the clock was advanced by more than `seconds` within it."""
        return self._timeout(seconds)

    @asynccontextmanager
    async def _timeout(self, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as scope:
            if seconds is None:
                yield scope
                return
            if seconds <= 0:
                scope.reschedule(loop.time())
            timer = self._after(seconds, lambda: scope.reschedule(loop.time()))
            try:
                yield scope
            finally:
                timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move time forward: every timer due on the way fires in its order, and the loop settles after each."""
        until = self._elapsed + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._elapsed = max(self._elapsed, due)
            timer.fire()
            await self.settle()
        self._elapsed = until
        await self.settle()

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would; monotonic time does not notice."""
        self._wall += seconds

    async def settle(self) -> None:
        """Return when no task of the loop can go on by itself, or after `SETTLE_TURNS` turns; see also `watch`."""
        # asyncio has no public way to ask; other loops, without this attribute, get a fixed number of turns.
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        patience = BUSY_TURNS
        for _ in range(50 if ready is None else SETTLE_TURNS):
            await asyncio.sleep(0)
            if ready is not None and not ready:
                if not patience or not self._busy():
                    return
                patience -= 1
                await asyncio.sleep(BUSY_S)

    @property
    def waiting(self) -> int:
        """Sleeps and time-outs that wait for the clock to move."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    def _after(self, seconds: float, fire: Callable[[], None]) -> _Timer:
        timer = _Timer(fire)
        heapq.heappush(self._timers, (self._elapsed + seconds, next(self._order), timer))
        return timer


class PluginTest(unittest.IsolatedAsyncioTestCase):
    """A test case whose tests may be `async def`: for `unittest`, which every Python has, and for pytest."""

    async def asyncSetUp(self) -> None:
        """Let the loop run as fast as a hub's; the one of `unittest` would tell of each slow step."""
        asyncio.get_running_loop().set_debug(False)


class TestSocket:
    """A `Socket` without a hub: it receives `messages`, then its client leaves; `sent` is what the handler sent.

    `closed` is the handler's own close, `following` what it follows; no events come by themselves.
    """

    __test__ = False

    def __init__(self, messages: Iterable[Any] = ()) -> None:
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.following: tuple[str, ...] = ()
        self._messages = iter(messages)

    def __aiter__(self) -> TestSocket:
        return self

    async def __anext__(self) -> Any:
        for message in self._messages if self.closed is None else ():
            return message
        raise StopAsyncIteration

    async def receive(self) -> Any:
        """Return the next message; raise `Gone` when there is none any more."""
        async for message in self:
            return message
        raise Gone("the client has left")

    async def send(self, value: Any) -> None:
        """Note what is sent."""
        if self.closed is not None:
            raise Gone("the socket was closed")
        self.sent.append(value)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Note how it was closed."""
        self.closed = self.closed or (code, reason)

    async def follow(
        self, topics: Sequence[str], *, since: int | None = None, opening: Callable[[int], Any] | None = None
    ) -> int:
        """Note the topics, and send the opening; the position is always 0."""
        for topic in topics:
            check_pattern(topic)
        self.following = tuple(dict.fromkeys([*self.following, *topics]))
        if opening is not None:
            await self.send(opening(0))
        return 0

    async def unfollow(self, topics: Sequence[str]) -> list[str]:
        """Note that the topics are left."""
        left = [topic for topic in self.following if topic in topics]
        self.following = tuple(topic for topic in self.following if topic not in left)
        return left


class Recording:
    """Every event of a bus that fits `pattern`, from the moment it is made until `close`, in order.

    `events` and `topics` are what came so far; `wait_for` waits for what has not come yet.
    """

    def __init__(self, bus: Bus, pattern: str = "#") -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self._undo = bus.listen(pattern, self._keep, name="recording")

    @property
    def topics(self) -> list[str]:
        """The topics of `events`."""
        return [event.topic for event in self.events]

    def of(self, topic: str) -> list[Event]:
        """Return the recorded events of exactly this topic."""
        return [event for event in self.events if event.topic == topic]

    async def wait_for(self, topic: str, count: int = 1, *, timeout_s: float = 5.0) -> Event:
        """Return the `count`-th event of this topic as soon as it is there; `TimeoutError` names what came instead."""
        what = f"{topic} number {count}"
        return await self.wait_until(lambda event: event.topic == topic, count, timeout_s=timeout_s, what=what)

    async def wait_until(
        self, fits: Callable[[Event], bool], count: int = 1, *, timeout_s: float = 5.0, what: str = "such event"
    ) -> Event:
        """Return the `count`-th event that fits as soon as it is there; `TimeoutError` names what came instead."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(found := [event for event in self.events if fits(event)]) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"no {what} within {timeout_s} s, only {self.topics}") from None
        return found[count - 1]

    def close(self) -> None:
        """Stop recording; what was recorded stays."""
        self._undo()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()


ALLOW_ALL = '''
"""Says yes to everything, for tests of a plugin without a policy."""
from kernel import Chain, Decision, Plugin

allow_all = Plugin("allow_all", version="1.0.0")

@allow_all.decider
def decide(chain: Chain, capability: str) -> Decision:
    return Decision(True, "everything is allowed in this test", effect="free")
'''
"""Source of a plugin that decides yes; without any decider the gate says no to everything."""


def kernel_config(
    home: Path,
    *,
    plugins: Mapping[str, str] | None = None,
    bundled: Iterable[str] | None = (),
    overrides: Mapping[str, Any] | None = None,
    sections: Mapping[str, type[msgspec.Struct]] | None = None,
) -> Config:
    """Return the configuration of a kernel that lives in `home` alone; see `running_kernel`."""
    drop = home / "plugins"
    drop.mkdir(parents=True, exist_ok=True)
    for name, source in (plugins or {}).items():
        (drop / f"{name}.py").write_text(source)
    paths = Paths.find(environ={}, home=home, plugins=drop, policies=home / "policies", trusted=[drop])
    paths.prepare()
    if bundled is not None:
        chosen = home / "bundled"
        chosen.mkdir(exist_ok=True)
        for name in bundled:
            shutil.copytree(paths.bundled_plugins / name, chosen / name, dirs_exist_ok=True)
        paths = msgspec.structs.replace(paths, bundled_plugins=chosen)
    return Config.load(sections=sections or {}, file=None, environ={}, overrides=overrides or {}, paths=paths)


@asynccontextmanager
async def running_kernel(
    home: Path,
    *,
    plugins: Mapping[str, str] | None = None,
    bundled: Iterable[str] | None = (),
    clock: Clock | None = None,
    overrides: Mapping[str, Any] | None = None,
    sections: Mapping[str, type[msgspec.Struct]] | None = None,
) -> AsyncIterator[Kernel]:
    """Run a kernel whose HOME is `home`, and stop it at the end.

    `plugins` are sources dropped by name (`{"hello": "..."}`; `ALLOW_ALL` decides yes), `bundled` the names of the
    house's own plugins to load (None: all of them, under the policy that ships).
    """
    kernel = Kernel(
        kernel_config(home, plugins=plugins, bundled=bundled, overrides=overrides, sections=sections), clock=clock
    )
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.stop()


@asynccontextmanager
async def running_plugin(
    path: Path | str,
    *,
    beside: Iterable[Path | str] = (),
    bundled: Iterable[str] | None = ("security",),
    rights: Mapping[str, Iterable[str]] | None = None,
    clock: Clock | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Kernel]:
    """Run the plugin at `path`, a file or a package, in a kernel of its own under the policy that ships.

    `bundled` are the names of those plugins of the house that it needs, besides the one that decides about rights
    (None: all of them), `beside` the paths of any others. `rights` are added to the policy, such as
    `{"plugin:hello": ["event:emit:greeting.*"]}`; `settings` are its own, as under `[plugins.NAME]`. Its home is a
    temporary folder, gone at the end. Raises `LoadError` with the reason when it could not be loaded.
    """
    path = Path(os.path.abspath(path))  # noqa: ASYNC240 - a test may wait for its disk
    name = path.stem if path.suffix == ".py" else path.name
    with tempfile.TemporaryDirectory(prefix="aetherra-test-") as folder:
        overrides = {f"plugins.{name}.{key}": value for key, value in (settings or {}).items()}
        config = kernel_config(Path(folder), bundled=bundled, overrides=overrides)
        for one in (path, *map(Path, beside)):
            target = config.paths.plugins / one.name
            shutil.copytree(one, target) if one.is_dir() else shutil.copy(one, target)
        if rights:
            rows = "".join(f"{json.dumps(who)} = {json.dumps(list(may))}\n" for who, may in rights.items())
            file = config.paths.policies / "test.toml"
            file.write_text(f"version = 1\n[capabilities.allow]\n{rows}")
        kernel = Kernel(config, clock=clock)
        if isinstance(clock, TestClock):
            clock.watch(lambda: kernel.store.pending)
        try:
            await kernel.start()
            module = kernel.modules.get(name)
            if module.generation is None:
                raise LoadError(f"{name} is {module.status}: {module.reason}", details={"plugin": name})
            yield kernel
        finally:
            await kernel.stop()
