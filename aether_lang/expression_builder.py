"""The builder's half for expressions: what each alternative of the grammar becomes (sections 2.4 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from . import nodes
from .errors import Source, SyntaxProblem
from .nodes import Span
from .precedence import Negation, Postfixed, climb, settle
from .strings import read_string
from .tokens import Token, dotted_name, join

Children = list[Any]

CONSTRUCTORS = ("Set", "Date", "URL", "Error")


class ExpressionBuilder:
    """Builds expression nodes. `parse_expression` reads an interpolation out of the source."""

    source: Source
    warn: list[SyntaxProblem]
    parse_expression: Callable[[int, int], nodes.Expr]

    # ------------------------------------------------------------ lists of the grammar

    def nothing(self, c: Children) -> list[Any]:
        return []

    def one(self, c: Children) -> list[Any]:
        return [c[0]]

    def more(self, c: Children) -> list[Any]:
        c[0].append(c[2])
        return cast(list[Any], c[0])

    # ------------------------------------------------------------ atoms

    def name(self, c: Children) -> nodes.Expr:
        token = c[0]
        return nodes.Name(token.span, token.text, token.data or "value")

    def var(self, c: Children) -> nodes.Expr:
        return nodes.Name(c[0].span, c[0].data, "value", True)

    def const(self, c: Children) -> nodes.Expr:
        value = c[0].data
        return nodes.Null(c[0].span) if value is None else nodes.Bool(c[0].span, value)

    def number(self, c: Children) -> nodes.Expr:
        return nodes.Number(c[0].span, c[0].data, c[0].text)

    def percent(self, c: Children) -> nodes.Expr:
        return nodes.Number(c[0].span, c[0].data, c[0].text, "percent")

    def unit_number(self, c: Children) -> nodes.Expr:
        value, unit = c[0].data
        if unit == "ago":
            return nodes.TimeAgo(c[0].span, int(value))
        return nodes.Number(c[0].span, value, c[0].text, unit)

    def regex(self, c: Children) -> nodes.Expr:
        return nodes.Regex(c[0].span, *c[0].data)

    def path(self, c: Children) -> nodes.Expr:
        return nodes.Path(c[0].span, c[0].text)

    def clock(self, c: Children) -> nodes.Expr:
        return nodes.Text(c[0].span, c[0].text, True)

    def template(self, c: Children) -> nodes.Expr:
        return dotted_name(c[0].span, c[0].data.split("."), sigil=True)

    def string(self, c: Children) -> nodes.Expr:
        return read_string(c[0], self.source, self.parse_expression, self.warn)

    def group(self, c: Children) -> nodes.Expr:
        return cast(nodes.Expr, c[1])

    # ------------------------------------------------------------ collections

    def spread(self, c: Children) -> nodes.Spread:
        return nodes.Spread(join(c[0].span, c[1].span), c[1])

    def elem_pair(self, c: Children) -> nodes.Expr:
        span = join(c[0].span, c[2].span)
        key = nodes.Text(c[0].span, c[0].name) if type(c[0]) is nodes.Name and not c[0].sigil else c[0]
        return nodes.DictExpr(span, (nodes.Pair(span, key, c[2]),))

    def list_expr(self, c: Children) -> nodes.Expr:
        elements = c[1] if type(c[1]) is list else ()
        return nodes.ListExpr(join(c[0].span, c[-1].span), tuple(elements))

    def tuple_expr(self, c: Children) -> nodes.Expr:
        elements = [] if len(c) == 2 else [c[1], *(c[3] if type(c[3]) is list else ())]
        return nodes.TupleExpr(join(c[0].span, c[-1].span), tuple(elements))

    def pair_key(self, c: Children) -> nodes.Pair:
        return nodes.Pair(join(c[0].span, c[1].span), nodes.Text(c[0].span, c[0].text), c[1])

    def pair(self, c: Children) -> nodes.Pair:
        return nodes.Pair(join(c[0].span, c[2].span), c[0], c[2])

    def pair_spread(self, c: Children) -> nodes.Pair:
        return nodes.Pair(join(c[0].span, c[1].span), None, c[1])

    def pair_short(self, c: Children) -> nodes.Pair:
        value = c[0]
        if type(value) is not nodes.Name:
            raise SyntaxProblem(
                "AE125", "an entry of a dict needs a key", value.span.start, value.span.end, expected=("key: value",)
            )
        return nodes.Pair(value.span, nodes.Text(value.span, value.name), value)

    def dict_expr(self, c: Children) -> nodes.Expr:
        pairs = c[1] if type(c[1]) is list else ()
        return nodes.DictExpr(join(c[0].span, c[-1].span), tuple(pairs))

    def comp(self, c: Children) -> tuple[tuple[str, ...], nodes.Expr, nodes.Expr | None]:
        names = tuple(token.text for token in c[1])
        if len(names) > 2:
            raise _at("AE122", "a comprehension takes one or two names", c[1][2])
        return names, c[3], c[5] if len(c) > 4 else None

    def comprehension(self, c: Children) -> nodes.Expr:
        return nodes.Comprehension(join(c[0].span, c[-1].span), c[1], *c[2])

    # ------------------------------------------------------------ access and calls

    def field(self, c: Children) -> nodes.Expr:
        return nodes.Field(join(c[0].span, c[2].span), c[0], c[2].text)

    def safe_field(self, c: Children) -> nodes.Expr:
        return nodes.Field(join(c[0].span, c[2].span), c[0], c[2].text, True)

    def index(self, c: Children) -> nodes.Expr:
        return nodes.Index(join(c[0].span, c[3].span), c[0], c[2])

    def slice_all(self, c: Children) -> nodes.Expr:
        return nodes.Slice(join(c[0].span, c[-1].span), c[0], None, None)

    def slice_from(self, c: Children) -> nodes.Expr:
        return nodes.Slice(join(c[0].span, c[-1].span), c[0], c[2], None)

    def slice_to(self, c: Children) -> nodes.Expr:
        return nodes.Slice(join(c[0].span, c[-1].span), c[0], None, c[3])

    def slice_both(self, c: Children) -> nodes.Expr:
        return nodes.Slice(join(c[0].span, c[-1].span), c[0], c[2], c[4])

    def post_step(self, c: Children) -> nodes.Expr:
        self.check_target(c[0])
        return nodes.PostStep(join(c[0].span, c[1].span), c[1].text, c[0])

    def args(self, c: Children) -> list[nodes.Arg]:
        return cast(list[nodes.Arg], c[0])

    def arg(self, c: Children) -> nodes.Arg:
        return nodes.Arg(c[0].span, c[0])

    def arg_spread(self, c: Children) -> nodes.Arg:
        return nodes.Arg(join(c[0].span, c[1].span), c[1], None, True)

    def arg_key(self, c: Children) -> nodes.Arg:
        return nodes.Arg(join(c[0].span, c[1].span), c[1], c[0].text)

    def arg_comp(self, c: Children) -> nodes.Arg:
        names, iterable, condition = c[1]
        span = join(c[0].span, (condition or iterable).span)
        return nodes.Arg(span, nodes.Comprehension(span, c[0], names, iterable, condition))

    def call(self, c: Children) -> nodes.Expr:
        function, span, args = c[0], join(c[0].span, c[-1].span), tuple(c[2])
        if type(function) is nodes.Field:
            return nodes.MethodCall(span, function.value, function.name, args, function.safe)
        if type(function) is nodes.Name and function.role != "value":
            function = nodes.Name(function.span, function.name)
        return nodes.Call(span, function, args)

    def safe_call(self, c: Children) -> nodes.Expr:
        return nodes.Call(join(c[0].span, c[-1].span), c[0], tuple(c[3]), True)

    def effect(self, c: Children) -> nodes.Expr:
        value = c[1]
        spine = _spine(value)
        found = next((at for at in range(len(spine) - 1, -1, -1) if type(spine[at]) in _CALLS), None)
        if found is None:
            raise _at("AE128", "`call` needs a call behind it", c[0], expected=("f(x)", "p.f(x)"))
        return _respine(spine[:found], msgspec.structs.replace(spine[found], effect=True))

    def new(self, c: Children) -> nodes.Expr:
        spine = _spine(c[1])
        found = next((at for at in range(len(spine) - 1, -1, -1) if type(spine[at]) is nodes.Call), None)
        inner = spine[found] if found is not None else None
        if inner is None or type(inner.function) is not nodes.Name or inner.function.name not in CONSTRUCTORS:
            if inner is None and type(spine[0]) is nodes.Name and spine[0].name in CONSTRUCTORS:
                raise _at(
                    "AE128", f"`new {spine[0].name}` needs brackets", c[0], expected=(f"new {spine[0].name}(..)",)
                )
            raise _at("AE128", "`new` makes no such thing", c[0], expected=CONSTRUCTORS)
        built = nodes.New(join(c[0].span, inner.span), inner.function.name, inner.args)
        return _respine(spine[:found], built)

    def await_expr(self, c: Children) -> nodes.Expr:
        return nodes.Await(join(c[0].span, c[1].span), c[1])

    # ------------------------------------------------------------ operators

    def operator(self, c: Children) -> Token:
        token: Token = c[0]
        if token.type != "OP":
            token.data = token.text
        return token

    def first_operation(self, c: Children) -> tuple[list[Any], list[Token]]:
        return [c[0], c[2]], [c[1]]

    def next_operation(self, c: Children) -> tuple[list[Any], list[Token]]:
        operands, operators = c[0]
        operators.append(c[1])
        operands.append(c[2])
        return operands, operators

    def climb(self, c: Children) -> nodes.Expr:
        return climb(*c[0])

    def settled(self, c: Children) -> nodes.Expr:
        return settle(c[0])

    def prefix(self, c: Children) -> nodes.Expr:
        return nodes.Unary(join(c[0].span, c[1].span), c[0].text, c[1])

    def negate(self, c: Children) -> Negation:
        return Negation(c[0], c[1])

    def postfix_test(self, c: Children) -> Postfixed:
        return Postfixed(c[0], c[1])

    def power(self, c: Children) -> nodes.Expr:
        return nodes.Binary(join(c[0].span, c[2].span), "**", c[0], c[2])

    def ternary_if(self, c: Children) -> nodes.Expr:
        return nodes.Conditional(join(c[0].span, c[4].span), c[2], c[0], c[4])

    def ternary_mark(self, c: Children) -> nodes.Expr:
        return nodes.Conditional(join(c[0].span, c[4].span), c[0], c[2], c[4])

    # ------------------------------------------------------------ functions and blocks as values

    def lambda_name(self, c: Children) -> nodes.Expr:
        params = (nodes.Param(c[0].span, c[0].text),)
        return nodes.Lambda(join(c[0].span, c[2].span), params, c[2])

    def lambda_params(self, c: Children) -> nodes.Expr:
        return nodes.Lambda(join(c[0].span, c[4].span), tuple(c[1]), c[4])

    def lambda_words(self, c: Children) -> nodes.Expr:
        names = c[1] if type(c[1]) is list else []
        params = tuple(nodes.Param(token.span, token.text) for token in names)
        return nodes.Lambda(join(c[0].span, c[-1].span), params, c[-1])

    def lambda_assign(self, c: Children) -> nodes.Assign:
        self.check_target(c[0])
        return nodes.Assign(join(c[0].span, c[2].span), c[0], c[1].text, c[2])

    def anonymous(self, c: Children) -> nodes.Expr:
        return nodes.Lambda(join(c[0].span, c[4].span), tuple(c[2]), c[4])

    def if_expr(self, c: Children) -> nodes.Expr:
        branches = [nodes.Branch(join(c[1].span, c[2].span), c[1], c[2])]
        rest = c[3]
        otherwise: Any = None
        while rest:
            if len(rest) == 1:
                otherwise = rest[0]
                break
            condition, block, rest = rest
            branches.append(nodes.Branch(join(condition.span, block.span), condition, block))
        last = otherwise if otherwise is not None else branches[-1]
        return nodes.IfExpr(join(c[0].span, last.span), tuple(branches), otherwise)

    def xelif(self, c: Children) -> list[Any]:
        return [c[1], c[2], c[3]]

    def xelse(self, c: Children) -> list[Any]:
        return [c[1]]

    # ------------------------------------------------------------ parameters and types

    def params(self, c: Children) -> list[nodes.Param]:
        params: list[nodes.Param] = c[0]
        seen: set[str] = set()
        for param in params:
            for name in (param.name, *param.names):
                if name and name in seen:
                    raise SyntaxProblem(
                        "AE121", f"two parameters are called '{name}'", param.span.start, param.span.end
                    )
                seen.add(name)
            if param.rest and param is not params[-1]:
                raise SyntaxProblem("AE121", "'...' belongs to the last parameter", param.span.start, param.span.end)
        return params

    def param(self, c: Children) -> nodes.Param:
        return nodes.Param(c[0].span, c[0].text)

    def param_default(self, c: Children) -> nodes.Param:
        return nodes.Param(join(c[0].span, c[2].span), c[0].text, c[2])

    def param_typed(self, c: Children) -> nodes.Param:
        default = c[4] if len(c) > 3 else None
        return nodes.Param(join(c[0].span, c[-1].span), c[0].text, default, c[2])

    def param_rest(self, c: Children) -> nodes.Param:
        return nodes.Param(join(c[0].span, c[1].span), c[1].text, None, None, True)

    def param_pattern(self, c: Children) -> nodes.Param:
        names = tuple(token.text for token in c[1])
        return nodes.Param(join(c[0].span, c[2].span), "", None, None, False, names)

    def type(self, c: Children) -> nodes.TypeRef:
        return cast(nodes.TypeRef, c[0])

    def type_union(self, c: Children) -> nodes.TypeRef:
        left: nodes.TypeRef = c[0]
        right: nodes.TypeRef = c[2]
        return nodes.TypeRef(join(left.span, right.span), left.name, left.args, left.optional, (right,))

    def plain_type(self, c: Children) -> nodes.TypeRef:
        name, start = c[0]
        args = tuple(c[2]) if len(c) > 3 else ()
        optional = isinstance(c[-1], Token) and c[-1].type == "QMARK"
        end = c[-1].span if len(c) > 1 else start
        return nodes.TypeRef(join(start, end), name, args, optional)

    def dotted(self, c: Children) -> tuple[str, Span]:
        if len(c) == 1:
            return c[0].text, c[0].span
        return f"{c[0][0]}.{c[2].text}", join(c[0][1], c[2].span)

    def dotted_null(self, c: Children) -> tuple[str, Span]:
        if c[0].data is not None:
            span = c[0].span
            raise SyntaxProblem("AE121", f"'{c[0].text}' is no type", span.start, span.end, expected=("a type",))
        return "null", c[0].span

    # ------------------------------------------------------------ targets

    def check_target(self, target: Any) -> None:
        """Refuses what cannot be assigned to."""
        if isinstance(target, nodes.Name | nodes.Index) or (isinstance(target, nodes.Field) and not target.safe):
            return
        raise SyntaxProblem(
            "AE123", "this cannot be assigned to", target.span.start, target.span.end,
            expected=("a name", "a field", "an element"),
        )  # fmt: skip


_CALLS = (nodes.Call, nodes.MethodCall)
_INNER: dict[Any, str] = {
    nodes.Call: "function",
    nodes.MethodCall: "receiver",
    nodes.Field: "value",
    nodes.Index: "value",
    nodes.Slice: "value",
    nodes.PostStep: "target",
}


def _spine(value: Any) -> list[Any]:
    spine = [value]
    while (attribute := _INNER.get(type(spine[-1]))) is not None:
        spine.append(getattr(spine[-1], attribute))
    return spine


def _respine(outer: list[Any], inner: Any) -> nodes.Expr:
    for node in reversed(outer):
        inner = msgspec.structs.replace(node, **{_INNER[type(node)]: inner})
    return cast(nodes.Expr, inner)


def _at(code: str, message: str, token: Token, **more: Any) -> SyntaxProblem:
    return SyntaxProblem(code, message, token.span.start, token.span.end, **more)
