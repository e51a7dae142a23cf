"""`aether plugin`: what it writes works as it stands, what it prints can be typed, its battery says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import warm_process
from hub_process import ADDRESS

from hub.plugin_verbs import TEMPLATE, TEMPLATES, rendered

HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello.py"


def run(home: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "120"}
    return warm_process.run("--home", str(home / "hub"), *arguments, env=environment, cwd=cwd or home)


@pytest.mark.parametrize("name", ["greeter2", "my_long_thing", "queue"])
def test_a_new_plugin_passes_its_own_test_without_pytest(tmp_path: Path, name: str) -> None:
    written = run(tmp_path, "plugin", "new", name, "--into", "mine")
    assert written.returncode == 0, written.stderr
    assert written.stdout.splitlines()[:2] == [f"wrote mine/{name}.py", f"wrote mine/test_{name}.py"]
    test = [sys.executable, "-P", f"mine/test_{name}.py"]
    told = subprocess.run(test, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "Ran 5 tests" in told.stderr


def test_what_is_written_speaks_of_its_own_name_alone(tmp_path: Path) -> None:
    run(tmp_path, "plugin", "new", "my_thing", "--into", "mine")
    texts = [path.read_text() for path in sorted((tmp_path / "mine").iterdir())]
    assert not any(TEMPLATE in text.lower() for text in texts)
    back = [
        text.replace("my_thing", "greeter").replace("MyThing", "Greeter").replace("MY_THING", "GREETER")
        for text in texts
    ]
    assert back == [(TEMPLATES / f"{start}{TEMPLATE}.py").read_text() for start in ("", "test_")]
    assert all(rendered(text, TEMPLATE) == text for text in back)


@pytest.mark.timeout(120)
async def test_the_commands_it_prints_work_as_printed(tmp_path: Path) -> None:
    written = run(tmp_path, "plugin", "new", "visitor", "--into", "mine")
    commands = [line.partition("   #")[0].strip() for line in written.stdout.partition("Next:\n")[2].splitlines()]
    test, check, serve, curl = commands
    assert await shell(tmp_path, test)
    assert "good: 19 checks" in await shell(tmp_path, check)
    # The address is another one only because 3001 may be taken here.
    hub = await asyncio.create_subprocess_exec(
        *serve.split(), "--port", "0", cwd=tmp_path, env=environment(tmp_path), stdout=-1, stderr=-2
    )
    try:
        async with asyncio.timeout(30):
            assert hub.stdout is not None
            while not (found := ADDRESS.search((await hub.stdout.readline()).decode())):
                pass
            reading = asyncio.create_task(hub.stdout.read())
            while "Hello, Ada!" not in (said := await shell(tmp_path, curl.replace("http://127.0.0.1:3001", found[1]))):
                assert "Hello again" not in said
    finally:
        hub.terminate()
        assert await hub.wait() == 0
        await reading


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


async def shell(folder: Path, command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=folder, env=environment(folder), stdout=asyncio.subprocess.PIPE, stderr=-2
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, f"{command}\n{out.decode()}"
    return out.decode()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Visitor", "expected a-z, 0-9 and single _"),
        ("a__b", "expected a-z, 0-9 and single _"),
        ("../visitor", "expected a-z, 0-9 and single _"),
        ("kernel", "is reserved"),
        ("class", "is a word of Python's"),
        ("memory", "comes with the hub"),
        ("test_visitor", "taken for a plugin's test"),
    ],
)
def test_a_name_that_no_plugin_can_have_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, words: str
) -> None:
    told = run(tmp_path, "plugin", "new", name, "--into", "mine")
    assert told.returncode == 1
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("there", ["visitor.py", "test_visitor.py", "visitor"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, there: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / there).write_text("mine")
    told = run(tmp_path, "plugin", "new", "visitor", "--into", "mine")
    assert told.returncode == 1
    assert f"{there} is there already" in told.stderr
    assert [path.name for path in folder.iterdir()] == [there]
    assert (folder / there).read_text() == "mine"


def test_without_a_folder_it_is_written_into_the_drop_folder(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    told = run(tmp_path, "--plugins", str(drop), "plugin", "new", "visitor")
    assert sorted(path.name for path in drop.iterdir()) == ["test_visitor.py", "visitor.py"]
    assert "serve --trust-plugins drop" in told.stdout


def test_a_plugin_is_checked_by_path_or_name_without_a_hub_or_a_home(tmp_path: Path) -> None:
    told = run(tmp_path, "plugin", "check", str(HELLO), "security")
    assert told.returncode == 0, told.stdout
    lines = told.stdout.splitlines()
    assert lines[0] == f"hello  {HELLO}"
    assert lines[1].split()[:2] == ["passed", "source"]
    assert [line for line in lines if line.startswith("good: 19 checks")] != []
    assert any(line.startswith("security  ") for line in lines)
    assert not (tmp_path / "hub").exists()


def test_a_bad_plugin_exits_with_1_and_says_in_full_what_to_mend(tmp_path: Path) -> None:
    source = HELLO.read_text().replace('"""Return a greeting."""', "pass").replace("/api/hello/{name}", "/health")
    (tmp_path / "hello.py").write_text(source)
    told = run(tmp_path, "plugin", "check", "hello.py")
    assert told.returncode == 1
    said = re.sub(r"\s+", " ", told.stdout)
    assert "failed descriptions hello.py:8: GET /health has no docstring; its first line is what users" in said
    assert "failed claims GET /health belongs to the hub itself; choose another path" in said
    assert "to be mended: 19 checks" in said


def test_as_json_it_tells_every_finding(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    told = run(tmp_path, "plugin", "check", "bad.py", str(HELLO), "--json")
    assert told.returncode == 1
    answer = json.loads(told.stdout)
    assert (answer["passed"], [p["passed"] for p in answer["plugins"]]) == (False, [False, True])
    failed = [f for f in answer["plugins"][0]["findings"] if f["verdict"] == "failed"]
    assert [f["check"] for f in failed] == ["declaration"]
    assert failed[0]["message"].startswith("bad.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'")


def test_an_unknown_plugin_is_told_with_the_nearest_and_where_it_was_looked_for(tmp_path: Path) -> None:
    told = run(tmp_path, "plugin", "check", "memroy")
    assert told.returncode == 1
    assert told.stderr.startswith("aether: there is no plugin 'memroy': no file or package of that path")
    assert told.stderr.rstrip().endswith("did you mean memory?")


def test_a_plugin_is_checked_beside_one_that_it_needs(tmp_path: Path) -> None:
    (tmp_path / "needing.py").write_text(
        'from kernel import Plugin\n\nneeding = Plugin("needing", version="1.0.0", requires={"told": ""})\n'
    )
    (tmp_path / "telling.py").write_text(
        "from kernel import Context, Plugin, needs\n\n"
        'telling = Plugin("telling", version="1.0.0")\n\n\n@telling.service("told")\nclass Told:\n'
        '    @needs("plugin:read")\n    async def all(self, ctx: Context) -> int:\n'
        '        """Tell."""\n        return 1\n'
    )
    alone = run(tmp_path, "plugin", "check", "needing.py")
    assert (alone.returncode, "which no loaded plugin provides" in re.sub(r"\s+", " ", alone.stdout)) == (1, True)
    assert run(tmp_path, "plugin", "check", "needing.py", "--with", "telling.py").returncode == 0
