"""The operations on memory and goals: what the language says, in the words of the services `memory` and `goals`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aether_lang import requests
from kernel import Context

from .faults import fault, not_yet

Named = dict[str, Any]
Tags = str | list[Any] | None
Which = str | Named | list[str | Named]


class Recollection:
    """Memory and goals for a run; holds nothing."""

    # Entries -----------------------------------------------------------------------------------------------------

    async def remember(
        self, ctx: Context, content: Any, as_: Tags = None, key: str | None = None, for_: Any = None, data: Any = None
    ) -> str:
        """Store an entry and return its id."""
        fields = {"key": key, "for": for_, "data": data}
        given = {name: value for name, value in fields.items() if value is not None}
        stored = await ctx.service("memory").store(content, tags=requests.tags(as_), fields=given or None)
        return str(stored["id"])

    async def store(self, ctx: Context, entry: Named) -> str:
        """Store a whole entry, in the place of the one with its id."""
        return str((await ctx.service("memory").replace(entry))["id"])

    async def put(self, ctx: Context, value: Any, tag: Tags = None, metadata: Any = None) -> str:
        """Store a value with tags and metadata."""
        fields = None if metadata is None else {"metadata": metadata}
        return str((await ctx.service("memory").store(value, tags=requests.tags(tag), fields=fields))["id"])

    async def update(self, ctx: Context, id: Any, patch: Named) -> Any:
        """Merge fields into an entry; null when there is none."""
        return await ctx.service("memory").patch(_id(id), patch)

    async def delete(self, ctx: Context, id: Which) -> bool:
        """Delete an entry, or a list of them; true when there was one."""
        return bool(await ctx.service("memory").delete(id))

    async def archive(self, ctx: Context, entry: Which) -> bool:
        """Mark as archived."""
        return bool(await ctx.service("memory").archive(entry))

    async def tag(self, ctx: Context, value: Any, tag: Tags) -> Any:
        """Add a tag to an entry."""
        return await ctx.service("memory").tag(_id(value), requests.tags(tag) or [])

    async def learn(self, ctx: Context, verb: str, source: Any = None, slots: Any = None, text: str = "") -> str:
        """Keep a learning note."""
        fields = {"type": "learning", "data": {"verb": verb, "source": source, "slots": slots}}
        return str((await ctx.service("memory").store(text, tags=["learning"], fields=fields))["id"])

    async def forget(self, ctx: Context, query: Any = None, tag: str | None = None) -> int:
        """Delete what has the words or the tag; how many."""
        return int(await ctx.service("memory").forget("" if query is None else str(query), tag=tag))

    # Questions ---------------------------------------------------------------------------------------------------

    async def search(self, ctx: Context, criteria: Named | None = None) -> Any:
        """Entries that meet every criterion."""
        return await ctx.service("memory").search(criteria or {})

    async def search_one(self, ctx: Context, criteria: Named | None = None) -> Any:
        """The first of them, or null."""
        return await ctx.service("memory").search_one(criteria or {})

    async def get(self, ctx: Context, id: Any) -> Any:
        """An entry, or null."""
        return await ctx.service("memory").get(_id(id))

    async def load(self, ctx: Context, tag: str | None = None) -> Any:
        """Entries with a tag, or all."""
        return await (ctx.service("memory").search({}) if tag is None else self.tagged(ctx, tag))

    async def tagged(self, ctx: Context, tag: str, limit: int = 20) -> Any:
        """Entries with a tag, newest first."""
        return await ctx.service("memory").recall_tagged(tag, limit)

    async def logs(
        self, ctx: Context, tag: str | None = None, hours: float | None = None, since: float | None = None
    ) -> Any:
        """The records that `system/logger` kept, oldest first; `since` is in seconds since 1970."""
        criteria: Named = {"type": "log"}
        moments = [] if since is None else [since]
        if hours is not None:
            moments.append(ctx.clock.now() - hours * 3600)
        if moments:
            criteria["created_at_gte"] = max(moments)
        if tag is not None:
            criteria["tags_include"] = [tag]
        return await ctx.service("memory").search(criteria)

    async def query(self, ctx: Context, query: str) -> Any:
        """Entries by words."""
        if query.lstrip().lower().startswith("select "):
            raise not_yet("a SELECT over memory", "use search_memory with criteria")
        return await ctx.service("memory").recall(query)

    async def recall(
        self,
        ctx: Context,
        query: Any = None,
        with_: Tags = None,
        from_: Any = None,
        tag: Tags = None,
        limit: int = 20,
    ) -> Any:
        """Entries by words and tags, best first."""
        tags = [*(requests.tags(with_) or []), *(requests.tags(tag) or [])]
        words = "" if query is None else str(query)
        return await ctx.service("memory").recall(words, tags=tags or None, since=from_, limit=limit)

    async def pattern(self, ctx: Context, name: str, frequency: str | None = None) -> bool:
        """Does it recur."""
        return bool(await ctx.service("memory").pattern(name, frequency))

    async def statistics(self, ctx: Context, slots: Any = None, text: str = "") -> Any:
        """`pattern frequency x timeframe=7`: how often x came."""
        words, days = requests.phrase(slots)
        if not words:
            raise fault("ValueError", f"pattern needs something to look for, got {text!r}")
        return await ctx.service("memory").statistics(words[-1], days)

    async def count(self, ctx: Context) -> int:
        """How many entries there are."""
        return int(await ctx.service("memory").count())

    # Collections -------------------------------------------------------------------------------------------------

    async def collect(self, ctx: Context, collection: str, value: Any, with_: Any = None) -> str:
        """Store a value in a collection."""
        fields = None if with_ is None else {"metadata": with_}
        stored = await ctx.service("memory").store(value, collection=collection, fields=fields)
        return str(stored["id"])

    async def has(self, ctx: Context, collection: str) -> bool:
        """Is there anything in a collection."""
        return bool(await ctx.service("memory").has(collection))

    async def remove(self, ctx: Context, collection: str, value: Any) -> bool:
        """Take an entry out of a collection, by its id."""
        return bool(await ctx.service("memory").remove(collection, _id(value)))

    async def clear(self, ctx: Context, collection: str) -> int:
        """Empty a collection; how many entries it had."""
        return int(await ctx.service("memory").clear(collection))

    async def change(self, ctx: Context, collection: str, value: Named) -> Any:
        """Merge an entry into the one with its id."""
        return await ctx.service("memory").patch(_id(value), {k: v for k, v in value.items() if k != "id"})

    # Goals -------------------------------------------------------------------------------------------------------

    async def goals(self, ctx: Context) -> Any:
        """All goals."""
        return await ctx.service("goals").list()

    async def active_goals(self, ctx: Context) -> Any:
        """Those under way."""
        return await ctx.service("goals").list(status="active")

    async def count_goals(self, ctx: Context) -> int:
        """How many are under way."""
        return int(await ctx.service("goals").count())

    async def goal_status(self, ctx: Context) -> Any:
        """Figures about the goals."""
        return await ctx.service("goals").statistics()

    async def set_goal(self, ctx: Context, goal: Any) -> Any:
        """Declare a goal by its title, or by its fields."""
        title, fields = _goal(goal)
        return await ctx.service("goals").declare(title, **fields)

    async def update_goal(self, ctx: Context, goal: Any) -> Any:
        """Merge fields into the goal with its id; without one, declare it."""
        if isinstance(goal, dict) and isinstance(goal.get("id"), str):
            return await ctx.service("goals").update(goal["id"], {k: v for k, v in goal.items() if k != "id"})
        return await self.set_goal(ctx, goal)

    async def declare(
        self, ctx: Context, title: str, priority: str | None = None, deadline: Any = None, metrics: Any = None
    ) -> str:
        """`goal: ..`: the goal's id."""
        more = metrics if isinstance(metrics, dict) or metrics is None else {"text": metrics}
        goal = await ctx.service("goals").declare(title, priority=priority, deadline=deadline, metrics=more)
        return str(goal["id"])

    async def finish(self, ctx: Context, id: str, state: str) -> Any:
        """Mark a goal as completed or failed."""
        goals = ctx.service("goals")
        return await (goals.complete(id) if state == "completed" else goals.fail(id, reason="its body failed"))

    async def check(self, ctx: Context, goal: Any) -> Any:
        """The goal of that id or title, or null."""
        found = await ctx.service("goals").list()
        wanted = goal.get("id") if isinstance(goal, dict) else goal
        return next((one for one in found if wanted in (one["id"], one["title"])), None)


