"""What a script registers while it is resident, read from its text: schedules, events, conditions (11, 12.1, 16).

The hub makes them live without running the script. Entries are those of `entry_points`; a schedule that nothing can be
read from before the run is left out, as the checker has said by then.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from . import nodes
from .checker import AMBIENT, assigned, declared
from .declaration_checks import plain, schedule_text
from .walking import children

_SIMPLE = {"==", "!=", "<", "<=", ">", ">="}
_DEEPEST = 16
"""Levels of a condition that the hub can evaluate; a deeper one is checked at each change of its signals."""
_CODE = (nodes.Function, nodes.Lambda, nodes.Handler, nodes.Command, nodes.Timer)


class Scheduled(msgspec.Struct, frozen=True):
    """An entry and when it is due, as it is written, in the zone `tz`. No entry is the script's own (11.3)."""

    entry: str | None
    schedule: str | float
    tz: str
    line: int


class Followed(msgspec.Struct, frozen=True):
    """An entry and the event it runs for; `source` is `memory` for `on memory event`."""

    entry: str
    event: str
    source: str | None
    line: int


class Condition(msgspec.Struct, frozen=True):
    """A `when` of the top level and the signals that it reads.

    `test` is the condition as nested lists where only signals, literals, comparisons, `and`, `or` and `not` make it:
    `["and", [">", ["signal", "load"], ["value", 0.75]], ["not", ["signal", "idle"]]]`; else null.
    """

    signals: list[str]
    test: list[Any] | None
    line: int


class Registrations(msgspec.Struct, frozen=True):
    """All that a resident script registers, and the names of its functions and handlers."""

    schedules: list[Scheduled] = []
    events: list[Followed] = []
    conditions: list[Condition] = []
    entries: list[str] = []


def registrations(module: nodes.Module) -> Registrations:
    """What a script registers, each kind in the order of its lines."""
    found = _Found()
    bound = _bound(module) if any(isinstance(node, nodes.When) for node in module.body) else set()
    for node in module.body:
        if isinstance(node, nodes.When):
            found.condition(node, bound)
        found.look(node)
    return Registrations(
        schedules=sorted([*found.schedules, *found.timers()], key=lambda one: one.line),
        events=sorted(found.events.values(), key=lambda one: one.line),
        conditions=found.conditions,
        entries=sorted(found.entries),
    )


class _Found:
    def __init__(self) -> None:
        self.schedules: list[Scheduled] = []
        self.events: dict[tuple[str, str | None], Followed] = {}
        self.conditions: list[Condition] = []
        self.entries: set[str] = set()
        self._timers: list[tuple[nodes.Timer, str]] = []

    def look(self, top: Any) -> None:
        """Take what stands in a statement of the top level and in the blocks below it, but in no code of its own."""
        work: list[tuple[Any, str]] = [(top, "UTC")]
        while work:
            node, zone = work.pop()
            if isinstance(node, nodes.Meta):
                self._schedule(None, node.entries, _zone(node.entries))
            elif isinstance(node, nodes.Plugin):
                zone = _zone(node.fields)
                self._plugin(node, zone)
            elif isinstance(node, nodes.Timer):
                self._timers.append((node, zone))
            elif isinstance(node, nodes.Function):
                self.entries.add(node.name)
            elif isinstance(node, nodes.Handler):
                self._handler(node)
            if not isinstance(node, _CODE):
                work += [(child, zone) for child in reversed(children(node))]

    def timers(self) -> list[Scheduled]:
        """The timers, those of one schedule counted by their lines."""
        seen: Counter[str] = Counter()
        found = []
        for node, zone in sorted(self._timers, key=lambda one: one[0].span.line):
            seen[node.text] += 1
            number = f"#{seen[node.text]}" if seen[node.text] > 1 else ""
            found.append(Scheduled(f"timer:{node.text}{number}", node.text, zone, node.span.line))
        return found

    def condition(self, node: nodes.When, bound: set[str]) -> None:
        """Take a `when` that reads a signal."""
        signals = _signals(node.condition, bound)
        if signals:
            self.conditions.append(Condition(signals, _test(node.condition, bound), node.span.line))

    def _plugin(self, node: nodes.Plugin, zone: str) -> None:
        trigger = node.template.trigger if node.template is not None else None
        runs = trigger is not None or any(handler.name == "on_run" for handler in node.handlers)
        entry = f"{node.name}.on_run" if runs else None
        self._schedule(entry, node.fields, zone)
        if trigger is not None and trigger.schedule is not None:
            self.schedules.append(Scheduled(entry, trigger.schedule, zone, trigger.span.line))
        if trigger is not None and trigger.event is not None and entry is not None:
            self.events[trigger.event, entry] = Followed(entry, trigger.event, None, trigger.span.line)

    def _handler(self, node: nodes.Handler) -> None:
        self.entries.add(node.name)
        if node.event is not None:
            known = Followed(f"event:{node.event}", node.event, node.source, node.span.line)
            self.events.setdefault((node.event, node.source), known)

    def _schedule(self, entry: str | None, entries: tuple[nodes.Entry, ...], zone: str) -> None:
        for field in entries:
            text = schedule_text(field.value) if field.key == "schedule" else None
            if text is not None:
                self.schedules.append(Scheduled(entry, text, zone, field.span.line))


def _zone(entries: tuple[nodes.Entry, ...]) -> str:
    zones = (plain(entry.value) for entry in entries if entry.key == "tz")
    return next((zone for zone in zones if isinstance(zone, str)), "UTC")


def _bound(module: nodes.Module) -> set[str]:
    names, work = set(AMBIENT), list(module.body)
    while work:
        node = work.pop()
        names |= {name for name, _ in declared(node)} | set(assigned(node))
        names |= set(getattr(node, "names", ()))
        work += children(node)
    return names


def _signals(condition: Any, bound: set[str]) -> list[str]:
    """The signals that a condition reads, each once."""
    found: dict[str, None] = {}
    work = [condition]
    while work:
        node = work.pop()
        if _is_signal(node, bound):
            found[node.name] = None
        if not isinstance(node, nodes.Lambda):
            work += reversed(children(node))
    return list(found)


def _is_signal(node: Any, bound: set[str]) -> bool:
    return isinstance(node, nodes.Name) and node.role == "signal" and not node.sigil and node.name not in bound


def _test(node: Any, bound: set[str], level: int = 0) -> list[Any] | None:
    """A condition as nested lists, None where it is more than the hub can evaluate."""
    if level > _DEEPEST:
        return None
    if _is_signal(node, bound):
        return ["signal", node.name]
    if isinstance(node, nodes.Number | nodes.Text | nodes.Bool):
        return ["value", node.value]
    if isinstance(node, nodes.Unary) and node.op == "not":
        return _joined("not", (node.operand,), bound, level)
    if isinstance(node, nodes.Logic) and node.op in ("and", "or"):
        return _joined(node.op, node.operands, bound, level)
    if isinstance(node, nodes.Compare) and len(node.ops) == 1 and node.ops[0] in _SIMPLE:
        return _joined(node.ops[0], node.operands, bound, level)
    return None


def _joined(op: str, operands: tuple[Any, ...], bound: set[str], level: int) -> list[Any] | None:
    parts = [_test(operand, bound, level + 1) for operand in operands]
    return None if any(part is None for part in parts) else [op, *parts]
