"""Durable inserts and point reads beside bare sqlite3 on the same disk, with the same pragmas.

One line per measure: name, ours and peer per second, their ratio, floor and goal. Variants are interleaved and the
ratio is the median over the rounds of ours divided by the peer of the same round.

    python -m benchmarks.store
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks.interleaved import HEAD, Timed, compare
from kernel.clock import SystemClock
from kernel.store import Store
from kernel.transaction import Tx

INSERT = "INSERT INTO bench__rows (name, body) VALUES (?, ?)"
BODY = "x" * 100


def through_the_store(store: Store, callers: int, rows: int, *, effects: bool = False) -> Timed:
    """Measure rows a second that so many callers insert, each waiting for its commit."""
    counter = iter(range(10**9))

    def insert(tx: Tx) -> int:
        return tx.execute(INSERT, ("name", BODY)).lastrowid or 0

    async def caller(count: int) -> None:
        for _ in range(count):
            await store.write(insert, namespace="bench", effect=("bench", next(counter)) if effects else None)

    async def timed() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(caller(rows // callers) for _ in range(callers)))
        return rows // callers * callers / (time.perf_counter() - start)

    return timed


def direct(connection: sqlite3.Connection, rows: int, per_commit: int = 1) -> Timed:
    """Measure the peer: rows a second through a connection of its own."""

    async def timed() -> float:
        start = time.perf_counter()
        for _ in range(rows // per_commit):
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(per_commit):
                connection.execute(INSERT, ("name", BODY))
            connection.execute("COMMIT")
        return rows // per_commit * per_commit / (time.perf_counter() - start)

    return timed


def point_reads(store: Store, reads: int) -> Timed:
    """Measure reads of one row a second."""

    async def timed() -> float:
        start = time.perf_counter()
        for number in range(reads):
            store.one("bench", "SELECT name, body FROM bench__rows WHERE id = ?", (number % 100 + 1,))
        return reads / (time.perf_counter() - start)

    return timed


def bare_reads(connection: sqlite3.Connection, reads: int) -> Timed:
    """Measure the peer: the same reads through a connection of its own."""

    async def timed() -> float:
        start = time.perf_counter()
        for number in range(reads):
            sql = "SELECT name, body FROM bench__rows WHERE id = ?"
            connection.execute(sql, (number % 100 + 1,)).fetchone()
        return reads / (time.perf_counter() - start)

    return timed


async def main() -> None:
    """Run all measures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = Store(Path(folder) / "ours.db", clock=SystemClock())
        await store.open()
        table = "CREATE TABLE bench__rows (id INTEGER PRIMARY KEY, name TEXT, body TEXT);"
        await store.migrate("bench", [(1, "rows", table)])
        bare = sqlite3.connect(Path(folder) / "peer.db", isolation_level=None, cached_statements=512)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON", table):
            bare.execute(statement)
        print(HEAD)
        one = direct(bare, 300)
        alone, many = through_the_store(store, 1, 300), through_the_store(store, 64, 3200)
        await compare("durable insert, 1 caller / direct", alone, one, "/s", floor=">= 0.45x", goal=">= 0.45x")
        await compare("durable insert, 64 callers / direct", many, one, "/s", floor=">= 4x", goal=">= 6x")
        hundred = direct(bare, 10_000, 100)
        await compare("durable insert, 64 callers / 100 per commit", many, hundred, "/s", goal=">= 0.3x")
        with_effects = through_the_store(store, 64, 3200, effects=True)
        await compare("the same with an effect row / direct", with_effects, one, "/s")
        await compare(
            "point read / bare sqlite3", point_reads(store, 5000), bare_reads(bare, 5000), "/s", goal=">= 0.5x"
        )
        stats = store.stats()
        p50, p95 = stats.commit_p50_ms, stats.commit_p95_ms
        print(f"mean group {stats.group_mean:.1f}, commit p50 {p50:.2f} ms, p95 {p95:.2f} ms")
        await store.close()
        bare.close()


if __name__ == "__main__":
    asyncio.run(main())
