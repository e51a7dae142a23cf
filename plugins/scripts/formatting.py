"""The verb `aether fmt`: files, folders and standard input in the one style, without a hub."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

import aether_lang
from aether_lang import AetherError, signatures
from kernel import Plugin, Terminal

from .limits import SHIPPED
from .roots import scripts_in

STDIN: Final = "-"


def add(p: Plugin) -> None:
    """Collect the verb on `p`."""
    p.command("fmt")(fmt)


async def fmt(terminal: Terminal, files: list[str], check: bool = False, diff: bool = False) -> int | None:
    """Write scripts anew in the one style, with the meaning and the comments they had.

    A folder stands for all scripts below it; - reads standard input and prints the result. --check writes nothing,
    tells what would change, and exits with 1 if anything would; --diff writes nothing either and prints the changes.
    A signed script is left as it is. What cannot be read is told, the others are done, and the exit status is 1.
    """
    summary = _Summary(terminal, check=check, diff=diff)
    for named in files:
        for path in await asyncio.to_thread(_scripts, named):
            outcome = await asyncio.to_thread(_formatted, path)
            if outcome.changed and path != STDIN and not (check or diff):
                outcome = await asyncio.to_thread(_written, Path(path), outcome)
            summary.show(path, outcome)
    summary.end()
    return 1 if summary.failed or (check and summary.changed) else None


class _Outcome(msgspec.Struct, frozen=True):
    """What became of one script: its text before and after, and why there is none after."""

    before: str = ""
    after: str = ""
    signed: bool = False
    problem: str = ""
    diagnostics: tuple[Any, ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.problem or self.diagnostics)

    @property
    def changed(self) -> bool:
        return not self.failed and self.before != self.after


class _Summary:
    """Prints what became of each script, and counts."""

    def __init__(self, terminal: Terminal, *, check: bool, diff: bool) -> None:
        self._terminal = terminal
        self._check = check
        self._diff = diff
        self.files = self.changed = self.signed = self.failed = 0
        self._piped = False

    def show(self, path: str, outcome: _Outcome) -> None:
        """Print one outcome."""
        self.files += 1
        self.changed += outcome.changed
        self.signed += outcome.signed
        self.failed += outcome.failed
        only_looks = self._check or self._diff
        piped = path == STDIN and not only_looks
        self._piped = self._piped or piped
        changes = _changes(path, outcome) if self._diff and outcome.changed else ""
        if self._terminal.json:
            record = {
                "file": path, "changed": outcome.changed, "signed": outcome.signed, "error": outcome.problem,
                "diagnostics": msgspec.to_builtins(outcome.diagnostics),
            }  # fmt: skip
            extra = {"diff": changes} if self._diff else {"text": outcome.after} if piped else {}
            self._terminal.print({**record, **extra})
            return
        if outcome.failed:
            for said in [finding.render() for finding in outcome.diagnostics] or [outcome.problem]:
                self._say(said, piped)
        elif piped:
            self._write(outcome.after)
        elif changes:
            self._write(changes)
        elif outcome.signed:
            self._terminal.print(f"{path}: signed, left as it is")
        elif outcome.changed:
            self._terminal.print(f"{path}: {'would change' if only_looks else 'formatted'}")

    def _say(self, text: str, piped: bool) -> None:
        """Print what is wrong; to standard error where the script itself is awaited on standard output."""
        if piped:
            sys.stderr.write(text + "\n")
        else:
            self._terminal.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _write(self, text: str) -> None:
        self._terminal.console.file.write(text)

    def end(self) -> None:
        """Print the counts, unless a script went to standard output."""
        if self._terminal.json or self._piped:
            return
        would = "would change" if self._check or self._diff else "formatted"
        parts = [f"{self.files} file{'' if self.files == 1 else 's'}", f"{self.changed} {would}"]
        if self.signed:
            parts.append(f"{self.signed} signed")
        if self.failed:
            parts.append(f"{self.failed} with errors")
        self._terminal.print(", ".join(parts))


def _scripts(named: str) -> list[str]:
    path = Path(named)
    return [str(file) for file in scripts_in(path)] if named != STDIN and path.is_dir() else [named]


def _formatted(path: str) -> _Outcome:
    """Format one script, and write nothing."""
    most = int(SHIPPED["source_kb"]) * 1024 + 1  # the finding says that a longer one is too long
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(most)
        else:
            with Path(path).open("rb") as source:
                data = source.read(most)
        text = data.decode("utf-8")
    except OSError as error:
        return _Outcome(problem=f"{path} cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        return _Outcome(problem=f"{path} is not UTF-8: byte {error.start + 1} cannot be read")
    try:
        return _Outcome(text, aether_lang.format_script(text, path), signatures.is_signed(text))
    except AetherError as error:
        return _Outcome(diagnostics=error.diagnostics)
    except aether_lang.FormattingError as error:
        return _Outcome(problem=str(error))


def _written(path: Path, outcome: _Outcome) -> _Outcome:
    """Put the new text in place of the old in one step, with the old mode; behind a link, where it leads."""
    real = path.resolve()
    temporary = None
    try:
        old = real.stat()
        handle, temporary = tempfile.mkstemp(prefix=".aether-fmt-", dir=real.parent)
        with os.fdopen(handle, "wb") as target:
            with contextlib.suppress(PermissionError):  # only root may give a file back to its owner
                os.fchown(target.fileno(), old.st_uid, old.st_gid)
            os.fchmod(target.fileno(), stat.S_IMODE(old.st_mode))
            target.write(outcome.after.encode())
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).replace(real)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return _Outcome(problem=f"{path} cannot be written: {error.strerror or error}")
    return outcome


def _changes(path: str, outcome: _Outcome) -> str:
    """A unified diff. A line end of two characters shows, since it would go."""
    before, after = (text.splitlines(keepends=True) for text in (outcome.before, outcome.after))
    lines = difflib.unified_diff(before, after, path, path)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
