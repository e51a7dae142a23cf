"""The verb `aether repl`, told its entries by the standard input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

Repl = Callable[..., Result]


@pytest.fixture(scope="module")
def verb(tmp_path_factory: pytest.TempPathFactory) -> click.Command:
    return plugin_verbs(kernel_config(tmp_path_factory.mktemp("home"), bundled=["scripts"]))["repl"]


@pytest.fixture
def repl(verb: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repl:
    monkeypatch.chdir(tmp_path)

    def run(given: str, *words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(verb, words, input=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done

    return run


def test_values_are_shown_by_the_text_rule_and_what_is_bound_stays(repl: Repl) -> None:
    said = repl('let x = 1\nx + 1\n"tea"\n[1, "two"]\nnull\nx = 5\nx\n').stdout
    assert said.splitlines() == ["2", "tea", '[1,"two"]', "5"]


def test_an_entry_goes_on_until_its_brackets_are_closed_or_its_block_has_an_empty_line(repl: Repl) -> None:
    said = repl(
        "fn f(n) {\n  return n + 1\n}\nf(1)\n"
        'if f(1) == 2:\n  print("block")\n\n'
        "[1,\n2]\n"
        'let t = """a\nb"""\nt\n'
        'for i in [7]\n  print("{i}")\n\n'
    ).stdout
    assert said.splitlines() == ["2", "block", "[1,2]", "a", "b", "7"]


def test_an_error_has_a_caret_and_ends_nothing_but_the_entry(repl: Repl) -> None:
    done = repl("let x = null\nx.y.z\nlet = 3\nx\n7\n", status=1)
    assert done.stdout.splitlines() == ["7"]
    lines = done.stderr.splitlines()
    assert lines[:3] == ["entry 2:1:1: TypeError: cannot read .y of null", "x.y.z", "^"]
    assert lines[3].startswith("entry 3:1:")


def test_the_commands(repl: Repl) -> None:
    Path("tea.aether").write_text('let pot = "blue"\nremember(pot)\nreturn 3\n')
    done = repl(":help\n:load tea.aether\npot\n:vars\n:effects\n:quit\n1 + 1\n")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("An entry is")
    assert lines[-4:] == ["3", "blue", "pot = blue", "memory.write: remember blue"]


@pytest.mark.parametrize("entry", [":load nowhere.aether", ":load", ":what"])
def test_a_command_that_cannot_be_carried_out_says_so(repl: Repl, entry: str) -> None:
    done = repl(f"{entry}\n1\n", status=1)
    assert done.stdout == "1\n"
    assert done.stderr


def test_modules_are_there_and_effects_are_mocks(repl: Repl) -> None:
    Path("pot.aether").write_text("export fn pour(n) { return n * 2 }\n")
    said = repl('import "pot" as pot\npot.pour(4)\nask_ai("tea?")\n').stdout
    assert said.splitlines() == ["8", "This is a mock answer: no model was asked."]


def test_a_seed_makes_chance_repeatable(repl: Repl) -> None:
    one, two = (repl("random()\nremember(1)\n", "--seed", "7").stdout for _ in range(2))
    assert one == two


def test_as_data_each_entry_is_one_record(repl: Repl) -> None:
    lines = repl('print("a")\nremember("tea")\nlet x = (\n', "--json", status=1).stdout.splitlines()
    records: list[Any] = [json.loads(line) for line in lines]
    assert records[0]["output"] == ["a"]
    assert [effect["would"] for effect in records[1]["effects"]] == ["remember tea"]
    assert records[2]["diagnostics"][0]["code"] == "AE103"
