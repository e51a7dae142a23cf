"""WebSockets: the handshake, messages in and out, broken frames, who may, how many, and every way to end."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from raw_socket import HANDSHAKE, PING, PONG, TEXT, RawSocket, client_frame, read_response

from hub.fanout import FRAMED
from hub.limits import Connection
from kernel import SocketEvent
from kernel.testing import Recording, TestClock

TALK = '''
"""talk has a socket for everything a socket must do."""
import asyncio
import msgspec
from kernel import BadInput, Context, NotFound, Plugin, Socket, SocketError, SocketEvent, SocketGap

talk = Plugin("talk", version="1.0.0")
VERSION = 1
log: list[str] = []
gate = asyncio.Event()


class Say(msgspec.Struct, tag_field="type", tag="say", forbid_unknown_fields=True):
    words: str


class Do(msgspec.Struct, tag_field="type", tag="do"):
    what: str
    topics: list[str] = []
    since: int | None = None


class Said(msgspec.Struct, tag_field="type", tag="said"):
    words: str
    room: str = ""
    caller: str = ""
    version: int = VERSION


Out = Said | SocketEvent | SocketGap | SocketError


@talk.socket("/api/talk/{room}")
async def echo(ctx: Context, room: str, socket: Socket[Say, Out], loud: bool = False) -> None:
    try:
        async for message in socket:
            words = message.words.upper() if loud else message.words
            await socket.send(Said(words, room, ctx.chain.caller.id))
        log.append("left")
    finally:
        log.append("ended")


@talk.socket("/api/talk/kept/{room}", stateless=True)
async def kept(ctx: Context, room: str, socket: Socket[Say | Do, Out]) -> None:
    async for message in socket:
        if isinstance(message, Do):
            await socket.follow(message.topics, opening=lambda at: Said("following"))
        else:
            await socket.send(Said(message.words, room))


@talk.socket("/api/talk/do/it")
async def do(ctx: Context, socket: Socket[Do, Out]) -> None:
    try:
        async for message in socket:
            match message.what:
                case "return":
                    return
                case "close":
                    await socket.close(4007, "as you wish")
                case "close badly":
                    await socket.close(1006)
                case "refuse":
                    raise NotFound("no such room", code="NO_ROOM", details={"room": 1})
                case "bug":
                    raise RuntimeError("secret words")
                case "cancel":
                    raise asyncio.CancelledError
                case "exit":
                    raise SystemExit(3)
                case "unwritable":
                    await socket.send(object())
                case "wait":
                    await socket.send(Said("waiting"))
                    await gate.wait()
                case "flood":
                    while True:
                        await socket.send(Said("x" * 50_000))
                case "large":
                    await socket.send(Said("x" * 200_000))
                case "follow":
                    await socket.follow(message.topics, since=message.since, opening=lambda at: Said("following"))
                case "unfollow":
                    await socket.send(Said(",".join(await socket.unfollow(message.topics))))
                case "following":
                    await socket.send(Said(",".join(socket.following)))
    finally:
        log.append("ended")

@talk.get("/api/talk/log")
async def seen() -> list[str]:
    return log

@talk.get("/api/both")
async def plain() -> str:
    return "plain"

@talk.socket("/api/both")
async def both(socket: Socket[int, int]) -> None:
    await socket.send(await socket.receive() + 1)
    try:
        await socket.receive()
    finally:
        log.append("both ended")
'''


KEEPER = """
from kernel import Context, Plugin
keeper = Plugin("keeper", version="1.0.0", durable=["keeper.kept"])
@keeper.post("/api/keeper")
async def publish(ctx: Context, topic: str, n: int) -> None:
    await ctx.publish(topic, n)
