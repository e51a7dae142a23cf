"""Whether two trees mean the same, however they were written: the measure of the formatter and of the tests.

Two scripts are alike when they differ only in places (spans), layout, and the spellings of section 24 of the language
reference: quotes around prose, a bare comparison for its check, numbers before steps, the blanks of a phrase."""

from __future__ import annotations

from typing import Any

from . import nodes

# What says how a node was written, and not what it means.
_SPELLING = {
    nodes.Module: frozenset({"name", "source", "version"}),
    nodes.Text: frozenset({"raw"}),
    nodes.Entry: frozenset({"quoted"}),
    nodes.Item: frozenset({"number"}),
    nodes.VerbPhrase: frozenset({"text"}),
    nodes.PluginLine: frozenset({"text"}),
    nodes.CallStmt: frozenset({"text"}),
}  # fmt: skip


def alike(left: nodes.Node, right: nodes.Node) -> bool:
    """True when both trees mean the same."""
    return meaning(left) == meaning(right)


def meaning(tree: nodes.Node) -> list[Any]:
    """The tree as a flat list of the kinds of its nodes, their fields and the lengths of their sequences, without
    anything that only says how it was written. Trees are alike when their lists are equal. Nothing here recurses."""
    found: list[Any] = []
    work: list[Any] = [tree]
    while work:
        value = work.pop()
        if isinstance(value, nodes.Node):
            value = _plain(value)
            kind = type(value)
            found.append(kind.__name__)
            hidden = _SPELLING.get(kind, frozenset())
            fields = [name for name in kind.__struct_fields__ if name != "span" and name not in hidden]
            work += [getattr(value, name) for name in reversed(fields)]
        elif isinstance(value, tuple):
            found.append(len(value))
            work += reversed(value)
        else:
            found.append((type(value).__name__, value))
    return found


def _plain(node: nodes.Node) -> nodes.Node:
    """The recommended spelling of a node that has one."""
    if isinstance(node, nodes.TextPhrase):
        return nodes.Text(node.span, node.text)
    if (
        isinstance(node, nodes.Entry)
        and not node.key
        and node.body is None
        and isinstance(node.value, nodes.TextPhrase)
    ):
        return nodes.ExprStmt(node.span, nodes.Text(node.span, node.value.text))
    if isinstance(node, nodes.BareComparison):
        parts = (("op", nodes.Text(node.span, node.op)), ("value", node.value))
        return nodes.DictExpr(
            node.span, tuple(nodes.Pair(node.span, nodes.Text(node.span, key), part) for key, part in parts)
        )
    if isinstance(node, nodes.Timer):
        return nodes.Timer(node.span, " ".join(node.text.split()), node.slots, node.body)
    if isinstance(node, nodes.Goal):
        title = _as_text(node.title) or node.title
        priority, deadline, metrics = map(_as_text, (node.priority, node.deadline, node.metrics))
        return nodes.Goal(node.span, title, priority, deadline, metrics, node.body)
    return node


def _as_text(value: nodes.Expr | None) -> nodes.Expr | None:
    """A symbol is the text of its own name."""
    if isinstance(value, nodes.Name) and value.role == "symbol" and not value.sigil:
        return nodes.Text(value.span, value.name)
    return value
