"""What a script registers while it is resident, read from its text."""

from __future__ import annotations

from typing import Any

import aether_lang
from aether_lang import LocalHost
from aether_lang.front import compiled
from aether_lang.program import run

RESIDENT = """
meta:
  name: "beds"
  schedule: "0 6 * * 1-5"
  tz: "Europe/Berlin"
plugin tidy {
  schedule: every 6 hours
  on_run { return 1 }
  on_frost { log "cold" }
  every 1 hour { log "hour" }
}
plugin idle_hands { schedule: daily at 06:00 }
every 5 minutes:
  log "five"
every 5 minutes:
  log "five again"
on event "thaw":
  log event_data
on memory event "stored":
  log event_data
fn water() { return 1 }
limit = 0.5
when load > 0.75 and not idle:
  log "busy"
when load > limit:
  log "more than our limit"
when limit > 1:
  log "never"
"""


def registered(source: str) -> dict[str, Any]:
    answer = compiled(source, "beds.aether")
    found: dict[str, Any] = answer["registers"]
    return found


def test_schedules_of_meta_plugin_blocks_and_timers_are_read_with_their_entries_and_zones() -> None:
    found = [(one["entry"], one["schedule"], one["tz"]) for one in registered(RESIDENT)["schedules"]]
    assert found == [
        (None, "0 6 * * 1-5", "Europe/Berlin"),
        ("tidy.on_run", "every 6 hours", "UTC"),
        ("timer:every 1 hour", "every 1 hour", "UTC"),
        (None, "daily at 06:00", "UTC"),
        ("timer:every 5 minutes", "every 5 minutes", "UTC"),
        ("timer:every 5 minutes#2", "every 5 minutes", "UTC"),
    ]


def test_every_entry_that_is_registered_is_one_that_a_run_finds() -> None:
    code = aether_lang.compile(aether_lang.parse(RESIDENT, "beds.aether"))
    found = registered(RESIDENT)
    for entry in [one["entry"] for one in (*found["schedules"], *found["events"])]:
        ended = run(code, LocalHost(), entry=entry)
        assert ended.state == "completed", (entry, ended.error)


def test_handlers_are_read_with_the_events_they_are_for() -> None:
    found = [(one["entry"], one["event"], one["source"]) for one in registered(RESIDENT)["events"]]
    assert found == [
        ("event:frost", "frost", None),
        ("event:thaw", "thaw", None),
        ("event:stored", "stored", "memory"),
    ]


def test_conditions_are_read_with_their_signals_and_as_data_where_nothing_else_makes_them() -> None:
    assert [(one["signals"], one["test"]) for one in registered(RESIDENT)["conditions"]] == [
        (
            ["load", "idle"],
            ["and", [">", ["signal", "load"], ["value", 0.75]], ["not", ["signal", "idle"]]],
        ),
        (["load"], None),
    ]


def test_a_template_is_entered_where_its_block_runs() -> None:
    template = (
        'plugin "morning":\n  description: "x"\n  trigger:\n    schedule: daily at "07:00"\n    on_event: "frost"\n'
        '  actions:\n    - print("tea")\n'
    )
    found = registered(template)
    assert [(one["entry"], one["schedule"]) for one in found["schedules"]] == [
        ("morning.on_run", 'daily at "07:00"'),
    ]
    assert [(one["entry"], one["event"]) for one in found["events"]] == [("morning.on_run", "frost")]


def test_a_script_that_registers_nothing_says_so() -> None:
    found = registered("fn f() { every = 5 }\nif f() { log 1 }")
    assert found == {"schedules": [], "events": [], "conditions": [], "entries": ["f"]}
