"""The process that test_store kills: it writes rows and tells each acknowledged one on its standard output."""

from __future__ import annotations

import asyncio
import sys

from kernel.clock import SystemClock
from kernel.store import Store, Tx


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
