"""What compiled scripts do: names and scope, operators, control, functions, declarations, verbs (sections 7 to 14)."""

from typing import Any

import pytest

from aether_lang.compiled import Compiled
from aether_lang.compiler import compile_module
from aether_lang.host import LoadedModule
from aether_lang.parser import parse
from aether_lang.values import ScriptError
from tests.aether_lang.running import Recorder, error, result, script

EXPRESSIONS = [
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("-2 ** 2", -4),
    ("7 % 3", 1),
    ("-7 % 3", 2),
    ("6 / 2", 3),
    ("7 / 2", 3.5),
    ("80%", 0.8),
    ("30s + 1m", 90),
    ("1_GB / 1_MB", 1024),
    ("true + 1", 2),
    ("null + 1", 1),
    ('"a" + 1', "a1"),
    ('1 + "a" + null', "1anull"),
    ('"ab" * 2', "abab"),
    ("[1] + [2]", [1, 2]),
    ("1 << 40", 256),
    ("5 & 3 | 8", 9),
    ("5 ^ 1", 4),
    ("~0", -1),
    ("1 < 2 < 3", True),
    ("1 < 2 > 5", False),
    ("null < 1", False),
    ("null >= null", False),
    ("1 == 1.0", True),
    ("true == 1", False),
    ("1 == true", False),
    ("0 == false", False),
    ('"1" == 1', False),
    ("null == undefined", True),
    ("[1, [true]] == [1, [true]]", True),
    ("[1] != [true]", True),
    ("1 is 1.0", True),
    ("1 is not 2", True),
    ("2 in [1, 2]", True),
    ("3 not in [1, 2]", True),
    ('"a" in { a: 1 }', True),
    ("1 in null", False),
    ('["a", "b"] in ["b", "c", "a"]', True),
    ("0 or 5", 5),
    ("0 || null", None),
    ("1 and 2", 2),
    ("1 && 0 && 5", 0),
    ("null ?? 3", 3),
    ("0 ?? 3", 0),
    ("not []", True),
    ("!1", False),
    ("null exists", False),
    ("[] empty", True),
    ("[1] not empty", True),
    ("1 if true else 2", 1),
    ("false ? 1 : 2", 2),
    ("if 0 { 1 } else { 2 }", 2),
    ("if 0 { 1 }", None),
    ("1..4", [1, 2, 3, 4]),
    ("[...[1, 2], 3]", [1, 2, 3]),
    ("{ ...{ a: 1, b: 1 }, b: 2 }", {"a": 1, "b": 2}),
    ("(1, 2)", [1, 2]),
    ("[x * 2 for x in [1, 2, 3] if x > 1]", [4, 6]),
    ("[k + v for k, v in { a: 1 }]", ["a1"]),
    ("[f(x) for x in [1] if true]", None),
    ("(x => x + 1)(2)", 3),
    ("((a, b = a * 2) => a + b)(1)", 3),
    ("(([k, v]) => v + k)([1, 2])", 3),
    ("(lambda a: a - 1)(3)", 2),
    ("(x => { x + 1 })(2)", None),
    ("(() => { return 4 })()", 4),
    ("[1, 2, 3][1:]", [2, 3]),
    ("[1, 2, 3][-1]", 3),
    ("[1][5]", None),
    ("null?.a", None),
    ("null?.f()", None),
    ("{ a: 1 }?.a", 1),
    ("{ a: { b: 2 } }.a.b", 2),
    ("{ a: 1 }.b", None),
    ('"n={1 + 1} {[1]} {null} {true}"', "n=2 [1] null true"),
    ('"{3.14159:.2f} {0.256:.1%} {7:d} {1234.5:.1e}"', "3.14 25.6% 7 1.2e+03"),
    ('f"{{x}} {1}"', "{x} 1"),
    ("'{x}'", "{x}"),
    ('"{count: 1}"', "{count: 1}"),
    ("__name__", "__main__"),
    ("[Math.PI > 3, Math.floor(2.5)]", [True, 2]),
    ("max(x for x in [1, 5, 2])", 5),
    ('[1, 2].map(x => x > 1 ? "big" : "small")', ["small", "big"]),
    ("[null, 2].map(x => x + 1)", [1, 3]),
    ("[null, 2].filter(x => x > 1)", [2]),
    ('["a", 1].map(x => x + "!")', ["a!", "1!"]),
    ("[{ n: 1 }, { }].map(x => x.n)", [1, None]),
    ("{ map: x => x }.map(x => x) == null", False),
]


