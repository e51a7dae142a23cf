"""The checker's half for declarations: intent blocks, templates, manifests, fields of plugins (sections 11, 12, 14)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from . import nodes, unfolding
from .contracts import RequirementText, requirement, schema_faults, terms
from .data import NO_VALUE, dotted_word, key_span, plain
from .errors import Diagnostic, Source, SyntaxProblem
from .jobs import CATCHABLE
from .reach import CAPABILITIES
from .schedules import ScheduleError, parse_schedule
from .words import nearest

META_KEYS = ("name", "version", "author", "purpose", "seed", "schedule", "tz", "description", "tags")
REQUIRE_KEYS = ("plugins", "capabilities", "agents", "models")
CONTRACT_KEYS = (
    "id", "version", "input_schema", "output_schema", "deterministic", "side_effects", "timeout", "permissions",
)  # fmt: skip
_MEMORY_ACCESS = ("none", "read-only", "write-only", "read-write")
_DURATION = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*(?:ms|s|m|h|d|w|(?:second|minute|hour|day|week|month)s?)?\s*", re.I)


def _number(low: float, high: float, *, whole: bool) -> Callable[[Any], bool]:
    kinds = (int,) if whole else (int, float)
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high


def _duration(value: Any) -> bool:
    if isinstance(value, str):
        return _DURATION.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in words), "one of " + ", ".join(words)


_BOOL: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, bool)), "true or false"
_COUNT = _number(0, 1e12, whole=True)
POLICY: dict[str, tuple[Callable[[Any], bool], str]] = {
    "risk_budget": (_number(0, 1, whole=False), "a number from 0 to 1"),
    "token_budget": (_COUNT, "a whole number"),
    "data_class": ((lambda value: isinstance(value, str)), "a text"),
    "deterministic": _BOOL,
    "seed": ((lambda value: isinstance(value, int | str) and not isinstance(value, bool)), "a whole number or a text"),
    "mock_io": _BOOL,
    "on_error": _one_of("stop", "continue", "rollback"),
    "timeout_default": (_duration, "a duration"),
    "max_retries": (_number(0, 100, whole=True), "a whole number up to 100"),
    "unbound_calls": _one_of("error", "null", "ai"),
    "unbound_names": _one_of("error", "null"),
    "strict": _BOOL,
    "strict_null": _BOOL,
    "max_steps": (_number(1, 1e12, whole=True), "a whole number from 1"),
    "max_time": (_duration, "a duration"),
    "max_concurrency": (_number(1, 1000, whole=True), "a whole number from 1"),
}
"""The keys of `policy:` (section 12.2): whether a value fits, and what fits in words for people."""


class DeclarationChecks:
    """Checks of declarations. `Checker` gives the walk, the scopes and the notes."""

    module: nodes.Module
    reached: set[str]
    _note: Callable[..., None]
    _push: Callable[..., None]

    def declare(self) -> None:
        """Looks at what counts wherever it stands: the policies of the script."""
        self.policy: dict[str, Any] = {}
        for node in self.module.body:
            if isinstance(node, nodes.Policy):
                self.policy |= {entry.key: plain(entry.value) for entry in node.entries}
        self.strict = self.policy.get("strict") is True

    # ------------------------------------------------------------ intent blocks

    def _unknown_key(self, entry: nodes.Entry, what: str, known: Iterable[str]) -> None:
        near = nearest(entry.key, set(known))
        hint = f"did you mean `{near}`?" if near else "known are " + ", ".join(known)
        code = "AE406" if self.strict else "AW406"
        self._note(code, f"'{entry.key}' is no key of `{what}`", key_span(entry, entry.key), hint)

    def _meta(self, node: nodes.Meta, scope: Any, loop: bool) -> None:
        zones = (plain(entry.value) for entry in node.entries if entry.key == "tz")
        zone = next((zone for zone in zones if isinstance(zone, str)), "UTC")
        for entry in node.entries:
            if entry.key == "schedule":
                self._scheduled(entry, zone)
            elif entry.key not in META_KEYS:
                self._unknown_key(entry, "meta", META_KEYS)

    def _policy(self, node: nodes.Policy, scope: Any, loop: bool) -> None:
        for entry in node.entries:
            if entry.key not in POLICY:
                self._unknown_key(entry, "policy", POLICY)
                continue
            fits, what = POLICY[entry.key]
            value = plain(entry.value)
            if value is NO_VALUE or not fits(value):
                place = entry.value.span if entry.value is not None else entry.span
                self._note("AE407", f"`{entry.key}` of the policy is {what}", place)
            elif entry.key == "token_budget":
                self._no_effect(entry, "`token_budget` of the policy")

    def _require(self, node: nodes.Require, scope: Any, loop: bool) -> None:
        for entry in node.entries:
            if entry.key not in REQUIRE_KEYS:
                self._unknown_key(entry, "require", REQUIRE_KEYS)
                continue
            for element in _elements(entry.value):
                text = plain(element)
                if not isinstance(text, str):
                    self._note("AE408", f"`{entry.key}:` lists texts", element.span)
                elif entry.key == "capabilities":
                    self._capability(text, element.span)
                else:
                    self._requirement(text, element.span)

    def _capability(self, word: str, span: nodes.Span) -> None:
        if word not in CAPABILITIES:
            near = nearest(word, set(CAPABILITIES))
            self._note("AE301", f"'{word}' is no capability", span, near and f"did you mean `{near}`?")

    def _requirement(self, text: str, span: nodes.Span) -> None:
        try:
            requirement(text)
        except RequirementText as error:
            self._note("AE408", str(error), span)

    def _contract(self, node: nodes.PluginContract, scope: Any, loop: bool) -> None:
        for entry in node.entries:
            if entry.key not in CONTRACT_KEYS:
                self._unknown_key(entry, "plugin_contract", CONTRACT_KEYS)
            elif fault := self._contract_fault(entry):
                self._note("AE409", fault, entry.value.span if entry.value is not None else entry.span)
        if node.name is None and not any(entry.key == "id" for entry in node.entries):
            self._note("AE409", "a contract names its plugin", node.span, "add `id:`")

    def _contract_fault(self, entry: nodes.Entry) -> str | None:
        value = plain(entry.value)
        if value is NO_VALUE:
            return f"`{entry.key}` of a contract is known before the script runs"
        if entry.key == "version":
            try:
                terms(str(value))
            except RequirementText as error:
                return str(error)
        elif entry.key in ("input_schema", "output_schema"):
            for path, message in schema_faults(value):
                return f"{path}: {message}"
        elif entry.key in ("deterministic", "side_effects") and not isinstance(value, bool):
            return f"`{entry.key}` is true or false"
        elif entry.key == "timeout" and not _duration(value):
            return "`timeout` is a duration"
        elif entry.key == "permissions":
            for element in _elements(entry.value):
                self._capability(str(plain(element)), element.span)
        elif entry.key == "id" and not isinstance(value, str):
            return "`id` is a text"
        return None

    def _workflow(self, node: nodes.Workflow, scope: Any, loop: bool) -> None:
        for entry in node.entries:
            self._unknown_key(entry, "workflow", ("input", "output", "steps"))
        for n, step in enumerate(node.steps):
            self._step_call(step, scope, loop, first=n == 0 and node.input is None and node.name is None)
            for element in _elements(step.requires):
                self._capability(str(plain(element)), element.span)
            self._push([part for part in (step.retry, step.timeout, step.condition) if part is not None], scope, loop)
        if node.input is not None:
            self._push((node.input,), scope, loop)

    def _step_call(self, step: nodes.WorkflowStep, scope: Any, loop: bool, *, first: bool) -> None:
        """What a step calls. A function without parameters is called without what the step before gave."""
        call = unfolding.step_call(step, first=first)
        given = call is not step.call and isinstance(call, nodes.Call | nodes.MethodCall)
        if given and isinstance(step.call, nodes.Name):
            known = scope.find(step.call.name)
            bare = isinstance(known, nodes.Function | nodes.Handler) and not known.params
            args = () if first or bare else (_GIVEN,)
            call = nodes.Call(call.span, step.call, args)
        elif given and isinstance(call, nodes.MethodCall):
            call = nodes.MethodCall(call.span, call.receiver, call.method, () if first else (_GIVEN,))
        self._push((call,), scope, loop)

    def _parallel(self, node: nodes.Parallel, scope: Any, loop: bool) -> None:
        self._push([branch.value for branch in node.branches], scope, loop)

    def _transaction(self, node: nodes.Transaction, scope: Any, loop: bool) -> None:
        self._push((node.body,), scope, loop)

    def _on_error(self, node: nodes.OnError, scope: Any, loop: bool) -> None:
        for rule in node.rules:
            for type in rule.types:
                if type not in CATCHABLE and type not in ("CapabilityError", "Exception", "Error", "any"):
                    near = nearest(type, set(CATCHABLE))
                    self._note(
                        "AW205",
                        f"'{type}' is no error that can be caught",
                        rule.span,
                        near and f"did you mean `{near}`?",
                    )
            self._push(rule.actions, scope, False)
            if rule.retry is not None:
                self._push((rule.retry,), scope, loop)

    # ------------------------------------------------------------ templates and manifests

    def _template(self, node: nodes.Template, scope: Any, loop: bool) -> None:
        self.reached |= {"ai.call"} if node.goal is not None else set()
        self.reached |= {"memory.read"} if node.retrieve else set()
        self.reached |= {"memory.write"} if node.store else set()
        if node.trigger is not None and node.trigger.schedule is not None:
            self._schedule(node.trigger.schedule, node.trigger.span)
        guard = node.trigger.guard if node.trigger is not None else None
        silence = node.feedback.no_response if node.feedback is not None else None
        self._push([*node.actions, *(part for part in (guard, silence) if part is not None)], scope, False)

    def _entry(self, node: nodes.Entry, scope: Any, loop: bool) -> None:
        """Data: its values, but no items, which are not run where data stands."""
        found: list[Any] = [] if node.value is None else [node.value]
        work = list(reversed(node.body.body)) if node.body is not None else []
        while work:
            part = work.pop()
            if not isinstance(part, nodes.Item):
                found.append(part)
                continue
            work += reversed(part.body.body if part.body is not None else ())
            work += [part.content] if part.content is not None else []
        self._push(found, scope, loop)

    def _item(self, node: nodes.Item, scope: Any, loop: bool) -> None:
        statement = unfolding.item_statement(node)
        parts = (node.content, node.body) if statement is None else (statement,)
        self._push([part for part in parts if part is not None], scope, loop)

    def _manifest(self, node: nodes.Manifest, scope: Any, loop: bool) -> None:
        self._push(unfolding.statements(node), scope, loop)

    # ------------------------------------------------------------ fields of plugins and header lines

    def _field(self, entry: nodes.Entry, kind: str, zone: str) -> None:
        value: Any = entry.value
        if value is None:
            return
        if entry.key == "schedule":
            self._scheduled(entry, zone)
        elif entry.key == "memory_access":
            if plain(value) not in _MEMORY_ACCESS:
                self._note("AE403", "`memory_access` is one of " + ", ".join(_MEMORY_ACCESS), value.span)
        elif entry.key == "capabilities" and kind == "plugin":
            for element in _elements(value):
                word = plain(element)
                if isinstance(word, str):
                    self._capability(word, element.span)

    def _scheduled(self, entry: nodes.Entry, zone: str) -> None:
        text = schedule_text(entry.value)
        if text is not None and entry.value is not None:
            self._schedule(text, entry.value.span, zone)

    def _schedule(self, text: str | float, span: nodes.Span, zone: str = "UTC") -> None:
        try:
            parse_schedule(text, zone)
        except ScheduleError as error:
            self._note("AE401", str(error), span)

    def _no_effect(self, entry: nodes.Entry, what: str) -> None:
        """Says that a run goes on without this."""
        self._note("AW401", f"{what} is noted and has no effect yet", key_span(entry, entry.key))


_GIVEN = nodes.Arg(nodes.Span(1, 1, 1, 1, 0, 0), nodes.Null(nodes.Span(1, 1, 1, 1, 0, 0)))


class Contract(msgspec.Struct, frozen=True):
    """The version of a plugin that a script is written for, and the finding to give where another is installed: its
    message is left to whoever knows what is installed."""

    id: str
    version: str
    finding: Diagnostic


def contracts(module: nodes.Module) -> list[Contract]:
    """The contracts of a script that name a plugin and its version."""
    source = Source(module.source, module.name)
    found = []
    for node in module.body:
        if not isinstance(node, nodes.PluginContract):
            continue
        entries = {entry.key: entry for entry in node.entries}
        id = node.name if "id" not in entries else plain(entries["id"].value)
        wanted = entries.get("version")
        if wanted is not None and wanted.value is not None and isinstance(id, str):
            place = wanted.value.span
            problem = SyntaxProblem("AE410", "", place.start, place.end, kind="check")
            found.append(Contract(id, str(plain(wanted.value)), source.diagnose(problem)))
    return found


def schedule_text(value: Any) -> str | float | None:
    """A schedule as it is written, None when it is only known at run time."""
    if isinstance(value, nodes.TextPhrase):
        return value.text
    if isinstance(value, nodes.Number):
        return value.text if value.unit else value.value
    if isinstance(value, nodes.Text):
        return value.value
    return dotted_word(value)


def _elements(value: Any) -> tuple[Any, ...]:
    if value is None or isinstance(value, nodes.Null):
        return ()
    return value.elements if isinstance(value, nodes.ListExpr) else (value,)


def _head(node: nodes.Node) -> nodes.Span:
    span = node.span
    return nodes.Span(span.line, span.column, span.line, span.column + 1, span.start, span.start + 1)


__all__ = ["Contract", "DeclarationChecks", "contracts", "plain", "schedule_text"]
