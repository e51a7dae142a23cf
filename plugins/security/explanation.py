"""Why a chain may do something or not: yes or no, member by member, with the deciding line and what would change it.

Pure: it asks the policy that it is given, and policies that differ from it by what the question supposes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from kernel import BadInput, Caller, Chain, Effect, nearest

from .patterns import KINDS, Right, Who
from .policy import BUNDLED, Member, Policy, how_to_explain, members, segments
from .remedies import Proposal, altered, propose
from .rules import PolicyFile, Rule, Trust

THROUGH = 16
"""Members of a chain, besides the first, that a question may name."""
SUPPOSED = 32
"""What a question may suppose."""
NAME_MOST = 300
"""Characters of a principal or a right in a question."""

KNOWN_ROLES = {"user:local": ("role:user",), "core:console": ("role:admin",)}
"""Whose roles need no account: the caller without a token, and the hub's own user."""


class Judged(msgspec.Struct, frozen=True):
    """What the policy says of one member: the principals whose rules it has, and the rule that decides for it."""

    member: str
    principals: list[str]
    scopes: list[str] | None
    allowed: bool
    reason: str
    rule: str = ""
    source: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """Whether a chain may do something, and why.

    `members` has each member by itself; `rule` and `source` decided about the chain, and `proposal` is the smallest
    change that would turn a no into a yes. `notes` say what the answer rests on, `command` asks again, and `policy` is
    the hash of the policy that was asked.
    """

    allowed: bool
    chain: str
    principal: str
    roles: list[str]
    through: list[str]
    capability: str
    about: str
    effect: Effect
    risk: float
    reason: str
    rule: str
    source: str
    members: list[Judged]
    supposed: list[str]
    proposal: Proposal | None
    notes: list[str]
    command: str
    policy: str


class Question(msgspec.Struct, frozen=True):
    """Who wants to do what, through whom, and what is supposed: the entries of `with`."""

    caller: Caller
    capability: str
    through: tuple[str, ...] = ()
    supposed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        principal: str,
        capability: str,
        through: Iterable[str] = (),
        supposed: Iterable[str] = (),
        roles: Iterable[str] = (),
    ) -> Question:
        """Return the question; raise `BadInput` for a principal that is none, or for too much of anything."""
        via, entries = tuple(through), tuple(supposed)
        for what, given, most in (("through", via, THROUGH), ("with", entries, SUPPOSED)):
            if len(given) > most:
                raise BadInput(f"{what} is given {len(given)} times; at most {most}", details={"field": what})
        _check_text(capability, "capability")
        for entry in entries:
            _check_text(entry, "with", 3 * NAME_MOST)
        for field, name in (("principal", principal), *(("through", name) for name in via)):
            _check_principal(name, field)
        return cls(Caller(principal, tuple(roles)), capability, via, entries)


def explain(policy: Policy, question: Question, notes: Sequence[str] = ()) -> Explanation:
    """Return the answer of the policy, as far as the question supposes no other; `BadInput` for what cannot be."""
    caller = question.caller
    policy_asked, chain = _suppose(policy, question)
    capability = question.capability
    decision = policy_asked.decide(chain, capability)
    word = policy_asked.words.row(segments(capability))
    known = word is not None and policy_asked.closed is None
    return Explanation(
        allowed=decision.allowed,
        chain=str(chain),
        principal=caller.id,
        roles=list(chain.caller.roles),
        through=list(chain.via),
        capability=capability,
        about=word.about if word is not None else "",
        effect=decision.effect,
        risk=word.risk if word is not None else 0.0,
        reason=decision.reason,
        rule=decision.rule,
        source=decision.source,
        members=[_judged(policy_asked, member, capability) for member in members(chain)] if known else [],
        supposed=list(question.supposed),
        proposal=None if decision.allowed else propose(policy_asked, chain, capability),
        notes=[*notes, *_unverified(policy_asked, chain)],
        command=how_to_explain(Chain(caller, chain.via), capability, question.supposed),
        policy=policy.hash,
    )


