"""The tree of every construct, and that each means the same at top level, in braces and in indentation."""

from typing import Any

import msgspec
import pytest

from aether_lang import AetherError, nodes, parse


def plain(node: Any) -> Any:
    """A tree without places: nested tuples of class names and field values."""
    if isinstance(node, tuple):
        return tuple(plain(part) for part in node)
    if isinstance(node, nodes.Node):
        fields = [plain(getattr(node, name)) for name in node.__struct_fields__ if name != "span"]
        return (type(node).__name__, *fields)
    return node


def only(text: str) -> Any:
    """The one statement of a script."""
    (statement,) = parse(text).body
    return statement


def value(text: str) -> Any:
    """The tree of an expression, without places."""
    return plain(only(f"x = {text}").value)


def shown(text: str) -> str:
    """An expression with all its brackets, to see the order in which operators bind."""
    return _shown(only(f"x = {text}").value)


def _shown(node: Any) -> str:
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.Number(text=text):
            return text
        case nodes.Binary(op=op, left=left, right=right):
            return f"({_shown(left)} {op} {_shown(right)})"
        case nodes.Unary(op=op, operand=operand):
            return f"({op} {_shown(operand)})"
        case nodes.Logic(op=op, operands=operands):
            return "(" + f" {op} ".join(map(_shown, operands)) + ")"
        case nodes.Compare(ops=ops, operands=operands):
            rest = "".join(f" {op} {_shown(right)}" for op, right in zip(ops, operands[1:], strict=True))
            return f"({_shown(operands[0])}{rest})"
        case nodes.PostfixTest(test=test, operand=operand):
            return f"({_shown(operand)} {test})"
        case nodes.Range(lower=lower, upper=upper):
            return f"({_shown(lower)} .. {_shown(upper)})"
        case nodes.Conditional(condition=condition, then=then, otherwise=otherwise):
            return f"({_shown(condition)} ? {_shown(then)} : {_shown(otherwise)})"
    return type(node).__name__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("-a ** b", "(- (a ** b))"),
        ("a ** -b", "(a ** (- b))"),
        ("a ** b ** c", "(a ** (b ** c))"),
        ("a or b and c", "(a or (b and c))"),
        ("a || b && !c", "(a or (b and (not c)))"),
        ("not a == b", "(not (a == b))"),
        ("not not a", "(not (not a))"),
        ("not a and b", "((not a) and b)"),
        ("a ?? b or c", "(a ?? (b or c))"),
        ("a < b < c", "(a < b < c)"),
        ("a is not b", "(a != b)"),
        ("a is b", "(a == b)"),
        ("a not in b", "(a not in b)"),
        ("a + 1 exists", "((a + 1) exists)"),
        ("a not empty and b empty", "((a not empty) and (b empty))"),
        ("not a exists", "(not (a exists))"),
        ("a | b & c", "(a | (b & c))"),
        ("a << 1 .. 5", "(a << (1 .. 5))"),
        ("1 + 2..5 * 2", "((1 + 2) .. (5 * 2))"),
        ("a == b | c", "(a == (b | c))"),
        ("c ? a : d ? e : f", "(c ? a : (d ? e : f))"),
        ("a if c else b", "(c ? a : b)"),
        ("10 % 3", "(10 % 3)"),
        ("a === b", "(a == b)"),
        ("a AND NOT b", "(a and (not b))"),
        ("n-1", "(n - 1)"),
        ("a /2 / 3", "((a / 2) / 3)"),
        ("a ?.5 : b", "(a ? .5 : b)"),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    ["(a in b) == true", "x in a", "(not a) == b"],
)
def test_what_needs_brackets_is_accepted_with_them(text: str) -> None:
    assert isinstance(only(f"x = {text}").value, nodes.Compare)


@pytest.mark.parametrize("text", ["a in b == true", "a == b in c", "a + not b", "1..2..3", "a exists + 1"])
def test_what_needs_brackets_is_refused_without(text: str) -> None:
    with pytest.raises(AetherError) as caught:
        parse(f"x = {text}")
    assert len(caught.value.diagnostics) == 1


def test_numbers_carry_what_they_mean() -> None:
    text = "[42, 3.14, 50_000, 0xff, 1e6, .5, 80%, 500ms, 30s, 5m, 2h, 1d, 1w, 30_seconds, 1_month, 100_MB]"
    numbers = [element.value for element in only(f"x = {text}").value.elements]
    assert numbers == [
        42, 3.14, 50000, 255, 1e6, 0.5, 0.8, 0.5, 30, 300, 7200, 86400, 604800, 30, 2592000, 104857600,
    ]  # fmt: skip


def test_a_time_ago_is_its_seconds() -> None:
    assert value("30_days_ago") == ("TimeAgo", 2592000)


