"""Migrations: numbered texts of SQL that only add, each applied once and whole."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator

from kernel.crashpoints import crashpoint
from kernel.errors import BadInput, Conflict
from kernel.namespaces import without_quotes
from kernel.transaction import Tx

Migration = tuple[int, str, str]
"""Number, name, SQL text."""

TABLE = """CREATE TABLE IF NOT EXISTS kernel__migrations (
    namespace TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (namespace, number)) WITHOUT ROWID"""


def in_order(namespace: str, migrations: Iterable[Migration]) -> list[Migration]:
    """Return the migrations, or raise `BadInput` unless their numbers rise from 1 or more."""
    steps = [(int(number), name, sql) for number, name, sql in migrations]
    numbers = [number for number, _, _ in steps]
    if numbers != sorted(set(numbers)) or any(number < 1 for number in numbers):
        raise BadInput(f"the migrations of {namespace!r} are numbered from 1, each once and rising; got {numbers}")
    return steps


def apply(connection: sqlite3.Connection, tx: Tx, namespace: str, step: Migration, at: float) -> bool:
    """Apply one migration and remember it; return False when it was applied before.

    Raises `Conflict` naming a migration whose text is not the one that was applied.
    """
    number, name, sql = step
    digest = hashlib.sha256(sql.encode()).hexdigest()
    row = connection.execute(
        "SELECT name, sha256 FROM kernel__migrations WHERE namespace = ? AND number = ?", (namespace, number)
    ).fetchone()
    if row is not None:
        if row["sha256"] != digest:
            raise Conflict(
                f"migration {number} {name!r} of {namespace!r} was changed after it had been applied "
                f"(then {row['sha256'][:12]}, now {digest[:12]}); put its text back and add one with a new number",
                details={"namespace": namespace, "number": number},
            )
        return False
    for statement in statements(sql, f"migration {number} {name!r} of {namespace!r}"):
        tx.execute(statement)
    connection.execute(
        "INSERT INTO kernel__migrations (namespace, number, name, sha256, at) VALUES (?, ?, ?, ?, ?)",
        (namespace, number, name, digest, at),
    )
    crashpoint("store.mid_migration")
    return True


def statements(sql: str, where: str) -> Iterator[str]:
    """Cut a text into statements; a semicolon inside a string, comment or trigger does not end one."""
    start = 0
    for end in (match.end() for match in re.finditer(";", sql)):
        if sqlite3.complete_statement(sql[start:end]):
            if without_quotes(sql[start:end]).strip(" \t\r\n;"):
                yield sql[start:end].strip()
            start = end
    if without_quotes(sql[start:]).strip():
        raise BadInput(f"the last statement of {where} has no ; at its end: {sql[start:].strip()[:80]!r}")