"""


async def open_sockets(hub: Any, count: int) -> None:
    async with asyncio.timeout(5):
        while hub.server.hub.sockets.open != count:
            await asyncio.sleep(0)


async def nothing_left(hub: Any) -> None:
    """Nothing of any socket is left: no task, no feed, no timer that keeps it."""
    await open_sockets(hub, 0)
    async with asyncio.timeout(5):
        while [t.get_name() for t in asyncio.all_tasks() if "socket" in t.get_name()]:
            await asyncio.sleep(0)
    assert hub.server.hub.streams.fanout.feeds == 0
    assert hub.server.hub.sockets._by_caller == {}


@pytest.fixture
async def talking(start_hub: Any) -> Any:
    return await start_hub(plugins={"talk": TALK}, socket_close_s=0.5)


# Talking ------------------------------------------------------------------------------------------------------------


async def test_a_librarys_client_talks_and_closes(talking: Any) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://localhost:{talking.port}/api/talk/a%2Fb?loud=true") as ws:
            await ws.send_json({"type": "say", "words": "hi"})
            said = await ws.receive_json(timeout=5)
            assert said == {"type": "said", "words": "HI", "room": "a/b", "caller": "user:local", "version": 1}
            await ws.ping()
        assert ws.close_code == 1000
    await nothing_left(talking)
    assert (await talking.ask("GET", "/api/talk/log")).json == ["left", "ended"]


async def test_the_handshake_answers_as_every_response_does_and_without_compression(talking: Any) -> None:
    headers = {"X-Request-Id": "r-9", "Sec-WebSocket-Extensions": "permessage-deflate"}
    async with talking.socket("/api/talk/a", headers) as socket:
        answered = socket.answered
        assert answered.status == 101
        assert answered.headers["x-request-id"] == "r-9"
        assert answered.headers["x-hub-version"]
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert answered.headers["server"] == "aetherra"
        assert "sec-websocket-extensions" not in answered.headers
        assert "sec-websocket-protocol" not in answered.headers


async def test_what_comes_with_the_handshake_is_read(talking: Any) -> None:
    async with talking.socket("/api/both", first=client_frame(TEXT, b"41")) as socket:
        assert await socket.message() == 42
    await nothing_left(talking)


async def test_fragments_are_one_message_and_control_frames_pass_between_them(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.write(TEXT, b'{"type":"say",', fin=False)
        socket.write(PING, b"are you there")
        assert await socket.frame() == (PONG, b"are you there")
        socket.write(0, b'"words":"\xc3', fin=False)
        socket.write(0, b'\xa4"}')
        assert (await socket.message())["words"] == "ä"


async def test_a_message_larger_than_a_frames_short_lengths_goes_out_whole(talking: Any) -> None:
    async with talking.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": "large"})
        assert len((await socket.message())["words"]) == 200_000


@pytest.mark.parametrize(
    ("text", "words", "field"),
    [
        ('{"type": "say"}', "missing required field `words`", "words"),
        ('{"type": "say", "words": 1}', "Expected `str`, got `int`", "words"),
        ('{"type": "said", "words": "x"}', "expected say", "type"),
        ('{"type": "say", "words": "x", "more": 1}', "unknown field `more`", "more"),
        ("[1]", "Expected `object`", None),
        ("{", "not valid JSON", None),
        ('{"type": "say", "words": "x", "words": "y"}', "stands twice", "words"),
        ('{"type": "say", "words": NaN}', "NaN is not", None),
        ("[" * 200, "deeper than 64", None),
        ("[" * 60_000, "deeper than 64|more than", None),
        ("", "not valid JSON", None),
    ],
)
async def test_a_message_that_does_not_fit_is_told_and_the_socket_goes_on(
    talking: Any, text: str, words: str, field: str | None
) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.write(TEXT, text.encode())
        told = await socket.message()
        assert told["type"] == "error"
        assert told["code"] == "BAD_INPUT"
        assert re.search(words, told["message"])
        assert told.get("details", {}).get("field") == field
        socket.say({"type": "say", "words": "still here"})
        assert (await socket.message())["words"] == "still here"


async def test_a_refused_message_is_named_by_its_id(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.say({"type": "say", "id": "m-7"})
        assert (await socket.message())["id"] == "m-7"


async def test_a_client_that_sends_faster_than_it_is_handled_has_to_wait_and_loses_nothing(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, socket_messages=2)
    async with hub.socket("/api/talk/a") as socket:
        for n in range(200):
            socket.say({"type": "say", "words": str(n)})
        assert [(await socket.message())["words"] for n in range(200)] == [str(n) for n in range(200)]


# Broken frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [
        ([(0x1, b"{}", {"mask": False})], 1002, "masks"),
        ([(0x9, b"", {"mask": False})], 1002, "masks"),
        ([(0x2, b"\x00", {})], 1003, "binary"),
        ([(0x2, b"\x00", {"fin": False})], 1003, "binary"),
        ([(0x1, b"x" * 65_537, {})], 1009, "64 KiB"),
        ([(0x1, b"x" * 40_000, {"fin": False}), (0x0, b"x" * 40_000, {})], 1009, "64 KiB"),
        ([(0x1, b"{}", {"rsv": 0x40})], 1002, "reserved"),
        ([(0x3, b"", {})], 1002, "opcode"),
        ([(0x0, b"{}", {})], 1002, "[Cc]ontinuation"),
        ([(0x1, b"{", {"fin": False}), (0x1, b"}", {})], 1002, "non-fin"),
        ([(0x9, b"", {"fin": False})], 1002, "fragmented control"),
        ([(0x9, b"x" * 126, {})], 1002, "125 bytes"),
        ([(0x8, b"\x03", {})], 1002, "close frame"),
        ([(0x8, (1005).to_bytes(2, "big"), {})], 1002, "close code"),
    ],
)
async def test_a_broken_frame_closes_with_its_code_and_reason(
    talking: Any, frames: list[Any], code: int, reason: str
) -> None:
    async with talking.socket("/api/talk/a") as socket:
        for opcode, payload, how in frames:
            socket.write(opcode, payload, **how)
        told = await socket.message()
        assert told[0] == code
        assert re.search(reason, told[1])
        assert await socket.ended()
    await nothing_left(talking)
    assert (await talking.ask("GET", "/api/talk/log")).json == ["left", "ended"]


async def test_text_that_is_no_utf8_is_told_and_closes_as_the_standard_wants(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.write(TEXT, b'"\xff"')
        assert (await socket.message())["code"] == "BAD_INPUT"
        assert (await socket.message())[0] == 1007
    await nothing_left(talking)


async def test_a_message_as_large_as_the_bound_passes(talking: Any) -> None:
    size = 65_536 - len('{"type": "say", "words": ""}')
    async with talking.socket("/api/talk/a") as socket:
        socket.say({"type": "say", "words": "x" * size})
        assert len((await socket.message())["words"]) == size


async def test_a_client_that_tears_frames_into_single_bytes_is_understood(talking: Any) -> None:
    async with talking.socket("/api/both") as socket:
        for byte in client_frame(0x1, b"  " * 100 + b"7"):
            socket.writer.write(bytes([byte]))
            await socket.writer.drain()
            await asyncio.sleep(0)
        assert await socket.message() == 8


# The handshake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Sec-WebSocket-Key": None}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "short"}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "?" * 24}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": base64.b64encode(b"x" * 15).decode()}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Version": None}, "Sec-WebSocket-Version"),
        ({"Sec-WebSocket-Version": "12"}, "Sec-WebSocket-Version"),
        ({"Connection": "keep-alive"}, "Connection: Upgrade"),
        ({"Connection": None}, "Connection: Upgrade"),
        ({"Content-Length": "5"}, "no body"),
        ({"Sec-WebSocket-Protocol": "graphql-ws"}, "subprotocols"),
    ],
)
async def test_half_a_handshake_is_a_400_that_says_what_is_missing(
    talking: Any, headers: dict[str, str | None], words: str
) -> None:
    async with talking.socket("/api/talk/a", headers, first=b"xxxxx" if "Content-Length" in headers else b"") as socket:
        assert socket.answered.status == 400
        assert socket.answered.json["code"] == "BAD_HANDSHAKE"
        assert words in socket.answered.json["error"]
        assert await socket.ended()
    assert talking.server.hub.sockets.open == 0


async def test_a_handshake_over_http_1_0_is_a_400(talking: Any) -> None:
    reader, writer = await talking.connect()
    head = f"GET /api/talk/a HTTP/1.0\r\nHost: localhost:{talking.port}\r\n"
    writer.write((head + "".join(f"{k}: {v}\r\n" for k, v in HANDSHAKE.items()) + "\r\n").encode())
    assert (await read_response(reader)).status == 400
    writer.close()
    await writer.wait_closed()


async def test_a_path_that_is_a_socket_says_so_to_any_other_request(talking: Any) -> None:
    answer = await talking.ask("GET", "/api/talk/a")
    assert (answer.status, answer.json["code"]) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["upgrade"] == "websocket"
    assert (await talking.ask("HEAD", "/api/talk/a")).status == 426
    refused = await talking.ask("POST", "/api/talk/a", {})
    assert (refused.status, refused.headers["allow"]) == (405, "GET, OPTIONS")


async def test_a_path_may_have_a_get_beside_its_socket(talking: Any) -> None:
    assert (await talking.ask("GET", "/api/both")).json == "plain"
    async with talking.socket("/api/both") as socket:
        socket.say(1)
        assert await socket.message() == 2


async def test_an_upgrade_of_another_protocol_is_passed_over(talking: Any) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    assert (await talking.ask("GET", "/api/both", headers=headers)).json == "plain"


@pytest.mark.parametrize(("path", "status"), [("/api/probe/plain", 400), ("/health", 400), ("/api/nowhere", 404)])
async def test_an_upgrade_where_no_socket_is_is_refused_in_shape(talking: Any, path: str, status: int) -> None:
    async with talking.socket(path) as socket:
        assert socket.answered.status == status
        assert {"error", "code"} <= socket.answered.json.keys()
        assert await socket.ended()


async def test_a_wrong_query_is_refused_before_the_handshake(talking: Any) -> None:
    for query in ("loud=7", "lod=true", "loud=true&loud=false"):
        async with talking.socket(f"/api/talk/a?{query}") as socket:
            assert (socket.answered.status, socket.answered.json["code"]) == (400, "BAD_INPUT")


# Who may ------------------------------------------------------------------------------------------------------------

DENYING = """
from kernel import Chain, Decision, Plugin
deny = Plugin("allow_all", version="1.0.0")
@deny.decider
def decide(chain: Chain, capability: str) -> Decision:
    return Decision(capability != "plugin:call:talk.echo", "not you", effect="irreversible")
