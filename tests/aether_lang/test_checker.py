"""What is found before a script runs."""

import pytest

from aether_lang import capabilities, check, parse


def codes(text: str) -> list[str]:
    return [finding.code for finding in check(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("const a = 1\na = 2", ["AE201"]),
        ("const a = 1\na++", ["AE201"]),
        ("const a = 1\nfn f(a) { a = 2 }", []),
        ("break", ["AE109"]),
        ("for x in [1] { fn f() { continue } }", ["AE109"]),
        ("for x in [1] { if x { break } }", []),
        ("fn f(a, b = 1) { return a }\nf(1, 2, 3)", ["AE203"]),
        ("fn f(a, b = 1) { return a }\nf()", ["AW204"]),
        ("fn f(a, ...b) { return a }\nf(1, 2, 3)", []),
        ("fn f(a) { return a }\nf(1, c=2)", ["AE204"]),
        ("f(1)\nfn f(a) { return a }", []),
        ("let left = 1\nmode: left-1", ["AE202", "AS116"]),
        ("mode: left-1", ["AS116"]),
        ("plugin p {\n  schedule: every blue moon\n}", ["AE401"]),
        ("every 5 minutes:\n  log 'x'", []),
        ("every blue moon:\n  log 'x'", ["AE401"]),
        ("plugin p {\n  memory_access: often\n}", ["AE403"]),
        ("plugin p {\n  capabilities: [memory.read, memory.wread]\n}", ["AE301"]),
        ("plugin p {\n  timeout: 5s\n}", []),
        ("plugin p {\n  requires: [pot]\n}", []),
        ("plugin p {\n  persist: true\n}", []),
        ("plugin p {\n  persist: false\n}", []),
        ("agent: on", ["AW401"]),
        ("agent: off", []),
        ('model: "m"', ["AW401"]),
        ("consciousness: enabled", []),
        ("x = missing", ["AW201"]),
        ("x = $missing", ["AW201"]),
        ("let counter = 1\nif countr > 1 { log counter }", ["AW202"]),
        ("x = no_such(1)", ["AW203"]),
        ("fn f() { return late }\nlate = 1", []),
        ("xs = [1]\nys = xs.map(x => x + 1)\nzs = [y for y in ys]", []),
        ("try { log 1 } catch (e) { log e.message }\nx = e", ["AW201"]),
        ("if true { let a = 1 }\nx = a", ["AW201"]),
        ("if true { a = 1 }\nx = a", []),
        ("recall tag: 't' -> found\nx = found", []),
        ("f = x => { x + 1 }", ["AW210"]),
    ],
)
def test_a_script_gives_these_findings(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_text_that_cannot_be_parsed_gives_the_findings_of_the_parser() -> None:
    assert codes("x = (1") == ["AE103"]


def test_leniencies_are_warned_of() -> None:
    assert codes("for each x in [1]\n  log x\n") == ["AS111", "AS110"]
    assert codes("if true:\n\tlog 1") == ["AW101"]
    assert codes('log "{count: 1}"') == ["AW120"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1 + 2", []),
        ("log 'x'", ["log.write"]),
        ("remember(1) as 't'", ["memory.write"]),
        ("x = recall notes from today", ["memory.read"]),
        ("think about x", ["ai.call"]),
        ("run agent 'A'", ["agent.run"]),
        ("x = pot.read()", ["plugin.call"]),
        ("plugin: pot.read 'x'", ["plugin.call"]),
        ("if busy { emit done }", ["event.emit", "signal.read"]),
        ("x = [generate_id(), now()]", ["random.read", "time.read"]),
        ("fn f() { deploy site }", ["intent.act"]),
        ("goal: rest", ["goal.write"]),
        ("let log = x => x\nlog(1)", []),
    ],
)
def test_the_capabilities_in_reach_are_listed(text: str, expected: list[str]) -> None:
    assert capabilities(parse(text)) == expected


def test_a_deep_tree_is_checked_without_recursion() -> None:
    assert codes("a = 1\nx = " + " + ".join(["a"] * 700)) == []
    assert codes("a = 1\n" + "".join(f"{' ' * depth}if a:\n" for depth in range(700)) + " " * 700 + "log a") == []


def test_a_function_of_the_script_may_bear_the_name_of_one_that_is_not_there_yet() -> None:
    assert codes("fn retry(x) { return x }\nretry(1)") == []


def test_variables_of_a_plugin_block_are_known_in_its_functions() -> None:
    assert codes("plugin p {\n  let x = 1\n  tags: [memory]\n  on_run { return x }\n}") == []


def test_functions_of_a_plugin_block_are_known_by_their_bare_names() -> None:
    source = 'plugin p { fn sweep(n) { return n } }\nsweep(1)\nexpose_command "go" -> sweep\nexport { sweep }'
    assert codes(source) == []


@pytest.mark.parametrize("line", ["export { noopp }", 'expose_command "x" -> noopp'])
def test_what_is_exported_or_exposed_must_exist(line: str) -> None:
    found = check(f"fn noop() {{ }}\n{line}")
    assert [(finding.code, finding.suggestion) for finding in found] == [("AW201", "did you mean `noop`?")]


def test_an_argument_is_given_once() -> None:
    assert codes("fn f(a) { return a }\nf(a=1, a=2)") == ["AE204"]
    assert codes("'x'.replace(a='x', a='y')") == ["AE204"]


@pytest.mark.parametrize(
    ("type", "expected"),
    [("TimeOut", ["AW205"]), ("LimitError", ["AW205"]), ("Timeout", []), ("CapabilityError", []), ("Exception", [])],
)
def test_a_catch_of_what_is_never_caught_is_a_warning(type: str, expected: list[str]) -> None:
    assert codes(f"try {{ log 1 }} catch {type} as e {{ log e }}") == expected
