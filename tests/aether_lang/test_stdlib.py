"""The library functions, row by row (language reference, section 20)."""

import io
import re
from typing import Any

import pytest

from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.parser import parse
from aether_lang.program import Outcome, run

NOW = 1_700_000_000.5


def local() -> LocalHost:
    return LocalHost(seed=1, clock=lambda: NOW, sleep=lambda _: None, out=io.StringIO())


def outcome(source: str, host: LocalHost | None = None, **options: Any) -> Outcome:
    return run(compile_module(parse(source, "test.aether")), host or local(), **options)


def value(expression: str) -> Any:
    ended = outcome(f"return {expression}")
    assert ended.state == "completed", ended.error
    return ended.result


ROWS = [
    ("now()", NOW),
    ("current_time()", NOW),
    ("current_timestamp", NOW),
    ("today()", "2023-11-14"),
    ("current_date", "2023-11-14"),
    ("date(0)", "1970-01-01"),
    ("date()", "2023-11-14"),
    ("time_since(now() - 5)", 5.0),
    ('format_time(0, "%Y/%m/%d %H:%M")', "1970/01/01 00:00"),
    ('parse_time("1970-01-02T00:00:00Z")', 86400.0),
    ('parse_duration("10 minutes")', 600),
    ('parse_duration("1 hour 30 min")', 5400),
    ('parse_duration("500ms")', 0.5),
    ("calculate_duration(3, 10)", 7),
    ('len("tea")', 3),
    ("len(null)", 0),
    ("len({a: 1})", 1),
    ("count([1, 2, 3])", 3),
    ("count([1, 2, 3], x => x > 1)", 2),
    ("count(null)", 0),
    ("sum([1, 2])", 3),
    ("sum(1, 2)", 3),
    ("sum(x for x in 1..3)", 6),
    ("average([1, 2])", 1.5),
    ("avg(1, 3)", 2),
    ("min(3, 1)", 1),
    ("max([3, 1])", 3),
    ("round(2.5)", 3),
    ("round(1.25, 1)", 1.3),
    ("floor(2.7)", 2),
    ("ceil(2.1)", 3),
    ("abs(0 - 4)", 4),
    ("sqrt(16)", 4),
    ("sqrt(2)", 2**0.5),
    ("pow(2, 8)", 256),
    ("any([0, 1])", True),
    ("any(true)", True),
    ("any(x > 2 for x in [1, 2])", False),
    ("all([1, 0])", False),
    ("all([])", True),
    ("range(3)", [0, 1, 2]),
    ("range(1, 4)", [1, 2, 3]),
    ("range(5, 0, 0 - 2)", [5, 3, 1]),
    ("sorted([2, 1])", [1, 2]),
    ("sorted([2, 1], reverse=true)", [2, 1]),
    ("reversed([1, 2])", [2, 1]),
    ("unique([1, 1])", [1]),
    ("zip([1, 2], [3, 4])", [[1, 3], [2, 4]]),
    ('enumerate(["a"])', [[0, "a"]]),
    ("keys({a: 1})", ["a"]),
    ("values({a: 1})", [1]),
    ("items({a: 1})", [["a", 1]]),
    ("merge({a: 1}, {b: 2}, {a: 3})", {"a": 3, "b": 2}),
    ("filter([1, 2], x => x > 1)", [2]),
    ("filter([{a: 1, b: 2}, {a: 2}], a=1)", [{"a": 1, "b": 2}]),
    ("map([1, 2], x => x + 1)", [2, 3]),
    ('map([{a: 1}], "a")', [1]),
    ("str([1])", "[1]"),
    ('int("42")', 42),
    ("int(2.9)", 2),
    ('int("ff", 16)', 255),
    ('float("1.5")', 1.5),
    ("bool([])", False),
    ('list("ab")', ["a", "b"]),
    ('dict([["a", 1]])', {"a": 1}),
    ('parseInt("12px")', 12),
    ('parseInt("x")', None),
    ('parseFloat("1.5em")', 1.5),
    ("typeof(null)", "null"),
    ("typeof(true)", "boolean"),
    ("typeof(1)", "number"),
    ('typeof("")', "string"),
    ("typeof([])", "array"),
    ("typeof({})", "object"),
    ("typeof(len)", "function"),
    ("type(1)", "int"),
    ("type([])", "list"),
    ('contains("tea", "e")', True),
    ("contains([1], 2)", False),
    ('split("a-b", "-")', ["a", "b"]),
    ('join([1, 2], "+")', "1+2"),
    ('replace("aa", "a", "b")', "ba"),
    ('lower("A")', "a"),
    ('upper("a")', "A"),
    ('trim(" a ")', "a"),
    ("JSON.stringify({a: [1, null]})", '{"a":[1,null]}'),
    ("JSON.stringify([1], null, 2)", "[\n  1\n]"),
    ("to_json([1], 1)", "[\n 1\n]"),
    ("JSON.parse('{\"a\": [1, 2.5]}')", {"a": [1, 2.5]}),
    ("from_json('[true]')", [True]),
    ("Math.floor(1.9)", 1),
    ("Math.ceil(1.1)", 2),
    ("Math.round(1.5)", 2),
    ("Math.max(1, 2)", 2),
    ("Math.min(1, 2)", 1),
    ("Math.abs(0 - 1)", 1),
    ("Math.pow(2, 3)", 8),
    ("Math.sqrt(9)", 3),
    ("Math.floor(Math.PI * 100)", 314),
    ("Object.keys({a: 1})", ["a"]),
    ("Object.entries({a: 1})", [["a", 1]]),
    ("Object.values({a: 1})", [1]),
    ("Object.assign({a: 1}, {b: 2})", {"a": 1, "b": 2}),
    ("Array.isArray([])", True),
    ("Array.from({length: 2}, (x, i) => i)", [0, 1]),
    ('sha256("abc").slice(0, 8)', "ba7816bf"),
    ('hash("abc")', "ba7816bf8f01cfea"),
    ('base64_encode("tea")', "dGVh"),
    ('base64_decode("dGVh")', "tea"),
    ('url_encode("a b/c")', "a%20b%2Fc"),
    ("get_current_context().who", "ada"),
    ("has_context()", True),
    ('[set_global("k", 5), get_global("k"), get_global("z")]', [5, 5, None]),
    ("get_stack_trace()[0].function", "main"),
    ('error("m", type="Timeout", data={a: 1}).data.a', 1),
    ("assert(true)", None),
    ("choice([7])", 7),
    ("choice([])", None),
    ('validate_schema({a: 1}, {type: "object", required: ["b"]}).errors[0].path', "/b"),
    ('validate_schema([1, "x"], {type: "array", items: {type: "integer"}}).errors[0].path', "/1"),
    ('validate_schema(5, {anyOf: [{type: "string"}, {minimum: 3}]}).valid', True),
    ('validate_schema("ab", {pattern: "^b"}).valid', False),
    ("validate_schema({z: 1}, {properties: {}, additionalProperties: false}).valid", False),
    ("new Date(0).year", 1970),
    ('new Error("m").message', "m"),
    ('new URL("http://ada@tea.org:80/a?b=1#c").hostname', "tea.org"),
    ('new URL("http://tea.org:80/a?b=1#c").search', "?b=1"),
]


