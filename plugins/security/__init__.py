"""security decides who may do what, by the files in the policies folder; an edit takes effect when it is saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from kernel import BadInput, Caller, Chain, Context, Decision, NotFound, Plugin, iso, needs

from . import commands
from .examination import look
from .explanation import KNOWN_ROLES, Explanation, Question
from .explanation import explain as explained
from .folder import Keeper, Outcome
from .patterns import Right
from .policy import AUDITED_FROM_RISK, NOT_AUDITED, REMEMBERED, Audited, Outlook
from .rules import VERSION, SignatureMode, Trust
from .sources import InForceFiles, network_of

security = Plugin(
    "security",
    version="0.1.0",
    description="Decides about every right, by the policy files, which may be edited while the hub runs.",
    category="system",
    topics=["policy"],
)
loads = security.counter(
    "aetherra_policy_loads_total", "Changes of the policy files, by what came of them", ("outcome",)
)

keeper = Keeper()

security.gauge(
    "aetherra_policy_stale",
    "1 while the newest edit of the policy is not in force, for a mistake in it",
    read=lambda: keeper.mistake is not None,
)
security.gauge(
    "aetherra_policy_closed",
    "1 while no policy could be read at all, and nothing but the console works",
    read=lambda: keeper.policy.closed is not None,
)
security.gauge(
    "aetherra_policy_loaded_timestamp_seconds",
    "When the policy in force was read, 0 for never",
    read=lambda: keeper.loaded_at or 0,
)


Count = Annotated[int, msgspec.Meta(ge=1)]


@security.settings
class Settings(msgspec.Struct, frozen=True):
    """`[plugins.security]`."""

    decisions_kept: Count = REMEMBERED
    """Decisions that are remembered until the policy changes."""
    settle_ms: Count = 200
    """How long the policy folder must have been quiet before it is read anew."""
    audited_risk: Annotated[float, msgspec.Meta(ge=0)] = AUDITED_FROM_RISK
    """From this risk on (policies/capabilities.toml) the grant of a right is on record before its use; 0: of every
    right."""
    not_audited: tuple[str, ...] = NOT_AUDITED
    """Words whose grants are not on record all the same."""


@security.decider
def decide(chain: Chain, capability: str) -> Decision:
    """Return whether every member of the chain may do this, with the rule, its place, and the reason in words."""
    return keeper.policy.decide(chain, capability)


@security.trusts
def trusts(folder: str) -> bool:
    """Return whether `[trust] plugin_folders` lets what is dropped into `folder` run in the hub's own process."""
    named = (Path(name).expanduser().resolve() for name in keeper.policy.trust.plugin_folders)
    return Path(folder).resolve() in named


security.examination(look)


@security.lifespan
async def opened(ctx: Context) -> AsyncIterator[None]:
    """Read the policy before anything is decided."""
    network = network_of(ctx.config)
    paths = ctx.config.paths
    kept, audited = ctx.settings.decisions_kept, Audited(ctx.settings.audited_risk, ctx.settings.not_audited)
    await tell(ctx, await keeper.open(paths.policies, paths.bundled_policies, network, ctx.clock, kept, audited))
    yield


@security.task("watch policies")
async def watch_policies(ctx: Context) -> None:
    """Put an edit in force as soon as it has settled, and say what came of it."""
    await keeper.watch(ctx.clock, ctx.settings.settle_ms, partial(tell, ctx))


@security.health
def health() -> str | None:
    """Return that the policy in force is not the one in the folder, and why."""
    if keeper.mistake is None:
        return None
    return f"policy: {'closed' if keeper.policy.closed else 'stale'}: {keeper.mistake}"


async def tell(ctx: Context, outcome: Outcome) -> None:
    """Log, count and publish what became of a change of the files."""
    policy, mistake = keeper.policy, keeper.mistake
    ctx.metric(loads).labels(outcome).inc()
    if outcome == "loaded":
        ctx.log.info("policy %s from %s: %d rules", policy.hash[:12], keeper.folder, len(policy.rules))
        await ctx.publish(
            "policy.loaded", {"hash": policy.hash, "files": list(policy.files), "rules": len(policy.rules)}
        )
    elif mistake is not None:
        kept = f"nothing but {'the console works' if policy.closed else 'the policy before it is in force'}"
        ctx.log.error("policy: %s (%s)", mistake, kept)
        failure = {"file": mistake.file, "line": mistake.line, "message": mistake.message, "hash": policy.hash}
        await ctx.publish("policy.failed", failure)


