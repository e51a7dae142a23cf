"""What is known of accounts, sessions and tokens at this moment: read from the store once, and forgotten at a change.

Every request asks here, so it is memory that answers; and since a change is forgotten as soon as it is committed, what
was revoked is worth nothing from then on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kernel import Caller

from . import accounts, sessions, tokens
from .accounts import Account
from .sessions import REVOKED, Session
from .tokens import Token

K = TypeVar("K")
V = TypeVar("V")

LOCAL = "user:local"


class Remembered(OrderedDict[K, V], Generic[K, V]):
    """A map of at most `most` things; the one that was put in first goes first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> V:
        """Put one in, and return it."""
        if len(self) >= self._most and key not in self:
            self.popitem(last=False)
        self[key] = value
        return value


class Directory:
    """Accounts by name, sessions by id, tokens by hash and by name; each may be known not to be there."""

    def __init__(self, store: Any, most: int, static: frozenset[str]) -> None:
        self._store = store
        self._static = static
        """The static tokens that the settings bring."""
        self._accounts: Remembered[str, Account | None] = Remembered(most)
        self._names: Remembered[str, str] = Remembered(most)
        self._sessions: Remembered[str, Session | None] = Remembered(most)
        self._tokens: Remembered[str, Token | None] = Remembered(most)
        self._callers: Remembered[Caller, Caller] = Remembered(most)
        self.changes = 0
        """Rises with each change, so that what was concluded before is known to be old."""
        self.used: dict[str, float] = {}
        """When tokens were used since that was last written down."""

    def account(self, name: str) -> Account | None:
        """Return the account of a canonical name that may be used now, or None."""
        if name not in self._accounts:
            self._accounts.keep(name, accounts.find(self._store, name))
        account = self._accounts[name]
        return account if account is not None and account.active and account.removed_at is None else None

    def account_by_id(self, id: str) -> Account | None:
        """Return the account of an id that may be used now, or None."""
        name = self._names.get(id)
        if name is None:
            found = accounts.find_by_id(self._store, id)
            if found is None:
                return None
            name = self._names.keep(id, found.name)
        return self.account(name)

    def session(self, id: str) -> Session | None:
        """Return a session, ended or not."""
        if id not in self._sessions:
            self._sessions.keep(id, sessions.find(self._store, id))
        return self._sessions[id]

    def token(self, name: str) -> Token | None:
        """Return the token of a name, over or not."""
        if name not in self._tokens:
            self._tokens.keep(name, tokens.find(self._store, name))
        return self._tokens[name]

    def has_token(self, name: str) -> bool:
        """Tell whether there is a token of this name that was not revoked, or the settings bring it."""
        held = self.token(name)
        return name in self._static or (held is not None and held.revoked_at is None)

    def token_by_hash(self, hash: bytes) -> Token | None:
        """Return the token whose secret has this hash, over or not."""
        found = tokens.find_by_hash(self._store, hash)
        return None if found is None else self.token(found.name)

    def forget(self, *, account: str = "", session: str = "", token: str = "") -> None:
        """Read what has changed anew when it is next asked for."""
        self._accounts.pop(account, None)
        self._sessions.pop(session, None)
        self._tokens.pop(token, None)
        self._callers.clear()
        self.changes += 1

    def current(self, caller: Caller) -> Caller:
        """Return a caller with the roles that he has by now, and with none when what proved him was revoked."""
        known = self._callers.get(caller)
        return known if known is not None else self._callers.keep(caller, self._current(caller))

    def _current(self, caller: Caller) -> Caller:
        kind, _, name = caller.id.partition(":")
        if caller.id == LOCAL or kind not in ("user", "token"):
            return caller
        alive = _proven(caller.proof, self)
        if kind == "token":
            return Caller(caller.id, (), caller.scopes) if alive else _powerless(caller)
        account = self.account(name)
        if account is None or not alive:
            return _powerless(caller)
        return Caller(caller.id, roles_of(account), caller.scopes)


def roles_of(account: Account) -> tuple[str, ...]:
    """Return an account's roles as the policy names them."""
    return tuple(f"role:{role}" for role in account.roles)


def _powerless(caller: Caller) -> Caller:
    # No role, and a token without a scope: whatever the policy says of the id, there is nothing that it may do.
    return Caller(caller.id, (), ())


def _proven(proof: str, directory: Directory) -> bool:
    # A session that is known no more has expired or was logged out long ago: what was set going in it goes on.
    kind, _, name = proof.partition(":")
    checks: dict[str, Callable[[str], bool]] = {
        "": lambda _: True,
        "session": lambda id: (found := directory.session(id)) is None or found.ended != REVOKED,
        "token": directory.has_token,
    }
    return checks[kind](name) if kind in checks else False
