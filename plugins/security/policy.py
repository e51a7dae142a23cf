"""The policy in force: rules of all files as one set, and the decision about a right, with its reason. Pure.

How a chain of principals is judged: `docs/policies.md`. The order of rules and files never matters.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kernel import Caller, Chain, Decision

from . import rules
from .network import Host
from .patterns import Right, Who
from .rules import MAIN, Blocked, Mistake, PolicyFile, Rule, Trust
from .words import Words

FILES = 64
"""Policy files in one folder."""

REMEMBERED = 8_192
"""Decisions kept for one policy, and as many principals' rules, unless told otherwise; the oldest goes first."""

CONSOLE = Caller("core:console", ("role:admin",))

BUNDLED = ("core:", "script:system/")
"""What comes with the hub: trusted by its folder, never by a signature."""

AUDITED_FROM_RISK = 0.2
"""From this risk on, the grant of a right is on record before its use: running the house, editing files, secrets."""

NOT_AUDITED = ("net:http",)
"""Words left out of that: each request of each script would be a record, and the script's own journal has it."""

_MUST_WORK = ("system:read", "memory:write", "storage:write", "event:emit", "plugin:manage", "job:read")
_CONSOLE_MUST = (*_MUST_WORK, "system:admin", "policy:write")


class NetworkSettings(msgspec.Struct, frozen=True):
    """What the environment adds: hosts to the allowlist, and `strict`, which makes the allowlist the only way out."""

    strict: bool = False
    allowlist: tuple[str, ...] = ()


class Audited(msgspec.Struct, frozen=True):
    """Which grants are put on record: those of words from this risk on, but for some."""

    from_risk: float = AUDITED_FROM_RISK
    leaving_out: tuple[str, ...] = NOT_AUDITED


class _Held(msgspec.Struct, frozen=True):
    """The rules that apply to one principal, by the domain of the right; `anywhere` those with a `*` there."""

    by_domain: Mapping[str, Sequence[Rule]]
    anywhere: Sequence[Rule]

    def about(self, domain: str) -> Iterator[Rule]:
        yield from self.by_domain.get(domain, ())
        yield from self.anywhere


class _Member(msgspec.Struct, frozen=True):
    """One member of a chain: what it is called, the principals whose rules it has, and a token's scopes."""

    name: str
    principals: tuple[str, ...]
    scopes: tuple[str, ...] | None = None


