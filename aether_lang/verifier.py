"""The second wall's guard: what the compiler made is looked at once more before it may run (threat model, section 3).

`verify_tree` refuses every kind of `ast` node outside a list, and every name that is neither a variable of the script
nor one of the runtime's; `verify_code` looks at the names and constants of each finished code object.
"""

import ast
from types import CodeType
from typing import Final

from . import host, jobs, stdlib
from .units import HELPERS


class Refused(Exception):
    """The compiler made something it must never make: a fault of ours, not of the script."""


_NODES: Final = (
    ast.Module, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.For, ast.If, ast.Try,
    ast.ExceptHandler, ast.Raise, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.Nonlocal, ast.BoolOp, ast.BinOp,
    ast.UnaryOp, ast.IfExp, ast.Dict, ast.ListComp, ast.comprehension, ast.Compare, ast.Call, ast.FormattedValue,
    ast.JoinedStr, ast.Constant, ast.Subscript, ast.Name, ast.List, ast.Tuple, ast.Load, ast.Store, ast.And, ast.Or,
    ast.Add, ast.Sub, ast.Mod, ast.Not, ast.USub, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is,
    ast.IsNot,
)  # fmt: skip
_CAUGHT: Final = frozenset({"@catchable", "@type_error", "@unbound_error"})
_PRIMITIVES: Final = (str, int, float, bool, type(None))
_INJECTED: Final = frozenset(
    [*HELPERS, "@main"]
    + [f"@lib:{name}" for name in stdlib.FUNCTIONS]
    + [f"@job:{name}" for name in jobs.FUNCTIONS]
    + [f"@value:{name}" for name in (*stdlib.FUNCTIONS, *jobs.FUNCTIONS, *host.FUNCTIONS)]
)


def verify_tree(tree: ast.Module) -> None:
    """Refused for a node or name that generated code may not have."""
    for node in ast.walk(tree):
        if type(node) not in _NODES:
            raise Refused(f"{type(node).__name__} at line {getattr(node, 'lineno', '?')}")
        if isinstance(node, ast.Name):
            _check_name(node.id, isinstance(node.ctx, ast.Store))
        elif isinstance(node, ast.arg | ast.arguments):
            _check_parameters(node)
        elif isinstance(node, ast.FunctionDef):
            _check_function(node)
        elif isinstance(node, ast.Nonlocal):
            for name in node.names:
                _check_name(name, True)
        elif isinstance(node, ast.ExceptHandler):
            _check_handler(node)
        elif isinstance(node, ast.Constant):
            _check_constant(node.value)
        elif isinstance(node, ast.FormattedValue) and (node.conversion != -1 or node.format_spec is not None):
            raise Refused("a format in an f-string")
        elif isinstance(node, ast.Call):
            _check_call(node)
        elif isinstance(node, ast.Dict) and None in node.keys:
            raise Refused("a dict spread into another")
        elif isinstance(node, ast.comprehension) and node.is_async:
            raise Refused("an async comprehension")
        elif isinstance(node, ast.Subscript):
            _check_box(node)


def _check_parameters(node: ast.arg | ast.arguments) -> None:
    if isinstance(node, ast.arg):
        _check_name(node.arg, True)
        if node.annotation is not None:
            raise Refused("an annotated parameter")
        return
    # The box of a variable around it, and nothing else, comes to a function as a keyword that has itself as default.
    boxes = zip(node.kwonlyargs, node.kw_defaults, strict=True)
    handed_on = all(isinstance(given, ast.Name) and given.id == box.arg for box, given in boxes)
    if node.posonlyargs or not handed_on or node.kwarg is not None:
        raise Refused("parameters that are no plain ones")


def _check_handler(node: ast.ExceptHandler) -> None:
    """What ends a run is no error of the script: a handler that would see it must pass it on."""
    caught = node.type.id if isinstance(node.type, ast.Name) else ""
    last = node.body[-1]
    passes_on = isinstance(last, ast.Raise) and last.exc is None
    if caught not in _CAUGHT and not (caught == "@anything" and passes_on):
        raise Refused(f"a handler of {caught or 'any error'}")
    if node.name is not None:
        _check_name(node.name, True)


def _check_call(node: ast.Call) -> None:
    """Only what has a name is called, or what stands in the box of a variable."""
    if node.keywords:
        raise Refused("keyword arguments")
    if not isinstance(node.func, ast.Name | ast.Subscript):
        raise Refused(f"a call of a {type(node.func).__name__}")


def _check_box(node: ast.Subscript) -> None:
    """Elements are read through helpers; a subscript is the box of a variable only."""
    boxed = isinstance(node.value, ast.Name) and node.value.id.startswith("v_")
    if not boxed or not isinstance(node.slice, ast.Constant) or node.slice.value != 0:
        raise Refused("a subscript that is no box")


def _check_function(node: ast.FunctionDef) -> None:
    if node.decorator_list or node.returns is not None:
        raise Refused("a decorated or annotated function")
    if node.name != "@main":
        _check_name(node.name, True)


def _check_name(name: str, stored: bool) -> None:
    if name.startswith("v_") or _is_local(name) or (name in _INJECTED and not stored):
        return
    raise Refused(f"the name {name!r}{' is assigned' if stored else ''}")


def _is_local(name: str) -> bool:
    """Names that the compiler itself uses as locals: temporaries, depth, loop step, rest, entry, pattern parameters."""
    if name in ("@d", "@_", "@rest", "@entry"):
        return True
    return name[:2] in ("@t", "@p") and name[2:].rstrip("e").isdecimal()


def _check_constant(value: object) -> None:
    if isinstance(value, tuple):
        for part in value:
            _check_constant(part)
    elif type(value) not in _PRIMITIVES:
        raise Refused(f"a constant of type {type(value).__name__}")


def verify_code(code: CodeType) -> None:
    """Refused for a name or constant that the finished code may not have, in any nested code object."""
    for name in code.co_names:
        if name not in _INJECTED:
            raise Refused(f"the global name {name!r} in {code.co_name}")
    for name in (*code.co_varnames, *code.co_freevars, *code.co_cellvars):
        if not (name.startswith("v_") or _is_local(name) or name == ".0"):
            raise Refused(f"the variable {name!r} in {code.co_name}")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            verify_code(constant)
        elif not _is_code_name(constant):
            _check_constant(constant)


def _is_code_name(constant: object) -> bool:
    return isinstance(constant, str)
