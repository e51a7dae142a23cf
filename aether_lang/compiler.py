"""Typed tree to one Python code object through `ast` (language reference, 22): the whole module.

Values are made in `expressions`, statements and functions in `statements`, verb statements in `phrases`, plugins and
sections in `declarations`, intent blocks in `blocks`, steps in `flows`; each adds to the class before it.

The module becomes a function `@main`; each function, handler and lambda of the script a function inside it. Variables
are named `v_<name>`; whatever belongs to the runtime begins with `@`, which no name of a script can. No source text is
ever made, and `verifier` looks at the result before anyone may run it.
"""

import ast
import sys
import warnings
from collections.abc import Mapping
from types import CodeType
from typing import Any, Final

from . import nodes
from .compiled import Compiled
from .errors import refused
from .expressions import assign, call, const, load, locate
from .flows import Flows
from .scopes import Binding
from .verifier import verify_code, verify_tree

DEEPEST: Final = 20_000
"""Python frames the compiler may need for a tree as deep as the language allows."""


def compile_module(module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> bytes:
    """The compiled form of a checked module, for `program.run` and the cache of the hub. With a `session` it is an
    entry for `session.Session`, which has the names that entries before it have bound.

    AetherError where Python itself refuses the nesting: rules on errors add two blocks around a statement.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        compiler = Compiler(module, session)
        tree = ast.fix_missing_locations(compiler.build())
        verify_tree(tree)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's opinion of `1 is 1` is not about the script
                code = compile(tree, module.name, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 1
            rules = " for the rules on errors around it" if compiler._recovers else ", give it a function of its own"
            message = f"this nests too deep{rules}"
            raise refused(module.source, module.name, line, 1, message, "AE190") from None
        verify_code(code)
        return Compiled.dump(module.name, compiler.meta(code), code)
    finally:
        sys.setrecursionlimit(before)


def never_assigned(main: ast.FunctionDef) -> list[str]:
    """The variables that are read and that no code assigns: their assignment stands where the language runs nothing, as
    in a `where` of a verb that has no use for one. Python must be told that they are variables all the same."""
    missing: set[str] = set()
    functions: list[tuple[Any, frozenset[str]]] = [(main, frozenset())]
    while functions:
        function, around = functions.pop()
        read, stored, inner = _names_of(function)
        known = around | stored
        missing |= read - known
        functions.extend((one, known) for one in inner)
    return sorted(name for name in missing if name.startswith("v_"))


def _names_of(function: ast.FunctionDef | ast.Lambda) -> tuple[set[str], set[str], list[ast.FunctionDef | ast.Lambda]]:
    """What the function itself reads, what it makes, and the functions inside it."""
    read: set[str] = set()
    stored = {argument.arg for argument in function.args.args}
    inner: list[ast.FunctionDef | ast.Lambda] = []
    elsewhere: set[str] = set()
    work: list[ast.AST] = list(function.body) if isinstance(function, ast.FunctionDef) else [function.body]
    while work:
        node = work.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            inner.append(node)
            work.extend(node.args.defaults)
            stored.add(getattr(node, "name", ""))
            continue
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else stored).add(node.id)
        elif isinstance(node, ast.Nonlocal):
            elsewhere.update(node.names)
        work.extend(ast.iter_child_nodes(node))
    if function.args.vararg is not None:
        stored.add(function.args.vararg.arg)
    return read | elsewhere, stored - elsewhere, inner


class Compiler(Flows):
    """Makes the `ast` of one module."""

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """Resolves the names of the module."""
        super().__init__(module, session)
        self._is_entry = session is not None
        self._exports: list[str] = []

    def build(self) -> ast.Module:
        """The whole module: one function `@main`."""
        span = self.module.span
        self.frame.out = []
        self._results_exist()
        self._hoist(self.module.body)
        self._members()
        self._hoist_rules()
        for statement in self.module.body:
            self._top(statement)
        self._end_of_flows()
        arguments = ast.arguments([], [ast.arg("@d")], None, [], [], None, [])
        body = self._as_entry(arguments) if self._is_entry else self.frame.out
        main = ast.FunctionDef("@main", arguments, body or [ast.Pass()], [], None)
        unassigned = never_assigned(main)
        if unassigned:
            main.body.insert(0, ast.If(const(False), [assign(name, const(None)) for name in unassigned], []))
        locate(main, span)
        return ast.Module([main], [])

    def _as_entry(self, arguments: ast.arguments) -> list[ast.stmt]:
        """The code as a function of its own, inside one that has the names of the session as its variables."""
        shared = sorted(self.scopes.main.assigned)
        body: list[ast.stmt] = [ast.Nonlocal(shared)] if shared else []
        around: list[ast.stmt] = [assign(b.py, const(None)) for b in self.scopes.session.values()]
        entry = ast.FunctionDef("@entry", arguments, [*body, *self.frame.out] or [ast.Pass()], [], None)
        return [*around, entry, ast.Return(load("@entry"))]

    def meta(self, code: CodeType) -> dict[str, Any]:
        """What the runtime and the hub need to know beside the code."""
        used: set[str] = set()
        work = [code]
        while work:
            piece = work.pop()
            used.update(name for name in piece.co_names if name.startswith("@"))
            work.extend(constant for constant in piece.co_consts if isinstance(constant, CodeType))
        body = [s for s in self.module.body if not isinstance(s, nodes.HeaderFlag | nodes.Goal | nodes.Meta)]
        return {
            "globals": sorted(used),
            "plugins": self._plugins,
            "flags": self._flags,
            "policy": self._policy,
            **self._blocks_meta(),
            **({"session": self._names()} if self._is_entry else {}),
            **self._flows_meta(),
            "one_plugin": len(body) == 1 and isinstance(body[0], nodes.Plugin),
        }

    def _names(self) -> dict[str, tuple[bool, bool]]:
        """The names that the next entry finds: whether each is a constant, and whether it holds a future."""
        every = {**self.scopes.session, **self.scopes.main.root.bindings}
        return {name: (binding.const, binding.lazy) for name, binding in every.items()}

    def _members(self) -> None:
        """Tells the runtime how to read the names of the module."""
        root = self.scopes.main.root
        keys: list[ast.expr | None] = []
        readers: list[ast.expr] = []
        for name, binding in sorted(root.bindings.items()):
            keys.append(const(name))
            with self.collected() as before:
                value = self.read(binding)
            if before:
                readers.append(self._reader(binding, before, value))
            else:
                readers.append(ast.Lambda(ast.arguments([], [], None, [], [], None, []), value))
        for node in self.module.body:
            if isinstance(node, nodes.Export):
                self._exports += node.names
            elif isinstance(node, nodes.Function) and node.exported:
                self._exports.append(node.name)
        public = ast.Tuple([const(name) for name in self._exports], ast.Load())
        self._put(ast.Expr(call("@begin", ast.Dict(keys, readers), public)), self.module)

    def _reader(self, binding: Binding, before: list[ast.stmt], value: ast.expr) -> ast.expr:
        name = self.temp()
        arguments = ast.arguments([], [], None, [], [], None, [])
        self._put(ast.FunctionDef(name, arguments, [*before, ast.Return(value)], [], None), self.module)
        return load(name)
