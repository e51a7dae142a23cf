"""The command `aether` and other programs of ours in processes that start at once: forked from one that imported them.

A process of these is one like any other: its own session, descriptors, environment, folder, signals and exit status; it
runs a module as `python -m` does. What it does not show is that `aether` can be found and begins from nothing:
`tests/hub/test_cli.py`, `tests/hub/test_installation.py` and the tests that type what the docs say run it themselves.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AETHER = Path(sys.executable).parent / "aether"
LIBRARIES = ("aether_lang.host", "aiosqlite", "anyio._backends._asyncio", "prometheus_client", "re2", "watchfiles")
"""What bundled plugins and the kernel import when a hub starts; plugins themselves are loaded by each hub."""
SIZE = 4
"""Bytes of an order's length."""
_ordering = threading.Lock()
"""Held while an order is given, since threads give orders too."""


class WarmProcess:
    """A running command, as asyncio has its own: `pid`, `stdout`, `stderr`, `returncode`, `wait`, signals."""

    def __init__(self, pid: int, told: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._ending = asyncio.create_task(self._end(told))

    async def _end(self, told: asyncio.StreamReader) -> None:
        self.returncode = int(await told.readline())
        await told.read()

    async def wait(self) -> int:
        """Return its exit status once it has ended; minus the signal's number if one ended it."""
        await asyncio.shield(self._ending)
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read what it writes until it has ended."""
        read = [stream.read() for stream in (self.stdout, self.stderr) if stream is not None]
        out, err, *_ = *await asyncio.gather(*read), b"", b""
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # ended a moment ago, and not yet told of
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


async def start(
    *arguments: str, env: Mapping[str, str], cwd: Path | str | None = None, together: bool = False
) -> WarmProcess:
    """Start `aether ARGUMENTS` with just that environment; `together` has standard error come with the output."""
    out, theirs_out = os.pipe()
    err, theirs_err = (None, theirs_out) if together else os.pipe()
    pid, told = _order(arguments, env, cwd, theirs_out, theirs_err)
    for descriptor in {theirs_out, theirs_err}:
        os.close(descriptor)
    reader, writer = await asyncio.open_unix_connection(sock=told)
    process = WarmProcess(pid, reader)
    process._ending.add_done_callback(lambda _: writer.close())
    process.stdout = await _stream(out)
    process.stderr = None if err is None else await _stream(err)
    return process


async def _stream(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
    return reader


def run(
    *arguments: str, env: Mapping[str, str], cwd: Path | str | None = None, module: str = "hub", said: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run `aether ARGUMENTS`, or another module, to its end; `said` is its input. Return its status, output, errors."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(said)
        given.seek(0)
        _, told = _order(arguments, env, cwd, out.fileno(), err.fileno(), given.fileno(), module=module)
        with told, told.makefile() as lines:
            status = int(lines.readline())
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read().decode(), err.read().decode())


# The process that all are forked from, one for each that runs tests -------------------------------------------------


def _order(
    arguments: tuple[str, ...], env: Mapping[str, str], cwd: Path | str | None, *standard: int, module: str = "hub"
) -> tuple[int, socket.socket]:
    """Have a process forked; return its number, and a socket that tells its status in a line when it has ended.

    `standard` are its output, its errors and, where it has any, its input.
    """
    argv = [str(AETHER), *map(str, arguments)]
    sent = json.dumps({"module": module, "argv": argv, "env": dict(env), "cwd": str(cwd or Path.cwd())}).encode()
    told, theirs = socket.socketpair()
    with theirs, _ordering:
        control = _warm()
        socket.send_fds(control, [len(sent).to_bytes(SIZE, "big")], [*standard, theirs.fileno()])
        control.sendall(sent)
    return int(_line(told)), told


def _line(told: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        read = told.recv(1)
        assert read, "the process that others are forked from has ended"
        line += read
    return line


@functools.cache
def _warm() -> socket.socket:
    """Start it; it ends when this process does."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def wait_for_orders(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for every order, and tell how each ended; return, in a forked one, its order and descriptors."""
    wakes, woken = socket.socketpair()
    for end in (wakes, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_the_ended(running)
        if control in ready:
            size, given, _, _ = socket.recv_fds(control, SIZE, 4)
            if not size:
                sys.exit(0)
            order = json.loads(control.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (*running.values(), given.pop(), control.detach(), wakes.detach(), woken.detach()):
                    os.close(descriptor)
                return order, given
            *standard, running[pid] = given
            os.write(running[pid], b"%d\n" % pid)
            for descriptor in standard:
                os.close(descriptor)


def _tell_the_ended(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(running[pid], b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(running.pop(pid))


def become(argv: list[str], env: dict[str, str], cwd: str, descriptors: list[int]) -> None:
    """Be the process that was ordered: what a start by `exec` gives is given here by hand."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which we may have been started without
    os.chdir(cwd)
    for number, descriptor in zip((1, 2, 0), descriptors, strict=False):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = argv
    lines = 1 if env.get("PYTHONUNBUFFERED") else -1
    # Of what they are opened over, nothing is theirs to close.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", lines, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def main() -> None:
    """Import what is ours and what it needs, and run the module that is ordered, each time in a process of its own."""
    for name in ("kernel", "hub"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(".__main__") and ".templates" not in module.name:
                importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that no collection of a forked process touches, and copies, what all share
    order, descriptors = wait_for_orders(socket.socket(fileno=int(sys.argv[1])))
    module = order.pop("module")
    become(**order, descriptors=descriptors)
    try:
        runpy.run_module(module, run_name="__main__")
        status = 0
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        status = end.code or 0
    # As `multiprocessing` ends what it forks: taking apart what all share would only copy it.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
