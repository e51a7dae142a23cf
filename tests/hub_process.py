"""A hub as its users have it: a process of its own that runs the command, spoken to over its port."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from warm_process import AETHER, WarmProcess, start

__all__ = ["ADDRESS", "AETHER", "HubProcess", "hub_process"]

ADDRESS = re.compile(r"listens on (http://127\.0\.0\.1:\d+)")


@dataclass
class HubProcess:
    """A running hub: its address, its folders, and what it wrote."""

    process: WarmProcess
    url: str
    home: Path
    plugins: Path
    lines: list[str] = field(default_factory=list)

    async def terminate(self) -> int:
        """Ask it to stop, as a service manager would; return its exit status."""
        self.process.terminate()
        return await self.process.wait()


@asynccontextmanager
async def hub_process(home: Path, *options: str) -> AsyncIterator[HubProcess]:
    """Run `aether serve` with HOME `home` and a trusted drop folder beside it until the block ends."""
    plugins = home / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    command = ["serve", "--port", "0", "--home", str(home), "--plugins", str(plugins), "--trust-plugins", str(plugins)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    process = await start(*command, *options, env=environment, together=True)
    assert process.stdout is not None
    hub = HubProcess(process, "", home, plugins)
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(30):
            while not hub.url:
                line = (await process.stdout.readline()).decode()
                assert line, f"the hub ended with {await process.wait()}: {hub.lines}"
                hub.lines.append(line)
                if found := ADDRESS.search(line):
                    hub.url = found[1]
        reading = asyncio.create_task(_read(process.stdout, hub.lines))
        yield hub
    finally:
        async with asyncio.timeout(40):
            await hub.terminate()
        if reading is not None:
            await reading


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:
        lines.append(line.decode())
