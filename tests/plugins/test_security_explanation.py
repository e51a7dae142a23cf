"""Why, member by member, and what would change it: proposals are tried on the text of the files, as a person would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_model import made, request, written

from kernel import BadInput, Caller, Chain

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def words(security: ModuleType, policies: Path) -> Any:
    return security.words.Words.read((policies / "capabilities.toml").read_text())


@pytest.fixture(scope="session")
def shipped(policies: Path) -> str:
    return (policies / "default.toml").read_text()


@pytest.fixture
def ask(security: ModuleType, words: Any) -> Ask:
    """Return a function that explains a question under a policy of TOML texts."""

    def asked(
        text: str, principal: str, capability: str, *through: str, roles: Iterable[str] = (), **given: Any
    ) -> Any:
        supposed = given.get("supposed", ())
        question = security.explanation.Question.of(principal, capability, through, supposed, tuple(roles))
        return security.explanation.explain(made(security, words, text), question)

    return asked


def toml(allow: str = "", deny: str = "", overrides: str = "", rest: str = "") -> str:
    return (
        f"version = 1\n[capabilities.allow]\n{allow}\n[capabilities.deny]\n{deny}\n[overrides]\n{overrides}\n{rest}\n"
    )


def texts(found: Any) -> list[str]:
    return [change.text for change in found.proposal.changes]


def test_each_member_is_judged_by_itself_with_its_deciding_line(ask: Ask) -> None:
    text = toml('"role:user" = ["memory:*:own"]\n"script:*" = ["memory:read:own"]', '"agent:*" = ["memory:write"]')
    found = ask(text, "user:ada", "memory:write:own", "script:a", "agent:b", roles=["role:user"])
    assert (found.allowed, found.chain) == (False, "user:ada → script:a → agent:b")
    assert [(one.member, one.allowed, one.source) for one in found.members] == [
        ("user:ada", True, "default.toml:3"),
        ("script:a", False, ""),
        ("agent:b", False, "default.toml:6"),
    ]
    assert found.members[0].principals == ["user:ada", "role:user"]
    assert texts(found) == [
        'default.toml, [capabilities.allow]: add "script:a" = ["memory:write:own"]',
        'default.toml:6: take "memory:write" out of what is denied to "agent:*", or write it narrower',
        'default.toml, [capabilities.allow]: add "agent:b" = ["memory:write:own"]',
    ]
    assert found.proposal.verified


def test_a_yes_names_its_rule_and_proposes_nothing(ask: Ask) -> None:
    found = ask(toml('"user:ada" = ["goal:read"]'), "user:ada", "goal:read:own")
    assert (found.allowed, found.rule, found.source, found.proposal) == (
        True,
        'allow "user:ada" = "goal:read"',
        "default.toml:3",
        None,
    )


def test_a_grant_goes_into_the_row_that_is_there(ask: Ask) -> None:
    found = ask(toml('"user:ada" = []\n"user:bob" = ["goal:read"]'), "user:ada", "goal:read:own")
    change = found.proposal.changes[0]
    assert (change.action, change.line, change.toml) == ("extend", 3, '"goal:read:own"')


@pytest.mark.parametrize(
    ("capability", "overrides", "expected"),
    [
        ("fs:edit:docs", "", 'default.toml, [overrides]: add "user:ada" = ["fs:edit:docs"]'),
        ("fs:edit:docs", '"user:ada" = ["fs:read"]', 'default.toml:7: add "fs:edit:docs" to the list of "user:ada"'),
    ],
)
def test_a_deny_of_everybody_is_lifted_by_the_smallest_override(
    ask: Ask, capability: str, overrides: str, expected: str
) -> None:
    found = ask(toml('"*" = ["*"]', '"*" = ["fs:*"]', overrides), "user:ada", capability)
    assert texts(found) == [expected]
    assert (found.source, found.proposal.verified) == ("default.toml:5", True)


def test_a_name_or_object_that_no_file_can_spell_gets_the_next_larger_grant(ask: Ask) -> None:
    found = ask(toml('"user:b" = ["goal:read"]'), "user:ada@home", "memory:read:a b", roles=["role:user"])
    assert texts(found) == ['default.toml, [capabilities.allow]: add "role:user" = ["memory:read:*"]']
    assert texts(ask(toml(), "user:ada@home", "memory:read:own")) == [
        'default.toml, [capabilities.allow]: add "user:*" = ["memory:read:own"]'
    ]


def test_what_the_network_bars_is_proposed_there(ask: Ask) -> None:
    rest = '[network]\nallowlist = ["a.example"]\ndenylist = ["*.bad.example",\n"x.bad.example"]'
    barred = ask(toml('"*" = ["net:http"]', rest=rest), "core:a", "net:http:x.bad.example")
    assert texts(barred) == [
        'default.toml:10: take "*.bad.example" out of denylist, or write it narrower',
        'default.toml:11: take "x.bad.example" out of denylist, or write it narrower',
    ]
    strict = "strict_mode = true\n" + toml('"*" = ["net:http"]', rest=rest)
    assert texts(ask(strict, "core:a", "net:http:b.example")) == [
        'default.toml, [network]: add "b.example" to allowlist'
    ]


def test_what_wants_a_signature_names_each_line_that_does(ask: Ask) -> None:
    rest = '[trust]\nrequire_signature = ["agent:*", "plugin:ci/*"]'
    found = ask("strict_mode = true\n" + toml('"*" = ["*"]', rest=rest), "core:a", "log:write", "plugin:ci/x")
    assert texts(found) == [
        "default.toml:1: write strict_mode = false, until the hub can verify signatures",
        'default.toml:10: take "plugin:ci/*" out of require_signature, until the hub can verify signatures',
    ]
    assert found.proposal.verified


def test_a_script_that_must_be_signed_is_judged_by_its_rights_and_a_note_tells_what_is_verified_elsewhere(
    ask: Ask,
) -> None:
    policy = toml('"*" = ["*"]', rest='[trust]\nrequire_signature = ["script:ci/*"]')
    found = ask(policy, "core:a", "log:write", "script:ci/x")
    assert found.allowed
    assert found.notes == ["script:ci/x must be signed by a key of [trust] keys; aether verify tells whether it is"]
    assert ask(policy, "core:a", "log:write", "script:other/x").notes == []


def test_a_scope_that_is_missing_is_proposed_for_the_token(ask: Ask) -> None:
    found = ask(toml('"user:ada" = ["*"]'), "user:ada", "goal:read:own", supposed=["scope=memory:read"])
    assert texts(found) == ["use a token with the scope goal:read:own"]
    assert not ask(toml('"user:ada" = ["*"]'), "user:ada", "goal:read:own", supposed=["scope="]).allowed


def test_a_closed_policy_names_the_mistake_to_mend(security: ModuleType, words: Any) -> None:
    closed = security.policy.Policy.shut("default.toml:4: not valid TOML", words)
    found = security.explanation.explain(closed, security.explanation.Question.of("user:ada", "goal:read"))
    assert texts(found) == ["mend the policy, which could not be loaded: default.toml:4: not valid TOML"]
    assert not found.proposal.verified


def test_a_word_that_is_none_has_no_remedy_but_the_nearest_word(ask: Ask) -> None:
    found = ask(toml('"*" = ["*"]'), "user:ada", "memory:raed")
    assert "did you mean 'memory:read'?" in found.reason
    assert (found.proposal, found.members) == (None, [])


def test_what_is_supposed_changes_the_answer_and_nothing_else(ask: Ask, security: ModuleType, words: Any) -> None:
    text = toml('"role:admin" = ["goal:*"]', '"*" = ["fs:*"]')
    assert ask(text, "user:ada", "goal:read", supposed=["role=admin"]).allowed
    assert ask(text, "user:ada", "goal:read", supposed=["grant=goal:read"]).allowed
    assert ask(text, "user:ada", "goal:read", supposed=["grant=user:*=goal:read"]).allowed
    assert not ask(text, "user:ada", "goal:read", supposed=["grant=user:bob=goal:read"]).allowed
    assert not ask(text, "user:ada", "goal:read", supposed=["grant=goal:read", "deny=user:ada=goal:*"]).allowed
    assert ask(text, "user:ada", "fs:read:x", supposed=["grant=fs:read", "override=user:ada=fs:read"]).allowed
    found = ask(text, "user:ada", "goal:read", supposed=["deny=goal:read", "role=admin"])
    assert (found.source, found.supposed) == ("with:1", ["deny=goal:read", "role=admin"])
    policy = made(security, words, text)
    security.explanation.explain(policy, security.explanation.Question.of("user:ada", "goal:read", (), ["grant=*"]))
    assert not policy.decide(Chain(Caller("user:ada")), "goal:read").allowed


@pytest.mark.parametrize(
    ("principal", "given", "said"),
    [
        ("usr:ada", {}, "did you mean 'user'?"),
        ("user:", {}, "is no principal"),
        ("user:*", {}, "without *"),
        ("user:" + "x" * 400, {}, "more than 300 characters"),
        ("user:\udcff", {}, "is no text"),
        ("user:ada", {"supposed": ["scope=\udcff"]}, "is no text"),
        ("user:ada", {"supposed": ["scope=" + "x" * 1000]}, "more than 900 characters"),
        ("user:ada", {"supposed": ["grnat=x"]}, "did you mean 'grant'?"),
        ("user:ada", {"supposed": ["grant=memory:raed"]}, "did you mean 'memory:read'?"),
        ("user:ada", {"supposed": ["grant=usr:x=memory:read"]}, "is no principal"),
        ("user:ada", {"supposed": ["override=user:*=fs:read"]}, "has a wildcard"),
        ("user:ada", {"supposed": ["role="]}, "expected grant="),
        ("user:ada", {"supposed": ["grant=goal:read"] * 33}, "at most 32"),
    ],
)
def test_a_question_that_cannot_be_asked_says_what_is_wrong(
    ask: Ask, principal: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        ask(toml(), principal, "goal:read", **given)


def test_the_command_in_a_denial_asks_the_same_question(security: ModuleType, words: Any) -> None:
    policy = made(security, words, toml('"user:ada" = ["goal:read"]'))
    chain = Chain(Caller("user:ada", (), ("goal:read", "memory:read:a b")), ("script:it's.aether",))
    assert policy.decide(chain, "goal:write").hint == (
        "aether policy explain user:ada goal:write --through 'script:it'\"'\"'s.aether' --with scope=goal:read "
        "--with 'scope=memory:read:a b'"
    )
    assert policy.decide(Chain(Caller("user:ada")), "goal:read").hint == ""


# Proposals, tried on the text ----------------------------------------------------------------------------------------


def edited(text: str, change: Any) -> str:
    """Return the file with one change made, as a person would make it who reads `line`, `section` and `toml`."""
    lines = text.splitlines()
    if change.action == "add":
        lines.insert(lines.index(f"[{change.section}]") + 1, change.toml)
    elif change.action == "change":
        lines[change.line - 1] = change.toml
    else:
        at = change.line - 1 if change.line else next(n for n, line in enumerate(lines) if line.startswith("allowlist"))
        name, _, elements = lines[at].partition(" = ")
        listed = json.loads(elements)
        element = json.loads(change.toml)
        listed = [*listed, element] if change.action == "extend" else [one for one in listed if one != element]
        lines[at] = f"{name} = {json.dumps(listed)}"
    return "\n".join(lines) + "\n"


def applied(text: str, chain: Chain, changes: Iterable[Any]) -> tuple[str, Chain]:
    """Return file and chain with the changes made, the last line first, so that lines stay where they are."""
    caller = chain.caller
    for change in sorted(changes, key=lambda change: -(change.line or 0)):
        if change.action == "scope":
            scope = change.try_with.removeprefix("scope=")
            caller = Caller(caller.id, caller.roles, (*(caller.scopes or ()), scope))
        else:
            text = edited(text, change)
    return text, Chain(caller, chain.via)


@pytest.mark.parametrize("seed", range(3))
def test_a_proposal_made_in_the_file_is_a_yes_and_without_any_of_its_changes_a_no(
    security: ModuleType, words: Any, seed: int
) -> None:
    random, tried = Random(seed), 0
    while tried < 60:
        one = written(random)
        text = one.toml()
        policy = made(security, words, text)
        chain, asked = request(random, one)
        if policy.decide(chain, asked).allowed:
            continue
        tried += 1
        found = security.remedies.propose(policy, chain, asked)
        assert found is not None, (chain, asked, text)
        assert found.verified
        changes = found.changes
        after, widened = applied(text, chain, changes)
        assert made(security, words, after).decide(widened, asked).allowed, (chain, asked, texts_of(changes), text)
        for left_out in changes:
            if left_out.action == "remove" and left_out.section != "capabilities.deny":
                continue  # several entries of one list make up one change
            after, widened = applied(text, chain, [change for change in changes if change is not left_out])
            assert not made(security, words, after).decide(widened, asked).allowed, (chain, asked, texts_of(changes))


def texts_of(changes: Iterable[Any]) -> list[str]:
    return [change.text for change in changes]


def test_a_proposal_for_the_policy_that_ships_can_be_written_into_it(
    security: ModuleType, words: Any, shipped: str
) -> None:
    policy = security.policy.Policy.load({"default.toml": shipped.encode()}, words)
    chain = Chain(Caller("user:local", ("role:user",)), ("script:a.aether", "agent:x"))
    found = security.remedies.propose(policy, chain, "net:http:example.org")
    after = shipped
    for change in found.changes:
        assert change.action == "add"
        after = after.replace(f"[{change.section}]\n", f"[{change.section}]\n{change.toml}\n")
    loaded = security.policy.Policy.load({"default.toml": after.encode()}, words)
    assert loaded.decide(chain, "net:http:example.org").allowed


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["user", "script", "agent", "core", "plugin"]),
    name=st.text(min_size=1, max_size=12).filter(lambda text: "*" not in text),
    word=st.sampled_from(["memory:read", "net:http", "fs:read", "secret:read", "log:write"]),
    thing=st.text(max_size=12),
)
def test_any_question_has_an_answer_and_every_no_a_remedy_that_works(
    security: ModuleType, words: Any, shipped: str, kind: str, name: str, word: str, thing: str
) -> None:
    policy = made(security, words, shipped)
    try:
        question = security.explanation.Question.of(f"{kind}:{name}", f"{word}:{thing}", [f"script:{name}"])
    except BadInput:
        return
    found = security.explanation.explain(policy, question)
    json.dumps(texts(found) if found.proposal else found.reason).encode()
    known = not found.reason.startswith("there is no right") and "is no port" not in found.reason
    assert found.allowed or not known or found.proposal.verified
