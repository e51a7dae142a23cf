"""The verbs `aether run --local`, `aether run --dry-run` and `aether test`, as a person without a hub meets them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.verbs import plugin_verbs
from kernel import AetherraError, BadInput
from kernel.testing import kernel_config

Aether = Callable[..., Result]

TEA = """let id = remember("green tea") as "tea"
print("tea for {parameters.who}")
log "boiling"
notify(team: "kitchen", content: "tea")
return { cups: search_memory({}).length, n: random_int(1, 1000000) }
"""


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, click.Command]:
    home = tmp_path_factory.mktemp("home")
    return plugin_verbs(kernel_config(home, bundled=["scripts", "security"]))


@pytest.fixture
def aether(verbs: dict[str, click.Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aether:
    """Return a function that runs a verb in a folder of its own and gives what came of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(verb: str, *words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(verbs[verb], words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done

    return run


def script(text: str, name: str = "tea.aether") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


# --local ---------------------------------------------------------------------------------------------------------


def test_output_goes_to_the_output_and_the_log_to_the_error_and_the_result_comes_last(aether: Aether) -> None:
    done = aether("run", script(TEA), "--local", "--param", "who=Ada", "--seed", "3")
    lines = done.stdout.splitlines()
    assert lines[0] == "tea for Ada"
    assert json.loads("".join(lines[1:]))["cups"] == 1
    assert done.stderr == "info: boiling (tea.aether:3)\n"


def test_a_seed_makes_chance_repeatable(aether: Aether) -> None:
    script(TEA)
    one, two, other = (aether("run", "tea.aether", "--local", "--seed", seed).stdout for seed in ("3", "3", "4"))
    assert one == two
    assert one != other


def test_a_failing_script_says_where_with_a_caret_and_exits_with_one(aether: Aether) -> None:
    done = aether("run", script("fn pour(pot) { return pot.tea.cups }\npour(null)\n"), "--local", status=1)
    assert done.stderr.splitlines() == [
        "tea.aether:1:23: TypeError: cannot read .tea of null",
        "fn pour(pot) { return pot.tea.cups }",
        "                      ^",
        "  in main (tea.aether:2)",
    ]


def test_a_script_that_cannot_be_read_is_not_run(aether: Aether) -> None:
    done = aether("run", script('print("first")\nlet x = (1\n'), "--local", status=1)
    assert "tea.aether:2:9: syntax error: '(' was never closed" in done.stderr
    assert done.stdout == ""
    told = json.loads(aether("run", "tea.aether", "--local", "--json", status=1).stdout)
    assert told["diagnostics"][0]["line"] == 2


def test_a_run_as_data_is_one_record(aether: Aether) -> None:
    told = json.loads(aether("run", script(TEA), "--local", "--json").stdout)
    assert told["state"] == "completed"
    assert told["output"] == ["tea for null"]
    assert told["log"] == [{"level": "info", "message": "boiling", "line": 3}]
    assert [effect["would"] for effect in told["effects"]] == ["remember green tea", "tell kitchen: tea"]


def test_an_entry_and_the_modules_of_the_scripts_folder_and_of_the_house(aether: Aether) -> None:
    script("export fn pour(n) { return n * 2 }\n", "pots/pot.aether")
    main = script(
        'import "pot" as pot\nuse system/utils\n'
        "fn brew(cups) { return [pot.pour(cups), utils.hours_ago(1) < now()] }\n",
        "pots/main.aether",
    )
    done = aether("run", main, "--local", "--entry", "brew", "--param", "cups=4", "--json")
    assert json.loads(done.stdout)["result"] == [8, True]
    broken = script("let x = (", "pots/pot.aether") and aether("run", main, "--local", "--entry", "brew", status=1)
    assert "ImportError: module 'pot' has an error: pot.aether:1:9" in broken.stderr


def test_a_recording_repeats_a_run_without_its_hosts(aether: Aether) -> None:
    script(TEA)
    first = aether("run", "tea.aether", "--local", "--record", "tea.jsonl").stdout
    assert aether("run", "tea.aether", "--local", "--replay", "tea.jsonl").stdout == first
    lines = Path("tea.jsonl").read_text().splitlines()
    Path("tea.jsonl").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    done = aether("run", "tea.aether", "--local", "--replay", "tea.jsonl", status=1)
    assert "Nondeterministic: the run asks for" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "is no recording"), ("{}", "is no recording"), ('{"recording":9,"script":"x"}', "version 9"),
     ('{"recording":1,"script":"x"}', "recorded of another text"), (None, "cannot be read")],
)  # fmt: skip
def test_a_file_that_is_no_recording_of_this_script_is_refused(aether: Aether, content: str | None, says: str) -> None:
    if content is not None:
        Path("r.jsonl").write_text(content)
    with pytest.raises(BadInput, match=says):
        aether("run", script(TEA), "--local", "--replay", "r.jsonl")


@pytest.mark.parametrize(
    "words",
    [["--seed", "3"], ["--record", "r"], ["--local", "--record", "r", "--replay", "r"], ["--dry-run", "--record", "r"]],
)
def test_an_option_without_effect_is_refused(aether: Aether, words: list[str]) -> None:
    with pytest.raises(BadInput):
        aether("run", script(TEA), *words)


def test_a_name_that_is_neither_a_file_nor_a_script_is_refused(aether: Aether) -> None:
    with pytest.raises(AetherraError, match="there is no script"):
        aether("run", "nowhere", "--local")
    Path("bad.aether").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        aether("run", "bad.aether", "--local")


# --dry-run -------------------------------------------------------------------------------------------------------


