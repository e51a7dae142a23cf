"""Expressions to Python `ast`: how each becomes an expression, with statements before it where needed (section 22).

Operands without effects become one Python expression, tried as it is; when it raises TypeError the same expression runs
again through the helpers, which know null and text. Everything else is evaluated into temporaries, left to right.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from . import host, jobs, nodes, stdlib
from .budget import LARGE
from .kinds import COUNTABLE, NUMERIC
from .scopes import (
    CALLS_BACK,
    Binding,
    BlockScope,
    FunctionScope,
    Scopes,
    fits,
    is_library_call,
    result_slot,
)
from .words import VERBS, verb_base

Sink = Callable[[ast.expr], ast.stmt]

AMBIENT: Final = frozenset(
    [
        "current_timestamp",
        "current_time",
        "current_date",
        "timestamp",
        "event_data",
        "parameters",
        "context",
        "last_output",
        "response",
        "transaction",
        "memory_scope",
    ]
)
_HELPERS: Final = {
    "+": "@add", "-": "@sub", "*": "@mul", "/": "@div", "%": "@mod", "**": "@pow",
    "|": "@bor", "^": "@bxor", "&": "@band", "<<": "@shl", ">>": "@shr",
    "<": "@lt", "<=": "@le", ">": "@gt", ">=": "@ge", "==": "@eq", "!=": "@ne", "in": "@has", "not in": "@hasnt",
}  # fmt: skip
_ORDER: Final[dict[str, type[ast.cmpop]]] = {"<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE}
_ARITHMETIC: Final[dict[str, type[ast.operator]]] = {"+": ast.Add, "-": ast.Sub}


class Pure(NamedTuple):
    """An expression without effects, as Python would do it and as the helpers do it; equal when `certain`."""

    fast: ast.expr
    slow: ast.expr
    certain: bool


def const(value: Any) -> ast.Constant:
    """A literal."""
    return ast.Constant(value)


def load(name: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(name, ast.Load())


def call(name: str, *args: ast.expr) -> ast.Call:
    """A call of a helper."""
    return ast.Call(load(name), list(args), [])


def assign(name: str, value: ast.expr) -> ast.stmt:
    """A name that is written."""
    return ast.Assign([ast.Name(name, ast.Store())], value)


def attempt(fast: ast.stmt, slow: list[ast.stmt], error: str) -> ast.Try:
    """`fast`, or `slow` when it raises the error."""
    return ast.Try([fast], [ast.ExceptHandler(load(error), None, slow)], [], [])


def locate(tree: ast.AST, span: nodes.Span) -> None:
    """Gives every node that has no place yet the place of the script's node."""
    place = {
        "lineno": span.line,
        "col_offset": span.column - 1,
        "end_lineno": span.end_line,
        "end_col_offset": span.end_column - 1,
    }
    work: list[ast.AST] = [tree]
    while work:
        node = work.pop()
        held = vars(node)
        if "lineno" in held:
            continue
        for value in held.values():  # faster than `ast.iter_child_nodes`, and every expression comes by here
            if isinstance(value, ast.AST):
                work.append(value)
            elif isinstance(value, list):
                work += [one for one in value if isinstance(one, ast.AST)]
        if node._attributes:
            held.update(place)


class Frame:
    """What is known while the code of one Python function is made."""

    def __init__(self, scope: FunctionScope, assigned: set[Binding]) -> None:
        """`assigned` are the bindings surely set when the function begins."""
        self.scope = scope
        self.assigned = assigned
        self.out: list[ast.stmt] = []
        self.loops = 0
        self.temps = 0
        self.errors: list[str] = []


