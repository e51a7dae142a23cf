"""Streams: events of the bus and typed values, on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from hub.fanout import event_lines
from kernel import Event

EVENTS = 120
"""Of 100 kB each: more than the system's own buffers of a connection hold."""


async def attached(hub: Any, count: int = 1) -> None:
    """Return once `count` streams are open on the hub's side."""
    async with asyncio.timeout(5):
        while hub.server.hub.streams.open != count:
            await asyncio.sleep(0)


async def drained(hub: Any) -> None:
    await attached(hub, 0)


def test_a_line_break_in_a_topic_cannot_begin_a_line() -> None:
    assert event_lines(Event(0, "a\r\ndata: x", 0.0, None)).count(b"\n") == 3


async def test_an_event_has_its_number_topic_and_data(hub: Any) -> None:
    async with hub.stream("/api/probe/watch?topics=probe.%23", headers={"X-Request-Id": "r-9"}) as stream:
        assert stream.answered.status == 200
        assert stream.answered.headers["content-type"] == "text/event-stream"
        assert stream.answered.headers["cache-control"] == "no-store"
        assert stream.answered.headers["x-request-id"] == "r-9"
        assert stream.answered.headers["x-content-type-options"] == "nosniff"
        assert "aiohttp" not in stream.answered.headers["server"]
        await attached(hub)
        sent = (await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made", "data": {"a": "x\ny"}})).json
        got = await stream.message()
        assert got["id"] == str(sent["first"])
        assert got["event"] == "probe.made"
        assert {**got["data"], "time": "", "trace": ""} == {
            "seq": sent["first"],
            "topic": "probe.made",
            "time": "",
            "data": {"a": "x\ny"},
            "source": "probe",
            "trace": "",
        }
        assert got["data"]["time"].endswith("Z")
    await drained(hub)


async def test_an_event_is_encoded_once_and_listened_for_once_for_all_clients(hub: Any) -> None:
    bus, fanout = hub.kernel.bus, hub.server.hub.streams.fanout
    path = "/api/probe/watch?topics=probe.*,probe.%23"
    async with hub.stream(path) as one, hub.stream(path) as two, hub.stream(path) as three:
        await attached(hub, 3)
        assert fanout.feeds == 1
        await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made"})
        got = [await stream.message() for stream in (one, two, three)]
        assert got[0] == got[1] == got[2]
        event = bus.since(int(got[0]["id"]) - 1)[0][0]
        assert fanout.encoded(event) is fanout.encoded(event)
    await drained(hub)
    assert fanout.feeds == 0


async def test_two_patterns_that_fit_one_event_deliver_it_once(hub: Any) -> None:
    async with hub.stream("/api/probe/watch?topics=probe.*,probe.%23") as stream:
        await attached(hub)
        await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made", "times": 2})
        assert [(await stream.message())["data"]["data"]["n"] for _ in range(2)] == [0, 1]


async def test_only_events_with_the_wanted_values_pass_and_the_stream_ends_with_the_one_it_waits_for(hub: Any) -> None:
    async with hub.stream("/api/probe/watch?topics=probe.%23&run=b&until=probe.over") as stream:
        await attached(hub)
        for topic, run in (("probe.step", "a"), ("probe.over", "a"), ("probe.step", "b"), ("probe.over", "b")):
            await hub.ask("POST", "/api/probe/emit", {"topic": topic, "data": {"run": run}})
        got = [await stream.message() for _ in range(3)]
        assert [(m["event"], m["data"]["data"]["run"]) for m in got[:2]] == [("probe.step", "b"), ("probe.over", "b")]
        assert got[2] is None
    await drained(hub)


@pytest.mark.parametrize("how", ["header", "query", "since"])
async def test_a_client_resumes_where_it_left_and_gets_each_event_once(hub: Any, how: str) -> None:
    sent = (await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made", "times": 5})).json
    place = sent["first"] + 1
    headers = {"Last-Event-ID": str(place)} if how == "header" else {}
    query = {"header": "", "query": f"&last_event_id={place}", "since": f"&since={place}"}[how]
    async with hub.stream(f"/api/probe/watch?topics=probe.made{query}", headers=headers) as stream:
        await attached(hub)
        await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made", "data": "live"})
        got = [await stream.message() for _ in range(4)]
    assert [m["data"]["data"] for m in got] == [{"n": 2}, {"n": 3}, {"n": 4}, "live"]
    assert [int(m["id"]) for m in got][:3] == list(range(place + 1, place + 4))


async def test_whoever_asks_for_more_than_is_kept_is_told_of_the_gap_first(hub: Any) -> None:
    headers = {"Last-Event-ID": "1"}
    await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made"})
    async with hub.stream("/api/probe/watch?topics=probe.made", headers=headers) as stream:
        first, second = await stream.message(), await stream.message()
    assert (first["event"], first["data"]["type"]) == ("stream.gap", "gap")
    assert "id" not in first
    assert second["event"] == "probe.made"


async def test_a_client_resumes_over_a_restart_and_gets_every_durable_event_once_and_in_order(
    start_hub: Any, tmp_path: Path
) -> None:
    sent = []
    first = await start_hub(home=tmp_path / "home")
    for n in range(300):
        sent.append((await first.kernel.bus.publish("user.note", n)).seq)
    await first.server.stop()
    hub = await start_hub(home=tmp_path / "home", limits={"ring": 50})
    for n in range(300, 600):
        sent.append((await hub.kernel.bus.publish("user.note", n)).seq)
    headers = {"Last-Event-ID": str(sent[9])}
    async with hub.stream("/api/probe/watch?topics=user.%23", headers=headers) as stream:
        got = [await stream.message() for _ in sent[10:]]
        sent.append((await hub.kernel.bus.publish("user.note", 600)).seq)
        got.append(await stream.message())
    assert [int(m["id"]) for m in got] == sent[10:]
    assert [m["data"]["data"] for m in got] == list(range(10, 601))


async def test_only_the_wanted_events_of_the_past_are_sent_and_the_stream_may_end_among_them(start_hub: Any) -> None:
    hub = await start_hub(limits={"ring": 5})
    start = hub.kernel.bus.position
    for n in range(400):
        topic = "user.over" if n == 300 else "user.step"
        await hub.kernel.bus.publish(topic, {"run": "ab"[n % 2], "n": n})
    path = f"/api/probe/watch?topics=user.%23&run=a&until=user.over&since={start}"
    async with hub.stream(path) as stream:
        got = [await stream.message() for _ in range(151)]
        assert [m["data"]["data"]["n"] for m in got] == list(range(0, 301, 2))
        assert await stream.message() is None
    await drained(hub)


async def test_a_slow_client_that_resumes_holds_a_page_and_still_misses_nothing(start_hub: Any) -> None:
    hub = await start_hub(limits={"ring": 5})
    start = hub.kernel.bus.position
    size, count = 50_000, 200
    for n in range(count):
        await hub.kernel.bus.publish("user.big", str(n).rjust(size))
    reader, writer = await slow_connection(hub, f"/api/probe/watch?topics=user.%23&since={start}")
    await attached(hub)
    for n in range(count, count + 20):  # while the slow one is at its first page, and out of the ring again
        await hub.kernel.bus.publish("user.big", str(n).rjust(size))
    text = bytearray()
    while f' {count + 19}"'.encode() not in text[-2 * size :]:
        text += await reader.read(1_000_000)
    seen = [int(found) for found in re.findall(rb'" +(\d+)","source', text)]
    assert seen == list(range(count + 20))
    assert b"stream.gap" not in text
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_what_retention_took_is_told_as_a_gap(start_hub: Any) -> None:
    hub = await start_hub(limits={"ring": 5}, events={"kept": 10})
    start = hub.kernel.bus.position
    for n in range(30):
        await hub.kernel.bus.publish("user.note", n)
    async with hub.stream(f"/api/probe/watch?topics=user.%23&since={start}") as stream:
        assert [(await stream.message())["data"]["data"] for _ in range(30)] == list(range(30))
    assert await hub.kernel.event_log.prune() == 20
    async with hub.stream(f"/api/probe/watch?topics=user.%23&since={start}") as stream:
        assert (await stream.message())["event"] == "stream.gap"
        assert [(await stream.message())["data"]["data"] for _ in range(10)] == list(range(20, 30))


async def test_a_stream_that_cannot_read_the_past_ends_with_the_reason(start_hub: Any) -> None:
    hub = await start_hub(limits={"ring": 5})
    start = hub.kernel.bus.position
    for n in range(30):
        await hub.kernel.bus.publish("user.note", n)
    hub.kernel.store._long._closed = True
    async with hub.stream(f"/api/probe/watch?topics=user.%23&since={start}") as stream:
        last = await stream.message()
        assert (last["event"], last["data"]["code"]) == ("error", "SERVICE_UNAVAILABLE")
        assert await stream.message() is None
    hub.kernel.store._long._closed = False
    await drained(hub)


async def test_a_wrong_resume_id_is_a_400(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/watch?topics=probe.made", headers={"Last-Event-ID": "x"})
    assert answer.status == 400


async def test_a_wrong_pattern_is_a_400_and_leaves_nothing_behind(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/watch?topics=probe.made,..")
    assert answer.status == 400
    assert hub.server.hub.streams.fanout.feeds == 0


async def test_a_client_that_does_not_read_is_cut_and_told_where_to_resume(start_hub: Any) -> None:
    hub = await start_hub(stream_messages=8)
    reader, writer = await slow_connection(hub, "/api/probe/watch?topics=probe.%23")
    async with hub.stream("/api/probe/watch?topics=probe.%23") as healthy:
        await attached(hub, 2)
        numbers = []
        for _ in range(EVENTS):
            numbers.append(hub.kernel.bus.emit("probe.big", "x" * 100_000).seq)
            assert (await healthy.message())["id"] == str(numbers[-1])
        # The slow one reads at last: what it was sent, and then why nothing more came.
        text = await reader.read()
        assert b'"code":"SLOW_CONSUMER"' in text
        resume = int(text.rpartition(b'"resume":')[2].split(b"}")[0])
        assert f"id: {resume}\n".encode() in text
        assert f"id: {resume + 1}\n".encode() not in text
        assert resume < numbers[-1]
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_client_that_takes_nothing_at_all_loses_its_connection(start_hub: Any) -> None:
    hub = await start_hub(stream_messages=4, stream_stall_s=0.2)
    _, writer = await slow_connection(hub, "/api/probe/watch?topics=probe.%23")
    await attached(hub, 1)
    for _ in range(EVENTS):
        hub.kernel.bus.emit("probe.big", "x" * 100_000)
        await asyncio.sleep(0)
    await drained(hub)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def slow_connection(hub: Any, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream whose client has little room and reads only when told to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", hub.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2048)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{hub.port}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    return reader, writer


async def test_a_burst_in_one_turn_of_the_loop_is_no_overflow(start_hub: Any) -> None:
    hub = await start_hub(stream_messages=4)
    async with hub.stream("/api/probe/watch?topics=probe.%23") as stream:
        await attached(hub)
        for n in range(50):
            hub.kernel.bus.emit("probe.made", n)
        assert [(await stream.message())["data"]["data"] for _ in range(50)] == list(range(50))


async def test_an_idle_stream_is_pinged(start_hub: Any) -> None:
    hub = await start_hub(ping_s=0.05)
    async with hub.stream("/api/probe/watch?topics=probe.%23") as stream:
        await attached(hub)
        assert await stream._chunk()
        assert stream._buffer.startswith(b":")


async def test_open_streams_are_bounded(start_hub: Any) -> None:
    hub = await start_hub(streams=1)
    async with hub.stream("/api/probe/watch?topics=probe.%23"):
        await attached(hub)
        answer = await hub.ask("GET", "/api/probe/watch?topics=probe.%23")
        assert (answer.status, answer.json["code"]) == (503, "OVERLOADED")
        values = await hub.ask("POST", "/api/probe/ticks", {"count": 1})
        assert values.status == 503


# Values of a handler ------------------------------------------------------------------------------------------------


async def test_each_value_is_a_message_and_post_is_fine(hub: Any) -> None:
    async with hub.stream("/api/probe/ticks", {"count": 3}) as stream:
        assert stream.answered.headers["content-type"] == "text/event-stream"
        got = [await stream.message() for _ in range(4)]
    assert got == [{"data": {"n": 0}}, {"data": {"n": 1}}, {"data": {"n": 2}}, None]
    assert (await hub.ask("GET", "/api/probe/closed")).json == ["ticks"]


async def test_an_error_before_the_first_value_is_a_status(hub: Any) -> None:
    answer = await hub.ask("POST", "/api/probe/ticks", {"count": 3, "fail": "first"})
    assert (answer.status, answer.json["code"]) == (404, "NO_TICKS")


async def test_an_error_after_the_start_is_the_last_message(hub: Any) -> None:
    async with hub.stream("/api/probe/ticks", {"count": 1, "fail": "told"}) as stream:
        got = [await stream.message() for _ in range(3)]
    assert got[1] == {
        "event": "error",
        "data": {"type": "error", "code": "CLOCK_STOPPED", "message": "the clock stopped", "details": {"at": 1}},
    }
    assert got[2] is None


async def test_a_bug_after_the_start_tells_an_id_only(hub: Any) -> None:
    async with hub.stream("/api/probe/ticks", {"count": 1, "fail": "bug"}) as stream:
        await stream.message()
        last = (await stream.message())["data"]
    assert (last["code"], last["message"]) == ("INTERNAL", "Internal server error")
    assert len(last["error_id"]) == 32


async def test_a_client_that_leaves_ends_the_iterator_at_once(hub: Any) -> None:
    async with hub.stream("/api/probe/ticks", {"count": 1, "wait": True}) as stream:
        assert await stream.message() == {"data": {"n": 0}}
        await attached(hub)
    await drained(hub)
    assert (await hub.ask("GET", "/api/probe/closed")).json == ["ticks"]


async def test_a_client_that_leaves_before_the_first_value_ends_the_iterator_too(hub: Any) -> None:
    async with hub.stream("/api/probe/ticks", {"count": 0, "wait": True}):
        await attached(hub)
    await drained(hub)
    assert (await hub.ask("GET", "/api/probe/closed")).json == ["ticks"]


async def test_head_of_a_stream_opens_none(hub: Any) -> None:
    answer = await hub.ask("HEAD", "/api/probe/watch?topics=probe.%23")
    assert answer.status == 200
    assert hub.server.hub.streams.open == 0


async def test_an_http_1_0_client_gets_plain_lines(hub: Any) -> None:
    reader, writer = await hub.connect()
    writer.write(f"GET /api/probe/watch?topics=probe.made HTTP/1.0\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    await attached(hub)
    await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made"})
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert (await reader.readline()).startswith(b"id: ")
    writer.close()
    await writer.wait_closed()


async def test_streams_end_with_a_last_event_when_the_hub_stops(start_hub: Any) -> None:
    hub = await start_hub()
    async with (
        hub.stream("/api/probe/watch?topics=probe.%23") as events,
        hub.stream("/api/probe/ticks", {"count": 1, "wait": True}) as values,
    ):
        assert await values.message() == {"data": {"n": 0}}
        await attached(hub, 2)
        place = (await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made"})).json["first"]
        await events.message()
        await hub.server.stop()
        for stream in (events, values):
            last = await stream.message()
            assert (last["event"], last["data"]["code"]) == ("stream.end", "SHUTTING_DOWN")
            if stream is events:
                assert last["data"]["resume"] == place