"""


async def test_who_may_not_is_refused_before_the_handshake(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, policy=DENYING)
    async with hub.socket("/api/talk/a") as socket:
        assert (socket.answered.status, socket.answered.json["code"]) == (403, "CAPABILITY_DENIED")
    assert hub.server.hub.sockets.open == 0


@pytest.mark.parametrize("token", [{"headers": {"Authorization": "Bearer x"}}])
async def test_an_authorization_header_is_a_401(talking: Any, token: Any) -> None:
    async with talking.socket("/api/talk/a", token["headers"]) as socket:
        assert socket.answered.status == 401


@pytest.mark.parametrize("name", ["token", "access_token"])
async def test_a_token_in_the_url_is_refused(talking: Any, name: str) -> None:
    async with talking.socket(f"/api/talk/a?{name}=x") as socket:
        assert (socket.answered.status, socket.answered.json["code"]) == (400, "TOKEN_IN_URL")


@pytest.mark.parametrize(
    ("path", "headers", "chosen"),
    [
        ("/api/talk/a?ticket=abc", {}, None),
        ("/api/talk/a", {"Sec-WebSocket-Protocol": "bearer.a.b.c"}, "bearer.a.b.c"),
        ("/api/talk/a", {"Sec-WebSocket-Protocol": "bearer.a.b.c, aetherra"}, "aetherra"),
    ],
)
@pytest.mark.parametrize("console", [False, True])
async def test_a_credential_that_cannot_be_verified_closes_with_4401(
    talking: Any, path: str, headers: dict[str, str], chosen: str | None, console: bool
) -> None:
    async with talking.socket(path, headers, console=console) as socket:
        assert socket.answered.status == 101
        assert socket.answered.headers.get("sec-websocket-protocol") == chosen
        assert (await socket.message())["code"] == "UNAUTHENTICATED"
        code, reason = await socket.message()
        assert code == 4401
        assert "cannot verify credentials" in reason
    await nothing_left(talking)


async def test_an_auth_message_closes_with_4401_even_on_an_open_socket(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.say({"type": "say", "words": "auth"})
        assert (await socket.message())["words"] == "auth"
        socket.say({"type": "auth"})
        assert (await socket.message())["details"] == {"field": "token"}
        socket.say({"type": "auth", "token": "a.b.c"})
        assert (await socket.message())["code"] == "UNAUTHENTICATED"
        assert (await socket.message())[0] == 4401
    await nothing_left(talking)


async def test_two_credentials_are_a_400(talking: Any) -> None:
    async with talking.socket("/api/talk/a?ticket=x", {"Sec-WebSocket-Protocol": "bearer.y"}) as socket:
        assert socket.answered.status == 400


async def test_the_console_is_the_hubs_own(talking: Any) -> None:
    async with talking.socket("/api/talk/a", console=True) as socket:
        socket.say({"type": "say", "words": "x"})
        assert (await socket.message())["caller"] == "core:console"


async def from_elsewhere(hub: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection that the hub takes for one of another machine."""
    before = set(hub.server._runner.server.connections)
    reader, writer = await hub.connect()
    async with asyncio.timeout(5):
        while not (new := set(hub.server._runner.server.connections) - before):
            await asyncio.sleep(0)
    (connection,) = new
    assert isinstance(connection, Connection)
    connection.loopback = False
    return reader, writer