def test_double_quotes_interpolate_and_single_quotes_do_not() -> None:
    name = ("Name", "n", "value", False)
    assert value('"n={n}!"') == ("TextTemplate", ("n=", ("Interpolation", name, None), "!"))
    assert value("'n={n}'") == ("Text", "n={n}", False)
    assert value('"{{n}}"') == ("TextTemplate", (("Interpolation", name, None),))


@pytest.mark.parametrize(
    ("text", "spec"), [("{n:.2f}", ".2f"), ("{n:d}", "d"), ("{n:%}", "%"), ("{n:e}", "e"), ("{a ? b : c}", None)]
)
def test_a_format_spec_is_taken_only_when_the_whole_is_no_expression(text: str, spec: str | None) -> None:
    (part,) = only(f'x = "{text}"').value.parts
    assert part.spec == spec


def test_braces_that_hold_no_expression_stay_text() -> None:
    assert value('"{count: 1} {} {x"') == ("Text", "{count: 1} {} {x", False)
    with pytest.raises(AetherError):
        parse('x = f"{count: 1}"')


def test_an_f_string_has_literal_braces() -> None:
    name = ("Name", "n", "value", False)
    assert value('f"{{n}} {n}"') == ("TextTemplate", ("{n} ", ("Interpolation", name, None)))


def test_escapes_are_resolved_and_unknown_ones_kept() -> None:
    assert value(r"'a\n\x41\u00e9\u{1F600}\q\{'") == ("Text", "a\nAé😀\\q{", False)
    assert value(r"r'a\n'") == ("Text", "a\\n", False)


def test_a_comparison_chain_is_one_node() -> None:
    chain = only("x = a < f(b) <= c").value
    assert chain.ops == ("<", "<=")
    assert len(chain.operands) == 3


def test_call_marks_the_innermost_call() -> None:
    outer = only("x = call p.m(1).n").value
    assert isinstance(outer, nodes.Field)
    assert isinstance(outer.value, nodes.MethodCall)
    assert outer.value.effect


def test_names_carry_the_role_of_their_place() -> None:
    entry, condition, verb, code = parse("mode: fast\nif busy { log 1 }\nlog late\ny = z").body
    assert entry.value.role == "symbol"  # type: ignore[union-attr]
    assert condition.branches[0].condition.role == "signal"  # type: ignore[union-attr]
    assert verb.phrase.slots[0].value.role == "symbol"  # type: ignore[union-attr]
    assert code.value.role == "value"  # type: ignore[union-attr]


CONSTRUCTS = [
    "let a = 1",
    "const a: int = 1",
    "a += b.c[0]",
    "a.b['c'] = [1, 2]",
    "$a = $b",
    "a: b + 1",
    "a: List[int] = []",
    "a++",
    "if a { log 1 } elif b { log 2 } else { log 3 }",
    "if a: log 1",
    "if a:\n    log 1\nelse if b:\n    log 2\nelse:\n    log 3",
    "if a\n    log 1\nend",
    "for x in xs { if x { break } else { continue } }",
    "for k, v in d:\n    log k",
    "for each in xs:\n    log each",
    "while a < 3 { a += 1 }",
    "match a { case 1: log 1\n case 2, 3 { log 2 }\n default: log 3 }",
    "match a:\n    case 1 if b:\n        log 1\n    default:\n        log 2",
    "try { f() } catch (e) { log e } finally { g() }",
    "try:\n    f()\nexcept Timeout as e:\n    log e\nexcept:\n    log 1\nfinally:\n    g()",
    "throw 'x'",
    "return",
    "return { a: 1 }",
    "return a if b else c",
    "wait 5",
    "wait 10 minutes",
    "await a, b",
    "await event 'x' for 5m -> y",
    "await approval 'ok?' for 1d",
    "use system/logger",
    "import 'system/utils' as u",
    "from system/utils import a, b",
    "define X as 5",
    "fn f(a, b = 2, ...rest) -> int { return a }",
    "function f(a):\n    return a",
    "define f(a)\n    return a\nend",
    "def f([k, v]):\n    return k",
    "when ready(a, b = 1):\n    log a",
    "when a > 1:\n    log a\nend",
    "on x { log 1 }",
    "on memory event 'x':\n    log event_data",
    "every 5 minutes:\n    log 1",
    "log 'a', b if c",
    "log [1, 2]",
    "log -a",
    "log { a: 1 }",
    "remember v as 't' for x",
    "remember(v) as 'a,b'",
    "recall 'q' with 't' from w -> r",
    "recall tag: 't'",
    "recall x from w where w.ok and x > 1",
    "store v in c with { a: 1 }",
    "run agent 'A' with v",
    "adapt_strategy for x",
    "think about y when late",
    "suggest don't panic",
    "emit done {\n    a: 1\n}" if False else "emit done with { a: 1 }",
    "simulate load for 24h {\n    log 1\n}",
    "goal('x', priority='high') { log 1 }",
    "goal: don't fix #4 priority: high # bye",
    "goal: 'x' priority: high",
    "status",
    "f(x) -> y",
    "f(x) if a",
    "x = recall notes from today",
    "hits: filter rows where r.ok",
    "model: abc-4o",
    "note: |\n    one\n      two",
    "expose_command 'w' -> handler",
    "command: 'w'\n    input: a\n    log a",
    "settings { mode: fast\n  inner { a: 1 } }",
    "limits:\n    a: 1\n    b:\n        - x\n        - y",
    "agent: on",
    "plugin: p.f 'x'",
    "let m = xs.map((a, b = 1) => a + b)\n    .filter(x => { return x })\n    .take(3)",
    "let d = { a: 1\n    b: 2\n    ...e, f }",
    "let q = if a { 1 } else if b { 2 } else { 3 }",
    "let w = function(a) { return a }",
    "let t = [(1, 2), (), (a,)]",
    "let s = a[1:] + a[:2] + a[:] + a[1:2] + a?.b?.c?.(1)",
    "let g = any(p(x) for x in xs if c)",
    "let l = lambda a, b: a-1",
    "let r = /a+b/gi.test(s)",
    "let n = new Set([1]).size",
    "xs.each(x => a = x)",
    "x = {{a.b}}",
]


