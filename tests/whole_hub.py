"""A hub with every bundled plugin under the policy that ships, in this process, as its own user and clients have it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hub.serve import Server
from hub.settings import HubSettings
from kernel import Clock, Kernel
from kernel.testing import kernel_config


def whole_server(
    home: Path,
    plugins: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> Server:
    """Return a hub in `home` that is not started, with more plugins dropped by name; `settings` by their full keys."""
    overrides = {"hub.port": 0, **(settings or {})}
    config = kernel_config(home, plugins=plugins, bundled=None, overrides=overrides, sections={"hub": HubSettings})
    return Server(Kernel(config, clock=clock))


@asynccontextmanager
async def whole_hub(
    home: Path,
    plugins: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Server]:
    """Run one until the block ends."""
    server = whole_server(home, plugins, settings, clock)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
