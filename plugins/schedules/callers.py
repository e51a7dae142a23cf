"""Whose schedule it is: kept as data when it is made, and acted for when it is due, with the rights of that moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel import Caller, Context, ServiceUnavailable

HOUSE = "core:"
"""Members of the house may do everything, so they narrow nothing and are left out."""

houses: list[Context] = []
"""This generation's own context, while it is open: what acts for others acts through it."""


def house() -> Context:
    """Return the plugin's own context; `ServiceUnavailable` before it is open."""
    if not houses:
        raise ServiceUnavailable("schedules is not open yet", details={"service": "schedules"})
    return houses[0]


def caller_of(ctx: Context, script: str) -> dict[str, Any]:
    """Return on whose behalf a call is made; the script is left out, for it narrows its own runs anyway."""
    caller = ctx.chain.caller
    return {
        "id": caller.id,
        "roles": list(caller.roles),
        "scopes": None if caller.scopes is None else list(caller.scopes),
        "via": [member for member in ctx.chain.via if not member.startswith(HOUSE) and member != f"script:{script}"],
        "proof": caller.proof,
    }


def acting_for(own: Context, caller: Mapping[str, Any], trace: str = "") -> Context:
    """Return a context that acts for a kept caller, and through whoever stood between."""
    scopes = None if caller["scopes"] is None else tuple(caller["scopes"])
    ctx = own.on_behalf(Caller(caller["id"], tuple(caller["roles"]), scopes, caller["proof"]), trace=trace)
    for member in caller["via"]:
        ctx = ctx.through(member)
    return ctx
