"""Whom the hub answers: threat model, section 6, proved on raw sockets."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hub.cli import address_of
from hub.edge import Edge
from hub.settings import HubSettings
from kernel import ConfigError

OURS, LISTED, FOREIGN = "ours", "https://ui.example.org", "https://evil.example"

HOSTS = {"own": None, "address": "127.0.0.1:{port}", "other": "evil.example:{port}", "portless": "localhost"}
ORIGINS = {"none": None, "own": OURS, "listed": LISTED, "foreign": FOREIGN, "null": "null"}
SITES = {"none": None, "same-origin": "same-origin", "same-site": "same-site", "cross-site": "cross-site"}
TYPES = {"none": None, "json": "application/json; charset=utf-8", "text": "text/plain"}
METHODS = ("GET", "POST", "PUT", "DELETE")
PATHS = {
    "GET": "/api/probe/plain",
    "POST": "/api/probe/free",
    "PUT": "/api/probe/items/a",
    "DELETE": "/api/probe/items/a",
}


def expected(method: str, host: str, origin: str, site: str, media: str) -> int:
    """What section 6 says, in its order."""
    if host in ("other", "portless"):
        return 421
    if origin in ("foreign", "null"):
        return 403
    unsafe = method != "GET"
    if unsafe and site in ("same-site", "cross-site") and origin not in ("own", "listed"):
        return 403
    if unsafe and media == "text":
        return 415
    return {"GET": 200, "POST": 200, "PUT": 400 if media == "none" else 200, "DELETE": 204}[method]


@pytest.mark.parametrize("method", METHODS)
async def test_host_origin_site_and_content_type_in_every_combination(start_hub: Any, method: str) -> None:
    hub = await start_hub(allowed_origins=[LISTED])
    for host, origin, site, media in itertools.product(HOSTS, ORIGINS, SITES, TYPES):
        case = (method, host, origin, site, media)
        given = {"Origin": ORIGINS[origin], "Sec-Fetch-Site": SITES[site], "Content-Type": TYPES[media]}
        sent = {name: value for name, value in given.items() if value is not None}
        sent["Host"] = (HOSTS[host] or "localhost:{port}").format(port=hub.port)
        if origin == "own":
            sent["Origin"] = f"http://localhost:{hub.port}"
        body = {"none": None, "text": b"{}", "json": b'{"size":1}' if method == "PUT" else b"{}"}[media]
        answer = await hub.ask(method, PATHS[method], raw=body, headers=sent)
        assert answer.status == expected(*case), (case, answer.body)
        allowed = answer.headers.get("access-control-allow-origin")
        if host in ("own", "address") and origin in ("own", "listed"):
            assert (allowed, answer.headers["vary"]) == (sent["Origin"], "Origin"), case
        else:
            assert allowed is None, case
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_missing_or_doubled_host_is_a_400(hub: Any) -> None:
    assert (await hub.ask("GET", "/health", headers={"Host": None})).status == 400
    reader, writer = await hub.connect()
    host = f"Host: localhost:{hub.port}\r\n".encode()
    writer.write(b"GET /health HTTP/1.1\r\n" + host + host + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    assert b'"code":"BAD_REQUEST"' in await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("host", ["local host", "localhost:x", "a@localhost", "localhost/x", ""])
async def test_a_malformed_host_is_a_400(hub: Any, host: str) -> None:
    assert (await hub.ask("GET", "/health", headers={"Host": host})).status == 400


async def test_configured_hosts_are_answered(start_hub: Any) -> None:
    hub = await start_hub(allowed_hosts=["hub.example.org", "other.example:8443"])
    for host in ("hub.example.org", f"HUB.example.org:{hub.port}", "other.example:8443"):
        assert (await hub.ask("GET", "/health", headers={"Host": host})).status == 200
    for host in ("hub.example.org:1", "other.example", "x.hub.example.org"):
        assert (await hub.ask("GET", "/health", headers={"Host": host})).status == 421


async def test_the_ports_of_the_documents_serve_the_same_routes_under_their_own_names(
    start_hub: Any, unused_tcp_port_factory: Any
) -> None:
    ports = [unused_tcp_port_factory(), unused_tcp_port_factory()]
    hub = await start_hub(compat_ports=ports)
    for port in ports:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/probe/plain HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    assert (await hub.ask("GET", "/api/probe/plain", headers={"Host": f"localhost:{ports[0]}"})).status == 200
    await hub.server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", ports[0])


async def test_a_port_that_is_taken_is_named_with_the_setting_it_came_from(start_hub: Any) -> None:
    taken = await start_hub()
    with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{taken.port}: .*\[hub\] compat_ports"):
        await start_hub(compat_ports=[taken.port])
    assert (await taken.ask("GET", "/health")).status == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 3001, "compat_ports": [8000, 3001]}, r"compat_ports names 3001, which is \[hub\] port"),
        ({"port": 0, "compat_ports": [8000, 8000]}, "compat_ports names 8000, twice"),
    ],
)
async def test_a_port_named_twice_is_told_before_anything_listens(
    start_hub: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        await start_hub(**settings)


async def test_every_port_has_names_of_its_own_and_no_others(start_hub: Any) -> None:
    hub = await start_hub(compat_ports=[0, 0], allowed_hosts=["hub.example.org"])
    ports = [hub.port, *hub.server.compat_ports]
    assert len(set(ports)) == 3
    for port in ports:
        for name in ("localhost", "127.0.0.1", "[::1]", "hub.example.org"):
            assert (await hub.ask("GET", "/health", headers={"Host": f"{name}:{port}"})).status == 200
        own = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
        assert (await hub.ask("POST", "/api/probe/free", {}, own)).status == 200
    free = next(port for port in range(8000, 8010) if port not in ports)
    assert (await hub.ask("GET", "/health", headers={"Host": f"localhost:{free}"})).status == 421
    foreign = {"Origin": f"http://localhost:{free}"}
    assert (await hub.ask("POST", "/api/probe/free", {}, foreign)).status == 403


def ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not ipv6(), reason="needs an IPv6 loopback")
async def test_localhost_is_answered_over_ipv6_too_and_its_caller_is_local(
    start_hub: Any, unused_tcp_port_factory: Any
) -> None:
    hub = await start_hub(compat_ports=[unused_tcp_port_factory()])
    for port in (hub.port, *hub.server.compat_ports):
        for host in ("localhost", "[::1]"):
            reader, writer = await asyncio.open_connection("::1", port)
            head = f"GET /api/probe/whoami HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert b'"caller":"user:local"' in answer
            writer.close()
            await writer.wait_closed()
    await hub.server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("::1", hub.port)


@pytest.mark.skipif(not ipv6(), reason="needs an IPv6 loopback")
async def test_a_port_that_another_has_on_ipv6_is_told_of_and_hinders_nobody(
    start_hub: Any, unused_tcp_port_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port = unused_tcp_port_factory()
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        hub = await start_hub(port=port)
        assert (await hub.ask("GET", "/health")).status == 200
    assert f"[::1]:{port} is another program's" in caplog.text


@pytest.mark.skipif(not ipv6(), reason="needs an IPv6 loopback")
async def test_an_ipv6_address_is_written_in_brackets(start_hub: Any) -> None:
    hub = await start_hub(host="::1")
    assert address_of(hub.server) == f"http://[::1]:{hub.port}"
    assert f"[::1]:{hub.port}" in hub.server.hub.edge.hosts
    assert f"::1:{hub.port}" not in hub.server.hub.edge.hosts


async def test_public_pages_may_be_read_by_any_origin_and_nothing_else(hub: Any) -> None:
    for path in ("/health", "/health/", "/health/live", "/health/ready", "/api/health"):
        answer = await hub.ask("GET", path, headers={"Origin": FOREIGN})
        assert answer.headers["access-control-allow-origin"] == "*", path
    assert (await hub.ask("GET", "/metrics", headers={"Origin": FOREIGN})).status == 403
    assert (await hub.ask("GET", "/nowhere", headers={"Origin": FOREIGN})).status == 403


async def test_a_refusal_of_the_edge_has_the_shape_of_the_paths_dialect(hub: Any) -> None:
    answer = await hub.ask("POST", "/aurora/things", {"name": "x"}, {"Origin": FOREIGN})
    assert (answer.status, list(answer.json)) == (403, ["detail"])


async def test_a_preflight_is_answered_for_listed_origins_only(start_hub: Any) -> None:
    hub = await start_hub(allowed_origins=["http://localhost:*"])
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, x-request-id"}
    yes = await hub.ask("OPTIONS", "/api/probe/free", headers={"Origin": "http://localhost:5173", **asked})
    assert yes.status == 204
    assert yes.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert yes.headers["access-control-allow-methods"] == "OPTIONS, POST"
    assert yes.headers["access-control-allow-headers"] == "content-type, x-request-id"
    for origin in ("http://localhost:x", "http://localhost.evil.example:1", FOREIGN):
        no = await hub.ask("OPTIONS", "/api/probe/free", headers={"Origin": origin, **asked})
        assert no.status == 403
        assert "access-control-allow-origin" not in no.headers


async def test_a_star_lists_every_origin_but_null(start_hub: Any) -> None:
    hub = await start_hub(allowed_origins=["*"])
    assert (await hub.ask("GET", "/api/probe/plain", headers={"Origin": FOREIGN})).status == 200
    assert (await hub.ask("GET", "/api/probe/plain", headers={"Origin": "null"})).status == 403


async def test_a_compressed_body_is_refused(hub: Any) -> None:
    answer = await hub.ask("POST", "/api/probe/free", raw=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status == 415


# Who is asking ------------------------------------------------------------------------------------------------------


async def test_over_tcp_the_caller_is_the_local_user_and_over_the_socket_the_console(hub: Any) -> None:
    local = (await hub.ask("GET", "/api/probe/whoami", headers={"X-Request-Id": "r-1"})).json
    assert local == {"caller": "user:local", "roles": ["role:user"], "trace": "r-1"}
    console = (await hub.ask("GET", "/api/probe/whoami", headers={"Host": "anything"}, socket=True)).json
    assert (console["caller"], console["roles"]) == ("core:console", ["role:admin"])


async def test_another_user_at_the_console_socket_is_not_the_console(start_hub: Any) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    home = Path(tempfile.mkdtemp(prefix="aether-", dir="/tmp"))
    hub = await start_hub(home=home)
    for path, mode in ((home, 0o755), (home / "hub.sock", 0o666)):  # as a careless operator might open them
        path.chmod(mode)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65_534)
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(str(home / "hub.sock"))
                other.sendall(b"GET /api/probe/whoami HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % hub.port)
                os.write(write, other.recv(4_096))
        finally:
            os._exit(0)
    os.close(write)
    answer = await asyncio.to_thread(os.read, read, 4_096)
    os.close(read)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"core:console" not in answer
    await hub.server.stop()
    shutil.rmtree(home)


async def test_a_credential_that_cannot_be_verified_is_refused_before_the_body_is_read(hub: Any) -> None:
    reader, writer = await hub.connect()
    writer.write(
        b"POST /api/probe/free HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: Bearer x\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n" % hub.port
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"WWW-Authenticate: Bearer" in head
    writer.close()
    await writer.wait_closed()
    assert (await hub.ask("GET", "/health", headers={"Authorization": "Bearer x"})).status == 200


async def test_a_body_is_asked_for_when_the_edge_has_let_the_request_in(hub: Any) -> None:
    reader, writer = await hub.connect()
    writer.write(
        b"POST /api/probe/free HTTP/1.1\r\nHost: localhost:%d\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n" % hub.port
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b'{"note":"a"}')
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_without_a_policy_nothing_is_allowed(start_hub: Any) -> None:
    hub = await start_hub(policy="from kernel import Plugin\nallow_all = Plugin('allow_all', version='1.0.0')\n")
    answer = await hub.ask("GET", "/api/probe/plain")
    assert (answer.status, answer.json["code"]) == (403, "CAPABILITY_DENIED")
    assert (await hub.ask("GET", "/metrics")).status == 403
    assert (await hub.ask("GET", "/health")).status == 200


# Bounds of a connection ---------------------------------------------------------------------------------------------


async def test_a_head_that_drips_is_cut_within_its_deadline(start_hub: Any) -> None:
    hub = await start_hub(headers_s=0.3)
    reader, writer = await hub.connect()
    began = time.monotonic()
    writer.write(b"GET /health HTTP/1.1\r\n")

    async def drip() -> None:
        for n in itertools.count():
            writer.write(b"X-%d: y\r\n" % n)
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    text = await reader.read()
    dripping.cancel()
    await asyncio.wait([dripping])
    assert text.startswith(b"HTTP/1.1 408 ")
    assert b"X-Request-Id: " in text
    assert 0.25 < time.monotonic() - began < 3
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_connection_that_says_nothing_is_cut_and_one_between_requests_is_not(start_hub: Any) -> None:
    hub = await start_hub(headers_s=0.2)
    reader, writer = await hub.connect()
    kept_reader, kept_writer = await hub.connect()
    request = f"GET /health HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode()
    kept_writer.write(request)
    await kept_reader.readuntil(b"}")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    kept_writer.write(request)
    assert (await kept_reader.readline()).startswith(b"HTTP/1.1 200 ")
    for each in (writer, kept_writer):
        each.close()
        await each.wait_closed()


async def test_the_last_piece_of_a_body_does_not_start_the_clock_of_the_next_head(start_hub: Any) -> None:
    hub = await start_hub(headers_s=0.2)
    reader, writer = await hub.connect()
    head = f"POST /api/probe/free HTTP/1.1\r\nHost: localhost:{hub.port}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: 12\r\nExpect: 100-continue\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'{"note":')
    await writer.drain()
    writer.write(b'"a"}')
    await reader.readuntil(b'{"note":"a"}')
    silent, silent_writer = await hub.connect()
    assert (await silent.read()).startswith(b"HTTP/1.1 408 ")
    writer.write(f"GET /health HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    for each in (writer, silent_writer):
        each.close()
        await each.wait_closed()


async def test_an_idle_connection_is_closed_after_its_time(start_hub: Any) -> None:
    hub = await start_hub(idle_s=0.2)
    reader, writer = await hub.connect()
    writer.write(f"GET /health HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_a_head_above_its_size_is_refused(start_hub: Any) -> None:
    hub = await start_hub(headers_kb=1)
    reader, writer = await hub.connect()
    writer.write(b"GET /health HTTP/1.1\r\n")
    for n in range(40):
        writer.write(b"X-%d: %s\r\n" % (n, b"y" * 40))
        await writer.drain()
    text = await reader.read()
    assert text.startswith(b"HTTP/1.1 431 ")
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_head_in_one_piece_is_bounded_as_well(hub: Any) -> None:
    headers = {f"X-{n}": "y" * 1000 for n in range(40)}
    assert (await hub.ask("GET", "/health", headers=headers)).status in (400, 431)


async def test_too_many_header_fields_are_refused(hub: Any) -> None:
    assert (await hub.ask("GET", "/health", headers={f"X-{n}": "y" for n in range(97)})).status == 200
    assert (await hub.ask("GET", "/health", headers={f"X-{n}": "y" for n in range(101)})).status == 400


async def test_a_body_that_drips_is_cut_within_its_deadline(start_hub: Any) -> None:
    hub = await start_hub(body_s=0.3)
    reader, writer = await hub.connect()
    head = b"POST /scripts/things HTTP/1.1\r\nHost: localhost:%d\r\n" % hub.port
    writer.write(head + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b'"error":"RequestTimeout"' in await reader.readuntil(b"}")
    with suppress(ConnectionResetError):  # as the system words it to who still sends
        await reader.read()  # the connection ends: the rest of the body is of no use
    dripping.cancel()
    await asyncio.wait([dripping])
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_one_connection_too_many_is_turned_away_and_counted(start_hub: Any) -> None:
    hub = await start_hub(connections_per_address=2)
    first, second = await hub.connect(), await hub.connect()
    refused, writer = await hub.connect()
    text = await refused.read()
    assert text.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in text
    assert b"connections_per_address" in text
    assert hub.server.hub.connections.refused == 1
    # Over the socket file there are no addresses to count.
    assert (await hub.ask("GET", "/health", socket=True)).status == 200
    for _, each in (first, second):
        each.close()
        await each.wait_closed()
    writer.close()
    await writer.wait_closed()
    assert (await hub.ask("GET", "/health")).status == 200


async def test_all_connections_together_are_bounded(start_hub: Any) -> None:
    hub = await start_hub(connections=1)
    _, writer = await hub.connect()
    for socket_file in (False, True):
        refused = await hub.ask("GET", "/api/probe/plain", socket=socket_file)
        assert (refused.status, refused.json["code"]) == (503, "OVERLOADED")
        assert refused.headers["retry-after"] == "1"
        assert "[hub] connections" in refused.json["error"]
    assert hub.server.hub.connections.refused == 2
    writer.close()
    await writer.wait_closed()


async def test_beyond_the_bound_one_may_still_ask_how_the_hub_is_and_nothing_else(start_hub: Any) -> None:
    hub = await start_hub(connections=1)
    _, writer = await hub.connect()
    for path in ("/health", "/health/live", "/health/ready", "/api/health"):
        answered = await hub.ask("GET", path, headers={"Connection": "keep-alive"})
        assert (answered.status, answered.headers["connection"]) == (200, "close")
    for path in ("/", "/metrics", "/api/events/ws", "/nowhere"):
        assert (await hub.ask("GET", path)).status == 503
    assert (await hub.ask("POST", "/api/probe/free", {"note": "x"})).status == 503
    writer.close()
    await writer.wait_closed()


async def test_those_who_connect_and_say_nothing_cannot_keep_out_who_asks_how_the_hub_is(start_hub: Any) -> None:
    hub = await start_hub(connections=1, spare_connections=3, spare_s=30)
    silent = [await hub.connect() for _ in range(30)]
    assert (await hub.ask("GET", "/health")).status == 200
    # All but the last few were told why they had to go.
    for reader, _ in silent[1:25]:
        text = await reader.read()
        assert text.startswith(b"HTTP/1.1 503 ")
        assert b"[hub] connections" in text
    for _, writer in silent:
        writer.close()
        await writer.wait_closed()


async def test_what_is_not_http_is_refused_in_the_hubs_shape(hub: Any) -> None:
    reader, writer = await hub.connect()
    writer.write(b"NONSENSE\r\n\r\n")
    text = await reader.read()
    assert text.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"BAD_REQUEST"' in text
    assert b"X-Hub-Version: " in text
    writer.close()
    await writer.wait_closed()


NO_PATH = {
    "CONNECT localhost:1": (501, b'"code":"NOT_IMPLEMENTED"'),
    "OPTIONS *": (404, b'"code":"NOT_FOUND"'),
    "TRACE /api/probe/plain": (405, b'"code":"METHOD_NOT_ALLOWED"'),
    "GET http://localhost/api/probe/plain": (200, b'{"is":"plain"}'),
    "GET /api/../api/probe/plain": (404, b'"code":"NOT_FOUND"'),
}


@pytest.mark.parametrize("line", NO_PATH)
async def test_odd_targets_are_answered_in_the_hubs_shape_with_its_headers(hub: Any, line: str) -> None:
    status, part = NO_PATH[line]
    reader, writer = await hub.connect()
    writer.write(f"{line} HTTP/1.1\r\nHost: localhost:{hub.port}\r\nConnection: close\r\n\r\n".encode())
    text = await reader.read()
    assert text.startswith(b"HTTP/1.1 %d " % status)
    assert part in text
    assert b"X-Hub-Version: " in text
    assert b"X-Request-Id: " in text
    writer.close()
    await writer.wait_closed()


SMUGGLED = {
    "both lengths": "Content-Length: 4\r\nTransfer-Encoding: chunked",
    "two lengths": "Content-Length: 4\r\nContent-Length: 5",
    "a length with a sign": "Content-Length: +4",
    "an encoding nobody knows": "Transfer-Encoding: gzip",
    "a folded header": "X-A: b\r\n c",
    "a blank before the colon": "X-A : b",
    "a null byte": "X-A: b\0c",
}


@pytest.mark.parametrize("lines", SMUGGLED.values(), ids=list(SMUGGLED))
async def test_a_head_that_two_servers_could_read_differently_is_refused_and_ends_the_connection(
    hub: Any, lines: str
) -> None:
    reader, writer = await hub.connect()
    writer.write(
        f"POST /api/probe/free HTTP/1.1\r\nHost: localhost:{hub.port}\r\nContent-Type: application/json\r\n"
        f"{lines}\r\n\r\n{{}}\r\nGET /api/probe/exit HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode()
    )
    text = await reader.read()
    assert text.startswith(b"HTTP/1.1 400 ")
    assert text.count(b"HTTP/1.1 ") == 1
    writer.close()
    await writer.wait_closed()


def test_the_bounds_are_the_documented_ones() -> None:
    settings = HubSettings()
    assert (settings.headers_s, settings.headers_kb, settings.header_fields) == (10, 32, 100)
    assert (settings.body_s, settings.body_kb, settings.upload_kb) == (30, 1_024, 10_240)
    assert (settings.connections_per_address, settings.connections) == (256, 2_000)
    assert (settings.spare_connections, settings.spare_s) == (8, 1)
    assert (settings.json_depth, settings.json_nodes) == (64, 10_000)
    assert (settings.stream_messages, settings.stream_kb, settings.drain_s) == (512, 256, 25)
    assert (settings.host, settings.port) == ("127.0.0.1", 3001)
    assert settings.allowed_origins == settings.allowed_hosts == settings.compat_ports == ()


async def test_a_client_that_does_not_take_its_answer_loses_its_connection(start_hub: Any) -> None:
    hub = await start_hub(stream_stall_s=0.2)
    reader, writer = await hub.connect()
    writer.write(f"GET /api/probe/large?mb=30 HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not hub.server.hub.handled:
            await asyncio.sleep(0)
        while hub.server.hub.connections.open:
            await asyncio.sleep(0.02)
    assert not reader.at_eof()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_client_that_reads_slowly_keeps_its_connection(start_hub: Any) -> None:
    hub = await start_hub(stream_stall_s=0.3)
    reader, writer = await hub.connect()
    writer.write(f"GET /api/probe/large?mb=12 HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    left = 12_000_000
    began = time.monotonic()
    await reader.readuntil(b"\r\n\r\n")
    while left > 0:
        left -= len(await reader.readexactly(min(1_000_000, left)))
        await asyncio.sleep(0.05)
    assert time.monotonic() - began > 0.5
    writer.close()
    await writer.wait_closed()


# WebSockets ---------------------------------------------------------------------------------------------------------

OPEN = """
from kernel import Plugin, Socket
talk = Plugin("talk", version="1.0.0")
@talk.socket("/api/talk")
async def echo(socket: Socket[int, int]) -> None:
    async for n in socket:
        await socket.send(n)
