"""Rules on errors: what becomes of an error that leaves a statement, a handler, a branch (sections 12.2 and 12.7)."""

from typing import Any

import pytest

from tests.aether_lang.running import Recorder, error, result, script


def lines(source: str) -> list[str]:
    host = Recorder()
    ended = script(source, host)
    assert ended.state == "completed", ended.error or ended.private
    return host.lines


def test_without_a_rule_an_error_ends_the_script() -> None:
    found = error('throw "no milk"\nprint("on")')
    assert (found["type"], found["message"], "handled" in found) == ("UserError", "no milk", False)


def test_a_rule_is_done_with_the_error_in_scope_and_the_script_goes_on_where_it_says_so() -> None:
    source = """
on_error:
  - when: UserError
    do: print("sorry: {error.message} at {error.line}")
    then: continue
throw "no milk"
print("on")
"""
    assert lines(source) == ["sorry: no milk at 6", "on"]


def test_a_rule_counts_wherever_it_stands() -> None:
    assert lines('throw "x"\nprint("on")\non_error:\n  - when: any\n    do: print("rule")\n    then: continue\n') == [
        "rule",
        "on",
    ]


def test_a_handled_error_without_continue_ends_the_script_and_says_that_it_was_handled() -> None:
    source = 'on_error:\n  - when: UserError\n    do: print("seen")\nthrow "x"\nprint("never")'
    host = Recorder()
    ended = script(source, host)
    assert ended.error is not None
    assert (ended.state, ended.error["handled"], host.lines) == ("failed", True, ["seen"])


def test_the_first_rule_that_fits_is_the_only_one() -> None:
    source = """
on_error:
  - when: [TypeError, ValueError]
    do: print("kinds")
    then: continue
  - when: "milk"
    do: print("words")
    then: continue
  - when: any
    do: print("rest")
    then: continue
parse_time("no time")
throw "no milk left"
throw "no tea"
"""
    assert lines(source) == ["kinds", "words", "rest"]


def test_a_plain_list_of_actions_is_a_rule_for_everything() -> None:
    source = 'on_error:\n  - print("a")\n  - print("b")\nthrow "x"'
    host = Recorder()
    assert script(source, host).state == "failed"
    assert host.lines == ["a", "b"]


def test_the_policy_continue_goes_on_and_gives_null_to_the_target() -> None:
    source = """
policy: on_error: "continue"
fn bad() { throw "x" }
x = bad()
let y = bad()
bad() -> z
return [x, y, z]
"""
    host = Recorder()
    assert result(source, host) == [None, None, None]
    assert [record[:2] for record in host.records] == [
        ("error", f"UserError: x (line {line}), the script goes on") for line in (3, 3, 3)
    ]


def test_a_value_that_was_there_before_is_null_after_a_failed_assignment() -> None:
    assert result('policy: on_error: "continue"\nfn bad() { throw "x" }\nx = 5\nx = bad()\nreturn x') is None


def test_retry_does_the_statement_again_after_growing_pauses() -> None:
    source = """
on_error:
  - when: UserError
    retry: 2
    do: print("given up: {error.message}")
    then: continue
tries = 0
fn flaky(n) {
  tries += 1
  if tries <= n { throw "try {tries}" }
  return "good"
}
x = flaky(2)
tries = 0
y = flaky(9)
return [x, y, tries]
"""
    host = Recorder()
    assert result(source, host) == ["good", None, 3]
    assert host.lines == ["given up: try 3"]
    assert [args["seconds"] for _, name, args in host.calls if name == "time.sleep"] == [0.2, 0.4, 0.2, 0.4]


def test_an_error_that_leaves_a_handler_meets_the_rules_there() -> None:
    source = """
on_error:
  - when: UserError
    do: print("rule")
    then: continue
when ping:
    throw "in the handler"
emit "ping"
print("on")
"""
    assert lines(source) == ["rule", "on"]


def test_an_error_is_handled_once_however_many_statements_it_leaves() -> None:
    source = 'on_error:\n  - when: any\n    do: print("rule")\nwhen ping:\n    throw "x"\nemit "ping"'
    host = Recorder()
    assert script(source, host).state == "failed"
    assert host.lines == ["rule"]


def test_an_error_in_a_rule_ends_the_script_with_that_error() -> None:
    assert error('on_error:\n  - when: any\n    do: nothing_of_the_kind()\n    then: continue\nthrow "x"')["type"] == (
        "UnknownFunction"
    )


@pytest.mark.parametrize("source", ["stop_execution('x')", "while true { }"])
def test_what_cannot_be_caught_meets_no_rule(source: str) -> None:
    host = Recorder()
    rule = 'on_error:\n  - when: any\n    do: print("rule")\n    then: continue\n'
    script(rule + source, host, limits={"steps": 1000})
    assert host.lines == []


def test_a_return_leaves_the_script_from_within_a_statement_under_rules() -> None:
    assert result('on_error:\n  - when: any\n    do: print("rule")\nif true { return 5 }\nreturn 6') == 5


def test_a_rule_may_use_what_the_script_binds() -> None:
    source = """
on_error:
  - when: any
    do: note(error)
    then: continue
seen = []
fn note(e) { seen.append(e.type) }
throw "x"
return seen
"""
    assert result(source) == ["UserError"]


def test_a_loop_under_rules_keeps_its_own_breaks() -> None:
    source = """
on_error:
  - when: any
    do: print("rule")
    then: continue
total = 0
for n in 1..5 {
  if n == 3 { continue }
  if n == 5 { break }
  total += n
}
return total
"""
    assert result(source) == 7


def test_retry_that_is_no_count_is_a_type_error() -> None:
    found: dict[str, Any] = error('on_error:\n  - when: any\n    retry: "often"\n    do: print("x")\nthrow "x"')
    assert found["type"] == "TypeError"
    assert "retry" in found["message"]
