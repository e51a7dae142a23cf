"""Running a script here, without a hub: on mocks or on what was recorded (`aether run --local`)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from aether_lang.budget import Budget
from aether_lang.determinism import FixedHost
from aether_lang.errors import Diagnostic
from aether_lang.host import Host, Layer, LoadedModule, LocalHost
from aether_lang.mocks import Effect, Mocks
from aether_lang.program import Outcome, run
from aether_lang.recordings import Recorder, RecordingError, Replayer
from aether_lang.values import Place, ScriptError
from kernel import AetherraError, BadInput, Config, Terminal

from .library import Library, Root
from .limits import SHIPPED
from .names import readable
from .reading import text_of
from .roots import roots_of

KEPT_LINES: Final = 10_000
"""Lines of output and records of the log that are kept for `--json`, each."""
GLANCE_S: Final = 0.05
"""How often a wait looks whether the run must end."""
EXACT: Final = 1_767_225_600.0
"""When a run with a fixed clock begins: 2026-01-01T00:00:00Z."""


class Source(msgspec.Struct, frozen=True):
    """A script to run here: its name for messages, its text, and where its modules are looked for first."""

    name: str
    text: str
    folder: Path


class Compiled(msgspec.Struct, frozen=True):
    """A source that the front end has read. `code` is empty where it has an error."""

    source: Source
    code: bytes
    findings: list[Diagnostic]
    contracts: list[dict[str, Any]] = []


class Ended(msgspec.Struct, frozen=True):
    """What came of a run here: how it ended, what it said, and the calls it made of the outside."""

    outcome: Outcome
    output: list[str]
    log: list[dict[str, Any]]
    calls: list[Effect]


def read(config: Config, named: str) -> Source:
    """Return the file of that name, or the script of the folders; BadInput or NotFound where there is none."""
    path = Path(named)
    if path.is_file():
        return Source(named, text_of(path), path.parent)
    found = Library(roots_of(config), int(SHIPPED["source_kb"])).find(named)
    return Source(found.name, found.source, Path())


def compiled(source: Source) -> Compiled:
    """Parse, check and compile; what is wrong is among the findings."""
    from aether_lang.front import compiled as front  # loads the parser

    made = front(source.text, source.name)
    findings = msgspec.convert(made["diagnostics"], list[Diagnostic])
    meta = made.get("meta") or {}
    return Compiled(source, made.get("code", b""), findings, list(meta.get("contracts") or []))


class Modules:
    """The modules of a script: those of its own folder, then of the script folders; each is compiled once."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._library = Library([Root(folder, bundled=False), *roots_of(config)], int(SHIPPED["source_kb"]))
        self._compiled: dict[str, LoadedModule] = {}

    def __call__(self, path: str) -> LoadedModule | None:
        """Return the module, None where there is none; `ImportError` for one that has an error."""
        try:
            found = self._library.module(path)
        except AetherraError:
            return None
        if found.name not in self._compiled:
            made = compiled(Source(found.name, found.source, Path()))
            if not made.code:
                worst = next(one for one in made.findings if not one.is_warning)
                place = f"{worst.file}:{worst.line}:{worst.column}"
                raise ScriptError("ImportError", f"module '{path}' has an error: {place}: {worst.message}")
            self._compiled[found.name] = LoadedModule(made.code, found.name, found.hash)
        return self._compiled[found.name]


class Telling(Layer):
    """Hands on each line of output and each record of the log as it comes, and keeps the first of them."""

    def __init__(self, base: Host, said: Callable[[str], None], logged: Callable[[str, str, Place], None]) -> None:
        super().__init__(base)
        self.lines: list[str] = []
        self.records: list[dict[str, Any]] = []
        self._said = said
        self._logged = logged

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """One operation of the host beneath."""
        return self.base.call(capability, operation, args, position)

    def output(self, line: str) -> None:
        """One line of output."""
        if len(self.lines) < KEPT_LINES:
            self.lines.append(line)
        self._said(line)

    def log(self, level: str, message: str, position: Place) -> None:
        """One record of the log."""
        if len(self.records) < KEPT_LINES:
            self.records.append({"level": level, "message": message, "line": position[1]})
        self._logged(level, message, position)


def waiting(budget: Budget) -> Callable[[float], None]:
    """Return what waits for so many seconds, unless the run must end before."""

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            budget.check()
            time.sleep(min(left, GLANCE_S))

    return wait


class LocalRun:
    """One run here. With a `clock` that is fixed nothing waits and every run of the same text is the same."""

    def __init__(
        self,
        program: Compiled,
        config: Config,
        *,
        seed: int | None = None,
        exact: bool = False,
        said: Callable[[str], None] = lambda _: None,
        logged: Callable[[str, str, Place], None] = lambda *_: None,
        called: Callable[[Effect], None] = lambda _: None,
    ) -> None:
        """`seed` makes chance repeatable; `exact` fixes the clock too. `said`, `logged` and `called` are told of each
        line, record and call as it comes."""
        self.program = program
        self.budget = Budget({name: SHIPPED[name] for name in ("wall_s", "active_s")})
        modules = Modules(config, program.source.folder)
        self._base = LocalHost(seed=seed, out=StringIO(), modules=modules, sleep=waiting(self.budget))
        self._telling = Telling(self._base, said, logged)
        host: Host = self._telling
        if seed is not None or exact:
            host = FixedHost(host, 0 if seed is None else seed, EXACT if exact else None)
        source = f"script:{readable(Path(program.source.name).name)}"
        self.mocks = Mocks(host, contracts=program.contracts, limits=SHIPPED, source=source, noted=called)

    def recorded(self, path: Path) -> AbstractContextManager[Host]:
        """Return the host that writes down what the mocks answer; the file is whole at the end of the context."""
        return _Recording(self.mocks, path, self.program.source.text)

    def replayed(self, path: Path) -> Replayer:
        """Return the host that answers from a recording; `BadInput` for a file that is none of this script."""
        try:
            return Replayer(self._telling, path, self.program.source.text)
        except RecordingError as error:
            raise BadInput(str(error)) from None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None

    def run(self, host: Host, parameters: Mapping[str, Any], entry: str | None) -> Ended:
        """Run to the end."""
        outcome = run(self.program.code, host, dict(parameters), budget=self.budget, entry=entry, job="local")
        return Ended(outcome, self._telling.lines, self._telling.records, self.mocks.calls)


