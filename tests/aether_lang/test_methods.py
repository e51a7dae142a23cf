"""The methods of built-in types, row by row (language reference, section 9)."""

from typing import Any

import pytest

from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.parser import parse
from aether_lang.program import Outcome, run


def outcome(source: str) -> Outcome:
    return run(compile_module(parse(source, "test.aether")), LocalHost(seed=1))


def value(expression: str) -> Any:
    ended = outcome(f"return {expression}")
    assert ended.state == "completed", ended.error
    return ended.result


ROWS = [
    ("[1].append(2)", [1, 2]),
    ("[1].push(2)", [1, 2]),
    ("[1].extend([2, 3])", [1, 2, 3]),
    ("[1, 2, 3].filter(x => x > 1)", [2, 3]),
    ("[5, 6].filter((x, i) => i == 0)", [5]),
    ("[1, 2].map(x => x * 2)", [2, 4]),
    ("[7, 8].map((x, i) => x + i)", [7, 9]),
    ("[3, 1, null, 2].sort_by(x => x)", [1, 2, 3, None]),
    ('[3, 1, null, 2].sort_by(x => x, order="desc")', [3, 2, 1, None]),
    ('[{a: 2}, {a: 1}].sort_by("a")', [{"a": 1}, {"a": 2}]),
    ('[{a: 2}, {a: 1}].sort_by("a", reverse=true)', [{"a": 2}, {"a": 1}]),
    ("[2, 1].sort()", [1, 2]),
    ("[1, 3, 2].sort((a, b) => b - a)", [3, 2, 1]),
    ("[1, 3, 2].sort(key=x => 0 - x)", [3, 2, 1]),
    ("[1, 3, 2].sort(reverse=true)", [3, 2, 1]),
    ("[1, 2].reverse()", [2, 1]),
    ("[1, 2, 3].slice(1)", [2, 3]),
    ("[1, 2, 3].slice(0, -1)", [1, 2]),
    ("[1, 2, 3].take(2)", [1, 2]),
    ("[1, 2, 3].skip(2)", [3]),
    ("[1, 2].sum()", 3),
    ("[{n: 1}, {n: 2}].sum(x => x.n)", 3),
    ("[1, 2].average()", 1.5),
    ("[].average()", 0),
    ("[2, 1, 3].min()", 1),
    ("[2, 1, 3].max()", 3),
    ('["aa", "b"].max(x => x.length)', 2),
    ("[].max()", None),
    ('[1, null, "a"].join("-")', "1-null-a"),
    ("[1, 2].join()", "12"),
    ("[1, 2].includes(2)", True),
    ("[1, 2].contains(true)", False),
    ("[1, 2].index_of(2)", 1),
    ("[1, 2].index_of(9)", -1),
    ("[1, 2, 3].find(x => x > 1)", 2),
    ("[1].find(x => x > 1)", None),
    ("[1, 2].any(x => x > 1)", True),
    ("[1, 2].some(x => x > 5)", False),
    ("[1, 2].all(x => x > 0)", True),
    ("[1, 2].every(x => x > 1)", False),
    ("[1, 2, 3].reduce((a, x) => a + x, 10)", 16),
    ("[1, 2, 3].reduce((a, x) => a + x)", 6),
    ("[1, 2].each(x => x)", None),
    ("[1, 2].forEach(x => x)", None),
    ("[1, 2, 3].intersection([3, 1, 9])", [1, 3]),
    ("[1, 2].union([2, 3])", [1, 2, 3]),
    ("[1, 2].difference([2])", [1]),
    ("[1, 1, true, [1], [1]].unique()", [1, True, [1]]),
    ('[{k: "a", n: 1}, {k: "b"}, {k: "a"}].group_by("k").a.length', 2),
    ("[1, 2, 3].group_by(x => x % 2)", {"1": [1, 3], "0": [2]}),
    ("[1, [2, [3]]].flatten()", [1, 2, [3]]),
    ("[1].concat([2], 3)", [1, 2, 3]),
    ("[1, 2].pop()", 2),
    ("[].pop()", None),
    ("[1, 2, 1].remove(1)", [2, 1]),
    ("[1, 3].insert(1, 2)", [1, 2, 3]),
    ("[1].clear()", []),
    ('"AbC".lower()', "abc"),
    ('"AbC".upper()', "ABC"),
    ('"AbC".toLowerCase()', "abc"),
    ('"AbC".toUpperCase()', "ABC"),
    ('" a ".trim()', "a"),
    ('" a ".strip()', "a"),
    ('"a,b".split(",")', ["a", "b"]),
    ('"ab".split("")', ["a", "b"]),
    ('" a  b ".split()', ["a", "b"]),
    ('"a1b2c".split(/[0-9]/)', ["a", "b", "c"]),
    ('"kettle".substring(1, 3)', "et"),
    ('"kettle".substring(3, 1)', "et"),
    ('"kettle".slice(-2)', "le"),
    ('"tea".charAt(1)', "e"),
    ('"tea".charAt(9)', ""),
    ('"A".charCodeAt(0)', 65),
    ('"aa".replace("a", "b")', "ba"),
    ('"aa".replace(/a/, "b")', "ba"),
    ('"aa".replace(/a/g, "b")', "bb"),
    ('"john smith".replace(/(\\w+) (\\w+)/, "$2 $1 $$ $&")', "smith john $ john smith"),
    ('"a1b2".replace(/[0-9]/g, m => "<{m}>")', "a<1>b<2>"),
    ('"kettle".starts_with("ket")', True),
    ('"kettle".startsWith("x")', False),
    ('"kettle".ends_with("tle")', True),
    ('"kettle".endsWith("x")', False),
    ('"kettle".includes("ttl")', True),
    ('"kettle".contains("q")', False),
    ('"kettle".index_of("t")', 2),
    ('"ab".repeat(2)', "abab"),
    ('"7".pad_start(3, "0")', "007"),
    ("{a: 1}.keys()", ["a"]),
    ("{a: 1}.values()", [1]),
    ("{a: 1}.items()", [["a", 1]]),
    ("{a: 1}.entries()", [["a", 1]]),
    ('{a: 1}.get("a")', 1),
    ('{a: 1}.get("b", 2)', 2),
    ('{a: null}.has("a")', True),
    ('{a: 1}.hasOwnProperty("b")', False),
    ('{a: 1}.contains("a")', True),
    ("{a: 1, b: 1}.merge({b: 2})", {"a": 1, "b": 2}),
    ("{a: 1}.update({b: 2})", {"a": 1, "b": 2}),
    ('{a: 1}.set("b", 2)', {"a": 1, "b": 2}),
    ('{a: 1}.remove("a")', 1),
    ('{a: 1, b: 2}.pick(["b", "z"])', {"b": 2}),
    ('{a: 1, b: 2}.omit(["b"])', {"a": 1}),
    ("{a: 1}.map_values(v => v + 1)", {"a": 2}),
    ("{a: 1, b: 2}.filter((k, v) => v > 1)", {"b": 2}),
    ("(255).toString(16)", "ff"),
    ("(1.5).toString()", "1.5"),
    ("(3.14159).toFixed(2)", "3.14"),
    ("(15).clamp(0, 10)", 10),
    ("(2.5).round()", 3),
    ("(2.345).round(2)", 2.35),
    ("(0 - 5).abs()", 5),
    ('/a+/.test("caat")', True),
    ('/(a)(x)?/.match("cat")', ["a", "a", None]),
    ('/z/.match("cat")', None),
    ("((a, b) => a + b).apply(null, [1, 2])", 3),
    ("((a, b) => a + b).call(null, 1, 2)", 3),
    ("new Set([1]).add(2).size()", 2),
    ("new Set([1]).has(1)", True),
    ("new Set([1]).delete(1)", True),
    ('["1", "2"].map(int)', [1, 2]),
]