@pytest.mark.parametrize("says", ["nothing", "auth", "something else"])
async def test_a_socket_from_elsewhere_has_five_seconds_to_say_who_it_is(start_hub: Any, says: str) -> None:
    clock = TestClock()
    hub = await start_hub(plugins={"talk": TALK}, clock=clock, ping_s=1000)
    reader, writer = await from_elsewhere(hub)
    lines = {"Host": f"localhost:{hub.port}", **HANDSHAKE}
    writer.write(
        ("GET /api/talk/a HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()
    )
    socket = RawSocket(await read_response(reader), reader, writer)
    assert socket.answered.status == 101
    if says == "nothing":
        await clock.advance(4.9)
        assert hub.server.hub.sockets.open == 1
        await clock.advance(0.2)
        words = "within 5 s"
    else:
        socket.say({"type": "auth", "token": "x"} if says == "auth" else {"type": "say", "words": "x"})
        words = "cannot verify" if says == "auth" else "say who you are first"
    assert words in (await socket.message())["message"]
    assert (await socket.message())[0] == 4401
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    await nothing_left(hub)
    assert (await hub.ask("GET", "/api/talk/log")).json == []


async def test_the_next_socket_of_a_user_above_the_bound_is_refused_and_others_are_not(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, sockets_per_user=3)
    async with hub.socket("/api/talk/a"), hub.socket("/api/talk/a"):
        async with hub.socket("/api/talk/a"):
            async with hub.socket("/api/talk/a") as refused:
                assert (refused.answered.status, refused.answered.json["code"]) == (429, "TOO_MANY_SOCKETS")
                assert "sockets_per_user" in refused.answered.json["error"]
            async with hub.socket("/api/talk/a", console=True) as another:
                assert another.answered.status == 101
        await open_sockets(hub, 2)
        async with hub.socket("/api/talk/a") as free:
            assert free.answered.status == 101
    await nothing_left(hub)


async def test_above_the_bound_of_all_sockets_the_answer_is_503(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, sockets=1)
    async with hub.socket("/api/talk/a"), hub.socket("/api/talk/a", console=True) as refused:
        assert refused.answered.status == 503


async def test_the_bounds_are_those_of_the_threat_model(start_hub: Any) -> None:
    settings = (await start_hub()).server.hub.settings
    assert (settings.sockets_per_user, settings.socket_kb, settings.socket_auth_s) == (100, 64, 5)


# Ending -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "messages"),
    [
        ("return", [(1000, "")]),
        ("close", [(4007, "as you wish")]),
        ("refuse", [{"type": "error", "code": "NO_ROOM", "message": "no such room", "details": {"room": 1}}, 4404]),
    ],
)
async def test_a_handler_ends_the_socket(talking: Any, what: str, messages: list[Any]) -> None:
    async with talking.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": what})
        got = [await socket.message() for _ in messages]
        assert got[:-1] == messages[:-1]
        assert messages[-1] in (got[-1], got[-1][0])
        socket.write(0x8, (1000).to_bytes(2, "big"))
        assert await socket.ended()
    await nothing_left(talking)


