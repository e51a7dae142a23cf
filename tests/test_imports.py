"""Who may import whom: the arrows of the house, each broken on purpose to show that its guard turns red."""

import ast
import graphlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kernel

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/__init__.py"))
LANGUAGE_MAY = {"scripts", "agents", "memory", "schedules"}
"""Plugins that are about scripts, or share rules with them, and may import the language."""


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", tuple(alias.name for alias in node.names)


def breaches(path: Path, *, language: bool) -> list[str]:
    found = []
    for module, names in imports(path):
        top = module.partition(".")[0]
        if top == "kernel":
            private = [name for name in names if name not in kernel.__all__]
            if module not in ("kernel", "kernel.testing") or (module == "kernel" and (private or not names)):
                found.append(f"{path.name}: {module} {private}: only the kernel's public names")
        elif top in ("hub", "plugins") or (top == "aether_lang" and not language):
            found.append(f"{path.name}: {module}")
    return found


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda p: p.name)
def test_a_plugin_imports_the_kernels_public_names_and_itself_only(folder: Path) -> None:
    language = folder.name in LANGUAGE_MAY
    assert [b for path in folder.rglob("*.py") for b in breaches(path, language=language)] == []


def test_every_public_name_of_the_kernel_is_there() -> None:
    assert [name for name in kernel.__all__ if not hasattr(kernel, name)] == []


def test_the_hub_imports_the_kernels_public_names_only() -> None:
    assert [b for path in (ROOT / "hub").rglob("*.py") for b in breaches(path, language=False) if "hub" not in b] == []


@pytest.mark.parametrize("line", ["import hub", "from plugins.memory import x", "from kernel.store import Store"])
def test_a_plugin_that_breaks_the_rule_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.py").write_text(line + "\n")
    assert breaches(tmp_path / "bad.py", language=False)


def contract(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for room in ("kernel", "hub", "aether_lang"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_import_contract_holds(copy: Path) -> None:
    result = contract(copy)
    assert result.returncode == 0, result.stdout


ARROWS = [
    (source, target)
    for rule in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if rule["type"] == "forbidden"
    for source in rule["source_modules"]
    for target in rule["forbidden_modules"]
]


@pytest.mark.parametrize(("source", "target"), ARROWS)
def test_each_arrow_turned_round_breaks_the_contract(copy: Path, source: str, target: str) -> None:
    wrong = copy / source / "turned_round.py"
    wrong.write_text(f"import {target}\n")
    try:
        result = contract(copy)
    finally:
        wrong.unlink()
    assert result.returncode != 0
    assert f"{source}.turned_round -> {target}" in result.stdout


def ring(folder: Path) -> tuple[str, ...]:
    graph: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        here = path.relative_to(folder.parent).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(folder.name):
                of = folder.parent / (node.module or "").replace(".", "/")
                inner = [f"{node.module}.{a.name}" for a in node.names if (of / f"{a.name}.py").is_file()]
                graph.setdefault(here, set()).update(inner or [node.module])
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return tuple(error.args[1])
    return ()


@pytest.mark.parametrize("room", ["kernel", "hub", "aether_lang"])
def test_no_room_has_a_ring_of_imports_not_even_one_hidden_in_a_function(room: str) -> None:
    assert ring(ROOT / room) == ()


def test_a_ring_hidden_in_a_function_is_found(copy: Path) -> None:
    wrong = copy / "kernel" / "errors.py"
    text = wrong.read_text()
    wrong.write_text(text + "\n\ndef late():\n    from kernel.bus import Bus\n    return Bus\n")
    try:
        assert "kernel.errors" in ring(copy / "kernel")
    finally:
        wrong.write_text(text)
