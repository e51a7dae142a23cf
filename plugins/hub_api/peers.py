"""Other hubs: there is no federation in this version, and the documented paths say so."""

from __future__ import annotations

from typing import NoReturn

from kernel import NotAvailable, Plugin


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.post("/api/peers/announce", needs="system:read", effect="free", documented=True)(announce)
    p.post("/api/peers/sync", needs="system:read", effect="free", documented=True)(sync)


async def announce() -> NoReturn:
    """Say that hubs cannot be announced to each other yet."""
    raise _missing()


async def sync() -> NoReturn:
    """Say that hubs do not share data yet."""
    raise _missing()


def _missing() -> NotAvailable:
    return NotAvailable(
        "Federation not yet implemented",
        code="NOT_IMPLEMENTED",
        details={"needs": "a cluster: no setting of this version makes hubs known to each other"},
    )
