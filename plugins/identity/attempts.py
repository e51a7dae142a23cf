"""Failures to log in: counted by account and address, and by address, within a moving window.

Beyond the bound the answer is "later". Nobody is locked out for good, and whoever comes from another address is not
hindered by somebody's failures.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from kernel import Overloaded

KEPT = 10_000
"""Pairs of account and address whose failures are remembered; the one that was idle longest goes first."""


class Attempts:
    """The failures of the last `window_s` seconds: at most `each` of one account from one address, `all` from one."""

    def __init__(self, *, each: int, all: int, window_s: float) -> None:
        self._bounds = each, all
        self._window_s = window_s
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, account: str, address: str, now: float) -> None:
        """Raise `Overloaded` (429) when there were too many failures; `now` is monotonic."""
        for key, bound in zip(_keys(account, address), self._bounds, strict=True):
            failures = self._recent(key, now)
            if len(failures) >= bound:
                raise Overloaded(
                    f"too many failures to log in; {bound} are taken in {self._window_s:g} s",
                    code="RATE_LIMITED",
                    retry_after_s=max(1.0, failures[0] + self._window_s - now),
                )

    def failed(self, account: str, address: str, now: float) -> None:
        """Count a failure."""
        for key, bound in zip(_keys(account, address), self._bounds, strict=True):
            failures = self._failures.setdefault(key, deque(maxlen=bound))
            failures.append(now)
            self._failures.move_to_end(key)
        while len(self._failures) > KEPT:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of an account from an address: its owner is there."""
        self._failures.pop((account, address), None)

    def _recent(self, key: tuple[str, str], now: float) -> deque[float]:
        failures = self._failures.get(key)
        if failures is None:
            return deque()
        while failures and failures[0] <= now - self._window_s:
            failures.popleft()
        if not failures:
            del self._failures[key]
        return failures


def _keys(account: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (account, address), ("", address)
