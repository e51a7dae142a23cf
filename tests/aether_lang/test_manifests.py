"""Manifests run, and `manifest()` reads them: records with calls, verbs, conditions, loops (section 14.3)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_lang.checker import capabilities, check
from aether_lang.compiler import compile_module
from aether_lang.errors import AetherError
from aether_lang.host import LoadedModule
from aether_lang.parser import parse
from tests.aether_lang.running import Recorder, error, result, script

FUNCTIONS = """
fn look(x=0) { return { missing: ["cup", "lid"], shop: "S", n: x } }
fn order(item, from="-") { print("{item} from {from}")
 return item }
fn say(x) { print("say {x}")
 return x }
"""


def printed(manifest: str, **answers: Any) -> list[str]:
    host = Recorder(**answers)
    ended = script(FUNCTIONS + manifest, host)
    assert ended.state == "completed", ended.error or ended.private
    return host.lines


def test_a_manifest_as_the_page_writes_it() -> None:
    host = Recorder()
    manifest = """
steps:
  - scan: shelf()
    using: look(3)
    output: shelf_state
  - if: "shelf_state.missing"
    then:
      - for_each: "shelf_state.missing"
        as: "thing"
        do:
          - log: "buy {thing}"
          - call: order
            args:
              item: "$thing"
              from: "shelf_state.shop"
            store_as: last
    else:
      - log: "all there"
return [shelf_state.n, last]
"""
    assert result(FUNCTIONS + manifest, host) == [3, "lid"]
    assert [record[1] for record in host.records] == ["buy cup", "buy lid"]
    assert host.lines == ["cup from S", "lid from S"]


RECORDS: dict[str, tuple[str, list[str]]] = {
    "using a bare name takes the subject": ("- say: hello\n  using: say", ["say hello"]),
    "or the parameters in its place": ("- say: hello\n  using: say\n  with: [2]", ["say 2"]),
    "a call as written takes parameters too": ("- get: it\n  using: order(1)\n  params: { from: 2 }", ["1 from 2"]),
    "a call takes a list by place": ("- call: order\n  args: [1, 2]", ["1 from 2"]),
    "a call names its function in quotes": ('- call: "order"\n  parameters: { item: 3 }', ["3 from -"]),
    "a call as written": ("- call: say(4)", ["say 4"]),
    "a bare call behind a dash": ("- say(4)\n- call: say(5)", ["say 4", "say 5"]),
    "one without a verb calls the function of its key": ("- say: hello\n  output: x\n- say: x\n  output: y",
                                                         ["say hello", "say hello"]),
    "an action is a verb or a function": ("- action: print\n  args: [1]\n- action: say\n  args: [2]", ["1", "say 2"]),
    "run calls the function it names": ('- run: say\n  inputs:\n    x: "1 + 2"', ["say 3"]),
    "a condition alone decides about the record": ('- call: say(1)\n  if: "1 > 2"\n- call: say(2)\n  when: true',
                                                              ["say 2"]),
    "branches come after the work": (
        "- call: look\n  output: s\n  if: s.missing\n  then: say(s.shop)\n  else: say(0)", ["say S"]),
    "else runs when the condition fails": ("- condition: false\n  then: say(1)\n  else: say(2)\n- say(3)",
                                           ["say 2", "say 3"]),
    "a loop repeats the record": ("- call: say\n  for: each q in [1, 2]\n  args: [q]", ["say 1", "say 2"]),
    "a condition in a loop is asked in each round": (
        '- call: say\n  for: each q in [1, 2]\n  if: "q > 1"\n  args: ["$q"]', ["say 2"]),
    "a loop over a dict takes pairs": ("- for: k, v in { a: 1 }\n  do:\n    - say(k + v)", ["say a1"]),
    "loops stand in loops": ("- for: each a in [1, 2]\n  do:\n    - for: each b in [a, 9]\n      do: say(a * b)",
                             ["say 1", "say 9", "say 4", "say 18"]),
    "the element of for_each is item without a name": ('- for_each: "[7]"\n  do: say(item)', ["say 7"]),
    "a reference to a result is read": (
        "- call: look\n  output: s\n- call: say\n  args:\n    x: \"s.shop\"", ["say S"]),
    "text that names no result is text": ('- call: say\n  args: { x: "s.shop" }', ["say s.shop"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_of_records(name: str) -> None:
    record, expected = RECORDS[name]
    assert printed("steps:\n" + "".join(f"  {line}\n" for line in record.splitlines())) == expected


def test_a_verb_gets_what_stands_behind_its_key_and_its_parameters() -> None:
    host = Recorder(memory__remember="ID", memory__recall=[{"content": "a"}], ui__notify=None)
    source = """
