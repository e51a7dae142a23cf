"""One SQLite file, one writer. Acknowledged means committed with `synchronous=FULL`.

A thread of its own owns the only connection that writes. It takes whatever calls wait, runs each under a savepoint,
commits them together and only then settles the callers: many durable writes for the price of one sync. Reads do not
wait for it: short ones use a read-only connection on the loop's thread, long ones `kernel/long_reads.py`.

Every plugin has a namespace: its tables are called `<namespace>__<table>`, and a statement that touches another one is
refused before it runs (`kernel/namespaces.py`). Beneath a durable call a write also leaves a row in `kernel__effects`,
so that the same call made again gets its stored result instead of a second effect (`kernel/effects.py`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import msgspec

from kernel import effects, migrations
from kernel.bus import Bus
from kernel.clock import Clock
from kernel.crashpoints import crashpoint
from kernel.effects import Effect, EffectKey
from kernel.errors import BadInput, Conflict, ContractError, Overloaded, ServiceUnavailable, StorageError
from kernel.long_reads import LongReads
from kernel.migrations import Migration
from kernel.namespaces import Guard, check_namespace
from kernel.outbox import Draft, Outbox
from kernel.sqlite_file import Params, check_header, insist, mapped, read_only, undo
from kernel.transaction import Tx, bounded, fetch

T = TypeVar("T")

_COMMIT_TIMES = 1_024
_STEPS = 10_000

log = logging.getLogger("kernel.store")


class StoreStats(msgspec.Struct, frozen=True):
    """Measured since the store was opened; the commit times are of the last 1,024 groups, in milliseconds."""

    writes: int
    failed: int
    groups: int
    group_mean: float
    queue: int
    wal_bytes: int
    commit_p50_ms: float
    commit_p95_ms: float


class _Item:
    """One waiting write, and how it ended."""

    __slots__ = (
        "drafts",
        "effect",
        "error",
        "events",
        "fn",
        "future",
        "migrating",
        "namespace",
        "owns",
        "result",
        "trace",
    )

    def __init__(
        self,
        fn: Callable[[Tx], Any],
        namespace: str,
        effect: Effect | None,
        future: asyncio.Future[Any],
        *,
        trace: str = "",
        migrating: bool = False,
        owns: Callable[[str], bool] | None = None,
    ) -> None:
        self.owns = owns
        self.fn = fn
        self.namespace = namespace
        self.effect = effect
        self.future = future
        self.trace = trace
        self.migrating = migrating
        self.result: Any = None
        self.error: BaseException | None = None
        self.events: list[tuple[str, Any]] = []
        self.drafts: list[Draft] = []


class Store:
    """The store of one hub, in the file `path`.

    `queue` is how many writes may wait, `group` how many share a commit, `read_rows` how many rows a read returns
    unless it says, `busy_ms` how long a foreign process may hold the lock, `point_ms` how long a point read may take on
    the loop's thread, `item_s` how long one write may take, `effect_bytes` how large a stored result may be, and
    `readers` how many long reads run at once.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock,
        bus: Bus | None = None,
        queue: int = 10_000,
        group: int = 512,
        read_rows: int = 10_000,
        busy_ms: int = 5_000,
        point_ms: int = 250,
        item_s: float = 10.0,
        effect_bytes: int = 1_048_576,
        readers: int = 2,
    ) -> None:
        self.path = Path(path)
        self.read_rows = read_rows
        self.log: Outbox | None = None
        """Where events of durable topics go; set before the store is opened."""
        self._clock = clock
        self._bus = bus
        self._limit = queue
        self._group = group
        self._busy_ms = busy_ms
        self._point_s = point_ms / 1000
        self._item_s = item_s
        self._effect_bytes = effect_bytes
        self._items: SimpleQueue[_Item | None] = SimpleQueue()
        self._depth = 0
        self._state = "closed"
        self._problem: str | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: sqlite3.Connection | None = None
        self._reader_guard: Guard | None = None
        self._point_until = math.inf
        self._long = LongReads(self.path, readers, queue)
        # Owned by the writer's thread between open and close.
        self._writer: sqlite3.Connection | None = None
        self._writer_guard: Guard | None = None
        self._item_until = math.inf
        self._writes = self._failed = self._groups = 0
        self._commit_ms: deque[float] = deque(maxlen=_COMMIT_TIMES)

    # -- opening and closing

    async def open(self) -> None:
        """Open or create the file and start the writer.

        Raises `StorageError` when the file is no sound database or SQLite does not grant WAL with FULL sync, and
        `Overloaded` when another process holds its lock.
        """
        if self._state != "closed":
            raise Conflict(f"the store {self.path} is {self._state} already")
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="store writer", daemon=True)
        self._thread.start()
        await ready
        self._reader = sqlite3.connect(read_only(self.path), uri=True, isolation_level=None, cached_statements=512)
        self._reader.row_factory = sqlite3.Row
        self._reader.execute(f"PRAGMA busy_timeout={min(self._busy_ms, 100)}")  # the loop waits with it
        self._reader.set_progress_handler(lambda: time.monotonic() > self._point_until, _STEPS)
        self._reader_guard = Guard(self._reader, writes=False)
        self._long.open()
        self._state = "open"

    async def close(self) -> None:
        """Refuse new writes, commit those that wait, join the writer's thread, and only then close the connections."""
        if self._state != "open":
            return
        self._state = "closing"
        self._items.put(None)
        assert self._thread is not None
        await asyncio.to_thread(self._thread.join)
        await self._long.close()
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)  # the last to close folds the WAL into the file
        self._reader = self._writer = self._reader_guard = self._writer_guard = None
        self._state = "closed"

    def problem(self) -> str | None:
        """Return why the store does not work at the moment, or None when it does."""
        return self._problem if self._state == "open" else f"the store is {self._state}"

    # -- writing

    async def write(
        self,
        fn: Callable[[Tx], T],
        *,
        namespace: str,
        effect: EffectKey | None = None,
        trace: str = "",
        owns: Callable[[str], bool] | None = None,
    ) -> T:
        """Run `fn(tx)` in the writer's thread, under a savepoint, and return its result once that is committed.

        What `fn` raises undoes this write alone and is raised here. With an `effect` that was committed before, `fn`
        does not run and the stored result is returned; so with an effect the result is plain data. A cancelled caller
        leaves the write either done or not begun.

        Raises `Conflict` for a violated constraint and for an effect with another hash, `StorageFull`, `Overloaded`
        when too many writes wait or a foreign process holds the lock, `Denied` for a statement beyond the namespace.
        """
        check_namespace(namespace)
        known = None if effect is None else effects.identify(effect, namespace, fn)
        return await self._submit(fn, namespace, known, trace=trace, owns=owns)  # type: ignore[no-any-return]

    def submit(
        self,
        fn: Callable[[Tx], T],
        *,
        namespace: str,
        effect: EffectKey | None = None,
        owns: Callable[[str], bool] | None = None,
    ) -> asyncio.Future[T]:
        """Queue a write from synchronous code and return what will become of it. Raises like `write`."""
        known = None if effect is None else effects.identify(effect, namespace, fn)
        return self._enqueue(fn, namespace, known, owns=owns)

    async def forget_effects(self, prefix: str, *, batch: int = 1_000) -> int:
        """Delete the effects whose key begins with `prefix`, at most `batch` of them; return how many those were."""

        def forget(_tx: Tx) -> int:
            assert self._writer is not None
            return effects.forget(self._writer, prefix, batch)

        return int(await self._submit(forget, "kernel"))

    async def migrate(self, namespace: str, steps: Iterable[Migration]) -> list[int]:
        """Apply the migrations that were not applied yet, in the order of their numbers; return those numbers.

        Each is atomic, and only adds. Numbers the database knows and the caller does not are left alone. Raises
        `Conflict` naming an applied migration whose text has changed, `Denied` for a statement that takes something
        away.
        """
        check_namespace(namespace)
        applied = []
        for step in migrations.in_order(namespace, steps):
            if await self._submit(partial(self._migrate_one, namespace, step), namespace, migrating=True):
                applied.append(step[0])  # noqa: PERF401 - one after the other, each committed before the next
        return applied

    def _migrate_one(self, namespace: str, step: Migration, tx: Tx) -> bool:
        assert self._writer is not None
        assert self._writer_guard is not None
        applied = migrations.apply(self._writer, tx, namespace, step, self._clock.now())
        if applied:
            self._writer_guard.forget()
        return applied

    async def _submit(
        self,
        fn: Callable[[Tx], Any],
        namespace: str,
        effect: Effect | None = None,
        *,
        trace: str = "",
        migrating: bool = False,
        owns: Callable[[str], bool] | None = None,
    ) -> Any:
        return await self._enqueue(fn, namespace, effect, trace=trace, migrating=migrating, owns=owns)

    def _enqueue(
        self,
        fn: Callable[[Tx], Any],
        namespace: str,
        effect: Effect | None = None,
        *,
        trace: str = "",
        migrating: bool = False,
        owns: Callable[[str], bool] | None = None,
    ) -> asyncio.Future[Any]:
        if self._state != "open" or self._loop is None:
            raise ServiceUnavailable(f"the store is {self._state}", details={"service": "store"})
        if self._depth >= self._limit:
            raise Overloaded(
                f"{self._limit} writes wait for the store, which is its bound; try again in a second",
                details={"queue": self._depth},
            )
        item = _Item(fn, namespace, effect, self._loop.create_future(), trace=trace, migrating=migrating, owns=owns)
        self._depth += 1
        self._items.put(item)
        return item.future

    def _settle(self, group: list[_Item]) -> None:
        """On the loop, after the commit: events first, then the callers."""
        self._depth -= len(group)
        if self._reader_guard is not None and any(item.migrating for item in group):
            self._reader_guard.forget()
        drafts = [draft for item in group if item.error is None for draft in item.drafts]
        if drafts and self.log is not None:
            self.log.deliver(drafts)
        for item in group:
            if item.error is None and self._bus is not None:
                for topic, data in item.events:
                    self._bus.emit(topic, data, item.namespace, item.trace)
            if item.future.done():
                continue
            if item.error is None:
                item.future.set_result(item.result)
            else:
                item.future.set_exception(item.error)

    # -- the writer's thread

    def _run(self, ready: asyncio.Future[None]) -> None:
        assert self._loop is not None
        try:
            self._writer = self._open_writer()
        except BaseException as error:
            self._loop.call_soon_threadsafe(_fail, ready, mapped(error, self.path))
            return
        self._loop.call_soon_threadsafe(_succeed, ready)
        more = True
        while more:
            item = self._items.get()
            if item is None:
                return
            group = [item]
            while len(group) < self._group:
                try:
                    item = self._items.get_nowait()
                except Empty:
                    break
                if item is None:
                    more = False
                    break
                group.append(item)
            while group:
                group = self._commit(group)
            item = None  # or the last write, and with it its plugin's code, would stay until the next one

    def _open_writer(self) -> sqlite3.Connection:
        check_header(self.path)
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_ms / 1000,
            isolation_level=None,
            cached_statements=512,
            check_same_thread=False,  # made and used in this thread, closed after it has been joined
        )
        try:
            connection.row_factory = sqlite3.Row
            insist(connection, "journal_mode", "WAL", "wal")
            insist(connection, "synchronous", "FULL", 2)
            insist(connection, "foreign_keys", "ON", 1)
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA journal_size_limit=67108864")
            for statement in (migrations.TABLE, effects.TABLE, *(self.log.tables if self.log is not None else ())):
                connection.execute(statement)
            connection.set_progress_handler(lambda: time.monotonic() > self._item_until, _STEPS)
            self._writer_guard = Guard(connection, writes=True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _commit(self, group: list[_Item]) -> list[_Item]:
        """Run and commit the group and settle its callers; return those that must begin anew in another transaction."""
        connection = self._writer
        assert connection is not None
        begun: list[_Item] = []
        left: list[_Item] = []
        drafts: list[Draft] = []
        error: BaseException | None = None
        self._item_until = math.inf
        try:
            connection.execute("BEGIN IMMEDIATE")
            savepoints = len(group) > 1  # alone, a write is undone with its transaction
            for index, item in enumerate(group):
                begun.append(item)
                self._apply(connection, item, savepoints)
                if not connection.in_transaction:
                    # The disk is full, say: SQLite has undone everything, so nothing before may be acknowledged.
                    error, left = (
                        item.error or StorageError("a write ended the transaction it shares"),
                        group[index + 1 :],
                    )
                    break
                if not savepoints and item.error is not None:
                    connection.execute("ROLLBACK")
            if connection.in_transaction:
                drafts = self._write_events(connection, begun)
                crashpoint("store.before_commit")
                start = time.perf_counter()
                connection.execute("COMMIT")
                self._commit_ms.append((time.perf_counter() - start) * 1000)
                crashpoint("store.after_commit")
        except BaseException as failed:
            error, begun = failed, group
            undo(connection)
            if drafts and self.log is not None:
                self.log.undone()
        self._finish(begun, error)
        return left

    def _write_events(self, connection: sqlite3.Connection, items: list[_Item]) -> list[Draft]:
        """Write the durable events of the group, as its last statements, and return them."""
        drafts = [draft for item in items if item.error is None for draft in item.drafts]
        if drafts and self.log is not None:
            self.log.write(connection, drafts)
        return drafts

    def _finish(self, group: list[_Item], error: BaseException | None) -> None:
        if error is not None:
            ours = mapped(error, self.path)
            self._problem = str(ours)
            for item in group:
                item.error = item.error or ours
        else:
            self._problem = None
        failed = sum(item.error is not None for item in group)
        self._groups += 1
        self._failed += failed
        self._writes += len(group) - failed
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, group)
        except RuntimeError:
            log.error("the loop was closed before the store; %d callers were not told", len(group))

    def _apply(self, connection: sqlite3.Connection, item: _Item, savepoints: bool) -> None:
        """Run one write under its savepoint; what it raises is kept in the item."""
        if item.future.cancelled():
            item.error = asyncio.CancelledError()
            return
        assert self._writer_guard is not None
        tx = Tx(
            connection,
            self._writer_guard,
            item.namespace,
            read_rows=self.read_rows,
            has_bus=self._bus is not None,
            log=self.log,
            owns=item.owns,
            trace=item.trace,
            migrating=item.migrating,
        )
        if savepoints:
            connection.execute("SAVEPOINT item")
        self._item_until = time.monotonic() + self._item_s
        try:
            if item.effect is None:
                item.result = _called(item.fn, tx)
            else:
                now, run = self._clock.now(), partial(_called, item.fn, tx)
                item.result = effects.once(connection, item.effect, run, at=now, largest=self._effect_bytes)
            item.events, item.drafts = tx.events, tx.drafts
        except BaseException as error:
            item.error = mapped(error, self.path)
        finally:
            self._item_until = math.inf
            tx.end()
        if savepoints and connection.in_transaction:
            if item.error is not None:
                connection.execute("ROLLBACK TO item")
            connection.execute("RELEASE item")
        if item.error is not None and item.migrating:
            self._writer_guard.forget()

    # -- reading

    def one(self, namespace: str, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """Return the first row or None, at once, on the loop's thread: for point reads by an index.

        Raises `DeadlineExceeded` when it takes longer than `point_ms`: that read belongs to `query`.
        """
        cursor = self._point(namespace, sql, params)
        try:
            row: sqlite3.Row | None = cursor.fetchone()
            return row
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error
        finally:
            cursor.close()

    def all(self, namespace: str, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows at once: at most `limit`, or all, and then `TooLarge` above `read_rows`. See `one`."""
        cursor = self._point(namespace, sql, params)
        try:
            return fetch(cursor, limit, self.read_rows)
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error
        finally:
            cursor.close()

    async def query(self, namespace: str, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a read that takes its time, in a thread; cancelling it stops it. Bounds as for `all`."""
        guard, bound = self._reading(), self.read_rows + 1 if limit is None else limit
        try:
            guard.check(self._namespace(namespace), sql, params)
            rows = await self._long.fetch(sql, params, bound)
        except (sqlite3.Error, OverflowError) as error:
            raise mapped(error, self.path) from error
        return bounded(rows, limit, self.read_rows)

    @property
    def pending(self) -> int:
        """Writes that were accepted and whose callers are not told yet."""
        return self._depth

    def stats(self) -> StoreStats:
        """Return the figures at this instant."""
        times = sorted(self._commit_ms)
        try:
            wal = self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            wal = 0
        return StoreStats(
            writes=self._writes,
            failed=self._failed,
            groups=self._groups,
            group_mean=(self._writes + self._failed) / self._groups if self._groups else 0.0,
            queue=self._depth,
            wal_bytes=wal,
            commit_p50_ms=times[len(times) // 2] if times else 0.0,
            commit_p95_ms=times[min(len(times) - 1, len(times) * 95 // 100)] if times else 0.0,
        )

    def _point(self, namespace: str, sql: str, params: Params) -> sqlite3.Cursor:
        self._point_until = time.monotonic() + self._point_s
        guard = self._reading()
        assert self._reader is not None
        try:
            guard.check(self._namespace(namespace), sql, params)
            return self._reader.execute(sql, params)
        except (sqlite3.Error, OverflowError) as error:
            raise mapped(error, self.path) from error

    def _reading(self) -> Guard:
        if self._reader_guard is None:
            raise ServiceUnavailable(f"the store is {self._state}", details={"service": "store"})
        return self._reader_guard

    def _namespace(self, namespace: str) -> str:
        check_namespace(namespace)
        return namespace


class StoreHandle:
    """The store as one plugin has it, as `ctx.store`: the same calls, in its own namespace.

    `effect_source` returns the key and number of the next write when the plugin works beneath a durable call, and
    `owns` tells whether a topic is one of the plugin's own: a write publishes no others.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        effect_source: Callable[[], EffectKey | None],
        owns: Callable[[str], bool] | None = None,
    ) -> None:
        check_namespace(namespace)
        self._store = store
        self._namespace = namespace
        self._effect_source = effect_source
        self._owns = owns

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn(tx)` under a savepoint and return its result once it is committed. See `Store.write`."""
        _check_write(fn)
        effect = self._effect_source()
        return await self._store.write(fn, namespace=self._namespace, effect=effect, owns=self._owns)

    def submit(self, fn: Callable[[Tx], T]) -> asyncio.Future[T]:
        """Queue a write from synchronous code, in the order of the calls; its future is done once it is committed.

        See `Store.write`.
        """
        _check_write(fn)
        effect = self._effect_source()
        return self._store.submit(fn, namespace=self._namespace, effect=effect, owns=self._owns)

    def one(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """Return the first row of a point read, or None. See `Store.one`."""
        return self._store.one(self._namespace, sql, params)

    def all(self, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a point read. See `Store.all`."""
        return self._store.all(self._namespace, sql, params, limit)

    async def query(self, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a long read. See `Store.query`."""
        return await self._store.query(self._namespace, sql, params, limit)


def _check_write(fn: Any) -> None:
    if not callable(fn):
        raise ContractError(
            f"a write takes a function of the transaction, such as lambda tx: tx.execute(sql, values); got {fn!r:.80}"
        )


def _called(fn: Callable[[Tx], Any], tx: Tx) -> Any:
    result = fn(tx)
    if inspect.iscoroutine(result):
        result.close()
        raise BadInput("a write is a plain function: it runs in the writer's thread, where nothing can be awaited")
    return result


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
