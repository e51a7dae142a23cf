"""What a client may ask about and this hub does not have: it says so, in the documented fields, from what is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hub_client import HubClient, client_here

from kernel import Caller, Kernel
from kernel.testing import ALLOW_ALL, running_kernel

ADA = Caller("user:ada", ("role:user",))

QUANTUM = """
from typing import Any
from kernel import Context, Plugin, needs
quantum = Plugin("quantum", version="1.0.0")

@quantum.service("quantum")
class Quantum:
    @needs("system:read")
    async def status(self, ctx: Context) -> dict[str, Any]:
        return {"available": True, "mode": "hybrid", "backend": "aer"}
"""

TRAINER = """
from typing import Any
from kernel import Context, Plugin, needs
trainer = Plugin("trainer", version="1.0.0")

@trainer.service("runner.training")
class Runner:
    @needs("system:admin")
    async def start(self, ctx: Context, execution: dict[str, Any]) -> dict[str, Any]:
        if execution["name"] != "sft":
            await ctx.service("executions").finish(execution["id"], execution["attempt"], "completed", {"loss": 0.5})
        return {"wall_s": None}

    @needs("system:admin")
    async def stop(self, ctx: Context, execution: str) -> None:
        await ctx.service("executions").finish(execution, 1, "cancelled", None)
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubClient]:
    """A client of a hub that the tests share, to which nothing happens."""
    async with client_here(tmp_path_factory.mktemp("shared") / "home") as running:
        yield running


@pytest.mark.parametrize("console", [False, True])
async def test_the_documented_answers_of_a_hub_without_them(client: HubClient, console: bool) -> None:
    status = await client.ask("GET", "/api/quantum/status", console=console)
    assert status == {"available": False, "mode": "classical", "backend": None}
    status = await client.ask("GET", "/api/trainer/status", console=console)
    assert status == {"enabled": False, "jobs_active": 0, "evals_run": 0}
    for path in ("/api/peers/announce", "/api/peers/sync"):
        for body in (None, {}, {"url": "http://other:3001"}):
            answer = await client.ask("POST", path, body, 501, console=console)
            assert answer["error"] == "Federation not yet implemented"
            assert answer["code"] == "NOT_IMPLEMENTED"
            assert set(answer) == {"error", "details", "code"}
            assert "cluster" in answer["details"]["needs"]
    assert (await client.ask("GET", "/api/peers/announce", status=405))["code"] == "METHOD_NOT_ALLOWED"


async def test_a_training_job_needs_somebody_who_trains(client: HubClient) -> None:
    body = {"task": "sft", "dataset": "conversations"}
    refused = await client.ask("POST", "/api/trainer/jobs", body, 503)
    assert (refused["code"], refused["details"]["service"]) == ("SERVICE_UNAVAILABLE", "runner.training")
    for wrong, field in (({"task": "sft"}, "dataset"), ({"task": "", "dataset": "x"}, "task"), ({}, "task")):
        assert (await client.ask("POST", "/api/trainer/jobs", wrong, 400))["details"]["field"] == field
    status = await client.ask("GET", "/api/trainer/status")
    assert status["jobs_active"] == 0


async def asked(kernel: Kernel, method: str, path: str, key: str | None = None, **arguments: Any) -> Any:
    route = next(owned for owned in kernel.table.routes if owned.item.key == (method, path))
    return await kernel.serve(route, kernel.context(ADA, idempotency_key=key), arguments)


async def test_a_plugin_that_brings_a_backend_answers_for_it(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "quantum": QUANTUM}
    async with running_kernel(tmp_path, plugins=plugins, bundled=["hub_api"]) as kernel:
        status = await asked(kernel, "GET", "/api/quantum/status")
        assert (status.available, status.mode, status.backend) == (True, "hybrid", "aer")
        await kernel.modules.unload("quantum")
        assert (await asked(kernel, "GET", "/api/quantum/status")).available is False


async def test_the_trainers_figures_are_counted_from_the_executions(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "trainer": TRAINER}
    async with running_kernel(tmp_path, plugins=plugins, bundled=["hub_api", "executions"]) as kernel:
        executions = kernel.context(ADA).service("executions")
        running = []
        for name in ("sft", "sft", "eval"):
            answer = await asked(kernel, "POST", "/api/trainer/jobs", task=name, dataset="conversations")
            assert answer.value.status == "pending"
            running.append(answer.value.job_id)
            if name == "eval":
                async for ended in executions.watch(answer.value.job_id):
                    assert ended["input"] == {"task": "eval", "dataset": "conversations"}
        status = await asked(kernel, "GET", "/api/trainer/status")
        assert (status.enabled, status.jobs_active, status.evals_run) == (True, 2, 1)
        first = await asked(kernel, "POST", "/api/trainer/jobs", "key", task="sft", dataset="x")
        again = await asked(kernel, "POST", "/api/trainer/jobs", "key", task="sft", dataset="x")
        assert again.value.job_id == first.value.job_id
        assert again.headers == {"Idempotency-Replayed": "true"}
        for job in (*running[:2], first.value.job_id):
            await executions.cancel(job)
            async for ended in executions.watch(job):
                assert ended["state"] == "cancelled"
        await kernel.modules.unload("trainer")
        assert (await asked(kernel, "GET", "/api/trainer/status")).enabled is False
