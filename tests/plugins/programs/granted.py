"""A kernel that is asked for a grave right again and again, until it is killed; `granted N` says that one was given."""

import asyncio
import os
import sys
from pathlib import Path

from kernel import Caller
from kernel.testing import running_kernel

CONSOLE = Caller("core:console", ("role:admin",))


async def main(home: Path) -> None:
    async with running_kernel(home, bundled=("security", "audit"), overrides={"plugins.audit.head_every_s": 0.05}) as k:

        async def ask(number: int) -> None:
            await k.context(CONSOLE).require(f"plugin:manage:p{number}")
            os.write(1, f"granted {number}\n".encode())  # at once and whole: the next step may be the last

        for start in range(0, 1_000_000, 8):
            await asyncio.gather(*(ask(number) for number in range(start, start + 8)))


asyncio.run(main(Path(sys.argv[1])))
