"""`workflow:` and what `retry` and `setTimeout` do: steps in order, attempts, deadlines, delays (12.4, 20, 21)."""

from typing import Any

import pytest

from aether_lang.budget import Budget
from aether_lang.checker import capabilities, check
from aether_lang.compiled import Compiled
from aether_lang.compiler import compile_module
from aether_lang.host import LoadedModule
from aether_lang.parser import parse
from aether_lang.values import Place, ScriptError
from tests.aether_lang.running import Recorder, error, result, script
from tests.aether_lang.waiting import Waiting

FUNCTIONS = """
n = 0
fn one() { return 1 }
fn double(x) { return x * 2 }
fn grind(b, size=1) { return [b, size] }
fn third(x) { n += 1
 if n < 3 { throw "attempt {n}" }
 return x }
fn never() { throw error("no", type="NetworkError", data=[1]) }
"""


def steps(*lines: str, head: str = "", tail: str = "") -> str:
    return f"{FUNCTIONS}\nworkflow:\n{head}  steps:\n" + "".join(f"    - {line}\n" for line in lines) + tail


VALUES: dict[str, tuple[str, Any]] = {
    "a bare name is called with what the step before gave": (steps("one", "double", "double"), 4),
    "the first one is called with the input": (steps("double", head="  input: 5\n"), 10),
    "a call is made as written": (steps("one", "grind(7, size=2)"), [7, 2]),
    "an alias is a variable of the module": (steps("one as a", "grind(a)", tail="return [a, n]"), [1, 0]),
    "the last result is bound to the name in output": (steps("one", head="  output: cup\n", tail="return cup"), 1),
    "the last workflow is the value of a script without another": (steps("one"), 1),
    "a return comes before it": (steps("one", tail="return 9"), 9),
    "a step whose condition fails leaves what the one before gave": (steps("one", "double if n", "grind"), [1, 1]),
    "its alias stays as it is": (steps("one as a", "double as b if n", tail="return b"), None),
    "a condition sees the aliases before it": (steps("one as a", "double if a > 0"), 2),
    "a function without parameters gets nothing": (steps("double", "one", head="  input: 3\n"), 1),
    "a plugin block is called by its on_run": (
        "plugin p { on_run(x) { return x + 1 } }\nworkflow:\n  input: 2\n  steps:\n    - p\nreturn 5",
        None,
    ),
    "a lambda in a variable is called too": ("f = x => x + 1\nworkflow:\n  input: 2\n  steps: [f]", 3),
    "a library function is a step": ("workflow:\n  input: [3, 1]\n  steps:\n    - sorted\n    - len", 2),
    "the long form takes arguments by name": (
        FUNCTIONS + "workflow:\n  steps:\n    - call: grind\n      args: { b: 4, size: 5 }\n      as: g\nreturn g",
        [4, 5],
    ),
    "a workflow without steps gives its input": ("workflow:\n  input: 4", 4),
    "a workflow runs where it stands": (
        FUNCTIONS + "fn f() {\n  workflow:\n    steps:\n      - one as got\n  return 2\n}\nfn g() { return got }\n"
        "return [f(), g()]",
        [2, 1],
    ),
    "in a loop each round has its own variables": (
        FUNCTIONS + "fs = []\nfor i in 3 {\n  let k = i\n  workflow:\n    steps:\n      - double(k) as k\n"
        "  fs.push(() => k)\n}\nreturn fs.map(f => f())",
        [0, 2, 4],
    ),
    "a step may run another workflow": (
        FUNCTIONS
        + "workflow inner {\n  steps:\n    - double\n    - double\n}\n"
        + steps("one", "inner").removeprefix(FUNCTIONS),
        4,
    ),
    "a named workflow is a function of its input": (
        FUNCTIONS + "workflow w {\n  input: 3\n  steps: [double]\n}\nreturn [w(), w(5), w(input=6)]",
        [6, 10, 12],
    ),
    "it may be used before its line": ("x = w(2)\nworkflow w {\n  steps: [str]\n}\nreturn x", "2"),
    "it runs when it is all that a script does": ("workflow w {\n  input: 2\n  steps: [str]\n}", "2"),
}