class Expressions:
    """The half of the compiler that makes values; `Compiler` adds statements and declarations."""

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """Resolves the names of the module, those of a `session` among them."""
        self.module = module
        self.scopes = Scopes(module, session)
        self.frame = Frame(self.scopes.main, set(self.scopes.session.values()))
        self.unit = ""

    # ------------------------------------------------------------ output

    def emit(self, statement: ast.stmt) -> None:
        """Appends a statement to the code being made."""
        self.frame.out.append(statement)

    @contextmanager
    def collected(self) -> Iterator[list[ast.stmt]]:
        """A list that takes what is emitted inside; what is assigned there is not sure afterwards."""
        before, assigned = self.frame.out, set(self.frame.assigned)
        self.frame.out = []
        try:
            yield self.frame.out
        finally:
            self.frame.out = before
            self.frame.assigned = assigned

    def temp(self) -> str:
        """A fresh name."""
        self.frame.temps += 1
        return f"@t{self.frame.temps}"

    def kept(self, value: ast.expr) -> ast.expr:
        """The value as something that may be read twice."""
        if isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id.startswith("@t")):
            return value
        name = self.temp()
        self.emit(assign(name, value))
        return load(name)

    def place(self, node: nodes.Node) -> ast.Constant:
        """The position argument of a host call."""
        return const((self.module.name, node.span.line, node.span.column, self.unit))

    # ------------------------------------------------------------ bindings

    def read(self, binding: Binding) -> ast.expr:
        """The variable, null with a warning where its assignment may not have been reached. A name that `from` imports
        holds a future, since the module is loaded when the name is first read."""
        return call("@awaited", self._held(binding)) if binding.lazy else self._held(binding)

    def _held(self, binding: Binding) -> ast.expr:
        if binding.boxed:
            box = ast.Subscript(load(binding.py), const(0), ast.Load())
            if binding in self.frame.assigned:
                return box
            test = ast.Compare(box, [ast.Is()], [load("@unset_box")])
            return ast.IfExp(test, call("@unset", const(binding.name)), box)
        if binding in self.frame.assigned or binding.static is not None:
            return load(binding.py)
        name = self.temp()
        self.emit(
            attempt(
                assign(name, load(binding.py)), [assign(name, call("@unset", const(binding.name)))], "@unbound_error"
            )
        )
        return load(name)

    def written(self, binding: Binding) -> Sink:
        """What assigns the variable."""
        self.frame.assigned.add(binding)
        if binding.boxed:
            return lambda value: ast.Assign([ast.Subscript(load(binding.py), const(0), ast.Store())], value)
        return lambda value: assign(binding.py, value)

    # ------------------------------------------------------------ entry points

    def expr(self, node: Any) -> ast.expr:
        """The value of the node, to be evaluated right here, once."""
        mark = len(self.frame.out)
        value = self._expr(node)
        locate(value, node.span)
        for statement in self.frame.out[mark:]:
            locate(statement, node.span)
        return value

    def into(self, node: Any, sink: Callable[[], Sink]) -> None:
        """Evaluates the node and hands its value to the sink, without a temporary where there is a choice."""
        mark = len(self.frame.out)
        pure = self.pure(node)
        if pure is None and isinstance(node, nodes.Binary):
            left, right = (self.kept(value) for value in self.operands(node.left, node.right))
            pure = self._forms_of(node, left, right)
        if pure is not None and not pure.certain:
            put = sink()
            self.emit(attempt(put(pure.fast), [put(pure.slow)], "@type_error"))
        else:
            value = pure.fast if pure is not None else self.expr(node)
            self.emit(sink()(value))
        for statement in self.frame.out[mark:]:
            locate(statement, node.span)

    def operands(self, *wanted: Any) -> list[ast.expr]:
        """The values of several nodes, evaluated left to right before anything else."""
        results: list[ast.expr] = []
        for node in wanted:
            mark = len(self.frame.out)
            value = self.expr(node)
            if len(self.frame.out) > mark:
                saved: list[ast.stmt] = []
                for n, earlier in enumerate(results):
                    if not isinstance(earlier, ast.Constant) and not _is_temp(earlier):
                        name = self.temp()
                        saved.append(assign(name, earlier))
                        results[n] = load(name)
                for statement in saved:
                    locate(statement, node.span)
                self.frame.out[mark:mark] = saved
            results.append(value)
        return results

    def _expr(self, node: Any) -> ast.expr:
        pure = self.pure(node)
        if pure is not None:
            if pure.certain:
                return pure.fast
            name = self.temp()
            self.emit(attempt(assign(name, pure.fast), [assign(name, pure.slow)], "@type_error"))
            locate(self.frame.out[-1], node.span)
            return load(name)
        return getattr(self, "_" + type(node).__name__.lower())(node)  # type: ignore[no-any-return]

    # ------------------------------------------------------------ expressions without effects

    def pure(self, node: Any) -> Pure | None:
        """Both forms of an expression without effects, None for any other."""
        return self._pure(node) if self.scopes.pure(node) else None

    def _pure(self, node: Any) -> Pure:
        found = self._pure_form(node)
        locate(found.fast, node.span)
        locate(found.slow, node.span)
        return found

    def _pure_form(self, node: Any) -> Pure:
        if isinstance(node, nodes.Number | nodes.Text | nodes.Bool):
            return _sure(const(node.value))
        if isinstance(node, nodes.Null):
            return _sure(const(None))
        if isinstance(node, nodes.Name):
            binding = self.scopes.names[id(node)]
            assert binding is not None
            return _sure(self.read(binding))
        if isinstance(node, nodes.Binary):
            return self._pure_binary(node)
        if isinstance(node, nodes.Compare):
            return self._pure_compare(node)
        if isinstance(node, nodes.Unary):
            return self._pure_unary(node)
        if isinstance(node, nodes.Logic):
            return self._pure_logic(node)
        if isinstance(node, nodes.Conditional):
            test, then, other = self._pure(node.condition), self._pure(node.then), self._pure(node.otherwise)
            return _both(lambda a, b, c: ast.IfExp(a, b, c), test, then, other)
        if isinstance(node, nodes.PostfixTest):
            return self._pure_test(node)
        if isinstance(node, nodes.Field):
            value = self._pure(node.value)
            read = _both(lambda v: call("@field", v, const(node.name)), value)
            if not node.safe:
                return read
            return _both(lambda v, r: ast.IfExp(_is_null(v), const(None), r), value, read)
        if isinstance(node, nodes.Index):
            return _both(lambda v, i: call("@element", v, i), self._pure(node.value), self._pure(node.index))
        name = node.function.name
        return _both(lambda *args: call(f"@lib:{name}", *args), *(self._pure(arg.value) for arg in node.args))

    def _pure_binary(self, node: nodes.Binary) -> Pure:
        left, right = self._pure(node.left), self._pure(node.right)
        of_left, of_right = self.scopes.kind(node.left), self.scopes.kind(node.right)
        return self._binary_forms(node.op, left, right, of_left, of_right, node.right)

    def _binary_forms(self, op: str, left: Pure, right: Pure, of_left: str, of_right: str, divisor: Any) -> Pure:
        slow = call(_HELPERS[op], left.slow, right.slow)
        certain = left.certain and right.certain
        if op in _ARITHMETIC:
            known = of_left in COUNTABLE, of_right in COUNTABLE
            text = op == "+" and "str" in (of_left, of_right)
            grows = op == "+" and self.frame.loops > 0 and not any(known)
            if not text and not grows:
                return Pure(ast.BinOp(left.fast, _ARITHMETIC[op](), right.fast), slow, certain and all(known))
            if grows and isinstance(left.fast, ast.Name) and isinstance(right.fast, ast.Name):
                # Two ints cannot grow past what they are; whatever else they turn out to be goes the careful way.
                ints = ast.BoolOp(ast.And(), [_is_type(left.fast, "@int"), _is_type(right.fast, "@int")])
                plain: ast.expr = ast.BinOp(left.fast, ast.Add(), right.fast)
                return Pure(ast.IfExp(ints, plain, call("@add", left.fast, right.fast)), slow, certain)
        if op == "%" and isinstance(divisor, nodes.Number) and type(divisor.value) is int and divisor.value > 0:
            plain = ast.BinOp(left.fast, ast.Mod(), right.fast)
            if of_left == "int":
                return Pure(plain, slow, certain)
            if isinstance(left.fast, ast.Name):
                return Pure(
                    ast.IfExp(_is_type(left.fast, "@int"), plain, call("@mod", left.fast, right.fast)), slow, certain
                )
        return Pure(call(_HELPERS[op], left.fast, right.fast), slow, certain)

    def _pure_compare(self, node: nodes.Compare) -> Pure:
        values = [self._pure(operand) for operand in node.operands]
        kinds = [self.scopes.kind(operand) for operand in node.operands]
        parts = [
            self._comparison(op, values[n], values[n + 1], kinds[n], kinds[n + 1]) for n, op in enumerate(node.ops)
        ]
        if len(parts) == 1:
            return parts[0]
        return _both(lambda *tests: ast.BoolOp(ast.And(), list(tests)), *parts)

    def _comparison(self, op: str, left: Pure, right: Pure, of_left: str, of_right: str) -> Pure:
        slow = call(_HELPERS[op], left.slow, right.slow)
        certain = left.certain and right.certain
        if op in _ORDER:
            known = of_left in COUNTABLE and of_right in COUNTABLE
            fast: ast.expr = ast.Compare(left.fast, [_ORDER[op]()], [right.fast])
            if not (_no_list(of_left, left.fast) or _no_list(of_right, right.fast)):
                fast = _unless_list(left.fast, call(_HELPERS[op], left.fast, right.fast), fast)
            return Pure(fast, slow, certain and known)
        if op in ("==", "!="):
            for value, other in ((right, left), (left, right)):
                if isinstance(value.fast, ast.Constant) and value.fast.value is None:
                    test: ast.cmpop = ast.Is() if op == "==" else ast.IsNot()
                    fast = ast.Compare(other.fast, [test], [const(None)])
                    return Pure(fast, ast.Compare(other.slow, [type(test)()], [const(None)]), certain)
            if (of_left in NUMERIC and of_right in NUMERIC) or _plainly_equal(left.fast) or _plainly_equal(right.fast):
                kind: ast.cmpop = ast.Eq() if op == "==" else ast.NotEq()
                fast = ast.Compare(left.fast, [kind], [right.fast])
                return Pure(fast, ast.Compare(left.slow, [type(kind)()], [right.slow]), certain)
        return Pure(call(_HELPERS[op], left.fast, right.fast), slow, certain)

    def _pure_unary(self, node: nodes.Unary) -> Pure:
        value = self._pure(node.operand)
        if node.op == "not":
            return _both(lambda v: ast.UnaryOp(ast.Not(), v), value)
        if node.op == "-":
            if isinstance(node.operand, nodes.Number):
                return _sure(const(-node.operand.value))
            if self.scopes.kind(node.operand) in NUMERIC:
                return _both(lambda v: ast.UnaryOp(ast.USub(), v), value)
        return _both(lambda v: call({"-": "@neg", "+": "@pos", "~": "@inv"}[node.op], v), value)

    def _pure_logic(self, node: nodes.Logic) -> Pure:
        values = [self._pure(operand) for operand in node.operands]
        if node.op != "??":
            kind: ast.boolop = ast.And() if node.op == "and" else ast.Or()
            return _both(lambda *parts: ast.BoolOp(type(kind)(), list(parts)), *values)
        result = values[-1]
        for value in reversed(values[:-1]):
            result = _both(lambda v, rest: ast.IfExp(_is_null(v), rest, v), value, result)
        return result

    def _pure_test(self, node: nodes.PostfixTest) -> Pure:
        value = self._pure(node.operand)
        return _both(lambda v: _postfix(node.test, v), value)

    # ------------------------------------------------------------ names

    def _name(self, node: nodes.Name) -> ast.expr:
        binding = self.scopes.names.get(id(node))
        if self.frame.scope.where:
            return self._where_name(node, binding)
        if binding is not None:
            return self.read(binding)
        name = node.name
        if name in AMBIENT or (node.sigil and name.endswith("_output")):
            return call("@ambient", const(name))
        if name == "__name__":
            return load("@name")
        if node.role == "symbol":
            return const(name)
        if name in stdlib.FUNCTIONS or name in jobs.FUNCTIONS or name in host.FUNCTIONS:
            return load(f"@value:{name}")
        if node.role == "signal":
            return call("@signal", const(name))
        return call("@unbound", const(name))

    def _where_name(self, node: nodes.Name, binding: Binding | None) -> ast.expr:
        if binding is None:
            return call("@entry_field", load("@entry"), const(node.name))
        value = self.kept(self.read(binding))
        test = call("@has_field", load("@entry"), const(node.name))
        return ast.IfExp(test, call("@entry_field", load("@entry"), const(node.name)), value)

    def _path(self, node: nodes.Path) -> ast.expr:
        return call("@module", const(node.path))

    def unbound(self, node: Any) -> str | None:
        """The name, when the node is one that means no variable and no ambient value."""
        if isinstance(node, nodes.Name) and self.scopes.names.get(id(node)) is None and node.name not in AMBIENT:
            return node.name if not self.frame.scope.where and not node.sigil else None
        return None

    # ------------------------------------------------------------ literals and access

    def _null(self, _node: nodes.Null) -> ast.expr:
        return const(None)

    def _timeago(self, node: nodes.TimeAgo) -> ast.expr:
        return call("@sub", call("@lib:now"), const(node.seconds))

    def _regex(self, node: nodes.Regex) -> ast.expr:
        return call("@regex", const(node.pattern), const(node.flags))

    def _texttemplate(self, node: nodes.TextTemplate) -> ast.expr:
        pieces = [part for part in node.parts if isinstance(part, nodes.Interpolation)]
        values = self.operands(*(piece.value for piece in pieces))
        parts: list[ast.expr] = []
        quick: list[ast.expr] = []  # the same where all that might be long are ints
        growing: list[ast.expr] = []
        given = iter(values)
        for part in node.parts:
            if isinstance(part, str):
                parts.append(const(part))
                quick.append(const(part))
                continue
            value = next(given)
            kind = self.scopes.kind(part.value)
            if part.spec is not None:
                value = call("@format", value, const(part.spec))
            elif kind in COUNTABLE and kind != "int":
                value = call("@text", value)
            elif kind != "int":
                value = value if isinstance(value, ast.Name) else self.kept(value)
                growing.append(value)
                quick.append(ast.FormattedValue(value, -1, None))
                parts.append(ast.FormattedValue(self._rendered(value), -1, None))
                continue
            quick.append(ast.FormattedValue(value, -1, None))
            parts.append(quick[-1])
        if not growing:
            return _joined(parts)
        return self._bounded(_joined(quick), _joined(parts), growing, node)

    def _bounded(self, quick: ast.expr, text: ast.expr, growing: list[ast.expr], node: nodes.Node) -> ast.expr:
        """The text, measured when it is long; ints alone never make a long one."""
        name = self.temp()
        ints = [_is_type(value, "@int") for value in growing]
        test = ints[0] if len(ints) == 1 else ast.BoolOp(ast.And(), list[ast.expr](ints))
        long = ast.Compare(call("@len", load(name)), [ast.Gt()], [const(LARGE)])
        measured = ast.If(long, [ast.Expr(call("@measured", load(name)))], [])
        choice = ast.If(test, [assign(name, quick)], [assign(name, text), measured])
        self.emit(choice)
        for statement in (choice, *choice.body, *choice.orelse):
            locate(statement, node.span)
        return load(name)

    def _rendered(self, value: ast.expr) -> ast.expr:
        """What an f-string renders as the language does: an int or a string as it is, the rest by `@text`."""
        plain = ast.BoolOp(ast.Or(), [_is_type(value, "@str"), _is_type(value, "@int")])
        return ast.IfExp(plain, value, call("@text", value))

    def _field(self, node: nodes.Field) -> ast.expr:
        name = self.unbound(node.value)
        if name is not None:
            full = f"{name}.{node.name}"
            if full in stdlib.CONSTANTS:
                return const(stdlib.CONSTANTS[full])
            if full in stdlib.FUNCTIONS or full in host.FUNCTIONS:
                return load(f"@value:{full}")
        value = self.expr(node.value)
        if not node.safe:
            return call("@field", value, const(node.name))
        value = self.kept(value)
        return ast.IfExp(_is_null(value), const(None), call("@field", value, const(node.name)))

    def _index(self, node: nodes.Index) -> ast.expr:
        return call("@element", *self.operands(node.value, node.index))

    def _slice(self, node: nodes.Slice) -> ast.expr:
        null = nodes.Null(node.span)
        return call("@part", *self.operands(node.value, node.lower or null, node.upper or null))

    def _listexpr(self, node: nodes.ListExpr) -> ast.expr:
        values = self.operands(*(e.value if isinstance(e, nodes.Spread) else e for e in node.elements))
        if not any(isinstance(e, nodes.Spread) for e in node.elements):
            return ast.List(values, ast.Load())
        return call("@joined", self._pieces(values, [isinstance(e, nodes.Spread) for e in node.elements]))

    def _pieces(self, values: list[ast.expr], spread: list[bool]) -> ast.List:
        pieces: list[ast.expr] = []
        for value, spreads in zip(values, spread, strict=True):
            if spreads:
                pieces.append(call("@elements", value))
            elif pieces and isinstance(pieces[-1], ast.List):
                pieces[-1].elts.append(value)
            else:
                pieces.append(ast.List([value], ast.Load()))
        return ast.List(pieces, ast.Load())

    def _tupleexpr(self, node: nodes.TupleExpr) -> ast.expr:
        return ast.List(self.operands(*node.elements), ast.Load())

    def _dictexpr(self, node: nodes.DictExpr) -> ast.expr:
        parts = [part for pair in node.pairs for part in (pair.key, pair.value) if part is not None]
        values = iter(self.operands(*parts))
        entries = [(None if pair.key is None else next(values), next(values)) for pair in node.pairs]
        if all(isinstance(pair.key, nodes.Text) for pair in node.pairs):
            return ast.Dict([key for key, _ in entries], [value for _, value in entries])
        rows: list[ast.expr] = []
        for pair, (key, value) in zip(node.pairs, entries, strict=True):
            if key is None:
                key = const(None)
            elif not isinstance(pair.key, nodes.Text):
                key = call("@key", key)
            rows.append(ast.Tuple([key, value], ast.Load()))
        return call("@dict_of", ast.List(rows, ast.Load()))

    def _range(self, node: nodes.Range) -> ast.expr:
        return call("@span", *self.operands(node.lower, node.upper))

    def _await(self, node: nodes.Await) -> ast.expr:
        return call("@awaited", self.expr(node.value))

    # ------------------------------------------------------------ operators with effects in their operands

    def _binary(self, node: nodes.Binary) -> ast.expr:
        values = [self.kept(value) for value in self.operands(node.left, node.right)]
        return self.combine(values[0], values[1], node)

    def _forms_of(self, node: Any, left: ast.expr, right: ast.expr) -> Pure:
        of_left, of_right = self.scopes.kind(node.left), self.scopes.kind(node.right)
        return self._binary_forms(node.op, _sure(left), _sure(right), of_left, of_right, node.right)

    def combine(self, left: ast.expr, right: ast.expr, node: Any) -> ast.expr:
        """The operator on two values that may be read twice. `node` is a Binary, for kinds and place."""
        forms = self._forms_of(node, left, right)
        if forms.certain:
            return forms.fast
        name = self.temp()
        self.emit(attempt(assign(name, forms.fast), [assign(name, forms.slow)], "@type_error"))
        locate(self.frame.out[-1], node.span)
        return load(name)

    def _unary(self, node: nodes.Unary) -> ast.expr:
        value = self.expr(node.operand)
        if node.op == "not":
            return ast.UnaryOp(ast.Not(), value)
        return call({"-": "@neg", "+": "@pos", "~": "@inv"}[node.op], value)

    def _compare(self, node: nodes.Compare) -> ast.expr:
        if len(node.ops) == 1:
            values = [self.kept(value) for value in self.operands(*node.operands)]
            return self._compared(node.ops[0], values[0], values[1], node.operands[0], node.operands[1])
        result = self.temp()
        left = self.kept(self.expr(node.operands[0]))
        before = self.frame.out
        for n, op in enumerate(node.ops):
            right = self.kept(self.expr(node.operands[n + 1]))
            self.emit(assign(result, self._compared(op, left, right, node.operands[n], node.operands[n + 1])))
            locate(self.frame.out[-1], node.span)
            left = right
            if n + 1 < len(node.ops):
                test = ast.If(load(result), [], [])
                locate(test, node.span)
                self.emit(test)
                self.frame.out = test.body
        self.frame.out = before
        return load(result)

    def _compared(self, op: str, left: ast.expr, right: ast.expr, of_left: Any, of_right: Any) -> ast.expr:
        kinds = self.scopes.kind(of_left), self.scopes.kind(of_right)
        forms = self._comparison(op, _sure(left), _sure(right), *kinds)
        if forms.certain:
            return forms.fast
        name = self.temp()
        self.emit(attempt(assign(name, forms.fast), [assign(name, forms.slow)], "@type_error"))
        locate(self.frame.out[-1], of_left.span)
        return load(name)

    def _logic(self, node: nodes.Logic) -> ast.expr:
        name = self.temp()
        self.emit(assign(name, self.expr(node.operands[0])))
        locate(self.frame.out[-1], node.span)
        before = self.frame.out
        assigned = set(self.frame.assigned)
        for operand in node.operands[1:]:
            test: ast.expr = load(name)
            if node.op == "or":
                test = ast.UnaryOp(ast.Not(), test)
            elif node.op == "??":
                test = _is_null(test)
            branch = ast.If(test, [], [])
            locate(branch, node.span)
            self.emit(branch)
            self.frame.out = branch.body
            self.emit(assign(name, self.expr(operand)))
            locate(self.frame.out[-1], operand.span)
        self.frame.out, self.frame.assigned = before, assigned
        return load(name)

    def _conditional(self, node: nodes.Conditional) -> ast.expr:
        test = self.expr(node.condition)
        with self.collected() as then:
            yes = self.expr(node.then)
        with self.collected() as other:
            no = self.expr(node.otherwise)
        if not then and not other:
            return ast.IfExp(test, yes, no)
        name = self.temp()
        self.emit(ast.If(test, [*then, assign(name, yes)], [*other, assign(name, no)]))
        locate(self.frame.out[-1], node.span)
        return load(name)

    def _postfixtest(self, node: nodes.PostfixTest) -> ast.expr:
        return _postfix(node.test, self.expr(node.operand))

    # ------------------------------------------------------------ calls

    def arguments(self, args: tuple[nodes.Arg, ...], *before: Any) -> tuple[list[ast.expr], ast.expr, ast.expr, bool]:
        """What stands before, then the arguments: (values, list, dict, plain); `plain` when all are positional."""
        values = self.operands(*before, *(arg.value for arg in args))
        head, rest = values[: len(before)], values[len(before) :]
        plain = not any(arg.name or arg.spread for arg in args)
        if plain:
            return values, ast.List(rest, ast.Load()), ast.Dict([], []), True
        positional = [(v, arg.spread) for v, arg in zip(rest, args, strict=True) if arg.name is None]
        if any(spread for _, spread in positional):
            listed: ast.expr = call("@joined", self._pieces([v for v, _ in positional], [s for _, s in positional]))
        else:
            listed = ast.List([v for v, _ in positional], ast.Load())
        named = [(arg.name, v) for v, arg in zip(rest, args, strict=True) if arg.name is not None]
        return head, listed, ast.Dict([const(k) for k, _ in named], [v for _, v in named]), False

    def _call(self, node: nodes.Call) -> ast.expr:
        node = self.scopes.made.get(id(node)) or node
        if node.safe:
            return self._safe_call(node)
        if isinstance(node.function, nodes.Name) and not self.frame.scope.where:
            binding = self.scopes.names.get(id(node.function))
            if binding is None:
                return self.named_call(node.function.name, node)
            declared = binding.static
            if declared is not None and _fits_params(declared.params, node.args):
                return ast.Call(self.read(binding), [load("@d"), *self.operands(*(a.value for a in node.args))], [])
        head, listed, named, plain = self.arguments(node.args, node.function)
        if plain:
            return call("@call", load("@d"), *head)
        return call("@call_named", load("@d"), head[0], listed, named)

    def _safe_call(self, node: nodes.Call) -> ast.expr:
        function = self.kept(self.expr(node.function))
        with self.collected() as inner:
            head, listed, named, plain = self.arguments(node.args)
            result = (
                call("@call", load("@d"), function, *head)
                if plain
                else call("@call_named", load("@d"), function, listed, named)
            )
        name = self.temp()
        self.emit(ast.If(_is_null(function), [assign(name, const(None))], [*inner, assign(name, result)]))
        locate(self.frame.out[-1], node.span)
        return load(name)

    def named_call(self, name: str, node: nodes.Call | nodes.MethodCall) -> ast.expr:
        """A call of a function that the script does not bind: library, host, verb, then the host's plugins."""
        args = node.args
        function = stdlib.FUNCTIONS.get(name) or jobs.FUNCTIONS.get(name)
        if function is not None:
            family = "lib" if name in stdlib.FUNCTIONS else "job"
            if fits(function, args) and name not in CALLS_BACK and name not in jobs.CALLS_BACK:
                return call(f"@{family}:{name}", *self.operands(*(arg.value for arg in args)))
            return self._library_call(name, args)
        if name in host.FUNCTIONS:
            return self._host_call(name, node)
        base = verb_base(name)
        if base is not None and VERBS[base].kind != "intent":
            return self._verb_call(name, base, node)
        _, listed, named, _ = self.arguments(args)
        return call("@unknown_function", const(name), listed, named)

    def _library_call(self, name: str, args: tuple[nodes.Arg, ...]) -> ast.expr:
        _, listed, named, _ = self.arguments(args)
        return call("@call_library", load("@d"), const(name), listed, named)

    def _host_call(self, name: str, node: nodes.Call | nodes.MethodCall) -> ast.expr:
        row, args = host.FUNCTIONS[name], node.args
        parameters = [p.rstrip("?") for p in row.parameters]
        positional = [arg for arg in args if arg.name is None]
        given = [*parameters[: len(positional)], *(arg.name for arg in args if arg.name is not None)]
        simple = (
            "*" not in "".join(row.parameters)
            and not any(arg.spread for arg in args)
            and len(positional) <= len(parameters)
            and len(set(given)) == len(given)
            and set(given) <= set(parameters)
            and all(p in given for p in row.parameters if not p.endswith("?"))
        )
        if not simple:
            return self._library_call(name, args)
        ordered = iter(parameters)
        keys = [next(ordered) if arg.name is None else arg.name for arg in args]
        values = self.operands(*(arg.value for arg in args))
        request = ast.Dict([const(key) for key in keys], values)
        return call("@host", const(row.capability), const(row.operation), request, self.place(node))

    def _verb_call(self, verb: str, base: str, node: nodes.Call | nodes.MethodCall) -> ast.expr:
        values = self.operands(*(arg.value for arg in node.args))
        rows: list[ast.expr] = []
        for arg, value in zip(node.args, values, strict=True):
            kind = "value" if arg.name is None else ("prep" if arg.name in _PREPOSITIONS else "key")
            rows.append(ast.Tuple([const(kind), const(arg.name or ""), value], ast.Load()))
        return self.verb(verb, base, ast.List(rows, ast.Load()), "", None)

    def verb(self, verb: str, base: str, slots: ast.expr, text: str, payload: ast.expr | None) -> ast.expr:
        """The run-time call of a verb."""
        function: ast.expr = const(None)
        binding = self.scopes.find(verb, self.scopes.main.root) or self.scopes.find(base, self.scopes.main.root)
        if binding is not None and binding.declared is not None:
            function = self.read(binding)
        family = VERBS[base].kind if base in VERBS else "intent"
        parts = [load("@d"), const(verb), const(base), const(family), slots, const(text), function]
        return call("@verb", *parts, payload if payload is not None else const(None))

    def _methodcall(self, node: nodes.MethodCall) -> ast.expr:
        name = self.unbound(node.receiver)
        if name is not None:
            full = f"{name}.{node.method}"
            if full in stdlib.FUNCTIONS or full in host.FUNCTIONS:
                return self.named_call(full, node)
            if name not in stdlib.FUNCTIONS:
                _, listed, named, _ = self.arguments(node.args)
                return call("@receiver", const(name), const(node.method), listed, named)
        if id(node) in self.scopes.inline:
            return self._inlined(node)
        if node.safe:
            return self._safe_method(node)
        head, listed, named, plain = self.arguments(node.args, node.receiver)
        if node.effect:
            return call("@effect", load("@d"), head[0], const(node.method), listed, named)
        if plain:
            return call("@invoke", load("@d"), head[0], const(node.method), *head[1:])
        return call("@invoke_named", load("@d"), head[0], const(node.method), listed, named)

    def _safe_method(self, node: nodes.MethodCall) -> ast.expr:
        receiver = self.kept(self.expr(node.receiver))
        with self.collected() as inner:
            _, listed, named, _ = self.arguments(node.args)
            helper = "@effect" if node.effect else "@invoke_named"
            result = call(helper, load("@d"), receiver, const(node.method), listed, named)
        name = self.temp()
        self.emit(ast.If(_is_null(receiver), [assign(name, const(None))], [*inner, assign(name, result)]))
        locate(self.frame.out[-1], node.span)
        return load(name)

    def _new(self, node: nodes.New) -> ast.expr:
        _, listed, named, _ = self.arguments(node.args)
        return call("@construct", const(node.constructor), listed, named)

    # ------------------------------------------------------------ loops as values

    def _inlined(self, node: nodes.MethodCall) -> ast.expr:
        """`xs.map(x => e)` as a comprehension when xs is a list; the method with a real function when it is not."""
        source = self.kept(self.expr(node.receiver))
        scope = self.scopes.blocks[id(node)]
        function = node.args[0].value
        assert isinstance(function, nodes.Lambda)
        variables = [scope.bindings[param.name] for param in function.params]
        self.frame.assigned.update(variables)
        self.frame.loops += 1
        body = self._pure(function.body)
        self.frame.loops -= 1
        real = self._python_lambda(variables, body.slow)
        general = call("@invoke", load("@d"), call("@paid", source), const(node.method), real)
        result = self.temp()
        if node.method not in ("map", "filter") or (node.method == "filter" and len(variables) > 1):
            return general
        self.emit(ast.If(_is_type(source, "@list"), [], [assign(result, general)]))
        branch = self.frame.out[-1]
        assert isinstance(branch, ast.If)
        build = self._comprehension_of(node.method, variables, source, body.slow)
        if body.certain:
            branch.body = [assign(result, build)]
        else:
            fast = self._comprehension_of(node.method, variables, source, body.fast)
            branch.body = [attempt(assign(result, fast), [assign(result, build)], "@type_error")]
        locate(branch, node.span)
        return call("@measured", load(result))

    def _comprehension_of(self, method: str, variables: list[Binding], source: ast.expr, body: ast.expr) -> ast.expr:
        element: ast.expr = body if method == "map" else load(variables[0].py)
        tests = [] if method == "map" else [body]
        target: ast.expr = ast.Name(variables[0].py, ast.Store())
        items: ast.expr = call("@charged", source)
        if len(variables) > 1:
            target = ast.Tuple([ast.Name(variables[1].py, ast.Store()), target], ast.Store())
            items = call("@enumerate", items)
        return ast.ListComp(element, [ast.comprehension(target, items, tests, 0)])

    def _python_lambda(self, variables: list[Binding], body: ast.expr) -> ast.expr:
        args = [ast.arg("@d"), *(ast.arg(variable.py) for variable in variables)]
        return ast.Lambda(ast.arguments([], args, None, [], [], None, [const(None)] * (len(variables) - 1)), body)

    def _comprehension(self, node: nodes.Comprehension) -> ast.expr:
        source = self.expr(node.iterable)
        scope = self.scopes.blocks[id(node)]
        variables = [scope.bindings[name] for name in node.names]
        result = self.temp()
        if self._is_simple(node, variables):
            self.frame.assigned.update(variables)
            self.frame.loops += 1
            element, test = self._pure(node.element), self._pure(node.condition) if node.condition is not None else None
            self.frame.loops -= 1
            self.emit(assign(result, call("@pairs" if len(variables) > 1 else "@counted", source)))
            target: ast.expr = ast.Name(variables[0].py, ast.Store())
            if len(variables) > 1:
                target = ast.Tuple([ast.Name(v.py, ast.Store()) for v in variables], ast.Store())
            pair = ast.Tuple([target, ast.Name("@_", ast.Store())], ast.Store())
            items = call("@zip", load(result), load("@fuel"))

            def build(slow: bool) -> ast.stmt:
                tests = [] if test is None else [test.slow if slow else test.fast]
                loop = ast.comprehension(pair, items, tests, 0)
                return assign(result, ast.ListComp(element.slow if slow else element.fast, [loop]))

            certain = element.certain and (test is None or test.certain)
            self.emit(build(True) if certain else attempt(build(False), [build(True)], "@type_error"))
            for statement in self.frame.out[-2:]:
                locate(statement, node.span)
            return call("@listed", load(result))
        self.emit(assign(result, ast.List([], ast.Load())))
        self.each_round(node, source, variables, lambda: self._collect(node, result))
        return call("@listed", load(result))

    def _is_simple(self, node: nodes.Comprehension, variables: list[Binding]) -> bool:
        parts = [node.element] if node.condition is None else [node.element, node.condition]
        return all(self.scopes.pure(part) for part in parts) and not any(v.boxed for v in variables)

    def _collect(self, node: nodes.Comprehension, result: str) -> None:
        if node.condition is not None:
            skip = ast.If(ast.UnaryOp(ast.Not(), self.expr(node.condition)), [ast.Continue()], [])
            locate(skip, node.span)
            self.emit(skip)
        add = ast.Expr(call("@append", load(result), self.expr(node.element)))
        locate(add, node.span)
        self.emit(add)

    def each_round(self, node: Any, source: ast.expr, variables: list[Binding], body: Callable[[], None]) -> None:
        """A loop over the source with fresh variables in each round, a step of fuel for each."""
        fresh = [self.temp() if v.boxed else v.py for v in variables]
        target: ast.expr = ast.Name(fresh[0], ast.Store())
        if len(variables) > 1:
            target = ast.Tuple([ast.Name(name, ast.Store()) for name in fresh], ast.Store())
        pair = ast.Tuple([target, ast.Name("@_", ast.Store())], ast.Store())
        items = call("@pairs" if len(variables) > 1 else "@counted", source)
        loop = ast.For(pair, call("@zip", items, load("@fuel")), [], [])
        locate(loop, node.span)
        self.emit(loop)
        self.frame.loops += 1
        with self.collected() as inner:
            for variable, name in zip(variables, fresh, strict=True):
                self.frame.assigned.add(variable)
                if variable.boxed:
                    self.emit(assign(variable.py, ast.List([load(name)], ast.Load())))
            body()
        self.frame.loops -= 1
        for statement in inner:
            locate(statement, node.span)
        loop.body = inner or [ast.Pass()]
        locate(loop, node.span)


