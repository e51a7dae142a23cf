"""Streams and sockets that are open are let in again when a policy, a role or a token changes, and when one expires."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kernel import Caller, Identity
from kernel.testing import TestClock

GUARD = '''
"""Decides, and knows tokens; a test changes what it says."""
from kernel import Caller, Chain, Credential, Decision, Identity, Plugin, Unauthenticated

guard = Plugin("allow_all", version="1.0.0")
denied: set[str] = set()
people: dict[str, Identity] = {}

@guard.decider
def decide(chain: Chain, capability: str) -> Decision:
    return Decision(capability not in denied, "a test says so", effect="free")

@guard.authenticator
async def prove(credential: Credential) -> Identity:
    if credential.text not in people:
        raise Unauthenticated("nobody is called so")
    return people[credential.text]
'''

TICK = '''
"""tick has streams and sockets that ask for rights when they are opened."""
import asyncio
from collections.abc import AsyncIterator
from kernel import Context, EventStream, Plugin, Socket
import msgspec

tick = Plugin("tick", version="1.0.0")

class Say(msgspec.Struct):
    words: str

@tick.get("/api/tick/events", needs="event:read")
async def events(ctx: Context, topic: str = "tick.made") -> EventStream:
    await ctx.require("event:read", topic)
    return EventStream(topics=(topic,))

@tick.post("/api/tick/values", needs="event:read", effect="read")
async def values(ctx: Context) -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()

@tick.socket("/api/tick/talk", needs="event:read", stateless=True)
async def talk(ctx: Context, socket: Socket[Say, Say]) -> None:
    async for message in socket:
        if message.words.startswith("event:"):
            await ctx.require(message.words)
        await socket.send(Say(f"{message.words} {ctx.chain.caller.id}"))

@tick.socket("/api/tick/stateful", needs="event:read")
async def stateful(ctx: Context, socket: Socket[Say, Say]) -> None:
    async for message in socket:
        await socket.send(Say(ctx.chain.caller.id))
'''


def guard(hub: Any) -> Any:
    """Return the module of the plugin that decides."""
    return next(m.generation.module for m in hub.kernel.modules.known() if m.name == "allow_all")


def person(name: str, expires_at: float | None = None) -> Identity:
    return Identity(Caller(f"user:{name}", ("role:user",)), f"session:{name}", expires_at)


@pytest.fixture
async def guarded(start_hub: Any) -> Any:
    hub = await start_hub(policy=GUARD, plugins={"tick": TICK})
    guard(hub).people |= {"ada": person("ada"), "session:ada": person("ada"), "bob": person("bob")}
    return hub


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def asked_again(hub: Any) -> None:
    """Return once everything that is open was let in again, or not."""
    async with asyncio.timeout(5):
        while hub.server.hub.reauthorisation._asking is not None:
            await asyncio.sleep(0)


@pytest.mark.parametrize("lost", ["event:read", "event:read:tick.made"])
async def test_a_stream_of_events_ends_when_the_policy_takes_a_right_away_that_it_stands_on(
    guarded: Any, lost: str
) -> None:
    async with (
        guarded.stream("/api/tick/events") as stream,
        guarded.stream("/api/tick/events?topic=tick.else") as other,
    ):
        guard(guarded).denied.add(lost)
        guarded.kernel.bus.emit("policy.loaded", {})
        last = await stream.message()
        assert (last["event"], last["data"]["code"]) == ("error", "CAPABILITY_DENIED")
        assert f"may not {lost} any more" in last["data"]["message"]
        assert await stream.message() is None
        if lost == "event:read:tick.made":
            guarded.kernel.bus.emit("tick.else", {"n": 1})
            assert (await other.message())["data"]["data"] == {"n": 1}


async def test_what_still_has_its_rights_notices_nothing_of_a_change(guarded: Any) -> None:
    ada = bearer("ada")
    async with (
        guarded.stream("/api/tick/events", headers=ada) as stream,
        guarded.socket("/api/tick/talk", ada) as socket,
    ):
        guarded.kernel.bus.emit("policy.loaded", {})
        guarded.kernel.bus.emit("identity.changed", {})
        await asked_again(guarded)
        guarded.kernel.bus.emit("tick.made", {"n": 1})
        assert (await stream.message())["data"]["data"] == {"n": 1}
        socket.say({"words": "still"})
        assert (await socket.message())["words"] == "still user:ada"


async def test_a_stream_of_values_ends_in_the_middle_of_its_handler(guarded: Any) -> None:
    async with guarded.stream("/api/tick/values", body={}) as stream:
        assert (await stream.message())["data"] == 1
        guard(guarded).denied.add("event:read")
        guarded.kernel.bus.emit("policy.loaded", {})
        assert (await stream.message())["data"]["code"] == "CAPABILITY_DENIED"
        assert await stream.message() is None


async def test_a_socket_closes_with_4403_when_a_right_is_gone_that_a_message_had_asked_for(guarded: Any) -> None:
    async with guarded.socket("/api/tick/talk") as socket:
        socket.say({"words": "event:emit:x"})
        await socket.message()
        guard(guarded).denied.add("event:emit:x")
        guarded.kernel.bus.emit("policy.loaded", {})
        assert (await socket.message())["code"] == "CAPABILITY_DENIED"
        assert (await socket.message())[0] == 4403
        assert await socket.ended()


@pytest.mark.parametrize("kind", ["socket", "stream"])
async def test_what_a_session_opened_ends_when_the_session_does(guarded: Any, kind: str) -> None:
    people = guard(guarded).people
    if kind == "socket":
        async with guarded.socket("/api/tick/talk", bearer("ada")) as socket:
            socket.say({"words": "x"})
            await socket.message()
            del people["session:ada"]
            guarded.kernel.bus.emit("identity.changed", {})
            assert (await socket.message())["code"] == "UNAUTHENTICATED"
            assert (await socket.message())[0] == 4401
            assert await socket.ended()
    else:
        async with guarded.stream("/api/tick/events", headers=bearer("ada")) as stream:
            del people["session:ada"]
            guarded.kernel.bus.emit("identity.changed", {})
            assert (await stream.message())["data"]["code"] == "UNAUTHENTICATED"
            assert await stream.message() is None


async def test_a_client_that_reads_nothing_is_cut_half_a_second_after_its_rights_are_gone(guarded: Any) -> None:
    async with guarded.stream("/api/tick/events") as stream:
        connections = guarded.server.hub.connections
        open_before = connections.open
        guard(guarded).denied.add("event:read")
        guarded.kernel.bus.emit("policy.loaded", {})
        async with asyncio.timeout(1):  # the promise: within a second
            while connections.open >= open_before:
                await asyncio.sleep(0.01)
        assert stream.answered.status == 200


async def test_what_a_token_opened_ends_within_a_second_of_its_expiry(start_hub: Any) -> None:
    clock = TestClock()
    hub = await start_hub(policy=GUARD, plugins={"tick": TICK}, clock=clock, ping_s=1000)
    guard(hub).people["ada"] = person("ada", clock.now() + 60)
    ada = bearer("ada")
    async with hub.socket("/api/tick/talk", ada) as socket, hub.stream("/api/tick/events", headers=ada) as stream:
        socket.say({"words": "x"})
        await socket.message()
        await clock.advance(59.5)
        assert hub.server.hub.sockets.open == 1
        await clock.advance(1)
        assert (await socket.message())["code"] == "UNAUTHENTICATED"
        assert (await socket.message())[0] == 4401
        assert "expired" in (await stream.message())["data"]["message"]


async def test_an_error_while_letting_in_again_is_a_no(guarded: Any) -> None:
    async with guarded.socket("/api/tick/talk", bearer("ada")) as socket:
        socket.say({"words": "x"})
        await socket.message()
        guard(guarded).people["session:ada"] = "no identity"
        guarded.kernel.bus.emit("identity.changed", {})
        assert (await socket.message())["code"] == "UNAUTHENTICATED"
        assert (await socket.message())[0] == 4401


async def test_an_auth_message_makes_a_socket_without_a_token_that_persons(guarded: Any) -> None:
    async with guarded.socket("/api/tick/talk") as socket:
        socket.say({"words": "first"})
        assert (await socket.message())["words"] == "first user:local"
        socket.say({"type": "auth", "token": "ada"})
        socket.say({"words": "then"})
        assert (await socket.message())["words"] == "then user:ada"
        socket.say({"type": "auth", "token": "ada"})  # a newer token of the same person
        socket.say({"type": "auth", "token": "bob"})
        assert "this socket is user:ada's" in (await socket.message())["message"]
        socket.say({"words": "still"})
        assert (await socket.message())["words"] == "still user:ada"
        assert guarded.server.hub.sockets._by_caller == {"user:ada": 1}


async def test_a_socket_whose_handler_keeps_something_is_not_handed_to_another_person(guarded: Any) -> None:
    async with guarded.socket("/api/tick/stateful") as socket:
        socket.say({"words": "x"})
        assert (await socket.message())["words"] == "user:local"
        socket.say({"type": "auth", "token": "ada"})
        assert "open another one for user:ada" in (await socket.message())["message"]
        socket.say({"words": "x"})
        assert (await socket.message())["words"] == "user:local"


async def test_a_newer_token_of_the_same_person_keeps_a_socket_open_beyond_the_first_ones_expiry(
    start_hub: Any,
) -> None:
    clock = TestClock()
    hub = await start_hub(policy=GUARD, plugins={"tick": TICK}, clock=clock, ping_s=1000)
    guard(hub).people |= {"ada": person("ada", clock.now() + 60), "ada2": person("ada", clock.now() + 600)}
    async with hub.socket("/api/tick/talk", bearer("ada")) as socket:
        socket.say({"type": "auth", "token": "ada2"})
        socket.say({"words": "x"})
        assert (await socket.message())["words"] == "x user:ada"
        await clock.advance(120)
        socket.say({"words": "y"})
        assert (await socket.message())["words"] == "y user:ada"
