"""Typed tree to one Python code object through `ast`: statements, functions, declarations (language reference, 22).

The module becomes a function `@main`; each function, handler and lambda of the script a function inside it. Variables
are named `v_<name>`; whatever belongs to the runtime begins with `@`, which no name of a script can. No source text is
ever made, and `verifier` looks at the result before anyone may run it.
"""

import ast
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final

from . import nodes
from .errors import AetherError, Diagnostic
from .expressions import Expressions, Frame, Sink, assign, attempt, call, const, load, locate
from .runtime import Compiled
from .scopes import Binding, BlockScope, FunctionScope, is_range, result_slot
from .verifier import verify_code, verify_tree

DEEPEST: Final = 20_000
"""Python frames the compiler may need for a tree as deep as the language allows."""
_LATER: Final[dict[Any, str]] = {
    nodes.PluginTemplate: "plugin templates",
    nodes.Require: "`require:` blocks",
    nodes.Workflow: "`workflow:` blocks",
    nodes.Parallel: "`parallel:` blocks",
    nodes.Transaction: "`transaction:` blocks",
    nodes.OnError: "`on_error:` rules",
    nodes.PluginContract: "`plugin_contract:` blocks",
    nodes.Item: "manifest items",
}
_POLICY: Final = frozenset({"strict", "strict_null", "unbound_calls", "unbound_names"})


