"""Background tasks that come back when they die, and stay down when they die too often.

A task that dies is started again after a pause, 0.1 s at first and doubling up to 30 s. More than three deaths within
five minutes, and it is failed for good: the event `plugin.task_failed` says so, and the owner decides. A task that
lived through such a period begins again with the shortest pause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from kernel.bus import Bus
from kernel.clock import Clock, iso
from kernel.errors import Conflict, PluginError
from kernel.events import PLUGIN_ERROR, PLUGIN_TASK_FAILED
from kernel.redaction import redactions

Restart = Literal["on_error", "always", "never"]
State = Literal["running", "waiting", "ended", "failed", "stopped"]
OnError = Callable[[str, str, BaseException], None]
"""Called with the owner, the task's name and what it died of: at each death, when it is given up, and when it will not
leave."""


class TaskStats(msgspec.Struct, frozen=True):
    """One task: `deaths` since it was started, and when and of what it last died."""

    owner: str
    name: str
    state: State
    deaths: int
    last_error: str
    last_death_at: str


class SupervisorStats(msgspec.Struct, frozen=True):
    """Measured since the supervisor was made; `tasks` are those of the groups not stopped."""

    running: int
    waiting: int
    failed: int
    deaths: int
    restarts: int
    stuck: int
    tasks: list[TaskStats]


class _Task:
    def __init__(self, name: str, fn: Callable[[], Awaitable[Any]], restart: Restart) -> None:
        self.name = name
        self.fn = fn
        self.restart = restart
        self.state: State = "running"
        self.deaths = 0
        self.recent: deque[float] = deque()
        self.streak = 0
        self.last_error = ""
        self.last_death_at = ""
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """Groups of tasks by owner. The numbers are those of promise P11 unless told otherwise."""

    def __init__(
        self,
        clock: Clock,
        bus: Bus,
        on_error: OnError,
        *,
        backoff_s: float = 0.1,
        backoff_max_s: float = 30.0,
        deaths: int = 3,
        window_s: float = 300.0,
        leave_s: float = 5.0,
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._on_error = on_error
        self._backoff_s = backoff_s
        self._backoff_max_s = backoff_max_s
        self._allowed = deaths
        self._window_s = window_s
        self._leave_s = leave_s
        self._groups: dict[str, Group] = {}
        self._deaths = self._restarts = self._stuck = 0

    def group(self, owner: str) -> Group:
        """Return the owner's group, made at the first call; after `stop` the same owner gets a new one."""
        if (group := self._groups.get(owner)) is None:
            group = self._groups[owner] = Group(self, owner)
        return group

    async def stop(self) -> list[str]:
        """Stop every group; return `owner.task` of each task that would not leave."""
        left = await asyncio.gather(*(group.stop() for group in list(self._groups.values())))
        return [name for names in left for name in names]

    def stats(self) -> SupervisorStats:
        """Return the figures at this instant."""
        tasks = [
            TaskStats(group.owner, task.name, task.state, task.deaths, task.last_error, task.last_death_at)
            for group in self._groups.values()
            for task in group._tasks.values()
        ]
        states = [task.state for task in tasks]
        return SupervisorStats(
            running=states.count("running"),
            waiting=states.count("waiting"),
            failed=states.count("failed"),
            deaths=self._deaths,
            restarts=self._restarts,
            stuck=self._stuck,
            tasks=tasks,
        )

    async def _keep(self, owner: str, task: _Task) -> None:
        """Run a task for as long as its rule says."""
        while True:
            began = self._clock.monotonic()
            task.state = "running"
            error: BaseException | None = None
            try:
                await task.fn()
            except asyncio.CancelledError as cancelled:
                me = asyncio.current_task()
                if me is None or me.cancelling():
                    task.state = "stopped"
                    raise
                error = cancelled  # made up by the task itself, which is a way to die
            except (Exception, SystemExit, KeyboardInterrupt) as raised:
                error = raised  # an exit, too, is the task's own death and not the hub's
            if error is None and task.restart != "always":
                task.state = "ended"
                return
            if not self._may_restart(owner, task, error, began):
                task.state = "failed"
                return
            task.state = "waiting"
            pause = min(self._backoff_s * 2 ** (task.streak - 1), self._backoff_max_s)
            try:
                await self._clock.sleep(pause)
            except asyncio.CancelledError:
                task.state = "stopped"
                raise
            self._restarts += 1

    def _may_restart(self, owner: str, task: _Task, error: BaseException | None, began: float) -> bool:
        data: dict[str, Any]
        now = self._clock.monotonic()
        self._deaths += 1
        task.deaths += 1
        task.last_death_at = iso(self._clock.now())
        task.last_error = redactions.text(f"{type(error).__name__}: {error}") if error is not None else "it returned"
        task.streak = 1 if now - began >= self._window_s else min(task.streak + 1, 32)
        task.recent.append(now)
        while now - task.recent[0] > self._window_s:
            task.recent.popleft()
        if error is not None:
            self._tell(owner, task.name, error)
            data = {"where": "task", "plugin": owner, "name": task.name, "type": type(error).__name__}
            self._bus.emit(PLUGIN_ERROR, data | {"error": redactions.text(str(error))}, source=owner)
        if task.restart != "never" and len(task.recent) <= self._allowed:
            return True
        why = "its rule is never" if task.restart == "never" else f"{len(task.recent)} deaths in {self._window_s:g} s"
        failure = PluginError(
            f"task {task.name!r} of {owner!r} stays down ({why}); the last death: {task.last_error}",
            details={"plugin": owner, "task": task.name},
        )
        self._tell(owner, task.name, failure)
        data = {"plugin": owner, "name": task.name, "deaths": task.deaths, "error": task.last_error}
        self._bus.emit(PLUGIN_TASK_FAILED, data, source=owner)
        return False

    def _tell(self, owner: str, name: str, error: BaseException) -> None:
        try:
            self._on_error(owner, name, error)
        except Exception as broken:
            context = {"message": "the supervisor's on_error callback failed", "exception": broken}
            asyncio.get_running_loop().call_exception_handler(context)


