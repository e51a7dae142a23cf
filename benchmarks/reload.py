"""Save to served: from the rename of an edited plugin to the first call that the new version answers.

Beside it, in the same run and interleaved: watchfiles as it comes (its default debounce) with a bare import and swap,
and what loading alone costs. One line per measure: name, ours and peer in milliseconds (p50), their ratio, floor, goal.

    python -m benchmarks.reload
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from watchfiles import awatch

from kernel import Caller, Kernel, NotFound
from kernel.testing import ALLOW_ALL, running_kernel

ROUNDS = 60
LINES = 177
ADA = Caller("user:ada", ("role:user",))

HEAD = """
from kernel import Context, Plugin
timed = Plugin("timed", version="1.0.0")

@timed.get("/api/timed")
@timed.function("number", effect="free")
async def number(ctx: Context) -> int:
    return {number}
"""
BODY = "\n".join(f"def filler_{n}(a: int, b: int = {n}) -> int:\n    return a * b + {n}\n" for n in range(LINES // 3))


def save(folder: Path, number: int) -> float:
    beside = folder / ".timed.new"
    beside.write_text(HEAD.format(number=number) + BODY)
    began = time.perf_counter()
    beside.rename(folder / "timed.py")
    return began


async def served(kernel: Kernel, number: int) -> None:
    """Return when a call is answered by the version `number`; looked at at each switch, so nothing is polled."""
    switched = asyncio.Event()
    undo = kernel.on_table(lambda table: switched.set())
    try:
        while True:
            switched.clear()
            with contextlib.suppress(NotFound):
                if await kernel.context(ADA).call("timed.number") == number:
                    return
            await switched.wait()
    finally:
        undo()


class Bare:
    """watchfiles with its defaults, a bare exec and an assignment: the least a hot reload can be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current: dict[str, Any] = {}
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for _ in awatch(self.folder):
            space: dict[str, Any] = {"__name__": "bare"}
            exec(compile((self.folder / "timed.py").read_text(), "timed.py", "exec"), space)
            self.current = space
            self.changed.set()

    async def served(self, number: int) -> None:
        while not self.current or await self.current["number"](None) != number:
            self.changed.clear()
            await self.changed.wait()


def line(name: str, ours: float, peer: float | None, floor: str, goal: str) -> None:
    beside = f"{peer:>9.1f} ms {peer / ours:>6.2f}x" if peer is not None else f"{'':>12} {'':>7}"
    print(f"{name:<44} {ours:>9.1f} ms {beside}  floor {floor:<8} goal {goal}", flush=True)


async def main() -> None:
    """Run all measures."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        async with running_kernel(Path(one), plugins={"allow_all": ALLOW_ALL}) as kernel:
            bare = Bare(Path(two))
            folder = kernel.config.paths.plugins
            save(folder, 0)
            save(Path(two), 0)
            await served(kernel, 0)
            ours, theirs = [], []
            for number in range(1, ROUNDS + 1):
                began = save(folder, number)
                await served(kernel, number)
                ours.append((time.perf_counter() - began) * 1000)
                if number <= ROUNDS // 3:
                    await asyncio.sleep(0.06)
                    began = save(Path(two), number)
                    await bare.served(number)
                    theirs.append((time.perf_counter() - began) * 1000)
            bare.task.cancel()
            p95 = statistics.quantiles(ours, n=20)[-1]
            print(f"{'measure':<44} {'ours':>12} {'peer':>12} {'faster':>7}")
            line(
                "save to served p50, peer watchfiles defaults",
                statistics.median(ours),
                statistics.median(theirs),
                "20 ms",
                "4x",
            )
            line("save to served p95", p95, None, "35 ms", "35 ms")
            print(f"reloads {kernel.modules.counts().success}, leaked {kernel.modules.counts().leaked}")


if __name__ == "__main__":
    asyncio.run(main())