@pytest.mark.parametrize("name", VALUES)
def test_of_workflows(name: str) -> None:
    source, expected = VALUES[name]
    if name.startswith("a plugin block"):
        host = Recorder()
        ended = script(source.replace("return 5", "print(x)\n").replace("- p\n", "- p as x\n"), host)
        assert ended.state == "completed"
        assert host.lines == ["3"]
    else:
        assert result(source) == expected


def test_a_named_workflow_runs_as_the_entry_of_a_job_with_its_input_from_the_parameters() -> None:
    source = FUNCTIONS + "workflow w {\n  steps: [double]\n}"
    assert result(source, entry="w", parameters={"input": 21}) == 42


def test_a_module_lends_its_named_workflow() -> None:
    host = Recorder()
    code = compile_module(parse(FUNCTIONS + "workflow w {\n  steps:\n    - double as last\n}", "b"))
    host._modules = lambda _: LoadedModule(code, "b.aether", "hash")
    assert result("use a/b\nreturn [b.w(4), b.last]", host) == [8, 8]


def test_a_step_is_tried_again_after_pauses_that_double() -> None:
    host = Waiting()
    assert result(steps("third(5) as got retry=2", tail="return [got, n]"), host) == [5, 3]
    assert host.slept == [0.2, 0.4]
    assert [record[1] for record in host.records] == [
        "step 'third' failed (attempt 1), attempt 2 of 3 follows",
        "step 'third' failed (attempt 2), attempt 3 of 3 follows",
    ]


def test_pauses_end_at_a_minute() -> None:
    host = Waiting()
    script(steps("never retry=12"), host)
    assert host.slept[7:] == [25.6, 51.2, 60, 60, 60]


def test_the_error_of_a_step_names_it_and_keeps_all_else() -> None:
    found = error(steps("one", "never retry=1"))
    assert (found["message"], found["type"], found["data"]) == ("step 'never': no", "NetworkError", [1])
    assert found["line"] == 9
    assert {"function": "step 'never'", "file": "test.aether", "line": 14} in found["stack"]
    assert result(steps("third", head="  input: 1\n").replace("workflow:", "try:\n workflow:").replace("\n  ", "\n   ")
                  + "catch (e) { return e.message }") == "step 'third': attempt 1"  # fmt: skip


def test_a_step_that_does_not_end_is_cancelled_with_timeout_and_tried_again() -> None:
    class Slow(Waiting):
        def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
            if operation == "plugin.call":
                self.now += 9
            return super().call(capability, operation, args, position)

    host = Slow(plugin__call="late")
    budget = Budget({}, clock=lambda: host.now)
    found = error(steps('plugin("slow.f") retry=1 timeout="5s"'), host, budget=budget)
    assert (found["type"], found["message"]) == ("Timeout", "step 'plugin': it took longer than 5 s")
    assert [call[1] for call in host.calls] == ["plugin.call", "plugin.call"]
    assert result(steps('plugin("slow.f") timeout="10s"'), host, budget=Budget({}, clock=lambda: host.now)) == "late"


def test_the_deadline_of_a_step_ends_with_it() -> None:
    host = Waiting()
    budget = Budget({}, clock=lambda: host.now)
    assert result(steps("one timeout=5", tail="wait 100\nreturn 3"), host, budget=budget) == 3


def test_a_step_that_computes_for_too_long_is_cancelled() -> None:
    source = "fn spin() { while true { } }\nworkflow:\n  steps:\n    - spin timeout=0.05\n"
    assert error(source)["type"] == "Timeout"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("one retry=101", "`retry` is a whole number from 0 to 100, not 101"),
        ("one retry=-1", "`retry` is a whole number from 0 to 100, not -1"),
        ("one retry=\"x\"", "`retry` is a whole number from 0 to 100, not string"),
        ("one timeout=0", "`timeout` is a duration above 0, not 0 s"),
        ("one timeout=\"soon\"", "'soon' is no duration; expected one such as \"30s\" or \"10 minutes\""),
        ("one requires=[3]", "`requires` lists capabilities as texts, not int"),
        ("n", "step 'n': int is not a function"),
    ],
)  # fmt: skip
def test_what_a_step_cannot_be_is_an_error_at_its_line(step: str, message: str) -> None:
    found = error(steps(step))
    assert (found["message"], found["line"]) == (message, 13)


