"""Whatever is dropped or sent, it is answered clearly, and everything else goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kernel.testing import ALLOW_ALL, Recording

DENIES_NET = ALLOW_ALL.replace(
    'Decision(True, "everything is allowed in this test", effect="free")',
    'Decision(not capability.startswith("net:"), "no network here", effect="free")',
)
HEAD = "from kernel import Context, Plugin, hookimpl\nbad = Plugin('bad', version='1.0.0')\n"

DROPPED = {
    "a syntax error": (HEAD + "def broken(:\n", "bad.py:3: SyntaxError: "),
    "an import error": (HEAD + "import no_such_thing\n", "bad.py:3: ModuleNotFoundError: No module named"),
    "a misspelt hook": (HEAD + "@hookimpl\ndef rutes():\n    return []\n", "did you mean 'routes'?"),
    "a hook with a wrong signature": (
        HEAD + "@hookimpl\ndef routes(app):\n    return []\n",
        "a hook does not fit its specification",
    ),
    "a misspelt decorator": (HEAD + "@bad.gett('/x')\ndef f(): ...\n", "did you mean `get`?"),
    "a set-up that raises": (
        HEAD + "@bad.lifespan\nasync def f(ctx: Context):\n    raise RuntimeError('no disk')\n    yield\n",
        "RuntimeError: no disk",
    ),
    "a set-up that hangs": (
        HEAD
        + "import asyncio\n@bad.lifespan\nasync def f(ctx: Context):\n    await asyncio.Event().wait()\n    yield\n",
        "its lifespan did not reach its yield within 0.3 s",
    ),
    "an import that hangs": (HEAD + "while True: pass\n", "did not finish in 0.3 s"),
    "a route of another plugin": (
        HEAD + "@bad.get('/api/probe/plain')\nasync def f() -> int: return 1\n",
        "two plugins claim the route GET /api/probe/plain: probe and bad",
    ),
    "a route of the hub": (
        HEAD + "@bad.post('/health/')\nasync def f() -> int: return 1\n",
        "/health/, a path that belongs to the hub itself",
    ),
    "a service that is not there": (
        HEAD.replace("'1.0.0'", "'1.0.0', requires={'memory': '>=1'}"),
        "bad requires the service 'memory', which no loaded plugin provides",
    ),
    "a capability that it may not have": (
        HEAD.replace("'1.0.0'", "'1.0.0', capabilities=['net:http']"),
        "bad asks for net:http, which the policy does not give it: no network here",
    ),
    "a half-written file": (
        (HEAD + "@bad.get('/api/bad')\nasync def f() -> str:\n    return 'unfin")[:-2],
        "SyntaxError: unterminated string literal",
    ),
    "no plugin at all": ("x = 1\n", "declares 0 plugins; expected exactly one"),
    "bytes that are no text": ("\udcff\udcfe\udc80", "bad.py: SyntaxError: not readable as text"),
}


async def asking(hub: Any, stop: asyncio.Event, answers: list[int]) -> None:
    """A client with a connection of its own that asks again and again, and must never notice anything."""
    reader, writer = await hub.connect()
    while not stop.is_set():
        writer.write(f"GET /api/probe/plain HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
        answers.append(int((await reader.readuntil(b'{"is":"plain"}')).split()[1]))
        await asyncio.sleep(0.002)  # as often as a hub is asked, and the time of the tests is not for asking alone
    writer.close()
    await writer.wait_closed()


async def test_a_plugin_that_cannot_be_loaded_is_told_with_its_reason_and_nobody_notices(start_hub: Any) -> None:
    hub = await start_hub(policy=DENIES_NET, limits={"open_s": 0.3})
    folder = hub.kernel.config.paths.plugins
    stop, answers = asyncio.Event(), list[int]()
    client = asyncio.create_task(asking(hub, stop, answers))
    for what, (source, reason) in DROPPED.items():
        with Recording(hub.kernel.bus, "module.*") as seen:
            (folder / ".bad.new").write_bytes(source.encode("utf-8", "surrogateescape"))
            (folder / ".bad.new").rename(folder / "bad.py")
            topic = "module.waiting" if "service" in what else "module.reload_failed"
            await seen.wait_for(topic)
            ready = await hub.ask("GET", "/health/ready")
            assert ready.status == 200, what
            assert reason in ready.json["reasons"]["bad"], what
            (folder / "bad.py").unlink()
        async with asyncio.timeout(5):
            while "bad" in (await hub.ask("GET", "/health/ready")).json["checks"]:
                await asyncio.sleep(0.01)
    stop.set()
    await client
    assert len(answers) > len(DROPPED)
    assert set(answers) == {200}


async def test_an_editor_that_saves_in_pieces_ends_with_the_whole_file(start_hub: Any) -> None:
    hub = await start_hub()
    whole = HEAD + "@bad.get('/api/bad')\nasync def f() -> str:\n    return 'whole'\n"
    with Recording(hub.kernel.bus, "module.*") as seen:
        with (hub.kernel.config.paths.plugins / "bad.py").open("w") as file:
            file.write(whole[: len(whole) - 3])
            file.flush()
            await seen.wait_for("module.reload_failed")
            file.write(whole[len(whole) - 3 :])
        await seen.wait_for("module.loaded")
    assert (await hub.ask("GET", "/api/bad")).json == "whole"


SENT: dict[str, tuple[bytes, int, str, str]] = {
    "a wrong type": (b'{"item": {"name": 5}}', 400, "BAD_INPUT", "Expected `str`, got `int` - at `$.item.name`"),
    "a missing field": (b'{"item": {}}', 400, "BAD_INPUT", "missing required field `name`"),
    "an unknown field": (b'{"item": {"name": "a"}, "nam": 1}', 400, "BAD_INPUT", "unknown field `nam`"),
    "a list where an object belongs": (b"[]", 400, "BAD_INPUT", "Expected `object`, got `array`"),
    "no JSON": (b"{item}", 400, "BAD_INPUT", "line 1, column 2"),
    "too deep": (b"[" * 65 + b"]" * 65, 400, "BAD_INPUT", "deeper than 64 levels"),
    "too many values": (b"[" + b"0," * 10_000 + b"0]", 413, "BODY_TOO_LARGE", "more than 10000 JSON values"),
    "brackets without end": (b"[" * 900_000, 413, "BODY_TOO_LARGE", "JSON values"),
    "a key twice": (b'{"item": {"name": "a", "name": "b"}}', 400, "BAD_INPUT", "stands twice"),
    "NaN": (b'{"item": {"name": "a", "size": NaN}}', 400, "BAD_INPUT", "NaN is not a JSON number"),
    "a number that is infinite": (b'{"item": {"name": "a"}, "note": 1e999}', 400, "BAD_INPUT", "note"),
    "an integer of 65 bits": (b'{"item": {"name": "a", "size": 18446744073709551616}}', 400, "BAD_INPUT", "64 bits"),
    "half a character": (b'{"item": {"name": "\\ud800"}}', 400, "BAD_INPUT", "not valid JSON"),
    "a mark before the text": (b'\xef\xbb\xbf{"item": {"name": "a"}}', 400, "BAD_INPUT", "not valid JSON"),
    "a body too large": (b'{"item": {"name": "' + b"a" * 1_048_576 + b'"}}', 413, "BODY_TOO_LARGE", "1024 KiB"),
}


@pytest.mark.parametrize("sent", SENT.values(), ids=list(SENT))
async def test_a_body_that_is_not_right_is_refused_with_what_was_expected(hub: Any, sent: tuple[Any, ...]) -> None:
    body, status, code, words = sent
    answer = await hub.ask("POST", "/api/probe/items", raw=body)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert words in json.dumps(answer.json, ensure_ascii=False)
    assert len(answer.body) < 1_000
    assert (await hub.ask("POST", "/api/probe/items", {"item": {"name": "a"}})).status == 201


async def test_without_a_policy_that_works_the_hub_is_not_ready_and_says_why(start_hub: Any) -> None:
    broken = ALLOW_ALL[: ALLOW_ALL.index("    return Decision")] + "    raise RuntimeError('a bug')\n"
    hub = await start_hub(policy=broken)
    ready = await hub.ask("GET", "/health/ready")
    assert (ready.status, ready.json["status"]) == (503, "not_ready")
    assert "could not be evaluated" in ready.json["reasons"]["policy"]
    assert "retry-after" in ready.headers
    assert (await hub.ask("GET", "/api/probe/plain")).json["code"] == "CAPABILITY_DENIED"
    assert (await hub.ask("GET", "/health")).status == 200
