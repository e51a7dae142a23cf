"""A one-statement script from `POST /run` to `completed`, and a script's start from cold and from its content hash.

The peer of the first is the least one would write by hand: aiohttp, a job row in SQLite with `synchronous=FULL` before
the answer and another at the end, and a warm process that evaluates the statement. Both servers run in processes of
their own; the same client asks both in turn, one job after the other, and reads the stream of the job to its end. The
peer of the second is `marshal.loads` of the same bytes. Floors: p50 at most 15 ms; warm at least 100 times faster than
cold (goal 200) and at most 5 times `marshal.loads`, without Lark in the process that asked.

    python -m benchmarks.scripts [--jobs 200]
"""

from __future__ import annotations

import argparse
import asyncio
import marshal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from kernel import Kernel
from kernel.testing import ALLOW_ALL, running_kernel

ROOT = Path(__file__).resolve().parent.parent


BARE = """
import concurrent.futures, sqlite3, sys, uuid
from aiohttp import web
import asyncio, json

def evaluate(text, a):
    return eval(text, {"a": a})

db = sqlite3.connect(sys.argv[2], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT, result TEXT)")

async def work(pool, job, body):
    result = await asyncio.get_running_loop().run_in_executor(pool, evaluate, "a + 1", body["parameters"]["a"])
    db.execute("UPDATE jobs SET state = 'completed', result = ? WHERE id = ?", (json.dumps(result), job))

async def run(request):
    body, job = await request.json(), str(uuid.uuid4())
    db.execute("INSERT INTO jobs VALUES (?, 'running', NULL)", (job,))
    app["tasks"][job] = asyncio.create_task(work(app["pool"], job, body))
    return web.json_response({"job_id": job, "status": "started"})

async def events(request):
    await app["tasks"][request.match_info["id"]]
    return web.Response(text="event: job.completed\\n\\n")

async def health(request):
    return web.json_response({"status": "healthy"})

if __name__ == "__main__":
    app = web.Application()
    app["pool"] = concurrent.futures.ProcessPoolExecutor(1)
    app["tasks"] = {}
    app.router.add_post("/run", run)
    app.router.add_get("/api/jobs/{id}/events", events)
    app.router.add_get("/health", health)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""

P50_MS, WARM, GOAL_WARM, MOST_OF_MARSHAL = 15.0, 100, 200, 5.0


async def job(session: aiohttp.ClientSession, base: str) -> float:
    """Run one job and return the seconds from sending it to hearing that it is completed."""
    began = time.perf_counter()
    async with session.post(f"{base}/run", json={"script_name": "one.aether", "parameters": {"a": 1}}) as response:
        number = (await response.json())["job_id"]
    async with session.get(f"{base}/api/jobs/{number}/events") as stream:
        async for line in stream.content:
            if line.startswith(b"event: job.completed"):
                return time.perf_counter() - began
    raise RuntimeError("the job did not complete")


async def ready(session: aiohttp.ClientSession, base: str) -> None:
    """Return once it serves and a first job has been through."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"{base}/health") as response:
                    if (await response.json())["status"] == "healthy":
                        break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        for _ in range(10):
            await job(session, base)


async def sequential(jobs: int) -> None:
    """Print the times of jobs one after the other, and the share of each in the peer's."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        (home / "scripts").mkdir(parents=True)
        (home / "scripts" / "one.aether").write_text("return parameters.a + 1")
        program = Path(folder) / "bare.py"
        program.write_text(BARE)
        commands = {
            "http://127.0.0.1:3963": ["-m", "hub", "serve", "--home", str(home), "--port", "3963"],
            "http://127.0.0.1:3964": [str(program), "3964", str(Path(folder) / "bare.db")],
        }
        servers = [psutil.Popen([sys.executable, *c], cwd=ROOT, stdout=-3, stderr=-3) for c in commands.values()]
        try:
            async with aiohttp.ClientSession() as session:
                for base in commands:
                    await ready(session, base)
                times: list[list[float]] = [[], []]
                for _ in range(jobs):
                    for base, taken in zip(commands, times, strict=True):
                        taken.append(await job(session, base) * 1000)
        finally:
            for server in servers:
                server.terminate()
                server.wait(40)
    ours, theirs = times
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"scripts.post_to_completed.p50_ms   {statistics.median(ours):.2f}  hub (floor {P50_MS})")
    print(f"scripts.post_to_completed.p95_ms   {statistics.quantiles(ours, n=20)[-1]:.2f}  hub")
    print(f"scripts.bare.p50_ms                {statistics.median(theirs):.2f}  aiohttp, SQLite FULL, process pool")
    print(f"scripts.post_to_completed.ratio    {ratio:.2f}")


async def starts() -> None:
    """Print how long a script takes from its text, and from its content hash, to code that a worker may run."""
    text = (ROOT / "scripts" / "system" / "goal_autopilot.aether").read_text()
    plugins = {"allow_all": ALLOW_ALL}
    bundled = ("executions", "memory", "scripts")
    with tempfile.TemporaryDirectory() as folder:
        async with running_kernel(Path(folder), plugins=plugins, bundled=bundled) as kernel:
            compiler = compiler_of(kernel)
            limits: dict[str, float] = {"source_kb": 512, "brackets": 64, "blocks": 18}
            await compiler.compile("return 1", "first.aether", limits)  # the compile worker has started
            cold, warm, loads = [], [], []
            for number in range(15):
                source = f"{text}\n# {number}\n"
                began = time.perf_counter()
                compiled = await compiler.compile(source, "cold.aether", limits)
                cold.append(time.perf_counter() - began)
                again = []
                for _ in range(200):
                    began = time.perf_counter()
                    await compiler.compile(source, "cold.aether", limits)
                    again.append(time.perf_counter() - began)
                warm.append(statistics.median(again))
                began = time.perf_counter()
                for _ in range(200):
                    marshal.loads(compiled.code)
                loads.append((time.perf_counter() - began) / 200)
    cold_s, warm_s, loads_s = (statistics.median(one) for one in (cold, warm, loads))
    print(f"scripts.cold_ms                    {cold_s * 1e3:.2f}  text to code, {text.count(chr(10))} lines")
    print(f"scripts.warm_us                    {warm_s * 1e6:.1f}  content hash to code")
    print(f"scripts.cold_over_warm             {cold_s / warm_s:.0f}  (floor {WARM}, goal {GOAL_WARM})")
    print(f"scripts.warm_over_marshal_loads    {warm_s / loads_s:.2f}  (goal at most {MOST_OF_MARSHAL})")
    lark = [name for name in sys.modules if name.partition(".")[0] == "lark"]
    print(f"scripts.lark_modules_in_hub        {len(lark)}  (must be 0; in this process all of it was compiled)")


def compiler_of(kernel: Kernel) -> Any:
    """The compiler inside the running plugin: what the service's `check` and every run go through."""
    generation = kernel.modules.get("scripts").generation
    assert generation is not None
    return generation.module.houses[0].compiler


def main() -> None:
    """Print one line per measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    given = parser.parse_args()
    asyncio.run(sequential(given.jobs))
    asyncio.run(starts())


if __name__ == "__main__":
    main()
