"""Templates at work: retrieve, one AI call, actions, store, the wait for an answer (section 14.2)."""

from typing import Any

import pytest

from aether_lang.checker import capabilities, check
from aether_lang.parser import parse
from aether_lang.values import ScriptError
from tests.aether_lang.running import Recorder, error, result, script
from tests.aether_lang.waiting import Waiting

TEMPLATE = """
plugin "evening mail":
  trigger:
    schedule: daily at "22:00"
    on_event: dusk
    if mood exists
  memory:
    retrieve:
      from: notes
      limit: 2
      filter: tag == "day"
    store:
      into: letters
  ai:
    goal: "write a kind letter"
    model: "small"
    constraints:
      - "be brief"
      - use simple words
    output: letter
  actions:
    - print("sending {letter}")
    - remember(letter) as "mail"
  feedback:
    expect: reply from ada within 2h
    if no_response:
      print("no answer to {letter}")
"""
NOTES = [{"content": n, "tag": tag} for n, tag in enumerate(("day", "night", "day", "day"))]
TIMEOUT = ScriptError("Timeout", "no event came")


def host(**answers: Any) -> Waiting:
    given: dict[str, Any] = {
        "signal__read": "good", "collection__has": True, "memory__search": NOTES, "ai__verb": "dear ada",
        "memory__remember": "m1", "collection__store": "c1", "park__event": TIMEOUT,
    }  # fmt: skip
    return Waiting(**{**given, **answers})


def operations(at: Recorder) -> list[str]:
    return [operation for _, operation, _ in at.calls]


def test_a_template_does_its_work_in_order_when_its_guard_holds() -> None:
    at = host()
    assert result(TEMPLATE, at) == "dear ada"
    assert operations(at) == [
        "signal.read", "collection.has", "memory.search", "ai.verb", "memory.remember", "collection.store",
        "park.event",
    ]  # fmt: skip
    assert at.lines == ["sending dear ada", "no answer to dear ada"]
    asked = at.calls[3][2]
    assert asked["target"] == "write a kind letter"
    assert {slot["name"]: slot["value"] for slot in asked["slots"]} == {
        "": "write a kind letter",
        "constraints": ["be brief", "use simple words"],
        "entries": [NOTES[0], NOTES[2]],
        "model": "small",
    }
    assert at.calls[4][2] == {"content": "dear ada", "as": "mail"}
    assert at.calls[5][2] == {"collection": "letters", "value": "dear ada"}
    assert at.calls[6][2] == {"name": "reply", "seconds": 7200}


def test_a_template_whose_guard_does_not_hold_does_nothing() -> None:
    at = host(signal__read=None)
    assert result(TEMPLATE, at) is None
    assert operations(at) == ["signal.read"]


def test_without_an_ai_provider_the_call_says_what_is_missing_and_no_action_runs() -> None:
    at = host()
    del at.answers["ai.verb"]
    found = error(TEMPLATE, at)
    assert (found["type"], found["data"]["capability"], found["line"]) == ("PermissionError", "ai.call", 15)
    assert operations(at)[-1] == "ai.verb"
    assert at.lines == []


def test_an_answer_in_time_is_that_of_whoever_is_expected() -> None:
    came = [{"from": "bob"}, {"from": "ada"}]
    at = host(park__event=lambda _: came.pop(0))
    assert result(TEMPLATE, at) == "dear ada"
    assert (operations(at).count("park.event"), at.lines) == (2, ["sending dear ada"])
    anybody = host(park__event={"from": "bob"})
    result(TEMPLATE.replace("from ada", "from user"), anybody)
    assert anybody.lines == ["sending dear ada"]


def test_what_cannot_be_waited_for_is_an_error() -> None:
    found = error(TEMPLATE, host(park__event=ScriptError("HostError", "longer than this run may take")))
    assert found["message"] == "longer than this run may take"