def compile_module(module: nodes.Module) -> bytes:
    """The compiled form of a checked module, for `program.run` and the cache of the hub.

    AetherError for constructs this version does not run, and where Python itself refuses the nesting.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        compiler = Compiler(module)
        tree = ast.fix_missing_locations(compiler.build())
        verify_tree(tree)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's opinion of `1 is 1` is not about the script
                code = compile(tree, module.name, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 1
            raise _refused(module, line, 1, f"nested too deep to compile: {error}") from None
        verify_code(code)
        return Compiled.dump(module.name, compiler.meta(code), code)
    finally:
        sys.setrecursionlimit(before)


def _refused(module: nodes.Module, line: int, column: int, message: str) -> AetherError:
    lines = module.source.splitlines()
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    caret = "".join(c if c == "\t" else " " for c in source[: column - 1]) + "^"
    return AetherError([Diagnostic("check", "AE190", module.name, line, column, column + 1, message, source, caret)])


class Compiler(Expressions):
    """Makes the `ast` of one module."""

    def __init__(self, module: nodes.Module) -> None:
        """Resolves the names of the module."""
        super().__init__(module)
        self._exports: list[str] = []
        self._plugins: list[dict[str, Any]] = []
        self._flags: dict[str, Any] = {}
        self._policy: dict[str, Any] = {}

    def build(self) -> ast.Module:
        """The whole module: one function `@main`."""
        span = self.module.span
        self.frame.out = []
        self._hoist(self.module.body)
        self._members()
        for statement in self.module.body:
            self._statement(statement)
        arguments = ast.arguments([], [ast.arg("@d")], None, [], [], None, [])
        main = ast.FunctionDef("@main", arguments, self.frame.out or [ast.Pass()], [], None)
        locate(main, span)
        return ast.Module([main], [])

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
            "one_plugin": len(body) == 1 and isinstance(body[0], nodes.Plugin),
        }

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

    def _put(self, statement: ast.stmt, node: nodes.Node) -> None:
        locate(statement, node.span)
        self.emit(statement)

    # ------------------------------------------------------------ blocks

    def _block(self, node: nodes.Block) -> list[ast.stmt]:
        """The statements of a block, at least `pass`."""
        with self.collected() as out:
            self._block_here(node)
        return out or [self._pass(node)]

    def _block_here(self, node: nodes.Block) -> None:
        scope = self.scopes.blocks.get(id(node))
        if scope is not None:
            self._boxes(scope, node)
        self._hoist(node.body)
        for statement in node.body:
            self._statement(statement)

    def _pass(self, node: nodes.Node) -> ast.stmt:
        nothing = ast.Pass()
        locate(nothing, node.span)
        return nothing

    def _boxes(self, scope: BlockScope, node: nodes.Node) -> None:
        for binding in scope.bindings.values():
            if binding.boxed:
                self._put(assign(binding.py, ast.List([load("@unset_box")], ast.Load())), node)

    def _hoist(self, body: tuple[Any, ...]) -> None:
        """Functions, handlers and plugin blocks exist before the first statement of their block."""
        for node in body:
            if isinstance(node, nodes.Function | nodes.Handler):
                self._named_function(node)
                self._register(node)  # at once: a second handler of that name takes the name over
        for node in body:
            if isinstance(node, nodes.Plugin):
                self._plugin_functions(node)
        for node in body:
            if isinstance(node, nodes.Plugin):
                self._plugin_fields(node)

    def _statement(self, node: Any) -> None:
        name = type(node)
        if name in _LATER:
            raise self._later(node, _LATER[name])
        method: Callable[[Any], None] | None = getattr(self, "_do_" + name.__name__.lower(), None)
        if method is None:
            raise self._later(node, f"a statement of the kind {name.__name__}")
        mark = len(self.frame.out)
        method(node)
        for statement in self.frame.out[mark:]:
            locate(statement, node.span)

    def _later(self, node: nodes.Node, what: str) -> AetherError:
        return _refused(self.module, node.span.line, node.span.column, f"not available yet: {what}")

    # ------------------------------------------------------------ assignment

    def _do_exprstmt(self, node: nodes.ExprStmt) -> None:
        binding = self.scopes.names.get(id(node.value)) if isinstance(node.value, nodes.Name) else None
        if binding is not None and isinstance(binding.declared, nodes.Handler):
            fired = call("@run_handler", load("@d"), self.read(binding), call("@ambient", const("event_data")))
            self._put(ast.Expr(fired), node)
            return
        value = self.expr(node.value)
        if not isinstance(value, ast.Constant | ast.Name):
            self._put(ast.Expr(value), node)

    def _do_assign(self, node: nodes.Assign) -> None:
        if node.op != "=":
            self._augment(node)
        elif node.value is None:
            self.assign_to(node.target, const(None), node)
        elif isinstance(node.target, nodes.Name):
            self._check_const(node)
            self.into(node.value, lambda: self._target_sink(node.target))
        else:
            self.assign_to(node.target, None, node, node.value)

    def _check_const(self, node: nodes.Assign) -> None:
        binding = self.scopes.names[id(node.target)] if isinstance(node.target, nodes.Name) else None
        if binding is not None and binding.const and node.declare is None:
            self._put(ast.Expr(call("@constant", const(binding.name))), node)

    def _target_sink(self, target: Any) -> Sink:
        binding = self.scopes.names.get(id(target))
        if binding is None:
            binding = self.scopes.find(target.name, self.frame.scope.root)
            assert binding is not None
        return self.written(binding)

    def _augment(self, node: nodes.Assign) -> None:
        assert node.value is not None
        combined = nodes.Binary(node.span, node.op[0], node.target, node.value)  # type: ignore[arg-type]
        if isinstance(node.target, nodes.Name):
            self._check_const(node)
            self._keep(combined)
            self.into(combined, lambda: self._target_sink(node.target))
            return
        owner, place = self._owner(node.target)
        value = self.kept(self.expr(node.value))
        result = self.combine(self.kept(self._stored(node.target, owner, place)), value, combined)
        self._store(node.target, owner, place, result, node)

    def _keep(self, node: nodes.Node) -> None:
        """Keeps a node made here alive: the walk's results go by identity."""
        self.scopes._keep.append(node)

    def _owner(self, target: Any) -> tuple[ast.expr, ast.expr]:
        if isinstance(target, nodes.Field):
            return self.kept(self.expr(target.value)), const(target.name)
        owner, index = self.operands(target.value, target.index)
        return self.kept(owner), self.kept(index)

    def _stored(self, target: Any, owner: ast.expr, place: ast.expr) -> ast.expr:
        return call("@field" if isinstance(target, nodes.Field) else "@element", owner, place)

    def _store(self, target: Any, owner: ast.expr, place: ast.expr, value: ast.expr, node: nodes.Node) -> None:
        root = target
        while isinstance(root, nodes.Field | nodes.Index):
            root = root.value
        binding = self.scopes.names.get(id(root)) if isinstance(root, nodes.Name) else None
        if binding is not None and binding.const and binding.name == "config":
            self._put(ast.Expr(call("@constant", const("config"))), node)
        helper = "@set_field" if isinstance(target, nodes.Field) else "@set_element"
        self._put(ast.Expr(call(helper, owner, place, value)), node)

    def assign_to(self, target: Any, value: ast.expr | None, node: nodes.Node, source: Any = None) -> None:
        """Assigns a value that is there, or that of the node `source`, evaluated after the target's own parts."""
        if isinstance(target, nodes.Name):
            assert value is not None
            self._put(self._target_sink(target)(value), node)
            return
        if value is not None:
            value = self.kept(value)
        owner, place = self._owner(target)
        self._store(target, owner, place, value if value is not None else self.kept(self.expr(source)), node)

    def _poststep(self, node: nodes.PostStep) -> ast.expr:
        one = nodes.Number(node.span, 1, "1")
        step = nodes.Binary(node.span, "+" if node.op == "++" else "-", node.target, one)
        self._keep(step)
        if isinstance(node.target, nodes.Name):
            binding = self.scopes.names[id(node.target)]
            assert binding is not None
            name = self.temp()
            self._put(assign(name, self.read(binding)), node)
            new = self.combine(load(name), const(1), step)
            self._put(self.written(binding)(new), node)
            return load(name)
        owner, place = self._owner(node.target)
        old = self.kept(self._stored(node.target, owner, place))
        self._store(node.target, owner, place, self.combine(old, const(1), step), node)
        return old

    def _do_define(self, node: nodes.Define) -> None:
        binding = self.scopes.names[id(node)]
        assert binding is not None
        self.into(node.value, lambda: self.written(binding))

    # ------------------------------------------------------------ control

    def _do_if(self, node: nodes.If) -> None:
        with self._restored():
            self._branches(node.branches, node.otherwise, node)

    @contextlib.contextmanager
    def _restored(self) -> Iterator[None]:
        before, out = set(self.frame.assigned), self.frame.out
        yield
        self.frame.assigned, self.frame.out = before, out

    def _branches(self, branches: tuple[nodes.Branch, ...], otherwise: nodes.Block | None, node: nodes.Node) -> None:
        """A chain of ifs, each test evaluated only when those before it failed."""
        first, rest = branches[0], branches[1:]
        if not rest and otherwise is None and self._guard_clause(first):
            return
        test = self.expr(first.condition)
        chosen = ast.If(test, self._block(first.body), [])
        self._put(chosen, first)
        self.frame.out = chosen.orelse
        if rest:
            self._branches(rest, otherwise, node)
        elif otherwise is not None:
            chosen.orelse = self._block(otherwise)

    def _guard_clause(self, branch: nodes.Branch) -> bool:
        """`if a < b { return x }` with nothing that could fail in it: test and exit in one `try`, so that both fuse."""
        body = branch.body.body
        if len(body) != 1 or not isinstance(body[0], nodes.Return | nodes.Break | nodes.Continue):
            return False
        pure = self.pure(branch.condition)
        if pure is None or pure.certain:
            return False
        leave: ast.stmt
        if isinstance(body[0], nodes.Return):
            value = None if body[0].value is None else self.pure(body[0].value)
            if body[0].value is not None and (value is None or not isinstance(value.fast, ast.Name | ast.Constant)):
                return False
            leave = ast.Return(const(None) if value is None else value.fast)
        else:
            leave = ast.Break() if isinstance(body[0], nodes.Break) else ast.Continue()
        locate(leave, body[0].span)
        self._put(attempt(ast.If(pure.fast, [leave], []), [ast.If(pure.slow, [leave], [])], "@type_error"), branch)
        return True

    def _do_while(self, node: nodes.While) -> None:
        loop = ast.For(ast.Name("@_", ast.Store()), load("@fuel"), [], [])
        self._put(loop, node)
        self.frame.loops += 1
        with self.collected() as out:
            pure = self.pure(node.condition)
            leave: ast.stmt = ast.Break()
            if pure is not None and not pure.certain:
                test = ast.If(pure.fast, [ast.Pass()], [leave])
                self._put(attempt(test, [ast.If(pure.slow, [ast.Pass()], [leave])], "@type_error"), node.condition)
            else:
                value = pure.fast if pure is not None else self.expr(node.condition)
                if not (isinstance(value, ast.Constant) and value.value):
                    self._put(ast.If(ast.UnaryOp(ast.Not(), value), [leave], []), node.condition)
            self._block_here(node.body)
        self.frame.loops -= 1
        loop.body = out or [self._pass(node)]

    def _do_for(self, node: nodes.For) -> None:
        scope = self.scopes.blocks[id(node)]
        variables = [scope.bindings[name] for name in node.names]
        source = node.iterable
        if len(variables) == 1 and is_range(self.scopes, source):
            assert isinstance(source, nodes.Call)
            walked: ast.expr = call("@range", *self.operands(*(arg.value for arg in source.args)))
        else:
            walked = self.expr(source)
        self.each_round(node, walked, variables, lambda: self._block_here(node.body))

    def _do_break(self, node: nodes.Break) -> None:
        self._put(ast.Break(), node)

    def _do_continue(self, node: nodes.Continue) -> None:
        self._put(ast.Continue(), node)

    def _do_match(self, node: nodes.Match) -> None:
        with self._restored():
            subject = self.kept(self.expr(node.subject))
            for case in node.cases:
                hit = self.temp()
                self._case_test(case, subject, hit)
                chosen = ast.If(load(hit), self._block(case.body), [])
                self._put(chosen, case)
                self.frame.out = chosen.orelse
            if node.default is not None:
                self.frame.out.extend(self._block(node.default))

    def _case_test(self, case: nodes.Case, subject: ast.expr, hit: str) -> None:
        outside = self.frame.out
        for n, value in enumerate(case.values):
            if n:
                again = ast.If(ast.UnaryOp(ast.Not(), load(hit)), [], [])
                self._put(again, value)
                self.frame.out = again.body
            self._put(assign(hit, call("@eq", subject, self.expr(value))), value)
        self.frame.out = outside
        if case.guard is not None:
            held = ast.If(load(hit), [], [])
            self._put(held, case.guard)
            self.frame.out = held.body
            self._put(assign(hit, self.expr(case.guard)), case.guard)
            self.frame.out = outside

    def _do_try(self, node: nodes.Try) -> None:
        body = self._block(node.body)
        handlers: list[ast.ExceptHandler] = []
        if node.catches:
            error, value = self.temp() + "e", self.temp()
            handler = ast.ExceptHandler(load("@catchable"), error, [assign(value, call("@caught", load(error)))])
            self.frame.errors.append(value)
            tail = handler.body
            for catch in node.catches:
                tail = self._catch(catch, value, tail)
            self.frame.errors.pop()
            if any(True for catch in node.catches if catch.type is not None) and tail is not handler.body:
                tail.append(ast.Raise(None, None))
            handlers.append(handler)
        final = self._block(node.final) if node.final is not None else []
        self._put(ast.Try(body, handlers, [], final), node)

    def _catch(self, node: nodes.Catch, value: str, tail: list[ast.stmt]) -> list[ast.stmt]:
        """Adds a clause to the chain; gives where the next one goes, a list of no use once everything is caught."""
        scope = self.scopes.blocks[id(node)]
        with self.collected() as body:
            self._boxes(scope, node)
            if node.name is not None:
                self._put(self.written(scope.bindings[node.name])(load(value)), node)
            self._block_here(node.body)
        if node.type is None or node.type in ("Exception", "Error", "any"):
            tail.extend(body or [self._pass(node)])
            return []
        chosen = ast.If(call("@is_error", load(value), const(node.type)), body or [self._pass(node)], [])
        locate(chosen, node.span)
        tail.append(chosen)
        return chosen.orelse

    def _do_throw(self, node: nodes.Throw) -> None:
        if node.value is None and self.frame.errors:
            value: ast.expr = load(self.frame.errors[-1])
        else:
            value = const("throw without a value outside a catch") if node.value is None else self.expr(node.value)
        self._put(ast.Raise(call("@thrown", value), None), node)

    def _do_return(self, node: nodes.Return) -> None:
        if node.value is None:
            self._put(ast.Return(const(None)), node)
        else:
            self.into(node.value, lambda: ast.Return)

    def _do_when(self, node: nodes.When) -> None:
        self._do_if(nodes.If(node.span, (nodes.Branch(node.span, node.condition, node.body),), None))

    def _do_wait(self, node: nodes.Wait) -> None:
        self._put(ast.Expr(call("@job:wait", self.expr(node.duration))), node)

    def _do_awaitvalues(self, node: nodes.AwaitValues) -> None:
        for value in self.operands(*node.values):
            self._put(ast.Expr(call("@awaited", value)), node)

    def _do_awaitevent(self, node: nodes.AwaitEvent) -> None:
        values = self.operands(node.subject, node.duration or nodes.Null(node.span))
        result = call("@park", const(node.kind), *values)
        if node.target is None:
            self._put(ast.Expr(result), node)
        else:
            self.assign_to(node.target, result, node)

    # ------------------------------------------------------------ functions

    def _named_function(self, node: nodes.Function | nodes.Handler, block: str = "") -> None:
        """`block` is the plugin block whose `init` comes before the function's first call."""
        binding = self.scopes.names[id(node)]
        assert binding is not None

        def body() -> None:
            if block:
                self._put(ast.Expr(call("@enter", load("@d"), const(block))), node)
            self._block_here(node.body)

        if binding.boxed:
            name = self.temp()
            self._function(name, node, node.params, body)
            self._put(self.written(binding)(load(name)), node)
        else:
            self._function(binding.py, node, node.params, body)
            self.frame.assigned.add(binding)

    def _function(self, name: str, node: nodes.Node, params: tuple[nodes.Param, ...], body: Callable[[], None]) -> None:
        """A Python function: hidden depth first, fuel and depth drawn at its entry, then defaults, then the body."""
        scope = self.scopes.functions[id(node)]
        outer, self.frame = self.frame, Frame(scope, set(self.frame.assigned))
        self._enter(node)
        args, defaults, rest = self._params(params, scope, node)
        body()
        frame, self.frame = self.frame, outer
        shared = sorted(b.py for b in scope.assigned.values() if not b.boxed)
        if shared:
            frame.out.insert(0, ast.Nonlocal(shared))
        boxes = sorted(scope.boxes)
        arguments = ast.arguments(
            [], args, rest, [ast.arg(box) for box in boxes], [load(box) for box in boxes], None, defaults
        )
        self._put(ast.FunctionDef(name, arguments, frame.out, [], None), node)

    def _enter(self, node: nodes.Node) -> None:
        self._put(ast.For(ast.Name("@_", ast.Store()), load("@fuel"), [ast.Break()], []), node)
        deeper = ast.Tuple([ast.Name("@d", ast.Store())], ast.Store())
        self._put(ast.Assign([deeper], load("@d")), node)

    def _params(
        self, params: tuple[nodes.Param, ...], scope: FunctionScope, node: nodes.Node
    ) -> tuple[list[ast.arg], list[ast.expr], ast.arg | None]:
        args: list[ast.arg] = [ast.arg("@d")]
        defaults: list[ast.expr] = []
        rest: ast.arg | None = None
        for n, param in enumerate(params):
            binding = scope.root.bindings[(param.names or (param.name,))[0]]
            if param.rest:
                rest = ast.arg("@rest")
                self._put(self.written(binding)(call("@list", load("@rest"))), param)
                continue
            name = f"@p{n}" if param.names else binding.py
            args.append(ast.arg(name))
            if param.default is not None or defaults:
                defaults.append(self._default(param, name))
            if param.names:
                targets: list[ast.expr] = [ast.Name(scope.root.bindings[x].py, ast.Store()) for x in param.names]
                taken = call("@taken_apart", load(name), const(len(targets)))
                self._put(ast.Assign([ast.Tuple(targets, ast.Store())], taken), param)
            self.frame.assigned.update(scope.root.bindings[x] for x in param.names or (param.name,))
        return args, defaults, rest

    def _default(self, param: nodes.Param, name: str) -> ast.expr:
        """A literal stands in the signature; anything else is computed at each call that needs it."""
        default = param.default
        if default is None:
            return const(None)
        if isinstance(default, nodes.Number | nodes.Text | nodes.Bool):
            return const(default.value)
        if isinstance(default, nodes.Null):
            return const(None)
        with self.collected() as out:
            self.into(default, lambda: lambda value: assign(name, value))
        self._put(ast.If(ast.Compare(load(name), [ast.Is()], [load("@absent")]), out, []), param)
        return load("@absent")

    def _lambda(self, node: nodes.Lambda) -> ast.expr:
        name = self.temp()

        def body() -> None:
            if isinstance(node.body, nodes.Block):
                self._block_here(node.body)
            elif isinstance(node.body, nodes.Assign):
                self._do_assign(node.body)
                self._put(ast.Return(self.expr(node.body.target)), node)
            else:
                self.into(node.body, lambda: ast.Return)

        self._function(name, node, node.params, body)
        return load(name)

    def _ifexpr(self, node: nodes.IfExpr) -> ast.expr:
        result = self.temp()
        self._put(assign(result, const(None)), node)
        with self._restored():
            for branch in node.branches:
                chosen = ast.If(self.expr(branch.condition), self._valued(branch.body, result), [])
                self._put(chosen, branch)
                self.frame.out = chosen.orelse
            if isinstance(node.otherwise, nodes.Block):
                self.frame.out.extend(self._valued(node.otherwise, result))
            elif node.otherwise is not None:
                self.into(node.otherwise, lambda: lambda value: assign(result, value))
        return load(result)

    def _valued(self, block: nodes.Block, result: str) -> list[ast.stmt]:
        """A block whose last expression statement is its value."""
        last = block.body[-1] if block.body else None
        if not isinstance(last, nodes.ExprStmt):
            return self._block(block)
        with self.collected() as out:
            scope = self.scopes.blocks[id(block)]
            self._boxes(scope, block)
            self._hoist(block.body)
            for statement in block.body[:-1]:
                self._statement(statement)
            self.into(last.value, lambda: lambda value: assign(result, value))
        return out

    def _do_function(self, _node: nodes.Function) -> None:
        """Hoisted already."""

    _do_handler = _do_function
    _do_export = _do_function

    # ------------------------------------------------------------ phrases

    def _guards(self, slots: tuple[Any, ...]) -> list[nodes.SlotGuard]:
        return [slot for slot in slots if isinstance(slot, nodes.SlotGuard) and slot.word != "where"]

    def _guarded(self, guards: list[nodes.SlotGuard], node: nodes.Node) -> contextlib.AbstractContextManager[None]:
        """What is emitted inside happens only when all guards hold."""
        return self._inside(guards, node)

    @contextlib.contextmanager
    def _inside(self, guards: list[nodes.SlotGuard], node: nodes.Node) -> Iterator[None]:
        with self._restored() if guards else contextlib.nullcontext():
            for guard in guards:
                if guard.condition is None:
                    continue
                test = self.expr(guard.condition)
                if guard.word == "unless":
                    test = ast.UnaryOp(ast.Not(), test)
                held = ast.If(test, [], [])
                self._put(held, guard)
                self.frame.out = held.body
            yield
            if guards and not self.frame.out:
                self._put(ast.Pass(), node)

    def _slots(self, phrase: nodes.VerbPhrase) -> ast.expr:
        """The slots as a list of (kind, name, value), evaluated in order."""
        result = result_slot(phrase)
        rows: list[tuple[str, str, Any]] = []
        for slot in phrase.slots:
            if isinstance(slot, nodes.SlotExpr):
                kind = "call" if isinstance(slot.value, nodes.Call | nodes.MethodCall) else "value"
                rows.append((kind, "", slot.value))
            elif isinstance(slot, nodes.SlotWord):
                rows.append(("word", "", nodes.Text(slot.span, slot.text)))
            elif isinstance(slot, nodes.SlotPrep) and slot.value is not result:
                rows.append(("prep", slot.prep, slot.value or nodes.Null(slot.span)))
            elif isinstance(slot, nodes.SlotKey):
                rows.append(("key", slot.key, slot.value))
            elif isinstance(slot, nodes.SlotGuard) and slot.word == "where" and slot.condition is not None:
                rows.append(("where", "", slot))
        for _, _, value in rows:
            self._keep(value)
        values = self.operands(*(value for _, _, value in rows))
        pieces: list[ast.expr] = [
            ast.Tuple([const(kind), const(name), value], ast.Load())
            for (kind, name, _), value in zip(rows, values, strict=True)
        ]
        return ast.List(pieces, ast.Load())

    def _slotguard(self, node: nodes.SlotGuard) -> ast.expr:
        """The condition of `where` as a function of the entry."""
        name = self.temp()
        scope = self.scopes.functions[id(node)]
        outer, self.frame = self.frame, Frame(scope, set(self.frame.assigned))
        self._enter(node)
        self.into(node.condition, lambda: ast.Return)
        frame, self.frame = self.frame, outer
        boxes = sorted(scope.boxes)
        arguments = ast.arguments(
            [],
            [ast.arg("@d"), ast.arg("@entry")],
            None,
            [ast.arg(b) for b in boxes],
            [load(b) for b in boxes],
            None,
            [],
        )
        self._put(ast.FunctionDef(name, arguments, frame.out, [], None), node)
        return load(name)

    def _verbphrase(self, node: nodes.VerbPhrase) -> ast.expr:
        result = self.temp()
        self._put(assign(result, const(None)), node)
        if node.verb:
            self._phrase(node, result, None, node)
        else:
            first = node.slots[0]
            assert isinstance(first, nodes.SlotExpr)
            self._call_phrase(first.value, node.slots[1:], result, node)
        return load(result)

    def _phrase(self, phrase: nodes.VerbPhrase, result: str, body: nodes.Block | None, node: nodes.Node) -> None:
        """Runs the verb into `result`, under its guards, and binds what the phrase binds."""
        from_block = body is not None and phrase.base in ("remember", "store", "emit", "run", "save")
        with self._guarded(self._guards(phrase.slots), node):
            payload = self._record(body, phrase) if from_block and body is not None else None
            if payload is not None:
                payload = self.kept(payload)
            done = self.verb(phrase.verb, phrase.base, self._slots(phrase), phrase.text, payload)
            self._put(assign(result, done), node)
            bound = result_slot(phrase)
            if bound is not None:
                self.assign_to(bound, load(result), node)
            for slot in phrase.slots:
                if isinstance(slot, nodes.SlotArrow):
                    self.assign_to(slot.target, load(result), node)
            if body is not None and not from_block:
                self.frame.out.extend(self._block(body))

    def _do_verbstmt(self, node: nodes.VerbStmt) -> None:
        if node.phrase.base == "simulate":
            raise self._later(node, "`simulate` blocks")
        self._phrase(node.phrase, self.temp(), node.body, node)

    def _do_callstmt(self, node: nodes.CallStmt) -> None:
        self._call_phrase(node.call, node.slots, self.temp(), node)

    def _call_phrase(self, target: Any, slots: tuple[Any, ...], result: str, node: nodes.Node) -> None:
        """A call that goes on as a phrase, into `result`: prepositions and keys become keyword arguments."""
        with self._guarded(self._guards(slots), node):
            extra = [
                nodes.Arg(slot.span, slot.value, slot.prep if isinstance(slot, nodes.SlotPrep) else slot.key)
                for slot in slots
                if isinstance(slot, nodes.SlotPrep | nodes.SlotKey) and slot.value is not None
            ]
            if isinstance(target, nodes.Call):
                target = nodes.Call(target.span, target.function, (*target.args, *extra), target.safe, target.effect)
            elif isinstance(target, nodes.MethodCall):
                target = nodes.MethodCall(
                    target.span, target.receiver, target.method, (*target.args, *extra), target.safe, target.effect
                )
            self._keep(target)
            self._put(assign(result, self.expr(target)), node)
            for slot in slots:
                if isinstance(slot, nodes.SlotArrow):
                    self.assign_to(slot.target, load(result), node)

    def _do_arrowstmt(self, node: nodes.ArrowStmt) -> None:
        with self._guarded([node.guard] if node.guard is not None else [], node):
            value = self.expr(node.value)
            if node.target is not None:
                self.assign_to(node.target, value, node)
            else:
                self._put(ast.Expr(value), node)

    def _do_message(self, node: nodes.Message) -> None:
        with self._guarded(self._guards(node.phrase.slots), node):
            slots = self._slots(node.phrase)
            sent = call("@message", const(node.to), const(node.phrase.verb), slots, const(node.phrase.text))
            self._put(ast.Expr(sent), node)
            if node.body is not None:
                self.frame.out.extend(self._block(node.body))

    def _textphrase(self, node: nodes.TextPhrase) -> ast.expr:
        return const(node.text)

    def _barecomparison(self, node: nodes.BareComparison) -> ast.expr:
        return ast.Dict([const("op"), const("value")], [const(node.op), self.expr(node.value)])

    # ------------------------------------------------------------ modules

    def _do_use(self, node: nodes.Use) -> None:
        self.assign_to(nodes.Name(node.span, node.name), call("@module", const(node.path)), node)

    def _do_fromimport(self, node: nodes.FromImport) -> None:
        for name in node.names:
            self.assign_to(nodes.Name(node.span, name), call("@imported", const(node.path), const(name)), node)

    # ------------------------------------------------------------ declarations

    def _register(self, node: nodes.Function | nodes.Handler) -> None:
        if isinstance(node, nodes.Function) or node.event is None:
            return
        binding = self.scopes.names[id(node)]
        assert binding is not None
        self._put(ast.Expr(call("@handler", const(node.event), self.read(binding))), node)

    def _plugin_functions(self, node: nodes.Plugin) -> None:
        before, self.unit = self.unit, node.name
        framing = {"init", "cleanup"} & {member.name for member in members(node)}
        for member in members(node):
            self._named_function(member, node.name if framing and member.name not in ("init", "cleanup") else "")
            self._register(member)
        self.unit = before

    def _plugin_fields(self, node: nodes.Plugin) -> None:
        """Config, state and self; then the name of the block and its handlers."""
        scope = self.scopes.blocks[id(node)]
        binding = self.scopes.names[id(node)]
        assert binding is not None
        before, self.unit = self.unit, node.name
        null = nodes.Null(node.span)
        config = call("@configured", self.expr(node.config or null))
        self._put(self.written(scope.bindings["config"])(config), node)
        state = self.expr(node.state) if node.state is not None else ast.Dict([], [])
        self._put(self.written(scope.bindings["state"])(state), node)
        keys: list[ast.expr | None] = [const("name"), const("kind")]
        values: list[ast.expr] = [const(node.name), const(node.kind)]
        parts: tuple[nodes.Entry | nodes.Section, ...] = (*node.fields, *node.sections)
        for part in parts:
            key = part.key if isinstance(part, nodes.Entry) else part.name
            keys.append(const(key))
            values.append(self.kept(self._field_value(part)))
            field = scope.bindings.get(key)
            if field is not None and field.declared is None and key not in ("self", "config", "state"):
                self._put(self.written(field)(values[-1]), node)
        for name in ("config", "state"):
            keys.append(const(name))
            values.append(self.read(scope.bindings[name]))
        self._put(self.written(scope.bindings["self"])(ast.Dict(keys, values)), node)
        functions = [(m.name, self.scopes.names[id(m)]) for m in members(node)]
        table = ast.Dict([const(name) for name, _ in functions], [self.read(b) for _, b in functions if b is not None])
        declared = call("@plugin", const(node.name), self.read(scope.bindings["self"]), table)
        self._put(self.written(binding)(declared), node)
        for timer in node.timers:
            self._do_timer(timer)
        self.unit = before
        self._plugins.append(self._plugin_meta(node))

    def _field_value(self, part: nodes.Entry | nodes.Section) -> ast.expr:
        if isinstance(part, nodes.Section):
            return self._section_value(part)
        if part.key == "capabilities" and isinstance(part.value, nodes.ListExpr):
            # words of 18.3, not fields of variables
            return ast.List([const(literal(word)) for word in part.value.elements], ast.Load())
        return self._entry_value(part)

    def _plugin_meta(self, node: nodes.Plugin) -> dict[str, Any]:
        """What the hub must know of a block without running it: literal fields and the names of its functions."""
        fields = {entry.key: plain for entry in node.fields if (plain := literal(entry.value)) is not None}
        return {
            "name": node.name,
            "kind": node.kind,
            "line": node.span.line,
            "fields": fields,
            "functions": [member.name for member in node.functions],
            "handlers": [[handler.name, handler.event] for handler in node.handlers],
        }

    def _do_plugin(self, node: nodes.Plugin) -> None:
        before, self.unit = self.unit, node.name
        self._hoist(node.statements)
        for statement in node.statements:
            self._statement(statement)
        self.unit = before

    def _do_timer(self, node: nodes.Timer) -> None:
        name = self.temp()
        self._function(name, node, (), lambda: self._block_here(node.body))
        self._put(ast.Expr(call("@timer", const(node.text), load(name))), node)

    def _do_command(self, node: nodes.Command) -> None:
        name = self.temp()
        self._function(name, node, node.inputs, lambda: self._block_here(node.body))
        self._put(ast.Expr(call("@command", const(node.word), load(name))), node)

    def _do_exposecommand(self, node: nodes.ExposeCommand) -> None:
        binding = self.scopes.find(node.handler, self.scopes.main.root)
        value = self.read(binding) if binding is not None else call("@unbound", const(node.handler))
        self._put(ast.Expr(call("@command", const(node.word), value)), node)

    def _do_section(self, node: nodes.Section) -> None:
        binding = self.scopes.names.get(id(node))
        assert binding is not None
        self._put(self.written(binding)(self._section_value(node)), node)

    def _section_value(self, node: nodes.Section) -> ast.expr:
        """Entries and nested sections as a dict; what else stands in it runs in order."""
        self._hoist(node.body.body)
        return self._record(node.body, node)

    def _record(self, block: nodes.Block, node: nodes.Node) -> ast.expr:
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for statement in block.body:
            if isinstance(statement, nodes.Entry):
                keys.append(const(statement.key))
                values.append(self.kept(self._entry_value(statement)))
            elif isinstance(statement, nodes.Section):
                keys.append(const(statement.name))
                values.append(self.kept(self._section_value(statement)))
            elif isinstance(statement, nodes.HeaderFlag) and statement.value is not None:
                keys.append(const(statement.key))
                values.append(self.kept(self.expr(statement.value)))
            elif isinstance(statement, nodes.Assign) and isinstance(statement.target, nodes.Name) and statement.colon:
                self._statement(statement)
                keys.append(const(statement.target.name))
                values.append(self.kept(self.expr(statement.target)))
            elif not isinstance(statement, nodes.Function | nodes.Handler):
                self._statement(statement)
        for emitted in self.frame.out[-3:]:
            locate(emitted, node.span)
        return ast.Dict(keys, values)

    def _entry_value(self, entry: nodes.Entry) -> ast.expr:
        if entry.value is not None:
            return self.expr(entry.value)
        if entry.body is None:
            return const(None)
        items = [statement for statement in entry.body.body if isinstance(statement, nodes.Item)]
        if items and len(items) == len(entry.body.body):
            return ast.List([self.kept(self._item_value(item)) for item in items], ast.Load())
        return self._record(entry.body, entry)

    def _item_value(self, item: nodes.Item) -> ast.expr:
        content = item.content
        if isinstance(content, nodes.ExprStmt) and item.body is None:
            return self.expr(content.value)
        if isinstance(content, nodes.Entry):
            rest = item.body.body if item.body is not None else ()
            return self._record(nodes.Block(item.span, (content, *rest)), item)
        raise self._later(item, "an item of this form as data")

    def _do_entry(self, node: nodes.Entry) -> None:
        """Data that nothing reads: its value is evaluated for what it does."""
        value = self._entry_value(node)
        if not isinstance(value, ast.Constant | ast.Name):
            self._put(ast.Expr(value), node)

    def _do_goal(self, node: nodes.Goal) -> None:
        parts = [part or nodes.Null(node.span) for part in (node.title, node.priority, node.deadline, node.metrics)]
        goal = self.temp()
        self._put(assign(goal, call("@note_goal", *self.operands(*parts))), node)
        if node.body is None:
            return
        failed = [ast.Expr(call("@end_goal", load(goal), const("failed"))), ast.Raise(None, None)]
        body = [*self._block(node.body), ast.Expr(call("@end_goal", load(goal), const("completed")))]
        self._put(ast.Try(body, [ast.ExceptHandler(load("@catchable"), None, failed)], [], []), node)

    def _do_headerflag(self, node: nodes.HeaderFlag) -> None:
        if node.key == "memory" and isinstance(node.value, nodes.Call | nodes.MethodCall):
            self._put(ast.Expr(call("@memory_scope", self.expr(node.value))), node)
            return
        plain = literal(node.value)
        self._flags[node.key] = (
            plain
            if not node.options
            else {
                "value": plain,
                **{option.key: literal(option.value) for option in node.options},
            }
        )

    def _do_pluginline(self, node: nodes.PluginLine) -> None:
        if isinstance(node.target, nodes.Call):
            self._put(ast.Expr(call("@keep", self.expr(node.target))), node)
            return
        phrase = nodes.VerbPhrase(node.span, "plugin", "plugin", node.args, node.text)
        values = self.operands(*(s.value for s in phrase.slots if isinstance(s, nodes.SlotExpr)))
        name = dotted(node.target)
        target = const(name) if name is not None else self.expr(node.target)
        self._put(ast.Expr(call("@plugin_line", target, ast.List(values, ast.Load()))), node)

    def _do_meta(self, node: nodes.Meta) -> None:
        self._flags["meta"] = {entry.key: literal(entry.value) for entry in node.entries}

    def _do_policy(self, node: nodes.Policy) -> None:
        for entry in node.entries:
            if entry.key not in _POLICY:
                raise self._later(entry, f"the policy '{entry.key}'")
            self._policy[entry.key] = literal(entry.value)


def members(node: nodes.Plugin) -> list[nodes.Function | nodes.Handler]:
    """The functions and handlers of a plugin block."""
    return [*node.functions, *node.handlers]


def literal(value: Any) -> Any:
    """A literal, symbol or text phrase as plain data; None for anything that must be computed."""
    if isinstance(value, nodes.Number | nodes.Text | nodes.Bool):
        return value.value
    if isinstance(value, nodes.Name):
        return value.name
    if isinstance(value, nodes.Field):
        return dotted(value)
    if isinstance(value, nodes.TextPhrase | nodes.VerbPhrase):
        return value.text
    if isinstance(value, nodes.ListExpr):
        return [literal(element) for element in value.elements]
    return None


def dotted(value: Any) -> str | None:
    """`a.b.c` as text."""
    if isinstance(value, nodes.Name):
        return value.name
    if isinstance(value, nodes.Text):
        return value.value
    if isinstance(value, nodes.Field):
        head = dotted(value.value)
        return None if head is None else f"{head}.{value.name}"
    return None
