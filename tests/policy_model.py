"""A slow model of the policy's semantics, written from the threat model (section 2), and random policies and requests.

It knows nothing of how the hub decides: rights and principals are texts, and each question walks over every rule.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from kernel import Caller, Chain

Table = dict[str, list[str]]

NAMES = ["user:ada", "user:bob", "role:user", "role:admin", "token:ci-1", "script:a.aether", "script:ci/b.aether"]
NAMES += ["script:system/x.aether", "agent:p", "plugin:q", "core:memory", "anonymous"]
WHO = [
    *NAMES,
    "*",
    "user:*",
    "role:*",
    "token:ci-*",
    "script:*",
    "script:ci/*",
    "script:system/*",
    "agent:*",
    "plugin:*",
]
WORDS = ["memory:read", "memory:write", "job:read", "job:cancel", "event:read", "net:http", "policy:write"]
OBJECTS = ["own", "notes", "module.loaded", "module.x.y", "a.example", "b.example:80", "10.1.2.3"]
RIGHTS = [*WORDS, *(f"{word}:{thing}" for word in WORDS[:6] for thing in OBJECTS)]
PATTERNS = [
    *RIGHTS,
    "*",
    "memory:*",
    "job:*:own",
    "*:read:own",
    "*:read",
    "memory:read:*",
    "event:read:module.*",
    "net:*",
]
HOSTS = ["a.example", "*.example", "b.example:80", "10.0.0.0/8", "10.1.2.3"]
CALLERS = [*(name for name in NAMES if not name.startswith("role:")), "core:console"]


@dataclass(frozen=True)
class Written:
    """What a policy says, as it is written."""

    allow: Table = field(default_factory=dict)
    deny: Table = field(default_factory=dict)
    overrides: Table = field(default_factory=dict)
    allowlist: tuple[str, ...] = ()
    denylist: tuple[str, ...] = ()
    strict_mode: bool = False

    def toml(self, *, main: bool = True) -> str:
        """Return it as a policy file; only the main one has overrides."""
        lines = ["version = 1", f"strict_mode = {str(self.strict_mode).lower()}"]
        tables = [("capabilities.allow", self.allow), ("capabilities.deny", self.deny)]
        for title, table in [*tables, *([("overrides", self.overrides)] if main else [])]:
            lines.append(f"[{title}]")
            lines += [f"{json.dumps(who)} = {json.dumps(what)}" for who, what in table.items()]
        lines += ["[network]", f"allowlist = {json.dumps(self.allowlist)}", f"denylist = {json.dumps(self.denylist)}"]
        return "\n".join(lines) + "\n"


def written(random: Random) -> Written:
    """Return a random policy."""

    def table(names: list[str], rights: list[str], rows: int) -> Table:
        return {
            random.choice(names): random.sample(rights, random.randint(1, 3)) for _ in range(random.randint(0, rows))
        }

    overrides = table(NAMES, RIGHTS, 2) if random.random() < 0.5 else {}
    deny = table(WHO, PATTERNS, 3) if random.random() < 0.7 else {}
    if overrides and random.random() < 0.5:
        deny["*"] = random.choice(list(overrides.values()))  # or few overrides would lift anything
    return Written(
        allow={**table(WHO, PATTERNS, 6), **({"*": ["*"]} if random.random() < 0.5 else {})},
        deny=deny,
        overrides=overrides,
        allowlist=tuple(random.sample(HOSTS, random.randint(0, 2))),
        denylist=tuple(random.sample(HOSTS, random.choice([0, 0, 1, 2]))),
        strict_mode=random.random() < 0.15,
    )


def request(random: Random, policy: Written | None = None) -> tuple[Chain, str]:
    """Return a random question: who, through whom, and what; now and then what the policy lifts a deny of."""
    lifted = [(who, right) for who, rights in (policy.overrides if policy else {}).items() for right in rights]
    if lifted and random.random() < 0.2:
        who, right = random.choice(lifted)
        named = Caller("user:ada", (who,)) if who.startswith("role:") else Caller(who)
        return Chain(named), right
    roles = tuple(random.sample(["role:user", "role:admin"], random.choice([0, 1, 1, 2])))
    scopes = tuple(random.sample(PATTERNS, random.randint(0, 3))) if random.random() < 0.3 else None
    via = tuple(
        random.sample([n for n in NAMES if n[:5] in ("scrip", "agent", "plugi", "core:")], random.randint(0, 3))
    )
    return Chain(Caller(random.choice(CALLERS), roles, scopes), via), random.choice(RIGHTS)


# The model ---------------------------------------------------------------------------------------------------------


def allows(policy: Written, chain: Chain, asked: str) -> bool:
    """Say whether every member may do it: each needs an allow, and one deny that no override lifts is a no."""
    if policy.strict_mode and any(foreign(name) for name in (chain.caller.id, *chain.via)):
        return False
    for names in [[chain.caller.id, *chain.caller.roles], *([name] for name in chain.via)]:
        if denied(policy, names, asked) or not any(holds(policy.allow, names, asked)):
            return False
    scopes = chain.caller.scopes
    if scopes is not None and not any(covers(scope, asked) for scope in scopes):
        return False
    return reachable(policy, asked)


def foreign(name: str) -> bool:
    """Say whether strict mode refuses it unsigned here; a script is verified where it is loaded."""
    return name.startswith("plugin:")


def denied(policy: Written, names: list[str], asked: str) -> bool:
    """Say whether a deny holds: one of everybody is lifted by an override that names a principal and the right."""
    lifted = any(covers(right, asked) for who, rights in policy.overrides.items() if who in names for right in rights)
    for who, rights in policy.deny.items():
        if any(means(who, name) for name in names) and not (who == "*" and lifted):
            # Who asks for the whole asks for each of its objects.
            wanted = [asked, *(f"{asked}:{thing}" for thing in [*OBJECTS, "zzz"] if asked.count(":") == 1)]
            if any(covers(right, one) for right in rights for one in wanted):
                return True
    return False


def holds(table: Table, names: list[str], asked: str) -> list[bool]:
    """Return, for each right of the principals, whether it covers what is asked."""
    return [
        covers(right, asked) for who, rights in table.items() for right in rights if any(means(who, n) for n in names)
    ]


def covers(right: str, asked: str) -> bool:
    """Say whether a right, as a policy writes it, covers one that is asked for."""
    if right.endswith("*"):
        start = right[:-1]
        head, rest = start.split(":"), asked.split(":")
        if len(rest) < len(head) or not all(a in ("*", b) for a, b in zip(head[:-1], rest, strict=False)):
            return False
        tail = ":".join(rest[len(head) - 1 :])
        return tail.startswith(head[-1]) and len(tail) > len(head[-1])
    mine, theirs = right.split(":"), asked.split(":")
    if len(mine) == 2:
        theirs = theirs[:2]
    return len(mine) == len(theirs) and all(a in ("*", b) for a, b in zip(mine, theirs, strict=True))


def means(who: str, name: str) -> bool:
    """Say whether a principal, as a policy writes it, is that one."""
    return name.startswith(who[:-1]) and len(name) >= len(who) if who.endswith("*") else who == name


def reachable(policy: Written, asked: str) -> bool:
    """Say whether the network part lets a host be reached: the denylist first; in strict mode only the allowlist."""
    if not asked.startswith("net:http:"):
        return True
    host = asked.removeprefix("net:http:")
    if any(listed(entry, host) for entry in policy.denylist):
        return False
    return not policy.strict_mode or any(listed(entry, host) for entry in policy.allowlist)


def listed(entry: str, host: str) -> bool:
    """Say whether an entry of a list of hosts means that host."""
    name = host.partition(":")[0]
    if "/" in entry:
        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(entry)
        except ValueError:
            return False
    if entry.startswith("*."):
        return name.endswith(entry[1:])
    return entry in (host, name)


# Comparing ---------------------------------------------------------------------------------------------------------


@dataclass
class Compared:
    """How many pairs were compared, how many were a yes, and the first that went wrong."""

    pairs: int = 0
    yes: int = 0
    wrong: str = ""


def compared(security: Any, words: Any, *, seed: int, pairs: int, each: int = 25) -> Compared:
    """Compare the decisions of `security` with the model's until `pairs` are done or one differs.

    Beside each policy stand the same in another order over two files, and one with more denies.
    """
    random, done = Random(seed), Compared()
    while done.pairs < pairs and not done.wrong:
        one = written(random)
        more = replace(one, deny={**one.deny, random.choice(WHO): random.sample(PATTERNS, 2)})
        policy, spread, narrower = (
            made(security, words, *texts) for texts in ([one.toml()], split(one, random), [more.toml()])
        )
        for _ in range(each):
            chain, asked = request(random, one)
            done.pairs += 1
            answer = policy.decide(chain, asked).allowed
            done.yes += answer
            what = disagreement(one, chain, asked, answer, policy, spread, narrower)
            if what:
                done.wrong = f"seed {seed}: {what}: {chain} {chain.caller} {asked} under\n{one.toml()}"
                break
    return done


def disagreement(one: Written, chain: Chain, asked: str, answer: bool, policy: Any, spread: Any, narrower: Any) -> str:
    """Return what is wrong with an answer, empty for nothing."""
    if answer != allows(one, chain, asked):
        return f"the model says {not answer}"
    if spread.decide(chain, asked).allowed != answer:
        return "another order gives another answer"
    if narrower.decide(chain, asked).allowed and not answer and narrower_only(one, narrower):
        return "one more deny allows more"
    alone = [policy.decide(Chain(chain.caller), asked), *(policy.decide(Chain(Caller(n)), asked) for n in chain.via)]
    if answer and not all(decision.allowed for decision in alone):
        return "a chain may do more than one of its members"
    return ""


def narrower_only(one: Written, narrower: Any) -> bool:
    """Say whether the other policy only has more denies: a row with the same name would have replaced one."""
    kept = {(rule.who.text, rule.right.text) for rule in narrower.rules if rule.effect == "deny"}
    return {(who, right) for who, rights in one.deny.items() for right in rights} <= kept


def split(one: Written, random: Random) -> list[str]:
    """Return the same policy as two files, with all rows in another order."""

    def halves(table: Table) -> tuple[Table, Table]:
        rows = [(who, random.sample(what, len(what))) for who, what in table.items()]
        random.shuffle(rows)
        cut = random.randint(0, len(rows))
        return dict(rows[:cut]), dict(rows[cut:])

    allow, deny = halves(one.allow), halves(one.deny)
    first = replace(one, allow=allow[0], deny=deny[1], allowlist=one.allowlist[:1], strict_mode=False)
    second = replace(one, allow=allow[1], deny=deny[0], allowlist=one.allowlist[1:], denylist=())
    return [first.toml(), second.toml(main=False)]


def made(security: Any, words: Any, *texts: str) -> Any:
    """Return the policy of these files, without trying out whether a hub could run under it."""
    names = ["default.toml", *(f"more{i}.toml" for i in range(1, len(texts)))]
    files = [security.rules.read(name, text.encode(), words) for name, text in zip(names, texts, strict=True)]
    return security.policy.Policy(files, words, hash="")
