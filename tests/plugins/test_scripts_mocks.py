"""Runs in a hub whose policy takes mocks or fixes chance and time: they read what is there, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from script_house import ScriptHouse, script_house

from kernel import Caller
from kernel.testing import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

POT = '''
from kernel import Context, Plugin

pot = Plugin("pot", version="1.0.0", description="pours")
poured: list[int] = []

@pot.function("pour")
async def pour(ctx: Context, cups: int) -> dict[str, int]:
    """Pour, for good."""
    poured.append(cups)
    await ctx.publish("pot.poured", {"cups": cups})
    return {"cups": cups}

@pot.function("level")
async def level(ctx: Context) -> int:
    """Tell."""
    return 77
'''
MOCKED = "policy:\n  mock_io: true\n"
FIXED = "policy:\n  deterministic: true\n  mock_io: true\n"
DRAW = "let id = remember(1)\nreturn [random(), generate_uuid(), id, now() - now(), random_int(1, 1000000)]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    policy = (
        '[capabilities.allow]\n"plugin:pot" = ["event:emit:pot.*"]\n'
        '[capabilities.deny]\n"script:inline/no_memory.aether" = ["memory:*"]\n'
    )
    async with script_house(tmp_path_factory.mktemp("mocks"), plugins={"pot": POT}, policy=policy) as house:
        yield house


async def test_memory_and_goals_are_read_as_they_are_and_written_to_a_copy(house: ScriptHouse) -> None:
    bob = Caller("user:bob", ("role:user",))
    await house.result('store_memory({ id: "pot", content: "blue", type: "pot" })\nset_goal("Drink tea")', bob)
    source = (
        f'{MOCKED}update_memory("pot", {{ content: "red" }})\nlet id = remember("new tea", as="tea")\n'
        'update_goal({ id: get_all_goals()[0].id, status: "completed" })\n'
        'recall "tea"\nlet found = $last_output.map(e => e.content)\nlet all = search_memory({ sort_by: "content" })\n'
        "return [all.map(e => e.content), memory.count(), count_active_goals(), found]"
    )
    assert await house.result(source, bob) == [["new tea", "red"], 2, 0, ["new tea"]]
    kept = "return [search_memory({}).map(e => e.content), count_active_goals()]"
    assert await house.result(kept, bob) == [["blue"], 1]


async def test_a_plugin_is_not_called_and_answers_by_the_type_of_its_result(house: ScriptHouse) -> None:
    told = Recording(house.kernel.bus)
    source = (
        f'{MOCKED}notify(user: "ada", content: "tea")\nemit("brewed", 3)\n'
        'let poured = run_plugin("pot.pour", cups=3)\n'
        'return [poured, run_plugin("pot.level"), plugin_exists("pot"), has_method("pot", "x")]'
    )
    assert await house.result(source) == [{}, 0, True, False]
    assert [topic for topic in told.topics if topic.partition(".")[0] in ("pot", "ui", "user")] == []


async def test_what_simulate_says_would_happen_does_not(house: ScriptHouse) -> None:
    source = (
        'simulate tea {\n  remember("tea")\n  alert("hot")\n}\n'
        "return [$last_output.map(e => e.operation), memory.count()]"
    )
    assert await house.result(source, Caller("user:cyd", ("role:user",))) == [["memory.remember", "ui.alert"], 0]


async def test_a_mock_gives_no_right_to_read(house: ScriptHouse) -> None:
    error = await house.error(f"{MOCKED}if true {{ return search_memory({{}}) }}", script_name="no_memory.aether")
    assert (error["type"], error["data"]["capability"]) == ("PermissionError", "memory:read:own")


async def test_the_seed_makes_runs_the_same_and_without_one_each_job_has_its_own(house: ScriptHouse) -> None:
    seeded = FIXED.replace("mock_io", "seed: 7\n  mock_io")
    one, two = [await house.result(seeded + DRAW) for _ in range(2)]
    assert one == two
    assert one[3] == pytest.approx(-0.001, abs=1e-6)
    assert (await house.result(FIXED + DRAW))[0] != (await house.result(FIXED + DRAW))[0]
