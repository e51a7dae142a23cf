"""An entry of memory as data: its fields, its text, and what is refused before anything is written. All pure.

To its owner an entry is one flat dict: `id`, `created_at`, `updated_at` (seconds since 1970), `archived`, `collection`
where it is in one, `tags` (a list of texts), and whatever else was stored with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .criteria import SUFFIXES, Entry
from .refusals import Refused

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

FIXED = frozenset({"id", "collection", "created_at", "updated_at", "archived"})
"""Fields with a column of their own; all others are the document's."""

QUERY_WORDS = 32
"""Words of a question that are looked up."""

# Words from closed lists: they tell entries apart, and nobody looks for their text.
_NOT_TEXT = frozenset({"source", "type", "status", "priority", "level", "role", "event_type", "timestamp"})


class Bounds(msgspec.Struct, frozen=True):
    """How large things may be, as shipped; the settings of `[plugins.memory]` have them too."""

    entry_kb: int = 256
    name_chars: int = 200
    tags: int = 64
    query_chars: int = 4_000


class Draft(msgspec.Struct, frozen=True):
    """An entry that passed every check, in the form in which it is written. `created_at` None: when it is written."""

    id: str
    collection: str | None
    created_at: float | None
    archived: bool
    tags: tuple[str, ...]
    document: str
    text: str
    suffixed: tuple[str, ...]


def draft(entry: Mapping[str, Any], bounds: Bounds, new_id: Callable[[], str]) -> Draft:
    """Return the checked form of a whole entry, which gets an id if it has none.

    Raises `Refused` naming the field and the bound.
    """
    document = {name: value for name, value in entry.items() if name not in FIXED}
    for name in document:
        _named("a field's name", name, bounds)
    tags = tag_list(document.get("tags"), bounds)
    document["tags"] = list(tags)
    encoded = msgspec.json.encode(document)
    if len(encoded) > bounds.entry_kb * 1024:
        raise Refused(
            f"an entry has {len(encoded)} bytes as JSON, more than the {bounds.entry_kb} KiB of "
            "[plugins.memory] entry_kb; store less, or in parts",
            {"bytes": len(encoded), "limit": bounds.entry_kb * 1024},
            too_large=True,
        )
    identity, collection = entry.get("id"), entry.get("collection")
    return Draft(
        id=new_id() if identity is None else named("id", identity, bounds),
        collection=None if collection is None else named("collection", collection, bounds),
        created_at=_seconds(entry.get("created_at")),
        archived=_flag(entry.get("archived", False)),
        tags=tags,
        document=encoded.decode(),
        text=" ".join(words(document)),
        suffixed=tuple(name for name in document if name.endswith(SUFFIXES)),
    )


def read(row: Mapping[str, Any] | Any) -> Entry:
    """Return the entry that a row has: `id document collection archived created_at updated_at`."""
    entry: Entry = {"id": row["id"], **msgspec.json.decode(row["document"])}
    if row["collection"] is not None:
        entry["collection"] = row["collection"]
    entry["archived"] = bool(row["archived"])
    entry["created_at"] = row["created_at"]
    entry["updated_at"] = row["updated_at"]
    return entry


def entry_of(new: Draft, created: float, now: float) -> Entry:
    """Return the entry that a draft makes when it is written."""
    return read(
        {
            "id": new.id,
            "document": new.document,
            "collection": new.collection,
            "archived": new.archived,
            "created_at": created,
            "updated_at": now,
        }
    )


def tag_list(given: Any, bounds: Bounds) -> tuple[str, ...]:
    """Return the tags, each once, of a list of texts or of one text with commas (`"tea,green"`)."""
    if given is None:
        return ()
    listed: Iterable[Any] = given.split(",") if isinstance(given, str) else given
    if not isinstance(given, str | list | tuple) or not all(isinstance(tag, str) for tag in listed):
        raise Refused(
            f"tags: expected a list of texts, or one text with commas between, got {_shown(given)}",
            {"field": "tags"},
        )
    found = tuple(dict.fromkeys(tag.strip() for tag in listed if tag.strip()))
    if len(found) > bounds.tags:
        raise Refused(
            f"tags: {len(found)} of them, more than the {bounds.tags} of [plugins.memory] tags", too_large=True
        )
    for tag in found:
        _named("a tag", tag, bounds)
    return found


def named(field: str, value: Any, bounds: Bounds) -> str:
    """Return an id, tag or collection's name that was given; raise `Refused` for anything else than a short text."""
    if not isinstance(value, str):
        raise Refused(f"{field}: expected a text, got {_shown(value)}", {"field": field})
    _named(field, value, bounds)
    return value


def _named(what: str, text: str, bounds: Bounds) -> None:
    if not 0 < len(text) <= bounds.name_chars or _CONTROL.search(text):
        raise Refused(
            f"{what}: expected 1 to {bounds.name_chars} characters, no control characters among them, got "
            f"{text[:60]!r} ({len(text)})",
            {"field": what},
        )


def query_words(text: str, bounds: Bounds) -> tuple[str, ...]:
    """Return the words of a question, each once, at most 32; what is no word at all is left out."""
    if len(text) > bounds.query_chars:
        raise Refused(f"query: expected at most {bounds.query_chars} characters, got {len(text)}", {"field": "query"})
    found = dict.fromkeys(part for part in text.replace("\0", " ").split() if any(c.isalnum() for c in part))
    return tuple(list(found)[:QUERY_WORDS])


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
        raise Refused(
            f"created_at: expected seconds since 1970 as a number, got {_shown(value)}; leave it out to have it set",
            {"field": "created_at"},
        )
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"archived: expected true or false, got {_shown(value)}", {"field": "archived"})
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
