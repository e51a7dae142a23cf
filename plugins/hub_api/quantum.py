"""Whether quantum circuits can be run: when a loaded plugin provides the service `quantum`, as it says itself."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel import Context, Plugin


class Quantum(Protocol):
    """What this part asks of whoever runs circuits."""

    async def status(self) -> dict[str, Any]:
        """Return mode and backend."""


class QuantumStatus(msgspec.Struct):
    """Whether there is a quantum backend; without one everything is computed classically."""

    available: bool
    mode: str
    backend: str | None


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("quantum")(Quantum)
    p.get("/api/quantum/status", needs="system:read", documented=True, raises=())(quantum_status)


async def quantum_status(ctx: Context) -> QuantumStatus:
    """Return the state of the quantum subsystem."""
    if "quantum" not in ctx.table.services:
        return QuantumStatus(available=False, mode="classical", backend=None)
    return msgspec.convert(await ctx.service("quantum", Quantum).status(), QuantumStatus)
