"""Metering: how many steps, how much time, depth and memory a run may use (language reference, 18.1, 18.2, 22).

Generated code draws steps from `Budget.fuel`, a chain of slices; between two slices the budget looks at cancellation,
time and memory. Who runs out gets a `Halt` that no `catch` sees, and a little grace for its `finally` blocks.
"""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any, Final

from .values import Cancelled, Halt, LimitError, ScriptError, StopExecution, limit_error

SLICE: Final = 4096
GRACE_STEPS: Final = 1000
GRACE_S: Final = 0.4
_MIB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
LARGE: Final = 1 << 16
"""Strings and lists from this size on are charged against memory the moment they are made."""

SHIPPED: Final[dict[str, int | float]] = {
    "steps": 10_000_000,
    "active_s": 60,
    "wall_s": 900,
    "depth": 128,
    "memory_mb": 256,
    "charged_mb": 64,
    "text_mb": 4,
    "items": 1_000_000,
    "output_kb": 1024,
    "log_records": 5000,
    "branches": 8,
}
"""The limits counted here, as shipped; what a job names replaces them."""


class Budget:
    """What one run may still use. `cancel()` may be called from any thread."""

    def __init__(self, limits: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        """`limits` has names of `[limits]` in the policy, those missing are as shipped. ValueError for a bad number."""
        values = {name: limits.get(name, shipped) for name, shipped in SHIPPED.items()}
        for name, value in values.items():
            if type(value) not in (int, float) or not value > 0:
                raise ValueError(f"limit {name} must be a number above 0, not {value!r}")
        self.values = values
        self.text_limit = int(values["text_mb"] * _MIB)
        self.item_limit = int(values["items"])
        self.fuel: Iterator[None] = chain.from_iterable(_Slices(self))
        self.depth: Any = _Bottom(self)
        for _ in range(int(values["depth"])):
            self.depth = (self.depth,)
        self.halted: Halt | None = None
        self._steps_left = int(values["steps"])
        self._unchecked = 0
        self._clock = clock
        self._started = clock()
        self._here = _Thread()
        self._active = 0.0
        self._parked = 0.0
        self._cancelled = threading.Event()
        self._survivor: int | None = None
        self.wakers: list[Callable[[], None]] = []
        self._reason = "the job was cancelled"
        self._grace_steps = GRACE_STEPS
        self._grace_until = 0.0
        self._charged = 0
        self._charge_limit = int(values["charged_mb"] * _MIB)
        self._resident = _resident()

    @property
    def steps_used(self) -> int:
        """Steps drawn so far, counted by whole slices."""
        return int(self.values["steps"]) - self._steps_left

    def cancel(self, reason: str = "the job was cancelled") -> None:
        """Makes the run stop at its next slice or host call."""
        self._reason = reason
        self._cancelled.set()
        self.wake()

    def abandon(self) -> None:
        """Makes every thread but this one stop at its next slice or host call, without grace."""
        self._survivor = threading.get_ident()
        self.wake()

    def wake(self) -> None:
        """Has whoever waits for an answer of the host look at the budget; `wakers` are how."""
        for wake in self.wakers:
            wake()

    def renew(self) -> None:
        """Begins anew: steps and times count from here, and what ended the run before is over."""
        self.halted = None
        self._cancelled.clear()
        self._steps_left = int(self.values["steps"])
        self._started, self._active, self._parked = self._clock(), 0.0, 0.0
        self._here.seen = time.thread_time()

    def parked(self, seconds: float) -> None:
        """Time that does not count as wall time."""
        self._parked += seconds

    def tighten(self, limits: Mapping[str, Any]) -> None:
        """Lowers limits to what the script's own policy says; one that would be raised stays as it is."""
        for name, value in limits.items():
            lower = min(value, self.values[name])
            if name == "steps":
                self._steps_left -= int(self.values[name]) - int(lower)
            self.values[name] = lower

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What runs inside gets `Timeout` at its next slice or host call once that many seconds have passed."""
        deadlines = self._here.deadlines
        deadlines.append((self._clock() + seconds, seconds))
        try:
            yield
        finally:
            deadlines.pop()

    def remaining_s(self) -> float | None:
        """Seconds until the nearest deadline of `within`, None without one."""
        deadlines = self._here.deadlines
        return None if not deadlines else min(due for due, _ in deadlines) - self._clock()

    def timeout(self) -> ScriptError | None:
        """The `Timeout` of a deadline of `within` that has passed."""
        now = self._clock()
        for due, seconds in self._here.deadlines:
            if now > due:
                data = {"limit": "timeout", "value": seconds}
                return ScriptError("Timeout", f"it took longer than {seconds:g} s", data, retryable=True)
        return None

    def check(self) -> None:
        """Raises what ends the run, if something does: cancellation, active or wall time, memory; or `Timeout`."""
        halt = self._reason_to_stop() or (self.timeout() if self._here.deadlines else None)
        if halt is not None:
            raise halt

    def spend(self, steps: int) -> None:
        """Charges steps that were not drawn one by one."""
        if self.halted is not None:
            self._grace_steps -= steps
            if self._grace_steps < 0:
                raise type(self.halted)(self.halted.message, self.halted.data)
            return
        self._steps_left -= steps
        if self._steps_left < 0:
            raise self._halt(self._too_many_steps())
        self._unchecked += steps
        if self._unchecked > LARGE:
            self._unchecked = 0
            self.check()

    def too_deep(self) -> Halt:
        """What ends a run whose functions call each other too deep."""
        halt = limit_error("depth", self.values["depth"], "functions call each other too deep")
        return halt if self.halted is not None else self._halt(halt)

    def charge(self, size: int) -> None:
        """Counts bytes that a large value took; looks at the process itself once the count passes the limit."""
        self._charged += size
        if self._charged > self._charge_limit and self.halted is None:
            grown = _resident() - self._resident
            if grown >= self._charge_limit:
                raise self._halt(self._too_much_memory())
            self._charged = min(max(grown, 0), self._charge_limit * 3 // 4)

    def next_slice(self) -> Iterator[None]:
        """The next piece of fuel, or one that raises what ends the run when it is drawn."""
        halt: BaseException | None = self._reason_to_stop()
        if halt is None and self.halted is not None:
            return self._grace()
        if halt is None and self._steps_left <= 0:
            halt = self._halt(self._too_many_steps())
        if halt is None and self._here.deadlines:
            halt = self.timeout()
        if halt is not None:
            return map(_throw, (halt,))
        size = min(SLICE, self._steps_left)
        self._steps_left -= size
        return repeat(None, size)

    def _grace(self) -> Iterator[None]:
        assert self.halted is not None
        if self._grace_steps <= 0 or self._clock() > self._grace_until:
            return map(_throw, (type(self.halted)(self.halted.message, self.halted.data),))
        size = min(100, self._grace_steps)
        self._grace_steps -= size
        return repeat(None, size)

    def _reason_to_stop(self) -> Halt | None:
        if self._survivor is not None and threading.get_ident() != self._survivor:
            return Cancelled("the script has ended")
        if self.halted is not None:
            if self._clock() <= self._grace_until:
                return None
            return type(self.halted)(self.halted.message, self.halted.data)
        if self._cancelled.is_set():
            return self._halt(Cancelled(self._reason))
        values = self.values
        if self._computed() > values["active_s"]:
            return self._halt(limit_error("active_s", values["active_s"], "the script computed for too long"))
        if self._clock() - self._started - self._parked > values["wall_s"]:
            return self._halt(limit_error("wall_s", values["wall_s"], "the job took too long"))
        if _resident() - self._resident > self._charge_limit:
            return self._halt(self._too_much_memory())
        return None

    def _computed(self) -> float:
        """Seconds of computing so far, of all the threads that came here."""
        here, now = self._here, time.thread_time()
        self._active += now - here.seen
        here.seen = now
        return self._active

    def ends(self, error: BaseException) -> None:
        """Notes that the error ends the run if it is one that no `catch` sees, whoever raised it. What `finally` blocks
        do from here on is within the grace, and nothing of it makes the end undone."""
        halt = self.halt_of(error)
        if halt is not None and self.halted is None:
            self._halt(halt)

    def unswallowed(self, failure: BaseException | None) -> BaseException | None:
        """What the script ended with, or what ended it before a `finally` block put a `return` or an error over it. A
        clean stop is no reason any more to hurry what comes after the script."""
        found, self.halted = self.halted, None if isinstance(self.halted, StopExecution) else self.halted
        ended = isinstance(failure, Halt) and not isinstance(failure, StopExecution)
        return failure if found is None or ended else found

    def halt_of(self, error: BaseException) -> Halt | None:
        """What the error is as the end of the run; None for one that a script may catch."""
        if isinstance(error, RecursionError):
            halt: Halt = limit_error("depth", self.values["depth"], "values or calls nest too deep")
        elif isinstance(error, MemoryError):
            halt = limit_error("memory_mb", self.values["memory_mb"], "the process has no more memory")
        else:
            return error if isinstance(error, Halt) else None
        return halt.with_traceback(error.__traceback__)

    def _halt(self, halt: Halt) -> Halt:
        self.halted = halt
        self._grace_until = self._clock() + GRACE_S
        return halt

    def _too_many_steps(self) -> LimitError:
        return limit_error("steps", self.values["steps"], "the script took too many steps")

    def _too_much_memory(self) -> LimitError:
        return limit_error("charged_mb", self.values["charged_mb"], "the script holds too much data")


class _Slices:
    """The source of the chain: it never ends and never raises, for either would end the chain for good."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __iter__(self) -> "Iterator[Iterator[None]]":
        return self

    def __next__(self) -> Iterator[None]:
        return self._budget.next_slice()


class _Thread(threading.local):
    """What each branch of a run has of its own: how much of its computing was counted, and its deadlines."""

    def __init__(self) -> None:
        self.seen = time.thread_time()
        self.deadlines: list[tuple[float, float]] = []


class _Bottom:
    """The end of the chain of frames: unpacking it is one call too deep, which ends the run as any other limit does."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __iter__(self) -> Iterator[None]:
        raise self._budget.too_deep()


def _throw(halt: BaseException) -> None:
    raise halt


@contextmanager
def at_most(more_mb: float) -> Iterator[None]:
    """Lets the process grow by that much while the block runs; what asks for more gets a `MemoryError`.

    Address space is what the system counts, and the only figure it can refuse by. Where its size cannot be read,
    nothing is bounded here.
    """
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    size = _statm(0)
    if size is not None:
        limit = size + int(more_mb * _MIB)
        resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def _resident() -> int:
    """Bytes the process holds in memory; the most it ever held where that cannot be read."""
    size = _statm(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if size is None else size


def _statm(column: int) -> int | None:
    """Bytes by a column of the process's own `statm`: 0 its address space, 1 what is in memory."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None
    try:
        return int(os.read(fd, 128).split()[column]) * _PAGE
    finally:
        os.close(fd)
