"""Events that wait for a commit: what a write hands over, and what the store asks of the log that keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

from kernel.bus import Delivery
from kernel.events import Event


class Draft:
    """An event that waits for its commit. `blob` is its data as it is kept, or None for one that is only numbered."""

    __slots__ = ("answer", "blob", "data", "delivery", "event", "source", "topic", "trace", "waited")

    def __init__(self, topic: str, data: Any, blob: bytes | None, source: str, trace: str) -> None:
        self.topic = topic
        self.data = data
        self.blob = blob
        self.source = source
        self.trace = trace
        self.answer: tuple[str, str, str] | None = None
        """(owner, key, digest) of the request that it answers."""
        self.waited = False
        self.event: Event | None = None
        self.delivery: Delivery | None = None


class Outbox(Protocol):
    """The log of durable events, as a store has it."""

    @property
    def tables(self) -> Sequence[str]:
        """Statements that make its tables where they are not there yet."""
        ...

    def keeps(self, topic: str) -> bool:
        """Tell whether the topic is durable; from any thread."""
        ...

    def draft(self, topic: str, data: Any, source: str, trace: str) -> Draft:
        """Return the event as it will be kept, or raise why it cannot be; from any thread."""
        ...

    def write(self, connection: sqlite3.Connection, drafts: Sequence[Draft]) -> None:
        """In the writer's thread, last before the commit: number the events and write their rows."""
        ...

    def undone(self) -> None:
        """In the writer's thread: what was written last is not committed after all."""
        ...

    def deliver(self, drafts: Sequence[Draft]) -> None:
        """On the loop, after the commit: publish the events."""
        ...