class WrongEdit(msgspec.Struct):
    """What is wrong with the latest edit of the policy files."""

    file: str
    line: int | None
    message: str


class InForce(msgspec.Struct):
    """Which policy is in force since when, what is wrong with the latest edit, and what the files trust.

    `stale`: the latest edit is wrong, and the policy before it is in force; `closed`: nothing but the console works.
    """

    version: int
    hash: str
    folder: str
    files: list[str]
    rules: int
    loaded_at: str | None
    stale: bool
    closed: bool
    error: WrongEdit | None
    strict_mode: bool
    network_strict: bool
    trust: Trust


class Foreseen(msgspec.Struct):
    """What the policy says of a right before it is used. `depends`: yes for some objects only."""

    right: str
    answer: Outlook
    reason: str
    source: str
    hint: str


class Signatures(msgspec.Struct):
    """What a script without a valid signature meets: `off` nothing, `warn` a warning, `strict` a refusal.

    `keys` are those whose signatures count, by id: `ed25519:` and the public key in base64.
    """

    mode: SignatureMode
    keys: dict[str, str]


def _foreseen(chain: Chain, right: str) -> Foreseen:
    answer, decision = keeper.policy.outlook(chain, right)
    return Foreseen(right, answer, decision.reason, decision.source, decision.hint)


@security.service("policy")
class PolicyService:
    """The policy as others may see it, and the order to read it again."""

    @needs("policy:read")
    async def snapshot(self, ctx: Context) -> dict[str, Any]:
        """Return `capabilities`, `network` and `strict_mode`, in the documented shape."""
        return keeper.policy.snapshot()

    @needs("policy:read")
    async def meta(self, ctx: Context) -> InForce:
        """Return which policy is in force since when, what is wrong with the latest edit, and what the files trust."""
        policy, mistake = keeper.policy, keeper.mistake
        return InForce(
            version=VERSION,
            hash=policy.hash,
            folder=str(keeper.folder),
            files=list(policy.files),
            rules=len(policy.rules),
            loaded_at=iso(keeper.loaded_at) if keeper.loaded_at is not None else None,
            stale=mistake is not None,
            closed=policy.closed is not None,
            error=WrongEdit(mistake.file, mistake.line, mistake.message) if mistake else None,
            strict_mode=policy.strict_mode,
            network_strict=policy.network_strict,
            trust=policy.trust,
        )

    @needs("policy:read")
    async def check_words(self, ctx: Context, words: list[str]) -> list[dict[str, str]]:
        """Return, for each right that is misspelt or unknown, what is wrong with it; an empty list is a yes to all."""
        found = []
        for word in words:
            try:
                mistake = keeper.policy.words.mistake(Right.parse(word))
            except ValueError as error:
                mistake = str(error)
            if mistake is not None:
                found.append({"word": word, "message": mistake})
        return found

    @needs("policy:read")
    async def explain(
        self,
        ctx: Context,
        principal: str,
        capability: str,
        through: list[str] = [],  # noqa: B006 - a default that is copied for each call
        supposed: list[str] = [],  # noqa: B006
    ) -> Explanation:
        """Return whether a principal may do something through others, member by member, and what would change a no.

        `supposed` are entries such as `grant=agent:a=memory:read`. Raises `BadInput` for a question that is none.
        """
        asked = Question.of(principal, capability, through, supposed)
        roles, notes = await _roles_of(ctx, principal)
        asked = Question.of(principal, capability, through, supposed, roles)
        # A no is explained by trying policies: milliseconds that the loop does not have.
        return await asyncio.to_thread(explained, keeper.policy, asked, notes)

    @needs("policy:read")
    async def outlook(
        self,
        ctx: Context,
        rights: list[str],
        principal: str,
        through: list[str] = [],  # noqa: B006 - a default that is copied for each call
        roles: list[str] | None = None,
        scopes: list[str] | None = None,
    ) -> list[Foreseen]:
        """Return what a principal may do through others, for rights whose objects are not known yet.

        Without `roles` the principal has those of its account. Raises `BadInput` for a principal that is none.
        """
        found = (await _roles_of(ctx, principal))[0] if roles is None else tuple(roles)
        caller = Caller(principal, found, None if scopes is None else tuple(scopes))
        chain = Chain(caller, Question.of(principal, "", through).through)
        return [_foreseen(chain, right) for right in rights]

    @needs("system:admin")
    async def files(self, ctx: Context) -> InForceFiles:
        """Return the text of the files in force, to be compared with others."""
        policy = keeper.policy
        return InForceFiles(
            hash=policy.hash,
            closed=policy.closed,
            network=policy.network,
            files={name: raw.decode() for name, raw in policy.sources.items()},
        )

    @needs("policy:read")
    async def limits(self, ctx: Context, through: list[str]) -> dict[str, float]:
        """Return the limits of what the calling chain runs through these principals, such as `script:ci/a.aether`."""
        chain = ctx.chain
        for principal in through:
            chain = chain.through(principal)
        return keeper.policy.limits_for(chain)

    @needs("policy:read")
    async def signatures(self, ctx: Context, script: str) -> Signatures:
        """Return what the script of that name, such as `ci/a.aether`, meets without a valid signature, and the keys."""
        return Signatures(keeper.policy.signatures_of(script), keeper.policy.trust.keys)

    @needs("policy:write")
    async def reload(self, ctx: Context, force: bool = False) -> InForce:
        """Read the files now and return what is in force; `BadInput` names the line that was wrong.

        Unless forced, a policy under which the caller could not change it again is refused.
        """
        outcome = await keeper.refresh(ctx.clock, admin=None if force else ctx.chain.caller)
        if outcome != "unchanged":
            await tell(ctx, outcome)
        mistake = keeper.mistake
        if mistake is not None:
            details = {"file": mistake.file, "line": mistake.line, "message": mistake.message}
            raise BadInput(f"the policy stays as it was: {mistake}", code="POLICY_REFUSED", details=details)
        return await self.meta(ctx)


