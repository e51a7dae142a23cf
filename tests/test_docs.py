"""What the docs say is what the code does: generated parts are current, links lead somewhere, examples run as shown."""

import asyncio
import configparser
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiohttp
import pytest
from hub_process import AETHER, HubProcess, hub_process

from hub.descriptors import needed_descriptors
from hub.settings import HubSettings
from kernel import VERSION, Context

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
FOR_THE_HOUSE = {"calling", "ceiling", "follow", "grounds", "into", "on_behalf", "passes_through", "table", "through"}
"""What a context has for the kernel, which enters plugins with it, and for bundled plugins, which act for others."""
SAID = re.compile(r'#.*?("[^"]*")')


def test_the_generated_parts_are_current() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr + "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert missing == []


def test_the_readme_fits_one_screen_and_begins_with_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 60
    assert FENCE.findall(text)[0][1].split()[:2] == ["make", "serve"]
    assert "\nmake test" in FENCE.findall(text)[0][1]


async def shell(hub: HubProcess, line: str) -> str:
    line = line.replace("localhost:3001", hub.url.removeprefix("http://")).replace("curl ", "curl -s --max-time 5 ")
    line = re.sub(r"\bplugins/(?=hello\.py|$| )", f"{hub.plugins}/", line)
    line = re.sub(r"^(\.venv/bin/)?aether\b", f"{AETHER}", line)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AETHERRA_HOME": str(hub.home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


async def until(hub: HubProcess, line: str, wanted: str) -> None:
    """Repeat a command, as a person would, until it says what the README says it says; a second is allowed."""
    said = ""
    try:
        async with asyncio.timeout(1):
            while wanted not in (said := await shell(hub, line)):
                pass
    except TimeoutError:
        pytest.fail(f"{line}\nexpected {wanted}\ngot {said}")


async def test_the_readmes_plugin_commands_do_what_it_says(tmp_path: Path, need) -> None:
    need("curl")
    block = FENCE.findall((ROOT / "README.md").read_text())[1][1]
    async with hub_process(tmp_path / "home") as hub:
        for line in block.splitlines():
            command, _, _ = line.partition("  #")
            said = SAID.search(line)
            if "events tail" in command:
                # Each is loaded once; `schedules` has to wait for the scripts before it is.
                bundled = len([*(ROOT / "plugins").glob("*/__init__.py")]) + 1
                told = await shell(hub, f"{command} --count {bundled + 3}")
                assert re.findall(r"module\.\w+(?=  .*hello)", told) == [
                    "module.loaded",
                    "module.reloaded",
                    "module.reload_failed",
                ]
            elif command.startswith("curl") and said:
                await until(hub, command, said[1])
            elif command.startswith("curl"):
                assert "SyntaxError" in json.loads(await shell(hub, command))["reason"]
            else:
                assert await shell(hub, command) == ""


def command_line(line: str) -> str:
    """The command before its remark, or nothing on a line that is a remark alone."""
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()


def commands(page: Path, number: int) -> list[str]:
    """The commands of a page's block of that number, each on one line."""
    block = FENCE.findall(page.read_text())[number][1].replace("\\\n", " ")
    return [command for line in block.splitlines() if (command := command_line(line))]


async def test_the_readmes_script_commands_do_what_it_says(tmp_path: Path, need) -> None:
    need("curl")
    async with hub_process(tmp_path / "home") as hub:
        run, status, events, cancel, watch = commands(ROOT / "README.md", 2)
        job = json.loads(await shell(hub, run))["job_id"]
        assert "event: job.completed" in await shell(hub, events.replace("JOB_ID", job))
        ended = json.loads(await shell(hub, status.replace("JOB_ID", job)))
        assert (ended["status"], ended["output"]["processed"]) == ("completed", 0)
        assert json.loads(await shell(hub, cancel.replace("JOB_ID", job)))["error"] == "JobNotCancellable"
        assert "the day began at" in await shell(hub, watch)


