"""The builder's half for statements: what each alternative of the grammar becomes (sections 10, 11, 13 and 15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from . import nodes
from .data import as_data, dotted_texts
from .entries import EntryBuilder
from .errors import Source, SyntaxProblem
from .intents import INTENT_BLOCKS, intent, undashed
from .manifests import Manifests
from .nodes import Span
from .templates import template
from .tokens import Token, join
from .words import VERBS

Children = list[Any]


class Builder(EntryBuilder):
    """Builds the nodes of one script after the other; the parser sets the script before it feeds the first token."""

    def __init__(self) -> None:
        self.source = Source("", "")
        self.warn: list[SyntaxProblem] = []

    def begin(
        self, source: Source, warn: list[SyntaxProblem], parse_expression: Callable[[int, int], nodes.Expr]
    ) -> None:
        """Turns to another script."""
        self.source = source
        self.warn = warn
        self.parse_expression = parse_expression
        self.manifests = Manifests(source.text, self.expression_in)

    # ------------------------------------------------------------ blocks

    def start(self, c: Children) -> tuple[nodes.Stmt, ...]:
        return tuple(c[0])

    def block(self, c: Children) -> nodes.Block:
        body = tuple(c[1])
        span: Span = c[0].span
        if body and body[-1].span.end > span.end:
            span = join(span, body[-1].span)
        return nodes.Block(span, body)

    def append_stmt(self, c: Children) -> list[nodes.Stmt]:
        statements: list[nodes.Stmt] = c[0]
        if c[1] is not None:
            statements.append(c[1])
        return statements

    # ------------------------------------------------------------ control

    def if_stmt(self, c: Children) -> nodes.Stmt:
        branches = [nodes.Branch(join(c[1].span, c[2].span), c[1], c[2])]
        otherwise = None
        for part in c[3]:
            if otherwise is not None:
                raise SyntaxProblem("AE108", "nothing can follow `else`", part.span.start, part.span.end)
            if type(part) is nodes.Branch:
                branches.append(part)
            else:
                otherwise = part
        last = otherwise or branches[-1]
        return nodes.If(join(c[0].span, last.span), tuple(branches), otherwise)

    def if_guard(self, c: Children) -> nodes.Stmt:
        """`if c` without a block: the guard of the entry around it."""
        span = join(c[0].span, c[1].span)
        return nodes.If(span, (nodes.Branch(span, c[1], nodes.Block(span, ())),), None)

    def append_elif(self, c: Children) -> list[Any]:
        c[0].append(nodes.Branch(join(c[1].span, c[3].span), c[2], c[3]))
        return cast(list[Any], c[0])

    def append_else(self, c: Children) -> list[Any]:
        c[0].append(c[2])
        return cast(list[Any], c[0])

    def for_stmt(self, c: Children) -> nodes.Stmt:
        names = tuple(token.text for token in c[1])
        if len(names) > 2:
            third = c[1][2].span
            raise SyntaxProblem("AE122", "a loop takes one or two names", third.start, third.end)
        return nodes.For(join(c[0].span, c[4].span), names, c[3], c[4])

    def while_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.While(join(c[0].span, c[2].span), c[1], c[2])

    def match_stmt(self, c: Children) -> nodes.Stmt:
        cases, default = [], None
        for part in c[2].body:
            if type(part) is not _CaseStmt:
                raise SyntaxProblem(
                    "AE116", "only `case` and `default` stand in a match", part.span.start, part.span.end,
                    expected=("case", "default"),
                )  # fmt: skip
            if isinstance(part.part, nodes.Case):
                cases.append(part.part)
            elif default is not None:
                raise SyntaxProblem("AE116", "a match has one `default`", part.span.start, part.span.end)
            else:
                default = part.part
        return nodes.Match(join(c[0].span, c[2].span), c[1], tuple(cases), default)

    def case_stmt(self, c: Children) -> _CaseStmt:
        span = join(c[0].span, c[-1].span)
        guard = c[3] if len(c) > 3 else None
        return _CaseStmt(span, nodes.Case(span, tuple(c[1]), guard, c[-1]))

    def default_stmt(self, c: Children) -> _CaseStmt:
        return _CaseStmt(join(c[0].span, c[1].span), c[1])

    def try_stmt(self, c: Children) -> nodes.Stmt:
        catches, final = [], None
        for part in c[2]:
            if final is not None:
                raise SyntaxProblem("AE108", "nothing can follow `finally`", part.span.start, part.span.end)
            if type(part) is nodes.Catch:
                catches.append(part)
            else:
                final = part
        if not catches and final is None:
            span = c[0].span
            raise SyntaxProblem(
                "AE117", "`try` without `catch` and `finally`", span.start, span.end, expected=("catch", "finally")
            )
        last = final or catches[-1]
        return nodes.Try(join(c[0].span, last.span), c[1], tuple(catches), final)

    def append_catch(self, c: Children) -> list[Any]:
        kind = name = None
        words = [token.text for token in c[2:-1] if type(token) is Token and token.type == "NAME"]
        if len(c) == 6 and c[2].type == "LPAR":
            name = words[0]
        elif words:
            kind = words[0]
            name = words[1] if len(words) > 1 else None
            if name is None and not kind[:1].isupper() and kind != "any":
                kind, name = None, kind
        if kind in ("Exception", "Error", "any"):
            kind = None
        c[0].append(nodes.Catch(join(c[1].span, c[-1].span), kind, name, c[-1]))
        return cast(list[Any], c[0])

    def append_finally(self, c: Children) -> list[Any]:
        c[0].append(c[2])
        return cast(list[Any], c[0])

    def throw_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Throw(join(c[0].span, c[-1].span), c[1] if len(c) > 1 else None)

    def return_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Return(join(c[0].span, c[-1].span), c[1] if len(c) > 1 else None)

    def break_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Break(c[0].span)

    def continue_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Continue(c[0].span)

    # ------------------------------------------------------------ assignment and expressions

    def expr_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.ExprStmt(c[0].span, c[0])

    def expr_block(self, c: Children) -> nodes.Stmt:
        """A call that owns a block: `goal("..") { .. }`, `simulate(..) { .. }`, `remember(v)` and its payload."""
        call, block = c
        if type(call) is not nodes.Call or type(call.function) is not nodes.Name:
            raise SyntaxProblem("AE104", "unexpected indent", block.span.start, block.span.start + 1)
        name, span = call.function.name, join(call.span, block.span)
        if name not in VERBS:
            raise SyntaxProblem(
                "AE115", f"a block cannot stand behind the call of '{name}'", call.span.start, call.span.end,
                expected=("end of line",), suggestion=f"to declare a function write `fn {name}(..)`",
            )  # fmt: skip
        if name == "goal":
            options = {arg.name: arg.value for arg in call.args if arg.name}
            titles = [arg.value for arg in call.args if not arg.name]
            if len(titles) != 1:
                raise SyntaxProblem("AE127", "a goal has one title", call.span.start, call.span.end)
            return nodes.Goal(
                span, titles[0], options.get("priority"), options.get("deadline"), options.get("metrics"), block
            )
        slots = tuple(
            nodes.SlotKey(arg.span, arg.name, arg.value) if arg.name else nodes.SlotExpr(arg.span, arg.value, at > 0)
            for at, arg in enumerate(call.args)
        )
        text = self.source.text[call.function.span.end : call.span.end]
        return nodes.VerbStmt(span, nodes.VerbPhrase(call.span, name, name, slots, text), block)

    def assign(self, c: Children) -> nodes.Stmt:
        self.check_target(c[0])
        return nodes.Assign(join(c[0].span, c[2].span), c[0], c[1].text, c[2])

    def typed_assign(self, c: Children) -> nodes.Stmt:
        target = nodes.Name(c[0].span, c[0].text)
        return nodes.Assign(join(c[0].span, c[4].span), target, "=", c[4], None, c[2], True)

    def let_stmt(self, c: Children) -> nodes.Stmt:
        name = c[1].data if c[1].type == "VAR" else c[1].text
        target = nodes.Name(c[1].span, name, "value", c[1].type == "VAR")
        kind = next((part for part in c if type(part) is nodes.TypeRef), None)
        value = c[-1] if type(c[-2]) is Token and c[-2].type == "ASSIGN" else None
        word = "const" if c[0].text == "const" else "let"
        if word == "const" and value is None:
            span = c[1].span
            raise SyntaxProblem("AE123", "a constant needs a value", span.end, span.end + 1, expected=("'='",))
        return nodes.Assign(join(c[0].span, c[-1].span), target, "=", value, word, kind)  # type: ignore[arg-type]

    # ------------------------------------------------------------ modules

    def import_stmt(self, c: Children) -> nodes.Stmt:
        slots: list[nodes.Slot] = c[1]
        span = join(c[0].span, slots[-1].span)
        first = slots[0]
        path = _module_path(first.value) if type(first) is nodes.SlotExpr else None
        if path is None or len(slots) > 2 or (len(slots) == 2 and type(slots[1]) is nodes.SlotExpr):
            span = slots[2].span if len(slots) > 2 else span
            raise SyntaxProblem(
                "AE118", "this import cannot be read", span.start, span.end,
                expected=('import "a/b" as u', "import a/b"),
            )  # fmt: skip
        name = _last_part(path)
        if len(slots) == 2:
            alias = slots[1]
            if type(alias) is not nodes.SlotPrep or alias.prep != "as" or type(alias.value) is not nodes.Name:
                raise SyntaxProblem(
                    "AE118", "a name is missing behind `as`", alias.span.start, alias.span.end, expected=("a name",)
                )
            name = alias.value.name
        return nodes.Use(span, path, name)

    def from_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.FromImport(join(c[0].span, c[3][-1].span), c[1].text, tuple(token.text for token in c[3]))

    def define_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Define(join(c[0].span, c[3].span), c[1].text, c[3])

    def export_stmt(self, c: Children) -> nodes.Stmt:
        return nodes.Export(join(c[0].span, c[-1].span), tuple(token.text for token in c[2]))

    # ------------------------------------------------------------ declarations

    def function(self, c: Children) -> nodes.Stmt:
        returns = c[6] if len(c) > 6 else None
        return nodes.Function(join(c[0].span, c[-1].span), c[1].text, tuple(c[3]), c[-1], bool(c[0].data), returns)

    def label(self, c: Children) -> Token:
        return cast(Token, c[0])

    def more_words(self, c: Children) -> list[Token]:
        c[0].append(c[1])
        return cast(list[Token], c[0])

    def on_stmt(self, c: Children) -> nodes.Stmt:
        words: list[Token] = c[1]
        source = None
        if len(words) > 1 and words[-2].text == "event":
            source = words[0].text if len(words) == 3 else None
            words = words[-1:]
        if len(words) != 1:
            span = join(words[0].span, words[-1].span)
            raise SyntaxProblem(
                "AE127", "this event cannot be read", span.start, span.end, expected=('on event "x"', "on x")
            )
        event = self.key_text(words[0])
        return nodes.Handler(join(c[0].span, c[2].span), event, event, (), c[2], source)

    def when_stmt(self, c: Children) -> nodes.Stmt:
        slots: list[nodes.Slot] = c[1]
        span = join(c[0].span, c[2].span)
        first = slots[0]
        if len(slots) > 1 or type(first) is not nodes.SlotExpr:
            place = slots[-1].span
            raise SyntaxProblem(
                "AE127", "`when` takes a handler name or a condition", place.start, place.end,
                expected=("name", "name(a, b)", "a condition"), suggestion="is an operator missing?",
            )  # fmt: skip
        head = first.value
        if type(head) is nodes.Name and not head.sigil:
            return nodes.Handler(span, head.name, head.name, (), c[2])
        if type(head) is nodes.Call and type(head.function) is nodes.Name and not head.effect and not head.safe:
            params = _handler_params(head.args)
            if params is not None:
                return nodes.Handler(span, head.function.name, head.function.name, params, c[2])
        return nodes.When(span, head, c[2])

    def every_stmt(self, c: Children) -> nodes.Stmt:
        slots = tuple(c[1]) if len(c) > 2 else ()
        return nodes.Timer(join(c[0].span, c[-1].span), c[0].data, slots, c[-1])

    def section(self, c: Children) -> nodes.Stmt:
        token, block = c[0], c[-1]
        label = self.key_text(c[1]) if len(c) > 2 else None
        kind = token.data
        span = join(token.span, block.span)
        name = token.text
        if name in ("plugin", "agent") and label is not None:
            return self._plugin(span, name, label, block)
        if name in INTENT_BLOCKS and kind != "declaration":
            return intent(self, name, label, span, block)
        if kind == "declaration" and name in ("init", "cleanup"):
            return nodes.Function(span, name, (), block)
        if name.startswith("on_"):
            return nodes.Handler(span, name, None if name == "on_run" else name[3:], (), block)
        return nodes.Section(span, name, label, block)

    def _plugin(self, span: Span, kind: Any, name: str, block: nodes.Block) -> nodes.Plugin:
        groups: dict[type, list[Any]] = {
            nodes.Entry: [], nodes.Handler: [], nodes.Function: [], nodes.Timer: [], nodes.Section: [],
        }  # fmt: skip
        others: list[nodes.Stmt] = []
        special: dict[str, nodes.Expr | None] = {"config": None, "state": None}
        for statement in block.body:
            key = statement.key if type(statement) is nodes.Entry else None
            key = statement.name if type(statement) is nodes.Section and statement.label is None else key
            if key in special:
                special[key] = as_data(statement)
            else:
                groups.get(type(statement), others).append(statement)
        handlers, functions = _entry_points(groups[nodes.Handler], groups[nodes.Function])
        found, fields = template(groups[nodes.Entry], lambda statement: undashed(self, statement))
        return nodes.Plugin(
            span, kind, name, tuple(_words_as_texts(entry) for entry in fields), special["config"], special["state"],
            handlers, functions, tuple(groups[nodes.Timer]), tuple(groups[nodes.Section]), tuple(others), found,
        )  # fmt: skip


class _CaseStmt(msgspec.Struct, frozen=True):
    """A case on its way to the match around it."""

    span: Span
    part: nodes.Case | nodes.Block


def _entry_points(
    handlers: list[nodes.Handler], functions: list[nodes.Function]
) -> tuple[tuple[nodes.Handler, ...], tuple[nodes.Function, ...]]:
    """`on_run() { }` and `fn on_start() { }` are handlers as well."""
    plain = []
    for function in functions:
        if function.name.startswith("on_") and not function.exported:
            event = None if function.name == "on_run" else function.name[3:]
            handlers.append(nodes.Handler(function.span, function.name, event, function.params, function.body))
        else:
            plain.append(function)
    return tuple(sorted(handlers, key=lambda handler: handler.span.start)), tuple(plain)


def _words_as_texts(entry: nodes.Entry) -> nodes.Entry:
    """`capabilities: [memory.read]`: words of 18.3, not fields of variables."""
    if entry.key not in ("capabilities", "requires") or entry.value is None:
        return entry
    return msgspec.structs.replace(entry, value=dotted_texts(entry.value))


def _handler_params(args: tuple[nodes.Arg, ...]) -> tuple[nodes.Param, ...] | None:
    """The arguments of a `when` head as parameters, if every one is a name or a name with a default."""
    params = []
    for arg in args:
        if arg.spread:
            return None
        if arg.name is not None:
            params.append(nodes.Param(arg.span, arg.name, arg.value))
        elif type(arg.value) is nodes.Name and not arg.value.sigil:
            params.append(nodes.Param(arg.span, arg.value.name))
        else:
            return None
    return tuple(params)


def _module_path(value: nodes.Expr) -> str | None:
    if type(value) is nodes.Path:
        return value.path
    if type(value) is nodes.Text:
        return value.value
    if type(value) is nodes.Name:
        return value.name
    return None


def _last_part(path: str) -> str:
    name = path.removesuffix(".aether").rpartition("/")[2]
    return "".join(character if character.isalnum() else "_" for character in name) or "module"
