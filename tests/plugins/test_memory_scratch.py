"""A run's own changes answer as memory will: operation by operation, and after the commit."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aether_lang import host
from aether_lang.scratch import Scratch
from aether_lang.values import LimitError, ScriptError
from kernel import AetherraError, Caller
from kernel.testing import ALLOW_ALL, TestClock, running_kernel

Step = tuple[str, dict[str, Any]]
UNORDERED = {"memory.recall", "memory.query"}
"""Where memory ranks by words, which scratch memory does in a simpler way."""


class House:
    """One kernel for all examples, each example with users of its own; called from outside its loop."""

    def __init__(self, gateway: ModuleType) -> None:
        self.gateway = gateway
        self.runner = asyncio.Runner()
        self.home = tempfile.TemporaryDirectory()
        self.clock = TestClock()
        self.count = 0

    def user(self) -> Callable[[str, dict[str, Any]], Any]:
        """Return what carries out operations for a new user's script."""
        self.count += 1
        ctx = self.kernel.context(Caller(f"user:{self.count}"))
        run = SimpleNamespace(id=f"job{self.count}", name="s", trace_level="info")
        gateway = self.gateway.Gateway(ctx, "s", run, {"host_calls": 100_000, "ai_calls": 1}, {"host_calls": 0})

        def call(operation: str, args: dict[str, Any]) -> Any:
            try:
                return self.runner.run(gateway.call({"op": operation, "args": args}))
            except AetherraError as error:
                raise ScriptError(error.details["type"], error.message, error.details["data"]) from None

        return call

    def advance(self, seconds: float) -> None:
        self.runner.run(self.clock.advance(seconds))

    def __enter__(self) -> House:
        self.running = running_kernel(
            Path(self.home.name),
            plugins={"allow_all": ALLOW_ALL},
            bundled=["memory"],
            clock=self.clock,
            overrides={"plugins.memory.rank_newest": 1_000_000},  # no word is too frequent to be ranked
        )
        self.kernel = self.runner.run(self.running.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.running.__aexit__(None, None, None))
        self.runner.close()
        self.home.cleanup()


@pytest.fixture(scope="module")
def house(load_plugin: Callable[[str], ModuleType]) -> Iterator[House]:
    with House(load_plugin("scripts").gateway) as house:
        yield house


class Side:
    """One of two memories that are told the same: its ids have names of their own, by their number."""

    def __init__(self, call: Callable[[str, dict[str, Any]], Any]) -> None:
        self.call = call
        self.ids: list[str] = []

    def told(self, step: Step) -> Any:
        """Carry out a step; return what came of it with numbers for ids."""
        operation, args = step
        try:
            answer = self.call(operation, self._filled(args))
        except ScriptError as error:
            return error.type
        for found in [answer] if operation in CREATING else []:
            identity = found["id"] if isinstance(found, dict) else found
            if isinstance(identity, str) and identity not in self.ids and identity not in KNOWN:
                self.ids.append(identity)
        named = self.named(answer)
        return sorted(named, key=repr) if operation in UNORDERED else named

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.ids[value % len(self.ids)] if self.ids else "nobody"
        if isinstance(value, dict):
            return {name: self._filled(part) for name, part in value.items()}
        return [self._filled(part) for part in value] if isinstance(value, list) else value

    def named(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.ids:
            return f"#{self.ids.index(value)}"
        if isinstance(value, dict):
            return {name: self.named(part) for name, part in value.items()}
        return [self.named(part) for part in value] if isinstance(value, list) else value


class Ref(int):
    """The id of the n-th thing that was made."""


CREATING = {"memory.remember", "memory.store", "memory.put", "memory.learn", "collection.store", "collection.append",
            "goal.set", "goal.declare", "goal.update"}  # fmt: skip
KNOWN = ("pot", "cup")

KNOWN_IDS = st.sampled_from(KNOWN)
NAMES = st.sampled_from(["tea", "hot", "cups"])
REFS = st.integers(0, 7).map(Ref) | KNOWN_IDS
TEXTS = st.sampled_from(["green tea", "tea", "Grüner Tee, grün", "black tea-pot", "", "4 cups"])
TAGS = st.sampled_from(["tea", "tea,hot", ["hot"], None, "  ", [3]])
FIELDS = st.dictionaries(
    st.sampled_from(["level", "role", "level_gt", "done"]),
    st.sampled_from([0, 1, 2.5, "1", None, True, [1], {"a": 1}]),
    max_size=2,
)
COLLECTIONS = st.sampled_from(["shelf", "box"])
CRITERIA = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from([1, "1", None]), "level_gt": st.sampled_from([0, 1]), "role_ne": st.just("1"),
        "level_in": st.sampled_from([[1, 2.5], 3]), "tags_include": st.sampled_from(["tea", ["hot", "tea"]]),
        "content_contains": st.just("tea"), "archived": st.booleans(), "collection": COLLECTIONS,
        "limit": st.sampled_from([0, 1, 2, -1]), "sort_by": st.sampled_from(["level", "created_at", "content"]),
        "sort_order": st.sampled_from(["asc", "desc"]),
    },
)  # fmt: skip


