"""`Socket`: a conversation of typed messages, as the handler of a `@p.socket` door sees it; transport-free.

The hub implements it over WebSocket. It decodes, words its refusals, bounds, pings and closes; a handler sees values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

R = TypeVar("R", covariant=True)
S = TypeVar("S", contravariant=True)


class Socket(Protocol[R, S]):
    """An open socket: `Socket[Incoming, Outgoing]` names the types of its messages, each JSON in one text message.

    `async for message in socket` ends when the client leaves. A message that does not fit `Incoming` never arrives: the
    client is told with a `SocketError` of code `BAD_INPUT`, and the socket goes on. When the function returns, the
    socket is closed; when the client leaves, a function that still runs is cancelled after `[hub] socket_close_s`.
    """

    def __aiter__(self) -> AsyncIterator[R]:
        """Yield the client's messages in order until the client or the hub ends the socket."""
        ...

    async def receive(self) -> R:
        """Return the client's next message; raise `Gone` when there is none any more."""
        ...

    async def send(self, value: S) -> None:
        """Send one message, waiting while the client is behind; raise `Gone` when the client has left."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket: 1000 for a normal end, 4000 to 4999 for ends of one's own; `reason` is a short text."""
        ...

    async def follow(
        self, topics: Sequence[str], *, since: int | None = None, opening: Callable[[int], S] | None = None
    ) -> int:
        """Let the hub send events of the bus as `SocketEvent`, without the handler, besides what is followed already.

        First goes what `opening(position)` returns; then, if `since` is given, a `SocketGap` when some of what came
        after that number is no longer kept, and the rest of it; then live events. An event that fits several of the
        socket's topics comes once. A client that reads too slowly is cut with `SLOW_CONSUMER` and the number to resume
        from. Returns the position: the number of the newest event at the time. `BadInput` for a malformed topic.
        """
        ...

    async def unfollow(self, topics: Sequence[str]) -> list[str]:
        """Send events of these topics no longer; return those that were followed."""
        ...

    @property
    def following(self) -> Sequence[str]:
        """The topics that are followed."""
        ...


class SocketEvent(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """An event of the bus on a socket: `seq` is the number to resume after, `time` ISO-8601 in UTC."""

    seq: int
    topic: str
    time: str
    data: Any
    source: str
    trace: str


class SocketGap(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """Some events after `since` are no longer kept; what is left of them follows."""

    topics: tuple[str, ...]
    since: int
    message: str


class SocketError(msgspec.Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """What was wrong with a message, or why the socket ends.

    `id` is that of the message it answers, `resume` the number to resume after where events were followed.
    """

    code: str
    message: str
    details: dict[str, Any] = {}
    error_id: str = ""
    resume: int | None = None
    id: str | int | None = None
