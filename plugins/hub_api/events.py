"""The event bus as a stream."""

from __future__ import annotations

from kernel import BadInput, Context, EventStream, Plugin

PATTERNS_MOST = 32


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.get("/api/events", needs="event:read:own", raises=())(events)


async def events(ctx: Context, topics: str = "module.*") -> EventStream:
    """Stream events as they happen (SSE): `topics` is a comma-separated list of patterns, `*` one word, `#` the rest.

    A client that comes back with `Last-Event-ID` gets what it missed, or an event `stream.gap` when that is gone.
    Each pattern needs the right `event:read` on it.
    """
    patterns = tuple(dict.fromkeys(filter(None, (t.strip() for t in topics.split(",")))))
    if not patterns or len(patterns) > PATTERNS_MOST:
        raise BadInput(f"topics: expected 1 to {PATTERNS_MOST} patterns separated by commas, got {len(patterns)}")
    for pattern in patterns:
        await ctx.require("event:read", pattern.replace("#", "*"))
    return EventStream(topics=patterns)
