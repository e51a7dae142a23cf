"""Searching by criteria, against a slow reference of the language's page; and recalling by words."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import BadInput, Caller, Kernel
from kernel.testing import ALLOW_ALL, TestClock, running_kernel

ADA = Caller("user:ada", ("role:user",))
HOSTILE = ['"', '"" OR "', "' OR 1=1 --", "tea*", "NEAR(tea pot)", "text:tea", "^tea", "tea AND", "(", "\0tea", "-tea"]


@pytest.fixture(scope="session")
def package(load_plugin: Any) -> ModuleType:
    module: ModuleType = load_plugin("memory")
    return module


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def kernel(tmp_path: Path, clock: TestClock) -> AsyncIterator[Kernel]:
    async with running_kernel(
        tmp_path,
        plugins={"allow_all": ALLOW_ALL},
        bundled=["memory"],
        clock=clock,
        overrides={"plugins.memory.rank_newest": 300},
    ) as kernel:
        yield kernel


@pytest.fixture
def memory(kernel: Kernel) -> Any:
    return kernel.context(ADA).service("memory")


async def contents(found: Any) -> list[Any]:
    return [entry["content"] for entry in await found]


# Criteria --------------------------------------------------------------------------------------------------------


async def stock(memory: Any) -> None:
    for number, fields in enumerate(
        [
            {"level": 1, "role": "brewer", "done": True},
            {"level": 2.5, "role": "taster", "data": {"a": [1, {"b": None}]}},
            {"level": "2", "role": None, "done": False},
            {"role": "brewer", "level": 10},
        ]
    ):
        await memory.store(number, tags=["tea", f"n{number}"], fields=fields)


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"role": "brewer"}, [0, 3]),
        ({"role": None}, [2]),
        ({"missing": None}, [0, 1, 2, 3]),
        ({"level": 1}, [0]),
        ({"level": 1.0}, [0]),
        ({"level": "1"}, []),
        ({"level": "2"}, [2]),
        ({"level": True}, []),
        ({"done": True}, [0]),
        ({"done": 1}, []),
        ({"data": {"a": [1, {"b": None}]}}, [1]),
        ({"tags": ["tea", "n2"]}, [2]),
        ({"tags": "tea"}, []),
        ({"level_gt": 1}, [1, 3]),
        ({"level_gte": 1}, [0, 1, 3]),
        ({"level_lt": 2.5}, [0]),
        ({"level_lte": 2.5}, [0, 1]),
        ({"level_gte": "0"}, [2]),
        ({"missing_lt": 5}, []),
        ({"level_after": 1, "level_before": 10}, [1]),
        ({"role_in": ["taster", None]}, [1, 2]),
        ({"level_in": []}, []),
        ({"tags_include": ["tea", "n1"]}, [1]),
        ({"tags_include": "n3"}, [3]),
        ({"tags_include": [3]}, []),
        ({"tags_include": []}, [0, 1, 2, 3]),
        ({"role_ne": "brewer"}, [1, 2]),
        ({"role_contains": "rew"}, [0, 3]),
        ({"tags_contains": "n2"}, [2]),
        ({"data_contains": "a"}, [1]),
        ({"archived": False, "limit": 2}, [0, 1]),
        ({"limit": 0}, []),
        ({"sort_order": "desc"}, [3, 2, 1, 0]),
        ({"sort_by": "level"}, [0, 1, 3, 2]),
        ({"sort_by": "level", "sort_order": "desc", "limit": 2}, [2, 3]),
        ({"sort_by": "done"}, [2, 0, 1, 3]),
    ],
)
async def test_criteria_mean_what_the_language_reference_says(memory: Any, criteria: Any, expected: Any) -> None:
    await stock(memory)
    assert await contents(memory.search(criteria)) == expected


@pytest.mark.parametrize(
    ("kept", "criteria"),
    [
        (2**63 + 5, {"x_gt": 2**63 + 1}),
        (2**63 + 1, {"x_lt": 2**63 + 5}),
        (2**63 + 5, {"x": 2**63 + 5}),
        (10**400, {"x_gt": 10**399}),
        (10**400, {"x": 10**400}),
        (5e-324, {"x_gt": 0}),
        (0.1, {"x": 0.1}),
        (123456789.12345679, {"x_lte": 123456789.12345679}),
        ("a\0b", {"x_gt": "a"}),
        ("a\0b", {"x": "a\0b"}),
        ("\U0001f375", {"x_gt": "\uffff"}),
    ],
)
async def test_what_sqlite_would_round_or_cut_is_found_all_the_same(memory: Any, kept: Any, criteria: Any) -> None:
    await memory.store("found", fields={"x": kept})
    assert await contents(memory.search(criteria)) == ["found"]


async def test_a_real_field_is_meant_before_a_suffix(memory: Any) -> None:
    await memory.store("a", fields={"score": 5})
    assert await contents(memory.search({"score_gt": 3})) == ["a"]
    shadow = await memory.store("b", fields={"score_gt": 3})
    assert await contents(memory.search({"score_gt": 3})) == ["b"]
    await memory.delete(shadow)
    assert await contents(memory.search({"score_gt": 3})) == ["a"]


async def test_columns_are_fields_like_others(memory: Any, clock: TestClock) -> None:
    first = await memory.store("a")
    await clock.advance(10)
    second = await memory.store("b", collection="c")
    assert await contents(memory.search({"created_at_gt": first["created_at"]})) == ["b"]
    assert await contents(memory.search({"created_at": first["created_at"]})) == ["a"]
    assert await contents(memory.search({"id_in": [second["id"], "x"]})) == ["b"]
    assert await contents(memory.search({"collection": None})) == ["a"]
    assert (await memory.search_one({"sort_order": "desc"}))["content"] == "b"
    assert await memory.search_one({"content": "c"}) is None


@pytest.mark.parametrize(
    ("criteria", "says"),
    [
        ({"limit": -1}, "limit: expected a whole number"),
        ({"limit": "3"}, "limit: expected a whole number"),
        ({"limit": True}, "limit: expected a whole number"),
        ({"sort_by": 3}, "sort_by: expected a field's name"),
        ({"sort_order": "up"}, "sort_order: expected 'asc' or 'desc'"),
        ({"role_in": "brewer"}, "role_in: expected a list"),
    ],
)
async def test_a_criterion_that_cannot_be_right_is_named(memory: Any, criteria: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await memory.search(criteria)


async def test_a_search_goes_on_over_many_pages_and_stops_at_the_hard_cap(kernel: Kernel, memory: Any) -> None:
    def fill(tx: Any) -> None:
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10499) "
            "INSERT INTO memory__records (owner, id, created_at, updated_at, document) "
            "SELECT 'user:ada', 'id' || i, i / 7, 0, json_object('content', i, 'tags', json('[]'), 'odd', i % 2) FROM n"
        )

    await kernel.store.write(fill, namespace="memory")
    everything = await contents(memory.search({}))
    assert everything == list(range(10_000))
    assert await contents(memory.search({"odd_contains": 1})) == []
    last_first = await contents(memory.search({"odd_ne": 0, "sort_order": "desc", "limit": 3_000}))
    assert last_first == list(range(10_499, 4_499, -2))
    assert await contents(memory.search({"sort_by": "content", "sort_order": "desc", "limit": 2})) == [10_499, 10_498]


# The reference: word by word from the page, slow and without SQL.


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return set(left) == set(right) and all(same(left[key], right[key]) for key in left)
    return (type(left) in (int, float) and type(right) in (int, float) and left == right) or (
        type(left) is type(right) and left == right
    )


def before(left: Any, right: Any) -> bool | None:
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left < right
    return None


def meets(entry: dict[str, Any], key: str, wanted: Any, fields: set[str]) -> bool:
    ending = next((e for e in ENDINGS if key.endswith(e)), None)
    if ending is None or key in fields:
        return same(entry.get(key), wanted)
    value = entry.get(key[: -len(ending)])
    if ending in ("_gt", "_after"):
        return before(wanted, value) is True
    if ending == "_gte":
        return before(value, wanted) is False
    if ending in ("_lt", "_before"):
        return before(value, wanted) is True
    if ending == "_lte":
        return before(wanted, value) is False
    if ending == "_in":
        return any(same(value, one) for one in wanted)
    if ending == "_ne":
        return not same(value, wanted)
    if ending == "_include":
        listed = wanted if isinstance(wanted, list) else [wanted]
        return isinstance(value, list) and all(any(same(item, one) for item in value) for one in listed)
    if isinstance(value, str | dict):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list) and any(same(item, wanted) for item in value)


def reference(entries: list[dict[str, Any]], criteria: dict[str, Any]) -> list[dict[str, Any]]:
    fields = {name for entry in entries for name in entry}
    shape = ("limit", "sort_by", "sort_order")
    found = [e for e in entries if all(meets(e, k, v, fields) for k, v in criteria.items() if k not in shape)]
    by, down = criteria.get("sort_by", "created_at"), criteria.get("sort_order") == "desc"
    if by == "created_at" and down:
        found.reverse()  # they came in order of age
    elif by != "created_at":

        def place(entry: dict[str, Any]) -> Any:
            value = entry[by]
            kind = 0 if isinstance(value, int | float) else 1 if isinstance(value, str) else 2
            return kind, value if kind < 2 else str(value)

        known = sorted((e for e in found if e.get(by) is not None), key=place, reverse=down)
        found = known + [e for e in found if e.get(by) is None]
    return found[: criteria.get("limit", 10_000)]


ENDINGS = ["_include", "_contains", "_before", "_after", "_gte", "_lte", "_gt", "_lt", "_in", "_ne"]
NAMES = ["a", "b", "a_gt", "b_in", 'q"x', "ä b", "x.y", "$z", "back\\slash"]
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 0.1, 1e22, 2**53 + 1, 2**63 + 5, 10**30, -(2**70), 1e-320])
TEXTS = st.sampled_from(["", "a", "ab", "b", "1", "true", "null", '["a"]', "a\0b", "ä", "\U0001f375", "'", "%"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    entries = draw(st.lists(FIELDS, max_size=6))
    met = [value for entry in entries for value in entry.values()]
    values = VALUES | st.sampled_from(met) if met else VALUES
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2)):
        ending = draw(st.sampled_from(["", "", *ENDINGS]))
        made[name + ending] = draw(st.lists(values, max_size=3) if (name + ending).endswith("_in") else values)
    if draw(st.booleans()):
        made["sort_by"] = draw(st.sampled_from([*NAMES, "created_at", "id"]))
    if draw(st.booleans()):
        made["sort_order"] = draw(st.sampled_from(["asc", "desc"]))
    if draw(st.booleans()):
        made["limit"] = draw(st.integers(0, 4))
    return entries, made


class House:
    """One kernel for all examples of a property, each example with an owner of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.home = tempfile.TemporaryDirectory()
        self.count = 0

    async def search(self, entries: list[dict[str, Any]], wanted: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        self.count += 1
        memory = self.kernel.context(Caller(f"user:{self.count}")).service("memory")
        kept = [await memory.store(n, fields=fields) for n, fields in enumerate(entries)]
        return await memory.search(wanted), reference(kept, wanted)

    def __enter__(self) -> House:
        self.running = running_kernel(
            Path(self.home.name), plugins={"allow_all": ALLOW_ALL}, bundled=["memory"], clock=TestClock()
        )
        self.kernel = self.runner.run(self.running.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.running.__aexit__(None, None, None))
        self.runner.close()
        self.home.cleanup()


@pytest.fixture(scope="module")
def house() -> Any:
    with House() as house:
        yield house


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_search_finds_what_the_slow_reference_finds(
    house: House, case: tuple[list[dict[str, Any]], dict[str, Any]]
) -> None:
    found, expected = house.runner.run(house.search(*case))
    assert [entry["content"] for entry in found] == [entry["content"] for entry in expected]


# Words -----------------------------------------------------------------------------------------------------------


async def test_recall_finds_any_word_best_first_whatever_its_case_or_accents(memory: Any) -> None:
    await memory.store("the kettle is cold")
    await memory.store("Thé vert, a green tea")
    await memory.store({"title": "pot", "steps": ["warm the kettle", "add tea"]})
    assert await contents(memory.recall("THE VERT", limit=1)) == ["Thé vert, a green tea"]
    assert len(await memory.recall("kettle tea")) == 3
    assert await memory.recall("nothing like it") == []


async def test_titles_and_tags_are_recalled_but_not_closed_words(memory: Any) -> None:
    await memory.store("x", tags=["breakfast"], fields={"title": "Morning", "type": "note", "status": "open"})
    assert len(await memory.recall("breakfast")) == len(await memory.recall("morning")) == 1
    assert await memory.recall("note open") == []


async def test_recall_narrows_by_tags_time_and_collection(memory: Any, clock: TestClock) -> None:
    await memory.store("old tea", tags=["pot"])
    await clock.advance(7_200)
    await memory.store("new tea", tags=["pot", "cup"], collection="teas")
    assert await contents(memory.recall("tea", tags="pot,cup")) == ["new tea"]
    assert await contents(memory.recall("tea", since="1 hour")) == ["new tea"]
    assert await contents(memory.recall("tea", since=clock.now() - 10_000, collection="teas")) == ["new tea"]
    assert await contents(memory.recall(tags=["pot"])) == ["new tea", "old tea"]
    assert await contents(memory.recall()) == ["new tea", "old tea"]
    assert await contents(memory.recall_tagged("pot", limit=1)) == ["new tea"]
    with pytest.raises(BadInput, match="since: expected seconds since 1970"):
        await memory.recall("tea", since="a while ago")


async def test_recall_gives_twenty_and_never_more_than_a_hundred(memory: Any) -> None:
    for number in range(110):
        await memory.store(f"tea {number}")
    assert len(await memory.recall("tea")) == len(await memory.recall()) == 20
    assert len(await memory.recall("tea", limit=100)) == 100
    with pytest.raises(BadInput, match="limit"):
        await memory.recall("tea", limit=101)


@pytest.mark.parametrize("query", HOSTILE)
async def test_no_query_is_an_operator_or_an_error(memory: Any, query: str) -> None:
    await memory.store("pot of tea")
    await memory.store("coffee")
    assert await contents(memory.recall(query)) in ([], ["pot of tea"])
    assert await contents(memory.search({query: 1})) == []
    assert not await memory.pattern('"; DROP TABLE memory__records; --')
    assert await memory.count() == 2


async def test_a_query_of_signs_only_finds_nothing(memory: Any) -> None:
    await memory.store("tea")
    assert await memory.recall("?!") == []
    assert await memory.pattern("?!") is False


async def test_at_most_32_words_count_and_a_long_query_is_refused(package: ModuleType, memory: Any) -> None:
    bounds = package.Settings()
    assert len(package.recall.tokens(" ".join(f"w{n}" for n in range(50)), bounds)) == 32
    assert package.recall.tokens('say "hi" ... hi hi', bounds) == ('"say"', '"""hi"""', '"hi"')
    with pytest.raises(BadInput, match="at most 4000 characters"):
        await memory.recall("x" * 4_001)


async def test_a_frequent_word_gives_way_to_a_rare_one(memory: Any) -> None:
    await memory.store("tea with zebra")
    for number in range(310):
        await memory.store(f"tea {number}")
    assert await contents(memory.recall("tea zebra")) == ["tea with zebra"]
    # Alone it is ranked among the newest 300, so the oldest entries are not reached.
    newest = await contents(memory.recall("tea", limit=100))
    assert len(newest) == 100
    assert "tea 3" not in newest
    assert len(await memory.recall("tea unknown")) == 20


# Patterns --------------------------------------------------------------------------------------------------------


async def test_a_pattern_exists_recurs_and_grows(memory: Any, clock: TestClock) -> None:
    assert await memory.pattern("tea") is False
    await memory.store("x", tags=["tea"])
    assert await memory.pattern("tea") is await memory.pattern("x") is True
    assert await memory.pattern("tea", "daily") is False
    await clock.advance(80_000)
    await memory.store("a cup of tea")
    await clock.advance(10_000)
    assert await memory.pattern("tea", frequency="daily") is True
    assert await memory.pattern("tea", frequency="hourly") is False
    assert await memory.pattern("tea", frequency="growing") is False
    await memory.store("more tea")
    assert await memory.pattern("tea", frequency="growing") is True
    with pytest.raises(BadInput, match="hourly, daily, weekly or growing"):
        await memory.pattern("tea", frequency="yearly")


async def test_statistics_count_each_entry_once(memory: Any, clock: TestClock) -> None:
    first = await memory.store("tea", tags=["tea"])
    await clock.advance(100)
    last = await memory.store("tea again")
    assert await memory.statistics("tea", timeframe_days=2) == {
        "name": "tea",
        "timeframe_days": 2,
        "count": 2,
        "per_day": 1.0,
        "first": first["created_at"],
        "last": last["created_at"],
        "growing": True,
    }
    with pytest.raises(BadInput, match="timeframe_days"):
        await memory.statistics("tea", timeframe_days=0)
