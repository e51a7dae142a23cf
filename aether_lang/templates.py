"""The builder's part for plugin templates: `trigger memory ai actions feedback` of a plugin block (section 14.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import nodes
from .data import as_data, settled
from .errors import SyntaxProblem
from .nodes import Span

KEYS = ("trigger", "memory", "ai", "actions", "feedback")


def template(
    entries: list[nodes.Entry], undashed: Callable[[nodes.Stmt], nodes.Stmt]
) -> tuple[nodes.Template | None, list[nodes.Entry]]:
    """The template that the fields of a plugin block make, and the fields that are none of it. A key of a template
    counts where deeper lines belong to it; with a mere value it is a field like any other."""
    given: dict[str, nodes.Entry] = {}
    fields = []
    for entry in entries:
        if entry.key in KEYS and entry.body is not None and entry.value is None:
            if entry.key in given:
                raise _problem(f"`{entry.key}` stands twice", entry.span, ())
            given[entry.key] = entry
        else:
            fields.append(entry)
    if not given.keys() & {"trigger", "ai", "actions", "feedback"}:
        return None, entries
    memory = _inside(given.get("memory"), ("retrieve", "store"))
    ai = _inside(given.get("ai"), ("goal", "model", "constraints", "output"))
    return nodes.Template(
        trigger=_trigger(given.get("trigger")),
        retrieve=_conditions(_parts(memory.get("retrieve"), ("from", "limit", "filter"))),
        store=_parts(memory.get("store"), ("into",)),
        goal=as_data(ai["goal"]) if "goal" in ai else None,
        model=as_data(ai["model"]) if "model" in ai else None,
        constraints=_constraints(ai.get("constraints")),
        output=_output(ai.get("output")),
        actions=tuple(undashed(statement) for statement in _body(given.get("actions"))),
        feedback=_feedback(given.get("feedback")),
        span=_cover([entry.span for entry in given.values()]),
    ), fields


def _cover(spans: list[Span]) -> Span:
    first = min(spans, key=lambda span: span.start)
    last = max(spans, key=lambda span: span.end)
    return Span(first.line, first.column, last.end_line, last.end_column, first.start, last.end)


def _body(entry: nodes.Entry | None) -> tuple[nodes.Stmt, ...]:
    return entry.body.body if entry is not None and entry.body is not None else ()


def _inside(entry: nodes.Entry | None, keys: tuple[str, ...]) -> dict[str, nodes.Entry]:
    """The entries below one key of the template."""
    found: dict[str, nodes.Entry] = {}
    for statement in _body(entry):
        if type(statement) is not nodes.Entry or statement.key not in keys or statement.key in found:
            raise _problem(f"this cannot stand in `{entry.key}`" if entry else "", statement.span, keys)
        found[statement.key] = statement
    return found


def _parts(entry: nodes.Entry | None, keys: tuple[str, ...]) -> tuple[nodes.Entry, ...]:
    if entry is not None and entry.body is None:
        raise _problem(f"`{entry.key}` takes deeper lines", entry.span, tuple(f"{key}:" for key in keys))
    return tuple(settled(part) for part in _inside(entry, keys).values())


def _conditions(parts: tuple[nodes.Entry, ...]) -> tuple[nodes.Entry, ...]:
    """The parts of `retrieve`, whose filter is a condition on an entry."""
    for part in parts:
        if part.key == "filter" and type(part.value) in (nodes.Text, nodes.ListExpr, nodes.DictExpr):
            raise _problem("`filter` takes a condition on an entry", part.span, ('filter: tag == "x"',))
    return parts


def _trigger(entry: nodes.Entry | None) -> nodes.Trigger | None:
    if entry is None:
        return None
    schedule = event = guard = None
    for statement in _body(entry):
        if type(statement) is nodes.Entry and statement.key == "schedule" and schedule is None:
            schedule = _text(statement)
        elif type(statement) is nodes.Entry and statement.key == "on_event" and event is None:
            event = _text(statement)
        elif type(statement) is nodes.If and guard is None and not statement.branches[0].body.body:
            guard = statement.branches[0].condition
        else:
            raise _problem("this cannot stand in `trigger`", statement.span, ("schedule:", "on_event:", "if cond"))
    return nodes.Trigger(entry.span, schedule, event, guard)


def _text(entry: nodes.Entry) -> str:
    value: Any = entry.value
    if type(value) is nodes.Text:
        return str(value.value)
    if type(value) is nodes.Name:
        return str(value.name)
    if type(value) is nodes.Number:
        return str(value.text)
    if type(value) in (nodes.TextPhrase, nodes.VerbPhrase):
        return str(value.text) if type(value) is nodes.TextPhrase else f"{value.verb} {value.text}"
    raise _problem(f"`{entry.key}` takes a text", entry.span, ("a text",))


def _constraints(entry: nodes.Entry | None) -> tuple[nodes.Expr, ...]:
    if entry is None:
        return ()
    listed = as_data(entry)
    if type(listed) is nodes.ListExpr:
        return tuple(element for element in listed.elements if not isinstance(element, nodes.Spread))
    return (listed,)


def _output(entry: nodes.Entry | None) -> str | None:
    if entry is None:
        return None
    if type(entry.value) is nodes.Name:
        return entry.value.name
    if type(entry.value) is nodes.Text and entry.value.value.isidentifier():
        return entry.value.value
    raise _problem("`output` takes a name", entry.span, ("a name",))


def _feedback(entry: nodes.Entry | None) -> nodes.Feedback | None:
    if entry is None:
        return None
    expect: nodes.Expr | None = None
    block: nodes.Block | None = None
    for statement in _body(entry):
        if type(statement) is nodes.Entry and statement.key == "expect" and expect is None:
            expect = as_data(statement)
        elif type(statement) is nodes.If and block is None and _is_silence(statement):
            block = statement.branches[0].body
        else:
            raise _problem("this cannot stand in `feedback`", statement.span, ("expect:", "if no_response:"))
    return nodes.Feedback(entry.span, expect, block)


def _is_silence(statement: nodes.If) -> bool:
    condition = statement.branches[0].condition
    return (
        len(statement.branches) == 1
        and statement.otherwise is None
        and type(condition) is nodes.Name
        and condition.name == "no_response"
    )


def _problem(message: str, span: Span, expected: tuple[str, ...]) -> SyntaxProblem:
    return SyntaxProblem("AE404", message, span.start, span.end, expected=expected, kind="check")


__all__ = ["KEYS", "template"]
