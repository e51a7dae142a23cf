"""Entries, dash items and records (sections 3.3, 4 and 14)."""

from __future__ import annotations

from typing import Any

from aether_lang import nodes

from .draw import AT, BARE_END, RESERVED, Piece, Place
from .phrases import symbolic
from .statements import Stated, Statements

KEYS = (
    "description", "version", "category", "name", "limit", "inputs", "using", "output", "depth", "mode", "from", "into",
    "status", "type", "level", "note", "when", "default", "on", "role", "tea", "x", "to",
)  # fmt: skip


class Data(Statements):
    """Draws data: what stands under an entry, and fields of declarations."""

    def data_entry(self, place: Place) -> Stated:
        return self._entry(place, 0)

    def _key(self) -> tuple[str, nodes.Entry]:
        """The key of an entry with its node, the value still missing."""
        kind = self.random.randrange(14)
        if kind == 0:
            self.count("entry: string as key")
            key = self.text()
            return key.text, nodes.Entry(AT, key.node.value, None, None, True)
        if kind == 1:
            self.count("entry: number as key")
            return "42", nodes.Entry(AT, "42", None)
        if kind == 2:
            self.count("entry: reserved word as key")
            word = self.one(
                [word for word in RESERVED if word not in ("else", "elif", "catch", "except", "finally", "try")]
            )
            return word, nodes.Entry(AT, word, None)
        word = self.one(KEYS)
        return word, nodes.Entry(AT, word, None)

    def _entry(self, place: Place, depth: int) -> Stated:
        """An entry in data or of a declaration."""
        key, node = self._key()
        colon = self.one((":", ":", " :"))
        if place.flat or self.fuel <= 0 or depth > 2:
            return self._valued(key, colon, node)
        return self.pick(
            (
                ("entry: value", 60, lambda: self._valued(key, colon, node)),
                ("entry: nothing", 3, lambda: Stated(f"{key}{colon}", node, False)),
                ("entry: raw text", 4, lambda: self._raw(key, node, place.column)),
                ("entry: entries below", 8, lambda: self._nested(key, colon, node, place, depth)),
                ("entry: items below", 8, lambda: self._listed(key, colon, node, place, depth)),
                (
                    "entry: value and entries below",
                    0 if depth else 12,
                    lambda: self._both(key, colon, node, place, depth),
                ),
            )
        )

    def _with(self, node: nodes.Entry, value: Any, body: nodes.Block | None = None) -> nodes.Entry:
        return nodes.Entry(AT, node.key, value, body, node.quoted)

    def _valued(self, key: str, colon: str, node: nodes.Entry) -> Stated:
        value = self.entry_value(code=False)
        assert value is not None
        hyphened = isinstance(value.node, nodes.Text) and value.node.raw
        return Stated(f"{key}{colon} {value.text}", self._with(node, value.node), not hyphened)

    def _raw(self, key: str, node: nodes.Entry, column: int) -> Stated:
        text, value = self.raw_block(column)
        return Stated(f"{key}: {text}", self._with(node, value), False)

    def raw_block(self, column: int) -> tuple[str, nodes.Text]:
        """`|` and the lines behind it."""
        margin = " " * (column + self.one((2, 4)))
        lines = [
            self.one(("first line", "it's { raw", "  deeper", "# no comment", "", "a: b", "end x")) for _ in range(3)
        ]
        lines[0] = "first"
        out = "|\n" + "".join((margin + line if line else "") + "\n" for line in lines)
        if self.chance(0.5):
            self.count("raw text closed by a bar")
            return out + " " * column + "|" + BARE_END, nodes.Text(AT, "".join(line + "\n" for line in lines), True)
        while lines[-1] == "":
            lines[-1] = "last"
            out = "|\n" + "".join((margin + line if line else "") + "\n" for line in lines)
        return out.removesuffix("\n") + BARE_END, nodes.Text(AT, "".join(line + "\n" for line in lines), True)

    def _inner(self, place: Place) -> Place:
        return place.inner(kind="data", column=place.column + self.one((2, 4, 1)))

    def _nested(self, key: str, colon: str, node: nodes.Entry, place: Place, depth: int) -> Stated:
        text, found = self.lines(self._inner(place), lambda inner: self._entry(inner, depth + 1), self.some(1, 3))
        return Stated(f"{key}{colon}{text}", self._with(node, None, nodes.Block(AT, tuple(found))), False)

    def _both(self, key: str, colon: str, node: nodes.Entry, place: Place, depth: int) -> Stated:
        value = self.text()
        text, found = self.lines(self._inner(place), lambda inner: self._entry(inner, depth + 1), self.some(1, 3))
        body = nodes.Block(AT, tuple(found))
        return Stated(f"{key}{colon} {value.text}{text}", self._with(node, value.node, body), False)

    def _listed(self, key: str, colon: str, node: nodes.Entry, place: Place, depth: int) -> Stated:
        inner = self._inner(place)
        if self.chance(0.15):
            self.count("items at the column of their key")
            inner = inner._replace(column=place.column)
        dashes = self.chance(0.85)
        records = self.chance(0.4)
        number = 0

        def make(place: Place) -> Stated:
            nonlocal number
            number += 1
            dash = "-" if dashes else f"{number}."
            return self.item(place, dash, depth + 1, records=records)

        if not dashes:
            self.count("numbered items")
            inner = inner._replace(column=max(inner.column, place.column + 1))
        text, found = self.lines(inner, make, self.some(1, 3))
        return Stated(f"{key}{colon}{text}", self._with(node, None, nodes.Block(AT, tuple(found))), False)

    def item(self, place: Place, dash: str, depth: int, *, records: bool) -> Stated:
        """One dash item."""
        gap = self.one((" ", " ", "  "))
        if not records:
            return self.pick(
                (
                    ("item: expression", 20, lambda: self._item_value(dash + gap)),
                    ("item: prose", 8, lambda: self._item_prose(dash + gap)),
                    ("item: call", 6, lambda: self._item_call(dash + gap)),
                )
            )
        column = place.column + len(dash) + len(gap)
        key, node = self._key()
        value = self.entry_value(code=False)
        assert value is not None
        content = self._with(node, value.node)
        text = f"{dash}{gap}{key}: {value.text}"
        self.count("item: record")
        if self.chance(0.4) or place.flat or depth > 3:
            return Stated(text, nodes.Item(AT, content), False)
        self.count("item: record of several keys")
        inner = place.inner(kind="data", column=column)
        more, found = self.lines(inner, lambda below: self._entry(below, depth), self.some(1, 2))
        return Stated(text + more, nodes.Item(AT, content, nodes.Block(AT, tuple(found))), False)

    def _item_value(self, dash: str) -> Stated:
        saved, self.role = self.role, "value"
        for _ in range(20):
            piece = self.expression(OR_LEVEL)
            if piece.text[0].isalnum() or piece.text[0] in "\"'[$(_":
                break
        else:
            piece = self.number()
        if (
            isinstance(piece.node, nodes.Name)
            or piece.text.startswith(("[[", "("))
            or piece.text[0].isalpha()
            or piece.text[0] == "_"
        ):
            name = self.plain_name()
            piece = Piece(name, nodes.Name(AT, name))
        self.role = saved
        return Stated(dash + piece.text, nodes.Item(AT, nodes.ExprStmt(AT, symbolic(piece.node))), False)

    def _item_prose(self, dash: str) -> Stated:
        self.flat += 1
        head = self.one(("keep", "don't", "be", "answer"))
        text, _ = self.slots(3, guards=False, arrows=False, first=False, dicts=False)
        self.flat -= 1
        text = f"{head} {text}"
        return Stated(dash + text, nodes.Item(AT, nodes.ExprStmt(AT, nodes.Text(AT, text, True))), False)

    def _item_call(self, dash: str) -> Stated:
        call = self.dotted_call()
        return Stated(dash + call.text, nodes.Item(AT, nodes.ExprStmt(AT, call.node)), False)

    # ------------------------------------------------------------ what data means as a value

    def value_of(self, node: Any) -> Any:
        """An entry or item as the value it stands for in a record."""
        body = getattr(node, "body", None)
        children = list(body.body) if body is not None else []
        content = node.content if isinstance(node, nodes.Item) else None
        if isinstance(content, nodes.Entry) and content.key:
            children.insert(0, content)
        if children and isinstance(children[0], nodes.Item):
            return nodes.ListExpr(AT, tuple(self.value_of(child) for child in children))
        if children:
            pairs = [nodes.Pair(AT, nodes.Text(AT, child.key), self.value_of(child)) for child in children]
            return nodes.DictExpr(AT, tuple(pairs))
        value = content.value if isinstance(content, nodes.ExprStmt) else getattr(node, "value", None)
        if value is None:
            return nodes.Null(AT)
        if isinstance(value, nodes.BareComparison):
            parts = (("op", nodes.Text(AT, value.op)), ("value", value.value))
            return nodes.DictExpr(AT, tuple(nodes.Pair(AT, nodes.Text(AT, key), part) for key, part in parts))
        return symbolic(value)


OR_LEVEL = 2
