"""What ships is kept compiled beside its source, and is never served for any other source; nothing else is kept."""

import itertools
import os
import sys
from pathlib import Path
from types import CodeType

import pytest

from kernel import bytecode
from kernel.loader import Loader, Source

NUMBERS = itertools.count(900_000)


class Compiler:
    """Compiles, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, content: bytes, origin: str) -> CodeType:
        self.times += 1
        return compile(content, origin, "exec", dont_inherit=True)


@pytest.fixture(autouse=True)
def _written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)


def value(code: CodeType) -> object:
    names: dict[str, object] = {}
    exec(code, names)
    return names["value"]


def cache_of(file: Path) -> Path:
    return file.parent / "__pycache__" / f"{file.stem}.{sys.implementation.cache_tag}.pyc"


def test_the_same_bytes_are_compiled_once_for_all_processes(tmp_path: Path) -> None:
    file, compiler = tmp_path / "part.py", Compiler()
    codes = [bytecode.kept(b"value = 1", str(file), compiler) for _ in range(3)]
    assert (compiler.times, [value(code) for code in codes]) == (1, [1, 1, 1])
    assert [code.co_filename for code in codes] == [str(file)] * 3


def test_python_itself_takes_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "part_of_python.py"
    file.write_bytes(b"value = 1")
    bytecode.kept(b"value = 1", str(file), lambda content, origin: compile("value = 'kept'", origin, "exec"))
    monkeypatch.syspath_prepend(tmp_path)
    import part_of_python

    assert part_of_python.value == "kept"
    del sys.modules["part_of_python"]


def test_an_edit_of_equal_length_in_the_same_moment_is_another_file(tmp_path: Path) -> None:
    file, compiler = tmp_path / "part.py", Compiler()
    for content, said in ((b"value = 1", 1), (b"value = 2", 2), (b"value = 1", 1)):
        file.write_bytes(content)
        os.utime(file, (1_000_000_000, 1_000_000_000))
        assert value(bytecode.kept(content, str(file), compiler)) == said


@pytest.mark.parametrize("kept", [b"", b"\0" * 40, None], ids=["an empty one", "another format", "one that was cut"])
def test_a_broken_file_is_replaced(tmp_path: Path, kept: bytes | None) -> None:
    file, compiler = tmp_path / "part.py", Compiler()
    bytecode.kept(b"value = 1", str(file), compiler)
    whole = cache_of(file).read_bytes()
    cache_of(file).write_bytes(whole[:-20] if kept is None else kept)
    assert value(bytecode.kept(b"value = 1", str(file), compiler)) == 1
    assert (compiler.times, cache_of(file).read_bytes()) == (2, whole)


def test_a_folder_that_was_moved_shows_its_new_place_in_tracebacks(tmp_path: Path) -> None:
    old, new, compiler = tmp_path / "old" / "part.py", tmp_path / "new" / "part.py", Compiler()
    old.parent.mkdir()
    bytecode.kept(b"value = 1", str(old), compiler)
    old.parent.rename(new.parent)
    assert bytecode.kept(b"value = 1", str(new), compiler).co_filename == str(new)


def test_a_folder_that_cannot_be_written_to_is_compiled_each_time(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("in the way")
    compiler = Compiler()
    assert [value(bytecode.kept(b"value = 1", str(tmp_path / "part.py"), compiler)) for _ in range(2)] == [1, 1]
    assert (compiler.times, [path.name for path in tmp_path.iterdir()]) == (2, ["__pycache__"])


def test_nothing_is_written_where_python_was_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    bytecode.kept(b"value = 1", str(tmp_path / "part.py"), Compiler())
    assert list(tmp_path.iterdir()) == []


def test_who_may_not_read_the_source_may_not_read_its_code(tmp_path: Path) -> None:
    file = tmp_path / "part.py"
    file.write_bytes(b"value = 1")
    file.chmod(0o640)
    bytecode.kept(b"value = 1", str(file), Compiler())
    assert cache_of(file).stat().st_mode & 0o777 == 0o640
    assert [path.name for path in cache_of(file).parent.iterdir()] == [cache_of(file).name]


PLUGIN = 'from kernel import Plugin\np = Plugin("{}", version="{}")\n'


def version(path: Path, *, shipped: bool) -> str:
    """The version that the plugin declares to a hub that ships it, or one that finds it in its drop folder."""
    loader = Loader([path.parent] if shipped else [])
    loader.install()
    try:
        source = Source.read(path)
        _, contribution = loader.load_now(f"plugins/{source.name}@{next(NUMBERS)}", source)
        return contribution.manifest.version
    finally:
        loader.remove()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "__init__.py").write_text(PLUGIN.format("whole", "1.0.0"))
    return tmp_path / "whole"


def test_a_plugin_that_ships_keeps_its_code_and_runs_from_it(package: Path) -> None:
    file = package / "__init__.py"
    other = PLUGIN.format("whole", "6.6.6").encode()
    bytecode.kept(file.read_bytes(), str(file), lambda content, origin: compile(other, origin, "exec"))
    assert version(package, shipped=True) == "6.6.6"
    file.write_text(PLUGIN.format("whole", "2.0.0"))
    assert version(package, shipped=True) == "2.0.0"
    assert [path.name for path in cache_of(file).parent.iterdir()] == [cache_of(file).name]


def test_code_that_was_dropped_along_with_a_plugin_never_runs_instead_of_its_source(package: Path) -> None:
    file = package / "__init__.py"
    other = PLUGIN.format("whole", "6.6.6").encode()
    bytecode.kept(file.read_bytes(), str(file), lambda content, origin: compile(other, origin, "exec"))
    assert version(package, shipped=False) == "1.0.0"


def test_a_dropped_plugin_leaves_its_folder_as_it_was(package: Path) -> None:
    assert version(package, shipped=False) == "1.0.0"
    assert [path.name for path in package.iterdir()] == ["__init__.py"]


def test_a_single_file_that_was_dropped_beside_what_ships_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "single.py").write_text(PLUGIN.format("single", "1.0.0"))
    assert version(tmp_path / "single.py", shipped=True) == "1.0.0"
    assert [path.name for path in tmp_path.iterdir()] == ["single.py"]
