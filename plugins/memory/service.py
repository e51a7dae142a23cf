"""The service `memory`: what a user remembers, for scripts, agents, plugins and the APIs.

Every method works on what belongs to the user the call is made for. What belongs to others is as if it were not there.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from aether_lang.criteria import MOST
from kernel import BadInput, Context, needs

from . import patterns, records
from .answers import Answer, once
from .changes import Changes, apply
from .deadlines import woken
from .entries import Draft, Entry, draft, moment, read, tag_list
from .figures import WRITES, figures, measured
from .recall import RECALLED, RECALLED_MOST, Question, matching_all, recall, tokens
from .search import search

Limit = Annotated[int, msgspec.Meta(ge=1, le=RECALLED_MOST)]
Which = str | dict[str, Any] | list[str | dict[str, Any]]
Found = list[dict[str, Any]]

BATCH = 1_000
"""Entries deleted or archived in one write; more of them take several."""

_STORE_REFUSES = frozenset({"id", "created_at", "updated_at", "archived", "collection", "content", "tags"})


class Memory:
    """The methods of the service; one object for each generation, which holds nothing."""

    # Writing -----------------------------------------------------------------------------------------------------

    @needs("memory:write")
    async def store(
        self,
        ctx: Context,
        content: Any,
        tags: list[str] | str | None = None,
        collection: str | None = None,
        fields: dict[str, Any] | None = None,
    ) -> Entry:
        """Store a new entry and return it; `fields` are further fields of it, such as type, title or metadata."""
        new = _new(ctx, content, tags, collection, fields)
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
        stored: Entry = await ctx.store.write(lambda tx: records.insert(tx, owner, new, now, settings))
        _wrote(ctx, "stored")
        return stored

    @needs("memory:write")
    async def create(
        self,
        ctx: Context,
        key: str,
        content: Any,
        tags: list[str] | str | None = None,
        collection: str | None = None,
        fields: dict[str, Any] | None = None,
    ) -> Answer:
        """Store a new entry once for each `key`: the same call again gets the same answer for 24 hours.

        Raises `Conflict` when the key came with other arguments before.
        """
        new = _new(ctx, content, tags, collection, fields)
        body = {"content": content, "tags": list(new.tags), "collection": collection, "fields": fields or {}}
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings

        def create(tx: Any) -> Answer:
            return once(tx, owner, key, body, lambda: records.insert(tx, owner, new, now, settings), now, settings)

        answer = msgspec.convert(msgspec.to_builtins(await ctx.store.write(create)), Answer)
        if not answer.replayed:
            _wrote(ctx, "stored")
        return answer

    @needs("memory:write")
    async def replace(self, ctx: Context, entry: dict[str, Any]) -> Entry:
        """Store a whole entry in the place of the one with its `id`, or as a new one, and return it."""
        new = draft({"source": _source(ctx), **entry}, ctx.settings)
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
        stored: Entry = await ctx.store.write(lambda tx: records.put(tx, owner, new, now, settings))
        _wrote(ctx, "stored")
        return stored

    @needs("memory:write")
    async def patch(self, ctx: Context, id: str, changes: dict[str, Any]) -> Entry | None:
        """Merge fields into an entry and return it; None when there is none with that id."""
        if "id" in changes and changes["id"] != id:
            raise BadInput("id: an entry keeps its id; store a new one instead", details={"field": "id"})
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
        merged: Entry | None = await ctx.store.write(lambda tx: records.merge(tx, owner, id, changes, now, settings))
        if merged is not None:
            _wrote(ctx, "updated")
        return merged

    @needs("memory:write")
    async def tag(self, ctx: Context, id: str, tags: list[str] | str) -> Entry | None:
        """Add tags to an entry and return it; None when there is none with that id."""
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
        added = tag_list(tags, settings)

        def add(tx: Any) -> Entry | None:
            row = records.find(tx, owner, id)
            if row is None:
                return None
            both = list(dict.fromkeys([*read(row)["tags"], *added]))
            return records.merge(tx, owner, id, {"tags": both}, now, settings)

        merged: Entry | None = await ctx.store.write(add)
        if merged is not None:
            _wrote(ctx, "updated")
        return merged

    @needs("memory:write")
    async def archive(self, ctx: Context, which: Which) -> int:
        """Mark entries (ids or entries) as archived, so that recall leaves them out; return how many are now."""
        owner, now, settings = ctx.owner, ctx.clock.now(), ctx.settings
        total = 0
        for ids in _batches(which):

            def mark(tx: Any, ids: list[str] = ids) -> int:
                changes = {"archived": True}
                return sum(records.merge(tx, owner, one, changes, now, settings) is not None for one in ids)

            total += await ctx.store.write(mark)
        _wrote(ctx, "updated", total)
        return total

    @needs("memory:write")
    async def apply(self, ctx: Context, changes: dict[str, Any]) -> dict[str, Any]:
        """Write entries and goals and delete entries, all at once; return the changes that put back what was before.

        `changes` are whole `entries` and `goals`, the ids of the entries that are `deleted`, and of the goals that are
        `gone`. Raises `BadInput` for anything else; asks for `memory:delete` and `goal:write` where they are used.
        """
        try:
            wanted = msgspec.convert(changes, Changes)
        except msgspec.ValidationError as error:
            raise BadInput(f"changes: {error}", details={"field": "changes"}) from None
        before = await apply(ctx, wanted, _source(ctx))
        _wrote(ctx, "stored", len(wanted.entries))
        _wrote(ctx, "deleted", len(wanted.deleted))
        if wanted.goals:
            woken.set()
        return before

    # Deleting ----------------------------------------------------------------------------------------------------

    @needs("memory:delete")
    async def delete(self, ctx: Context, which: Which) -> int:
        """Delete entries (ids or entries) and return how many there were."""
        owner, total = ctx.owner, 0
        for ids in _batches(which):

            def delete(tx: Any, ids: list[str] = ids) -> int:
                return records.drop(tx, owner, records.rows_of(tx, owner, ids))

            total += await ctx.store.write(delete)
        _wrote(ctx, "deleted", total)
        return total

    @needs("memory:delete")
    async def forget(self, ctx: Context, query: str = "", tag: str | None = None) -> int:
        """Delete the entries that have every word of `query`, and the tag if one is given; return how many."""
        words = tokens(query, ctx.settings)
        if not words and tag is None:
            raise BadInput("forget: expected words or a tag; without either, nothing says what to forget")
        return await _drop_all(ctx, matching_all(ctx.owner, words, tag, BATCH))

    @needs("memory:delete")
    async def clear(self, ctx: Context, collection: str) -> int:
        """Delete everything in a collection and return how many entries that were."""
        sql = "SELECT seq, id, document FROM memory__records WHERE owner = ? AND collection = ? LIMIT ?"
        return await _drop_all(ctx, (sql, [ctx.owner, collection, BATCH]))

    @needs("memory:delete")
    async def remove(self, ctx: Context, collection: str, id: str) -> bool:
        """Delete the entry with that id from a collection; tell whether it was there."""
        owner = ctx.owner
        sql = "SELECT seq, id, document FROM memory__records WHERE owner = ? AND id = ? AND collection = ?"
        count: int = await ctx.store.write(lambda tx: records.drop(tx, owner, tx.all(sql, (owner, id, collection))))
        _wrote(ctx, "deleted", count)
        return count > 0

    # Reading -----------------------------------------------------------------------------------------------------

    @needs("memory:read")
    async def get(self, ctx: Context, id: str) -> Entry | None:
        """Return the entry with that id, or None."""
        row = ctx.store.one("SELECT * FROM memory__records WHERE owner = ? AND id = ?", (ctx.owner, id))
        return None if row is None else read(row)

    @needs("memory:read")
    async def search(self, ctx: Context, criteria: dict[str, Any]) -> Found:
        """Return the entries that meet every criterion, archived ones too, at most 10,000."""
        with measured(ctx):
            return await search(ctx, ctx.owner, criteria)

    @needs("memory:read")
    async def search_one(self, ctx: Context, criteria: dict[str, Any]) -> Entry | None:
        """Return the first entry that meets every criterion, or None."""
        with measured(ctx):
            found = await search(ctx, ctx.owner, {**criteria, "limit": 1})
        return found[0] if found else None

    @needs("memory:read")
    async def recall(
        self,
        ctx: Context,
        query: str = "",
        tags: list[str] | str | None = None,
        since: float | str | None = None,
        collection: str | None = None,
        limit: Limit = RECALLED,
    ) -> Found:
        """Return the entries that have words of `query`, best first; without words the newest first.

        All `tags` must be there; `since` is seconds since 1970, an ISO time, `today`, or a span such as `2 days`.
        Archived entries are left out.
        """
        asked = Question(
            ctx.owner,
            tokens(query, ctx.settings),
            tag_list(tags, ctx.settings),
            None if since is None else moment(since, "since", ctx.clock.now(), past=True),
            collection,
            limit,
        )
        with measured(ctx):
            if query.strip() and not asked.words:
                return []
            return await recall(ctx, asked)

    @needs("memory:read")
    async def recall_tagged(self, ctx: Context, tag: str, limit: Limit = RECALLED) -> Found:
        """Return the entries with that tag, newest first."""
        with measured(ctx):
            return await recall(ctx, Question(ctx.owner, tags=(tag,), limit=limit))

    @needs("memory:read")
    async def count(self, ctx: Context, collection: str | None = None) -> int:
        """Return how many entries there are, or how many in that collection."""
        if collection is None:
            row = ctx.store.one("SELECT records FROM memory__owners WHERE owner = ?", (ctx.owner,))
            return 0 if row is None else row[0]
        sql = "SELECT count(*) FROM memory__records WHERE owner = ? AND collection = ?"
        return int((await ctx.store.query(sql, (ctx.owner, collection)))[0][0])

    @needs("memory:read")
    async def has(self, ctx: Context, collection: str) -> bool:
        """Tell whether there is anything in that collection."""
        sql = "SELECT 1 FROM memory__records WHERE owner = ? AND collection = ? LIMIT 1"
        return ctx.store.one(sql, (ctx.owner, collection)) is not None

    @needs("memory:read")
    async def tags(self, ctx: Context, limit: Limit = RECALLED_MOST) -> Found:
        """Return the tags in use with the number of their entries, most used first."""
        sql = "SELECT tag, count(*) FROM memory__tags WHERE owner = ? GROUP BY tag ORDER BY count(*) DESC, tag LIMIT ?"
        return [{"tag": row[0], "count": row[1]} for row in await ctx.store.query(sql, (ctx.owner, limit))]

    @needs("memory:read")
    async def pattern(self, ctx: Context, name: str, frequency: str | None = None) -> bool:
        """Tell whether entries with that tag or text exist, or recur hourly, daily or weekly, or are growing."""
        with measured(ctx):
            return await patterns.recurs(ctx, ctx.owner, name, frequency)

    @needs("memory:read")
    async def statistics(self, ctx: Context, name: str, timeframe_days: float = 7.0) -> dict[str, Any]:
        """Return how often entries with that tag or text came in the last so many days."""
        if not 0 < timeframe_days <= 36_500:
            raise BadInput(f"timeframe_days: expected more than 0 and at most 36500, got {timeframe_days}")
        with measured(ctx):
            return await patterns.statistics(ctx, ctx.owner, name, timeframe_days)

    @needs("memory:read")
    async def status(self, ctx: Context) -> dict[str, Any]:
        """Return how many entries the caller has, and of the whole hub the questions of the last hour and their time.

        `avg_recall_latency_ms` is 0 while there were no questions.
        """
        count, mean = figures.last_hour(ctx.clock.now())
        return {
            "total_memories": await self.count(ctx),
            "recent_queries": count,
            "avg_recall_latency_ms": mean,
        }


# Parts of the above ----------------------------------------------------------------------------------------------


def _new(ctx: Context, content: Any, tags: Any, collection: str | None, fields: dict[str, Any] | None) -> Draft:
    more = fields or {}
    taken = _STORE_REFUSES & more.keys()
    if taken:
        raise BadInput(
            f"fields: {min(taken)!r} has a parameter of its own or is set by the store; `replace` takes whole entries",
            details={"field": f"fields.{min(taken)}"},
        )
    entry = {"content": content, "tags": tags, "source": _source(ctx), **more}
    return draft(entry if collection is None else {**entry, "collection": collection}, ctx.settings)


def _source(ctx: Context) -> str:
    """Return who stores on the user's behalf: the script, agent or plugin that is nearest, else the user."""
    for member in reversed(ctx.chain.via):
        if not member.startswith("core:"):
            return member
    return ctx.owner


def _batches(which: Which) -> list[list[str]]:
    ids = _ids(which)
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def _ids(which: Which) -> list[str]:
    found = []
    for one in which if isinstance(which, list) else [which]:
        identity = one if isinstance(one, str) else one.get("id")
        if not isinstance(identity, str):
            raise BadInput("expected ids, or entries that have an `id`", details={"field": "which"})
        found.append(identity)
    if len(found) > MOST:
        raise BadInput(f"expected at most {MOST} entries in one call, got {len(found)}", details={"field": "which"})
    return list(dict.fromkeys(found))


async def _drop_all(ctx: Context, question: tuple[str, list[Any]]) -> int:
    owner, (sql, params) = ctx.owner, question
    total, count = 0, BATCH
    while count == BATCH:
        count = await ctx.store.write(lambda tx: records.drop(tx, owner, tx.all(sql, params)))
        total += count
    _wrote(ctx, "deleted", total)
    return total


def _wrote(ctx: Context, kind: str, count: int = 1) -> None:
    if count:
        ctx.metric(WRITES).labels(kind).inc(count)
