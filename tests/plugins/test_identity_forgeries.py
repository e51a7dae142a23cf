"""Forty kinds of forged access tokens, each made by somebody who knows what a real one looks like; all prove nobody.

Every forgery has its harmless twin in the token that it was made from, which holds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kernel import Unauthenticated

NOW = 1_800_000_000.0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Forger:
    """Takes a real token apart and puts others together."""

    def __init__(self, access: ModuleType, keys: Any) -> None:
        self.access = access
        self.keys = keys
        self.real = access.issue(keys, subject="ada-id", session="s", version=1, now=NOW, seconds=1_800)
        head, body, self.signature = self.real.split(".")
        self.header: dict[str, Any] = json.loads(from_b64(head))
        self.claims: dict[str, Any] = json.loads(from_b64(body))
        self.kid, self.key = keys.signing(NOW)
        self.public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.other = Ed25519PrivateKey.generate()

    def signed(self, header: dict[str, Any] | None = None, claims: Any = None, key: Any = None) -> str:
        """Return a token with another header or other claims, signed by the hub's own key unless another is given."""
        head = b64(json.dumps(self.header if header is None else header).encode())
        body = b64(json.dumps(self.claims if claims is None else claims).encode())
        return f"{head}.{body}.{b64((key or self.key).sign(f'{head}.{body}'.encode()))}"

    def hs256(self, secret: bytes, alg: str = "HS256") -> str:
        """Return a token whose signature is a MAC with something that everybody knows."""
        head = b64(json.dumps(self.header | {"alg": alg}).encode())
        body = b64(json.dumps(self.claims).encode())
        return f"{head}.{body}.{b64(hmac.digest(secret, f'{head}.{body}'.encode(), hashlib.sha256))}"

    def without(self, claim: str) -> str:
        """Return a signed token that lacks one claim."""
        return self.signed(claims={name: value for name, value in self.claims.items() if name != claim})