def _id(given: Any) -> str:
    try:
        return requests.entry_id(given)
    except requests.Misfit as misfit:
        raise fault("TypeError", str(misfit)) from None


def _goal(goal: Any) -> tuple[str, Named]:
    try:
        return requests.goal(goal)
    except requests.Misfit as misfit:
        raise fault("TypeError", str(misfit)) from None


TABLE: Final[dict[str, Callable[..., Any]]] = {
    "memory.remember": Recollection.remember,
    "memory.store": Recollection.store,
    "memory.put": Recollection.put,
    "memory.update": Recollection.update,
    "memory.delete": Recollection.delete,
    "memory.archive": Recollection.archive,
    "memory.tag": Recollection.tag,
    "memory.learn": Recollection.learn,
    "memory.forget": Recollection.forget,
    "memory.search": Recollection.search,
    "memory.search_one": Recollection.search_one,
    "memory.get": Recollection.get,
    "memory.load": Recollection.load,
    "memory.logs": Recollection.logs,
    "memory.tagged": Recollection.tagged,
    "memory.query": Recollection.query,
    "memory.recall": Recollection.recall,
    "memory.pattern": Recollection.pattern,
    "memory.statistics": Recollection.statistics,
    "memory.count": Recollection.count,
    "collection.store": Recollection.collect,
    "collection.append": Recollection.collect,
    "collection.has": Recollection.has,
    "collection.remove": Recollection.remove,
    "collection.clear": Recollection.clear,
    "collection.update": Recollection.change,
    "goal.all": Recollection.goals,
    "goal.active": Recollection.active_goals,
    "goal.count_active": Recollection.count_goals,
    "goal.status": Recollection.goal_status,
    "goal.set": Recollection.set_goal,
    "goal.update": Recollection.update_goal,
    "goal.declare": Recollection.declare,
    "goal.finish": Recollection.finish,
    "goal.check": Recollection.check,
}
