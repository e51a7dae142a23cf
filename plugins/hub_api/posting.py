"""Events that a client publishes."""

from __future__ import annotations

from typing import Any

import msgspec

from kernel import Conflict, Context, Overloaded, Plugin, Reply, StorageFull, TooLarge


class Posted(msgspec.Struct):
    """The event: `seq` is its number, after which a stream resumes, and `durable` whether it is kept."""

    seq: int
    topic: str
    durable: bool


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.post(
        "/api/events",
        needs="event:emit:own",
        effect="deferred",
        status=201,
        keyed=True,
        raises=(Conflict, TooLarge, StorageFull, Overloaded),
    )(post_event)


async def post_event(ctx: Context, topic: str, data: Any = None) -> Reply[Posted]:
    """Publish an event with the caller's right `event:emit` on its topic; topics of plugins and the hub are theirs.

    On a durable topic the answer means that the event is committed. With an `Idempotency-Key` the same request is
    answered with the first answer for 24 hours, and not published again.
    """
    published = await ctx.publish_once(topic, data, key=ctx.idempotency_key)
    headers = {"Idempotency-Replayed": "true"} if published.replayed else {}
    return Reply(Posted(published.seq, published.topic, published.durable), status=201, headers=headers)
