"""The verb `aether test`: scripts run on mocks, and what they do is compared with what stands beside them.

Beside `tea.aether` lies `tea.expect`. Its first lines may say `param: NAME=VALUE`, `entry: NAME` and `seed: N`; behind
them stands the transcript: what the run printed, logged and did, in order, and what came of it.
"""

from __future__ import annotations

import asyncio
import difflib
from pathlib import Path
from typing import Any, Final

import msgspec

from aether_lang.mocks import Effect
from kernel import BadInput, Config, Plugin, Terminal

from .local import LocalRun, aside, compiled, read
from .names import SUFFIX
from .reading import text_of
from .roots import scripts_in

EXPECTED: Final = ".expect"
LINES_MOST: Final = 10_000
"""Lines of a transcript; what comes behind them is left out."""
TRANSCRIPT_KB: Final = 4 * 1024
"""Size of a file of expectations."""
_SETTINGS: Final = ("param", "entry", "seed")


def add(p: Plugin) -> None:
    """Collect the verb on `p`."""
    p.command("test")(try_all)


async def try_all(terminal: Terminal, paths: list[str], update: bool = False) -> int | None:
    """Run scripts on mocks and compare what they print, log and do with the transcript in NAME.expect beside each.

    A folder stands for the scripts below it that have such a file. Chance and time are fixed, so every run is the
    same. --update writes the transcripts anew; a script that is named itself gets its first that way.
    """
    tally = _Tally(terminal)
    for path in [one for named in paths for one in await asyncio.to_thread(_trials, named)]:
        tally.show(await _tried(terminal.config, path, update=update))
    return tally.end()


def _trials(named: str) -> list[Path]:
    path = Path(named)
    if path.is_dir():
        return [one for one in scripts_in(path) if _beside(one).is_file()]
    if not path.is_file():
        raise BadInput(f"{named} is neither a script nor a folder")
    return [path]


def _beside(script: Path) -> Path:
    return script.with_name(script.name.removesuffix(SUFFIX) + EXPECTED)


# Expectations ----------------------------------------------------------------------------------------------------


class Expected(msgspec.Struct, frozen=True):
    """A file of expectations: its settings as lines and as values, and the transcript."""

    head: list[str]
    parameters: dict[str, Any]
    entry: str
    seed: int
    transcript: list[str]


def understand(text: str, file: str) -> Expected:
    """Return what a file of expectations says; BadInput names the line that cannot be read."""
    lines = text.splitlines()
    parameters: dict[str, Any] = {}
    entry, seed, head = "", 0, 0
    for number, line in enumerate(lines):
        word, found, value = line.partition(":")
        if not found or word not in _SETTINGS:
            break
        head = number + 1
        value = value.strip()
        if word == "param":
            name, given, data = value.partition("=")
            if not given or not name.strip():
                raise BadInput(f"{file}:{head}: expected param: NAME=VALUE, got {line!r:.80}")
            parameters[name.strip()] = _value(data.strip())
        elif word == "entry":
            entry = value
        else:
            if not value.lstrip("-").isdecimal():
                raise BadInput(f"{file}:{head}: expected seed: N, a whole number, got {line!r:.80}")
            seed = int(value)
    return Expected(lines[:head], parameters, entry, seed, lines[head:])


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


class Transcript:
    """What a run did, a line for each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, word: str, text: str) -> None:
        """One thing that happened; the further lines of a text are indented."""
        if len(self.lines) < LINES_MOST:
            self.lines += f"{word}: {text}".replace("\n", "\n  ").split("\n")
        elif len(self.lines) == LINES_MOST:
            self.lines.append(f"(more than {LINES_MOST} lines)")

    def called(self, call: Effect) -> None:
        """A call; those that only read are left out."""
        if call.matters:
            self.add(call.capability, call.would)


# Trying ----------------------------------------------------------------------------------------------------------


class _Trial(msgspec.Struct, frozen=True):
    """What came of one script: `passed`, `failed`, `updated` or `missing` (it has no expectations)."""

    file: str
    outcome: str
    diff: list[str] = []


async def _tried(config: Config, path: Path, *, update: bool) -> _Trial:
    beside = _beside(path)
    there = await asyncio.to_thread(beside.is_file)
    if not there and not update:
        return _Trial(str(path), "missing")
    text = await asyncio.to_thread(text_of, beside, TRANSCRIPT_KB) if there else ""
    expected = understand(text, str(beside))
    got = await _transcript(config, path, expected)
    if got == expected.transcript and there:
        return _Trial(str(path), "passed")
    if update:
        await asyncio.to_thread(_write, beside, [*expected.head, *got])
        return _Trial(str(path), "updated")
    diff = difflib.unified_diff(expected.transcript, got, "expected", "got", lineterm="", n=2)
    return _Trial(str(path), "failed", list(diff)[2:])


async def _transcript(config: Config, path: Path, expected: Expected) -> list[str]:
    source = await asyncio.to_thread(read, config, str(path))
    program = await asyncio.to_thread(compiled, source)
    told = Transcript()
    if not program.code:
        for one in program.findings:
            if not one.is_warning:
                told.add("error", f"{one.line}:{one.column}: {one.code} {one.message}")
        return told.lines
    local = LocalRun(
        program,
        config,
        seed=expected.seed,
        exact=True,
        said=lambda line: told.add("print", line),
        logged=lambda level, message, _: told.add(level, message),
        called=told.called,
    )
    ended = await aside(local, lambda: local.run(local.mocks, expected.parameters, expected.entry or None))
    error = ended.outcome.error
    if error is not None:
        told.add("error", f"{error.get('line') or 0}: {error.get('type')}: {error.get('message')}")
    elif ended.outcome.result is not None:
        told.add("result", msgspec.json.encode(ended.outcome.result).decode())
    return told.lines


def _write(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None


class _Tally:
    """Prints what came of each script, and counts."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._counts = dict.fromkeys(("passed", "failed", "updated", "missing"), 0)

    def show(self, trial: _Trial) -> None:
        """Print one."""
        self._counts[trial.outcome] += 1
        if self._terminal.json:
            self._terminal.print(msgspec.to_builtins(trial))
            return
        told = f"{trial.file}: {trial.outcome}"
        if trial.outcome == "missing":
            told = f"{trial.file}: it has no {_beside(Path(trial.file)).name}; --update writes it"
        self._print(told, {"passed": "green", "updated": "yellow"}.get(trial.outcome, "red"))
        for line in trial.diff:
            self._print(f"  {line}", {"-": "red", "+": "green"}.get(line[:1], "dim"))

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        self._terminal.print(Text(text, style))

    def end(self) -> int | None:
        """Print the sums and return the exit status."""
        counts = self._counts
        total = sum(counts.values())
        if not self._terminal.json:
            parts = [f"{number} {word}" for word, number in counts.items() if number]
            self._terminal.print(f"{total} script{'' if total == 1 else 's'}" + "".join(f", {part}" for part in parts))
        return 1 if not total or counts["failed"] or counts["missing"] else None