class Policy:
    """All policy files of one moment, merged; `decide` and `limits_for` answer for a chain.

    `hash` names the files' content and what the environment adds. `closed` holds the reason when nothing could be
    loaded: then everybody but the console is denied everything.
    """

    def __init__(
        self,
        files: Sequence[PolicyFile],
        words: Words,
        *,
        hash: str,
        network: NetworkSettings | None = None,
        closed: str | None = None,
        remembered: int = REMEMBERED,
        audited: Audited | None = None,
    ) -> None:
        network = network or NetworkSettings()
        self.files = tuple(file.name for file in files)
        self.rules = tuple(rule for file in files for rule in file.rules)
        self.strict_mode = any(file.strict_mode for file in files)
        self.network_strict = self.strict_mode or network.strict
        self.allowlist = (*(b for f in files for b in f.allowlist), *_from_environment(network.allowlist))
        self.denylist = tuple(b for f in files for b in f.denylist)
        self.trust = _merged_trust(files)
        self.words = words
        self.hash = hash
        self.closed = closed
        self._remembered = remembered
        self._audited = _on_record(words, audited or Audited())
        self._limits = tuple(limit for file in files for limit in file.limits)
        self._exact, self._open = _by_principal(self.rules)
        strict = ("plugin:*", "script:*") if self.strict_mode else ()
        self._must_sign = tuple(Who.parse(text) for text in (*self.trust.require_signature, *strict))
        self._held: dict[str, _Held] = {}
        self._decisions: dict[tuple[Chain, str], Decision] = {}

    @classmethod
    def load(
        cls,
        sources: Mapping[str, bytes],
        words: Words,
        network: NetworkSettings | None = None,
        *,
        remembered: int = REMEMBERED,
        audited: Audited | None = None,
    ) -> Policy:
        """Return the policy that the files (name to content) make together, tried out; raise `Mistake` otherwise."""
        if MAIN not in sources:
            raise Mistake(MAIN, None, "the main policy file is missing")
        if len(sources) > FILES:
            raise Mistake(MAIN, None, f"more than {FILES} policy files in one folder")
        files = [rules.read(name, sources[name], words) for name in sorted(sources)]
        name = fingerprint(sources, network)
        policy = cls(files, words, hash=name, network=network, remembered=remembered, audited=audited)
        policy.try_out()
        return policy

    @classmethod
    def shut(cls, reason: str, words: Words) -> Policy:
        """Return the policy of a first start with a mistake: no for everybody but the console."""
        return cls([], words, hash="", closed=reason)

    # Deciding ----------------------------------------------------------------------------------------------------

    def decide(self, chain: Chain, capability: str) -> Decision:
        """Return whether every member of the chain may do this, and why; remembered, since nothing can change it."""
        key = (chain, capability)
        known = self._decisions.get(key)
        if known is not None:
            return known
        decision = self._judge(chain, capability)
        on_record = decision.allowed and tuple(capability.split(":")[:2]) in self._audited
        decision = msgspec.structs.replace(decision, audited=on_record, policy=self.hash)
        self._remember(self._decisions, key, decision)
        return decision

    def _judge(self, chain: Chain, capability: str) -> Decision:
        asked = tuple(unicodedata.normalize("NFC", capability).split(":"))
        word = self.words.row(asked)
        if word is None or asked[2:] == ("",):
            return Decision(False, f"there is no right {capability!r}{self.words.hint(':'.join(asked[:2]))}")
        if self.closed is not None:
            return self._judge_closed(chain, word.effect)
        unsigned = self._unsigned(chain)
        if unsigned is not None:
            return Decision(False, unsigned, "signature", MAIN, word.effect)
        deciding: list[Rule] = []
        for member in members(chain):
            rule, refusal = self._member(member, asked, capability)
            if rule is None or refusal is not None:
                text, source = (rule.text, rule.source) if rule else ("", "")
                return Decision(False, refusal or "", text, source, word.effect)
            deciding.append(rule)
        barred = self._barred(asked)
        if barred is not None:
            return Decision(False, barred[0], "network", barred[1], word.effect)
        last = deciding[-1]
        reason = "; ".join(dict.fromkeys(f"{rule.text} ({rule.source})" for rule in deciding))
        return Decision(True, reason, last.text, last.source, word.effect)

    def _unsigned(self, chain: Chain) -> str | None:
        """Return why a member is refused whose signature the policy wants; what is bundled is trusted by its folder."""
        for name in (chain.caller.id, *chain.via):
            if not name.startswith(BUNDLED) and any(who.fits(tuple(name.split(":"))) for who in self._must_sign):
                why = "strict_mode or [trust] require_signature wants a signature"
                return f"{name} is refused: {why}, and this version of the hub verifies none"
        return None

    def _judge_closed(self, chain: Chain, effect: Any) -> Decision:
        if chain.caller.id == CONSOLE.id and not chain.via:
            return Decision(True, f"the console repairs what is broken: {self.closed}", effect=effect)
        reason = f"the policy could not be loaded, so only {CONSOLE.id} may do anything: {self.closed}"
        return Decision(False, reason, effect=effect)

    def _member(self, member: _Member, asked: tuple[str, ...], capability: str) -> tuple[Rule | None, str | None]:
        """Return the rule that decides for one member, and a refusal in words when it is no."""
        held = [self._rules_of(principal) for principal in member.principals]
        about = [rule for each in held for rule in each.about(asked[0])]
        lifted = any(rule.effect == "override" and rule.right.covers(asked) for rule in about)
        for rule in about:
            if rule.effect == "deny" and rule.right.touches(asked) and not (lifted and rule.who.text == "*"):
                hint = "; [overrides] lifts it, for an exact principal only" if rule.who.text == "*" else ""
                return rule, f"{rule.text} denies it to {member.name}{hint}"
        allowing = next((rule for rule in about if rule.effect == "allow" and rule.right.covers(asked)), None)
        if allowing is None:
            who = member.principals[-1] if len(member.principals) > 1 else member.name
            what = f'no rule allows {capability} for {member.name}; if it should, add "{who}" = ["{capability}"]'
            return None, f"{what} to [capabilities.allow] in {MAIN}"
        if member.scopes is not None and not any(_scope_covers(scope, asked) for scope in member.scopes):
            return None, f"the token of {member.name} does not have the scope {capability}"
        return allowing, None

    def _rules_of(self, principal: str) -> _Held:
        held = self._held.get(principal)
        if held is None:
            asked = tuple(principal.split(":"))
            found = [*self._exact.get(principal, ()), *(r for r in self._open if r.who.fits(asked))]
            by_domain: dict[str, list[Rule]] = {}
            anywhere: list[Rule] = []
            for rule in found:
                domain = rule.right.segments[0] if rule.right.segments else "*"
                (anywhere if domain == "*" else by_domain.setdefault(domain, [])).append(rule)
            held = _Held(by_domain, anywhere)
            self._remember(self._held, principal, held)
        return held

    def _remember(self, memory: dict[Any, Any], key: Any, value: Any) -> None:
        if len(memory) >= self._remembered:
            del memory[next(iter(memory))]
        memory[key] = value

    def _barred(self, asked: tuple[str, ...]) -> tuple[str, str] | None:
        """Return why a host may not be reached, and the place that says so; None when it may or none is named."""
        if asked[:2] != ("net", "http") or len(asked) < 3:
            return None
        host = ":".join(asked[2:])
        try:
            denied = next((entry for entry in self.denylist if entry.host.fits(host)), None)
            listed = any(entry.host.fits(host) for entry in self.allowlist)
        except ValueError as error:
            return str(error), ""
        if denied is not None:
            return f"{host} is on the network denylist, as {denied.host.text!r}", denied.source
        if self.network_strict and not listed:
            return f"{host} is not on the network allowlist, and the network is strict", MAIN
        return None

    # What else a policy says -------------------------------------------------------------------------------------

    def limits_for(self, chain: Chain) -> dict[str, float]:
        """Return the limits of what this chain runs: for each name the smallest of all tables that match a member."""
        principals = [tuple(name.split(":")) for member in members(chain) for name in member.principals]
        found: dict[str, float] = {}
        for limit in self._limits:
            if any(limit.who.fits(principal) for principal in principals):
                for name, value in limit.values.items():
                    found[name] = min(value, found.get(name, value))
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return the policy in the shape that the API documents, exactly those keys."""
        allow: dict[str, list[str]] = {}
        deny: dict[str, list[str]] = {}
        for rule in self.rules:
            if rule.effect != "override":
                listed = (allow if rule.effect == "allow" else deny).setdefault(rule.who.text, [])
                if rule.right.text not in listed:
                    listed.append(rule.right.text)
        return {
            "capabilities": {"allow": allow, "deny": deny},
            "network": {
                "allowlist": list(dict.fromkeys(entry.host.text for entry in self.allowlist)),
                "denylist": list(dict.fromkeys(entry.host.text for entry in self.denylist)),
            },
            "strict_mode": self.strict_mode,
        }

    def try_out(self) -> None:
        """Raise `Mistake` when the house could not run under this policy: a deny or a missing allow for `core:*`."""
        trials = [(Chain(CONSOLE), _CONSOLE_MUST), (Chain(Caller("core:kernel")), _MUST_WORK)]
        for chain, capabilities in trials:
            for capability in capabilities:
                decision = self.decide(chain, capability)
                if not decision.allowed:
                    file, _, line = decision.source.partition(":")
                    what = f"under this policy the hub could not run: {chain} would be refused {capability}"
                    raise Mistake(file or MAIN, int(line) if line else None, f"{what} ({decision.reason})")


def _on_record(words: Words, audited: Audited) -> frozenset[tuple[str, ...]]:
    risky = (name for name, word in words.all.items() if word.risk >= audited.from_risk)
    return frozenset(tuple(name.split(":")) for name in risky if name not in audited.leaving_out)


def members(chain: Chain) -> list[_Member]:
    """Return who must all have a right: the caller with roles and its token's scopes, then all it goes through."""
    caller = chain.caller
    first = _Member(caller.id, (caller.id, *caller.roles), caller.scopes)
    return [first, *(_Member(name, (name,)) for name in chain.via)]


