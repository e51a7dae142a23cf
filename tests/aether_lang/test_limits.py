"""Ways to break out or use up, each beside a harmless twin (language reference 18.1, 18.2; threat model, section 3)."""

import io
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import aether_lang.budget as budget_module
from aether_lang.budget import GRACE_STEPS, SHIPPED, Budget
from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.parser import parse
from aether_lang.program import Outcome, run
from aether_lang.values import LimitError

SMALL = {"steps": 300_000, "active_s": 20, "text_mb": 1, "items": 50_000}


def script(source: str, host: LocalHost | None = None, **limits: Any) -> Outcome:
    return run(
        compile_module(parse(source, "test.aether")),
        host or LocalHost(seed=1, out=io.StringIO()),
        limits={**SMALL, **limits},
    )


BOMBS = {
    "a loop without end": ("while true { }", "steps", "while false { }"),
    "a lambda that calls itself": ("let f = null\nf = n => f(n + 1)\nf(0)", "depth", "let f = n => n\nf(0)"),
    "two functions that call each other": (
        "fn a(n) { b(n) }\nfn b(n) { a(n) }\na(1)",
        "depth",
        "fn a(n) { b(n) }\nfn b(n) { }\na(1)",
    ),
    "recursion through map": (
        "fn f(n) { return [n].map(x => f(x)) }\nf(1)",
        "depth",
        "fn f(n) { return n }\n[1].map(x => f(x))",
    ),
    "recursion through a handler": ("when a:\n  trigger a\ntrigger a", "depth", 'when a:\n  log "x"\ntrigger a'),
    "a doubled string": ('let s = "ab"\nwhile true { s = s + s }', "text_mb", 'let s = "ab"\ns = s + s'),
    "a doubled string by interpolation": (
        'let s = "ab"\nwhile true { s = "{s}{s}" }',
        "text_mb",
        'let s = "ab"\ns = "{s}{s}"',
    ),
    "a repeated string": ('"ab".repeat(10000000)', "text_mb", '"ab".repeat(10)'),
    "a multiplied string": ('"ab" * 10000000', "text_mb", '"ab" * 10'),
    "a padded string": ('"ab".pad_start(10000000, "xy")', "text_mb", '"ab".pad_start(10, "xy")'),
    "a joined list": (
        'let x = "ab".repeat(100000)\nrange(100).map(i => x).join(x)',
        "text_mb",
        'range(3).map(i => "x").join("-")',
    ),
    "a replaced text": ('"a".repeat(2000).replace(/a/g, "b".repeat(2000))', "text_mb", '"aa".replace(/a/g, "bb")'),
    "a rendered list": (
        'let x = "a".repeat(100000)\nlet s = "{range(100).map(i => x)}"',
        "text_mb",
        'let s = "{range(3)}"',
    ),
    "a doubled list": ("let xs = [1]\nwhile true { xs = xs + xs }", "items", "let xs = [1]\nxs = xs + xs"),
    "a list that grows by push": ("let xs = []\nwhile true { xs.push(1) }", "items", "let xs = []\nxs.push(1)"),
    "a list that grows by insert": (
        "let xs = []\nwhile true { xs.insert(0, 1) }",
        "items",
        "let xs = []\nxs.insert(0, 1)",
    ),
    "a list that extends itself": (
        "let xs = [1]\nwhile true { xs.extend(xs) }",
        "items",
        "let xs = [1]\nxs.extend(xs)",
    ),
    "a long range": ("range(100000000)", "items", "range(10)"),
    "a long span": ("let xs = 1..100000000", "items", "let xs = 1..10"),
    "a spread list": ("let xs = range(40000)\nlet ys = [...xs, ...xs]", "items", "let ys = [...[1], ...[2]]"),
    "a flattened list": ("let xs = range(1000)\nxs.map(i => xs).flatten()", "items", "[[1], [2]].flatten()"),
    "a dict that grows": ("let d = {}\nlet i = 0\nwhile true { d[i] = 1\n i += 1 }", "items", "let d = {}\nd[1] = 1"),
    "the store of the job": ("let i = 0\nwhile true { set_global(i, 1)\n i += 1 }", "items", "set_global(1, 1)"),
    "a count over a huge number": ("for i in 100000000000 { }", "steps", "for i in 3 { }"),
    "a lazy range of any length": ("for i in range(100000000000000000000000) { }", "steps", "for i in range(3) { }"),
    "a huge power": ("let x = 10 ** 100000000", "int_bits", "let x = 10 ** 10"),
    "a number squared again and again": ("let x = 3\nwhile true { x = x * x }", "int_bits", "let x = 3\nx = x * x"),
    "a comprehension over a comprehension": (
        "let xs = range(1000)\n[[x + y for x in xs] for y in xs]",
        "steps",
        "[[x + y for x in [1]] for y in [2]]",
    ),
    "a sort by a function": (
        "let xs = range(1000)\nwhile true { xs.sort_by(x => 0 - x) }",
        "steps",
        "[2, 1].sort_by(x => x)",
    ),
}


