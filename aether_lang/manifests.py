"""The builder's part for manifests: `steps:` and its like, with dash records (section 14.3)."""

from __future__ import annotations

from collections.abc import Callable

from . import nodes
from .data import as_data, settled
from .errors import SyntaxProblem
from .nodes import Span
from .words import verb_base

MOST_LEVELS = 64
"""How deep `then`, `else` and `do` may stand in each other."""
_ACTIONS = frozenset({"action", "call"})
_PARAMS = ("params", "args", "parameters", "with", "inputs")
_CONDITIONS = ("if", "condition", "when")
_OUTPUTS = ("output", "store_as")
_MAKES_A_STEP = frozenset({"using", "if", "condition", "for", "for_each", "do", "then", "output", "store_as"})
_TAKEN = frozenset(
    {"using", *_PARAMS, *_CONDITIONS, *_OUTPUTS, "then", "else", "for", "for_each", "as", "do", "log"}
)  # fmt: skip


class Manifests:
    """Builds the manifests of one script. `expression` reads the text of a string as an expression, in its place;
    `source` is the text of the script. Names that steps have given their results to are remembered, since a text that
    names one of them is a reference."""

    def __init__(self, source: str, expression: Callable[[nodes.Text], nodes.Expr]) -> None:
        self._source = source
        self._expression = expression
        self._outputs: set[str] = set()

    def read(self, entry: nodes.Entry) -> nodes.Manifest | None:
        """The entry as a manifest, None when none of its records is a step."""
        body = entry.body.body if entry.body is not None else ()
        records = [_record(statement) for statement in body]
        if not any(_is_step(record) for record in records):
            return None
        data = as_data(entry, self._quoted)
        return nodes.Manifest(entry.span, entry.key, data, self._steps(records, 1))

    def _quoted(self, value: nodes.Expr) -> nodes.Expr:
        """A value as `manifest()` shows it: a literal as it is, what would be computed as the text it stood as."""
        kept = (nodes.Null, nodes.Bool, nodes.Number, nodes.Text, nodes.ListExpr, nodes.DictExpr)
        if isinstance(value, kept) or (isinstance(value, nodes.Name) and value.role == "symbol"):
            return value
        text = self._source[value.span.start : value.span.end]
        return nodes.Text(value.span, text.strip("\"'") if isinstance(value, nodes.TextTemplate) else text)

    # ------------------------------------------------------------ records

    def _steps(self, records: list[list[nodes.Entry]], level: int) -> tuple[nodes.ManifestStep, ...]:
        return tuple(self._step(record, level) for record in records if _is_step(record))

    def _step(self, record: list[nodes.Entry], level: int) -> nodes.ManifestStep:
        first = record[0]
        if level > MOST_LEVELS:
            message = f"steps stand in each other deeper than {MOST_LEVELS} levels"
            raise SyntaxProblem("AE110", message, first.span.start, first.span.end)
        given: dict[str, nodes.Entry] = {}
        for entry in record:
            if entry.key in given:
                raise _problem(f"'{entry.key}' stands twice in this step", entry.span, ())
            given[entry.key] = entry
        names, iterable = self._loop(given)
        output = self._name(given, _OUTPUTS)
        if output is not None:
            self._outputs.add(output)
        span = Span(
            first.span.line, first.span.column, record[-1].span.end_line, record[-1].span.end_column, first.span.start,
            record[-1].span.end,
        )  # fmt: skip
        using = given.get("using")
        return nodes.ManifestStep(
            span,
            first.key,
            None if first.key in _TAKEN else _subject(first),
            None if using is None else self._called(using),
            self._params(given),
            output,
            self._condition(given),
            self._nested(given.get("then"), level),
            self._nested(given.get("else"), level),
            names,
            iterable,
            self._nested(given.get("do"), level),
            as_data(given["log"]) if "log" in given else None,
            tuple(settled(entry) for entry in record[1:] if entry.key not in _TAKEN),
        )

    def _one(self, given: dict[str, nodes.Entry], keys: tuple[str, ...]) -> nodes.Entry | None:
        found = [given[key] for key in keys if key in given]
        if len(found) > 1:
            raise _problem(f"`{found[0].key}` and `{found[1].key}` say the same", found[1].span, ())
        return found[0] if found else None

    def _name(self, given: dict[str, nodes.Entry], keys: tuple[str, ...]) -> str | None:
        entry = self._one(given, keys)
        if entry is None:
            return None
        value = entry.value
        if type(value) is nodes.Name:
            return value.name
        if type(value) is nodes.Text and value.value.isidentifier():
            return value.value
        raise _problem(f"`{entry.key}` takes a name", entry.span, ("a name",))

    def _called(self, entry: nodes.Entry) -> nodes.Expr:
        """What does the step: a call as written, or the name of a function."""
        value = entry.value
        if type(value) in (nodes.Call, nodes.MethodCall, nodes.Field):
            return value  # type: ignore[return-value]
        if type(value) is nodes.Name:
            return nodes.Name(value.span, value.name)
        if type(value) is nodes.Text and all(part.isidentifier() for part in value.value.split(".")):
            return self._expression(value)
        raise _problem("`using` names what does the step", entry.span, ("using: call(..)", "using: name"))

    def _params(self, given: dict[str, nodes.Entry]) -> nodes.Expr | None:
        entry = self._one(given, _PARAMS)
        if entry is None:
            return None
        return as_data(entry, self._text_of_inputs if entry.key == "inputs" else self._reference)

    def _text_of_inputs(self, value: nodes.Expr) -> nodes.Expr:
        return self._expression(value) if type(value) is nodes.Text and not value.raw else value

    def _reference(self, value: nodes.Expr) -> nodes.Expr:
        """A text that names the result of a step before, or a variable by its sigil, is read as that."""
        if type(value) is nodes.DictExpr:
            pairs = tuple(nodes.Pair(pair.span, pair.key, self._reference(pair.value)) for pair in value.pairs)
            return nodes.DictExpr(value.span, pairs)
        if type(value) is nodes.ListExpr:
            parts = (e if isinstance(e, nodes.Spread) else self._reference(e) for e in value.elements)
            return nodes.ListExpr(value.span, tuple(parts))
        if type(value) is not nodes.Text or value.raw:
            return value
        head, *rest = value.value.split(".")
        known = head[1:].isidentifier() if head.startswith("$") else head in self._outputs
        return self._expression(value) if known and all(part.isidentifier() for part in rest) else value

    def _condition(self, given: dict[str, nodes.Entry]) -> nodes.Expr | None:
        entry = self._one(given, _CONDITIONS)
        return None if entry is None else self._read(entry)

    def _read(self, entry: nodes.Entry) -> nodes.Expr:
        """The expression that an entry holds, as such or as text."""
        value = entry.value
        if entry.body is not None or value is None or type(value) in (nodes.TextPhrase, nodes.BareComparison):
            raise _problem(f"`{entry.key}` takes an expression", entry.span, ("an expression", "a text"))
        if type(value) is nodes.Text and not value.raw:
            return self._expression(value)
        return nodes.Name(value.span, value.name) if type(value) is nodes.Name else value  # type: ignore[return-value]

    def _loop(self, given: dict[str, nodes.Entry]) -> tuple[tuple[str, ...], nodes.Expr | None]:
        if "for_each" in given:
            name = self._name(given, ("as",)) or "item"
            return (name,), self._read(given["for_each"])
        if "for" not in given:
            return (), None
        entry = given["for"]
        value = entry.value
        if type(value) is nodes.TextPhrase:
            words = [slot.value for slot in value.slots if type(slot) is nodes.SlotExpr]
            names = [word.name for word in words if type(word) is nodes.Name]
            last = value.slots[-1]
            if names[:1] == ["each"] and len(names) > 1:
                names = names[1:]
            if (
                type(last) is nodes.SlotPrep and last.prep == "in" and last.value is not None
                and len(names) in (1, 2) and len(value.slots) == len(words) + 1
            ):  # fmt: skip
                iterable = last.value
                if type(iterable) is nodes.Name:
                    iterable = nodes.Name(iterable.span, iterable.name)
                return tuple(names), iterable
        raise _problem("`for` says what it goes over", entry.span, ("for: each x in xs",))

    def _nested(self, entry: nodes.Entry | None, level: int) -> tuple[nodes.ManifestStep, ...]:
        """The steps under `then`, `else` or `do`: dash records, one record, or one call."""
        if entry is None:
            return ()
        if entry.body is not None:
            body = entry.body.body
            if all(type(statement) is nodes.Entry for statement in body):
                return self._steps([list(body)], level + 1)  # type: ignore[arg-type]
            return self._steps([_record(statement) for statement in body], level + 1)
        call = nodes.Entry(entry.span, "using", entry.value)
        return (
            (self._step([nodes.Entry(entry.span, "call", None), call], level + 1),) if entry.value is not None else ()
        )


