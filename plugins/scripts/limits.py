"""How much a run may use: the policy's `[limits]` for everybody it runs for, else the shipped numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aether_lang.budget import SHIPPED as IN_WORKER
from kernel import AetherraError, Context, ServiceUnavailable

SHIPPED: Final[Mapping[str, float]] = {
    **IN_WORKER,
    "host_calls": 10_000,
    "ai_calls": 50,
    "source_kb": 512,
    "brackets": 64,
    "blocks": 18,
}
"""What a run may use in a hub without a policy: what its worker counts, and what hub and compiler do."""


async def limits_of(ctx: Context, caller: Mapping[str, Any], script: str) -> dict[str, float]:
    """Return the limits of a run for this caller; asked as the house, since a script may not read the policy."""
    through = [caller["id"], *caller["roles"], *caller["via"], f"script:{script}"]
    try:
        found = await ctx.service("policy").limits(through=through)
    except ServiceUnavailable:
        found = {}
    except AetherraError as error:
        ctx.log.error("the limits of %s could not be read, the shipped ones apply: %s", script, error)
        found = {}
    return {**SHIPPED, **found}


def for_worker(limits: Mapping[str, float], wall_s: float) -> dict[str, float]:
    """Return what is handed to the worker. Wall time is measured in the hub; the worker's own is a second line."""
    return {**{name: limits[name] for name in IN_WORKER}, "wall_s": wall_s + 5}
