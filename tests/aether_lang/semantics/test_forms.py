"""Calls, operators and forms, row by row, where no other test holds the row (language "
"reference, section 8)."""

import pytest

from tests.aether_lang.running import Recorder, error, result

ROWS = {
    "positional, keyword and colon": (
        "fn f(a, b, c = 9) { return [a, b, c] }\nreturn [f(1, 2), f(b=2, a=1), f(1, b: 2, c: 3)]",
        [[1, 2, 9], [1, 2, 9], [1, 2, 3]],
    ),
    "a spread among others": ("fn f(a, b, c) { return [a, b, c] }\nreturn f(1, ...[2, 3])", [1, 2, 3]),
    "call is a prefix": ("fn f(x) { return x }\nreturn call f(2) || false", 2),
    "call of a method": ("let d = { m: x => x + 1 }\nreturn call d.m(1)", 2),
    "await of a plain value": ("fn f() { return 3 }\nreturn [await f(), 1]", [3, 1]),
    "a choice by if and by ?": ("return [1 if 0 else 2, 0 ? 1 : 2, 1 ? 0 ? 3 : 4 : 5]", [2, 2, 4]),
    "an if value without else": ("let v = if false { 1 }\nreturn v", None),
    "an if value with elif": ("let v = if 0 { 1 } elif 1 { 2 } else { 3 }\nreturn v", 2),
    "an if value is that of its last expression": (
        "let v = if 1 { let a = 2\n a += 1\n a * 2 } else { 0 }\nreturn v",
        6,
    ),
    "a lambda of one name, of several, of none": (
        "return [(x => x)(1), ((a, b = 1) => a + b)(1), (() => 3)()]",
        [1, 2, 3],
    ),
    "lambda and function": ("return [(lambda a, b: a - b)(3, 1), (function(a) { return a })(4)]", [2, 4]),
    "a lambda body may be one assignment": ("let n = 0\nlet f = x => n = x\nlet v = f(5)\nreturn [n, v]", [5, 5]),
    "a lambda block without return": ("return (x => { x })(1)", None),
    "a list argument taken apart": ("return [['a', 1], ['b', 2]].map(([k, v]) => k + v)", ["a1", "b2"]),
    "a generator as the first argument": ("return [any(x > 1 for x in [1, 2] if x), sum(k for k in 1..3)]", [True, 6]),
    "two names take pairs": ("return [[k + v for k, v in { a: 1 }], [a * b for a, b in [[2, 3]]]]", [["a1"], [6]]),
    "ranges": ("return [1..3, 3..1, 2..2, range(1, 3), range(3, 0, -1)]", [[1, 2, 3], [], [2], [1, 2], [3, 2, 1]]),
    "x++ and x-- give the old value": (
        "let x = 1\nlet d = { n: 1 }\nlet xs = [1]\nreturn [x++, x--, x, d.n++, d.n, xs[0]--, xs[0]]",
        [1, 2, 1, 1, 2, 1, 0],
    ),
    "+= on names, fields and elements": (
        "let x = 1\nlet d = { n: 1 }\nlet xs = [1]\nx += 1\nd.n *= 3\nxs[0] -= 1\nreturn [x, d.n, xs[0]]",
        [2, 3, 0],
    ),
    "the index of an augmented element is evaluated once": (
        "let n = 0\nlet xs = [1, 1]\nxs[n++] += 5\nreturn [xs, n]",
        [[6, 1], 1],
    ),
    "spreads": (
        "return [{ ...{ a: 1, b: 1 }, b: 2 }, [...[1], 2, ...[]], { ...null }]",
        [{"a": 1, "b": 2}, [1, 2], {}],
    ),
    "** binds tighter than the sign before it": (
        "return [-2 ** 2, (-2) ** 2, 2 ** -1, 2 ** 3 ** 2]",
        [-4, 4, 0.5, 512],
    ),
    "a chain compares neighbours": ("return [1 < 2 < 3, 3 > 2 > 2, 1 == 1.0 == 1]", [True, False, True]),
    "evaluation goes from left to right": (
        "let s = []\nfn t(v) { s.push(v)\n return v }\nlet d = { (t('a')): t(1), b: t(2) }\n"
        "[t(3)][t(0)]\nd[t('b')] = t(4)\nreturn s",
        ["a", 1, 2, 3, 0, "b", 4],
    ),
    "new makes the fixed types": (
        "return [type(new Set([1])), new Date(0).year, new URL('http://a.b/c').pathname, new Error('x').message]",
        ["set", 1970, "/c", "x"],
    ),
    "interpolation takes expressions first": (
        'let c = 1\nlet xs = [1, 2, 3]\nreturn ["{c ? 1 : 2}", "{xs[1:2]}", "{c:.2f}", "{{c}}", f"{{c}}"]',
        ["1", "[2]", "1.00", "1", "{c}"],
    ),
}


@pytest.mark.parametrize("title", ROWS)
def test_each_row_on_calls_and_forms_holds(title: str) -> None:
    source, expected = ROWS[title]
    assert result(source) == expected


MISTAKES = {
    "too many arguments": ("fn f() { }\nf(1)", "TypeError"),
    "an unknown keyword": ("fn f(a) { }\nf(b=1)", "TypeError"),
    "an argument given twice": ("fn f(a) { }\nf(1, a=2)", "TypeError"),
    "a value that is no function": ("let f = 1\nf()", "TypeError"),
    "a range of fractions": ("return 1.5..3", "TypeError"),
    "a range of text": ("return 'a'..'c'", "TypeError"),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_each_mistake_with_calls_and_forms_is_named(title: str) -> None:
    source, name = MISTAKES[title]
    assert error(source)["type"] == name


def test_a_missing_argument_is_null_with_a_warning_at_the_call() -> None:
    host = Recorder()
    assert result("fn f(a, b) { return b }\nreturn [f(1)]", host) == [None]
    assert [(message.split(" ")[0], place[1]) for _, message, place in host.records] == [("AW204", 2)]