@security.post("/api/security/reload", needs="policy:write", raises=())
async def reload_policy(ctx: Context, force: bool = False) -> InForce:
    """Read the policy files now; a broken one leaves the last good policy in force, and the answer says why."""
    # A door of this plugin itself: no other plugin may stand between an administrator and the right to do this.
    return await PolicyService().reload(ctx, force)


@security.get("/api/security/explain", needs="policy:read", raises=(NotFound,))
async def explain_decision(
    ctx: Context,
    principal: str,
    capability: str,
    through: list[str] = [],  # noqa: B006 - a default that is copied for each request
    with_: list[str] = [],  # noqa: B006
) -> Explanation:
    """Say whether a principal may do something, member by member, and the smallest change that would make it a yes.

    `through` are the scripts, agents and plugins between, in order. `with` supposes: `grant=PRINCIPAL=RIGHT`,
    `grant=RIGHT` for the principal itself, `deny=..`, `override=..`, `role=ROLE`, `scope=RIGHT`.
    """
    return await PolicyService().explain(ctx, principal, capability, through, with_)


@security.get("/api/security/files", needs="system:admin", effect="read", raises=())
async def files_in_force(ctx: Context) -> InForceFiles:
    """Return the text of the policy files in force, which may differ from what lies in the folder by now."""
    return await PolicyService().files(ctx)


@security.uses("users")
class Users(Protocol):
    """What is asked of whoever keeps accounts."""

    async def roles_of(self, name: str) -> list[str]:
        """Return the roles of an account; raise `NotFound` where there is none."""


async def _roles_of(ctx: Context, principal: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the roles of a principal, and what must be said about them."""
    caller = ctx.chain.caller
    if principal == caller.id:
        return caller.roles, []
    if principal in KNOWN_ROLES or not principal.startswith("user:"):
        return KNOWN_ROLES.get(principal, ()), []
    if "users" not in ctx.table.services:
        return (), [f"no plugin keeps accounts, so {principal} is judged without roles; with role=.. supposes some"]
    try:
        found = await ctx.service("users", Users).roles_of(name=principal.removeprefix("user:"))
    except NotFound:
        return (), [f"there is no account {principal}, so it is judged without roles; with role=.. supposes some"]
    return tuple(role if role.startswith("role:") else f"role:{role}" for role in found), []


commands.add(security)
