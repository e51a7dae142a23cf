"""Which capabilities every run to the end uses: what is named is sure, whatever the script's turns."""

from __future__ import annotations

from pathlib import Path

import pytest

import aether_lang
from aether_lang.certainty import Use, certain

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts").rglob("*.aether"))


def words(source: str) -> list[str]:
    return [use.capability for use in certain(aether_lang.parse(source, "t.aether"))]


@pytest.mark.parametrize(
    ("source", "sure"),
    [
        ('return load_plugin("x")', ["plugin.manage"]),
        ('let a = remember("x")\nlog "hi"\nload_plugin("x")', ["memory.write", "plugin.manage"]),
        ("let t = { a: remember(get_all_goals()), b: [1] }", ["memory.write", "goal.read"]),
        ('let s = "so {load_plugin(1)}"', ["plugin.manage"]),
        ('load_plugin("x")\nreturn 1\nremember("x")', ["plugin.manage"]),
        ('if a { log("x") }\nload_plugin("x")', ["plugin.manage"]),
        ('try { log("x") } catch e { log("y") }\nload_plugin("x")', ["plugin.manage"]),
        ('fn f() { return 1 }\nf()\nload_plugin("x")', ["plugin.manage"]),
        ('load_plugin("a")\nload_plugin("b")', ["plugin.manage"]),
    ],
)
def test_a_call_on_the_straight_line_is_certain(source: str, sure: list[str]) -> None:
    assert words(source) == sure


@pytest.mark.parametrize(
    "source",
    [
        'if a { load_plugin("x") }',
        'if a { return 1 }\nload_plugin("x")',
        'if a { throw "no" }\nload_plugin("x")',
        'try { load_plugin("x") } catch e { return 1 }',
        'for x in [1] { load_plugin(x) }',
        'while a { load_plugin("x") }',
        'let b = a and load_plugin("x")',
        'let b = load_plugin("x") if a else 2',
        'load_plugin("x") if a',
        'fn f() { load_plugin("x") }\nreturn 1',
        'let f = x => load_plugin(x)',
        'return [1].map(x => load_plugin(x))',
        'fn load_plugin(x) { return x }\nload_plugin("x")',
        'let load_plugin = x => x\nload_plugin("x")',
        'for load_plugin in [1] { log("x") }\nload_plugin("x")',
        'if a { stop_execution("done") }\nload_plugin("x")',
        'fn f() { stop_execution("done") }\nf()\nload_plugin("x")',
        'let end = stop_execution\nend("x")\nload_plugin("x")',
        'use "other.aether"\nload_plugin("x")',
        'run other\nload_plugin("x")',
    ],
)  # fmt: skip
def test_what_a_run_may_do_without_is_not_certain(source: str) -> None:
    assert words(source) == []


def test_the_first_place_is_told() -> None:
    assert certain(aether_lang.parse('log "x"\nlet a = load_plugin("x")\nload_plugin("y")', "t")) == [
        Use("plugin.manage", 2, 9)
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_is_certain_can_be_reached(path: Path) -> None:
    module = aether_lang.parse(path.read_text(), path.name)
    assert {use.capability for use in certain(module)} <= set(aether_lang.capabilities(module))
