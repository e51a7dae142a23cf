"""Phrases and their slots, and the values behind `=` and behind the colon of an entry (sections 4 and 8.3)."""

from __future__ import annotations

import re
from typing import Any

from aether_lang import nodes

from .draw import AT, BARE_END, Piece
from .expressions import COAL, TERNARY, Expressions

VERBS = (
    "log", "print", "speak", "narrate", "recall", "forget", "append", "clear", "remove", "tag", "update", "learn",
    "adapt",
    "evolve", "think", "analyze", "suggest", "reflect", "decide", "optimize", "evaluate", "plan", "summarize",
    "generate",
    "classify", "detect", "collaborate", "share", "check", "show", "apply", "deploy", "execute", "backup", "verify",
    "notify", "publish", "query", "search", "send", "find", "filter", "fetch", "track", "write", "autonomous",
    "pattern",
)  # fmt: skip
PAYLOAD_VERBS = ("remember", "store", "save", "emit", "trigger", "run")
COMPOUND = (
    ("adapt_strategy", "adapt"),
    ("optimize_all_the_things", "optimize"),
    ("learn_from", "learn"),
    ("run_2", "run"),
)
PREPOSITIONS = (
    "for", "from", "to", "with", "as", "about", "on", "into", "at", "using", "in", "of", "by", "through", "since",
    "within",
    "before", "after", "against", "over", "between", "via", "during", "until", "upon", "across", "under",
)  # fmt: skip
GUARDS = ("if", "unless", "when", "where")
_HYPHENED = re.compile(r"[A-Za-z_]\w*(?:-[A-Za-z0-9_.]+)+")
PROSE = ("don't", "it's", "o'clock")
HYPHENED = ("read-write", "abc-4o", "read-only", "a-b-c", "gpt-4.1-mini", "x-1")


def symbolic(node: Any) -> Any:
    """A bare name as a symbol, where it is the whole value or an element of a list (section 7)."""
    if isinstance(node, nodes.Name) and not node.sigil:
        return nodes.Name(AT, node.name, "symbol")
    if isinstance(node, nodes.ListExpr):
        return nodes.ListExpr(AT, tuple(symbolic(element) for element in node.elements))
    return node


