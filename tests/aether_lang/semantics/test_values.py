"""Values, row by row, where no other test holds the row (language reference, section 6)."""

import pytest

from tests.aether_lang.running import Recorder, error, result

ROWS = {
    "a record of the host is a copy": ("let a = get_memory('k')\na.n = 2\nreturn [a.n, get_memory('k').n]", [2, 1]),
    "dicts keep the order of insertion": ("let d = { z: 1 }\nd.a = 2\nd.z = 3\nreturn d.keys()", ["z", "a"]),
    "scalar keys become text": (
        'return { 1: "a", true: "b", null: "c", 1.5: "d" }.keys()',
        ["1", "true", "null", "1.5"],
    ),
    "one key by its number and by its text": ('let d = {}\nd[1] = "a"\nreturn d["1"]', "a"),
    "lists are shared, not copied": ("let a = [1]\nlet b = a\nb.push(2)\nreturn a", [1, 2]),
    "a tuple is a list that compares element by element": (
        "return [(2, 'a'), (1, 'z'), (1, 'b')].sort_by(x => x)",
        [[1, "b"], [1, "z"], [2, "a"]],
    ),
    "ints are exact": ("return str(2 ** 100 + 1)", "1267650600228229401496703205377"),
    "rounding functions give ints": ("return [type(floor(2.5)), type(ceil(2.5)), type(round(2.5))]", ["int"] * 3),
    "an integral float is an index": ("return [[1, 2][1.0], 'ab'[0.0]]", [2, "a"]),
    "bools count in arithmetic, order and bits": ("return [true + 1, true < 2, true | 2, -true]", [2, True, 3, -1]),
    "a shift count is taken by five bits": ("return [1 << 32, 1 << 33, 256 >> 36]", [1, 2, 16]),
    "bits are the low 32, signed, of what was truncated": (
        "return [2147483648 | 0, 3.9 & 7, -1 >> 1]",
        [-2147483648, 3, -1],
    ),
    "a text joins what it is added to": (
        "return ['n' + 1.0, 1 + 'n', 'n' + null, 'n' + [1]]",
        ["n1", "1n", "nnull", "n[1]"],
    ),
    "a string repeats": ("return ['ab' * 2, 'ab' * 0]", ["abab", ""]),
    "every false value": (
        "return [false, null, 0, 0.0, '', [], {}, new Set([]), error('x')].map(v => v ? 1 : 0).sum()",
        0,
    ),
    "and some true ones": ("return ['0', [0], { a: 0 }, -1, new Set([0]), x => x, /a/].map(v => v ? 1 : 0).sum()", 7),
    "or gives the first true operand, else the last": (
        "return [0 or 'a' or 1, 0 or '' or [], 0 || null]",
        ["a", [], None],
    ),
    "and gives the first false operand, else the last": ("return [1 and '' and 2, 1 && 2]", ["", 2]),
    "?? goes on for null only": ("return [null ?? 1, 0 ?? 1, false ?? 1, '' ?? 1]", [1, 0, False, ""]),
    "functions are equal to themselves": ("let f = x => x\nlet g = x => x\nreturn [f == f, f == g]", [True, False]),
    "is and is not are == and !=": ("return [1 is 1.0, [1] is [1], 1 is not 2, null is undefined]", [True] * 4),
    "text is ordered by code points": ("return ['B' < 'a', 'a' < 'b', 'a' < 'ab']", [True] * 3),
    "null makes every order false": (
        "return [null < 1, 1 < null, null <= null, null > 'a', [null] < [1]]",
        [False] * 5,
    ),
    "in looks for elements, keys and parts": (
        "return [1.0 in [1], 'a' in { a: null }, 'ea' in 'tea', 1 in null]",
        [True, True, True, False],
    ),
    "a list in a list is an element or all of its own": (
        "return [[1] in [[1]], [1, 2] in [2, 3, 1], [1, 4] in [1], [] in [1], [] in [[]]]",
        [True, True, False, False, True],
    ),
    "not in negates": ("return [1 not in [1], 2 not in [1]]", [False, True]),
    "exists, empty and their opposites": (
        "let a = 0\nlet b = null\nreturn [a exists, b exists, a empty, a not empty, b not exists]",
        [True, False, True, False, True],
    ),
    "any name may follow the dot": ("let d = { if: 1, class: 2, not: 3 }\nreturn d.if + d.class + d.not", 6),
    "a field by its dot and by its text": ("let d = { a: 1 }\nreturn [d.a, d['a'], [1, 2]['length']]", [1, 1, 2]),
    "a missing key is null": ("return { a: 1 }.b", None),
    "?. of null is null and goes on": ("let a = null\nreturn [a?.b, a?.f(), { b: 1 }?.b]", [None, None, 1]),
    "length, count, first and last of lists": (
        "let xs = [4, 5, 6]\nreturn [xs.length, xs.count, xs.first, xs.last, xs.other, [].first]",
        [3, 3, 4, 6, None, None],
    ),
    "length of text": ("return 'tea'.length", 3),
    "length and count of a dict give way to its keys": (
        "return [{ a: 1 }.length, { a: 1 }.count, { length: 9 }.length, { count: null }.count]",
        [1, 1, 9, None],
    ),
    "an index from the end, and out of range": (
        "let xs = [1, 2]\nreturn [xs[-1], xs[-2], xs[2], xs[-3], ''[0]]",
        [2, 1, None, None, None],
    ),
    "slices have optional ends and are clamped": (
        "let xs = [1, 2, 3]\nreturn [xs[1:], xs[:1], xs[:], xs[-2:], xs[5:], 'tea'[1:9]]",
        [[2, 3], [1], [1, 2, 3], [2, 3], [], "ea"],
    ),
    "a callable entry wins over the method": ("return [{ keys: () => 7 }.keys(), { keys: 7 }.keys()]", [7, ["keys"]]),
}


