"""Every benchmark can be started as its first lines say. What it measures is never asserted here."""

import importlib
import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_benchmark_says_how_to_run_it_and_imports_what_is_there(path: Path) -> None:
    module = importlib.import_module(f"benchmarks.{path.stem}")
    assert module.__doc__ is not None
    if path.stem != "interleaved":
        assert callable(module.main)
        assert re.search(rf"^ *python -m benchmarks\.{path.stem}\b", module.__doc__, re.MULTILINE)