def _unverified(policy: Policy, chain: Chain) -> Iterator[str]:
    """Yield what is decided elsewhere: whether a script that must be signed is."""
    for name in chain.via:
        foreign = name.startswith("script:") and not name.startswith(BUNDLED)
        if foreign and policy.signatures_of(name.removeprefix("script:")) == "strict":
            yield f"{name} must be signed by a key of [trust] keys; aether verify tells whether it is"


def _judged(policy: Policy, member: Member, capability: str) -> Judged:
    outcome = policy.unsigned(member) or policy.judge_member(member, segments(capability), capability)
    scopes = None if member.scopes is None else list(member.scopes)
    if isinstance(outcome, Rule):
        return Judged(member.name, list(member.principals), scopes, True, outcome.text, outcome.text, outcome.source)
    rule, source = (outcome.rule.text, outcome.rule.source) if outcome.rule else (outcome.label, outcome.source)
    return Judged(member.name, list(member.principals), scopes, False, outcome.reason, rule, source)


def _suppose(policy: Policy, question: Question) -> tuple[Policy, Chain]:
    """Return policy and chain as the entries of `with` make them."""
    found: list[Rule] = []
    roles, scopes = list(question.caller.roles), question.caller.scopes
    for number, entry in enumerate(question.supposed, 1):
        kind, equals, rest = entry.partition("=")
        if kind == "role" and equals and rest:
            role = rest if rest.startswith("role:") else f"role:{rest}"
            roles += [] if role in roles else [role]
        elif kind == "scope" and equals:
            scopes = (*(scopes or ()), *([rest] if rest else []))
        elif kind in ("grant", "deny", "override") and rest:
            who, named, right = rest.partition("=")
            who, right = (who, right) if named else (question.caller.id, rest)
            found.append(_supposed_rule(policy, kind, who, right, number))
        else:
            close = nearest(kind, ["grant", "deny", "override", "role", "scope"])
            hint = f"; did you mean {close!r}?" if close and close != kind else ""
            raise BadInput(
                f"with {entry!r:.80}: expected grant=PRINCIPAL=RIGHT, grant=RIGHT, deny=.., override=.., role=ROLE or "
                f"scope=RIGHT{hint}",
                details={"field": "with"},
            )
    caller = Caller(question.caller.id, tuple(roles), scopes)
    chain = Chain(caller)
    for name in question.through:
        chain = chain.through(name)
    extra = PolicyFile("with", tuple(found), (), (), (), Trust(), False)
    # Always a policy of its own: a thread may explain while the loop decides by the one in force.
    return altered(policy, (*policy.parts, extra)), chain


def _supposed_rule(policy: Policy, kind: str, who: str, right: str, number: int) -> Rule:
    try:
        pattern, wanted = Who.parse(who), Right.parse(right)
    except ValueError as error:
        raise BadInput(f"with {kind}: {error}", details={"field": "with"}) from None
    mistake = policy.words.mistake(wanted)
    if mistake is None and kind == "override" and "*" in who + right:
        mistake = f"{who}={right} has a wildcard; an override names principal and right exactly"
    if mistake is not None:
        raise BadInput(f"with {kind}: {mistake}", details={"field": "with"})
    effect = {"grant": "allow", "deny": "deny", "override": "override"}[kind]
    return Rule(effect, pattern, wanted, "with", number)  # type: ignore[arg-type]


def _check_text(text: str, field: str, most: int = NAME_MOST) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, as a terminal may give one, can be written into no file
        raise BadInput(f"{field}: {text[:80]!r} is no text", details={"field": field}) from None
    if len(text) > most:
        raise BadInput(f"{field}: {text[:80]!r}.. has more than {most} characters", details={"field": field})


def _check_principal(name: str, field: str) -> None:
    _check_text(name, field)
    kind, colon, rest = name.partition(":")
    if "*" in name:
        raise BadInput(f"{name!r}: one principal is asked about at a time, without *", details={"field": field})
    if name == "anonymous" or (kind in KINDS and colon and rest):
        return
    close = nearest(kind, [*KINDS, "anonymous"])
    hint = (
        f"did you mean {close!r}?" if close and close != kind else f"expected {':NAME, '.join(KINDS)}:NAME or anonymous"
    )
    raise BadInput(f"{name!r} is no principal; {hint}", details={"field": field})
