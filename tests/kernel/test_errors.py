"""The error tree: stable codes, and the way over a plugin's border and back."""

from __future__ import annotations

import re

import pytest

from kernel import errors
from kernel.errors import AetherraError, Conflict, Gone, NotFound, Overloaded, PluginError, ServiceUnavailable
from kernel.suggest import nearest


def all_classes() -> list[type[AetherraError]]:
    found = [AetherraError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__ == "kernel.errors"]


def test_every_class_and_code_stands_in_the_drawn_tree() -> None:
    drawn = dict(re.findall(r"(\w+) +([A-Z][A-Z_]+)  ", errors.__doc__ or ""))
    assert drawn == {cls.__name__: cls.default_code for cls in all_classes()}


def test_codes_are_unique() -> None:
    codes = [cls.default_code for cls in all_classes()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", all_classes())
def test_an_error_crosses_the_border_as_data_and_is_the_same_again(cls: type[AetherraError]) -> None:
    sent = cls("three were expected, two came", details={"at": [1, 2]}, retry_after_s=2.5)
    back = AetherraError.from_plain(sent.to_plain())
    assert type(back) is cls
    assert (back.message, back.code, back.details, back.retry_after_s) == (sent.message, sent.code, {"at": [1, 2]}, 2.5)


def test_a_code_of_a_plugin_keeps_its_nearest_class() -> None:
    back = AetherraError.from_plain(NotFound("no such poem", code="POEM_NOT_FOUND").to_plain())
    assert type(back) is NotFound
    assert back.code == "POEM_NOT_FOUND"
    assert isinstance(AetherraError.from_plain({"code": "GONE", "message": "x"}), Gone)


def test_what_comes_over_the_border_is_not_trusted() -> None:
    back = AetherraError.from_plain(
        {"kind": ["x"], "code": "not a code", "message": 7, "details": "x", "retry_after_s": True}
    )
    assert type(back) is AetherraError
    assert (back.code, back.details, back.retry_after_s) == ("INTERNAL", {}, None)


def test_a_code_that_is_not_upper_snake_is_refused() -> None:
    with pytest.raises(ValueError, match="UPPER_SNAKE"):
        Conflict("x", code="notUpper")


def test_overloaded_always_says_when_to_try_again() -> None:
    assert Overloaded("full").retry_after_s == 1.0
    assert Overloaded("full", retry_after_s=0.0).retry_after_s == 0.0


def test_a_missing_service_is_named() -> None:
    error = ServiceUnavailable.named("memory")
    assert "memory" in error.message
    assert error.details == {"service": "memory"}


def test_load_and_contract_errors_are_plugin_errors() -> None:
    assert issubclass(errors.LoadError, PluginError)
    assert issubclass(errors.ContractError, PluginError)


def test_the_nearest_word_is_suggested_and_nothing_when_none_is_near() -> None:
    assert nearest("Bakground", ["background", "high_priority"]) == "background"
    assert nearest("xyz", ["background"]) is None
