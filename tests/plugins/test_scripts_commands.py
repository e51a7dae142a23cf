"""The verbs `aether run`, `check`, `jobs` and `cancel`, as a person at a terminal meets them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process
from warm_process import WarmProcess, start

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATCHED = """# tells what it does
log "boiling"
warn("careful")
print("tea for {parameters.who}")
return { cups: parameters.cups + 1 }
"""


@dataclass
class Shell:
    """A terminal beside a running hub."""

    hub: HubProcess
    folder: Path

    async def aether(self, *arguments: str, status: int = 0) -> str:
        """Run the command and return what it printed; its exit status must be the expected one."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == status, out.decode() + err.decode()
        return out.decode() + err.decode()

    async def start(self, *arguments: str) -> WarmProcess:
        environment = {"PATH": os.environ["PATH"], "AETHERRA_HOME": str(self.hub.home), "COLUMNS": "200"}
        return await start(*arguments, cwd=self.folder, env=environment)

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shell]:
    folder = tmp_path_factory.mktemp("commands")
    async with hub_process(folder / "home") as hub:
        yield Shell(hub, folder)


async def test_run_watch_shows_log_output_and_result_as_they_come(shell: Shell) -> None:
    script = shell.file("watched.aether", WATCHED)
    said = await shell.aether("run", script, "--watch", "--param", "who=Ada", "--param", "cups=2")
    lines = said.splitlines()
    assert lines[:4] == [
        "started inline/watched.aether",
        "info: boiling (inline/watched.aether:2)",
        "warning: careful (inline/watched.aether:3)",
        "tea for Ada",
    ]
    assert lines[4].startswith("completed in ")
    assert json.loads("".join(lines[5:])) == {"cups": 3}


async def test_run_watch_shows_a_line_while_the_script_still_runs(shell: Shell) -> None:
    script = shell.file("slow.aether", 'log "on my way"\nwait 300')
    process = await shell.start("run", script, "--watch")
    assert process.stdout is not None
    async with asyncio.timeout(15):
        while b"on my way" not in await process.stdout.readline():
            pass
    assert process.returncode is None
    job = json.loads(await shell.aether("jobs", "--status", "running", "--json"))["jobs"][0]["job_id"]
    assert "cancel" in await shell.aether("cancel", job)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert "cancelled" in out.decode()
    assert process.returncode == 1


async def test_run_without_watch_prints_the_job(shell: Shell) -> None:
    job = json.loads(await shell.aether("run", "system/goal_autopilot", "--json"))
    assert job["script"] == "system/goal_autopilot.aether"
    assert job["job_id"] in await shell.aether("jobs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('throw "no tea"', "inline/wrong.aether:1:1: UserError: no tea"),
        ("let x = (1", "inline/wrong.aether:1:9: syntax error: '(' was never closed\nlet x = (1\n        ^\n"),
        ("while true { }", "LimitError: the script took too many steps"),
        ("return nothing_like_it(1)", "inline/wrong.aether:1:8: UnknownFunction"),
        (
            'if true { load_plugin("memory") }',
            "inline/wrong.aether:1:11: PermissionError: missing capability: plugin:manage\n"
            "core:console → script:inline/wrong.aether may not plugin:manage: no rule allows plugin:manage for "
            'script:inline/wrong.aether; if it should, add "script:inline/wrong.aether" = ["plugin:manage"] to '
            "[capabilities.allow] in default.toml\n"
            "to learn more: aether policy explain core:console plugin:manage --through script:inline/wrong.aether\n",
        ),
    ],
)
async def test_a_failed_run_is_status_1_with_place_and_reason(shell: Shell, text: str, said: str) -> None:
    assert said in await shell.aether("run", shell.file("wrong.aether", text), "--watch", status=1)


async def test_a_run_that_would_surely_be_denied_is_refused_with_the_reason_and_how_to_learn_more(shell: Shell) -> None:
    before = json.loads(await shell.aether("jobs", "--json"))["count"]
    said = await shell.aether("run", shell.file("sure.aether", 'log "hi"\nload_plugin("memory")'), status=1)
    assert "core:console → script:inline/sure.aether may not plugin:manage: no rule allows" in said
    assert said.splitlines()[-1] == (
        "to learn more: aether policy explain core:console plugin:manage --through script:inline/sure.aether"
    )
    assert json.loads(await shell.aether("jobs", "--json"))["count"] == before


async def test_what_a_script_can_reach_is_listed_with_what_the_policy_says_of_it(shell: Shell) -> None:
    text = 'remember("x")\nemit("tea", {})\nif true { load_plugin("memory") }'
    said = await shell.aether("check", shell.file("reach.aether", text), "--capabilities")
    rows = [line.split() for line in said.splitlines()]
    assert ["event.emit", "depends", "on", "its", "object", "perhaps"] in rows
    assert next(row for row in rows if row[0] == "memory.write")[:4] == ["memory.write", "yes", "line", "1"]
    assert ["plugin.manage", "no", "perhaps"] in rows
    assert "to learn more: aether policy explain user:local plugin:manage --through script:inline/reach.aether" in said
    found = json.loads(await shell.aether("check", "reach.aether", "--capabilities", "--as", "core:vault", "--json"))
    assert {row["capability"]: row["answer"] for row in found["reach"]}["plugin.manage"] == "no"
    assert found["principal"] == "core:vault"


async def test_an_unknown_script_is_one_line_with_the_nearest_name(shell: Shell) -> None:
    said = await shell.aether("run", "goal_autopilott", status=1)
    assert said.splitlines() == [
        "aether: there is no script 'goal_autopilott'; did you mean 'system/goal_autopilot.aether'?"
    ]


async def test_check_needs_no_hub_and_fails_on_errors(tmp_path: Path) -> None:
    shell = Shell(HubProcess(None, "", tmp_path / "nowhere", tmp_path), tmp_path)  # type: ignore[arg-type]
    good = shell.file("good.aether", 'log "fine"')
    bad = shell.file("tidy.aether", "fn f() {\n    let box = { size: 2\n")
    assert await shell.aether("check", good) == "good.aether: ok\n"
    said = await shell.aether("check", good, bad, status=1)
    assert said.splitlines() == [
        "good.aether: ok",
        "tidy.aether:2:15: syntax error: '{' was never closed",
        "    let box = { size: 2",
        "              ^",
        "  expected: '}'   hint: the bracket that starts here reaches the end of the file",
        "to learn more: aether explain AE103",
        "2 files, 1 error, 0 warnings",
    ]
    found = [json.loads(line) for line in (await shell.aether("check", good, bad, "--json", status=1)).splitlines()]
    assert [len(one["diagnostics"]) for one in found] == [0, 1]
    assert "cannot be read" in await shell.aether("check", "missing.aether", status=1)
    assert not (tmp_path / "nowhere").exists()


async def test_a_wrong_parameter_is_status_2(shell: Shell) -> None:
    script = shell.file("any.aether", "return 1")
    assert "KEY=VALUE" in await shell.aether("run", script, "--param", "cups", status=2)


async def test_cancel_of_what_is_unknown_or_over_is_one_line(shell: Shell) -> None:
    assert "there is no job" in await shell.aether("cancel", "none", status=1)
    script = shell.file("any.aether", "return 1")
    await shell.aether("run", script, "--watch")
    job = json.loads(await shell.aether("jobs", "--limit", "1", "--json"))["jobs"][0]["job_id"]
    assert "completed already" in await shell.aether("cancel", job, status=1)
