"""Real child processes over real sockets: what they are given, and what becomes of those that misbehave."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.clock import SystemClock
from kernel.errors import NotFound, PluginError, ServiceUnavailable
from kernel.workers import Pool, Program, WorkerLost, Workers, interpreter

ECHO = Path(__file__).parent / "programs" / "echo_worker.py"
SITE = [path for path in sys.path if path.endswith("site-packages")]


def program(**changes: Any) -> Program:
    return Program("echo", interpreter(str(ECHO), SITE), **changes)


@pytest.fixture
async def workers():
    made = Workers(SystemClock())
    yield made
    await made.stop()


@pytest.fixture
async def pool(workers: Workers) -> Pool:
    return workers.pool(program(soft_stop_ms=100))


async def nothing(body: Any) -> Any:
    return None


def deaf(body: Any) -> None:
    return None


async def run(pool: Pool, do: str, value: Any = None) -> Any:
    async with asyncio.timeout(20):
        return await pool.submit({"do": do, "value": value}, serve=nothing, told=deaf).result()


async def test_a_job_goes_out_and_its_result_comes_back(pool: Pool) -> None:
    assert (await run(pool, "echo", {"n": [1, 2.5, None, "ü"]}))["value"] == {"n": [1, 2.5, None, "ü"]}


async def test_a_process_is_reused_and_replaced_after_its_share(workers: Workers) -> None:
    pool = workers.pool(program(jobs_each=2, most=1))
    pids = [(await run(pool, "echo"))["pid"] for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_call_blocks_the_worker_until_the_hub_has_answered(pool: Pool) -> None:
    events = []

    async def serve(body: Any) -> Any:
        return {"asked": body}

    job = pool.submit({"do": "call", "value": 7}, serve=serve, told=events.append)
    assert await job.result() == {"t": "result", "id": 1, "ok": True, "body": {"asked": 7}}
    assert events == ["calling"]


async def test_an_error_of_the_hub_crosses_with_its_code(pool: Pool) -> None:
    async def serve(body: Any) -> Any:
        raise NotFound("no such tea", code="NO_TEA")

    answer = await pool.submit({"do": "call", "value": 1}, serve=serve, told=deaf).result()
    assert (answer["ok"], answer["body"]["code"], answer["body"]["message"]) == (False, "NO_TEA", "no such tea")


async def test_a_bug_of_the_hub_is_not_shown_to_the_worker(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    async def serve(body: Any) -> Any:
        raise RuntimeError("secret detail")

    answer = await pool.submit({"do": "call", "value": 1}, serve=serve, told=deaf).result()
    assert "secret" not in str(answer)
    assert "secret detail" in caplog.text


async def test_a_worker_is_given_no_environment_one_socket_and_a_group_of_its_own(pool: Pool) -> None:
    seen = await run(pool, "environment")
    # Python itself sets the two locale names in an empty environment.
    assert set(seen["environ"]) <= {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
    assert len(seen["fds"]) == 5, "stdin, stdout, stderr, the socket, and the listing itself"
    assert seen["group"] == seen["pid"] != os.getpgid(0)


async def test_a_worker_that_is_killed_fails_its_job_clearly_and_is_replaced(pool: Pool) -> None:
    with pytest.raises(WorkerLost, match="killed by signal 9|closed its socket"):
        await run(pool, "die")
    assert (await run(pool, "echo", 1))["value"] == 1


async def test_a_worker_that_exits_fails_its_job_and_its_last_words_are_logged(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WorkerLost):
        await run(pool, "exit")
    await run(pool, "echo")
    async with asyncio.timeout(5):
        while "giving up" not in caplog.text:
            await asyncio.sleep(0)


async def test_a_cancelled_job_that_obeys_ends_with_its_own_words(pool: Pool) -> None:
    waiting = asyncio.Event()
    job = pool.submit({"do": "obey"}, serve=nothing, told=lambda _: waiting.set())
    await waiting.wait()
    job.cancel()
    assert await job.result() == "cancelled"
    assert (await run(pool, "echo", 2))["value"] == 2


async def test_a_cancelled_job_that_does_not_obey_is_killed_in_time(pool: Pool) -> None:
    hanging = asyncio.Event()
    job = pool.submit({"do": "hang"}, serve=nothing, told=lambda _: hanging.set())
    await hanging.wait()
    began = asyncio.get_running_loop().time()
    job.cancel()
    with pytest.raises(WorkerLost, match="did not stop when asked to"):
        await job.result()
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_a_job_that_waits_can_be_withdrawn(workers: Workers) -> None:
    pool = workers.pool(program(most=1, soft_stop_ms=50))
    first = pool.submit({"do": "hang"}, serve=nothing, told=deaf)
    second = pool.submit({"do": "echo"}, serve=nothing, told=deaf)
    second.cancel()
    with pytest.raises(WorkerLost, match="before a worker took it"):
        await second.result()
    first.cancel()
    with pytest.raises(WorkerLost):
        await first.result()


@pytest.mark.parametrize(
    ("do", "value"),
    [
        ("raw", b"\xc1 no msgpack"),
        ("raw", msgspec.msgpack.encode([1, 2, 3])),
        ("raw", msgspec.msgpack.encode({"t": "result", "id": 1})),
        ("raw", msgspec.msgpack.encode({"t": "done", "id": 999, "body": None})),
        ("raw", msgspec.msgpack.encode({"t": "call", "id": "one", "body": None})),
        ("raw", msgspec.msgpack.encode({"t": "event", "body": msgspec.msgpack.Ext(1, b"x")})),
        ("raw", b"\x82\xa1t\xa5event\xa4body" + b"\x91" * 100 + b"\xc0"),
        ("raw", b"\x82\xa1t\xa5event\xa4body\xa2\xff\xfe"),
        ("length", 1024 * 1024 + 1),
    ],
)
async def test_a_worker_that_breaks_the_protocol_is_killed_at_once(pool: Pool, do: str, value: Any) -> None:
    with pytest.raises(WorkerLost) as caught:
        await run(pool, do, value)
    assert "it sent" in caught.value.details["reason"]
    assert (await run(pool, "echo", 3))["value"] == 3


async def test_an_answer_that_fits_no_frame_is_an_error_of_the_call_not_of_the_hub(pool: Pool) -> None:
    async def serve(body: Any) -> Any:
        return "x" * (9 * 1024 * 1024)

    answer = await pool.submit({"do": "call", "value": 1}, serve=serve, told=deaf).result()
    assert answer["body"]["code"] == "ANSWER_TOO_LARGE"


async def test_a_job_that_fits_no_frame_is_refused(pool: Pool) -> None:
    with pytest.raises(PluginError, match="cannot be handed to a worker"):
        await run(pool, "echo", "x" * (9 * 1024 * 1024))
    assert (await run(pool, "echo", 4))["value"] == 4


async def test_a_call_that_is_open_when_its_job_ends_is_given_up(pool: Pool) -> None:
    begun, ended = asyncio.Event(), list[str]()

    async def serve(body: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    job = pool.submit({"do": "leave a call", "value": 1}, serve=serve, told=deaf)
    await begun.wait()
    job.cancel()
    await job.result()
    assert (await run(pool, "echo", 5))["value"] == 5
    assert ended == ["cancelled"]


async def test_a_program_that_does_not_start_fails_its_jobs_and_says_why(workers: Workers) -> None:
    pool = workers.pool(Program("none", ("-I", "-c", "import sys; sys.exit('no such module')"), start_s=5))
    with pytest.raises(ServiceUnavailable, match="no such module"):
        await run(pool, "echo")
    assert "no such module" in (pool.problem() or "")


async def test_stopping_leaves_no_process_and_fails_what_ran() -> None:
    workers = Workers(SystemClock())
    pool = workers.pool(program())
    begun = asyncio.Event()
    job = pool.submit({"do": "hang"}, serve=nothing, told=lambda _: begun.set())
    await begun.wait()
    pid = job.pid
    assert pid is not None
    await workers.stop()
    with pytest.raises(WorkerLost, match="stopping"):
        await job.result()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
