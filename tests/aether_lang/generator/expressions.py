"""Expressions (section 8 and the EBNF of 5.1), drawn as trees and written with the brackets they need."""

from __future__ import annotations

import re
from typing import Any

from aether_lang import nodes

from .draw import AT, SOFT_NAMES, Piece, Place
from .literals import Literals

LAMBDA, TERNARY, COAL, OR, AND, NOT, CMP, BOR, BAND, SHIFT, RANGE, SUM, PROD, UNARY, POWER, POST, ATOM = range(-1, 16)
DICT_LIKE = re.compile(r"""(?:[A-Za-z_]\w*|"[^"]*"|'[^']*')\s*:|\.\.\.|\}""")
LEFT = (
    ("|", BOR),
    ("^", BOR),
    ("&", BAND),
    ("<<", SHIFT),
    (">>", SHIFT),
    ("+", SUM),
    ("-", SUM),
    ("*", PROD),
    ("/", PROD),
    ("%", PROD),
)
LOGIC = (
    ("??", "??", COAL),
    ("or", "or", OR),
    ("||", "or", OR),
    ("OR", "or", OR),
    ("and", "and", AND),
    ("&&", "and", AND),
    ("AND", "and", AND),
)
COMPARISONS = (
    ("==", "=="),
    ("===", "=="),
    ("!=", "!="),
    ("!==", "!="),
    ("<", "<"),
    (">", ">"),
    ("<=", "<="),
    (">=", ">="),
)
ALONE = (("in", "in"), ("not in", "not in"), ("is", "=="), ("is not", "!="), ("NOT in", "not in"))


