"""Programs drawn at random that may be refused, fail or complete, with a taste for odd names, values and calls."""

from random import Random

from aether_lang.host import FUNCTIONS
from aether_lang.jobs import FUNCTIONS as OF_THE_JOB
from aether_lang.methods import METHODS
from aether_lang.stdlib import FUNCTIONS as LIBRARY

NAMES = ("a", "b", "c", "d", "e", "xs", "f", "g")
ODD = ("__class__", "__globals__", "rt", "v_a", "self", "length", "message", "data", "elements", "call", "get", "type")
METHOD_NAMES = sorted({name for table in METHODS.values() for name in table})
FUNCTION_NAMES = sorted({*LIBRARY, *OF_THE_JOB, *FUNCTIONS} - {"sleep", "wait"})
LITERALS = (
    "null", "true", "0", "1", "-1", "2.5", "1e308", "2 ** 70", "10 ** 400", '""', '"a"', '"a,b"', '"é😀"', '"\\0"',
    "[]", "{}", "[1, 2, 3]", '["b", null, 2]', "{ a: 1, b: [2] }", "/a(b)?/g", "/x*/", "new Set([1, 1.0, [2]])",
    'error("m")', "range(300)", '"ab".repeat(300)', "(x => x)", "((a, b) => b)", "len", "2305843009213693951",
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", ">", "in", "and", "or", "??", "&", "<<", "..")


class Program:
    """One program under way."""

    def __init__(self, seed: object) -> None:
        """The same seed gives the same program."""
        self._random = Random(str(seed))
        self._fuel = self._random.randint(10, 60)

    def text(self) -> str:
        """The whole program: functions, statements, and at the end a look at all it has."""
        draw = self._random
        lines = [f"let {name} = {draw.choice(LITERALS)}" for name in NAMES[: draw.randint(3, 6)]]
        lines += [f"fn f(x = {self._value(1)}, y = null) {{ {self._statement(2)}\n return {self._value(2)} }}"]
        lines += [self._guarded(self._statement(3)) for _ in range(draw.randint(3, 9))]
        looked = ", ".join(f"{name}: {name}" for name in ("a", "b", "c"))
        return "\n".join([*lines, f"metrics({{ {looked} }})", f"return {self._value(2)}"]) + "\n"

    def _guarded(self, statement: str) -> str:
        """The statement so that its errors mostly do not end the program."""
        return statement if self._random.random() < 0.1 else f"try {{ {statement} }} catch (e) {{ b = e }}"

    def _pick(self, *ways: str) -> str:
        return self._random.choice(ways)

    def _name(self) -> str:
        return self._random.choice(NAMES[:3]) if self._random.random() < 0.97 else self._random.choice(ODD)

    def _field(self) -> str:
        return self._random.choice(ODD if self._random.random() < 0.5 else NAMES)

    def _value(self, depth: int) -> str:
        self._fuel -= 1
        if depth <= 0 or self._fuel < 0 or self._random.random() < 0.2:
            return self._pick(self._name(), self._name(), self._random.choice(LITERALS))
        return getattr(self, f"_{self._pick('binary', 'method', 'method', 'call', 'field_of', 'piece', 'other')}")(
            depth - 1
        )  # type: ignore[no-any-return]

    def _binary(self, depth: int) -> str:
        return f"({self._value(depth)} {self._random.choice(OPERATORS)} {self._value(depth)})"

    def _method(self, depth: int) -> str:
        name = self._random.choice(METHOD_NAMES if self._random.random() < 0.9 else ODD)
        return f"({self._value(depth)}).{name}({self._arguments(depth)})"

    def _call(self, depth: int) -> str:
        name = self._pick("f", "f", self._random.choice(FUNCTION_NAMES), self._random.choice(FUNCTION_NAMES))
        return f"{name}({self._arguments(depth)})"

    def _arguments(self, depth: int) -> str:
        values = [
            self._callback(depth) if self._random.random() < 0.3 else self._value(depth)
            for _ in range(self._random.choice((0, 1, 1, 2, 3)))
        ]
        if self._random.random() < 0.1:
            values.append(f"{self._field()}={self._value(depth)}")
        return ", ".join(values)

    def _callback(self, depth: int) -> str:
        return self._pick("f", "len", f"x => {self._value(depth)}", f"(x, y) => {self._value(depth)}")

    def _piece(self, depth: int) -> str:
        value = self._value(depth)
        return self._pick(f"({value})[{self._value(depth)}]", f"({value})[{self._value(0)}:{self._value(0)}]")

    def _other(self, depth: int) -> str:
        value, other = self._value(depth), self._value(depth)
        return self._pick(
            f'"<{{{self._name()}}}>{{1.5:.1f}}"',
            f"[{value}, {other}]",
            f"{{ {self._field()}: {value}, ...{self._name()} }}",
            f"[x for x in {value} if {other}]",
            f"(if {value} {{ {other} }} else {{ {self._name()} }})",
            f"[...{value}]",
            f"-({value})",
        )

    def _field_of(self, depth: int) -> str:
        return f"({self._value(depth)}).{self._field()}"

    def _statement(self, depth: int) -> str:
        self._fuel -= 1
        value, name = self._value(2), self._random.choice(NAMES[:3])
        ways = [
            f"{name} = {value}",
            f"{name} = {self._value(3)}",
            f"{name}.{self._field()} = {value}",
            f"{name}[{self._value(1)}] = {value}",
            f"{name} += {value}",
            f"log {value}",
            f"metrics({{ v: {value} }})",
            f"{name} = f({value})",
        ]
        if depth > 0 and self._fuel > 0:
            inner = self._statement(depth - 1)
            ways += [
                f"if {value} {{ {inner} }}",
                f"while {value} {{ {inner} }}",
                f"for x in {value} {{ {inner} }}",
                f"try {{ {inner} }} catch (e) {{ {name} = e\n {self._statement(depth - 1)} }}",
                f"try {{ {inner} }} finally {{ {self._statement(depth - 1)} }}",
                f"try {{ {inner} }} finally {{ return {value} }}",
                f"throw {value}",
                f"transaction {{ {inner} }}",
                f"parallel:\n  p: f({value})\n  q: f(1)\n{name} = p",
            ]
        return self._random.choice(ways)


def program(seed: object) -> str:
    """The program of a seed."""
    return Program(seed).text()