@pytest.mark.parametrize(("expression", "expected"), ROWS)
def test_each_function_gives_what_its_row_says(expression: str, expected: Any) -> None:
    ended = outcome(f"return {expression}", context={"who": "ada"})
    assert ended.state == "completed", ended.error
    assert ended.result == expected
    assert type(ended.result) is type(expected)


@pytest.mark.parametrize(
    ("expression", "pattern"),
    [
        ("generate_id()", "[0-9a-f]{16}"),
        ("generate_uuid()", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("crypto.randomUUID()", "[0-9a-f]{8}-.*"),
        ("generate_session_id()", "session_[0-9a-f]{16}"),
    ],
)
def test_ids_have_their_shape_and_repeat_with_the_seed(expression: str, pattern: str) -> None:
    first, second = value(expression), value(expression)
    assert re.fullmatch(pattern, first)
    assert first == second


def test_random_numbers_stay_in_their_range_and_repeat_with_the_seed() -> None:
    numbers = value("[random(), Math.random(), random_int(3, 3)]")
    assert 0 <= numbers[0] < 1
    assert numbers[0] != numbers[1]
    assert numbers[2] == 3
    assert numbers == value("[random(), Math.random(), random_int(3, 3)]")


def test_log_and_print_reach_the_host() -> None:
    host = local()
    outcome('log("a", 1, level="error")\ndebug("d")\nwarn("w")\nprint("x", [1])\nlog "y"', host)
    assert [(level, message) for level, message, _ in host.records] == [
        ("error", "a 1"),
        ("debug", "d"),
        ("warning", "w"),
        ("info", "y"),
    ]
    assert host.lines == ["x [1]"]


def test_a_log_record_carries_the_place_of_the_script() -> None:
    host = local()
    outcome('let a = 1\nlog("x")', host)
    assert host.records[0][2][:3] == ("test.aether", 2, 1)


def test_sleep_counts_milliseconds_and_wait_seconds() -> None:
    slept: list[float] = []
    host = LocalHost(sleep=slept.append, out=io.StringIO())
    outcome('sleep(1500)\nsleep(5, "seconds")\nwait(2)\nwait 3\nwait 5 minutes', host)
    assert slept == [1.5, 5, 2, 3, 300]


def test_emit_and_trigger_run_the_handlers_and_count_them() -> None:
    source = "let seen = []\nwhen ping(n = 1):\n  seen.push(n)\n"
    source += 'let c = emit("ping", {n: 5})\ntrigger("ping")\nreturn [c, seen]'
    assert outcome(source).result == [1, [5, 1]]


def test_event_data_is_what_was_emitted() -> None:
    source = 'let got = null\non event "x":\n  got = event_data.k\nemit "x" with { k: 7 }\nreturn got'
    assert outcome(source).result == 7


def test_stop_execution_ends_the_run_cleanly_and_no_catch_sees_it() -> None:
    ended = outcome('try { stop_execution("enough") } catch { return "caught" }')
    assert (ended.state, ended.result) == ("completed", "enough")


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("len(5)", "TypeError"),
        ("len()", None),
        ("len(1, 2)", "TypeError"),
        ('int("x")', "ValueError"),
        ('float("nan")', "ValueError"),
        ('JSON.parse("{")', "ValueError"),
        ('JSON.parse("NaN")', "ValueError"),
        ('parse_time("soon")', "ValueError"),
        ('parse_duration("soon")', "ValueError"),
        ('base64_decode("!")', "ValueError"),
        ("sqrt(0 - 1)", "ValueError"),
        ("range(1, 2, 0)", "ValueError"),
        ("sorted([1], nothing=2)", "TypeError"),
        ('log("x", level="loud")', "ValueError"),
        ('error("x", type="LimitError")', "ValueError"),
        ('assert(false, "why")', "UserError"),
        ('read_file("a")', "PermissionError"),
        ("search_memory({})", "PermissionError"),
        ("nothing_here(1)", "UnknownFunction"),
        ('new URL("no address")', "ValueError"),
    ],
)
def test_wrong_calls_are_errors_of_the_right_type(expression: str, error: str | None) -> None:
    ended = outcome(f"return {expression}")
    assert (ended.error or {}).get("type") == error


