"""How often a client may ask: moving windows of a minute, by who it is, or by its address where nobody knows.

The AIMOS document names its figures and headers; everywhere else a generous bound holds. Windows are measured by the
monotonic clock, so that a jump of the wall clock neither locks anybody out nor lets anybody in.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from hub.dispatch import Match
from kernel import Clock, Config, Identity, Overloaded

WINDOW_S = 60.0
AIMOS = "aimos"
RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
"""What an answer on a path of that document tells: the bound, what is left of it, and when all of it is there again."""

ADMIN = "role:admin"

W = TypeVar("W", "Exact", "Weighted")


class Verdict(msgspec.Struct, frozen=True):
    """Where a client stands after a request: how many are left, and in how many seconds the window is empty again.

    `wait_s` is set when this request was one too many: in so many seconds another one is taken.
    """

    remaining: int
    reset_s: float
    wait_s: float | None = None


class Exact:
    """A window that remembers the time of each request: for small bounds."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def take(self, bound: int, now: float) -> Verdict:
        """Count a request, unless the window is full."""
        taken = self._taken
        while taken and taken[0] <= now - WINDOW_S:
            taken.popleft()
        if len(taken) >= bound:
            # A bound that was lowered lets more of them pass by.
            return Verdict(0, taken[-1] + WINDOW_S - now, taken[len(taken) - bound] + WINDOW_S - now)
        taken.append(now)
        return Verdict(bound - len(taken), WINDOW_S)


class Weighted:
    """A window that counts by the minute and weighs the minute before by how much of it is still in the window.

    It takes two numbers whatever the bound is, and assumes that the requests of a minute came evenly.
    """

    __slots__ = ("_before", "_began", "_count")

    def __init__(self) -> None:
        self._began = 0.0
        self._count = self._before = 0

    def take(self, bound: int, now: float) -> float | None:
        """Count a request, unless the window is full: then return in how many seconds another one is taken."""
        age = now - self._began
        if age >= WINDOW_S:
            whole = age // WINDOW_S
            self._before = self._count if whole == 1 else 0
            self._began += whole * WINDOW_S
            self._count = 0
            age -= whole * WINDOW_S
        weighed = self._before * (1 - age / WINDOW_S) + self._count
        if weighed + 1 > bound:
            return self._wait(bound, weighed, age)
        self._count += 1
        return None

    def _wait(self, bound: int, weighed: float, age: float) -> float:
        if self._before and self._count < bound:
            return max(0.0, (weighed + 1 - bound) * WINDOW_S / self._before)
        return WINDOW_S - age


class Windows(Generic[W]):
    """The windows of so many clients; of those the one that asked longest ago is forgotten first."""

    def __init__(self, make: Callable[[], W], clients: int) -> None:
        self._make: Callable[[], W] = make
        self._clients = clients
        self._windows: OrderedDict[str, W] = OrderedDict()

    def of(self, client: str) -> W:
        """Return the window of a client."""
        window = self._windows.get(client)
        if window is None:
            if len(self._windows) >= self._clients:
                self._windows.popitem(last=False)
            window = self._windows[client] = self._make()
        else:
            self._windows.move_to_end(client)
        return window

    def __len__(self) -> int:
        return len(self._windows)


class Rates:
    """The bounds of one hub."""

    def __init__(self, config: Config, clock: Clock) -> None:
        limits = config.limits
        self._limits = limits
        self._clock = clock
        self._all: Windows[Weighted] = Windows(Weighted, limits.rate_clients)
        self._aimos: Windows[Exact] = Windows(Exact, limits.rate_clients)
        self.refused = 0
        """Requests that were one too many."""

    def take(self, match: Match, identity: Identity | None) -> None:
        """Count a request by whom it comes from; `Overloaded` (429) when it is one too many.

        Without an identity it is one that was refused: those count by address, so that nobody tries tokens for ever.
        """
        endpoint = match.endpoint
        if endpoint is None or endpoint.unmetered:
            return
        now = self._clock.monotonic()
        client = _client(match, identity)
        bound = self._limits.requests_per_minute
        wait_s = self._all.of(client).take(bound, now)
        if wait_s is not None:
            raise self._refusal(wait_s, f"{bound} requests a minute are taken")
        if endpoint.dialect == AIMOS:
            self._take_aimos(match, identity, client, now)

    def _take_aimos(self, match: Match, identity: Identity | None, client: str, now: float) -> None:
        admin = identity is not None and ADMIN in identity.caller.roles
        bound = self._limits.aimos_admin_requests_per_minute if admin else self._limits.aimos_requests_per_minute
        verdict = self._aimos.of(client).take(bound, now)
        told = (bound, verdict.remaining, int(self._clock.now() + verdict.reset_s))
        match.rate = dict(zip(RATE_HEADERS, map(str, told), strict=True))
        if verdict.wait_s is not None:
            raise self._refusal(verdict.wait_s, "Rate limit exceeded")

    def _refusal(self, wait_s: float, words: str) -> Overloaded:
        self.refused += 1
        return Overloaded(words, code="RATE_LIMITED", retry_after_s=wait_s)


def _client(match: Match, identity: Identity | None) -> str:
    """Return whose window it is: a user's or a token's, and on an address nobody else's where only that is known."""
    if identity is None or not identity.session:
        return f"{match.address} {identity.caller.id if identity is not None else 'refused'}"
    return identity.caller.id
