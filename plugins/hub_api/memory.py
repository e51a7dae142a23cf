"""What a user remembers: stored, recalled by words, read, changed and deleted. Times are ISO-8601 here."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from kernel import BadInput, Conflict, Context, NotFound, Plugin, Reply, StorageFull, TooLarge, iso

Limit = Annotated[int, msgspec.Meta(ge=1, le=100)]
Maybe = msgspec.UnsetType
Record = dict[str, Any]

_OWN_PLACE = ("id", "content", "tags", "collection", "type", "title", "archived", "created_at", "updated_at")


class Answer(msgspec.Struct):
    """What a create with an Idempotency-Key is answered with."""

    record: Record
    replayed: bool


class Memories(Protocol):
    """What this dialect asks of the memory."""

    async def store(self, content: Any, tags: list[str], collection: str | None, fields: dict[str, Any]) -> Record:
        """Store an entry."""

    async def create(
        self, key: str, content: Any, tags: list[str], collection: str | None, fields: dict[str, Any]
    ) -> Answer:
        """Store an entry once for each key."""

    async def get(self, id: str) -> Record | None:
        """Return an entry."""

    async def patch(self, id: str, changes: dict[str, Any]) -> Record | None:
        """Merge fields into an entry."""

    async def delete(self, which: str) -> int:
        """Delete an entry."""

    async def recall(
        self, query: str, tags: list[str], since: float | str | None, collection: str | None, limit: int
    ) -> list[Record]:
        """Return entries, best first."""

    async def status(self) -> dict[str, Any]:
        """Return figures."""


class MemoryEntry(msgspec.Struct):
    """An entry; what else was stored with it stands in `fields`."""

    id: str
    content: Any
    tags: list[str]
    collection: str | None
    type: Any
    title: Any
    archived: bool
    fields: dict[str, Any]
    created_at: str
    updated_at: str


class Recalled(msgspec.Struct):
    """Entries, best first, and how many."""

    memories: list[MemoryEntry]
    count: int


class Deleted(msgspec.Struct):
    """The entry that is gone."""

    id: str
    deleted: bool


class MemoryStats(msgspec.Struct):
    """`total_memories` are the caller's own; the questions are those of the last hour, their mean time in ms."""

    total_memories: int
    recent_queries: int
    avg_recall_latency_ms: float


class Storm(msgspec.Struct):
    """Retrieval by optimal transport, which this hub does not have."""

    enabled: bool
    status: str
    ot_backend: str | None


class MemoryStatus(msgspec.Struct):
    """State and figures of the memory."""

    status: str
    stats: MemoryStats
    storm: Storm


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("memory")(Memories)
    writes: dict[str, Any] = {"needs": "memory:write:own", "effect": "staged"}
    full = (TooLarge, StorageFull)
    p.post("/api/memory", **writes, status=201, keyed=True, raises=(Conflict, *full))(store_memory)
    p.post("/api/memory/recall", needs="memory:read:own", effect="read", raises=(TooLarge,))(recall_memories)
    p.get("/api/memory/status", needs="memory:read:own", documented=True, raises=())(memory_status)
    p.get("/api/memory/{id}", needs="memory:read:own", raises=(NotFound,))(show_memory)
    p.patch("/api/memory/{id}", **writes, raises=(NotFound, *full))(change_memory)
    p.delete("/api/memory/{id}", needs="memory:delete:own", effect="staged", raises=(NotFound, StorageFull))(
        delete_memory
    )


async def store_memory(
    ctx: Context,
    content: Any,
    tags: list[str] = [],  # noqa: B006 - a default that is copied for each request
    collection: str | None = None,
    type: str | None = None,
    title: str | None = None,
    fields: dict[str, Any] = {},  # noqa: B006
) -> Reply[MemoryEntry]:
    """Store an entry: any JSON as `content`, with tags, and with further `fields` of one's own.

    With an `Idempotency-Key` the same request is answered with the first answer for 24 hours.
    """
    named = {"type": type, "title": title}
    _no_doubles(fields)
    more = {**fields, **{name: value for name, value in named.items() if value is not None}}
    memory = ctx.service("memory", Memories)
    if ctx.idempotency_key is None:
        return Reply(_shown(await memory.store(content, tags, collection, more)), status=201)
    answer = await memory.create(ctx.idempotency_key, content, tags, collection, more)
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    return Reply(_shown(answer.record), status=201, headers=headers)


async def recall_memories(
    ctx: Context,
    query: str = "",
    tags: list[str] = [],  # noqa: B006
    since: float | str | None = None,
    collection: str | None = None,
    limit: Limit = 20,
) -> Recalled:
    """Return the entries that have words of `query` and all `tags`, best first; without words the newest first.

    `since` is an ISO time, seconds since 1970, or a span such as `2 days`. Archived entries are left out.
    """
    found = await ctx.service("memory", Memories).recall(query, tags, since, collection, limit)
    return Recalled([_shown(record) for record in found], len(found))


async def show_memory(ctx: Context, id: str) -> MemoryEntry:
    """Return one entry."""
    return _shown(_there(await ctx.service("memory", Memories).get(id), id))


async def change_memory(
    ctx: Context,
    id: str,
    content: Any = msgspec.UNSET,
    tags: list[str] | Maybe = msgspec.UNSET,
    collection: str | Maybe | None = msgspec.UNSET,
    type: str | Maybe | None = msgspec.UNSET,
    title: str | Maybe | None = msgspec.UNSET,
    archived: bool | Maybe = msgspec.UNSET,
    fields: dict[str, Any] = {},  # noqa: B006
) -> MemoryEntry:
    """Change what is given and keep the rest; `fields` are merged into those that are there."""
    _no_doubles(fields)
    given = {
        "content": content,
        "tags": tags,
        "collection": collection,
        "type": type,
        "title": title,
        "archived": archived,
    }
    changes = {**fields, **{name: value for name, value in given.items() if value is not msgspec.UNSET}}
    if not changes:
        raise BadInput(f"nothing to change: give at least one of {', '.join(given)}, fields")
    return _shown(_there(await ctx.service("memory", Memories).patch(id, changes), id))


async def delete_memory(ctx: Context, id: str) -> Deleted:
    """Delete one entry."""
    if not await ctx.service("memory", Memories).delete(id):
        raise _unknown(id)
    return Deleted(id, True)


async def memory_status(ctx: Context) -> MemoryStatus:
    """Return the memory's state and figures, measured."""
    stats = await ctx.service("memory", Memories).status()
    return MemoryStatus("healthy", msgspec.convert(stats, MemoryStats), Storm(False, "unavailable", None))


def _shown(record: Record) -> MemoryEntry:
    return MemoryEntry(
        id=record["id"],
        content=record.get("content"),
        tags=record["tags"],
        collection=record.get("collection"),
        type=record.get("type"),
        title=record.get("title"),
        archived=record["archived"],
        fields={name: value for name, value in record.items() if name not in _OWN_PLACE},
        created_at=iso(record["created_at"]),
        updated_at=iso(record["updated_at"]),
    )


def _no_doubles(fields: dict[str, Any]) -> None:
    taken = [name for name in fields if name in _OWN_PLACE]
    if taken:
        raise BadInput(
            f"fields: {taken[0]!r} has a place of its own, outside `fields`", details={"field": f"fields.{taken[0]}"}
        )


def _there(record: Record | None, id: str) -> Record:
    if record is None:
        raise _unknown(id)
    return record


def _unknown(id: str) -> NotFound:
    return NotFound(f"there is no memory {id!r}", details={"id": id})
