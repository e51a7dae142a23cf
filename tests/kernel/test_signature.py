from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
import pytest

from kernel.errors import BadInput, ContractError
from kernel.plugin import Plugin
from kernel.signature import MessageDecoder, Signature
from kernel.socket import Socket
from kernel.testing import TestSocket


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


def test_a_query_has_no_null() -> None:
    def find(kind: Literal["a", "b"] | None = None) -> None: ...

    part = Signature.of(find).part(["kind"], lax=True, extras=False)
    assert part.bind({}) == {"kind": None}
    assert part.bind({"kind": "a"}) == {"kind": "a"}
    with pytest.raises(BadInput):
        part.bind({"kind": "null"})
    assert Signature.of(find).part(["kind"], lax=False, extras=False).decode(b'{"kind": null}') == {"kind": None}


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


class Ask(msgspec.Struct, tag_field="type", tag="ask"):
    words: str


class Stop(msgspec.Struct, tag_field="type", tag="stop"):
    pass


async def talk(ctx: Any, room: str, socket: Socket[Ask | Stop, str], loud: bool = False) -> None: ...


def test_a_sockets_function_says_what_it_receives_and_sends_and_the_rest_are_parameters() -> None:
    signature = Signature.of(talk, socket=True)
    assert (signature.socket, signature.receives, signature.sends) == ("socket", Ask | Stop, str)
    assert [p.field for p in signature.parameters] == ["room", "loud"]


async def bare(socket: Socket) -> None: ...  # type: ignore[type-arg]
async def two(one: Socket[int, int], other: Socket[int, int]) -> None: ...
async def none(name: str) -> None: ...
async def several(socket: Socket[list[int] | tuple[int, int], int]) -> None: ...
async def yielding(socket: Socket[int, int]) -> AsyncIterator[int]:
    yield 1


class Auth(msgspec.Struct, tag_field="type", tag="auth"):
    token: str


async def own_auth(socket: Socket[Ask | Auth, int]) -> None: ...


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (bare, "Incoming, Outgoing"),
        (two, "takes 2"),
        (none, "takes 0"),
        (several, "cannot be carried"),
        (yielding, "without `yield`"),
        (own_auth, "are the hub's"),
    ],
)
def test_a_sockets_function_that_does_not_fit_is_refused_at_load(fn: Any, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        Signature.of(fn, socket=True)


def test_only_a_sockets_door_gives_a_socket() -> None:
    with pytest.raises(ContractError, match=r"only a function behind `@p.socket"):
        Signature.of(talk)
    p = Plugin("talker", version="1.0.0")
    p.get("/api/talk/{room}")(talk)
    with pytest.raises(ContractError, match=r"only a function behind `@p.socket"):
        p._routes()


def test_a_sockets_door_is_a_route_of_its_own_method() -> None:
    p = Plugin("talker", version="1.0.0")
    p.socket("/api/talk/{room}", needs="plugin:read", stateless=True)(talk)
    (route,) = p._routes()
    assert (route.method, route.needs, route.effect, route.stateless) == ("WS", "plugin:read", "irreversible", True)
    assert route.key == ("WS", "/api/talk/{}")


def test_a_sockets_function_has_no_parameter_that_the_hub_reads_itself() -> None:
    async def given(socket: Socket[int, int], ticket: str) -> None: ...

    p = Plugin("talker", version="1.0.0")
    p.socket("/api/talk")(given)
    with pytest.raises(ContractError, match="`ticket` of a socket is the hub's"):
        p._routes()


@pytest.mark.parametrize(
    ("text", "words", "field"),
    [
        (b'{"type": "asks", "words": "x"}', "expected ask or stop; did you mean ask", "type"),
        (b'{"type": "ask", "words": 1}', "Expected `str`, got `int`", "words"),
        (b'{"type": "ask"}', "missing required field `words`", "words"),
        (b"{}", "missing required field `type`", "type"),
        (b"[", "the message is not valid JSON|Expected `object`", None),
        (b'{"type": "stop"', "not valid JSON", None),
    ],
)
def test_a_message_that_does_not_fit_is_refused_with_its_field(text: bytes, words: str, field: str | None) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        MessageDecoder(Ask | Stop).decode(text)
    assert refused.value.details.get("field") == field


async def test_a_sockets_function_is_tried_without_a_hub() -> None:
    async def count(socket: Socket[Ask, int]) -> None:
        await socket.follow(["job.*"], opening=lambda at: at)
        async for message in socket:
            await socket.send(len(message.words))
        await socket.close(4000, "done")

    socket = TestSocket([Ask("one"), Ask("three")])
    await count(socket)
    assert (socket.sent, socket.following, socket.closed) == ([0, 3, 5], ("job.*",), (4000, "done"))