@pytest.mark.parametrize("what", ["bug", "cancel", "exit", "unwritable", "close badly"])
async def test_a_bug_of_a_handler_is_told_by_an_id_logged_and_closes_with_1011(
    talking: Any, what: str, caplog: Any
) -> None:
    async with talking.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": what})
        told = await socket.message()
        assert told["type"] == "error"
        assert "secret" not in json.dumps(told)
        assert told["error_id"] in caplog.text
        assert (await socket.message())[0] == 1011
    await nothing_left(talking)
    assert (await talking.ask("GET", "/api/talk/log")).json == ["ended"]


async def test_a_handler_that_waits_for_something_else_is_cut_when_its_client_leaves(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, socket_close_s=0.1)
    async with hub.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": "wait"})
        await socket.message()
    await nothing_left(hub)
    assert (await hub.ask("GET", "/api/talk/log")).json == ["ended"]


async def test_a_close_of_the_client_is_answered_with_its_code(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket:
        socket.write(0x8, (4321).to_bytes(2, "big") + b"bye")
        assert (await socket.message())[0] == 4321
        assert await socket.ended()
    await nothing_left(talking)


async def test_a_client_that_does_not_answer_a_close_is_cut(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, socket_close_s=0.1)
    async with hub.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": "return"})
        assert await socket.message() == (1000, "")
        assert await socket.ended()
    await nothing_left(hub)


async def test_a_client_that_takes_nothing_at_all_loses_its_connection(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, stream_stall_s=0.2)
    async with hub.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": "flood"})
        await nothing_left_soon(hub)
    assert (await hub.ask("GET", "/api/talk/log")).json == ["ended"]


async def nothing_left_soon(hub: Any) -> None:
    await open_sockets(hub, 1)
    await nothing_left(hub)


async def test_a_client_that_answers_no_ping_is_dropped_and_one_that_does_is_not(start_hub: Any) -> None:
    clock = TestClock()
    hub = await start_hub(plugins={"talk": TALK}, clock=clock)
    async with hub.socket("/api/talk/a") as alive, hub.socket("/api/talk/a") as dead:
        await clock.advance(15)
        assert await alive.frame() == (PING, b"")
        assert await dead.frame() == (PING, b"")
        alive.write(PONG)
        await alive.writer.drain()
        async with asyncio.timeout(5):
            while not sum(s._guard.heard for s in hub.server.hub.sockets._open):
                await asyncio.sleep(0)
        await clock.advance(15)
        assert await dead.ended()
        assert await alive.frame() == (PING, b"")
        await open_sockets(hub, 1)


async def test_a_stopping_hub_closes_its_sockets_with_1001_and_ends(talking: Any) -> None:
    async with talking.socket("/api/talk/a") as socket, talking.socket("/api/talk/do/it") as waiting:
        waiting.say({"type": "do", "what": "wait"})
        await waiting.message()
        stopping = asyncio.create_task(talking.server.stop())
        assert (await socket.message())["code"] == "SHUTTING_DOWN"
        assert (await socket.message())[0] == 1001
        assert [(await waiting.message()) for _ in range(2)][1][0] == 1001
        async with asyncio.timeout(10):
            await stopping
    assert talking.server.hub.in_flight == 0
    assert talking.server.hub.sockets.open == 0


# Following events ---------------------------------------------------------------------------------------------------


async def followed(socket: Any, *topics: str, since: int | None = None) -> None:
    """Follow topics, and return once they are."""
    socket.say({"type": "do", "what": "follow", "topics": list(topics), "since": since})
    assert (await socket.message())["words"] == "following"


async def test_an_event_is_a_message_as_it_is_documented_and_encoded_once_for_all(talking: Any) -> None:
    bus, fanout = talking.kernel.bus, talking.server.hub.streams.fanout
    async with talking.socket("/api/talk/do/it") as one, talking.socket("/api/talk/do/it") as two:
        await followed(one, "probe.*")
        await followed(two, "probe.*")
        assert fanout.feeds == 1
        event = bus.emit("probe.made", {"a": "x\ny"}, source="probe", trace="t")
        got = await one.message()
        assert got == await two.message()
        assert msgspec.convert(got, SocketEvent) == SocketEvent(
            event.seq, "probe.made", got["time"], {"a": "x\ny"}, "probe", "t"
        )
        assert fanout.encoded(event).block(FRAMED) is fanout.encoded(event).block(FRAMED)
    await nothing_left(talking)


async def test_an_event_that_fits_several_topics_comes_once_and_no_other_is_lost(talking: Any) -> None:
    bus = talking.kernel.bus
    async with talking.socket("/api/talk/do/it") as socket:
        await followed(socket, "probe.*", "probe.#")
        await followed(socket, "#")
        await followed(socket, "other.made")
        sent = []
        for n in range(40):
            sent.append(bus.emit("probe.made", n).seq)
            sent.append(bus.emit("other.made", n).seq)
        assert [(await socket.message())["seq"] for _ in sent] == sent


async def test_a_topic_that_is_left_is_silent_and_the_others_go_on(talking: Any) -> None:
    bus = talking.kernel.bus
    async with talking.socket("/api/talk/do/it") as socket:
        await followed(socket, "probe.*", "other.*")
        socket.say({"type": "do", "what": "unfollow", "topics": ["probe.*", "never.*"]})
        assert (await socket.message())["words"] == "probe.*"
        bus.emit("probe.made")
        bus.emit("other.made")
        assert (await socket.message())["topic"] == "other.made"
        socket.say({"type": "do", "what": "following"})
        assert (await socket.message())["words"] == "other.*"


async def test_whoever_resumes_gets_each_missed_event_once_then_live_ones(talking: Any) -> None:
    bus = talking.kernel.bus
    async with talking.socket("/api/talk/do/it") as socket:
        await followed(socket, "probe.a.*")
        numbers = [bus.emit(f"probe.{'ab'[n % 2]}.made", n).seq for n in range(10)]
        assert [(await socket.message())["seq"] for _ in range(5)] == numbers[::2]
        # The wider topic has those of the narrower, too: they went out already, since it is followed.
        await followed(socket, "probe.#", since=numbers[0])
        assert [(await socket.message())["seq"] for _ in range(5)] == numbers[1::2]
        live = bus.emit("probe.a.made").seq
        assert (await socket.message())["seq"] == live


async def test_a_large_backlog_comes_whole_and_in_order_before_what_happens_meanwhile(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK})
    bus = hub.kernel.bus
    start = bus.position
    for n in range(3_000):
        bus.emit("probe.made", [n, "x" * 1_000])
    async with hub.socket("/api/talk/do/it") as socket:
        socket.say({"type": "do", "what": "follow", "topics": ["probe.#"], "since": start})
        assert (await socket.message())["words"] == "following"
        for n in range(3_000, 3_100):
            bus.emit("probe.made", [n, ""])
        assert [(await socket.message())["data"][0] for _ in range(3_100)] == list(range(3_100))