def test_a_dry_run_lists_every_call_in_order_with_the_verdict_of_the_policy_files(aether: Aether) -> None:
    source = (
        'remember("tea")\nsleep(3600000)\nload_plugin("memory")\nlet n = search_memory({}).length\nprint("unseen")\n'
    )
    done = aether("run", script(source), "--dry-run", status=1)
    rows = [line.rstrip().split(None, 3) for line in done.stdout.splitlines()[1:4]]
    assert rows == [
        ["1", "yes", "memory.write", "remember tea"],
        ["3", "no", "plugin.manage", "load the plugin memory"],
        ["4", "yes", "memory.read", "search memory"],
    ]
    assert "no to plugin:manage: " in done.stdout
    assert "as if each were allowed" in done.stdout
    assert "judged by the files in " in done.stdout
    assert "unseen" not in done.stdout


def test_a_dry_run_asks_about_the_object_of_each_call_and_for_the_one_named(aether: Aether) -> None:
    source = 'emit("pot.low", 3)\nrun_plugin("pot.read")\nnotify(user: "ada", content: "tea")\n'
    told = json.loads(aether("run", script(source), "--dry-run", "--json").stdout)
    assert [call["right"] for call in told["calls"]] == [
        "event:emit:user.pot.low",
        "plugin:call:pot.read",
        "ui:notify:ada",
    ]
    assert {call["verdict"] for call in told["calls"]} == {"yes"}
    assert told["principal"] == "user:local"
    refused = json.loads(aether("run", "tea.aether", "--dry-run", "--json", "--as", "user:nobody", status=1).stdout)
    assert {call["verdict"] for call in refused["calls"]} == {"no"}


def test_a_dry_run_of_a_script_that_asks_for_nothing_or_fails(aether: Aether) -> None:
    assert "it asks nothing of the hub" in aether("run", script("return 1"), "--dry-run").stdout
    done = aether("run", script('remember("tea")\nthrow "spilt"'), "--dry-run", status=1)
    assert "remember tea" in done.stdout
    assert "UserError: spilt" in done.stderr


# aether test -----------------------------------------------------------------------------------------------------


def test_a_transcript_is_written_compared_and_shown_where_it_differs(aether: Aether) -> None:
    script(TEA)
    assert "it has no tea.expect" in aether("test", "tea.aether", status=1).stdout
    assert "tea.aether: updated" in aether("test", "tea.aether", "--update").stdout
    kept = Path("tea.expect").read_text()
    assert kept.splitlines()[:4] == [
        "memory.write: remember green tea",
        "print: tea for null",
        "info: boiling",
        "ui.notify: tell kitchen: tea",
    ]
    assert aether("test", ".").stdout.splitlines() == ["tea.aether: passed", "1 script, 1 passed"]
    script(TEA.replace("green", "black"))
    done = aether("test", ".", status=1)
    assert "  -memory.write: remember green tea" in done.stdout
    assert "  +memory.write: remember black tea" in done.stdout
    assert Path("tea.expect").read_text() == kept
    told = json.loads(aether("test", ".", "--json", status=1).stdout)
    assert (told["file"], told["outcome"]) == ("tea.aether", "failed")
    assert "-memory.write: remember green tea" in told["diff"]


def test_the_head_of_the_expectations_gives_parameters_entry_and_seed_and_stays(aether: Aether) -> None:
    script('fn brew(cups, sort) { return "{cups} of {sort} {random_int(1, 1000000)}" }\n')
    head = "param: cups=2\nparam: sort=green tea\nentry: brew\nseed: 7\n"
    Path("tea.expect").write_text(head)
    aether("test", "tea.aether", "--update")
    text = Path("tea.expect").read_text()
    assert text.startswith(f'{head}result: "2 of green tea ')
    aether("test", "tea.aether")
    Path("tea.expect").write_text(text.replace("seed: 7", "seed: 8"))
    aether("test", "tea.aether", status=1)


def test_errors_of_a_script_belong_to_its_transcript(aether: Aether) -> None:
    script('print("a\\nb")\nthrow "spilt"', "fails.aether")
    script("let x = (", "broken.aether")
    aether("test", "fails.aether", "broken.aether", "--update")
    assert Path("fails.expect").read_text() == "print: a\n  b\nerror: 2: UserError: spilt\n"
    assert Path("broken.expect").read_text().startswith("error: 1:9: AE1")
    aether("test", ".")


def test_nothing_to_test_is_no_success(aether: Aether) -> None:
    script(TEA)
    assert aether("test", ".", status=1).stdout == "0 scripts\n"
    with pytest.raises(BadInput, match="neither a script nor a folder"):
        aether("test", "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [("param: cups\n", "x:1: expected param: NAME=VALUE"), ("seed: 1\nseed: many\n", "x:2: expected seed: N")],
)
def test_a_head_that_cannot_be_read_is_named(load_plugin: Any, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load_plugin("scripts").trials.understand(text, "x")


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet='param: entry seed=1\n"{}é', max_size=60))
def test_any_expectations_at_all_are_understood_or_refused(load_plugin: Any, text: str) -> None:
    with contextlib.suppress(BadInput):
        found = load_plugin("scripts").trials.understand(text, "x")
        assert [*found.head, *found.transcript] == text.splitlines()


def test_every_example_does_what_its_transcript_says(aether: Aether, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(root)
    scripts = sorted(path.stem for path in root.joinpath("examples").glob("*.aether"))
    assert len(scripts) >= 12
    assert sorted(path.stem for path in root.joinpath("examples").glob("*.expect")) == scripts
    assert f"{len(scripts)} scripts, {len(scripts)} passed" in aether("test", "examples").output
