"""A run with mocks answers every effect, has none, and is the same each time (section 18.4)."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_lang import host, run
from aether_lang.compiled import Compiled
from aether_lang.describing import described
from aether_lang.determinism import FixedHost
from aether_lang.front import compiled
from aether_lang.host import LocalHost
from aether_lang.mocks import AI_TEXT, Mocks, with_policy
from aether_lang.program import Outcome
from aether_lang.samples import sample
from aether_lang.stdlib.schemas import validate_schema
from aether_lang.values import LimitError, Place, ScriptError

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE: Place = ("t.aether", 3, 1, "")


def code(source: str) -> bytes:
    made = compiled(source, "t.aether", {})
    assert made["ok"], made["diagnostics"]
    return bytes(made["code"])


def mocked(source: str, base: Any = None, **more: Any) -> tuple[Outcome, Mocks]:
    program = code(source)
    base = LocalHost(seed=1, out=io.StringIO(), sleep=lambda _: None) if base is None else base
    mocks = Mocks(base, contracts=Compiled(program).meta["contracts"], **more)
    return run(program, mocks), mocks


def answer(source: str) -> Any:
    outcome, _ = mocked(source)
    assert outcome.state == "completed", outcome.error
    return outcome.result


# Answers ---------------------------------------------------------------------------------------------------------


def test_memory_is_a_scratch_copy() -> None:
    outcome, mocks = mocked(
        'let id = remember("green tea", as="tea")\nstore "cup" in shelf\nrecall "tea" with "tea"\n'
        'return [$last_output.map(e => e.content), get_memory(id).tags, memory.count(), memory.has("shelf")]'
    )
    assert outcome.result == [["green tea"], ["tea"], 2, True]
    assert [effect.would for effect in mocks.effects] == ["remember green tea", "store cup in shelf"]


def test_a_model_is_not_asked_and_says_so() -> None:
    assert answer('return [ask_ai("tea?"), detect_anomalies([1]), evaluate_confidence(1)]') == [AI_TEXT, [], 0.5]


def test_the_network_is_refused_with_an_error_that_a_script_can_catch() -> None:
    assert answer('try { http.get("https://tea.example/") } catch (e) { return e.type }') == "NetworkError"


def test_files_are_those_that_the_run_wrote() -> None:
    source = (
        'write_file("a.txt", "tea")\nsave_json_file("b.json", { cups: 2 })\nlet missing = ""\n'
        'try { read_file("/etc/passwd") } catch (e) { missing = e.type }\n'
        'return [read_file("a.txt"), load_json_file("b.json").cups, file_exists("a.txt"), file_exists("c"), missing]'
    )
    assert answer(source) == ["tea", 2, True, False, "FileError"]


def test_a_plugin_answers_by_the_contract_that_the_script_has_with_it() -> None:
    source = (
        'plugin_contract:\n  id: "pot"\n  output_schema: { type: "object", required: ["ml"], '
        'properties: { ml: { type: "integer", minimum: 3 }, sort: { enum: ["green", "black"] } } }\n'
        'return [run_plugin("pot.read"), plugin_exists("pot"), plugin_exists("cup")]'
    )
    made = {"ml": 3, "sort": "green"}
    assert answer(source) == [made, True, False]


def test_a_plugin_without_a_contract_answers_null_and_the_log_says_why() -> None:
    base = LocalHost(seed=1, out=io.StringIO())
    outcome, _ = mocked('return [run_plugin("pot.read"), run_plugin("pot.read")]', base)
    assert outcome.result == [None, None]
    warnings = [message for level, message, _ in base.records if level == "warning"]
    assert len(warnings) == 1
    assert "plugin_contract" in warnings[0]


def test_what_would_tell_somebody_is_only_kept() -> None:
    outcome, mocks = mocked(
        'notify(user: "ada", content: "tea")\nalert("hot")\nemit("pot.low", { ml: 3 })\nbackup the pots\n'
        'run agent "Brewer" with 3\nescalate_to("crew", message="hot")\nreturn $Brewer_output'
    )
    assert outcome.result == AI_TEXT
    assert [(effect.capability, effect.line) for effect in mocks.effects] == [
        ("ui.notify", 1),
        ("ui.notify", 2),
        ("event.emit", 3),
        ("intent.act", 4),
        ("agent.run", 5),
        ("agent.message", 6),
    ]
    assert mocks.effects[0].would == "tell ada: tea"


def test_reads_of_what_is_there_go_beneath_and_writes_do_not() -> None:
    _, outer = mocked('remember("old", as="tea")')
    outcome, inner = mocked(
        'let found = search_memory({})\nupdate_memory(found[0].id, { content: "new" })\n'
        "return [found[0].content, search_memory({})[0].content]",
        outer,
        reads=True,
    )
    assert outcome.result == ["old", "new"]
    assert [effect.operation for effect in inner.effects] == ["memory.update"]
    assert [entry["content"] for entry in outer.scratch.serve("memory.search", {})] == ["old"]


def test_a_transaction_is_tried_as_a_whole_and_taken_back() -> None:
    outcome, mocks = mocked(
        'transaction:\n  - remember("tea", as="t")\n  - notify(team: "kitchen", content: "tea")\n'
        "let there = memory.count()\nlet back = rollback($transaction.token)\n"
        "return [there, back, memory.count()]"
    )
    assert outcome.result == [1, True, 0], outcome.error
    assert [effect.operation for effect in mocks.effects] == ["memory.store", "ui.notify"]


def test_too_many_calls_and_too_large_files_end_the_run() -> None:
    outcome, _ = mocked('for n in [1, 2, 3, 4] { remember("tea") }', limits={"host_calls": 3})
    assert outcome.error is not None
    assert outcome.error["data"] == {"limit": "host_calls", "value": 3}
    outcome, _ = mocked('ask_ai("a")\nask_ai("b")', limits={"ai_calls": 1})
    assert outcome.error is not None
    assert outcome.error["data"]["limit"] == "ai_calls"
    mocks = Mocks(LocalHost())
    mocks.call("fs.write", "file.write", {"path": "a", "text": "x" * 40_000_000}, PLACE)
    with pytest.raises(LimitError):
        mocks.call("fs.write", "file.write", {"path": "b", "text": "x" * 40_000_000}, PLACE)


def test_every_operation_of_the_language_has_an_answer() -> None:
    base = LocalHost(seed=1, out=io.StringIO(), sleep=lambda _: None)
    for row in {**host.FUNCTIONS, **host.BEHIND_THE_LANGUAGE}.values():
        if row.operation == "effect.commit":
            continue  # what it writes is not the script's; it is tried with a transaction
        given = dict.fromkeys((name.rstrip("?") for name in row.parameters), "1")
        args = {name: value for name, value in given.items() if not name.startswith("*")}
        with contextlib.suppress(ScriptError):
            Mocks(base).call(row.capability, row.operation, args, PLACE)
    assert [message for _, message, _ in base.records if "has no mock" in message] == []


# Determinism -----------------------------------------------------------------------------------------------------

TEA = 'let id = remember("tea")\nsleep(5000)\nreturn [random(), random_int(1, 1000), generate_uuid(), id, now(), now()]'


def test_a_seed_and_a_start_give_the_same_run_in_another_process() -> None:
    program = (
        "import sys, json, io; sys.path[:0] = [sys.argv[1]]\n"
        "from aether_lang import run\nfrom aether_lang.front import compiled\n"
        "from aether_lang.host import LocalHost\nfrom aether_lang.mocks import with_policy\n"
        "policy = {'deterministic': True, 'mock_io': True, 'seed': 7}\n"
        "host = with_policy(LocalHost(out=io.StringIO()), policy, 'job', 1000.0)\n"
        "print(json.dumps(run(compiled(sys.argv[2], 't', {})['code'], host).result))"
    )
    command = [sys.executable, "-c", program, str(ROOT), TEA]
    there = subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": "3"})
    policy = {"deterministic": True, "mock_io": True, "seed": 7}
    here = run(code(TEA), with_policy(LocalHost(out=io.StringIO()), policy, "another", 1000.0)).result
    assert json.loads(there.stdout) == here
    assert 1005.0 <= here[4] < 1005.1
    assert here[5] == pytest.approx(here[4] + 0.001)


def test_the_seed_is_the_policys_else_the_metas_else_the_jobs() -> None:
    def drawn(policy: dict[str, Any], job: str = "job", **more: Any) -> Any:
        base = LocalHost(clock=lambda: 5.0)
        made = with_policy(base, policy, job, 1000.0, **more)
        return [made.call("random.read", "random.number", {}, PLACE), made.call("time.read", "time.now", {}, PLACE)]

    seeded = drawn({"seed": 7})
    assert seeded == drawn({}, meta={"seed": 7}) == drawn({"seed": 7}, "other", meta={"seed": 8})
    assert seeded[1] == 5.0
    fixed = drawn({"deterministic": True})
    assert fixed == drawn({"deterministic": True})
    assert fixed[1] == 1000.0
    assert fixed != drawn({"deterministic": True}, "other")


def test_without_a_policy_the_host_is_the_jobs_own() -> None:
    base = LocalHost()
    assert with_policy(base, {"mock_io": False}, "job", 0.0) is base


def test_a_wait_that_is_no_number_is_an_error_of_the_script() -> None:
    with pytest.raises(ScriptError, match="number of seconds"):
        FixedHost(LocalHost(), 1, 0.0).call("time.read", "time.sleep", {"seconds": "soon"}, PLACE)


# Values by a schema ----------------------------------------------------------------------------------------------


class Room:
    def spend(self, steps: int) -> None:
        pass

    def worked(self, size: int) -> None:
        pass


NUMBERS = st.integers(-5, 5)
LEAVES = st.one_of(
    st.sampled_from([{"type": name} for name in ("null", "boolean", "string", "array", "object")]),
    st.builds(
        lambda name, least, more: {"type": name, "minimum": least, "maximum": least + abs(more)},
        st.sampled_from(["integer", "number"]),
        NUMBERS,
        NUMBERS,
    ),
    st.builds(lambda a, b: {"type": "string", "minLength": abs(a), "maxLength": abs(a) + abs(b)}, NUMBERS, NUMBERS),
    st.sampled_from([{"enum": ["a", 1]}, {"const": None}, {"type": ["null", "string"]}, {}, True]),
    st.just({"type": "string", "pattern": "^t", "examples": ["tea"]}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda p, r: {"type": "object", "properties": p, "required": r},
            st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            st.lists(st.sampled_from("abc"), max_size=2),
        ),
        st.builds(lambda s: {"type": "array", "items": s}, inner),
        st.builds(lambda s: {"anyOf": [s, {"type": "null"}]}, inner),
        st.builds(lambda s: {"type": "object", "required": ["x"], "additionalProperties": s}, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(schema=SCHEMAS)
def test_a_value_for_a_schema_is_allowed_by_it(schema: Any) -> None:
    assert validate_schema(Room(), sample(schema), schema)["errors"] == []  # type: ignore[arg-type]


WORDS = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "minimum",
    "maxLength",
    "minLength",
    "$ref",
    "$defs",
    "anyOf",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*WORDS, "object", "string", "integer"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
)


@settings(max_examples=100, deadline=None)
@given(schema=ANYTHING)
def test_any_schema_at_all_gives_a_value(schema: Any) -> None:
    sample(schema)


def test_a_schema_that_refers_to_itself_gives_a_value() -> None:
    schema = {
        "$ref": "#/$defs/Leaf",
        "$defs": {"Leaf": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Leaf"}}}},
    }
    assert "next" in sample(schema)


def test_a_call_is_described_in_few_words() -> None:
    assert described("memory.remember", {"content": "x" * 200}) == f"remember {'x' * 59}…"
    assert described("ui.notify", {"content": {"cups": 2}, "user": None}) == 'tell: {"cups":2}'
    assert described("tea.brew", {"cups": 2}) == "tea.brew(cups=2)"
