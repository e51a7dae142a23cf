"""The verbs `aether audit verify`, which needs no hub, and `aether audit list`."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from kernel import BadInput, NotFound, Plugin, StorageError, Terminal

from .heads import public_key
from .settings import Settings
from .trail import folder_of, heads_file, key_file
from .verification import Verdict, Verification


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("audit verify")(verify)
    p.command("audit list")(list_records)


async def verify(terminal: Terminal, head: list[str] | None = None, key: list[str] | None = None) -> int | None:
    """Prove that the audit is as it was written; the exit status is 1 when it is not, and what is broken is told.

    It reads the database, the file beside it and the signed heads, with or without a running hub, and changes nothing.
    --head FILE names a file of heads that was kept elsewhere, --key a public key that is trusted besides the hub's.
    """
    verdict = await asyncio.to_thread(_verified, terminal, [Path(name) for name in head or ()], list(key or ()))
    if terminal.json:
        terminal.print({"ok": verdict.ok, **msgspec.to_builtins(verdict)})
        return 0 if verdict.ok else 1
    for finding in verdict.findings:
        at = f", from record {finding.seq} on" if finding.seq is not None else ""
        terminal.print(f"broken: {finding.where}{at}: {finding.text}")
    for note in verdict.notes:
        terminal.print(f"note: {note}")
    count = max(0, verdict.last - verdict.first + 1)
    if verdict.ok:
        terminal.print(f"whole: {count} records, {verdict.first} to {verdict.last}, and {verdict.heads} signed heads")
        terminal.print(f"hash of record {verdict.last}: {verdict.hash}")
        return None
    return 1


def _verified(terminal: Terminal, given: list[Path], keys: list[str]) -> Verdict:
    paths = terminal.config.paths
    settings = terminal.config.plugin("audit", Settings)
    for file in given:
        if not file.is_file():
            raise NotFound(f"{file}: there is no such file of heads")
    if not paths.database.is_file():
        raise NotFound(f"{paths.database}: there is no database; --home names the folder of a hub")
    secret = key_file(paths.home)
    try:
        trusted = [*keys, *([public_key(secret)] if secret.is_file() else [])]
    except ValueError as error:
        raise BadInput(f"{secret} holds no key: {error}") from None
    except OSError as error:
        raise StorageError(f"{secret}: {error.strerror}; --key names the public key instead") from None
    heads = list(dict.fromkeys([heads_file(paths.home, settings), *(file.absolute() for file in given)]))
    try:
        return Verification(paths.database, folder_of(paths.home), heads, trusted).run()
    except sqlite3.Error as error:
        raise StorageError(f"{paths.database}: the audit in it cannot be read: {error}") from None
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from None


async def list_records(
    terminal: Terminal,
    limit: int = 50,
    action: str | None = None,
    outcome: str | None = None,
    principal: str | None = None,
    capability: str | None = None,
) -> None:
    """List what is on record, newest first."""
    asked: dict[str, Any] = {
        "limit": limit,
        "action": action,
        "outcome": outcome,
        "principal": principal,
        "capability": capability,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    page = await terminal.request("GET", f"/api/security/audit?{query}")
    if terminal.json:
        terminal.print(page)
        return
    head = ["record", "at", "action", "outcome", "who", "what"]
    terminal.table(head, [_row(record) for record in page["records"]])


def _row(record: dict[str, Any]) -> list[str]:
    details = " ".join(f"{name}={value}" for name, value in record["details"].items())
    what = ": ".join(part for part in (record["capability"], record["reason"], details) if part)
    return [str(record["seq"]), record["at"], record["action"], record["outcome"], record["chain"], what]