async def test_the_verbs_shown_for_scripts_work(tmp_path: Path) -> None:
    shown = commands(ROOT / "docs" / "scripts.md", 1)
    assert [command.split()[1] for command in shown] == [
        "check", "check", "check", "explain", "run", "run", "jobs", "cancel"
    ]  # fmt: skip
    async with hub_process(tmp_path / "home") as hub:
        check, reach, folders, explain, run, by_name, jobs, cancel = shown
        assert "ok" in await shell(hub, check)
        assert "memory.write" in await shell(hub, reach)
        assert ", 0 errors" in await shell(hub, folders)
        assert (await shell(hub, explain)).startswith("AE113 (error): ")
        assert "completed" in await shell(hub, run)
        started = (await shell(hub, by_name)).split()
        assert started[1:] == ["running", "system/goal_autopilot.aether"]
        assert started[0] in await shell(hub, jobs)
        assert "job" in await shell(hub, cancel.replace("JOB_ID", started[0]))


STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
"""A command of a `console` block with its answer; `...` in an answer stands for whatever is there."""


def steps(page: Path) -> list[tuple[str, str]]:
    """The commands of a page's console blocks in their order, each with the answer that is shown."""
    return [step for kind, body in FENCE.findall(page.read_text()) if kind == "console" for step in STEP.findall(body)]


async def typed(hub: HubProcess, command: str) -> str:
    """What a person sees who types a command in a checkout whose drop folder is the hub's."""
    address = hub.url.removeprefix("http://")
    paths = {"AETHERRA_HOME": str(hub.home), "AETHERRA_PATHS_PLUGINS": str(hub.plugins)}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command.replace("localhost:3001", address).replace("curl ", "curl -s --max-time 5 ")),
        cwd=hub.home,
        env={"PATH": os.environ["PATH"], "HOME": str(hub.home), "COLUMNS": "120", **paths},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode().replace(f"{sys.prefix}/", ".venv/").replace(f" --home {hub.home}", "")


def answers(shown: str, said: str) -> bool:
    """Whether a command said what is shown, `...` aside."""
    wanted = ".*".join(re.escape(part.strip(" ")) for part in shown.strip().split("..."))
    said = "\n".join(line.rstrip() for line in said.splitlines()).strip()
    return re.fullmatch(re.sub(r"(\\ )+", r"\\s+", wanted), said, re.DOTALL) is not None


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("page", "least"), [("plugins.md", 13), ("security.md", 5)])
async def test_the_steps_of_a_page_can_be_followed_literally(tmp_path: Path, need, page: str, least: int) -> None:
    need("curl")
    async with hub_process(tmp_path / "home") as hub:
        (hub.home / ".venv").symlink_to(sys.prefix)
        followed = steps(ROOT / "docs" / page)
        assert len(followed) >= least
        for command, shown in followed:
            said = ""
            try:
                async with asyncio.timeout(60 if ".venv" in command else 5):
                    # Asked again as a person would who was too quick; a wrong answer does not become right by that.
                    while not answers(shown, said := await typed(hub, command)):
                        assert ".venv" not in command, f"{command}\nexpected {shown}\ngot {said}"
            except TimeoutError:
                pytest.fail(f"{command}\nexpected {shown}\ngot {said}")
        assert not any("Traceback" in line for line in hub.lines)


def test_the_plugins_page_names_all_that_a_context_offers() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    offered = {name for name in dir(Context) if not name.startswith("_")} - FOR_THE_HOUSE
    assert sorted(name for name in offered if f"ctx.{name}" not in text) == []


def python_examples() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        found += [(page.name, body) for kind, body in FENCE.findall(page.read_text()) if kind == "python"]
    return found


