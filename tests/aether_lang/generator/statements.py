"""Statements and their blocks, in all the ways to lay them out (sections 3, 10 and 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aether_lang import nodes

from .draw import AT, BARE_END, Piece, Place
from .expressions import COAL, DICT_LIKE, OR, TERNARY
from .phrases import COMPOUND, PAYLOAD_VERBS, VERBS, Phrases, symbolic


class Stated(NamedTuple):
    """A statement: its text, whose first line has no indentation, and its node. `more` says that a `;` and another
    statement may follow on its last line."""

    text: str
    node: Any
    more: bool = True


class Blocked(NamedTuple):
    """A block: what follows its head, its node, and how it ends: `brace deep line`."""

    text: str
    node: nodes.Block
    form: str


Make = Callable[[Place], Stated]


class Statements(Phrases):
    """Draws statements."""

    # ------------------------------------------------------------ blocks

    def block(
        self, place: Place, *, forms: str = "brace inline colon bare", make: Make | None = None, least: int = 1,
        most: int = 3, **changes: Any,
    ) -> Blocked:  # fmt: skip
        """A block behind a head, in one of the forms: `brace`, `inline` for braces on one line, `colon` or `bare` for
        deeper lines, `line` for one statement behind a colon."""
        choices = forms.split()
        if place.flat or self.flat:
            choices = ["inline"]
        form = self.one(choices)
        make = make or self.statement
        inner = place.inner(**changes)
        count = self.some(least, most)
        self.count(f"block: {form}")
        saved = self.column, self.role
        self.role = "value"
        try:
            if form == "inline":
                return self._inline(inner._replace(flat=True), make, count)
            if form == "line":
                text, node, _ = self.simple_statement(inner._replace(flat=True))
                return Blocked(f":{self.one((' ', ' ', '  '))}{text}", nodes.Block(AT, (node,)), "line")
            if form == "brace":
                return self._brace(inner, make, count)
            return self._deep(inner, make, count, ":" if form == "colon" else "")
        finally:
            self.column, self.role = saved

    def _inline(self, place: Place, make: Make, count: int) -> Blocked:
        self.flat += 1
        parts = [make(place) for _ in range(count)]
        self.flat -= 1
        text = "; ".join(part.text for part in parts)
        text += self.one(("", "", ";")) if parts else ""
        blank = self.one((" ", " ", "")) if parts else ""
        return Blocked(" {" + blank + text + blank + "}", nodes.Block(AT, tuple(part.node for part in parts)), "brace")

    def _brace(self, place: Place, make: Make, count: int) -> Blocked:
        column = place.column
        inner = column + self.one((2, 2, 4, 1)) if self.chance(0.97) else max(0, column - 2)
        text, found = self.lines(place._replace(column=inner), make, count)
        close = "\n" + " " * column if self.chance(0.93) or not found else " "
        if close == " ":
            self.count("layout: a closing brace behind the last statement")
            text = text.rstrip("\n")
            if (
                text.endswith(BARE_END)
                or "#" in text.rpartition("\n")[2]
                or "//" in text.rpartition("\n")[2]
                or "*/" in text.rpartition("\n")[2]
            ):
                close = "\n" + " " * column
        return Blocked(" {" + text + close + "}", nodes.Block(AT, tuple(found)), "brace")

    def _deep(self, place: Place, make: Make, count: int, colon: str) -> Blocked:
        inner = place.column + self.one((2, 4, 4, 3, 1))
        text, found = self.lines(place._replace(column=inner), make, max(1, count))
        return Blocked(colon + text, nodes.Block(AT, tuple(found)), "deep")

    def lines(self, place: Place, make: Make, count: int) -> tuple[str, list[Any]]:
        """Statements one under the other, each behind a line end."""
        out = ""
        found: list[Any] = []
        more = False
        for _ in range(count):
            self.column = place.column
            stated = make(place)
            while stated.text.startswith("1. ") and found and getattr(found[-1], "value", stated) is None:
                stated = make(place)  # a dash at the column of an empty entry would belong to it
            if more and self.chance(0.08) and "\n" not in stated.text and not self._owns(stated.node):
                self.count("layout: a semicolon")
                out += self.one(("; ", ";", " ; ")) + stated.text
            else:
                out += ("\n" if out.endswith(BARE_END) else self.line_end()) + " " * place.column + stated.text
            found.append(stated.node)
            more = stated.more
        if more and self.chance(0.04):
            out += ";"
        return out, found

    def _owns(self, node: Any) -> bool:
        """Could deeper lines belong to it, or is it kept to the start of a line?"""
        return isinstance(node, nodes.Goal | nodes.HeaderFlag | nodes.Item)

    def closed(self, text: str, column: int, form: str) -> str:
        """The text of a statement with the `end` that may close it."""
        if form == "deep" and self.chance(0.35):
            self.count("layout: end")
            gap = "\n" if text.endswith(BARE_END) else self.line_end()
            return f"{text}{gap}{' ' * column}end"
        return text

    def value_block(self, column: int, *, guarded: bool = False) -> tuple[str, nodes.Block]:
        flat = bool(self.flat)
        place = Place(column=column, flat=flat)
        make = self._unlike_a_dict if guarded else self.value_statement
        saved = self.role, self.slot
        self.slot = 0
        made = self.block(place, forms="inline brace", make=make, most=2)
        self.role, self.slot = saved
        return made.text.removeprefix(" "), made.node

    def _unlike_a_dict(self, place: Place) -> Stated:
        while DICT_LIKE.match((made := self.value_statement(place)).text):
            pass
        return made

    def value_statement(self, place: Place) -> Stated:
        """A statement in a block inside an expression."""
        if self.fuel <= 0 or self.chance(0.5):
            return self._return(place)
        return self.statement(place)

    # ------------------------------------------------------------ which one

    def statement(self, place: Place) -> Stated:
        """Any statement that may stand in code."""
        saved, self.column = self.column, place.column
        if place.flat:
            self.flat += 1
        try:
            if self.fuel <= 0:
                return self.simple_statement(place)
            if place.flat:
                return self.pick((("simple", 80, lambda: self.simple_statement(place)), *self._compound(place)))
            return self.pick((("simple", 90, lambda: self.simple_statement(place)), *self._compound(place)))
        finally:
            self.column = saved
            if place.flat:
                self.flat -= 1

    def _compound(self, place: Place) -> tuple[tuple[str, int, Callable[[], Stated | None]], ...]:
        return (
            ("if", 14, lambda: self._if(place)),
            ("for", 8, lambda: self._for(place)),
            ("while", 4, lambda: self._while(place)),
            ("match", 4, lambda: self._match(place)),
            ("try", 7, lambda: self._try(place)),
            ("verb with block", 4, lambda: self._verb_block(place)),
            ("when condition", 3, lambda: self._when(place)),
        )

    def simple_statement(self, place: Place) -> Stated:
        """A statement without a block of its own."""
        saved, self.column = self.column, place.column
        if place.flat:
            self.flat += 1
        try:
            return self.pick(
                (
                    ("assignment", 20, self._assignment),
                    ("let, const, var", 10, self._let),
                    ("colon assignment", 6, self._colon_assignment),
                    ("typed assignment", 2, self._typed),
                    ("expression statement", 12, self._expression_statement),
                    ("bare name", 2, self._bare_name),
                    ("bare verb", 1, self._bare_verb),
                    ("verb statement", 18, self._verb),
                    ("verb: slots", 2, self._verb_entry),
                    ("call that goes on", 4, self._call_statement),
                    ("arrow", 2, self._arrow_statement),
                    ("return", 5, lambda: self._return(place)),
                    ("throw", 2, self._throw),
                    ("break, continue", 4, lambda: self._leave(place)),
                    ("await values", 2, self._await_values),
                    ("await event", 2, self._await_event),
                    ("wait", 1, self._wait),
                    ("use", 2, self._use),
                    ("import", 2, self._import),
                    ("define as", 1, self._define),
                    ("export list", 1, self._export),
                    ("expose command", 1, self._expose),
                )
            )
        finally:
            self.column = saved
            if place.flat:
                self.flat -= 1

    # ------------------------------------------------------------ assignments

    def _assignment(self) -> Stated:
        if self.chance(0.15):
            name = self.one(
                ("default", "when", "goal", "log", "type", "status", "to", "match", "every", "case", "agent")
            )
            self.count("assignment to a word with a meaning elsewhere")
            target = Piece(name, nodes.Name(AT, name))
        else:
            target = self.target()
        op: Any = self.one(("=", "=", "=", "=", "+=", "-=", "*=", "/=", "%="))
        value = self.assigned_value()
        blank = self.one((" ", " ", ""))
        if value.text[0] in "=>~+-*/!":
            blank = " "
        gap = self.behind_operator() if not self.flat and blank and value.text[0] not in "-+" else blank
        return Stated(f"{target.text}{blank}{op}{gap}{value.text}", nodes.Assign(AT, target.node, op, value.node))

    def _let(self) -> Stated:
        word = self.one(("let", "const", "var"))
        name = self.one(("a", "b", "total", "default", "goal", "log", "type", "on"))
        sigil = self.chance(0.1)
        target = nodes.Name(AT, name, "value", sigil)
        declare: Any = "const" if word == "const" else "let"
        text, ref = f"{word} {'$' if sigil else ''}{name}", None
        if self.chance(0.15) and not sigil:
            self.count("let with a type")
            written, ref = self.type()
            text += f": {written}"
        if word != "const" and (word == "let" or ref is not None) and self.chance(0.15):
            self.count("let without a value")
            return Stated(text, nodes.Assign(AT, target, "=", None, declare, ref))
        value = self.assigned_value()
        return Stated(f"{text} = {value.text}", nodes.Assign(AT, target, "=", value.node, declare, ref))

    def _colon_assignment(self) -> Stated | None:
        name = self.plain_name()
        value = self.entry_value(code=True)
        assert value is not None
        node = nodes.Assign(AT, nodes.Name(AT, name), "=", value.node, None, None, True)
        return Stated(f"{name}: {value.text}", node)

    def _typed(self) -> Stated:
        name = self.plain_name()
        written, ref = self.type()
        value = self.assigned_value()
        node = nodes.Assign(AT, nodes.Name(AT, name), "=", value.node, None, ref, True)
        return Stated(f"{name}: {written} = {value.text}", node)

    # ------------------------------------------------------------ expressions and verbs

    def _expression_statement(self) -> Stated:
        kind = self.random.randrange(8)
        if kind < 4:
            piece = self.dotted_call()
        elif kind == 4:
            piece = self._effect()
        elif kind == 5:
            target = self.target()
            op: Any = self.one(("++", "--"))
            piece = Piece(target.text + op, nodes.PostStep(AT, op, target.node))
        elif kind == 6:
            piece = self.called(
                Piece(f"[1, 2].{(word := self.any_word())}", nodes.Field(AT, self._pair_of_numbers(), word))
            )
        else:
            piece = self.bracketed(self.expression(OR)) if self.chance(0.7) else self._post()
            if piece.text[0] in "/.{" or isinstance(piece.node, nodes.Name | nodes.Text) or piece.text[0].isalpha():
                piece = self.bracketed(piece)
            if piece.text.startswith("[") and piece.text[1:2] in "[ \n":
                piece = self.bracketed(piece)
        return Stated(piece.text, nodes.ExprStmt(AT, piece.node))

    def _pair_of_numbers(self) -> nodes.ListExpr:
        return nodes.ListExpr(AT, (nodes.Number(AT, 1, "1"), nodes.Number(AT, 2, "2")))

    def _bare_name(self) -> Stated:
        name = self.one(("pot_low", "refresh", "on_pot", "Crew", "end_of_day"))
        return Stated(name, nodes.ExprStmt(AT, nodes.Name(AT, name)))

    def _bare_verb(self) -> Stated:
        verb = self.one(("status", "reflect", "narrate", "plan", "backup"))
        return Stated(verb, nodes.VerbStmt(AT, nodes.VerbPhrase(AT, verb, verb, (), "")))

    def _verb_words(self, *, payload: bool) -> tuple[str, str]:
        if self.chance(0.08):
            self.count("compound verb")
            return self.one(COMPOUND)
        verb = self.one(PAYLOAD_VERBS if payload else VERBS)
        return verb, verb

    def _verb(self) -> Stated:
        verb, base = self._verb_words(payload=self.chance(0.25))
        text, slots = self.slots()
        while text.startswith("{") and verb != base:
            text, slots = self.slots()
        if self.chance(0.06):
            self.count("ternary as the last slot")
            then, condition, other = (self.slot_value() for _ in range(3))
            value = nodes.Conditional(AT, condition.node, then.node, other.node)
            text, slots = f"{then.text} if {condition.text} else {other.text}", (nodes.SlotExpr(AT, value),)
        return Stated(f"{verb} {text}", nodes.VerbStmt(AT, nodes.VerbPhrase(AT, verb, base, slots, text)))

    def _verb_entry(self) -> Stated:
        verb = self.one(("log", "recall", "optimize", "suggest", "publish"))
        value = self._entry_expression()
        slots: tuple[nodes.Slot, ...] = (nodes.SlotExpr(AT, symbolic(value.node)),)
        # Behind a verb `in` and its like are prepositions, outside of brackets.
        text = f"({value.text})" if " in" in value.text else value.text
        if self.chance(0.4):
            text, slots = self.slots(3, first=False, guards=False, arrows=False)
            head = self.name()
            if head in ("list",) or not self.chance(0.5):
                head = '"a"'
            first = nodes.Text(AT, "a") if head == '"a"' else nodes.Name(AT, "words", "symbol")
            text, slots = (
                f"{head if head == chr(34) + 'a' + chr(34) else 'words'} {text}",
                (nodes.SlotExpr(AT, first), *slots),
            )
        return Stated(f"{verb}: {text}", nodes.VerbStmt(AT, nodes.VerbPhrase(AT, verb, verb, slots, text), None, True))

    def _verb_block(self, place: Place) -> Stated:
        payload = self.chance(0.4)
        verb = self.one(("remember", "store", "emit", "run") if payload else ("simulate", "think", "notify", "backup"))
        text, slots = self.slots(2, guards=False, arrows=False)
        while not (text[-1].isalnum() or text[-1] in "\"'"):
            text, slots = self.slots(2, guards=False, arrows=False)
        make = self.data_entry if payload else None
        body = self.block(place, forms="brace inline bare", make=make, most=2, **({"kind": "data"} if payload else {}))
        node = nodes.VerbStmt(AT, nodes.VerbPhrase(AT, verb, verb, slots, text), body.node)
        return Stated(self.closed(f"{verb} {text}{body.text}", place.column, body.form), node, False)

    def data_entry(self, place: Place) -> Stated:
        """`key: value` in data."""
        raise NotImplementedError

    def _call_statement(self) -> Stated:
        call = self.dotted_call()
        texts: list[str] = []
        slots: list[nodes.Slot] = []
        for _ in range(self.random.randint(1, 2)):
            text, slot = self.preposition("as" if self.chance(0.5) else "", dicts=False)
            texts.append(text)
            slots.append(slot)
        if self.chance(0.2):
            text, guard = self.guard()
            texts.append(text)
            slots.append(guard)
        elif self.chance(0.2):
            text, arrow = self.arrow()
            texts.append(text)
            slots.append(arrow)
        written = " ".join(texts)
        return Stated(f"{call.text} {written}", nodes.CallStmt(AT, call.node, tuple(slots), written))

    def _arrow_statement(self) -> Stated:
        text, arrow = self.arrow()
        if self.chance(0.5):
            call = self.dotted_call()
            return Stated(f"{call.text} {text}", nodes.CallStmt(AT, call.node, (arrow,), text))
        name = self.plain_name()
        value = nodes.Binary(AT, "+", nodes.Name(AT, name), nodes.Number(AT, 1, "1"))
        return Stated(f"{name} + 1 {text}", nodes.ArrowStmt(AT, value, arrow.target))

    # ------------------------------------------------------------ leaving and waiting

    def _return(self, place: Place) -> Stated:
        if self.chance(0.15):
            return Stated("return", nodes.Return(AT, None))
        value = self.assigned_value()
        return Stated(f"return {value.text}", nodes.Return(AT, value.node))

    def _throw(self) -> Stated:
        word = self.one(("throw", "raise"))
        saved, self.role = self.role, "value"
        value = self.expression(TERNARY)
        self.role = saved
        if value.text[0] in "([-.+":
            value = self.text()
        return Stated(f"{word} {value.text}", nodes.Throw(AT, value.node))

    def _leave(self, place: Place) -> Stated | None:
        if not place.loop:
            return None
        if self.chance(0.5):
            return Stated("break", nodes.Break(AT))
        return Stated("continue", nodes.Continue(AT))

    def _await_values(self) -> Stated:
        names = [self.plain_name() for _ in range(self.random.randint(1, 3))]
        return Stated(f"await {', '.join(names)}", nodes.AwaitValues(AT, tuple(nodes.Name(AT, name) for name in names)))

    def _await_event(self) -> Stated:
        kind: Any = self.one(("event", "approval"))
        subject = self.text()
        text, duration = f"await {kind} {subject.text}", None
        if self.chance(0.6):
            time = self.one((self.unit, self.text))()
            text, duration = f"{text} for {time.text}", time.node
        target = None
        if self.chance(0.4):
            name = self.plain_name()
            text, target = f"{text} -> {name}", nodes.Name(AT, name)
        return Stated(text, nodes.AwaitEvent(AT, kind, subject.node, duration, target))

    def _wait(self) -> Stated:
        if self.chance(0.5):
            value = self.number()
            return Stated(f"wait {value.text}", nodes.Wait(AT, value.node))
        return Stated("wait 5 minutes", nodes.Wait(AT, nodes.Text(AT, "5 minutes", True)))

    # ------------------------------------------------------------ modules

    def _use(self) -> Stated:
        path = self.one(("system/logger", "a/b/c"))
        name = path.rpartition("/")[2]
        if self.chance(0.3):
            return Stated(f"use {path} as u", nodes.Use(AT, path, "u"))
        return Stated(f"use {path}", nodes.Use(AT, path, name))

    def _import(self) -> Stated:
        kind = self.random.randrange(4)
        if kind == 0:
            names = ("a", "b", "log")[: self.random.randint(1, 3)]
            return Stated(f"from system/tools import {', '.join(names)}", nodes.FromImport(AT, "system/tools", names))
        path = self.one(("vendor/system/tools.aether", "system/tools"))
        if kind == 1:
            return Stated(f'import "{path}" as u', nodes.Use(AT, path, "u"))
        if kind == 2:
            return Stated(f'import "{path}"', nodes.Use(AT, path, "tools"))
        return Stated("import system/tools as u", nodes.Use(AT, "system/tools", "u"))

    def _define(self) -> Stated:
        saved, self.role = self.role, "value"
        value = self.expression()
        self.role = saved
        return Stated(f"define Limit as {value.text}", nodes.Define(AT, "Limit", value.node))

    def _export(self) -> Stated:
        names = tuple(self.random.sample(("a", "b", "goal"), self.random.randint(1, 3)))
        return Stated(f"export {{ {', '.join(names)}{self.one(('', ','))} }}", nodes.Export(AT, names))

    def _expose(self) -> Stated:
        return Stated(
            f'expose_command "brew" {self.one(("->", "→"))} pot_low', nodes.ExposeCommand(AT, "brew", "pot_low")
        )

    # ------------------------------------------------------------ control

    def _head_condition(self) -> Piece:
        level = COAL if self.chance(0.93) else TERNARY
        return self.condition(level)

    def _else_gap(self, column: int, form: str) -> str:
        """What stands between a block and the `else` that goes on with it."""
        if form == "brace" and (self.flat or self.chance(0.7)):
            return " "
        return "\n" + " " * column

    def _if(self, place: Place) -> Stated:
        column = place.column
        forms = "brace inline colon colon bare line"
        text, branches, form = "", [], ""
        for at in range(self.one((1, 1, 1, 2, 3))):
            condition = self._head_condition()
            body = self.block(place, forms=forms, loop=place.loop)
            word = self._else_gap(column, form) + self.one(("else if ", "elif ")) if at else "if "
            text += f"{word}{condition.text}{body.text}"
            branches.append(nodes.Branch(AT, condition.node, body.node))
            form = body.form
        otherwise = None
        if self.chance(0.4):
            self.count("else")
            body = self.block(place, forms="brace inline colon line", loop=place.loop)
            text += f"{self._else_gap(column, form)}else{body.text}"
            otherwise, form = body.node, body.form
        return Stated(self.closed(text, column, form), nodes.If(AT, tuple(branches), otherwise), form == "brace")

    def _for(self, place: Place) -> Stated:
        names = tuple(self.random.sample(("i", "row", "k", "v", "goal", "entry"), self.one((1, 1, 2))))
        each = "each " if len(names) == 1 and self.chance(0.15) else ""
        if self.chance(0.03):
            names, each = ("each",), ""
        if each:
            self.count("for each")
        saved, self.role = self.role, "value"
        iterable = self.expression(COAL)
        self.role = saved
        body = self.block(place, forms="brace inline colon colon bare line", loop=True)
        text = f"for {each}{', '.join(names)} in {iterable.text}{body.text}"
        return Stated(
            self.closed(text, place.column, body.form),
            nodes.For(AT, names, iterable.node, body.node),
            body.form == "brace",
        )

    def _while(self, place: Place) -> Stated:
        condition = self._head_condition()
        body = self.block(place, forms="brace inline colon bare line", loop=True)
        text = f"while {condition.text}{body.text}"
        return Stated(
            self.closed(text, place.column, body.form), nodes.While(AT, condition.node, body.node), body.form == "brace"
        )

    def _when(self, place: Place) -> Stated:
        for _ in range(10):
            condition = self.condition()
            if isinstance(
                condition.node, nodes.Compare | nodes.Logic | nodes.PostfixTest | nodes.Unary | nodes.Field
            ) and (condition.text[0].isalpha() or condition.text[0] in "(!"):
                break
        else:
            left = nodes.Field(AT, nodes.Name(AT, "pot", "signal"), "level")
            condition = Piece("pot.level < 3", nodes.Compare(AT, ("<",), (left, nodes.Number(AT, 3, "3"))))
        body = self.block(place, forms="brace inline colon bare line")
        text = f"when {condition.text}{body.text}"
        return Stated(
            self.closed(text, place.column, body.form), nodes.When(AT, condition.node, body.node), body.form == "brace"
        )

    def _match(self, place: Place) -> Stated:
        saved, self.role = self.role, "value"
        subject = self.expression(COAL)
        self.role = saved
        if subject.text[0] in "[./+" or not (subject.text[0].isalnum() or subject.text[0] in "($\"'_"):
            subject = Piece("x", nodes.Name(AT, "x"))
        default_at = self.random.randint(0, 2) if self.chance(0.6) else -1
        cases: list[Any] = []
        defaults: list[Any] = []

        def make(inner: Place) -> Stated:
            if default_at == len(cases) + len(defaults) and not defaults:
                return self._default(inner, defaults)
            return self._case(inner, cases)

        body = self.block(place, forms="brace inline colon", make=make, loop=place.loop, most=4)
        text = f"match {subject.text}{body.text}"
        node = nodes.Match(AT, subject.node, tuple(cases), defaults[0] if defaults else None)
        return Stated(self.closed(text, place.column, body.form), node, body.form == "brace")

    def _case(self, place: Place, cases: list[Any]) -> Stated:
        saved, self.role = self.role, "value"
        values = [self.expression(COAL) for _ in range(self.one((1, 1, 2)))]
        self.role = saved
        guard = None
        text = f"case {', '.join(value.text for value in values)}"
        if self.chance(0.25):
            self.count("case with a guard")
            condition = self.condition()
            text, guard = f"{text} if {condition.text}", condition.node
        body = self._case_body(place)
        cases.append(nodes.Case(AT, tuple(value.node for value in values), guard, body.node))
        return Stated(self.closed(text + body.text, place.column, body.form), None, body.form == "brace")

    def _case_body(self, place: Place) -> Blocked:
        body = self.block(place, forms="brace inline colon line line", loop=place.loop)
        if body.form == "brace" and self.chance(0.4):
            self.count("case: colon and brace")
            return body._replace(text=":" + body.text)
        return body

    def _default(self, place: Place, defaults: list[Any]) -> Stated:
        body = self._case_body(place)
        defaults.append(body.node)
        return Stated(self.closed("default" + body.text, place.column, body.form), None, body.form == "brace")

    def _try(self, place: Place) -> Stated:
        column = place.column
        first = self.block(place, forms="brace inline colon", loop=place.loop)
        text, form = f"try{first.text}", first.form
        catches: list[nodes.Catch] = []
        for _ in range(self.one((0, 1, 1, 1, 2))):
            head, kind, name = self._catch_head()
            body = self.block(place, forms="brace inline colon", loop=place.loop)
            text += f"{self._else_gap(column, form)}{head}{body.text}"
            form = body.form
            catches.append(nodes.Catch(AT, kind, name, body.node))
        final = None
        if not catches or self.chance(0.3):
            self.count("finally")
            body = self.block(place, forms="brace inline colon", loop=place.loop)
            text += f"{self._else_gap(column, form)}finally{body.text}"
            final, form = body.node, body.form
        return Stated(
            self.closed(text, column, form), nodes.Try(AT, first.node, tuple(catches), final), form == "brace"
        )

    def _catch_head(self) -> tuple[str, str | None, str | None]:
        word = self.one(("catch", "except"))
        kind = self.random.randrange(5)
        if kind == 0:
            return word, None, None
        if kind == 1:
            return f"{word} (e)", None, "e"
        if kind == 2:
            return f"{word} Timeout as e", "Timeout", "e"
        if kind == 3:
            return f"{word} Exception as err", None, "err"
        return f"{word} PluginError", "PluginError", None
