"""How arguments meet parameters: those of script functions, of the library and of the host."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any, Final

from . import host as outside
from .methods import METHODS, Method
from .values import ScriptError

CO_VARARGS: Final = 4


def parameter_names(f: FunctionType) -> list[str]:
    """The names of a script function's parameters, as the script wrote them."""
    code = f.__code__
    return [name.removeprefix("v_").partition("@")[0] for name in code.co_varnames[1 : code.co_argcount]]


def checked_call(name: str, function: Method, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """A function of the library with its arguments checked first: missing ones are null, others a TypeError."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    takes_names = bool(code.co_flags & 8)
    only_named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    hidden = 1
    if len(args) > len(names) and not code.co_flags & CO_VARARGS:
        raise ScriptError("TypeError", f"{name} takes {len(names) - hidden} arguments, got {len(args) - hidden}")
    for key in named:
        if (key not in names[hidden:] and key not in only_named and not takes_names) or key.startswith("_"):
            raise ScriptError("TypeError", f"{name} has no parameter '{key}'")
        if key in names[: len(args)]:
            raise ScriptError("TypeError", f"{name} got '{key}' twice")
    required = names[len(args) : len(names) - len(function.__defaults__ or ())]
    missing = {key: None for key in required if key not in named}
    return function(*args, **missing, **named)


def bound_args(name: str, row: outside.Operation, args: list[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a host function by the names of its parameters."""
    names = [p for p in row.parameters if p not in ("*", "**")]
    bound: dict[str, Any] = {}
    for parameter, value in zip(names, args, strict=False):
        bound[parameter.rstrip("?")] = value
    if "*" in row.parameters:
        bound["args"] = args[len(names) :]
    elif len(args) > len(names):
        raise ScriptError("TypeError", f"{name} takes {len(names)} arguments, got {len(args)}")
    known = {p.rstrip("?") for p in names}
    extra: dict[str, Any] = {}
    for key, value in named.items():
        if key in bound and key in known:
            raise ScriptError("TypeError", f"{name} got '{key}' twice")
        if key in known:
            bound[key] = value
        elif "**" in row.parameters:
            extra[key] = value
        else:
            raise ScriptError("TypeError", f"{name} has no parameter '{key}'")
    if "**" in row.parameters:
        bound["kwargs"] = extra
    for parameter in names:
        if not parameter.endswith("?"):
            bound.setdefault(parameter, None)
    return bound


def _arity(method: Method) -> tuple[int, int]:
    code = method.__code__
    most = 1_000_000 if code.co_flags & CO_VARARGS else code.co_argcount - 2
    return code.co_argcount - 2 - len(method.__defaults__ or ()), most


METHOD_ARITY: Final = {method: _arity(method) for table in METHODS.values() for method in table.values()}
"""How many arguments each method needs, and how many it takes."""
