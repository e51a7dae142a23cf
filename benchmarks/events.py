"""Durable events beside bare SQLite: how fast they are published, and how fast the past is read again.

A durable publish is a committed row with `synchronous=FULL`, so its peer is a bare insert that commits each row the
same way. Variants alternate, and the ratio is the median over the rounds.

    python -m benchmarks.events
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.interleaved import HEAD, Timed, compare
from kernel.bus import Bus
from kernel.clock import SystemClock
from kernel.event_log import EventLog
from kernel.settings import EventSettings
from kernel.store import Store

DATA = {"text": "tea", "owner": "user:ada", "tags": ["a", "b"]}
PAST = 10_000


def published(bus: Bus, callers: int, events: int) -> Timed:
    """Measure durable events a second, published by so many callers at once."""

    async def timed() -> float:
        async def publish() -> None:
            for _ in range(events // callers):
                await bus.publish("user.note", DATA)

        start = time.perf_counter()
        await asyncio.gather(*(publish() for _ in range(callers)))
        return events / (time.perf_counter() - start)

    return timed


def bare_inserts(connection: sqlite3.Connection, rows: int) -> Timed:
    """Measure the peer: rows a second, each committed by itself."""

    async def timed() -> float:
        blob = msgspec.msgpack.encode(DATA)
        start = time.perf_counter()
        for _ in range(rows):
            connection.execute(
                "INSERT INTO events (topic, time, data, source, trace) VALUES (?, ?, ?, ?, ?)",
                ("user.note", time.time(), blob, "bench", ""),
            )
        return rows / (time.perf_counter() - start)

    return timed


def resumed(bus: Bus, since: int) -> Timed:
    """Measure the events a second that a client gets which comes back."""

    async def timed() -> float:
        start, count = time.perf_counter(), 0
        replay = bus.replay(since, ["user.#"])
        while not replay.near:
            count += len(await replay.page())
        count += len(replay.rest())
        taken = time.perf_counter() - start
        if count < PAST or replay.gap:
            raise SystemExit(f"resumed {count} of {PAST} events, gap {replay.gap}; the measure does not count")
        return count / taken

    return timed


def bare_select(path: Path, since: int) -> Timed:
    """Measure the peer: one query for all the rows, their data decoded."""

    async def timed() -> float:
        connection = sqlite3.connect(path)
        start = time.perf_counter()
        sql = "SELECT seq, topic, time, data, source, trace FROM kernel__events WHERE seq > ? ORDER BY seq"
        rows = connection.execute(sql, (since,)).fetchall()
        for row in rows:
            msgspec.msgpack.decode(row[3])
        taken = time.perf_counter() - start
        connection.close()
        return len(rows) / taken

    return timed


async def main() -> None:
    """Run all measures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path, clock = Path(folder) / "ours.db", SystemClock()
        bus = Bus(clock, ring=100)
        store = Store(path, clock=clock, bus=bus)
        log = EventLog(store, bus, clock, EventSettings(), 90)
        store.log = log
        await store.open()
        await log.open()
        await log.opened()
        since = bus.position
        bare = sqlite3.connect(Path(folder) / "peer.db", isolation_level=None, cached_statements=512)
        table = (
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, topic TEXT, time REAL, data BLOB, source TEXT, trace TEXT)"
        )
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", table):
            bare.execute(statement)
        print(HEAD)
        one = bare_inserts(bare, 300)
        await compare("durable publish, 1 caller / bare insert", published(bus, 1, 300), one, "/s")
        await compare("durable publish, 64 callers / bare insert", published(bus, 64, 3_200), one, "/s")
        while log.stats().kept < PAST:
            await asyncio.gather(*(bus.publish("user.note", DATA) for _ in range(500)))
        await compare(f"resume of {PAST} events / bare select", resumed(bus, since), bare_select(path, since), "/s")
        stats = store.stats()
        print(
            f"events kept {log.stats().kept}, commit p50 {stats.commit_p50_ms:.2f} ms, p95 {stats.commit_p95_ms:.2f} ms"
        )
        await log.close()
        await store.close()
        await bus.close()
        bare.close()


if __name__ == "__main__":
    asyncio.run(main())