@pytest.mark.parametrize(("expression", "expected"), [row for row in EXPRESSIONS if "f(x)" not in row[0]])
def test_each_expression_has_its_value(expression: str, expected: Any) -> None:
    for source in (f"return {expression}", f"fn f() {{ return {expression} }}\nlet v = f()\nreturn v"):
        found = result(source)
        assert found == expected
        assert type(found) is type(expected)


SCRIPTS = {
    "an assignment updates the nearest binding": ("x = 1\nfn f() { x = 2 }\nf()\nreturn x", 2),
    "let declares in its block": ("let x = 1\nif true { let x = 2\n x = 3 }\nreturn x", 1),
    "an assignment in a block without let is the function's": ("if true { x = 5 }\nreturn x", 5),
    "a let is not visible before its line": ("x = 1\nif true {\n x = 2\n let x = 9\n x = 10 }\nreturn x", 2),
    "functions are hoisted": ("return f(1)\nfn f(a) { return a + 1 }", 2),
    "nested functions see their surroundings": ("fn f(a) { fn g(b) { return a + b }\n return g(2) }\nreturn f(1)", 3),
    "closures share the variable": (
        "fn c() { let n = 0\n return () => { n += 1\n return n } }\nlet f = c()\nf()\nreturn f()",
        2,
    ),
    "each round has its own loop variable": (
        "let fs = []\nfor i in 1..3 { fs.push(() => i) }\nreturn fs.map(f => f())",
        [1, 2, 3],
    ),
    "each round has its own let": (
        "let fs = []\nfor i in 1..2 { let j = i\n fs.push(() => { j += 10\n"
        " return j }) }\nreturn [fs[0](), fs[0](), fs[1]()]",
        [11, 21, 12],
    ),
    "a while loop too": (
        "let fs = []\nlet i = 0\nwhile i < 2 { i += 1\n let j = i\n fs.push(() => j) }\nreturn fs.map(f => f())",
        [1, 2],
    ),
    "a closure two levels deep keeps its round": (
        "let fs = []\nfor i in 1..2 { fs.push(() => () => i) }\nreturn fs.map(f => f()())",
        [1, 2],
    ),
    "parameters are local": ("a = 1\nfn f(a) { a = 2 }\nf(5)\nreturn a", 1),
    "defaults may use earlier parameters": (
        "fn f(a, b = a + 1, c = b * 2) { return [a, b, c] }\nreturn f(1, c = 0)",
        [1, 2, 0],
    ),
    "defaults are evaluated per call": ("fn f(a = []) { a.push(1)\n return a }\nf()\nreturn f()", [1]),
    "rest parameters take what is left": ("fn f(a, ...r) { return r }\nreturn f(1, 2, 3)", [2, 3]),
    "keywords and colons name parameters": ("fn f(a, b) { return a - b }\nreturn [f(b=1, a=3), f(5, b: 1)]", [2, 4]),
    "a spread gives positional arguments": ("fn f(a, b) { return a - b }\nreturn f(...[3, 1])", 2),
    "while with break and continue": (
        "let n = 0\nlet s = 0\nwhile true { n++\n if n == 2 { continue }\n if n > 4 { break }\n s += n }\nreturn s",
        8,
    ),
    "for over a dict gives keys": ('let s = ""\nfor k in { a: 1, b: 2 } { s += k }\nreturn s', "ab"),
    "for with two names gives pairs": (
        'let s = ""\nfor k, v in { a: 1 } { s += k + v }\nfor a, b in [[1, 2]] { s += a + b }\nreturn s',
        "a13",
    ),
    "for over a number counts": ("let s = 0\nfor i in 4 { s += i }\nreturn s", 6),
    "for over null does nothing": ("for x in null { return 1 }\nreturn 2", 2),
    "for each": ("let s = 0\nfor each x in [1, 2] { s += x }\nreturn s", 3),
    "for walks a snapshot": ("let xs = [1, 2]\nfor x in xs { xs.push(x) }\nreturn xs.length", 4),
    "for over a lazy range": ("let s = 0\nfor i in range(1, 10, 3) { s += i }\nreturn s", 12),
    "match takes the first hit": (
        'match 2 {\n case 1: return "a"\n case 2, 3: return "b"\n default: return "c"\n}',
        "b",
    ),
    "match uses guards": ('match 2 {\n case 2 if false: return "a"\n default: return "c"\n}', "c"),
    "match does not fall through": ("let n = 0\nmatch 1 {\n case 1: n += 1\n case 1: n += 10\n}\nreturn n", 1),
    "elif chains": (
        "fn f(x) { if x < 1 { return 1 } elif x < 2 { return 2 } else if x < 3 { return 3 } else { return 4 } }\n"
        "return [f(0), f(1), f(2), f(3)]",
        [1, 2, 3, 4],
    ),
    "compound assignment of fields and elements": (
        'let d = { a: [1] }\nd.a[0] += 4\nd.b = 2\nd.b *= 3\nd["c"] = 1\nreturn d',
        {"a": [5], "b": 6, "c": 1},
    ),
    "x++ gives the old value": ("let x = 1\nlet y = x++\nlet d = { n: 5 }\nd.n--\nreturn [x, y, d.n]", [2, 1, 4]),
    "the owner of a target is evaluated once": (
        "let n = 0\nfn o() { n += 1\n return d }\nlet d = { a: 1 }\no().a += 1\nreturn [n, d.a]",
        [1, 2],
    ),
    "evaluation goes from left to right": (
        "let s = []\nfn t(x) { s.push(x)\n return x }\nlet v = t(1) + t(2) * t(3)\n[t(4), t(5)]\nreturn s",
        [1, 2, 3, 4, 5],
    ),
    "an operand keeps the value it had": ("let x = 1\nfn f() { x = 10\n return 1 }\nreturn x + f()", 2),
    "and, or and ?? stop early": (
        "let n = 0\nfn t(v) { n += 1\n return v }\nlet a = t(0) and t(1)\n"
        "let b = t(1) or t(1)\nlet c = t(1) ?? t(2)\nreturn n",
        3,
    ),
    "a chain evaluates each operand once and stops": (
        "let n = 0\nfn t(v) { n += 1\n return v }\nlet a = t(3) < t(2) < t(9)\nreturn [a, n]",
        [False, 2],
    ),
    "arrow binding": ("fn f() { return 7 }\nf() -> x\nreturn x", 7),
    "sigils name the same variable": ("$x = 4\nreturn x + $x", 8),
    "an if block gives its last value": ("let x = if true { let a = 2\n a * 3 } else { 0 }\nreturn x", 6),
    "finally runs on return": ("let n = 0\nfn f() { try { return 1 } finally { n = 5 } }\nreturn [f(), n]", [1, 5]),
    "catch binds an error value": (
        'try { throw "x" } catch (e) { return [e.type, e.message, "{e}", e ? 1 : 2] }',
        ["UserError", "x", "x", 2],
    ),
    "throw of a dict": (
        'try { throw { message: "m", type: "Timeout", data: 5 } } catch (e) { return [e.type, e.data] }',
        ["Timeout", 5],
    ),
    "rethrow keeps the place": ('try { try { throw "a" } catch (e) { throw e } } catch (f) { return f.column }', 13),
    "definitions": ("define X as 5\nreturn X + 1", 6),
    "sections are dicts": (
        "box { size: 2\n lid: closed\n inner { n: 1 } }\nreturn box",
        {"size": 2, "lid": "closed", "inner": {"n": 1}},
    ),
    "a plugin runs its on_run": (
        "plugin p {\n config: { n: 2 }\n state: { r: 0 }\n on_run { state.r += 1\n"
        " return f(config.n) + state.r }\n fn f(x) { return x * 10 }\n}",
        21,
    ),
    "a plugin's functions are called through its name": (
        "plugin p {\n fn f(x) { return x + self.bonus }\n bonus: 5\n}\nreturn p.f(1) + p.bonus",
        11,
    ),
    "init and cleanup": (
        'let s = []\nplugin p {\n init() { s.push("i") }\n fn f() { s.push("f")\n'
        ' return s }\n cleanup() { s.push("c") }\n}\np.f()\nreturn p.f()',
        ["i", "f", "f", "c"],
    ),
    "parameters and context": ("return [parameters.a, context.b]", [1, 2]),
    "when conditions are checked when reached": ("let x = 5\nlet n = 0\nwhen x > 3:\n  n = 1\nreturn n", 1),
    "await of a plain value is the value": ("let x = await f()\nfn f() { return 3 }\nreturn x", 3),
    "get_global": ('set_global("a", 1)\nreturn get_global("a")', 1),
    "the result of the top level": ("let x = 1", None),
}


