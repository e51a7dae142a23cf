"""Plugins as modules that load, reload, roll back and leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import msgspec

from kernel import Conflict, Context, NotFound, Plugin, Reply

SWITCHES_MOST = 100_000
"""More switches than are ever kept."""

FAMILY = "aetherra_plugins_"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class Modules(Protocol):
    """What this dialect asks of the module manager."""

    async def list(self) -> list[dict[str, Any]]:
        """Return every known plugin."""

    async def get(self, name: str) -> dict[str, Any]:
        """Return one plugin."""

    async def history(self, limit: int) -> Sequence[dict[str, Any]]:
        """Return the latest switches."""

    async def reload(self, name: str) -> dict[str, Any]:
        """Load a plugin anew."""

    async def roll_back(self, token: str) -> dict[str, Any]:
        """Take a plugin back."""

    async def unload(self, name: str) -> dict[str, Any]:
        """Take a plugin out of service."""


class Metrics(Protocol):
    """What this dialect asks of the kernel about metrics."""

    async def metrics(self, family: str) -> bytes:
        """Return the metrics whose names begin so."""


class PluginRow(msgspec.Struct):
    """A plugin as the Hub lists it; `reason` says why one is not active, or why its last edit was not taken."""

    name: str
    version: str | None
    category: str | None
    status: str
    reason: str | None
    description: str | None


class PluginList(msgspec.Struct):
    """All plugins known to the hub."""

    plugins: list[PluginRow]
    count: int


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("modules")(Modules)
    p.uses("kernel")(Metrics)
    p.get("/api/plugins", needs="plugin:read", documented=True)(list_plugins)
    p.get("/api/plugins/metrics", needs="metrics:read", documented=True)(plugin_metrics)
    p.get("/api/plugins/{name}", needs="plugin:read")(show_plugin)
    p.post("/api/plugins/{name}/disable", needs="plugin:manage", effect="compensable")(disable_plugin)
    p.post("/api/plugins/{name}/enable", needs="plugin:manage", effect="compensable")(reload_module)
    p.get("/api/klm/status", needs="plugin:read", documented=True)(module_status)
    p.get("/api/klm/modules", needs="plugin:read")(list_modules)
    p.get("/api/klm/history", needs="plugin:read")(module_history)
    p.post("/api/klm/modules/{name}/reload", needs="plugin:manage", effect="compensable")(reload_module)
    p.post("/api/klm/modules/{name}/rollback", needs="plugin:manage", effect="compensable")(roll_back_module)


async def list_plugins(ctx: Context) -> PluginList:
    """List all registered plugins with their state."""
    rows = [
        PluginRow(
            name=module["name"],
            version=module.get("version"),
            category=module.get("category"),
            status=module["status"],
            reason=module["reason"],
            description=module.get("description"),
        )
        for module in await ctx.service("modules", Modules).list()
    ]
    return PluginList(rows, len(rows))


async def plugin_metrics(ctx: Context) -> Reply:
    """Return the figures of the plugins in Prometheus' text format 0.0.4; all others are at /metrics."""
    text = await ctx.service("kernel", Metrics).metrics(family=FAMILY)
    return Reply(text, headers={"Content-Type": METRICS_TYPE})


async def show_plugin(ctx: Context, name: str) -> dict[str, Any]:
    """Return all that is known about one plugin: what it contributes, its state, its calls and errors."""
    return await ctx.service("modules", Modules).get(name)


async def disable_plugin(ctx: Context, name: str) -> dict[str, Any]:
    """Take a plugin out of service until it is enabled, reloaded, or edited."""
    return await ctx.service("modules", Modules).unload(name)


class ModuleStatus(msgspec.Struct):
    """The module manager: how many plugins there are, how many serve, and reloads since the start."""

    active: bool
    modules_loaded: int
    modules_active: int
    recent_reloads: int


async def module_status(ctx: Context) -> ModuleStatus:
    """Return the module manager's figures."""
    handle = ctx.service("modules", Modules)
    modules = await handle.list()
    switches = await handle.history(limit=SWITCHES_MOST)
    return ModuleStatus(
        active=True,
        modules_loaded=len([m for m in modules if m["loads"]]),
        modules_active=len([m for m in modules if m["status"] == "active"]),
        recent_reloads=len([s for s in switches if s["action"] == "reload"]),
    )


async def list_modules(ctx: Context) -> dict[str, Any]:
    """List every module with its generation, hash, contribution and figures."""
    modules = await ctx.service("modules", Modules).list()
    return {"modules": modules, "count": len(modules)}


async def module_history(ctx: Context, limit: Limit = 100) -> dict[str, Any]:
    """Return the latest switches, newest first, with the tokens that take them back."""
    switches = await ctx.service("modules", Modules).history(limit=limit)
    return {"history": switches, "count": len(switches)}


async def reload_module(ctx: Context, name: str) -> dict[str, Any]:
    """Load a plugin anew from its file; when that fails, the running version goes on and the answer says why."""
    return await ctx.service("modules", Modules).reload(name)


async def roll_back_module(ctx: Context, name: str, token: str | None = None) -> dict[str, Any]:
    """Take a plugin back: to before the switch that `token` names, or to before its latest one."""
    handle = ctx.service("modules", Modules)
    module = await handle.get(name)
    if token is None:
        token = module["rollback_token"]
        if token is None:
            raise NotFound(f"{name} has had one version only since the hub started; there is nothing to go back to")
    elif any(s["token"] == token and s["plugin"] != name for s in await handle.history(limit=SWITCHES_MOST)):
        raise Conflict(f"{token} is a switch of another plugin, not of {name}", details={"token": token})
    return await handle.roll_back(token)
