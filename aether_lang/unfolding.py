"""Steps as the nodes that they mean: a manifest is the statements that do its records (language reference, 14.3), the
head of a workflow's step is a call (12.4). The checker, the walk over the names and the compiler see the same nodes.

A record does, in this order: its loop, a round for each element; its condition, which without `then` and `else` decides
about all of it; its own work, whose result is `output`; its message; its branches; its `do`. A record that begins with
`log` says its message first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from . import host, jobs, nodes, stdlib
from .words import verb_base

CALLS: Final = frozenset({"action", "call"})
"""Keys of a record whose value names what is called."""
GIVEN: Final = "@given"
"""The name, which no script can write, of what a step of a workflow gets from the step before it."""
_FUNCTIONS: Final = host.FUNCTIONS.keys() | jobs.FUNCTIONS.keys() | stdlib.FUNCTIONS.keys()
_LABELS: Final = frozenset({"if", "condition", "when", "for", "for_each", "as", "do", "then", "else", "using", "output",
                            "store_as", "log", "params", "args", "parameters", "with", "inputs"})  # fmt: skip
"""First keys that say how, and not what, a record does."""
_PREPOSITIONS: Final = frozenset({"for", "from", "to", "with", "as", "into", "in", "about", "on", "using"})


def statements(manifest: nodes.Manifest) -> tuple[nodes.Stmt, ...]:
    """What a manifest does when it is reached."""
    return tuple(statement for step in manifest.steps for statement in _record(step))


def _record(step: nodes.ManifestStep) -> list[nodes.Stmt]:
    body = _body(step)
    if step.iterable is None:
        return body
    return [nodes.For(step.span, step.names, step.iterable, _block(step, body))]


def _body(step: nodes.ManifestStep) -> list[nodes.Stmt]:
    """One round of a record."""
    done = [*_work(step), *_message(step)]
    if step.action == "log":
        done.reverse()
    nested = [statement for each in step.do for statement in _record(each)]
    if step.condition is None:
        return done + nested
    if step.then or step.otherwise:
        then = _block(step, [statement for each in step.then for statement in _record(each)])
        otherwise = _block(step, [statement for each in step.otherwise for statement in _record(each)])
        branch = nodes.Branch(step.condition.span, step.condition, then)
        return [*done, nodes.If(step.span, (branch,), otherwise if step.otherwise else None), *nested]
    branch = nodes.Branch(step.condition.span, step.condition, _block(step, done + nested))
    return [nodes.If(step.span, (branch,), None)]


def _block(step: nodes.ManifestStep, body: list[nodes.Stmt]) -> nodes.Block:
    return nodes.Block(step.span, tuple(body))


def _message(step: nodes.ManifestStep) -> list[nodes.Stmt]:
    if step.log is None:
        return []
    phrase = nodes.VerbPhrase(step.log.span, "log", "log", (nodes.SlotExpr(step.log.span, step.log),), "")
    return [nodes.VerbStmt(step.span, phrase)]


def _work(step: nodes.ManifestStep) -> list[nodes.Stmt]:
    """The work of a record itself, its result bound to `output`."""
    value = work(step)
    if value is None:
        return []
    if step.output is None:
        return [nodes.ExprStmt(step.span, value)]
    return [nodes.Assign(step.span, nodes.Name(step.span, step.output), "=", value)]


def work(step: nodes.ManifestStep) -> nodes.Expr | None:
    """The call or verb that a record does, None for one that only decides, repeats or says something."""
    if step.using is not None:
        bare = type(step.using) in (nodes.Name, nodes.Field) and step.params is None and step.action not in CALLS
        subject = () if step.subject is None or not bare else (nodes.Arg(step.subject.span, step.subject),)
        return called(step.using, (*subject, *_arguments(step.params)))
    if step.action in CALLS:
        return _named(step.action, step.subject, step)
    if verb_base(step.action) == step.action and step.action not in _LABELS:
        return _verb(step.action, step.subject, step)
    for entry in step.others:
        if entry.key in CALLS:
            return _named(entry.key, entry.value, step)  # type: ignore[arg-type]  # settled: an expression
    if step.action in _LABELS or (step.params is None and (step.then or step.otherwise or step.do or step.log)):
        return None
    subject = () if step.subject is None else (nodes.Arg(step.subject.span, step.subject),)
    return nodes.Call(step.span, nodes.Name(step.span, step.action), (*subject, *_arguments(step.params)))


def _named(key: str, subject: nodes.Expr | None, step: nodes.ManifestStep) -> nodes.Expr | None:
    """What `action: x` and `call: x` do: a call, or a verb by its bare word, unless it is a function."""
    if subject is None:
        return None
    word = subject.name if type(subject) is nodes.Name else subject.value if type(subject) is nodes.Text else ""
    if key == "action" and word.isidentifier() and verb_base(word) == word and word not in _FUNCTIONS:
        return _verb(word, None, step)
    if word and all(part.isidentifier() for part in word.split(".")):
        head, *rest = word.split(".")
        subject = nodes.Name(subject.span, head)
        for part in rest:
            subject = nodes.Field(subject.span, subject, part)
    return called(subject, _arguments(step.params))


def _verb(verb: str, subject: nodes.Expr | None, step: nodes.ManifestStep) -> nodes.Expr:
    """The verb with the value of its key and the parameters of the record as its slots."""
    slots: list[nodes.Slot] = []
    text = ""
    if type(subject) is nodes.VerbPhrase and subject.verb == verb:
        slots, text = list(subject.slots), subject.text
    elif subject is not None:
        slots = [nodes.SlotExpr(subject.span, subject)]
        text = subject.value if type(subject) is nodes.Text else ""
    for arg in _arguments(step.params):
        if arg.name is None:
            slots.append(nodes.SlotExpr(arg.span, arg.value))
        elif arg.name in _PREPOSITIONS:
            slots.append(nodes.SlotPrep(arg.span, arg.name, arg.value))
        else:
            slots.append(nodes.SlotKey(arg.span, arg.name, arg.value))
    return nodes.VerbPhrase(step.span, verb, verb, tuple(slots), text)


def _arguments(params: nodes.Expr | None) -> tuple[nodes.Arg, ...]:
    """`params:` as arguments: a dict by name, a list by place, anything else as the only one."""
    if params is None:
        return ()
    if type(params) is nodes.DictExpr and all(type(pair.key) is nodes.Text for pair in params.pairs):
        return tuple(
            nodes.Arg(pair.span, pair.value, pair.key.value) for pair in params.pairs if type(pair.key) is nodes.Text
        )
    if type(params) is nodes.ListExpr:
        return tuple(
            nodes.Arg(e.span, e.value, None, True) if isinstance(e, nodes.Spread) else nodes.Arg(e.span, e)
            for e in params.elements
        )
    return (nodes.Arg(params.span, params),)


def called(head: nodes.Expr, args: tuple[nodes.Arg, ...]) -> nodes.Expr:
    """A name, a dotted name or a call as written, called with those arguments added."""
    if type(head) is nodes.Call:
        return nodes.Call(head.span, head.function, (*head.args, *args), head.safe, head.effect)
    if type(head) is nodes.MethodCall:
        return nodes.MethodCall(head.span, head.receiver, head.method, (*head.args, *args), head.safe, head.effect)
    if type(head) is nodes.Field:
        return nodes.MethodCall(head.span, head.value, head.name, args, head.safe, True)
    if type(head) is nodes.Name and head.role == "symbol":
        head = nodes.Name(head.span, head.name)
    return nodes.Call(head.span, head, args)


def step_call(step: nodes.WorkflowStep, *, first: bool) -> nodes.Expr:
    """What a step of a workflow calls: a bare name with what the step before gave, a call as it is written. `first`
    marks the first step of a workflow without an input."""
    head = step.call
    if type(head) is not nodes.Name and type(head) is not nodes.Field:
        return head
    return called(head, () if first else (nodes.Arg(head.span, nodes.Name(head.span, GIVEN)),))


def repeated(node: nodes.Call) -> nodes.Call | None:
    """`retry(f(x))` with its call as a function, so that it is not done before; None for any other call."""
    one = node.args[0] if len(node.args) == 1 else None
    if one is None or one.name is not None or one.spread or not isinstance(one.value, nodes.Call | nodes.MethodCall):
        return None
    again = nodes.Lambda(one.span, (), one.value)
    return nodes.Call(node.span, node.function, (nodes.Arg(one.span, again),), node.safe, node.effect)


def results(node: nodes.Node) -> Iterator[str]:
    """The names that a workflow, or a record of a manifest, gives its results to: names of the module."""
    if isinstance(node, nodes.Workflow):
        yield from (step.alias for step in node.steps if step.alias is not None)
        if isinstance(node.output, nodes.Name):
            yield node.output.name
    elif isinstance(node, nodes.ManifestStep) and node.output is not None:
        yield node.output


def step_name(step: nodes.WorkflowStep) -> str:
    """What errors and `retry` call a step: the name of what it calls."""
    head = step.call
    parts: list[str] = []
    if type(head) is nodes.MethodCall:
        parts, head = [head.method], head.receiver
    elif type(head) is nodes.Call:
        head = head.function
    while type(head) is nodes.Field:
        parts.append(head.name)
        head = head.value
    if type(head) is nodes.Name:
        parts.append(head.name)
    elif type(head) is nodes.Path:
        parts.append(head.path)
    elif type(head) is nodes.Text:
        parts.append(head.value)
    return ".".join(reversed(parts)) or "call"


def named_workflow(node: nodes.Workflow) -> nodes.Function:
    """`workflow name { .. }` as the function that runs it: its `input` is the parameter, its value the result."""
    given = nodes.Param(node.span, "input", node.input or nodes.Null(node.span))
    inner = nodes.Workflow(node.span, None, nodes.Name(node.span, "input"), node.output, node.steps, node.entries)
    assert node.name is not None
    return nodes.Function(node.span, node.name, (given,), nodes.Block(node.span, (inner,)))


def template_handler(plugin: nodes.Plugin) -> nodes.Handler:
    """The work of a template as the `on_run` of its plugin block."""
    template = plugin.template
    assert template is not None
    return nodes.Handler(template.span, "on_run", None, (), nodes.Block(template.span, (template,)))  # type: ignore[arg-type]


def filtered(entry: nodes.Entry) -> nodes.SlotGuard:
    """`filter: cond` as a condition on an entry, whose fields come before variables."""
    return nodes.SlotGuard(entry.span, "where", entry.value)  # type: ignore[arg-type]  # settled: an expression


def item_statement(item: nodes.Item) -> nodes.Stmt | None:
    """A dash or numbered line among statements as the statement it is; None when it holds only data."""
    content = item.content
    if type(content) is not nodes.Entry:
        return content if item.body is None else None
    if item.body is not None or content.body is not None or content.value is None:
        return None
    value = content.value
    if verb_base(content.key) == content.key:
        slots = value.slots if type(value) is nodes.TextPhrase else (nodes.SlotExpr(value.span, value),)  # type: ignore[arg-type]
        text = value.text if type(value) is nodes.TextPhrase else ""
        return nodes.VerbStmt(content.span, nodes.VerbPhrase(content.span, content.key, content.key, slots, text))
    if item.number is None or not content.key.isidentifier() or type(value) is nodes.BareComparison:
        return None
    if type(value) is nodes.TextPhrase:
        value = nodes.Text(value.span, value.text, True)
    return nodes.Assign(content.span, nodes.Name(content.span, content.key), "=", value, colon=True)  # type: ignore[arg-type]
