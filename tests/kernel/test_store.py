"""The store: durable, exactly once, each plugin within its own tables, and sound whatever happens to its callers."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.bus import Bus
from kernel.clock import SystemClock
from kernel.errors import (
    BadInput,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Denied,
    NotAvailable,
    Overloaded,
    ServiceUnavailable,
    StorageError,
    StorageFull,
    TooLarge,
)
from kernel.store import Store, StoreHandle
from kernel.testing import Recording
from kernel.transaction import Tx

ROWS = (1, "rows", "CREATE TABLE t__rows (id INTEGER PRIMARY KEY, x TEXT UNIQUE);")

VICTIM = """
import asyncio
import sys

from kernel.clock import SystemClock
from kernel.store import Store
from kernel.transaction import Tx


async def main(path: str) -> None:
    store = Store(path, clock=SystemClock(), group=4)
    await store.open()
    await store.migrate("t", [(1, "rows", "CREATE TABLE t__rows (id INTEGER PRIMARY KEY, x TEXT);")])
    print("ready", flush=True)

    async def write(number: int) -> None:
        def insert(tx: Tx) -> int:
            tx.execute("INSERT INTO t__rows (id, x) VALUES (?, 'x')", (number,))
            return number

        # Told at once: what was printed was acknowledged, whatever happens to this process next.
        print(await store.write(insert, namespace="t", effect=("victim", number)), flush=True)

    for start in range(0, 200, 8):
        await asyncio.gather(*(write(number) for number in range(start, start + 8)))
    await store.close()
    print("closed", flush=True)