@pytest.mark.parametrize("title", SCRIPTS)
def test_scripts_do_what_the_reference_says(title: str) -> None:
    source, expected = SCRIPTS[title]
    assert result(source, parameters={"a": 1}, context={"b": 2}) == expected


ERRORS = [
    ("null.k", "TypeError"),
    ("let x = null\nx.f()", "TypeError"),
    ('return 1 < "a"', "TypeError"),
    ("return {} + {}", "TypeError"),
    ("return [1, 2] - 1", "TypeError"),
    ("let d = {}\nd.a.b = 1", "TypeError"),
    ("let xs = [1]\nxs[5] = 1", "IndexError"),
    ("const c = 1\nc = 2", "ConstError"),
    ("const c = 1\nc += 2", "ConstError"),
    ("plugin p {\n config: { a: 1 }\n on_run { config.a = 2 }\n}", "ConstError"),
    ("return nothing_of_that_name", "NameError"),
    ("nothing_of_that_name.f()", "NameError"),
    ("fn f(a) { return a }\nf(1, 2)", "TypeError"),
    ("fn f(a) { return a }\nf(z=2)", "TypeError"),
    ("fn f(a) { return a }\nf(1, a=2)", "TypeError"),
    ("let f = 5\nf(1)", "TypeError"),
    ("return 1 / 0", "DivisionByZero"),
    ("return 1 % 0", "DivisionByZero"),
    ("return 1e308 * 10", "ValueError"),
    ('let e = error("x")\ne.message = 1', "TypeError"),
    ("for x in (y => y) { }", "TypeError"),
]


