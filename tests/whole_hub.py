"""A hub with every bundled plugin under the policy that ships, in this process, as its own user and clients have it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from hub.serve import Server
from hub.settings import HubSettings
from kernel import Kernel
from kernel.testing import kernel_config


@asynccontextmanager
async def whole_hub(home: Path, plugins: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """Run it in `home`, with more plugins dropped by name, until the block ends."""
    config = kernel_config(
        home, plugins=plugins, bundled=None, overrides={"hub.port": 0}, sections={"hub": HubSettings}
    )
    server = Server(Kernel(config))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
