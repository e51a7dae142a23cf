"""Transactions and simulations without a hub: what is kept back, committed, discarded, taken back (12.6, 13, 18.4)."""

from typing import Any

import pytest

from aether_lang.values import ScriptError
from tests.aether_lang.running import Recorder, error, result, script


class Store(Recorder):
    """A host with a memory, one plugin that can be undone and one that cannot."""

    direct = False

    def __init__(self, **answers: Any) -> None:
        def effect(args: dict[str, Any]) -> dict[str, Any]:
            known = {"inn.book": ("compensable", "inn.leave"), "inn.guests": ("read", None)}
            found = known.get(args["name"], ("irreversible", None))
            return {"name": args["name"], "effect": found[0], "undo": found[1]}

        given = {
            "memory.search": [], "memory.get": None, "effect.permit": None, "effect.commit": {}, "effect.undo": True,
            "plugin.effect": effect, "plugin.call": "room 5", "receiver.call": "room 5", "http.get": {"status": 200},
            "goal.all": [],
        }  # fmt: skip
        super().__init__()
        self.answers = {**given, **{name.replace("__", "."): answer for name, answer in answers.items()}}

    def made(self, operation: str) -> list[dict[str, Any]]:
        """The arguments of every call of that operation."""
        return [args for _, name, args in self.calls if name == operation]


def test_nothing_is_written_before_the_end_of_the_block() -> None:
    host = Store()
    source = 'transaction {\n  remember("a") as "t"\n  n = search_memory({}).length\n}\nreturn n'
    assert result(source, host) == 1
    (commit,) = host.made("effect.commit")
    assert [entry["content"] for entry in commit["changes"]["entries"]] == ["a"]
    assert not host.made("memory.remember")


def test_events_and_messages_wait_for_the_commit_and_handlers_do_not() -> None:
    host = Store(event__emit=1)
    source = 'when done:\n    print("handled")\ntransaction {\n  emit("done", 5)\n  notify(team: "x", content: "y")\n}'
    script(source, host)
    assert host.lines == ["handled"]
    assert [one["operation"] for one in host.made("effect.commit")[0]["deferred"]] == ["event.emit", "ui.notify"]
    assert not host.made("event.emit")


def test_an_empty_transaction_asks_the_host_for_nothing() -> None:
    host = Store()
    assert result("transaction {\n  x = 1\n}\nreturn [x, $transaction]", host) == [1, {"token": "tx-1", "effects": 0}]
    assert host.calls == []


@pytest.mark.parametrize("leave", ["return 5", "for x in [1] {\n  transaction {\n    remember(x)\n    break\n  }\n}"])
def test_a_block_that_is_left_early_commits(leave: str) -> None:
    host = Store()
    source = leave if "transaction" in leave else f"transaction {{\n  remember(1)\n  {leave}\n}}"
    assert script(source, host).state == "completed"
    assert len(host.made("effect.commit")) == 1


def test_an_error_discards_and_goes_on_up() -> None:
    host = Store()
    assert error('transaction {\n  remember("a")\n  throw "no"\n}', host)["message"] == "no"
    assert not host.made("effect.commit")


def test_compensations_run_in_reverse_order() -> None:
    host = Store(receiver__call=lambda args: args["args"][0])
    error('transaction {\n  inn.book("a")\n  inn.book("b")\n  throw "no"\n}', host)
    assert [(args["name"], args["args"]) for args in host.made("plugin.call")] == [
        ("inn.leave", ["b"]),
        ("inn.leave", ["a"]),
    ]


def test_a_limit_discards_too() -> None:
    host = Store()
    assert (
        error('transaction {\n  remember("a")\n  while true { }\n}', host, limits={"steps": 9999})["type"]
        == "LimitError"
    )
    assert not host.made("effect.commit")


def test_a_commit_that_fails_is_an_error_and_compensates() -> None:
    host = Store(effect__commit=ScriptError("MemoryStoreError", "full"))
    found = error('transaction {\n  inn.book("a")\n  remember("x")\n}', host)
    assert found["type"] == "MemoryStoreError"
    assert [args["name"] for args in host.made("plugin.call")] == ["inn.leave"]


@pytest.mark.parametrize(
    "call", ["inn.ring()", "plugin('inn.ring')", "http.post('https://example.org')", "load_plugin('x')"]
)
def test_what_cannot_be_taken_back_is_refused_and_not_done(call: str) -> None:
    host = Store()
    assert error(f"transaction {{\n  {call}\n}}", host)["type"] == "TransactionError"
    assert not host.made("receiver.call")
    assert not host.made("http.post")


@pytest.mark.parametrize("call", ["inn.guests()", "http.get('https://example.org')", "search_memory({})", "now()"])
def test_what_only_reads_may_stand_in_a_transaction(call: str) -> None:
    assert script(f"transaction {{\n  {call}\n}}", Store()).state == "completed"


