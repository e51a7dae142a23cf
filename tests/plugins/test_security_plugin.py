"""The decider in a running kernel: it decides, follows edits of the files, and tells when one is wrong."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel import BadInput, Caller, Denied, Kernel, LoadError
from kernel.testing import Recording, running_kernel

LOCAL = Caller("user:local", ("role:user",))
CONSOLE = Caller("core:console", ("role:admin",))

PROBE = '''
"""A plugin as anyone may drop it."""
from kernel import Context, Plugin

probe = Plugin("probe", version="1.0.0", capabilities=["memory:write:own"])

@probe.function("try_right", effect="irreversible")
async def try_right(ctx: Context, right: str) -> str:
    """Return the place of the rule that decides."""
    return (await ctx.require(right)).source
'''


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"probe": PROBE}, bundled=["security"]) as kernel:
        yield kernel


def main_file(kernel: Kernel) -> Path:
    return Path(kernel.config.paths.policies) / "default.toml"


def edit(kernel: Kernel, old: str, new: str) -> None:
    text = main_file(kernel).read_text()
    assert old in text
    main_file(kernel).write_text(text.replace(old, new, 1))


def policy(kernel: Kernel, caller: Caller = CONSOLE) -> Any:
    return kernel.context(caller).service("policy")


async def test_it_decides_for_the_gate_by_the_policy_that_ships(kernel: Kernel) -> None:
    local = kernel.context(LOCAL)
    decision = await local.require("memory:write", "own")
    assert decision.rule == 'allow "role:user" = "memory:*:own"'
    file, _, line = decision.source.partition(":")
    assert "memory:*:own" in (main_file(kernel).parent / file).read_text().splitlines()[int(line) - 1]
    with pytest.raises(Denied, match=r"user:local may not plugin:manage: no rule allows plugin:manage for user:local"):
        await local.require("plugin:manage")
    assert kernel.gate.denials[-1].capability == "plugin:manage"


async def test_a_dropped_plugin_has_only_what_its_caller_has_too(kernel: Kernel) -> None:
    assert await kernel.context(LOCAL).call("probe.try_right", "memory:write:own")
    with pytest.raises(Denied):
        await kernel.context(LOCAL).call("probe.try_right", "plugin:manage")


async def test_an_edit_takes_effect_without_a_restart(kernel: Kernel) -> None:
    with Recording(kernel.bus, "policy.#") as seen:
        before = (await policy(kernel).meta())["hash"]
        edit(kernel, '"role:user"              = [', '"role:user"              = ["plugin:manage", ')
        event = await seen.wait_for("policy.loaded", timeout_s=20)
    assert event.data["hash"] != before
    assert event.data["files"] == ["default.toml"]
    assert (await kernel.context(LOCAL).require("plugin:manage")).allowed


async def test_a_broken_edit_keeps_the_last_good_policy_and_is_told_with_its_line(kernel: Kernel) -> None:
    before = (await policy(kernel).meta())["hash"]
    with Recording(kernel.bus, "policy.#") as seen:
        edit(kernel, '"script:run"', '"script:rum"')
        failed = await seen.wait_for("policy.failed", timeout_s=20)
        assert failed.data["file"] == "default.toml"
        assert '"script:rum"' in main_file(kernel).read_text().splitlines()[failed.data["line"] - 1]
        assert "did you mean 'script:run'" in failed.data["message"]
        assert failed.data["hash"] == before
        reason = (await kernel.ready())["security"]
        assert reason is not None
        assert reason.startswith(f"policy: stale: default.toml:{failed.data['line']}: ")
        assert (await kernel.context(LOCAL).require("script:run")).allowed
        edit(kernel, '"script:rum"', '"script:run"')
        await seen.wait_for("policy.loaded", timeout_s=20)
    assert (await kernel.ready())["security"] is None


async def test_its_own_reload_over_a_broken_file_is_refused_and_the_last_good_policy_goes_on(kernel: Kernel) -> None:
    with Recording(kernel.bus, "policy.#") as seen:
        edit(kernel, '"script:run"', '"script:rum"')
        await seen.wait_for("policy.failed", timeout_s=20)
    with pytest.raises(LoadError, match=r"security says it would not work: policy: closed: default.toml:\d+"):
        await kernel.modules.reload("security")
    assert (await kernel.context(LOCAL).require("script:run")).allowed


async def test_at_a_broken_first_start_the_hub_is_not_ready_until_the_file_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "default.toml").write_text("version = 1\noops\n")
    async with running_kernel(tmp_path, bundled=["security"]) as kernel:
        assert "only core:console may do anything: default.toml:2" in ((await kernel.ready())["policy"] or "")
        with Recording(kernel.bus, "policy.loaded") as seen:
            whole = (kernel.config.paths.bundled_policies / "default.toml").read_text()
            (folder / "default.toml").write_text(whole)
            await seen.wait_for("policy.loaded", timeout_s=20)
        assert (await kernel.ready())["policy"] is None
        assert (await kernel.context(LOCAL).require("script:run")).allowed


async def test_a_new_file_beside_the_main_one_takes_effect(kernel: Kernel) -> None:
    with Recording(kernel.bus, "policy.loaded") as seen:
        (main_file(kernel).parent / "team.toml").write_text('[capabilities.allow]\n"user:local" = ["user:read"]\n')
        await seen.wait_for("policy.loaded", timeout_s=20)
    assert (await kernel.context(LOCAL).require("user:read")).source == "team.toml:2"


async def test_at_a_first_start_with_a_broken_file_only_the_console_may_do_anything(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "default.toml").write_text("version = 1\noops\n")
    async with running_kernel(tmp_path, bundled=["security"]) as kernel:
        assert (await kernel.context(CONSOLE).require("system:admin")).allowed
        with pytest.raises(Denied, match="only core:console may do anything: default.toml:2"):
            await kernel.context(LOCAL).require("health:read")
        reason = (await kernel.ready())["security"]
        assert reason is not None
        assert reason.startswith("policy: closed: default.toml:2")


async def test_the_environment_makes_the_network_strict_and_names_hosts(tmp_path: Path) -> None:
    overrides = {"network.strict": True, "network.allowlist": ["localhost", "127.0.0.1"]}
    async with running_kernel(tmp_path, bundled=["security"], overrides=overrides) as kernel:
        snapshot = await policy(kernel).snapshot()
        assert snapshot["network"] == {"allowlist": ["localhost", "127.0.0.1"], "denylist": []}
        assert snapshot["strict_mode"] is False
        assert (await kernel.context(CONSOLE).require("net:http", "localhost:80")).allowed
        with pytest.raises(Denied, match="not on the network allowlist"):
            await kernel.context(CONSOLE).require("net:http", "example.org")


async def test_the_service_shows_the_policy_to_users_and_reloads_for_admins_only(kernel: Kernel) -> None:
    snapshot = await policy(kernel, LOCAL).snapshot()
    assert set(snapshot) == {"capabilities", "network", "strict_mode"}
    assert snapshot["capabilities"]["allow"]["core:*"] == ["*"]
    with pytest.raises(Denied):
        await policy(kernel, LOCAL).reload()
    meta = await policy(kernel).reload()
    assert meta["version"] == 1
    assert (meta["stale"], meta["closed"], meta["error"]) == (False, False, None)
    assert meta["loaded_at"].endswith("Z")


async def test_a_reload_by_hand_names_the_mistake(kernel: Kernel) -> None:
    edit(kernel, "strict_mode", "strikt_mode")
    with pytest.raises(BadInput, match="did you mean 'strict_mode'") as caught:
        await policy(kernel).reload()
    assert caught.value.code == "POLICY_REFUSED"
    assert caught.value.details["file"] == "default.toml"


async def test_the_service_checks_words_and_tells_limits(kernel: Kernel) -> None:
    found = await policy(kernel).check_words(["memory:write:own", "memory:wirte", "job:*:own", "x"])
    assert [row["word"] for row in found] == ["memory:wirte", "x"]
    assert "did you mean 'memory:write'" in found[0]["message"]
    limits = await policy(kernel).limits(["script:a.aether"])
    assert (limits["steps"], limits["branches"]) == (10_000_000, 8)
    assert await policy(kernel).limits([]) == {}


async def test_it_can_be_reloaded_itself_and_leaves_nothing_behind(kernel: Kernel, tmp_path: Path) -> None:
    source = Path(kernel.config.paths.bundled_plugins) / "security" / "network.py"
    assert source.is_relative_to(tmp_path), "a copy of the plugin is edited"
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    with Recording(kernel.bus, "module.*") as seen:
        source.write_text(source.read_text() + "\n# an edit\n")
        await seen.wait_for("module.reloaded", timeout_s=20)
        # The second generation is watched: what the first was made of, the kernel exempts from collection at its start.
        old = weakref.ref(kernel.modules.get("security").generation, lambda _: loop.call_soon_threadsafe(gone.set))
        source.write_text(source.read_text() + "\n# another edit\n")
        await seen.wait_for("module.reloaded", 2, timeout_s=20)
    assert old() is not kernel.modules.get("security").generation
    async with asyncio.timeout(20):
        await gone.wait()
    assert (await kernel.context(LOCAL).require("memory:write", "own")).allowed
