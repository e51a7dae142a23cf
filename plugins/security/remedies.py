"""The smallest change that would turn a no into a yes: found by trying it, never only worded. Pure.

Each obstacle has candidates, the smallest first: a rule for one principal and one right before one for a role, for
every object, for everybody of a kind. The first under which the policy answers differently is taken, until the answer
is yes; then each is left out once more, and stays out where the answer remains yes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import msgspec

from kernel import Chain

from . import rules
from .policy import Member, Policy, Refusal, segments
from .rules import MAIN, Blocked, Mistake, PolicyFile, Rule
from .words import Words

CHANGES = 64
"""Changes in one proposal; what would need more is not proposed."""

Parts = tuple[PolicyFile, ...]


class Change(msgspec.Struct, frozen=True):
    """One change: what to do in words, where, and the exact TOML.

    `add` puts the row `toml` into `section`; `extend` puts the element `toml` into the list on `line`; `remove` takes
    the element away from there; `change` writes `toml` there; `scope` is for the token; `mend` is a mistake to correct.
    `try_with` is the entry of `with` that tries it, empty where there is none.
    """

    action: Literal["add", "extend", "remove", "change", "scope", "mend"]
    text: str
    file: str = ""
    section: str = ""
    line: int | None = None
    toml: str = ""
    try_with: str = ""


class Proposal(msgspec.Struct, frozen=True):
    """All changes that are needed together. `verified`: under them the answer is yes, and under fewer it is no.

    `tried` is how many policies were tried to find them.
    """

    changes: tuple[Change, ...]
    verified: bool
    tried: int


class _Edit(Protocol):
    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        """Return files and chain with the change made; raise `Mistake` where it cannot be written."""

    def told(self, policy: Policy) -> Iterator[Change]:
        """Yield it for people."""


class _Grant(msgspec.Struct, frozen=True):
    """A row or an element more, of allow or of the overrides."""

    effect: Literal["allow", "override"]
    who: str
    right: str

    @property
    def section(self) -> str:
        return "capabilities.allow" if self.effect == "allow" else "overrides"

    @property
    def row(self) -> str:
        return f"{_quoted(self.who)} = [{_quoted(self.right)}]"

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        return (*parts, _fragment(words, f"[{self.section}]\n{self.row}\n")), chain

    def told(self, policy: Policy) -> Iterator[Change]:
        word = "grant" if self.effect == "allow" else "override"
        again = f"{word}={self.who}={self.right}"
        for part in policy.parts:
            line = part.rows.get((self.effect, self.who))
            if line is not None:
                text = f"{part.name}:{line}: add {_quoted(self.right)} to the list of {_quoted(self.who)}"
                yield Change("extend", text, part.name, self.section, line, _quoted(self.right), again)
                return
        text = f"{MAIN}, [{self.section}]: add {self.row}"
        yield Change("add", text, MAIN, self.section, None, self.row, again)


class _Without(msgspec.Struct, frozen=True):
    """A deny less."""

    rule: Rule

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        return tuple(_replaced(part, rules=tuple(r for r in part.rules if r != self.rule)) for part in parts), chain

    def told(self, policy: Policy) -> Iterator[Change]:
        rule = self.rule
        right, who = _quoted(rule.right.text), _quoted(rule.who.text)
        narrower = "" if "*" not in f"{rule.who.text}{rule.right.text}" else ", or write it narrower"
        text = f"{rule.source}: take {right} out of what is denied to {who}{narrower}"
        yield Change("remove", text, rule.file, "capabilities.deny", rule.line, right)


class _Scope(msgspec.Struct, frozen=True):
    """A scope more for the token that the caller came with."""

    right: str

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        caller = msgspec.structs.replace(chain.caller, scopes=(*(chain.caller.scopes or ()), self.right))
        return parts, Chain(caller, chain.via)

    def told(self, policy: Policy) -> Iterator[Change]:
        yield Change("scope", f"use a token with the scope {self.right}", try_with=f"scope={self.right}")


class _Listed(msgspec.Struct, frozen=True):
    """A host more on the allowlist of the network."""

    host: str

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        return (*parts, _fragment(words, f"[network]\nallowlist = [{_quoted(self.host)}]\n")), chain

    def told(self, policy: Policy) -> Iterator[Change]:
        host = _quoted(self.host)
        yield Change("extend", f"{MAIN}, [network]: add {host} to allowlist", MAIN, "network.allowlist", None, host)


class _Unlisted(msgspec.Struct, frozen=True):
    """A host less on the denylist of the network."""

    entry: Blocked

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        return tuple(_replaced(p, denylist=tuple(e for e in p.denylist if e != self.entry)) for p in parts), chain

    def told(self, policy: Policy) -> Iterator[Change]:
        host = _quoted(self.entry.host.text)
        file, _, line = self.entry.source.partition(":")
        text = f"{self.entry.source}: take {host} out of denylist, or write it narrower"
        yield Change("remove", text, file, "network.denylist", int(line), host)


class _Unsigned(msgspec.Struct, frozen=True):
    """Everything less that wants a signature of one principal."""

    name: str

    def apply(self, parts: Parts, chain: Chain, words: Words) -> tuple[Parts, Chain]:
        return tuple(self._without(part) for part in parts), chain

    def _without(self, part: PolicyFile) -> PolicyFile:
        kept = tuple(entry for entry in part.signed if not self._means(entry))
        trust = msgspec.structs.replace(part.trust, require_signature=tuple(entry.who.text for entry in kept))
        return _replaced(part, signed=kept, trust=trust, strict_mode=False)

    def _means(self, entry: rules.Signed) -> bool:
        return entry.who.fits(tuple(self.name.split(":")))

    def told(self, policy: Policy) -> Iterator[Change]:
        for part in policy.parts:
            if part.strict_mode:
                row = "strict_mode = false"
                text = f"{part.name}:{part.strict_line}: write {row}, until the hub can verify signatures"
                yield Change("change", text, part.name, "", part.strict_line, row)
            for entry in filter(self._means, part.signed):
                who = _quoted(entry.who.text)
                file, _, line = entry.source.partition(":")
                text = f"{entry.source}: take {who} out of require_signature, until the hub can verify signatures"
                yield Change("remove", text, file, "trust.require_signature", int(line), who)


def propose(policy: Policy, chain: Chain, capability: str) -> Proposal | None:
    """Return the smallest change under which the chain may do this; None where it may, or where none is known."""
    if policy.closed is not None:
        return Proposal((Change("mend", f"mend the policy, which could not be loaded: {policy.closed}"),), False, 0)
    trying = _Trying(policy, chain, capability)
    edits: list[_Edit] = []
    refusal = trying.outcome([])
    while refusal is not None and len(edits) < CHANGES:
        found = trying.first(edits, _candidates(policy, refusal, capability), refusal)
        if found is None:
            return None
        edits.append(found[0])
        refusal = found[1]
    if refusal is not None or not edits:
        return None
    for edit in list(edits):
        fewer = [other for other in edits if other is not edit]
        if trying.outcome(fewer) is None:
            edits = fewer
    changes = tuple(change for edit in edits for change in edit.told(policy))
    return Proposal(changes, trying.outcome(edits) is None, trying.count)


class _Trying:
    """Asks a policy that has been changed, and counts how often."""

    def __init__(self, policy: Policy, chain: Chain, capability: str) -> None:
        self._policy, self._chain, self._capability = policy, chain, capability
        self.count = 0

    def outcome(self, edits: Sequence[_Edit]) -> Refusal | None:
        """Return what is in the way once these changes are made, or None; raise `Mistake` for what no file can say."""
        self.count += 1
        parts, chain = self._policy.parts, self._chain
        for edit in edits:
            parts, chain = edit.apply(parts, chain, self._policy.words)
        found = altered(self._policy, parts).judge(chain, self._capability)
        return found if isinstance(found, Refusal) else None

    def first(
        self, edits: Sequence[_Edit], candidates: Iterator[_Edit], refusal: Refusal
    ) -> tuple[_Edit, Refusal | None] | None:
        """Return the first candidate that, beside `edits`, takes this refusal away, and what is in the way then."""
        for edit in candidates:
            try:
                outcome = self.outcome([*edits, edit])
            except Mistake:
                continue  # it cannot be written into a policy file
            if outcome is None or not _same(outcome, refusal):
                return edit, outcome
        return None


def altered(policy: Policy, parts: Parts) -> Policy:
    """Return the policy that other files would make, without trying out whether a hub could run under it."""
    return Policy(parts, policy.words, hash="", network=policy.network, closed=policy.closed)


def _candidates(policy: Policy, refusal: Refusal, capability: str) -> Iterator[_Edit]:
    member, rule = refusal.member, refusal.rule
    host = ":".join(segments(capability)[2:])
    if refusal.obstacle == "missing" and member is not None:
        yield from (_Grant("allow", who, right) for right in _rights(capability) for who in _principals(member))
    elif refusal.obstacle == "denied" and member is not None and rule is not None:
        if rule.who.text == "*":
            exact = [right for right in _rights(capability) if not right.endswith("*")]
            yield from (_Grant("override", who, right) for right in exact for who in member.principals)
        yield _Without(rule)
    elif refusal.obstacle == "scope":
        yield from map(_Scope, _rights(capability))
    elif refusal.obstacle == "unsigned" and member is not None:
        yield _Unsigned(member.name)
    elif refusal.obstacle == "host denied":
        yield from (_Unlisted(entry) for entry in policy.denylist if entry.host.fits(host))
    elif refusal.obstacle == "host unlisted":
        yield _Listed(host)


def _rights(capability: str) -> list[str]:
    """Return the right itself, then those of every object: for an object that no policy file can name."""
    word = ":".join(segments(capability)[:2])
    return list(dict.fromkeys((":".join(segments(capability)), f"{word}:*", word)))


def _principals(member: Member) -> list[str]:
    """Return the member itself, then its roles, then all of its kind: for a name that no policy file can spell."""
    return [*member.principals, f"{member.name.partition(':')[0]}:*"]


def _same(one: Refusal, other: Refusal) -> bool:
    return _place(one) == _place(other)


def _place(refusal: Refusal) -> tuple[object, ...]:
    return refusal.obstacle, refusal.member and refusal.member.name, refusal.rule, refusal.source


def _fragment(words: Words, text: str) -> PolicyFile:
    """Return what the text says, read as a policy file is; raise `Mistake` where it could stand in none."""
    return rules.read(MAIN, f"version = {rules.VERSION}\n{text}".encode(), words)


def _replaced(part: PolicyFile, **fields: object) -> PolicyFile:
    return msgspec.structs.replace(part, **fields)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