class Expressions(Literals):
    """Draws expressions."""

    def expression(self, level: int = LAMBDA) -> Piece:
        """An expression that binds at least so tightly, in brackets where it does not."""
        piece = self._any()
        return piece if piece.level >= level else self.bracketed(piece)

    def bracketed(self, piece: Piece) -> Piece:
        """The same in round brackets."""
        return Piece(f"({self.within()}{piece.text}{self.within()})", piece.node)

    def apart(self, level: int = LAMBDA) -> Piece:
        """An expression inside brackets, where the rules of a phrase do not reach."""
        saved, self.slot = self.slot, 0
        try:
            return self.expression(level)
        finally:
            self.slot = saved

    def _any(self) -> Piece:
        if self.fuel <= 0:
            return self.small()
        return self.pick(
            (
                ("small", 50, self.small),
                ("post", 30, self._post),
                ("left operator", 12, self._left),
                ("power", 2, self._power),
                ("range", 2, self._range),
                ("sign", 4, self._sign),
                ("not", 3, self._not),
                ("comparison", 5, self._comparison),
                ("in, is", 3, self._alone),
                ("postfix test", 3, self._postfix),
                ("logic", 7, self._logic),
                ("ternary if", 3, self._ternary_if),
                ("ternary mark", 3, self._ternary_mark),
                ("list", 6, self._list),
                ("dict", 7, self._dict),
                ("tuple", 2, self._tuple),
                ("comprehension", 3, self._comprehension),
                ("lambda", 5, self._lambda),
                ("lambda words", 2, self._lambda_words),
                ("anonymous function", 2, self._anonymous),
                ("if expression", 3, self._if_expression),
                ("call prefix", 3, self._effect),
                ("new", 2, self._new),
                ("await", 2, self._await),
            )
        )

    # ------------------------------------------------------------ atoms

    def small(self) -> Piece:
        """An atom without parts."""
        return self.pick(
            (
                ("name", 45, self.name_piece),
                ("number", 18, self.number),
                ("unit number", 8, self.unit),
                ("constant", 8, self.constant),
                ("string", 20, self.string),
                ("variable", 5, self._variable),
                ("template variable", 2, self._template_variable),
                ("regex", 2, self.pattern),
                ("group", 3, lambda: self.bracketed(self.name_piece())),
            )
        )

    def simple(self) -> Piece:
        name = self.plain_name()
        piece = Piece(name, nodes.Name(AT, name))
        if self.chance(0.4):
            field = self.plain_name()
            piece = Piece(f"{name}.{field}", nodes.Field(AT, piece.node, field), POST)
        elif self.chance(0.3):
            piece = Piece(f"{name} + 1", nodes.Binary(AT, "+", piece.node, nodes.Number(AT, 1, "1")), SUM)
        return piece

    def name_piece(self) -> Piece:
        """A name that is read."""
        name = self.name()
        return Piece(name, nodes.Name(AT, name, self.role))

    def _variable(self) -> Piece:
        name = self.name()
        return Piece(f"${name}", nodes.Name(AT, name, "value", True))

    def _template_variable(self) -> Piece | None:
        if self.bare:
            return None
        names = [self.plain_name() for _ in range(self.random.randint(1, 3))]
        node: Any = nodes.Name(AT, names[0], "value", True)
        for name in names[1:]:
            node = nodes.Field(AT, node, name)
        return Piece("{{" + self.one(("", " ")) + ".".join(names) + "}}", node)

    # ------------------------------------------------------------ access and calls

    def _receiver(self) -> Piece:
        if self.fuel <= 0 or self.chance(0.75):
            return self.name_piece()
        piece = self.apart(POST) if self.chance(0.5) else self.string() or self.name_piece()
        return piece if piece.text[:1] not in "0123456789." else self.bracketed(piece)

    def _post(self) -> Piece:
        piece = self._receiver()
        for _ in range(self.some(1, 3)):
            piece = self.pick(
                (
                    ("field", 20, lambda p=piece: self._field(p)),
                    ("call", 25, lambda p=piece: self.called(p)),
                    ("safe call", 2, lambda p=piece: self._safe_call(p)),
                    ("index", 10, lambda p=piece: self._index(p)),
                    ("slice", 4, lambda p=piece: self._slice(p)),
                )
            )
        if self.chance(0.08) and self._assignable(piece.node) and not self.slot:
            self.count("step")
            op = self.one(("++", "--"))
            return Piece(piece.text + op, nodes.PostStep(AT, op, piece.node), POST)  # type: ignore[arg-type]
        return piece

    def _assignable(self, node: Any) -> bool:
        return isinstance(node, nodes.Name | nodes.Index) or (isinstance(node, nodes.Field) and not node.safe)

    def _field(self, piece: Piece) -> Piece:
        safe = self.chance(0.2)
        word = self.any_word()
        dot = self._dot("?." if safe else ".")
        return Piece(f"{piece.text}{dot}{word}", nodes.Field(AT, piece.node, word, safe), POST)

    def _dot(self, dot: str) -> str:
        if self.flat or self.slot or self.chance(0.95):
            return dot
        self.count("layout: the next line begins with a dot")
        return self.line_end() + self.one(("    ", "  ", "         ")) + dot

    def called(self, piece: Piece) -> Piece:
        """A call of what the piece is."""
        text, args = self.args()
        node = piece.node
        if isinstance(node, nodes.Field):
            return Piece(piece.text + text, nodes.MethodCall(AT, node.value, node.name, args, node.safe), POST)
        if isinstance(node, nodes.Name) and not node.sigil:
            node = nodes.Name(AT, node.name)
        return Piece(piece.text + text, nodes.Call(AT, node, args), POST)

    def _safe_call(self, piece: Piece) -> Piece:
        text, args = self.args()
        return Piece(f"{piece.text}?.{text}", nodes.Call(AT, piece.node, args, True), POST)

    def args(self, most: int = 3) -> tuple[str, tuple[nodes.Arg, ...]]:
        """The bracket of a call."""
        saved, self.slot = self.slot, 0
        try:
            if self.fuel > 0 and self.chance(0.06):
                self.count("generator as only argument")
                element, names, iterable, condition, text = self._comp()
                node = nodes.Comprehension(AT, element, names, iterable, condition)
                return f"({text})", (nodes.Arg(AT, node),)
            parts = [self._arg() for _ in range(self.some(0, most))]
            text = f",{self.blank()}".join(f"{self.within()}{text}" for text, _ in parts)
            if parts and self.chance(0.08):
                text += ","
            return f"({text}{self.within()})", tuple(arg for _, arg in parts)
        finally:
            self.slot = saved

    def _arg(self) -> tuple[str, nodes.Arg]:
        kind = self.random.randrange(10)
        if kind < 2:
            key = self.any_word()
            value = self.expression()
            self.count("keyword argument with =" if kind else "keyword argument with :")
            sign = self.one(("=", " = ")) if kind or key == "lambda" else self.one((": ", " : ", ":"))
            return f"{key}{sign}{value.text}", nodes.Arg(AT, value.node, key)
        if kind == 2 and self.chance(0.3):
            value = self.expression()
            self.count("spread argument")
            return f"...{value.text}", nodes.Arg(AT, value.node, None, True)
        value = self.expression()
        return value.text, nodes.Arg(AT, value.node)

    def _index(self, piece: Piece) -> Piece:
        index = self.apart()
        return Piece(f"{piece.text}[{index.text}{self.within()}]", nodes.Index(AT, piece.node, index.node), POST)

    def _slice(self, piece: Piece) -> Piece:
        low = self.apart(COAL) if self.chance(0.6) else None
        high = self.apart(COAL) if self.chance(0.6) else None
        left = low.text if low else ""
        right = high.text if high else ""
        blank = self.one(("", "", " "))
        node = nodes.Slice(AT, piece.node, low.node if low else None, high.node if high else None)
        return Piece(f"{piece.text}[{left}{blank}:{blank}{right}]", node, POST)

    # ------------------------------------------------------------ operators

    def _infix(self, left: Piece, op: str, right: Piece) -> str:
        """Two operands with an operator, the blanks as they may be."""
        word = op[0].isalpha()
        tight = not word and self.chance(0.25) and op not in ("%", "/", "??", "-", "<", ">", "*", "&", "..")
        hazard = right.text[:1] in "+-!~./&|*<>=" or left.text[-1:] in "+-%" or op in ("<", ">")
        if op == "-" and self.chance(0.3) and not hazard and left.text[-1:].isalnum() and right.text[:1].isalnum():
            self.count("n-1 is a difference")
            return f"{left.text}-{right.text}"
        if op == ".." and not hazard:
            return f"{left.text}{self.one(('..', ' .. '))}{right.text}"
        if tight and not hazard:
            return f"{left.text}{op}{right.text}"
        leading = op in ("||", "&&", "??", "*", "/", "==", "+", "and", "or") and not self.slot
        before = self.before_operator() if leading and self.chance(0.3) else " "
        after = self.behind_operator() if not self.slot and right.text[:1] not in "+-*/" and "\n" not in before else " "
        if "\n" in after and word and op not in ("and", "or"):
            self.count("layout: behind a word operator the line goes on")
        return f"{left.text}{before}{op}{after}{right.text}"

    def _left(self) -> Piece:
        op, level = self.one(LEFT)
        left, right = self.expression(level), self.expression(level + 1)
        return Piece(self._infix(left, op, right), nodes.Binary(AT, op, left.node, right.node), level)  # type: ignore[arg-type]

    def _power(self) -> Piece:
        left, right = self.expression(POST), self.expression(UNARY)
        tight = right.text[:1] not in "*+-~!"
        text = f"{left.text}{self.one(('**', ' ** ')) if tight else ' ** '}{right.text}"
        return Piece(text, nodes.Binary(AT, "**", left.node, right.node), POWER)

    def _range(self) -> Piece:
        left, right = self.expression(SUM), self.expression(SUM)
        return Piece(self._infix(left, "..", right), nodes.Range(AT, left.node, right.node), RANGE)

    def _sign(self) -> Piece | None:
        if self.slot:
            return None
        op: Any = self.one(("-", "-", "+", "~"))
        operand = self.expression(UNARY)
        gap = " " if operand.text[:1] in "+-~" else ""
        return Piece(f"{op}{gap}{operand.text}", nodes.Unary(AT, op, operand.node), UNARY)

    def _not(self) -> Piece | None:
        if self.slot:
            return None
        operand = self.expression(NOT)
        word = self.one(("not ", "not ", "!", "NOT "))
        if word == "!" and operand.text[:1] == "=":
            word = "not "
        return Piece(f"{word}{operand.text}", nodes.Unary(AT, "not", operand.node), NOT)

    def _comparison(self) -> Piece:
        operands = [self.expression(BOR) for _ in range(self.one((2, 2, 2, 3)))]
        ops: list[Any] = []
        text = operands[0]
        for operand in operands[1:]:
            written, op = self.one(COMPARISONS)
            ops.append(op)
            text = Piece(self._infix(text, written, operand), None)
        if len(ops) > 1:
            self.count("comparison chain")
        return Piece(text.text, nodes.Compare(AT, tuple(ops), tuple(operand.node for operand in operands)), CMP)

    def _alone(self) -> Piece | None:
        if self.slot:
            return None
        written, op = self.one(ALONE)
        left, right = self.expression(BOR), self.expression(BOR)
        return Piece(self._infix(left, written, right), nodes.Compare(AT, (op,), (left.node, right.node)), CMP)  # type: ignore[arg-type]

    def _postfix(self) -> Piece | None:
        if self.slot:
            return None
        operand = self.expression(BOR)
        if self.chance(0.2):
            right = self.expression(BOR)
            operand = Piece(f"{operand.text} == {right.text}", nodes.Compare(AT, ("==",), (operand.node, right.node)))
        test: Any = self.one(("exists", "empty", "not exists", "not empty"))
        text = f"{operand.text} {test}"
        piece = Piece(text, nodes.PostfixTest(AT, test, operand.node), CMP)
        return self.bracketed(piece) if self.chance(0.3) else piece

    def _logic(self) -> Piece:
        written, op, level = self.one(LOGIC)
        if self.slot and op != "??":
            written, op, level = "or", "or", OR
        operands = [self.expression(level + 1) for _ in range(self.one((2, 2, 3)))]
        text = operands[0]
        for operand in operands[1:]:
            text = Piece(self._infix(text, written, operand), None)
            same = [word for word, meant, _ in LOGIC if meant == op]
            written = self.one(same)
        return Piece(text.text, nodes.Logic(AT, op, tuple(operand.node for operand in operands)), level)  # type: ignore[arg-type]

    def _ternary_if(self) -> Piece | None:
        if self.slot:
            return None
        then, condition, other = self.expression(COAL), self.expression(COAL), self.expression(TERNARY)
        node = nodes.Conditional(AT, condition.node, then.node, other.node)
        return Piece(f"{then.text} if {condition.text} else {other.text}", node, TERNARY)

    def _ternary_mark(self) -> Piece | None:
        if self.slot:
            return None
        condition, then, other = self.expression(COAL), self.expression(TERNARY), self.expression(TERNARY)
        before = self.before_operator() if self.chance(0.3) else " "
        colon = self.before_operator() if "\n" in before else " "
        node = nodes.Conditional(AT, condition.node, then.node, other.node)
        return Piece(f"{condition.text}{before}? {then.text}{colon}: {other.text}", node, TERNARY)

    # ------------------------------------------------------------ prefixes

    def dotted_call(self) -> Piece:
        """`a.b(..)` or `f(..)`, the receiver a name."""
        piece = Piece(name := self.plain_name(), nodes.Name(AT, name, self.role))
        for _ in range(self.random.randint(0, 2)):
            word = self.plain_name()
            piece = Piece(f"{piece.text}.{word}", nodes.Field(AT, piece.node, word), POST)
        return self.called(piece)

    def _effect(self) -> Piece:
        if self.chance(0.4):
            self.count("call of a module function")
            path = self.one(("system/goals", "a/b/c", "vendor/system/tools"))
            word = self.plain_name()
            text, args = self.args()
            node: Any = nodes.MethodCall(AT, nodes.Path(AT, path), word, args, False, True)
            return Piece(f"call {path}.{word}{text}", node, UNARY)
        piece = self.dotted_call()
        made = piece.node
        if isinstance(made, nodes.Call):
            node = nodes.Call(AT, made.function, made.args, made.safe, True)
        else:
            node = nodes.MethodCall(AT, made.receiver, made.method, made.args, made.safe, True)
        return Piece(f"call {piece.text}", node, UNARY)

    def _new(self) -> Piece:
        word = self.one(("Set", "Date", "URL", "Error"))
        text, args = self.args(1)
        return Piece(f"new {word}{text}", nodes.New(AT, word, args), UNARY)

    def _await(self) -> Piece | None:
        if self.slot:
            return None
        piece = (
            self.dotted_call()
            if self.chance(0.5)
            else Piece(name := self.plain_name(), nodes.Name(AT, name, self.role))
        )
        return Piece(f"await {piece.text}", nodes.Await(AT, piece.node), UNARY)

    # ------------------------------------------------------------ collections

    def _list(self) -> Piece | None:
        if self.slot:
            return None
        elements: list[Any] = []
        texts: list[str] = []
        for _ in range(self.some(0, 4)):
            kind = self.random.randrange(12)
            if kind == 0:
                value = self.apart()
                self.count("spread element")
                texts.append(f"...{value.text}")
                elements.append(nodes.Spread(AT, value.node))
            elif kind == 1:
                key, value = self.plain_name(), self.apart()
                self.count("key: value as an element")
                texts.append(f"{key}: {value.text}")
                elements.append(nodes.DictExpr(AT, (nodes.Pair(AT, nodes.Text(AT, key), value.node),)))
            else:
                value = self.apart()
                texts.append(value.text)
                elements.append(value.node)
        text = ", ".join(f"{self.within()}{text}" for text in texts)
        text += "," if texts and self.chance(0.1) else ""
        return Piece(f"[{text}{self.within()}]", nodes.ListExpr(AT, tuple(elements)))

    def _tuple(self) -> Piece | None:
        if self.slot:
            return None
        values = [self.apart() for _ in range(self.some(0, 3))]
        inner = ", ".join(f"{self.within()}{value.text}" for value in values)
        if len(values) == 1 or (values and self.chance(0.1)):
            inner += ","
        return Piece(f"({inner}{self.within()})", nodes.TupleExpr(AT, tuple(value.node for value in values)))

    def _dict(self) -> Piece | None:
        if self.slot or (self.bare and '"' in self.quotes and self.chance(0.5)):
            return None
        saved, self.slot = self.slot, 0
        lines = not self.flat and self.chance(0.35)
        texts, pairs = [], []
        for _ in range(self.some(0, 4)):
            text, pair = self._pair()
            texts.append(text)
            pairs.append(pair)
        self.slot = saved
        if not lines or not texts:
            inner = ", ".join(f"{self.within()}{text}" for text in texts)
            inner += "," if texts and self.chance(0.1) else ""
            blank = self.one(("", " "))
            return Piece("{" + blank + inner + blank + "}", nodes.DictExpr(AT, tuple(pairs)))
        commas = [self.chance(0.3) or not self._may_lead(text) for text in texts[1:]] + [self.chance(0.2)]
        if not all(commas[:-1]):
            self.count("dict: a line end in place of a comma")
        self.count("dict: over several lines")
        indent = " " * (self.column + self.one((2, 4, 0)))
        out = "{" + self.line_end()
        for text, comma in zip(texts, commas, strict=True):
            out += indent + text + ("," if comma else "") + self.line_end()
        return Piece(out + " " * self.column + "}", nodes.DictExpr(AT, tuple(pairs)))

    def _may_lead(self, text: str) -> bool:
        """May an entry stand on a line of its own without a comma before it? It begins with a name, string, `...`."""
        return text[0] in "\"'" or text.startswith("...") or text[0].isalpha() or text[0] == "_"

    def _pair(self) -> tuple[str, nodes.Pair]:
        kind = self.random.randrange(12)
        if kind == 0:
            self.count("dict: spread")
            value = self.expression()
            return f"...{value.text}", nodes.Pair(AT, None, value.node)
        if kind == 1:
            self.count("dict: short entry")
            name = self.plain_name()
            return name, nodes.Pair(AT, nodes.Text(AT, name), nodes.Name(AT, name, self.role))
        colon = self.one((": ", ":", " : "))
        value = self.expression()
        if kind == 2:
            self.count("dict: computed key")
            key = self.one((self.number, lambda: self.bracketed(self.expression()), self._variable))()
            return f"{key.text}{': ' if colon == ':' else colon}{value.text}", nodes.Pair(AT, key.node, value.node)
        if kind in (3, 4) and self.quote():
            key = self.text()
            return f"{key.text}{colon}{value.text}", nodes.Pair(AT, key.node, value.node)
        word = self.any_word()
        return f"{word}{colon}{value.text}", nodes.Pair(AT, nodes.Text(AT, word), value.node)

    def _comp(self) -> tuple[Any, tuple[str, ...], Any, Any, str]:
        element = self.apart(COAL)
        names = tuple(self.random.sample(("i", "j", "k", "v"), self.one((1, 1, 2))))
        iterable = self.apart(OR)
        condition = self.apart(OR) if self.chance(0.4) else None
        text = f"{element.text}{self.within() or ' '}for {', '.join(names)} in {iterable.text}"
        if condition is not None:
            text += f" if {condition.text}"
        return element.node, names, iterable.node, condition.node if condition else None, text

    def _comprehension(self) -> Piece | None:
        if self.slot:
            return None
        element, names, iterable, condition, text = self._comp()
        node = nodes.Comprehension(AT, element, names, iterable, condition)
        return Piece(self.one(("[{}]", "({})")).format(text), node)

    # ------------------------------------------------------------ functions and blocks as values

    def _lambda(self) -> Piece | None:
        if self.slot:
            return None
        if self.chance(0.6):
            name = self.plain_name()
            head, params = name, (nodes.Param(AT, name),)
        else:
            head, params = self.params(types=False)
        arrow = self.one((" => ", "=>"))
        kind = self.random.randrange(6)
        if kind == 0:
            target, value = self.plain_name(), self.apart(TERNARY)
            body: Any = nodes.Assign(AT, nodes.Name(AT, target, self.role), "=", value.node)
            self.count("lambda: assigns")
            return Piece(f"{head}{arrow}{target} = {value.text}", nodes.Lambda(AT, params, body), LAMBDA)
        if kind < 3 and not self.bare and self.fuel > 0:
            self.count("lambda: block")
            text, block = self.value_block(self.column, guarded=True)
            return Piece(f"{head} => {text}", nodes.Lambda(AT, params, block), LAMBDA)
        value = self.apart(LAMBDA)
        if value.text.startswith("{") and not DICT_LIKE.match(value.text[1:].lstrip()):
            value = self.bracketed(value)
        return Piece(f"{head}{arrow}{value.text}", nodes.Lambda(AT, params, value.node), LAMBDA)

    def params(self, *, types: bool) -> tuple[str, tuple[nodes.Param, ...]]:
        """Parameters in their bracket."""
        names = self.random.sample(("a", "b", "n", "x", "y", "log", "goal", "default", "when", "to"), self.some(0, 3))
        texts, params = [], []
        for at, name in enumerate(names):
            text, param = name, nodes.Param(AT, name)
            kind = self.random.randrange(8)
            if types and kind == 0:
                self.count("parameter: type")
                written, ref = self.type()
                text, param = f"{name}: {written}", nodes.Param(AT, name, None, ref)
            elif kind in (1, 2):
                self.count("parameter: default")
                default = self.apart(TERNARY)
                text, param = f"{name}{self.one((' = ', '='))}{default.text}", nodes.Param(AT, name, default.node)
            elif kind == 3 and at == len(names) - 1:
                self.count("parameter: rest")
                text, param = f"...{name}", nodes.Param(AT, name, None, None, True)
            elif kind == 4:
                self.count("parameter: pattern")
                text, param = f"[{name}, {name}2]", nodes.Param(AT, "", None, None, False, (name, f"{name}2"))
            texts.append(text)
            params.append(param)
        comma = "," if texts and not texts[-1].startswith("...") and self.chance(0.08) else ""
        return f"({', '.join(texts)}{comma})", tuple(params)

    def type(self, depth: int = 0) -> tuple[str, nodes.TypeRef]:
        """A type of an annotation."""
        name = self.one(("int", "str", "List", "Map", "a.B"))
        args: list[Any] = []
        text = name
        if depth < 2 and self.chance(0.3):
            args = [self.type(depth + 1) for _ in range(self.random.randint(1, 2))]
            text += f"[{', '.join(arg[0] for arg in args)}]"
        optional = self.chance(0.2)
        text += "?" if optional else ""
        more: tuple[nodes.TypeRef, ...] = ()
        if depth < 2 and self.chance(0.15):
            other, ref = self.type(2)
            text, more = f"{text} | {other}", (ref,)
        return text, nodes.TypeRef(AT, name, tuple(arg[1] for arg in args), optional, more)

    def _lambda_words(self) -> Piece | None:
        if self.slot:
            return None
        names = self.random.sample(("a", "b", "c"), self.random.randint(0, 2))
        value = self.apart(TERNARY)
        head = f" {', '.join(names)}" if names else ""
        params = tuple(nodes.Param(AT, name) for name in names)
        return Piece(f"lambda{head}: {value.text}", nodes.Lambda(AT, params, value.node), LAMBDA)

    def _anonymous(self) -> Piece | None:
        if self.slot or self.bare or self.fuel <= 0:
            return None
        head, params = self.params(types=False)
        text, block = self.value_block(self.column)
        return Piece(f"function{head} {text}", nodes.Lambda(AT, params, block), LAMBDA)

    def _if_expression(self) -> Piece | None:
        if self.slot or self.bare or self.fuel <= 0:
            return None
        text, branches = "", []
        for at in range(self.one((1, 1, 2))):
            saved, self.role = self.role, self.role
            condition = self.expression(COAL)
            self.role = saved
            body, block = self.value_block(self.column)
            text += (f" {self.one(('else if', 'elif'))} " if at else "if ") + f"{condition.text} {body}"
            branches.append(nodes.Branch(AT, condition.node, block))
        otherwise: Any = None
        kind = self.random.randrange(4)
        if kind < 2:
            body, otherwise = self.value_block(self.column)
            text += f" else {body}"
        elif kind == 2:
            value = self.number()
            text, otherwise = f"{text} else {value.text}", value.node
        return Piece(text, nodes.IfExpr(AT, tuple(branches), otherwise), LAMBDA)

    def value_block(self, column: int, *, guarded: bool = False) -> tuple[str, nodes.Block]:
        """A brace block inside an expression; where `guarded` it does not look like a dict."""
        raise NotImplementedError

    def place(self) -> Place:
        """Code inside an expression."""
        return Place(column=self.column)


__all__ = ["ATOM", "COAL", "LAMBDA", "OR", "POST", "SOFT_NAMES", "TERNARY", "Expressions"]