def test_a_transaction_inside_another_joins_it_and_its_error_takes_back_its_own_part_alone() -> None:
    host = Store()
    source = """
transaction {
  remember("outer")
  try {
    transaction {
      remember("inner")
      inn.book("a")
      throw "no"
    }
  } catch e { }
  seen = search_memory({}).length
}
return seen
"""
    assert result(source, host) == 1
    (commit,) = host.made("effect.commit")
    assert [entry["content"] for entry in commit["changes"]["entries"]] == ["outer"]
    assert [args["name"] for args in host.made("plugin.call")] == ["inn.leave"]


def test_rollback_takes_a_commit_back_once_and_compensates_what_was_done() -> None:
    host = Store()
    source = """
transaction { remember("a")
  inn.book("b") }
t = $transaction.token
return [rollback(t), rollback(t), rollback("tx-9"), rollback(null)]
"""
    assert result(source, host) == [True, False, False, False]
    assert host.made("effect.undo") == [{"token": "tx-1"}]
    assert [args["name"] for args in host.made("plugin.call")] == ["inn.leave"]


def test_branches_inside_a_transaction_belong_to_it() -> None:
    host = Store()
    source = 'transaction {\n  parallel:\n    a: remember("a")\n    b: remember("b")\n}\nreturn $transaction.effects'
    assert result(source, host) == 2
    assert len(host.made("effect.commit")) == 1


def test_a_job_under_on_error_rollback_is_one_transaction_in_which_anything_may_happen() -> None:
    host = Store()
    source = 'policy:\n  on_error: "rollback"\nremember("a")\ninn.ring()\n'
    assert error(source + 'throw "no"', host)["message"] == "no"
    assert not host.made("effect.commit")
    assert len(host.made("receiver.call")) == 1
    assert script(source, host).state == "completed"
    assert len(host.made("effect.commit")) == 1


def test_a_rule_may_roll_the_job_back() -> None:
    host = Store()
    source = 'on_error:\n  - when: any\n    do: print("rule")\n    then: rollback\nremember("a")\nthrow "no"'
    found = error(source, host)
    assert (found["message"], found["handled"], host.lines) == ("no", True, ["rule"])
    assert not host.made("effect.commit")


def test_simulate_does_nothing_and_tells_what_would_have_been() -> None:
    host = Store()
    source = """
simulate tea time {
  remember("a") as "t"
  inn.book("x")
  n = search_memory({}).length
  print("inside")
}
return [n, $last_output.map(e => [e.operation, e.capability, e.line])]
"""
    found = result(source, host)
    assert found[0] == 1
    assert [row[0] for row in found[1]] == ["memory.remember", "receiver.call"]
    assert [row[2] for row in found[1]] == [3, 4]
    assert host.lines == ["inside"]
    assert not host.made("receiver.call")
    assert not host.made("effect.commit")


def test_effects_are_real_again_behind_a_simulation_that_failed() -> None:
    host = Store(memory__remember="id-1")
    source = 'try {\n  simulate x {\n    throw "no"\n  }\n} catch e { }\nreturn remember("b")'
    assert result(source, host) == "id-1"


def test_mock_io_keeps_every_effect_from_the_host() -> None:
    host = Store()
    source = 'policy:\n  mock_io: true\nremember("a")\ninn.ring()\nalert("y")\nreturn search_memory({}).length'
    assert result(source, host) == 1
    assert {name for _, name, _ in host.calls} <= {
        "memory.search",
        "time.now",
        "random.uuid",
        "plugin.effect",
        "random.id",
    }


def test_a_deterministic_run_gives_the_same_twice_and_its_clock_goes_by_milliseconds() -> None:
    source = (
        "policy:\n  deterministic: true\n  seed: 7\nreturn [now(), now(), random(), generate_id(), random_int(1, 100)]"
    )
    first, second = result(source), result(source)
    assert first == second
    assert [first[0], round(first[1] - first[0], 6)] == [1000.0, 0.001]
    assert result(source.replace("seed: 7", "seed: 8"))[2:] != first[2:]


def test_without_a_seed_the_job_is_the_seed() -> None:
    source = "policy:\n  deterministic: true\nreturn random()"
    assert result(source, job="a") == result(source, job="a") != result(source, job="b")


def test_the_seed_of_meta_serves_where_the_policy_names_none() -> None:
    source = "meta:\n  seed: 7\nreturn random()"
    assert result(source, Recorder()) == result(source, Recorder())


def test_a_deterministic_run_calls_only_plugins_whose_contract_says_that_they_are() -> None:
    assert error("policy:\n  deterministic: true\ninn.book('a')", Store())["type"] == "ContractError"
    contract = "plugin_contract:\n  id: inn\n  deterministic: true\n  side_effects: false\n"
    assert result("policy:\n  deterministic: true\n" + contract + "return inn.book('a')", Store()) == "room 5"
