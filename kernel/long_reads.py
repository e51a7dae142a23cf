"""Reads that take their time: a few connections with threads of their own, so that the loop never waits for one."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import Overloaded, ServiceUnavailable
from kernel.sqlite_file import Params, read_only

if TYPE_CHECKING:
    import aiosqlite

STOP_AGAIN_S = 0.01
"""How long a statement that was told to stop may go on before it is told again."""


class LongReads:
    """A few aiosqlite connections, read-only, opened when first needed: `count` at once, `waiting` calls in all.

    Between `close` and the next `open` it refuses with `ServiceUnavailable`.
    """

    def __init__(self, path: Path, count: int, waiting: int) -> None:
        self._path = path
        self._room = asyncio.Semaphore(count)
        self._bound = waiting
        self._waiting = 0
        self._closed = True
        self._idle: list[aiosqlite.Connection] = []
        self._busy: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Accept reads."""
        self._closed = False

    async def fetch(self, sql: str, params: Params, rows: int) -> list[sqlite3.Row]:
        """Return the first `rows` rows; cancelling it stops the statement, too."""
        if self._waiting >= self._bound:
            raise Overloaded(f"{self._bound} long reads wait for the store, which is its bound")
        self._waiting += 1
        try:
            async with self._room:
                if self._closed:
                    raise ServiceUnavailable("the store is closed", details={"service": "store"})
                # A task of its own, so that whatever becomes of the caller, somebody puts the connection in order.
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
            await _stopped(connection)
            raise
        self._idle.append(connection)
        return found

    async def _connect(self) -> aiosqlite.Connection:
        import aiosqlite  # only a hub that is asked a long read pays for it

        connecting = aiosqlite.connect(read_only(self._path), uri=True, isolation_level=None)
        opening = asyncio.ensure_future(connecting)
        try:
            connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await (await opening).close()  # a connection half made has an owner as well
            raise
        connection.row_factory = sqlite3.Row
        return connection

    async def close(self) -> None:
        """Refuse further reads, stop those under way, and close every connection."""
        self._closed = True
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        while self._idle:
            await self._idle.pop().close()


async def _stopped(connection: aiosqlite.Connection) -> None:
    """Close a connection whose statement goes on in its thread, which closing waits for.

    It is told to stop again and again: being told before it has begun has no effect.
    """
    closing = asyncio.ensure_future(connection.close())
    while not closing.done():
        try:
            await connection.interrupt()
        except (sqlite3.ProgrammingError, ValueError):
            pass  # it was closed meanwhile
        await asyncio.wait({closing}, timeout=STOP_AGAIN_S)
    closing.result()
