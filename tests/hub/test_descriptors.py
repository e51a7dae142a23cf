"""No file descriptor is left: the hub still says how it is, and goes on once its clients leave (R34)."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_process import ADDRESS, HubProcess, hub_process
from raw_socket import Answered, read_response

from hub.descriptors import Reserve, connections_within, fit_connections, needed_descriptors, raised_limit
from hub.settings import HubSettings
from kernel.testing import kernel_config

LIMIT = 256
WITHIN_S = 1.0
"""How soon `/health` answers, whatever else is connected."""

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def descriptors(hub: HubProcess) -> int:
    return len(os.listdir(f"/proc/{hub.process.pid}/fd"))


async def connect(hub: HubProcess) -> Client:
    return await asyncio.open_connection("127.0.0.1", int(hub.url.rpartition(":")[2]))


async def ask(hub: HubProcess, client: Client, path: str, within_s: float = WITHIN_S) -> Answered:
    reader, writer = client
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {hub.url.removeprefix('http://')}\r\n\r\n".encode())
    async with asyncio.timeout(within_s):
        return await read_response(reader)


async def asked_once(hub: HubProcess, path: str, within_s: float = WITHIN_S) -> Answered:
    client = await connect(hub)
    try:
        return await ask(hub, client, path, within_s)
    finally:
        client[1].close()


async def close(clients: list[Client]) -> None:
    for _, writer in clients:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in clients), return_exceptions=True)


@asynccontextmanager
async def exhausted(hub: HubProcess) -> AsyncIterator[list[Client]]:
    """Hold connections, each with an answer, until the hub has no descriptor for another."""
    held: list[Client] = []
    try:
        while True:
            client = await connect(hub)
            held.append(client)
            if (await ask(hub, client, "/api/policy/disclosure", 10)).status == 503:
                break
            assert len(held) < LIMIT
        yield held
    finally:
        await close(held)


async def recovers(hub: HubProcess) -> tuple[float, int]:
    """Return after how many seconds anything is answered again, and how many descriptors the hub has then."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        for path in ("/api/policy/disclosure", "/health/ready"):
            while (await asked_once(hub, path)).status != 200:
                await asyncio.sleep(0.02)
        while descriptors(hub) > LIMIT // 2:
            await asyncio.sleep(0.02)
    return time.monotonic() - began, descriptors(hub)


@dataclass
class Outcome:
    """What was seen in one round."""

    clients: int
    slowest_s: float
    recovery_s: float
    descriptors: int


async def one_round(hub: HubProcess) -> Outcome:
    """Exhaust the table and leave; return how many held it, the slowest `/health`, and how the hub recovered."""
    slowest = 0.0
    async with exhausted(hub) as held:
        assert descriptors(hub) >= LIMIT - 1
        # Half-open ones that come besides want a word, too, and say nothing.
        silent = [await connect(hub) for _ in range(40)]
        for path in ("/health", "/health/live", "/health/ready", "/api/health") * 5:
            began = time.monotonic()
            answered = await asked_once(hub, path)
            slowest = max(slowest, time.monotonic() - began)
            # Ready it need not be: a look at the policy folder may have found no descriptor either.
            assert answered.status == 200 or (path == "/health/ready" and "checks" in answered.json)
        assert json.loads((await asked_once(hub, "/health")).body)["status"] == "healthy"
        refused = await asked_once(hub, "/api/policy/disclosure")
        assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (503, "OVERLOADED", "1")
        # Who is connected already is served as ever.
        assert (await ask(hub, held[0], "/api/policy/disclosure")).status == 200
        clients = len(held)
        await close(silent)
    return Outcome(clients, slowest, *await recovers(hub))