class Phrases(Expressions):
    """Draws phrases and values."""

    # ------------------------------------------------------------ slots

    def slot_value(self, *, opening: bool = False) -> Piece:
        """An expression in a slot. Where it is not `opening`, an operand may stand before it: so it begins with what
        starts an operand."""
        self.slot += 1
        saved, self.role = self.role, "value"
        try:
            for _ in range(20):
                piece = self.expression(COAL)
                if piece.text[0] not in "([{-!~/+" or (opening and piece.text[0] in "([{"):
                    return piece
            return self.name_piece()
        finally:
            self.slot -= 1
            self.role = saved

    def _bracket_value(self) -> Piece:
        """A list, a dict, a group or a signed operand: what may open a phrase and follow a preposition."""
        kind = self.random.randrange(4)
        saved, self.slot, role, self.role = self.slot, 0, self.role, "value"
        try:
            if kind == 0:
                made = self._list()
            elif kind == 1:
                made = self._dict()
            elif kind == 2:
                name = self.plain_name()
                op: Any = self.one(("-", "~", "!"))
                made = Piece(f"{op}{name}", nodes.Unary(AT, "not" if op == "!" else op, nodes.Name(AT, name)))
            else:
                made = None
            return made if made is not None else Piece(name := self.plain_name(), nodes.Name(AT, name))
        finally:
            self.slot, self.role = saved, role

    def slots(
        self, most: int = 4, *, guards: bool = True, arrows: bool = True, first: bool = True, dicts: bool = True
    ) -> tuple[str, tuple[nodes.Slot, ...]]:
        """The slots of a phrase; with `first` they stand right behind a verb."""
        texts: list[str] = []
        slots: list[nodes.Slot] = []
        count = self.random.randint(1, most)
        while len(slots) < count:
            text, slot = self._slot(first=first and not slots, dicts=dicts)
            comma = isinstance(slot, nodes.SlotExpr) and bool(slots) and self.chance(0.2)
            if comma and isinstance(slot, nodes.SlotExpr):
                self.count("slot: behind a comma")
                slot = nodes.SlotExpr(AT, slot.value, True)
                texts[-1] += ","
            texts.append(text)
            slots.append(slot)
        if guards and self.chance(0.12):
            text, guard = self.guard()
            texts.append(text)
            slots.append(guard)
        elif arrows and self.chance(0.08):
            text, arrow = self.arrow()
            texts.append(text)
            slots.append(arrow)
        return " ".join(texts), tuple(slots)

    def _slot(self, *, first: bool, dicts: bool) -> tuple[str, nodes.Slot]:
        kind = self.random.randrange(20)
        if kind < 4:
            return self.preposition(dicts=dicts)
        if kind < 6:
            self.count("slot: key")
            key = self.one(("priority", "min_frequency", "tag", "level", "limit", "key"))
            value = self.slot_value(opening=dicts)
            return f"{key}{self.one((': ', '=', ' = ', ':'))}{value.text}", nodes.SlotKey(AT, key, symbolic(value.node))
        if kind == 6 and not first:
            self.count("slot: word")
            word = self.one(PROSE)
            return word, nodes.SlotWord(AT, word)
        if kind == 7 and first:
            self.count("slot: bracket or sign right behind the verb")
            value = self._bracket_value()
            return value.text, nodes.SlotExpr(AT, symbolic(value.node))
        self.count("slot: value")
        value = self.slot_value()
        return value.text, nodes.SlotExpr(AT, symbolic(value.node))

    def preposition(self, word: str = "", *, dicts: bool = True) -> tuple[str, nodes.Slot]:
        """A preposition with its operand."""
        word = word or self.one(PREPOSITIONS if dicts else [word for word in PREPOSITIONS if word != "in"])
        self.count("slot: preposition")
        if not word.strip("at") and self.chance(0.5) and word == "at":
            self.count("clock")
            clock = self.one(("06:00", "22:15", "9:05"))
            return f"at {clock}", nodes.SlotPrep(AT, "at", nodes.Text(AT, clock, True))
        if self.chance(0.05) and word != "at":
            self.count("slot: based on")
            value = self.slot_value()
            return f"based on {value.text}", nodes.SlotPrep(AT, "based_on", symbolic(value.node))
        if self.chance(0.04):
            prose = self.one(PROSE)
            return f"{word} {prose}", nodes.SlotPrep(AT, word, nodes.Text(AT, prose, True))
        if word == "from" and self.chance(0.15):
            self.count("slot: from a path")
            return "from a/b", nodes.SlotPrep(AT, "from", nodes.Path(AT, "a/b"))
        value = self._bracket_value() if self.chance(0.15) else self.slot_value()
        if value.text.startswith("{") and not dicts:
            value = self.slot_value()
        if value.text[0] in "0123456789" and word == "at":
            return self.preposition("for", dicts=dicts)
        return f"{word} {value.text}", nodes.SlotPrep(AT, word, symbolic(value.node))

    def guard(self) -> tuple[str, nodes.SlotGuard]:
        """`if c` at the end of a phrase."""
        word: Any = self.one(GUARDS)
        self.count("slot: guard")
        condition = self.condition()
        return f"{word} {condition.text}", nodes.SlotGuard(AT, word, condition.node)

    def condition(self, level: int = COAL) -> Piece:
        """An expression whose bare names are signals, on one line."""
        saved = self.role, self.slot, self.flat
        self.role, self.slot = "signal", 0
        if saved[1]:
            self.flat += 1
        try:
            return self.expression(level)
        finally:
            self.role, self.slot, self.flat = saved

    def arrow(self) -> tuple[str, nodes.SlotArrow]:
        """`-> x` at the end of a phrase."""
        self.count("slot: arrow")
        target = self.target()
        return f"{self.one(('->', '→'))} {target.text}", nodes.SlotArrow(AT, target.node)

    def target(self) -> Piece:
        """A name, field or element that can be assigned to, its names plain."""
        name = self.plain_name()
        saved, self.role = self.role, "value"
        piece = Piece(name, nodes.Name(AT, name))
        kind = self.random.randrange(8)
        if kind == 0:
            piece = Piece(f"${name}", nodes.Name(AT, name, "value", True))
        elif kind == 1:
            field = self.any_word()
            piece = Piece(f"{name}.{field}", nodes.Field(AT, piece.node, field))
        elif kind == 2:
            piece = self._index(piece)
        self.role = saved
        return piece

    # ------------------------------------------------------------ values

    def verb_phrase(self, *, guards: bool = True) -> Piece:
        """A verb with its slots, as a value."""
        verb = self.one(VERBS)
        saved, self.role = self.role, "value"
        text, slots = self.slots(3, arrows=False, guards=guards)
        self.role = saved
        if text[0] in "([{-!~/" or text.startswith("in "):
            text, slots = (
                "notes from today",
                (
                    nodes.SlotExpr(AT, nodes.Name(AT, "notes", "symbol")),
                    nodes.SlotPrep(AT, "from", nodes.Name(AT, "today", "symbol")),
                ),
            )
        return Piece(f"{verb} {text}", nodes.VerbPhrase(AT, verb, verb, slots, text), LAMBDA_LEVEL)

    def assigned_value(self) -> Piece:
        """What stands behind `=` or `return`: an expression or a verb phrase."""
        saved, self.role = self.role, "value"
        try:
            if self.chance(0.08):
                self.count("value: a verb phrase")
                return self.verb_phrase()
            return self.expression()
        finally:
            self.role = saved

    def entry_value(self, *, code: bool) -> Piece | None:
        """What stands behind the colon of an entry, None for nothing. In `code` no text phrase and no comparison that
        would mean something else there."""
        saved, self.role = self.role, "value"
        try:
            return self.pick(
                (
                    ("entry: expression", 50, self._entry_expression),
                    ("entry: hyphenated word", 0 if self.flat else 6, self._hyphened),
                    ("entry: text phrase", 8, self._text_phrase),
                    ("entry: list of symbols", 6, self._symbols),
                    ("entry: bare comparison", 3, lambda: None if code else self._bare_comparison()),
                    ("entry: verb phrase", 3, lambda: None if code else self._verb_entry_value()),
                    ("entry: call with arrow", 0 if code else 2, self._call_phrase),
                )
            )
        finally:
            self.role = saved

    def _entry_expression(self) -> Piece:
        piece = self.expression(TERNARY)
        if piece.text.startswith("|"):
            piece = self.number()
        if _HYPHENED.fullmatch(piece.text):
            piece = self.bracketed(piece)
        return Piece(piece.text, symbolic(piece.node), piece.level)

    def _verb_entry_value(self) -> Piece:
        return self.verb_phrase(guards=False)

    def _call_phrase(self) -> Piece:
        call = self.dotted_call()
        text, arrow = self.arrow()
        slots = (nodes.SlotExpr(AT, call.node), arrow)
        return Piece(f"{call.text} {text}", nodes.VerbPhrase(AT, "", "", slots, ""))

    def _hyphened(self) -> Piece:
        word = self.one(HYPHENED)
        return Piece(word + BARE_END, nodes.Text(AT, word, True))

    def _symbols(self) -> Piece:
        names = [
            self.one(("desk", "upkeep", "os", "sync", "goal", "default")) for _ in range(self.random.randint(1, 3))
        ]
        return Piece(
            f"[{', '.join(names)}]", nodes.ListExpr(AT, tuple(nodes.Name(AT, name, "symbol") for name in names))
        )

    def _text_phrase(self) -> Piece:
        """Prose that does not begin with a verb: its value is its own text."""
        self.flat += 1
        head = self.one(("daily", "reply", "every", "words", "tea", "Monday", "7"))
        text, _ = self.slots(3, guards=False, arrows=False, first=False, dicts=False)
        self.flat -= 1
        text = f"{head} {text}"
        return Piece(text, nodes.Text(AT, text, True))

    def _bare_comparison(self) -> Piece:
        op = self.one(("==", "!=", "<", ">", "<=", ">="))
        value = self.expression(COAL)
        return Piece(f"{op} {value.text}", nodes.BareComparison(AT, op, value.node))


LAMBDA_LEVEL = -1
