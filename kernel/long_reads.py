"""Reads that take their time: a few connections with threads of their own, so that the loop never waits for one."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import Overloaded
from kernel.sqlite_file import Params, read_only

if TYPE_CHECKING:
    import aiosqlite


class LongReads:
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

        connection = await aiosqlite.connect(read_only(self._path), uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    async def close(self) -> None:
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        while self._idle:
            await self._idle.pop().close()
