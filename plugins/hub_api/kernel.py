"""Status of the kernel: its loop, its event bus, the policy in force."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel import Context, Plugin, iso

from .figures import (
    BusFigures,
    DurableFigures,
    KernelMetrics,
    Limits,
    Measured,
    PartFigures,
    PolicyMeta,
    PolicySnapshot,
)


class KernelFigures(Protocol):
    """What this dialect asks of the kernel."""

    async def status(self) -> dict[str, Any]:
        """Return state, uptime, scheduler and reload figures."""

    async def bus(self) -> dict[str, Any]:
        """Return the event bus's figures."""

    async def store(self) -> dict[str, Any]:
        """Return the store's figures."""


class Policy(Protocol):
    """What this dialect asks of the policy."""

    async def snapshot(self) -> dict[str, Any]:
        """Return the documented snapshot."""

    async def meta(self) -> dict[str, Any]:
        """Return hash, load time and last error."""


class TaskCounts(msgspec.Struct):
    """The measured part of a kernel's status."""

    tasks_processed: int
    avg_task_latency_ms: float


class Reloads(msgspec.Struct):
    """Hot reloads since the start."""

    enabled: bool
    attempts: int
    success: int
    rollback: int


class KernelStatus(msgspec.Struct):
    """The kernel's state and figures; `uptime` in seconds, `cycle_count` dispatch cycles of the scheduler."""

    running: bool
    uptime: float
    cycle_count: int
    metrics: TaskCounts
    queue_sizes: dict[str, int]
    hmr: Reloads


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("kernel")(KernelFigures)
    p.uses("policy")(Policy)
    p.get("/api/kernel/status", needs="metrics:read", documented=True, raises=())(kernel_status)
    p.get("/api/kernel/metrics", needs="metrics:read", documented=True, raises=())(kernel_metrics)
    p.get("/api/system/limits", needs="system:read", raises=())(limits)
    p.get("/api/keb/status", needs="metrics:read", documented=True, raises=())(bus_status)
    p.get("/api/security/policy", needs="policy:read", documented=True, raises=())(policy)
    p.get("/api/security/policy/meta", needs="system:admin", effect="read", raises=())(policy_meta)


async def kernel_status(ctx: Context) -> KernelStatus:
    """Return the kernel's state and figures, measured since the start."""
    return _shown(await ctx.service("kernel", KernelFigures).status())


def _shown(status: dict[str, Any]) -> KernelStatus:
    scheduler = status["scheduler"]
    return KernelStatus(
        running=status["running"],
        uptime=status["uptime"],
        cycle_count=scheduler["cycles"],
        metrics=TaskCounts(scheduler["tasks_processed"], scheduler["avg_task_latency_ms"]),
        queue_sizes={name: lane["queued"] for name, lane in scheduler["lanes"].items()},
        hmr=msgspec.convert(status["hmr"], Reloads),
    )


async def kernel_metrics(ctx: Context) -> KernelMetrics:
    """Return all the figures of the kernel's parts: scheduler, supervisor, bus and store."""
    handle = ctx.service("kernel", KernelFigures)
    status = await handle.status()
    parts = {**status, "bus": await handle.bus(), "store": await handle.store()}
    measured = Measured(status["running"], status["uptime"], msgspec.convert(parts, PartFigures))
    return KernelMetrics(iso(ctx.clock.now()), measured)


NO_BOUND = frozenset({"hub.port"})
"""Numbers among the settings that bound nothing."""


async def limits(ctx: Context) -> Limits:
    """Return every bound in force by its setting's name, those of plugins too; how to change one: `aether config`."""
    bounds = {
        setting.key: setting.value
        for setting in ctx.config.effective()
        if isinstance(setting.value, int | float)
        and not isinstance(setting.value, bool)
        and setting.key not in NO_BOUND
    }
    return Limits(bounds, len(bounds))


class BusStatus(msgspec.Struct):
    """The event bus: how many topics were seen, who subscribes, and what became of events.

    `position` is the number of the newest event, after which a stream that begins now would resume.
    """

    active: bool
    topics: int
    subscribers: int
    events_published: int
    events_delivered: int
    events_dropped: int
    events_pending: int
    position: int
    durable: DurableFigures


async def bus_status(ctx: Context) -> BusStatus:
    """Return the event bus's figures."""
    figures = msgspec.convert(await ctx.service("kernel", KernelFigures).bus(), BusFigures)
    return BusStatus(
        active=True,
        topics=figures.topics,
        subscribers=figures.subscribers,
        events_published=figures.published,
        events_delivered=figures.delivered,
        events_dropped=figures.dropped,
        events_pending=figures.pending,
        position=figures.position,
        durable=figures.durable,
    )


async def policy(ctx: Context) -> PolicySnapshot:
    """Return the policy in force: who may do what, the network lists, and whether it is strict."""
    return msgspec.convert(await ctx.service("policy", Policy).snapshot(), PolicySnapshot)


async def policy_meta(ctx: Context) -> PolicyMeta:
    """Return the policy's version, hash, load time and last error."""
    return msgspec.convert(await ctx.service("policy", Policy).meta(), PolicyMeta)
