"""What the battery and its child processes tell each other: where the plugin lies, and what was found so far."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from kernel.battery.report import Finding, Findings


class Order(msgspec.Struct, frozen=True):
    """What a child is to do. `answer` is the file for its `Told`."""

    path: str
    home: str
    answer: str
    beside: tuple[str, ...] = ()
    reserved: dict[str, str] = {}


class Told(msgspec.Struct, frozen=True):
    """What a child has found so far, and the checks it is at; `whole` once it came to its end."""

    findings: tuple[Finding, ...] = ()
    at: tuple[str, ...] = ()
    whole: bool = False


class Child:
    """The inner side: the order, and the findings, written down at each step so that a crash loses none of them."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.path = Path(order.path)
        self.findings = Findings()
        self._at: tuple[str, ...] = ()

    def reach(self, *checks: str) -> None:
        """End the checks made until now; those named come next."""
        self.findings.done(*self._at)
        self._at = checks
        self._tell(whole=False)

    def _tell(self, *, whole: bool) -> None:
        answer = Path(self.order.answer)
        staged = answer.with_suffix(".new")
        staged.write_bytes(msgspec.json.encode(Told(tuple(self.findings.found), self._at, whole)))
        staged.replace(answer)

    @classmethod
    def run(cls, main: Callable[[Child], Any]) -> None:
        """Run a child's program: its order comes on standard input."""
        child = cls(msgspec.json.decode(sys.stdin.buffer.read(), type=Order))
        result = main(child)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        child._tell(whole=True)


def on_thread_start(note: Callable[[threading.Thread, FrameType | None], None]) -> None:
    """Call `note` with every thread that is started from now on in this process, and the frame that starts it.

    Python has no audit event for it in all the versions that we run on; the process is ours alone.
    """
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        note(thread, sys._getframe(1))
        start(thread)

    threading.Thread.start = started  # type: ignore[assignment,method-assign]


def ask(module: str, order: Order, *, timeout_s: float) -> tuple[list[Finding], bool]:
    """Run `module` as a program; return what it found, and whether it came to its end.

    Where it did not, the last finding says at which check it hung, or what it died of.
    """
    # Its folders, not its packages: the child finds the same kernel, the same libraries.
    paths = os.pathsep.join(path for path in sys.path if path and Path(path).is_absolute())
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=order.home,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(msgspec.json.encode(order), timeout=timeout_s)
        hung = False
    except subprocess.TimeoutExpired:
        hung, errors = True, b""
    finally:
        _end(process)
    answer = Path(order.answer)
    told = msgspec.json.decode(answer.read_bytes(), type=Told) if answer.exists() else Told()
    found = list(told.findings)
    if told.whole and not hung:
        return found, True
    at = told.at[0] if told.at else "source"
    if hung:
        found.append(Finding(at, "failed", f"did not come to its end within {timeout_s:g} s"))
    else:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["and said nothing"]
        found.append(Finding(at, "failed", f"ended its process with status {process.returncode}: {last[0][:300]}"))
    return found, False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child with everything that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
