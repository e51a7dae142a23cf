"""Where a job enters a script: by a bare name, by what it is meant to be, and what is said of one that is not there."""

from __future__ import annotations

from typing import Any

import aether_lang
from aether_lang import LocalHost
from aether_lang.program import Outcome, run

SCRIPT = """
let seen = []
plugin tidy {
  config: { limit: 5 }
  on_run { return "run" }
  fn sweep(n = 1) { return n + config.limit }
}
fn water(bed) { return "watered {bed}" }
when frost(degrees = 0): return degrees
on event "thaw":
  seen.append(event_data)
expose_command "dig" -> water
every 5 minutes:
  return "five"
every 5 minutes:
  return "five again"
every 1 hour { return "hour" }
return seen
"""


def ran(entry: str | None, parameters: dict[str, Any] | None = None, **given: Any) -> Outcome:
    module = aether_lang.parse(SCRIPT, "beds.aether")
    return run(aether_lang.compile(module), LocalHost(), parameters, entry=entry, **given)


def test_a_job_without_an_entry_enters_at_on_run_of_the_only_plugin_block() -> None:
    assert ran(None).result == "run"


def test_a_bare_name_is_a_function_of_a_block_or_the_script_a_command_or_a_handler() -> None:
    assert ran("sweep", {"n": 2}).result == 7
    assert ran("tidy.sweep", {"n": 3}, config={"limit": 10}).result == 13
    assert ran("water", {"bed": "roses"}).result == "watered roses"
    assert ran("dig", {"bed": "beans"}).result == "watered beans"
    assert ran("frost", {"degrees": -3}).result == -3


def test_what_an_entry_is_can_be_said() -> None:
    assert ran("command:dig", {"bed": "beans"}).result == "watered beans"
    assert ran("event:frost", {"event_data": {"degrees": -4}}).state == "completed"
    assert ran("command:water").error is not None
    assert ran("event:dig").error is not None


def test_timers_are_told_apart_by_their_schedule_and_then_by_their_lines() -> None:
    assert ran("timer:every 5 minutes").result == "five"
    assert ran("timer:every 5 minutes#2").result == "five again"
    assert ran("timer:every 1 hour").result == "hour"
    for absent in ("timer:every 5 minutes#3", "timer:every 5 minutes#0", "timer:daily"):
        assert (ran(absent).error or {})["type"] == "UnknownFunction"


def test_the_top_level_alone_runs_for_a_condition() -> None:
    assert ran("when:load").result == []


def test_an_unknown_entry_says_what_there_is() -> None:
    error = ran("water_all").error
    assert error is not None
    assert error["type"] == "UnknownFunction"
    for known in ("water", "on_run", "command:dig", "event:thaw", "timer:every 1 hour"):
        assert known in error["data"]["entries"]