def fingerprint(sources: Mapping[str, bytes], network: NetworkSettings | None = None) -> str:
    """Return the hash that names the content of the files and what the environment adds."""
    network = network or NetworkSettings()
    digest = hashlib.sha256(json.dumps([network.strict, *network.allowlist]).encode())
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


def _by_principal(all_rules: Iterable[Rule]) -> tuple[dict[str, list[Rule]], list[Rule]]:
    exact: dict[str, list[Rule]] = {}
    open_ended: list[Rule] = []
    for rule in all_rules:
        if rule.who.rest is None:
            exact.setdefault(rule.who.text, []).append(rule)
        else:
            open_ended.append(rule)
    return exact, open_ended


def _from_environment(hosts: Iterable[str]) -> Iterator[Blocked]:
    variable = "AETHERRA_NETWORK_ALLOWLIST"
    for text in hosts:
        try:
            yield Blocked(Host.parse(text), variable)
        except ValueError as error:
            raise Mistake(variable, None, str(error)) from None


def _merged_trust(files: Sequence[PolicyFile]) -> Trust:
    parts = [file.trust for file in files]
    keys: dict[str, str] = {}
    for file in files:
        for name, key in file.trust.keys.items():
            if keys.setdefault(name, key) != key:
                raise Mistake(file.name, None, f"[trust] keys: another file gives {name!r} another key")
    scores = [part.auto_integrate_min_score for part in parts if part.auto_integrate_min_score is not None]
    return Trust(
        keys=keys,
        plugin_folders=tuple(dict.fromkeys(folder for part in parts for folder in part.plugin_folders)),
        require_signature=tuple(dict.fromkeys(who for part in parts for who in part.require_signature)),
        auto_integrate_min_score=max(scores, default=None),
    )


def _scope_covers(scope: str, asked: tuple[str, ...]) -> bool:
    try:
        return Right.parse(scope).covers(asked)
    except ValueError:
        return False
