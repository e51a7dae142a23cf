"""The event bus beside a raw loop of awaited handlers, asyncio.Queue and itself with many patterns.

One line per measure: name, ours and peer in nanoseconds per event, their ratio, floor and goal. Variants are
interleaved and the ratio is the median over the rounds of ours divided by the peer of the same round.

    python -m benchmarks.bus
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.interleaved import HEAD, Timed, compare
from kernel.bus import Bus
from kernel.clock import SystemClock
from kernel.events import Event

TOPIC = "job.finished"


class Counter:
    """A handler that does next to nothing, the same for ours and the peers."""

    def __init__(self) -> None:
        self.seen = 0

    async def awaited(self, event: Event) -> None:
        """Count it, as an async listener."""
        self.seen += 1

    def called(self, event: Event) -> None:
        """Count it, as a synchronous listener."""
        self.seen += 1


def raw_async(subscribers: int, events: int) -> Timed:
    """Measure the peer: ns an event, each handler called in a loop."""
    handlers = [Counter().awaited for _ in range(subscribers)]

    async def timed() -> float:
        start = time.perf_counter()
        for seq in range(events):
            event = Event(seq, TOPIC, time.time(), None)
            for handler in handlers:
                await handler(event)
        return (time.perf_counter() - start) / events * 1e9

    return timed


def published(subscribers: int, events: int, patterns: int = 0) -> Timed:
    """Measure ns an event that is published to async listeners, beside others whose patterns do not fit."""
    bus = Bus(SystemClock())
    for index in range(subscribers):
        bus.listen("job.*", Counter().awaited, name=f"counter {index}")
    for index in range(patterns):
        bus.listen(f"other{index}.*", Counter().awaited, name=f"other {index}")

    async def timed() -> float:
        start = time.perf_counter()
        for _ in range(events):
            await bus.publish(TOPIC)
        return (time.perf_counter() - start) / events * 1e9

    return timed


def emitted(subscribers: int, events: int) -> Timed:
    """Measure ns an event that is emitted to synchronous listeners."""
    bus = Bus(SystemClock())
    for index in range(subscribers):
        bus.listen("job.*", Counter().called, name=f"counter {index}")

    async def timed() -> float:
        start = time.perf_counter()
        for _ in range(events):
            bus.emit(TOPIC)
        return (time.perf_counter() - start) / events * 1e9

    return timed


BURST = 64


def queued(subscribers: int, events: int, *, emit: bool = False) -> Timed:
    """Measure ns an event, from publishing in bursts until every subscriber has read it."""

    async def timed() -> float:
        bus = Bus(SystemClock())
        subscriptions = [bus.subscribe("job.*", name=f"reader {index}") for index in range(subscribers)]

        async def read(index: int) -> None:
            seen = 0
            while batch := await subscriptions[index].batch():
                for _ in batch:
                    seen += 1

        readers = [asyncio.create_task(read(index)) for index in range(subscribers)]
        await asyncio.sleep(0)
        start = time.perf_counter()
        for _ in range(events // BURST):
            for _ in range(BURST):
                if emit:
                    bus.emit(TOPIC)
                else:
                    await bus.publish(TOPIC)
            await asyncio.sleep(0)
        while bus.stats().pending:  # noqa: ASYNC110 - one turn of the loop is all it takes, and is what is timed
            await asyncio.sleep(0)
        taken = (time.perf_counter() - start) / (events // BURST * BURST) * 1e9
        await bus.close()
        await asyncio.gather(*readers)
        if any(subscription.dropped for subscription in subscriptions):
            raise SystemExit("a queued subscriber lost events; the measure does not count")
        return taken

    return timed


def asyncio_queues(subscribers: int, events: int) -> Timed:
    """Measure the peer: the same through one asyncio.Queue for each subscriber."""

    async def timed() -> float:
        queues: list[asyncio.Queue[Event | None]] = [asyncio.Queue(512) for _ in range(subscribers)]

        async def read(queue: asyncio.Queue[Event | None]) -> None:
            seen = 0
            while await queue.get() is not None:
                seen += 1

        readers = [asyncio.create_task(read(queue)) for queue in queues]
        await asyncio.sleep(0)
        start = time.perf_counter()
        for seq in range(events // BURST * BURST):
            event = Event(seq, TOPIC, time.time(), None)
            for queue in queues:
                await queue.put(event)
            if seq % BURST == BURST - 1:
                await asyncio.sleep(0)
        while any(queue.qsize() for queue in queues):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        taken = (time.perf_counter() - start) / (events // BURST * BURST) * 1e9
        for queue in queues:
            await queue.put(None)
        await asyncio.gather(*readers)
        return taken

    return timed


async def main() -> None:
    """Run all measures."""
    print(HEAD)
    for subscribers, events, floor, goal in (
        (1, 30_000, "<= 2.2x", "<= 1.8x"),
        (10, 6_000, "-", "<= 1.15x"),
        (100, 800, "<= 1.2x", "<= 1.15x"),
    ):
        name = f"publish, {subscribers} async / raw loop"
        await compare(
            name, published(subscribers, events), raw_async(subscribers, events), "ns", floor=floor, goal=goal
        )
    await compare("emit, 1 sync / raw async loop", emitted(1, 30_000), raw_async(1, 30_000), "ns", goal="<= 1.15x")
    for subscribers, events, over_queue in ((1, 25_600, "<= 0.5x"), (10, 6_400, "<= 0.25x"), (100, 1_280, "<= 0.25x")):
        for how, ours in (
            ("emit", queued(subscribers, events, emit=True)),
            ("publish", queued(subscribers, events)),
        ):
            name = f"{how}, {subscribers} queued"
            await compare(f"{name} / raw loop", ours, raw_async(subscribers, events), "ns", goal="<= 1.4x")
            peer = asyncio_queues(subscribers, events)
            await compare(f"{name} / asyncio.Queue", ours, peer, "ns", floor="<= 0.5x", goal=over_queue)
    await compare("publish, 1000 patterns / 1", published(1, 30_000, 1000), published(1, 30_000), "ns", goal="<= 1.1x")


if __name__ == "__main__":
    asyncio.run(main())
