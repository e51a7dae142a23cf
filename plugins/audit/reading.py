"""The page of what is on record, for whoever may read it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from kernel import Context, Plugin

from .records import head, page

PAGE = 500
"""Records on one page at most."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE)]
Before = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Outcome = Literal["ok", "denied", "failed"]


class Recorded(msgspec.Struct):
    """What is on record about one thing: who (`chain`), what, with which outcome, by which rule of which policy."""

    seq: int
    at: str
    action: str
    outcome: str
    hash: str
    chain: str = ""
    capability: str = ""
    reason: str = ""
    source: str = ""
    policy: str = ""
    plugin: str = ""
    trace: str = ""
    details: dict[str, Any] = {}


class Head(msgspec.Struct):
    """The last record and its hash."""

    seq: int
    hash: str


class RecordList(msgspec.Struct):
    """A page of records, newest first; `next` is the `before` of the next page, `head` the last record of all."""

    records: list[Recorded]
    count: int
    next: int | None
    head: Head


def add(p: Plugin) -> None:
    """Collect the door on `p`."""
    p.get("/api/security/audit", needs="audit:read", raises=())(records)


async def records(
    ctx: Context,
    limit: Limit = 100,
    before: Before | None = None,
    action: Name | None = None,
    outcome: Outcome | None = None,
    principal: Name | None = None,
    capability: Name | None = None,
) -> RecordList:
    """List what is on record, newest first: refusals, grants of grave rights, changes of policy and of plugins.

    `action` and `capability` also find what begins with them: `login` finds `login.failed`, `memory:write` finds
    `memory:write:own`. `principal` is who began, such as `user:local`.
    """
    newest = head(ctx.store)
    statement, values = page(before=before, action=action, outcome=outcome, principal=principal, capability=capability)
    rows = await ctx.store.query(statement, [*values, limit], limit=limit)
    found = [msgspec.convert({**msgspec.json.decode(row["record"]), "hash": row["hash"]}, Recorded) for row in rows]
    following = rows[-1]["seq"] if len(rows) == limit else None
    return RecordList(found, len(found), following, Head(*newest))
