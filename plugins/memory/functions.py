"""The same for scripts and agents by name: `memory.remember`, `memory.recall`, `memory.search`, `memory.forget`.

A function acts for its caller directly; the class behind it is the one behind the service.
"""

from __future__ import annotations

from typing import Any

from kernel import Context

from .service import Found, Limit, Memory

_memory = Memory()


async def remember(ctx: Context, content: Any, tags: list[str] | str | None = None, type: str | None = None) -> str:
    """Remember something under the given tags and return the new entry's id."""
    fields = None if type is None else {"type": type}
    return str((await _memory.store(ctx, content, tags, fields=fields))["id"])


async def recall(
    ctx: Context,
    query: str = "",
    tags: list[str] | str | None = None,
    since: float | str | None = None,
    limit: Limit = 20,
) -> Found:
    """Return what is remembered with these words and tags, best first; without words the newest first."""
    return await _memory.recall(ctx, query, tags, since, limit=limit)


async def search(ctx: Context, criteria: dict[str, Any]) -> Found:
    """Return the entries whose fields meet every criterion, such as {"type": "note", "created_at_gte": 0}."""
    return await _memory.search(ctx, criteria)


async def forget(ctx: Context, query: str = "", tag: str | None = None) -> int:
    """Delete the entries that have every word, and the tag if one is given; return how many."""
    return await _memory.forget(ctx, query, tag)
