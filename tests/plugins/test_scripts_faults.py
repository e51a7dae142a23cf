"""Errors on their way to a script, and what ended a run on its way into its job: codes, types, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from aether_lang.jobs import CATCHABLE
from kernel import (
    AetherraError,
    BadInput,
    Conflict,
    DeadlineExceeded,
    Denied,
    NotFound,
    Overloaded,
    PluginError,
    ServiceUnavailable,
    StorageError,
)
from kernel.errors import errors_tree

HALTS = {"LimitError", "BudgetError", "Cancelled", "StopExecution", "Nondeterministic", "InternalError"}


@pytest.fixture(scope="module")
def faults(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    found: ModuleType = load_plugin("scripts").faults
    return found


# To the script ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "operation", "type"),
    [
        (Denied("no", details={"capability": "memory:write:own"}), "memory.store", "PermissionError"),
        (BadInput("no"), "memory.store", "ValueError"),
        (BadInput("no"), "plugin.call", "PluginError"),
        (NotFound("no"), "memory.update", "KeyError"),
        (NotFound("no"), "goal.finish", "KeyError"),
        (NotFound("no", code="UNKNOWN_FUNCTION"), "function.call", "UnknownFunction"),
        (NotFound("no"), "plugin.call", "PluginError"),
        (DeadlineExceeded("no"), "plugin.call", "Timeout"),
        (DeadlineExceeded("no"), "memory.search", "Timeout"),
        (StorageError("no"), "memory.store", "MemoryStoreError"),
        (StorageError("no"), "collection.store", "MemoryStoreError"),
        (StorageError("no"), "goal.set", "MemoryStoreError"),
        (ServiceUnavailable.named("memory"), "memory.store", "MemoryStoreError"),
        (ServiceUnavailable.named("ai"), "ai.ask", "AIError"),
        (ServiceUnavailable.named("somebody"), "status.read", "HostError"),
        (Conflict("no"), "event.emit", "HostError"),
        (PluginError("no"), "receiver.call", "PluginError"),
        (PluginError("no"), "verb.handle", "PluginError"),
        (AetherraError("no"), "time.now", "HostError"),
    ],
)
def test_an_error_of_the_house_reaches_a_script_as_a_type_of_the_language(
    faults: ModuleType, error: AetherraError, operation: str, type: str
) -> None:
    seen = faults.in_script_words(error, operation)
    assert seen.details["type"] == type
    assert type in CATCHABLE
    assert set(seen.details) == {"type", "data", "retryable"}


@pytest.mark.parametrize("error", errors_tree(), ids=lambda error: error.__name__)
@pytest.mark.parametrize("operation", ["memory.get", "plugin.call", "time.now"])
def test_every_class_of_error_has_a_type_that_a_script_can_catch(
    faults: ModuleType, error: type[AetherraError], operation: str
) -> None:
    seen = faults.in_script_words(error("no"), operation)
    assert seen.details["type"] in CATCHABLE
    assert isinstance(seen, error)
    assert seen.message == "no"


def test_details_of_the_hub_stay_in_the_hub(faults: ModuleType) -> None:
    details = {"field": "cups", "chain": "user:ada", "source": "default.toml:12", "path": "/var/lib/x", "plugin": "tea"}
    seen = faults.in_script_words(BadInput("no", details=details), "memory.store")
    assert seen.details["data"] == {"field": "cups"}
    denied = faults.in_script_words(
        Denied("user:ada may not, by default.toml:12", details={"capability": "a:b"}), "x.y"
    )
    assert denied.to_plain()["message"] == "missing capability: a:b"
    assert denied.details == {"type": "PermissionError", "data": {"capability": "a:b"}, "retryable": False}


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (Overloaded("no"), True),
        (ServiceUnavailable("no"), True),
        (StorageError("no"), True),
        (DeadlineExceeded("no"), True),
        (BadInput("no"), False),
        (Denied("no"), False),
        (NotFound("no"), False),
        (AetherraError("no"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_retryable(faults: ModuleType, error: AetherraError, retryable: bool) -> None:
    assert faults.in_script_words(error, "memory.get").details["retryable"] is retryable


def test_what_a_function_calls_its_errors_is_no_type_of_the_language(faults: ModuleType) -> None:
    for claimed in ("StopExecution", "Cancelled", "TooHot"):
        error = BadInput("no", details={"type": claimed, "data": {"a": 1}, "field": "cups"})
        seen = faults.in_script_words(faults.of_function(error), "plugin.call")
        assert (seen.details["type"], seen.details["data"]) == ("PluginError", {"field": "cups"})


def test_a_fault_carries_its_type_and_its_data(faults: ModuleType) -> None:
    seen = faults.in_script_words(faults.fault("LimitError", "too many", limit="host_calls", value=3), "memory.get")
    assert (seen.details["type"], seen.details["data"]) == ("LimitError", {"limit": "host_calls", "value": 3})
    assert seen.code == "LIMIT_EXCEEDED"


# Into the job ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "code"),
    [
        ("UserError", "USER_ERROR"),
        ("TypeError", "TYPE_ERROR"),
        ("DivisionByZero", "DIVISION_BY_ZERO"),
        ("AIError", "AI_ERROR"),
        ("MemoryStoreError", "MEMORY_STORE_ERROR"),
        ("PermissionError", "CAPABILITY_DENIED"),
        ("LimitError", "LIMIT_EXCEEDED"),
        ("InternalError", "INTERNAL"),
        ("Timeout", "TIMEOUT"),
        ("", "SCRIPT_FAILED"),
        ("x y", "SCRIPT_FAILED"),
        ("drop table;", "SCRIPT_FAILED"),
    ],
)
def test_a_type_has_one_code(faults: ModuleType, type: str, code: str) -> None:
    assert faults.code_of(type) == code


def test_the_codes_of_all_types_differ(faults: ModuleType) -> None:
    kinds = CATCHABLE | HALTS
    codes = {faults.code_of(kind) for kind in kinds}
    assert len(codes) == len(kinds)
    assert "SCRIPT_FAILED" not in codes


def test_an_uncaught_error_keeps_code_type_message_place_data_and_stack(faults: ModuleType) -> None:
    record = {
        "type": "UserError",
        "message": "empty",
        "line": 2,
        "column": 3,
        "file": "tea.aether",
        "data": {"ml": 0},
        "stack": [{"function": "pour", "file": "tea.aether", "line": 2}],
        "retryable": False,
    }
    expected = {**record, "code": "USER_ERROR"}
    del expected["retryable"]
    assert faults.failure_of_run(record) == expected


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"type": None, "message": None},
        {"type": 5, "message": 5, "line": "2", "column": -1, "file": 5, "stack": "no"},
        {"type": "UserError", "message": "x" * 100_000, "file": "f" * 1000, "stack": [1, {"line": 2}] * 50},
    ],
)
def test_a_record_that_a_worker_made_up_still_makes_a_failure(faults: ModuleType, record: Any) -> None:
    made = faults.failure_of_run(record)
    assert made["code"].replace("_", "").isupper()
    assert isinstance(made["type"], str)
    assert made["type"]
    assert len(made["message"]) <= 4_000
    assert len(made.get("file", "")) <= 300
    assert all(isinstance(frame, dict) for frame in made.get("stack", []))
    assert len(made.get("stack", [])) <= 20
    assert all(isinstance(made[name], int) and made[name] > 0 for name in ("line", "column") if name in made)


def test_a_source_that_does_not_compile_fails_with_its_first_error_not_a_warning(faults: ModuleType) -> None:
    found = [
        {"code": "AW101", "message": "a warning", "line": 1, "column": 1, "file": "t.aether", "kind": "check"},
        {"code": "AE102", "message": "never closed", "line": 2, "column": 11, "file": "t.aether", "kind": "syntax"},
        {"code": "AE103", "message": "another", "line": 3, "column": 1, "file": "t.aether", "kind": "syntax"},
    ]
    made = faults.failure_of_source(found, "t.aether")
    assert (made["code"], made["message"], made["line"], made["column"]) == ("SCRIPT_SYNTAX", "never closed", 2, 11)
    assert made["diagnostics"] == found
    assert faults.failure_of_source([{**found[1], "kind": "check"}], "t.aether")["code"] == "SCRIPT_CHECK"


def test_a_source_with_many_errors_keeps_the_first_twenty(faults: ModuleType) -> None:
    found = [{"code": "AE102", "message": str(n), "line": n, "column": 1, "kind": "syntax"} for n in range(1, 100)]
    made = faults.failure_of_source(found, "t.aether")
    assert len(made["diagnostics"]) == 20
    assert made["file"] == "t.aether"


def test_among_many_findings_the_errors_are_kept_in_their_places_and_notes_on_style_are_left_out(
    faults: ModuleType,
) -> None:
    found = [{"code": code, "message": str(n), "line": n} for n in range(1, 41) for code in ("AS129", "AW201")]
    found += [{"code": "AE109", "message": "late", "line": 41}]
    made = faults.failure_of_source(found, "t.aether")
    assert made["message"] == "late"
    assert [one["code"] for one in made["diagnostics"]] == ["AW201"] * 19 + ["AE109"]
    assert [one["line"] for one in made["diagnostics"]] == [*range(1, 20), 41]


def test_a_source_that_fails_without_a_finding_still_says_which(faults: ModuleType) -> None:
    made = faults.failure_of_source([], "t.aether")
    assert (made["message"], made["file"]) == ("t.aether cannot be compiled", "t.aether")