async def test_what_the_ring_no_longer_holds_of_a_durable_topic_comes_from_the_store(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK, "keeper": KEEPER}, limits={"ring": 20})
    start = hub.kernel.bus.position
    for n in range(150):
        await hub.ask("POST", "/api/keeper", {"topic": "keeper.kept", "n": n})
        await hub.ask("POST", "/api/keeper", {"topic": "keeper.passed", "n": n})
    async with hub.socket("/api/talk/do/it") as socket:
        await followed(socket, "keeper.kept", since=start)
        await hub.ask("POST", "/api/keeper", {"topic": "keeper.kept", "n": 150})
        assert [(await socket.message())["data"] for _ in range(151)] == list(range(151))
    async with hub.socket("/api/talk/do/it") as socket:
        await followed(socket, "keeper.#", since=start)
        assert (await socket.message())["type"] == "gap"


async def test_live_events_of_one_topic_go_on_while_another_is_resumed_and_each_comes_once(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK})
    bus = hub.kernel.bus
    start = bus.position
    missed = [bus.emit("probe.made", "x" * 10_000).seq for _ in range(500)]
    async with hub.socket("/api/talk/do/it", buffer=4_096) as socket:
        await followed(socket, "other.*")
        socket.say({"type": "do", "what": "follow", "topics": ["probe.#", "#"], "since": start})
        live = []
        seen: list[int] = []
        while len(seen) < 600:
            if len(live) < 100:
                live.append(bus.emit("other.made" if len(live) % 2 else "probe.made", None).seq)
            message = await socket.message()
            if message["type"] == "event" and message["topic"] in ("probe.made", "other.made"):
                seen.append(message["seq"])
        assert sorted(seen) == missed + live
        assert [seq for seq in seen if seq in missed] == missed


