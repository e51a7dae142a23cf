"""What a policy means: every sentence of its semantics, a slow model beside it, and files with mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import Caller, Chain, SystemClock

USER = Caller("user:ada", ("role:user",))
ADMIN = Caller("user:root", ("role:user", "role:admin"))
CONSOLE = Caller("core:console", ("role:admin",))
CORE = '[capabilities.allow]\n"core:*" = ["*"]\n'

Table = dict[str, list[str]]


@pytest.fixture(scope="session")
def words(security: ModuleType, policies: Path) -> Any:
    return security.words.Words.read((policies / "capabilities.toml").read_text())


@pytest.fixture(scope="session")
def shipped(security: ModuleType, policies: Path, words: Any) -> Any:
    return security.policy.Policy.load({"default.toml": (policies / "default.toml").read_bytes()}, words)


@pytest.fixture(scope="session")
def make(security: ModuleType, words: Any) -> Callable[..., Any]:
    """Return a function that makes a policy of TOML texts without trying out whether the hub could run under it."""

    def made(*texts: str, network: Any = None) -> Any:
        names = ["default.toml", *(f"more{i}.toml" for i in range(1, len(texts)))]
        files = [security.rules.read(name, text.encode(), words) for name, text in zip(names, texts, strict=True)]
        return security.policy.Policy(files, words, hash="", network=network)

    return made


def toml(allow: Table | None = None, deny: Table | None = None, overrides: Table | None = None) -> str:
    text = "version = 1\n"
    for title, table in (("capabilities.allow", allow), ("capabilities.deny", deny), ("overrides", overrides)):
        if table:
            text += f"[{title}]\n" + "".join(f"{json.dumps(who)} = {json.dumps(what)}\n" for who, what in table.items())
    return text


def allowed(policy: Any, chain: Chain | Caller, capability: str) -> bool:
    return bool(policy.decide(chain if isinstance(chain, Chain) else Chain(chain), capability).allowed)


# What is put on record ----------------------------------------------------------------------------------------------


def test_grants_are_audited_by_the_risk_of_the_word(make: Callable[..., Any], words: Any) -> None:
    policy = make(toml({"*": ["*"]}))
    audited = {word for word in words.all if policy.decide(Chain(Caller("user:ada")), word).audited}
    assert audited == {word for word, row in words.all.items() if row.risk >= 0.2} - {"net:http"}
    assert {"plugin:manage", "policy:write", "secret:read", "fs:edit"} <= audited
    assert policy.decide(Chain(Caller("user:ada")), "plugin:manage:hello").audited


def test_what_the_house_does_for_itself_is_not_on_record_and_what_somebody_has_it_do_is(
    security: ModuleType, policies: Path, words: Any
) -> None:
    source = {"default.toml": (policies / "default.toml").read_bytes()}
    policy = security.policy.Policy.load(source, words)

    def audited(caller: str, *via: str) -> bool:
        decision = policy.decide(Chain(Caller(caller, ("role:admin",)), via), "system:admin")
        assert decision.allowed
        return bool(decision.audited)

    assert not audited("core:scripts")
    assert not audited("core:scripts", "core:executions")
    assert audited("core:console")
    assert audited("core:console", "core:hub_api")
    assert audited("user:ada", "core:hub_api")


def test_what_is_audited_can_be_set(security: ModuleType, policies: Path, words: Any) -> None:
    source = {"default.toml": (policies / "default.toml").read_bytes()}
    every = security.policy.Audited(from_risk=0.0, leaving_out=("memory:read",))
    policy = security.policy.Policy.load(source, words, audited=every)
    admin = Chain(Caller("core:console", ("role:admin",)))
    assert policy.decide(admin, "time:read").audited
    assert not policy.decide(admin, "memory:read").audited


def test_a_refusal_names_the_policy_and_is_no_grant(shipped: Any) -> None:
    decision = shipped.decide(Chain(Caller("user:ada")), "plugin:manage")
    assert (decision.allowed, decision.audited, decision.policy) == (False, False, shipped.hash)


# Patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("*", "memory:read memory:read:own net:http:a.b:80", ""),
        ("memory:*", "memory:read memory:write:own memory:delete:notes", "goal:read"),
        ("memory:read", "memory:read memory:read:own memory:read:notes", "memory:write"),
        ("memory:read:own", "memory:read:own", "memory:read memory:read:notes memory:read:owner"),
        ("memory:read:*", "memory:read:own memory:read:notes", "memory:read memory:write:own"),
        ("job:*:own", "job:read:own job:cancel:own", "job:read job:read:7 memory:read:own"),
        ("*:read:own", "memory:read:own goal:read:own", "memory:read memory:write:own"),
        ("event:read:module.*", "event:read:module.loaded event:read:module.a.b", "event:read event:read:modules.x"),
        ("event:read:module.*", "event:read:module.x", "event:read:module event:read:module."),
        ("script:run:ci/*", "script:run:ci/a.aether script:run:ci/x/y.aether", "script:run script:run:cinema.aether"),
        ("memory:read:Notes", "memory:read:Notes", "memory:read:notes"),
        ("net:http:a.example", "net:http:a.example", "net:http:a.example:8080 net:http:b.a.example"),
    ],
)
def test_a_pattern_covers(security: ModuleType, pattern: str, covered: str, not_covered: str) -> None:
    right = security.patterns.Right.parse(pattern)
    assert [text for text in covered.split() if not right.covers(tuple(text.split(":")))] == []
    assert [text for text in not_covered.split() if right.covers(tuple(text.split(":")))] == []


@pytest.mark.parametrize(
    "text",
    ["", "memory", "memory:", ":read", "me*:read", "memory:re*", "a:b:c*", "memory:*x:own", "memory:read:a b", "**"],
)
def test_a_right_that_is_none_is_refused(security: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        security.patterns.Right.parse(text)


@pytest.mark.parametrize(
    "text", ["", "ada", "usr:ada", "user", "user:", "user:a:b", "*:ada", "us*:ada", "anonymous:x", "user:a*"]
)
def test_a_principal_that_is_none_is_refused(security: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        security.patterns.Who.parse(text)


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("*", "anonymous user:ada script:a/b.aether", ""),
        ("script:*", "script:a.aether script:system/x.aether", "core:script agent:a"),
        ("script:system/*", "script:system/x.aether script:system/a/b.aether", "script:systems/x script:system"),
        ("token:ci-*", "token:ci-1", "token:ci token:circle"),
        ("user:ada", "user:ada", "user:Ada user:adam role:ada"),
    ],
)
def test_a_principal_pattern_fits(security: ModuleType, pattern: str, fits: str, fits_not: str) -> None:
    who = security.patterns.Who.parse(pattern)
    assert [text for text in fits.split() if not who.fits(tuple(text.split(":")))] == []
    assert [text for text in fits_not.split() if who.fits(tuple(text.split(":")))] == []


# Decisions ---------------------------------------------------------------------------------------------------------


def test_what_nothing_allows_is_denied_and_the_reason_says_how_to_allow_it(make: Any) -> None:
    decision = make(toml({"user:ada": ["memory:*:own"]})).decide(Chain(USER, ("plugin:hello",)), "memory:write:own")
    assert not decision.allowed
    assert decision.reason == (
        "no rule allows memory:write:own for plugin:hello; if it should, add "
        '"plugin:hello" = ["memory:write:own"] to [capabilities.allow] in default.toml'
    )


def test_a_decision_names_the_rule_and_its_line(make: Any) -> None:
    policy = make('version = 1\n[capabilities.allow]\n"role:user" = ["memory:read:own",\n    "goal:read"]\n')
    decision = policy.decide(Chain(USER), "goal:read:own")
    assert (decision.allowed, decision.rule, decision.source) == (
        True,
        'allow "role:user" = "goal:read"',
        "default.toml:4",
    )


def test_a_deny_wins_over_every_allow_and_is_named(make: Any) -> None:
    policy = make(toml({"user:ada": ["memory:read:own"], "*": ["*"]}), toml(deny={"role:*": ["memory:*"]}))
    decision = policy.decide(Chain(USER), "memory:read:own")
    assert (decision.allowed, decision.source) == (False, "more1.toml:3")
    assert decision.reason == 'deny "role:*" = "memory:*" denies it to user:ada'


def test_asking_for_the_whole_asks_for_the_part_that_is_denied(make: Any) -> None:
    policy = make(toml({"*": ["*"]}, {"user:ada": ["memory:read:salaries"]}))
    assert not allowed(policy, USER, "memory:read")
    assert not allowed(policy, USER, "memory:read:salaries")
    assert allowed(policy, USER, "memory:read:notes")


def test_every_member_of_a_chain_must_be_allowed(make: Any) -> None:
    policy = make(toml({"role:user": ["memory:*:own"], "script:*": ["memory:read:own"], "agent:a": ["*"]}))
    assert allowed(policy, Chain(USER, ("script:x", "agent:a")), "memory:read:own")
    assert not allowed(policy, Chain(USER, ("script:x", "agent:a")), "memory:write:own")
    assert not allowed(policy, Chain(USER, ("agent:b",)), "memory:read:own")
    assert "agent:b" in policy.decide(Chain(USER, ("agent:b",)), "memory:read:own").reason


def test_a_user_has_what_its_roles_have_together(make: Any) -> None:
    policy = make(toml({"user:ada": ["goal:read"], "role:user": ["memory:read"]}))
    assert allowed(policy, USER, "goal:read")
    assert allowed(policy, USER, "memory:read")
    assert not allowed(policy, Caller("user:ada"), "memory:read")


def test_a_token_narrows_its_user_and_never_widens_it(make: Any) -> None:
    policy = make(toml({"role:user": ["memory:*:own"]}))
    token = Caller("user:ada", ("role:user",), scopes=("memory:read:own", "goal:read", "not a right"))
    assert allowed(policy, token, "memory:read:own")
    assert not allowed(policy, token, "memory:write:own")
    assert not allowed(policy, token, "goal:read")
    assert not allowed(policy, Caller("user:ada", ("role:user",), scopes=()), "memory:read:own")


def test_a_service_token_stands_in_the_users_place(make: Any) -> None:
    policy = make(toml({"token:ci-*": ["script:run:ci/*"], "script:*": ["*"]}))
    assert allowed(policy, Chain(Caller("token:ci-7"), ()), "script:run:ci/a.aether")
    assert not allowed(policy, Caller("token:cd"), "script:run:ci/a.aether")


def test_an_override_lifts_a_deny_of_everybody_for_that_principal_and_right_alone(make: Any) -> None:
    policy = make(
        toml(
            {"*": ["*"]},
            {"*": ["secret:read", "fs:*"], "agent:a": ["fs:edit"]},
            {
                "core:vault": ["secret:read"],
                "role:admin": ["fs:edit"],
                "agent:a": ["fs:edit"],
            },
        )
    )
    assert allowed(policy, Caller("core:vault"), "secret:read:openai")
    assert not allowed(policy, Caller("core:other"), "secret:read:openai")
    assert allowed(policy, ADMIN, "fs:edit:docs")
    assert not allowed(policy, ADMIN, "fs:write:docs")
    assert not allowed(policy, Chain(ADMIN, ("core:vault",)), "fs:edit:docs"), "each member needs its own"
    assert not allowed(policy, Caller("agent:a"), "fs:edit:docs"), "a deny of agent:a itself stays"


def test_an_override_allows_nothing_by_itself(make: Any) -> None:
    assert not allowed(
        make(toml(deny={"*": ["secret:read"]}, overrides={"core:vault": ["secret:read"]})),
        Caller("core:vault"),
        "secret:read",
    )


@pytest.mark.parametrize("asked", ["memory", "memory:raed", "memory:read:", "", ":", "Memory:read", "memory:*", "*"])
def test_a_word_that_the_table_lacks_is_denied_even_to_core(make: Any, asked: str) -> None:
    decision = make(toml({"*": ["*"]})).decide(Chain(CONSOLE), asked)
    assert not decision.allowed
    assert "there is no right" in decision.reason


def test_a_decision_carries_the_class_of_the_right(make: Any) -> None:
    policy = make(toml({"*": ["*"]}))
    asked = ("log:write", "memory:read:own", "memory:write", "event:emit:a", "plugin:manage", "job:cancel:own")
    effects = [policy.decide(Chain(USER), right).effect for right in asked]
    assert effects == ["free", "read", "staged", "deferred", "compensable", "irreversible"]


def test_names_are_compared_after_normalisation(make: Any) -> None:
    policy = make(toml({"*": ["memory:read"]}))
    assert (
        policy.decide(Chain(USER), "memory:read:cafe\u0301").allowed
        == policy.decide(Chain(USER), "memory:read:caf\u00e9").allowed
    )


def test_decisions_are_remembered_up_to_a_bound(security: ModuleType, words: Any) -> None:
    policy = security.policy.Policy([], words, hash="", remembered=4)
    first = policy.decide(Chain(USER), "memory:read:0")
    assert policy.decide(Chain(Caller("user:ada", ("role:user",))), "memory:read:0") is first
    for number in range(1, 10):
        policy.decide(Chain(USER), f"memory:read:{number}")
    assert policy.decide(Chain(USER), "memory:read:0") is not first


# The network part --------------------------------------------------------------------------------------------------

NET = 'version = 1\n[capabilities.allow]\n"*" = ["net:http"]\n[network]\n'


@pytest.mark.parametrize(
    ("entry", "fits", "fits_not"),
    [
        ("example.org", "example.org EXAMPLE.org example.org:80 example.org.", "a.example.org example.org.evil"),
        ("example.org:443", "example.org:443 example.org.:443", "example.org example.org:80"),
        ("*.example.org", "a.example.org a.b.example.org:1", "example.org aexample.org .example.org"),
        ("10.0.0.0/8", "10.1.2.3 10.1.2.3:80", "11.0.0.1 ten.example"),
        ("127.0.0.1", "127.0.0.1 127.0.0.1:80", "127.0.0.2"),
        ("::1", "::1 [::1]:80 0:0:0:0:0:0:0:1", "::2"),
    ],
)
def test_a_host_entry_fits(security: ModuleType, entry: str, fits: str, fits_not: str) -> None:
    host = security.network.Host.parse(entry)
    assert [text for text in fits.split() if not host.fits(text)] == []
    assert [text for text in fits_not.split() if host.fits(text)] == []


def test_the_denylist_comes_first(make: Any) -> None:
    policy = make(NET + 'allowlist = ["a.example"]\ndenylist = [\n"*.example",\n]\n')
    decision = policy.decide(Chain(CONSOLE), "net:http:a.example:80")
    assert (decision.allowed, decision.source) == (False, "default.toml:7")
    assert allowed(policy, CONSOLE, "net:http:b.test")


def test_in_strict_mode_only_the_allowlist_can_be_reached(make: Any, security: ModuleType) -> None:
    strict = make("strict_mode = true\n" + NET + 'allowlist = ["a.example"]\n')
    assert allowed(strict, USER, "net:http:a.example")
    assert not allowed(strict, USER, "net:http:b.example")
    assert not allowed(strict, USER, "net:http:b.example:http"), "a port that is none is no way round"
    environment = security.policy.NetworkSettings(strict=True, allowlist=("b.example",))
    policy = make(NET + 'allowlist = ["a.example"]\n', network=environment)
    assert [allowed(policy, USER, f"net:http:{host}.example") for host in "abc"] == [True, True, False]
    assert policy.snapshot()["strict_mode"] is False
    assert policy.snapshot()["network"]["allowlist"] == ["a.example", "b.example"]


def test_a_host_of_the_environment_that_is_none_is_a_mistake(make: Any, security: ModuleType) -> None:
    with pytest.raises(security.rules.Mistake, match="AETHERRA_NETWORK_ALLOWLIST"):
        make(NET, network=security.policy.NetworkSettings(allowlist=("no host",)))


# Limits, trust, snapshot -------------------------------------------------------------------------------------------


def test_the_smallest_of_all_matching_limits_applies(make: Any) -> None:
    policy = make(
        'version = 1\n[limits."script:*"]\nsteps = 100\nactive_s = 60\n[limits."user:ada"]\nsteps = 10\nbranches = 2\n',
        '[limits."script:slow/*"]\nactive_s = 0.5\n[limits."agent:x"]\nsteps = 1\n',
    )
    assert policy.limits_for(Chain(USER, ("script:a",))) == {"steps": 10, "active_s": 60, "branches": 2}
    assert policy.limits_for(Chain(Caller("user:bob"), ("script:slow/a",))) == {"steps": 100, "active_s": 0.5}
    assert policy.limits_for(Chain(Caller("user:bob"))) == {}


def test_what_files_say_about_trust_is_united_and_the_stricter_score_holds(make: Any, security: ModuleType) -> None:
    key = "ed25519:" + "A" * 43 + "="
    first = (
        f'version = 1\n[trust]\nkeys = {{ ops = "{key}" }}\nplugin_folders = ["/a"]\nauto_integrate_min_score = 0.5\n'
    )
    trust = make(first, '[trust]\nplugin_folders = ["/b"]\nauto_integrate_min_score = 0.9\n').trust
    assert (trust.keys, trust.plugin_folders, trust.auto_integrate_min_score) == ({"ops": key}, ("/a", "/b"), 0.9)
    with pytest.raises(security.rules.Mistake, match="another key"):
        make(first, f'[trust]\nkeys = {{ ops = "ed25519:{"B" * 43}=" }}\n')


def test_the_strictest_of_what_files_say_about_signatures_holds_and_nothing_said_is_warn(make: Any) -> None:
    def mode(*texts: str, script: str = "a.aether") -> str:
        return str(make("version = 1\n", *texts).signatures_of(script))

    assert mode() == "warn"
    assert mode('[trust]\nsignatures = "off"\n') == "off"
    assert mode('[trust]\nsignatures = "strict"\n', '[trust]\nsignatures = "off"\n') == "strict"
    assert mode('[trust]\nsignatures = "off"\n', '[trust]\nsignatures = "warn"\n') == "warn"
    assert mode('[trust]\nsignatures = "off"\n', "strict_mode = true\n") == "strict"
    some = '[trust]\nsignatures = "off"\nrequire_signature = ["script:ci/*"]\n'
    assert (mode(some), mode(some, script="ci/a.aether")) == ("off", "strict")


def test_without_a_policy_that_could_be_read_every_script_must_be_signed(security: ModuleType, words: Any) -> None:
    assert security.policy.Policy.shut("broken", words).signatures_of("a.aether") == "strict"


@pytest.mark.parametrize("text", ["strict_mode = true\n", '[trust]\nrequire_signature = ["plugin:*", "script:*"]\n'])
def test_who_must_be_signed_is_refused_while_no_signature_can_be_verified(make: Any, text: str) -> None:
    policy = make(toml({"*": ["*"]}), text)
    decision = policy.decide(Chain(USER, ("plugin:hello",)), "log:write")
    assert not decision.allowed
    assert decision.reason.startswith("plugin:hello is refused: ")
    # A script is verified where it is loaded, so here its rights alone count.
    assert allowed(policy, Chain(USER, ("script:a.aether",)), "log:write")
    assert not allowed(policy, Caller("plugin:hello"), "log:write")
    assert allowed(policy, Chain(USER, ("core:memory", "script:system/a.aether")), "log:write")


def test_the_snapshot_has_exactly_the_documented_keys(make: Any) -> None:
    policy = make(toml({"core:*": ["*"]}, {"*": ["fs:*"]}, {"role:admin": ["fs:edit"]}))
    assert policy.snapshot() == {
        "capabilities": {"allow": {"core:*": ["*"]}, "deny": {"*": ["fs:*"]}},
        "network": {"allowlist": [], "denylist": []},
        "strict_mode": False,
    }


# What ships --------------------------------------------------------------------------------------------------------

LOCAL = Caller("user:local", ("role:user",))


@pytest.mark.parametrize(
    ("chain", "yes", "no"),
    [
        (
            Chain(LOCAL),
            "script:run script:run:a.aether memory:write:own job:read:own plugin:call:hello.greet metrics:read:own "
            "system:read policy:read plugin:read event:read:module.loaded event:emit:user.tea",
            "memory:write memory:read:notes job:read plugin:manage policy:write system:admin secret:read user:read "
            "event:read event:read:memory.stored fs:read net:http:example.org",
        ),
        (Chain(LOCAL, ("core:hub_api",)), "memory:write:own metrics:read", "memory:write plugin:manage"),
        (
            Chain(LOCAL, ("plugin:hello",)),
            "memory:write:own log:write",
            "metrics:read plugin:call:a.b event:emit:user.x",
        ),
        (
            Chain(LOCAL, ("script:a.aether",)),
            "memory:write:own ai:call plugin:call:a.b",
            "script:run ai:ask net:http:a.b",
        ),
        (Chain(LOCAL, ("script:system/a.aether",)), "memory:write:own", "memory:write net:http:example.org"),
        (Chain(Caller("core:scheduler"), ("script:system/a.aether",)), "memory:write net:http:example.org", "fs:read"),
        (Chain(CONSOLE), "policy:write system:admin plugin:manage memory:read fs:edit:x", "secret:read fs:write:x"),
        (Chain(ADMIN), "policy:write user:manage", "secret:read"),
        (Chain(ADMIN, ("agent:x",)), "", "plugin:manage memory:read:own policy:write"),
        (Chain(Caller("core:vault")), "secret:read:openai", "policy:write"),
        (Chain(Caller("core:memory")), "event:emit:a memory:write:x", "secret:read fs:read:x"),
        (Chain(Caller("plugin:hello")), "memory:read:own event:emit:plugin.hello", "memory:read event:emit:user.x"),
        (Chain(Caller("anonymous")), "health:read", "metrics:read memory:read:own log:write"),
    ],
)
def test_the_policy_that_ships(shipped: Any, chain: Chain, yes: str, no: str) -> None:
    assert [right for right in yes.split() if not allowed(shipped, chain, right)] == []
    assert [right for right in no.split() if allowed(shipped, chain, right)] == []


def test_the_limits_that_ship_cover_every_limit_there_is(shipped: Any, security: ModuleType) -> None:
    limits = shipped.limits_for(Chain(LOCAL, ("script:a.aether",)))
    assert limits.keys() == security.rules.LIMITS.keys()
    assert (limits["steps"], limits["active_s"], limits["depth"], limits["blocks"]) == (10_000_000, 60, 128, 18)


def test_every_word_has_a_sentence_and_a_risk(words: Any) -> None:
    assert all(row.about.endswith(".") and 0 <= row.risk <= 1 for row in words.all.values())
    assert words.row(("fs", "edit", "x")).effect == "compensable"


# The slow model ----------------------------------------------------------------------------------------------------


def model_covers(pattern: str, asked: str) -> bool:
    expression = re.escape(pattern.removesuffix("*")).replace(r"\*", "[^:]+") + (".+" if pattern.endswith("*") else "")
    if pattern.count(":") == 1 and not pattern.endswith("*"):
        expression += "(:.+)?"
    return re.fullmatch(expression, asked) is not None


def model_takes(pattern: str, asked: str) -> bool:
    if asked.count(":") == 1 and pattern.count(":") >= 1:
        return all(p in ("*", a) for p, a in zip(pattern.split(":")[:2], asked.split(":"), strict=True))
    return model_covers(pattern, asked)


def model_is(pattern: str, principal: str) -> bool:
    start, star = pattern.removesuffix("*"), pattern.endswith("*")
    return (principal.startswith(start) and len(principal) > len(start)) if star else principal == pattern


def model_allows(allow: Table, deny: Table, overrides: Table, chain: Chain, asked: str) -> bool:
    everybody = [[chain.caller.id, *chain.caller.roles], *([name] for name in chain.via)]
    for names in everybody:
        lifted = any(model_covers(c, asked) for who, cs in overrides.items() if who in names for c in cs)
        for who, capabilities in deny.items():
            meant = any(model_is(who, name) for name in names) and not (who == "*" and lifted)
            if meant and any(model_takes(c, asked) for c in capabilities):
                return False
        mine = [c for who, cs in allow.items() if any(model_is(who, name) for name in names) for c in cs]
        if not any(model_covers(c, asked) for c in mine):
            return False
    scopes = chain.caller.scopes
    return scopes is None or any(model_covers(scope, asked) for scope in scopes)


WHO = ["user:ada", "role:user", "script:a", "script:system/x", "agent:p", "core:memory", "plugin:q", "anonymous"]
WHO_PATTERNS = [*WHO, "*", "script:*", "script:system/*", "core:*", "user:*", "plugin:*", "role:*"]
RIGHTS = [f"{w}{o}" for w in ("memory:read", "memory:write", "goal:read") for o in ("", ":own", ":notes", ":a.b")]
RIGHT_PATTERNS = [
    *RIGHTS,
    "*",
    "memory:*",
    "goal:*",
    "memory:*:own",
    "memory:read:*",
    "goal:read:a.*",
    "*:read",
    "*:read:own",
]

tables = st.dictionaries(
    st.sampled_from(WHO_PATTERNS), st.lists(st.sampled_from(RIGHT_PATTERNS), min_size=1, max_size=3), max_size=5
)
exact = st.dictionaries(st.sampled_from(WHO), st.lists(st.sampled_from(RIGHTS), min_size=1, max_size=2), max_size=2)
callers = st.builds(
    Caller,
    st.sampled_from(WHO),
    st.sampled_from([(), ("role:user",)]),
    st.none() | st.lists(st.sampled_from(RIGHT_PATTERNS), max_size=3).map(tuple),
)
chains = st.builds(Chain, callers, st.lists(st.sampled_from(WHO), max_size=3, unique=True).map(tuple))
rights = st.sampled_from(RIGHTS)
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(allow=tables, deny=tables, overrides=exact, chain=chains, asked=rights)
def test_the_policy_decides_as_the_slow_model_does(
    make: Any, allow: Table, deny: Table, overrides: Table, chain: Chain, asked: str
) -> None:
    policy = make(toml(allow, deny, overrides))
    assert allowed(policy, chain, asked) == model_allows(allow, deny, overrides, chain, asked)


@many
@given(allow=tables, deny=tables, overrides=exact, chain=chains, asked=rights, data=st.data())
def test_the_order_of_rules_and_their_spread_over_files_does_not_matter(
    make: Any, allow: Table, deny: Table, overrides: Table, chain: Chain, asked: str, data: st.DataObject
) -> None:
    def shuffled(table: Table) -> list[tuple[str, list[str]]]:
        return data.draw(st.permutations([(who, data.draw(st.permutations(what))) for who, what in table.items()]))

    allows, denies = shuffled(allow), shuffled(deny)
    cut, other = data.draw(st.integers(0, len(allows))), data.draw(st.integers(0, len(denies)))
    spread = make(
        toml(dict(allows[:cut]), dict(denies[other:]), dict(shuffled(overrides))),
        toml(dict(allows[cut:]), dict(denies[:other])),
    )
    assert allowed(spread, chain, asked) == allowed(make(toml(allow, deny, overrides)), chain, asked)


@many
@given(allow=tables, deny=tables, more=tables, overrides=exact, chain=chains, asked=rights)
def test_another_deny_never_allows_more(
    make: Any, allow: Table, deny: Table, more: Table, overrides: Table, chain: Chain, asked: str
) -> None:
    if allowed(make(toml(allow, deny, overrides), toml(deny=more)), chain, asked):
        assert allowed(make(toml(allow, deny, overrides)), chain, asked)


@many
@given(allow=tables, deny=tables, overrides=exact, chain=chains, asked=rights)
def test_a_chain_never_has_more_than_any_of_its_members(
    make: Any, allow: Table, deny: Table, overrides: Table, chain: Chain, asked: str
) -> None:
    policy = make(toml(allow, deny, overrides))
    if allowed(policy, chain, asked):
        assert allowed(policy, Chain(chain.caller), asked)
        assert all(allowed(policy, Caller(name), asked) for name in chain.via)
    else:
        assert not allowed(policy, Chain(chain.caller, (*chain.via, "agent:more")), asked)


# Files with mistakes -----------------------------------------------------------------------------------------------

GOOD = "version = 1\n" + CORE
BROKEN: Sequence[tuple[str, str, int | None, str]] = [
    ("no TOML", "version = 1\n[capabilities.allow\n", 2, "not valid TOML"),
    ("a value cut off", "version = 1\n\nstrict_mode =", 3, "not valid TOML"),
    ("a key twice", GOOD + '"core:*" = []\n', 4, "not valid TOML"),
    ("empty", "", 1, "`version = 1` is missing"),
    ("another version", "version = 2\n" + CORE, 1, "version 2 is not known"),
    ("a version in quotes", 'version = "1"\n' + CORE, 1, "expected a number"),
    ("a top-level key misspelt", "version = 1\nstrict_mod = true\n" + CORE, 2, "did you mean 'strict_mode'?"),
    ("a section misspelt", GOOD + "[netwrok]\n", 4, "did you mean 'network'?"),
    ("a key of a section misspelt", GOOD + "[network]\nalowlist = []\n", 5, "did you mean 'allowlist'?"),
    ("neither allow nor deny", GOOD + "[capabilities.alow]\n", 4, "did you mean 'allow'?"),
    ("strict_mode in words", 'version = 1\nstrict_mode = "yes"\n' + CORE, 2, "expected true or false"),
    ("a principal of no kind", GOOD + '"usr:ada" = ["*"]\n', 4, "did you mean 'user'?"),
    ("a principal without a name", GOOD + '"user:" = ["*"]\n', 4, "nothing between"),
    ("a word misspelt", GOOD + '"user:ada" = ["memory:raed"]\n', 4, "did you mean 'memory:read'?"),
    ("a word in capitals", GOOD + '"user:ada" = ["Memory:read"]\n', 4, "'Memory' may hold"),
    ("a domain misspelt", GOOD + '"user:ada" = ["memry:*"]\n', 4, "did you mean 'memory'?"),
    ("a wrong word in a long list", GOOD + '"user:ada" = [\n  "*",\n  "ai:kall",\n]\n', 6, "did you mean 'ai:call'?"),
    ("an object where none can be", GOOD + '"user:ada" = ["system:admin:own"]\n', 4, "'system:admin' takes no object"),
    ("objects where none can be", GOOD + '"user:ada" = ["log:write:*"]\n', 4, "'log:write' takes no object"),
    ("a star within a word", GOOD + '"user:ada" = ["mem*:read"]\n', 4, "stands alone"),
    ("a text instead of a list", GOOD + '"user:ada" = "memory:read"\n', 4, "expected a list of texts"),
    ("a number in a list", GOOD + '"user:ada" = ["memory:read", 7]\n', 4, "expected a text between quotes, got 7"),
    ("a rule instead of a table", "version = 1\ncapabilities = 3\n", 2, "expected a table"),
    ("an override with a wildcard", GOOD + '[overrides]\n"role:*" = ["fs:edit"]\n', 5, "has a wildcard"),
    ("an override of a pattern", GOOD + '[overrides]\n"role:admin" = ["fs:*"]\n', 5, "has a wildcard"),
    ("a mode of signatures that is none", GOOD + '[trust]\nsignatures = "on"\n', 5, "expected off, warn or strict"),
    ("a key whose id no line can name", GOOD + f'[trust.keys]\n"o s" = "ed25519:{"A" * 43}="\n', 5, "a key's id has 1"),
    ("a limit misspelt", GOOD + '[limits."script:*"]\nstep = 1\n', 5, "did you mean 'steps'?"),
    ("a limit of nothing", GOOD + '[limits."script:*"]\nsteps = 0\n', 5, "expected a whole number above 0"),
    ("a limit that is no number", GOOD + '[limits."script:*"]\nactive_s = true\n', 5, "expected a number above 0"),
    ("a limit without a bound", GOOD + '[limits."script:*"]\nactive_s = inf\n', 5, "expected a number above 0"),
    ("a limit for nobody", GOOD + "[limits]\nsteps = 5\n", 5, "stands in a table that says for whom"),
    ("a host that is none", GOOD + '[network]\nallowlist = ["a.b",\n "http://x y"]\n', 6, "is no "),
    ("a block that is none", GOOD + '[network]\ndenylist = ["10.0.0.1/8"]\n', 5, "is no CIDR block"),
    ("a port that is none", GOOD + '[network]\ndenylist = ["a.b:99999"]\n', 5, "is no port"),
    ("a key that is none", GOOD + '[trust]\nkeys = { ops = "rsa:AA" }\n', 5, "32 bytes in base64"),
    ("a score above 1", GOOD + "[trust]\nauto_integrate_min_score = 7\n", 5, "from 0 to 1"),
    ("too deep", GOOD + "[trust]\nplugin_folders = [[[[[[[[[]]]]]]]]]\n", 5, "nested deeper than 8"),
    ("far too deep", "x = " + "[" * 50_000, None, "nested deeper than 8"),
    ("too large", GOOD + "#" * (256 * 1024), None, "larger than 256 KiB"),
    ("the house locked out", 'version = 1\n[capabilities.allow]\n"role:user" = ["*"]\n', None, "the hub could not run"),
    ("the house denied", GOOD + '[capabilities.deny]\n"core:*" = ["memory:*"]\n', 5, "would be refused memory:write"),
    ("nobody may mend it", GOOD + '[capabilities.deny]\n"*" = ["policy:write"]\n', 5, "would be refused policy:write"),
]


@pytest.fixture
async def keeper(security: ModuleType, policies: Path, tmp_path: Path) -> Any:
    """Return a keeper of a folder with one good file."""
    write(tmp_path / "default.toml", GOOD)
    keeper = security.folder.Keeper()
    outcome = await keeper.open(tmp_path, policies, security.policy.NetworkSettings(), SystemClock(), 100)
    assert outcome == "loaded"
    return keeper


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o644)


@pytest.mark.parametrize(("content", "line", "part"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_file_with_a_mistake_is_named_with_its_line_and_the_last_good_policy_stays(
    keeper: Any, tmp_path: Path, content: str, line: int | None, part: str
) -> None:
    good = keeper.policy
    write(tmp_path / "default.toml", content)
    assert await keeper.refresh(SystemClock()) == "failed"
    assert (keeper.mistake.file, keeper.mistake.line) == ("default.toml", line)
    assert part in keeper.mistake.message
    assert keeper.policy is good
    assert await keeper.refresh(SystemClock()) == "unchanged", "the same mistake is told once"


async def test_a_mended_file_takes_effect_and_the_mistake_is_forgotten(keeper: Any, tmp_path: Path) -> None:
    before = keeper.policy.hash
    write(tmp_path / "default.toml", "oops")
    assert await keeper.refresh(SystemClock()) == "failed"
    write(tmp_path / "default.toml", GOOD + '"user:ada" = ["memory:read"]\n')
    assert await keeper.refresh(SystemClock()) == "loaded"
    assert keeper.mistake is None
    assert keeper.policy.hash != before
    assert allowed(keeper.policy, USER, "memory:read")


async def test_taking_the_mistake_back_is_a_change_too(keeper: Any, tmp_path: Path) -> None:
    before = keeper.policy.hash
    write(tmp_path / "default.toml", "oops")
    await keeper.refresh(SystemClock())
    write(tmp_path / "default.toml", GOOD)
    assert await keeper.refresh(SystemClock()) == "loaded"
    assert (keeper.policy.hash, keeper.mistake) == (before, None)


@pytest.mark.parametrize(
    ("name", "content", "line", "part"),
    [
        ("more.toml", '[capabilities.allow]\n"x" = []\n', 2, "is no principal"),
        ("more.toml", '[overrides]\n"role:admin" = ["fs:edit"]\n', 1, "counts in default.toml only"),
        ("more.toml", b"# caf\xe9\n", 1, "not UTF-8"),
        ("more.toml", "version = 3\n", 1, "version 3 is not known"),
    ],
)
async def test_a_mistake_in_another_file_keeps_the_last_good_policy_too(
    keeper: Any, tmp_path: Path, name: str, content: str | bytes, line: int, part: str
) -> None:
    good = keeper.policy
    write(tmp_path / name, content)
    assert await keeper.refresh(SystemClock()) == "failed"
    assert (keeper.mistake.file, keeper.mistake.line) == (name, line)
    assert part in keeper.mistake.message
    assert keeper.policy is good


async def test_without_the_main_file_or_the_folder_the_last_good_policy_stays(keeper: Any, tmp_path: Path) -> None:
    good = keeper.policy
    (tmp_path / "default.toml").rename(tmp_path / "default.toml.bak")
    assert await keeper.refresh(SystemClock()) == "failed"
    assert "the main policy file is missing" in str(keeper.mistake)
    keeper.folder = tmp_path / "gone"
    assert await keeper.refresh(SystemClock()) == "failed"
    assert "cannot be read" in str(keeper.mistake)
    assert keeper.policy is good


async def test_a_file_that_others_may_write_is_refused(keeper: Any, tmp_path: Path) -> None:
    (tmp_path / "default.toml").chmod(0o666)
    assert await keeper.refresh(SystemClock()) == "failed"
    assert "others may write it (mode 666); chmod 644 default.toml" in keeper.mistake.message


async def test_files_are_merged_and_the_table_of_words_is_none_of_them(
    keeper: Any, tmp_path: Path, policies: Path
) -> None:
    write(tmp_path / "capabilities.toml", (policies / "capabilities.toml").read_bytes())
    write(tmp_path / ".hidden.toml", "oops")
    write(tmp_path / "team.toml", '[capabilities.allow]\n"user:ada" = ["goal:read"]\n')
    assert await keeper.refresh(SystemClock()) == "loaded"
    assert keeper.policy.files == ("default.toml", "team.toml")
    assert keeper.policy.decide(Chain(USER), "goal:read").source == "team.toml:2"


async def test_an_admin_is_not_locked_out_by_what_he_loads(keeper: Any, tmp_path: Path) -> None:
    write(tmp_path / "default.toml", GOOD + '"user:root" = ["*"]\n[capabilities.deny]\n"user:*" = ["policy:write"]\n')
    assert await keeper.refresh(SystemClock(), admin=ADMIN) == "failed"
    assert (keeper.mistake.file, keeper.mistake.line) == ("default.toml", 6)
    assert "user:root could not change the policy any more" in keeper.mistake.message
    assert await keeper.refresh(SystemClock()) == "loaded"


async def test_at_a_first_start_with_a_mistake_only_the_console_may_do_anything(
    security: ModuleType, policies: Path, tmp_path: Path
) -> None:
    write(tmp_path / "default.toml", GOOD + "oops\n")
    keeper = security.folder.Keeper()
    settings = security.policy.NetworkSettings()
    assert await keeper.open(tmp_path, policies, settings, SystemClock(), 100) == "failed"
    assert allowed(keeper.policy, CONSOLE, "policy:write")
    for chain in (Chain(USER), Chain(ADMIN), Chain(Caller("core:memory")), Chain(CONSOLE, ("script:a",))):
        decision = keeper.policy.decide(chain, "health:read")
        assert not decision.allowed
        assert "default.toml:4" in decision.reason
    write(tmp_path / "default.toml", GOOD)
    assert await keeper.refresh(SystemClock()) == "loaded"
    assert allowed(keeper.policy, Caller("core:memory"), "health:read")


# Lines -------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b.c", "x:y", 'q"uote', "sl\\ash", "#hash", "[b]", "tëst", "a'b", "="])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=4), st.booleans()), max_size=5, unique_by=lambda row: row[0]))
def test_each_key_and_each_element_of_a_list_is_found_on_its_line(
    security: ModuleType, rows: list[tuple[str, list[str], bool]]
) -> None:
    lines, expected = ['[ "sec\\u0074ion" . "one" ] # [x]', ""], {("section", "one"): 1}
    for name, elements, spread in rows:
        expected["section", "one", name] = len(lines) + 1
        start = f"{json.dumps(name, ensure_ascii=False)} = ["
        if spread:
            lines += [start + " # a, comment ]"]
            for index, element in enumerate(elements):
                lines += ["", f'  {json.dumps(element, ensure_ascii=False)}, # "']
                expected["section", "one", name, index] = len(lines)
            lines += ["]"]
        else:
            lines += [start + ", ".join(json.dumps(element, ensure_ascii=False) for element in elements) + "]"]
            expected |= {("section", "one", name, index): len(lines) for index in range(len(elements))}
    found = security.positions.Positions("\n".join(lines))
    assert {path: found.line(path) for path in expected} == expected


def test_texts_of_several_lines_and_inline_tables_do_not_shift_what_follows(security: ModuleType) -> None:
    text = 'a = """\n[x]\n" = ["""\nb = { c = [1,\n2], d = \'\'\'\n]\'\'\' }\n[t]\nk.l = 1\n[[u]]\nm = 2\n'
    found = security.positions.Positions(text)
    lines = [
        found.line(path) for path in [("a",), ("b",), ("t",), ("t", "k"), ("t", "k", "l"), ("u", "m"), ("t", "zz")]
    ]
    assert lines == [1, 4, 7, 8, 8, 10, 7]