@pytest.mark.parametrize("title", BOMBS)
def test_each_bomb_meets_its_limit_and_its_twin_passes(title: str) -> None:
    bomb, limit, twin = BOMBS[title]
    ended = script(bomb)
    assert ended.state == "failed"
    assert ended.error is not None
    assert (ended.error["type"], ended.error["data"]["limit"]) == ("LimitError", limit)
    assert ended.private is None
    assert script(twin).state == "completed", script(twin).error


ESCAPES = [
    "return __import__",
    "return __builtins__",
    "return __class__",
    "return eval",
    "return rt",
    "return globals",
    "return v_x",
    "return getattr",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_name_of_python_or_of_the_runtime_is_bound(source: str) -> None:
    ended = script(source)
    assert ended.error is not None
    assert ended.error["type"] == "NameError"
    name = source.split()[-1]
    assert script(f"let {name} = 5\nreturn {name}").result == 5


@pytest.mark.parametrize("name", ["__class__", "__globals__", "__code__", "__dict__", "f_back", "gi_frame", "tb_frame"])
def test_fields_are_looked_up_in_data_only(name: str) -> None:
    for value in ("(x => x)", '"a"', "[1]", 'error("x")', "len", "new Set([1])", "/a/"):
        assert script(f"return {value}.{name}").result is None
        assert script(f'return {value}["{name}"]').result is None
    assert script(f"return {{ {name}: 5 }}.{name}").result == 5


@pytest.mark.parametrize(
    "source",
    [
        'return "{0.__class__}"',
        'return "{x!r}"',
        'return "{5:>9999999999}"',
        'let s = "{a}"\nreturn "{s}"',
        'return "%s {}".replace("x", "y")',
        'return format_time(0, "%c")',
    ],
)
def test_formats_offer_nothing_but_the_value(source: str) -> None:
    ended = script(source)
    text = str(ended.result if ended.error is None else ended.error["message"])
    assert "class" not in text or "{0.__class__}" in text
    assert len(text) < 100


def test_a_value_is_never_interpolated_again() -> None:
    assert script("let s = '{1 + 1}'\nreturn \"{s}\"").result == "{1 + 1}"


def test_a_parameter_cannot_shadow_a_guard() -> None:
    names = ["fuel", "add", "rt", "catchable", "len", "D", "d", "t1", "type_error", "field"]
    for name in names:
        source = f"fn f({name}) {{ let i = 0\n while i < 3 {{ i += 1 }}\n return {name} + i + null }}\nreturn f(4)"
        assert script(source).result == 7


def test_errors_hold_nothing_of_python() -> None:
    source = "try { null.x } catch (e) { return [e.stack[0], e.__traceback__, e.args, e.with_traceback, typeof(e)] }"
    ended = script(source)
    assert ended.result == [{"function": "main", "file": "test.aether", "line": 1}, None, None, None, "object"]


CATCH_ALL = [
    "while true { try { while true { } } catch { } }",
    "fn f() { try { f() } catch { f() } finally { } }\nf()",
    "while true { try { throw 1 } catch (e) { continue } finally { } }",
    "fn f() { try { return g() } catch { return f() } }\nfn g() { while true { } }\nf()",
]


@pytest.mark.parametrize("source", CATCH_ALL)
def test_no_catch_swallows_a_limit(source: str) -> None:
    ended = script(source, steps=30_000)
    assert ended.error is not None
    assert ended.error["type"] == "LimitError"
    assert (
        script(
            source.replace("true { }", "false { }")
            .replace("while true { try", "if true { try")
            .replace("continue", "1")
            .replace("f()\nf()", "0")
        ).steps
        >= 0
    )


def test_finally_runs_after_a_limit_with_a_little_grace() -> None:
    host = LocalHost(out=io.StringIO())
    ended = script('try { while true { } } finally { let i = 0\n while i < 500 { i += 1 }\n log "done {i}" }', host)
    assert ended.error is not None
    assert ended.error["type"] == "LimitError"
    assert [record[1] for record in host.records] == ["done 500"]


def test_a_finally_that_never_ends_meets_the_limit_again() -> None:
    host = LocalHost(out=io.StringIO())
    ended = script('try { while true { } } finally { try { while true { } } finally { log "inner" } }', host)
    assert ended.error is not None
    assert ended.error["type"] == "LimitError"
    assert [record[1] for record in host.records] == ["inner"]
    assert GRACE_STEPS == 1000


def test_the_depth_limit_counts_script_frames_exactly() -> None:
    source = "fn f(n) { return n == 0 ? 0 : 1 + f(n - 1) }\nreturn f({})"
    assert script(source.replace("{}", "127"), depth=128).result == 127
    ended = script(source.replace("{}", "128"), depth=128)
    assert ended.error is not None
    assert ended.error["data"] == {"limit": "depth", "value": 128}
    assert script(source.replace("{}", "19"), depth=20).result == 19
    assert script(source.replace("{}", "20"), depth=20).state == "failed"


def test_calls_side_by_side_do_not_add_up_to_depth() -> None:
    source = (
        "fn g(x) { return [x].map(y => h(y)) }\nfn h(y) { return y }\n"
        "let n = 0\nwhile n < 1000 { g(n)\n n += 1 }\nreturn n"
    )
    assert script(source, depth=10).result == 1000
    nested = (
        "return range(500).map(x => { return [x].map(y => { return y + one() })[0] }).length\nfn one() { return 1 }"
    )
    assert script(nested, depth=10).result == 500


def test_steps_are_counted_to_the_step() -> None:
    source = "let i = 0\nwhile i < 5000 { i += 1 }\nreturn i"
    assert script(source, steps=5001).result == 5000
    assert script(source, steps=4999).state == "failed"


def test_active_time_ends_a_loop_and_waiting_does_not_count() -> None:
    ended = script("while true { }", steps=10**12, active_s=0.05)
    assert ended.error is not None
    assert ended.error["data"]["limit"] == "active_s"
    host = LocalHost(sleep=lambda _: threading.Event().wait(0.2), out=io.StringIO())
    assert script("wait 1\nlet i = 0\nwhile i < 9000 { i += 1 }\nreturn i", host, active_s=0.15).result == 9000


def test_wall_time_counts_waiting() -> None:
    host = LocalHost(sleep=lambda _: threading.Event().wait(0.1), out=io.StringIO())
    ended = script("wait 1\nlet i = 0\nwhile i < 9000 { i += 1 }", host, wall_s=0.05)
    assert ended.error is not None
    assert ended.error["data"]["limit"] == "wall_s"


def test_charged_memory_ends_a_script_that_holds_too_much() -> None:
    source = (
        'let xs = []\nlet i = 0\nwhile i < 5000 { xs.push("{i}".pad_start(100000, "x"))\n i += 1 }\nreturn xs.length'
    )
    ended = script(source, charged_mb=32)
    assert ended.error is not None
    assert ended.error["data"]["limit"] == "charged_mb"


def test_memory_given_back_is_not_charged_for_ever() -> None:
    source = 'let i = 0\nwhile i < 2000 { let s = "{i}".pad_start(100000, "x")\n i += 1 }\nreturn i'
    assert script(source, charged_mb=32).result == 2000


def test_output_and_log_are_cut_with_a_mark_and_no_error() -> None:
    host = LocalHost(out=io.StringIO())
    ended = script('for i in 100 { log i\n print("0123456789") }\nreturn "ok"', host, log_records=5, output_kb=0.05)
    assert ended.result == "ok"
    assert len(host.records) == 6
    assert "dropped" in host.records[-1][1]
    assert host.lines[-1].endswith("[output cut]")
    assert len(host.lines) == 5


def test_a_run_is_cancelled_from_another_thread_within_half_a_second() -> None:
    budget = Budget({**SMALL, "steps": 10**12})
    code = compile_module(parse("while true { try { while true { } } catch { } }", "a"))
    reached: list[float] = []

    def cancel() -> None:
        reached.append(time.monotonic())
        budget.cancel("enough")

    timer = threading.Timer(0.05, cancel)
    timer.start()
    ended = run(code, LocalHost(out=io.StringIO()), budget=budget)
    assert time.monotonic() - reached[0] < 0.5
    assert ended.state == "cancelled"
    assert ended.error is not None
    assert ended.error["message"] == "enough"


@pytest.mark.parametrize("value", [0, -1, "many", None, True])
def test_a_limit_must_be_a_number_above_zero(value: Any) -> None:
    with pytest.raises(ValueError, match="limit steps"):
        Budget({"steps": value})


def test_the_fuel_goes_on_after_it_raised() -> None:
    budget = Budget({"steps": 1})
    next(budget.fuel)
    with pytest.raises(LimitError):
        next(budget.fuel)
    assert [next(budget.fuel) for _ in range(GRACE_STEPS)] == [None] * GRACE_STEPS
    for _ in range(3):
        with pytest.raises(LimitError):
            next(budget.fuel)


def test_the_shipped_limits_are_those_of_the_reference() -> None:
    assert SHIPPED == {
        "steps": 10_000_000,
        "active_s": 60,
        "wall_s": 900,
        "depth": 128,
        "memory_mb": 256,
        "charged_mb": 64,
        "text_mb": 4,
        "items": 1_000_000,
        "output_kb": 1024,
        "log_records": 5000,
        "branches": 8,
    }


DOUBLING = """
import sys
sys.path[:0] = {paths!r}
from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.parser import parse
from aether_lang.program import run
source = 'fn twice(s) {{ return s + s }}\\n'
source += 'fn more(s, n) {{ return n == 0 ? s : more(twice(s), n - 1) }}\\nreturn more("ab", 60).length'
import resource
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
print(run(compile_module(parse(source, "a")), LocalHost()).error["type"])
"""


def test_what_inline_plus_doubles_between_two_slices_ends_at_the_process_limit() -> None:
    assert resource.RLIMIT_AS
    root = str(Path(budget_module.__file__).resolve().parent.parent)
    paths = [root, *(path for path in sys.path if path.endswith("site-packages"))]
    found = subprocess.run(
        [sys.executable, "-I", "-c", DOUBLING.format(paths=paths)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert found.stdout.strip() == "LimitError", found.stderr


@pytest.mark.parametrize(
    "body",
    [
        "x.index_of(-1)",
        "x.includes(-1)",
        "-1 in x",
        "x == y",
        "sum(x)",
        "x.join('')",
        "x.insert(0, 1).pop()",
        "x.sort()",
        "new Set([]).add(x)",
        "[x] in x",
        "sha256('a' * 400000)",
    ],
)
def test_work_of_the_library_on_large_values_is_under_the_clock(body: str) -> None:
    began = time.monotonic()
    source = f"let x = range(40000)\nlet y = range(40000)\nwhile true {{ {body} }}"
    found = script(source, active_s=0.3, steps=10**9).error
    assert found is not None
    assert found["data"]["limit"] == "active_s"
    assert time.monotonic() - began < 5


def test_slices_are_charged_as_they_are_made() -> None:
    source = "let x = range(40000)\nlet kept = []\nfor i in 4000 { kept.append(x[0:]) }"
    found = script(source, charged_mb=8).error
    assert found is not None
    assert found["data"]["limit"] == "charged_mb"


def test_too_deep_a_call_ends_the_run_and_not_each_branch_of_it() -> None:
    source = "fn f(n) { try { return f(n + 1) } finally { f(n + 1) } }\nf(0)"
    began = time.monotonic()
    found = script(source).error
    assert found is not None
    assert found["data"] == {"limit": "depth", "value": SHIPPED["depth"]}
    assert time.monotonic() - began < 2
