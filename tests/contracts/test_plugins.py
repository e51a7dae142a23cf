"""What good means for a plugin, checked over every one that ships, and over the examples."""

import logging
import sys
from pathlib import Path

import pytest

from kernel.testing import Recording, check_plugin, running_kernel

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = [path.parent for path in sorted((ROOT / "plugins").glob("*/__init__.py"))]
EXAMPLES = [*sorted((ROOT / "examples").glob("*.py")), ROOT / "hub" / "templates" / "greeter.py"]
NAMES = [path.name for path in PLUGINS]


@pytest.mark.parametrize("path", [*PLUGINS, *EXAMPLES], ids=lambda path: path.stem)
def test_a_plugin_of_ours_is_a_good_one(path: Path) -> None:
    report = check_plugin(path)
    assert report.passed, str(report)
    assert {f.verdict for f in report.findings} <= {"passed", "warned"}, str(report)


def _modules_of_plugins() -> set[str]:
    return {name for name in sys.modules if name.startswith("plugins/")}


@pytest.mark.timeout(120)
async def test_all_bundled_plugins_together_reload_twice_and_unload_without_a_trace(tmp_path: Path) -> None:
    before = _modules_of_plugins()  # other tests of this process read plugins as a command does, which keeps them
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
        assert [task for task in kernel.supervisor.stats().tasks if task.owner != "kernel"] == []
        assert [owner.plugin for owner in kernel.table.owners] == ["kernel"]
        assert _modules_of_plugins() == before
        assert [name for name in logging.Logger.manager.loggerDict if "@" in name] == []
