"""The part of the compiler that makes steps: workflows, manifests and templates (12.4, 14.2, 14.3)."""

import ast
from collections.abc import Mapping
from typing import Any

from . import nodes, unfolding
from .blocks import Blocks
from .expressions import assign, call, const, load
from .manifest_data import whole
from .scopes import Binding


class Flows(Blocks):
    """Adds steps to intent blocks and declarations."""

    # ------------------------------------------------------------ workflows

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """No workflow has a value yet."""
        super().__init__(module, session)
        self._bodies: set[int] = set()
        self._last_value: str | None = None

    def _hoist(self, body: tuple[Any, ...]) -> None:
        """Named workflows exist before the first statement of their block, as functions do."""
        for node in body:
            if isinstance(node, nodes.Workflow) and node.name is not None:
                function = self.scopes.made[id(node)]
                self._bodies.update(map(id, function.body.body))
                self._named_function(function)
        super()._hoist(body)

    def _do_workflow(self, node: nodes.Workflow) -> None:
        """Runs the steps here; a workflow with a name is a function, made before the first statement."""
        if node.name is not None:
            return
        result = self.temp()
        self._put(assign(result, self.expr(node.input) if node.input is not None else const(None)), node)
        for step in node.steps:
            self._alias_exists(step)
            self._step(step, result)
        if isinstance(node.output, nodes.Name):
            self.assign_to(node.output, load(result), node)
        if self.frame.scope is self.scopes.main:
            self._last_value = self._last_value or self.temp()
            self._put(assign(self._last_value, load(result)), node)
        elif id(node) in self._bodies:
            self._put(ast.Return(load(result)), node)

    def _step(self, step: nodes.WorkflowStep, result: str) -> None:
        """One step, whose value replaces that of the step before; passed over, it leaves that as it is."""
        guards = [] if step.condition is None else [nodes.SlotGuard(step.condition.span, "if", step.condition)]
        with self._inside(guards, step):
            name = f"v_step '{unfolding.step_name(step)}'@{self.temp()}"  # how a stack shows it
            done = self.scopes.made[id(step)]

            def body() -> None:
                value = self.kept(self._step_value(step, done.value))
                if isinstance(done, nodes.Assign):
                    self._check_const(done)
                    self.assign_to(done.target, value, step)
                self._put(ast.Return(value), step)

            self._function(name, step, (nodes.Param(step.span, unfolding.GIVEN),), body)
            null = nodes.Null(step.span)
            options = self.operands(step.retry or null, step.timeout or null, step.requires or null)
            names: ast.expr = ast.Tuple([const(unfolding.step_name(step)), const(step.alias)], ast.Load())
            value = call("@step", load("@d"), names, load(name), load(result), *options)
            self._put(assign(result, value), step)

    def _alias_exists(self, step: nodes.WorkflowStep) -> None:
        done = self.scopes.made[id(step)]
        binding = self.scopes.names[id(done.target)] if isinstance(done, nodes.Assign) else None
        if binding is not None and not binding.boxed and binding.function is self.frame.scope:
            self._exists(binding, step)

    def _step_value(self, step: nodes.WorkflowStep, done: Any) -> ast.expr:
        """The call of a step; a bare name that the script binds is called as what it turns out to be."""
        if isinstance(step.call, nodes.Name) and self.scopes.names.get(id(done.function)) is not None:
            return call("@step_call", load("@d"), *self.operands(done.function, *(arg.value for arg in done.args)))
        return self.expr(done)

    # ------------------------------------------------------------ manifests and items

    def _do_manifest(self, node: nodes.Manifest) -> None:
        for statement in self.scopes.made[id(node)]:
            self._statement(statement)

    def _do_item(self, node: nodes.Item) -> None:
        """A line behind a dash or a number among statements: what it says is done, data is only evaluated."""
        statement = self.scopes.made[id(node)]
        if statement is not None:
            self._statement(statement)
        elif node.content is not None:
            self._put(ast.Expr(self._item_value(node)), node)

    # ------------------------------------------------------------ templates

    def _plugin_fields(self, node: nodes.Plugin) -> None:
        """The fields of a block; a template's work is registered for its event."""
        super()._plugin_fields(node)
        trigger = node.template.trigger if node.template is not None else None
        if trigger is not None and trigger.event is not None:
            handler = self.scopes.names[id(self.scopes.made[id(node)])]
            assert handler is not None
            self._put(ast.Expr(call("@handler", const(trigger.event), self.read(handler))), trigger)

    def _do_template(self, node: nodes.Template) -> None:
        """The work of one trigger, in the order of 14.2; its value is what it has made."""
        guard = node.trigger.guard if node.trigger is not None else None
        if guard is not None:
            leave = ast.If(ast.UnaryOp(ast.Not(), self.expr(guard)), [ast.Return(const(None))], [])
            self._put(leave, guard)
        made = self.temp()
        self._put(assign(made, self._retrieved(node)), node)
        null = nodes.Null(node.span)
        if node.goal is not None:
            goal, model, *constraints = self.operands(node.goal, node.model or null, *node.constraints)
            answer = call("@ask", goal, model, ast.List(constraints, ast.Load()), load(made))
            self._put(assign(made, answer), node.goal)
        if node.output is not None:
            self.assign_to(nodes.Name(node.span, node.output), load(made), node)
        self._hoist(node.actions)
        for action in node.actions:
            self._statement(action)
        for entry in node.store:
            self._put(ast.Expr(call("@keep_answer", self.expr(entry.value), load(made))), entry)
        if node.feedback is not None:
            self._feedback(node.feedback)
        self._put(ast.Return(load(made)), node)

    def _retrieved(self, node: nodes.Template) -> ast.expr:
        """The entries that a template works on; a list without any where it retrieves none."""
        if not node.retrieve:
            return ast.List([], ast.Load())
        given: dict[str, Any] = {"from": None, "limit": None, "filter": None}
        for entry in node.retrieve:
            given[entry.key] = self.scopes.made.get(id(entry), entry.value)
        return call("@retrieve", *self.operands(*(value or nodes.Null(node.span) for value in given.values())))

    def _feedback(self, node: nodes.Feedback) -> None:
        """Waits for what is expected, where something is done when it does not come; else it is only noted."""
        if node.expect is None:
            return
        expected = self.expr(node.expect)
        if node.no_response is None:
            self._put(ast.Expr(call("@job:debug", const("expected:"), expected)), node)
            return
        late = ast.UnaryOp(ast.Not(), call("@answered", expected))
        self._put(ast.If(late, self._block(node.no_response), []), node)

    # ------------------------------------------------------------ the module

    def _results_exist(self) -> None:
        """Names of the module that steps in functions assign."""
        for binding in self.scopes.of_module:
            self._exists(binding, self.module)

    def _exists(self, binding: Binding, node: nodes.Node) -> None:
        """A function that assigns a variable of another is refused by Python unless that one assigns it somewhere."""
        self._put(ast.If(const(False), [assign(binding.py, const(None))], []), node)

    def _end_of_flows(self) -> None:
        """A script that returns nothing gives the value of its last workflow."""
        if self._last_value is not None:
            self.frame.out.insert(0, assign(self._last_value, const(None)))
            self._put(ast.Return(load(self._last_value)), self.module)

    def _flows_meta(self) -> dict[str, Any]:
        """The manifest of the script as data, and the workflow that is all a script does."""
        return {"manifest": whole(self.module), "alone": _alone(self.module)}


_DECLARING = (
    nodes.Function, nodes.Export, nodes.Meta, nodes.Policy, nodes.Require, nodes.OnError, nodes.PluginContract,
    nodes.HeaderFlag, nodes.Goal, nodes.Use, nodes.FromImport, nodes.Define,
)  # fmt: skip


def _alone(module: nodes.Module) -> str | None:
    """The name of the workflow that is the only thing the script could do."""
    others = [node for node in module.body if not isinstance(node, _DECLARING)]
    one = others[0] if len(others) == 1 else None
    return one.name if isinstance(one, nodes.Workflow) else None
