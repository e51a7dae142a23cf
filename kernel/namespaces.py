"""Namespaces: the names of the rooms plugins have in the one database, and the guard that keeps each in its own."""

from __future__ import annotations

import re
import sqlite3

from kernel.errors import BadInput, Denied
from kernel.sqlite_file import Params

_NAMESPACE = re.compile(r"[a-z](?!.*__)[a-z0-9_]{0,62}[a-z0-9]|[a-z]")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_TABLE_WORD = re.compile(r"\w+__\w+")
_VERIFIED = 2_048


def check_namespace(namespace: str) -> None:
    """Raise `BadInput` unless it is lower case, digits and single inner `_`, 64 characters at most."""
    if not _NAMESPACE.fullmatch(namespace):
        raise BadInput(
            "a namespace begins with a letter, has lower case, digits and _ but neither __ nor a _ at its end, and at "
            f"most 64 characters; got {namespace[:80]!r}"
        )


def without_quotes(sql: str) -> str:
    """Return the text with a space in place of every string, quoted name and comment."""
    return _QUOTED.sub(" ", sql)


class Guard:
    """Decides, once for each text of SQL and namespace, whether a statement may run on its connection.

    SQLite itself says what a statement touches, while it prepares an EXPLAIN of it; nothing runs for that. What it
    does not say there is judged by the text: the kind of statement, `rollback` inside one (it would undo neighbours in
    the group), and the tables named in the arguments of a virtual table.
    """

    _PLAIN = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
    _ROWS = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
    _MAKES = frozenset({sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_VTABLE})
    _MAKES_ON = frozenset({sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_TRIGGER})
    _READING = frozenset({"select", "values", "with"})
    _WRITING = _READING | {"insert", "update", "delete", "replace"}
    _MIGRATING = frozenset({"create", "alter", "insert", "update", "with"})
    _FOREIGN_FUNCTIONS = ("load_extension", "fts3_tokenizer", "sqlite_rename", "sqlite_drop")

    def __init__(self, connection: sqlite3.Connection, *, writes: bool) -> None:
        self._connection = connection
        self._words = self._WRITING if writes else self._READING
        self._writes = writes
        self._known: dict[str, set[str]] = {}
        self._count = 0
        self._namespace = ""
        self._migrating = False
        self._refused = ""

    def check(self, namespace: str, sql: str, params: Params, *, migrating: bool = False) -> None:
        """Return when the statement may run; raise `Denied` (code STORE_REFUSED) when not."""
        known = self._known.get(namespace)
        if known is not None and sql in known and not migrating:
            return
        self._judge_text(namespace, sql, migrating)
        self._namespace, self._migrating, self._refused = namespace, migrating, ""
        self._connection.set_authorizer(self._judge)
        try:
            # The leading comment makes the text new, so that no statement prepared earlier is taken from the cache.
            explain = f"/* {namespace} {self._count} */ EXPLAIN {sql}"
            self._count += 1
            self._connection.execute(explain, params).close()
        except sqlite3.ProgrammingError:
            if not self._refused:
                return  # wrong parameters or two statements: the real execution says so, and nothing is remembered
        except sqlite3.DatabaseError:
            if not self._refused:
                raise
        finally:
            self._connection.set_authorizer(None)
        if self._refused:
            raise _refusal(namespace, self._refused, sql)
        if not migrating:
            self._remember(namespace, sql)

    def forget(self) -> None:
        """Judge everything anew: the schema has changed, and with it what a text touches."""
        self._known.clear()

    def _remember(self, namespace: str, sql: str) -> None:
        if sum(map(len, self._known.values())) >= _VERIFIED:
            self._known.clear()
        self._known.setdefault(namespace, set()).add(sql)

    def _judge_text(self, namespace: str, sql: str, migrating: bool) -> None:
        bare = without_quotes(sql).lower()
        words = bare.split(None, 6)
        first = re.match(r"[a-z]*", words[0])[0] if words else ""  # type: ignore[index]
        allowed = self._MIGRATING if migrating else self._words
        if first not in allowed:
            kind = first.upper() or "an empty statement"
            raise _refusal(namespace, f"{kind} is none of {', '.join(sorted(allowed)).upper()}", sql)
        if re.search(r"\brollback\b", bare):
            raise _refusal(namespace, "ROLLBACK would undo what others wrote in the same commit", sql)
        if first == "alter" and not re.match(r"\s*alter\s+table\s+(main\s*\.\s*)?\w*\s*add\b", bare):
            raise _refusal(namespace, "a migration only adds: ALTER TABLE ... ADD COLUMN is the only ALTER", sql)
        if first == "create" and re.match(r"\s*create\s+virtual\b", bare):
            for table in _TABLE_WORD.findall(sql.lower()):
                if not self._own(table, namespace):
                    raise _refusal(namespace, f"it names the table {table}", sql)

    def _own(self, table: str | None, namespace: str) -> bool:
        owner, sep, _ = (table or "").lower().partition("__")
        return (
            bool(sep) and owner == namespace and (table or "").lower() not in ("kernel__effects", "kernel__migrations")
        )

    def _judge(self, action: int, first: str | None, second: str | None, db: str | None, _: str | None) -> int:
        if self._allows(action, first, second, db):
            return sqlite3.SQLITE_OK
        self._refused = self._refused or f"it reaches {first or second or 'what no plugin may'}"
        return sqlite3.SQLITE_DENY

    def _allows(self, action: int, first: str | None, second: str | None, db: str | None) -> bool:
        if action in self._PLAIN:
            return True
        if action == sqlite3.SQLITE_PRAGMA:
            return first == "data_version"  # full-text search asks for it; a PRAGMA of the caller's own has no way in
        if action == sqlite3.SQLITE_FUNCTION:
            return not (second or "").lower().startswith(self._FOREIGN_FUNCTIONS)
        if db == "temp":
            return False
        if first in ("sqlite_master", "sqlite_schema"):
            return self._allows_schema(action, second)
        if action == sqlite3.SQLITE_READ:
            return self._allows_read(first, second)
        if action in self._ROWS:
            deletes = action == sqlite3.SQLITE_DELETE
            return self._writes and not (self._migrating and deletes) and self._own(first, self._namespace)
        return self._migrating and self._allows_making(action, first, second)

    def _allows_schema(self, action: int, column: str | None) -> bool:
        # Opening a virtual table, even json_each, reports these two as well; a real change of the schema table is
        # refused by SQLite itself.
        if action == sqlite3.SQLITE_UPDATE or (action == sqlite3.SQLITE_READ and column == "ROWID"):
            return True
        return self._migrating and action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT)

    def _allows_read(self, table: str | None, column: str | None) -> bool:
        if self._own(table, self._namespace) or table in ("json_each", "json_tree"):
            return True
        if self._migrating and table == "pragma_quick_check":
            return True  # how ADD COLUMN checks its constraint
        # A common table expression of which no column is read is reported by its own name.
        name = (table or "").lower()
        return column == "" and "__" not in name and not name.startswith(("sqlite_", "pragma_", "dbstat"))

    def _allows_making(self, action: int, first: str | None, second: str | None) -> bool:
        if action == sqlite3.SQLITE_CREATE_VTABLE and second not in ("fts5", "fts5vocab"):
            return False
        if action in self._MAKES:
            return first == "sqlite_sequence" or self._own(first, self._namespace)
        automatic = (first or "").startswith("sqlite_autoindex_")
        if action in self._MAKES_ON:
            return (automatic or self._own(first, self._namespace)) and self._own(second, self._namespace)
        if action == sqlite3.SQLITE_REINDEX:
            return automatic or self._own(first, self._namespace)
        # The second argument of ALTER is the column that DROP COLUMN names.
        return action == sqlite3.SQLITE_ALTER_TABLE and self._own(second, self._namespace)


def _refusal(namespace: str, why: str, sql: str) -> Denied:
    return Denied(
        f"a statement of the namespace {namespace!r} was refused: {why}. Its tables are called {namespace}__<name>, "
        f"and migrations alone change them: {' '.join(sql.split())[:200]}",
        code="STORE_REFUSED",
        details={"namespace": namespace},
    )
