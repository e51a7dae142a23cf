"""The walk over a tree: where names live, how a node finds its rule, how a function is called (sections 7 and 8)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aether_lang import nodes

from .values import Exhausted, Function, Mistake, Raised, fail, kind, read_element

UNSET: Any = object()
"""What a binding holds whose assignment was not reached."""
STEPS = 6000
DEPTH = 40


class Returning(Exception):
    """`return`."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Breaking(Exception):
    """`break`."""


class Continuing(Exception):
    """`continue`."""


@dataclass
class Env:
    """One level of names. `whole` marks that of a function or module, where assignments create names."""

    parent: "Env | None" = None
    whole: bool = False
    names: dict[str, Any] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def holder(self, name: str) -> "Env | None":
        env: Env | None = self
        while env is not None and name not in env.names:
            env = env.parent
        return env

    def assign(self, name: str, value: Any) -> None:
        """Updates the nearest binding; without one, creates it in the function."""
        env = self.holder(name)
        if env is None:
            env = self
            while not env.whole:
                assert env.parent is not None
                env = env.parent
        if name in env.constants:
            raise fail("ConstError", f"'{name}' is a constant")
        env.names[name] = value


Rule = Callable[["Walk", Any, Env], Any]
RULES: dict[type, Rule] = {}


def rule(*of: type) -> Callable[[Rule], Rule]:
    """Registers what is done at nodes of these types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(of, function))
        return function

    return register


class Walk:
    """One run: what it printed, what it warned of (code and line, once per place), how far it went."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: set[tuple[str, int]] = set()
        self.steps = 0
        self.depth = 0
        self.caught: list[Mistake] = []
        self.globals: dict[str, Any] = {}
        self.made: dict[int, set[str]] = {}
        """The names that each function creates, by its body."""

    def do(self, node: Any, env: Env) -> Any:
        """The value of an expression; what a statement does. An error gets the line of the innermost node."""
        try:
            return RULES[type(node)](self, node, env)
        except Raised as raised:
            raised.error.line = raised.error.line or node.span.line
            raise

    def warn(self, code: str, node: Any) -> None:
        self.warnings.add((code, node.span.line))

    def step(self) -> None:
        self.steps += 1
        if self.steps > STEPS:
            raise Exhausted

    def block(self, block: nodes.Block, env: Env) -> Any:
        """Runs a block in a scope of its own; the value is that of its last statement."""
        inner = Env(env)
        hoist(block.body, inner)
        value = None
        for statement in block.body:
            value = self.do(statement, inner)
        return value

    def call(self, f: Any, args: list[Any], named: dict[str, Any], node: Any, *, callback: bool = False) -> Any:
        """Calls a function of either kind; a callback's extra values are dropped."""
        if not isinstance(f, Function):
            raise fail("TypeError", f"a {kind(f)} is no function")
        if f.call is not None:
            return f.call(args[: f.most] if callback else args, named)
        self.step()
        self.depth += 1
        if self.depth > DEPTH:
            raise Exhausted
        try:
            env = Env(f.env, whole=True)
            self._bind(f, args, named, env, node, callback)
            return self._body(f, env)
        finally:
            self.depth -= 1

    def _bind(self, f: Function, args: list[Any], named: dict[str, Any], env: Env, node: Any, callback: bool) -> None:
        args, named = list(args), dict(named)
        for param in f.params:
            name = param.name
            if param.rest:
                env.names[name], args = args, []
            elif args:
                value = args.pop(0)
                if name in named and name:
                    raise fail("TypeError", f"two values for '{name}'")
                for at, one in enumerate(param.names):
                    env.names[one] = read_element(value, at)
                if not param.names:
                    env.names[name] = value
            elif name in named:
                env.names[name] = named.pop(name)
            elif param.default is not None:
                env.names[name] = self.do(param.default, env)
            else:
                if not callback:
                    self.warn("AW204", node)
                env.names.update(dict.fromkeys(param.names or (name,)))
        if named or (args and not callback):
            raise fail("TypeError", f"{f.name} takes no {next(iter(named), 'further argument')}")

    def _body(self, f: Function, env: Env) -> Any:
        made = self.made.get(id(f.body))
        if made is None:
            made = self.made[id(f.body)] = created(f.body, set(env.names), env.parent)
        env.names |= dict.fromkeys(made, UNSET)
        if not isinstance(f.body, nodes.Block):
            return self.do(f.body, env)
        try:
            self.block(f.body, env)
        except Returning as done:
            return done.value
        return None


def hoist(body: tuple[Any, ...], env: Env) -> None:
    """Binds the functions of a block before its first line."""
    for statement in body:
        if isinstance(statement, nodes.Function):
            env.names[statement.name] = Function(statement.name, statement.params, statement.body, env)


def created(body: Any, own: set[str], env: Env | None) -> set[str]:
    """The names that assignments without `let` create in a function: those that no binding in sight has."""
    found: set[str] = set()
    _look(body, [own], env, found)
    return found


def _look(node: Any, scopes: list[set[str]], env: Env | None, found: set[str]) -> None:
    if isinstance(node, nodes.Lambda | nodes.Function):
        return
    if isinstance(node, nodes.Block):
        functions = {one.name for one in node.body if isinstance(one, nodes.Function)}
        scopes = [*scopes, functions]
    if isinstance(node, nodes.For | nodes.Comprehension):
        scopes = [*scopes, set(node.names)]
    if isinstance(node, nodes.Catch) and node.name:
        scopes = [*scopes, {node.name}]
    for child in children(node):
        _look(child, scopes, env, found)
    if (isinstance(node, nodes.Assign) and node.declare) or isinstance(node, nodes.Define):
        scopes[-1].add(node.name if isinstance(node, nodes.Define) else node.target.name)  # type: ignore[union-attr]
    elif isinstance(node, nodes.Assign | nodes.ArrowStmt) and isinstance(node.target, nodes.Name):
        name = node.target.name
        if not any(name in scope for scope in scopes) and (env is None or env.holder(name) is None):
            found.add(name)


def children(node: Any) -> Iterator[Any]:
    for name in node.__struct_fields__ if isinstance(node, msgspec.Struct) else ():
        value = getattr(node, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, nodes.Node):
                yield one
