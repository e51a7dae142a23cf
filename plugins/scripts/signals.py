"""The signals that a hub measures: load and idleness of its machine."""

from __future__ import annotations

import os
from typing import Any


def measured() -> dict[str, Any]:
    """Return every signal by its name; what has no place here is null to a script."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return {
        "load": load,
        "system_load": load,
        "idle": load < 0.25,
        "system_idle": load < 0.25,
        "busy": load > 0.75,
    }
