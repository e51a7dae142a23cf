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


USERS = '''
"""Keeps accounts, as far as this test needs them."""
from kernel import Context, NotFound, Plugin, needs

users = Plugin("users", version="1.0.0", description="Keeps accounts.")

@users.service("users")
class Users:
    """The accounts."""

    @needs("plugin:read")
    async def roles_of(self, ctx: Context, name: str) -> list[str]:
        """Return the roles of an account."""
        if name != "ada":
            raise NotFound(f"there is no account {name}")
        return ["admin", "role:user"]
'''


async def test_it_explains_with_the_roles_that_accounts_have(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, plugins={"users": USERS}, bundled=["security"]) as kernel:
        found = await policy(kernel).explain(principal="user:ada", capability="plugin:manage")
        assert (found["allowed"], found["roles"], found["notes"]) == (True, ["role:admin", "role:user"], [])
        unknown = await policy(kernel).explain(principal="user:bob", capability="plugin:manage")
        assert (unknown["allowed"], unknown["roles"]) == (False, [])
        assert unknown["notes"][0].startswith("there is no account user:bob")


async def test_it_explains_to_whoever_may_read_the_policy_and_the_live_one_stays_as_it_is(kernel: Kernel) -> None:
    asked = {"principal": "user:local", "capability": "plugin:manage", "through": ["script:a"]}
    found = await policy(kernel, LOCAL).explain(**asked)
    assert [one["member"] for one in found["members"]] == ["user:local", "script:a"]
    assert found["roles"] == ["role:user"]
    assert found["command"] == "aether policy explain user:local plugin:manage --through script:a"
    tries = [change["try_with"] for change in found["proposal"]["changes"]]
    assert (await policy(kernel, LOCAL).explain(**asked, supposed=tries))["allowed"]
    assert not (await policy(kernel, LOCAL).explain(**asked))["allowed"]
    with pytest.raises(Denied, match="policy:read"):
        await policy(kernel, Caller("anonymous")).explain(**asked)
    with pytest.raises(BadInput, match="did you mean 'user'"):
        await policy(kernel, LOCAL).explain(principal="usr:x", capability="memory:read")


async def test_without_accounts_a_user_is_judged_without_roles_and_that_is_said(kernel: Kernel) -> None:
    found = await policy(kernel).explain(principal="user:ada", capability="memory:read:own")
    assert not found["allowed"]
    assert "no plugin keeps accounts" in found["notes"][0]


async def test_the_files_in_force_are_for_the_admin_and_stay_when_the_folder_is_broken(kernel: Kernel) -> None:
    before = await policy(kernel).files()
    assert set(before["files"]) == {"default.toml"}
    edit(kernel, "strict_mode", "strikt_mode")
    with pytest.raises(BadInput):
        await policy(kernel).reload()
    assert await policy(kernel).files() == before
    with pytest.raises(Denied):
        await policy(kernel, LOCAL).files()


async def test_what_is_foreseen_of_a_right_without_an_object(kernel: Kernel) -> None:
    rights = ["event:emit", "plugin:call", "plugin:manage", "fs:read", "memory:raed"]
    found = await policy(kernel).outlook(rights=rights, principal="user:local", through=["script:a"])
    assert [one["answer"] for one in found] == ["depends", "yes", "no", "no", "no"]
    agent = await policy(kernel).outlook(rights=["event:emit"], principal="agent:a")
    assert agent[0]["answer"] == "no"
    scoped = {"principal": "user:local", "roles": ["role:user"]}
    for scope, answer in (("event:emit:user.x", "depends"), ("memory:read", "no")):
        found = await policy(kernel).outlook(rights=["event:emit"], scopes=[scope], **scoped)
        assert found[0]["answer"] == answer


async def test_a_denial_carries_its_reason_and_the_command_that_explains_it(kernel: Kernel) -> None:
    with pytest.raises(Denied) as caught:
        await kernel.context(LOCAL).call("probe.try_right", "fs:read:docs")
    assert caught.value.details == {
        "capability": "fs:read:docs",
        "chain": "user:local",
        "reason": 'deny "*" = "fs:*" denies it to user:local; [overrides] lifts it, for an exact principal only',
        "source": caught.value.details["source"],
        "hint": "aether policy explain user:local fs:read:docs",
    }
    file, _, line = caught.value.details["source"].partition(":")
    assert '"fs:*"' in (main_file(kernel).parent / file).read_text().splitlines()[int(line) - 1]
