"""The part of the compiler that makes intent blocks: require, parallel, transaction, on_error, contracts (12)."""

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final

from . import nodes
from .data import NO_VALUE, plain
from .declarations import Declarations
from .expressions import assign, call, const, load

_UNGUARDED: Final = (
    nodes.Function, nodes.Handler, nodes.Plugin, nodes.Export, nodes.Meta, nodes.Policy, nodes.Require,
    nodes.OnError, nodes.PluginContract, nodes.Timer, nodes.Command, nodes.ExposeCommand, nodes.HeaderFlag,
)  # fmt: skip
"""Statements that declare: what fails in them ends the script."""


class Blocks(Declarations):
    """Adds intent blocks to declarations."""

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """Looks for rules on errors, which count before their line."""
        super().__init__(module, session)
        self._layered = False
        self._recovers = any(isinstance(node, nodes.OnError) for node in module.body) or any(
            entry.key == "on_error" and plain(entry.value) == "continue"
            for node in module.body
            if isinstance(node, nodes.Policy)
            for entry in node.entries
        )

    # ------------------------------------------------------------ on_error

    def _hoist_rules(self) -> None:
        """The rules of the script, before anything that may fail."""
        for node in self.module.body:
            if isinstance(node, nodes.OnError):
                rows = [self._rule(rule) for rule in node.rules]
                self._put(ast.Expr(call("@rules", ast.List(rows, ast.Load()))), node)

    def _rule(self, rule: nodes.ErrorRule) -> ast.expr:
        name = self.temp()

        def body() -> None:
            for action in rule.actions:
                self._statement(action)

        self._function(name, rule, (ERROR,), body)
        retry = self.kept(self.expr(rule.retry)) if rule.retry is not None else const(None)
        types: ast.expr = ast.Tuple([const(one) for one in rule.types], ast.Load())
        return ast.Tuple([types, const(rule.pattern), load(name), retry, const(rule.then)], ast.Load())

    def _do_onerror(self, _node: nodes.OnError) -> None:
        """Made before the first statement."""

    def _top(self, node: Any) -> None:
        """A statement of the top level: an error that leaves it meets the rules."""
        if not self._recovers or isinstance(node, _UNGUARDED):
            self._statement(node)
            return
        self._guarded_by_rules(node, lambda: self._statement(node))

    def _guarded_by_rules(self, node: Any, emit: Callable[[], None]) -> None:
        """What is emitted, tried again and passed over as the rules say."""
        tried, error = self.temp(), self.temp() + "e"
        self._put(assign(tried, const(0)), node)
        with self.collected() as body:
            emit()
        again: list[ast.stmt] = [assign(tried, ast.BinOp(load(tried), ast.Add(), const(1))), ast.Continue()]
        recovered = call("@recover", load("@d"), load(error), load(tried))
        with self.collected() as instead:
            self._null_target(node)
        handler = ast.ExceptHandler(load("@catchable"), error, [ast.If(recovered, again, []), *instead])
        attempt = ast.Try(body or [self._pass(node)], [handler], [], [])
        loop = ast.For(ast.Name("@_", ast.Store()), load("@fuel"), [attempt, ast.Break()], [])
        self._put(loop, node)

    def _null_target(self, node: Any) -> None:
        """What a statement was to assign is null when it failed and the script goes on."""
        if isinstance(node, nodes.Assign) and node.op != "=":
            return
        targets = [node.target] if isinstance(node, nodes.Assign | nodes.ArrowStmt) else []
        if isinstance(node, nodes.CallStmt | nodes.VerbStmt):
            slots = node.slots if isinstance(node, nodes.CallStmt) else node.phrase.slots
            targets = [slot.target for slot in slots if isinstance(slot, nodes.SlotArrow)]
        for target in targets:
            if isinstance(target, nodes.Name):
                self.assign_to(target, const(None), node)

    def _handler_body(self, node: nodes.Function | nodes.Handler) -> None:
        if self._recovers and isinstance(node, nodes.Handler):
            self._guarded_by_rules(node, lambda: self._block_here(node.body))
        else:
            self._block_here(node.body)

    # ------------------------------------------------------------ parallel

    def _do_parallel(self, node: nodes.Parallel) -> None:
        for branch in node.branches:
            name = self.temp()
            self._function(name, branch, (), lambda value=branch.value: self.into(value, lambda: ast.Return))  # type: ignore[misc]
            future = call("@branch", const(branch.name or "-"), load("@d"), load(name))
            if branch.name is None:
                self._put(ast.Expr(future), branch)
            else:
                binding = self.scopes.names[id(branch)]
                assert binding is not None
                self._put(self.written(binding)(future), branch)
        self._put(ast.Expr(call("@open")), node)

    # ------------------------------------------------------------ transaction

    def _do_transaction(self, node: nodes.Transaction) -> None:
        if self._recovers:
            self._guarded_by_rules(node, lambda: self._staged(node))
        else:
            self._staged(node)

    def _staged(self, node: nodes.Transaction) -> None:
        """The body, and after it the commit, however the body is left; an error or a cancellation discards first."""
        self._layered = True
        mark = self.temp()
        self._put(assign(mark, call("@begin_transaction")), node)
        body = self._block(node.body)
        discard: list[ast.stmt] = [ast.Expr(call("@discard", load(mark))), ast.Raise(None, None)]
        handler = ast.ExceptHandler(load("@anything"), None, discard)
        commit: list[ast.stmt] = [ast.Expr(call("@commit", load(mark)))]
        self._put(ast.Try(body, [handler], [], commit), node)

    # ------------------------------------------------------------ simulate

    def _simulation(self, node: nodes.VerbStmt, body: nodes.Block) -> None:
        """The block on mock providers; what its effects would have been is the result."""
        self._layered = True
        with self._guarded(self._guards(node.phrase.slots), node):
            mark, result = self.temp(), self.temp()
            self._put(assign(mark, call("@begin_simulation")), node)
            end = [assign(result, call("@end_simulation", load(mark)))]
            self._put(ast.Try(self._block(body), [], [], end), node)
            for slot in node.phrase.slots:
                if isinstance(slot, nodes.SlotArrow):
                    self.assign_to(slot.target, load(result), node)

    # ------------------------------------------------------------ what is read before anything runs

    def _do_require(self, node: nodes.Require) -> None:
        """Checked before the first statement, by what `meta` tells."""

    def _do_plugincontract(self, node: nodes.PluginContract) -> None:
        """Kept at every call of the plugin, by what `meta` tells."""

    def _blocks_meta(self) -> dict[str, Any]:
        """What intent blocks declare, as plain data."""
        require: dict[str, list[str]] = {}
        contracts: list[dict[str, Any]] = []
        for node in self.module.body:
            if isinstance(node, nodes.Require):
                for entry in node.entries:
                    require.setdefault(entry.key, []).extend(_listed(plain(entry.value)))
            elif isinstance(node, nodes.PluginContract):
                contracts.append({"id": node.name, **_entries(node.entries)})
        plugins = [plugin["fields"] for plugin in self._plugins]
        for fields in plugins:
            require.setdefault("plugins", []).extend(_listed(fields.get("requires")))
        whole = self._policy.get("on_error") == "rollback" or any(
            rule.then == "rollback"
            for node in self.module.body
            if isinstance(node, nodes.OnError)
            for rule in node.rules
        )
        layered = self._layered or whole or contracts or {"deterministic", "mock_io", "seed"} & self._policy.keys()
        about = self._flags.get("meta")
        layered = layered or (isinstance(about, dict) and about.get("seed") is not None)
        narrowed = any({"memory_access", "capabilities"} & fields.keys() for fields in plugins)
        return {
            "require": require,
            "contracts": contracts,
            "one_transaction": whole,
            "direct": not (layered or narrowed),
        }


ERROR: Final = nodes.Param(nodes.Span(1, 1, 1, 1, 0, 0), "error")
"""The parameter under which a rule finds its error."""


def _listed(given: Any) -> list[str]:
    return [str(one) for one in (given if isinstance(given, list) else [given]) if one is not None]


def _entries(entries: tuple[nodes.Entry, ...]) -> dict[str, Any]:
    found = {entry.key: plain(entry.value) for entry in entries}
    return {key: value for key, value in found.items() if value is not NO_VALUE}