async def test_a_gap_is_told_before_what_is_left(talking: Any) -> None:
    event = talking.kernel.bus.emit("probe.made")
    async with talking.socket("/api/talk/do/it") as socket:
        await followed(socket, "probe.*", since=1)
        gap = await socket.message()
        assert (gap["type"], gap["since"], gap["topics"]) == ("gap", 1, ["probe.*"])
        assert (await socket.message())["seq"] == event.seq


async def test_what_cannot_be_followed_is_refused_and_leaves_nothing_behind(talking: Any) -> None:
    for topics, since, code in ((["ok.*", ".."], None, 4400), (["a.*"], 5, 4409)):
        async with talking.socket("/api/talk/do/it") as socket:
            await followed(socket, "a.*")
            socket.say({"type": "do", "what": "follow", "topics": topics, "since": since})
            assert (await socket.message())["type"] == "error"
            assert (await socket.message())[0] == code
        await nothing_left(talking)


async def test_a_slow_reader_is_cut_with_a_reason_and_a_healthy_one_loses_nothing(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, stream_messages=8)
    bus = hub.kernel.bus
    async with hub.socket("/api/talk/do/it", buffer=4_096) as slow, hub.socket("/api/talk/do/it") as healthy:
        await followed(slow, "probe.#")
        await followed(healthy, "probe.#")
        numbers = []
        for _ in range(120):
            numbers.append(bus.emit("probe.big", "x" * 100_000).seq)
            assert (await healthy.message())["seq"] == numbers[-1]
        # The slow one reads at last: what it was sent, and then why nothing more came.
        got = []
        while isinstance(message := await slow.message(), dict):
            got.append(message)
        assert message[0] == 1013
        assert "more slowly" in message[1]
        assert got[-1]["code"] == "SLOW_CONSUMER"
        assert [event["seq"] for event in got[:-1]] == numbers[: len(got) - 1]
        assert got[-1]["resume"] == got[-2]["seq"] < numbers[-1]
    await nothing_left(hub)


