"""The same refusal, again and again, is one record and then one more that says how often: a flood stays small."""

from __future__ import annotations

from kernel import AuditRecord

from .chain import canonical, tidy

Key = tuple[str, str, str, str, str]
OTHERS: Key = ("", "", "", "", "")


class Repeats:
    """Counts refusals that were recorded already within the window; `end` closes it and returns what to add.

    At most `kept` different ones are told apart; all others count as one.
    """

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.folded = 0
        """Refusals that did not become a record of their own."""
        self._seen: dict[Key, tuple[AuditRecord, int]] = {}

    def seen(self, record: AuditRecord) -> bool:
        """Tell whether the refusal is only counted: it came before in this window, or too many others did."""
        key = _key(record)
        held = self._seen.get(key)
        if held is None and len(self._seen) < self.kept:
            self._seen[key] = (record, 0)
            return False
        if held is None:
            self.fold(record)
        else:
            self._seen[key] = (held[0], held[1] + 1)
            self.folded += 1
        return True

    def fold(self, record: AuditRecord) -> None:
        """Count a refusal among those that are not told apart."""
        self._seen[OTHERS] = (record, self._seen.get(OTHERS, (record, 0))[1] + 1)
        self.folded += 1

    def end(self, at: float) -> list[AuditRecord]:
        """Begin a new window; return a record for each refusal that came again, with `repeated` in its details."""
        seen, self._seen = self._seen, {}
        return [_again(key, record, count, at) for key, (record, count) in seen.items() if count]


def _key(record: AuditRecord) -> Key:
    details = canonical(tidy(record.details)) if record.details else ""
    return record.action, record.chain, record.capability, record.source, details


def _again(key: Key, record: AuditRecord, count: int, at: float) -> AuditRecord:
    if key == OTHERS:
        details = {"repeated": count, "different": True}
        return AuditRecord(at, record.action, record.outcome, "", details=details, policy=record.policy)
    return AuditRecord(
        at,
        record.action,
        record.outcome,
        record.chain,
        record.capability,
        record.reason,
        record.source,
        record.policy,
        details={**record.details, "repeated": count},
        plugin=record.plugin,
    )