@pytest.mark.parametrize(("source", "name"), ERRORS)
def test_each_mistake_raises_the_error_of_its_type(source: str, name: str) -> None:
    host = Recorder(receiver__call=ScriptError("NameError", "there is no plugin or agent of that name"))
    assert error(source, host)["type"] == name


def test_an_error_carries_line_and_column_of_the_operator() -> None:
    found = error("let a = 1\nlet b = a.c.d\n")
    assert (found["line"], found["column"], found["file"]) == (2, 9, "test.aether")


def test_except_catches_only_its_type() -> None:
    source = (
        'try:\n  throw { message: "m", type: "Timeout" }\n'
        "except ValueError as e:\n  return 1\nexcept Timeout as e:\n  return 2\n"
    )
    assert result(source) == 2
    assert error('try:\n  throw "m"\nexcept Timeout as e:\n  return 2\n')["type"] == "UserError"


def test_a_made_error_has_the_place_where_it_was_first_thrown() -> None:
    source = 'let made = error("m", type="KeyError")\ntry {\n  throw made\n} catch e {\n  '
    assert result(source + "return [made.line, e.type, e.message, e.line]\n}") == [0, "KeyError", "m", 3]
    again = "try {\n    throw e\n  } catch f {\n    return f.line\n  }\n}"
    assert result(source + again) == 3


def test_capability_error_is_another_name_of_permission_error() -> None:
    assert result("try:\n  search_memory({})\nexcept CapabilityError as e:\n  return e.type\n") == "PermissionError"


def test_missing_arguments_are_null_with_one_warning() -> None:
    host = Recorder()
    assert result("fn f(a, b) { return b }\nlet r = 0\nfor i in 3 { r = f(1) }\nreturn r", host) is None
    assert [message for _, message, _ in host.records] == ["AW204 f was called without 'b'"]


def test_null_arithmetic_warns_once_per_place() -> None:
    host = Recorder()
    assert result("let n = null\nlet s = 0\nfor i in 5 { s = n + 1 }\nreturn s + null", host) == 1
    assert len(host.records) == 2


def test_a_variable_not_reached_reads_as_null_with_a_warning() -> None:
    host = Recorder()
    assert result("if false { x = 1 }\nreturn x", host) is None
    assert host.records[0][1].startswith("AW206 'x'")
    assert result("fn f() { return y }\nlet r = f()\nlet y = 1\nreturn r") is None
    assert result("if false { n = 1 }\nlet m = n\nreturn m + 1") == 1


def test_extra_arguments_of_callbacks_are_dropped() -> None:
    assert result("return [5].map(() => 1) + [5].map((a, b, c) => [a, b, c])") == [1, [5, 0, None]]


