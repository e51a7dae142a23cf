"""Whom a credential proves: an access token, a service token, a static token, a one-use ticket, or a session again."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any

from kernel import Caller, Clock, Credential, Identity, Unauthenticated

from . import access
from .accounts import Account
from .directory import Directory, Remembered, roles_of
from .keys import Keys
from .sessions import hashed, new_secret
from .tokens import PREFIX, STATIC, Token

TICKET = "aet_"
TICKET_S = 30.0

INVALID = "Invalid authentication credentials"


class Authentication:
    """Proves credentials for one hub. `static` are the secrets of the static tokens by their names."""

    def __init__(self, directory: Directory, keys: Keys, clock: Clock, static: Mapping[str, str], most: int) -> None:
        self.directory = directory
        self.keys = keys
        self._clock = clock
        self._static = {name: hashed(secret) for name, secret in static.items()}
        self._verified: Remembered[bytes, access.Claims] = Remembered(most)
        self._proved: Remembered[bytes, tuple[Identity, float, int]] = Remembered(most)
        self._tickets: Remembered[bytes, tuple[str, float]] = Remembered(most)

    async def prove(self, credential: Credential) -> Identity:
        """Return whom it proves; raise `Unauthenticated`."""
        if credential.kind == "token":
            # What was proved and has not changed since is known at once; all the rest is for the first time.
            digest = hashed(credential.text)
            known = self._proved.get(digest)
            if known is not None and known[2] == self.directory.changes and self._clock.now() < known[1]:
                return known[0]
            return self._of_token_text(credential, digest)
        if credential.kind == "session":
            return self._again(credential)
        return self._again(Credential("session", self._punch(credential.text), credential.address))

    def _of_token_text(self, credential: Credential, digest: bytes) -> Identity:
        if credential.text.startswith(PREFIX):
            return self._of_token(self.directory.token_by_hash(digest), credential)
        static = self._static_of(digest)
        if static is not None:
            return _of_static(static)
        return self._of_access(credential, digest)

    def forget(self) -> None:
        """Verify access tokens anew: a key was dropped."""
        self._verified.clear()
        self._proved.clear()

    # Access tokens and sessions ----------------------------------------------------------------------------------

    def _of_access(self, credential: Credential, digest: bytes) -> Identity:
        now = self._clock.now()
        claims = self._verified.get(digest)
        if claims is None or claims.exp <= now:
            claims = self._verified.keep(digest, access.verify(self.keys, credential.text, now))
        account = self.directory.account_by_id(claims.sub)
        identity = self._of_session(account, claims.sid, claims.ver, claims.exp, credential)
        if account is not None and not account.must_change:
            self._proved.keep(digest, (identity, claims.exp, self.directory.changes))
        return identity

    def _of_session(
        self, account: Account | None, session: str, version: int, expires_at: float, credential: Credential
    ) -> Identity:
        found = self.directory.session(session)
        if account is None or found is None or found.ended is not None or found.account != account.name:
            raise Unauthenticated(f"{INVALID}: the session is over")
        if account.version != version:
            raise Unauthenticated(f"{INVALID}: the account has changed; refresh the token, or log in anew")
        if account.must_change and not is_local(credential.address):
            raise Unauthenticated("the password of this account has to be changed first, from the hub's own machine")
        caller = Caller(f"user:{account.name}", roles_of(account), None, f"session:{session}")
        return Identity(caller, f"session:{session}:{version}:{int(expires_at)}", float(expires_at))

    def _again(self, credential: Credential) -> Identity:
        kind, _, rest = credential.text.partition(":")
        if kind == "token":
            return _of_static(rest) if rest in self._static else self._of_token(self.directory.token(rest), credential)
        session, _, numbers = rest.partition(":")
        version, _, expires_at = numbers.partition(":")
        found = self.directory.session(session)
        if found is None or float(expires_at) <= self._clock.now():
            raise Unauthenticated(f"{INVALID}: the session is over")
        account = self.directory.account(found.account)
        return self._of_session(account, session, int(version), float(expires_at), credential)

    # Service tokens ----------------------------------------------------------------------------------------------

    def _of_token(self, token: Token | None, credential: Credential) -> Identity:
        now = self._clock.now()
        if token is None or not token.holds(now):
            raise Unauthenticated(f"{INVALID}: the token is unknown, revoked or expired")
        self.directory.used[token.name] = now
        proof = f"token:{token.name}"
        if token.account is None:
            return Identity(Caller(proof, (), token.scopes, proof), proof, token.expires_at)
        account = self.directory.account(token.account)
        if account is None:
            raise Unauthenticated(f"{INVALID}: the account of the token may not be used")
        if account.must_change and not is_local(credential.address):
            raise Unauthenticated("the password of this account has to be changed first, from the hub's own machine")
        caller = Caller(f"user:{account.name}", roles_of(account), token.scopes, proof)
        return Identity(caller, proof, token.expires_at)

    def _static_of(self, digest: bytes) -> str | None:
        # All of them are compared, each in constant time.
        found = None
        for name, known in self._static.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    # Tickets -----------------------------------------------------------------------------------------------------

    def ticket(self, proof: str) -> str:
        """Return a ticket, good once within 30 s, for whom `proof` (an `Identity.session`) proves."""
        text = new_secret(TICKET)
        self._tickets.keep(hashed(text), (proof, self._clock.monotonic() + TICKET_S))
        return text

    def _punch(self, text: str) -> str:
        proof, until = self._tickets.pop(hashed(text), ("", 0.0))
        if not proof or until < self._clock.monotonic():
            raise Unauthenticated(f"{INVALID}: the ticket is unknown, was used already, or is older than 30 s")
        return proof


def _of_static(name: str) -> Identity:
    proof = f"token:{name}"
    return Identity(Caller(proof, (), STATIC[name], proof), proof)


def is_local(address: str) -> bool:
    """Tell whether an address is this machine's own; an empty one is the console's."""
    try:
        return not address or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def weak_static(secrets: Mapping[str, Any]) -> list[str]:
    """Return the names of static tokens that may hold less than 128 random bits."""
    return [name for name, secret in secrets.items() if len(secret) < 22 or len(set(secret)) < 8]
