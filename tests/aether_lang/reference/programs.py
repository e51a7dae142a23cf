"""Programs drawn at random that run, end mostly, and meet what sections 6 to 10 lay down, edges included.

What the page leaves open is not drawn: the order of evaluation inside a sort, texts of functions inside lists, the
digits of numbers that never leave a script, and the like."""

from collections.abc import Callable
from contextlib import contextmanager
from random import Random
from typing import Any

from .phrases import Expressions

STATEMENTS = (
    ("declare", 8), ("assign", 8), ("create", 3), ("augment", 6), ("element", 5), ("step", 3), ("say", 8),
    ("branch", 6),
    ("loop", 6), ("count_down", 3), ("choose", 3), ("attempt", 6), ("closures", 3), ("function", 5), ("grow", 4),
    ("arrow", 1), ("definition", 1), ("unreached", 1), ("wild", 3), ("leave", 2), ("closing", 1), ("constant", 1),
)  # fmt: skip
NESTING = ("branch", "loop", "count_down", "choose", "attempt", "function", "closures", "closing")
KINDS = ("num", "num", "num", "str", "str", "bool", "nums", "nums", "strs", "dict", "rows", "any")


class Program(Expressions):
    """One program; `text` is its source."""

    def __init__(self, seed: Any, size: int = 14) -> None:
        super().__init__(Random(f"program:{seed}"))
        self.shallow = size < 4
        self.left = size
        self.lines: list[str] = []
        self.indent = 0
        self.loops = 0
        self.catches = 0
        for kind in self.draw.sample(("num", "str", "nums", "dict"), 2 if size < 6 else 4):
            self.declared(kind, self.expr(kind, 1))
        if size >= 6:
            self.function()
        while self.left > 0:
            self.statement()
        shown = self.draw.sample(self.all_names(), min(4, len(self.all_names())))
        self.line(f"print({', '.join(shown) or '1'})")
        self.line(f"return [{', '.join(self.expr(self.draw.choice(KINDS), 2) for _ in range(1 if size < 2 else 2))}]")
        self.text = "\n".join(self.lines) + "\n"

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    @contextmanager
    def block(self, head: str, *names: tuple[str, str]) -> Any:
        """A block in braces; the names are bound inside."""
        self.line(head + " {")
        self.indent += 1
        self.scopes.append(dict(names))
        yield
        self.scopes.pop()
        self.indent -= 1
        self.line("}")

    def body(self, most: int = 3) -> None:
        for _ in range(self.draw.randint(1, most)):
            self.statement()

    def statement(self) -> None:
        self.left -= 1
        names, weights = zip(*STATEMENTS, strict=True)
        name = self.draw.choices(names, weights)[0]
        if (self.indent > 4 or self.left < 0) and name in NESTING:
            name = self.draw.choice(("say", "assign", "element", "wild"))
        made: Callable[[], None] = getattr(self, name)
        made()

    def declare(self) -> None:
        kind = self.draw.choice(KINDS)
        value = self.expr(kind, 3)
        if self.indent and self.draw.random() < 0.3 and (name := self.inherited(kind)):
            self.scopes[-1][name] = kind
            self.line(f"let {name} = {value}")
        else:
            self.declared(kind, value)

    def declared(self, kind: str, value: str) -> None:
        self.line(f"let {self.bind(kind)} = {value}")

    def inherited(self, kind: str) -> str | None:
        """A name of a level outside that this block has not shadowed; to be declared anew."""
        names = [n for scope in self.scopes[:-1] for n, of in scope.items() if of == kind and n not in self.scopes[-1]]
        names = [n for n in names if n not in self.constants and n not in self.used_here()]
        return self.draw.choice(names) if names else None

    def used_here(self) -> str:
        return "\n".join(self.lines[-12:])

    def assign(self) -> None:
        kind = self.draw.choice(KINDS)
        if name := self.variable(kind, writable=True):
            value = self.expr(kind, 3)
            self.line(self.draw.choice((f"{name} = {value}", f"{name} = {value}", f"${name} = {value}")))
        else:
            self.declare()

    def create(self) -> None:
        """A name without `let`: it belongs to the whole function."""
        kind = self.draw.choice(KINDS)
        value = self.expr(kind, 2)
        name = self.fresh()
        self.line(f"{name} = {value}")
        self.scopes[self.bases[-1]][name] = kind

    def augment(self) -> None:
        kind = self.draw.choice(("num", "str", "nums"))
        name = self.variable(kind, writable=True)
        if not name:
            self.declare()
            return
        op = self.draw.choice({"num": ("+=", "-=", "*=", "+=", "/=", "%="), "str": ("+=",), "nums": ("+=",)}[kind])
        self.line(f"{name} {op} {self.expr(kind, 2)}")

    def element(self) -> None:
        if self.draw.random() < 0.5 and (name := self.variable("nums")):
            op = self.draw.choice(("=", "+=", "-=", "*="))
            self.line(f"{name}[{self.expr('small', 1)}] {op} {self.expr('num', 2)}")
            return
        name = self.variable("dict")
        if not name:
            self.declare()
            return
        op = self.draw.choice(("=", "=", "+=", "-="))
        target = self.draw.choice((f"{name}.{self.key()}", f'{name}["{self.key()}"]', f"{name}[{self.expr('str', 1)}]"))
        self.line(f"{target} {op} {self.expr('num', 2)}")

    def step(self) -> None:
        op = self.draw.choice(("++", "--"))
        if self.draw.random() < 0.5 and (name := self.variable("num", writable=True)):
            if self.draw.random() < 0.5:
                self.line(f"{name}{op}")
            else:
                self.declared("num", f"{name}{op}")
        elif name := self.variable("dict"):
            self.line(f"{name}.{self.key()}{op}")

    def say(self) -> None:
        kinds = self.draw.choices(KINDS, k=self.draw.randint(1, 3))
        self.line(f"print({', '.join(self.expr(kind, 3) for kind in kinds)})")

    def branch(self) -> None:
        self.line(f"if {self.expr(self.draw.choice(('bool', 'bool', 'any')), 2)} {{")
        tails = self.draw.choice(([], ["}} else {{"], ["}} elif {c} {{", "}} else {{"], ["}} else if {c} {{"]))
        for tail in [*tails, "}}"]:
            self.indent += 1
            self.scopes.append({})
            self.body()
            self.scopes.pop()
            self.indent -= 1
            self.line(tail.format(c=self.expr("bool", 2)))

    def loop(self) -> None:
        value, name, other = self.draw.choice(
            (
                (self.expr("nums", 2), "num", ""), (self.expr("strs", 2), "str", ""), (self.expr("dict", 2), "str", ""),
                (self.expr("dict", 2), "str", "num"), (self.expr("str", 1), "str", ""), ("4", "num", ""),
                ("[[1, 'a'], [2, 'b']]", "num", "str"), (f"range({self.draw.randint(0, 5)})", "num", ""),
                ("1..3", "num", ""), ("null", "num", ""), ("new Set([1, 2, 1])", "num", ""),
                (f"enumerate({self.expr('nums', 1)})", "num", "num"),
            )
        )  # fmt: skip
        names = [(self.fresh(), kind) for kind in (name, other) if kind]
        self.loops += 1
        with self.block(f"for {', '.join(n for n, _ in names)} in {value}", *names):
            self.body()
            self.maybe_jump()
        self.loops -= 1

    def maybe_jump(self) -> None:
        if self.draw.random() < 0.3:
            self.line(f"if {self.expr('bool', 2)} {{ {self.draw.choice(('break', 'continue'))} }}")
            if self.draw.random() < 0.5:
                self.say()

    def count_down(self) -> None:
        name = self.fresh()
        self.constants.add(name)  # nothing else may change it
        self.line(f"let {name} = {self.draw.randint(1, 4)}")
        self.scopes[-1][name] = "num"
        self.loops += 1
        with self.block(f"while {name} > 0"):
            self.line(f"{name} -= 1")
            self.body()
            self.maybe_jump()
        self.loops -= 1

    def choose(self) -> None:
        kind = self.draw.choice(("num", "str"))
        self.line(f"match ({self.expr(kind, 2)}) {{")
        for _ in range(self.draw.randint(1, 3)):
            values = ", ".join(self.expr(kind, 1) for _ in range(self.draw.randint(1, 2)))
            guard = f" if {self.expr('bool', 1)}" if self.draw.random() < 0.3 else ""
            self.arm(f"case {values}{guard}:")
        if self.draw.random() < 0.6:
            self.arm("default:")
        self.line("}")

    def arm(self, head: str) -> None:
        self.indent += 1
        with self.block(head):
            self.body(2)
        self.indent -= 1

    def attempt(self) -> None:
        self.line("try {")
        self.part()
        kind = self.draw.choice(("", "e", "(e)", "TypeError as e", "ValueError as e", "Exception as e"))
        catching = self.draw.random() < 0.85
        if catching:
            name = "e" if "e" in kind.split(" ")[-1] and kind else ""
            self.line(f"}} catch {kind} {{".replace("  ", " "))
            self.catches += 1
            self.part((("e", "err"),) if name else ())
            self.catches -= 1
        if not catching or self.draw.random() < 0.4:
            self.line("} finally {")
            self.part()
        self.line("}")

    def part(self, names: tuple[tuple[str, str], ...] = ()) -> None:
        self.indent += 1
        self.scopes.append(dict(names))
        self.body(2)
        if names and self.draw.random() < 0.7:
            shown = (
                "e.type",
                "e.type == 'UserError' ? [e.message, str(e), 'a' + e] : 1",
                "e ? 1 : 2",
                "e.line",
                "e.data",
                "typeof(e)",
            )
            self.line(f"print({', '.join(self.draw.sample(shown, 3))})")
        if self.catches and self.draw.random() < 0.1:
            self.line("throw e" if names else "throw")
        self.scopes.pop()
        self.indent -= 1

    def wild(self) -> None:
        """Something that may fail, or gives what nobody expects."""
        kinds = self.draw.choices((*KINDS, "null"), k=2)
        left, right = (self.expr(kind, 1) for kind in kinds)
        op = self.draw.choice(("+", "-", "*", "/", "%", "<", "<=", "==", "!=", "in", "not in", "&", "|", "^", ">>"))
        line = self.draw.choice(
            (f"print({left} {op} {right})", f"print(({left})[{right}])", f"print(({left}).{self.key()})")
        )
        if self.draw.random() < 0.8:
            self.line(f"try {{ {line} }} catch (e) {{ print(e.type, e.line) }}")
        else:
            self.line(line)

    def leave(self) -> None:
        """Out of the function, the loop or the try."""
        how = self.draw.random()
        if how < 0.3 and len(self.bases) > 1:
            self.line(f"if {self.expr('bool', 1)} {{ return {self.expr(self.returns[-1], 2)} }}")
        elif how < 0.5 and self.loops:
            self.line(self.draw.choice(("break", "continue")) if how < 0.33 else "if 1 < 2 { continue }")
        elif how < 0.8:
            thrown = self.draw.choice(
                (
                    '"lost"',
                    "{ message: 'm', type: 'Timeout', data: 5 }",
                    "error('e', type='KeyError')",
                    "new Error('n')",
                )
            )
            self.line(f"if {self.expr('bool', 1)} {{ throw {thrown} }}")

    def closures(self) -> None:
        """Functions made in a loop each keep their own round."""
        made, name, inner = self.fresh(), self.fresh(), self.fresh()
        self.line(f"let {made} = []")
        with self.block(f"for {name} in {self.draw.choice(('1..3', '[4, 5]', '3'))}", (name, "num"), (inner, "num")):
            self.line(f"let {inner} = {name} * 2")
            body = self.draw.choice((name, inner, f"{{ {inner} += {name}; return {inner} }}", self.expr("num", 1)))
            self.line(f"{made}.push(() => {body})")
            if self.draw.random() < 0.3:
                self.line(f"{inner} += 1")
        self.line(f"print({made}.map(f => f()), {made}.length > 0 ? {made}[0]() : null)")

    def function(self) -> None:
        name, kind = self.fresh("f"), self.draw.choice(("num", "str", "nums", "bool"))
        params, bound, usual = [], [], self.draw.randint(0, 3)
        for at in range(usual):
            one, of = self.fresh("p"), self.draw.choice(("num", "num", "str", "nums"))
            default = self.draw.random() < 0.3 or (bool(params) and "=" in params[-1])
            params.append(
                f"{one} = {self.draw.choice((self.expr(of, 1), *(n for n, k in bound if k == of)))}" if default else one
            )
            bound.append((one, of))
            assert at < 3
        kinds = [of for _, of in bound]
        if self.draw.random() < 0.2:
            rest = self.fresh("p")
            params.append(f"...{rest}")
            bound.append((rest, "any"))
        loops, self.loops, catches, self.catches = self.loops, 0, self.catches, 0
        self.bases.append(len(self.scopes))
        self.returns.append(kind)
        with self.block(f"fn {name}({', '.join(params)})", *bound):
            self.body()
            if self.draw.random() < 0.9:
                self.line(f"return {self.expr(kind, 3)}")
        self.bases.pop()
        self.returns.pop()
        self.loops, self.catches = loops, catches
        self.functions.append((self.scopes[-1], name, kinds, kind, [p.split(" ")[0] for p in params if "..." not in p]))
        self.scopes[-1].setdefault(name, "fn")

    def grow(self) -> None:
        if name := self.variable("nums"):
            n = self.expr("num", 2)
            ways = (
                f"push({n})",
                f"append({n})",
                f"extend([{n}])",
                "pop()",
                f"remove({n})",
                f"insert(0, {n})",
                "sort()",
            )
            self.line(f"{name}.{self.draw.choice(ways)}")
        elif name := self.variable("dict"):
            ways = (f'set("{self.key()}", {self.expr("num", 1)})', f'remove("{self.key()}")', "update({ a: 9 })")
            self.line(f"{name}.{self.draw.choice(ways)}")

    def arrow(self) -> None:
        if name := self.variable("num", writable=True):
            self.line(f"max({self.expr('num', 1)}, 1) -> {name}")

    def definition(self) -> None:
        value = self.expr("num", 2)
        name = self.fresh()
        self.line(f"define {name} as {value}")
        self.scopes[-1][name] = "num"
        self.constants.add(name)

    def constant(self) -> None:
        value = self.expr("num", 2)
        name = self.fresh()
        self.line(f"const {name} = {value}")
        self.scopes[-1][name] = "num"
        self.constants.add(name)
        if self.draw.random() < 0.4:
            self.line(f"try {{ {name} += 1 }} catch (e) {{ print(e.type, e.line) }}")

    def unreached(self) -> None:
        name = self.fresh()
        self.line(f"if {self.expr('bool', 1)} {{ {name} = {self.draw.randint(1, 9)} }}")
        self.line(f"print({name}, {name} == null, {name} + 1)")
        self.scopes[self.bases[-1]][name] = "num"

    def closing(self) -> None:
        """`finally` runs on the way out."""
        name = self.fresh("f")
        log = self.fresh()
        self.line(f"let {log} = []")
        inner = self.draw.choice(("return 1", "throw 'x'", "print(0)", f"{log}.push(7)"))
        way = self.draw.choice(("catch { return 2 } ", "catch ValueError as e { return 3 } ", ""))
        self.line(f"fn {name}() {{ try {{ {inner} }} {way}finally {{ {log}.push(5) }} ; return 4 }}")
        self.line(f"try {{ print({name}(), {log}) }} catch (e) {{ print(e.message, e.line, {log}) }}")
