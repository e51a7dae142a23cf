"""The one gate in front of every side effect.

The kernel asks, it does not decide: a plugin with the `decider` door does. Without one the answer is no. An error while
deciding is a no as well. Every refusal is kept in a bounded ring, counted, put on record, and published as
`capability.denied`; a grant that the decider marks as audited is on record before `require` returns.
The words, and how a chain is judged: `docs/policies.md`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from kernel.audit import DENIED, GRANTED, Auditing, AuditRecord
from kernel.bus import Bus
from kernel.clock import Clock, iso
from kernel.contribution import Effect, Table, above
from kernel.errors import Denied
from kernel.events import CAPABILITY_DENIED
from kernel.metrics import Metrics, counted
from kernel.redaction import redactions

log = logging.getLogger("kernel.capabilities")

TOTAL = "aetherra_capability_decisions_total"


class Caller(msgspec.Struct, frozen=True):
    """Who began a chain: an id such as `user:local` or `core:console`, its roles, and a token's scopes if any.

    `proof` names what proved it, such as a session or a token: what outlives the request is worth nothing once that was
    revoked. It is no part of any rule.
    """

    id: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    proof: str = ""


class Chain(msgspec.Struct, frozen=True):
    """On whose behalf something happens: the caller, then every script, agent and plugin passed through, in order.

    The right of a chain is what all its members have in common, so nobody lends his power to the one before him.
    """

    caller: Caller
    via: tuple[str, ...] = ()

    def through(self, principal: str) -> Chain:
        """Return the chain with one more member; a member that is there already changes nothing."""
        if principal in self.via or principal == self.caller.id:
            return self
        return Chain(self.caller, (*self.via, principal))

    def __str__(self) -> str:
        return " → ".join((self.caller.id, *self.via))


class Decision(msgspec.Struct, frozen=True):
    """The answer to one question about a right, with its reason: which rule, in which file and line.

    A yes that is `audited` is put on record before what it allows happens; `policy` is the hash of what decided, and
    `hint` how to learn more, where the one who decides knows a way.
    """

    allowed: bool
    reason: str
    rule: str = ""
    source: str = ""
    effect: Effect = "irreversible"
    audited: bool = False
    policy: str = ""
    hint: str = ""


class Denial(msgspec.Struct, frozen=True):
    """A refusal as it is kept and published."""

    at: str
    chain: str
    capability: str
    reason: str
    source: str


NO_DECIDER = Decision(False, "no policy is loaded: nothing decides about rights, so the answer is no")


class Gate:
    """Asks the decider, records the answer, and raises `Denied` with the reason when it is no."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        table: Callable[[], Table],
        *,
        kept: int = 1_000,
        auditing: Auditing | None = None,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._table = table
        self._auditing = auditing or Auditing(table)
        self.denials: deque[Denial] = deque(maxlen=kept)
        self._yes = self._no = 0
        # Counted here and read at a scrape: a collector's own counting would cost more than the decision.
        metrics.read(lambda: self, (counted(TOTAL, "Decisions about rights", Gate._decided, ("allowed",)),))

    def _decided(self) -> Mapping[str, float]:
        return {"true": self._yes, "false": self._no}

    def decide(self, chain: Chain, capability: str) -> Decision:
        """Return the decision without recording it."""
        table = self._table()
        decider = table.decider
        if decider is None:
            return NO_DECIDER
        try:
            if table.renewer is not None:
                caller = table.renewer.item(chain.caller)
                if caller is not chain.caller:
                    chain = Chain(caller, chain.via)
            decision = decider.item(chain, capability)
            if isinstance(decision, Decision):
                return decision
            log.error("deciding about %s for %s gave %r, which is no Decision", capability, chain, decision)
        except (Exception, SystemExit, KeyboardInterrupt):
            log.exception("deciding about %s for %s failed", capability, chain)
        return Decision(False, "the policy could not be evaluated; the reason is in the hub's log")

    async def require(
        self,
        chain: Chain,
        capability: str,
        *,
        ceiling: Effect = "irreversible",
        effect: Effect | None = None,
        trace: str = "",
        plugin: str = "",
    ) -> Decision:
        """Return the decision when it is yes, an audited one once it is on record; otherwise raise `Denied`.

        `trace` and `plugin` say for the record what it belongs to and whose code asks. Raises what the auditor raises
        where the record of an audited yes cannot be committed, such as `StorageFull`: then nothing may happen.
        """
        decision = self.check(chain, capability, ceiling=ceiling, effect=effect, trace=trace, plugin=plugin)
        if decision.audited:
            await self.record(decision, chain, capability, trace=trace, plugin=plugin)
        return decision

    async def record(
        self, decision: Decision, chain: Chain, capability: str, *, trace: str = "", plugin: str = ""
    ) -> None:
        """Return once this yes is on record."""
        await self._auditing.keep(self._put(GRANTED, decision, chain, capability, trace, plugin))

    def check(
        self,
        chain: Chain,
        capability: str,
        *,
        ceiling: Effect = "irreversible",
        effect: Effect | None = None,
        trace: str = "",
        plugin: str = "",
    ) -> Decision:
        """Return the decision when it is yes; otherwise record it and raise `Denied`.

        An audited yes is not on record yet: `record` it before anything happens, or ask with `require`. `ceiling` is
        the class of effect that the function beneath which this happens has declared: whoever declared itself `read`
        cannot write, whatever the policy says. `effect` is the class of this one use where it is known to be weaker
        than the capability's: that of the function about to be called.
        """
        decision = self.decide(chain, capability)
        if decision.allowed and above(effect or decision.effect, ceiling):
            decision = Decision(
                False,
                f"a function declared {ceiling} cannot do what is {effect or decision.effect}",
                rule="class of effect",
                effect=decision.effect,
                policy=decision.policy,
            )
        if decision.allowed:
            self._yes += 1
            return decision
        raise self._refuse(chain, capability, decision, trace, plugin)

    def _refuse(self, chain: Chain, capability: str, decision: Decision, trace: str, plugin: str) -> Denied:
        """Record a refusal, and return it as the error to raise."""
        self._no += 1
        told = redactions.text(capability), redactions.text(decision.reason)
        denial = Denial(iso(self._clock.now()), str(chain), *told, decision.source)
        self.denials.append(denial)
        self._bus.emit(CAPABILITY_DENIED, msgspec.to_builtins(denial), source="kernel", trace=trace)
        self._auditing.note(self._put(DENIED, decision, chain, capability, trace, plugin))
        where = f" ({decision.source})" if decision.source else ""
        return Denied(
            f"{chain} may not {capability}: {decision.reason}{where}",
            details={
                "capability": capability,
                "chain": str(chain),
                "reason": decision.reason,
                "source": decision.source,
                **({"hint": decision.hint} if decision.hint else {}),
            },
        )

    def _put(
        self, action: str, decision: Decision, chain: Chain, capability: str, trace: str, plugin: str
    ) -> AuditRecord:
        return AuditRecord(
            self._clock.now(),
            action,
            "ok" if decision.allowed else "denied",
            str(chain),
            capability,
            decision.reason,
            decision.source,
            decision.policy,
            trace=trace,
            plugin=plugin,
        )