def test_handlers_take_parameters_from_the_event_by_name() -> None:
    source = (
        'let s = []\nwhen pot(ml, who = "x"):\n  s.push([ml, who])\n'
        'emit "pot" with { ml: 5, other: 1 }\ntrigger pot\npot(7, "y")\nreturn s'
    )
    assert result(source) == [[5, "x"], [None, "x"], [7, "y"]]


def test_an_entry_may_be_named_by_the_request() -> None:
    source = 'fn f(n = 0) { return n + 1 }\nexpose_command "go" -> f\nwhen ping(n):\n  return n\nreturn "top"'
    assert result(source) == "top"
    assert result(source, entry="f", parameters={"n": 4}) == 5
    assert result(source, entry="go", parameters={"n": 4}) == 5
    assert result(source, entry="ping", parameters={"n": 9}) == 9
    assert error(source, entry="none")["type"] == "UnknownFunction"


def test_on_run_takes_parameters_by_name() -> None:
    assert result(
        "plugin p {\n on_run(n, context) { return [n, context.z] }\n}", parameters={"n": 3}, context={"z": 4}
    ) == [3, 4]


def test_config_is_replaced_only_where_the_request_says_so() -> None:
    source = "plugin p {\n config: { a: 1, b: 2 }\n on_run { return config }\n}"
    assert result(source, parameters={"a": 9}) == {"a": 1, "b": 2}
    assert result(source, config={"a": 9, "z": 1}) == {"a": 9, "b": 2}


def test_commands_timers_and_handlers_are_reported() -> None:
    ended = script('fn f() { }\nexpose_command "go" -> f\nevery 5 minutes:\n  f()\non event "x":\n  f()\n')
    assert (ended.commands, ended.handlers) == (["go"], ["x"])
    assert ended.timers[0].endswith("5 minutes")


def test_host_functions_get_their_arguments_by_name() -> None:
    host = Recorder(memory__remember="id1", plugin__call=lambda args: args)
    assert result('remember("x") as "a,b"\nlet id = remember("y") as "c"\nreturn id', host) == "id1"
    assert host.calls[0] == ("memory.write", "memory.remember", {"content": "x", "as": "a,b"})
    assert result('return plugin("p.f", 1, k=2)', host) == {"name": "p.f", "args": [1], "kwargs": {"k": 2}}
    assert error('remember("x", nothing=1)', host)["type"] == "TypeError"
    assert error("search_memory({}, 2, 3)", host)["type"] == "TypeError"


def test_signals_are_read_in_conditions_and_symbols_are_text() -> None:
    host = Recorder(signal__read=lambda args: args["name"] == "pot_low", collection__store="c1")
    assert result("if pot_low { return 1 }", host) == 1
    assert result("if pot_high { return 1 }\nreturn 2", host) == 2
    result("store tea in my_pots", host)
    assert host.calls[-1][2] == {"collection": "my_pots", "value": "tea"}


def test_unbound_receivers_and_functions_go_to_the_host() -> None:
    host = Recorder(receiver__call=lambda args: args["function"], function__call=lambda args: args["args"])
    assert result('let v = call pot.read(unit="ml")\nreturn v', host) == "read"
    assert host.calls[-1][2] == {"receiver": "pot", "function": "read", "args": [], "kwargs": {"unit": "ml"}}
    assert result("return brew(1, 2)", host) == [1, 2]
    assert result('let p = "pot"\nreturn call p.go()', host) == "go"


VERBS = [
    ('remember tea as "hot"', "memory.remember", {"content": "tea", "as": "hot"}),
    ('remember pot: "full"', "memory.remember", {"key": "pot", "content": "full"}),
    ('recall "tea" with "hot"', "memory.recall", {"query": "tea", "with": "hot", "limit": 20}),
    ('recall tag: "hot"', "memory.recall", {"tag": "hot", "limit": 20}),
    ("recall notes from today", "memory.recall", {"query": "notes", "from": "today", "limit": 20}),
    ('forget "tea"', "memory.forget", {"query": "tea"}),
    ('forget tag: "hot"', "memory.forget", {"tag": "hot"}),
    ('store 5 in memory as "t"', "memory.remember", {"content": 5, "as": "t"}),
    ("append 5 to pots", "collection.append", {"collection": "pots", "value": 5}),
    ("clear pots", "collection.clear", {"collection": "pots"}),
    ("remove 5 from pots", "collection.remove", {"collection": "pots", "value": 5}),
    ("update 5 in pots", "collection.update", {"collection": "pots", "value": 5}),
    ('tag pot with "hot"', "memory.tag", {"value": "pot", "tag": "hot"}),
    ('run agent "Brewer" with 5', "agent.run", {"agent": "Brewer", "input": 5}),
    ('use plugin "pot"', "plugin.call", {"name": "pot", "args": [], "kwargs": {}}),
    ('check goal "tea"', "goal.check", {"goal": "tea"}),
    ('speak "hi"', "ui.speak", {"text": "hi"}),
    ("goal: make tea priority: high", "goal.declare", {"title": "make tea", "priority": "high"}),
    ("plugin: pot.read 5", "plugin.call", {"name": "pot.read", "args": [5], "kwargs": {}}),
    ('await event "x" for 5s', "park.event", {"name": "x", "seconds": 5}),
    ('await approval "ok?"', "park.approval", {"text": "ok?"}),
]


