"""Effects of scripts in a hub: transactions, own policies, requirements, narrowing, kept state (sections 11 and 12)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from script_house import ADA, ADMIN, BUNDLED, ScriptHouse, script_house

from kernel import Caller, Conflict, NotFound
from kernel.testing import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

INN = '''
"""Books rooms, and takes a booking back."""
import asyncio
from typing import Any

from kernel import Context, Overloaded, Plugin

inn = Plugin("inn", version="1.4.0", description="books")
booked: list[str] = []
tries: dict[str, int] = {}
here: list[int] = []
arrived = asyncio.Event()

@inn.function("book", effect="compensable", undo="leave")
async def book(ctx: Context, name: str) -> str:
    """Book a room."""
    booked.append(name)
    return name

@inn.function("leave")
async def leave(ctx: Context, name: str) -> None:
    """Take a booking back."""
    booked.remove(name)

@inn.function("guests", effect="read")
async def guests(ctx: Context) -> list[str]:
    """Who has a room."""
    return list(booked)

@inn.function("ring")
async def ring(ctx: Context) -> str:
    """Ring the bell."""
    return "ding"

@inn.function("busy", effect="read")
async def busy(ctx: Context, name: str, times: int) -> Any:
    """Be overloaded as often as asked, then tell how often it was tried and under which key."""
    tries[name] = tries.get(name, 0) + 1
    if tries[name] <= times:
        raise Overloaded("all rooms are being cleaned")
    return [tries[name], ctx.effect_key]

@inn.function("meet", effect="read")
async def meet(ctx: Context, guests: int) -> int:
    """Come back once so many are here at the same time."""
    here.append(1)
    while len(here) < guests:
        await arrived.wait()
    arrived.set()
    return len(here)

@inn.function("slow", effect="read")
async def slow(ctx: Context, seconds: float) -> str:
    """Take its time."""
    await asyncio.sleep(seconds)
    return "done"
'''


COUNTING = """
plugin counter {
  persist: true
  state: { runs: 0 }
  on_run {
    state.runs += 1
    if parameters.fail { throw "no" }
    return state.runs
  }
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    home: Path = tmp_path_factory.mktemp("effects")
    scripts = {"counting.aether": COUNTING}
    async with script_house(
        home,
        plugins={"inn": INN},
        scripts=scripts,
        bundled=(*BUNDLED, "audit"),
        overrides={"plugins.scripts.export_data_class": "internal"},
    ) as house:
        yield house


async def kept(house: ScriptHouse, tag: str) -> list[Any]:
    found = await house.service("memory").search({"tags_include": [tag]})
    return [entry["content"] for entry in found]


# Transactions ----------------------------------------------------------------------------------------------------


async def test_a_transaction_commits_what_it_staged_and_then_tells_what_it_deferred(house: ScriptHouse) -> None:
    source = """
transaction {
  remember("room one") as "ledger"
  notify(team: "desk", content: "one more")
  inside = search_memory({ tags_include: ["ledger"] }).length
  emit "booked" with { room: 1 }
}
return [inside, $transaction.effects]
"""
    with Recording(house.kernel.bus, "ui.notified") as told:
        assert await house.result(source) == [1, 3]
        await told.wait_for("ui.notified", 1)
    assert await kept(house, "ledger") == ["room one"]


async def test_an_error_discards_what_was_staged_and_compensates_the_rest(house: ScriptHouse) -> None:
    source = """
seen = null
try {
  transaction {
    remember("room two") as "discarded"
    inn.book("ada")
    seen = [inn.guests(), search_memory({ tags_include: ["discarded"] }).length]
    throw "the roof leaks"
  }
} catch e { }
return [seen, inn.guests(), search_memory({ tags_include: ["discarded"] }).length]
"""
    found = await house.result(source)
    assert found == [[["ada"], 1], [], 0]
    assert await kept(house, "discarded") == []


async def test_what_cannot_be_taken_back_is_refused_before_it_happens(house: ScriptHouse) -> None:
    found = await house.error("transaction {\n  inn.ring()\n}")
    assert (found["type"], "inn.ring" in found["message"]) == ("TransactionError", True)


async def test_a_commit_can_be_taken_back_until_the_job_ends(house: ScriptHouse) -> None:
    source = """
store_memory({ id: "sign", content: "open", tags: ["sign"] })
let goal = set_goal("keep the inn full")
transaction {
  update_memory("sign", { content: "closed" })
  remember("a note") as "undone"
  set_goal("repair the roof")
  inn.book("bob")
}
let during = [get_memory("sign").content, search_memory({ tags_include: ["undone"] }).length, count_active_goals()]
let undone = rollback($transaction.token)
return [during, undone, rollback($transaction.token), get_memory("sign").content,
        search_memory({ tags_include: ["undone"] }).length, count_active_goals(), inn.guests()]
"""
    assert await house.result(source) == [["closed", 1, 2], True, False, "open", 0, 1, []]


async def test_a_right_that_is_missing_is_asked_for_inside_the_block(house: ScriptHouse) -> None:
    source = 'transaction {\n  schedule_daily_task("x", "06:00")\n  after = true\n}'
    found = await house.error(source)
    assert found["type"] in ("PermissionError", "HostError")
    assert found["line"] == 2


async def test_a_cancelled_script_leaves_nothing_of_its_transaction(house: ScriptHouse) -> None:
    source = 'transaction {\n  remember("x") as "cancelled"\n  log "here"\n  while true { }\n}'
    async with house.begun(source) as row:
        await house.service("executions").cancel(row["id"])
        assert (await house.ended(row))["state"] == "cancelled"
    assert await kept(house, "cancelled") == []


async def test_a_script_whose_policy_rolls_back_is_one_transaction(house: ScriptHouse) -> None:
    source = 'policy:\n  on_error: "rollback"\nremember("x") as "whole"\ninn.book("eve")\n'
    assert (await house.error(source + 'throw "no"'))["message"] == "no"
    assert await house.result("return inn.guests()") == []
    assert await kept(house, "whole") == []
    assert await house.result(source + "return inn.guests()") == ["eve"]
    assert await kept(house, "whole") == ["x"]
    await house.result('inn.leave("eve")')


# Branches --------------------------------------------------------------------------------------------------------


async def test_calls_of_branches_overlap_in_a_hub(house: ScriptHouse) -> None:
    branches = "".join(f"  b{n}: inn.meet(4)\n" for n in range(4))
    assert await house.result(f"parallel:\n{branches}await b0, b1, b2, b3\nreturn [b0, b3]") == [4, 4]


# The script's own policy -----------------------------------------------------------------------------------------


async def test_a_retryable_call_is_tried_again_as_often_as_the_policy_says_under_one_key(house: ScriptHouse) -> None:
    tries, key = await house.result("policy:\n  max_retries: 2\nreturn inn.busy('retried', 2)")
    assert tries == 3
    assert key.endswith(":0:1")
    found = await house.error("policy:\n  max_retries: 1\nreturn inn.busy('given up', 5)")
    assert (found["type"], found["message"]) == ("PluginError", "all rooms are being cleaned")


async def test_a_call_that_takes_longer_than_the_policy_says_is_a_timeout(house: ScriptHouse) -> None:
    found = await house.result(
        'policy:\n  timeout_default: "50ms"\n'
        "try { inn.slow(30) } catch e { return [e.type, e.retryable, e.data.value] }"
    )
    assert found == ["Timeout", True, 0.05]


async def test_a_risk_budget_ends_the_script_when_it_is_used_up(house: ScriptHouse) -> None:
    source = """
policy:
  risk_budget: 0.12
remember("a") as "risk"
remember("b") as "risk"
try { remember("c") as "risk" } catch e { return 1 }
"""
    found = await house.error(source)
    assert (found["type"], found["code"], found["data"]["budget"]) == ("BudgetError", "BUDGET_EXCEEDED", 0.12)
    assert await kept(house, "risk") == ["a", "b"]


async def test_data_of_a_higher_class_than_the_hub_lets_go_stays(house: ScriptHouse) -> None:
    with Recording(house.kernel.bus, "ui.notified") as told:
        await house.result('notify(team: "desk", content: "x")')
        assert (await told.wait_for("ui.notified", 1)).data["data_class"] == "internal"
    found = await house.error('policy:\n  data_class: "confidential"\nnotify(team: "desk", content: "x")')
    assert found["type"] == "PermissionError"
    assert "export_data_class" in found["message"]


# Requirements ----------------------------------------------------------------------------------------------------


async def test_everything_that_is_required_is_looked_for_before_the_first_statement(house: ScriptHouse) -> None:
    source = """
remember("x") as "required"
require:
  plugins: ["inn>=1.2,<2", "inn>=2", "cellar"]
  capabilities: [memory.read, plugin.manage]
  agents: [planner]
"""
    found = await house.error(source)
    assert found["type"] == "RequirementError"
    for part in ("inn>=2 (installed is 1.4.0)", "cellar (not installed)", "plugin.manage", "planner (no loaded plugin"):
        assert part in found["message"], part
    assert "inn>=1.2" not in found["message"]
    assert await kept(house, "required") == []


async def test_a_script_runs_when_everything_it_requires_is_there(house: ScriptHouse) -> None:
    assert await house.result('require:\n  plugins: ["inn~=1.4"]\n  capabilities: [memory.read]\nreturn 1') == 1


# Plugin blocks ---------------------------------------------------------------------------------------------------


async def test_a_breach_of_memory_access_is_told_and_on_record_and_strict_refuses_it(house: ScriptHouse) -> None:
    block = "plugin diary {\n  memory_access: write-only\n  fn last() { return search_memory({ limit: 1 }) }\n}\n"
    row = await house.submit(block + "return diary.last()")
    assert (await house.ended(row))["state"] == "completed"
    logged = await house.history(row, "job.log")
    assert any("AW306" in entry["data"]["message"] for entry in logged)
    with closing(sqlite3.connect(house.home / "aetherra.db")) as connection:
        rows = connection.execute("SELECT record FROM audit__records WHERE action = 'script.breach'").fetchall()
    assert ["diary" in record for (record,) in rows] == [True]
    found = await house.error("policy:\n  strict: true\n" + block + "return diary.last()")
    assert found["type"] == "PermissionError"


async def test_state_that_persists_is_there_in_the_next_run_of_the_same_user(house: ScriptHouse) -> None:
    async def runs(**given: Any) -> Any:
        final = await house.ended(await house.submit(script_name="counting.aether", **given))
        return final["result"] if final["state"] == "completed" else final["error"]["type"]

    assert [await runs(), await runs()] == [1, 2]
    assert await runs(parameters={"fail": True}) == "UserError"
    assert await runs() == 3
    assert await house.ended(await house.submit(script_name="counting.aether", caller=ADMIN)) is not None
    final = await house.ended(await house.submit(script_name="counting.aether", caller=ADMIN))
    assert final["result"] == 2


async def test_a_contract_is_kept_at_every_call(house: ScriptHouse) -> None:
    contract = """
plugin_contract:
  id: inn
  version: ">=1.0"
  input_schema: { type: "object", properties: { seconds: { type: "number", maximum: 1 } } }
  output_schema: { type: "string", enum: ["done"] }
  timeout: "100ms"
"""
    assert await house.result(contract + "return inn.slow(0)") == "done"
    assert (await house.error(contract + "return inn.slow(5)"))["type"] == "ContractError"
    assert (await house.error(contract + "return inn.slow(1)"))["type"] == "Timeout"
    found = await house.error(contract + "return inn.ring()")
    assert (found["type"], found["data"]["side"], found["data"]["pointer"]) == ("ContractError", "output", "/")


async def test_ada_has_nothing_left_over(house: ScriptHouse) -> None:
    assert await house.result("return inn.guests()", ADA) == []


# What a run asks people ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("approved", [True, False])
async def test_a_run_waits_for_a_decision_and_gets_it(house: ScriptHouse, approved: bool) -> None:
    with Recording(house.kernel.bus, "ui.notified") as told:
        row = await house.submit('await approval "open the cellar?" -> yes\nreturn yes')
        question = (await told.wait_for("ui.notified", 1)).data
    assert (question["content"], question["level"], question["user"]) == ("open the cellar?", "question", "user:ada")
    decided = await house.service("scripts").decide(id=row["id"], approved=approved)
    assert decided == {"question": "1", "text": "open the cellar?", "approved": approved}
    assert (await house.ended(row))["result"] is approved
    assert [entry["data"]["by"] for entry in await house.history(row, "job.decided")] == ["user:ada"]


async def test_nobody_decides_in_time_and_the_run_is_told(house: ScriptHouse) -> None:
    source = 'try { await approval "open the cellar?" for 0.05 } catch e { return [e.type, e.data.text] }'
    assert await house.result(source) == ["Timeout", "open the cellar?"]


async def test_several_questions_are_told_apart(house: ScriptHouse) -> None:
    source = """
fn asked(text) {
  await approval "{text}?" -> yes
  return yes
}
parallel:
  a: asked("the cellar")
  b: asked("the roof")
return [a, b]
"""
    with Recording(house.kernel.bus, "ui.notified") as told:
        row = await house.submit(source)
        await told.wait_for("ui.notified", 2)
    scripts = house.service("scripts")
    with pytest.raises(Conflict, match="several things") as several:
        await scripts.decide(id=row["id"])
    open_ones = {one["text"]: one["question"] for one in several.value.details["open"]}
    await scripts.decide(id=row["id"], approved=False, question=open_ones["the roof?"])
    with pytest.raises(NotFound, match="no open question"):
        await scripts.decide(id=row["id"], question=open_ones["the roof?"])
    await scripts.decide(id=row["id"])
    assert (await house.ended(row))["result"] == [True, False]
    with pytest.raises(Conflict, match="asks nothing"):
        await scripts.decide(id=row["id"])


async def test_somebody_elses_question_is_none_of_ours(house: ScriptHouse) -> None:
    with Recording(house.kernel.bus, "ui.notified") as told:
        row = await house.submit('await approval "open the cellar?" -> yes\nreturn yes')
        await told.wait_for("ui.notified", 1)
    with pytest.raises(NotFound):
        await house.service("scripts", Caller("user:eve", ("role:user",))).decide(id=row["id"])
    await house.service("scripts", ADMIN).decide(id=row["id"])
    assert (await house.ended(row))["result"] is True