def _is_temp(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id.startswith("@t")


def _sure(value: ast.expr) -> Pure:
    return Pure(value, value, True)


def _both(build: Callable[..., ast.expr], *parts: Pure) -> Pure:
    fast = build(*(part.fast for part in parts))
    certain = all(part.certain for part in parts)
    return Pure(fast, fast if certain else build(*(part.slow for part in parts)), certain)


MOST_JOINED: Final = 30
"""How many parts CPython builds a string from on the stack; for more it calls `str.join`, a name no code may have."""


def _joined(parts: list[ast.expr]) -> ast.JoinedStr:
    """The parts as one string, in groups where they are many."""
    while len(parts) > MOST_JOINED:
        groups = [ast.JoinedStr(parts[n : n + MOST_JOINED]) for n in range(0, len(parts), MOST_JOINED)]
        parts = [ast.FormattedValue(group, -1, None) for group in groups]
    return ast.JoinedStr(parts)


def _is_null(value: ast.expr) -> ast.expr:
    return ast.Compare(value, [ast.Is()], [const(None)])


def _is_type(value: ast.expr, name: str) -> ast.expr:
    return ast.Compare(call("@type", value), [ast.Is()], [load(name)])


def _postfix(test: str, value: ast.expr) -> ast.expr:
    if test == "exists":
        return ast.Compare(value, [ast.IsNot()], [const(None)])
    if test == "not exists":
        return _is_null(value)
    empty = ast.UnaryOp(ast.Not(), value)
    return empty if test == "empty" else ast.UnaryOp(ast.Not(), empty)


def _no_list(kind: str, value: ast.expr) -> bool:
    """Whether the operand is known to be no list: then the other cannot be compared with it as one."""
    return kind in COUNTABLE or kind in ("str", "bool", "null", "dict") or isinstance(value, ast.Constant)


def _unless_list(value: ast.expr, guarded: ast.expr, fast: ast.expr) -> ast.expr:
    """The fast form unless the value is a list. Python compares lists piece by piece however often each is held, which
    takes ages for a small list that holds one list many times over; the helper looks at each pair once."""
    if not isinstance(value, ast.Name):
        return guarded
    is_list = ast.Compare(call("@type", value), [ast.Is()], [load("@list")])
    return ast.IfExp(is_list, guarded, fast)


def _plainly_equal(value: ast.expr) -> bool:
    """Whether Python's `==` with this literal means the same: text, and numbers that no bool equals."""
    if not isinstance(value, ast.Constant):
        return False
    return type(value.value) is str or (type(value.value) in (int, float) and value.value not in (0, 1))


def _fits_params(params: tuple[nodes.Param, ...], args: tuple[nodes.Arg, ...]) -> bool:
    if any(arg.name or arg.spread for arg in args):
        return False
    rest = any(param.rest for param in params)
    own = [param for param in params if not param.rest]
    required = len(own)
    while required and own[required - 1].default is not None:
        required -= 1
    return len(args) >= required and (rest or len(args) <= len(own))


_PREPOSITIONS: Final = frozenset({"for", "from", "to", "with", "as", "into", "in", "about", "on", "using"})

__all__ = ["BlockScope", "Expressions", "Frame", "is_library_call", "result_slot"]
