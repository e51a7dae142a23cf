"""Waiting for an event on somebody's behalf: beside the bus, so that a long wait keeps no plugin's code in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kernel.bus import Bus
from kernel.capabilities import Chain, Gate
from kernel.clock import Clock
from kernel.errors import AetherraError
from kernel.events import Event

WAITING = 64
"""Events of the topics that wait to be looked at; beyond them the oldest is dropped."""


class House(Protocol):
    """The parts of the kernel that a wait needs."""

    bus: Bus
    gate: Gate
    clock: Clock


async def next_event(
    house: House,
    chain: Chain,
    topics: Sequence[str],
    *,
    timeout_s: float | None,
    late: AetherraError,
    own: frozenset[str],
    give: Mapping[str, str],
) -> Any:
    """Return the data of the next event of the topics that the chain may read; raise `late` after `timeout_s`."""
    subscription = house.bus.subscribe(topics, name=f"wait of {chain}", limit=WAITING)
    try:
        async with house.clock.timeout(timeout_s):
            async for event in subscription:
                if readable(house.gate, chain, event, own):
                    field = give.get(event.source)
                    whole = field is None or not isinstance(event.data, dict)
                    return event.data if whole else event.data.get(field)
    except TimeoutError:
        raise late from None
    finally:
        subscription.close()


def readable(gate: Gate, chain: Chain, event: Event, own: frozenset[str]) -> bool:
    """Tell whether a chain may read an event: by the right on its topic, or because the event is the caller's own."""
    if gate.decide(chain, f"event:read:{event.topic}").allowed:
        return True
    mine = event.source in own and isinstance(event.data, dict) and event.data.get("owner") == chain.caller.id
    return mine and gate.decide(chain, "event:read:own").allowed
