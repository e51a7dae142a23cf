"""What good means, checked over every plugin that ships: it reloads, carries on, unloads, and leaves nothing behind."""

import ast
import logging
import sys
from pathlib import Path

import pytest

from kernel.testing import Recording, running_kernel

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
NAMES = sorted(path.parent.name for path in PLUGINS.glob("*/__init__.py"))


@pytest.mark.timeout(120)
async def test_every_bundled_plugin_reloads_twice_and_unloads_without_a_trace(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, bundled=None) as kernel:
        modules = {module.name: module for module in kernel.modules.known()}
        assert {name: modules[name].status for name in NAMES} == dict.fromkeys(NAMES, "active")
        subscriptions = len(kernel.bus.subscriptions())
        with Recording(kernel.bus) as seen:
            for name in NAMES:
                for _ in range(2):
                    module = await kernel.modules.reload(name)
                    assert (module.status, module.reason) == ("active", None), name
            await kernel.modules.settled()
            assert [event.data for event in seen.of("module.leaked")] == []
            assert len(kernel.bus.subscriptions()) == subscriptions
            assert (await kernel.ready()) == dict.fromkeys(await kernel.ready())
            for name in [n for n in reversed(NAMES) if n != "security"] + ["security"]:
                await kernel.modules.unload(name)
            await kernel.modules.settled()
            assert [event.data for event in seen.of("module.leaked")] == []
        assert [s.name for s in kernel.bus.subscriptions()] == []
        assert kernel.supervisor.stats().tasks == []
        assert [owner.plugin for owner in kernel.table.owners] == ["kernel"]
        assert [name for name in sys.modules if name.startswith("plugins/")] == []
        assert [name for name in logging.Logger.manager.loggerDict if "@" in name] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_plugin_has_no_logger_of_its_generation(name: str) -> None:
    """`getLogger(__name__)` leaves a logger behind at each reload."""
    found = []
    for path in (PLUGINS / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.endswith("getLogger") and "__name__" in ast.unparse(node):
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []
