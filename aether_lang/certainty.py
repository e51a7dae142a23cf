"""Which capabilities a script uses in every execution that reaches the end of its top level.

Only the straight line of the top level counts: simple statements that call functions of the host, up to the first
statement that may leave it. What a condition, a loop, a `try` or a function guards is not certain. So what is named
here is sure; what is not may still be used."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import nodes
from .checker import AMBIENT, assigned, children, declared
from .host import FUNCTIONS

_UNCERTAIN: Final = (nodes.Policy, nodes.OnError, nodes.Use, nodes.FromImport)
"""With one of these anywhere nothing is certain: a denial may not end the run, or foreign code may end it before."""
_OF_ITS_OWN: Final = (nodes.Function, nodes.Lambda, nodes.Handler, nodes.Command, nodes.Timer, nodes.Plugin)
"""What runs when it is called; a `return` in it leaves nothing else."""
_STRICT: Final = (
    nodes.ExprStmt, nodes.Assign, nodes.Return, nodes.Arg, nodes.Unary, nodes.Binary, nodes.ListExpr, nodes.TupleExpr,
    nodes.DictExpr, nodes.Pair, nodes.Field, nodes.Index, nodes.TextTemplate, nodes.Interpolation,
)  # fmt: skip
"""Nodes that evaluate everything below them, whenever they are evaluated."""


class Use(msgspec.Struct, frozen=True):
    """A capability that is certainly used, in the spelling of scripts, and the first place that does."""

    capability: str
    line: int
    column: int


def certain(module: nodes.Module) -> list[Use]:
    """The capabilities that are certainly used, each once, in the order of their first use."""
    bound = _bound(module)
    if bound is None:
        return []
    found: dict[str, Use] = {}
    for statement in module.body:
        if isinstance(statement, nodes.ExprStmt | nodes.Assign | nodes.Return):
            _note(statement, bound, found)
        if _may_leave(statement):
            break
    return list(found.values())


def _note(statement: Any, bound: set[str], found: dict[str, Use]) -> None:
    """Note what a simple statement certainly calls."""
    work = [statement]
    while work:
        node = work.pop()
        if isinstance(node, nodes.Call) and isinstance(node.function, nodes.Name):
            name = node.function.name
            row = FUNCTIONS.get(name) if name not in bound and not node.safe else None
            if row is not None:
                found.setdefault(row.capability, Use(row.capability, node.span.line, node.span.column))
            work += reversed(node.args)
        elif isinstance(node, _STRICT):
            work += reversed(list(children(node)))


def _may_leave(statement: Any) -> bool:
    """Whether a statement may end the top level."""
    work = [statement]
    while work:
        node = work.pop()
        if isinstance(node, nodes.Return | nodes.Throw):
            return True
        if not isinstance(node, _OF_ITS_OWN):
            work += children(node)
    return False


def _bound(module: nodes.Module) -> set[str] | None:
    """Every name that is bound anywhere, for it may hide a function of the host; None where nothing is certain."""
    names, work = set(AMBIENT), list(module.body)
    while work:
        node = work.pop()
        if isinstance(node, _UNCERTAIN) or _foreign(node):
            return None
        names |= {name for name, _ in declared(node)} | set(assigned(node))
        if isinstance(node, nodes.Param):
            names |= {node.name, *node.names}
        names |= set(getattr(node, "names", ()))
        work += children(node)
    return names


def _foreign(node: Any) -> bool:
    """Whether a node may end the run in good order, or hand over to code that may."""
    if isinstance(node, nodes.VerbPhrase):
        return node.base in ("run", "use")
    return isinstance(node, nodes.Name) and node.name == "stop_execution"
