"""Plugins as modules that load, reload, roll back and leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from kernel import Conflict, Context, LoadError, NotFound, Plugin

SWITCHES_MOST = 100_000
"""More switches than are ever kept."""

FAMILY = "aetherra_plugins_"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Status = Literal["loading", "active", "failed", "waiting", "refused", "disabled", "unloaded"]
Maybe = msgspec.UnsetType
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


class Module(msgspec.Struct, omit_defaults=True):
    """A plugin with all that is known about it.

    `rollback_token` takes its latest switch back. What follows `capabilities` is known of a loaded one only: what it
    contributes, and its calls, errors and seconds at work since it was loaded.
    """

    name: str
    path: str
    bundled: bool
    status: Status
    reason: str | None
    loads: int
    rollback_token: str | None
    version: str | Maybe = msgspec.UNSET
    description: str | Maybe = msgspec.UNSET
    category: str | Maybe = msgspec.UNSET
    generation: int | Maybe = msgspec.UNSET
    hash: str | Maybe = msgspec.UNSET
    capabilities: list[str] | Maybe = msgspec.UNSET
    routes: list[str] | Maybe = msgspec.UNSET
    functions: list[str] | Maybe = msgspec.UNSET
    services: list[str] | Maybe = msgspec.UNSET
    tasks: list[str] | Maybe = msgspec.UNSET
    subscriptions: list[str] | Maybe = msgspec.UNSET
    calls: int | Maybe = msgspec.UNSET
    errors: int | Maybe = msgspec.UNSET
    busy_s: float | Maybe = msgspec.UNSET
    in_flight: int | Maybe = msgspec.UNSET


class ModuleList(msgspec.Struct):
    """Every module."""

    modules: list[Module]
    count: int


class Switch(msgspec.Struct):
    """One switch of a plugin from one version to another; `token` takes it back while it is `reversible`."""

    token: str
    plugin: str
    at: str
    action: Literal["load", "reload", "rollback"]
    generation: int
    version: str
    hash: str
    previous_hash: str | None
    reversible: bool


class History(msgspec.Struct):
    """The latest switches, newest first."""

    history: list[Switch]
    count: int


class PluginRow(msgspec.Struct):
    """A plugin as the Hub lists it; `reason` says why one is not active, or why its last edit was not taken."""

    name: str
    version: str | None
    category: str | None
    status: Status
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
    p.get("/api/plugins", needs="plugin:read", documented=True, raises=())(list_plugins)
    p.get("/api/plugins/metrics", needs="metrics:read", documented=True, raises=(), produces=METRICS_TYPE)(
        plugin_metrics
    )
    p.get("/api/plugins/{name}", needs="plugin:read", raises=(NotFound,))(show_plugin)
    p.get("/api/klm/status", needs="plugin:read", documented=True, raises=())(module_status)
    p.get("/api/klm/modules", needs="plugin:read", raises=())(list_modules)
    p.get("/api/klm/history", needs="plugin:read", raises=())(module_history)
    manages: dict[str, Any] = {
        "needs": "plugin:manage",
        "effect": "compensable",
        "raises": (NotFound, Conflict, LoadError),
    }
    p.post("/api/plugins/{name}/disable", **manages)(disable_plugin)
    p.post("/api/plugins/{name}/enable", **manages)(reload_module)
    p.post("/api/klm/modules/{name}/reload", **manages)(reload_module)
    p.post("/api/klm/modules/{name}/rollback", **manages)(roll_back_module)


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


async def plugin_metrics(ctx: Context) -> bytes:
    """Return the figures of the plugins in Prometheus' text format 0.0.4; all others are at /metrics."""
    return await ctx.service("kernel", Metrics).metrics(family=FAMILY)


async def show_plugin(ctx: Context, name: str) -> Module:
    """Return all that is known about one plugin: what it contributes, its state, its calls and errors."""
    return msgspec.convert(await ctx.service("modules", Modules).get(name), Module)


async def disable_plugin(ctx: Context, name: str) -> Module:
    """Take a plugin out of service until it is enabled, reloaded, or edited."""
    return msgspec.convert(await ctx.service("modules", Modules).unload(name), Module)


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


async def list_modules(ctx: Context) -> ModuleList:
    """List every module with its generation, hash, contribution and figures."""
    modules = msgspec.convert(await ctx.service("modules", Modules).list(), list[Module])
    return ModuleList(modules, len(modules))


async def module_history(ctx: Context, limit: Limit = 100) -> History:
    """Return the latest switches, newest first, with the tokens that take them back."""
    switches = msgspec.convert(await ctx.service("modules", Modules).history(limit=limit), list[Switch])
    return History(switches, len(switches))


async def reload_module(ctx: Context, name: str) -> Module:
    """Load a plugin anew from its file; when that fails, the running version goes on and the answer says why."""
    return msgspec.convert(await ctx.service("modules", Modules).reload(name), Module)


async def roll_back_module(ctx: Context, name: str, token: str | None = None) -> Module:
    """Take a plugin back: to before the switch that `token` names, or to before its latest one."""
    handle = ctx.service("modules", Modules)
    module = await handle.get(name)
    if token is None:
        token = module["rollback_token"]
        if token is None:
            raise NotFound(f"{name} has had one version only since the hub started; there is nothing to go back to")
    elif any(s["token"] == token and s["plugin"] != name for s in await handle.history(limit=SWITCHES_MOST)):
        raise Conflict(f"{token} is a switch of another plugin, not of {name}", details={"token": token})
    return msgspec.convert(await handle.roll_back(token), Module)
