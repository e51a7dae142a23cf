"""Everything that can be said about a script before it runs: names, arity, constants, schedules, capabilities.

Findings that a run could not survive are errors; what the language answers at run time (an unbound name raises
`NameError`, which a script may catch) is a warning. Nothing here recurses, so a tree of any depth can be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from . import nodes
from .declaration_checks import DeclarationChecks, plain
from .errors import AetherError, Diagnostic, Source, SyntaxProblem
from .host import FUNCTIONS as HOST_FUNCTIONS
from .jobs import CATCHABLE
from .parser import parse_with_warnings
from .reach import call_capability, verb_capabilities
from .scanner import Limits
from .stdlib import FUNCTIONS as LIBRARY
from .unfolding import item_statement, results
from .walking import children
from .words import VERBS, nearest

AMBIENT = frozenset(
    {
        "current_timestamp", "current_time", "current_date", "timestamp", "event_data", "parameters", "context",
        "config", "state", "self", "error", "last_output", "response", "transaction", "memory_scope", "__name__",
    }
)  # fmt: skip
NAMESPACES = frozenset(name.partition(".")[0] for name in (*LIBRARY, *HOST_FUNCTIONS) if "." in name)
BUILT_IN = frozenset(name for name in (*LIBRARY, *HOST_FUNCTIONS) if "." not in name) | {
    "log", "print", "debug", "warn", "emit", "trigger", "error", "assert", "stop_execution",
    "wait", "sleep", "get_global", "set_global", "has_context", "get_current_context",
    "get_stack_trace", "base64_encode", "base64_decode", "narrate", "choice", "validate_schema", "activate",
    "speak", "simulate", "goal", "setTimeout", "clearTimeout", "retry", "manifest",
}  # fmt: skip
MOST_SEARCHES = 40
_FLAGS_NOT_YET = frozenset({"agent", "agents", "local_ai", "model"})
"""Header lines for agents and models; whoever is asked says for itself that it is not there."""


def check(script: nodes.Module | str | bytes, name: str = "<script>", limits: Limits | None = None) -> list[Diagnostic]:
    """All findings on a script, warnings included, in the order of their places. Text that cannot be parsed gives the
    findings of the parser; this function raises nothing."""
    warnings: list[Diagnostic] = []
    if not isinstance(script, nodes.Module):
        try:
            script, warnings = parse_with_warnings(script, name, limits)
        except AetherError as error:
            return list(error.diagnostics)
    checker = Checker(script)
    found = warnings + checker.findings()
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.code))


def capabilities(script: nodes.Module) -> list[str]:
    """The capabilities that a script can reach by its calls and verbs, sorted, in the spelling of scripts."""
    checker = Checker(script)
    checker.findings()
    return sorted(checker.reached)


class Scope:
    """The names of a function or block. `kinds` says what each name is: a node of a declaration, `const`, or
    `name`."""

    __slots__ = ("kinds", "outer")

    def __init__(self, outer: Scope | None) -> None:
        self.outer = outer
        self.kinds: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """What the nearest binding of a name is, None if there is none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.kinds:
                return scope.kinds[name]
            scope = scope.outer
        return None

    def names(self) -> set[str]:
        """All names that are bound here."""
        found: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            found |= scope.kinds.keys()
            scope = scope.outer
        return found


