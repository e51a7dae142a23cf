"""The policy in force: rules of all files as one set, and the decision about a right, with its reason. Pure.

How a chain of principals is judged: `docs/policies.md`. The order of rules and files never matters.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from kernel import Caller, Chain, Decision, Effect

from . import rules
from .network import Host
from .patterns import Right, Who
from .rules import MAIN, SIGNATURE_MODES, Blocked, Mistake, PolicyFile, Rule, SignatureMode, Trust
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


class Member(msgspec.Struct, frozen=True):
    """One member of a chain: what it is called, the principals whose rules it has, and a token's scopes."""

    name: str
    principals: tuple[str, ...]
    scopes: tuple[str, ...] | None = None


Outlook = Literal["yes", "no", "depends"]
"""What can be said of a right whose object is not known yet."""

Obstacle = Literal["unknown", "closed", "unsigned", "denied", "missing", "scope", "host denied", "host unlisted"]


class Refusal(msgspec.Struct, frozen=True):
    """Why the answer is no: what stands in the way, whose it is, and the rule and place that say so, where one does."""

    obstacle: Obstacle
    reason: str
    member: Member | None = None
    rule: Rule | None = None
    label: str = ""
    source: str = ""


class _Index:
    """The rules of one pattern of principals, found by the right that is asked for."""

    def __init__(self, who: Who) -> None:
        self.who = who
        self._exact: dict[tuple[str, ...], list[Rule]] = {}
        self._by_word: dict[tuple[str, ...], list[Rule]] = {}
        self._by_domain: dict[str, list[tuple[str, Rule]]] = {}

    def add(self, rule: Rule) -> None:
        """Keep a rule of this pattern."""
        segments = rule.right.segments
        if "*" not in rule.right.text:
            self._exact.setdefault(segments, []).append(rule)
            self._by_word.setdefault(segments[:2], []).append(rule)
        else:
            start = rule.right.text.partition("*")[0]
            self._by_domain.setdefault(segments[0] if segments else "*", []).append((start, rule))

    def about(self, asked: tuple[str, ...]) -> Iterator[Rule]:
        """Yield at least those rules that cover or touch what is asked for."""
        patterns = (*self._by_domain.get(asked[0], ()), *self._by_domain.get("*", ()))
        if len(asked) == 2:
            # Asking for the whole asks for each part.
            yield from self._by_word.get(asked, ())
            yield from (rule for _, rule in patterns)
        else:
            yield from self._exact.get(asked, ())
            yield from self._exact.get(asked[:2], ())
            text = ":".join(asked)
            yield from (rule for start, rule in patterns if text.startswith(start))


