"""The verb `aether check`: folders and standard input, a sum at the end, notes on style when they are asked for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner
from script_house import ScriptHouse, script_house

from hub.verbs import plugin_verbs
from kernel import Caller
from kernel.testing import kernel_config

Check = Callable[..., str]
GOOD = 'log "fine"\n'
BAD = "let x = (\n"
LOOSE = "if true\n  log 1\nend\n"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    verb = plugin_verbs(kernel_config(tmp_path / "home", bundled=["scripts"]))["check"]
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words: str, status: int = 0, given: bytes | None = None) -> str:
        done = CliRunner().invoke(verb, words, input=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return str(done.output)

    return run


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".aether")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_stands_for_all_scripts_below_it_sorted_and_summed_up(check: Check) -> None:
    write(ci__b=BAD, ci__a__c=BAD, ci__z=GOOD, ci__warns="if c { x = 1 }\nlog [q]\nlog nothing")
    Path("ci/notes.txt").write_text(BAD)
    lines = check("ci", status=1).splitlines()
    assert [line.split(":")[0] for line in lines if ": syntax error:" in line] == ["ci/a/c.aether", "ci/b.aether"]
    assert lines[-1] == "4 files, 2 errors, 0 warnings"
    assert "ci/z.aether" not in "\n".join(lines)


def test_an_empty_folder_and_one_file_are_summed_up_as_what_they_are(check: Check) -> None:
    Path("empty").mkdir()
    write(a=GOOD)
    assert check("empty") == "0 files, 0 errors, 0 warnings\n"
    assert check("a.aether") == "a.aether: ok\n"
    assert check("a.aether", "a.aether").splitlines()[-1] == "2 files, 0 errors, 0 warnings"


def test_no_link_leads_out_of_a_folder_and_hidden_folders_stay_out(check: Check, tmp_path: Path) -> None:
    write(ci__a=GOOD, ci__real__b=GOOD)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "bad.aether").write_text(BAD)
    os.symlink(tmp_path / "outside", "ci/folder")
    os.symlink(tmp_path / "outside" / "bad.aether", "ci/file.aether")
    os.symlink("real/b.aether", "ci/inside.aether")
    os.symlink("nowhere", "ci/dead.aether")
    os.mkfifo("ci/pipe.aether")
    Path("ci/.git").mkdir()
    Path("ci/.git/bad.aether").write_text(BAD)
    files = [json.loads(line)["file"] for line in check("ci", "--json").splitlines()]
    assert files == ["ci/a.aether", "ci/inside.aether", "ci/real/b.aether"]


def test_a_dash_is_standard_input(check: Check) -> None:
    assert check("-", given=GOOD.encode()) == "-: ok\n"
    said = check("-", given=BAD.encode(), status=1)
    assert said.startswith("<stdin>:1:9: syntax error: '(' was never closed\n")


def test_notes_on_style_are_counted_and_shown_when_asked_for(check: Check) -> None:
    write(loose=LOOSE)
    lines = check("loose.aether").splitlines()
    assert lines[0] == "loose.aether: ok"
    assert lines[-1].endswith("on style; --style shows them, aether fmt mends most")
    assert "loose.aether:1:7: style: no colon behind `if`" in check("loose.aether", "--style")
    plain, styled = (json.loads(check("loose.aether", "--json", *more)) for more in ((), ("--style",)))
    assert plain["diagnostics"] == []
    assert plain["style"] == styled["style"] == len(styled["diagnostics"]) > 0


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"log \xff", "AE101"), (b"log 1\n" * 200_000, "AE110"), (b"\xe2\x82\xac" * 300_000, "AE110"), (b"\0", "AE101")],
)
def test_what_is_no_text_or_too_long_is_a_finding(check: Check, data: bytes, code: str) -> None:
    Path("odd.aether").write_bytes(data)
    found = json.loads(check("odd.aether", "--json", status=1))
    assert [one["code"] for one in found["diagnostics"]] == [code]


def test_what_cannot_be_compiled_is_found_as_the_hub_would(check: Check) -> None:
    deep = "".join(f"{' ' * level}for n in [1]:\n" for level in range(17)) + " " * 17 + "tea = f() + cups\n"
    write(deep=f"on_error:\n  - log 1\ncups = 1\nfn f() {{ return 1 }}\n{deep}")
    assert "AE190" in check("deep.aether", status=1)


def test_what_cannot_be_read_or_asked_is_refused(check: Check) -> None:
    with pytest.raises(Exception, match=r"missing.aether cannot be read: No such file"):
        check("missing.aether")
    with pytest.raises(Exception, match="expected off, warn or strict"):
        check("x", "--signatures", "maybe")


def test_what_a_script_can_reach_is_told_without_a_hub_too(check: Check, tmp_path: Path) -> None:
    write(reach='remember("x")\n')
    said: Any = check("reach.aether", "--capabilities")
    assert "it can reach memory.write" in said


# The hub's own check -------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    policy = '[limits."user:small"]\nsource_kb = 1\nbrackets = 3\n'
    async with script_house(tmp_path_factory.mktemp("house"), policy=policy) as house:
        yield house


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        BAD,
        LOOSE,
        "let a = 1\nlet b = (\n",
        "plugin p {\n  schedule: every blue moon\n}\n",
        'plugin p {\n  schedule: "0 0 30 2 *"\n}\n',
        'plugin p {\n  schedule: "0 6 * * 1-5"\n}\n',
        "parallel:\n  a: now()\n",
        "x = missing\n",
    ],
)
async def test_the_hub_finds_the_same_records_as_the_command(house: ScriptHouse, tmp_path: Path, text: str) -> None:
    found = await house.service("scripts").check(source=text, name="same.aether")
    file = tmp_path / "same.aether"
    file.write_text(text)
    verb = plugin_verbs(kernel_config(tmp_path / "home", bundled=["scripts"]))["check"]
    done = await asyncio.to_thread(CliRunner().invoke, verb, [str(file), "--json", "--style"])
    told = json.loads(done.output)["diagnostics"]
    assert [{**one, "file": ""} for one in told] == [{**one, "file": ""} for one in found["diagnostics"]]
    assert found["ok"] == (done.exit_code == 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_hub_checks_within_the_limits_of_whoever_asks(house: ScriptHouse) -> None:
    small = Caller("user:small", ("role:user",))
    for text in ("log 1\n" * 500, "x = [[[[1]]]]"):
        assert (await house.service("scripts").check(source=text))["ok"]
        found = await house.service("scripts", small).check(source=text)
        assert [one["code"] for one in found["diagnostics"]] == ["AE110"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_run_is_not_told_of_style(house: ScriptHouse) -> None:
    found = await house.service("scripts").check(source=LOOSE)
    assert {one["code"][:2] for one in found["diagnostics"]} == {"AS"}
    row = await house.submit(LOOSE)
    await house.ended(row)
    told = await house.history(row, "job.log")
    assert [entry["data"]["message"] for entry in told] == ["1"]
