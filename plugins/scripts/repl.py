"""The verb `aether repl`: statements, one entry after another, in one session on mocks."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from aether_lang.budget import Budget
from aether_lang.determinism import FixedHost
from aether_lang.errors import Diagnostic
from aether_lang.host import Host, LocalHost
from aether_lang.mocks import Mocks
from aether_lang.program import Outcome
from aether_lang.session import Session
from kernel import AetherraError, Plugin, Terminal

from .limits import SHIPPED
from .local import Modules, Source, Telling, complain, note, read, rendered, say, waiting

HISTORY: Final = "repl_history"
HISTORY_MOST: Final = 1_000
"""Lines of the history that are kept under HOME."""
ENTRY_MOST: Final = 2_000
"""Lines that one entry may have."""
_LONG: Final = ('"""', "'''", "/*")
"""What begins a text or a comment of several lines."""
HELP: Final = """\
An entry is a statement or an expression; its value is shown. What stands open goes on in the next line; an indented
block ends with an empty line. Effects go to mocks: nothing outside changes.

  :vars        what is bound, with its value
  :effects     what the entries would have done
  :load FILE   run a script as an entry
  :help        this
  :quit        end (so does the end of the input)"""


def add(p: Plugin) -> None:
    """Collect the verb on `p`."""
    p.command("repl")(repl)


async def repl(terminal: Terminal, seed: int | None = None) -> int | None:
    """Read statements and show what they give; effects go to mocks, so nothing outside changes.

    What an entry binds, the next ones have. :help tells more. --seed N makes chance repeatable. Without a terminal
    the standard input is read, and the exit status is 1 when an entry failed.
    """
    talk = _Talk(terminal, seed)
    with _history(terminal.home) if talk.asks else contextlib.nullcontext():
        talk.go_on()
    return 1 if talk.failed and not talk.asks else None


class _Talk:
    """One session at a terminal."""

    def __init__(self, terminal: Terminal, seed: int | None) -> None:
        self.asks = sys.stdin.isatty()
        self.failed = False
        self._terminal = terminal
        silent = terminal.json
        said, logged = (_unsaid, _unnoted) if silent else (say, note)
        budget = Budget({})
        base = LocalHost(seed=seed, out=StringIO(), modules=Modules(terminal.config, Path()), sleep=waiting(budget))
        self._telling = Telling(base, said, logged)
        host: Host = self._telling if seed is None else FixedHost(self._telling, seed, None)
        self._mocks = Mocks(host, limits=SHIPPED, source="script:repl")
        self._session = Session(self._mocks, budget, "repl")
        self._entries = 0

    def go_on(self) -> None:
        """Take entries until the end."""
        if self.asks:
            print("Aether Script, on mocks. :help tells more, :quit ends.")
        while (entry := self._read()) is not None:
            word, _, rest = entry.strip().partition(" ")
            if word in (":quit", ":q"):
                break
            if word.startswith(":"):
                self._command(word, rest.strip())
            elif entry.strip():
                self._run(Source(self._name(), entry, Path()))
        self._session.close()

    def _name(self) -> str:
        self._entries += 1
        return f"entry {self._entries}"

    # Reading -----------------------------------------------------------------------------------------------------

    def _read(self) -> str | None:
        """The lines of the next entry; None at the end of the input."""
        lines: list[str] = []
        indented = False
        while True:
            line = self._line(". " if lines else "> ")
            if line is None:
                return "\n".join(lines) if lines else None
            if line == _INTERRUPTED:
                lines, indented = [], False
                continue
            lines.append(line)
            text = "\n".join(lines)
            if len(lines) == 1 and (not line.strip() or line.lstrip().startswith(":")):
                return line
            wants = wanting(text)
            indented = indented or wants == "block" or (not wants and line.rstrip().endswith(":"))
            ended = not line.strip() if indented else True
            if len(lines) >= ENTRY_MOST or (wants != "bracket" and ended):
                return text

    def _line(self, prompt: str) -> str | None:
        try:
            return input(prompt) if self.asks else _piped()
        except EOFError:
            return None
        except KeyboardInterrupt:
            print()
            return _INTERRUPTED

    # Running -----------------------------------------------------------------------------------------------------

    def _run(self, source: Source) -> None:
        from aether_lang.front import compiled_entry  # loads the parser

        made = compiled_entry(source.text, source.name, self._session.names)
        findings = [one for one in msgspec.convert(made["diagnostics"], list[Diagnostic]) if not one.is_style]
        before = len(self._mocks.calls), len(self._telling.lines)
        for finding in [] if self._terminal.json else findings:
            complain(finding.render())
        if not made["ok"]:
            self.failed = True
            if self._terminal.json:
                self._terminal.print({"state": "failed", "diagnostics": msgspec.to_builtins(findings)})
            return
        with _interrupting(self._session.budget.cancel):
            outcome = self._session.run(made["code"], made["shows"])
        self.failed = self.failed or outcome.state != "completed"
        self._show(outcome, source, *before)

    def _show(self, outcome: Outcome, source: Source, calls: int, lines: int) -> None:
        if self._terminal.json:
            effects = [call for call in self._mocks.calls[calls:] if call.matters]
            record = {
                "state": outcome.state, "result": outcome.result, "error": outcome.error,
                "output": self._telling.lines[lines:], "effects": msgspec.to_builtins(effects),
            }  # fmt: skip
            self._terminal.print(record)
        elif outcome.error is not None:
            complain(rendered(outcome.error, source))
        elif outcome.result is not None:
            say(outcome.result)

    # Commands ----------------------------------------------------------------------------------------------------

    def _command(self, word: str, rest: str) -> None:
        if word == ":help":
            say(HELP)
        elif word == ":vars":
            for name in self._session.names:
                say(f"{name} = {self._session.value(name)}")
        elif word == ":effects":
            for call in self._mocks.effects:
                say(f"{call.capability}: {call.would}")
        elif word == ":load" and rest:
            try:
                self._run(read(self._terminal.config, rest))
            except AetherraError as error:
                self.failed = True
                complain(error.message)
        else:
            self.failed = True
            complain(f"{word} is no command here, or wants a FILE; :help lists them")


_INTERRUPTED: Final = "\0"


def wanting(text: str) -> str:
    """What a text lacks that further lines can give: the end of a `bracket` (or of a long text or comment), a `block`;
    empty where it is whole, or wrong."""
    from aether_lang.errors import AetherError
    from aether_lang.parser import parse  # loads the parser

    try:
        parse(text, "entry")
    except AetherError as error:
        last = text.count("\n") + 1
        for one in error.diagnostics:
            if one.code == "AE103" or (one.code == "AE102" and any(mark in text for mark in _LONG)):
                return "bracket"
            if one.code == "AE114" and one.line >= last:
                return "block"
    return ""


def _piped() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def _unsaid(_line: str) -> None:
    pass


def _unnoted(*_: Any) -> None:
    pass


@contextlib.contextmanager
def _interrupting(cancel: Callable[[str], None]) -> Iterator[None]:
    """Inside, an interrupt from the keyboard ends the entry."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel("interrupted")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _history(home: Path) -> Iterator[None]:
    """Inside, lines are edited, and those of earlier sessions are there; the last of them are kept under HOME.

    At the prompt an interrupt from the keyboard drops the entry.
    """
    try:
        import readline  # not everywhere
    except ImportError:
        yield
        return
    file = home / HISTORY
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(HISTORY_MOST)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.write_history_file(file)
