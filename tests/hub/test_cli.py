"""The command, as a person runs it: processes, their output and exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from warm_process import run

ROOT = Path(__file__).resolve().parents[2]

TALKATIVE = '''
"""talkative adds verbs to the command."""
from typing import Any
from kernel import Conflict, NotFound, Plugin, Terminal

talkative = Plugin("talkative", version="1.0.0")

@talkative.command("say")
async def say(
    terminal: Terminal,
    word: str,
    others: list[str] = [],
    loud: bool = False,
    times: int = 1,
    param: dict[str, Any] = {},
) -> int | None:
    """Say a word."""
    text = " ".join([word, *others] * times)
    terminal.print({"text": text.upper() if loud else text, "param": param})
    return 4 if word == "four" else None

@talkative.command("sum", offline=True)
async def total(terminal: Terminal, numbers: list[int]) -> None:
    """Add numbers, without a hub."""
    terminal.print(str(sum(numbers)))

@talkative.command("ask")
async def ask(terminal: Terminal, path: str) -> None:
    """Ask the hub."""
    terminal.print(await terminal.request("GET", path))

@talkative.command("fail")
async def fail(terminal: Terminal) -> None:
    """Fail in an expected way."""
    raise Conflict("that cannot be\\nright now")

@talkative.command("crash")
async def crash(terminal: Terminal) -> None:
    """Fail in an unexpected way."""
    raise RuntimeError("a bug")
'''


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Folders of one hub, with a plugin in the drop folder."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "talkative.py").write_text(TALKATIVE)
    return ["--home", str(tmp_path / "home"), "--plugins", str(plugins), "--trust-plugins", str(plugins)]


def environment() -> dict[str, str]:
    """The environment of a child: ours without what would configure a hub."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AETHERRA_")} | {"COLUMNS": "200"}