async def test_without_a_descriptor_left_health_is_answered_and_the_hub_recovers(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub:
        resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        first, second = await one_round(hub), await one_round(hub)
        assert first.clients > LIMIT // 2
        assert second.clients >= first.clients
        assert second.descriptors <= first.descriptors + 2
        said = "".join(hub.lines)
        assert said.count("no file descriptor is left") == 1
        assert "out of system resource" not in said


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_twenty_times_without_a_descriptor_left(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    rounds = {"C": 1, "L": 20}[size]
    async with hub_process(tmp_path / "home") as hub:
        resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        seen = [await one_round(hub) for _ in range(rounds)]
        print(
            f"R34 seed=none size={size} rounds={rounds} limit={LIMIT} clients={max(r.clients for r in seen)} "
            f"health_max_ms={max(r.slowest_s for r in seen) * 1000:.0f} "
            f"recovery_max_s={max(r.recovery_s for r in seen):.2f} "
            f"fds={seen[0].descriptors}->{seen[-1].descriptors}"
        )
        assert seen[-1].descriptors <= seen[0].descriptors + 2


@asynccontextmanager
async def limited_hub(home: Path) -> AsyncIterator[HubProcess]:
    """Run a hub that may have `LIMIT` descriptors from its start on, and cannot raise that."""
    serve = [sys.executable, "-m", "hub", "--home", str(home), "serve", "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'ulimit -n {LIMIT}; exec "$@"', "bash", *serve),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    hub = HubProcess(process, "", home, home / "plugins")  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(30):
            while not hub.url:
                hub.lines.append((await process.stdout.readline()).decode())
                assert hub.lines[-1], hub.lines
                if found := ADDRESS.search(hub.lines[-1]):
                    hub.url = found[1]
        yield hub
    finally:
        process.terminate()
        await process.communicate()


async def test_a_hub_with_few_descriptors_lets_in_fewer_clients_and_never_runs_out(tmp_path: Path) -> None:
    bound = connections_within(LIMIT, HubSettings())
    async with limited_hub(tmp_path / "home") as hub:
        shown = (await asked_once(hub, "/api/system/limits")).json["limits"]
        assert shown["hub.connections"] == bound
        assert f"[hub] connections is {bound} instead of 2000" in "".join(hub.lines)
        async with exhausted(hub) as held:
            assert len(held) == bound + 1
            assert descriptors(hub) < LIMIT - 8
            assert (await asked_once(hub, "/health")).status == 200
        assert (await recovers(hub))[0] < WITHIN_S


# What the limit allows ----------------------------------------------------------------------------------------------


def test_connections_leave_the_hub_what_it_needs_of_its_limit() -> None:
    settings = HubSettings()
    assert connections_within(resource.RLIM_INFINITY, settings) == 2_000
    assert connections_within(needed_descriptors(settings), settings) == 2_000
    assert connections_within(needed_descriptors(settings) - 1, settings) == 1_999
    assert connections_within(1_024, settings) == 1_024 - 200 - 16
    assert connections_within(256, settings) == 128 - 16
    assert connections_within(16, settings) == 1
    assert connections_within(1_024, HubSettings(connections=10)) == 10


def test_a_limit_that_cannot_be_raised_lowers_the_bound_and_says_what_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 2 * hard
    overrides = {"hub.connections": wanted}
    config = kernel_config(tmp_path, overrides=overrides, sections={"hub": HubSettings})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        fit_connections(config)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    bound = connections_within(hard, HubSettings(connections=wanted))
    assert config.hub.connections == bound < hard
    shown = next(setting for setting in config.effective() if setting.key == "hub.connections")
    assert (shown.value, shown.origin) == (bound, f"RLIMIT_NOFILE = {hard}")
    assert f"[hub] connections is {bound} instead of {wanted}" in caplog.text


def test_a_soft_limit_is_raised_as_far_as_needed_and_never_lowered() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 100, hard))
        assert raised_limit(soft - 50) == soft - 50
        assert raised_limit(10) == soft - 50
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - 50, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_reserve_lends_what_it_holds_and_takes_it_back() -> None:
    reserve = Reserve(2)
    reserve.fill()
    assert reserve.full
    assert [reserve.lend(), reserve.lend(), reserve.lend()] == [True, True, False]
    assert not reserve.full
    reserve.fill()
    assert reserve.full
    reserve.close()