def test_a_missing_capability_is_named_in_the_error() -> None:
    ended = outcome('memory.save("c", 1)')
    assert ended.error is not None
    assert ended.error["message"].startswith("missing capability: memory.write")
    assert ended.error["data"]["capability"] == "memory.write"


@pytest.mark.parametrize(
    "schema",
    [
        "{properties: [1]}",
        "{required: [1]}",
        "{pattern: 5}",
        "{minimum: 'x'}",
        "{enum: 1}",
        "{anyOf: {}}",
        "{minLength: 'x'}",
    ],
)
def test_a_schema_with_a_keyword_of_the_wrong_type_is_refused(schema: str) -> None:
    found = outcome(f"return validate_schema({{a: 1}}, {schema})").error
    assert found is not None
    assert (found["type"], "of a schema" in found["message"]) == ("ValueError", True)


def test_a_schema_whose_choices_multiply_ends_by_the_steps_it_takes() -> None:
    source = "let s = {type: 'string'}\nfor i in 60 { s = {anyOf: [s, s]} }\nreturn validate_schema(1, s)"
    found = outcome(source, limits={"steps": 20_000}).error
    assert found is not None
    assert found["data"] == {"limit": "steps", "value": 20_000}


def test_a_pattern_of_a_schema_has_the_limit_of_all_patterns() -> None:
    found = outcome("return validate_schema('a', {pattern: 'a' * 501})").error
    assert found is not None
    assert found["type"] == "LimitError"


def test_random_int_needs_a_lower_and_an_upper_end() -> None:
    found = outcome("return random_int(5, 1)").error
    assert found is not None
    assert found["message"] == "random_int needs a lower and an upper end, not 5 and 1"