@pytest.mark.parametrize(("expression", "expected"), ROWS)
def test_each_method_does_what_its_row_says(expression: str, expected: Any) -> None:
    found = value(expression)
    assert found == expected
    assert type(found) is type(expected)


def test_sort_by_is_stable() -> None:
    assert value('[{k: 1, n: "a"}, {k: 0, n: "b"}, {k: 1, n: "c"}].sort_by("k").map(x => x.n)') == ["b", "a", "c"]


def test_sort_works_in_place_and_sort_by_does_not() -> None:
    assert value("(xs => [xs.sort_by(x => x), xs, xs.sort(), xs])([2, 1])") == [[1, 2], [1, 2], [1, 2], [1, 2]]
    assert outcome("let xs = [2, 1]\nlet ys = xs.sort_by(x => x)\nreturn xs.join() + ys.join()").result == "2112"


def test_a_callable_entry_of_a_dict_wins_over_the_method() -> None:
    assert value("{keys: () => 7}.keys()") == 7
    assert value("{keys: 5}.keys()") == ["keys"]


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("[1].nothing()", "UnknownMethod"),
        ("null.trim()", "TypeError"),
        ('"a".repeat("x")', "TypeError"),
        ('[1, "a"].sort()', "TypeError"),
        ("[1].map(5)", "TypeError"),
        ("[1].take(1, 2)", "TypeError"),
        ("[].reduce((a, b) => a)", "ValueError"),
        ("(5).toString(99)", "ValueError"),
        ('[1].sort_by(x => x, order="up")', "ValueError"),
    ],
)
def test_wrong_calls_are_errors_of_the_right_type(expression: str, error: str) -> None:
    ended = outcome(f"return {expression}")
    assert ended.error is not None
    assert ended.error["type"] == error


@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "format", "mro", "__subclasses__", "encode", "__getattribute__"]
)
def test_no_method_of_python_is_reachable(name: str) -> None:
    for receiver in ('"a"', "[1]", "(5)", "{}", "(x => x)", 'error("x")'):
        ended = outcome(f"return {receiver}.{name}()")
        assert ended.error is not None
        assert ended.error["type"] == "UnknownMethod"


def test_a_callback_sees_a_snapshot_of_the_list() -> None:
    assert outcome("let xs = [1, 2]\nxs.each(x => { xs.push(x) })\nreturn xs").result == [1, 2, 1, 2]
