"""What the function of a write works with: statements in its own namespace, and events for after the commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from kernel.errors import Denied, NotAvailable, TooLarge
from kernel.namespaces import Guard
from kernel.outbox import Draft, Outbox
from kernel.patterns import check_topic
from kernel.services import plain
from kernel.sqlite_file import Params


class Tx:
    """What `fn` of `Store.write` works with, in the writer's thread, under a savepoint; useless once it returned."""

    __slots__ = (
        "_connection",
        "_guard",
        "_has_bus",
        "_log",
        "_migrating",
        "_namespace",
        "_open",
        "_owns",
        "_read_rows",
        "_trace",
        "drafts",
        "events",
    )

    def __init__(
        self,
        connection: sqlite3.Connection,
        guard: Guard,
        namespace: str,
        *,
        read_rows: int,
        has_bus: bool,
        log: Outbox | None = None,
        owns: Callable[[str], bool] | None = None,
        trace: str = "",
        migrating: bool = False,
    ) -> None:
        self._connection = connection
        self._read_rows = read_rows
        self._has_bus = has_bus
        self._guard = guard
        self._namespace = namespace
        self._migrating = migrating
        self._open = True
        self._log = log
        self._owns = owns
        self._trace = trace
        self.events: list[tuple[str, Any]] = []
        self.drafts: list[Draft] = []

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
        return fetch(self.execute(sql, params), limit, self._read_rows)

    def publish(self, topic: str, data: Any = None) -> None:
        """Publish an event once this write is committed; it is dropped when the write fails.

        On a durable topic its row is part of this very write, so that not even a crash comes between the two: what was
        not delivered before it is published at the next start. Durable events of a write come before its others. Raises
        `Denied` for a topic that is not the plugin's own: whose right would be asked for in the writer's thread?
        """
        check_topic(topic)
        if self._owns is not None and not self._owns(topic):
            raise Denied(
                f"a write of {self._namespace} publishes under its own topics, not {topic}; publish that after the "
                "write with ctx.publish, which asks for the right",
                details={"topic": topic},
            )
        if not self._has_bus:
            raise NotAvailable("this store was made without a bus; events of a write need one")
        if self._log is not None and self._log.keeps(topic):
            self.drafts.append(self._log.draft(topic, plain(data), self._namespace, self._trace))
        else:
            self.events.append((topic, data))

    def end(self) -> None:
        """Make it useless: the function of the write has returned."""
        self._open = False

    def _check(self, sql: str, params: Params) -> None:
        if not self._open:
            raise RuntimeError("a transaction was used after its write had returned")
        self._guard.check(self._namespace, sql, params, migrating=self._migrating)


def fetch(cursor: sqlite3.Cursor, limit: int | None, bound: int) -> list[sqlite3.Row]:
    """Return at most `limit` rows, or without a limit all of them, and then `TooLarge` above `bound`."""
    rows: list[sqlite3.Row] = cursor.fetchmany(bound + 1 if limit is None else limit)
    return bounded(rows, limit, bound)


def bounded(rows: list[sqlite3.Row], limit: int | None, bound: int) -> list[sqlite3.Row]:
    """Return the rows, or raise `TooLarge` when nobody said how many and there are more than `bound`."""
    if limit is None and len(rows) > bound:
        raise TooLarge(f"a read has more than {bound} rows; say LIMIT, or how many with limit=", code="TOO_MANY_ROWS")
    return rows
