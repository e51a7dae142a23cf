"""What the hub does about effects themselves: may they happen, do they happen together, can they be taken back; what a
script requires; what a plugin block keeps between runs (language reference, 11.2, 12.3, 12.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from aether_lang.contracts import RequirementText, requirement, satisfies
from kernel import Context, TooLarge

from .faults import fault
from .rights import right_of

Named = dict[str, Any]
TAKEN_BACK_MOST: Final = 50
"""Transactions of one run that can still be taken back; older ones cannot."""
STATE_BYTES: Final = 64 * 1024
"""Bytes of JSON that a plugin block may keep between runs."""


class CommitsView(Protocol):
    """What these operations may know and change of the run."""

    @property
    def name(self) -> str:
        """The script's name."""

    @property
    def before(self) -> dict[str, Named]:
        """By token, what a committed transaction put something else in the place of."""


Carry = Callable[[str, Named], Awaitable[Any]]
Permit = Callable[[str, Named], Awaitable[None]]


class Commits:
    """The operations of one run; `carry` and `permit` are the gateway's own way for one operation."""

    def __init__(self, run: CommitsView, carry: Carry, permit: Permit) -> None:
        self._run = run
        self._carry = carry
        self._permit = permit

    # Transactions ------------------------------------------------------------------------------------------------

    async def permit(self, ctx: Context, operation: str, args: Named) -> None:
        """Raise what the operation would raise for want of a right; nothing happens."""
        await self._permit(operation, args)

    async def commit(self, ctx: Context, token: str, changes: Named, deferred: list[Named]) -> Named:
        """Write all changes at once, then tell what was kept back; how many were told."""
        if any(changes.values()):
            before = await ctx.service("memory").apply(changes)
            kept = self._run.before
            kept[token] = before
            while len(kept) > TAKEN_BACK_MOST:
                del kept[next(iter(kept))]
        for one in deferred:
            await self._carry(str(one.get("operation")), one.get("args") or {})
        return {"token": token, "told": len(deferred)}

    async def undo(self, ctx: Context, token: str) -> bool:
        """Put back what was there before a commit; false when that is no longer known."""
        before = self._run.before.pop(token, None)
        if before is None:
            return False
        await ctx.service("memory").apply(before)
        return True

    async def effect(self, ctx: Context, name: str) -> Named:
        """The class of effect of a function, its full name, what takes it back, and the schema of its result."""
        full = ctx.table.bare_functions.get(name, (name,))
        owned = ctx.table.functions.get(full[0]) if len(full) == 1 else None
        if owned is None:
            return {"name": name, "effect": None, "undo": None, "output": None}
        item = owned.item
        output = _schema(item.signature.result)
        return {"name": item.name, "effect": item.effect, "undo": item.undo, "output": output}

    # What a script requires --------------------------------------------------------------------------------------

    async def unmet(
        self,
        ctx: Context,
        plugins: list[str] | None = None,
        capabilities: list[str] | None = None,
        agents: list[str] | None = None,
        models: list[str] | None = None,
    ) -> list[str]:
        """Whatever is required and is not there, each in words; of capabilities the words themselves."""
        found = []
        installed = {one["name"]: one for one in await ctx.service("modules").list()} if plugins else {}
        for text in plugins or []:
            found += _unmet_plugin(text, installed)
        for word in capabilities or []:
            right, whole = right_of(word.replace(".", ":", 1))
            if whole and not ctx.may(right):  # else it depends on the object, which only the call has
                found.append(word)
        for service, wanted in (("agents", agents), ("ai", models)):
            if wanted and service not in ctx.table.services:
                found += [f"{one} (no loaded plugin provides the service {service!r})" for one in wanted]
        return found

    async def breach(self, ctx: Context, plugin: str, declared: str, capability: str) -> None:
        """Put on record that a plugin block did more than it declares."""
        await ctx.audit("script.breach", "ok", script=self._run.name, block=plugin[:100], declared=declared[:40],
                        capability=capability[:80])  # fmt: skip

    # What a plugin block keeps -----------------------------------------------------------------------------------

    async def load_state(self, ctx: Context, plugin: str) -> Any:
        """What the block kept at the end of its last run for this user, or null."""
        row = ctx.store.one(
            "SELECT value FROM scripts__state WHERE owner = ? AND script = ? AND plugin = ?",
            (ctx.owner, self._run.name, plugin),
        )
        return None if row is None else msgspec.json.decode(row["value"])

    async def save_state(self, ctx: Context, plugin: str, value: Named) -> None:
        """Keep a block's state for its next run."""
        data = msgspec.json.encode(value)
        if len(data) > STATE_BYTES:
            raise TooLarge(f"the state of plugin '{plugin}' has {len(data)} bytes, at most {STATE_BYTES} are kept")
        row = (ctx.owner, self._run.name, plugin[:200], data.decode(), ctx.clock.now())
        await ctx.store.write(lambda tx: tx.execute(_SAVE, row).rowcount)


_SAVE = (
    "INSERT INTO scripts__state (owner, script, plugin, value, updated_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (owner, script, plugin) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
)


def _schema(type: Any) -> Named | None:
    try:
        return msgspec.json.schema(type)
    except (TypeError, ValueError):
        return None  # data of any shape


def _unmet_plugin(text: str, installed: dict[str, Named]) -> list[str]:
    try:
        name, wanted = requirement(text)
        found = installed.get(name)
        if found is None:
            return [f"{text} (not installed)"]
        if found.get("status") != "active":
            return [f"{text} (it is {found.get('status')})"]
        have = found.get("version")
        if wanted and (have is None or not satisfies(have, wanted)):
            return [f"{text} (installed is {have or 'one without a version'})"]
    except RequirementText as error:
        raise fault("RequirementError", str(error)) from None
    return []


TABLE: Final[dict[str, Callable[..., Any]]] = {
    "effect.permit": Commits.permit,
    "effect.commit": Commits.commit,
    "effect.undo": Commits.undo,
    "plugin.effect": Commits.effect,
    "require.unmet": Commits.unmet,
    "audit.breach": Commits.breach,
    "state.load": Commits.load_state,
    "state.save": Commits.save_state,
}