class Policy:
    """All policy files of one moment, merged; `decide` and `limits_for` answer for a chain.

    `hash` names the files' content and what the environment adds; `sources` is that content, `parts` what it says.
    `closed` holds the reason when nothing could be loaded: then everybody but the console is denied everything.
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
        self.parts = tuple(files)
        self.network = network
        self.files = tuple(file.name for file in files)
        self.rules = tuple(rule for file in files for rule in file.rules)
        self.strict_mode = any(file.strict_mode for file in files)
        self.network_strict = self.strict_mode or network.strict
        self.allowlist = (*(b for f in files for b in f.allowlist), *_from_environment(network.allowlist))
        self.denylist = tuple(b for f in files for b in f.denylist)
        self.trust = _merged_trust(files)
        self.words = words
        self.hash = hash
        self.sources: Mapping[str, bytes] = {}
        self.closed = closed
        self._remembered = remembered
        self._audited = _on_record(words, audited or Audited())
        self._limits = tuple(limit for file in files for limit in file.limits)
        self._exact, self._open = _by_principal(self.rules)
        strict = ("plugin:*", "script:*") if self.strict_mode else ()
        self._must_sign = tuple(Who.parse(text) for text in (*self.trust.require_signature, *strict))
        self._held: dict[str, tuple[_Index, ...]] = {}
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
        policy.sources = dict(sources)
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
        grave = tuple(capability.split(":")[:2]) in self._audited
        on_record = decision.allowed and grave and not _house_alone(chain)
        decision = msgspec.structs.replace(decision, audited=on_record, policy=self.hash)
        self._remember(self._decisions, key, decision)
        return decision

    def _judge(self, chain: Chain, capability: str) -> Decision:
        outcome = self.judge(chain, capability)
        word = self.words.row(segments(capability))
        effect: Effect = word.effect if word is not None else "irreversible"
        if isinstance(outcome, Refusal):
            rule, source = (outcome.rule.text, outcome.rule.source) if outcome.rule else ("", "")
            hint = how_to_explain(chain, capability)
            return Decision(False, outcome.reason, rule or outcome.label, source or outcome.source, effect, hint=hint)
        if not outcome:
            return Decision(True, f"the console repairs what is broken: {self.closed}", effect=effect)
        last = outcome[-1]
        reason = "; ".join(dict.fromkeys(f"{rule.text} ({rule.source})" for rule in outcome))
        return Decision(True, reason, last.text, last.source, effect)

    def judge(self, chain: Chain, capability: str) -> Refusal | list[Rule]:
        """Return the rule that allows it to each member, in order, or the first thing that stands in the way.

        Nothing is remembered. The list is empty where the console repairs a policy that could not be loaded.
        """
        asked = segments(capability)
        if self.words.row(asked) is None or asked[2:] == ("",):
            return Refusal("unknown", f"there is no right {capability!r}{self.words.hint(':'.join(asked[:2]))}")
        if self.closed is not None:
            if chain.caller.id == CONSOLE.id and not chain.via:
                return []
            reason = f"the policy could not be loaded, so only {CONSOLE.id} may do anything: {self.closed}"
            return Refusal("closed", reason)
        everybody = members(chain)
        for refusal in filter(None, map(self.unsigned, everybody)):
            return refusal
        deciding: list[Rule] = []
        for member in everybody:
            outcome = self.judge_member(member, asked, capability)
            if isinstance(outcome, Refusal):
                return outcome
            deciding.append(outcome)
        return self._barred(asked) or deciding

    def outlook(self, chain: Chain, capability: str) -> tuple[Outlook, Decision]:
        """Return the answer for a right whose object is not known yet, with the decision about all objects.

        `depends`: not for every object, but for some it may be yes.
        """
        decision = self.decide(chain, capability)
        asked = segments(capability)
        if decision.allowed:
            return "yes", decision
        outcome = self.judge(chain, capability)
        final = isinstance(outcome, Refusal) and outcome.obstacle in ("unknown", "closed", "unsigned")
        if final or len(asked) != 2 or not all(self._has_some(member, asked) for member in members(chain)):
            return "no", decision
        return "depends", decision

    def _has_some(self, member: Member, asked: tuple[str, ...]) -> bool:
        """Tell whether there may be an object for which one member has the right."""
        about = [rule for principal in member.principals for each in self._of(principal) for rule in each.about(asked)]
        lifted = any(rule.effect == "override" and rule.right.touches(asked) for rule in about)
        for rule in about:
            if rule.effect == "deny" and rule.right.covers(asked) and not (lifted and rule.who.text == "*"):
                return False
        some = any(rule.effect == "allow" and rule.right.touches(asked) for rule in about)
        return some and (member.scopes is None or any(_scope_touches(scope, asked) for scope in member.scopes))

    def unsigned(self, member: Member) -> Refusal | None:
        """Return the refusal of who must be signed and cannot be; what is bundled is trusted by its folder.

        A script is not refused here: its text is verified where it is loaded, under `signatures_of` it.
        """
        if member.name.startswith((*BUNDLED, "script:")) or not self._must_be_signed(member.name):
            return None
        why = "strict_mode or [trust] require_signature wants a signature"
        reason = f"{member.name} is refused: {why}, and this version of the hub verifies none"
        return Refusal("unsigned", reason, member, label="signature", source=MAIN)

    def signatures_of(self, script: str) -> SignatureMode:
        """Return what the script of that name meets without a valid signature; what is bundled never asks."""
        if self.closed is not None or self._must_be_signed(f"script:{script}"):
            return "strict"
        return self.trust.signatures or "warn"

    def _must_be_signed(self, principal: str) -> bool:
        name = tuple(principal.split(":"))
        return any(who.fits(name) for who in self._must_sign)

    def judge_member(self, member: Member, asked: tuple[str, ...], capability: str) -> Refusal | Rule:
        """Return the rule that allows it to one member by itself, or why not."""
        about = [rule for principal in member.principals for each in self._of(principal) for rule in each.about(asked)]
        lifted = any(rule.effect == "override" and rule.right.covers(asked) for rule in about)
        for rule in about:
            if rule.effect == "deny" and rule.right.touches(asked) and not (lifted and rule.who.text == "*"):
                hint = "; [overrides] lifts it, for an exact principal only" if rule.who.text == "*" else ""
                return Refusal("denied", f"{rule.text} denies it to {member.name}{hint}", member, rule)
        allowing = next((rule for rule in about if rule.effect == "allow" and rule.right.covers(asked)), None)
        if allowing is None:
            row = f'"{member.name}" = ["{capability}"]'
            what = f"no rule allows {capability} for {member.name}; if it should, add {row}"
            return Refusal("missing", f"{what} to [capabilities.allow] in {MAIN}", member)
        if member.scopes is not None and not any(_scope_covers(scope, asked) for scope in member.scopes):
            return Refusal("scope", f"the token of {member.name} does not have the scope {capability}", member)
        return allowing

    def _of(self, principal: str) -> tuple[_Index, ...]:
        """Return the rules that apply to one principal."""
        held = self._held.get(principal)
        if held is None:
            name = tuple(principal.split(":"))
            exact = self._exact.get(principal)
            fitting = (index for index in (*self._open.get(name[0], ()), *self._open[""]) if index.who.fits(name))
            held = (exact, *fitting) if exact is not None else tuple(fitting)
            self._remember(self._held, principal, held)
        return held

    def _remember(self, memory: dict[Any, Any], key: Any, value: Any) -> None:
        if len(memory) >= self._remembered:
            del memory[next(iter(memory))]
        memory[key] = value

    def _barred(self, asked: tuple[str, ...]) -> Refusal | None:
        """Return why a host may not be reached; None when it may or none is named."""
        if asked[:2] != ("net", "http") or len(asked) < 3:
            return None
        host = ":".join(asked[2:])
        try:
            denied = next((entry for entry in self.denylist if entry.host.fits(host)), None)
            listed = any(entry.host.fits(host) for entry in self.allowlist)
        except ValueError as error:
            return Refusal("unknown", str(error), label="network")
        if denied is not None:
            reason = f"{host} is on the network denylist, as {denied.host.text!r}"
            return Refusal("host denied", reason, label="network", source=denied.source)
        if self.network_strict and not listed:
            reason = f"{host} is not on the network allowlist, and the network is strict"
            return Refusal("host unlisted", reason, label="network", source=MAIN)
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


def _house_alone(chain: Chain) -> bool:
    """Tell whether bundled plugins alone act here, as for each job that ends: nobody asked for what they do."""
    return chain.caller.id != CONSOLE.id and all(name.startswith("core:") for name in (chain.caller.id, *chain.via))


def members(chain: Chain) -> list[Member]:
    """Return who must all have a right: the caller with roles and its token's scopes, then all it goes through."""
    caller = chain.caller
    first = Member(caller.id, (caller.id, *caller.roles), caller.scopes)
    return [first, *(Member(name, (name,)) for name in chain.via)]


