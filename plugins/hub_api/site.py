"""The hub at a glance: figures and components."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from kernel import VERSION, Context, Plugin

from .disclosure import received


class Hub(Protocol):
    """What this dialect asks of the hub's own figures."""

    async def status(self) -> dict[str, Any]:
        """Return uptime and requests handled."""

    async def readiness(self) -> dict[str, str | None]:
        """Return None or a reason, by component."""


class Chat(msgspec.Struct):
    """Whether a chat is there: a plugin that provides the service `chat`."""

    registered: bool
    status: Literal["healthy", "unavailable"]


class HubStats(msgspec.Struct):
    """General figures; `uptime` in seconds. `telemetry_received` since the start."""

    uptime: float
    requests_handled: int
    services_registered: int
    telemetry_received: int
    lyrixa_chat: Chat


class SiteStatus(msgspec.Struct):
    """`operational` when every component works, `degraded` otherwise; a component is `healthy` or says why not."""

    status: Literal["operational", "degraded"]
    version: str
    components: dict[str, str]


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.get("/api/stats", needs="metrics:read", documented=True, raises=())(stats)
    p.get("/api/site_status", needs="system:read", documented=True, raises=())(site_status)


async def stats(ctx: Context) -> HubStats:
    """Return general figures of the hub."""
    status = await ctx.service("kernel", Hub).status()
    chat = ctx.table.services.get("chat")
    return HubStats(
        uptime=status["uptime"],
        requests_handled=status["reported"].get("requests_handled", 0),
        services_registered=len(ctx.table.services),
        telemetry_received=received(ctx),
        lyrixa_chat=Chat(chat is not None, "healthy" if chat is not None else "unavailable"),
    )


async def site_status(ctx: Context) -> SiteStatus:
    """Return whether the site works, component by component."""
    reasons = await ctx.service("kernel", Hub).readiness()
    components = {name: "healthy" if reason is None else reason for name, reason in reasons.items()}
    components["hub"] = "healthy"
    broken = any(reason is not None for reason in reasons.values())
    return SiteStatus("degraded" if broken else "operational", VERSION, components)
