"""The wheel holds what the tree holds: built here, from a copy, without a network."""

from __future__ import annotations

import email.parser
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = ("kernel", "hub", "aether_lang")
BY_PATH = ("plugins", "policies", "scripts", "examples")
"""What lies under aetherra/ in the wheel."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what a build reads; files that git does not know are copied too, as they lie in a checkout."""
    ignored = shutil.ignore_patterns("__pycache__")
    for room in (*IMPORTED, *BY_PATH):
        shutil.copytree(ROOT / room, folder / room, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(tree: Path, out: Path, target: str) -> Path:
    """Run the build backend in a process of its own, as installers do; return what it wrote."""
    out.mkdir(exist_ok=True)
    program = f"import sys; from hatchling import build; print(build.build_{target}(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return out / result.stdout.splitlines()[-1]


def files_in(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def wanted_of(tree: Path) -> set[str]:
    """What the wheel of a tree must hold: every file of the rooms, but no caches and nothing that was dropped."""
    found = set()
    for room in (*IMPORTED, *BY_PATH):
        for path in (tree / room).rglob("*"):
            inner = path.relative_to(tree)
            dropped = room == "plugins" and len(inner.parts) == 2 and path.suffix == ".py"
            if path.is_file() and "__pycache__" not in inner.parts and not dropped:
                found.add(f"aetherra/{inner.as_posix()}" if room in BY_PATH else inner.as_posix())
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build(tree, tree / "dist", "wheel")


def test_the_wheel_holds_every_file_of_the_rooms_and_no_other(tree: Path, wheel: Path) -> None:
    assert files_in(wheel) == wanted_of(tree)


def test_what_is_no_python_is_in_it_too(wheel: Path) -> None:
    kinds = {Path(name).suffix for name in files_in(wheel)}
    assert kinds >= {".py", ".sql", ".toml", ".lark", ".aether", ".typed"}
    assert "aetherra/plugins/memory/migrations/001_records.sql" in files_in(wheel)


def test_a_wheel_without_one_plugins_sql_is_found_out(tree: Path, tmp_path: Path) -> None:
    other = copy_of_the_tree(tmp_path)
    settings = (other / "pyproject.toml").read_text()
    (other / "pyproject.toml").write_text(
        settings.replace(
            "[tool.hatch.build.targets.wheel]\n", '[tool.hatch.build.targets.wheel]\nexclude = ["*.sql"]\n'
        )
    )
    missing = wanted_of(tree) - files_in(build(other, other / "dist", "wheel"))
    assert "aetherra/plugins/memory/migrations/001_records.sql" in missing
    assert {Path(name).suffix for name in missing} == {".sql"}


def test_dropped_plugins_caches_and_tests_stay_out(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    (tree / "plugins" / "dropped.py").write_text("")
    (tree / "plugins" / "memory" / "__pycache__").mkdir()
    (tree / "plugins" / "memory" / "__pycache__" / "recall.cpython-311.pyc").write_bytes(b"")
    (tree / "tests").mkdir()
    (tree / "tests" / "test_some.py").write_text("")
    assert files_in(build(tree, tree / "dist", "wheel")) == wanted_of(tree)


def test_the_source_archive_builds_the_same_wheel(tree: Path, wheel: Path, tmp_path: Path) -> None:
    archive = build(tree, tmp_path / "dist", "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    again = build(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "dist", "wheel")
    assert again.name == wheel.name
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(again)
    assert first.namelist() == second.namelist()
    assert [name for name in first.namelist() if first.read(name) != second.read(name)] == []


def test_what_it_says_of_itself_is_the_projects(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    info = next(name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
    said = email.parser.Parser().parsestr(packed.read(info).decode())
    version: dict[str, str] = {}
    exec((ROOT / "kernel" / "version.py").read_text(), version)
    assert (said["Name"], said["Version"]) == ("aetherra", version["VERSION"])
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Requires-Python"] == ">=3.11"
    assert (ROOT / "README.md").read_text().strip() == str(said.get_payload()).strip()
    assert f"{Path(info).parent}/licenses/LICENSE" in packed.namelist()


EVERY = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


@pytest.mark.parametrize("line", EVERY)
def test_every_dependency_has_a_lower_bound_and_a_cap_on_its_next_major_version(line: str) -> None:
    operators = {specifier.operator for specifier in Requirement(line).specifier}
    assert operators == {">=", "<"}
