"""Which capabilities a call or a verb statement may need (sections 13, 18.3 and 20 of the language reference)."""

from __future__ import annotations

from collections.abc import Callable

from . import nodes
from .host import FUNCTIONS
from .words import VERBS

CAPABILITIES = frozenset(
    [
        "log.write",
        "metrics.write",
        "trace.write",
        "log",
        "metrics",
        "trace",
        "random",
        "time.read",
        "random.read",
        "signal.read",
        "memory.read",
        "goal.read",
        "agent.read",
        "plugin.read",
        "memory.write",
        "goal.write",
        "storage.write",
        "event.emit",
        "agent.message",
        "ui.notify",
        "intent.act",
        "schedule.write",
        "ai.call",
        "agent.run",
        "plugin.call",
        "plugin.manage",
        "fs.read",
        "fs.write",
        "net.http",
        "secret.read",
    ]
)
_READ_OUTS = {
    "goal": "goal.read", "goals": "goal.read", "memory": "memory.read", "plugin": "plugin.read",
    "plugins": "plugin.read",
    "agents": "agent.read",
}  # fmt: skip
_LOCAL = {
    **dict.fromkeys(("log", "print", "debug", "warn", "narrate"), "log.write"),
    **dict.fromkeys(("emit", "trigger"), "event.emit"),
    **dict.fromkeys(("random", "random_int", "choice"), "random.read"),
    **dict.fromkeys(("now", "today", "date", "current_time", "time_since", "format_time"), "time.read"),
}
_ON_LISTS = frozenset({"append", "clear", "remove", "tag", "update"})


def call_capability(name: str) -> str | None:
    """The capability of a library or host function by its full name; None for pure and for unknown ones."""
    operation = FUNCTIONS.get(name)
    return operation.capability if operation is not None else _LOCAL.get(name)


def verb_capabilities(phrase: nodes.VerbPhrase, bound: Callable[[str], object]) -> tuple[str, ...]:
    """What a verb statement may need, by the pattern its slots fit."""
    verb, words = phrase.base, _words(phrase)
    if verb == "run":
        if words[:1] == ["agent"]:
            return ("agent.run",)
        first = phrase.slots[0] if phrase.slots else None
        called = isinstance(first, nodes.SlotExpr) and isinstance(first.value, nodes.Call | nodes.MethodCall)
        return () if called else ("intent.act",)
    if verb in ("goal", "memory", "list", "plugin", "show", "status"):
        if verb == "goal" and words[:1] != ["status"]:
            return ("goal.write",)
        reads = {_READ_OUTS[word] for word in (verb, *words) if word in _READ_OUTS}
        return ("log.write", *sorted(reads))
    if verb == "check":
        return ("goal.read",) if words[:1] == ["goal"] else ("intent.act",)
    if verb in _ON_LISTS and any(
        isinstance(slot, nodes.SlotPrep) and isinstance(slot.value, nodes.Name) and bound(slot.value.name) is not None
        for slot in phrase.slots
    ):
        return ()
    if verb == "detect":
        return ("memory.read",) if words[:1] == ["recurring"] else ("ai.call",)
    return VERBS[verb].capabilities


def _words(phrase: nodes.VerbPhrase) -> list[str]:
    values = [slot.value for slot in phrase.slots if isinstance(slot, nodes.SlotExpr)]
    return [value.name for value in values if isinstance(value, nodes.Name)]
