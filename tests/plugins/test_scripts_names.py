"""Names of scripts: what may stand in one, which files it is tried as, and which names sources get that came along."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from kernel import BadInput


@pytest.fixture(scope="module")
def names(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    found: ModuleType = load_plugin("scripts").names
    return found


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("tea", "tea.aether"),
        ("tea.aether", "tea.aether"),
        ("kitchen/tea-2.0_b", "kitchen/tea-2.0_b.aether"),
        ("Tea", "Tea.aether"),
        ("...x", "...x.aether"),
        ("a" * 193, "a" * 193 + ".aether"),
    ],
)
def test_a_good_name_gets_its_suffix_once(names: ModuleType, name: str, full: str) -> None:
    assert names.check_name(name) == full


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("../tea", "'.' or '..'"),
        ("kitchen/../../tea", "'.' or '..'"),
        ("./tea", "'.' or '..'"),
        ("/etc/passwd", "empty part"),
        ("kitchen//tea", "empty part"),
        ("kitchen/", "no name before its suffix"),
        (".aether", "no name before its suffix"),
        ("tea\0", "its parts are made of"),
        ("tea\0.aether", "its parts are made of"),
        ("kitchen\\tea", "its parts are made of"),
        ("..\\tea", "its parts are made of"),
        ("%2e%2e/tea", "its parts are made of"),
        ("..%2ftea", "its parts are made of"),
        ("tea\n", "its parts are made of"),
        ("te a", "its parts are made of"),
        ("~tea", "its parts are made of"),
        ("tée", "its parts are made of"),
        ("te\u0301e", "NFC"),
        ("\u212b", "NFC"),
        ("te\ud800", "its parts are made of"),
        ("\uff0e\uff0e/tea", "its parts are made of"),
        ("a" * 194, "longer than 200 bytes"),
        ("é" * 150, "longer than 200 bytes"),
    ],
)
def test_a_bad_name_is_refused_and_the_message_says_why(names: ModuleType, name: str, why: str) -> None:
    with pytest.raises(BadInput) as refused:
        names.check_name(name)
    assert why in refused.value.message
    assert refused.value.code == "INVALID_SCRIPT_NAME"
    assert refused.value.details["type"] == "InvalidScriptName"
    assert len(refused.value.details["script_name"]) <= 80


@pytest.mark.parametrize("name", [None, 5, ["tea"], {"name": "tea"}])
def test_what_is_no_text_is_no_name(names: ModuleType, name: object) -> None:
    with pytest.raises(BadInput, match="cannot be the name"):
        names.check_name(name)


def test_a_name_is_tried_as_it_stands_and_then_in_system(names: ModuleType) -> None:
    assert names.candidates("tea.aether") == ("tea.aether", "system/tea.aether")
    assert names.candidates("kitchen/tea.aether") == ("kitchen/tea.aether", "system/kitchen/tea.aether")
    assert names.candidates("system/tea.aether") == ("system/tea.aether",)
    assert names.candidates("systems/tea.aether") == ("systems/tea.aether", "system/systems/tea.aether")


def test_a_module_is_tried_whole_and_then_without_its_first_parts(names: ModuleType) -> None:
    assert names.module_candidates("vendor/system/goals") == (
        "vendor/system/goals.aether",
        "system/goals.aether",
        "goals.aether",
    )
    assert names.module_candidates("goals.aether") == ("goals.aether",)
    with pytest.raises(BadInput):
        names.module_candidates("system/../goals")


def test_a_source_that_came_along_never_has_a_name_of_the_library(names: ModuleType) -> None:
    assert names.inline_name(None) == "inline/script.aether"
    assert names.inline_name("tea") == "inline/tea.aether"
    assert names.inline_name("system/goals") == "inline/system/goals.aether"
    with pytest.raises(BadInput):
        names.inline_name("../system/goals")
