"""Who may connect: the bounds in all and by address, and the few beyond them who get a word about the hub's health."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from hub.settings import HubSettings


class Spare(Protocol):
    """A connection beyond a bound, as `Connections` sees it."""

    @property
    def asking(self) -> bool:
        """A request of it is there and not answered yet."""

    def dismiss(self) -> None:
        """End it with a refusal."""


class Connections:
    """Who is connected: open connections in all and by address, those beyond a bound, and how often one was refused.

    A connection beyond a bound is *spare*: it may ask one thing, how the hub is. The newest `[hub] spare_connections`
    of them are kept, so that those who connect and say nothing cannot keep out who asks.
    """

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self.open = 0
        self.refused = 0
        self.lacking = 0
        """How often a client connected for whom there was no file descriptor."""
        self.by_address: Counter[str] = Counter()
        self._spare: dict[Spare, None] = {}

    @property
    def crowded(self) -> bool:
        """True when the next connection may be a spare one."""
        return bool(self._spare) or self.open >= self._settings.connections

    def admit(self, address: str) -> str | None:
        """Count a connection in; a text is the reason why it is not, and then it is not counted."""
        if self.open >= self._settings.connections:
            return f"the hub has {self.open} open connections, its bound ([hub] connections)"
        if address and self.by_address[address] >= self._settings.connections_per_address:
            return (
                f"{address} has {self.by_address[address]} open connections, the bound ([hub] connections_per_address)"
            )
        self.open += 1
        if address:
            self.by_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Count it out."""
        self.open -= 1
        if address:
            self.by_address[address] -= 1
            if self.by_address[address] <= 0:
                del self.by_address[address]

    # Beyond a bound ----------------------------------------------------------------------------------------------

    def admit_spare(self, spare: Spare) -> bool:
        """Keep a connection beyond a bound, in the place of the oldest that asks nothing; False for no place."""
        if len(self._spare) >= self._settings.spare_connections and not self.dismiss_oldest():
            self.refused += 1
            return False
        self._spare[spare] = None
        return True

    def dismiss_oldest(self) -> bool:
        """End the oldest spare connection that asks nothing; False when there is none."""
        oldest = next((spare for spare in self._spare if not spare.asking), None)
        if oldest is None:
            return False
        self.leave_spare(oldest)
        oldest.dismiss()
        return True

    def leave_spare(self, spare: Spare) -> None:
        """Forget a spare connection."""
        self._spare.pop(spare, None)
