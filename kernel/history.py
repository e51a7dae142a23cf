"""The switches of plugins since the start, with the tokens that take them back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from kernel.clock import Clock, iso
from kernel.generation import Generation
from kernel.loader import Source

PLUGINS_REMEMBERED = 256
"""Plugins whose switches are kept; beyond it those of the one switched longest ago are forgotten."""

Action = Literal["load", "reload", "rollback"]


class Switched(msgspec.Struct, frozen=True):
    """One switch as history keeps it; `token` takes the plugin back to the source that served before it."""

    token: str
    plugin: str
    at: str
    action: Action
    number: int
    version: str
    hash: str
    previous: Source | None = None


class History:
    """Of each plugin the latest `kept` switches. A token is never given twice while the process lives."""

    def __init__(self, clock: Clock, kept: int) -> None:
        self._clock = clock
        self._kept = kept
        self._by_token: dict[str, Switched] = {}
        self._of_plugin: dict[str, deque[str]] = {}
        self._day = ""
        self._today = 0

    def add(self, newcomer: Generation, action: Action, previous: Source | None) -> Switched:
        """Note that `newcomer` serves now in place of `previous`; return the switch with its token."""
        at = iso(self._clock.now())
        switched = Switched(
            self._next_token(at[:10]),
            newcomer.plugin,
            at,
            action,
            newcomer.number,
            newcomer.contribution.manifest.version,
            newcomer.source.hash,
            previous,
        )
        self._by_token[switched.token] = switched
        tokens = self._of_plugin.pop(newcomer.plugin, deque())
        tokens.append(switched.token)
        self._of_plugin[newcomer.plugin] = tokens
        while len(tokens) > self._kept:
            del self._by_token[tokens.popleft()]
        if len(self._of_plugin) > PLUGINS_REMEMBERED:
            for token in self._of_plugin.pop(next(iter(self._of_plugin))):
                del self._by_token[token]
        return switched

    def _next_token(self, day: str) -> str:
        # A clock set back finds its day again only by number, so that no token of it comes twice.
        if day > self._day:
            self._day, self._today = day, 0
        self._today += 1
        return f"hmr-{self._day}-{self._today:03d}"

    def find(self, token: str) -> Switched | None:
        """Return the switch that yielded `token`, while it is kept."""
        return self._by_token.get(token)

    def newest_first(self) -> Sequence[Switched]:
        """Return every switch that is kept, the newest first."""
        return list(reversed(self._by_token.values()))

    def way_back(self, plugin: str) -> str | None:
        """Return the token of the plugin's latest switch that can be taken back, or None."""
        tokens = reversed(self._of_plugin.get(plugin, ()))
        return next((token for token in tokens if self._by_token[token].previous is not None), None)


def describe(switched: Switched) -> dict[str, Any]:
    """Return a switch as plain data, without the source it can go back to; `previous_hash` names that."""
    return {
        "token": switched.token,
        "plugin": switched.plugin,
        "at": switched.at,
        "action": switched.action,
        "generation": switched.number,
        "version": switched.version,
        "hash": switched.hash,
        "previous_hash": switched.previous.hash if switched.previous is not None else None,
        "reversible": switched.previous is not None,
    }