@pytest.mark.parametrize(("source", "operation", "args"), VERBS)
def test_each_verb_reaches_the_host_as_its_operation(source: str, operation: str, args: dict[str, Any]) -> None:
    host = Recorder(**{operation.replace(".", "__"): "done", "plugin__call": "done"})
    result(source, host)
    assert host.calls[-1][1:] == (operation, args)


def test_a_verb_result_is_kept_as_last_output() -> None:
    host = Recorder(memory__recall=["a"], agent__run="tea")
    assert result('recall "x" -> v\nreturn [v, $last_output]', host) == [["a"], ["a"]]
    assert result('run agent "Brewer"\nreturn $Brewer_output', host) == "tea"
    assert result('let v = recall "x"\nreturn v', host) == ["a"]


def test_recall_where_filters_with_the_fields_in_scope() -> None:
    host = Recorder(memory__recall=[{"n": 1}, {"n": 5}, {}])
    assert result("let least = 2\nlet v = recall pots from shelf where n > least\nreturn v", host) == [{"n": 5}]


def test_guards_decide_whether_a_verb_does_anything() -> None:
    host = Recorder()
    result('let n = 5\nlog "a" if n > 3\nlog "b" if n < 3\nlog "c" unless n > 3', host)
    assert [record[1] for record in host.records] == ["a"]


def test_append_and_remove_work_on_lists() -> None:
    assert result("let xs = [1]\nappend 2 to xs\nremove 1 from xs\nreturn xs") == [2]


def test_an_unhandled_intent_is_recorded_with_a_warning() -> None:
    host = Recorder()
    found = result('deploy kettle with "care"\nreturn $last_output', host)
    assert (found["verb"], found["target"], found["status"]) == ("deploy", "kettle", "recorded")
    assert "nothing handles the verb 'deploy'" in host.records[0][1]
    assert host.calls[-1][:2] == ("intent.act", "intent.record")


def test_a_function_of_the_script_handles_its_verb() -> None:
    assert (
        result('fn deploy(what, with) { return what + with }\ndeploy kettle with "care"\nreturn $last_output')
        == "kettlecare"
    )


def test_an_ai_verb_is_one_request() -> None:
    host = Recorder(ai__verb="thought")
    assert result('think "why" about tea\nreturn $last_output', host) == "thought"
    assert host.calls[-1][2]["verb"] == "think"
    assert host.calls[-1][2]["target"] == "why"


def test_a_goal_without_the_right_is_only_noted() -> None:
    host = Recorder()
    assert script("goal: make tea", host).state == "completed"
    assert host.records[0][1] == "goal noted: make tea"


def test_header_flags_are_part_of_the_compiled_form() -> None:
    meta = Compiled(compile_module(parse('identity: "X"\nconsciousness: enabled\n', "a"))).meta
    assert meta["flags"] == {"identity": "X", "consciousness": "enabled"}


def library(**sources: str) -> Recorder:
    host = Recorder()
    loaded: list[str] = []

    def find(path: str) -> LoadedModule | None:
        loaded.append(path)
        source = sources.get(path.replace("/", "__"))
        return None if source is None else LoadedModule(compile_module(parse(source, path)), path, "hash")

    host._modules = find
    host.loaded = loaded  # type: ignore[attr-defined]
    return host


def test_a_module_is_loaded_at_first_use_and_once() -> None:
    host = library(tea__pot='log "loaded"\nlet n = 0\nfn pour() { n += 1\n return n }')
    assert result('use tea/pot\nlog "first"\npot.pour()\nreturn call tea/pot.pour()', host) == 2
    assert [record[1] for record in host.records] == ["first", "loaded"]