steps:
  - remember: "a" as "tag"
    output: id
  - recall: notes from today
    output: found
  - action: notify
    with: { team: "kitchen", content: "$id" }
  - remember: "b"
    with: { as: "c" }
return [id, found]
"""
    assert result(source, host) == ["ID", [{"content": "a"}]]
    assert [call[2] for call in host.calls] == [
        {"content": "a", "as": "tag"},
        {"from": "today", "query": "notes", "limit": 20},
        {"team": "kitchen", "content": "ID"},
        {"content": "b", "as": "c"},
    ]


def test_a_message_follows_the_work_unless_the_record_begins_with_it() -> None:
    host = Recorder()
    result('fn f() { log("work")\n return 1 }\nsteps:\n  - call: f\n    output: x\n    log: "got {x}"\n'
           '  - log: "first"\n    using: f', host)  # fmt: skip
    assert [record[1] for record in host.records] == ["work", "got 1", "first", "work"]


def test_manifests_run_in_the_order_of_the_source_wherever_they_stand() -> None:
    source = """
initialize:
  - call: say(1)
    store_as: a
fn f() {
  steps:
    - call: say(3)
      output: b
}
say(2)
f()
post_execution:
  - say(b + 1)
say([a, b])
"""
    assert printed(source) == ["say 1", "say 2", "say 3", "say 4", "say [1,3]"]


def test_a_manifest_as_data_is_whole_and_its_own_at_each_reading() -> None:
    source = """
steps:
  - scan: shelf()
    using: look(1)
    output: s
  - for: each x in s.missing
    do:
      - log: "{x}"
checks:
  - jars_left: > 2
  - jars_right: != 3
validation:
  required: true
  by: [ada, bob]
