"""Whether a script may be read at all: its signature, and what the policy wants of it (language reference, 19).

Asked before a text is parsed, wherever one is loaded: when a run is submitted, when it starts, for each module, and by
the checker.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from aether_lang import signatures
from aether_lang.signatures import Mode, Verdict
from kernel import AetherraError, Context, Denied, ServiceUnavailable

from .library import Script

UNSIGNABLE = "a source that a request brings along has no path, so no signature can be for it"


class Trust(msgspec.Struct, frozen=True):
    """What the policy wants of one script, and the keys that count."""

    mode: Mode
    keys: dict[str, str] = {}


class Policy(Protocol):
    """What is asked of the policy."""

    async def signatures(self, script: str) -> dict[str, Any]:
        """Return mode and keys."""


async def trust_of(own: Context, script: str) -> Trust:
    """Return what the policy wants of the script of that name; asked as the house, for a caller may not read it."""
    try:
        return msgspec.convert(
            await own.service("policy", Policy).signatures(script=script), Trust, from_attributes=True
        )
    except ServiceUnavailable:
        return Trust("warn")  # a hub without a policy
    except (AetherraError, msgspec.ValidationError) as error:
        own.log.error("what the policy wants of %s could not be read, so it must be signed: %s", script, error)
        return Trust("strict")


def verdict_of(script: Script, trust: Trust) -> Verdict:
    """Return what the signature line of a script of the library proves; what is bundled is trusted by its folder."""
    if script.bundled:
        return Verdict("valid", "it comes with the hub")
    return signatures.verify(script.source.encode(), script.name, trust.keys)


def verdict_inline(source: str, trust: Trust) -> Verdict | None:
    """Return what the first line of a source without a path proves; None where it has no such line and needs none."""
    found = signatures.verify(source.encode("utf-8", "surrogatepass"), None, trust.keys)
    if trust.mode == "strict":
        return Verdict("missing", UNSIGNABLE)
    return None if found.state == "missing" else found


async def findings(own: Context, script: Script) -> list[dict[str, Any]]:
    """Return what is to be said about the signature of a script of the library: at most one finding."""
    trust = await trust_of(own, script.name)
    return _findings(verdict_of(script, trust), trust, script.source, script.name)


async def findings_inline(own: Context, source: str, name: str) -> list[dict[str, Any]]:
    """Return what is to be said about the signature of a source that came with the request."""
    trust = await trust_of(own, name)
    verdict = verdict_inline(source, trust)
    return _findings(verdict, trust, source, name) if verdict is not None else []


def _findings(verdict: Verdict, trust: Trust, source: str, name: str) -> list[dict[str, Any]]:
    found = signatures.finding(verdict, trust.mode, source, name)
    return [msgspec.to_builtins(found)] if found is not None else []


async def admit(own: Context, script: Script) -> str | None:
    """Return what a run is to be told of the script's signature, if anything; raise `Denied` where it may not run.

    That a script is not signed is told only where the policy names a key, so where somebody signs.
    """
    trust = await trust_of(own, script.name)
    return _admitted(verdict_of(script, trust), trust, script.name)


async def admit_inline(own: Context, source: str, name: str) -> str | None:
    """Do the same for a source that came with the request: where scripts must be signed, it may not run."""
    trust = await trust_of(own, name)
    verdict = verdict_inline(source, trust)
    return None if verdict is None else _admitted(verdict, trust, name)


def _admitted(verdict: Verdict, trust: Trust, name: str) -> str | None:
    if not signatures.passes(verdict, trust.mode):
        raise Denied(
            f"{name} may not run: {verdict.reason}; the policy wants it signed by a key of [trust] keys",
            details={"type": "SignatureError", "script_name": name, "state": verdict.state, "key": verdict.key_id},
            code="SIGNATURE_ERROR",
        )
    told = trust.mode == "warn" and (
        verdict.state in ("wrong", "unknown key") or (verdict.state == "missing" and bool(trust.keys))
    )
    return verdict.reason if told else None