@pytest.mark.parametrize(("page", "body"), python_examples())
def test_every_python_example_runs(page: str, body: str, tmp_path: Path) -> None:
    if "async def test_" not in body:
        compile(body, page, "exec")
        return
    example = tmp_path / "test_example.py"
    example.write_text(body)
    config = f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"
    command = [sys.executable, "-m", "pytest", *config, str(example)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_every_toml_example_is_toml() -> None:
    import tomllib

    for page in PAGES:
        for kind, body in FENCE.findall(page.read_text()):
            if kind == "toml":
                assert tomllib.loads(body)


async def test_the_commands_of_the_http_page_are_answered_and_its_socket_says_what_it_says(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    need("curl")
    page = ROOT / "docs" / "http.md"
    async with hub_process(tmp_path / "home") as hub:
        answers = [json.loads(await shell(hub, command)) for command in commands(page, 0)]
        stats, stored, recalled, run = answers
        assert stats["requests_handled"] >= 0
        assert stored["content"] == "tea at four"
        assert [entry["content"] for entry in recalled["memories"]] == ["tea at four"]
        assert run["status"] == "completed"
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{hub.url}/api/events/ws") as socket:
            await socket.send_str(FENCE.findall(page.read_text())[1][1])
            assert (await socket.receive_json())["type"] == "subscribed"
            await shell(hub, "cp examples/hello.py plugins/")
            event = await socket.receive_json(timeout=10)
            while event["topic"] != "module.loaded":  # a copy may be seen before it is whole, and is told as such
                event = await socket.receive_json(timeout=10)
            assert (event["type"], event["data"]["plugin"]) == ("event", "hello")


# Configuration and operations ---------------------------------------------------------------------------------------


def block(page: str, number: int, kind: str = "sh") -> list[str]:
    """Return the lines of a page's block of that kind, without what is said behind them."""
    bodies = [body for found, body in FENCE.findall((ROOT / "docs" / page).read_text()) if found == kind]
    return [line.partition(" #")[0].rstrip() for line in bodies[number].splitlines()]


class Machine:
    """A folder of its own to type in, with `aether` on the path and an empty home."""

    def __init__(self, folder: Path) -> None:
        path = f"{AETHER.parent}{os.pathsep}{os.environ['PATH']}"
        # A free port, since the usual one may be another's here.
        self.env = {"PATH": path, "AETHERRA_HOME": str(folder / "usual"), "AETHERRA_HUB_PORT": "0", "LANG": "C.UTF-8"}
        self.folder = folder

    def types(self, line: str) -> str:
        result = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, (line, result.stdout, result.stderr)
        return result.stdout

    @contextmanager
    def serving(self, line: str) -> Iterator[str]:
        """Run a line that serves until the block ends; give what it said once it was up."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = ""
        try:
            while " events" not in said:
                read = process.stdout.readline()
                assert read, said
                said += read
            yield said
        finally:
            process.terminate()
            assert process.wait(40) == 0
            process.stdout.close()


@pytest.mark.timeout(180)
def test_the_commands_of_configuration_and_operations_do_what_they_say(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    init, config, overridden = block("configuration.md", 0)
    assert "aetherra.toml" in machine.types(init)
    assert "default" in machine.types(config)
    (port,) = [row for row in machine.types(overridden).splitlines() if row.startswith("hub.port ")]
    assert port.split() == ["hub.port", "4000", "(AETHERRA_HUB_PORT)"]

    install, init, doctor, serve = block("operations.md", 0)
    assert install == f"pip install aetherra-{VERSION}-py3-none-any.whl"  # `.ci/wheel` does it
    assert str(tmp_path / "usual") in machine.types(init)
    assert " 0 failures" in machine.types(doctor)
    with machine.serving(serve) as said:
        assert f"data      {tmp_path / 'usual'}" in said
    (backup,) = block("operations.md", 1)
    with machine.serving(f"{serve} --home my-hub"):
        machine.types(backup)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM kernel__migrations").fetchone()[0] > 0


def test_the_unit_shown_for_systemd_is_one_and_fits_the_hub(tmp_path: Path, need) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    text = "\n".join(block("operations.md", 0, "ini"))
    unit.read_string(text)
    service, hub = unit["Service"], HubSettings()
    assert int(service["TimeoutStopSec"]) > hub.drain_s
    assert int(service["LimitNOFILE"]) >= needed_descriptors(hub)
    assert service["ExecStart"].split()[1:] == ["serve", "--home", "/var/lib/aetherra"]
    analyze = need("systemd-analyze")
    (tmp_path / "aetherra.service").write_text(text.replace("/opt/aetherra/bin/aether", str(AETHER)))
    command = [analyze, "verify", "--man=no", tmp_path / "aetherra.service"]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "aetherra.service" not in verified.stderr, verified.stderr


async def test_the_commands_shown_for_events_work(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("curl")
    page = ROOT / "docs" / "events.md"
    async with hub_process(tmp_path / "home") as hub:
        emit, tail = commands(page, 0)
        (post,) = commands(page, 1)
        assert "user.note  (kept)" in await shell(hub, emit)
        assert '{"text":"tea"}' in await shell(hub, tail)
        answer = json.loads(await shell(hub, post))
        assert (answer["topic"], answer["durable"]) == ("user.note", True)
