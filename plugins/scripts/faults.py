"""What goes wrong in a host call, in the script's words (language reference, 17.2); what ended a run, in its job's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kernel import (
    AetherraError,
    BadInput,
    Context,
    DeadlineExceeded,
    Denied,
    NotAvailable,
    NotFound,
    Overloaded,
    PluginError,
    ServiceUnavailable,
    StorageError,
)

RETRYABLE: Final = (Overloaded, ServiceUnavailable, StorageError, DeadlineExceeded)
BY_SERVICE: Final[Mapping[str, str]] = {
    "memory": "MemoryStoreError",
    "goals": "MemoryStoreError",
    "agents": "AgentError",
    "ai": "AIError",
    "egress": "NetworkError",
    "files": "FileError",
}
"""The script's error for a part of the hub that is not there or does not answer."""

DENIAL: Final = ("capability", "chain", "reason", "source", "hint")
"""What a refusal by the policy tells: who lacked which right, why, by which line, and how to learn more."""

_CODES: Final[Mapping[str, str]] = {
    "LimitError": "LIMIT_EXCEEDED",
    "BudgetError": "BUDGET_EXCEEDED",
    "Nondeterministic": "NONDETERMINISTIC",
    "InternalError": "INTERNAL",
    "PermissionError": "CAPABILITY_DENIED",
    "SyntaxError": "SCRIPT_SYNTAX",
    "AIError": "AI_ERROR",
}


def fault(kind: str, message: str, **data: Any) -> AetherraError:
    """Return an error that reaches the script as `kind`, with `data`."""
    return PluginError(message, details={"type": kind, "data": data or None}, code=code_of(kind))


def missing(ctx: Context, service: str, what: str) -> AetherraError:
    """Return the error for an operation that nothing carries out: says which service would."""
    details = {"type": BY_SERVICE.get(service, "HostError"), "data": {"service": service}}
    if service in ctx.table.services:
        message = f"{what} is not available in this version, though the service {service!r} is there"
        return NotAvailable(message, details=details)
    return ServiceUnavailable(
        f"{what} is not available: no loaded plugin provides the service {service!r}", details=details
    )


def of_function(error: AetherraError) -> AetherraError:
    """Return what a plugin's function raised, without the `type` it may name: that is no word of the language."""
    details = {key: value for key, value in error.details.items() if key not in ("type", "data")}
    return type(error)(error.message, details=details, code=error.code, retry_after_s=error.retry_after_s)


def not_yet(what: str, instead: str) -> AetherraError:
    """Return the error for what this version of the hub does not do."""
    return NotAvailable(
        f"{what} is not available in this version; {instead}", details={"type": "HostError", "data": None}
    )


def in_script_words(error: AetherraError, operation: str) -> AetherraError:
    """Return the error as the script shall see it: `details` are `type`, `data` and `retryable`, and nothing else."""
    kind = _kind(error, operation)
    data: Any = error.details.get("data") if "type" in error.details else _safe(error.details)
    word = error.details.get("capability")
    if kind == "PermissionError" and isinstance(word, str):
        return Denied(
            f"missing capability: {word}", details={"type": kind, "data": {"capability": word}, "retryable": False}
        )
    return type(error)(
        error.message,
        details={"type": kind, "data": data or None, "retryable": isinstance(error, RETRYABLE)},
        code=error.code,
    )


def _kind(error: AetherraError, operation: str) -> str:
    named = error.details.get("type")
    if isinstance(named, str):
        return named
    if isinstance(error, Denied):
        return "PermissionError"
    if error.code == "UNKNOWN_FUNCTION":
        return "UnknownFunction"
    if isinstance(error, DeadlineExceeded):
        return "Timeout"
    family = operation.partition(".")[0]
    if family in ("plugin", "function", "receiver", "verb"):
        return "PluginError"
    if isinstance(error, BadInput):
        return "ValueError"
    service = error.details.get("service")
    if isinstance(service, str):
        return BY_SERVICE.get(service, "HostError")
    if isinstance(error, NotFound):
        return "KeyError"
    return "MemoryStoreError" if family in ("memory", "collection", "goal") else "HostError"


def _safe(details: Mapping[str, Any]) -> dict[str, Any]:
    return {key: details[key] for key in ("field", "function", "functions", "service", "expected") if key in details}


def code_of(kind: str) -> str:
    """Return the code of a job's failure for an error type of the language: `UserError` becomes `USER_ERROR`."""
    known = _CODES.get(kind)
    if known is not None:
        return known
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper()
    return snake if re.fullmatch(r"[A-Z][A-Z_]*", snake) else "SCRIPT_FAILED"


def failure_of_run(
    error: Mapping[str, Any] | None, denied: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return a job's failure for the error record a run ended with (language reference, 17.1).

    `denied` has the reasons why rights were refused, by right: they are for the job's owner, not for the script.
    """
    record = error or {"type": "InternalError", "message": "the run failed without saying why"}
    kind = str(record.get("type") or "InternalError")
    failure: dict[str, Any] = {"code": code_of(kind), "type": kind, "message": str(record.get("message", ""))[:4_000]}
    for name in ("line", "column"):
        if isinstance(record.get(name), int) and record[name] > 0:
            failure[name] = record[name]
    if record.get("file"):
        failure["file"] = str(record["file"])[:300]
    if record.get("data") is not None:
        failure["data"] = record["data"]
    if kind == "PermissionError" and isinstance(record.get("data"), dict):
        known = (denied or {}).get(str(record["data"].get("capability")))
        failure["data"] = {**record["data"], **(known or {})}
    if isinstance(record.get("stack"), list):
        failure["stack"] = [frame for frame in record["stack"][:20] if isinstance(frame, dict)]
    return failure


def failure_of_source(diagnostics: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return a job's failure for a source that could not be compiled: the first finding, and all of them."""
    worst = next((d for d in diagnostics if str(d.get("code", "")).startswith("AE")), None) or {}
    return {
        "code": "SCRIPT_SYNTAX" if worst.get("kind", "syntax") == "syntax" else "SCRIPT_CHECK",
        "type": "SyntaxError",
        "message": str(worst.get("message", f"{name} cannot be compiled")),
        "line": worst.get("line"),
        "column": worst.get("column"),
        "file": worst.get("file", name),
        "diagnostics": _gravest(diagnostics),
    }


def _gravest(diagnostics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most twenty in the order of their places, errors before warnings, without notes on style."""
    told = [one for one in diagnostics if not str(one.get("code", "")).startswith("AS")]
    order = sorted(range(len(told)), key=lambda n: not str(told[n].get("code", "")).startswith("AE"))
    return [told[n] for n in sorted(order[:20])]
