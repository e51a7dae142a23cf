"""The worker as a real process over a real socket pair: jobs, host calls, cancellation, limits, protocol faults."""

import contextlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import aether_lang.worker as worker_module
from aether_lang.compiler import compile_module
from aether_lang.frames import MAX_JOB_FRAME, Channel, ProtocolError, decoded
from aether_lang.parser import parse
from aether_lang.worker import PROTOCOL_FAULT, content_hash

ROOT = Path(worker_module.__file__).resolve().parent.parent
PACKAGES = [path for path in sys.path if path.endswith("site-packages")]
PATIENCE = 20.0


class Hub:
    """The other side of one worker process."""

    def __init__(self, *options: str) -> None:
        ours, theirs = socket.socketpair()
        paths = [part for path in (str(ROOT), *PACKAGES) for part in ("--path", path)]
        program = str(ROOT / "aether_lang" / "worker.py")
        command = [sys.executable, "-I", "-S", program, "--fd", str(theirs.fileno()), *paths, *options]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
        theirs.close()
        ours.settimeout(PATIENCE)
        self.socket = ours
        self.channel = Channel(ours, MAX_JOB_FRAME)
        self.jobs = 0
        assert self.next() == {"t": "ready"}

    def job(self, body: dict[str, Any]) -> int:
        self.jobs += 1
        self.channel.send({"t": "job", "id": self.jobs, "body": body})
        return self.jobs

    def run(self, source: str, **body: Any) -> int:
        return self.job({"kind": "run", "code": compile_module(parse(source, "job.aether")), **body})

    def next(self) -> dict[str, Any]:
        received = self.channel.receive()
        assert received is not None, self.errors()
        return received[0]

    def done(self) -> dict[str, Any]:
        frame = self.next()
        assert frame["t"] == "done", frame
        assert frame["id"] == self.jobs
        return frame["body"]  # type: ignore[no-any-return]

    def answer(self, call: dict[str, Any], value: Any) -> None:
        self.channel.send({"t": "result", "id": call["id"], "ok": True, "body": value})

    def refuse(self, call: dict[str, Any], message: str, **details: Any) -> None:
        body = {"message": message, "details": details}
        self.channel.send({"t": "result", "id": call["id"], "ok": False, "body": body})

    def errors(self) -> str:
        self.process.kill()
        return self.process.communicate()[1].decode()

    def status(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.channel.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


def test_a_job_runs_and_gives_its_outcome(hub: Hub) -> None:
    hub.run("return parameters.a + context.b", parameters={"a": 1}, context={"b": 2})
    body = hub.done()
    assert (body["state"], body["result"], body["error"]) == ("completed", 3, None)


def test_one_worker_does_several_jobs_in_order(hub: Hub) -> None:
    for n in range(3):
        hub.run(f"return {n}")
        assert hub.done()["result"] == n


def test_a_host_call_is_one_frame_out_and_one_back(hub: Hub) -> None:
    hub.run('let id = remember("tea", as="t")\nreturn [id, now()]')
    call = hub.next()
    assert call == {
        "t": "call",
        "id": 1,
        "body": {
            "op": "memory.remember",
            "capability": "memory.write",
            "args": {"content": "tea", "as": "t"},
            "at": ["job.aether", 1, 10, ""],
        },
    }
    hub.answer(call, "m1")
    clock = hub.next()
    assert (clock["id"], clock["body"]["op"]) == (2, "time.now")
    hub.answer(clock, 5.0)
    assert hub.done()["result"] == ["m1", 5.0]


def test_call_ids_grow_over_all_jobs_of_a_worker(hub: Hub) -> None:
    ids = []
    for _ in range(2):
        hub.run("return now()")
        call = hub.next()
        ids.append(call["id"])
        hub.answer(call, 1.0)
        hub.done()
    assert ids == [1, 2]


def test_log_and_output_are_events_before_the_end(hub: Hub) -> None:
    hub.run('log "a"\nprint("b")')
    assert hub.next() == {
        "t": "event",
        "body": {"kind": "log", "level": "info", "message": "a", "at": ["job.aether", 1, 1, ""]},
    }
    assert hub.next()["body"] == {"kind": "output", "line": "b"}
    assert hub.done()["state"] == "completed"


def test_an_error_of_the_host_reaches_the_catch_with_type_and_place(hub: Hub) -> None:
    hub.run("try {\n  get_memory(1)\n} catch (e) { return [e.type, e.message, e.line, e.data.why, e.retryable] }")
    hub.refuse(hub.next(), type="Timeout", message="too slow", data={"why": 1}, retryable=True)
    assert hub.done()["result"] == ["Timeout", "too slow", 2, 1, True]


def test_an_unknown_error_type_of_the_host_is_a_host_error(hub: Hub) -> None:
    hub.run("try:\n    get_memory(1)\nexcept HostError as e:\n    return e.type\nend")
    hub.refuse(hub.next(), type="sqlite3.OperationalError", message="the host failed")
    assert hub.done()["result"] == "HostError"


@pytest.mark.parametrize("name", ["LimitError", "BudgetError", "Cancelled", "Nondeterministic"])
def test_what_ends_a_run_is_not_catchable_when_it_comes_from_the_host(hub: Hub, name: str) -> None:
    hub.run('try { get_memory(1) } catch { return "caught" }')
    hub.refuse(hub.next(), type=name, message="no more")
    body = hub.done()
    assert body["error"]["type"] == name
    assert body["state"] == ("cancelled" if name == "Cancelled" else "failed")


def test_an_uncaught_error_comes_with_line_column_and_stack(hub: Hub) -> None:
    hub.run('fn f() {\n  throw "lost"\n}\nf()')
    error = hub.done()["error"]
    assert (error["type"], error["message"], error["line"], error["column"]) == ("UserError", "lost", 2, 3)
    assert [row["function"] for row in error["stack"]] == ["f", "main"]


def test_a_pure_loop_is_cancelled_within_half_a_second(hub: Hub) -> None:
    hub.run('log "on"\nwhile true { try { while true { } } catch { } }', limits={"steps": 10**12})
    assert hub.next()["t"] == "event"
    started = time.monotonic()
    hub.channel.send({"t": "cancel", "id": hub.jobs, "reason": "asked for"})
    body = hub.done()
    assert time.monotonic() - started < 0.5
    assert body["state"] == "cancelled"
    assert body["error"]["message"] == "asked for"


def test_a_waiting_host_call_is_cancelled_and_finally_still_runs(hub: Hub) -> None:
    hub.run('try { get_memory(1) } finally { log "bye" }')
    call = hub.next()
    hub.channel.send({"t": "cancel", "id": hub.jobs})
    assert hub.next()["body"]["message"] == "bye"
    assert hub.done()["state"] == "cancelled"
    hub.answer(call, "late")
    hub.run("return 1")
    assert hub.done()["result"] == 1


def test_a_cancelled_job_in_the_queue_never_computes(hub: Hub) -> None:
    hub.run("return now()")
    call = hub.next()
    hub.run("while true { }", limits={"steps": 10**12})
    hub.channel.send({"t": "cancel", "id": hub.jobs})
    hub.answer(call, 1.0)
    assert hub.next()["id"] == 1
    assert hub.done()["state"] == "cancelled"


def test_limits_of_the_job_end_it_and_the_worker_goes_on(hub: Hub) -> None:
    hub.run("while true { }", limits={"steps": 10_000})
    assert hub.done()["error"]["data"] == {"limit": "steps", "value": 10_000}
    hub.run("fn f(n) { return f(n + 1) }\nreturn f(0)")
    assert hub.done()["error"]["data"] == {"limit": "depth", "value": 128}
    hub.run("return 1")
    assert hub.done()["result"] == 1


def test_the_process_grows_by_memory_mb_at_most_and_serves_the_next_job(hub: Hub) -> None:
    doubling = (
        "fn twice(s) { return s + s }\nfn more(s, n) { return n == 0 ? s : more(twice(s), n - 1) }\n"
        'return more("ab", 40).length'
    )
    hub.run(doubling, limits={"memory_mb": 100, "charged_mb": 10_000, "text_mb": 10_000})
    assert hub.done()["error"]["data"] == {"limit": "memory_mb", "value": 100}
    hub.run('return "x".repeat(1000000).length')
    assert hub.done()["result"] == 1_000_000


def test_a_limit_that_is_no_number_fails_the_job_with_a_reason(hub: Hub) -> None:
    hub.run("return 1", limits={"steps": "many"})
    assert "limit steps must be a number" in hub.done()["error"]["message"]


def test_a_result_beyond_a_frame_fails_the_job(hub: Hub) -> None:
    hub.run('return "x".repeat(2000000)')
    assert hub.done()["error"]["data"]["limit"] == "frame_bytes"
    hub.run('let s = "x".repeat(2000000)\ntry { get_memory(s) } catch (e) { return e.type }')
    assert hub.done()["result"] == "ValueError"


def test_a_module_is_asked_for_at_its_first_use(hub: Hub) -> None:
    hub.run("use system/tea\nlet f = 1\nreturn tea.pour(2) + tea.pour(3)")
    call = hub.next()
    assert (call["body"]["op"], call["body"]["args"]) == ("module.load", {"path": "system/tea"})
    code = compile_module(parse("fn pour(n) { return n * 10 }", "system/tea.aether"))
    hub.answer(call, {"code": code, "name": "system/tea.aether", "hash": "h"})
    assert hub.done()["result"] == 50


def test_a_run_worker_never_imports_the_parser() -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), *PACKAGES]!r}; import aether_lang.worker; print(sorted(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert "aether_lang.runtime" in found
    for name in ("lark", "aether_lang.parser", "aether_lang.checker", "aether_lang.compiler", "tomllib"):
        assert f"'{name}'" not in found


def test_a_compile_job_gives_code_that_a_run_job_takes() -> None:
    hub = Hub("--preload", "compile")
    try:
        source = 'log "x"\nreturn 6 * 7'
        hub.job({"kind": "compile", "source": source, "name": "a.aether", "limits": {"steps": 5, "depth": 5}})
        body = hub.done()
        assert body["ok"]
        assert body["hash"] == content_hash(source)
        assert body["capabilities"] == ["log.write"]
        assert body["diagnostics"] == []
        hub.job({"kind": "run", "code": body["code"]})
        assert hub.next()["t"] == "event"
        assert hub.done()["result"] == 42
    finally:
        hub.close()


def test_a_compile_job_of_a_wrong_script_gives_diagnostics() -> None:
    hub = Hub("--preload", "compile")
    try:
        hub.job({"kind": "compile", "source": "let x =", "name": "a.aether"})
        body = hub.done()
        assert not body["ok"]
        assert body["diagnostics"][0]["line"] == 1
        assert "code" not in body
    finally:
        hub.close()


def test_a_closed_connection_ends_the_worker_in_order(hub: Hub) -> None:
    hub.run("return 1")
    hub.done()
    hub.channel.close()
    assert hub.status() == 0


def test_a_hub_that_is_gone_ends_a_running_loop(hub: Hub) -> None:
    hub.run('log "on"\nwhile true { }', limits={"steps": 10**12})
    hub.next()
    hub.channel.close()
    assert hub.status() == 0


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", MAX_JOB_FRAME + 1),
        frame(b"\xc1"),
        frame(msgspec.msgpack.encode([1])),
        frame(msgspec.msgpack.encode({"t": 5})),
        frame(msgspec.msgpack.encode({"t": "dance"})),
        frame(msgspec.msgpack.encode({"t": "job", "id": 0, "body": {}})),
        frame(msgspec.msgpack.encode({"t": "job", "id": 1, "body": {"kind": "other"}})),
        frame(msgspec.msgpack.encode({"t": "result", "id": 9, "ok": True})),
        frame(msgspec.msgpack.encode({"t": "job", "id": 1, "body": {"x": nested(40)}})),
        frame(msgspec.msgpack.encode({"t": "x", "e": msgspec.msgpack.Ext(5, b"abc")})),
        frame(b"\x81\xa1t\xa2\xff\xfe"),
        frame(msgspec.msgpack.encode({"t": "cancel"})),
        frame(b"\x82\xa1t\xa1x\x01\x02"),
    ],
)
def test_any_protocol_fault_ends_the_worker(hub: Hub, data: bytes) -> None:
    hub.socket.sendall(data)
    assert hub.status() == PROTOCOL_FAULT


def test_a_job_id_that_does_not_grow_ends_the_worker(hub: Hub) -> None:
    hub.run("return 1")
    hub.done()
    hub.channel.send({"t": "job", "id": 1, "body": {"kind": "run", "code": b""}})
    assert hub.status() == PROTOCOL_FAULT


def test_a_frame_at_the_deepest_allowed_level_passes() -> None:
    assert decoded(msgspec.msgpack.encode({"t": "x", "v": nested(31)}))["t"] == "x"
    with pytest.raises(ProtocolError):
        decoded(msgspec.msgpack.encode({"t": "x", "v": nested(32)}))
