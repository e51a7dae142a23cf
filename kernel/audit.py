"""What is put on record: the kernel says who did what, a plugin with the `auditor` door keeps it.

A refusal is handed over and not waited for. A grant of a right that the decider marks as `audited` is committed before
the effect it authorises: where it cannot be, the effect does not happen. Nobody but the kernel writes who acted, by
which plugin and for which request. What is on record and how it is proved: `docs/audit.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from kernel.contribution import Table
from kernel.errors import AetherraError, StorageError
from kernel.redaction import redactions

log = logging.getLogger("kernel.audit")

Outcome = Literal["ok", "denied", "failed"]

DENIED = "capability.denied"
GRANTED = "capability.granted"


class AuditRecord(msgspec.Struct, frozen=True):
    """One thing that happened: `action` is `noun.verbed`, `at` wall seconds UTC, `details` plain data.

    `chain` says on whose behalf, the caller first; `plugin` whose code did or asked it; `policy` is the hash of the
    policy that decided, `reason` and `source` are its rule and where that stands.
    """

    at: float
    action: str
    outcome: Outcome
    chain: str
    capability: str = ""
    reason: str = ""
    source: str = ""
    policy: str = ""
    details: dict[str, Any] = {}
    trace: str = ""
    plugin: str = ""


class Auditing:
    """Hands records to whichever plugin keeps them at the moment; without one, nothing is kept and nothing waits."""

    def __init__(self, table: Callable[[], Table]) -> None:
        self._table = table
        self.lost = 0
        """Records that nobody waited for and that could not be kept."""

    def note(self, record: AuditRecord) -> None:
        """Have the record kept, without waiting; that it could not be is logged and counted."""
        try:
            kept = self._give(record)
        except AetherraError as error:
            self._lose(record, error)
            return
        if kept is not None:
            kept.add_done_callback(lambda done: self._look(record, done))

    async def keep(self, record: AuditRecord) -> None:
        """Return once the record is committed, at once where no plugin keeps any; raise why it could not be."""
        kept = self._give(record)
        if kept is None:
            return
        try:
            # Shielded: the record is the house's, and stays when whoever caused it leaves.
            await asyncio.shield(kept)
        except AetherraError:
            raise
        except Exception as error:
            raise _failed(error, record) from None

    def _give(self, record: AuditRecord) -> asyncio.Future[Any] | None:
        auditor = self._table().auditor
        if auditor is None:
            return None
        try:
            kept: asyncio.Future[Any] = asyncio.ensure_future(auditor.item(_clean(record)))
            return kept
        except AetherraError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise _failed(error, record) from None

    def _look(self, record: AuditRecord, done: asyncio.Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._lose(record, error)

    def _lose(self, record: AuditRecord, error: BaseException) -> None:
        self.lost += 1
        log.error("%s of %s (%s) could not be put on record: %s", record.action, record.chain, record.capability, error)


def _clean(record: AuditRecord) -> AuditRecord:
    return msgspec.structs.replace(
        record,
        chain=redactions.text(record.chain),
        capability=redactions.text(record.capability),
        reason=redactions.text(record.reason),
        details=redactions.data(record.details),
    )


def _failed(error: BaseException, record: AuditRecord) -> StorageError:
    log.error("putting %s on record failed", record.action, exc_info=error)
    return StorageError(
        f"{record.action} could not be put on record, so it does not happen; the reason is in the hub's log",
        details={"action": record.action},
        code="AUDIT_FAILED",
    )
