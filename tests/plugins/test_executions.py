"""The one life cycle: what is accepted is kept, ends once, and survives a reload, a restart and a stop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel import BadInput, Caller, Conflict, Kernel, NotFound, Overloaded, ServiceUnavailable, TooLarge
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

RUNNER = '''
"""Runs what its input says: `complete`, `fail`, `refuse`, or `hold` until it is told."""
from typing import Any

from kernel import BadInput, Context, Event, Plugin, needs

stage = Plugin("stage", version="1.0.0")
held: dict[str, Any] = {}
own: list[Context] = []

@stage.lifespan
async def lifespan(ctx: Context) -> Any:
    own.append(ctx)
    yield

@stage.service("runner.script")
class Runner:
    @needs("system:admin")
    async def start(self, ctx: Context, execution: dict[str, Any]) -> dict[str, Any]:
        do = execution["input"].get("do", "complete")
        if do == "refuse":
            raise BadInput("this cannot be run", code="NO_GOOD")
        held[execution["id"]] = execution
        await ctx.publish("stage.began", {"job_id": execution["id"], "caller": execution["caller"]})
        if do != "hold":
            await end(execution["id"], "completed" if do == "complete" else "failed", execution["input"].get("value"))
        return {"wall_s": execution["input"].get("wall_s")}

    @needs("system:admin")
    async def stop(self, ctx: Context, execution: str) -> None:
        if execution in held:
            await end(execution, "cancelled", None)

async def end(id: str, how: str, value: Any) -> None:
    execution = held.pop(id)
    handle = own[0].service("executions")
    if value is not None and how == "completed":
        await handle.report(id, execution["attempt"], [{"topic": "job.log", "data": {"message": str(value)}}])
    error = {"code": "BROKEN", "message": "it broke"} if how == "failed" else None
    await handle.finish(id, execution["attempt"], how, value if how == "completed" else None, error)

@stage.on("go.now")
async def go(ctx: Context, event: Event) -> None:
    await end(event.data["job_id"], "completed", event.data.get("value"))

@stage.export_state
def export_state() -> dict[str, Any]:
    return dict(held)

@stage.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    held.update(state)
'''

POLICY = '''
"""Core and admins may do everything, users what is their own, and start scripts."""
from kernel import Chain, Decision, Plugin

rules = Plugin("rules", version="1.0.0")
OWN = {"job:read:own", "job:cancel:own"}

@rules.decider
def decide(chain: Chain, capability: str) -> Decision:
    caller = chain.caller
    free = caller.id.startswith("core:") or caller.id == "plugin:stage" or "admin" in caller.roles
    yes = free or capability in OWN or capability.startswith("script:run")
    return Decision(yes, "the rules of this test", effect="free")
'''

ADA = Caller("user:ada", ("user",))
BOB = Caller("user:bob", ("user",))
ROOT = Caller("core:console", ("admin",))


@asynccontextmanager
async def house(
    home: Path, *, rules: str = POLICY, plugins: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Kernel]:
    given = {"rules": rules, "stage": RUNNER} if rules is POLICY else {"allow_all": rules, "stage": RUNNER}
    bundled = {"executions"}
    async with running_kernel(home, plugins={**given, **(plugins or {})}, bundled=bundled, **options) as kernel:
        assert kernel.modules.get("executions").status == "active", kernel.modules.get("executions").reason
        yield kernel


def service(kernel: Kernel, caller: Caller = ADA, key: str | None = None) -> Any:
    return kernel.context(caller, idempotency_key=key).service("executions")


async def submit(kernel: Kernel, do: str, caller: Caller = ADA, **options: Any) -> dict[str, Any]:
    given = {"do": do, **options.pop("input", {})}
    row: dict[str, Any] = await service(kernel, caller).submit("script", "a.aether", given, **options)
    return row


async def ended(kernel: Kernel, row: dict[str, Any], caller: Caller = ADA) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            try:
                async for final in service(kernel, caller).watch(row["id"]):
                    return dict(final)
            except Overloaded as replaced:
                if replaced.code != "GENERATION_ENDED":
                    raise


async def test_a_submitted_execution_is_committed_runs_and_completes(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        row = await submit(kernel, "complete", input={"value": 42})
        assert row["state"] == "pending"
        assert row["replayed"] is False
        final = await ended(kernel, row)
    assert final["state"] == "completed"
    assert final["result"] == 42
    assert final["attempt"] == 1
    assert final["created_at"] <= final["started_at"] <= final["completed_at"]


async def test_events_tell_the_life_of_a_job_in_order_and_name_it(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "job.#") as heard:
            row = await submit(kernel, "complete", input={"value": "x"})
            await heard.wait_for("job.completed")
        assert heard.topics == ["job.created", "job.started", "job.log", "job.completed"]
        assert {event.data["job_id"] for event in heard.events} == {row["id"]}
        assert heard.events[-1].data["result"] == "x"


async def test_history_and_live_events_together_tell_everything_once(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        row = await submit(kernel, "hold")
        with Recording(kernel.bus, "stage.began") as began, Recording(kernel.bus, "job.#") as heard:
            if kernel.bus.since(0, "stage.began")[0] == []:
                await began.wait_for("stage.began")
            past = await service(kernel).history(row["id"])
            live, gap = kernel.bus.since(past["position"], "job.#")
            assert not gap
            await kernel.bus.publish("go.now", {"job_id": row["id"], "value": 1})
            await heard.wait_for("job.completed")
        late = [event.data["n"] for event in kernel.bus.since(past["position"], "job.#")[0]]
    told = [entry["data"]["n"] for entry in past["entries"]] + late
    assert told == sorted(set(told))
    assert len(told) == 4
    assert len(live) <= 2


async def test_a_failing_run_keeps_its_error_with_a_code(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        final = await ended(kernel, await submit(kernel, "fail"))
        refused = await ended(kernel, await submit(kernel, "refuse"))
    assert final["state"] == "failed"
    assert final["error"]["code"] == "BROKEN"
    assert refused["state"] == "failed"
    assert refused["error"] == {"code": "NO_GOOD", "message": "this cannot be run"}


async def test_the_same_key_returns_the_first_execution_and_another_body_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        handle = service(kernel, key="k1")
        first = await handle.submit("script", "a.aether", {"do": "complete"})
        again = await handle.submit("script", "a.aether", {"do": "complete"})
        assert again["id"] == first["id"]
        assert again["replayed"] is True
        with pytest.raises(Conflict) as refused:
            await handle.submit("script", "a.aether", {"do": "fail"})
        assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"
        other = await service(kernel, BOB, key="k1").submit("script", "a.aether", {"do": "fail"})
        assert other["id"] != first["id"]


async def test_a_key_that_is_sent_again_while_its_execution_begins_leaves_that_to_be_stopped(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        for number in range(20):
            handle = service(kernel, key=f"k{number}")
            rows = await asyncio.gather(*(handle.submit("script", "a.aether", {"do": "hold"}) for _ in range(3)))
            assert len({row["id"] for row in rows}) == 1
            await handle.cancel(rows[0]["id"])
            assert (await ended(kernel, rows[0]))["state"] == "cancelled"


async def test_a_key_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock=clock) as kernel:
        handle = service(kernel, key="k1")
        first = await handle.submit("script", "a.aether", {"do": "complete"})
        clock.jump_wall(24 * 3600 + 1)
        later = await handle.submit("script", "a.aether", {"do": "fail"})
        assert later["id"] != first["id"]


async def test_the_same_key_survives_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        first = await service(kernel, key="k1").submit("script", "a.aether", {"do": "complete"})
    async with house(tmp_path) as kernel:
        again = await service(kernel, key="k1").submit("script", "a.aether", {"do": "complete"})
    assert again["id"] == first["id"]
    assert again["replayed"] is True


async def test_cancelling_what_waits_is_at_once_and_it_never_begins(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        kernel.scheduler.set_limit("normal_priority", 0)
        row = await submit(kernel, "complete")
        cancelled = await service(kernel).cancel(row["id"])
        assert cancelled["state"] == "cancelled"
        assert cancelled["error"]["code"] == "CANCELLED"
        kernel.scheduler.set_limit("normal_priority", 4)
        other = await ended(kernel, await submit(kernel, "complete"))
        assert other["state"] == "completed"
        assert (await service(kernel).get(row["id"]))["attempt"] == 0


async def test_cancelling_what_runs_stops_it(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "stage.began") as began:
            row = await submit(kernel, "hold")
            await began.wait_for("stage.began")
            await service(kernel).cancel(row["id"])
        final = await ended(kernel, row)
    assert final["state"] == "cancelled"
    assert final["cancel_requested_at"] is not None
    assert final["result"] is None


async def test_after_an_accepted_cancellation_a_run_cannot_complete(tmp_path: Path) -> None:
    deaf = RUNNER.replace('await end(execution, "cancelled", None)', "pass")
    async with house(tmp_path, plugins={"stage": deaf}) as kernel:
        with Recording(kernel.bus, "stage.began") as began:
            row = await submit(kernel, "hold")
            await began.wait_for("stage.began")
        await service(kernel).cancel(row["id"])
        await kernel.bus.publish("go.now", {"job_id": row["id"], "value": 1})
        final = await ended(kernel, row)
    assert final["state"] == "cancelled"
    assert final["result"] is None


async def test_cancelling_what_is_over_says_so(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        row = await submit(kernel, "complete")
        await ended(kernel, row)
        with pytest.raises(Conflict, match="completed already") as refused:
            await service(kernel).cancel(row["id"])
        assert refused.value.code == "JOB_FINISHED"


async def test_an_unknown_id_and_a_foreign_one_look_the_same(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        row = await submit(kernel, "complete")
        await ended(kernel, row)
        bob = service(kernel, BOB)
        for call in (bob.get, bob.cancel, bob.history):
            for execution in (row["id"], "3f0e8c1a-0000-4000-8000-000000000000", "' OR 1=1 --"):
                with pytest.raises(NotFound) as refused:
                    await call(execution)
                assert refused.value.code == "JOB_NOT_FOUND"
        assert (await bob.list())["executions"] == []
        assert (await service(kernel, ROOT).get(row["id"]))["owner"] == "user:ada"


async def test_another_kind_is_not_found_under_this_one(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        row = await submit(kernel, "complete")
        with pytest.raises(NotFound):
            await service(kernel).get(row["id"], kind="agent")


async def test_lists_are_newest_first_paged_and_filtered(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        rows = [await submit(kernel, "fail" if n == 2 else "complete") for n in range(5)]
        for row in rows:
            await ended(kernel, row)
        ids = [row["id"] for row in reversed(rows)]
        page = await service(kernel).list(limit=2)
        assert [row["id"] for row in page["executions"]] == ids[:2]
        rest = await service(kernel).list(limit=5, before=page["next"])
        assert [row["id"] for row in rest["executions"]] == ids[2:]
        assert rest["next"] is None
        failed = await service(kernel).list(state="failed")
        assert [row["id"] for row in failed["executions"]] == [rows[2]["id"]]
        assert [row["id"] for row in (await service(kernel).list(limit=1, skip=4))["executions"]] == ids[4:]
        with pytest.raises(BadInput):
            await service(kernel).list(limit=501)


async def test_higher_priorities_run_first(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        kernel.scheduler.set_limit("normal_priority", 0)
        low = await submit(kernel, "complete", priority=35)
        first = await submit(kernel, "complete", priority=50)
        second = await submit(kernel, "complete", priority=50)
        best = await submit(kernel, "complete", priority=60)
        with Recording(kernel.bus, "job.started") as began:
            kernel.scheduler.set_limit("normal_priority", 1)
            await began.wait_for("job.started", 4)
        order = [event.data["job_id"] for event in began.events]
        assert order == [best["id"], first["id"], second["id"], low["id"]]


async def test_a_run_that_takes_too_long_fails_with_its_limit(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock=clock) as kernel:
        with Recording(kernel.bus, "#") as heard:
            row = await submit(kernel, "hold", deadline_s=90, input={"wall_s": 900})
            await heard.wait_for("stage.began")
            await clock.advance(91)
            await heard.wait_for("job.failed")
        final = await service(kernel).get(row["id"])
    assert final["error"]["code"] == "DEADLINE_EXCEEDED"
    assert final["error"]["data"] == {"limit": "wall_s", "value": 90.0}


async def test_a_run_survives_a_reload_of_executions_and_ends_on_the_new_generation(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "#") as heard:
            row = await submit(kernel, "hold")
            await heard.wait_for("stage.began")
            kernel.scheduler.set_limit("normal_priority", 1)
            waiting = await submit(kernel, "complete")
            watched = asyncio.create_task(ended(kernel, row))
            await kernel.modules.reload("executions")
            assert (await service(kernel).get(row["id"]))["state"] == "running"
            await kernel.bus.publish("go.now", {"job_id": row["id"], "value": 7})
            await heard.wait_for("job.completed", 2)
        assert (await watched)["result"] == 7
        assert (await service(kernel).get(row["id"]))["attempt"] == 1
        assert (await service(kernel).get(waiting["id"]))["state"] == "completed"
        # The one place in the lane is free again.
        assert (await ended(kernel, await submit(kernel, "complete")))["state"] == "completed"


async def test_a_reload_leaves_no_generation_behind_while_a_run_is_under_way(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await kernel.modules.reload("executions")
        with Recording(kernel.bus, "#") as heard:
            row = await submit(kernel, "hold")
            await heard.wait_for("stage.began")
            await kernel.modules.settled()
            heard.events.clear()
            await kernel.modules.reload("executions")
            await kernel.modules.settled()
            await kernel.bus.publish("go.now", {"job_id": row["id"]})
            await heard.wait_for("job.completed")
        assert heard.of("module.leaked") == []


async def test_stopping_the_hub_ends_what_runs_and_keeps_what_waits(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "stage.began") as began:
            running = await submit(kernel, "hold")
            await began.wait_for("stage.began")
        kernel.scheduler.set_limit("normal_priority", 1)
        waiting = await submit(kernel, "complete")
    async with house(tmp_path) as kernel:
        stopped = await service(kernel).get(running["id"])
        assert stopped["state"] == "failed"
        assert stopped["error"]["code"] == "HUB_STOPPING"
        final = await ended(kernel, waiting)
        assert final["state"] == "completed"


async def test_what_a_dead_hub_left_running_fails_and_says_why(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "stage.began") as began:
            row = await submit(kernel, "complete")
            await ended(kernel, row)
            held = await submit(kernel, "hold")
            await began.wait_for("stage.began", 2)
        # What a crash leaves behind: the row as it stands, copied while the hub runs.
        copy = tmp_path / "copy"
        copy.mkdir()
        source = kernel.store.path
        await kernel.store.write(lambda tx: None, namespace="executions")
        for suffix in ("", "-wal"):
            (copy / f"aetherra.db{suffix}").write_bytes(source.with_name(source.name + suffix).read_bytes())
    async with house(copy) as kernel:
        final = await ended(kernel, held)
        assert final["state"] == "failed"
        assert final["error"]["code"] == "HUB_STOPPED"
        assert "not resumed" in final["error"]["message"]
        assert (await service(kernel).get(row["id"]))["state"] == "completed"


async def test_without_a_runner_a_submit_names_the_missing_service(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL}, bundled=["executions"]) as kernel:
        with pytest.raises(ServiceUnavailable) as refused:
            await service(kernel).submit("script", "a.aether", {})
        assert refused.value.details == {"service": "runner.script"}


async def test_what_waits_for_its_runner_begins_when_it_is_loaded_again(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        kernel.scheduler.set_limit("normal_priority", 0)
        row = await submit(kernel, "complete")
        await kernel.modules.unload("stage")
        kernel.scheduler.set_limit("normal_priority", 4)
        assert (await service(kernel).get(row["id"]))["state"] == "pending"
        await kernel.modules.reload("stage")
        assert (await ended(kernel, row))["state"] == "completed"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"kind": "scripts"}, "did you mean script"),
        ({"priority": 101}, "0 to 100"),
        ({"priority": "soon"}, "low, normal"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"deadline_s": float("inf")}, "deadline_s"),
        ({"input": [1]}, "input"),
    ],
)
async def test_a_wrong_submit_names_the_field(tmp_path: Path, change: dict[str, Any], wrong: str) -> None:
    async with house(tmp_path) as kernel:
        given: dict[str, Any] = {"kind": "script", "name": "a.aether", "input": {}, **change}
        with pytest.raises(BadInput, match=wrong):
            await service(kernel).submit(**given)


async def test_bounds_of_input_and_queue_are_refusals_that_name_the_setting(tmp_path: Path) -> None:
    overrides = {"plugins.executions.waiting": 1, "plugins.executions.input_kb": 1}
    async with house(tmp_path, overrides=overrides) as kernel:
        with pytest.raises(TooLarge, match="input_kb"):
            await submit(kernel, "complete", input={"text": "x" * 2000})
        kernel.scheduler.set_limit("normal_priority", 0)
        await submit(kernel, "complete")
        with pytest.raises(Overloaded, match="waiting"):
            await submit(kernel, "complete")


async def test_cleanup_deletes_only_what_is_over_and_old_and_ones_own(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock=clock) as kernel:
        with Recording(kernel.bus, "#") as heard:
            old = await submit(kernel, "complete", input={"value": 1})
            foreign = await submit(kernel, "complete", BOB)
            await heard.wait_for("job.completed", 2)
            clock.jump_wall(100)
            fresh = await submit(kernel, "complete")
            held = await submit(kernel, "hold")
            await heard.wait_for("job.completed", 3)
            await heard.wait_for("stage.began", 4)
            found = await service(kernel).cleanup(50)
            assert found["jobs"] == 1
            assert (await heard.wait_for("job.cleaned")).data["jobs"] == 1
            with pytest.raises(NotFound):
                await service(kernel).get(old["id"])
            left = {row["id"] for row in (await service(kernel, ROOT).list())["executions"]}
            assert left == {foreign["id"], fresh["id"], held["id"]}
            rows = kernel.store.all("executions", "SELECT DISTINCT execution FROM executions__history")
            assert old["id"] not in {row["execution"] for row in rows}
            clock.jump_wall(1)
            await service(kernel, ROOT).cleanup(0, everybody=True)
            assert (await heard.wait_for("job.cleaned", 2)).data["jobs"] == 2


async def test_what_ended_long_ago_is_pruned_without_being_asked(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock=clock) as kernel:
        with Recording(kernel.bus, "#") as heard:
            await submit(kernel, "complete")
            await heard.wait_for("job.completed")
            clock.jump_wall(8 * 86_400)
            await clock.advance(3_601)
            assert (await heard.wait_for("job.cleaned")).data["jobs"] == 1


async def test_stats_are_counted_from_the_rows(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        for do in ("complete", "complete", "fail"):
            await ended(kernel, await submit(kernel, do))
        stats = await service(kernel).stats()
        assert stats["by_state"] == {"pending": 0, "running": 0, "completed": 2, "failed": 1, "cancelled": 0}
        assert stats["total"] == 3
        assert stats["mean_run_s"] > 0
        assert (await service(kernel, BOB).stats())["total"] == 0


async def test_the_runner_is_told_who_asked_and_through_whom(tmp_path: Path) -> None:
    relay = '''
from typing import Any
from kernel import Context, Plugin
relay = Plugin("relay", version="1.0.0")

@relay.function("submit", effect="irreversible")
async def submit(ctx: Context) -> dict[str, Any]:
    """Submit on somebody's behalf."""
    return await ctx.service("executions").submit("script", "a.aether", {})
'''
    async with house(tmp_path, rules=ALLOW_ALL, plugins={"relay": relay}) as kernel:
        with Recording(kernel.bus, "stage.began") as began:
            await kernel.context(ADA).call("relay.submit")
            event = await began.wait_for("stage.began")
    caller = {"id": "user:ada", "roles": ["user"], "scopes": None, "via": ["plugin:relay"], "proof": ""}
    assert event.data["caller"] == caller
