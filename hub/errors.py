"""From an error to an answer: its status, and its shape by the dialect of the route. Nothing else knows statuses.

An error of the house carries its own words. Anything else is a bug: the client gets an id, the log the traceback.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

import msgspec

from kernel import (
    AetherraError,
    BadInput,
    Conflict,
    DeadlineExceeded,
    Denied,
    Gone,
    LoadError,
    NotAvailable,
    NotFound,
    Overloaded,
    ServiceUnavailable,
    StorageError,
    StorageFull,
    TooLarge,
    Unauthenticated,
    redactions,
)

log = logging.getLogger("hub.errors")

STATUS_OF_CODE = {
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "MISDIRECTED_REQUEST": 421,
    "UPGRADE_REQUIRED": 426,
    "TOO_MANY_SOCKETS": 429,
    "RATE_LIMITED": 429,
    "HEADERS_TOO_LARGE": 431,
    "NOT_IMPLEMENTED": 501,
}
"""Codes that mean a status of their own, whatever the class."""

STATUS_OF_CLASS: dict[type[AetherraError], int] = {
    BadInput: 400,
    TooLarge: 413,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Gone: 410,
    Conflict: 409,
    LoadError: 409,
    NotAvailable: 503,
    ServiceUnavailable: 503,
    Overloaded: 503,
    DeadlineExceeded: 504,
    StorageError: 503,
    StorageFull: 507,
}
"""The nearest class counts; what is not here is 500."""

STOPPING_RETRY_S = 5.0
"""Said while the hub stops: the next one may be up then."""

RETRY_AFTER_S = 1.0
"""Said with a 503 or a 429 that does not know better."""


class Failure(msgspec.Struct, frozen=True):
    """What a client is told about an error, before a dialect words it."""

    status: int
    code: str
    message: str
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    retry_after_s: float | None = None
    error_id: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where another attempt makes sense."""
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


def status_of(error: AetherraError) -> int:
    """Return the status of an error: by its code, else by the nearest class in its line."""
    status = STATUS_OF_CODE.get(error.code)
    if status is not None:
        return status
    return next((STATUS_OF_CLASS[cls] for cls in type(error).__mro__ if cls in STATUS_OF_CLASS), 500)


def failure_of(error: Exception, *, where: str) -> Failure:
    """Return what to tell about `error`; a status of 500 is logged with its traceback, under the id that is told."""
    if not isinstance(error, AetherraError):
        error_id = _logged(error, where)
        return Failure(500, "INTERNAL", "Internal server error", {}, None, error_id)
    status = status_of(error)
    retry = error.retry_after_s
    if retry is None and status in (429, 503):
        retry = RETRY_AFTER_S
    error_id = _logged(error, where) if status == 500 else ""
    # What is told may quote what came, or what a plugin made of it.
    message, details = redactions.text(error.message), redactions.data(error.details)
    return Failure(status, error.code, message, details, retry, error_id)


def _logged(error: Exception, where: str) -> str:
    error_id = uuid.uuid4().hex
    log.error("%s failed (error_id %s)", where, error_id, exc_info=error)
    return error_id


class HubError(TypedDict):
    """Why a request was not carried out; `code` is stable, `error` is for a person, `details` for a program."""

    error: str
    details: NotRequired[dict[str, Any]]
    code: str


class ScriptsError(TypedDict):
    """Why a request was not carried out; `error` is a stable name, `message` is for a person."""

    error: str
    message: str
    details: dict[str, Any]


class DetailError(TypedDict):
    """Why a request was not carried out; `error_id` finds a failure of the hub's own in its log."""

    detail: str
    error_id: NotRequired[str]


class AimosError(DetailError):
    """Why a request was not carried out; bad input has `type` and `errors`, too many requests `retry_after` seconds."""

    type: NotRequired[str]
    errors: NotRequired[list[Any]]
    retry_after: NotRequired[int]


def body_of(failure: Failure, dialect: str) -> Any:
    """Return the body in the dialect's shape; a dialect without one of its own speaks as the hub does."""
    return SHAPES.get(dialect, SHAPES["hub"]).make(failure)


def _hub(failure: Failure) -> HubError:
    details = _with_id(failure)
    if details:
        return {"error": failure.message, "details": details, "code": failure.code}
    return {"error": failure.message, "code": failure.code}


def _scripts(failure: Failure) -> ScriptsError:
    details = _with_id(failure)
    named = details.pop("type", None)
    kind = named if isinstance(named, str) else camel_case(failure.code)
    return {"error": kind, "message": failure.message, "details": details}


def _detail(failure: Failure) -> DetailError:
    body: DetailError = {"detail": failure.message}
    if failure.error_id:
        body["error_id"] = failure.error_id
    return body


def _aimos(failure: Failure) -> AimosError:
    body: AimosError = {"detail": failure.message}
    if failure.error_id:
        body["error_id"] = failure.error_id
    if failure.status == 400:
        listed = failure.details.get("errors")
        body["type"] = "validation_error"
        body["errors"] = listed if isinstance(listed, list) else _field_errors(failure)
    if failure.status == 429 and failure.retry_after_s is not None:
        body["retry_after"] = max(1, math.ceil(failure.retry_after_s))
    return body


def _field_errors(failure: Failure) -> list[dict[str, Any]]:
    name = failure.details.get("field")
    return [{"field": name, "message": failure.message}] if isinstance(name, str) else []


def _with_id(failure: Failure) -> dict[str, Any]:
    return {**failure.details, "error_id": failure.error_id} if failure.error_id else dict(failure.details)


def camel_case(code: str) -> str:
    """Return `SCRIPT_NOT_FOUND` as `ScriptNotFound`; the plain refusal of input is `BadRequest`."""
    return "BadRequest" if code == BadInput.default_code else "".join(part.capitalize() for part in code.split("_"))


class Shape(msgspec.Struct, frozen=True):
    """How a dialect words an error: the function, and the type of what it returns."""

    make: Callable[[Failure], Any]
    type: type[Any]


SHAPES: dict[str, Shape] = {
    "hub": Shape(_hub, HubError),
    "scripts": Shape(_scripts, ScriptsError),
    "aimos": Shape(_aimos, AimosError),
    "aurora": Shape(_detail, DetailError),
    "executions": Shape(_detail, DetailError),
}
"""Dialect -> the shape of its document's errors (contract, README)."""