def how_to_explain(chain: Chain, capability: str, supposed: Iterable[str] = ()) -> str:
    """Return the command that explains a decision, to be pasted into a shell."""
    scopes = chain.caller.scopes
    narrowed = () if scopes is None else [f"scope={scope}" for scope in scopes] or ["scope="]
    options = [("--through", name) for name in chain.via] + [("--with", entry) for entry in (*narrowed, *supposed)]
    words = ["aether", "policy", "explain", chain.caller.id, capability]
    return shlex.join([*words, *(part for option in options for part in option)])


def fingerprint(sources: Mapping[str, bytes], network: NetworkSettings | None = None) -> str:
    """Return the hash that names the content of the files and what the environment adds."""
    network = network or NetworkSettings()
    digest = hashlib.sha256(json.dumps([network.strict, *network.allowlist]).encode())
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


def segments(capability: str) -> tuple[str, ...]:
    """Return the parts of a right that is asked for, as they are compared."""
    return tuple(unicodedata.normalize("NFC", capability).split(":"))


def _by_principal(all_rules: Iterable[Rule]) -> tuple[dict[str, _Index], dict[str, list[_Index]]]:
    """Return the rules of exact principals by name, those of patterns by kind, and under "" those of `*`."""
    exact: dict[str, _Index] = {}
    patterns: dict[str, _Index] = {}
    for rule in all_rules:
        named = exact if rule.who.rest is None else patterns
        index = named.get(rule.who.text)
        if index is None:
            index = named[rule.who.text] = _Index(rule.who)
        index.add(rule)
    by_kind: dict[str, list[_Index]] = {"": []}
    for index in patterns.values():
        by_kind.setdefault(index.who.segments[0] if index.who.segments else "", []).append(index)
    return exact, by_kind


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
        signatures=max((part.signatures for part in parts if part.signatures), key=SIGNATURE_MODES.index, default=None),
    )


def _scope_covers(scope: str, asked: tuple[str, ...]) -> bool:
    try:
        return Right.parse(scope).covers(asked)
    except ValueError:
        return False


def _scope_touches(scope: str, asked: tuple[str, ...]) -> bool:
    try:
        return Right.parse(scope).touches(asked)
    except ValueError:
        return False
