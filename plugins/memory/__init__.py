"""memory remembers, per user: entries that are found by criteria or recalled by their words, and goals with deadlines.

Everything lies in the hub's database. Beneath a script's effect each write happens exactly once.
"""

from __future__ import annotations

from typing import Any

from kernel import Context, Plugin

from . import functions
from .deadlines import watch
from .figures import QUERIES, SECONDS, WRITES, figures
from .goals import Goals
from .service import Memory
from .settings import Settings

memory = Plugin(
    "memory",
    version="1.0.0",
    description="Entries and goals: stored, searched, recalled by their words.",
    category="memory",
    topics=["goal"],
    migrations="migrations",
)

memory.settings(Settings)

memory.counter(QUERIES, "Questions to memory: searches, recalls, patterns")
memory.counter(WRITES, "Entries stored, updated and deleted", ["kind"])
memory.histogram(SECONDS, "Time to answer a question to memory", buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0))

memory.service("memory")(Memory)
memory.service("goals")(Goals)

memory.function("remember", effect="staged", needs="memory:write:own")(functions.remember)
memory.function("recall", effect="read", needs="memory:read:own")(functions.recall)
memory.function("search", effect="read", needs="memory:read:own")(functions.search)
memory.function("forget", effect="staged", needs="memory:delete:own")(functions.forget)

memory.task("deadlines")(watch)


@memory.health
async def health(ctx: Context) -> str | None:
    """Return why entries cannot be read, or None."""
    ctx.store.one("SELECT 1 FROM memory__records LIMIT 1")
    ctx.store.one("SELECT rowid FROM memory__fts WHERE memory__fts MATCH ? LIMIT 1", ('"probe"',))
    return None


@memory.export_state
def export_state() -> dict[str, Any]:
    """Return the figures of the last hour."""
    return {"figures": figures.exported()}


@memory.import_state
def import_state(version: str, state: Any) -> None:
    """Go on with the figures of the last hour."""
    figures.imported(state["figures"])
