"""The part of the compiler that makes statements, control flow and functions."""

import ast
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from . import nodes
from .errors import AetherError, refused
from .expressions import Expressions, Frame, Sink, assign, attempt, call, const, load, locate
from .scopes import BlockScope, FunctionScope, is_range


class Statements(Expressions):
    """Adds blocks, assignment, control flow and functions to expressions."""

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

    @abstractmethod
    def _hoist(self, body: tuple[Any, ...]) -> None:
        """Makes the functions and handlers of a block first, so that they may be used before their line."""

    def _statement(self, node: Any) -> None:
        name = type(node)
        method: Callable[[Any], None] = getattr(self, "_do_" + name.__name__.lower())
        mark = len(self.frame.out)
        method(node)
        for statement in self.frame.out[mark:]:
            locate(statement, node.span)

    def _refuse(self, node: nodes.Node, code: str, message: str) -> AetherError:
        span = node.span
        return refused(self.module.source, self.module.name, span.line, span.column, message, code)

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
            if node.declare is None:
                self._check_const(node.target, node)
            self.into(node.value, lambda: self._target_sink(node.target))
        else:
            self.assign_to(node.target, None, node, node.value)

    def _check_const(self, target: nodes.Expr, node: nodes.Node) -> None:
        binding = self.scopes.names.get(id(target)) if isinstance(target, nodes.Name) else None
        if binding is not None and binding.const:
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
            self._check_const(node.target, node)
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
            self._check_const(target, node)
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
        self._check_const(node.target, node)
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
        final: list[ast.stmt] = []
        if node.final is not None:
            begins = ast.Expr(call("@finishing"))
            locate(begins, node.final.span)
            final = [begins, *self._block(node.final)]
        self._put(ast.Try(body, handlers, [], final), node)

    def _catch(self, node: nodes.Catch, value: str, tail: list[ast.stmt]) -> list[ast.stmt]:
        """Adds a clause to the chain; gives where the next one goes. What comes behind a clause that catches everything
        is never reached, and stands there all the same: it may be the only place where a variable is assigned."""
        scope = self.scopes.blocks[id(node)]
        with self.collected() as body:
            self._boxes(scope, node)
            if node.name is not None:
                self._put(self.written(scope.bindings[node.name])(load(value)), node)
            self._block_here(node.body)
        if node.type is None or node.type in ("Exception", "Error", "any"):
            caught = ast.If(const(True), [self._pass(node)], [])
            locate(caught, node.span)
            tail.extend([*body, caught])
            return caught.orelse
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
        duration = ast.List([self.expr(node.duration)], ast.Load())
        waited = call("@call_library", load("@d"), const("wait"), duration, ast.Dict([], []))
        self._put(ast.Expr(waited), node)

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
            self._handler_body(node)

        if binding.boxed:
            name = self.temp()
            self._function(name, node, node.params, body)
            self._put(self.written(binding)(load(name)), node)
        else:
            self._function(binding.py, node, node.params, body)
            self.frame.assigned.add(binding)

    @abstractmethod
    def _handler_body(self, node: nodes.Function | nodes.Handler) -> None:
        """The body of a named function; that of a handler is under the rules on errors."""

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