class _Recording(AbstractContextManager[Host]):
    """A file that takes a recording."""

    def __init__(self, mocks: Mocks, path: Path, text: str) -> None:
        self._mocks = mocks
        self._text = text
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None

    def __enter__(self) -> Host:
        return Recorder(self._mocks, self._file, self._text)

    def __exit__(self, *_: object) -> None:
        self._file.close()


async def aside(local: LocalRun, work: Callable[[], Ended]) -> Ended:
    """Run in a thread, so that an interrupt stops the script and not the terminal."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        local.budget.cancel("interrupted")
        await running
        raise


# The verb --------------------------------------------------------------------------------------------------------


async def run_locally(
    terminal: Terminal,
    script: str,
    *,
    parameters: Mapping[str, Any],
    entry: str,
    seed: int | None,
    record: str,
    replay: str,
) -> int:
    """Run a script on mocks, print what it says as it comes and its result last; 1 when it failed."""
    if record and replay:
        raise BadInput("--record writes what --replay reads; give one of them")
    program = await prepared(terminal, script)
    if program is None:
        return 1
    said, logged = _tellers(terminal)
    local = LocalRun(program, terminal.config, seed=seed, said=said, logged=logged)
    if replay:
        context: AbstractContextManager[Host] = nullcontext(local.replayed(Path(replay)))
    else:
        context = local.recorded(Path(record)) if record else nullcontext(local.mocks)
    with context as host:
        ended = await aside(local, lambda: local.run(host, parameters, entry or None))
    left = host.left if isinstance(host, Replayer) and ended.outcome.state == "completed" else 0
    if left:
        logged("warning", f"the recording has {left} more calls than this run made", ("", 0, 0, ""))
    show_end(terminal, ended, program.source)
    return 0 if ended.outcome.state == "completed" else 1


async def prepared(terminal: Terminal, script: str) -> Compiled | None:
    """Return the script, compiled; None where it has errors, which are printed."""
    source = await asyncio.to_thread(read, terminal.config, script)
    program = await asyncio.to_thread(compiled, source)
    if program.code:
        return program
    shown = [one for one in program.findings if not one.is_style]
    if terminal.json:
        terminal.print({"state": "failed", "diagnostics": msgspec.to_builtins(shown)})
    for finding in [] if terminal.json else shown:
        complain(finding.render())
    return None


def _tellers(terminal: Terminal) -> tuple[Callable[[str], None], Callable[[str, str, Place], None]]:
    if terminal.json:
        return lambda _: None, lambda *_: None
    return say, note


def say(line: str) -> None:
    """Print to the standard output."""
    print(line, flush=True)


def note(level: str, message: str, position: Place) -> None:
    """Print a record of the log to the standard error."""
    place = f" ({position[0]}:{position[1]})" if position[1] else ""
    complain(f"{level}: {message}{place}")


def complain(text: str, to: TextIO | None = None) -> None:
    """Print to the standard error."""
    print(text, file=sys.stderr if to is None else to, flush=True)


def show_end(terminal: Terminal, ended: Ended, source: Source) -> None:
    """Print the result, or the error with its place and line."""
    outcome = ended.outcome
    if terminal.json:
        effects = msgspec.to_builtins([call for call in ended.calls if call.matters])
        terminal.print(
            {
                "state": outcome.state, "result": outcome.result, "error": outcome.error, "output": ended.output,
                "log": ended.log, "effects": effects, "steps": outcome.steps,
            }
        )  # fmt: skip
    elif outcome.error is not None:
        complain(rendered(outcome.error, source))
    elif outcome.result is not None:
        terminal.console.print_json(msgspec.json.encode(outcome.result).decode())


def rendered(error: Mapping[str, Any], source: Source) -> str:
    """Return an error of a run as people read it: its place, what it is, and the line with a caret."""
    line, column = int(error.get("line") or 0), int(error.get("column") or 1)
    lines = source.text.splitlines()
    head = f"{error.get('type', 'Error')}: {error.get('message', '')}"
    if line < 1:
        return head
    shown = [f"{error.get('file') or source.name}:{line}:{column}: {head}"]
    if error.get("file") in (None, "", source.name) and line <= len(lines):
        before = lines[line - 1][: column - 1]
        shown += [lines[line - 1], "".join("\t" if one == "\t" else " " for one in before) + "^"]
    frames: Sequence[Any] = error.get("stack") or []
    shown += [f"  in {frame['function']} ({frame['file']}:{frame['line']})" for frame in frames[1:]]
    return "\n".join(shown)
