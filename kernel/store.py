"""One SQLite file, one writer. Acknowledged means committed with `synchronous=FULL`.

A thread of its own owns the only connection that writes. It takes whatever calls wait, runs each under a savepoint,
commits them together and only then settles the callers: many durable writes for the price of one sync. Reads do not
wait for it: short ones use a read-only connection on the loop's thread, long ones aiosqlite.

Every plugin has a namespace: its tables are called `<namespace>__<table>`, and a statement that touches another one is
refused before it runs. Beneath a durable call a write also leaves a row in `kernel__effects`, in the same savepoint, so
that the same call made again gets its stored result instead of a second effect.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import math
import os
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kernel.bus import Bus, check_topic
from kernel.clock import Clock
from kernel.crashpoints import crashpoint
from kernel.errors import (
    AetherraError,
    BadInput,
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

if TYPE_CHECKING:
    import aiosqlite

T = TypeVar("T")
Params = Sequence[Any] | Mapping[str, Any]
EffectKey = tuple[str, int] | tuple[str, int, str]
"""The key of the durable call, the number of its write, and where the caller has one a hash of what it asks for."""
Migration = tuple[int, str, str]
"""Number, name, SQL text."""

MAGIC = b"SQLite format 3\x00"
ADVICE = "stop the hub, keep a copy of the file, and restore the last backup"

_NAMESPACE = re.compile(r"[a-z](?!.*__)[a-z0-9_]{0,62}[a-z0-9]|[a-z]")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_TABLE_WORD = re.compile(r"\w+__\w+")
_COMMIT_TIMES = 1_024
_VERIFIED = 2_048
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


def check_namespace(namespace: str) -> None:
    """Raise `BadInput` unless it is lower case, digits and single inner `_`, 64 characters at most."""
    if not _NAMESPACE.fullmatch(namespace):
        raise BadInput(
            "a namespace begins with a letter, has lower case, digits and _ but neither __ nor a _ at its end, and at "
            f"most 64 characters; got {namespace[:80]!r}"
        )


class _Guard:
    """Decides, once for each text of SQL and namespace, whether a statement may run on its connection.

    SQLite itself says what a statement touches, while it prepares an EXPLAIN of it; nothing runs for that. What it
    does not say there is judged by the text: the kind of statement, `rollback` inside one (it would undo neighbours in
    the group), and the tables named in the arguments of a virtual table.
    """

    _PLAIN = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
    _ROWS = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
    _MAKES = frozenset({sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_VTABLE})
    _MAKES_ON = frozenset({sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_TRIGGER})
    _READING = frozenset({"select", "values", "with"})
    _WRITING = _READING | {"insert", "update", "delete", "replace"}
    _MIGRATING = frozenset({"create", "alter", "insert", "update", "with"})
    _FOREIGN_FUNCTIONS = ("load_extension", "fts3_tokenizer", "sqlite_rename", "sqlite_drop")

    def __init__(self, connection: sqlite3.Connection, *, writes: bool) -> None:
        self._connection = connection
        self._words = self._WRITING if writes else self._READING
        self._writes = writes
        self._known: dict[str, set[str]] = {}
        self._count = 0
        self._namespace = ""
        self._migrating = False
        self._refused = ""

    def check(self, namespace: str, sql: str, params: Params, *, migrating: bool = False) -> None:
        """Return when the statement may run; raise `Denied` (code STORE_REFUSED) when not."""
        known = self._known.get(namespace)
        if known is not None and sql in known and not migrating:
            return
        self._judge_text(namespace, sql, migrating)
        self._namespace, self._migrating, self._refused = namespace, migrating, ""
        self._connection.set_authorizer(self._judge)
        try:
            # The leading comment makes the text new, so that no statement prepared earlier is taken from the cache.
            explain = f"/* {namespace} {self._count} */ EXPLAIN {sql}"
            self._count += 1
            self._connection.execute(explain, params).close()
        except sqlite3.ProgrammingError:
            if not self._refused:
                return  # wrong parameters or two statements: the real execution says so, and nothing is remembered
        except sqlite3.DatabaseError:
            if not self._refused:
                raise
        finally:
            self._connection.set_authorizer(None)
        if self._refused:
            raise _refusal(namespace, self._refused, sql)
        if not migrating:
            self._remember(namespace, sql)

    def forget(self) -> None:
        """Judge everything anew: the schema has changed, and with it what a text touches."""
        self._known.clear()

    def _remember(self, namespace: str, sql: str) -> None:
        if sum(map(len, self._known.values())) >= _VERIFIED:
            self._known.clear()
        self._known.setdefault(namespace, set()).add(sql)

    def _judge_text(self, namespace: str, sql: str, migrating: bool) -> None:
        bare = _QUOTED.sub(" ", sql).lower()
        words = bare.split(None, 6)
        first = re.match(r"[a-z]*", words[0])[0] if words else ""  # type: ignore[index]
        allowed = self._MIGRATING if migrating else self._words
        if first not in allowed:
            kind = first.upper() or "an empty statement"
            raise _refusal(namespace, f"{kind} is none of {', '.join(sorted(allowed)).upper()}", sql)
        if re.search(r"\brollback\b", bare):
            raise _refusal(namespace, "ROLLBACK would undo what others wrote in the same commit", sql)
        if first == "alter" and not re.match(r"\s*alter\s+table\s+(main\s*\.\s*)?\w*\s*add\b", bare):
            raise _refusal(namespace, "a migration only adds: ALTER TABLE ... ADD COLUMN is the only ALTER", sql)
        if first == "create" and re.match(r"\s*create\s+virtual\b", bare):
            for table in _TABLE_WORD.findall(sql.lower()):
                if not self._own(table, namespace):
                    raise _refusal(namespace, f"it names the table {table}", sql)

    def _own(self, table: str | None, namespace: str) -> bool:
        owner, sep, _ = (table or "").lower().partition("__")
        return (
            bool(sep) and owner == namespace and (table or "").lower() not in ("kernel__effects", "kernel__migrations")
        )

    def _judge(self, action: int, first: str | None, second: str | None, db: str | None, _: str | None) -> int:
        if self._allows(action, first, second, db):
            return sqlite3.SQLITE_OK
        self._refused = self._refused or f"it reaches {first or second or 'what no plugin may'}"
        return sqlite3.SQLITE_DENY

    def _allows(self, action: int, first: str | None, second: str | None, db: str | None) -> bool:
        if action in self._PLAIN:
            return True
        if action == sqlite3.SQLITE_PRAGMA:
            return first == "data_version"  # full-text search asks for it; a PRAGMA of the caller's own has no way in
        if action == sqlite3.SQLITE_FUNCTION:
            return not (second or "").lower().startswith(self._FOREIGN_FUNCTIONS)
        if db == "temp":
            return False
        if first in ("sqlite_master", "sqlite_schema"):
            return self._allows_schema(action, second)
        if action == sqlite3.SQLITE_READ:
            return self._allows_read(first, second)
        if action in self._ROWS:
            deletes = action == sqlite3.SQLITE_DELETE
            return self._writes and not (self._migrating and deletes) and self._own(first, self._namespace)
        return self._migrating and self._allows_making(action, first, second)

    def _allows_schema(self, action: int, column: str | None) -> bool:
        # Opening a virtual table, even json_each, reports these two as well; a real change of the schema table is
        # refused by SQLite itself.
        if action == sqlite3.SQLITE_UPDATE or (action == sqlite3.SQLITE_READ and column == "ROWID"):
            return True
        return self._migrating and action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT)

    def _allows_read(self, table: str | None, column: str | None) -> bool:
        if self._own(table, self._namespace) or table in ("json_each", "json_tree"):
            return True
        if self._migrating and table == "pragma_quick_check":
            return True  # how ADD COLUMN checks its constraint
        # A common table expression of which no column is read is reported by its own name.
        name = (table or "").lower()
        return column == "" and "__" not in name and not name.startswith(("sqlite_", "pragma_", "dbstat"))

    def _allows_making(self, action: int, first: str | None, second: str | None) -> bool:
        if action == sqlite3.SQLITE_CREATE_VTABLE and second not in ("fts5", "fts5vocab"):
            return False
        if action in self._MAKES:
            return first == "sqlite_sequence" or self._own(first, self._namespace)
        automatic = (first or "").startswith("sqlite_autoindex_")
        if action in self._MAKES_ON:
            return (automatic or self._own(first, self._namespace)) and self._own(second, self._namespace)
        if action == sqlite3.SQLITE_REINDEX:
            return automatic or self._own(first, self._namespace)
        # The second argument of ALTER is the column that DROP COLUMN names.
        return action == sqlite3.SQLITE_ALTER_TABLE and self._own(second, self._namespace)


def _refusal(namespace: str, why: str, sql: str) -> Denied:
    return Denied(
        f"a statement of the namespace {namespace!r} was refused: {why}. Its tables are called {namespace}__<name>, "
        f"and migrations alone change them: {' '.join(sql.split())[:200]}",
        code="STORE_REFUSED",
        details={"namespace": namespace},
    )


class Tx:
    """What `fn` of `Store.write` works with, in the writer's thread, under a savepoint; useless once it returned."""

    __slots__ = ("_connection", "_guard", "_migrating", "_namespace", "_open", "_store", "events")

    def __init__(
        self, store: Store, connection: sqlite3.Connection, guard: _Guard, namespace: str, *, migrating: bool = False
    ) -> None:
        self._store = store
        self._connection = connection
        self._guard = guard
        self._namespace = namespace
        self._migrating = migrating
        self._open = True
        self.events: list[tuple[str, Any]] = []

    def execute(self, sql: str, params: Params = ()) -> sqlite3.Cursor:
        """Run one statement on the namespace's own tables; rows answer to index and name."""
        self._check(sql, params)
        return self._connection.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Params]) -> sqlite3.Cursor:
        """Run one statement for each of the rows."""
        given = list(rows)
        self._check(sql, given[0] if given else ())
        return self._connection.executemany(sql, given)

    def one(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """Return the first row, or None."""
        cursor = self.execute(sql, params)
        row: sqlite3.Row | None = cursor.fetchone()
        cursor.close()
        return row

    def all(self, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows: at most `limit`, or all, and then `TooLarge` above the store's `read_rows`."""
        return _fetch(self.execute(sql, params), limit, self._store.read_rows)

    def publish(self, topic: str, data: Any = None) -> None:
        """Publish an event once this write is committed; it is dropped when the write fails."""
        check_topic(topic)
        if self._store._bus is None:
            raise NotAvailable("this store was made without a bus; events of a write need one")
        self.events.append((topic, data))

    def _check(self, sql: str, params: Params) -> None:
        if not self._open:
            raise RuntimeError("a transaction was used after its write had returned")
        self._guard.check(self._namespace, sql, params, migrating=self._migrating)


class _Item:
    """One waiting write, and how it ended."""

    __slots__ = ("effect", "error", "events", "fn", "future", "migrating", "namespace", "result", "trace")

    def __init__(
        self,
        fn: Callable[[Tx], Any],
        namespace: str,
        effect: tuple[str, int, str] | None,
        future: asyncio.Future[Any],
        *,
        trace: str = "",
        migrating: bool = False,
    ) -> None:
        self.fn = fn
        self.namespace = namespace
        self.effect = effect
        self.future = future
        self.trace = trace
        self.migrating = migrating
        self.result: Any = None
        self.error: BaseException | None = None
        self.events: list[tuple[str, Any]] = []


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
        self._reader_guard: _Guard | None = None
        self._point_until = math.inf
        self._long = _LongReads(self.path, readers, queue)
        # Owned by the writer's thread between open and close.
        self._writer: sqlite3.Connection | None = None
        self._writer_guard: _Guard | None = None
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
        self._reader = sqlite3.connect(_read_only(self.path), uri=True, isolation_level=None, cached_statements=512)
        self._reader.row_factory = sqlite3.Row
        self._reader.execute(f"PRAGMA busy_timeout={min(self._busy_ms, 100)}")  # the loop waits with it
        self._reader.set_progress_handler(lambda: time.monotonic() > self._point_until, _STEPS)
        self._reader_guard = _Guard(self._reader, writes=False)
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
        self, fn: Callable[[Tx], T], *, namespace: str, effect: EffectKey | None = None, trace: str = ""
    ) -> T:
        """Run `fn(tx)` in the writer's thread, under a savepoint, and return its result once that is committed.

        What `fn` raises undoes this write alone and is raised here. With an `effect` that was committed before, `fn`
        does not run and the stored result is returned; so with an effect the result is plain data. A cancelled caller
        leaves the write either done or not begun.

        Raises `Conflict` for a violated constraint and for an effect with another hash, `StorageFull`, `Overloaded`
        when too many writes wait or a foreign process holds the lock, `Denied` for a statement beyond the namespace.
        """
        check_namespace(namespace)
        return await self._submit(fn, namespace, self._effect(effect, namespace, fn), trace=trace)  # type: ignore[no-any-return]

    async def forget_effects(self, prefix: str, *, batch: int = 1_000) -> int:
        """Delete the effects whose key begins with `prefix`, at most `batch` of them; return how many those were."""
        sql = (
            "DELETE FROM kernel__effects WHERE (key, n) IN (SELECT key, n FROM kernel__effects "
            "WHERE key >= ? AND key < ? LIMIT ?)"
        )
        end = prefix + "\U0010ffff"
        return int(await self._submit(lambda tx: tx._connection.execute(sql, (prefix, end, batch)).rowcount, "kernel"))

    async def migrate(self, namespace: str, migrations: Iterable[Migration]) -> list[int]:
        """Apply the migrations that were not applied yet, in the order of their numbers; return those numbers.

        Each is atomic, and only adds. Numbers the database knows and the caller does not are left alone. Raises
        `Conflict` naming an applied migration whose text has changed, `Denied` for a statement that takes something
        away.
        """
        check_namespace(namespace)
        steps = [(int(number), name, sql) for number, name, sql in migrations]
        numbers = [number for number, _, _ in steps]
        if numbers != sorted(set(numbers)) or any(number < 1 for number in numbers):
            raise BadInput(f"the migrations of {namespace!r} are numbered from 1, each once and rising; got {numbers}")
        applied = []
        for step in steps:
            if await self._submit(partial(self._migrate_one, namespace, step), namespace, migrating=True):
                applied.append(step[0])  # noqa: PERF401 - one after the other, each committed before the next
        if applied and self._reader_guard is not None:
            self._reader_guard.forget()
        return applied

    def _migrate_one(self, namespace: str, step: Migration, tx: Tx) -> bool:
        number, name, sql = step
        digest = hashlib.sha256(sql.encode()).hexdigest()
        row = tx._connection.execute(
            "SELECT name, sha256 FROM kernel__migrations WHERE namespace = ? AND number = ?", (namespace, number)
        ).fetchone()
        if row is not None:
            if row["sha256"] != digest:
                raise Conflict(
                    f"migration {number} {name!r} of {namespace!r} was changed after it had been applied "
                    f"(then {row['sha256'][:12]}, now {digest[:12]}); put its text back and add one with a new number",
                    details={"namespace": namespace, "number": number},
                )
            return False
        for statement in _statements(sql, f"migration {number} {name!r} of {namespace!r}"):
            tx.execute(statement)
        tx._connection.execute(
            "INSERT INTO kernel__migrations (namespace, number, name, sha256, at) VALUES (?, ?, ?, ?, ?)",
            (namespace, number, name, digest, self._clock.now()),
        )
        crashpoint("store.mid_migration")
        tx._guard.forget()
        return True

    def _effect(self, effect: EffectKey | None, namespace: str, fn: Callable[..., Any]) -> tuple[str, int, str] | None:
        if effect is None:
            return None
        named: Any = fn
        while isinstance(named, partial):
            named = named.func
        asked = effect[2] if len(effect) == 3 else ""
        name = getattr(named, "__qualname__", type(named).__qualname__)
        digest = hashlib.sha256(f"{namespace}\0{name}\0{asked}".encode()).hexdigest()
        return effect[0], effect[1], digest

    async def _submit(
        self,
        fn: Callable[[Tx], Any],
        namespace: str,
        effect: tuple[str, int, str] | None = None,
        *,
        trace: str = "",
        migrating: bool = False,
    ) -> Any:
        if self._state != "open" or self._loop is None:
            raise ServiceUnavailable(f"the store is {self._state}", details={"service": "store"})
        if self._depth >= self._limit:
            raise Overloaded(
                f"{self._limit} writes wait for the store, which is its bound; try again in a second",
                details={"queue": self._depth},
            )
        item = _Item(fn, namespace, effect, self._loop.create_future(), trace=trace, migrating=migrating)
        self._depth += 1
        self._items.put(item)
        return await item.future

    def _settle(self, group: list[_Item]) -> None:
        """On the loop, after the commit: events first, then the callers."""
        self._depth -= len(group)
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
            self._loop.call_soon_threadsafe(_fail, ready, _mapped(error, self.path))
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

    def _open_writer(self) -> sqlite3.Connection:
        _check_header(self.path)
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_ms / 1000,
            isolation_level=None,
            cached_statements=512,
            check_same_thread=False,  # made and used in this thread, closed after it has been joined
        )
        try:
            connection.row_factory = sqlite3.Row
            _insist(connection, "journal_mode", "WAL", "wal")
            _insist(connection, "synchronous", "FULL", 2)
            _insist(connection, "foreign_keys", "ON", 1)
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA journal_size_limit=67108864")
            for statement in _OWN_TABLES:
                connection.execute(statement)
            connection.set_progress_handler(lambda: time.monotonic() > self._item_until, _STEPS)
            self._writer_guard = _Guard(connection, writes=True)
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
                crashpoint("store.before_commit")
                start = time.perf_counter()
                connection.execute("COMMIT")
                self._commit_ms.append((time.perf_counter() - start) * 1000)
                crashpoint("store.after_commit")
        except BaseException as failed:
            error, begun = failed, group
            _undo(connection)
        self._finish(begun, error)
        return left

    def _finish(self, group: list[_Item], error: BaseException | None) -> None:
        if error is not None:
            mapped = _mapped(error, self.path)
            self._problem = str(mapped)
            for item in group:
                item.error = item.error or mapped
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
        tx = Tx(self, connection, self._writer_guard, item.namespace, migrating=item.migrating)
        if savepoints:
            connection.execute("SAVEPOINT item")
        self._item_until = time.monotonic() + self._item_s
        try:
            item.result = self._once(tx, item) if item.effect else _called(item.fn, tx)
            item.events = tx.events
        except BaseException as error:
            item.error = _mapped(error, self.path)
        finally:
            self._item_until = math.inf
            tx._open = False
        if savepoints and connection.in_transaction:
            if item.error is not None:
                connection.execute("ROLLBACK TO item")
            connection.execute("RELEASE item")
        if item.error is not None and item.migrating:
            self._writer_guard.forget()

    def _once(self, tx: Tx, item: _Item) -> Any:
        """Run the write unless its effect is there already, and keep its result beside it, in the same savepoint."""
        assert item.effect is not None
        key, n, digest = item.effect
        row = tx._connection.execute(
            "SELECT hash, result FROM kernel__effects WHERE key = ? AND n = ?", (key, n)
        ).fetchone()
        if row is not None:
            if row["hash"] != digest:
                raise Conflict(
                    f"write {n} of the call {key!r} is not the one it was the first time; the run is not deterministic "
                    "or the plugin's code has changed in between",
                    code="EFFECT_CHANGED",
                    details={"key": key, "n": n},
                )
            return msgspec.msgpack.decode(row["result"])
        try:
            stored = msgspec.msgpack.encode(_called(item.fn, tx), enc_hook=_plain_row)
        except (TypeError, NotImplementedError) as error:
            raise BadInput(f"the result of a write beneath a durable call is plain data: {error}") from error
        if len(stored) > self._effect_bytes:
            raise TooLarge(
                f"the result of a write beneath a durable call has {len(stored)} bytes, more than {self._effect_bytes}"
            )
        tx._connection.execute(
            "INSERT INTO kernel__effects (key, n, hash, result, at) VALUES (?, ?, ?, ?, ?)",
            (key, n, digest, stored, self._clock.now()),
        )
        # Decoded again, so that the first time and every later one return the same shape.
        return msgspec.msgpack.decode(stored)

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
            raise _mapped(error, self.path) from error
        finally:
            cursor.close()

    def all(self, namespace: str, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows at once: at most `limit`, or all, and then `TooLarge` above `read_rows`. See `one`."""
        cursor = self._point(namespace, sql, params)
        try:
            return _fetch(cursor, limit, self.read_rows)
        except sqlite3.Error as error:
            raise _mapped(error, self.path) from error
        finally:
            cursor.close()

    async def query(self, namespace: str, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a read that takes its time, in a thread; cancelling it stops it. Bounds as for `all`."""
        self._reading().check(self._namespace(namespace), sql, params)
        bound = self.read_rows + 1 if limit is None else limit
        try:
            rows = await self._long.fetch(sql, params, bound)
        except sqlite3.Error as error:
            raise _mapped(error, self.path) from error
        return _bounded(rows, limit, self.read_rows)

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
        except sqlite3.Error as error:
            raise _mapped(error, self.path) from error

    def _reading(self) -> _Guard:
        if self._reader_guard is None:
            raise ServiceUnavailable(f"the store is {self._state}", details={"service": "store"})
        return self._reader_guard

    def _namespace(self, namespace: str) -> str:
        check_namespace(namespace)
        return namespace


class StoreHandle:
    """The store as one plugin has it, as `ctx.store`: the same calls, in its own namespace.

    `effect_source` returns the key and number of the next write when the plugin works beneath a durable call.
    """

    def __init__(self, store: Store, namespace: str, effect_source: Callable[[], EffectKey | None]) -> None:
        check_namespace(namespace)
        self._store = store
        self._namespace = namespace
        self._effect_source = effect_source

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn(tx)` under a savepoint and return its result once it is committed. See `Store.write`."""
        return await self._store.write(fn, namespace=self._namespace, effect=self._effect_source())

    def one(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """Return the first row of a point read, or None. See `Store.one`."""
        return self._store.one(self._namespace, sql, params)

    def all(self, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a point read. See `Store.all`."""
        return self._store.all(self._namespace, sql, params, limit)

    async def query(self, sql: str, params: Params = (), limit: int | None = None) -> list[sqlite3.Row]:
        """Return the rows of a long read. See `Store.query`."""
        return await self._store.query(self._namespace, sql, params, limit)


class _LongReads:
    """A few aiosqlite connections, read-only, opened when first needed."""

    def __init__(self, path: Path, count: int, waiting: int) -> None:
        self._path = path
        self._room = asyncio.Semaphore(count)
        self._bound = waiting
        self._waiting = 0
        self._idle: list[aiosqlite.Connection] = []
        self._busy: set[asyncio.Task[Any]] = set()

    async def fetch(self, sql: str, params: Params, rows: int) -> list[sqlite3.Row]:
        if self._waiting >= self._bound:
            raise Overloaded(f"{self._bound} long reads wait for the store, which is its bound")
        self._waiting += 1
        try:
            async with self._room:
                # A task of its own: a cancelled caller leaves at once, while the connection is put in order behind it.
                task = asyncio.create_task(self._read(sql, params, rows), name="store long read")
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
                return await task
        finally:
            self._waiting -= 1

    async def _read(self, sql: str, params: Params, rows: int) -> list[sqlite3.Row]:
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            async with connection.execute(sql, params) as cursor:
                found = list(await cursor.fetchmany(rows))
        except sqlite3.Error:
            self._idle.append(connection)
            raise
        except BaseException:
            # Cancelled: the statement goes on in its thread unless it is told to stop, and closing waits for it.
            await connection.interrupt()
            await connection.close()
            raise
        self._idle.append(connection)
        return found

    async def _connect(self) -> aiosqlite.Connection:
        import aiosqlite  # only a hub that is asked a long read pays for it

        connection = await aiosqlite.connect(_read_only(self._path), uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    async def close(self) -> None:
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        while self._idle:
            await self._idle.pop().close()


_OWN_TABLES = (
    """CREATE TABLE IF NOT EXISTS kernel__migrations (
        namespace TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (namespace, number)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS kernel__effects (
        key TEXT NOT NULL, n INTEGER NOT NULL, hash TEXT NOT NULL, result BLOB NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (key, n)) WITHOUT ROWID""",
)


def _called(fn: Callable[[Tx], Any], tx: Tx) -> Any:
    result = fn(tx)
    if inspect.iscoroutine(result):
        result.close()
        raise BadInput("a write is a plain function: it runs in the writer's thread, where nothing can be awaited")
    return result


def _statements(sql: str, where: str) -> Iterator[str]:
    """Cut a text into statements; a semicolon inside a string, comment or trigger does not end one."""
    start = 0
    for end in (match.end() for match in re.finditer(";", sql)):
        if sqlite3.complete_statement(sql[start:end]):
            if _QUOTED.sub(" ", sql[start:end]).strip(" \t\r\n;"):
                yield sql[start:end].strip()
            start = end
    if _QUOTED.sub(" ", sql[start:]).strip():
        raise BadInput(f"the last statement of {where} has no ; at its end: {sql[start:].strip()[:80]!r}")


def _fetch(cursor: sqlite3.Cursor, limit: int | None, bound: int) -> list[sqlite3.Row]:
    rows: list[sqlite3.Row] = cursor.fetchmany(bound + 1 if limit is None else limit)
    return _bounded(rows, limit, bound)


def _bounded(rows: list[sqlite3.Row], limit: int | None, bound: int) -> list[sqlite3.Row]:
    if limit is None and len(rows) > bound:
        raise TooLarge(f"a read has more than {bound} rows; say LIMIT, or how many with limit=", code="TOO_MANY_ROWS")
    return rows


def _plain_row(value: Any) -> Any:
    if isinstance(value, sqlite3.Row):
        return {name: value[name] for name in value.keys()}  # noqa: SIM118 - iterating a Row gives its values
    raise NotImplementedError(f"{type(value).__name__} is not plain data")


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _check_header(path: Path) -> None:
    """Make sure of the file's first bytes and length; create it, for its owner alone, when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        header, size = os.read(descriptor, 100), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if size == 0:
        return
    if len(header) < 100 or not header.startswith(MAGIC):
        raise StorageError(f"{path} is not an SQLite database, or its beginning is damaged; {ADVICE}")
    page = int.from_bytes(header[16:18]) or 0
    page = 65_536 if page == 1 else page
    if page < 512 or page & (page - 1):
        raise StorageError(f"the header of {path} names a page size of {page} bytes, which cannot be; {ADVICE}")
    pages, wal = int.from_bytes(header[28:32]), path.with_name(path.name + "-wal")
    if size < pages * page and not (wal.exists() and wal.stat().st_size):
        raise StorageError(f"{path} has {size} bytes where its header promises {pages * page}; {ADVICE}")


def _insist(connection: sqlite3.Connection, pragma: str, value: str, wanted: Any) -> None:
    """Set a pragma and read it back: SQLite does not say when it ignores one."""
    connection.execute(f"PRAGMA {pragma}={value}").close()
    got = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if got != wanted:
        raise StorageError(
            f"SQLite did not accept {pragma}={value} (it says {got!r}), so nothing would be durable; keep the database "
            "on a local file system that is writable"
        )


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("a failed transaction could not be rolled back")


def _mapped(error: BaseException, path: Path) -> BaseException:
    """Return our error for one of SQLite's that says something about the store; mistakes in SQL stay as they are."""
    if isinstance(error, StopIteration):
        return RuntimeError(f"a write raised StopIteration({error.value!r})")  # a future cannot carry it
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    mapped = _storage_error(error, path)
    if mapped is None:
        return error
    mapped.__cause__ = error
    return mapped


def _storage_error(error: sqlite3.Error | OSError, path: Path) -> AetherraError | None:
    if isinstance(error, OSError):
        return StorageError(f"the database {path} cannot be opened: {error}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.IntegrityError):
        name = getattr(error, "sqlite_errorname", "SQLITE_CONSTRAINT")
        return Conflict(f"a constraint of the store forbids it: {error}", details={"constraint": name})
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no room left for {path}: nothing was written, reads go on; make room and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Overloaded(f"another process holds the lock of {path}; try again", retry_after_s=1.0)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(f"{path} is damaged ({error}); {ADVICE}", code="STORAGE_CORRUPT")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StorageError(f"{path} cannot be read or written ({error}); look at the disk and its permissions")
    if code == sqlite3.SQLITE_INTERRUPT:
        return DeadlineExceeded(
            f"a statement took longer than it may ({error}); long reads belong to query(), long writes in smaller steps"
        )
    return None


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