"""


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://localhost:{port}"])
@pytest.mark.parametrize("path", ["/api/talk", "/health", "/api/nowhere"])
async def test_a_foreign_origin_opens_no_socket_not_even_to_public_data(start_hub: Any, origin: str, path: str) -> None:
    hub = await start_hub(plugins={"talk": OPEN})
    headers = {"Origin": origin.format(port=hub.port)}
    for console in (False, True):
        async with hub.socket(path, headers, console=console) as socket:
            assert (socket.answered.status, socket.answered.json["code"]) == (403, "FOREIGN_ORIGIN")
            assert "access-control-allow-origin" not in socket.answered.headers
    assert hub.server.hub.sockets.open == 0


async def test_a_foreign_origin_opens_no_socket_whatever_credential_comes_along(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": OPEN})
    for extra in ({"Sec-WebSocket-Protocol": "bearer.a.b.c"}, {"Authorization": "Bearer x"}):
        async with hub.socket("/api/talk?ticket=x", {"Origin": "http://evil.example", **extra}) as socket:
            assert (socket.answered.status, socket.answered.json["code"]) == (403, "FOREIGN_ORIGIN")


async def test_own_and_listed_origins_open_sockets(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": OPEN}, allowed_origins=["https://ui.example.org"])
    for headers in (
        {"Origin": f"http://localhost:{hub.port}", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://ui.example.org", "Sec-Fetch-Site": "cross-site"},
        {},
    ):
        async with hub.socket("/api/talk", headers) as socket:
            assert socket.answered.status == 101
            socket.say(1)
            assert await socket.message() == 1


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_socket_from_another_site_without_a_listed_origin_is_refused(start_hub: Any, site: str) -> None:
    hub = await start_hub(plugins={"talk": OPEN})
    async with hub.socket("/api/talk", {"Sec-Fetch-Site": site}) as socket:
        assert (socket.answered.status, socket.answered.json["code"]) == (403, "CROSS_SITE")


async def test_a_socket_to_a_rebound_name_is_refused(start_hub: Any) -> None:
    hub = await start_hub(plugins={"talk": OPEN})
    async with hub.socket("/api/talk", {"Host": f"evil.example:{hub.port}"}) as socket:
        assert socket.answered.status == 421


# Answers ------------------------------------------------------------------------------------------------------------


async def test_every_answer_has_the_security_headers_and_ids(hub: Any) -> None:
    for path in ("/health", "/api/probe/plain", "/nowhere", "/api/probe/bug"):
        headers = (await hub.ask("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-hub-version"] == hub.kernel.version
        assert len(headers["x-request-id"]) == 32
    assert (await hub.ask("GET", "/api/probe/plain")).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("given", "kept"), [("a.b_c-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)])
async def test_a_clients_request_id_is_kept_when_it_is_harmless(hub: Any, given: str, kept: bool) -> None:
    answer = await hub.ask("GET", "/nowhere", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept


async def test_an_http_1_0_client_is_answered_and_closed(hub: Any) -> None:
    reader, writer = await hub.connect()
    writer.write(f"GET /health HTTP/1.0\r\nHost: localhost:{hub.port}\r\nConnection: keep-alive\r\n\r\n".encode())
    text = await reader.read()
    assert b"Connection: close" in text
    assert text.endswith(b"}")
    writer.close()
    await writer.wait_closed()


async def test_pipelined_requests_are_answered_in_order(hub: Any) -> None:
    reader, writer = await hub.connect()
    for path in ("/health/live", "/nowhere", "/health"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    for word in (b'"alive"}', b'"NOT_FOUND"}', b'"service":"aetherra"'):
        await asyncio.wait_for(reader.readuntil(word), 5)
    writer.close()
    await writer.wait_closed()


# Binding ------------------------------------------------------------------------------------------------------------


async def test_a_lab_hub_shows_its_open_address_red(start_hub: Any) -> None:
    hub = await start_hub(host="0.0.0.0", allow_insecure_bind=True)
    ready = await hub.ask("GET", "/health/ready")
    assert ready.status == 200
    assert ready.json["checks"]["bind"] is False
    assert "0.0.0.0" in ready.json["reasons"]["bind"]


@pytest.mark.parametrize(
    "settings",
    [
        {"allowed_hosts": ("http://x",)},
        {"allowed_hosts": ("*",)},
        {"allowed_origins": ("x",)},
        {"allowed_origins": ("*.x",)},
    ],
)
def test_an_entry_that_can_never_match_is_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"hub\.allowed_"):
        Edge(HubSettings(**settings))
