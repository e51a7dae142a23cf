"""The generated tables of the language reference: words, methods, policy keys, schedules, rights, limits and so on."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from tables import code, table

from aether_lang.codes import catalogue
from aether_lang.declaration_checks import POLICY
from aether_lang.formatter import format_script
from aether_lang.jobs import CATCHABLE
from aether_lang.methods import METHODS
from aether_lang.reach import CAPABILITIES
from aether_lang.regex import Regex
from aether_lang.schedules import WEEKDAYS, Schedule, parse_schedule
from aether_lang.values import ErrorValue, Halt, ScriptSet

ROOT = Path(__file__).resolve().parent.parent

LISTS = {
    "reserved": "Begin a statement or join operands. Elsewhere (behind a point, as a key) they are names.",
    "soft": "Words of control where an operand follows at the start of a line that owns a block; else names.",
    "opwords": "An operand follows them: `{` is a dict there, `/` begins a regular expression, `-` is a sign.",
    "sections": "At the start of a statement, with a name or none, `{` behind them opens a block.",
    "postfix": "Behind a value on its line; `not` may stand before them.",
    "prepositions": "Begin a slot of a verb statement. `based on` counts as one.",
    "guards": "Behind the slots of a verb or a call: the rest of the line is a condition.",
}


def words() -> str:
    """The closed word lists of the language."""
    data = tomllib.loads((ROOT / "aether_lang" / "verbs.toml").read_text())
    return table(
        ("list", "words", "where they count"),
        ((name, " ".join(f"`{word}`" for word in data[name]), about) for name, about in LISTS.items()),
    )


KINDS: dict[str, type] = {
    "list": list, "text": str, "dict": dict, "number": float, "function": FunctionType, "regex": Regex,
    "set": ScriptSet, "error": ErrorValue,
}  # fmt: skip
SHORT = {
    "lower": "The text in small letters.",
    "upper": "The text in capitals.",
    "trim": "The text without blanks at its ends.",
    "starts_with": "Whether the text begins with x.",
    "ends_with": "Whether the text ends with x.",
    "match": "The first match of a regex and its groups, or null; with flag g all matches.",
    "keys": "The keys, as a list.",
    "values": "The values, as a list.",
    "abs": "The number without its sign.",
    "test": "Whether the text has a match.",
    "has": "Whether the set holds an equal value.",
    "size": "How many elements the set has.",
    "toString": "The message.",
}
"""What methods do that are one expression, and so have nothing written below them."""


def methods() -> str:
    """The methods of each type of value, those of one function in one row."""
    rows = (row for name, kind in KINDS.items() for row in _methods_of(name, METHODS[kind]))
    return table(("of a", "method", "what it does"), rows)


def _methods_of(kind: str, found: dict[str, Callable[..., Any]]) -> Iterator[tuple[str, str, str]]:
    names: dict[object, list[str]] = {}
    for name, function in found.items():
        lambda_ = function.__name__ == "<lambda>"
        key = (function.__code__.co_code, function.__code__.co_names) if lambda_ else function
        names.setdefault(key, []).append(name)
    for same in names.values():
        function = found[same[0]]
        given = list(inspect.signature(function).parameters.values())[2:]  # the runtime and the value come first
        parameters = ", ".join(_parameter(given_one) for given_one in given)
        about = (inspect.getdoc(function) or "").partition("\n")[0] or SHORT[same[0]]
        yield kind, " ".join(f"`{name}({parameters})`" for name in same), about


def _parameter(parameter: inspect.Parameter) -> str:
    star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    return star + parameter.name.strip("_") + ("" if parameter.default is parameter.empty else "?")


POLICY_MEANING = {
    "risk_budget": "How much risk a run may take: each right has a weight, and their sum stays below this.",
    "token_budget": "How many tokens all AI calls of a run may use.",
    "data_class": "The label of the data that the effects carry.",
    "deterministic": "Chance, ids and the clock come from the seed; two runs are the same.",
    "seed": "What chance begins with.",
    "mock_io": "Effects go to stand-ins.",
    "on_error": "When a statement fails that no rule handles: end, go on with null, or undo what is staged.",
    "timeout_default": "How long a call of the hub may take.",
    "max_retries": "How often a call that may be repeated is tried again.",
    "unbound_calls": "What a call of an unknown function gives: an error, null, or what a model says.",
    "unbound_names": "What an unknown name in code gives: an error or null.",
    "strict": "Unknown keys and verbs that nothing handles are errors.",
    "strict_null": "Null in arithmetic is a `TypeError`.",
    "max_steps": "A lower limit of steps.",
    "max_time": "A lower limit of time.",
    "max_concurrency": "A lower limit of branches.",
}


def policy_keys() -> str:
    """The keys of `policy:` with what they take and what they mean."""
    rows = ((f"`{key}`", what, POLICY_MEANING[key]) for key, (_, what) in POLICY.items())
    return table(("key", "value", "meaning"), rows)


LIMIT_MEANING = {
    "steps": "rounds of loops, calls of functions, elements of comprehensions",
    "active_s": "seconds of its own work, waiting for the hub aside",
    "wall_s": "seconds from start to end, time in which it is parked aside",
    "depth": "functions that are called within each other",
    "memory_mb": "MiB of its process",
    "charged_mb": "MiB of texts, lists, dicts and results of the hub",
    "text_mb": "MiB of one text",
    "items": "elements of one list",
    "host_calls": "calls of the hub, those without an effect aside",
    "ai_calls": "calls of a model",
    "output_kb": "KiB of output; what is more is cut, with a mark",
    "log_records": "records of its log; what is more is cut, with a mark",
    "journal_mb": "MiB of what a run is taken up from; nothing counts it in this version",
    "branches": "branches of `parallel:` that are open at once",
    "children": "runs that a run starts; nothing counts them in this version",
    "source_kb": "KiB of its text",
    "brackets": "brackets that are open at once",
    "blocks": "loops, `try` and the like within each other, in one function",
}


def script_limits() -> str:
    """What one run of a script may use, as the policy ships."""
    limits = tomllib.loads((ROOT / "policies" / "default.toml").read_text())["limits"]["script:*"]
    rows = ((f"`{name}`", f"{value:,}", LIMIT_MEANING[name]) for name, value in limits.items())
    return table(("limit", "as shipped", "counts"), rows)


def script_capabilities() -> str:
    """The rights that scripts can need, in their spelling and in that of policies."""
    known = tomllib.loads((ROOT / "policies" / "capabilities.toml").read_text())["words"]
    short = {"log": "log.write", "metrics": "metrics.write", "trace": "trace.write", "random": "random.read"}
    spelled = {full: f"`{full}` or `{word}`" for word, full in short.items()}
    rows = (
        (spelled.get(word, f"`{word}`"), f"`{policy}`", known[policy]["effect"], known[policy]["about"])
        for policy in known
        if (word := policy.replace(":", ".")) in CAPABILITIES
    )
    return table(("in scripts", "in policies", "effect", "what it lets a script do"), rows)


def script_errors() -> str:
    """The types of errors: those that `catch` sees, and those that end a run."""
    rows = [(f"`{kind.type}`", inspect.getdoc(kind) or "") for kind in Halt.__subclasses__()]
    return (
        " ".join(f"`{type}`" for type in sorted(CATCHABLE))
        + "\n\nThese end a run, and nothing catches them:\n\n"
        + table(("type", "what happened"), rows)
    )


SCHEDULES: tuple[str | float, ...] = (
    "every 30 minutes", "every 24h", "30_seconds", "hourly", "daily", "weekly", "@hourly", 3600, "daily at 06:00",
    'daily at "22:00"', "weekly on Monday", "weekly on Friday at 18:00", "on weekdays at 09:00", "on weekends at 10:30",
    "monthly on 1 at 03:00", "0 6 * * 1-5", "*/15 8-17 * jan,jul mon-fri",
)  # fmt: skip


def schedules() -> str:
    """The forms of schedules with what each is read as."""
    return table(("written", "read as"), ((f"`{form}`", _told(parse_schedule(form))) for form in SCHEDULES))


def _told(schedule: Schedule) -> str:
    if schedule.kind == "interval":
        return f"{schedule.seconds:,} seconds from the last start"
    if schedule.kind == "cron":
        return "the five fields of cron: minute, hour, day of the month, month, weekday"
    if schedule.kind == "monthly":
        return f"day {', '.join(map(str, schedule.days))} of each month at {schedule.at}"
    days = ", ".join(WEEKDAYS[day].capitalize() for day in schedule.days) or "every day"
    return f"{days} at {schedule.at}"


def leniencies() -> str:
    """Each form that is read without being recommended, with its code and what the formatter writes."""
    rows = []
    for entry in catalogue().values():
        if entry.severity == "style":
            written = format_script(entry.wrong)
            kept = "it is kept" if written == format_script(written) == entry.wrong else code(written)
            rows.append((f"`{entry.code}`", entry.title, code(entry.wrong), kept))
    return table(("code", "form", "such as", "`aether fmt` writes"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "words": words,
    "methods": methods,
    "policy-keys": policy_keys,
    "script-limits": script_limits,
    "script-capabilities": script_capabilities,
    "schedules": schedules,
    "script-errors": script_errors,
    "leniencies": leniencies,
}