def _record(statement: nodes.Stmt) -> list[nodes.Entry]:
    """The entries of a dash record; a bare call or verb behind the dash is a record of one step."""
    if type(statement) is not nodes.Item:
        return []
    content = statement.content
    rest = statement.body.body if statement.body is not None else ()
    entries = [entry for entry in rest if type(entry) is nodes.Entry]
    if type(content) is nodes.Entry and content.key:
        return [content, *entries]
    if type(content) is nodes.ExprStmt and type(content.value) in (nodes.Call, nodes.MethodCall):
        return [nodes.Entry(content.span, "call", None), nodes.Entry(content.span, "using", content.value), *entries]
    return []


def _is_step(record: list[nodes.Entry]) -> bool:
    if not record:
        return False
    first = record[0].key
    return first in _ACTIONS or verb_base(first) == first or any(entry.key in _MAKES_A_STEP for entry in record)


def _subject(entry: nodes.Entry) -> nodes.Expr | None:
    """The value of the first key; what stands in slots behind a verb is the phrase of that verb."""
    value = entry.value
    if type(value) is nodes.TextPhrase and verb_base(entry.key) == entry.key:
        return nodes.VerbPhrase(value.span, entry.key, entry.key, value.slots, value.text)
    return None if value is None and entry.body is None else as_data(entry)


def _problem(message: str, span: Span, expected: tuple[str, ...]) -> SyntaxProblem:
    return SyntaxProblem("AE405", message, span.start, span.end, expected=expected, kind="check")


__all__ = ["Manifests"]
