"""Access tokens: JWTs (RFC 7519, profile RFC 9068) signed with Ed25519, for half an hour.

What a token names is never followed: its `kid` is looked up in a local table that fixes the algorithm, and a header
that says more than `alg`, `typ` and `kid` is refused. What a token was worth is asked elsewhere, at each request.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

import msgspec

from kernel import Unauthenticated

from .keys import ALGORITHM, Keys

ISSUER, AUDIENCE, TYPE = "aetherra", "aetherra-hub", "at+jwt"
LONGEST = 8_100
LEEWAY_S = 30.0


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an access token says: who (`sub`, the account's id), in which session, until when."""

    iss: str
    aud: str
    sub: str
    sid: str
    jti: str
    iat: int
    nbf: int
    exp: int
    ver: int


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    typ: str
    kid: str


def issue(keys: Keys, *, subject: str, session: str, version: int, now: float, seconds: float) -> str:
    """Return an access token."""
    import jwt  # at the first log-in

    kid, key = keys.signing(now)
    claims = Claims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=subject,
        sid=session,
        jti=secrets.token_hex(16),
        iat=int(now),
        nbf=int(now),
        exp=int(now + seconds),
        ver=version,
    )
    return str(jwt.encode(msgspec.to_builtins(claims), key, algorithm=ALGORITHM, headers={"kid": kid, "typ": TYPE}))


def verify(keys: Keys, token: str, now: float) -> Claims:
    """Return the claims of a token that this hub has signed and that holds now; else raise `Unauthenticated`."""
    header = _header(token)
    if header.alg != ALGORITHM or header.typ.lower() != TYPE:
        raise _refused("it is no access token of this hub")
    key = keys.for_kid(header.kid)
    if key is None:
        raise _refused("its key is not one of this hub's, or was replaced")
    claims = _claims(token, key)
    if claims.iss != ISSUER or claims.aud != AUDIENCE:
        raise _refused("it was issued by or for another")
    if claims.nbf > now + LEEWAY_S or claims.iat > now + LEEWAY_S:
        raise _refused("it does not hold yet")
    if claims.exp <= now - LEEWAY_S:
        raise _refused("it has expired")
    return claims


def _header(token: str) -> _Header:
    if len(token) > LONGEST:
        raise _refused(f"it is longer than {LONGEST} characters")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise _refused("it is no token that this hub gives")
    try:
        raw = base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4))
        return msgspec.json.decode(raw, type=_Header)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        # Also for jku, x5u, jwk, x5c, crit and whatever else would have to be understood.
        raise _refused("its header is not one that this hub writes") from None


def _claims(token: str, key: Any) -> Claims:
    import jwt

    # Times are checked above, by the house's clock.
    unchecked: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        payload = jwt.decode(token, key, algorithms=[ALGORITHM], options=unchecked)
        return msgspec.convert(payload, Claims)
    except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, RecursionError):
        raise _refused("its signature or its claims are wrong") from None


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"Invalid authentication credentials: the token does not hold, {why}")