class Checker(DeclarationChecks):
    """One walk over a module, with a list of work in place of recursion."""

    def __init__(self, module: nodes.Module) -> None:
        self.module = module
        self.source = Source(module.source, module.name)
        self.problems: list[SyntaxProblem] = []
        self.reached: set[str] = set()
        self.work: list[tuple[Any, Scope, bool]] = []
        self.searches = 0

    def findings(self) -> list[Diagnostic]:
        """What the walk found."""
        self.declare()
        top = Scope(None)
        self._bind_all(self.module.body, top, function=True)
        self._bind_members(top)
        self._bind_results(top)
        self._push(self.module.body, top, False)
        while self.work:
            node, scope, loop = self.work.pop()
            method = _METHODS.get(type(node))
            if method is not None:
                method(self, node, scope, loop)
            else:
                self._push(tuple(children(node)), scope, loop)
        return [self.source.diagnose(problem) for problem in self.problems]

    def _push(self, found: tuple[Any, ...] | list[Any], scope: Scope, loop: bool) -> None:
        self.work += [(node, scope, loop) for node in reversed(found)]

    def _note(self, code: str, message: str, span: nodes.Span, suggestion: str | None = None) -> None:
        kind = "syntax" if code.startswith("AE1") else "check"
        self.problems.append(SyntaxProblem(code, message, span.start, span.end, suggestion=suggestion, kind=kind))

    def _near(self, name: str, scope: Scope) -> str | None:
        """The bound name that may have been meant. Only the first findings get one, since each looks at all names."""
        self.searches += 1
        if len(name) < 4 or self.searches > MOST_SEARCHES:
            return None
        return nearest(name, scope.names())

    # ------------------------------------------------------------ binding

    def _bind_all(self, body: tuple[Any, ...], scope: Scope, *, function: bool) -> None:
        """Binds what is declared in a block and, for the block of a function, all that is assigned in it."""
        for statement in body:
            for name, kind in declared(statement):
                self._bound_twice(name, scope.kinds.get(name), kind, statement)
                scope.kinds[name] = kind
        if not function:
            return
        work = list(body)
        while work:
            node = work.pop()
            node = (item_statement(node) if isinstance(node, nodes.Item) else None) or node
            kind = type(node)
            if kind in _ASSIGNING:
                for name in assigned(node):
                    if scope.find(name) is None:
                        scope.kinds[name] = "name"
            if kind not in _FUNCTIONS and kind is not nodes.TextPhrase:
                work += children(node)

    def _bind_results(self, top: Scope) -> None:
        """What steps give their results to are names of the module, wherever the steps stand."""
        work: list[Any] = list(self.module.body)
        while work:
            node = work.pop()
            work += children(node)
            for name in results(node):
                top.kinds.setdefault(name, "name")

    def _bound_twice(self, name: str, before: Any, now: Any, statement: nodes.Node) -> None:
        """A handler is a function of its name as well; two handlers of one name are no mistake, both run."""
        handlers = [isinstance(kind, nodes.Handler) for kind in (before, now)]
        if before is not None and any(handlers) and not all(handlers):
            self._note("AW208", f"'{name}' is a handler and bound to something else as well", statement.span)

    def _bind_members(self, top: Scope) -> None:
        """A function of a plugin block serves by its bare name while only one block has it."""
        blocks = [node for node in self.module.body if isinstance(node, nodes.Plugin)]
        members: list[nodes.Function | nodes.Handler] = []
        for block in blocks:
            members += [*block.functions, *block.handlers]
        owners = Counter(member.name for member in members)
        for member in members:
            if owners[member.name] == 1:
                top.kinds.setdefault(member.name, member)

    def _block(self, node: nodes.Block, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        self._bind_all(node.body, inner, function=False)
        self._push(node.body, inner, loop)

    def _function(self, node: Any, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        for param in node.params:
            for name in (param.name, *param.names):
                inner.kinds[name] = "name"
            if param.default is not None:
                self._push((param.default,), inner, False)
        body = node.body
        statements = body.body if isinstance(body, nodes.Block) else (body,)
        self._bind_all(statements, inner, function=True)
        self._push(statements, inner, False)
        lone = statements[0] if isinstance(body, nodes.Block) and len(statements) == 1 else None
        if isinstance(node, nodes.Lambda) and isinstance(lone, nodes.ExprStmt):
            value = lone.value
            if not isinstance(value, nodes.Call | nodes.MethodCall | nodes.PostStep):
                self._note("AW210", "this function gives null, it has no `return`", value.span, "write `return`")

    def _code(self, node: Any, scope: Scope, loop: bool) -> None:
        """Handlers without parameters of their own, commands and timers."""
        inner = Scope(scope)
        for param in getattr(node, "inputs", ()):
            inner.kinds[param.name] = "name"
        self._bind_all(node.body.body, inner, function=True)
        self._push(node.body.body, inner, False)

    def _timer(self, node: nodes.Timer, scope: Scope, loop: bool) -> None:
        self._schedule(node.text, node.span)
        self._code(node, scope, loop)

    def _plugin(self, node: nodes.Plugin, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        members: tuple[nodes.Handler | nodes.Function, ...] = (*node.handlers, *node.functions)
        for part in members:
            inner.kinds[part.name] = part
        for section in node.sections:
            inner.kinds[section.name] = "name"
        if node.template is not None and any(handler.name == "on_run" for handler in node.handlers):
            message = "a block with the keys of a template runs the template, `on_run` cannot stand beside them"
            self._note("AE404", message, node.template.span)
        zones = (plain(entry.value) for entry in node.fields if entry.key == "tz")
        zone = next((zone for zone in zones if isinstance(zone, str)), "UTC")
        for entry in node.fields:
            inner.kinds.setdefault(entry.key, "name")
            self._field(entry, node.kind, zone)
        for statement in node.statements:
            inner.kinds.update(declared(statement))
        if node.template is not None and node.template.output is not None:
            inner.kinds[node.template.output] = "name"
        words = [entry for entry in node.fields if entry.key == "capabilities"]
        self._push([part for part in children(node) if part not in words], inner, False)

    def _header_flag(self, node: nodes.HeaderFlag, scope: Scope, loop: bool) -> None:
        if node.key in _FLAGS_NOT_YET and plain(node.value) != "off":
            self._note("AW401", f"`{node.key}:` is noted and has no effect yet", node.span)
        self._push(tuple(children(node)), scope, loop)

    def _for(self, node: nodes.For, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        inner.kinds.update(dict.fromkeys(node.names, "name"))
        self._push((node.body,), inner, True)
        self._push((node.iterable,), scope, loop)

    def _while(self, node: nodes.While, scope: Scope, loop: bool) -> None:
        self._push((node.condition,), scope, loop)
        self._push((node.body,), scope, True)

    def _catch(self, node: nodes.Catch, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        if node.name is not None:
            inner.kinds[node.name] = "name"
        if node.type is not None and node.type not in CATCHABLE and node.type != "CapabilityError":
            near = nearest(node.type, set(CATCHABLE))
            self._note(
                "AW205", f"'{node.type}' is no error that can be caught", node.span, near and f"did you mean `{near}`?"
            )
        self._push((node.body,), inner, loop)

    def _comprehension(self, node: nodes.Comprehension, scope: Scope, loop: bool) -> None:
        inner = Scope(scope)
        inner.kinds.update(dict.fromkeys(node.names, "name"))
        self._push([part for part in (node.element, node.condition) if part is not None], inner, loop)
        self._push((node.iterable,), scope, loop)

    def _leave_loop(self, node: nodes.Break | nodes.Continue, scope: Scope, loop: bool) -> None:
        if not loop:
            word = "break" if isinstance(node, nodes.Break) else "continue"
            self._note("AE109", f"`{word}` outside a loop", node.span)

    # ------------------------------------------------------------ use of names

    def _name(self, node: nodes.Name, scope: Scope, loop: bool) -> None:
        name = node.name
        if name in AMBIENT or name.endswith("_output"):
            if name.startswith("current_") or name == "timestamp":
                self.reached.add("time.read")
            return
        if scope.find(name) is not None:
            return
        if node.role == "signal":
            self.reached.add("signal.read")
        near = self._near(name, scope)
        if node.role == "value":
            if name in BUILT_IN or name in NAMESPACES or name in VERBS:
                return
            self._note("AW201", f"nothing is bound to '{name}'", node.span, near and f"did you mean `{near}`?")
        elif near is not None:
            what = "a symbol" if node.role == "symbol" else "a signal"
            self._note("AW202", f"'{name}' is taken as {what}", node.span, f"did you mean `{near}`?")

    def _assign(self, node: nodes.Assign, scope: Scope, loop: bool) -> None:
        target: Any = node.target
        if isinstance(target, nodes.Name):
            if node.declare is None and scope.find(target.name) == "const":
                self._note("AE201", f"'{target.name}' is a constant", target.span)
            if node.value is not None and isinstance(node.value, nodes.Text) and node.colon:
                self._hyphened(node.value, scope)
        else:
            self._push((target,), scope, loop)
        if node.value is not None:
            self._push((node.value,), scope, loop)

    def _hyphened(self, value: nodes.Text, scope: Scope) -> None:
        head, line, _ = value.value.partition("-")
        unquoted = value.raw and self.module.source[value.span.start : value.span.end] == value.value
        if line and unquoted and scope.find(head) is not None:
            message = f"'{value.value}' is text here, but '{head}' is bound"
            self._note("AE202", message, value.span, "write spaces around '-'")

    def _post_step(self, node: nodes.PostStep, scope: Scope, loop: bool) -> None:
        if isinstance(node.target, nodes.Name) and scope.find(node.target.name) == "const":
            self._note("AE201", f"'{node.target.name}' is a constant", node.target.span)
        self._push((node.target,), scope, loop)

    def _call(self, node: nodes.Call, scope: Scope, loop: bool) -> None:
        self._push(node.args, scope, loop)
        self._given_once(node.args)
        function = node.function
        if not isinstance(function, nodes.Name):
            self._push((function,), scope, loop)
            return
        known = scope.find(function.name)
        if isinstance(known, nodes.Function | nodes.Handler):
            self._arity(node, known)
        if known is not None or function.name in AMBIENT:
            return
        needed = call_capability(function.name)
        if needed is not None:
            self.reached.add(needed)
        elif function.name not in BUILT_IN and function.name not in VERBS:
            self.reached.add("plugin.call")
            near = self._near(function.name, scope) or nearest(function.name, BUILT_IN)
            self._note(
                "AW203", f"no function '{function.name}' in this script or the library; a plugin must offer it",
                function.span, near and f"did you mean `{near}`?",
            )  # fmt: skip
        elif function.name in VERBS:
            self.reached.update(VERBS[function.name].capabilities)

    def _given_once(self, args: tuple[nodes.Arg, ...]) -> None:
        seen: set[str] = set()
        for arg in args:
            if arg.name is not None and arg.name in seen:
                self._note("AE204", f"'{arg.name}' is given twice", arg.span)
            seen.add(arg.name or "")

    def _export(self, node: nodes.Export, scope: Scope, loop: bool) -> None:
        for name in node.names:
            self._bound(name, node.span, scope)

    def _expose(self, node: nodes.ExposeCommand, scope: Scope, loop: bool) -> None:
        self._bound(node.handler, node.span, scope)

    def _bound(self, name: str, span: nodes.Span, scope: Scope) -> None:
        if scope.find(name) is None:
            near = self._near(name, scope)
            self._note("AW201", f"nothing is bound to '{name}'", span, near and f"did you mean `{near}`?")

    def _arity(self, node: nodes.Call, known: nodes.Function | nodes.Handler) -> None:
        params = known.params
        if any(param.rest for param in params) or any(arg.spread for arg in node.args):
            return
        positional = [arg for arg in node.args if arg.name is None]
        if len(positional) > len(params):
            extra = positional[len(params)]
            self._note("AE203", f"'{known.name}' takes {_arguments(len(params))}, not {len(positional)}", extra.span)
            return
        named = {arg.name: arg for arg in node.args if arg.name is not None}
        for name, arg in named.items():
            if name not in {param.name for param in params}:
                near = nearest(name, {param.name for param in params})
                self._note("AE204", f"'{known.name}' has no parameter '{name}'", arg.span, near and f"write `{near}`")
        missing = [p.name for p in params[len(positional) :] if p.default is None and p.name not in named]
        if missing:
            self._note("AW204", f"no argument for '{missing[0]}' of '{known.name}': it will be null", node.span)

    def _method(self, node: nodes.MethodCall, scope: Scope, loop: bool) -> None:
        self._push(node.args, scope, loop)
        self._given_once(node.args)
        receiver = node.receiver
        if not isinstance(receiver, nodes.Name) or receiver.sigil:
            self._push((receiver,), scope, loop)
            return
        if scope.find(receiver.name) is not None or receiver.name in AMBIENT:
            return
        if receiver.name in NAMESPACES:
            needed = call_capability(f"{receiver.name}.{node.method}")
            self.reached.update([needed] if needed is not None else [])
            return
        self.reached.add("plugin.call")
        near = self._near(receiver.name, scope)
        if near is not None:
            self._note("AW202", f"'{receiver.name}' is taken as a plugin", receiver.span, f"did you mean `{near}`?")

    # ------------------------------------------------------------ effects

    def _verb_stmt(self, node: nodes.VerbStmt, scope: Scope, loop: bool) -> None:
        self._push(tuple(children(node)), scope, loop)

    def _verb(self, node: nodes.VerbPhrase, scope: Scope, loop: bool) -> None:
        if scope.find(node.verb) is None and node.base:
            self.reached.update(verb_capabilities(node, scope.find))
        self._push(node.slots, scope, loop)

    def _message(self, node: nodes.Message, scope: Scope, loop: bool) -> None:
        self.reached.add("agent.message")
        self._push(node.phrase.slots, scope, loop)

    def _plugin_line(self, node: nodes.PluginLine, scope: Scope, loop: bool) -> None:
        self.reached.add("plugin.call")
        self._push([arg for call in [node.target] if isinstance(call, nodes.Call) for arg in call.args], scope, loop)
        self._push(node.args, scope, loop)

    def _goal(self, node: nodes.Goal, scope: Scope, loop: bool) -> None:
        self.reached.add("goal.write")
        self._push(tuple(children(node)), scope, loop)

    def _time_ago(self, node: nodes.TimeAgo, scope: Scope, loop: bool) -> None:
        self.reached.add("time.read")


_METHODS: dict[type, Any] = {
    nodes.Block: Checker._block, nodes.Function: Checker._function, nodes.Lambda: Checker._function,
    nodes.Handler: Checker._function, nodes.Command: Checker._code, nodes.Timer: Checker._timer,
    nodes.Plugin: Checker._plugin, nodes.For: Checker._for, nodes.While: Checker._while, nodes.Catch: Checker._catch,
    nodes.Comprehension: Checker._comprehension, nodes.Break: Checker._leave_loop, nodes.Continue: Checker._leave_loop,
    nodes.Name: Checker._name, nodes.Assign: Checker._assign, nodes.PostStep: Checker._post_step,
    nodes.Call: Checker._call, nodes.MethodCall: Checker._method, nodes.VerbPhrase: Checker._verb,
    nodes.VerbStmt: Checker._verb_stmt,
    nodes.Message: Checker._message, nodes.PluginLine: Checker._plugin_line, nodes.Goal: Checker._goal,
    nodes.HeaderFlag: Checker._header_flag, nodes.TimeAgo: Checker._time_ago, nodes.Export: Checker._export,
    nodes.ExposeCommand: Checker._expose, nodes.Meta: Checker._meta, nodes.Policy: Checker._policy,
    nodes.Require: Checker._require, nodes.PluginContract: Checker._contract, nodes.Workflow: Checker._workflow,
    nodes.Parallel: Checker._parallel, nodes.Transaction: Checker._transaction, nodes.OnError: Checker._on_error,
    nodes.Entry: Checker._entry, nodes.Item: Checker._item,
    nodes.Template: Checker._template, nodes.Manifest: Checker._manifest,
}  # fmt: skip
_ASSIGNING = frozenset({
    nodes.Assign, nodes.ArrowStmt, nodes.SlotArrow, nodes.AwaitEvent, nodes.HeaderFlag, nodes.Parallel,
    nodes.VerbPhrase,
})  # fmt: skip
"""The kinds of node that `assigned` knows names of."""
_FUNCTIONS = frozenset({nodes.Function, nodes.Lambda, nodes.Handler, nodes.Command, nodes.Timer, nodes.Plugin})


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def declared(statement: Any) -> Iterator[tuple[str, Any]]:
    """The names that a statement binds in its own block."""
    kind = type(statement)
    if kind in (nodes.Function, nodes.Handler):
        yield statement.name, statement
    elif kind is nodes.Assign and statement.declare is not None:
        yield statement.target.name, "const" if statement.declare == "const" else "name"
    elif kind in (nodes.Plugin, nodes.Section, nodes.Use, nodes.Define) or (
        kind is nodes.Workflow and statement.name is not None
    ):
        yield statement.name, "name"
    elif kind is nodes.FromImport:
        for name in statement.names:
            yield name, "name"


def assigned(node: Any) -> Iterator[str]:
    """The names that a node binds in its function, as far as nothing further out has them."""
    kind = type(node)
    target: Any = None
    if (kind is nodes.Assign and node.declare is None) or kind in (nodes.ArrowStmt, nodes.SlotArrow, nodes.AwaitEvent):
        target = node.target
    elif kind is nodes.HeaderFlag and node.key == "memory":
        yield "memory_scope"
    elif kind is nodes.Parallel:
        yield from (branch.name for branch in node.branches if branch.name is not None)
    elif kind is nodes.VerbPhrase and node.base in ("run", "summarize", "detect"):
        word = "as" if node.base == "run" else "into"
        target = next((s.value for s in node.slots if isinstance(s, nodes.SlotPrep) and s.prep == word), None)
    if isinstance(target, nodes.Name):
        yield target.name


__all__ = ["capabilities", "check"]
