"""The same refusal, again and again, is one record and then one more that says how often: a flood stays small."""

from __future__ import annotations

from collections import Counter

import msgspec

from kernel import AuditRecord

from .chain import canonical, tidy
from .records import principal_of

Key = tuple[str, str, str, str, str]
ANYBODY = ""


class Repeats:
    """Counts refusals that were recorded already within the window; `end` closes it and returns what to add.

    Of one principal `each` different ones are told apart, and `kept` in all; the others count as one for each
    principal, so that nobody drives out of the record what others did.
    """

    def __init__(self, kept: int, each: int) -> None:
        self.kept = kept
        self.each = each
        self._seen: dict[Key, tuple[AuditRecord, int]] = {}
        self._different: Counter[str] = Counter()
        self._others: dict[str, tuple[AuditRecord, int]] = {}

    def seen(self, record: AuditRecord) -> bool:
        """Tell whether the refusal is only counted: it came before in this window, or too many others did."""
        key, who = _key(record), principal_of(record.chain)
        held = self._seen.get(key)
        if held is not None:
            self._seen[key] = (held[0], held[1] + 1)
            return True
        if len(self._seen) >= self.kept or self._different[who] >= self.each:
            self.fold(record)
            return True
        self._seen[key] = (record, 0)
        self._different[who] += 1
        return False

    def fold(self, record: AuditRecord) -> None:
        """Count a refusal among those of its principal that are not told apart."""
        who = principal_of(record.chain)
        if who not in self._others and len(self._others) >= self.kept:
            who = ANYBODY
        self._others[who] = (record, self._others.get(who, (record, 0))[1] + 1)

    def end(self, at: float) -> list[AuditRecord]:
        """Begin a new window; return a record for each refusal that came again, with `repeated` in its details."""
        seen, self._seen = self._seen, {}
        others, self._others = self._others, {}
        self._different.clear()
        again = [_again(record, count, at) for record, count in seen.values() if count]
        return again + [_different(who, record, count, at) for who, (record, count) in others.items()]


def _key(record: AuditRecord) -> Key:
    details = canonical(tidy(record.details)) if record.details else ""
    return record.action, record.chain, record.capability, record.source, details


def _again(record: AuditRecord, count: int, at: float) -> AuditRecord:
    details = {**record.details, "repeated": count}
    return msgspec.structs.replace(record, at=at, details=details, trace="")


def _different(who: str, record: AuditRecord, count: int, at: float) -> AuditRecord:
    details = {"repeated": count, "different": True}
    return AuditRecord(at, record.action, record.outcome, who, policy=record.policy, details=details)
