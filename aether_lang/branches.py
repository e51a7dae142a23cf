"""`parallel:` at run time: branches of a run that take turns while the host works for the others (12.5).

Each branch is a thread, and one baton decides which of them runs: it is passed on in a host call and while a branch
waits for another, so code between two host calls is never interleaved. Where the host serves one call at a time, and
in a deterministic run, the branches run one after another in the order of the source.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from .host import Host, Layer
from .values import Future, Halt, Place, ScriptError

STACK: Final = 1 << 20
"""Bytes of a branch's stack; frames of scripts are not on it, calls through the library are."""


class Room(Protocol):
    """What branches ask of the runtime: what belongs to whoever has the baton."""

    at: Any
    event_data: Any
    host: Host


class Baton:
    """Who may run. It goes to whoever has waited longest."""

    def __init__(self) -> None:
        """It is held by whoever makes it."""
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._free = False

    def pass_on(self) -> None:
        """Gives it away."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free = True

    def take(self) -> None:
        """Returns once it is held."""
        with self._lock:
            if self._free:
                self._free = False
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()


class Branch:
    """One branch: what it does, how far it is, and what came of it."""

    def __init__(self, name: str, body: Callable[[], Any], host: Host) -> None:
        """`host` is what its effects go to: that of the place where it was opened."""
        self.name = name
        self.body = body
        self.host = host
        self.state: Literal["pending", "open", "done"] = "pending"
        self.value: Any = None
        self.error: BaseException | None = None
        self.told = False
        self.waits_for: Branch | None = None
        self.ended = threading.Event()


class Branches:
    """The branches of one run."""

    def __init__(self, room: Room, budget: Any, failed: Callable[[Any, Exception], Any]) -> None:
        """`failed` is asked about an error that leaves a branch; it gives a value, or raises what becomes of it."""
        self._room = room
        self._budget = budget
        self._failed = failed
        self._baton = Baton()
        self._queue: deque[Branch] = deque()
        self._all: list[Branch] = []
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._current: Branch | None = None
        self.one_by_one = False

    # ------------------------------------------------------------ for generated code

    def branch(self, name: str, depth: Any, body: Callable[[Any], Any]) -> Future:
        """A branch that `open` begins; reading the future waits for its value."""
        branch = Branch(name, lambda: self._done(depth, body), self._room.host)
        self._queue.append(branch)
        self._all.append(branch)
        return Future(lambda: self.value(branch))

    def open(self) -> None:
        """Begins what waits, in order and as far as branches may be open together."""
        if self.one_by_one:
            while self._queue:
                branch = self._queue.popleft()
                if branch.state == "pending":
                    self._run(branch)
            return
        while self._queue and self._open < int(self._budget.values["branches"]):
            branch = self._queue.popleft()
            if branch.state == "pending":
                self._begin(branch)

    def value(self, branch: Branch) -> Any:
        """The value of a branch, waited for; raises its error. One that has not begun runs right here."""
        if branch.state == "pending":
            self._run(branch)
        elif branch.state == "open":
            self._wait(branch)
        if branch.error is not None:
            branch.told = True
            raise branch.error
        return branch.value

    # ------------------------------------------------------------ running

    def _begin(self, branch: Branch) -> None:
        branch.state = "open"
        self._open += 1
        before = threading.stack_size(STACK)
        try:
            thread = threading.Thread(target=self._thread, args=(branch,), name=f"branch {branch.name}", daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
        self._threads.append(thread)

    def _thread(self, branch: Branch) -> None:
        self._baton.take()
        try:
            self._room.host, self._room.event_data = branch.host, None
            self._run(branch)
        finally:
            self._open -= 1
            self.open()
            self._baton.pass_on()

    def _run(self, branch: Branch) -> None:
        before, self._current = self._current, branch
        kept = self._kept()
        if before is not None:
            before.waits_for = branch
        branch.state = "open"
        self._room.host = branch.host
        try:
            branch.value = branch.body()
        except (Halt, Exception) as error:
            branch.error = error
        finally:
            branch.state = "done"
            branch.ended.set()
            if before is not None:
                before.waits_for = None
            self._back(kept)
            self._current = before

    def _done(self, depth: Any, body: Callable[[Any], Any]) -> Any:
        try:
            return body(depth)
        except Exception as error:
            return self._failed(depth, error)

    def _wait(self, branch: Branch) -> None:
        seen: Branch | None = branch
        while seen is not None:
            if seen is self._current:
                raise ScriptError("ValueError", f"the branch '{branch.name}' waits for what waits for it")
            seen = seen.waits_for
        if self._current is not None:
            self._current.waits_for = branch
        try:
            ended = self.elsewhere(lambda: branch.ended.wait(self._budget.remaining_s()))
        finally:
            if self._current is not None:
                self._current.waits_for = None
        if not ended:
            raise self._budget.timeout() or ScriptError("Timeout", f"the branch '{branch.name}' took too long")
        self._budget.check()

    def elsewhere(self, work: Callable[[], Any]) -> Any:
        """Does what needs no baton: it is passed on for as long."""
        kept, current = self._kept(), self._current
        self._baton.pass_on()
        try:
            return work()
        finally:
            self._baton.take()
            self._current = current
            self._back(kept)

    def _kept(self) -> tuple[Any, Any, Host]:
        return self._room.at, self._room.event_data, self._room.host

    def _back(self, kept: tuple[Any, Any, Host]) -> None:
        self._room.at, self._room.event_data, self._room.host = kept

    # ------------------------------------------------------------ the end

    def mark(self) -> int:
        """How many branches there were; for `join`."""
        return len(self._all)

    def join(self, mark: int = 0) -> None:
        """Waits for the branches since the mark; raises the first error that nothing has read yet."""
        failed: BaseException | None = None
        for branch in self._all[mark:]:
            try:
                told = branch.told
                self.value(branch)
            except (Halt, Exception) as error:
                failed = failed if told or failed is not None else error
        if failed is not None:
            raise failed

    def stop(self) -> None:
        """Ends what still runs; returns when every thread is gone."""
        self._queue.clear()
        self._budget.abandon()
        for thread in self._threads:
            if thread.is_alive():
                self.elsewhere(thread.join)


class Passing(Layer):
    """A host whose calls pass the baton on while they are under way."""

    def __init__(self, host: Host, branches: Branches) -> None:
        """The host behind it."""
        super().__init__(host)
        self._branches = branches

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """The host's answer."""
        return self._branches.elsewhere(lambda: self.base.call(capability, operation, args, position))
