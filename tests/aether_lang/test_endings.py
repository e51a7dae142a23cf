"""What a script can catch and what ends it all the same (17.2), and how a cancellation comes through (18.2)."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from aether_lang.budget import GRACE_STEPS, Budget
from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.jobs import CATCHABLE
from aether_lang.parser import parse
from aether_lang.program import Outcome, run
from aether_lang.values import BudgetError, Cancelled, Halt, LimitError, Nondeterministic, Place, ScriptError

LIMITS = {"steps": 200_000, "active_s": 10}


class Ending(LocalHost):
    """A host whose `get_memory` does what a test wants."""

    direct = False

    def __init__(self, ends: Callable[[], Any]) -> None:
        super().__init__(seed=1, sleep=lambda _: ends(), out=io.StringIO())
        self.ends = ends

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        return self.ends() if operation == "memory.get" else super().call(capability, operation, args, position)

    @property
    def said(self) -> list[str]:
        """The messages of the log."""
        return [message for _, message, _ in self.records]


def raising(error: BaseException) -> Ending:
    def ends() -> Any:
        raise error

    return Ending(ends)


def script(source: str, host: LocalHost, budget: Budget | None = None) -> Outcome:
    return run(compile_module(parse(source, "a.aether")), host, budget=budget or Budget(LIMITS))


@pytest.mark.parametrize("name", sorted(CATCHABLE))
def test_each_catchable_type_is_caught_by_its_name_and_by_all(name: str) -> None:
    host = raising(ScriptError(name, "from outside"))
    for clause in (f"except {name} as e:", "except Exception as e:", "except any as e:"):
        ended = script(f'try:\n  get_memory("x")\n{clause}\n  return [e.type, e.message]\n', host)
        assert ended.result == [name, "from outside"]
    other = "Timeout" if name != "Timeout" else "TypeError"
    passed = script(f'try:\n  get_memory("x")\nexcept {other} as e:\n  return 1\n', host)
    assert passed.error is not None
    assert passed.error["type"] == name


def test_a_capability_error_is_a_permission_error() -> None:
    source = 'try:\n  get_memory("x")\nexcept CapabilityError as e:\n  return e.type\n'
    assert script(source, raising(ScriptError("PermissionError", "no"))).result == "PermissionError"


UNCATCHABLE = [
    LimitError("m", {"limit": "host_calls", "value": 1}),
    BudgetError("m"),
    Cancelled("m"),
    Nondeterministic("m"),
]


@pytest.mark.parametrize("halt", UNCATCHABLE, ids=lambda halt: halt.type)
def test_no_catch_sees_what_ends_a_run_and_finally_still_runs(halt: Halt) -> None:
    host = raising(halt)
    ended = script(
        'fn f() { try { get_memory("x") } catch { log "caught" } finally { log "left"\n return 1 } }\n'
        'try { f() } catch (e) { log "caught" }\nlog "went on"\nreturn 5',
        host,
    )
    assert ended.error is not None
    assert ended.error["type"] == halt.type
    assert ended.state == ("cancelled" if halt.type == "Cancelled" else "failed")
    assert "left" in host.said
    assert "caught" not in host.said
    assert ended.result is None


def test_a_stop_is_no_error_and_no_catch_sees_it() -> None:
    host = LocalHost(out=io.StringIO())
    ended = script('try { stop_execution("enough") } catch { log "caught" } finally { log "left" }', host)
    assert (ended.state, ended.result) == ("completed", "enough")
    assert [message for _, message, _ in host.records] == ["left"]


def test_a_fault_of_ours_ends_the_run_unseen_and_tells_nobody_but_the_private_log() -> None:
    host = raising(RuntimeError("the words of the fault"))
    ended = script('try { get_memory("x") } catch (e) { return e.message } finally { log "left" }', host)
    assert ended.error is not None
    assert ended.error["type"] == "InternalError"
    assert "fault" not in ended.error["message"]
    assert "the words of the fault" in (ended.private or "")
    assert host.said == ["left"]


def test_finally_has_its_steps_and_not_more_after_any_end() -> None:
    for halt in UNCATCHABLE:
        host = raising(halt)
        counted = "let i = 0\n while i < {} {{ i += 1 }}\n log i"
        script(f'try {{ get_memory("x") }} finally {{ {counted.format(GRACE_STEPS - 10)} }}', host)
        assert host.said == [str(GRACE_STEPS - 10)]
        host = raising(halt)
        ended = script(f'try {{ get_memory("x") }} finally {{ {counted.format(GRACE_STEPS + 200)} }}', host)
        assert host.said == []
        assert ended.error is not None
        assert ended.error["type"] == halt.type


def test_steps_that_the_library_charges_at_once_count_against_the_grace() -> None:
    for size, said in ((GRACE_STEPS - 100, ["sorted"]), (GRACE_STEPS + 200, [])):
        host = raising(BudgetError("m"))
        ended = script(
            f'let xs = range({size})\ntry {{ get_memory("x") }} finally {{ xs.sort()\n log "sorted" }}', host
        )
        assert host.said == said
        assert ended.error is not None
        assert ended.error["type"] == "BudgetError"


CANCELLED = {
    "a loop": "get_memory(1)\nwhile true { }",
    "a loop that catches": "get_memory(1)\nwhile true { try { while true { } } catch { } }",
    "a callback": "get_memory(1)\nwhile true { range(1000).map(f) }\nfn f(x) { return x }",
    "a comparator": "get_memory(1)\nwhile true { range(1000).sort((a, b) => b - a) }",
    "a host call": "while true { get_memory(1) }",
    "a wait": "wait 1\nwhile true { wait 1 }",
    "a finally": "try { get_memory(1) } finally { while true { } }",
    "a recursion": "get_memory(1)\nfn f(n) { while true { f2(n) } }\nfn f2(n) { return n }\nf(1)",
    "a handler": 'get_memory(1)\non event "x":\n  while true { }\nemit("x", 1)',
    "a parallel branch": "get_memory(1)\nfn f() { while true { } }\nparallel:\n  a: f()\n  b: 1\nreturn a",
    "a transaction": "get_memory(1)\ntransaction { while true { } }",
}


@pytest.mark.parametrize("where", CANCELLED)
def test_a_cancellation_comes_through_wherever_the_script_is(where: str) -> None:
    budget = Budget({**LIMITS, "steps": 10**12})
    host = Ending(lambda: budget.cancel("enough"))
    began = time.process_time()
    ended = script(CANCELLED[where], host, budget)
    assert ended.state == "cancelled"
    assert ended.error is not None
    assert (ended.error["type"], ended.error["message"]) == ("Cancelled", "enough")
    assert time.process_time() - began < 0.6


def test_a_cancellation_during_a_long_host_call_ends_the_run_at_its_answer() -> None:
    budget = Budget(LIMITS)
    under_way = threading.Event()

    def ends() -> str:
        under_way.set()
        cancelled.wait(5)
        return "too late"

    cancelled = threading.Event()

    def cancel() -> None:
        under_way.wait(5)
        budget.cancel("enough")
        cancelled.set()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    ended = script('return get_memory("x")', Ending(ends), budget)
    canceller.join()
    assert ended.state == "cancelled"
