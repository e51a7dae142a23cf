"""The part of the compiler that makes declarations: plugins, handlers, sections, goals, header lines."""

import ast
from collections.abc import Mapping
from typing import Any

from . import nodes
from .data import plain
from .expressions import assign, call, const, load
from .phrases import Phrases


class Declarations(Phrases):
    """Adds declarations to phrases and statements."""

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """Resolves the names of the module."""
        super().__init__(module, session)
        self._plugins: list[dict[str, Any]] = []
        self._flags: dict[str, Any] = {}
        self._policy: dict[str, Any] = {}

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

    def _register(self, node: nodes.Function | nodes.Handler) -> None:
        if isinstance(node, nodes.Function) or node.event is None:
            return
        binding = self.scopes.names[id(node)]
        assert binding is not None
        self._put(ast.Expr(call("@handler", const(node.event), self.read(binding))), node)

    def _plugin_functions(self, node: nodes.Plugin) -> None:
        before, self.unit = self.unit, node.name
        members = self.scopes.members(node)
        framing = {"init", "cleanup"} & {member.name for member in members}
        for member in members:
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
        if any(entry.key == "persist" and literal(entry.value) is True for entry in node.fields):
            state = call("@persisted", const(node.name), state)
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
        if node.template is not None and node.template.output is not None:
            self._put(self.written(scope.bindings[node.template.output])(const(None)), node)
        functions = [(m.name, self.scopes.names[id(m)]) for m in self.scopes.members(node)]
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
        return self._entry_value(part)

    def _plugin_meta(self, node: nodes.Plugin) -> dict[str, Any]:
        """What the hub must know of a block without running it: literal fields and the names of its functions."""
        fields = {entry.key: plain for entry in node.fields if (plain := literal(entry.value)) is not None}
        return {
            "name": node.name,
            "kind": node.kind,
            "line": node.span.line,
            "end_line": node.span.end_line,
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
            self._policy[entry.key] = plain(entry.value)


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