def test_a_missing_module_fails_at_its_first_use_only() -> None:
    host = library()
    assert result('import "no/where" as w\nreturn 1', host) == 1
    found = result('import "no/where" as w\ntry { w.f() } catch (e) { return [e.type, e.line] }', host)
    assert found == ["ImportError", 2]


def test_a_module_of_one_plugin_offers_its_functions() -> None:
    host = library(tea__pot="plugin pot {\n size: 3\n fn pour(n) { return n * self.size }\n}")
    assert result('import "tea/pot" as p\nreturn [p.pour(2), p.size]', host) == [6, 3]


def test_export_decides_what_is_public() -> None:
    host = library(tea__pot="export fn a() { return 1 }\nfn b() { return 2 }")
    assert result("use tea/pot\nreturn pot.a()", host) == 1
    assert error("use tea/pot\nreturn pot.b()", host)["type"] == "UnknownFunction"
    assert result("from tea/pot import a\nreturn a()", host) == 1


def test_modules_may_use_each_other_in_a_ring() -> None:
    host = library(
        a="use b/x\nfn f(n) { return n == 0 ? 0 : 1 + x.f(n - 1) }",
        b__x='import "a" as y\nfn f(n) { return n == 0 ? 0 : 1 + y.f(n - 1) }',
    )
    assert result('import "a" as m\nreturn m.f(5)', host) == 5


def test_handlers_of_a_loaded_module_are_not_registered() -> None:
    host = library(tea__pot='fn f() { }\nwhen ping:\n  log "heard"')
    ended = script('use tea/pot\npot.f()\nemit "ping"', host)
    assert ended.handlers == []
    assert host.records == []


def test_a_long_chain_compiles() -> None:
    assert result("return " + " + ".join(["1"] * 300)) == 300
    assert result("let f = x => x\nreturn " + " + ".join(["f(1)"] * 150)) == 150


def test_a_method_with_a_lambda_on_an_unknown_name_says_that_the_name_is_unknown() -> None:
    for method in ("map", "filter", "sort_by", "any", "find", "sum"):
        found = error(f"typo.{method}(x => x)")
        assert (found["type"], found["message"].split(",")[0]) == ("NameError", "nothing is bound to 'typo'")


def test_an_arrow_inside_a_text_value_binds_nothing() -> None:
    assert result("note: left turn -> home\nreturn note") == "left turn -> home"
    assert error("note: left turn -> home\nreturn home")["type"] == "NameError"


def test_two_handlers_of_one_name_both_run_and_the_later_one_is_the_function() -> None:
    host = Recorder()
    source = "when x:\n  log 1\nend\nwhen x:\n  log 2\nend\nemit('x')\nx()"
    assert script(source, host).state == "completed"
    assert [message for _, message, _ in host.records] == ["1", "2", "2"]
    block = "plugin p { on t { log 'a' }\n on t { log 'b' }\n on_run { emit('t') } }"
    assert script(block, host := Recorder()).state == "completed"
    assert [message for _, message, _ in host.records] == ["a", "b"]


def test_fields_sections_and_variables_of_a_plugin_block_are_names_in_its_functions() -> None:
    source = """plugin p {
      limit: 5
      other: limit
      box { size: 2 }
      let runs = 1
      on_run { runs += 1
        return [limit, other, box.size, runs, self.limit] }
    }"""
    assert result(source) == [5, "limit", 2, 2, 5]


def test_names_from_a_module_load_it_when_they_are_first_read() -> None:
    host = library(a__b="fn f(x) { return x * 2 }\nlet g = 5\nfn inc() { g = g + 1 }")
    assert result("from no/where import f\nreturn 1", host) == 1
    assert error("from no/where import f\nf()", host)["type"] == "ImportError"
    assert result("from a/b import f, g, inc\ninc()\nreturn [f(1), g + 1, [1].map(f), '' + g]", host) == [
        2,
        7,
        [2],
        "6",
    ]
    assert error("from a/b import nothing\nreturn nothing", host)["message"] == "module 'a/b' has no 'nothing'"


def test_one_file_under_two_paths_is_one_module() -> None:
    code = compile_module(parse("let n = 0\nfn inc() { n += 1\n return n }", "b"))
    host = Recorder()
    host._modules = lambda _: LoadedModule(code, "/root/a/b.aether", "hash")
    assert result('use a/b\nimport "vendor/a/b" as c\nb.inc()\nreturn c.inc()', host) == 2


