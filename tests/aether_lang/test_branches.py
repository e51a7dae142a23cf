"""`parallel:` and `await`: branches one at a time, their calls side by side (section 12.5)."""

import threading
from typing import Any

import pytest

from aether_lang.budget import Budget
from aether_lang.compiler import compile_module
from aether_lang.parser import parse
from aether_lang.program import Outcome, run
from aether_lang.values import Place
from tests.aether_lang.running import Recorder, error, result, script


class Meeting(Recorder):
    """A host whose calls overlap: each `plugin.call` answers once as many are under way as the test waits for."""

    direct = False
    overlaps = True

    def __init__(self, meet: int) -> None:
        super().__init__()
        self._meet = threading.Barrier(meet)
        self.under_way = 0
        self.most = 0

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        if operation != "plugin.call":
            return super().call(capability, operation, args, position)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self._meet.wait(20)
        self.under_way -= 1
        return args["args"][0]


class Parking(Recorder):
    """A host whose calls overlap and wait until the job is told to end."""

    direct = False
    overlaps = True

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget({})
        self.gone = threading.Event()
        self.budget.wakers.append(self.gone.set)

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        if operation != "plugin.call":
            return super().call(capability, operation, args, position)
        self.gone.wait(20)
        self.budget.check()
        return None


def ended(source: str, host: Recorder, **options: Any) -> Outcome:
    return run(compile_module(parse(source, "test.aether")), host, **options)


THREE = "parallel:\n  a: plugin('p.f', 1)\n  b: plugin('p.f', 2)\n  c: plugin('p.f', 3)\n"


def test_branches_give_their_values_where_they_are_read() -> None:
    assert result("parallel:\n  a: 1 + 1\n  b: a * 10\nreturn [b, a]") == [20, 2]


def test_the_calls_of_branches_are_under_way_together() -> None:
    host = Meeting(3)
    assert ended(THREE + "return [a, b, c]", host).result == [1, 2, 3]
    assert host.most == 3


def test_no_more_branches_are_open_together_than_the_limit_says() -> None:
    host = Meeting(2)
    source = "parallel:\n" + "".join(f"  b{n}: plugin('p.f', {n})\n" for n in range(6))
    source += "return [" + ", ".join(f"b{n}" for n in range(6)) + "]"
    assert ended(source, host, limits={"branches": 2}).result == list(range(6))
    assert host.most == 2


def test_the_policy_may_only_lower_how_many_are_open() -> None:
    host = Meeting(2)
    source = "policy:\n  max_concurrency: 2\nparallel:\n" + "".join(f"  b{n}: plugin('p.f', {n})\n" for n in range(4))
    assert ended(source + "return b3", host).result == 3
    assert host.most == 2


def test_code_between_two_calls_is_never_interleaved() -> None:
    source = """
seen = []
fn work(n) {
  plugin("p.f", n)
  for i in 1..2000 { seen.append(n) }
}
parallel:
  - work(1)
  - work(2)
  - work(3)
fn runs(xs) {
  let count = 0
  let last = 0
  for x in xs { if x != last { count += 1 }
    last = x }
  return count
}
when checked:
    log "x"
"""
    host = Meeting(3)
    first = ended(source + "parallel:\n  d: 1\nawait d\nreturn null", host)
    assert first.state == "completed", first.error or first.private
    host = Meeting(3)
    joined = (
        source.replace("- work(1)", "a: work(1)").replace("- work(2)", "b: work(2)").replace("- work(3)", "c: work(3)")
    )
    assert ended(joined + "await a, b, c\nreturn [seen.length, runs(seen)]", host).result == [6000, 3]


def test_when_one_fails_the_others_go_on_and_its_error_is_raised_at_the_first_read() -> None:
    source = "fn bad() { throw 'x' }\nparallel:\n  a: bad()\n  b: 5\n"
    assert result(source + "try { print(a) } catch e { return [e.message, b] }") == ["x", 5]


def test_an_error_nothing_reads_is_raised_at_the_end() -> None:
    found = error("fn bad() { throw 'x' }\nparallel:\n  a: bad()\nprint('on')\nreturn 5")
    assert (found["type"], found["message"], found["line"]) == ("UserError", "x", 1)


