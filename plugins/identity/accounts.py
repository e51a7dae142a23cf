"""Accounts as they are kept: their names, their roles, and the statements that read and write them.

An account's name is who it is to the policy, `user:NAME`, and the owner of what it stores. So it never changes, and the
name of a removed account is never given to somebody else.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
import uuid
from typing import Any

import msgspec

from kernel import BadInput, NotFound

USER, ADMIN = "user", "admin"
"""The roles that the hub itself knows; policy files may name others."""

ROLES = 16
RESERVED = frozenset({"local", "anonymous", "system", "console", "kernel", "hub", "core", "admin-setup"})
"""Names that would be taken for somebody the hub itself means. (`admin` is a name like any other.)"""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{2,63}")
_ROLE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")


class Account(msgspec.Struct, frozen=True):
    """One account. `version` rises whenever what its sessions were worth has changed: they end with it."""

    name: str
    id: str
    shown: str
    email: str | None
    password: str | None
    must_change: bool
    roles: tuple[str, ...]
    active: bool
    version: int
    created_at: float
    last_login: float | None
    removed_at: float | None

    @property
    def is_admin(self) -> bool:
        """It has the role of an administrator."""
        return ADMIN in self.roles


def canonical(name: str) -> str:
    """Return the one way a name is kept, whatever its case."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def check_name(name: str) -> str:
    """Return the canonical form of a new name; raise `BadInput` in the shape that the AIMOS API documents."""
    known = canonical(name)
    wrong = ""
    if len(known) < 3:
        wrong = "Username must be at least 3 characters"
    elif not _NAME.fullmatch(known):
        wrong = "Username may have letters, digits and _ . - (64 at most), and begins with a letter or digit"
    elif known in RESERVED:
        wrong = f"Username {known!r} is reserved; choose another"
    if wrong:
        raise BadInput(wrong, details={"errors": [{"field": "username", "message": wrong}]})
    return known


def check_email(email: str | None) -> str | None:
    """Return an address as it is kept, or None for none; raise `BadInput`."""
    if email is None or not email.strip():
        return None
    known = unicodedata.normalize("NFC", email.strip()).lower()
    if not _EMAIL.fullmatch(known):
        wrong = "Email must be an address such as ada@example.org"
        raise BadInput(wrong, details={"errors": [{"field": "email", "message": wrong}]})
    return known


def check_roles(roles: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return roles, each once and sorted; raise `BadInput`."""
    for role in roles:
        if not _ROLE.fullmatch(role):
            raise BadInput(f"{role!r:.80} is no name of a role: a-z, 0-9 and _ . -", details={"field": "roles"})
    found = tuple(sorted(set(roles)))
    if len(found) > ROLES:
        raise BadInput(f"an account has at most {ROLES} roles", details={"field": "roles"})
    return found


def new(name: str, shown: str, email: str | None, roles: tuple[str, ...], now: float) -> Account:
    """Return an account that is not stored yet, without a password."""
    return Account(name, str(uuid.uuid4()), shown, email, None, False, roles, True, 1, now, None, None)


COLUMNS = "name, id, shown, email, password, must_change, roles, active, version, created_at, last_login, removed_at"


def read(row: sqlite3.Row) -> Account:
    """Return the account of a row with `COLUMNS`."""
    values = dict(row)
    return Account(
        **values
        | {
            "roles": tuple(values["roles"].split()),
            "active": bool(values["active"]),
            "must_change": bool(values["must_change"]),
        }
    )


def insert(tx: Any, account: Account, most: int) -> None:
    """Store a new account; raise `BadInput` when its name or address is taken, or there are too many."""
    if tx.one("SELECT count(*) AS n FROM identity__accounts")["n"] >= most:
        raise BadInput(f"this hub has {most} accounts, the bound ([plugins.identity] accounts)")
    taken = ""
    if tx.one("SELECT 1 FROM identity__accounts WHERE name = ?", [account.name]) is not None:
        taken = "username"
    elif account.email and tx.one("SELECT 1 FROM identity__accounts WHERE email = ?", [account.email]) is not None:
        taken = "email"
    if taken:
        wrong = f"{taken.capitalize()} is taken already"
        raise BadInput(wrong, details={"errors": [{"field": taken, "message": wrong}]})
    values = [*msgspec.structs.astuple(msgspec.structs.replace(account, roles=" ".join(account.roles)))]
    tx.execute(f"INSERT INTO identity__accounts ({COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def find(store: Any, name: str) -> Account | None:
    """Return the account of a canonical name, removed ones too; `store` is a store or a transaction."""
    row = store.one(f"SELECT {COLUMNS} FROM identity__accounts WHERE name = ?", [name])  # noqa: S608
    return None if row is None else read(row)


def find_by_id(store: Any, id: str) -> Account | None:
    """Return the account of an id, or None."""
    row = store.one(f"SELECT {COLUMNS} FROM identity__accounts WHERE id = ?", [id])  # noqa: S608
    return None if row is None else read(row)


def existing(store: Any, name: str) -> Account:
    """Return the account of a name that is not removed; else raise `NotFound`."""
    account = find(store, canonical(name))
    if account is None or account.removed_at is not None:
        raise NotFound(f"there is no user {name!r:.80}", details={"user": name[:80]})
    return account


def administrators(store: Any) -> int:
    """Return how many accounts can administer the hub."""
    row = store.one(
        "SELECT count(*) AS n FROM identity__accounts WHERE active = 1 AND removed_at IS NULL AND password IS NOT NULL "
        "AND ' ' || roles || ' ' LIKE '% admin %'"
    )
    return int(row["n"])
