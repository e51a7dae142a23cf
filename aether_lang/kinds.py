"""What an expression is known to give: a local that is only ever assigned numbers needs no guard around its
arithmetic."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from . import nodes

Kind: TypeAlias = Literal["any", "int", "num", "bool", "str", "list", "dict", "null", "unset"]

NUMERIC: Final = frozenset({"int", "num"})
COUNTABLE: Final = frozenset({"int", "num", "bool"})
"""Kinds that count as numbers in arithmetic."""
_KINDS: Final[dict[type, Kind]] = {
    nodes.Bool: "bool",
    nodes.Null: "null",
    nodes.Text: "str",
    nodes.TextTemplate: "str",
    nodes.TimeAgo: "num",
    nodes.Compare: "bool",
    nodes.PostfixTest: "bool",
    nodes.ListExpr: "list",
    nodes.TupleExpr: "list",
    nodes.Range: "list",
    nodes.Comprehension: "list",
    nodes.DictExpr: "dict",
}


class Kinds:
    """The kinds of expressions, once it is known which variable each name means."""

    names: Mapping[int, Any]
    """By the identity of a `Name`, its binding or none."""

    def kind(self, node: Any) -> Kind:
        """What the expression is known to give when nothing fails; "unset" while its variables are unknown."""
        if isinstance(node, nodes.Name):
            binding = self.names.get(id(node))
            return "any" if binding is None else binding.kind
        if isinstance(node, nodes.Number):
            return "int" if type(node.value) is int else "num"
        if isinstance(node, nodes.Binary):
            return self._binary_kind(node)
        if isinstance(node, nodes.Unary):
            return "bool" if node.op == "not" else ("int" if node.op == "~" else self._signed(node))
        if isinstance(node, nodes.PostStep):
            return self._sum(self.kind(node.target), "int")
        if isinstance(node, nodes.Call) and isinstance(node.function, nodes.Name):
            if self.names.get(id(node.function)) is None and node.function.name in ("len", "count"):
                return "int"
            return "any"
        return _KINDS.get(type(node), "any")

    def _signed(self, node: nodes.Unary) -> Kind:
        kind = self.kind(node.operand)
        return kind if kind in NUMERIC or kind == "unset" else "num"

    def _sum(self, left: Kind, right: Kind) -> Kind:
        if "unset" in (left, right):
            return "unset"
        if left in COUNTABLE and right in COUNTABLE:
            return "num" if "num" in (left, right) else "int"
        return "str" if "str" in (left, right) else "any"

    def _binary_kind(self, node: nodes.Binary) -> Kind:
        if node.op in ("&", "|", "^", "<<", ">>"):
            return "int"
        left, right = self.kind(node.left), self.kind(node.right)
        if node.op == "+":
            return self._sum(left, right)
        if "unset" in (left, right):
            return "unset"
        whole = left in ("int", "bool") and right in ("int", "bool")
        if node.op in ("-", "%"):
            return "int" if whole else "num"
        if node.op == "*":
            return "int" if whole else ("num" if left in COUNTABLE and right in COUNTABLE else "any")
        return "num"


def joined(a: Kind, b: Kind) -> Kind:
    """The kind of a variable that is assigned values of both."""
    if a == b or b == "unset":
        return a
    if a == "unset":
        return b
    return "num" if a in NUMERIC and b in NUMERIC else "any"
