"""Ranges of versions and schemas, as contracts and requirements say them (sections 12.3 and 12.8)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_lang.contracts import RequirementText, requirement, satisfies, schema_faults, version


@pytest.mark.parametrize(
    ("text", "name", "terms"),
    [
        ("pot", "pot", ()),
        ("pot>=1.2", "pot", ((">=", "1.2"),)),
        ("pot >= 1.2 , < 2", "pot", ((">=", "1.2"), ("<", "2"))),
        ("tea.pot~=1.4,!=1.4.3", "tea.pot", (("~=", "1.4"), ("!=", "1.4.3"))),
    ],
)
def test_a_requirement_is_a_name_and_a_range(text: str, name: str, terms: tuple[Any, ...]) -> None:
    assert requirement(text) == (name, terms)


@pytest.mark.parametrize("text", ["", ">=1", "pot>>1", "pot>=", "pot>=x", "pot 1.0", "pot>=1,", "2pot>1", "pot==1..2"])
def test_what_is_no_requirement_says_why(text: str) -> None:
    with pytest.raises(RequirementText) as caught:
        requirement(text)
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize(
    ("installed", "range", "fits"),
    [
        ("1.2.0", "==1.2", True),
        ("1.10", ">1.9", True),
        ("1.0-beta", ">=1.0", False),
        ("1.0-beta", "<1.0", True),
        ("1.4.9", "~=1.4.2", True),
        ("1.5", "~=1.4.2", False),
        ("1.9", "~=1.4", True),
        ("2.0", "~=1.4", False),
        ("1.3", "~=1.4", False),
        ("3", ">=1,<3", False),
        ("2.9.9", ">=1,<3,!=2.0", True),
        ("2.0", ">=1,<3,!=2.0", False),
    ],
)
def test_versions_are_compared_number_by_number(installed: str, range: str, fits: bool) -> None:
    assert satisfies(installed, requirement("x" + range)[1]) is fits


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_exactly_one_of_less_equal_and_greater_holds(left: list[int], right: list[int]) -> None:
    a, b = (".".join(map(str, numbers)) for numbers in (left, right))
    assert sum(satisfies(a, ((sign, b),)) for sign in ("<", "==", ">")) == 1
    assert satisfies(a, (("<=", b),)) is not satisfies(a, ((">", b),))
    assert (version(a) < version(b)) is satisfies(a, (("<", b),))


def test_a_schema_of_the_subset_has_no_faults() -> None:
    schema = {
        "title": "a pot",
        "type": ["object", "null"],
        "properties": {"ml": {"type": "integer", "minimum": 0}, "names": {"items": {"type": "string", "maxLength": 5}}},
        "required": ["ml"],
        "additionalProperties": False,
        "anyOf": [{"const": None}, True],
    }
    assert list(schema_faults(schema)) == []


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("text", "/"),
        ({"typ": "object"}, "/typ"),
        ({"type": "text"}, "/type"),
        ({"type": []}, "/type"),
        ({"required": "ml"}, "/required"),
        ({"minLength": -1}, "/minLength"),
        ({"minimum": True}, "/minimum"),
        ({"oneOf": []}, "/oneOf"),
        ({"properties": {"a": {"items": {"type": "x"}}}}, "/properties/a/items/type"),
        ({"anyOf": [{}, 5]}, "/anyOf/1"),
        ({"pattern": 5}, "/pattern"),
    ],
)
def test_a_fault_of_a_schema_is_named_by_its_pointer(schema: Any, path: str) -> None:
    assert [found for found, _ in schema_faults(schema)] == [path]


def test_a_schema_too_deep_is_a_fault_and_no_exception() -> None:
    schema: Any = {}
    for _ in range(5000):
        schema = {"items": schema}
    assert [message for _, message in schema_faults(schema)] == ["a schema is at most 64 levels deep"]
