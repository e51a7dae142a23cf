"""Entries in a running kernel: stored, merged, replaced, deleted, counted, told of; each user on his own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel import BadInput, Caller, Conflict, Denied, Kernel, TooLarge
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

ADA = Caller("user:ada", ("role:user",))
BOB = Caller("user:bob", ("role:user",))
SETTINGS = {
    "plugins.memory.entry_kb": 1,
    "plugins.memory.tags": 4,
    "plugins.memory.records_per_owner": 1_300,
    "plugins.memory.answers_per_owner": 2,
}


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def kernel(tmp_path: Path, clock: TestClock) -> AsyncIterator[Kernel]:
    async with running_kernel(
        tmp_path, plugins={"allow_all": ALLOW_ALL}, bundled=["memory"], clock=clock, overrides=SETTINGS
    ) as kernel:
        yield kernel


@pytest.fixture
def memory(kernel: Kernel) -> Any:
    return kernel.context(ADA).service("memory")


async def test_an_entry_comes_back_as_it_was_stored(memory: Any, clock: TestClock) -> None:
    stored = await memory.store({"tea": ["green", 3, None]}, tags=["pot", "tea", "pot"], fields={"type": "note"})
    assert stored == await memory.get(stored["id"])
    assert stored["content"] == {"tea": ["green", 3, None]}
    assert stored["tags"] == ["pot", "tea"]
    assert stored["type"] == "note"
    assert stored["source"] == "user:ada"
    assert stored["archived"] is False
    assert stored["created_at"] == stored["updated_at"] == clock.now()
    assert "collection" not in stored


async def test_an_entry_of_somebody_else_is_as_if_it_were_not_there(kernel: Kernel, memory: Any) -> None:
    stored = await memory.store("secret tea", tags="tea", collection="pots")
    other = kernel.context(BOB).service("memory")
    identity = stored["id"]
    assert await other.get(identity) is None
    assert await other.patch(identity, {"content": "mine"}) is None
    assert await other.tag(identity, "mine") is None
    assert await other.delete(identity) == await other.archive(identity) == await other.forget("tea") == 0
    assert await other.clear("pots") == await other.count() == 0
    assert await other.remove("pots", identity) is False
    assert await other.has("pots") is await other.pattern("tea") is False
    assert await other.recall("tea") == await other.recall_tagged("tea") == await other.search({}) == []
    assert await other.tags() == []
    await other.replace({"id": identity, "content": "bob's"})
    assert (await memory.get(identity))["content"] == "secret tea"
    assert (await other.get(identity))["content"] == "bob's"


async def test_a_patch_merges_fields_and_keeps_the_rest(memory: Any, clock: TestClock) -> None:
    stored = await memory.store("tea at four", tags=["tea"], fields={"level": 3})
    await clock.advance(5)
    patched = await memory.patch(stored["id"], {"level": 4, "mood": "calm", "tags": ["pot"]})
    assert patched == {**stored, "level": 4, "mood": "calm", "tags": ["pot"], "updated_at": clock.now()}
    assert await memory.patch("unknown", {"level": 1}) is None
    with pytest.raises(BadInput, match="keeps its id"):
        await memory.patch(stored["id"], {"id": "other"})


async def test_what_a_patch_takes_away_is_no_longer_recalled(memory: Any) -> None:
    stored = await memory.store("green tea", tags=["tea"])
    await memory.patch(stored["id"], {"content": "black coffee", "tags": ["coffee"]})
    assert await memory.recall("green") == []
    assert await memory.recall_tagged("tea") == []
    assert [entry["id"] for entry in await memory.recall("coffee", tags=["coffee"])] == [stored["id"]]


async def test_replace_puts_a_whole_entry_in_the_place_of_its_namesake(memory: Any, clock: TestClock) -> None:
    first = await memory.replace({"id": "config", "content": 1, "extra": True})
    await clock.advance(1)
    second = await memory.replace({"id": "config", "content": 2})
    assert (second["content"], "extra" in second) == (2, False)
    assert second["created_at"] == first["created_at"] < second["updated_at"]
    created = await memory.replace({"content": "no id yet", "created_at": 12.5})
    assert len(created["id"]) == 36
    assert created["created_at"] == 12.5
    assert await memory.count() == 2


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"id": 7}, "id: expected a text"),
        ({"id": ""}, "id: expected 1 to 200 characters"),
        ({"id": "x" * 201}, "got 'xxx"),
        ({"id": "a\nb"}, "no control characters"),
        ({"tags": [1]}, "tags: expected a list of texts"),
        ({"tags": {"a": 1}}, "tags: expected a list of texts"),
        ({"created_at": "yesterday"}, "created_at: expected seconds since 1970"),
        ({"archived": 1}, "archived: expected true or false"),
        ({"collection": 1}, "collection: expected a text"),
        ({"x" * 201: 1}, "a field's name: expected 1 to 200"),
    ],
)
async def test_a_field_that_is_not_as_it_must_be_is_named(memory: Any, entry: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await memory.replace({"content": 1, **entry})
    assert await memory.count() == 0


async def test_bounds_are_kept_and_named(memory: Any) -> None:
    with pytest.raises(TooLarge, match="entry_kb"):
        await memory.store("x" * 1024)
    with pytest.raises(TooLarge, match="tags"):
        await memory.store("x", tags=["a", "b", "c", "d", "e"])
    small = await memory.store("x")
    with pytest.raises(TooLarge, match="entry_kb"):
        await memory.patch(small["id"], {"content": "y" * 1024})
    assert (await memory.get(small["id"]))["content"] == "x"


async def test_an_owner_may_have_so_many_entries_and_no_more(kernel: Kernel, memory: Any) -> None:
    for number in range(1_300):
        await memory.store(number, collection="numbers")
    with pytest.raises(TooLarge, match="records_per_owner") as refused:
        await memory.store("one too many")
    assert refused.value.code == "MEMORY_FULL"
    await kernel.context(BOB).service("memory").store("bob has room")
    assert await memory.clear("numbers") == 1_300  # in more than one batch
    assert await memory.count() == 0
    await memory.store("room again")


async def test_store_refuses_fields_that_have_a_parameter_or_are_set_here(memory: Any) -> None:
    with pytest.raises(BadInput, match="'created_at' has a parameter of its own or is set by the store"):
        await memory.store("x", fields={"created_at": 1})


async def test_collections_hold_entries_that_are_found_like_all_others(memory: Any) -> None:
    green = await memory.store("green", collection="teas")
    await memory.store("black", collection="teas")
    await memory.store("loose")
    assert await memory.has("teas")
    assert not await memory.has("coffees")
    assert (await memory.count(), await memory.count("teas")) == (3, 2)
    assert [entry["content"] for entry in await memory.search({"collection": "teas"})] == ["green", "black"]
    assert await memory.remove("coffees", green["id"]) is False
    assert await memory.remove("teas", green["id"]) is True
    assert await memory.count("teas") == 1


async def test_delete_takes_ids_entries_and_lists_of_both(memory: Any) -> None:
    entries = [await memory.store(number) for number in range(4)]
    assert await memory.delete(entries[0]["id"]) == 1
    assert await memory.delete(entries[1]) == 1
    assert await memory.delete([entries[2], entries[3]["id"], "unknown"]) == 2
    assert await memory.delete("unknown") == await memory.count() == 0
    with pytest.raises(BadInput, match="entries that have an `id`"):
        await memory.delete({"content": 1})


async def test_forget_deletes_what_has_every_word_and_the_tag(memory: Any) -> None:
    await memory.store("green tea", tags=["pot"])
    await memory.store("green paint", tags=["wall"])
    await memory.store("green tea leaves", tags=["wall"])
    assert await memory.forget("green tea", tag="wall") == 1
    assert await memory.forget("green paint") == 1
    assert await memory.forget(tag="pot") == 1
    for nothing in ("", "?!"):
        with pytest.raises(BadInput, match="expected words or a tag"):
            await memory.forget(nothing)


async def test_archived_entries_are_searched_but_not_recalled(memory: Any) -> None:
    old = await memory.store("old tea")
    new = await memory.store("new tea")
    assert await memory.archive([old]) == 1
    assert [entry["id"] for entry in await memory.recall("tea")] == [new["id"]]
    assert [entry["id"] for entry in await memory.search({"archived": True})] == [old["id"]]
    await memory.patch(old["id"], {"archived": False})
    assert len(await memory.recall("tea")) == 2


async def test_tags_are_added_and_counted(memory: Any) -> None:
    entry = await memory.store("x", tags=["tea"])
    assert (await memory.tag(entry["id"], "pot, tea"))["tags"] == ["tea", "pot"]
    await memory.store("y", tags=["tea"])
    assert await memory.tags() == [{"tag": "tea", "count": 2}, {"tag": "pot", "count": 1}]
    with pytest.raises(TooLarge):
        await memory.tag(entry["id"], ["c", "d", "e"])


async def test_events_tell_of_changes_but_never_their_content(kernel: Kernel, memory: Any) -> None:
    with Recording(kernel.bus, "memory.*") as told:
        entry = await memory.store("a secret", tags=["tea"])
        await memory.patch(entry["id"], {"content": "another secret"})
        await memory.delete(entry["id"])
        await told.wait_for("memory.deleted")
    assert told.topics == ["memory.stored", "memory.updated", "memory.deleted"]
    for event in told.events:
        assert (event.data["id"], event.data["owner"], event.data["tags"]) == (entry["id"], "user:ada", ["tea"])
        assert "secret" not in str(event.data)


async def test_many_deletions_are_told_as_one_number(kernel: Kernel, memory: Any) -> None:
    for _ in range(101):
        await memory.store("x", collection="many")
    with Recording(kernel.bus, "memory.*") as told:
        await memory.clear("many")
        await told.wait_for("memory.cleared")
    assert [event.data for event in told.events] == [{"owner": "user:ada", "count": 101}]


async def test_a_write_beneath_a_scripts_effect_happens_once(kernel: Kernel) -> None:
    run = kernel.context(ADA).through("script:tidy.aether", effect_key="job-1:0:7")
    first = await run.service("memory").store("kept once", tags=["tea"])
    again = kernel.context(ADA).through("script:tidy.aether", effect_key="job-1:0:7")
    second = await again.service("memory").store("kept once", tags=["tea"])
    assert second == first
    assert first["source"] == "script:tidy.aether"
    assert await kernel.context(ADA).service("memory").count() == 1


async def test_every_kind_of_write_gives_its_stored_result_again(kernel: Kernel) -> None:
    async def run(key: str) -> list[Any]:
        memory = kernel.context(ADA).through("script:tidy.aether", effect_key=key).service("memory")
        made = await memory.create("k", "kept", tags=["tea"])
        await memory.replace({"id": "fixed", "content": 1})
        return [
            made,
            await memory.patch("fixed", {"content": 2}),
            await memory.tag("fixed", "pot"),
            await memory.archive("fixed"),
            await memory.delete("fixed"),
            await memory.forget("kept"),
            await memory.clear("nothing"),
            await memory.remove("nothing", "x"),
        ]

    assert await run("job-2:0:1") == await run("job-2:0:1")
    assert await kernel.context(ADA).service("memory").count() == 0


async def test_a_create_with_a_key_is_answered_once_and_then_repeated(memory: Any, clock: TestClock) -> None:
    first = await memory.create("key-1", "tea", tags=["pot"])
    again = await memory.create("key-1", "tea", tags=["pot"])
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["record"] == first["record"]
    with pytest.raises(Conflict, match="another body"):
        await memory.create("key-1", "coffee", tags=["pot"])
    assert await memory.count() == 1
    await clock.advance(24 * 3_600 + 1)
    assert (await memory.create("key-1", "coffee"))["replayed"] is False


async def test_keys_belong_to_their_owner_and_are_bounded(kernel: Kernel, memory: Any, clock: TestClock) -> None:
    await memory.create("key-1", "ada's")
    assert (await kernel.context(BOB).service("memory").create("key-1", "bob's"))["replayed"] is False
    await memory.create("key-2", "more")
    with pytest.raises(Exception, match="answers_per_owner"):
        await memory.create("key-3", "too many")
    assert await memory.count() == 2
    await clock.advance(24 * 3_600 + 1)
    assert (await memory.create("key-3", "room again"))["replayed"] is False


async def test_status_tells_what_was_measured(kernel: Kernel, memory: Any, clock: TestClock) -> None:
    assert await memory.status() == {"total_memories": 0, "recent_queries": 0, "avg_recall_latency_ms": 0.0}
    await memory.store("tea")
    await memory.recall("tea")
    await memory.search({"content": "tea"})
    assert (await memory.status())["recent_queries"] == 2
    assert b"aetherra_memory_queries_total 2.0" in kernel.metrics.expose()
    assert b'aetherra_memory_writes_total{kind="stored"} 1.0' in kernel.metrics.expose()
    await clock.advance(3_660)
    assert (await memory.status())["recent_queries"] == 0
    assert (await kernel.context(BOB).service("memory").status())["total_memories"] == 0


async def test_a_reload_keeps_the_entries_and_the_figures(kernel: Kernel, memory: Any) -> None:
    stored = await memory.store("tea")
    await memory.recall("tea")
    await kernel.modules.reload("memory")
    assert await memory.get(stored["id"]) == stored
    assert (await memory.status())["recent_queries"] == 1


async def test_functions_serve_agents_and_scripts(kernel: Kernel) -> None:
    ctx = kernel.context(ADA)
    identity = await ctx.call("memory.remember", {"tea": "green"}, tags="pot", type="note")
    assert [entry["id"] for entry in await ctx.call("memory.recall", "green")] == [identity]
    assert [entry["id"] for entry in await ctx.call("memory.search", {"type": "note"})] == [identity]
    assert await ctx.call("memory.forget", tag="pot") == 1


async def test_without_the_right_nothing_is_read_or_written(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, bundled=["memory", "security"]) as kernel:
        stranger = kernel.context(Caller("anonymous")).service("memory")
        for call in (stranger.store("x"), stranger.recall("x"), stranger.delete("x")):
            with pytest.raises(Denied):
                await call
        local = kernel.context(Caller("user:local", ("role:user",)))
        await local.service("memory").store("x")
        assert await local.call("memory.recall", "x")
