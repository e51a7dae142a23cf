"""`[trust] plugin_folders`: which dropped plugins run in the hub's process, and that an edit of it takes effect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from kernel import Kernel, LoadError
from kernel.testing import Recording, kernel_config

HELLO = (Path(__file__).parents[2] / "examples" / "hello.py").read_text()


@asynccontextmanager
async def kernel_with_policy(home: Path, folders: str) -> AsyncIterator[Kernel]:
    config = kernel_config(home, plugins={"hello": HELLO}, bundled=["security"])
    config.paths = msgspec.structs.replace(config.paths, trusted=())
    name(config.paths.policies, folders)
    kernel = Kernel(config)
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.stop()


def name(policies: Path, folders: str) -> None:
    main = policies / "default.toml"
    lines = [
        f"plugin_folders = [{folders}]" if line.startswith("plugin_folders") else line
        for line in main.read_text().splitlines()
    ]
    main.write_text("\n".join(lines) + "\n")


async def test_a_folder_that_the_policy_names_is_trusted(tmp_path: Path) -> None:
    async with kernel_with_policy(tmp_path, f'"{tmp_path / "plugins"}"') as kernel:
        assert kernel.modules.get("hello").status == "active"


async def test_a_folder_that_it_does_not_name_is_refused_until_an_edit_names_it(tmp_path: Path) -> None:
    async with kernel_with_policy(tmp_path, "") as kernel:
        assert kernel.modules.get("hello").status == "refused"
        with Recording(kernel.bus, "module.*") as seen:
            name(kernel.config.paths.policies, f'"{tmp_path / "plugins"}"')
            await seen.wait_for("module.loaded")
        assert kernel.modules.get("hello").status == "active"


async def test_nobody_loads_what_the_policy_does_not_trust_not_even_by_hand(tmp_path: Path) -> None:
    async with kernel_with_policy(tmp_path, "") as kernel:
        with pytest.raises(LoadError, match="is not trusted to run"):
            await kernel.modules.reload("hello")
        (kernel.config.paths.plugins / "hello.py").write_text(HELLO + "# edited\n")
        (kernel.config.paths.plugins / "later.py").write_text(HELLO.replace("hello", "later"))
        with Recording(kernel.bus, "module.*") as seen:
            await seen.wait_for("module.refused")
        assert {m.name: m.status for m in kernel.modules.known()} == {
            "hello": "refused",
            "later": "refused",
            "security": "active",
        }


async def test_a_folder_that_loses_its_trust_loses_its_plugins_at_once(tmp_path: Path) -> None:
    async with kernel_with_policy(tmp_path, f'"{tmp_path / "plugins"}"') as kernel:
        with Recording(kernel.bus, "module.*") as seen:
            name(kernel.config.paths.policies, "")
            await seen.wait_for("module.unloaded")
            module = kernel.modules.get("hello")
            assert (module.status, module.generation) == ("refused", None)
            assert not [owned for owned in kernel.table.routes if owned.owner.plugin == "hello"]
            name(kernel.config.paths.policies, f'"{tmp_path / "plugins"}"')
            await seen.wait_for("module.loaded")
        assert kernel.modules.get("hello").status == "active"


async def test_a_bundled_plugin_with_a_running_task_leaves_memory_at_its_first_reload(tmp_path: Path) -> None:
    async with kernel_with_policy(tmp_path, "") as kernel:
        await kernel.modules.reload("security")
        await kernel.modules.settled()
        assert kernel.modules.counts().leaked == 0
