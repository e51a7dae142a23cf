"""Plugins are no package: their modules are loaded by path here, so that the pure parts can be tested as they are."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def load_plugin() -> Iterator[Callable[[str], ModuleType]]:
    """Return a function that imports a bundled plugin's package, once, as `plugin_under_test_NAME`."""
    loaded: dict[str, ModuleType] = {}

    def load(name: str) -> ModuleType:
        if name not in loaded:
            folder = ROOT / "plugins" / name
            spec = importlib.util.spec_from_file_location(
                f"plugin_under_test_{name}", folder / "__init__.py", submodule_search_locations=[str(folder)]
            )
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            loaded[name] = module
        return loaded[name]

    yield load
    for module in loaded.values():
        for name in [n for n in sys.modules if n == module.__name__ or n.startswith(f"{module.__name__}.")]:
            del sys.modules[name]


@pytest.fixture(scope="session")
def security(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    """Return the package of the plugin that decides about rights; its modules are its attributes."""
    return load_plugin("security")


@pytest.fixture(scope="session")
def policies() -> Path:
    """Return the folder of the policy files that ship."""
    return ROOT / "policies"


@pytest.fixture(scope="session")
def audit(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    """Return the package of the plugin that keeps the audit; its modules are its attributes."""
    return load_plugin("audit")
