"""What changes between two policies: the words of the files, and the decisions that come of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kernel import Caller, Chain

from .explanation import KNOWN_ROLES
from .patterns import Pattern
from .policy import Policy

SAMPLE = "any"
"""The name that stands for everything a `*` means."""


class Line(msgspec.Struct, frozen=True, order=True):
    """Something that only one of the two policies says: `added` or `removed`, what, and where it stands."""

    section: str
    text: str
    added: bool
    source: str = ""


class Turned(msgspec.Struct, frozen=True):
    """A decision that the second policy takes another way: `allowed` there, with its reason and place."""

    principal: str
    capability: str
    allowed: bool
    reason: str
    source: str


class Comparison(msgspec.Struct, frozen=True):
    """Everything that differs; `asked` is for how many pairs of principal and right the decisions were compared."""

    lines: list[Line]
    decisions: list[Turned]
    asked: int

    @property
    def same(self) -> bool:
        """True when nothing differs."""
        return not self.lines and not self.decisions


def compare(before: Policy, after: Policy) -> Comparison:
    """Return what differs, in words and in decisions about all principals and rights that either policy names."""
    old, new = _said(before), _said(after)
    lines = [Line(*key, added=True, source=new[key]) for key in new.keys() - old.keys()]
    lines += [Line(*key, added=False, source=old[key]) for key in old.keys() - new.keys()]
    rights = _rights(before, after)
    turned: list[Turned] = []
    callers = _callers(before, after)
    for caller in callers:
        for right in rights:
            was, now = before.decide(Chain(caller), right), after.decide(Chain(caller), right)
            if was.allowed != now.allowed:
                turned.append(Turned(caller.id, right, now.allowed, now.reason, now.source))
    return Comparison(sorted(lines), turned, len(callers) * len(rights))


def _said(policy: Policy) -> dict[tuple[str, str], str]:
    """Return everything a policy says as (section, text) with its place; what is said twice has its first place."""
    found: dict[tuple[str, str], str] = {}
    for section, text, source in _statements(policy):
        found.setdefault((section, text), source)
    return found


def _statements(policy: Policy) -> Iterator[tuple[str, str, str]]:
    for rule in policy.rules:
        yield "rules", rule.text, rule.source
    for part in policy.parts:
        for limit in part.limits:
            for name, value in limit.values.items():
                yield f"limits.{limit.who.text}", f"{name} = {value}", part.name
        for entry in part.signed:
            yield "trust.require_signature", entry.who.text, entry.source
    for which, entries in (("allowlist", policy.allowlist), ("denylist", policy.denylist)):
        for blocked in entries:
            yield f"network.{which}", blocked.host.text, blocked.source
    for name, key in policy.trust.keys.items():
        yield "trust.keys", f"{name} = {key}", ""
    for folder in policy.trust.plugin_folders:
        yield "trust.plugin_folders", folder, ""
    if policy.trust.auto_integrate_min_score is not None:
        yield "trust", f"auto_integrate_min_score = {policy.trust.auto_integrate_min_score}", ""
    if policy.trust.signatures is not None:
        yield "trust", f'signatures = "{policy.trust.signatures}"', ""
    if policy.strict_mode:
        yield "strict_mode", "strict_mode = true", ""
    if policy.network_strict:
        yield "network", "only the allowlist can be reached", ""
    if policy.closed is not None:
        yield "closed", policy.closed, ""


def _callers(*policies: Policy) -> list[Caller]:
    """Return everybody that either policy names, with a made-up name for each pattern, and whoever needs no account."""
    names = {"anonymous", f"core:{SAMPLE}", *KNOWN_ROLES}
    for policy in policies:
        names |= {_instance(rule.who) for rule in policy.rules if rule.who.text != "*"}
    return [Caller(name, KNOWN_ROLES.get(name, ())) for name in sorted(names)]


def _rights(*policies: Policy) -> list[str]:
    """Return every word, alone and with `own` where that is an object; and each right that either policy names."""
    found: set[str] = set()
    for policy in policies:
        for word, row in policy.words.all.items():
            found |= {word, f"{word}:own"} if "own" in row.object else {word}
        for rule in policy.rules:
            if rule.right.segments and "*" not in rule.right.segments[:2] and len(rule.right.text.split(":")) > 2:
                found.add(_instance(rule.right))
    return sorted(found)


def _instance(pattern: Pattern) -> str:
    """Return a name that the pattern fits."""
    named = [SAMPLE if segment == "*" else segment for segment in pattern.segments]
    if pattern.rest is not None:
        named.append(pattern.rest + SAMPLE)
    return ":".join(named)
