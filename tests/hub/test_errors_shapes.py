"""Every error's status, and the shape of each dialect."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hub.errors import body_of, camel_case, failure_of, status_of
from kernel import (
    AetherraError,
    BadInput,
    ConfigError,
    Conflict,
    ContractError,
    DeadlineExceeded,
    Denied,
    Gone,
    NotAvailable,
    NotFound,
    Overloaded,
    ServiceUnavailable,
    StorageError,
    StorageFull,
    TooLarge,
    Unauthenticated,
)

STATUSES = [
    (BadInput("x"), 400),
    (Unauthenticated("x"), 401),
    (Denied("x"), 403),
    (NotFound("x"), 404),
    (Conflict("x"), 409),
    (Gone("x"), 410),
    (TooLarge("x"), 413),
    (Overloaded("x", code="RATE_LIMITED"), 429),
    (AetherraError("x"), 500),
    (ContractError("x"), 500),
    (ConfigError("x"), 500),
    (NotAvailable("x", code="NOT_IMPLEMENTED"), 501),
    (NotAvailable("x"), 503),
    (ServiceUnavailable("x"), 503),
    (Overloaded("x"), 503),
    (StorageError("x"), 503),
    (DeadlineExceeded("x"), 504),
    (StorageFull("x"), 507),
    (NotFound("x", code="SCRIPT_NOT_FOUND"), 404),
]


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: str(getattr(value, "code", value)))
def test_an_error_has_the_status_of_its_code_or_class(error: AetherraError, status: int) -> None:
    assert status_of(error) == status


def test_a_503_and_a_429_say_when_to_try_again() -> None:
    assert failure_of(ServiceUnavailable("x"), where="t").headers == {"Retry-After": "1"}
    assert failure_of(Overloaded("x", retry_after_s=2.2), where="t").headers == {"Retry-After": "3"}
    assert failure_of(BadInput("x"), where="t").headers == {}


def test_a_bug_tells_its_id_and_nothing_else_and_the_log_has_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "hub.errors"):
        failure = failure_of(KeyError("secret words"), where="GET /x")
    assert (failure.status, failure.message) == (500, "Internal server error")
    assert "secret" not in str(body_of(failure, "hub"))
    assert failure.error_id in caplog.text
    assert "secret words" in caplog.text


def test_names_of_codes_in_the_scripts_dialect() -> None:
    assert camel_case("SCRIPT_NOT_FOUND") == "ScriptNotFound"
    assert camel_case("BAD_INPUT") == "BadRequest"


SHAPES: list[tuple[str, str, int, dict[str, Any]]] = [
    (
        "scripts",
        "not_found",
        404,
        {"error": "ScriptNotFound", "message": "no such script", "details": {"script_name": "n"}},
    ),
    (
        "scripts",
        "typed",
        404,
        {"error": "ScriptNotFound", "message": "no such script", "details": {"script_name": "n"}},
    ),
    ("scripts", "bad", 400, {"error": "BadRequest", "message": "name is too short", "details": {"field": "name"}}),
    (
        "aimos",
        "bad",
        400,
        {
            "detail": "name is too short",
            "type": "validation_error",
            "errors": [{"field": "name", "message": "name is too short"}],
        },
    ),
    ("aimos", "not_found", 404, {"detail": "no such script"}),
    ("aimos", "rate", 429, {"detail": "too many", "retry_after": 60}),
    ("aurora", "not_found", 404, {"detail": "no such script"}),
    ("aurora", "bad", 400, {"detail": "name is too short"}),
    ("executions", "off", 503, {"detail": "switched off; set AI=1"}),
    ("executions", "absent", 501, {"detail": "not there"}),
]


@pytest.mark.parametrize(("dialect", "kind", "status", "body"), SHAPES)
async def test_a_refusal_has_the_shape_of_its_dialect(
    hub: Any, dialect: str, kind: str, status: int, body: dict[str, Any]
) -> None:
    answer = await hub.ask("POST", f"/{dialect}/things", {"name": "n", "kind": kind})
    assert (answer.status, answer.json) == (status, body)


@pytest.mark.parametrize("dialect", ["scripts", "aimos", "aurora", "executions"])
async def test_a_bug_in_a_handler_is_a_500_with_an_error_id_in_each_dialect(hub: Any, dialect: str) -> None:
    answer = await hub.ask("POST", f"/{dialect}/things", {"name": "n", "kind": "bug"})
    assert answer.status == 500
    assert b"secret" not in answer.body
    told = answer.json["details"] if dialect == "scripts" else answer.json
    assert len(told["error_id"]) == 32


async def test_bad_json_and_a_wrong_content_type_are_refused_in_the_dialect_too(hub: Any) -> None:
    bad = await hub.ask("POST", "/aimos/things", raw=b"{")
    assert (bad.status, bad.json["type"]) == (400, "validation_error")
    plain = await hub.ask("POST", "/aurora/things", raw=b"{}", headers={"Content-Type": "text/plain"})
    assert (plain.status, list(plain.json)) == (415, ["detail"])


async def test_a_result_that_json_cannot_carry_is_the_plugins_fault(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/unwritable")
    assert (answer.status, answer.json["code"]) == (500, "PLUGIN_CONTRACT")
    assert "error_id" in answer.json["details"]


async def test_the_hubs_shape_has_error_details_and_code(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/bug")
    assert answer.status == 500
    assert list(answer.json) == ["error", "details", "code"]
    assert answer.json["error"] == "Internal server error"
