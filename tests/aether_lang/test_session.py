"""Entries of a session: each has what those before it have bound, as one script would."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_lang import run
from aether_lang.budget import Budget
from aether_lang.front import compiled, compiled_entry
from aether_lang.host import LocalHost
from aether_lang.mocks import Mocks
from aether_lang.session import Session


class Talk:
    """A session that is told one entry after another."""

    def __init__(self, **limits: Any) -> None:
        self.base = LocalHost(seed=1, out=io.StringIO())
        self.session = Session(Mocks(self.base), Budget(limits))

    def told(self, entry: str) -> Any:
        made = compiled_entry(entry, "entry", self.session.names)
        if not made["ok"]:
            return made["diagnostics"][0]["message"]
        outcome = self.session.run(made["code"], made["shows"])
        return outcome.result if outcome.error is None else (outcome.error["type"], outcome.error["message"])


def test_an_entry_has_the_names_of_those_before_it_and_shows_its_value() -> None:
    talk = Talk()
    assert [talk.told(entry) for entry in ("let x = 1", "x + 1", "x = x + 4", '[x, "{x}"]', "return x")] == [
        None,
        "2",
        None,
        '[5,"5"]',
        "5",
    ]
    assert talk.session.value("x") == "5"


def test_functions_see_what_later_entries_assign_and_declare_anew() -> None:
    talk = Talk()
    for entry in ("let x = 1", "fn f(n) { return n + x }", "let g = () => f(10)", "x = 5"):
        talk.told(entry)
    assert talk.told("g()") == "15"
    talk.told("let x = 7")
    assert talk.told("g()") == "17"
    talk.told("fn f(n) { return n * 100 }")
    assert talk.told("g()") == "1000"
    talk.told("fn up() { x = x + 1 }")
    talk.told("up()")
    assert talk.told("x") == "8"


def test_constants_stay_and_imports_and_plugins_go_on() -> None:
    talk = Talk()
    talk.told("const tea = 3")
    assert talk.told("tea = 4") == ("ConstError", "'tea' cannot be assigned again")
    talk.told("const tea = 5")
    assert talk.told("tea") == "5"
    talk.told("plugin pot {\n  state: { n: 1 }\n  fn pour() {\n    state.n = state.n + 1\n    return state.n\n  }\n}")
    assert [talk.told("pot.pour()"), talk.told("pot.pour()")] == ["2", "3"]


def test_what_an_entry_bound_before_it_failed_is_kept_and_the_rest_is_not() -> None:
    talk = Talk()
    assert talk.told('let a = 1\nthrow "spilt"\nlet b = 2') == ("UserError", "spilt")
    assert talk.told("a") == "1"
    assert list(talk.session.names) == ["a"]
    assert talk.told("let c = (") == "'(' was never closed"
    assert list(talk.session.names) == ["a"]


def test_the_result_of_a_verb_is_shown_and_null_is_not() -> None:
    talk = Talk()
    assert talk.told('remember "tea" as "t"') is not None
    assert "tea" in talk.told('recall "tea"')
    assert [talk.told("null"), talk.told('print("x")'), talk.told("")] == [None, None, None]


def test_each_entry_has_its_own_steps_and_one_that_has_used_them_up_ends_nothing_else() -> None:
    talk = Talk(steps=10_000)
    for _ in range(3):
        assert talk.told("for i in range(6000) { }") is None
    assert talk.told("while true { }")[0] == "LimitError"
    assert talk.told("1 + 1") == "2"


def test_a_policy_is_no_entry() -> None:
    talk = Talk()
    assert talk.told('policy:\n  on_error: "continue"')[0] == "ValueError"


def test_closing_runs_the_cleanup_of_plugin_blocks() -> None:
    talk = Talk()
    talk.told('plugin pot {\n  fn pour() { return 1 }\n  cleanup { print("rinsed") }\n}')
    talk.told("pot.pour()")
    talk.session.close()
    assert talk.base.lines == ["rinsed"]


PIECES = st.sampled_from(
    [
        "let a = 1",
        "let b = [1, 2]",
        "a = (a ?? 0) + 1",
        "b = [...(b ?? []), a]",
        "fn f(n) { return (n ?? 0) + (a ?? 0) }",
        "let g = n => f(n) * 2",
        "for i in [1, 2] { a = (a ?? 0) + i }",
        "if a { b = null }",
        "c = g(a)",
        "let d = { x: a }",
        "fn f(n) { a = (a ?? 0) + 1\n return a }",
        'print("{a} {b}")',
    ]
)
START = "let a = 0\nlet b = []\nlet c = 0\nfn f(n) { return n }\nlet g = n => n"


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(PIECES, max_size=6))
def test_entries_print_what_one_script_of_them_prints(pieces: list[str]) -> None:
    # A script knows its functions from its first line on, an entry those before it: so each has a name of its own.
    named = [piece.replace("fn f(", f"fn f{n}(") for n, piece in enumerate(pieces)]
    entries = [START, *named, 'print("{[a, b, c]}")']
    whole, talk = LocalHost(seed=1, out=io.StringIO()), Talk()
    outcome = run(compiled("\n".join(entries), "t", {})["code"], whole)
    for entry in entries:
        talk.told(entry)
    assert outcome.error is None
    assert talk.base.lines == whole.lines


@pytest.mark.parametrize(
    "entry", ["x", "\x00", "fn", "let", "return", "goal: tea", "on boil { }", "every 5 minutes: f()", "{ a: 1 }"]
)
def test_any_entry_at_all_ends_with_an_outcome(entry: str) -> None:
    talk = Talk()
    talk.told(entry)
    assert talk.told("1") == "1"