def test_await_waits_for_every_branch_it_lists() -> None:
    host = Recorder()
    script("parallel:\n  a: print('a')\n  b: print('b')\nawait a, b\nprint('end')", host)
    assert host.lines == ["a", "b", "end"]


def test_a_branch_may_wait_for_one_that_has_not_begun() -> None:
    host = Meeting(1)
    source = "parallel:\n  a: b + 1\n  b: plugin('p.f', 4)\nreturn a"
    assert ended(source, host, limits={"branches": 1}).result == 5


@pytest.mark.parametrize("meeting", [True, False])
def test_branches_that_wait_for_each_other_are_an_error_and_no_deadlock(meeting: bool) -> None:
    host = Meeting(1) if meeting else Recorder()
    found = ended("parallel:\n  a: b\n  b: a\nreturn a", host).error
    assert found is not None
    assert found["type"] == "ValueError"
    assert "waits for what waits for it" in found["message"]


def test_branches_may_open_branches() -> None:
    source = """
fn pair(n) {
  parallel:
    x: plugin("p.f", n)
    y: plugin("p.f", n + 1)
  return x + y
}
parallel:
  a: pair(1)
  b: pair(10)
  c: pair(20)
return a + b + c
"""
    assert ended(source, Meeting(1), limits={"branches": 2}).result == 3 + 21 + 41


def test_in_a_deterministic_run_they_go_one_after_another_in_order() -> None:
    host = Meeting(1)
    contract = "plugin_contract:\n  id: p\n  deterministic: true\n  side_effects: false\n"
    assert ended("policy:\n  deterministic: true\n" + contract + THREE + "return [a, b, c]", host).result == [1, 2, 3]
    assert host.most == 1


def test_a_failing_script_takes_its_branches_along() -> None:
    host = Parking()
    found = ended("parallel:\n  a: plugin('p.f', 1)\nthrow 'x'", host, budget=host.budget)
    assert found.error is not None
    assert (found.error["message"], host.gone.is_set()) == ("x", True)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("branch")]


def test_branches_are_over_before_a_plugin_block_cleans_up() -> None:
    source = """
plugin p {
  init() { print("begun") }
  cleanup() { print("clean") }
  fn work() { return 1 }
}
fn branch() { try { plugin("p.f", 1) } finally { print("branch over") } }
p.work()
parallel:
  a: branch()
throw "x"
"""
    host = Parking()
    assert ended(source, host, budget=host.budget).state == "failed"
    assert host.lines == ["begun", "branch over", "clean"]


def test_a_cancelled_script_takes_its_branches_along() -> None:
    host = Parking()
    threading.Timer(0.05, host.budget.cancel).start()
    found = ended("parallel:\n  a: plugin('p.f', 1)\n  b: plugin('p.f', 1)\nreturn a", host, budget=host.budget)
    assert found.state == "cancelled"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("branch")]


def test_all_branches_share_one_budget_of_steps() -> None:
    found = ended(
        "fn f() { while true { } }\nparallel:\n  a: f()\n  b: f()\nreturn a", Meeting(1), limits={"steps": 50_000}
    )
    assert found.error is not None
    assert (found.error["type"], found.error["data"]["limit"]) == ("LimitError", "steps")
    assert found.steps <= 50_000


def test_a_branch_keeps_its_own_event_and_depth() -> None:
    source = """
when ping(n):
    plugin("p.f", n)
    seen.append([n, event_data.n])
seen = []
fn fire(n) { emit("ping", { n: n }) }
parallel:
  a: fire(1)
  b: fire(2)
await a, b
return seen.sort_by(x => x[0])
"""
    assert ended(source, Meeting(2)).result == [[1, 1], [2, 2]]


def test_rules_on_errors_meet_what_leaves_a_branch() -> None:
    source = "on_error:\n  - when: any\n    do: print(error.message)\n    then: continue\nfn bad() { throw 'x' }\n"
    host = Recorder()
    assert script(source + "parallel:\n  a: bad()\nreturn [a]", host).result == [None]
    assert host.lines == ["x"]
