"""S4: the whole API under input that nobody thought of. Every answer is one that its description allows, none is a
failure of the hub's own, and the hub's loop never stands still.

Each operation of a real hub, with the bundled plugins under the policy that ships, is tried from outside by `st run`:
the edges of every parameter, random valid and invalid requests, and chains in which one answer feeds the next request.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from hub_process import HubProcess, hub_process

TESTS = Path(__file__).parent
ST = Path(sys.executable).parent / "st"
STALL_MS = 100.0

HEART = '''
"""heart measures how long the loop of the hub stands still."""
import asyncio
import time
from pathlib import Path

from kernel import Context, Plugin

heart = Plugin("heart", version="1.0.0")
BEAT_S = 0.02
worst_s = 0.0

def kept_waiting() -> float:
    """Return how long the threads of this process waited for a core that others had."""
    waited = 0.0
    for place in Path("/proc/self/task").glob("*/schedstat"):
        try:
            waited += int(place.read_text().split()[1]) / 1e9
        except OSError:
            pass  # the thread has ended meanwhile
    return waited

@heart.task("beat")
async def beat(ctx: Context) -> None:
    global worst_s
    while True:
        began, waited = time.monotonic(), kept_waiting()
        await asyncio.sleep(BEAT_S)
        late = time.monotonic() - began - BEAT_S - max(0.0, kept_waiting() - waited)
        worst_s = max(worst_s, late)

@heart.get("/heart")
async def worst(ctx: Context) -> float:
    """Return the longest stand-still, in milliseconds."""
    return worst_s * 1000

@heart.post("/heart/stop")
async def stop(ctx: Context, seconds: float) -> None:
    """Stand still."""
    time.sleep(seconds)
'''


@dataclass
class Outcome:
    """What came of one run, and what the hub says of itself after it."""

    cases: int
    failures: list[Any]
    untried: list[str]
    report: str
    ready: str
    stall_ms: float
    noticed_ms: float
    bugs: list[str]


async def get(url: str, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        return await response.json()


async def drop(hub: HubProcess, name: str, source: str) -> None:
    """Drop a plugin and wait until it serves."""
    (hub.plugins / f"{name}.py").write_text(source)
    while not any(one["name"] == name for one in (await get(hub.url, "/api/plugins"))["plugins"]):
        await asyncio.sleep(0)


async def fuzz(home: Path, *, seed: int, examples: int) -> Outcome:
    """Try the API of a fresh hub, `examples` random requests for each operation besides edges and chains."""
    home.mkdir(exist_ok=True)
    (home / "aetherra.toml").write_text("[limits]\naimos_requests_per_minute = 1000000\n")
    async with hub_process(home) as hub:
        await drop(hub, "heart", HEART)
        process = psutil.Process(hub.process.pid)
        report, told = await tried(hub, "--exclude-path-regex", "^/heart", seed=seed, examples=examples)
        ready = await get(hub.url, "/health/ready")
        stall_ms = await get(hub.url, "/heart")
        async with aiohttp.ClientSession() as session:
            await session.post(hub.url + "/heart/stop", json={"seconds": 2 * STALL_MS / 1000})
        noticed_ms = await get(hub.url, "/heart")
        assert process.is_running()
    phases = {name: report["phases"][name]["status"] for name in ("coverage", "fuzzing", "stateful")}
    return Outcome(
        cases=report["test_cases"]["generated"],
        failures=report["failures"] + report["errors"],
        untried=[name for name, status in phases.items() if status != "success"],
        report=told,
        ready=ready["status"],
        stall_ms=stall_ms,
        noticed_ms=noticed_ms,
        bugs=[line for line in hub.lines if "Traceback" in line or "error_id" in line],
    )


async def token_of_an_account(hub: HubProcess) -> str:
    """Return a token that no request can end: a session's would be gone after the first log-out that is tried."""
    connector = aiohttp.UnixConnector(str(hub.home / "hub.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as console:
        account = {"name": "fuzz", "password": "correct horse battery"}
        async with console.post("/api/users", json=account) as made:
            assert made.status == 201, await made.text()
        async with console.post("/api/tokens", json={"name": "fuzz", "scopes": ["*"], "user": "fuzz"}) as made:
            assert made.status == 201, await made.text()
            return str((await made.json())["secret"])


async def tried(hub: HubProcess, *only: str, seed: int, examples: int) -> tuple[dict[str, Any], str]:
    """Return the report of `st run` and what it wrote."""
    place = hub.home / "report.json"
    process = await asyncio.create_subprocess_exec(
        ST,
        *("--config-file", TESTS / "schemathesis.toml", "run", f"{hub.url}/openapi.json", *only),
        *("--header", f"Authorization: Bearer {await token_of_an_account(hub)}"),
        *("--seed", str(seed), "--max-examples", str(examples), "--phases", "coverage,fuzzing,stateful"),
        *("--report", "json", "--report-json-path", str(place)),
        cwd=hub.home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(hub.home), "LANG": "C.UTF-8", "NO_COLOR": "1"},
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert place.exists(), out.decode()
    return json.loads(place.read_text()), out.decode()


def assert_held(outcome: Outcome) -> None:
    assert outcome.failures == [], outcome.report
    assert outcome.bugs == []
    assert outcome.ready == "ready"
    assert outcome.stall_ms < STALL_MS
    assert outcome.noticed_ms > STALL_MS, "a loop that stands still is not noticed"


@pytest.mark.timeout(300)
async def test_every_answer_to_any_request_is_one_that_the_description_allows(tmp_path: Path) -> None:
    outcome = await fuzz(tmp_path, seed=4, examples=2)
    assert_held(outcome)
    assert outcome.untried == []
    assert outcome.cases > 500


LYING = '''
"""liar does not do what it says."""
import msgspec
from kernel import Context, Plugin

liar = Plugin("liar", version="1.0.0")

class Told(msgspec.Struct):
    """What is promised."""
    n: int

@liar.get("/lie/status", raises=())
async def status(ctx: Context) -> Told:
    """Answer with an error that is not declared."""
    from kernel import Gone
    raise Gone("gone")

@liar.get("/lie/shape", raises=())
async def shape(ctx: Context) -> Told:
    """Answer with another shape."""
    return {"m": "x"}

@liar.get("/lie/bug", raises=())
async def bug(ctx: Context, n: int = 0) -> Told:
    """Fail."""
    return Told(1 // 0)
'''


@pytest.mark.timeout(120)
async def test_a_plugin_that_does_not_do_what_it_says_is_found(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as hub:
        await drop(hub, "liar", LYING)
        report, told = await tried(hub, "--include-path-regex", "^/lie", seed=1, examples=2)
    found = {failure["type"]: failure["operations"] for failure in report["failures"]}
    assert found == {
        "UndefinedStatusCode": ["GET /lie/status"],
        "JsonSchemaError": ["GET /lie/shape"],
        "ServerError": ["GET /lie/bug"],
    }, told


@pytest.mark.soak
@pytest.mark.timeout(14_400)
async def test_thousands_of_requests_fail_nowhere(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    wanted = {"C": 5_000, "L": 100_000}[size]
    examples = {"C": 110, "L": 2_500}[size]  # for each operation; those that take nothing are soon exhausted
    seed = int.from_bytes(os.urandom(4))
    outcome = await fuzz(tmp_path, seed=seed, examples=examples)
    print(
        f"\nS4 seed={seed} size={size} cases={outcome.cases} failures={len(outcome.failures)} "
        f"stall_ms={outcome.stall_ms:.0f}"
    )
    assert_held(outcome)
    assert outcome.cases >= wanted
