"""The rights that something long-lived stands on: those it was given while it was opened, to be asked for again."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.capabilities import Chain

MOST = 1_000
"""Rights that are remembered of one stream or socket."""


class Grounds:
    """The rights that were asked for and given, each once; `full` once there were more than are remembered."""

    __slots__ = ("_given", "full")

    def __init__(self) -> None:
        self._given: dict[tuple[Chain, str], None] = {}
        self.full = False

    def note(self, chain: Chain, capability: str) -> None:
        """Remember that this chain was given this right."""
        if len(self._given) < MOST:
            self._given[chain, capability] = None
        elif (chain, capability) not in self._given:
            self.full = True

    def __iter__(self) -> Iterator[tuple[Chain, str]]:
        return iter(tuple(self._given))

    def __len__(self) -> int:
        return len(self._given)
