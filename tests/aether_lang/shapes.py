"""A short notation of syntax trees, in which the cases of the language say what they expect.

Expressions look like scripts with all their brackets: `(a + (b * c))`, `f(x, k=1, ...v)`, `r.m(x)`, `d?.k`, `xs[1:]`,
`{"k": v}`, `(c ? a : b)`, `(a, b => e)`. What a script leaves open is marked:

- names: `x` is a value, `'x` a symbol, `?x` a signal, `$x` a variable by its sigil;
- numbers: `30 duration`, `1024 size`, `0.8 percent`, `ago(60)`;
- strings: `"x"`, raw ones `raw "x"`; of two blanks side by side each shows as `\\_`; `t("n=", {n}, {x:.2f})`
  interpolates;
- `f!(x)` is a call with the prefix `call`, `(f)(x)` a call of what is no name;
- phrases: `log<"a" | , b | with c | priority: 'high | if ?ok | -> r>`; a bar stands between slots, a comma where the
  script had one, a word that is only prose is `~don't`; `adapt_x/adapt` is a compound verb; `text "a b" <..>` is a
  phrase that is a text.

Statements: `x = e`, `let x: T = e`, `x =: e` (a colon assignment), `key: e { .. }` (an entry), `- e { .. }` (an item),
`if`, `for`, `while`, `match`, `try`, `fn`; any other node is its class with its fields, defaults left out.

`python -m tests.aether_lang.shapes FILE..` prints what a case expects; `--coverage` counts the cases by section."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from aether_lang import nodes

WIDTH = 116


def shape(node: Any) -> str:
    """The notation of a node, a string, a number, None or a tuple of them."""
    writer = _WRITERS.get(type(node))
    if writer is not None:
        return writer(node)
    if isinstance(node, nodes.Node):
        return _any(node)
    if isinstance(node, tuple):
        return "[" + "; ".join(map(shape, node)) + "]"
    if isinstance(node, str):
        return node if re.fullmatch(r"[A-Za-z_][\w./-]*", node) else text(node)
    return "-" if node is None else str(node)


def text(value: str) -> str:
    """A string in quotes, on one line, with every blank of several side by side to be seen."""
    quoted = json.dumps(value, ensure_ascii=False)
    quoted = "".join(character if character.isprintable() else f"\\u{ord(character):04X}" for character in quoted)
    return re.sub(r" {2,}", lambda found: r"\_" * len(found[0]), quoted)


def _any(node: nodes.Node) -> str:
    parts = []
    for name, default in zip(*_fields(type(node)), strict=True):
        value = getattr(node, name)
        if default is _REQUIRED:
            parts.append(shape(value))
        elif value != default:
            parts.append(f"{name}={shape(value)}")
    return f"{type(node).__name__}({', '.join(parts)})"


_REQUIRED = object()


def _fields(kind: type) -> tuple[list[str], list[Any]]:
    names = [name for name in kind.__struct_fields__ if name != "span"]  # type: ignore[attr-defined]
    defaults = list(kind.__struct_defaults__)  # type: ignore[attr-defined]
    return names, [_REQUIRED] * (len(names) - len(defaults)) + defaults


# ---------------------------------------------------------------- expressions


def _number(node: nodes.Number) -> str:
    return f"{node.value} {node.unit}" if node.unit else str(node.value)


def _template(node: nodes.TextTemplate) -> str:
    return "t(" + ", ".join(text(part) if isinstance(part, str) else shape(part) for part in node.parts) + ")"


def _interpolation(node: nodes.Interpolation) -> str:
    spec = "" if node.spec is None else ":" + node.spec
    return "{" + shape(node.value) + spec + "}"


def _name(node: nodes.Name) -> str:
    mark = "$" if node.sigil else {"value": "", "symbol": "'", "signal": "?"}[node.role]
    return mark + node.name


def _list(values: tuple[Any, ...]) -> str:
    return ", ".join(map(shape, values))


def _arg(node: nodes.Arg) -> str:
    mark = "..." if node.spread else f"{node.name}=" if node.name is not None else ""
    return mark + shape(node.value)


def _call(node: nodes.Call) -> str:
    function = shape(node.function)
    if type(node.function) is not nodes.Name:
        function = f"({function})"
    return f"{function}{'?.' if node.safe else ''}{'!' if node.effect else ''}({_list(node.args)})"


def _method(node: nodes.MethodCall) -> str:
    dot = "?." if node.safe else "."
    return f"{shape(node.receiver)}{dot}{node.method}{'!' if node.effect else ''}({_list(node.args)})"


def _slice(node: nodes.Slice) -> str:
    lower, upper = ("" if end is None else shape(end) for end in (node.lower, node.upper))
    return f"{shape(node.value)}[{lower}:{upper}]"


def _compare(node: nodes.Compare) -> str:
    rest = "".join(f" {op} {shape(right)}" for op, right in zip(node.ops, node.operands[1:], strict=True))
    return f"({shape(node.operands[0])}{rest})"


def _tuple(node: nodes.TupleExpr) -> str:
    return f"({_list(node.elements)}{',' if len(node.elements) == 1 else ''})"


def _pair(node: nodes.Pair) -> str:
    return f"...{shape(node.value)}" if node.key is None else f"{shape(node.key)}: {shape(node.value)}"


def _comprehension(node: nodes.Comprehension) -> str:
    condition = "" if node.condition is None else f" if {shape(node.condition)}"
    return f"({shape(node.element)} for {', '.join(node.names)} in {shape(node.iterable)}{condition})"


def _type(node: nodes.TypeRef) -> str:
    args = f"[{_list(node.args)}]" if node.args else ""
    return "|".join([node.name + args + ("?" if node.optional else ""), *map(shape, node.alternatives)])


def _param(node: nodes.Param) -> str:
    name = f"[{', '.join(node.names)}]" if node.names else node.name
    kind = "" if node.type is None else f": {shape(node.type)}"
    default = "" if node.default is None else f"={shape(node.default)}"
    return ("..." if node.rest else "") + name + kind + default


def _block(node: nodes.Block) -> str:
    return "{ " + "; ".join(map(shape, node.body)) + " }" if node.body else "{}"


def _branches(node: nodes.If | nodes.IfExpr) -> str:
    parts = [f"{shape(branch.condition)} {shape(branch.body)}" for branch in node.branches]
    otherwise = "" if node.otherwise is None else f" else {shape(node.otherwise)}"
    return "if " + " elif ".join(parts) + otherwise


# ---------------------------------------------------------------- phrases


def _slots(slots: tuple[Any, ...]) -> str:
    return "<" + " | ".join(map(shape, slots)) + ">" if slots else ""


def _phrase(node: nodes.VerbPhrase, colon: str = "") -> str:
    verb = node.verb if node.verb == node.base else f"{node.verb}/{node.base}"
    return verb + colon + (_slots(node.slots) or "<>")


def _text_phrase(node: nodes.TextPhrase) -> str:
    return f"text {text(node.text)} {_slots(node.slots)}"


def _guard(node: nodes.SlotGuard) -> str:
    return f"{node.word} {_slots(node.slots) if node.condition is None else shape(node.condition)}"


def _verb(node: nodes.VerbStmt) -> str:
    return _phrase(node.phrase, ":" if node.colon else "") + _owned(node.body)


def _prep(node: nodes.SlotPrep) -> str:
    return node.prep if node.value is None else f"{node.prep} {shape(node.value)}"


# ---------------------------------------------------------------- statements


def _owned(block: nodes.Block | None) -> str:
    return "" if block is None else " " + shape(block)


def _assign(node: nodes.Assign) -> str:
    word = "" if node.declare is None else node.declare + " "
    kind = "" if node.type is None else f": {shape(node.type)}"
    value = "" if node.value is None else f" {node.op}{':' if node.colon else ''} {shape(node.value)}"
    return word + shape(node.target) + kind + value


def _arrow(node: nodes.ArrowStmt) -> str:
    guard = "" if node.guard is None else f" {shape(node.guard)}"
    target = "" if node.target is None else f" -> {shape(node.target)}"
    return shape(node.value) + target + guard


def _expression(node: nodes.ExprStmt) -> str:
    inner = shape(node.value)
    return f"value {inner}" if isinstance(node.value, (nodes.VerbPhrase, nodes.IfExpr)) else inner


def _match(node: nodes.Match) -> str:
    parts = [shape(case) for case in node.cases]
    if node.default is not None:
        parts.append(f"default {shape(node.default)}")
    return f"match {shape(node.subject)} {{ {'; '.join(parts)} }}"


def _case(node: nodes.Case) -> str:
    guard = "" if node.guard is None else f" if {shape(node.guard)}"
    return f"case {_list(node.values)}{guard} {shape(node.body)}"


def _try(node: nodes.Try) -> str:
    final = "" if node.final is None else f" finally {shape(node.final)}"
    return f"try {shape(node.body)}" + "".join(" " + shape(part) for part in node.catches) + final


def _catch(node: nodes.Catch) -> str:
    name = "" if node.name is None else f" as {node.name}"
    return f"catch {node.type or 'any'}{name} {shape(node.body)}"


def _entry(node: nodes.Entry) -> str:
    key = json.dumps(node.key, ensure_ascii=False) if node.quoted else node.key
    value = "" if node.value is None else f" {shape(node.value)}"
    return f"{key}:{value}{_owned(node.body)}"


def _item(node: nodes.Item) -> str:
    mark = "-" if node.number is None else f"{node.number}."
    return mark + ("" if node.content is None else f" {shape(node.content)}") + _owned(node.body)


def _function(node: nodes.Function) -> str:
    returns = "" if node.returns is None else f" -> {shape(node.returns)}"
    return f"{'export ' if node.exported else ''}fn {node.name}({_list(node.params)}){returns} {shape(node.body)}"


def _keyword(word: str, value: nodes.Expr | None) -> str:
    return word if value is None else f"{word} {shape(value)}"


_WRITERS: dict[type, Any] = {
    nodes.Null: lambda _: "null",
    nodes.Bool: lambda n: "true" if n.value else "false",
    nodes.Number: _number,
    nodes.TimeAgo: lambda n: f"ago({n.seconds})",
    nodes.Text: lambda n: ("raw " if n.raw else "") + text(n.value),
    nodes.TextTemplate: _template,
    nodes.Interpolation: _interpolation,
    nodes.Regex: lambda n: f"/{n.pattern}/{n.flags}",
    nodes.Name: _name,
    nodes.Path: lambda n: f"path {n.path}",
    nodes.Field: lambda n: f"{shape(n.value)}{'?.' if n.safe else '.'}{n.name}",
    nodes.Index: lambda n: f"{shape(n.value)}[{shape(n.index)}]",
    nodes.Slice: _slice,
    nodes.Arg: _arg,
    nodes.Call: _call,
    nodes.MethodCall: _method,
    nodes.New: lambda n: f"new {n.constructor}({_list(n.args)})",
    nodes.Unary: lambda n: f"({n.op} {shape(n.operand)})",
    nodes.Binary: lambda n: f"({shape(n.left)} {n.op} {shape(n.right)})",
    nodes.Logic: lambda n: "(" + f" {n.op} ".join(map(shape, n.operands)) + ")",
    nodes.Compare: _compare,
    nodes.PostfixTest: lambda n: f"({shape(n.operand)} {n.test})",
    nodes.Conditional: lambda n: f"({shape(n.condition)} ? {shape(n.then)} : {shape(n.otherwise)})",
    nodes.Range: lambda n: f"({shape(n.lower)} .. {shape(n.upper)})",
    nodes.Await: lambda n: f"(await {shape(n.value)})",
    nodes.PostStep: lambda n: f"({shape(n.target)} {n.op})",
    nodes.Spread: lambda n: f"...{shape(n.value)}",
    nodes.ListExpr: lambda n: f"[{_list(n.elements)}]",
    nodes.TupleExpr: _tuple,
    nodes.Pair: _pair,
    nodes.DictExpr: lambda n: "{" + _list(n.pairs) + "}",
    nodes.Comprehension: _comprehension,
    nodes.TypeRef: _type,
    nodes.Param: _param,
    nodes.Lambda: lambda n: f"({_list(n.params)} => {shape(n.body)})",
    nodes.Block: _block,
    nodes.IfExpr: _branches,
    nodes.SlotExpr: lambda n: (", " if n.comma else "") + shape(n.value),
    nodes.SlotWord: lambda n: f"~{n.text}",
    nodes.SlotPrep: _prep,
    nodes.SlotKey: lambda n: f"{n.key}: {shape(n.value)}",
    nodes.SlotGuard: _guard,
    nodes.SlotArrow: lambda n: f"-> {shape(n.target)}",
    nodes.VerbPhrase: _phrase,
    nodes.TextPhrase: _text_phrase,
    nodes.BareComparison: lambda n: f"check({n.op} {shape(n.value)})",
    nodes.ExprStmt: _expression,
    nodes.Assign: _assign,
    nodes.ArrowStmt: _arrow,
    nodes.CallStmt: lambda n: f"{shape(n.call)} {_slots(n.slots)}",
    nodes.If: _branches,
    nodes.For: lambda n: f"for {', '.join(n.names)} in {shape(n.iterable)} {shape(n.body)}",
    nodes.While: lambda n: f"while {shape(n.condition)} {shape(n.body)}",
    nodes.Case: _case,
    nodes.Match: _match,
    nodes.Catch: _catch,
    nodes.Try: _try,
    nodes.Throw: lambda n: _keyword("throw", n.value),
    nodes.Return: lambda n: _keyword("return", n.value),
    nodes.Break: lambda _: "break",
    nodes.Continue: lambda _: "continue",
    nodes.Wait: lambda n: f"wait {shape(n.duration)}",
    nodes.AwaitValues: lambda n: f"await {_list(n.values)}",
    nodes.VerbStmt: _verb,
    nodes.Entry: _entry,
    nodes.Item: _item,
    nodes.Function: _function,
}


def comment(line: str) -> str:
    """A line of expectation as comment lines, broken at single blanks."""
    lines = textwrap.wrap(
        "# expect: " + line, WIDTH, subsequent_indent="#   ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints the expectations of scripts, or the cases of each section."""
    from tests.aether_lang import case_files

    if arguments == ["--coverage"]:
        for section, names in case_files.coverage().items():
            print(f"{section:6} {len(names):4}")
        return
    for path in arguments:
        case = case_files.read(Path(path))
        print("\n".join(comment(line) for line in case_files.found(case)))


if __name__ == "__main__":
    main(sys.argv[1:])