def test_what_a_step_requires_is_asked_for_before_it_and_only_once() -> None:
    host = Waiting(require__unmet=lambda args: [w for w in args["capabilities"] if w == "fs.write"])
    found = error(steps('print("a") requires=["memory.read"]', 'print("b") requires=["fs.write"] retry=3'), host)
    assert (found["message"], found["type"]) == ("step 'print': missing capability: fs.write", "PermissionError")
    assert found["line"] == 14
    assert host.lines == ["a"]
    assert host.slept == []


def test_a_step_of_an_unbound_name_is_a_function_of_a_plugin() -> None:
    host = Recorder(receiver__call="milled", function__call=lambda args: args["args"])
    assert result("workflow:\n  input: 3\n  steps:\n    - mill.grind\n    - brew", host) == ["milled"]
    assert host.calls[0][2] == {"receiver": "mill", "function": "grind", "args": [3], "kwargs": {}}


def test_rules_on_errors_meet_the_error_of_a_step() -> None:
    rules = "on_error:\n  - when: \"step 'never'\"\n    do: print(error.message)\n    then: continue\n"
    host = Recorder()
    assert result(steps("never as x", tail=f"{rules}return 4"), host) == 4
    assert host.lines == ["step 'never': no"]


def test_a_step_in_a_function_assigns_the_variable_of_the_module_as_it_was_declared() -> None:
    source = FUNCTIONS + "fn f() {\n  workflow:\n    steps:\n      - one as x\n}\n"
    assert result("let x = 5\n" + source + "f()\nreturn x") == 1
    assert error("const x = 5\n" + source + "f()")["type"] == "ConstError"


def test_every_step_counts() -> None:
    source = FUNCTIONS + "while true {\n  workflow:\n    steps: [one]\n}"
    assert error(source, limits={"steps": 20_000})["data"]["limit"] == "steps"


def test_the_checker_knows_what_steps_bind_and_reach() -> None:
    source = "fn f() {\n  workflow:\n    steps:\n      - now as t\n      - remember(t)\n}\nf()\nprint(t)"
    assert [one.code for one in check(source)] == []
    assert capabilities(parse(source)) == ["log.write", "memory.write", "time.read"]
    assert [one.code for one in check(steps("one", "double", head="  input: 1\n"))] == []
    assert [one.code for one in check(steps("one(2)"))] == ["AE203"]


def test_a_compiled_script_names_the_workflow_that_is_all_it_does() -> None:
    alone = "# a\ngoal: brew\nfn f(x) { return x }\nworkflow w {\n  steps: [f]\n}"
    assert Compiled(compile_module(parse(alone))).meta["alone"] == "w"
    assert Compiled(compile_module(parse(alone + "\nprint(1)"))).meta["alone"] is None


# ---------------------------------------------------------------- retry


def test_retry_makes_a_call_again_as_often_as_the_policy_says() -> None:
    host = Waiting()
    policy = "policy:\n  max_retries: 2\n"
    assert result(policy + FUNCTIONS + "return [retry(third(5)), n]", host) == [5, 3]
    assert host.slept == [0.2, 0.4]
    assert error(FUNCTIONS + "retry(third(5))")["message"] == "attempt 1"


def test_retry_takes_a_function_or_the_name_of_a_step_and_binds_its_alias_again() -> None:
    counting = "k = 0\nfn count() { k += 1\n return k }\nworkflow:\n  steps:\n    - count as got\n"
    assert result(counting + 'return [got, retry("got"), got, retry("count"), retry(() => 7)]') == [1, 2, 2, 3, 7]


