"""The audit of a running hub: what is on record, in one chain over restarts, bounded, and readable by right."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from whole_hub import whole_hub

from hub.verbs import plugin_verbs
from kernel import AetherraError, AuditRecord, Caller, Denied, Kernel, Overloaded
from kernel.errors import StorageError
from kernel.testing import TestClock, kernel_config, running_kernel

LOCAL = Caller("user:local", ("role:user",))
CONSOLE = Caller("core:console", ("role:admin",))
BUNDLED = ("security", "audit")


@asynccontextmanager
async def house(
    home: Path, clock: TestClock | None = None, plugins: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Kernel]:
    overrides = {f"plugins.audit.{name}": value for name, value in settings.items()} | {"store.busy_s": 0.1}
    async with running_kernel(home, plugins=plugins, bundled=BUNDLED, clock=clock, overrides=overrides) as kernel:
        if clock is not None:
            trail = audit_module(kernel).trail
            clock.watch(lambda: kernel.store.pending or trail.in_threads)
            await until(clock, lambda: trail.next_head_at is not None)
        wanted = {"hub.started", "module.loaded"}
        while wanted - {json.loads(text)["action"] for _, text, _ in rows(home)[-len(plugins or ()) - 4 :]}:
            await written(kernel)
        yield kernel


async def until(clock: TestClock, holds: Callable[[], Any]) -> None:
    """Return when it holds: long reads and files take threads of their own, which the clock does not know."""
    async with asyncio.timeout(20):
        while not holds():
            await clock.settle()


async def another_head(kernel: Kernel, clock: TestClock, seconds: float) -> None:
    """Move the clock, and return when the head that was due in that time is signed."""
    trail = audit_module(kernel).trail
    assert trail.next_head_at <= clock.monotonic() + seconds
    await clock.advance(seconds)
    await until(clock, lambda: (trail.next_head_at or 0) > clock.monotonic())


def audit_module(kernel: Kernel) -> Any:
    generation = kernel.modules.get("audit").generation
    assert generation is not None
    return generation.module


async def refused(kernel: Kernel, capability: str = "plugin:manage", caller: Caller = LOCAL) -> None:
    with pytest.raises(Denied):
        await kernel.context(caller).require(capability)


async def page(kernel: Kernel, **asked: Any) -> Any:
    owned = next(owned for owned in kernel.table.routes if owned.item.path == "/api/security/audit")
    return msgspec.to_builtins(await kernel.serve(owned, kernel.context(CONSOLE), asked))


async def written(kernel: Kernel) -> None:
    """Return when everything that was queued for the store is committed."""
    await kernel.store.write(lambda tx: None, namespace="audit")


async def found(kernel: Kernel, action: str, **asked: Any) -> list[dict[str, Any]]:
    await written(kernel)
    return list(reversed((await page(kernel, action=action, **asked))["records"]))


async def command(home: Path, *options: str) -> Any:
    """Run `aether audit` with these words; return what click tells of it."""
    verbs = plugin_verbs(kernel_config(home, bundled=BUNDLED))
    return await asyncio.to_thread(CliRunner().invoke, verbs["audit"], options)


async def verify(home: Path, *options: str) -> Any:
    done = await command(home, "verify", "--json", *options)
    told = json.loads(done.output)
    assert done.exit_code == (0 if told["ok"] else 1)
    return told


def lines(home: Path) -> list[dict[str, Any]]:
    paths = sorted((home / "audit").glob("records-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def rows(home: Path) -> list[tuple[int, str, str]]:
    with closing(sqlite3.connect(home / "aetherra.db")) as connection:
        return connection.execute("SELECT seq, record, hash FROM audit__records ORDER BY seq").fetchall()


# What is on record ----------------------------------------------------------------------------------------------------


async def test_a_refusal_says_who_what_why_and_under_which_policy(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with pytest.raises(Denied):
            await kernel.context(LOCAL, trace="t1").through("script:a.aether").require("plugin:manage", "hello")
        (record,) = await found(kernel, "capability.denied")
        assert (record["chain"], record["capability"]) == ("user:local → script:a.aether", "plugin:manage:hello")
        assert (record["outcome"], record["trace"], record["plugin"]) == ("denied", "t1", "hub")
        assert "no rule allows plugin:manage:hello" in record["reason"]
        meta = await kernel.context(CONSOLE).service("policy").meta()
        assert record["policy"] == meta["hash"]


async def test_a_grant_of_a_grave_right_is_committed_before_it_is_given(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await kernel.context(CONSOLE, trace="t2").require("policy:write")
        granted = [json.loads(text) for _, text, _ in rows(tmp_path) if '"capability.granted"' in text]
        assert [(r["capability"], r["chain"], r["trace"]) for r in granted] == [("policy:write", "core:console", "t2")]
        assert granted[0]["source"].startswith("default.toml:")
        await kernel.context(CONSOLE).require("memory:read")
        assert len(rows(tmp_path)) == granted[0]["seq"]


async def test_a_grave_right_is_not_given_while_its_record_cannot_be_committed(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await written(kernel)
        with closing(sqlite3.connect(tmp_path / "aetherra.db", isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            with pytest.raises((Overloaded, StorageError)):
                await kernel.context(CONSOLE).require("policy:write")
            assert (await kernel.context(CONSOLE).require("memory:read")).allowed
            assert "the audit cannot be written" in str((await kernel.ready())["audit"])
            stranger.execute("ROLLBACK")
        assert (await kernel.context(CONSOLE).require("policy:write")).allowed
        assert (await kernel.ready())["audit"] is None


async def test_changes_of_the_policy_are_on_record_also_one_that_is_wrong(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        main = Path(kernel.config.paths.policies) / "default.toml"
        policy = kernel.context(CONSOLE).service("policy")
        main.write_text(main.read_text() + '\n[limits."script:x"]\nsteps = 5\n')
        loaded = (await policy.reload())["hash"]
        main.write_text("version = 2\n")
        with pytest.raises(Exception, match="the policy stays as it was"):
            await policy.reload()
        seen = [(await found(kernel, name))[-1:] for name in ("policy.loaded", "policy.failed")]
        while not all(seen):
            await asyncio.sleep(0)
            seen = [(await found(kernel, name))[-1:] for name in ("policy.loaded", "policy.failed")]
        assert (seen[0][0]["outcome"], seen[0][0]["policy"]) == ("ok", loaded)
        assert (seen[1][0]["outcome"], seen[1][0]["details"]["file"]) == ("failed", "default.toml")


async def test_plugins_that_come_change_fail_and_leave_are_on_record_once_each(tmp_path: Path) -> None:
    source = 'from kernel import Plugin\nhello = Plugin("hello", version="1.0.0")\n'
    async with house(tmp_path, plugins={"hello": source}) as kernel:
        file = tmp_path / "plugins" / "hello.py"
        file.write_text(source.replace("1.0.0", "2.0.0"))
        await kernel.modules.reload("hello")
        file.write_text("raise RuntimeError('Bearer canary-of-a-plugin-1')")
        with pytest.raises(Exception, match="hello"):
            await kernel.modules.reload("hello")
        await kernel.modules.unload("hello")
        wanted = ["module.loaded", "module.reloaded", "module.reload_failed", "module.unloaded"]
        told: list[Any] = []
        while len(told) < 4:
            await asyncio.sleep(0)
            told = [r for r in await found(kernel, "module") if r["details"]["plugin"] == "hello"]
        assert [record["action"] for record in told] == wanted
        assert [record["outcome"] for record in told] == ["ok", "ok", "failed", "ok"]
        assert len({record["details"]["event"] for record in told}) == 4
        assert "canary-of-a-plugin" not in json.dumps(told)


async def test_start_and_stop_are_on_record_with_the_hash_before_them(tmp_path: Path) -> None:
    for _ in range(2):
        async with house(tmp_path):
            pass
    kept = [json.loads(text) | {"hash": digest} for _, text, digest in rows(tmp_path)]
    opened = [record for record in kept if record["action"] == "audit.opened"]
    stopped = [record for record in kept if record["action"] == "hub.stopped"]
    assert [record["action"] for record in kept].count("hub.started") == 2
    assert opened[0]["details"]["previous"] == "0" * 64
    assert opened[1]["details"]["previous"] == next(r["hash"] for r in kept if r["seq"] == opened[1]["seq"] - 1)
    for record in stopped:
        assert record["details"]["previous"] == next(r["hash"] for r in kept if r["seq"] == record["seq"] - 1)


async def test_what_a_plugin_puts_on_record_carries_who_did_it(tmp_path: Path) -> None:
    source = """