FORGERIES: dict[str, Callable[[Forger], str]] = {
    "alg none": lambda f: f.signed(f.header | {"alg": "none"}).rpartition(".")[0] + ".",
    "alg None with a signature": lambda f: f.signed(f.header | {"alg": "None"}),
    "no signature": lambda f: f.real.rpartition(".")[0] + ".",
    "no signature part": lambda f: f.real.rpartition(".")[0],
    "HS256 with the public key": lambda f: f.hs256(f.public),
    "HS256 with an empty key": lambda f: f.hs256(b""),
    "HS512 by name": lambda f: f.hs256(f.public, "HS512"),
    "RS256 by name": lambda f: f.signed(f.header | {"alg": "RS256"}),
    "ES256 by name": lambda f: f.signed(f.header | {"alg": "ES256"}),
    "alg in lower case": lambda f: f.signed(f.header | {"alg": "eddsa"}),
    "alg as a list": lambda f: f.signed(f.header | {"alg": ["EdDSA"]}),
    "a key of one's own": lambda f: f.signed(key=f.other),
    "a key of one's own and its id": lambda f: f.signed(f.header | {"kid": "mine"}, key=f.other),
    "no kid": lambda f: f.signed({name: value for name, value in f.header.items() if name != "kid"}),
    "kid as a path": lambda f: f.signed(f.header | {"kid": "../../../etc/passwd"}),
    "kid as an injection": lambda f: f.signed(f.header | {"kid": "' OR 1=1 --"}),
    "kid as a number": lambda f: f.signed(f.header | {"kid": 1}),
    "jwk with one's own key": lambda f: f.signed(f.header | {"jwk": {"kty": "OKP", "crv": "Ed25519"}}, key=f.other),
    "jku": lambda f: f.signed(f.header | {"jku": "https://evil.example/keys"}),
    "x5u": lambda f: f.signed(f.header | {"x5u": "https://evil.example/cert"}),
    "x5c": lambda f: f.signed(f.header | {"x5c": ["MII"]}),
    "crit that is unknown": lambda f: f.signed(f.header | {"crit": ["exp"]}),
    "b64 false": lambda f: f.signed(f.header | {"b64": False, "crit": ["b64"]}),
    "a nested token": lambda f: f.signed(f.header | {"cty": "JWT"}, claims=f.real),
    "typ of an id token": lambda f: f.signed(f.header | {"typ": "JWT"}),
    "no typ": lambda f: f.signed({name: value for name, value in f.header.items() if name != "typ"}),
    "claims that were changed": lambda f: (
        f"{f.real.split('.')[0]}.{b64(json.dumps(f.claims | {'sub': 'root-id'}).encode())}.{f.signature}"
    ),
    "a header that was changed": lambda f: f"{b64(json.dumps(f.header | {'a': 1}).encode())}.{f.real.split('.', 1)[1]}",
    "a signature of another token": lambda f: (
        f"{f.signed(claims=f.claims | {'sub': 'x'}).rpartition('.')[0]}.{f.signature}"
    ),
    "a signature that was cut": lambda f: f.real[:-4],
    "expired": lambda f: f.signed(claims=f.claims | {"exp": int(NOW) - 31}),
    "not valid yet": lambda f: f.signed(claims=f.claims | {"nbf": int(NOW) + 31}),
    "issued in the future": lambda f: f.signed(claims=f.claims | {"iat": int(NOW) + 31}),
    "exp as text": lambda f: f.signed(claims=f.claims | {"exp": "9999999999"}),
    "exp as a fraction": lambda f: f.signed(claims=f.claims | {"exp": 9e18}),
    "no exp": lambda f: f.without("exp"),
    "no sub": lambda f: f.without("sub"),
    "no sid": lambda f: f.without("sid"),
    "no ver": lambda f: f.without("ver"),
    "another issuer": lambda f: f.signed(claims=f.claims | {"iss": "https://evil.example"}),
    "another audience": lambda f: f.signed(claims=f.claims | {"aud": "another-hub"}),
    "several audiences": lambda f: f.signed(claims=f.claims | {"aud": ["aetherra-hub", "x"]}),
    "a claim that nobody knows": lambda f: f.signed(claims=f.claims | {"admin": True}),
    "claims as a list": lambda f: f.signed(claims=["aetherra"]),
    "four parts": lambda f: f.real + "." + f.signature,
    "an encrypted token": lambda f: ".".join([f.real.split(".")[0], "", "x", "y", "z"]),
    "no base64": lambda f: "!!!." + f.real.split(".", 1)[1],
    "a very deep header": lambda f: b64(b"[" * 5_000) + "." + f.real.split(".", 1)[1],
    "larger than 8 KiB": lambda f: f.signed(claims=f.claims | {"jti": "x" * 8_192}),
    "empty": lambda f: "",
    "dots": lambda f: "..",
    "not Ascii": lambda f: f.real[:-2] + "ä.",
}


@pytest.fixture(scope="module")
def forger(load_plugin: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Forger:
    identity = load_plugin("identity")
    keys = identity.house.Keys(tmp_path_factory.mktemp("keys"), 30.0)
    return Forger(identity.authentication.access, keys)


def test_the_token_that_all_were_made_from_holds(forger: Forger) -> None:
    claims = forger.access.verify(forger.keys, forger.real, NOW)
    assert (claims.sub, claims.sid, claims.ver, claims.exp) == ("ada-id", "s", 1, int(NOW) + 1_800)
    assert forger.access.verify(forger.keys, forger.signed(), NOW) == claims
    assert len(FORGERIES) >= 40


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_token_proves_nobody(forger: Forger, kind: str) -> None:
    with pytest.raises(Unauthenticated):
        forger.access.verify(forger.keys, FORGERIES[kind](forger), NOW)


def test_a_token_of_a_key_that_was_dropped_proves_nobody(
    load_plugin: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    identity = load_plugin("identity")
    keys, access = identity.house.Keys(tmp_path, 30.0), identity.authentication.access
    token = access.issue(keys, subject="a", session="s", version=1, now=NOW, seconds=60)
    assert access.verify(keys, token, NOW)
    keys.replace(NOW)
    for known in (keys, identity.house.Keys(tmp_path, 30.0)):  # also after a restart
        with pytest.raises(Unauthenticated):
            access.verify(known, token, NOW)


def test_a_leeway_of_half_a_minute_is_all_there_is(forger: Forger) -> None:
    end = forger.claims["exp"]
    assert forger.access.verify(forger.keys, forger.real, end + 29)
    with pytest.raises(Unauthenticated):
        forger.access.verify(forger.keys, forger.real, end + 30)
