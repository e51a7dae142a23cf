"""`aether doctor`: each thing that can be wrong is broken on purpose, found, and left as it was."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.metadata
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_process import hub_process
from warm_process import run

from hub.doctor import examine
from hub.doctor import installation as package
from hub.doctor.home import home_findings
from hub.doctor.machine import landlock_abi, machine_findings, seccomp_filters
from hub.doctor.running import HubThere, running_findings
from hub.home import HomeLock
from hub.new_home import make_home
from hub.settings import HubSettings
from kernel import VERSION, Config, Finding, Paths


def settings_of(home: Path, **overrides: Any) -> Config:
    given = {f"hub.{name}": value for name, value in overrides.items()}
    paths = Paths.find(environ={}, home=home)
    return Config.load(sections={"hub": HubSettings}, file=None, environ={}, overrides=given, paths=paths)


def load(given: Any) -> Config:
    return settings_of(given["home"], port=0)


def by_check(findings: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def looked(home: Path, **overrides: Any) -> dict[str, Finding]:
    config = settings_of(home, **overrides)
    return by_check(home_findings(config, HubThere.on(home)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


def everything_below(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    return {
        path: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def database(home: Path, rows: int = 2_000) -> Path:
    path = home / "aetherra.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * rows)
    connection.close()
    return path


# The whole --------------------------------------------------------------------------------------------------------


def test_a_sound_home_has_no_failure_and_stays_as_it_is(home: Path) -> None:
    database(home)
    before = everything_below(home)
    findings = examine({"home": home}, load)
    assert [finding for finding in findings if finding.level == "fail"] == []
    checks = {finding.check for finding in findings}
    assert checks >= {"python", "package", "dependencies", "settings", "plugins", "language", "policy", "strict_mode"}
    assert checks >= {"home", "disk", "sqlite", "database", "isolation", "descriptors", "clock", "hub", "port"}
    assert everything_below(home) == before


def test_every_failure_and_warning_says_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "aetherra.db").write_bytes(b"no database" * 100)
    findings = [f for f in examine({"home": home}, load) if f.level != "ok"]
    assert {"home", "database"} <= {f.check for f in findings}
    assert [f.check for f in findings if not f.advice] == []


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    findings = examine({"home": tmp_path / "none"}, load)
    assert by_check(findings)["home"].level == "ok"
    assert not (tmp_path / "none").exists()


def test_a_wrong_settings_file_hides_nothing_else(home: Path) -> None:
    (home / "aetherra.toml").write_text("[hub]\nprot = 1\n")
    findings = by_check(examine({"home": home}, load))
    assert findings["settings"].level == "fail"
    assert "did you mean 'port'" in findings["settings"].found
    assert findings["language"].level == "ok"


def test_a_setting_that_nobody_reads_is_a_warning(home: Path) -> None:
    (home / "aetherra.toml").write_text("[plugins.nobody]\nx = 1\n")
    findings = [f for f in examine({"home": home}, load) if f.check == "settings"]
    assert [f.level for f in findings] == ["warn", "ok"]
    assert "plugins.nobody" in findings[0].found


def aether(*arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    if limit is None:
        return run(*arguments, env=environ)
    command = ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", sys.executable, "-m", "hub", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_verb_prints_lines_or_json_and_fails_where_something_fails(home: Path) -> None:
    (home / "aetherra.toml").write_text("[hub]\nport = 0\n")
    well = aether("doctor", "--home", str(home), "--json", limit=1_000)
    said = json.loads(well.stdout)
    assert (well.returncode, said["status"], said["counts"]["fail"]) == (0, "warn", 0)
    descriptors = next(check for check in said["checks"] if check["check"] == "descriptors")
    assert descriptors["level"] == "warn"
    assert "1,000 files may be open" in descriptors["found"]
    (home / "aetherra.db").write_bytes(b"no database" * 100)
    ill = aether("doctor", "--home", str(home))
    assert ill.returncode == 1
    assert [line for line in ill.stdout.splitlines() if line.startswith("fail  database")]
    assert "-> keep a copy" in ill.stdout


# The installation ---------------------------------------------------------------------------------------------------


def distribution(folder: Path, *requires: str, version: str = VERSION) -> importlib.metadata.Distribution:
    """Lay a package out as an installer does: two files, and the list of them with their sums."""
    info = folder / f"aetherra-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: aetherra\nVersion: {version}\nMetadata-Version: 2.4\nProvides-Extra: docs\nProvides-Extra: dev"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    record = f"{info.name}/RECORD,,\n"
    for name in ("one.py", "two.sql"):
        (folder / name).write_text(name)
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(name)}\n"
    (info / "RECORD").write_text(record)
    return importlib.metadata.PathDistribution(info)


def test_missing_and_changed_files_are_told_apart(tmp_path: Path) -> None:
    own = distribution(tmp_path)
    assert package._files(own).level == "ok"
    (tmp_path / "one.py").write_text("other\n")
    changed = package._files(own)
    assert changed.level == "warn"
    assert "one.py" in changed.found
    (tmp_path / "two.sql").unlink()
    missing = package._files(own)
    assert (missing.level, "two.sql" in missing.found) == ("fail", True)


def test_files_of_another_version_than_the_installer_noted_are_a_failure(tmp_path: Path) -> None:
    assert package._files(distribution(tmp_path, version="99.0")).level == "fail"


def test_dependencies_out_of_bounds_and_missing_ones_are_named(tmp_path: Path) -> None:
    own = distribution(tmp_path, "click>=99", "no-such-package>=1,<2", "aiohttp>=3", 'pytest>=99; extra == "dev"')
    (finding,) = package._dependencies(own)
    assert finding.level == "fail"
    assert "click is" in finding.found
    assert "no-such-package is missing" in finding.found
    assert "aiohttp" not in finding.found
    assert "pytest" not in finding.found


@pytest.mark.parametrize(
    ("line", "level", "words"),
    [
        ('no-such-package>=1,<2; extra == "docs"', "ok", "not installed"),
        ('click>=8,<9; extra == "docs"', "ok", "installed (click)"),
        ('click>=99; extra == "docs"', "warn", "out of bounds"),
    ],
)
def test_an_extra_says_whether_it_is_there_and_what_it_brings(
    tmp_path: Path, line: str, level: str, words: str
) -> None:
    (finding,) = package._extras(distribution(tmp_path, line))
    assert (finding.check, finding.level) == ("extra docs", level)
    assert words in finding.found
    assert (level == "warn") == bool(finding.advice)


# The home ---------------------------------------------------------------------------------------------------------


def spoil_mode(home: Path) -> None:
    home.chmod(0o750)


def spoil_kind(home: Path) -> None:
    for path in sorted(home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    home.rmdir()
    home.touch()


def spoil_database(home: Path) -> None:
    path = database(home)
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(os.urandom(200_000))


@pytest.mark.parametrize(
    ("spoil", "check", "level"),
    [(spoil_mode, "home", "warn"), (spoil_kind, "home", "fail"), (spoil_database, "database", "fail")],
)
def test_what_is_wrong_with_a_home_is_found(home: Path, spoil: Callable[[Path], None], check: str, level: str) -> None:
    config = settings_of(home)
    spoil(home)
    assert by_check(home_findings(config, HubThere(False)))[check].level == level


def test_a_path_too_long_for_a_socket_is_a_failure(tmp_path: Path) -> None:
    assert looked(tmp_path / ("x" * 120))["socket"].level == "fail"


def test_a_database_left_by_a_crash_is_read_with_its_log(home: Path) -> None:
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=WAL');"
        "c.execute('CREATE TABLE t (x)'); c.execute('INSERT INTO t VALUES (1)'); c.commit(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(home / "aetherra.db")], check=False)
    log = home / "aetherra.db-wal"
    size = log.stat().st_size
    assert size > 0
    assert "sound" in looked(home)["database"].found
    assert log.stat().st_size == size


def test_the_database_of_a_running_hub_is_left_alone(home: Path) -> None:
    (home / "aetherra.db").write_bytes(b"no database" * 100)
    with HomeLock(home):
        there = HubThere.on(home)
        assert there == HubThere(True, os.getpid())
        assert by_check(home_findings(settings_of(home), there))["database"].level == "ok"
    assert HubThere.on(home) == HubThere(False)


# The machine --------------------------------------------------------------------------------------------------------


def test_isolation_says_what_the_kernel_offers_and_that_it_is_degraded(home: Path) -> None:
    finding = by_check(machine_findings(settings_of(home)))["isolation"]
    assert finding.level == "warn"
    assert finding.found.startswith("degraded")
    assert ("Landlock (ABI" in finding.found) == (landlock_abi() > 0)
    assert ("seccomp filters" in finding.found) == seccomp_filters()


def test_a_clock_behind_what_was_written_is_a_failure(home: Path) -> None:
    path = home / "aetherra.db"
    path.touch()
    assert by_check(machine_findings(settings_of(home)))["clock"].level == "ok"
    os.utime(path, (time.time() + 86_400,) * 2)
    clock = by_check(machine_findings(settings_of(home)))["clock"]
    assert (clock.level, str(path) in clock.found) == ("fail", True)


# The hub that runs ----------------------------------------------------------------------------------------------------


def test_a_taken_port_is_a_failure_that_names_who_has_it(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = by_check(running_findings(settings_of(home, port=port), HubThere(False)))["port"]
        assert found.level == "fail"
        assert f"pid {os.getpid()}" in found.found
    assert by_check(running_findings(settings_of(home, port=port), HubThere(False)))["port"].level == "ok"


def test_a_hub_that_holds_its_home_but_does_not_answer_is_a_failure(home: Path) -> None:
    with HomeLock(home):
        found = by_check(running_findings(settings_of(home, port=0), HubThere.on(home)))["hub"]
    assert found.level == "fail"
    assert "does not answer" in found.found


async def test_a_running_hub_is_asked_how_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub:
        port = int(hub.url.rpartition(":")[2])

        def look() -> list[Finding]:
            return list(running_findings(settings_of(home, port=port), HubThere.on(home)))

        found = by_check(await asyncio.to_thread(look))
        assert (found["hub"].level, found["port"].level) == ("ok", "ok")
        assert "is ready" in found["hub"].found
        assert "this home's hub's" in found["port"].found
        (hub.plugins / "broken.py").write_text("def (:\n")
        async with asyncio.timeout(5):
            while "hub: broken" not in (found := by_check(await asyncio.to_thread(look))):
                pass
        assert found["hub: broken"].level == "warn"
