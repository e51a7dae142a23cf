"""Whether the packages that this process would import are those of one installation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOMS = ("hub", "kernel", "aether_lang")
"""The packages of one installation, side by side in one folder."""


def place_of(room: str) -> Path | None:
    """Return the folder in which Python finds a package, without importing it; None where it finds none."""
    found = importlib.util.find_spec(room)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).resolve().parent.parent


def mixture() -> str | None:
    """Return, as a sentence, that the hub's packages are not of one installation; None where they are.

    A `kernel` from elsewhere would be another version's, or another project's.
    """
    own = Path(__file__).resolve().parent.parent
    for room in ROOMS:
        place = place_of(room)
        if place != own:
            where = f"comes from {place}" if place is not None else "is not there"
            return (
                f"two installations are mixed: hub lies in {own}, but {room} {where}; start the one you mean from a "
                "folder without a package of that name, and with no PYTHONPATH that leads to another"
            )
    return None
