from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest

from kernel.errors import BadInput, ContractError
from kernel.signature import Signature


async def remind(ctx: Any, name: str, minutes: int = 5, tags: list[str] | None = None, async_: bool = False) -> str:
    return f"{name} {minutes} {tags} {async_}"


def test_parameters_come_with_type_and_default_and_without_the_context() -> None:
    signature = Signature.of(remind)
    assert signature.takes_context
    assert [(p.field, p.required) for p in signature.parameters] == [
        ("name", True),
        ("minutes", False),
        ("tags", False),
        ("async", False),
    ]


def test_a_trailing_underscore_is_dropped_from_the_field_name() -> None:
    assert Signature.of(remind).binder.bind({"name": "x", "async": True})["async_"] is True


def test_a_wrong_type_names_the_field_and_what_was_expected() -> None:
    with pytest.raises(BadInput, match=r"Expected `int`, got `str`") as caught:
        Signature.of(remind).binder.bind({"name": "x", "minutes": "soon"})
    assert caught.value.details["field"] == "minutes"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        Signature.of(remind).binder.decode(b"{}")
    assert caught.value.details["field"] == "name"


def test_an_unknown_field_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(BadInput) as caught:
        Signature.of(remind).binder.decode(b'{"name": "x", "nmae": 1}')
    assert caught.value.details == {"field": "nmae", "expected": ["async", "minutes", "name", "tags"]}


def test_a_part_with_extras_ignores_what_it_does_not_know() -> None:
    part = Signature.of(remind).part(["name"], lax=False, extras=True)
    assert part.decode(b'{"name": "x", "other": 1}') == {"name": "x"}


def test_text_from_a_path_or_query_is_read_laxly_and_a_body_strictly() -> None:
    signature = Signature.of(remind)
    assert signature.part(["minutes"], lax=True, extras=False).bind({"minutes": "7"}) == {"minutes": 7}
    with pytest.raises(BadInput):
        signature.part(["minutes"], lax=False, extras=False).bind({"minutes": "7"})


def test_json_that_is_no_json_says_where() -> None:
    with pytest.raises(BadInput, match="not valid JSON"):
        Signature.of(remind).binder.decode(b'{"name": ')


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    async def collect(ctx: Any, items: list[int] = []) -> None: ...  # noqa: B006 - the very case

    binder = Signature.of(collect).binder
    binder.bind({})["items"].append(1)
    assert binder.bind({})["items"] == []


def test_bounds_in_an_annotation_hold() -> None:
    async def page(ctx: Any, limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100) -> None: ...

    with pytest.raises(BadInput, match="<= 500"):
        Signature.of(page).binder.bind({"limit": 501})


def test_a_parameter_without_a_type_is_refused_at_load() -> None:
    async def vague(ctx: Any, thing) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(ContractError, match="`thing` needs a type"):
        Signature.of(vague)


def test_star_parameters_are_refused_at_load() -> None:
    async def loose(ctx: Any, *things: int) -> None: ...

    with pytest.raises(ContractError, match="name each parameter"):
        Signature.of(loose)


def test_an_async_generator_is_a_stream_of_its_item_type() -> None:
    async def ticks(ctx: Any) -> AsyncIterator[int]:
        yield 1

    signature = Signature.of(ticks)
    assert signature.streams
    assert signature.result is int


def test_positional_arguments_get_their_names_and_too_many_are_refused() -> None:
    signature = Signature.of(remind)
    assert signature.positional(("x", 3), {}) == {"name": "x", "minutes": 3}
    with pytest.raises(BadInput, match="at most"):
        signature.positional((1, 2, 3, 4, 5), {})
    with pytest.raises(BadInput, match="two values for `name`"):
        signature.positional(("x",), {"name": "y"})