def test_answers_of_others_do_not_lengthen_the_wait() -> None:
    at = host()

    def other(_: dict[str, Any]) -> dict[str, str]:
        at.now += 3000
        return {"user": "bob"}

    at.answers["park.event"] = other
    result(TEMPLATE, at)
    assert [args["seconds"] for _, operation, args in at.calls if operation == "park.event"] == [7200, 4200, 1200]
    assert at.lines[-1] == "no answer to dear ada"


def test_an_expectation_without_a_block_is_noted_and_not_waited_for() -> None:
    at = host()
    result(TEMPLATE.partition("    if no_response")[0], at)
    assert "park.event" not in operations(at)
    assert [record[:2] for record in at.records] == [("debug", "expected: reply from ada within 2h")]


@pytest.mark.parametrize("expected", ["reply", "within 2h", '"reply within soon"'])
def test_an_expectation_names_an_event_and_a_time(expected: str) -> None:
    assert error(TEMPLATE.replace("reply from ada within 2h", expected), host())["type"] == "ValueError"


def test_the_event_of_a_template_fires_it_with_its_data() -> None:
    source = (
        'plugin "p":\n  trigger:\n    on_event: hello\n    if event_data\n  actions:\n    - print(event_data.name)\n'
    )
    at = Recorder()
    ended = script(source + 'emit("hello", { name: "ada" })', at)
    assert (ended.state, ended.handlers, at.lines) == ("completed", ["hello"], ["ada"])


def test_its_work_is_the_on_run_of_the_block_and_its_output_a_name_in_it() -> None:
    source = (
        'plugin "p":\n  fn seen() { return made }\n  ai:\n    goal: "a"\n    output: made\n  actions:\n    - log "x"\n'
    )
    at = host()
    assert result(source + "print(seen())\np.on_run()\nprint(seen())", at, entry="on_run") == "dear ada"
    assert at.lines == ["null", "dear ada"]


SOURCES = {
    "from: notes": ({"collection": "notes"}, True),
    "from: memory": ({}, True),
    "from: day": ({"tags_include": ["day"]}, False),
    "limit: 5": ({"limit": 5}, True),
}


@pytest.mark.parametrize("line", SOURCES)
def test_entries_come_from_a_collection_a_tag_or_all_of_memory_newest_first(line: str) -> None:
    criteria, held = SOURCES[line]
    at = host(collection__has=held, memory__search=[1, 2])
    source = (
        f'plugin "p":\n  memory:\n    retrieve:\n      {line}\n  ai:\n    output: seen\n  actions:\n    - print(seen)'
    )
    assert result(source, at) == [1, 2]
    newest = {"archived": False, "sort_by": "created_at", "sort_order": "desc", "limit": 20}
    assert at.calls[-1][2] == {"criteria": {**newest, **criteria}}


@pytest.mark.parametrize("limit", ["0", "1001", '"x"'])
def test_the_number_of_entries_is_bounded(limit: str) -> None:
    source = f'plugin "p":\n  memory:\n    retrieve:\n      limit: {limit}\n  actions:\n    - log "x"'
    assert error(source, host())["message"] == "`limit` of `retrieve` is a whole number from 1 to 1000"


def test_the_checker_knows_what_a_template_reaches_and_what_it_cannot_be() -> None:
    assert {"ai.call", "memory.read", "memory.write", "signal.read"} <= set(capabilities(parse(TEMPLATE)))
    assert [one.code for one in check(TEMPLATE) if not one.is_style] == []
    assert [one.code for one in check(TEMPLATE + "  on_run {\n    return 1\n  }\n") if not one.is_style] == ["AE404"]
    words = TEMPLATE.replace('filter: tag == "day"', 'filter: "day"')
    assert [one.code for one in check(words)] == ["AE404"]


def test_a_job_that_an_event_starts_gives_a_template_its_data() -> None:
    source = 'plugin "p":\n  trigger:\n    on_event: hello\n  actions:\n    - print(event_data.name)\n'
    at = Recorder()
    script(source, at, entry="p.on_run", parameters={"event_data": {"name": "ada"}})
    assert at.lines == ["ada"]
