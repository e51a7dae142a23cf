"""A second, slow reading of the language reference: it walks the tree and shares nothing with the compiler, its
run-time values or its library. What both give must be the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aether_lang import nodes

from . import expressions as _expressions
from . import statements as _statements
from .library import library
from .values import Bag, Exhausted, Function, Mistake, Pattern, Raised, fail, text
from .walk import UNSET, Env, Returning, Walk, created, hoist

__all__ = ["Ending", "Exhausted", "functions", "interpret"]
_RULES = (_expressions, _statements)


@dataclass
class Ending:
    """How a program ended, what it printed and what it warned of (codes with lines, once each)."""

    result: Any = None
    error: tuple[str, int] | None = None
    lines: list[str] = field(default_factory=list)
    warnings: set[tuple[str, int]] = field(default_factory=set)


def interpret(module: nodes.Module) -> Ending:
    """Runs a module. `Exhausted` when it goes on for too long, or to where the page does not say what happens."""
    w, env = begun(module)
    ending = Ending(lines=w.lines, warnings=w.warnings)
    try:
        try:
            for statement in module.body:
                w.do(statement, env)
        except Returning as done:
            ending.result = data(done.value)
    except Raised as raised:
        ending.error = (raised.error.type, raised.error.line)
    return ending


def begun(module: nodes.Module) -> tuple[Walk, Env]:
    """A walk that stands before the first statement, and the names of the module."""
    w = Walk()
    w.globals = library(w)
    env = Env(whole=True)
    block = nodes.Block(module.body[0].span, module.body) if module.body else None
    for statement in module.body:
        if isinstance(statement, nodes.Assign) and statement.declare and isinstance(statement.target, nodes.Name):
            env.names[statement.target.name] = UNSET
    env.names |= dict.fromkeys(created(block, set(), None), UNSET) if block else {}
    hoist(module.body, env)
    return w, env


def functions(module: nodes.Module, **host: Callable[..., Any]) -> dict[str, Any]:
    """The functions of a module as Python callables; for measuring. `host` are functions by name, `__` for a dot."""
    w, env = begun(module)
    for name, function in host.items():
        dotted = name.replace("__", ".")
        w.globals[dotted] = Function(dotted, call=lambda args, named, f=function: f(*args, **named))  # type: ignore[misc]
    for statement in module.body:
        w.do(statement, env)

    def callable_of(f: Any) -> Any:
        def run(*args: Any) -> Any:
            w.steps = -(10**12)
            return w.call(f, list(args), {}, module.body[0])

        return run

    return {name: callable_of(f) for name, f in env.names.items()}


def data(value: Any) -> Any:
    """A result as it leaves the script."""
    if isinstance(value, list):
        return [data(one) for one in value]
    if isinstance(value, dict):
        return {k: data(v) for k, v in value.items()}
    if isinstance(value, Bag):
        return data(value.elements)
    if isinstance(value, Mistake):
        return {"type": value.type, "message": value.message}
    if isinstance(value, Pattern):
        return text(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise fail("ValueError", "a number beyond 64 bits cannot leave the script")
    return value
