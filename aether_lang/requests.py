"""What the arguments of memory's operations mean: tags, ids, goals, phrases."""

from typing import Any

Named = dict[str, Any]


class Misfit(Exception):
    """An argument is of a kind that means nothing here."""


def tags(given: str | list[Any] | None) -> list[str] | None:
    """Return the tags of a text with commas between them, or of a list."""
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else [str(tag) for tag in given]
    return [part.strip() for part in parts if part.strip()]


def entry_id(given: Any) -> str:
    """Return the id that is meant by an id, or by an entry that has one."""
    found = given.get("id") if isinstance(given, dict) else given
    if not isinstance(found, str):
        raise Misfit("expected an id, or an entry that has one")
    return found


def goal(given: Any) -> tuple[str, Named]:
    """Return a goal's title, and its `priority`, `deadline`, `metrics` and free `fields` where they are given."""
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, dict) or not isinstance(given.get("title") or given.get("name"), str):
        raise Misfit("expected a goal's title, or its fields with a title")
    known = {name: given[name] for name in ("priority", "deadline", "metrics") if given.get(name) is not None}
    own = ("id", "title", "name", "priority", "deadline", "metrics")
    rest = {name: value for name, value in given.items() if name not in own}
    return given.get("title") or given["name"], {**known, **({"fields": rest} if rest else {})}


def phrase(slots: Any) -> tuple[list[str], float]:
    """Return the words of a `pattern` statement, and of how many days it asks."""
    words, days = [], 7.0
    for slot in slots if isinstance(slots, list) else []:
        name, value = (slot.get("name"), slot.get("value")) if isinstance(slot, dict) else (None, slot)
        if name == "timeframe" and isinstance(value, int | float):
            days = float(value)
        elif isinstance(value, str) and value != "frequency":
            words.append(value)
    return words, days
