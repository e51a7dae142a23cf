"""The bounds of schedules and resident scripts, all of them settings of `[plugins.schedules]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True):
    """`[plugins.schedules]`."""

    per_owner: Count = 1_000
    """Schedules that one user may have, what resident scripts register among them."""
    total: Count = 20_000
    """Schedules that there may be in all."""
    parameters_kb: Count = 64
    """The size of the parameters of one schedule, as JSON."""
    at_once: Count = 16
    """Runs that are submitted side by side when many schedules are due."""
    check_s: Seconds = 60.0
    """The longest time between two looks at what is due; a jump of the clock is noticed within it."""
    retry_s: Seconds = 5.0
    """How long until a run is submitted again that the hub could not take for the moment."""
    signals_s: Seconds = 5.0
    """How often the signals are read that conditions of resident scripts wait for."""
    registered: Count = 100
    """Schedules, events and conditions that one resident script may register."""
    event_queue: Count = 100
    """Events that may wait for one resident script; what comes beyond is counted as skipped."""
    events_per_minute: Count = 120
    """Events a minute for which one resident script runs; what comes beyond is counted as skipped."""
    chain: Count = 8
    """How many runs of resident scripts one event may set going one behind the other; so none goes round for ever."""
    intervals_per_owner: Count = 10_000
    """Places of `time.interval` that are remembered for one user; the oldest is forgotten beyond it."""
