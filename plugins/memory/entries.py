"""Entries by the rules that the language shares, refused in the kernel's words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from aether_lang import moments, remembered
from aether_lang.criteria import Entry
from aether_lang.remembered import FIXED, Draft, entry_of, read

from .refusals import in_kernel_words
from .settings import Settings

__all__ = ["FIXED", "Draft", "Entry", "draft", "entry_of", "moment", "new_id", "read", "tag_list"]


def new_id() -> str:
    """Return an id that nothing has yet."""
    return str(uuid.uuid4())


def draft(entry: Mapping[str, Any], settings: Settings) -> Draft:
    """Return the checked form of a whole entry; raise `BadInput` or `TooLarge` naming the field and the bound."""
    with in_kernel_words():
        return remembered.draft(entry, settings, new_id)


def tag_list(given: Any, settings: Settings) -> tuple[str, ...]:
    """Return the tags, each once, of a list of texts or of one text with commas (`"tea,green"`)."""
    with in_kernel_words():
        return remembered.tag_list(given, settings)


def moment(value: float | str, field: str, now: float, *, past: bool) -> float:
    """Return seconds since 1970 for a number, an ISO time, or a span: that long ago if `past`, else from now on."""
    with in_kernel_words():
        return moments.moment(value, field, now, past=past)
