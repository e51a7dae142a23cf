"""Recalling entries by their words, best first.

Words are looked up in an FTS5 index and ranked by BM25. What makes that slow is a frequent word, since every entry that
has it is ranked; so frequent words are left out where a rarer one is asked for too, and otherwise only the newest few
thousand entries are ranked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aether_lang.remembered import query_words

from .entries import Entry, read
from .refusals import in_kernel_words
from .search import TAGGED
from .settings import Settings

RECALLED = 20
RECALLED_MOST = 100

RARE = 256
"""Words that are in fewer entries than this are looked up and ranked on the loop's thread: it takes below 1 ms."""

_MATCH = "memory__fts MATCH ?"


class Question(msgspec.Struct, frozen=True):
    """What to recall: words (any of them), tags (all of them), not older than `since`, of one collection."""

    owner: str
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: float | None = None
    collection: str | None = None
    limit: int = RECALLED


def tokens(text: str, settings: Settings) -> tuple[str, ...]:
    """Return the words of a text, quoted for FTS5, each once, at most 32; what is no word at all is left out."""
    with in_kernel_words():
        found = query_words(text, settings)
    return tuple('"' + part.replace('"', '""') + '"' for part in found)


async def recall(ctx: Any, asked: Question) -> list[Entry]:
    """Return entries that are not archived, best first; without words the newest first."""
    if not asked.words:
        return await _newest(ctx, asked)
    counts = ctx.store.one(*_counting(asked.words, RARE))
    if max(counts) < RARE:
        return [read(row) for row in ctx.store.all(*_ranking(asked, asked.words, RARE * len(asked.words)))]
    frequent = ctx.settings.rank_newest
    if len(asked.words) == 1:
        return [read(row) for row in await ctx.store.query(*_ranking(asked, asked.words, frequent))]
    counts = (await ctx.store.query(*_counting(asked.words, frequent)))[0]
    rare = [word for word, count in zip(asked.words, counts, strict=True) if 0 < count < frequent]
    return [read(row) for row in await ctx.store.query(*_ranking(asked, rare or asked.words, frequent))]


def _counting(words: tuple[str, ...], most: int) -> tuple[str, list[Any]]:
    """Return the question in how many entries each word is, counted no further than `most`."""
    one = f"(SELECT count(*) FROM (SELECT 1 FROM memory__fts WHERE {_MATCH} LIMIT ?))"  # noqa: S608
    return f"SELECT {', '.join([one] * len(words))}", [value for word in words for value in (word, most)]


def _ranking(asked: Question, words: Any, newest: int) -> tuple[str, list[Any]]:
    """Return the question for the best entries among the newest so many that have one of the words."""
    where, params = _conditions(asked)
    # CROSS JOIN keeps the index of words outermost, so that it yields the newest first and stops early.
    sql = (
        "SELECT r.* FROM (SELECT memory__fts.rowid AS seq, memory__fts.rank AS score FROM memory__fts "  # noqa: S608
        f"CROSS JOIN memory__records r ON r.seq = memory__fts.rowid WHERE {_MATCH} AND {where} "
        "ORDER BY memory__fts.rowid DESC LIMIT ?) best JOIN memory__records r ON r.seq = best.seq "
        "ORDER BY best.score, best.seq DESC LIMIT ?"
    )
    return sql, [" OR ".join(words), *params, newest, asked.limit]


def _conditions(asked: Question) -> tuple[str, list[Any]]:
    parts = ["r.owner = ?", "r.archived = 0"]
    params: list[Any] = [asked.owner]
    for tag in asked.tags:
        parts.append(TAGGED)
        params += [asked.owner, tag]
    if asked.since is not None:
        parts.append("r.created_at >= ?")
        params.append(asked.since)
    if asked.collection is not None:
        parts.append("r.collection = ?")
        params.append(asked.collection)
    return " AND ".join(parts), params


async def _newest(ctx: Any, asked: Question) -> list[Entry]:
    where, params = _conditions(asked)
    if asked.tags:
        # The first tag's own rows lie in order of age; the join by number then finds each entry.
        sql = (
            "SELECT r.* FROM memory__tags first CROSS JOIN memory__records r ON r.seq = first.seq "  # noqa: S608
            f"WHERE first.owner = ? AND first.tag = ? AND {where} "
            "ORDER BY first.created_at DESC, first.seq DESC LIMIT ?"
        )
        params = [asked.owner, asked.tags[0], *params]
    else:
        sql = f"SELECT r.* FROM memory__records r WHERE {where} ORDER BY r.created_at DESC, r.seq DESC LIMIT ?"  # noqa: S608
    return [read(row) for row in await ctx.store.query(sql, [*params, asked.limit])]


def matching_all(owner: str, words: tuple[str, ...], tag: str | None, most: int) -> tuple[str, list[Any]]:
    """Return the question for entries, archived or not, that have every one of the words and the tag."""
    source, parts, params = "memory__records r", ["r.owner = ?"], []
    if words:
        source = "memory__fts CROSS JOIN memory__records r ON r.seq = memory__fts.rowid"
        parts.insert(0, _MATCH)
        params.append(" AND ".join(words))
    params.append(owner)
    if tag is not None:
        parts.append(TAGGED)
        params += [owner, tag]
    sql = f"SELECT r.seq, r.id, r.document FROM {source} WHERE {' AND '.join(parts)} LIMIT ?"  # noqa: S608
    return sql, [*params, most]
