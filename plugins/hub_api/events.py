"""The event bus as a stream, and as a socket on which topics come and go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from kernel import (
    AetherraError,
    BadInput,
    Context,
    EventStream,
    Plugin,
    Socket,
    SocketError,
    SocketEvent,
    SocketGap,
)

PATTERNS_MOST = 32

SPANS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Since = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,18}|[0-9]{1,9}[smhd])$", max_length=18)]
"""Where a stream begins: after an event, by its number, or a span of time ago."""

Topics = Annotated[list[str], msgspec.Meta(min_length=1, max_length=PATTERNS_MOST)]


class Message(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag=str.lower):
    """A message of the client; what it gives as `id` comes back in the answer."""

    id: str | int | None = None


class Subscribe(Message):
    """Send events of these topics from now on, or all after the number `since`: `*` is one word, `#` the rest."""

    topics: Topics
    since: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Unsubscribe(Message):
    """Send events of these topics no longer."""

    topics: Topics


class Ping(Message):
    """Ask whether the hub is there."""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """An answer to a message of the client."""

    id: str | int | None = None


class Subscribed(Answer):
    """These topics are followed; `position` is the number of the newest event then. Events follow, older ones first."""

    topics: list[str]
    position: int


class Unsubscribed(Answer):
    """These topics were followed, and are no longer."""

    topics: list[str]


class Pong(Answer):
    """The hub is there."""


Incoming = Subscribe | Unsubscribe | Ping
Outgoing = Subscribed | Unsubscribed | Pong | SocketEvent | SocketGap | SocketError


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.get("/api/events", needs="event:read:own", raises=())(events)
    p.socket("/api/events/ws", needs="event:read:own", effect="read", stateless=True, raises=())(events_socket)


async def events(ctx: Context, topics: str = "module.*", since: Since | None = None) -> EventStream:
    """Stream events as they happen (SSE): `topics` is a comma-separated list of patterns, `*` one word, `#` the rest.

    A client that comes back with `Last-Event-ID` gets what it missed, and an event `stream.gap` where some of it may be
    gone; `since` asks for the same with the number of an event, or with a span of time such as `10m`, `2h` or `7d`.
    Each pattern needs the right `event:read` on it.
    """
    patterns = tuple(dict.fromkeys(filter(None, (t.strip() for t in topics.split(",")))))
    if not patterns or len(patterns) > PATTERNS_MOST:
        raise BadInput(f"topics: expected 1 to {PATTERNS_MOST} patterns separated by commas, got {len(patterns)}")
    await _allowed(ctx, patterns)
    return EventStream(topics=patterns, since=None if since is None else await number(ctx, since))


async def number(ctx: Context, since: str) -> int:
    """Return the number of the event after which a stream begins, given as such or as a span of time."""
    if since.isdecimal():
        return int(since)
    return await ctx.position_at(ctx.clock.now() - int(since[:-1]) * SPANS[since[-1]])


async def events_socket(ctx: Context, socket: Socket[Incoming, Outgoing]) -> None:
    """Send events as they happen over a WebSocket; the client says which topics, and changes them as it likes.

    `{"type":"subscribe","topics":["job.*"],"since":17}` is answered by `subscribed`, by a `gap` when some of what came
    after 17 is no longer kept, by the events since, and by live ones, each once. Each pattern needs the right
    `event:read` on it; a socket has 32 at most. A refused message is answered by an `error`, and the socket goes on.
    """
    async for message in socket:
        try:
            await _handle(ctx, socket, message)
        except AetherraError as error:
            await socket.send(SocketError(error.code, error.message, error.details, id=message.id))


async def _handle(ctx: Context, socket: Socket[Incoming, Outgoing], message: Incoming) -> None:
    match message:
        case Subscribe(topics=asked, since=since, id=given):
            topics = list(dict.fromkeys(asked))
            if len({*topics, *socket.following}) > PATTERNS_MOST:
                raise BadInput(
                    f"a socket follows {PATTERNS_MOST} topics at most: unsubscribe from some, or use a wider pattern"
                )
            await _allowed(ctx, topics)
            await socket.follow(
                topics, since=since, opening=lambda at: Subscribed(topics=topics, position=at, id=given)
            )
        case Unsubscribe(topics=asked, id=given):
            await socket.send(Unsubscribed(topics=await socket.unfollow(asked), id=given))
        case Ping(id=given):
            await socket.send(Pong(id=given))


async def _allowed(ctx: Context, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        await ctx.require("event:read", pattern.replace("#", "*"))
