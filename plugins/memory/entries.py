"""An entry as data: which fields it has, what its text is, and what is refused before anything is written. All pure.

To its owner an entry is one flat dict: `id`, `created_at`, `updated_at` (seconds since 1970), `archived`, `collection`
where it is in one, `tags` (a list of texts), and whatever else was stored with it.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kernel import BadInput, TooLarge

from .settings import Settings

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

FIXED = frozenset({"id", "collection", "created_at", "updated_at", "archived"})
"""Fields with a column of their own; all others are the document's."""

SUFFIXES = ("_include", "_contains", "_before", "_after", "_gte", "_lte", "_gt", "_lt", "_in", "_ne")
"""Endings by which a criterion says more than equality (language reference, section 21)."""

# Words from closed lists: they tell entries apart, and nobody looks for their text.
_NOT_TEXT = frozenset({"source", "type", "status", "priority", "level", "role", "event_type", "timestamp"})

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that passed every check, in the form in which it is written. `created_at` None: when it is written."""

    id: str
    collection: str | None
    created_at: float | None
    archived: bool
    tags: tuple[str, ...]
    document: str
    text: str
    suffixed: tuple[str, ...]


def draft(entry: Mapping[str, Any], settings: Settings) -> Draft:
    """Return the checked form of a whole entry; raise `BadInput` or `TooLarge` naming the field and the bound."""
    document = {name: value for name, value in entry.items() if name not in FIXED}
    for name in document:
        _named("a field's name", name, settings)
    tags = tag_list(document.get("tags"), settings)
    document["tags"] = list(tags)
    encoded = msgspec.json.encode(document)
    if len(encoded) > settings.entry_kb * 1024:
        raise TooLarge(
            f"an entry has {len(encoded)} bytes as JSON, more than the {settings.entry_kb} KiB of "
            "[plugins.memory] entry_kb; store less, or in parts",
            details={"bytes": len(encoded), "limit": settings.entry_kb * 1024},
        )
    identity, collection = entry.get("id"), entry.get("collection")
    return Draft(
        id=str(uuid.uuid4()) if identity is None else named("id", identity, settings),
        collection=None if collection is None else named("collection", collection, settings),
        created_at=_seconds(entry.get("created_at")),
        archived=_flag(entry.get("archived", False)),
        tags=tags,
        document=encoded.decode(),
        text=" ".join(words(document)),
        suffixed=tuple(name for name in document if name.endswith(SUFFIXES)),
    )


def read(row: Mapping[str, Any] | Any) -> Entry:
    """Return the entry that a row of `memory__records` holds."""
    entry: Entry = {"id": row["id"], **msgspec.json.decode(row["document"])}
    if row["collection"] is not None:
        entry["collection"] = row["collection"]
    entry["archived"] = bool(row["archived"])
    entry["created_at"] = row["created_at"]
    entry["updated_at"] = row["updated_at"]
    return entry


def tag_list(given: Any, settings: Settings) -> tuple[str, ...]:
    """Return the tags, each once, of a list of texts or of one text with commas (`"tea,green"`)."""
    if given is None:
        return ()
    listed: Iterable[Any] = given.split(",") if isinstance(given, str) else given
    if not isinstance(given, str | list | tuple) or not all(isinstance(tag, str) for tag in listed):
        raise BadInput(
            f"tags: expected a list of texts, or one text with commas between, got {_shown(given)}",
            details={"field": "tags"},
        )
    found = tuple(dict.fromkeys(tag.strip() for tag in listed if tag.strip()))
    if len(found) > settings.tags:
        raise TooLarge(f"tags: {len(found)} of them, more than the {settings.tags} of [plugins.memory] tags")
    for tag in found:
        _named("a tag", tag, settings)
    return found


def named(field: str, value: Any, settings: Settings) -> str:
    """Return an id, tag or collection's name that was given; raise `BadInput` for anything else than a short text."""
    if not isinstance(value, str):
        raise BadInput(f"{field}: expected a text, got {_shown(value)}", details={"field": field})
    _named(field, value, settings)
    return value


def _named(what: str, text: str, settings: Settings) -> None:
    if not 0 < len(text) <= settings.name_chars or _CONTROL.search(text):
        raise BadInput(
            f"{what}: expected 1 to {settings.name_chars} characters, no control characters among them, got "
            f"{text[:60]!r} ({len(text)})",
            details={"field": what},
        )


def words(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts by which an entry is recalled: its content, title, tags and other free fields, at any depth."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value[name] for name in reversed(value) if name not in _NOT_TEXT)
        elif isinstance(value, list | tuple):
            waiting.extend(reversed(value))
        elif value is not None and not isinstance(value, bool):
            yield str(value)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(
            f"created_at: expected seconds since 1970 as a number, got {_shown(value)}; leave it out to have it set",
            details={"field": "created_at"},
        )
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"archived: expected true or false, got {_shown(value)}", details={"field": "archived"})
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
