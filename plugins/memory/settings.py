"""The bounds of what is remembered, all of them settings of `[plugins.memory]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from aether_lang.remembered import Bounds

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(Bounds, frozen=True):
    """`[plugins.memory]`."""

    entry_kb: Count = 256
    """The size of one entry, or of one goal, as JSON."""
    name_chars: Count = 200
    """The length of an id, a tag, a collection's name or a field's name."""
    tags: Count = 64
    """Tags of one entry."""
    records_per_owner: Count = 1_000_000
    """Entries that one user may have."""
    goals_per_owner: Count = 10_000
    """Goals that one user may have."""
    query_chars: Count = 4_000
    """The length of a recall's words."""
    rank_newest: Count = 2_000
    """How many matches of frequent words are ranked: the newest. A word with that many entries counts as frequent."""
    deadline_check_s: Seconds = 60.0
    """The longest time between two looks at the goals' deadlines; a jump of the clock is noticed within it."""
    answers_h: Count = 24
    """How long the answer to a create with an Idempotency-Key is kept."""
    answers_per_owner: Count = 10_000
    """How many such answers are kept for one user; beyond it such creates are refused until the oldest has expired."""
