"""What works and what does not, by component, with the reasons: for `/health/ready` and the page at `/`."""

from __future__ import annotations

from collections.abc import Mapping

from kernel import Kernel

ESSENTIAL = ("kernel", "database", "policy")
"""What everything depends on: without one of these the hub is not ready, whatever else works."""


class Readiness:
    """The kernel's components and the hub's own; `insecure` is why the bind address is shown red, or None."""

    def __init__(self, kernel: Kernel, insecure: str | None) -> None:
        self._kernel = kernel
        self._insecure = insecure

    async def reasons(self, *, within_s: float | None = None) -> dict[str, str | None]:
        """Return, by component, None where it works or the reason why not; each is waited for `within_s` at most."""
        reasons = dict(await self._kernel.ready(within_s=within_s))
        # What is remembered is remembered in this process; there is no cache beside it that could be away.
        reasons.setdefault("cache", None)
        if self._insecure is not None:
            reasons["bind"] = self._insecure
        return reasons


def works(reasons: Mapping[str, str | None]) -> bool:
    """Tell whether everything that all depends on works."""
    return all(reasons.get(name) is None for name in ESSENTIAL)
