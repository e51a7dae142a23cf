"""Other hubs: there is no federation in this version, and the documented paths say so."""

from __future__ import annotations

import msgspec

from kernel import Plugin


class Needed(msgspec.Struct):
    """What would make it available."""

    needs: str


class NotYet(msgspec.Struct):
    """That hubs do not know each other in this version."""

    error: str
    details: Needed
    code: str


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    for path, answer in (("announce", announce), ("sync", sync)):
        p.post(f"/api/peers/{path}", needs="system:read", effect="free", status=501, documented=True, raises=())(answer)


async def announce() -> NotYet:
    """Say that hubs cannot be announced to each other yet."""
    return _not_yet()


async def sync() -> NotYet:
    """Say that hubs do not share data yet."""
    return _not_yet()


def _not_yet() -> NotYet:
    needs = "a cluster: no setting of this version makes hubs known to each other"
    return NotYet("Federation not yet implemented", Needed(needs), "NOT_IMPLEMENTED")
