"""Memory beside bare sqlite3: storing entries, and recalling them by words among 100,000.

One line per measure: name, ours and peer in milliseconds per call, the ratio, and the goal. Variants are interleaved
and the ratio is the median over the rounds of ours divided by the peer of the same round. "Ours" goes the whole way: a
call of the service, through the gate, to decoded entries. The peer is the statement one would write by hand on the same
rows, in the same thread, with its documents decoded.

    python -m benchmarks.memory [ENTRIES]
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.interleaved import HEAD, Timed, compare
from kernel import Caller, Kernel
from kernel.testing import ALLOW_ALL, running_kernel

ENTRIES = 100_000
OWNER = "user:ada"
VOCABULARY = 20_000

BARE = (
    "SELECT r.* FROM memory__fts JOIN memory__records r ON r.seq = memory__fts.rowid "
    "WHERE memory__fts MATCH ? AND r.owner = ? ORDER BY rank LIMIT 20"
)
SIMPLEST = "SELECT rowid FROM memory__fts WHERE memory__fts MATCH ? ORDER BY rank LIMIT 20"


def fill(entries: int, tx: Any) -> None:
    """Write so many entries of 12 to 28 words, whose frequencies fall as those of a language do."""
    draw = random.Random(7)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    for start in range(0, entries, 10_000):
        rows, texts = [], []
        for seq in range(start + 1, min(start + 10_000, entries) + 1):
            picked = draw.choices(range(VOCABULARY), cum_weights=weights, k=draw.randint(12, 28))
            text = " ".join(f"w{word}" for word in picked)
            document = msgspec.json.encode({"content": text, "tags": [], "source": OWNER}).decode()
            rows.append((seq, OWNER, f"id{seq}", float(seq), float(seq), document))
            texts.append((seq, text))
        tx.executemany(
            "INSERT INTO memory__records (seq, owner, id, created_at, updated_at, document) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        tx.executemany("INSERT INTO memory__fts (rowid, text) VALUES (?, ?)", texts)


def recalled(memory: Any, queries: list[str]) -> Timed:
    """Recall by each query through the service."""

    async def timed() -> float:
        start = time.perf_counter()
        for query in queries:
            await memory.recall(query)
        return (time.perf_counter() - start) / len(queries) * 1e3

    return timed


def bare(path: Path, sql: str, queries: list[str]) -> Timed:
    """Run each query as the statement by hand."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    more = [OWNER] if "owner" in sql else []

    async def timed() -> float:
        start = time.perf_counter()
        for query in queries:
            rows = connection.execute(sql, [query.replace(" ", " OR "), *more]).fetchall()
            if more:
                [msgspec.json.decode(row[-1]) for row in rows]
        return (time.perf_counter() - start) / len(queries) * 1e3

    return timed


def stored(memory: Any, callers: int, each: int) -> Timed:
    """Store through the service, from so many callers."""

    async def caller() -> None:
        for _ in range(each):
            await memory.store("a cup of tea at four in the afternoon", tags=["tea"])

    async def timed() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return (time.perf_counter() - start) / (callers * each) * 1e3

    return timed


def inserted(path: Path, count: int) -> Timed:
    """The same three inserts by hand, a commit each, durable like ours."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, owner, id, created_at, updated_at, document)")
    connection.execute("CREATE UNIQUE INDEX by_id ON records (owner, id)")
    connection.execute("CREATE TABLE tags (owner, tag, seq, PRIMARY KEY (owner, tag, seq)) WITHOUT ROWID")
    connection.execute("CREATE VIRTUAL TABLE fts USING fts5 (text)")
    numbers = itertools.count(1)

    async def timed() -> float:
        text = "a cup of tea at four in the afternoon"
        start = time.perf_counter()
        for seq in itertools.islice(numbers, count):
            connection.execute("BEGIN IMMEDIATE")
            document = msgspec.json.encode({"content": text, "tags": ["tea"]}).decode()
            connection.execute("INSERT INTO records VALUES (?, ?, ?, 0, 0, ?)", (seq, OWNER, f"id{seq}", document))
            connection.execute("INSERT INTO fts (rowid, text) VALUES (?, ?)", (seq, text))
            connection.execute("INSERT INTO tags VALUES (?, 'tea', ?)", (OWNER, seq))
            connection.execute("COMMIT")
        return (time.perf_counter() - start) / count * 1e3

    return timed


async def measure(kernel: Kernel) -> None:
    """Print one line for each kind of query, and two for storing."""
    path = kernel.config.paths.database
    memory = kernel.context(Caller(OWNER)).service("memory")
    for name, queries, goal in (
        ("1 rare word", [f"w{n}" for n in range(5_000, 5_020)], "<= 1.3x"),
        ("2 rare words", [f"w{n} w{n + 900}" for n in range(5_000, 5_020)], "<= 1.3x"),
        ("3 middling words", [f"w{n} w{n + 50} w{n + 90}" for n in range(300, 305)], "-"),
        ("1 very common word", ["w0"], "<= 0.25x"),
        ("common, middling and rare word", ["w0 w400 w6000"], "<= 0.25x"),
    ):
        await compare(
            f"recall, {name} / by hand", recalled(memory, queries), bare(path, BARE, queries), "ms", goal=goal
        )
        if goal == "<= 1.3x":
            simplest = bare(path, SIMPLEST, queries)
            await compare(f"recall, {name} / bare MATCH, ids only", recalled(memory, queries), simplest, "ms")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        by_hand = inserted(Path(folder) / "peer.db", 100)
        await compare("store, 64 callers / by hand, 1 caller", stored(memory, 64, 8), by_hand, "ms")
        await compare("store, 1 caller / by hand", stored(memory, 1, 100), by_hand, "ms")


async def main(entries: int) -> None:
    """Fill a memory and measure it."""
    with tempfile.TemporaryDirectory() as home:
        async with running_kernel(Path(home), plugins={"allow_all": ALLOW_ALL}, bundled=["memory"]) as kernel:
            kernel.store._item_s = 600.0  # filling is one write, which no plugin's may be
            await kernel.store.write(partial(fill, entries), namespace="memory")
            print(f"{entries:,} entries")
            print(HEAD)
            await measure(kernel)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES))