async def test_a_slow_reader_that_does_not_even_read_why_is_gone_soon(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK}, stream_messages=8, stream_cut_s=0.2)
    async with hub.socket("/api/talk/do/it", buffer=4_096) as slow:
        await followed(slow, "probe.#")
        for _ in range(120):
            hub.kernel.bus.emit("probe.big", "x" * 100_000)
            await asyncio.sleep(0)
        await nothing_left(hub)


async def test_a_reader_that_pauses_and_goes_on_loses_nothing(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": TALK})
    async with hub.socket("/api/talk/do/it", buffer=4_096) as socket:
        await followed(socket, "probe.#")
        numbers = []
        for _ in range(30):
            for _ in range(4):
                numbers.append(hub.kernel.bus.emit("probe.big", "x" * 50_000).seq)
                await asyncio.sleep(0)
            assert [(await socket.message())["seq"] for _ in range(4)] == numbers[-4:]


async def test_a_stopping_hub_says_where_to_resume(talking: Any) -> None:
    async with talking.socket("/api/talk/do/it") as socket:
        await followed(socket, "probe.#")
        event = talking.kernel.bus.emit("probe.made")
        assert (await socket.message())["seq"] == event.seq
        stopping = asyncio.create_task(talking.server.stop())
        told = await socket.message()
        assert (told["code"], told["resume"]) == ("SHUTTING_DOWN", event.seq)
        assert (await socket.message())[0] == 1001
    await stopping


# Reload -------------------------------------------------------------------------------------------------------------


async def reload_talk(hub: Any, version: int) -> None:
    plugin = Path(hub.kernel.config.paths.plugins) / "talk.py"
    with Recording(hub.kernel.bus, "module.*") as seen:
        plugin.write_text(TALK.replace("VERSION = 1", f"VERSION = {version}"))
        await seen.wait_for("module.reloaded")


async def test_a_reload_lets_a_socket_finish_for_a_while_and_then_closes_it_with_1012(start_hub: Any) -> None:
    clock = TestClock()
    hub = await start_hub(plugins={"talk": TALK}, clock=clock, ping_s=1000)
    with Recording(hub.kernel.bus, "module.*") as seen:
        async with hub.socket("/api/talk/a") as socket:
            await reload_talk(hub, 2)
            socket.say({"type": "say", "words": "x"})
            assert (await socket.message())["version"] == 1
            await clock.advance(10.1)
            assert (await socket.message())["code"] == "GENERATION_ENDED"
            assert (await socket.message())[0] == 1012
            socket.write(0x8, (1012).to_bytes(2, "big"))
            assert await socket.ended()
        await nothing_left(hub)
        async with hub.socket("/api/talk/a") as again:
            again.say({"type": "say", "words": "x"})
            assert (await again.message())["version"] == 2
        await proved(hub)
        assert seen.of("module.leaked") == []


async def proved(hub: Any) -> None:
    """Return when no generation is being retired any more."""
    async with asyncio.timeout(10):
        await hub.kernel.modules.settled()


async def test_a_socket_of_a_stateless_handler_goes_on_with_the_next_generation(talking: Any) -> None:
    with Recording(talking.kernel.bus, "module.*") as seen:
        async with talking.socket("/api/talk/kept/a") as socket:
            socket.say({"type": "do", "what": "follow", "topics": ["probe.*"]})
            assert (await socket.message())["words"] == "following"
            for version in (2, 3, 4):
                await reload_talk(talking, version)
                await proved(talking)
                socket.say({"type": "say", "words": "x"})
                assert (await socket.message())["version"] == version
                talking.kernel.bus.emit("probe.made", version)
                assert (await socket.message())["data"] == version
            assert seen.of("module.leaked") == []
    await nothing_left(talking)


async def test_a_plugin_that_leaves_takes_its_sockets_along(start_hub: Any) -> None:
    clock = TestClock()
    hub = await start_hub(plugins={"talk": TALK}, clock=clock, ping_s=1000)
    async with hub.socket("/api/talk/kept/a") as socket:
        with Recording(hub.kernel.bus, "module.*") as seen:
            (Path(hub.kernel.config.paths.plugins) / "talk.py").unlink()
            async with asyncio.timeout(10):
                while not seen.of("module.unloaded"):
                    await clock.advance(0.1)
        await clock.advance(10.1)
        assert (await socket.message())["code"] == "GENERATION_ENDED"
        assert (await socket.message())[0] == 1012
    await nothing_left(hub)
