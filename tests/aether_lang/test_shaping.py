"""Which statement a line is, where its phrase begins, and how the limits on nesting are counted."""

import pytest

from aether_lang import AetherError, Limits, parse
from aether_lang.errors import Source, SyntaxProblem
from aether_lang.layout import lay_out
from aether_lang.scanner import scan
from aether_lang.shaping import shape


def shaped(text: str) -> str:
    source = Source(text, "t")
    problems: list[SyntaxProblem] = []
    tokens = shape(source, lay_out(source, scan(source, Limits(), []), []), Limits(), problems, [])
    assert not problems
    return " ".join(token.type for token in tokens if token.type != "NEWLINE")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log a b", "VERB NAME JUXT NAME"),
        ("log a, b", "VERB NAME JUXT NAME"),
        ("log a -b", "VERB NAME MINUS NAME"),
        ("log -a", "VERB MINUS NAME"),
        ("log - a", "NAME MINUS NAME"),
        ("log [1]", "VERB LBRA NUMBER RBRA"),
        ("log[1]", "NAME IBRA NUMBER RBRA"),
        ("log [1] = 2", "NAME IBRA NUMBER RBRA ASSIGN NUMBER"),
        ("log (a) + b", "NAME CPAR NAME RPAR PLUS NAME"),
        ("recall x from w", "VERB NAME PREP NAME"),
        ("learn x based on y", "VERB NAME PREP NAME"),
        ("notify when late", "VERB GUARD NAME"),
        ("print 'a' if b", "VERB STRING GUARD NAME"),
        ("print 'a' if b else 'c'", "VERB STRING TIF NAME TELSE STRING"),
        ("pattern frequency x timeframe=7", "VERB NAME JUXT NAME SLOTKEY NUMBER"),
        ("x = recall a from b", "NAME ASSIGN PHRASE NAME PREP NAME"),
        ("x: daily at '22:00'", "KEY PHRASE NAME PREP STRING"),
        ("f(x) as 't'", "PHRASE NAME CPAR NAME RPAR PREP STRING"),
        ("f(x) -> y", "PHRASE NAME CPAR NAME RPAR ARROW NAME"),
        ("f(a=1, b: 2)", "NAME CPAR ARGKEY NUMBER COMMA ARGKEY NUMBER RPAR"),
        ("x = a exists and b", "NAME ASSIGN NAME POSTFIX OP NAME"),
        ("exists = 1", "NAME ASSIGN NUMBER"),
        ("x = exists", "NAME ASSIGN NAME"),
        ("x = call a", "NAME ASSIGN CALL NAME"),
        ("call = 1", "NAME ASSIGN NUMBER"),
        ("then: continue", "KEY NAME"),
        ("when = now()", "NAME ASSIGN NAME CPAR RPAR"),
        ("every(xs, f)", "NAME CPAR NAME COMMA NAME RPAR"),
        ("x = [a for a in b if c]", "NAME ASSIGN LBRA NAME COMPFOR NAME FORIN NAME TIF NAME RBRA"),
        ("- ratio > 0.5 if known", "DASH PHRASE NAME OP NUMBER GUARD NAME"),
        ("1. f()", "DASH NAME CPAR RPAR"),
        ("-1", "MINUS NUMBER"),
    ],
)
def test_a_line_becomes_these_terminals(text: str, expected: str) -> None:
    assert shaped(text) == expected


@pytest.mark.parametrize("text", ["adapt_strategy for x", "log x", "LOG = 1"])
def test_known_and_compound_verbs_begin_statements(text: str) -> None:
    assert parse(text).body


@pytest.mark.parametrize(("text", "hint"), [("recal x from y", "recall"), ("remembr x", "remember"), ("zzzz y", None)])
def test_an_unknown_verb_is_refused_with_the_nearest_one(text: str, hint: str | None) -> None:
    with pytest.raises(AetherError) as caught:
        parse(text)
    (found,) = caught.value.diagnostics
    assert found.code == "AE107"
    assert found.suggestion == (f"did you mean `{hint}`?" if hint else None)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("x = " + " + ".join(["a"] * 900), Limits()),
        ("x = a" + ".b" * 900, Limits()),
        ("x = " + "[" * 65 + "]" * 65, Limits()),
        ("".join(f"{' ' * depth}for x in y:\n" for depth in range(19)) + " " * 19 + "log x", Limits()),
        ("".join(f"{' ' * depth}if x:\n" for depth in range(900)) + " " * 900 + "log x", Limits()),
        ("if a { log 1 }" + " elif b { log 2 }" * 900, Limits()),
        ("x = " + "not " * 900 + "a", Limits()),
        ("x = " + "-" * 1 + " -" * 900 + "a", Limits()),
    ],
)
def test_nesting_beyond_the_limits_is_one_syntax_error(text: str, limits: Limits) -> None:
    with pytest.raises(AetherError) as caught:
        parse(text, limits=limits)
    (found,) = caught.value.diagnostics
    assert found.code == "AE110"


def test_functions_begin_to_count_blocks_anew() -> None:
    loops = "".join(f"{' ' * depth}for x in y:\n" for depth in range(18))
    assert parse(loops + " " * 18 + "log x").body
    assert parse(loops + " " * 18 + "f = x => { for a in b { log a } }").body
