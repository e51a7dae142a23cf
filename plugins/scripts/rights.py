"""Which right each operation of a script takes, by the language's own table of host functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aether_lang import host

FREE: Final = frozenset({"log:write", "metrics:write", "trace:write", "time:read", "random:read", "signal:read"})
"""Calls of class free, which no quota counts."""
OWN: Final = frozenset({"memory", "goal", "storage", "schedule"})
"""Domains whose object, for a script, is what belongs to its user."""
DECIDED_INSIDE: Final = frozenset({"event:emit", "plugin:call", "ui:notify", "intent:act"})
"""What is decided on the object, which the operation knows."""

CAPABILITIES: Final[Mapping[str, str]] = {
    row.operation: row.capability.replace(".", ":")
    for rows in (host.FUNCTIONS, host.BEHIND_THE_LANGUAGE)
    for row in rows.values()
}
"""The right of each operation."""


def right_of(capability: str) -> tuple[str, bool]:
    """Return what the gateway asks for a capability, and whether that is all: else an object is added that it names."""
    domain = capability.partition(":")[0]
    return (f"{capability}:own" if domain in OWN else capability), capability not in DECIDED_INSIDE
