"""Every error the house raises on purpose. The hub turns codes into statuses; nothing else does.

    AetherraError            INTERNAL              something failed that nobody expected
    ├── BadInput             BAD_INPUT             a value that cannot be right
    │   └── TooLarge         BODY_TOO_LARGE        a body, result or list above its bound
    ├── Unauthenticated      UNAUTHENTICATED       nobody, or a credential that does not hold
    ├── Denied               CAPABILITY_DENIED     somebody, but without the right
    ├── NotFound             NOT_FOUND             no such thing
    │   └── Gone             GONE                  there was one
    ├── Conflict             CONFLICT              the state of things forbids it
    ├── NotAvailable         NOT_AVAILABLE         really not there; says what would make it available
    ├── ServiceUnavailable   SERVICE_UNAVAILABLE   a service without a provider; names it
    ├── Overloaded           OVERLOADED            a bound is reached; says when to try again
    ├── DeadlineExceeded     DEADLINE_EXCEEDED     the time allowed is over
    ├── StorageError         STORAGE_ERROR         the store cannot be trusted or reached
    │   └── StorageFull      STORAGE_FULL          no room left on the disk
    ├── ConfigError          CONFIG_ERROR          a setting that is unknown or wrong
    └── PluginError          PLUGIN_ERROR          a plugin broke
        ├── LoadError        LOAD_FAILED           it could not be loaded
        └── ContractError    PLUGIN_CONTRACT       it declares or does what the contract forbids

Cancellation is not in the tree: it is asyncio's and passes through. A plugin adds codes, not classes: it raises the
nearest class with `code=` of its own, and across a plugin's border the error travels as plain data and becomes the same
class again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


class AetherraError(Exception):
    """The root of the tree: a stable `code`, a `message` for a person, `details` for a program.

    `retry_after_s` says in how many seconds the same call may succeed, where that is known. `details` is plain data.
    """

    default_code: ClassVar[str] = "INTERNAL"
    default_retry_after_s: ClassVar[float | None] = None

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None and not _CODE.fullmatch(code):
            raise ValueError(f"an error code is written in UPPER_SNAKE, got {code!r}")
        self.message = message
        self.code = code or self.default_code
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_s = self.default_retry_after_s if retry_after_s is None else retry_after_s

    def __str__(self) -> str:
        return self.message

    def to_plain(self) -> dict[str, Any]:
        """Return the error as plain data: `kind` (the class), `code`, `message`, `details`, `retry_after_s`."""
        return {
            "kind": self.default_code,
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "retry_after_s": self.retry_after_s,
        }

    @staticmethod
    def from_plain(data: Mapping[str, Any]) -> AetherraError:
        """Return the error that `to_plain` wrote. The class is found by `kind`, else by `code`, else it is the root.

        What comes from the other side of a border is not trusted: a field of a wrong type is left out.
        """
        kind, code = data.get("kind"), data.get("code")
        cls = _BY_CODE.get(kind) if isinstance(kind, str) else None
        if cls is None:
            cls = _BY_CODE.get(code, AetherraError) if isinstance(code, str) else AetherraError
        message, details, retry = data.get("message"), data.get("details"), data.get("retry_after_s")
        return cls(
            message if isinstance(message, str) else "an error without a message",
            details=details if isinstance(details, Mapping) else None,
            code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
            retry_after_s=float(retry) if isinstance(retry, int | float) and not isinstance(retry, bool) else None,
        )


class BadInput(AetherraError):
    """A value that cannot be right: says what was expected, what came and where."""

    default_code = "BAD_INPUT"


class TooLarge(BadInput):
    """A body, result or list above its bound: says the bound and its setting."""

    default_code = "BODY_TOO_LARGE"


class Unauthenticated(AetherraError):
    """No credential, or one that does not hold."""

    default_code = "UNAUTHENTICATED"


class Denied(AetherraError):
    """A known principal without the right: says which right is missing."""

    default_code = "CAPABILITY_DENIED"


class NotFound(AetherraError):
    """No such thing: says what was looked for."""

    default_code = "NOT_FOUND"


class Gone(NotFound):
    """There was such a thing; it is over or was removed."""

    default_code = "GONE"


class Conflict(AetherraError):
    """The state of things forbids it: says which state."""

    default_code = "CONFLICT"


class NotAvailable(AetherraError):
    """A thing that is really not there on this machine: says what would make it available."""

    default_code = "NOT_AVAILABLE"


class ServiceUnavailable(AetherraError):
    """A service that nothing provides at the moment; `details["service"]` is its name."""

    default_code = "SERVICE_UNAVAILABLE"

    @classmethod
    def named(cls, service: str, *, retry_after_s: float | None = None) -> Self:
        """Return the error for `service`, saying what to do about it."""
        return cls(
            f"no plugin provides the service {service!r} at the moment; add or repair the plugin that does",
            details={"service": service},
            retry_after_s=retry_after_s,
        )


class Overloaded(AetherraError):
    """A bound is reached: says which, and in `retry_after_s` when to try again (1 s unless told)."""

    default_code = "OVERLOADED"
    default_retry_after_s = 1.0


class DeadlineExceeded(AetherraError):
    """The time allowed for the work is over; it was stopped."""

    default_code = "DEADLINE_EXCEEDED"


class StorageError(AetherraError):
    """The store cannot be reached or trusted: says what to do."""

    default_code = "STORAGE_ERROR"


class StorageFull(StorageError):
    """No room left on the disk: nothing was written, reads go on."""

    default_code = "STORAGE_FULL"


class ConfigError(AetherraError):
    """A setting that is unknown or wrong: names the key, the file and the nearest valid key."""

    default_code = "CONFIG_ERROR"


class PluginError(AetherraError):
    """A plugin broke; `details["plugin"]` is its name."""

    default_code = "PLUGIN_ERROR"


class LoadError(PluginError):
    """A plugin could not be loaded; the generation before it, if any, keeps serving."""

    default_code = "LOAD_FAILED"


class ContractError(PluginError):
    """A plugin declares or does what the contract forbids: says which rule."""

    default_code = "PLUGIN_CONTRACT"


def _tree(cls: type[AetherraError]) -> dict[str, type[AetherraError]]:
    found = {cls.default_code: cls}
    for child in cls.__subclasses__():
        found |= _tree(child)
    return found


_BY_CODE = _tree(AetherraError)


def errors_tree() -> list[type[AetherraError]]:
    """Return every class of the tree with a code of its own, the root first."""
    return list(_tree(AetherraError).values())