def test_a_rule_may_retry_the_step_that_failed() -> None:
    rules = 'on_error:\n  - when: any\n    do: retry("third")\n    then: continue\n'
    assert result("policy:\n  max_retries: 5\n" + steps("third(1) as x", tail=f"{rules}return [x, n]")) == [1, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("retry('zap')", "no step 'zap' was reached, these were: none"),
        ("retry(5)", "retry takes a call, a function or the name of a step, not int"),
    ],
)
def test_retry_says_what_it_takes(call: str, message: str) -> None:
    assert error(call)["message"] == message


def test_a_function_of_the_script_named_retry_is_just_that() -> None:
    assert result("fn retry(x) { return x }\nfn f() { return 2 }\nreturn retry(f())") == 2


# ---------------------------------------------------------------- setTimeout


def test_delayed_functions_run_at_waits_and_at_the_end_in_the_order_they_are_due() -> None:
    host = Waiting()
    source = """
    setTimeout(() => print("c"), "3s")
    setTimeout(() => print("a"), 500)
    id = setTimeout(() => print("never"), 100)
    setTimeout(() => print("b"), 500)
    print(clearTimeout(id), clearTimeout(id), clearTimeout("x"))
    wait 1
    print("end")
    """
    assert script(source, host).state == "completed"
    assert host.lines == ["true false false", "a", "b", "end", "c"]
    assert host.slept == [0.5, 0.5, 2.0]


def test_a_delayed_function_may_set_the_next_and_waits_without_running_others() -> None:
    host = Waiting()
    source = (
        "fn tick() { k += 1\n if k < 3 { setTimeout(tick, 1000) }\n wait 5\n print(k) }\nk = 0\nsetTimeout(tick, 1000)"
    )
    script(source, host)
    assert host.lines == ["1", "2", "3"]
    assert host.slept == [1.0, 5, 5, 5]


def test_a_delayed_function_begins_where_the_job_waits_however_deep_it_was_set() -> None:
    source = """
    fn set_at(n) { if n == 0 { setTimeout(() => down(100), 10) } else { set_at(n - 1) } }
    fn down(n) { return n == 0 ? 0 : down(n - 1) }
    plugin p { on_run { set_at(100) } }
    """
    assert script(source, Waiting()).state == "completed"


def test_an_error_of_a_delayed_function_is_raised_at_the_wait_and_at_the_end_ends_the_job() -> None:
    bad = 'setTimeout(() => { throw "late" }, 10)\n'
    assert result(bad + "try { wait 1 } catch (e) { return e.message }", Waiting()) == "late"
    assert error(bad + "return 1", Waiting())["message"] == "late"


def test_a_job_that_stops_or_fails_runs_no_delayed_function() -> None:
    for last in ("stop_execution('enough')", "throw 'x'"):
        host = Waiting()
        script(f"setTimeout(() => print('late'), 10)\n{last}", host)
        assert host.lines == []
        assert host.slept == []


def test_delayed_functions_are_bounded_by_the_limits_of_the_job() -> None:
    flood = "while true { setTimeout(() => 1, 5) }"
    assert error(flood, Waiting(), limits={"items": 1000})["data"] == {"limit": "items", "value": 1000}
    again = "fn f() { setTimeout(f, 1000) }\nf()"
    assert error(again, Waiting(), limits={"steps": 2_000})["data"]["limit"] == "steps"


@pytest.mark.parametrize("call", ["setTimeout(5, 5)", "setTimeout(() => 1, 'soon')", "setTimeout(() => 1, [])"])
def test_set_timeout_says_what_it_takes(call: str) -> None:
    assert error(call)["type"] in ("TypeError", "ValueError")


def test_an_error_of_the_host_in_a_step_keeps_its_type() -> None:
    host = Recorder(plugin__call=ScriptError("PluginError", "jammed", {"k": 1}))
    found = error(steps('plugin("mill.f")'), host)
    assert (found["type"], found["message"], found["data"]) == ("PluginError", "step 'plugin': jammed", {"k": 1})
