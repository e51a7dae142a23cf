"""Whether the plugins that a script has contracts with are installed in the versions that it is written for."""

from __future__ import annotations

from typing import Any

from aether_lang.contracts import RequirementText, satisfies, terms
from kernel import Context

from .compiled import Compiled


async def disagreements(ctx: Context, compiled: Compiled) -> list[dict[str, Any]]:
    """Return a finding for each contract that what is installed does not keep."""
    if not compiled.contracts:
        return []
    installed = {one["name"]: one.get("version") for one in await ctx.service("modules").list()}
    found = []
    for contract in compiled.contracts:
        message = _disagreement(contract["id"], contract["version"], installed)
        if message is not None:
            found.append({**contract["finding"], "message": message})
    return found


def _disagreement(plugin: str, wanted: str, installed: dict[str, str | None]) -> str | None:
    if plugin not in installed:
        return f"the contract is with the plugin '{plugin}' in version {wanted}, which is not installed"
    have = installed[plugin]
    try:
        if have is not None and satisfies(have, terms(wanted)):
            return None
    except RequirementText:
        pass  # a version that follows no order is equal to none
    return f"the contract is for version {wanted} of '{plugin}', installed is {have or 'one that names no version'}"
