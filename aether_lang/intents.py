"""The builder's third for intent blocks: `meta policy require workflow parallel transaction on_error plugin_contract`
(section 12). Each arrives as a block of entries, items or statements and leaves as a node of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from . import nodes
from .data import as_data, dotted_texts, settled
from .errors import SyntaxProblem
from .nodes import Span

INTENT_BLOCKS = frozenset(
    {"meta", "policy", "require", "workflow", "parallel", "transaction", "on_error", "plugin_contract"}
)
_THEN = ("continue", "stop", "rollback")
_STEP_KEYS = frozenset({"call", "args", "as", "retry", "timeout", "requires", "if"})


class _Builder(Protocol):
    """What the builder does for a statement that stood behind a dash."""

    def in_code(self, entry: nodes.Entry) -> nodes.Stmt: ...


def intent(builder: _Builder, name: str, label: str | None, span: Span, block: nodes.Block) -> nodes.Stmt:
    """The intent block of that name. `label` is what stood between the name and its block."""
    if label is not None and name not in ("workflow", "plugin_contract"):
        raise _problem(f"`{name}` takes no name", span, (f"{name}:", f"{name} {{"))
    if name == "workflow":
        return _workflow(span, label, block)
    if name == "plugin_contract":
        return nodes.PluginContract(span, label, _entries(name, block))
    return _BLOCKS[name](builder, span, block)


def _entries(name: str, block: nodes.Block) -> tuple[nodes.Entry, ...]:
    """The entries of a block that holds nothing else, each key once."""
    found: dict[str, nodes.Entry] = {}
    for statement in block.body:
        if type(statement) is not nodes.Entry or not statement.key:
            raise _problem(f"only entries stand in `{name}`", statement.span, ("key: value",))
        if statement.key in found:
            raise _problem(f"'{statement.key}' stands twice in `{name}`", statement.span, ())
        found[statement.key] = settled(statement)
    return tuple(found.values())


def _parallel(builder: _Builder, span: Span, block: nodes.Block) -> nodes.Stmt:
    branches = []
    names: set[str] = set()
    for statement in block.body:
        branch = _branch(statement)
        if branch.name is not None and branch.name in names:
            raise _problem(f"two branches of `parallel` are called '{branch.name}'", branch.span, ())
        names.add(branch.name or "")
        branches.append(branch)
    return nodes.Parallel(span, tuple(branches))


def _branch(statement: nodes.Stmt) -> nodes.ParallelBranch:
    content: Any = statement
    if type(statement) is nodes.Item and statement.body is None:
        content = statement.content
    if type(content) is nodes.Entry and content.key and content.body is None and content.value is not None:
        value = content.value
        if type(value) is not nodes.BareComparison:
            return nodes.ParallelBranch(statement.span, content.key, as_data(content))
    if content is not statement:
        plain = _value(content)
        if plain is not None:
            return nodes.ParallelBranch(statement.span, None, plain)
    raise _problem("this is no branch of `parallel`", statement.span, ("name: call(..)", "- call(..)"))


def _value(statement: Any) -> nodes.Expr | None:
    """The expression or verb phrase that a statement is, None if it is more than that."""
    if type(statement) is nodes.ExprStmt:
        return statement.value
    if type(statement) is nodes.VerbStmt and statement.body is None:
        return statement.phrase
    if type(statement) is nodes.CallStmt:
        first = nodes.SlotExpr(statement.call.span, statement.call)
        return nodes.VerbPhrase(statement.span, "", "", (first, *statement.slots), statement.text)
    return None


def _transaction(builder: _Builder, span: Span, block: nodes.Block) -> nodes.Stmt:
    body = tuple(undashed(builder, statement) for statement in block.body)
    return nodes.Transaction(span, nodes.Block(block.span, body))


def undashed(builder: _Builder, statement: nodes.Stmt) -> nodes.Stmt:
    """The statement behind a dash, as if no dash stood there."""
    if type(statement) is not nodes.Item:
        return statement
    content = statement.content
    if content is None or (type(content) is nodes.Entry and not content.key):
        raise _problem("a statement is missing behind the dash", statement.span, ("- call(..)",))
    if type(content) is nodes.Entry:
        return builder.in_code(msgspec.structs.replace(content, body=content.body or statement.body))
    if statement.body is not None:
        raise _problem("unexpected indent", statement.body.span, (), "AE104")
    return content


def _on_error(builder: _Builder, span: Span, block: nodes.Block) -> nodes.Stmt:
    """Rules, or a plain list of actions, which is one rule for any error."""
    groups: list[list[nodes.Entry]] = []
    actions: list[nodes.Stmt] = []
    for statement in block.body:
        content = statement.content if type(statement) is nodes.Item else None
        if type(content) is nodes.Entry and content.key == "when":
            body = statement.body.body if type(statement) is nodes.Item and statement.body is not None else ()
            groups.append([content, *_only_entries(body)])
        elif type(statement) is nodes.Entry and groups and statement.key in ("do", "retry", "then"):
            groups[-1].append(statement)
        elif type(statement) is nodes.Item and not groups:
            actions.append(undashed(builder, statement))
        else:
            raise _problem("only rules stand in `on_error`", statement.span, ("- when: Type", "do: call(..)"))
    if actions and groups:
        raise _problem("rules and plain actions cannot be mixed in `on_error`", span, ("- when: any",))
    if actions:
        return nodes.OnError(span, (nodes.ErrorRule(span, (), None, tuple(actions), None, None),))
    return nodes.OnError(span, tuple(_rule(builder, group) for group in groups))


def _only_entries(body: tuple[nodes.Stmt, ...]) -> list[nodes.Entry]:
    for statement in body:
        if type(statement) is not nodes.Entry:
            raise _problem("only entries stand in a rule", statement.span, ("do:", "retry:", "then:"))
    return [statement for statement in body if type(statement) is nodes.Entry]


def _rule(builder: _Builder, group: list[nodes.Entry]) -> nodes.ErrorRule:
    types: tuple[str, ...] = ()
    pattern = retry = then = None
    actions: list[nodes.Stmt] = []
    for entry in group:
        value = entry.value
        if entry.key == "when":
            types, pattern = _matched(entry)
        elif entry.key == "do":
            actions += _actions(builder, entry)
        elif entry.key == "retry" and value is not None:
            retry = as_data(entry)
        elif entry.key == "then" and type(value) is nodes.Name and value.name in _THEN:
            then = value.name
        elif entry.key == "then" and type(value) is nodes.Text and value.value in _THEN:
            then = value.value
        elif entry.key == "then":
            raise _problem("`then` says how the run goes on", entry.span, _THEN)
        else:
            raise _problem(f"'{entry.key}' is no key of a rule", entry.span, ("when", "do", "retry", "then"))
    span = Span(*_cover(group[0].span, group[-1].span))
    return nodes.ErrorRule(span, types, pattern, tuple(actions), retry, then)  # type: ignore[arg-type]


def _cover(first: Span, last: Span) -> tuple[int, int, int, int, int, int]:
    return first.line, first.column, last.end_line, last.end_column, first.start, last.end


def _matched(entry: nodes.Entry) -> tuple[tuple[str, ...], str | None]:
    """The error types and the part of a message that a rule is for."""
    value: Any = entry.value
    if type(value) is nodes.Text and not value.raw:
        return (), value.value
    if type(value) is nodes.Name:
        value = nodes.ListExpr(value.span, (value,))
    names = [element.name for element in value.elements if type(element) is nodes.Name] if (
        type(value) is nodes.ListExpr) else []  # fmt: skip
    if not names or len(names) != len(value.elements):
        raise _problem("`when` names the errors of a rule", entry.span, ("a type", "[Type, Type]", "any", "a text"))
    return (() if names == ["any"] else tuple(names)), None


def _actions(builder: _Builder, entry: nodes.Entry) -> list[nodes.Stmt]:
    value: Any = entry.value
    if entry.body is not None and value is None:
        return [undashed(builder, statement) for statement in entry.body.body]
    if entry.body is None and type(value) is nodes.VerbPhrase and value.verb:
        return [nodes.VerbStmt(value.span, value)]
    if (
        entry.body is None
        and value is not None
        and not isinstance(value, nodes.TextPhrase | nodes.BareComparison | nodes.Text)
    ):
        plain = nodes.Name(value.span, value.name) if isinstance(value, nodes.Name) else value
        return [nodes.ExprStmt(value.span, plain)]
    raise _problem("`do` holds what is done", entry.span, ("do: call(..)", "- call(..)"))


# ---------------------------------------------------------------- workflow


def _workflow(span: Span, label: str | None, block: nodes.Block) -> nodes.Workflow:
    given: dict[str, nodes.Expr] = {}
    steps: tuple[nodes.WorkflowStep, ...] = ()
    others = []
    for statement in block.body:
        if type(statement) is not nodes.Entry or not statement.key:
            raise _problem("this cannot stand in a workflow", statement.span, ("input:", "output:", "steps:"))
        if statement.key == "steps":
            steps += _steps(statement)
        elif statement.key in ("input", "output"):
            given[statement.key] = as_data(statement)
        else:
            others.append(settled(statement))
    return nodes.Workflow(span, label, given.get("input"), given.get("output"), steps, tuple(others))


def _steps(entry: nodes.Entry) -> tuple[nodes.WorkflowStep, ...]:
    if type(entry.value) is nodes.ListExpr and entry.body is None:
        elements = [element for element in entry.value.elements if not isinstance(element, nodes.Spread)]
        return tuple(nodes.WorkflowStep(e.span, _called(e), None, None, None, None, None) for e in elements)
    if entry.value is not None or entry.body is None:
        raise _problem("`steps:` takes one dash for each step", entry.span, ("- name", "- call(..) as x"))
    return tuple(_step(statement) for statement in entry.body.body)


def _step(statement: nodes.Stmt) -> nodes.WorkflowStep:
    content = statement.content if type(statement) is nodes.Item else None
    if type(content) is nodes.Entry and content.key:
        body = statement.body.body if type(statement) is nodes.Item and statement.body is not None else ()
        return _long_step(statement.span, [content, *_only_entries(body)])
    if type(statement) is nodes.Item and statement.body is not None:
        raise _problem("unexpected indent", statement.body.span, (), "AE104")
    head, slots = _head_and_slots(content)
    if head is None:
        raise _problem("this is no step", statement.span, ("- name as x", "- call(..) retry=2"))
    alias = retry = timeout = requires = condition = None
    for slot in slots:
        if type(slot) is nodes.SlotPrep and slot.prep == "as" and type(slot.value) is nodes.Name:
            alias = slot.value.name
        elif type(slot) is nodes.SlotKey and slot.key == "retry":
            retry = slot.value
        elif type(slot) is nodes.SlotKey and slot.key == "timeout":
            timeout = slot.value
        elif type(slot) is nodes.SlotKey and slot.key == "requires":
            requires = dotted_texts(slot.value)
        elif type(slot) is nodes.SlotGuard and slot.word == "if" and slot.condition is not None:
            condition = slot.condition
        else:
            raise _problem(
                "this cannot follow a step", slot.span, ("as x", "retry=2", "timeout=30s", "requires=[..]", "if cond")
            )
    return nodes.WorkflowStep(statement.span, _called(head), alias, retry, timeout, requires, condition)


def _head_and_slots(content: Any) -> tuple[nodes.Expr | None, tuple[nodes.Slot, ...]]:
    if type(content) is nodes.ExprStmt:
        return content.value, ()
    if type(content) is nodes.CallStmt:
        return content.call, content.slots
    if type(content) is nodes.ArrowStmt and content.target is None and content.guard is not None:
        return content.value, (content.guard,)
    if type(content) is nodes.Entry and type(content.value) is nodes.TextPhrase:
        first, *rest = content.value.slots
        if type(first) is nodes.SlotExpr:
            return first.value, tuple(rest)
    return None, ()


def _called(head: nodes.Expr) -> nodes.Expr:
    """What a step calls: a call as it is, a name or a dotted name as a value."""
    if type(head) is nodes.Name:
        return nodes.Name(head.span, head.name, "value", head.sigil)
    if type(head) in (nodes.Call, nodes.MethodCall, nodes.Field):
        return head
    raise _problem("a step is a name or a call", head.span, ("- name", "- call(..)"))


def _long_step(span: Span, entries: list[nodes.Entry]) -> nodes.WorkflowStep:
    """`- call: x` with `args:` and the rest below."""
    given: dict[str, nodes.Expr] = {}
    for entry in entries:
        if entry.key not in _STEP_KEYS:
            raise _problem(f"'{entry.key}' is no key of a step", entry.span, tuple(sorted(_STEP_KEYS))[:6])
        given[entry.key] = settled(entry).value  # type: ignore[assignment]
    head = given.get("call")
    if type(head) is nodes.Text and head.value:
        parts = head.value.split(".")
        head = _dotted(head.span, parts) if all(part.isidentifier() for part in parts) else head
    if head is None or type(head) is nodes.Null:
        raise _problem("`call` is missing in this step", span, ("- call: name",))
    call = _called(head)
    if "args" in given:
        call = _with_arguments(call, given["args"])
    alias = given.get("as")
    name = alias.name if type(alias) is nodes.Name else alias.value if type(alias) is nodes.Text else None
    return nodes.WorkflowStep(
        span, call, name, given.get("retry"), given.get("timeout"), given.get("requires"), given.get("if")
    )


def _with_arguments(call: nodes.Expr, given: nodes.Expr) -> nodes.Expr:
    """The call of a long step with what stood under `args:`: a dict by name, a list by place."""
    if type(call) in (nodes.Call, nodes.MethodCall):
        raise _problem("this call has its arguments already", given.span, ())
    args: list[nodes.Arg] = []
    if type(given) is nodes.DictExpr:
        for pair in given.pairs:
            key = pair.key.value if type(pair.key) is nodes.Text else None
            args.append(nodes.Arg(pair.span, pair.value, key, pair.key is None))
    elif type(given) is nodes.ListExpr:
        for element in given.elements:
            if isinstance(element, nodes.Spread):
                args.append(nodes.Arg(element.span, element.value, None, True))
            else:
                args.append(nodes.Arg(element.span, element))
    else:
        args.append(nodes.Arg(given.span, given))
    if type(call) is nodes.Field:
        return nodes.MethodCall(call.span, call.value, call.name, tuple(args))
    return nodes.Call(call.span, call, tuple(args))


def _dotted(span: Span, parts: list[str]) -> nodes.Expr:
    value: nodes.Expr = nodes.Name(span, parts[0])
    for part in parts[1:]:
        value = nodes.Field(span, value, part)
    return value


def _problem(message: str, span: Span, expected: tuple[str, ...], code: str = "AE402") -> SyntaxProblem:
    return SyntaxProblem(
        code, message, span.start, span.end, expected=expected, kind="syntax" if code < "AE2" else "check"
    )


_BLOCKS: dict[str, Callable[[_Builder, Span, nodes.Block], nodes.Stmt]] = {
    "meta": lambda _, span, block: nodes.Meta(span, _entries("meta", block)),
    "policy": lambda _, span, block: nodes.Policy(span, _entries("policy", block)),
    "require": lambda _, span, block: nodes.Require(span, _entries("require", block)),
    "parallel": _parallel,
    "transaction": _transaction,
    "on_error": _on_error,
}
