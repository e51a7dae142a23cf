"""Conditions of resident scripts: evaluated here where signals, literals, comparisons and logic make them. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(test: Any, signals: Mapping[str, Any]) -> bool:
    """Tell whether a condition is true of the signals; one that nobody measures is null, and compares as false."""
    return bool(_value(test, signals))


def _value(test: Any, signals: Mapping[str, Any]) -> Any:
    op, *parts = test
    if op == "value":
        return parts[0]
    if op == "signal":
        return signals.get(parts[0])
    if op == "not":
        return not _value(parts[0], signals)
    if op in ("and", "or"):
        values = [bool(_value(part, signals)) for part in parts]
        return all(values) if op == "and" else any(values)
    left, right = (_value(part, signals) for part in parts)
    try:
        return _COMPARE[op](left, right)
    except TypeError:
        return False


def edge(condition: Mapping[str, Any], before: Any, signals: Mapping[str, Any]) -> tuple[bool, Any]:
    """Tell whether a script is to look at its condition again, and what to compare with the next time.

    A condition that can be evaluated here: when it becomes true. Any other: when one of its signals has changed.
    """
    if condition["test"] is not None:
        now = holds(condition["test"], signals)
        return now and before is not True, now
    values = [signals.get(name) for name in condition["signals"]]
    return values != before, values
