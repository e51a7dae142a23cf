"""What the policy will say of a script, told before it runs: of everything it can reach, and of what it surely uses."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel import AetherraError, Context, ServiceUnavailable

from .compiled import Compiled, Compiler
from .limits import limits_of
from .rights import right_of
from .runs import on_behalf

HOUSE = "core:"
"""Members of the house may do everything, so they narrow nothing and are left out."""


class Policy(Protocol):
    """What is asked of the policy."""

    async def outlook(
        self,
        rights: list[str],
        principal: str,
        through: list[str],
        roles: list[str] | None,
        scopes: list[str] | None,
    ) -> list[dict[str, Any]]:
        """Return what a principal may do through others."""


class Reach(msgspec.Struct, frozen=True):
    """A capability that a script can reach, and what the policy says of it.

    `capability` is the spelling of scripts, `right` that of the policy. `answer` is yes, no, or depends: on the object,
    which only the run will know. `certain`: every run that reaches its end uses it, first on `line`.
    """

    capability: str
    right: str
    answer: str
    reason: str
    source: str
    hint: str
    certain: bool = False
    line: int | None = None


def behalf(ctx: Context) -> dict[str, Any]:
    """Return the caller as a run stores it: with whoever stood between, but for the house."""
    caller = ctx.chain.caller
    return {
        "id": caller.id,
        "roles": list(caller.roles),
        "scopes": None if caller.scopes is None else list(caller.scopes),
        "via": [member for member in ctx.chain.via if not member.startswith(HOUSE)],
        "proof": caller.proof,
    }


async def reach(own: Context, ctx: Context, compiled: Compiled, name: str, principal: str | None) -> list[Reach]:
    """Return what a script can reach, for whoever asks or for `principal`, which takes the right `policy:read`."""
    asked = {word: right_of(word.replace(".", ":", 1)) for word in compiled.capabilities}
    rights = {word: right for word, (right, _) in asked.items()}
    whole = {right for right, is_whole in asked.values() if is_whole}
    lines = {use.capability: use.line for use in compiled.certain}
    caller = behalf(ctx)
    through = [f"script:{name}"]
    try:
        if principal is not None:
            found = await ctx.service("policy", Policy).outlook(list(rights.values()), principal, through, None, None)
        else:
            # Asked as the house: what one may do oneself, one may know.
            found = await own.service("policy", Policy).outlook(
                list(rights.values()), caller["id"], [*caller["via"], *through], caller["roles"], caller["scopes"]
            )
    except ServiceUnavailable:
        return []
    for one in found:
        if one["answer"] == "depends" and one["right"] in whole:
            one["answer"] = "no"  # the gateway asks for all objects at once
    return [
        Reach(
            word, one["right"], one["answer"], one["reason"], one["source"], one["hint"], word in lines, lines.get(word)
        )
        for word, one in zip(rights, found, strict=True)
    ]


async def refuse_what_must_fail(
    own: Context, ctx: Context, compiler: Compiler, source: str, name: str, *, patience_s: float
) -> None:
    """Raise `Denied` for a script that surely uses a right which whoever asks does not have through it.

    A source that cannot be compiled in time passes: each right is asked once more where it is used.
    """
    caller = behalf(ctx)
    limits = await limits_of(own, caller, name)
    try:
        async with own.clock.timeout(patience_s):
            compiled = await compiler.compile(source, name, limits)
    except (AetherraError, TimeoutError):
        return
    through = on_behalf(own, caller, ctx.trace).through(f"script:{name}")
    for use in compiled.certain:
        right, whole = right_of(use.capability.replace(".", ":", 1))
        if whole:
            await through.require(right)