asyncio.run(main(sys.argv[1]))
"""


def insert(x: Any) -> Callable[[Tx], int]:
    def inserting(tx: Tx) -> int:
        return tx.execute("INSERT INTO t__rows (x) VALUES (?)", (x,)).lastrowid or 0

    return inserting


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    clock = SystemClock()
    opened = Store(tmp_path / "hub.db", clock=clock, bus=Bus(clock))
    await opened.open()
    await opened.migrate("t", [ROWS])
    yield opened
    await opened.close()


def rows(store: Store) -> list[str]:
    return [row["x"] for row in store.all("t", "SELECT x FROM t__rows ORDER BY id")]


# -- writing


async def test_what_was_acknowledged_is_there_for_another_process(store: Store) -> None:
    assert await store.write(insert("tea"), namespace="t") == 1
    other = sqlite3.connect(store.path)
    assert other.execute("SELECT x FROM t__rows").fetchall() == [("tea",)]
    other.close()


async def test_the_file_is_in_wal_mode_with_full_sync_and_private(store: Store) -> None:
    assert store._writer is not None
    pragmas = {name: store._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "foreign_keys")}
    assert pragmas == {"synchronous": 2, "foreign_keys": 1}
    assert store._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.problem() is None


async def test_many_callers_share_a_commit(store: Store) -> None:
    before = store.stats()
    got = await asyncio.gather(*(store.write(insert(f"x{number}"), namespace="t") for number in range(300)))
    after = store.stats()
    assert sorted(got) == list(range(1, 301))
    assert after.writes - before.writes == 300
    assert after.groups - before.groups < 100
    assert after.queue == 0
    assert 0 < after.commit_p50_ms <= after.commit_p95_ms
    assert after.wal_bytes > 0


async def test_a_write_that_raises_undoes_itself_alone(store: Store) -> None:
    def breaks(tx: Tx) -> None:
        insert("half")(tx)
        raise ValueError("broken")

    results = await asyncio.gather(
        store.write(insert("before"), namespace="t"),
        store.write(breaks, namespace="t"),
        store.write(insert("before"), namespace="t"),
        store.write(insert("after"), namespace="t"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, ValueError, Conflict, int]
    assert rows(store) == ["before", "after"]
    with pytest.raises(ValueError, match="broken"):
        await store.write(breaks, namespace="t")
    assert rows(store) == ["before", "after"]


async def test_a_violated_constraint_is_a_conflict(store: Store) -> None:
    await store.write(insert("tea"), namespace="t")
    with pytest.raises(Conflict, match="UNIQUE"):
        await store.write(insert("tea"), namespace="t")


async def test_a_number_beyond_64_bits_is_bad_input_to_reads_and_writes(store: Store) -> None:
    sql = "SELECT x FROM t__rows WHERE id = ?"
    with pytest.raises(BadInput, match=r"2\^63"):
        store.one("t", sql, (2**63,))
    with pytest.raises(BadInput, match=r"2\^63"):
        await store.query("t", sql, (-(2**63) - 1,))
    with pytest.raises(BadInput, match=r"2\^63"):
        await store.write(lambda tx: tx.execute("INSERT INTO t__rows (id) VALUES (?)", (2**64,)), namespace="t")
    assert store.one("t", sql, (2**63 - 1,)) is None


async def test_a_write_does_not_stay_in_memory_until_the_next_one(store: Store) -> None:
    def insert(tx: Tx) -> None:
        tx.execute("INSERT INTO t__rows (x) VALUES ('a')")

    held = weakref.ref(insert)
    await store.write(insert, namespace="t")
    del insert
    async with asyncio.timeout(5):  # the writer's thread lets go of it right after it has told of the commit
        while held() is not None:
            await asyncio.sleep(0)


async def test_events_are_published_after_the_commit_and_only_then(store: Store) -> None:
    assert store._bus is not None
    there: list[int] = []
    store._bus.listen("t.stored", lambda event: there.append(len(rows(store))), name="reader")

    def writing(tx: Tx) -> None:
        insert("tea")(tx)
        tx.publish("t.stored", {"x": "tea"})
        assert there == []

    def breaking(tx: Tx) -> None:
        tx.publish("t.lost")
        raise ValueError("broken")

    with Recording(store._bus, "t.#") as recording:
        await store.write(writing, namespace="t", trace="t-1")
        with pytest.raises(ValueError, match="broken"):
            await store.write(breaking, namespace="t")
        with pytest.raises(BadInput, match="topic"):
            await store.write(lambda tx: tx.publish("not a topic"), namespace="t")
    assert recording.topics == ["t.stored"]
    assert (recording.events[0].source, recording.events[0].trace) == ("t", "t-1")
    assert there == [1]


async def test_a_transaction_is_useless_after_its_write(store: Store) -> None:
    kept: list[Tx] = []
    await store.write(kept.append, namespace="t")
    with pytest.raises(RuntimeError, match="after its write"):
        kept[0].execute("SELECT 1")


async def test_an_async_write_is_refused(store: Store) -> None:
    async def wrong(tx: Tx) -> None: ...

    with pytest.raises(BadInput, match="plain function"):
        await store.write(wrong, namespace="t")


async def test_a_full_queue_is_overloaded(tmp_path: Path) -> None:
    store, release, entered = (
        Store(tmp_path / "hub.db", clock=SystemClock(), queue=2),
        threading.Event(),
        threading.Event(),
    )
    await store.open()

    def blocks(tx: Tx) -> None:
        entered.set()
        release.wait(30)

    waiting = [asyncio.create_task(store.write(blocks, namespace="t")) for _ in range(2)]
    await asyncio.to_thread(entered.wait, 30)
    with pytest.raises(Overloaded, match="2 writes") as caught:
        await store.write(blocks, namespace="t")
    assert caught.value.retry_after_s
    release.set()
    await asyncio.gather(*waiting)
    await store.close()


async def test_a_cancelled_caller_leaves_no_transaction_open_and_the_next_write_is_quick(store: Store) -> None:
    chance = random.Random(7)
    done: set[str] = set()
    for turn in range(60):
        tasks = [asyncio.create_task(store.write(insert(f"{turn}.{number}"), namespace="t")) for number in range(4)]
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        for task in tasks:
            if chance.random() < 0.6:
                task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        done |= {f"{turn}.{number}" for number, result in enumerate(ended) if isinstance(result, int)}
        start = time.monotonic()
        await store.write(insert(f"next {turn}"), namespace="t")
        assert time.monotonic() - start <= 0.1
        assert store._writer is not None
        assert not store._writer.in_transaction
    assert done <= set(rows(store))
    assert store.stats().queue == 0


async def test_a_write_cancelled_before_its_turn_does_not_happen(store: Store) -> None:
    release, entered = threading.Event(), threading.Event()

    def blocks(tx: Tx) -> None:
        entered.set()
        release.wait(30)

    first = asyncio.create_task(store.write(blocks, namespace="t"))
    await asyncio.to_thread(entered.wait, 30)
    second = asyncio.create_task(store.write(insert("never"), namespace="t"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    release.set()
    await first
    await store.write(insert("after"), namespace="t")
    assert rows(store) == ["after"]


async def test_when_the_whole_transaction_is_undone_nothing_of_it_is_acknowledged(store: Store) -> None:
    release, entered = threading.Event(), threading.Event()

    def blocks(tx: Tx) -> None:
        entered.set()
        release.wait(30)

    first = asyncio.create_task(store.write(blocks, namespace="t"))
    await asyncio.to_thread(entered.wait, 30)

    # What SQLite does by itself on some errors: the transaction of the group is gone.
    def telling(word: str) -> Callable[[Tx], int]:
        def write(tx: Tx) -> int:
            tx.publish(f"t.{word}")
            return int(insert(word)(tx))

        return write

    group = [
        asyncio.create_task(store.write(fn, namespace="t"))
        for fn in (telling("before"), lambda tx: tx._connection.execute("ROLLBACK"), telling("after"))
    ]
    assert store._bus is not None
    with Recording(store._bus, "t.#") as told:
        await asyncio.sleep(0)
        release.set()
        await first
        results = await asyncio.gather(*group, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError, StorageError, int]
    assert rows(store) == ["after"]
    assert told.topics == ["t.after"]


# -- effects


async def test_an_effect_executed_again_gets_its_stored_result_and_does_not_run(store: Store) -> None:
    calls: list[int] = []

    def effect(tx: Tx) -> dict[str, Any]:
        calls.append(1)
        return {"id": insert("tea")(tx), "pair": (1, 2), "row": tx.one("SELECT x FROM t__rows")}

    first = await store.write(effect, namespace="t", effect=("job:0:1", 0))
    again = await store.write(effect, namespace="t", effect=("job:0:1", 0))
    assert first == again == {"id": 1, "pair": [1, 2], "row": {"x": "tea"}}
    assert len(calls) == 1
    assert rows(store) == ["tea"]


async def test_another_effect_under_the_same_key_is_a_conflict(store: Store) -> None:
    def other(tx: Tx) -> int:
        return insert("coffee")(tx)

    await store.write(insert("tea"), namespace="t", effect=("job:0:1", 0))
    for fn, effect in ((other, ("job:0:1", 0)), (insert("tea"), ("job:0:1", 0, "another hash"))):
        with pytest.raises(Conflict, match="not the one it was") as caught:
            await store.write(fn, namespace="t", effect=effect)
        assert caught.value.code == "EFFECT_CHANGED"
    await store.write(other, namespace="t", effect=("job:0:1", 1))
    assert rows(store) == ["tea", "coffee"]


async def test_an_effect_that_failed_left_nothing_and_may_be_tried_again(store: Store) -> None:
    fail = [True]

    def effect(tx: Tx) -> str:
        insert("tea")(tx)
        if fail:
            raise ValueError("not yet")
        return "done"

    with pytest.raises(ValueError, match="not yet"):
        await store.write(effect, namespace="t", effect=("k", 0))
    fail.clear()
    assert await store.write(effect, namespace="t", effect=("k", 0)) == "done"


async def test_an_effect_with_a_result_that_is_not_plain_or_too_large_is_undone(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.db", clock=SystemClock(), effect_bytes=100)
    await store.open()
    await store.migrate("t", [ROWS])
    for result, expected in ((object(), BadInput), ("x" * 200, TooLarge)):
        with pytest.raises(expected):
            await store.write(lambda tx, r=result: (insert("tea")(tx), r)[1], namespace="t", effect=("k", 0))
    assert rows(store) == []
    await store.close()


async def test_effects_are_forgotten_by_prefix(store: Store) -> None:
    for key in ("job1:0:1", "job1:0:2", "job2:0:1"):
        await store.write(insert(key), namespace="t", effect=(key, 0))
    assert await store.forget_effects("job1:", batch=1) == 1
    assert await store.forget_effects("job1:") == 1
    assert await store.write(insert("job2:0:1"), namespace="t", effect=("job2:0:1", 0)) == 3


# -- reading


async def test_reads_are_bounded_and_rows_answer_to_names(store: Store) -> None:
    await store.write(
        lambda tx: tx.executemany("INSERT INTO t__rows (x) VALUES (?)", [(n,) for n in range(20)]), namespace="t"
    )
    store.read_rows = 10
    assert store.one("t", "SELECT x FROM t__rows WHERE id = ?", (3,))["x"] == "2"  # type: ignore[index]
    assert store.one("t", "SELECT x FROM t__rows WHERE id = :id", {"id": 99}) is None
    assert len(store.all("t", "SELECT x FROM t__rows", limit=15)) == 15
    assert len(await store.query("t", "SELECT x FROM t__rows", limit=15)) == 15
    for reading in (lambda: store.all("t", "SELECT x FROM t__rows"),):
        with pytest.raises(TooLarge, match="10 rows"):
            reading()
    with pytest.raises(TooLarge, match="10 rows"):
        await store.query("t", "SELECT x FROM t__rows")
    with pytest.raises(TooLarge, match="10 rows"):
        await store.write(lambda tx: tx.all("SELECT x FROM t__rows"), namespace="t")


ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"


async def test_a_point_read_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.db", clock=SystemClock(), point_ms=20, item_s=0.1)
    await store.open()
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="query"):
        store.one("t", ENDLESS)
    with pytest.raises(DeadlineExceeded):
        await store.write(lambda tx: tx.one(ENDLESS), namespace="t")
    assert time.monotonic() - start < 5
    assert store.one("t", "SELECT 1")[0] == 1  # type: ignore[index]
    await store.close()


async def test_a_cancelled_long_read_is_stopped_and_the_next_ones_work(store: Store) -> None:
    for _ in range(3):
        reading = asyncio.create_task(store.query("t", ENDLESS))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert [row[0] for row in await store.query("t", "SELECT 1")] == [1]
    assert not store._long._busy


async def test_a_long_read_is_stopped_however_early_it_is_cancelled(store: Store) -> None:
    await store.query("t", "SELECT 1")  # a connection is open and idle
    for turns in range(60):
        reading = asyncio.create_task(store.query("t", ENDLESS))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        if turns % 20 == 19:
            await store.query("t", "SELECT 1")


# -- namespaces


async def test_readers_cannot_write_even_past_the_guard(store: Store) -> None:
    """Two connections that write are how a WAL gets damaged: there is one."""
    await store.query("t", "SELECT x FROM t__rows")  # opens a long reader
    assert store._reader is not None
    statement = "INSERT INTO t__rows (x) VALUES ('never')"
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._reader.execute(statement)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store._long._idle[0].execute(statement)
    assert rows(store) == []


@pytest.mark.parametrize("namespace", ["", "A", "1a", "a__b", "a_", "_a", "a-b", "a" * 65, "a.b"])
async def test_a_bad_namespace_is_refused(store: Store, namespace: str) -> None:
    for call in (lambda: store.one(namespace, "SELECT 1"), lambda: StoreHandle(store, namespace, lambda: None)):
        with pytest.raises(BadInput, match="namespace"):
            call()
    with pytest.raises(BadInput, match="namespace"):
        await store.write(lambda tx: None, namespace=namespace)


FOREIGN = [
    "SELECT x FROM other__rows",
    "SELECT count(*) FROM other__rows",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM OTHER__rows)",
    "WITH t__c AS (SELECT * FROM other__rows) SELECT * FROM t__c",
    "SELECT name FROM sqlite_master",
    "SELECT count(*) FROM sqlite_schema",
    "SELECT * FROM pragma_table_info('other__rows')",
    "SELECT * FROM kernel__effects",
    "SELECT load_extension('x')",
    "PRAGMA synchronous=OFF",
    "ATTACH 'x.db' AS x",
    "VACUUM INTO 'copy.db'",
    "/* SELECT */ VACUUM",
    "EXPLAIN SELECT 1",
    "",
]
FOREIGN_WRITES = [
    "INSERT INTO other__rows (x) VALUES (1)",
    "INSERT INTO t__rows (x) SELECT x FROM other__rows",
    "UPDATE other__rows SET x = 1",
    "DELETE FROM other__rows",
    "DELETE FROM sqlite_sequence",
    "UPDATE sqlite_master SET sql = ''",
    "INSERT OR ROLLBACK INTO t__rows (id) VALUES (1)",
    "CREATE TABLE t__more (x)",
    "CREATE TEMP TABLE t__more (x)",
    "DROP TABLE t__rows",
    "ALTER TABLE t__rows ADD COLUMN y",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE item",
    "REINDEX",
    "ANALYZE",
]


@pytest.mark.parametrize("sql", FOREIGN)
async def test_a_foreign_statement_is_refused_to_readers_and_writers(store: Store, sql: str) -> None:
    await store.migrate("other", [(1, "rows", "CREATE TABLE other__rows (id INTEGER PRIMARY KEY AUTOINCREMENT, x);")])
    for _ in range(2):  # the second time as well: a refusal is not remembered as a permission
        with pytest.raises((Denied, sqlite3.OperationalError)):
            store.one("t", sql)
        with pytest.raises((Denied, sqlite3.OperationalError)):
            await store.query("t", sql)
        with pytest.raises((Denied, sqlite3.OperationalError)):
            await store.write(lambda tx: tx.execute(sql), namespace="t")
    assert not Path("copy.db").exists()


@pytest.mark.parametrize("sql", FOREIGN_WRITES)
async def test_a_foreign_write_is_refused(store: Store, sql: str) -> None:
    await store.migrate("other", [(1, "rows", "CREATE TABLE other__rows (id INTEGER PRIMARY KEY AUTOINCREMENT, x);")])
    results = await asyncio.gather(
        store.write(insert("before"), namespace="t"),
        store.write(lambda tx: tx.execute(sql), namespace="t"),
        store.write(insert("after"), namespace="t"),
        return_exceptions=True,
    )
    assert isinstance(results[1], Denied | sqlite3.DatabaseError), results
    assert rows(store) == ["before", "after"]


async def test_a_statement_allowed_to_one_namespace_is_still_refused_to_another(store: Store) -> None:
    await store.migrate("other", [(1, "rows", "CREATE TABLE other__rows (x);")])
    sql = "SELECT * FROM other__rows"
    store.one("other", sql)
    with pytest.raises(Denied, match="other__rows"):
        store.one("t", sql)


async def test_two_statements_in_one_text_are_refused(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        await store.write(lambda tx: tx.execute("SELECT 1; SELECT 2"), namespace="t")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT value FROM json_each('[1,2]')",
        "WITH c AS (SELECT 1) SELECT count(*) FROM c",
        "-- a remark\nSELECT 'rollback', max(length(x)) FROM t__rows",
        "VALUES (1)",
    ],
)
async def test_ordinary_statements_are_allowed(store: Store, sql: str) -> None:
    assert store.one("t", sql) is not None
    assert await store.query("t", sql)
    assert await store.write(lambda tx: tx.one(sql) is not None, namespace="t")


async def test_full_text_search_works_with_its_shadow_tables(store: Store) -> None:
    search = """
        CREATE TABLE notes__items (id INTEGER PRIMARY KEY, text TEXT);
        CREATE VIRTUAL TABLE notes__fts USING fts5(text, content='notes__items', content_rowid='id');
        CREATE VIRTUAL TABLE notes__words USING fts5vocab(notes__fts, row);
        CREATE TRIGGER notes__added AFTER INSERT ON notes__items BEGIN
            INSERT INTO notes__fts (rowid, text) VALUES (new.id, new.text);
        END;
    """
    await store.migrate("notes", [(1, "search", search)])
    text = "INSERT INTO notes__items (text) VALUES (?)"
    await store.write(lambda tx: tx.executemany(text, [("tea at four",), ("coffee",)]), namespace="notes")
    find = "SELECT text FROM notes__fts WHERE notes__fts MATCH ? ORDER BY bm25(notes__fts)"
    assert [row["text"] for row in store.all("notes", find, ('"tea"',))] == ["tea at four"]
    assert [row["text"] for row in await store.query("notes", find, ('"coffee"',))] == ["coffee"]
    assert len(store.all("notes", "SELECT term FROM notes__words")) == 4
    with pytest.raises(Denied):
        store.all("t", find, ('"tea"',))


async def test_a_handle_stays_in_its_namespace_and_numbers_its_effects(store: Store) -> None:
    numbers = iter(range(10))
    keys: list[str | None] = ["job:0:1"]
    handle = StoreHandle(store, "t", lambda: (keys[0], next(numbers)) if keys[0] else None)
    assert await handle.write(insert("tea")) == 1
    assert await handle.write(insert("coffee")) == 2
    numbers = iter(range(10))
    assert await handle.write(insert("tea")) == 1
    keys[0] = None
    assert await handle.write(insert("water")) == 3
    assert handle.one("SELECT count(*) FROM t__rows")[0] == 3  # type: ignore[index]
    assert len(handle.all("SELECT x FROM t__rows")) == len(await handle.query("SELECT x FROM t__rows")) == 3


# -- migrations


async def test_migrations_are_applied_once_in_order_and_remembered(store: Store) -> None:
    steps = [
        ROWS,
        (2, "more", "ALTER TABLE t__rows ADD COLUMN y TEXT DEFAULT 'a;b'; CREATE INDEX t__y ON t__rows (y);"),
    ]
    assert await store.migrate("t", steps) == [2]
    assert await store.migrate("t", steps) == []
    assert await store.migrate("t", [ROWS]) == []  # a database newer than the plugin is fine
    await store.write(insert("tea"), namespace="t")
    assert store.one("t", "SELECT y FROM t__rows")["y"] == "a;b"  # type: ignore[index]


async def test_a_changed_migration_is_named(store: Store) -> None:
    with pytest.raises(Conflict, match="migration 1 'rows' of 't' was changed"):
        await store.migrate("t", [(1, "rows", ROWS[2] + " ")])


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t__rows;",
        "ALTER TABLE t__rows RENAME TO t__lines;",
        "ALTER TABLE t__rows RENAME COLUMN x TO z;",
        "ALTER TABLE t__rows DROP COLUMN x;",
        "DELETE FROM t__rows;",
        "CREATE TABLE other__rows (x);",
        "CREATE TABLE rows (x);",
        "CREATE INDEX other__i ON t__rows (x);",
        "CREATE VIRTUAL TABLE t__fts USING fts5(x, content='other__rows');",
        "CREATE VIRTUAL TABLE t__box USING rtree(id, a, b);",
        "CREATE TEMP TABLE t__tmp (x);",
        "CREATE TRIGGER t__t AFTER INSERT ON t__rows BEGIN SELECT RAISE(ROLLBACK, 'x'); END;",
        "PRAGMA user_version = 3;",
        "COMMIT;",
    ],
)
async def test_a_migration_that_does_more_than_add_is_refused_whole(store: Store, sql: str) -> None:
    with pytest.raises((Denied, sqlite3.DatabaseError)):
        await store.migrate("t", [ROWS, (2, "wrong", f"CREATE TABLE t__first (x); {sql}")])
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.one("t", "SELECT * FROM t__first")
    await store.write(insert("still there"), namespace="t")
    assert rows(store) == ["still there"]


async def test_a_trigger_that_writes_into_another_namespace_never_fires(store: Store) -> None:
    await store.migrate("other", [(1, "rows", "CREATE TABLE other__rows (x);")])
    await store.write(insert("remembered as allowed"), namespace="t")
    trigger = "CREATE TRIGGER t__t AFTER INSERT ON t__rows BEGIN INSERT INTO other__rows VALUES (1); END;"
    await store.migrate("t", [ROWS, (2, "trigger", trigger)])
    with pytest.raises(Denied, match="other__rows"):
        await store.write(insert("again"), namespace="t")
    assert store.all("other", "SELECT * FROM other__rows") == []


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (0,)])
async def test_badly_numbered_migrations_are_refused(store: Store, numbers: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="numbered"):
        await store.migrate("x", [(number, "a", "CREATE TABLE x__a (x);") for number in numbers])


async def test_a_migration_without_its_last_semicolon_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match="no ; at its end"):
        await store.migrate("x", [(1, "a", "CREATE TABLE x__a (x)")])


# -- failures


async def test_a_lock_held_by_a_foreign_process_is_overload_and_passes(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.db", clock=SystemClock(), busy_ms=50)
    await store.open()
    await store.migrate("t", [ROWS])
    foreign = sqlite3.connect(store.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(Overloaded, match="another process") as caught:
        await store.write(insert("tea"), namespace="t")
    assert caught.value.retry_after_s
    assert "another process" in (store.problem() or "")
    assert rows(store) == []
    foreign.execute("ROLLBACK")
    foreign.close()
    await store.write(insert("tea"), namespace="t")
    assert store.problem() is None
    await store.close()


async def test_a_full_disk_is_storage_full_nothing_is_falsely_acknowledged_and_it_recovers(store: Store) -> None:
    await store.write(insert("before"), namespace="t")
    big = "x" * 200_000
    assert store._writer is not None
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count={pages + 2}")
    results = await asyncio.gather(
        *(store.write(insert(f"{number}{big}"), namespace="t") for number in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [StorageFull] * 3
    assert rows(store) == ["before"]
    store._writer.execute("PRAGMA max_page_count=1000000")
    await store.write(insert("after"), namespace="t")
    assert rows(store) == ["before", "after"]


async def test_a_file_that_cannot_grow_is_an_error_for_everybody_in_the_group(store: Store) -> None:
    await store.write(insert("before"), namespace="t")
    wal = store.stats().wal_bytes
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal, hard))
    try:
        results = await asyncio.gather(
            *(store.write(insert(f"x{number}"), namespace="t") for number in range(5)), return_exceptions=True
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert all(isinstance(result, StorageError) for result in results), results
    assert rows(store) == ["before"]
    assert store.problem()
    await store.write(insert("after"), namespace="t")
    assert rows(store) == ["before", "after"]


@pytest.mark.parametrize("damage", ["magic", "short", "page size"])
async def test_a_damaged_file_is_refused_with_advice(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "hub.db"
    store = Store(path, clock=SystemClock())
    await store.open()
    await store.close()
    whole = path.read_bytes()
    broken = {"magic": b"no" + whole[2:], "short": whole[:-4096], "page size": whole[:16] + b"\x03\x03" + whole[18:]}
    path.write_bytes(broken[damage])
    with pytest.raises(StorageError, match="restore the last backup"):
        await Store(path, clock=SystemClock()).open()


async def test_a_damaged_page_is_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = Store(path, clock=SystemClock())
    await store.open()
    await store.migrate("t", [ROWS])
    await store.write(
        lambda tx: tx.executemany("INSERT INTO t__rows (x) VALUES (?)", [(n,) for n in range(5000)]), namespace="t"
    )
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:20_480] + os.urandom(len(whole) - 20_480))
    store = Store(path, clock=SystemClock())
    await store.open()
    with pytest.raises(StorageError, match="damaged") as caught:
        store.all("t", "SELECT x FROM t__rows ORDER BY x")
    assert caught.value.code == "STORAGE_CORRUPT"
    await store.close()


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.db", clock=SystemClock())
    with pytest.raises(ServiceUnavailable, match="closed"):
        await store.write(insert("x"), namespace="t")
    with pytest.raises(ServiceUnavailable, match="closed"):
        store.one("t", "SELECT 1")
    assert store.problem()
    await store.open()
    with pytest.raises(Conflict, match="already"):
        await store.open()
    with pytest.raises(NotAvailable, match="bus"):
        await store.write(lambda tx: tx.publish("a"), namespace="t")
    await store.close()
    await store.close()
    await store.open()
    assert store.one("t", "SELECT 1")[0] == 1  # type: ignore[index]
    await store.close()


async def test_closing_commits_what_waits_before_it_closes_anything(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub.db", clock=SystemClock())
    await store.open()
    await store.migrate("t", [ROWS])
    writes = [asyncio.create_task(store.write(insert(f"x{number}"), namespace="t")) for number in range(200)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted(await asyncio.gather(*writes)) == list(range(1, 201))
    assert not any(thread.name == "store writer" for thread in threading.enumerate())
    assert [path.name for path in tmp_path.iterdir()] == ["hub.db"]


# -- processes that die


def run_victim(path: Path, crashpoint: str) -> tuple[int, list[str]]:
    environment = os.environ | {"AETHERRA_CRASHPOINT": crashpoint, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", VICTIM, str(path)], env=environment, capture_output=True, text=True, timeout=50
    )
    return done.returncode, done.stdout.split()


def stored(path: Path) -> set[int]:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {row[0] for row in connection.execute("SELECT id FROM t__rows")}
    effects = {row[0] for row in connection.execute("SELECT n FROM kernel__effects")}
    connection.close()
    assert kept == effects
    return kept


@pytest.mark.parametrize("crashpoint", ["store.before_commit:6", "store.after_commit:6", "store.after_commit:3"])
def test_what_was_acknowledged_survives_a_kill_and_is_not_done_twice(tmp_path: Path, crashpoint: str) -> None:
    path = tmp_path / "hub.db"
    status, said = run_victim(path, crashpoint)
    assert status == 137
    acknowledged = {int(word) for word in said if word.isdigit()}
    survived = stored(path)
    assert acknowledged <= survived
    assert survived < set(range(200))
    if crashpoint.startswith("store.after_commit"):
        assert survived > acknowledged  # committed, and killed before the acknowledgement: the point is where it says
    status, said = run_victim(path, "")
    assert (status, said[-1]) == (0, "closed")
    assert stored(path) == set(range(200))


def test_a_kill_in_a_migration_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    assert run_victim(path, "store.mid_migration:1") == (137, [])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 't\\_%' ESCAPE '\\'").fetchall() == []
    connection.close()
    assert run_victim(path, "")[0] == 0


def test_a_malformed_crash_point_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import kernel.crashpoints"],
        env=os.environ | {"AETHERRA_CRASHPOINT": "store.after_commit"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert ConfigError.__name__ in done.stderr