def op(name: str, /, **args: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    fixed = {key.rstrip("_"): value for key, value in args.items()}
    return st.fixed_dictionaries(fixed).map(lambda given: (name, {k: v for k, v in given.items() if v is not None}))


WRITES = st.one_of(
    op("memory.remember", content=TEXTS | FIELDS, as_=TAGS, key=st.none() | st.just("k")),
    op("memory.store", entry=st.builds(lambda i, f, t: {"id": i, "content": t, **f}, KNOWN_IDS, FIELDS, TEXTS)),
    op("memory.store", entry=st.builds(lambda f, t: {"content": t, "collection": "shelf", **f}, FIELDS, TEXTS)),
    op("memory.put", value=TEXTS, tag=TAGS, metadata=FIELDS | st.none()),
    op("memory.update", id=REFS, patch=FIELDS | st.just({"id": "other"}) | st.just({"tags": ["new"], "content": "x"})),
    op("memory.delete", id=REFS | st.lists(REFS, max_size=2) | st.just([{"id": 3}])),
    op("memory.archive", entry=REFS),
    op("memory.tag", value=REFS, tag=TAGS),
    op("memory.learn", verb=st.just("learn"), text=TEXTS),
    op("memory.forget", query=TEXTS | st.none(), tag=st.sampled_from([None, "hot"])),
    op("collection.store", collection=COLLECTIONS, value=TEXTS, with_=FIELDS | st.none()),
    op("collection.remove", collection=COLLECTIONS, value=REFS),
    op("collection.clear", collection=COLLECTIONS),
    op("collection.update", collection=COLLECTIONS, value=st.builds(lambda i, f: {"id": i, **f}, REFS, FIELDS)),
)
SINCE = st.sampled_from([None, "1 hour", "soon"])
READS = st.one_of(
    op("memory.search", criteria=CRITERIA),
    op("memory.search_one", criteria=CRITERIA),
    op("memory.get", id=REFS | st.just(3)),
    op("memory.get", identity=REFS),
    op("memory.load", tag=st.sampled_from([None, "tea"])),
    op("memory.tagged", tag=st.just("hot"), limit=st.sampled_from([1, 20, 0])),
    op("memory.recall", query=TEXTS, tag=st.sampled_from([None, "tea"]), from_=SINCE),
    op("memory.query", query=TEXTS | st.just("select *")),
    op("memory.pattern", name=NAMES, frequency=st.sampled_from([None, "daily", "growing", "x"])),
    op("memory.statistics", slots=st.sampled_from([["tea"], [], ["hot", {"name": "timeframe", "value": 2}]])),
    op("memory.logs", tag=st.just("tea"), hours=st.just(3)),
    op("memory.count"),
    op("collection.has", collection=COLLECTIONS),
)
GIVEN_GOALS = ["Brew", {"title": "Drink", "priority": "high", "cups": 3}, {"name": " Brew "}, {"x": 1}]
CHANGES = [{"status": word} for word in ("completed", "failed", "active")] + [
    {"progress": 0.5},
    {"progress": 2},
    {"cups": None},
]
GOALS = st.one_of(
    op("goal.set", goal=st.sampled_from(GIVEN_GOALS)),
    op(
        "goal.declare",
        title=st.sampled_from(["Brew", "Drink", ""]),
        deadline=st.sampled_from([None, "2 days", "never", True]),
        metrics=st.sampled_from([None, "a=1", {"a": 2}]),
    ),
    op("goal.update", goal=st.builds(lambda i, f: {"id": i, **f}, REFS, st.sampled_from(CHANGES))),
    op("goal.finish", id=REFS, state=st.sampled_from(["completed", "failed"])),
    op("goal.all"),
    op("goal.active"),
    op("goal.count_active"),
    op("goal.status"),
    op("goal.check", goal=st.sampled_from(["Brew", "nobody"]) | REFS),
)
STEPS = st.lists(WRITES | READS | GOALS | st.just(("wait", {})), max_size=14)


BEFORE_AND_AFTER = given(before=STEPS, steps=STEPS)


def proof(house: House, before: list[Step], steps: list[Step]) -> None:
    """Tell both sides the same at the same moments; the one holds its later steps back until the end."""
    kept, direct = Side(house.user()), Side(house.user())
    together(house, kept, direct, before)
    count = iter(range(1_000))
    scratch = Scratch(kept.call, house.clock.now, lambda: f"new-{next(count)}", ranked=True, source="script:s")
    mine = Side(scratch.serve)
    mine.ids = list(kept.ids)
    together(house, mine, direct, steps)
    changes = scratch.changes()
    kept.ids = mine.ids
    kept.call("memory.delete", {"id": changes["deleted"]})
    for entry in changes["entries"]:
        kept.call("memory.store", {"entry": entry})
    everything: Step = ("memory.search", {})
    assert [{**entry, "updated_at": 0} for entry in kept.told(everything)] == [
        {**entry, "updated_at": 0} for entry in direct.told(everything)
    ]


def together(house: House, one: Side, other: Side, steps: list[Step]) -> None:
    for step in steps:
        house.advance(5_000 if step[0] == "wait" else 1)
        if step[0] != "wait":
            assert one.told(step) == other.told(step), step


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@BEFORE_AND_AFTER
def test_changes_over_a_memory_are_what_memory_would_have_made_of_them(
    house: House, before: list[Step], steps: list[Step]
) -> None:
    proof(house, before, steps)


@pytest.mark.soak
@pytest.mark.timeout(600)
@settings(max_examples=3_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@BEFORE_AND_AFTER
def test_many_changes_over_a_memory_are_what_memory_would_have_made_of_them(
    house: House, before: list[Step], steps: list[Step]
) -> None:
    proof(house, before, steps)


# Without a memory beneath ----------------------------------------------------------------------------------------


def scratch(**more: Any) -> Scratch:
    count = iter(range(1_000))
    return Scratch(None, lambda: 1_000.0, lambda: f"new-{next(count)}", **more)


def test_a_mark_is_gone_back_to() -> None:
    run = scratch()
    first = run.serve("memory.remember", {"content": "tea"})
    goal = run.serve("goal.set", {"goal": "Brew"})
    mark = run.mark()
    run.serve("memory.delete", {"id": first})
    run.serve("memory.remember", {"content": "coffee"})
    run.serve("goal.finish", {"id": goal["id"], "state": "failed"})
    run.reset(mark)
    assert [entry["content"] for entry in run.serve("memory.search", {})] == ["tea"]
    assert run.serve("goal.active", {})[0]["title"] == "Brew"
    run.serve("memory.forget", {"query": "tea"})
    run.reset(mark)
    assert run.serve("memory.count", {}) == 1


def test_what_a_caller_does_with_an_answer_changes_nothing() -> None:
    run = scratch()
    given = {"cups": [1]}
    entry = run.serve("memory.get", {"id": run.serve("memory.remember", {"content": given})})
    given["cups"].append(2)
    entry["content"]["cups"].append(3)
    run.changes()["entries"][0]["content"]["cups"].append(4)
    assert run.serve("memory.get", {"id": entry["id"]})["content"] == {"cups": [1]}


def test_recall_by_words_does_not_see_what_is_held_back_unless_it_ranks_itself() -> None:
    for ranked in (False, True):
        run = scratch(ranked=ranked)
        run.serve("memory.remember", {"content": "green tea", "as": "hot"})
        assert len(run.serve("memory.recall", {"query": "Tea"})) == ranked
        assert len(run.serve("memory.recall", {"tag": "hot"})) == 1


def test_a_run_cannot_hold_back_more_than_its_bound() -> None:
    run = scratch(most_mb=0.01)
    for _ in range(5):
        run.serve("memory.remember", {"content": "x" * 2_000})
    with pytest.raises(LimitError, match="charged_mb"):
        run.serve("memory.remember", {"content": "x" * 2_000})


def test_every_operation_on_memory_and_goals_is_handled() -> None:
    rows = [*host.FUNCTIONS.values(), *host.BEHIND_THE_LANGUAGE.values()]
    wanted = {row.operation for row in rows if row.operation.partition(".")[0] in ("memory", "collection", "goal")}
    assert [operation for operation in sorted(wanted) if not Scratch.handles(operation)] == []
    assert not Scratch.handles("file.write")