@pytest.mark.parametrize("title", ROWS)
def test_each_row_on_values_holds(title: str) -> None:
    source, expected = ROWS[title]
    found = result(source, Recorder(memory__get=lambda _: {"n": 1}))
    assert found == expected
    assert type(found) is type(expected)


TEXTS = [
    ("null", "null"),
    ("true", "true"),
    ("1_000", "1000"),
    ("2.50", "2.5"),
    ("4.0", "4"),
    ("1e22", "1e+22"),
    ("1e15", "1000000000000000.0"),
    ("999999999999999.0", "999999999999999"),
    ("0.1 + 0.2", "0.30000000000000004"),
    ("'é'", "é"),
    ("[1, 'é', null, { a: 2.0 }]", '[1,"é",null,{"a":2}]'),
    ("error('lost')", "lost"),
    ("named", "<fn named>"),
]


@pytest.mark.parametrize(("value", "expected"), TEXTS)
def test_a_value_has_one_text_wherever_it_becomes_text(value: str, expected: str) -> None:
    host = Recorder()
    source = f"fn named() {{ }}\nlet v = {value}\nlog(v)\nreturn ['{{v}}' == '', \"{{v}}\", '' + v, str(v), [v].join()]"
    assert result(source, host)[1:4] == [expected] * 3
    assert host.records[-1][1] == expected


MISTAKES = {
    "numbers beyond the range, by a guarded operator": ("return 1e308 * 10", "ValueError"),
    "a quotient beyond the range": ("return 10 ** 400 / 3", "ValueError"),
    "a sum beyond the range, once it becomes text": ("let x = 1e308 + 1e308\nreturn '' + x", "ValueError"),
    "a sum beyond the range, once it becomes JSON": ("let x = 1e308 + 1e308\nreturn JSON.stringify([x])", "ValueError"),
    "a sum beyond the range, once it is the result": ("let x = 1e308 + 1e308\nreturn x", "ValueError"),
    "ints of more than 4096 bits": ("let x = 2 ** 4095\nreturn x * x", "LimitError"),
    "a quotient of nothing": ("return 1 / 0", "DivisionByZero"),
    "a remainder of nothing": ("return 1.5 % 0.0", "DivisionByZero"),
    "two dicts added": ("return { a: 1 } + { b: 2 }", "TypeError"),
    "a list as a key": ("let d = {}\nd[[1]] = 2", "TypeError"),
    "a number and a text in order": ("return 1 < 'a'", "TypeError"),
    "two dicts in order": ("return {} < {}", "TypeError"),
    "a field of null": ("let a = null\nreturn a.k", "TypeError"),
    "an element of null": ("let a = null\nreturn a[0]", "TypeError"),
    "a method of null": ("let a = null\nreturn a.trim()", "TypeError"),
    "a method that no type has": ("return [].nothing_like_it()", "UnknownMethod"),
    "bits of text": ("return 'a' & 1", "TypeError"),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_each_mistake_with_values_is_named(title: str) -> None:
    source, name = MISTAKES[title]
    assert error(source)["type"] == name


def test_a_field_of_null_says_which_one() -> None:
    assert error("let a = null\nreturn a.kettle")["message"] == "cannot read .kettle of null"


def test_null_is_zero_with_one_warning_for_each_place() -> None:
    host = Recorder()
    assert result("let n = null\nlet s = 0\nfor i in 3 { s += n * 2 }\nreturn [s, n - 1, -n, n | 1]", host) == [
        0,
        -1,
        0,
        1,
    ]
    assert [place[1] for level, _, place in host.records if level == "warning"] == [3, 4, 4, 4]


def test_a_policy_makes_null_in_arithmetic_an_error() -> None:
    found = error("policy: strict_null: true\nlet n = null\nreturn n + 1")
    assert (found["type"], found["line"]) == ("TypeError", 3)


def test_sets_keep_their_order_and_the_first_of_equal_values() -> None:
    assert result(
        "let s = new Set([3, 1, 3.0])\ns.add(2)\nlet seen = []\nfor x in s { seen.push(x) }\nreturn seen"
    ) == [3, 1, 2]
