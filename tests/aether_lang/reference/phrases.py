"""Expressions drawn at random, each of a kind of value that it mostly has."""

import re
from random import Random

from .forms import ANY, BLOCKS, FORMS, NUM, SHARED, SIGNS

KEYS = ("a", "b", "c", "length", "n")
INTS = ("0", "1", "2", "3", "7", "10", "255", "1_000", "0xff", "-1", "-3", "2147483647", "4294967296")
FLOATS = (".5", "0.1", "2.0", "1.5", "-2.5", "1e3", "1e21", "1e15", "80%", "30s", "1e-7", "123456789.25")
BIG = ("2 ** 64", "9007199254740993", "10 ** 20", "2 ** 31", "1e300", "-(2 ** 40)")
TEXTS = ("", "a", "tea", "kettle", "7", "Äß", "a,b", " x ", "☕", "1.5", "null")


class Expressions:
    """Draws expressions over the names in sight."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.scopes: list[dict[str, str]] = [{}]
        self.bases = [0]
        """For each function around, the level of names that is its own."""
        self.returns = ["any"]
        self.functions: list[tuple[dict[str, str], str, list[str], str, list[str]]] = []
        self.constants: set[str] = set()
        self.count = 0
        self.quoted = False
        self.shallow = False

    def fresh(self, letter: str = "v") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def bind(self, kind: str) -> str:
        name = self.fresh()
        self.scopes[-1][name] = kind
        return name

    def all_names(self) -> list[str]:
        return sorted(n for scope in self.scopes for n, kind in scope.items() if kind not in ("fn", "err"))

    def variable(self, kind: str, *, writable: bool = False) -> str | None:
        seen: dict[str, str] = {}
        for scope in self.scopes:
            seen.update(scope)
        names = [n for n, of in seen.items() if of == kind and not (writable and n in self.constants)]
        return self.draw.choice(names) if names else None

    def key(self) -> str:
        return self.draw.choice(KEYS)

    def expr(self, kind: str, depth: int) -> str:
        """An expression that mostly has a value of the kind."""
        if self.shallow:
            depth = min(depth, 2)
        if depth <= 0 or self.draw.random() < 0.2:
            return self.leaf(kind)
        if kind == "any":
            return self.expr(self.draw.choice(ANY), depth)
        if self.draw.random() < 0.1 and kind != "small":
            return self.shared(kind, depth)
        if kind == "str" and not self.quoted and self.draw.random() < 0.3:
            return self.interpolated(depth - 1)
        return self.filled(self.draw.choice(FORMS[kind]), kind, depth - 1)

    def filled(self, form: str, kind: str, depth: int) -> str:
        """A form with its places drawn."""

        def place(found: re.Match[str]) -> str:
            name, flat = found.group(1), found.group(2)
            if name == "key":
                return self.key()
            if name in SIGNS:
                return self.draw.choice(SIGNS[name])
            return self.expr(kind if name == "kind" else name, 0 if flat else depth)

        return re.sub(r"<([a-z]+)(:0)?>", place, form)

    def leaf(self, kind: str) -> str:
        if self.draw.random() < 0.6 and (name := self.variable(kind)):
            return f"${name}" if self.draw.random() < 0.05 else name
        if kind == NUM:
            pool = self.draw.choices((INTS, FLOATS, BIG, ("null", "true", "false")), (10, 5, 1, 1))[0]
            one = self.draw.choice(pool)
            return f"({one})" if one[0] == "-" or " " in one else one
        return {
            "small": lambda: self.draw.choice(("0", "1", "2", "-1", "5", "1.0")),
            "str": self.quote,
            "bool": lambda: self.draw.choice(("true", "false")),
            "nums": lambda: "[" + ", ".join(self.leaf(NUM) for _ in range(self.draw.randint(0, 3))) + "]",
            "strs": lambda: "[" + ", ".join(self.quote() for _ in range(self.draw.randint(0, 3))) + "]",
            "dict": lambda: "{ " + ", ".join(f"{k}: {self.leaf(NUM)}" for k in self.some_keys()) + " }",
            "rows": lambda: "[" + ", ".join(f"{{ n: {self.leaf(NUM)}, a: {self.quote()} }}" for _ in range(2)) + "]",
            "null": lambda: self.draw.choice(("null", "undefined", "None")),
            "any": lambda: self.leaf(self.draw.choice((NUM, "str", "bool", "nums", "dict", "null"))),
        }[kind]()

    def some_keys(self) -> list[str]:
        return self.draw.sample(KEYS, self.draw.randint(0, 3))

    def quote(self) -> str:
        one = self.draw.choice(TEXTS)
        if self.quoted:
            return f"'{one}'"
        return self.draw.choice((f'"{one}"', f"'{one}'"))

    def shared(self, kind: str, depth: int) -> str:
        """Forms that give a value of any kind."""
        calls = [f for f in self.functions if f[3] == kind and any(f[0] is scope for scope in self.scopes)]
        if calls and self.draw.random() < 0.6:
            _, name, kinds, _, names = self.draw.choice(calls)
            return self.called(name, kinds, names)
        return self.filled(self.draw.choice(SHARED if self.quoted else SHARED + BLOCKS), kind, depth - 1)

    def called(self, name: str, kinds: list[str], names: list[str]) -> str:
        """A call of a function of the program, now and then with too little or too much."""
        args = [self.expr(kind, 1) for kind in kinds]
        way = self.draw.random()
        if way < 0.1 and args:
            args.pop()
        elif way < 0.3 and len(names) == len(args):
            args = [f"{n}={a}" if self.draw.random() < 0.5 else f"{n}: {a}" for n, a in zip(names, args, strict=True)]
        elif way < 0.4:
            return f"{name}(...[{', '.join(args)}])"
        elif way < 0.45:
            args.append("1")
        return f"{name}({', '.join(args)})"

    def interpolated(self, depth: int) -> str:
        """A string with values in it, some by a format."""
        self.quoted = True
        parts = []
        for _ in range(self.draw.randint(1, 3)):
            one = self.expr("any", depth)
            one = f"({one})" if one[0] in "{'" else one
            parts.append(self.draw.choice(("", "x=", " ")) + "{" + one + "}")
        if self.draw.random() < 0.2:
            parts.append(
                "{" + f"abs({self.draw.choice(INTS)})" + self.draw.choice((":.2f", ":d", ":.1%", ":.0f")) + "}"
            )
        self.quoted = False
        return self.draw.choice(('"', 'f"')) + "".join(parts) + '"'
