"""audit keeps who did what, by which right and rule, in a chain of hashes that nobody changes unseen.

What is on record, and how anybody can prove it: `docs/audit.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from kernel import AetherraError, AuditRecord, Context, Denied, Event, Plugin

from . import commands, reading
from .settings import Settings
from .trail import FOLDED, RECORDS, Trail

audit = Plugin(
    "audit",
    version="1.0.0",
    description="Keeps refusals, grants of grave rights and changes of the hub in a chain of hashes.",
    category="system",
    migrations="migrations",
)

audit.settings(Settings)
audit.counter(RECORDS, "Records that were committed to the audit", ["outcome"])
audit.counter(FOLDED, "Refusals that were only counted, since the same one is on record already")
reading.add(audit)
commands.add(audit)

trail = Trail()

audit.gauge("aetherra_audit_waiting", "Records that wait for their commit", read=lambda: trail.waiting)


@audit.auditor
def keep(record: AuditRecord) -> asyncio.Future[Any]:
    """Take a record in; what is returned is done once it is committed."""
    return trail.keep(record)


@audit.lifespan
async def opened(ctx: Context) -> AsyncIterator[None]:
    """Go on with the chain, and at the end bring everything up to the last record."""
    trail.open(ctx)
    previous = trail.head()
    about = {"records": previous[0], "previous": previous[1], "policy": await _policy_hash(ctx)}
    starts = ctx.table.auditor is None
    await trail.tell("audit.opened" if starts else "audit.replaced", **about)
    yield
    await trail.close(_last_words(ctx))


def _last_words(ctx: Context) -> str | None:
    auditor = ctx.table.auditor
    if auditor is None:
        return "audit.closed"
    return "hub.stopped" if auditor.item is keep else None  # else a newer version goes on


async def _policy_hash(ctx: Context) -> str:
    try:
        return (await ctx.require("policy:read")).policy
    except Denied:
        return ""


@audit.task("write the file")
async def follow(ctx: Context) -> None:
    """Write what is committed to the file beside the table."""
    await trail.follow()


@audit.task("sign heads")
async def sign_heads(ctx: Context) -> None:
    """Sign the head every now and then, and let old segments go."""
    await trail.sign_heads()


@audit.task("count refusals")
async def count_refusals(ctx: Context) -> None:
    """Tell at the end of each window which refusals came again."""
    await trail.end_windows()


@audit.on("kernel.started", limit=8)
async def hub_started(ctx: Context, event: Event) -> None:
    """Put on record that the hub is up."""
    _note("hub.started", event)


@audit.on("policy.*", limit=1_000)
async def policy_changed(ctx: Context, event: Event) -> None:
    """Put on record which policy took effect, or why one did not."""
    _note(event.topic, event)


@audit.on("module.*", limit=5_000)
async def plugin_changed(ctx: Context, event: Event) -> None:
    """Put on record which plugin came, changed, left or was refused."""
    _note(event.topic, event)


def _note(action: str, event: Event) -> None:
    data = event.data if isinstance(event.data, dict) else {}
    failed = action.rpartition(".")[2] in ("failed", "reload_failed", "refused")
    record = AuditRecord(
        event.time,
        action,
        "failed" if failed else "ok",
        f"core:{event.source}",
        policy=str(data.get("hash", "")) if action.startswith("policy.") else "",
        details={**data, "event": event.seq},
        trace=event.trace,
        plugin=event.source,
    )
    with contextlib.suppress(AetherraError):  # told by the health below
        trail.add(record)


@audit.health
async def health(ctx: Context) -> str | None:
    """Return that records cannot be committed, written to the file or signed, and why."""
    if trail.blocked:
        # Nothing may be on its way that would tell: try, so that the answer is about now.
        with contextlib.suppress(AetherraError):
            await trail.tell("audit.resumed")
    return trail.problem()
