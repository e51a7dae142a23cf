"""What the policy says of a script before it runs, and why after it was refused something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from script_house import ADA, ADMIN, ScriptHouse, script_house

from kernel import Caller, Denied

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY = """
[capabilities.allow]
"user:ada" = ["fs:read", "plugin:manage:tea", "plugin:call:tea.*"]
"script:inline/may.aether" = ["plugin:manage"]
"plugin:tea" = ["script:run", "job:*:own"]
"user:watcher" = ["job:*:own"]
"user:poor" = ["script:run", "script:check", "job:*:own", "memory:read:own"]

[capabilities.deny]
"script:inline/no_memory.aether" = ["memory:*"]
"""
POOR = Caller("user:poor")
TEA = '''
"""Starts scripts for whoever calls."""
from kernel import Context, Plugin

tea = Plugin("tea", version="1.0.0", capabilities=["script:run", "job:read:own"])

@tea.function("launch", effect="irreversible")
async def launch(ctx: Context, source: str) -> str:
    """Start a script."""
    return (await ctx.service("scripts").submit(source=source))["id"]
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    home: Path = tmp_path_factory.mktemp("foresight")
    async with script_house(home, policy=POLICY, plugins={"tea": TEA}) as house:
        yield house


async def rows(house: ScriptHouse) -> int:
    """Return how many jobs there are."""
    found: dict[str, Any] = await house.service("executions", ADMIN).stats()
    return int(found["total"])


async def test_a_run_that_would_surely_be_denied_is_refused_before_a_row_is_written(house: ScriptHouse) -> None:
    before = await rows(house)
    with pytest.raises(Denied) as refused:
        await house.submit('log "hi"\nload_plugin("tea")')
    assert refused.value.details == {
        "capability": "plugin:manage",
        "chain": "user:ada → script:inline/script.aether",
        "reason": 'no rule allows plugin:manage for user:ada; if it should, add "user:ada" = ["plugin:manage"] to '
        "[capabilities.allow] in default.toml",
        "source": "",
        "hint": "aether policy explain user:ada plugin:manage --through script:inline/script.aether",
    }
    assert await rows(house) == before
    assert house.kernel.gate.denials[-1].capability == "plugin:manage"


async def test_the_rule_that_denies_it_is_named_with_its_line(house: ScriptHouse) -> None:
    with pytest.raises(Denied) as refused:
        await house.submit('remember("x")', script_name="no_memory")
    lines = (house.home / "policies" / "tests.toml").read_text().splitlines()
    file, _, line = refused.value.details["source"].partition(":")
    assert (file, lines[int(line) - 1]) == ("tests.toml", '"script:inline/no_memory.aether" = ["memory:*"]')


@pytest.mark.parametrize(
    "source",
    [
        'try { load_plugin("tea") } catch e { return e.message }',
        'if parameters.x { load_plugin("tea") }\nreturn "missing capability: plugin:manage"',
        'fn load_plugin(x) { return "missing capability: plugin:manage" }\nreturn load_plugin("tea")',
    ],
)
async def test_a_run_that_may_end_well_without_the_right_is_accepted(house: ScriptHouse, source: str) -> None:
    assert await house.result(source) == "missing capability: plugin:manage"


async def test_what_both_have_is_accepted(house: ScriptHouse) -> None:
    row = await house.submit('load_plugin("nobody")', ADMIN, script_name="may")
    assert (await house.ended(row))["error"]["type"] == "PluginError"


async def test_a_token_without_the_scope_refuses_it_too(house: ScriptHouse) -> None:
    scoped = Caller("user:ada", ("role:user",), ("script:run", "job:*:own"))
    with pytest.raises(Denied, match="the token of user:ada does not have the scope memory:write:own") as refused:
        await house.submit('remember("x")', scoped)
    assert refused.value.details["hint"].endswith("--with 'scope=job:*:own'")


async def test_whoever_stands_between_counts(house: ScriptHouse) -> None:
    ctx = house.kernel.context(ADA)
    with pytest.raises(Denied, match="user:ada → plugin:tea → script:inline/script.aether may not goal:read:own"):
        await ctx.call("tea.launch", "get_all_goals()")


async def test_a_source_that_cannot_be_compiled_is_accepted_and_its_job_says_why(house: ScriptHouse) -> None:
    assert (await house.error("let x = (1"))["code"] == "SCRIPT_SYNTAX"


async def test_who_may_not_run_it_is_refused_before_it_is_looked_at(house: ScriptHouse) -> None:
    asked = (await house.service("scripts", ADMIN).stats())["compiled"]
    with pytest.raises(Denied, match="script:run:inline/script.aether"):
        await house.submit('log "never looked at"', Caller("user:watcher"))
    assert (await house.service("scripts", ADMIN).stats())["compiled"] == asked


async def test_a_jobs_error_says_why_and_the_script_only_which_right(house: ScriptHouse) -> None:
    call = 'if true { load_plugin("tea") }'
    error = await house.error(call)
    assert error["message"] == "missing capability: plugin:manage"
    assert error["data"]["chain"] == "user:ada → script:inline/script.aether"
    assert error["data"]["reason"].startswith("no rule allows plugin:manage for user:ada; if it should")
    assert error["data"]["hint"] == "aether policy explain user:ada plugin:manage --through script:inline/script.aether"
    assert (await house.caught('load_plugin("tea")'))["data"] == {"capability": "plugin:manage"}


async def test_a_right_that_a_script_makes_up_has_no_reason(house: ScriptHouse) -> None:
    error = await house.error('throw new Error("PermissionError")')
    assert "reason" not in (error.get("data") or {})


async def answers(house: ScriptHouse, source: str, caller: Caller = ADA, **given: Any) -> dict[str, str]:
    checked = await house.service("scripts", caller).check(source=source, **given)
    return {one["capability"]: one["answer"] for one in checked["reach"]}


async def test_a_check_says_of_everything_in_reach_what_the_policy_will_say(house: ScriptHouse) -> None:
    source = 'remember("x")\nemit("tea", {})\nif true { load_plugin("tea") }\ntea.brew()\nread_file("x")'
    found = await answers(house, source)
    assert found == {
        "event.emit": "depends",  # user.*, by role:user and script:*
        "fs.read": "no",  # denied to everybody
        "memory.write": "yes",
        "plugin.call": "yes",
        "plugin.manage": "no",  # for one name only, and not for the script
    }
    assert (await answers(house, source, name="may"))["plugin.manage"] == "no", "load_plugin asks for the whole"
    assert (await answers(house, source, ADMIN, name="may"))["plugin.manage"] == "yes"


async def test_a_check_for_somebody_else_takes_the_right_to_read_the_policy(house: ScriptHouse) -> None:
    source = 'recall_tagged("x")\nload_plugin("tea")'
    assert await answers(house, source, POOR) == {"memory.read": "yes", "plugin.manage": "no"}
    with pytest.raises(Denied, match="user:poor .*may not policy:read"):
        await answers(house, source, POOR, principal="user:local")
    assert (await answers(house, source, principal="core:console", name="may"))["plugin.manage"] == "yes"


async def test_what_is_certain_has_its_line(house: ScriptHouse) -> None:
    checked = await house.service("scripts").check(source='log "x"\nload_plugin("tea")\nif true { remember("x") }')
    found = {one["capability"]: (one["certain"], one["line"]) for one in checked["reach"]}
    assert found["plugin.manage"] == (True, 2)
    assert found["memory.write"] == (False, None)