class Group:
    """The tasks of one owner: started by name, stopped together."""

    def __init__(self, supervisor: Supervisor, owner: str) -> None:
        self.owner = owner
        self._supervisor = supervisor
        self._tasks: dict[str, _Task] = {}
        self._stopped = False

    def start(self, name: str, fn: Callable[[], Awaitable[Any]], restart: Restart = "on_error") -> None:
        """Start a task. It comes back when it raises (`on_error`), whenever it ends (`always`), or `never`.

        Raises `Conflict` when the group is stopped or has a task of this name that is not over.
        """
        known = self._tasks.get(name)
        if self._stopped:
            raise Conflict(f"the tasks of {self.owner!r} are being stopped; {name!r} was not started")
        if known is not None and known.state in ("running", "waiting"):
            raise Conflict(f"{self.owner!r} has a task {name!r} already")
        entry = self._tasks[name] = _Task(name, fn, restart)
        keep = self._supervisor._keep(self.owner, entry)
        entry.task = asyncio.create_task(keep, name=f"{self.owner}.{name}")

    async def stop(self) -> list[str]:
        """Cancel every task and wait until all have left; return the names of those that would not.

        A task that ignores its cancellation for `leave_s` is reported through `on_error` and left behind.
        """
        self._stopped = True
        supervisor = self._supervisor
        if supervisor._groups.get(self.owner) is self:
            del supervisor._groups[self.owner]
        tasks = [entry.task for entry in self._tasks.values() if entry.task is not None and not entry.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            try:
                async with supervisor._clock.timeout(supervisor._leave_s):
                    await asyncio.wait(tasks)
            except TimeoutError:
                pass  # told below, by name
        for entry in self._tasks.values():
            if entry.task is not None and entry.task.done() and entry.state in ("running", "waiting"):
                entry.state = "stopped"  # cancelled before its first step
        stuck = [name for name, entry in self._tasks.items() if entry.task is not None and not entry.task.done()]
        for name in stuck:
            supervisor._stuck += 1
            ignored = f"task {name!r} of {self.owner!r} ignored its cancellation for {supervisor._leave_s:g} s"
            supervisor._tell(self.owner, name, PluginError(ignored, details={"plugin": self.owner, "task": name}))
        return [f"{self.owner}.{name}" for name in stuck]

    def states(self) -> dict[str, State]:
        """Return the state of each task by name."""
        return {name: entry.state for name, entry in self._tasks.items()}