from kernel import Context, Plugin
door = Plugin("door", version="1.0.0")
@door.function("open", effect="free")
async def open_it(ctx: Context) -> None:
    await ctx.audit("door.opened", "failed", key="Bearer canary-of-the-door", password="hunter2", size=b"12")
"""
    async with house(tmp_path, plugins={"door": source}) as kernel:
        await kernel.context(CONSOLE, trace="t9").call("door.open")
        (record,) = await found(kernel, "door")
        assert (record["chain"], record["plugin"], record["trace"]) == ("core:console", "door", "t9")
        assert record["details"] == {"key": "Bearer [redacted]", "password": "[redacted]", "size": "2 bytes"}


async def test_the_audit_puts_nothing_of_itself_on_record_without_end(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock, head_every_s=10) as kernel:
        await another_head(kernel, clock, 10)
        await written(kernel)
        before = len(rows(tmp_path))
        for _ in range(10):
            await another_head(kernel, clock, 10)
        await written(kernel)
        assert len(rows(tmp_path)) == before


# Bounds ---------------------------------------------------------------------------------------------------------------


async def test_the_same_refusal_again_is_counted_and_told_once_at_the_end_of_its_window(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock) as kernel:
        for _ in range(1_000):
            await refused(kernel)
        await refused(kernel, "policy:write")
        assert [r["details"] for r in await found(kernel, "capability.denied")] == [{}, {}]
        await clock.advance(60)
        told = await found(kernel, "capability.denied")
        assert [(r["capability"], r["details"]) for r in told[2:]] == [("plugin:manage", {"repeated": 999})]
        await refused(kernel)
        assert len(await found(kernel, "capability.denied")) == 4


async def test_refusals_of_ever_other_things_are_counted_together_beyond_a_bound(tmp_path: Path) -> None:
    clock, eve = TestClock(), Caller("user:eve", ("role:user",))
    async with house(tmp_path, clock, repeats_kept=12, repeats_each=10) as kernel:
        for number in range(500):
            await refused(kernel, f"plugin:manage:p{number}")
        for number in range(5):
            await refused(kernel, f"plugin:manage:p{number}", eve)
        told = await found(kernel, "capability.denied", limit=500)
        assert [r["chain"] for r in told] == ["user:local"] * 10 + ["user:eve"] * 2
        await clock.advance(60)
        told = (await found(kernel, "capability.denied", limit=500))[12:]
        assert [(r["chain"], r["details"]) for r in told] == [
            ("user:local", {"different": True, "repeated": 490}),
            ("user:eve", {"different": True, "repeated": 3}),
        ]


async def test_too_many_waiting_records_refuse_grants_and_only_count_refusals(tmp_path: Path) -> None:
    async with house(tmp_path, queue=2) as kernel:
        await written(kernel)
        asking = [asyncio.create_task(kernel.context(CONSOLE).require("policy:write")) for _ in range(3)]
        done = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in done].count(Overloaded) == 1
        assert "[plugins.audit] queue" in str(next(one for one in done if isinstance(one, Overloaded)))


async def test_what_is_too_long_is_cut_and_what_is_too_large_left_out(tmp_path: Path) -> None:
    async with house(tmp_path, record_kb=1) as kernel:
        await kernel.context(CONSOLE).audit("door.opened", text="x" * 5_000)
        (record,) = await found(kernel, "door")
        assert record["details"] == {"left_out_bytes": 5_011}
        await refused(kernel, "plugin:manage:" + "y" * 10_000)
        (record,) = await found(kernel, "capability.denied")
        assert len(record["capability"]) == 500


# Nobody changes it ----------------------------------------------------------------------------------------------------


FORBIDDEN = (
    "UPDATE audit__records SET outcome = 'ok'",
    "UPDATE audit__records SET seq = seq + 100",
    "DELETE FROM audit__records",
    "INSERT INTO audit__records SELECT max(seq) + 2, '', '', '', '', '', '' FROM audit__records",
    "REPLACE INTO audit__records SELECT seq, '', '', '', '', '', '' FROM audit__records WHERE seq = 1",
    "INSERT INTO audit__records VALUES (1, '', '', '', '', '', '') ON CONFLICT (seq) DO UPDATE SET hash = ''",
    "INSERT INTO audit__cuts SELECT max(seq), '', '', '', '' FROM audit__records",
    "INSERT INTO audit__cuts SELECT seq, hash, '', '', '' FROM audit__records WHERE seq = 1",
    "UPDATE audit__heads SET hash = ''",
    "DELETE FROM audit__heads",
    "REPLACE INTO audit__heads SELECT seq, '', '', '', '' FROM audit__heads",
)


async def test_no_statement_of_the_store_changes_a_record(tmp_path: Path) -> None:
    async with house(tmp_path):
        pass  # its stop signs a head
    async with house(tmp_path) as kernel:
        await written(kernel)
        before = rows(tmp_path)
        for statement in FORBIDDEN:
            with pytest.raises(AetherraError, match="of the audit"):
                await kernel.store.write(lambda tx, s=statement: tx.execute(s), namespace="audit")
        assert rows(tmp_path) == before


async def test_a_namespace_of_another_plugin_does_not_reach_it(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        for statement in ("DELETE FROM audit__records", "SELECT * FROM audit__records", "DROP TABLE audit__records"):
            with pytest.raises(Denied):
                await kernel.store.write(lambda tx, s=statement: tx.execute(s), namespace="other")


# Over restarts, reloads and crashes -----------------------------------------------------------------------------------


async def test_the_chain_goes_on_over_restarts_and_the_file_is_the_same(tmp_path: Path) -> None:
    for _ in range(3):
        async with house(tmp_path) as kernel:
            await refused(kernel)
    kept = rows(tmp_path)
    assert [line["hash"] for line in lines(tmp_path)] == [digest for _, _, digest in kept]
    assert [line["record"] for line in lines(tmp_path)] == [json.loads(text) for _, text, _ in kept]
    told = await verify(tmp_path)
    assert (told["ok"], told["last"], told["notes"]) == (True, len(kept), [])
    for path in (*(tmp_path / "audit").iterdir(), tmp_path / "keys" / "audit.key"):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_reload_of_the_audit_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        for number in range(5):
            asking = [asyncio.create_task(kernel.context(CONSOLE).require("policy:write")) for _ in range(20)]
            await refused(kernel, f"plugin:manage:p{number}")
            await asyncio.gather(kernel.modules.reload("audit"), *asking)
        assert len(await found(kernel, "capability.granted", limit=500)) == 100
        assert len(await found(kernel, "capability.denied")) == 5
        assert len(await found(kernel, "audit.replaced")) == 5
        await kernel.modules.settled()
    kept = rows(tmp_path)
    assert [line["record"]["seq"] for line in lines(tmp_path)] == [seq for seq, _, _ in kept]
    assert (await verify(tmp_path))["ok"]


async def test_a_line_that_a_crash_tore_is_mended_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path) as kernel:
        await refused(kernel)
    (file,) = (tmp_path / "audit").glob("records-*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[:-25])
    assert not (await verify(tmp_path))["ok"]  # a head was signed of it: no crash of the hub leaves that
    async with house(tmp_path):
        pass
    assert "bytes of a torn line were taken away" in caplog.text
    assert file.read_bytes().startswith(whole)
    assert (await verify(tmp_path))["ok"]


async def test_a_verification_beside_a_running_hub_is_as_good(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        asking = asyncio.gather(*(kernel.context(CONSOLE).require("policy:write") for _ in range(300)))
        told = await verify(tmp_path)
        await asking
        assert told["ok"], told


# Heads and cuts -------------------------------------------------------------------------------------------------------


async def test_the_head_is_signed_every_hour_and_at_the_stop_where_the_operator_says(tmp_path: Path) -> None:
    clock, heads = TestClock(), tmp_path / "other disk" / "heads.jsonl"
    async with house(tmp_path / "home", clock, heads=str(heads)) as kernel:
        assert not heads.exists()
        for count in (1, 2):
            await another_head(kernel, clock, 3_600)
            assert len(heads.read_text().splitlines()) == count
            await refused(kernel, f"plugin:manage:{count}")
        await another_head(kernel, clock, 3_600)
        await another_head(kernel, clock, 3_600)  # nothing had happened
        assert len(heads.read_text().splitlines()) == 3
    newest = json.loads(heads.read_text().splitlines()[-1])
    assert newest["seq"] == rows(tmp_path / "home")[-1][0]
    assert not (tmp_path / "home" / "audit" / "heads.jsonl").exists()
    told = await verify(tmp_path / "home", "--head", str(heads))
    assert [f["text"] for f in told["findings"]] == ["the file is not there, and 4 heads were signed"]


async def test_a_new_place_for_heads_gets_those_signed_before(tmp_path: Path) -> None:
    async with house(tmp_path):
        pass
    other = tmp_path / "other.jsonl"
    async with house(tmp_path, heads=str(other)):
        pass
    first = (tmp_path / "audit" / "heads.jsonl").read_text()
    assert other.read_text().startswith(first)
    assert len(other.read_text().splitlines()) == 2


async def test_a_place_that_cannot_be_written_makes_the_hub_unready_until_it_can(tmp_path: Path) -> None:
    clock = TestClock()
    blocked = tmp_path / "audit" / "records-000000000001.jsonl"
    blocked.mkdir(parents=True)
    other = tmp_path / "no folder"
    other.write_text("")
    async with house(tmp_path, clock, heads=str(other / "heads.jsonl"), head_every_s=30) as kernel:
        trail = audit_module(kernel).trail
        await clock.advance(31)
        await until(
            clock, lambda: all(f"the {what} of the audit" in str(trail.problem()) for what in ("file", "heads"))
        )
        assert (await kernel.ready())["audit"] == trail.problem()
        blocked.rmdir()
        await clock.advance(6)
        await until(clock, lambda: "the file of the audit" not in str(trail.problem()))
        other.unlink()
        await clock.advance(61)
        await until(clock, lambda: trail.problem() is None)
        assert (await kernel.ready())["audit"] is None
        await written(kernel)
        await clock.settle()
        assert len(lines(tmp_path)) == len(rows(tmp_path))


async def test_a_table_cut_short_makes_the_hub_unready(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await refused(kernel)
    with closing(sqlite3.connect(tmp_path / "aetherra.db")) as connection:
        connection.execute("DROP TRIGGER audit__records_stay")
        connection.execute("DELETE FROM audit__records WHERE seq > 3")
        connection.commit()
    async with house(tmp_path, TestClock()) as kernel:
        await kernel.clock.settle()  # type: ignore[attr-defined]
        assert "is not the one that was signed" in str((await kernel.ready())["audit"])
    assert not (await verify(tmp_path))["ok"]


async def fill(kernel: Kernel, count: int) -> None:
    """Put many records of the same size on record at once."""
    auditor = kernel.table.auditor
    assert auditor is not None
    for start in range(0, count, 1_000):
        made = [
            auditor.item(AuditRecord(kernel.clock.now(), "door.opened", "ok", "user:a", details={"n": start + n}))
            for n in range(min(1_000, count - start))
        ]
        await asyncio.gather(*made)


async def test_old_records_leave_in_whole_segments_and_what_is_left_is_proved(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock, segment=1_000, records_kept=2_000) as kernel:
        await fill(kernel, 4_500)
        await another_head(kernel, clock, 3_600)
        names = [f"records-{first:012}.jsonl" for first in (2_001, 3_001, 4_001)]
        await until(clock, lambda: sorted(p.name for p in (tmp_path / "audit").glob("records-*")) == names)
        assert rows(tmp_path)[0][0] == 2_001
        assert [r["details"]["through"] for r in await found(kernel, "audit.cut")] == [1_000, 2_000]
        for statement in (
            "DELETE FROM audit__records WHERE seq = 2001",
            "DELETE FROM audit__cuts",
            "UPDATE audit__cuts SET seq = seq + 1",
            "INSERT INTO audit__cuts SELECT max(seq) - 500, '', '', '', '' FROM audit__records",
        ):
            with pytest.raises(Exception, match="audit"):
                await kernel.store.write(lambda tx, s=statement: tx.execute(s), namespace="audit")
    told = await verify(tmp_path)
    assert (told["ok"], told["first"]) == (True, 2_001), told


async def test_a_cut_that_nobody_signed_is_found(tmp_path: Path) -> None:
    async with house(tmp_path, segment=1_000, records_kept=2_000) as kernel:
        await fill(kernel, 1_500)

        def forge(tx: Any) -> None:
            tx.execute("INSERT INTO audit__cuts SELECT seq, hash, '', '', '' FROM audit__records WHERE seq = 100")
            tx.execute("DELETE FROM audit__records WHERE seq <= 100")

        await kernel.store.write(forge, namespace="audit")
    told = await verify(tmp_path)
    assert [finding["where"] for finding in told["findings"]] == ["the table of cuts"]


# Reading it -----------------------------------------------------------------------------------------------------------


async def test_pages_go_from_the_newest_on_and_are_found_by_what_they_say(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        for name in ("door.opened", "door.closed", "doorbell.rung"):
            await kernel.context(LOCAL).audit(name)
        await refused(kernel, "plugin:manage:hello")
        await refused(kernel, "plugin:manage", Caller("user:eve", ("role:user",)))
        assert [r["action"] for r in await found(kernel, "door")] == ["door.opened", "door.closed"]
        denied = await page(kernel, outcome="denied")
        assert [r["chain"] for r in denied["records"]] == ["user:eve", "user:local"]
        assert [r["capability"] for r in (await page(kernel, principal="user:eve"))["records"]] == ["plugin:manage"]
        assert len((await page(kernel, capability="plugin:manage"))["records"]) == 2
        assert len((await page(kernel, capability="plugin:manage:hello"))["records"]) == 1
        seen, before = [], None
        while True:
            one = await page(kernel, limit=2, **({"before": before} if before else {}))
            seen += [record["seq"] for record in one["records"]]
            before = one["next"]
            if before is None:
                break
        assert seen == list(range(one["head"]["seq"], 0, -1))


async def test_it_is_read_by_right_only(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        owned = next(owned for owned in kernel.table.routes if owned.item.path == "/api/security/audit")
        with pytest.raises(Denied, match="audit:read"):
            await kernel.serve(owned, kernel.context(LOCAL), {})


async def test_a_verification_says_in_words_what_it_found(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await refused(kernel)
    whole = await command(tmp_path, "verify")
    assert (whole.exit_code, whole.output.startswith("whole: ")) == (0, True)
    with closing(sqlite3.connect(tmp_path / "aetherra.db")) as connection:
        connection.execute("DROP TRIGGER audit__records_stay_the_same")
        connection.execute("UPDATE audit__records SET principal = 'user:x' WHERE seq = 3")
        connection.commit()
    broken = await command(tmp_path, "verify")
    told = "broken: the table, from record 3 on: the columns beside the record do not say what it says"
    assert (broken.exit_code, told in broken.output) == (1, True)


async def test_a_home_without_an_audit_is_told(tmp_path: Path) -> None:
    done = await command(tmp_path, "verify")
    assert "there is no database" in str(done.exception)


async def test_the_newest_records_are_listed_for_people_by_a_running_hub(tmp_path: Path) -> None:
    async with whole_hub(tmp_path) as server:
        await refused(server.kernel)
        done = await command(tmp_path, "list", "--outcome", "denied")
        assert done.exit_code == 0, done.output
        head, row = done.output.splitlines()
        assert head.split() == ["record", "at", "action", "outcome", "who", "what"]
        assert "capability.denied  denied   user:local  plu" in row
        told = await command(tmp_path, "list", "--json", "--limit", "1")
        assert len(json.loads(told.output)["records"]) == 1