def indented(text: str, head: str, tail: str = "") -> str:
    return head + "\n" + "\n".join("    " + line if line else line for line in text.split("\n")) + "\n" + tail


@pytest.mark.parametrize("text", CONSTRUCTS)
def test_a_construct_means_the_same_in_each_surrounding(text: str) -> None:
    alone = plain(parse(text).body)
    in_braces = only(indented(text, "if true {", "}"))
    in_indentation = only(indented(text, "if true:"))
    in_function = only(indented(text, "fn outer() {", "}"))
    assert plain(in_braces.branches[0].body.body) == alone
    assert plain(in_indentation.branches[0].body.body) == alone
    assert plain(in_function.body.body) == alone


@pytest.mark.parametrize("text", CONSTRUCTS)
def test_a_tree_survives_serialisation(text: str) -> None:
    module = parse(text)
    assert msgspec.json.decode(msgspec.json.encode(module), type=nodes.Module) == module


@pytest.mark.parametrize("text", CONSTRUCTS)
def test_every_span_lies_in_the_text_and_in_its_parent(text: str) -> None:
    work: list[tuple[Any, int, int]] = [(parse(text), 0, len(text))]
    while work:
        node, start, end = work.pop()
        assert start <= node.span.start <= node.span.end <= len(text)
        for name in node.__struct_fields__:
            found = getattr(node, name)
            parts = found if isinstance(found, tuple) else (found,)
            work += [(part, start, end) for part in parts if isinstance(part, nodes.Node)]


def test_the_members_of_a_plugin_are_sorted_by_kind() -> None:
    plugin = only(
        'plugin tidy {\n  description: "d"\n  memory_access: read-write\n  config: { limit: 5 }\n  state { runs: 0 }\n'
        "  on_run { return sweep(config.limit) }\n  on_error(e) { log e }\n  init() { log 1 }\n"
        "  fn sweep(n) { return n }\n  vector_config { size: 3 }\n  every 5 minutes { log 1 }\n}"
    )
    assert [entry.key for entry in plugin.fields] == ["description", "memory_access"]
    assert [handler.name for handler in plugin.handlers] == ["on_run", "on_error"]
    assert [handler.event for handler in plugin.handlers] == [None, "error"]
    assert [function.name for function in plugin.functions] == ["init", "sweep"]
    assert [section.name for section in plugin.sections] == ["vector_config"]
    assert plain(plugin.state) == ("DictExpr", (("Pair", ("Text", "runs", False), ("Number", 0, "0", None)),))
    assert len(plugin.timers) == 1


@pytest.mark.parametrize(
    "word", ["goal", "plugin", "log", "type", "status", "fn", "on", "when", "match", "default", "end"]
)
def test_soft_words_are_names_elsewhere(word: str) -> None:
    assert plain(only(f"{word} = 5").target) == ("Name", word, "value", False)
    assert plain(only(f"x = a.{word}").value) == ("Field", ("Name", "a", "value", False), word, False)
    assert value(f"{{ {word}: 1 }}")[1][0][1] == ("Text", word, False)


def test_a_very_deep_tree_is_built_and_walked() -> None:
    chain = " + ".join(["a"] * 700)
    assert isinstance(only(f"x = {chain}").value, nodes.Binary)
