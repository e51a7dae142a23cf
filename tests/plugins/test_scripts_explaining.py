"""The verb `aether explain`: every code can be looked up, as people and as programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aether_lang.codes import catalogue
from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

Explain = Callable[..., str]


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory) -> Explain:
    home: Path = tmp_path_factory.mktemp("explain")
    verb = plugin_verbs(kernel_config(home, bundled=["scripts"]))["explain"]

    def run(*words: str) -> str:
        done = CliRunner().invoke(verb, words, env={"COLUMNS": "200"})
        if done.exception is not None:
            raise done.exception
        return str(done.output)

    return run


def test_a_code_is_explained_with_both_examples_and_the_finding_as_check_prints_it(explain: Explain) -> None:
    assert explain("ae114").splitlines() == [
        "AE114 (error): A block is missing",
        "",
        "A head such as `if`, `for`, `fn` or `when` has a block: deeper lines behind a `:`, or `{ .. }`.",
        "",
        "Wrong:",
        "    if true:",
        "    log 1",
        "",
        "    wrong.aether:1:9: syntax error: expected an indented block",
        "    if true:",
        "            ^",
        "      expected: a deeper line",
        "",
        "Right:",
        "    if true:",
        "        log 1",
    ]


@pytest.mark.parametrize("code", ["AW501", "AE601", "AS129", "AE190", "AE405"])
def test_codes_of_every_origin_can_be_explained(explain: Explain, code: str) -> None:
    said = explain(code)
    assert said.startswith(f"{code} (")
    assert "Wrong:\n" in said
    assert "Right:\n" in said


def test_without_a_code_all_are_listed(explain: Explain) -> None:
    listed = explain()
    assert [line.split()[0] for line in listed.splitlines()[1:]] == list(catalogue())
    assert [one["code"] for one in json.loads(explain("--json"))] == list(catalogue())


def test_as_data_it_has_everything(explain: Explain) -> None:
    found: dict[str, Any] = json.loads(explain("AE103", "--json"))
    assert set(found) == {"code", "title", "text", "wrong", "right", "help", "origin", "severity", "diagnostics"}
    assert [(one["code"], one["line"]) for one in found["diagnostics"]] == [("AE103", 1)]


@pytest.mark.parametrize(("code", "said"), [("AE199", "did you mean AE109"), ("tea", "aether explain lists all codes")])
def test_an_unknown_code_names_the_nearest(explain: Explain, code: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        explain(code)
