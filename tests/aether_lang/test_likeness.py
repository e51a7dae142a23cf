"""`alike`: what may differ between two scripts that mean the same, and what may not."""

from __future__ import annotations

import pytest

from aether_lang import parse
from aether_lang.likeness import alike


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x = 1", "\n\n  x   =  1 # note"),
        ("goal: keep going priority: high", 'goal: "keep going" priority: "high"'),
        ("goal: keep going priority: high", 'goal: "keep going" priority: high'),
        ("p = 1\nmemory_access: read-write", 'p = 1\nmemory_access: "read-write"'),
        ("rules:\n  - be brief", 'rules:\n  - "be brief"'),
        ("checks:\n  - a: > 2", 'checks:\n  - a: { op: ">", value: 2 }'),
        ("1. f()", "f()"),
        ("steps:\n  1. scan: f()", "steps:\n  - scan: f()"),
        ("if a:\n  b()\nend", "if a { b() }"),
        ("f(a: 1)", "f(a=1)"),
        ("x = a is b", "x = a == b"),
        ("log   1,  2", "log 1, 2"),
        ("function f():\n  return None", "fn f() { return null }"),
    ],
)
def test_scripts_that_differ_in_spelling_alone_are_alike(left: str, right: str) -> None:
    assert alike(parse(left), parse(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", 'x = "1"'),
        ("x = true", "x = 1"),
        ("x = a", "y = a"),
        ("x = a", "let x = a"),
        ("log x", 'log "x"'),
        ("f(a, 1)", "f(a=1)"),
        ("x = [a, b]", "x = [b, a]"),
        ("x = [[a], b]", "x = [[a, b]]"),
        ("a()\nb()", "if a() { b() }"),
        ("x = a - (b - c)", "x = a - b - c"),
        ("x = a and b or c", "x = a and (b or c)"),
        ('schedule_of: daily at "6"', 'schedule_of: daily  at "6"'),
        ('goal: "a" priority: low', 'goal: "a" priority: high'),
        ("if a:\n  b()\nelse:\n  c()", "if a:\n  b()\nc()"),
        ("note: |\n  a", "note: |\n   a\n  b"),
        ('x = "{a}"', "x = '{a}'"),
    ],
)
def test_scripts_that_mean_different_things_are_not_alike(left: str, right: str) -> None:
    assert not alike(parse(left), parse(right))


def test_alike_goes_down_to_any_depth() -> None:
    deep = "x = " + "-(" * 60 + "{}" + ")" * 60
    assert alike(parse(deep.format("1")), parse(deep.format("1 # one\n")))
    assert not alike(parse(deep.format("1")), parse(deep.format("2")))
