"""S11: secrets that were planted all over a hub stand in no log, answer to others, figure, record or traceback."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from whole_hub import whole_hub

from hub.logs import JsonLines
from hub.serve import Server, leave_no_core_file
from kernel import Caller, Denied, redactions
from kernel.testing import Recording


def canary() -> str:
    """A word of 24 letters that stands nowhere else."""
    return "canary" + secrets.token_hex(9)


PLANTED = {
    name: canary()
    for name in (
        "authorization header",
        "token of the environment",
        "password of a body",
        "password of a form",
        "password of an account",
        "refresh token that nobody gave",
        "userinfo of a url",
        "token in a query",
        "jwt in a log",
        "webhook secret in an event's failure",
        "exception of a route",
        "exception at a load",
        "exception of a task",
        "set-up code in a log",
        "details of a record",
        "service token in a right",
        "label of a metric",
        "printed by a script",
    )
}

LEAKY = f'''
"""A plugin that tells everything it knows."""
from kernel import BadInput, Context, Plugin
leaky = Plugin("leaky", version="1.0.0")
leaky.counter("aetherra_leaky_total", "Counts", ["url"])

@leaky.post("/api/leaky/bug")
async def bug(ctx: Context, what: str) -> str:
    held = "{PLANTED["exception of a route"]}"
    raise RuntimeError(f"cannot log in with Bearer {{held}}")

@leaky.post("/api/leaky/echo")
async def echo(ctx: Context, what: str) -> str:
    raise BadInput(f"what is {{what}}?", details={{"came": what, "password": what}})

@leaky.on("user.leak")
async def failing(ctx: Context, secret: str) -> None:
    raise ValueError(f"no such secret: {{secret}}")

@leaky.post("/api/leaky/tell")
async def tell(ctx: Context) -> str:
    token = "{PLANTED["details of a record"]}"
    await ctx.audit("leaky.told", password=token, url=f"https://ada:{{token}}@example.org")
    ctx.log.warning("the set-up code is setup-{PLANTED["set-up code in a log"]}")
    ctx.log.warning("the environment has %s", "{PLANTED["token of the environment"]}")
    ctx.metric("aetherra_leaky_total").labels("https://x:{PLANTED["label of a metric"]}@example.org").inc()
    return "told"

@leaky.task("dying", restart="never")
async def dying(ctx: Context) -> None:
    raise ConnectionError("amqp://guest:{PLANTED["exception of a task"]}@example.org refused")
'''
BROKEN = f'raise RuntimeError("whsec_{PLANTED["exception at a load"]}")'


@contextmanager
def logged() -> Iterator[list[str]]:
    """Every line that the hub's log has meanwhile, as it would be written."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonLines().format(record))

    handler, root = Keep(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture
async def leaking(tmp_path: Path) -> AsyncIterator[tuple[Server, Path]]:
    redactions.register_environment({"AETHERRA_AI_API_TOKEN": PLANTED["token of the environment"]})
    async with whole_hub(tmp_path, plugins={"leaky": LEAKY, "broken": BROKEN}) as server:
        yield server, tmp_path
    redactions.forget(PLANTED["token of the environment"])


async def plant(server: Server, session: aiohttp.ClientSession, answers: list[str]) -> None:
    """Send every secret where secrets come from; keep what is answered."""
    base = f"http://127.0.0.1:{server.port}"
    word = PLANTED

    async def ask(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        async with session.request(method, base + path, json=body, headers=headers) as response:
            answers.append(f"{response.status} {dict(response.headers)} {await response.text()}")
            return response.status

    await ask("GET", "/api/jobs", headers={"Authorization": f"Bearer {word['authorization header']}"})
    await ask("POST", "/api/auth/login", {"username": "ada", "password": word["password of a body"]})
    wrong = {"username": "ada", "password": word["password of a form"]}
    async with session.post(f"{base}/api/auth/login", data=wrong) as response:
        answers.append(await response.text())
    await ask("POST", "/api/auth/refresh", {"refresh_token": f"aer_{word['refresh token that nobody gave']}"})
    account = {"username": "ada", "password": word["password of an account"]}
    await ask("POST", "/api/auth/register", account)
    async with session.post(f"{base}/api/auth/login", data=account) as response:
        granted = await response.json()  # for its owner alone
    PLANTED["access token of an account"] = granted["access_token"].rpartition(".")[2]
    PLANTED["refresh token of an account"] = granted["refresh_token"].removeprefix("aer_")
    bearer = {"Authorization": f"Bearer {granted['access_token']}"}
    await ask("GET", "/api/auth/me", headers=bearer)
    await ask("GET", "/api/users", headers=bearer)
    await ask("POST", "/api/leaky/echo", {"what": f"https://ada:{word['userinfo of a url']}@example.org/x"})
    await ask("GET", f"/api/jobs?status=https://ada:{word['userinfo of a url']}@example.org/x")
    await ask("GET", f"/api/events/ws?token=eyJhbGciOiJub25lIn0.eyJ{word['token in a query']}.x")
    await ask("POST", "/api/leaky/bug", {"what": "x"})
    await ask("POST", "/api/leaky/tell", {})
    script = (
        f'log "got eyJhbGciOiJFZERTQSJ9.eyJ{word["jwt in a log"]}.c2ln"\n'
        f'print("whsec_{word["printed by a script"]}")\nreturn 1'
    )
    await ask("POST", "/api/scripts/run", {"source": script})
    await ask("POST", "/api/events", {"topic": "user.leak", "data": {"secret": f"whsec_{word[LEAK]}"}})


LEAK = "webhook secret in an event's failure"
PAGES = (
    "/health/ready",
    "/metrics",
    "/api/klm/modules",
    "/api/klm/history",
    "/api/plugins",
    "/api/kernel/status",
    "/api/kernel/metrics",
    "/api/system/limits",
    "/api/security/audit?limit=500",
    "/openapi.json",
)


async def test_planted_secrets_stand_nowhere_but_with_their_owner(leaking: tuple[Server, Path]) -> None:
    server, home = leaking
    answers: list[str] = []
    kernel = server.kernel
    with logged() as log, Recording(kernel.bus) as seen:
        async with aiohttp.ClientSession() as session:
            await kernel.modules.reload("leaky")
            await seen.wait_for("plugin.task_failed")
            await plant(server, session, answers)
            await seen.wait_for("job.completed", timeout_s=20)
            await seen.wait_until(lambda e: e.topic == "plugin.error" and "no such secret" in str(e.data))
            right = f"plugin:manage:aek_{PLANTED['service token in a right']}"
            with pytest.raises(Denied):
                await kernel.context(Caller("user:local", ("role:user",))).require(right)
        connector = aiohttp.UnixConnector(str(home / "hub.sock"))
        async with aiohttp.ClientSession(connector=connector) as console:
            for page in PAGES:
                async with console.get(f"http://localhost{page}") as response:
                    answers.append(f"{page} {response.status} {await response.text()}")
        with pytest.raises(Exception, match="broken"):
            await kernel.modules.reload("broken")
        telling = ("plugin.", "module.", "capability.", "kernel.", "job.", "policy.")
        events = [f"{event.topic} {event.data}" for event in seen.events if event.topic.startswith(telling)]
        logs = await kernel.store.query("executions", "SELECT topic, data FROM executions__history")
    sinks = {
        "the log": log,
        "answers": answers,
        "events of the hub": events,
        "logs of jobs": [f"{row['topic']} {row['data']}" for row in logs],
        "the audit": [str(row[0]) for row in await _audit(server)],
        "files of the audit": [path.read_text() for path in (home / "audit").glob("*.jsonl")],
    }
    assert all(sinks.values()), {name: len(sink) for name, sink in sinks.items()}
    found = {
        (name, where, text[max(0, text.find(word) - 80) : text.find(word) + 40])
        for where, sink in sinks.items()
        for text in sink
        for name, word in PLANTED.items()
        if word in text
    }
    assert found == set()
    # They were there to be found: what stands in their place tells so.
    for where in ("the log", "answers", "events of the hub", "logs of jobs", "the audit"):
        assert any("[redacted]" in text for text in sinks[where]), where


async def _audit(server: Server) -> list[Any]:
    await asyncio.sleep(0)
    rows = await server.kernel.store.query("audit", "SELECT record FROM audit__records")
    return [(json.dumps(json.loads(row["record"])),) for row in rows]


def test_a_crash_of_the_hub_leaves_no_core_file() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        leave_no_core_file()
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