limit: 3 * 2
let mine = manifest()
mine.steps = 5
return manifest()
"""
    assert result(FUNCTIONS + source) == {
        "steps": [
            {"scan": "shelf()", "using": "look(1)", "output": "s"},
            {"for": "each x in s.missing", "do": [{"log": "{x}"}]},
        ],
        "checks": [{"jars_left": {"op": ">", "value": 2}}, {"jars_right": {"op": "!=", "value": 3}}],
        "validation": {"required": True, "by": ["ada", "bob"]},
        "limit": "3 * 2",
    }
    assert result("return manifest()") == {}


def test_a_module_reads_its_own_manifest() -> None:
    host = Recorder()
    code = compile_module(parse("checks:\n  - a: > 1\nfn read() { return manifest() }", "b"))
    host._modules = lambda _: LoadedModule(code, "b.aether", "hash")
    assert result("use a/b\nchecks: 1\nreturn [b.read(), manifest()]", host) == [
        {"checks": [{"a": {"op": ">", "value": 1}}]},
        {"checks": 1},
    ]


def test_an_error_in_a_record_is_raised_at_its_line_and_ends_the_manifest() -> None:
    host = Recorder()
    found = error(FUNCTIONS + "steps:\n  - say(1)\n  - zap: it\n    output: x\n  - say(2)", host)
    assert (found["type"], found["line"], host.lines) == ("UnknownFunction", 9, ["say 1"])


def test_loops_of_a_manifest_draw_steps() -> None:
    source = 'steps:\n  - for_each: "1000000"\n    do:\n      - for_each: "1000000"\n        do: len([])\n'
    assert error(source, limits={"steps": 20_000})["data"]["limit"] == "steps"


def test_loops_that_stand_deeper_in_each_other_than_python_takes_are_refused_at_their_place() -> None:
    lines = ["steps:"]
    for level in range(22):
        lines += [f"{'  ' * (2 * level + 1)}- for: each x{level} in [1]", f"{'  ' * (2 * level + 2)}do:"]
    lines += [f'{"  " * 45}- log: "x"']
    with pytest.raises(AetherError) as caught:
        compile_module(parse("\n".join(lines)))
    assert caught.value.diagnostics[0].message == "this nests too deep, give it a function of its own"


def test_the_checker_sees_what_records_do_and_bind() -> None:
    source = 'steps:\n  - remember: "x"\n    output: id\n  - call: http.get\n    args: ["u"]\n    store_as: page\n'
    assert capabilities(parse(source)) == ["memory.write", "net.http"]
    assert [one.code for one in check(source + "print(id, page)")] == []
    assert [one.code for one in check(FUNCTIONS + "steps:\n  - call: say\n    args: [1, 2]\n")] == ["AE203"]
    assert [one.code for one in check("fn f() {\n  steps:\n    - call: now\n      output: t\n}\nf()\nprint(t)")] == []


# ---------------------------------------------------------------- items

ITEMS: dict[str, tuple[str, Any]] = {
    "words are symbols": ("- a\n- b", ["a", "b"]),
    "expressions have their value": ("- 1 + 1\n- f(2)", [2, 4]),
    "records are dicts": ('- name: "x"\n  age: 2\n- name: "y"', [{"name": "x", "age": 2}, {"name": "y"}]),
    "a record may begin on the next line": ("-\n  a: 1", [{"a": 1}]),
    "prose is text": ("- don't do it", ["don't do it"]),
    "a verb is text": ('- log "x"', ['log "x"']),
    "nothing is null": ("-\n- 1", [None, 1]),
    "a list in a list": ("- - 1", [[1]]),
    "a key behind a number is a record": ("1. y: 4\n2. y", [{"y": 4}, "y"]),
    "a phrase gives what its call gives": ("- f(2) -> y\n- y", [4, 4]),
    "a guard that fails gives null": ("- 5 if no_signal", [None]),
    "a statement runs and is no element": ("- x = 3\n- for q in 2:\n    x += 1\n- x", [5]),
}


@pytest.mark.parametrize("name", ITEMS)
def test_of_items_in_data(name: str) -> None:
    lines, expected = ITEMS[name]
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    assert result(f"fn f(x) {{ return x * 2 }}\nbox {{\n  list:\n{body}}}\nreturn box.list") == expected


def test_lines_behind_numbers_and_dashes_among_statements_are_statements() -> None:
    host = Recorder()
    source = '1. print("a")\n2. x = 3\n3. y: 4\n- print("b")\n- log: "c"\n- name: "data"\n  age: x\nreturn [x, y]'
    assert result(source, host) == [3, 4]
    assert (host.lines, [record[1] for record in host.records]) == (["a", "b"], ["c"])
    assert [one.code for one in check(source) if not one.is_style] == []


KEYS = st.sampled_from(
    ["call", "log", "if", "output", "then", "else", "do", "for_each", "using", "args", "scan", "note"]
)
VALUES = st.sampled_from(["say(1)", "look", '"s"', "true", "x", "[1, 2]", "2", '"1 + 1"', "null", "a b", "> 3"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=4), min_size=1, max_size=3))
def test_every_manifest_runs_or_is_refused_with_a_diagnostic(records: list[list[tuple[str, str]]]) -> None:
    lines = ["steps:"]
    for record in records:
        lines += [f"  {'- ' if n == 0 else '  '}{key}: {value}" for n, (key, value) in enumerate(record)]
    source = FUNCTIONS + "\n".join(lines)
    try:
        compiled = compile_module(parse(source))
    except AetherError:
        return
    check(source)
    ended = script(source, Recorder())
    assert compiled
    assert ended.private is None, source
