"""A kernel that runs scripts as the hub does: the real policy, executions, memory and workers, without the web edge."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel import Caller, Kernel, Overloaded
from kernel.clock import Clock
from kernel.testing import Recording, running_kernel

ROOT = Path(__file__).resolve().parent.parent
ADA = Caller("user:ada", ("role:user",))
ADMIN = Caller("user:root", ("role:admin",))
BUNDLED = ("security", "executions", "memory", "scripts")


@dataclass
class ScriptHouse:
    """A running kernel, its folder, and what a client does with it."""

    kernel: Kernel
    home: Path

    def service(self, name: str, caller: Caller = ADA) -> Any:
        """Return a handle of a service for that caller."""
        return self.kernel.context(caller).service(name)

    async def submit(self, source: str | None = None, caller: Caller = ADA, **given: Any) -> dict[str, Any]:
        """Submit a source, or with `script_name` a script of the library; return the job's row."""
        row: dict[str, Any] = await self.service("scripts", caller).submit(source=source, **given)
        return row

    async def ended(self, row: Mapping[str, Any], *, within_s: float = 20) -> dict[str, Any]:
        """Return the row once the job is over."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    async for final in self.service("executions", ADMIN).watch(row["id"]):
                        return dict(final)
                except Overloaded as replaced:
                    if replaced.code != "GENERATION_ENDED":
                        raise

    async def outcome(self, source: str | None = None, caller: Caller = ADA, **given: Any) -> dict[str, Any]:
        """Submit and wait for the end."""
        return await self.ended(await self.submit(source, caller, **given))

    async def result(self, source: str, caller: Caller = ADA, **given: Any) -> Any:
        """Return what a script returns that is expected to complete."""
        final = await self.outcome(source, caller, **given)
        assert final["state"] == "completed", final["error"]
        return final["result"]

    async def error(self, source: str, caller: Caller = ADA, **given: Any) -> dict[str, Any]:
        """Return the error of a script that is expected to fail."""
        final = await self.outcome(source, caller, **given)
        assert final["state"] == "failed", final
        return dict(final["error"])

    async def caught(self, call: str, caller: Caller = ADA, **given: Any) -> dict[str, Any]:
        """Return what a script catches when it makes that call: the error's type, message and data."""
        source = f"try {{\n  {call}\n}} catch e {{\n  return {{ type: e.type, message: e.message, data: e.data }}\n}}"
        found = await self.result(source + '\nreturn "nothing was raised"', caller, **given)
        assert isinstance(found, dict), found
        return found

    async def history(self, row: Mapping[str, Any], topic: str = "") -> list[dict[str, Any]]:
        """Return the lines of a job's history, or those of one topic."""
        found = await self.service("executions", ADMIN).history(row["id"])
        return [entry for entry in found["entries"] if topic in ("", entry["topic"])]

    @asynccontextmanager
    async def begun(self, source: str, caller: Caller = ADA, **given: Any) -> AsyncIterator[dict[str, Any]]:
        """Submit a script that logs `here` once it is where the test wants it; the block runs from then on."""
        with Recording(self.kernel.bus, "job.log") as logged:
            row = await self.submit(source, caller, **given)
            count = 1
            while (await logged.wait_for("job.log", count)).data["message"] != "here":
                count += 1
            yield row


@asynccontextmanager
async def script_house(
    home: Path,
    *,
    policy: str = "",
    plugins: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    bundled: Iterable[str] = BUNDLED,
    overrides: Mapping[str, Any] | None = None,
) -> AsyncIterator[ScriptHouse]:
    """Run a kernel whose HOME is `home`, under the policy that ships and `policy` beside it.

    Only steps are without a limit, so that a loop lasts for as long as a test needs it.
    """
    shutil.copytree(ROOT / "policies", home / "policies", dirs_exist_ok=True)
    shipped = home / "policies" / "default.toml"
    text = shipped.read_text()
    assert "steps = 10_000_000\n" in text
    shipped.write_text(text.replace("steps = 10_000_000\n", "steps = 1_000_000_000_000\n"))
    if policy:
        (home / "policies" / "tests.toml").write_text(policy)
    for name, text in (scripts or {}).items():
        file = home / "scripts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    async with running_kernel(home, plugins=plugins, bundled=bundled, clock=clock, overrides=overrides) as kernel:
        for module in kernel.modules.known():
            assert module.status == "active", (module.name, module.reason)
        yield ScriptHouse(kernel, home)
