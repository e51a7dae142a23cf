"""Plugins of the drop folder: put into service, asked to act, and taken away."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel import Conflict, Context, LoadError, NotAvailable, NotFound, Plugin


class Drops(Protocol):
    """What this part asks of the module manager."""

    async def register(self, name: str, version: str | None) -> dict[str, Any]:
        """Put what lies in the drop folder into service."""

    async def remove(self, name: str) -> dict[str, Any]:
        """Take it out of service and of the drop folder."""


class Declared(msgspec.Struct):
    """What a client knows of the plugin; the declaration in its code is what counts."""

    version: str | None = None


class Registered(msgspec.Struct):
    """A plugin that serves; its id is its name."""

    status: str
    plugin_id: str


class Removed(msgspec.Struct):
    """A plugin that is gone from the drop folder; `kept` is where its source lies until the next of its name."""

    name: str
    removed: bool
    kept: str


class Result(msgspec.Struct):
    """What an action returned."""

    plugin: str
    action: str
    result: Any


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("modules")(Drops)
    manages: dict[str, Any] = {"needs": "plugin:manage", "effect": "compensable"}
    refusals = (NotFound, Conflict, LoadError)
    p.post("/api/plugins/register", **manages, status=201, documented=True, raises=(*refusals, "NOT_IMPLEMENTED"))(
        register
    )
    p.delete("/api/plugins/{name}", **manages, raises=refusals)(remove_plugin)
    p.post("/api/plugins/{name}/actions/{action}", needs="plugin:read")(act)


async def register(
    ctx: Context,
    name: str,
    manifest: Declared | None = None,
    path: str | None = None,
    archive: str | None = None,
) -> Registered:
    """Put the plugin that lies in the drop folder under `name` into service; the body carries no code.

    Where the manifest names a version, the code must declare the same. `path` and `archive` are not possible yet.
    """
    for field, value in (("path", path), ("archive", archive)):
        if value is not None:
            raise NotAvailable(
                f"`{field}` needs the inbox, which this version does not have; put the file into "
                f"{ctx.config.paths.plugins} and register its name",
                code="NOT_IMPLEMENTED",
                details={"field": field, "needs": "inbox"},
            )
    version = None if manifest is None else manifest.version
    shown = await ctx.service("modules", Drops).register(name=name, version=version)
    return Registered("registered", shown["name"])


async def remove_plugin(ctx: Context, name: str) -> Removed:
    """Take a dropped plugin out of service and out of the drop folder; its source is kept under HOME."""
    gone = await ctx.service("modules", Drops).remove(name=name)
    return Removed(gone["name"], True, gone["kept"])


async def act(ctx: Context, name: str, action: str, arguments: dict[str, Any] = {}) -> Result:  # noqa: B006 - copied
    """Call a function of a plugin, with its arguments by name."""
    await ctx.require("plugin:call", f"{name}.{action}")
    return Result(name, action, await ctx.call(f"{name}.{action}", **arguments))
