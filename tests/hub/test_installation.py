"""One installation at a time, and commands that work as they are printed."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hub.first_steps import command_line, of_home
from hub.installation import mixture, place_of

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def test_the_rooms_of_this_installation_lie_side_by_side() -> None:
    assert mixture() is None
    assert place_of("kernel") == place_of("hub") == place_of("aether_lang") == ROOT
    assert place_of("no_such_package") is None


def test_a_hub_refuses_to_start_on_a_kernel_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "__init__.py").write_text("raise SystemExit('imported')\n")
    result = subprocess.run(
        [BIN / "aether", "serve", "--home", str(tmp_path / "home")],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "two installations are mixed" in result.stderr
    assert str(tmp_path) in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_home_is_named_where_the_command_would_not_find_it(tmp_path: Path) -> None:
    assert of_home(ROOT / ".aetherra") == ()
    assert of_home(tmp_path) == ("--home", str(tmp_path))
    assert shlex.split(command_line("plugins", *of_home(tmp_path / "a b")))[1:] == [
        "plugins",
        "--home",
        str(tmp_path / "a b"),
    ]


@pytest.mark.timeout(240)
async def test_every_command_that_a_start_prints_works_as_it_is_printed(tmp_path: Path, need) -> None:
    need("curl")
    home = tmp_path / "my home"
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    serve = [BIN / "aether", "serve", "--port", "0", "--home", home, "--plugins", home / "plugins"]
    for trusted in (False, True):
        process = await asyncio.create_subprocess_exec(
            *serve, cwd=tmp_path, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(30):
            while not lines or " events" not in lines[-1]:
                lines.append((await process.stdout.readline()).decode().rstrip())
                assert lines[-1]
        try:
            if trusted:  # what it prints then is all that it prints before, and more
                await try_out(lines[lines.index("Try:") + 1 :], tmp_path, environ)
        finally:
            process.terminate()
            await process.wait()
        assert any("cp " in line for line in lines) == trusted
        again = [line.strip() for line in lines if "--trust-plugins" in line]
        assert len(again) == (0 if trusted else 1)
        # The line for trusting the folder is the same command again, with that one option more.
        serve = shlex.split(again[0]) if again else serve


async def try_out(commands: list[str], folder: Path, environ: dict[str, str]) -> None:
    async def started(line: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec {line.strip()}"),
            cwd=folder,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    *others, events = commands
    follower = await started(events)
    assert follower.stdout is not None
    address = others[0].split()[-1].removesuffix("/health")
    async with asyncio.timeout(30):
        said = b""
        while b"aetherra_http_streams_open 1" not in said:  # what happens before it follows it never sees
            said, _ = await (await started(f"curl -sf {address}/metrics")).communicate()
    for line in others:
        async with asyncio.timeout(30):
            while True:
                process = await started(line.replace("curl ", "curl -sf "))
                said, _ = await process.communicate()
                if process.returncode == 0 or "/api/hello/" not in line:
                    break  # what was dropped a moment ago may not serve yet
        assert process.returncode == 0, (line, said.decode())
    async with asyncio.timeout(30):
        assert b"." in await follower.stdout.readline()
    follower.kill()
    await follower.wait()