async def aether(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run the command, with these variables in its environment; return status, output and errors."""
    ended = await asyncio.to_thread(run, *arguments, cwd=ROOT, env=environment() | variables)
    return ended.returncode, ended.stdout, ended.stderr


async def typed(*arguments: str) -> tuple[int, str, str]:
    """Run the command from nothing, as a shell does; return status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub",
        *arguments,
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """Run `aether serve` and give what it printed once it is up; it is told to stop at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub",
        "serve",
        "--port",
        "0",
        *arguments,
        cwd=ROOT,
        env=environment(),
        umask=0,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    # The log must be read, or a full pipe would hold the hub up.
    log = asyncio.create_task(process.stderr.read())
    lines: list[str] = []
    try:
        async with asyncio.timeout(30):
            while not lines or "aether events" not in lines[-1]:
                line = (await process.stdout.readline()).decode()
                assert line, (await log).decode()
                lines.append(line)
        yield process, lines
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)
        await log


async def test_version_and_help() -> None:
    status, out, _ = await typed("version")
    assert (status, out.split()[0]) == (0, "aether")
    assert "version" in json.loads((await aether("version", "--json"))[1])
    status, out, _ = await typed("serve", "--help")
    assert status == 0
    assert "--trust-plugins" in out


async def test_config_shows_every_setting_with_its_origin(folders: list[str]) -> None:
    status, out, _ = await aether(*folders, "config", "--json")
    assert status == 0
    rows = {row["key"]: row for row in json.loads(out)["settings"]}
    assert rows["hub.port"] == {"key": "hub.port", "value": 3001, "origin": "default"}
    assert rows["hub.stream_messages"]["value"] == 512
    assert rows["paths.plugins"]["origin"] == "--plugins"
    assert rows["plugins.security.settle_ms"] == {
        "key": "plugins.security.settle_ms",
        "value": 200,
        "origin": "default",
    }


async def test_config_tells_what_each_layer_set_and_what_has_no_effect(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "aetherra.toml").write_text(
        "[plugins.security]\nsettle_ms = 300\n[plugins.secuirty]\nsettle_ms = 1\n[limits]\nring = 7\n"
    )
    status, out, err = await aether(
        *folders, "config", AETHERRA_HUB_PORT="4001", AETHERRA_NET_STRICT="1", AETHERRA_KEYS_MASTER="hidden-words"
    )
    assert status == 0, err
    lines = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in out.splitlines()}
    assert lines["hub.port"] == "4001  (AETHERRA_HUB_PORT)"
    assert lines["network.strict"] == "True  (AETHERRA_NET_STRICT)"
    assert lines["limits.ring"] == "7  (aetherra.toml:6)"
    assert lines["plugins.security.settle_ms"] == "300  (aetherra.toml:2)"
    assert "plugins.secuirty has no effect" in err
    assert "AETHERRA_KEYS_MASTER has no effect" in err
    assert "hidden-words" not in out + err


@pytest.mark.parametrize(
    ("variables", "toml", "parts"),
    [
        ({"AETHERRA_HUB_PROT": "1"}, "", ["AETHERRA_HUB_PROT", "did you mean 'AETHERRA_HUB_PORT'?"]),
        ({"AETHERRA_HUB_PORT": "many"}, "", ["AETHERRA_HUB_PORT: hub.port", "expected `int`"]),
        ({}, "[plugins.security]\nsetle_ms = 1\n", ["aetherra.toml:2", "setle_ms", "did you mean 'settle_ms'?"]),
        ({}, '[plugins.security]\nsettle_ms = "x"\n', ["aetherra.toml:2", "plugins.security.settle_ms"]),
    ],
)
async def test_a_wrong_key_or_type_is_named_with_its_place_and_the_nearest(
    folders: list[str], tmp_path: Path, variables: dict[str, str], toml: str, parts: list[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "aetherra.toml").write_text(toml)
    status, out, err = await aether(*folders, "config", **variables)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert all(part in err for part in parts), err


async def test_a_wrong_setting_is_one_line_and_status_1(folders: list[str], tmp_path: Path) -> None:
    file = tmp_path / "aetherra.toml"
    file.write_text("[hub]\nprot = 3001\n")
    status, out, err = await aether("serve", *folders, "--config", str(file))
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "port" in err


async def test_an_open_address_is_refused_with_the_way_out(folders: list[str]) -> None:
    status, _, err = await aether("serve", *folders, "--host", "0.0.0.0", "--port", "0")
    assert status == 1
    said = err.splitlines()[-1]
    assert "aether users add NAME --roles admin" in said
    assert "AETHERRA_ALLOW_INSECURE_BIND=1" in said


async def test_a_wrong_command_line_is_status_2(folders: list[str]) -> None:
    assert (await aether("serve", "--port", "x"))[0] == 2
    assert (await aether(*folders, "nonsense"))[0] == 2


async def test_without_a_hub_a_verb_says_how_to_start_one_with_status_3(folders: list[str]) -> None:
    status, _, err = await aether(*folders, "plugins")
    assert status == 3
    assert err.count("\n") == 1
    assert "aether serve" in err


async def test_verbs_of_plugins_have_typed_arguments_and_options(folders: list[str]) -> None:
    status, out, _ = await aether(
        *folders, "say", "hi", "--times", "2", "--loud", "--param", "a=1", "--param", "b=x y", "--json"
    )
    assert status == 0
    assert json.loads(out) == {"text": "HI HI", "param": {"a": 1, "b": "x y"}}
    status, out, _ = await aether(*folders, "say", "a", "--others", "b", "--others", "c", "--json")
    assert json.loads(out)["text"] == "a b c"
    assert (await aether(*folders, "sum", "1", "2", "3"))[:2] == (0, "6\n")
    assert (await aether(*folders, "say", "four"))[0] == 4


async def test_a_wrong_value_for_a_plugins_verb_is_status_2(folders: list[str]) -> None:
    status, _, err = await aether(*folders, "say", "hi", "--times", "many")
    assert status == 2
    assert "times" in err
    assert (await aether(*folders, "say", "hi", "--param", "novalue"))[0] == 2


async def test_help_lists_the_verbs_of_plugins(folders: list[str]) -> None:
    status, out, _ = await aether(*folders, "--help")
    assert status == 0
    assert "Say a word." in out


async def test_an_expected_failure_is_one_line_and_a_bug_a_traceback(folders: list[str]) -> None:
    status, out, err = await typed(*folders, "fail")
    assert (status, out, err) == await aether(*folders, "fail")  # however it was started
    # A line before it, if any, is about a plugin that could not be loaded for its verbs.
    assert (status, err.splitlines()[-1]) == (1, "aether: that cannot be right now")
    assert "Traceback" not in err
    status, _, err = await typed(*folders, "crash")
    assert status == 1
    assert "Traceback" in err
    assert "RuntimeError: a bug" in err


async def test_a_hub_says_where_it_is_answers_its_console_and_stops_when_told(
    folders: list[str], tmp_path: Path
) -> None:
    async with serving(*folders) as (process, lines):
        text = "".join(lines)
        address = lines[0].split()[-1]
        assert address.startswith("http://127.0.0.1:")
        for part in (f"curl {address}/health", f"curl {address}/api/hello/Ada", "data ", "policies ", "plugins "):
            assert part in text
        status, out, err = await aether(*folders, "ask", "/health", "--json")
        assert status == 0, err
        assert json.loads(out)["status"] == "healthy"
        missing = await aether(*folders, "ask", "/nowhere")
        assert (missing[0], missing[2].splitlines()[-1]) == (1, "aether: nothing is at /nowhere")
        # Whatever the umask of who started it: nothing in HOME is anybody else's to read.
        for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
        second = await aether("serve", *folders, "--port", "0")
        assert second[0] == 1
        assert f"(pid {process.pid})" in second[2]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_the_start_says_on_which_further_ports_it_listens(
    tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    ports = [unused_tcp_port_factory(), unused_tcp_port_factory()]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "aetherra.toml").write_text(f"[hub]\ncompat_ports = {ports}\n")
    folders = ["--home", str(tmp_path / "home"), "--plugins", str(tmp_path / "drop")]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    async with serving(*folders) as (_, lines):
        assert any(line.split() == ["also", "on", f"{addresses[0]},", addresses[1]] for line in lines), lines
        async with aiohttp.ClientSession() as session:
            for address in addresses:
                async with session.get(f"{address}/health") as response:
                    assert response.status == 200
                async with session.get(f"{address}/api/system/limits") as response:
                    assert "hub.compat_ports" not in (await response.json())["limits"]


async def test_a_demo_serves_the_examples_at_once_and_says_so_as_json(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home"), "--plugins", str(tmp_path / "drop")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "serve", "--port", "0", "--demo", "--json", *home),
        cwd=ROOT,
        env=environment() | {"AETHERRA_PLUGINS_NOBODY_X": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    log = asyncio.create_task(process.stderr.read())
    follower: asyncio.subprocess.Process | None = None
    try:
        up = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert up["pid"] == process.pid
        assert up["also"] == []
        assert up["plugins"]["hello"] == {"status": "active", "reason": None}
        assert ["AETHERRA_PLUGINS_NOBODY_X" in warning for warning in up["warnings"]] == [True]
        async with aiohttp.ClientSession() as session:
            async with session.get(up["url"] + "/api/hello/Ada") as response:
                assert await response.json() == "Hello, Ada!"
            async with session.get(up["url"] + "/api/scripts") as response:
                names = {script["name"] for script in (await response.json())["scripts"]}
                assert any("word_count" in name for name in names), names
        follower = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "events", *home[:2]),
            cwd=ROOT,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        while b"aetherra_http_streams_open 1.0" not in await metrics(up["url"]):
            await asyncio.sleep(0.02)
        process.kill()
        assert follower.stderr is not None
        assert b"waiting for the hub" in await asyncio.wait_for(follower.stderr.readline(), 20)
        # What a killed hub left behind, lock and socket, does not hinder the next one.
        async with serving(*home):
            assert (await aether("plugins", *home[:2]))[0] == 0
            assert b"the hub is back" in await asyncio.wait_for(follower.stderr.readline(), 20)
    finally:
        if follower is not None:
            follower.kill()
            await follower.communicate()
        if process.returncode is None:
            process.kill()
        await process.wait()
        await log


async def metrics(url: str) -> bytes:
    """Return the hub's figures."""
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
        return await response.read()


@pytest.mark.timeout(120)
async def test_verbs_of_the_hub_list_reload_roll_back_and_follow(folders: list[str]) -> None:
    home = folders[:2]
    async with serving(*folders):
        listed = json.loads((await aether("plugins", *home, "--json"))[1])["modules"]
        assert {m["name"]: m["status"] for m in listed}["talkative"] == "active"
        assert "talkative" in (await aether("plugins", *home))[1]
        following = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "events", *home, "--topics", "module.#", "--json"),
            cwd=ROOT,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        assert following.stdout is not None
        try:
            reloaded = await reload_until_seen(home, following.stdout)
            assert reloaded["topic"].startswith("module.")
        finally:
            following.terminate()
            await following.wait()
        _, out, _ = await aether("reload", "talkative", *home)
        token = out.split()[-1].rstrip(")")
        assert token.startswith("hmr-")
        assert token in (await aether("plugins", *home))[1]
        history = json.loads((await aether(*folders, "ask", "/api/klm/history", "--json"))[1])["history"]
        token = next(s["token"] for s in history if s["plugin"] == "talkative" and s["reversible"])
        status, out, err = await aether("rollback", token, *home, "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["name"] == "talkative"
        unknown = await aether("rollback", "hmr-1", *home)
        assert unknown[0] == 1
        assert "hmr-1" in unknown[2]
        assert (await aether("reload", "nobody", *home))[0] == 1
        odd = await aether("reload", "../../hello?x#y", *home)
        assert (odd[0], "there is no plugin '../../hello?x#y'" in odd[2]) == (1, True), odd


async def reload_until_seen(home: list[str], events: asyncio.StreamReader) -> dict[str, str]:
    """Reload the plugin until the follower, which may attach late, has seen one."""
    seen = asyncio.create_task(events.readline())
    while not seen.done():
        status, _, err = await aether("reload", "talkative", *home)
        assert status == 0, err
    line: dict[str, str] = json.loads(await seen)
    return line


async def test_a_second_signal_ends_a_hub_that_is_still_draining(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "plugins" / "slow.py").write_text(
        "import asyncio\nfrom kernel import Plugin\nslow = Plugin('slow', version='1.0.0')\n"
        "@slow.get('/api/slow', needs='plugin:read')\nasync def wait() -> None:\n    await asyncio.Event().wait()\n"
    )
    async with serving(*folders) as (process, lines):
        port = int(lines[0].rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/slow HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        await in_flight(port, 2)
        process.send_signal(signal.SIGTERM)
        await refused(port)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 128 + signal.SIGTERM
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def in_flight(port: int, count: int) -> None:
    """Return once the hub counts that many requests under way, this question included."""
    async with asyncio.timeout(10):
        text = b""
        while f"aetherra_http_requests_in_flight {count}.0".encode() not in text:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /metrics HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
            text = await reader.read()
            writer.close()
            await writer.wait_closed()


async def refused(port: int) -> None:
    """Return once nobody listens on the port any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                return
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