def test_a_module_that_fails_fails_again_at_the_next_use() -> None:
    host = library(a__b="throw 'boom'")
    source = "use a/b\nlet said = []\nfor i in 2 { try { b.f() } catch (e) { said.append(e.message) } }\nreturn said"
    assert result(source, host) == ["boom", "boom"]


def test_an_assistant_line_asks_the_model_and_keeps_the_answer() -> None:
    host = Recorder(ai__verb="done")
    assert result('assistant: "tidy up"\nreturn $response', host) == "done"
    assert host.calls[-1][2]["target"] == "tidy up"


def test_where_may_have_a_colon_before_its_condition() -> None:
    rows = [{"n": 1}, {"n": 2}]
    assert result("x = recall things from shelf where: n > 1\nreturn x", Recorder(memory__recall=rows)) == [{"n": 2}]


def test_lambdas_have_no_inner_name_in_texts_and_stacks() -> None:
    assert result("fn f() { let g = 1\n return g }\nreturn [str(x => x), str(f)]") == ["<fn lambda>", "<fn f>"]
    stack = error("let g = () => h()\nfn h() { throw 'x' }\ng()")["stack"]
    assert [entry["function"] for entry in stack] == ["h", "lambda", "main"]


def test_the_data_of_an_error_is_that_of_the_moment_it_was_made() -> None:
    assert result("let d = {n: 1}\nlet e = error('x', data=d)\nd.n = 2\ne.data.n = 3\nreturn e.data.n") == 1


@pytest.mark.parametrize(
    "source",
    [
        "throw {message: 'm', type: [1]}",
        "error('x', type={})",
        "new Error('x', [1])",
        "sleep(1, {})",
        "random_int([], 1)",
    ],
)
def test_a_wrong_argument_never_becomes_an_error_of_ours(source: str) -> None:
    ended = script(source)
    assert ended.private is None
    assert ended.error is not None
    assert ended.error["type"] in ("UserError", "ValueError", "TypeError")


def test_functions_called_with_too_few_arguments_by_call_and_apply_get_null() -> None:
    assert result("return [(x => x).call(null), ((a, b = 2) => [a, b]).apply(null, [1])]") == [None, [1, 2]]


def test_library_functions_serve_as_reducers_and_as_keys() -> None:
    assert result("return [[1, 5, 2].reduce(max, 0), ['bbb', 'a'].sort(len)]") == [5, ["a", "bbb"]]


@pytest.mark.parametrize("count", [15, 16, 30, 31, 100, 1000])
def test_a_string_may_hold_any_number_of_expressions(count: int) -> None:
    assert result('return "' + "{1 + 1}, " * count + '"') == "2, " * count
    assert result('let x = "a"\nreturn "' + "{x}{null}" * count + '"') == "anull" * count


@pytest.mark.parametrize("call", ["sweep()", "p.sweep()", "emit('tick')", "return call p.sweep()"])
def test_init_comes_before_the_first_call_and_cleanup_after_the_last_whichever_way_it_came(call: str) -> None:
    host = Recorder()
    source = f"""plugin p {{
      init() {{ log "init" }}
      cleanup() {{ log "cleanup" }}
      fn sweep() {{ log "sweep" }}
      on tick {{ sweep() }}
    }}
{call}"""
    assert script(source, host).state == "completed"
    assert [message for _, message, _ in host.records] == ["init", "sweep", "cleanup"]


def test_a_function_that_is_called_before_a_variable_is_assigned_sees_null_and_not_a_number() -> None:
    host = Recorder()
    assert result("fn f() { n += 1\n  return n }\nfirst = f()\nn = 5\nreturn [first, f(), n]", host) == [1, 6, 6]
    assert [record[1][:5] for record in host.records] == ["AW206", "AW501"]


@pytest.mark.parametrize(
    "assigning",
    [
        "log 1 where (if true { b: 1 } else { 2 })",
        "simulate x (if true { b: 1 } else { 2 }) { log 1 }",
        'try { throw "x" } catch (e) { } catch Timeout { b = 1 }',
        "return 5\nb = 1",
    ],
)
def test_a_variable_whose_only_assignment_is_never_run_reads_as_null(assigning: str) -> None:
    read = "fn f() { return b }\n"
    assert result(f"{read}let c = f()\n{assigning}\nreturn [c, b]") in ([None, None], 5)
