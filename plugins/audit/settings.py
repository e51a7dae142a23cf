"""What can be set about the audit; the text below a field is its line in docs/configuration.md."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True):
    """`[plugins.audit]`."""

    heads: str = ""
    """The file that signed heads are written to, best on another disk; empty: HOME/audit/heads.jsonl."""
    head_every_s: Seconds = 3_600.0
    """How often the head is signed."""
    queue: Count = 2_000
    """Records that may wait for their commit; beyond it refusals are only counted, and grants refused."""
    record_kb: Count = 8
    """How large the details of one record may be; larger ones are left out."""
    repeats_s: Seconds = 60.0
    """For how long the same refusal again is only counted; then one more record says how often it came."""
    repeats_kept: Count = 1_000
    """Different refusals within that time that are told apart; all others are counted together."""
    repeats_each: Count = 50
    """The same for those of one principal, so that nobody's flood drives out what others did."""
    segment: Annotated[int, msgspec.Meta(ge=1_000)] = 10_000
    """Records in one file; old records leave by as many."""
    records_kept: Annotated[int, msgspec.Meta(ge=2_000)] = 1_000_000
    """Records that are kept at least; older ones leave in whole segments."""
