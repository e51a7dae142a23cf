"""Entries as data: `limits:` with its deeper lines, a record behind a dash or a sub-section, as one expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from . import nodes
from .contracts import MOST_LEVELS
from .errors import SyntaxProblem

NO_VALUE: Final = object()
"""What `plain` gives for a value that is only known when the script runs."""
_CAPABILITY_KEYS = frozenset({"capabilities", "requires", "permissions"})
_HEADS = frozenset({"if", "for", "while", "when", "every", "match"})
_VALUES = frozenset(nodes.EntryValue.__args__)  # type: ignore[attr-defined]


def symbolic(value: Any) -> Any:
    """The value with bare names as symbols, where it stands as a whole or as element of a list (section 7)."""
    if type(value) is nodes.Name:
        return value if value.sigil else nodes.Name(value.span, value.name, "symbol")
    if type(value) is nodes.ListExpr and any(type(e) in (nodes.Name, nodes.ListExpr) for e in value.elements):
        return nodes.ListExpr(value.span, tuple(symbolic(element) for element in value.elements))
    return value


def unsymbolic(value: nodes.Expr) -> nodes.Expr:
    """The value with a bare name as a value again, as it is where code and not data stands."""
    if type(value) is nodes.Name and value.role == "symbol":
        return nodes.Name(value.span, value.name, "value")
    return value


def key_span(node: nodes.Entry | nodes.Section, key: str) -> nodes.Span:
    """Where the key of an entry stands."""
    span = node.span
    size = len(key) + (2 if isinstance(node, nodes.Entry) and node.quoted else 0)
    return nodes.Span(span.line, span.column, span.line, span.column + size, span.start, span.start + size)


def settled(entry: nodes.Entry) -> nodes.Entry:
    """The entry with its deeper lines as its value; words of capabilities (`memory.read`) as texts."""
    value = as_data(entry)
    if entry.key in _CAPABILITY_KEYS:
        value = dotted_texts(value)
    return msgspec.structs.replace(entry, value=value, body=None)


def dotted_texts(value: Any) -> Any:
    """The words of a list of capabilities as texts: `[memory.read, log]` names no variables."""
    if type(value) is nodes.ListExpr:
        return nodes.ListExpr(value.span, tuple(_word_as_text(element) for element in value.elements))
    return _word_as_text(value)


def _word_as_text(value: Any) -> Any:
    word = dotted_word(value)
    return value if word is None else nodes.Text(value.span, word, True)


def dotted_word(value: Any) -> str | None:
    """`a.b.c` as a text, None for anything else."""
    parts: list[str] = []
    while type(value) is nodes.Field and not value.safe:
        parts.append(value.name)
        value = value.value
    if type(value) is not nodes.Name or value.sigil:
        return None
    return ".".join([value.name, *reversed(parts)])


def as_data(statement: nodes.Stmt, scalar: Callable[[nodes.Expr], nodes.Expr] | None = None) -> nodes.Expr:
    """An entry or section with its deeper lines as one expression: a dict of its entries, or a list of its items.
    `scalar` may change each value that is neither. Nothing here recurses."""
    work: list[tuple[Any, list[Any]]] = [(statement, [])]
    order: list[tuple[Any, list[Any]]] = []
    while work:
        node, parts = work.pop()
        order.append((node, parts))
        for child in _children(node):
            inner: list[Any] = []
            parts.append((child, inner))
            work.append((child, inner))
    built: dict[int, nodes.Expr] = {}
    for node, parts in reversed(order):
        value = _datum(node, [(child, built[id(child)]) for child, _ in parts])
        built[id(node)] = value if parts or scalar is None else scalar(value)
    return built[id(statement)]


def _children(node: Any) -> list[Any]:
    body = getattr(node, "body", None)
    children = list(body.body) if body is not None else []
    content = node.content if type(node) is nodes.Item else None
    if type(content) is nodes.Section or (type(content) is nodes.Entry and content.key):
        children.insert(0, content)
    elif children and (content is not None or (type(node) is nodes.Entry and node.value is not None)):
        raise SyntaxProblem(
            "AE125", "in data an entry has a value or deeper lines, not both", children[0].span.start,
            children[0].span.end, expected=("end of line",),
        )  # fmt: skip
    for child in children:
        if type(child) not in (nodes.Entry, nodes.Item, nodes.Section):
            key = getattr(node, "key", None)
            hint = f"`{key}:` is a key; as the head of a block write `{key} ..:`" if key in _HEADS else None
            raise SyntaxProblem(
                "AE125", "only entries and items stand in data", child.span.start, child.span.end,
                expected=("key: value", "- item"), suggestion=hint,
            )  # fmt: skip
    return children


def _datum(node: Any, children: list[tuple[Any, nodes.Expr]]) -> nodes.Expr:
    span = node.span
    items = sum(type(child) is nodes.Item for child, _ in children)
    if items and items < len(children):
        odd = next(child for child, _ in children if type(child) is not nodes.Item)
        raise SyntaxProblem(
            "AE125", "entries and items cannot be mixed in data", odd.span.start, odd.span.end, expected=("- item",),
        )  # fmt: skip
    if items:
        return nodes.ListExpr(span, tuple(value for _, value in children))
    if children:
        pairs = []
        for child, value in children:
            key = child.key if type(child) is nodes.Entry else child.name
            pairs.append(nodes.Pair(child.span, nodes.Text(key_span(child, key), key), value))
        return nodes.DictExpr(span, tuple(pairs))
    if type(node) is nodes.Section:
        return nodes.DictExpr(span, ())
    return _scalar(node)


def _scalar(node: Any) -> nodes.Expr:
    value = node.value if type(node) is nodes.Entry else node.content
    if type(value) is nodes.Entry:
        value = value.value
    if type(value) is nodes.ExprStmt:
        return cast(nodes.Expr, symbolic(value.value))
    if type(value) is nodes.VerbStmt:
        words = f"{value.phrase.verb} {value.phrase.text}".strip()
        return nodes.Text(value.span, words, True)
    if type(value) is nodes.TextPhrase:
        return nodes.Text(value.span, value.text, True)
    if type(value) is nodes.BareComparison:
        pairs = (
            nodes.Pair(value.span, nodes.Text(value.span, "op"), nodes.Text(value.span, value.op)),
            nodes.Pair(value.span, nodes.Text(value.span, "value"), value.value),
        )
        return nodes.DictExpr(value.span, pairs)
    if value is None:
        return nodes.Null(node.span)
    if type(value) in _VALUES:
        return cast(nodes.Expr, value)
    raise SyntaxProblem("AE125", "a value is expected in data", node.span.start, node.span.end, expected=("a value",))


def plain(value: Any, level: int = 0) -> Any:
    """A literal as plain data; `NO_VALUE` for what is only known when the script runs, or nests too deep."""
    if level > MOST_LEVELS:
        return NO_VALUE
    if isinstance(value, nodes.Null):
        return None
    if isinstance(value, nodes.Bool | nodes.Number | nodes.Text):
        return value.value
    if isinstance(value, nodes.Name) and value.role == "symbol":
        return value.name
    if isinstance(value, nodes.Unary) and value.op == "-" and isinstance(value.operand, nodes.Number):
        return -value.operand.value
    if isinstance(value, nodes.ListExpr):
        elements = [plain(element, level + 1) for element in value.elements]
        return NO_VALUE if any(element is NO_VALUE for element in elements) else elements
    if isinstance(value, nodes.DictExpr):
        found = {}
        for pair in value.pairs:
            key, inner = plain(pair.key, level + 1), plain(pair.value, level + 1)
            if key is NO_VALUE or inner is NO_VALUE or pair.key is None:
                return NO_VALUE
            found[str(key)] = inner
        return found
    return NO_VALUE


__all__ = [
    "NO_VALUE",
    "as_data",
    "dotted_texts",
    "dotted_word",
    "key_span",
    "plain",
    "settled",
    "symbolic",
    "unsymbolic",
]
