"""What is said about a script that cannot be read or should not run: one record per finding, and its rendering.

Codes: `AE1xx` syntax, `AE2xx` names, `AE3xx` capabilities, `AE4xx` declarations, `AW..` warnings, `AS1xx` notes on
style, which say how the formatter would write it. `codes.toml` explains each of them."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

# Longer source lines are cut around the place in question, so that a record stays small whatever the script holds.
LONGEST_LINE = 300
MOST_EXPECTED = 6


class Related(msgspec.Struct, frozen=True):
    """Another place that belongs to a finding, such as the bracket that was opened there."""

    line: int
    message: str


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding. Lines and columns count characters from 1; `end_column` is the first column behind, on the same
    line. `caret` is the line to print under `source_line`; `expected` holds at most six human names; `kind` is
    `syntax` or `check`; a `code` that begins with `AE` makes it an error, with `AW` a warning, with `AS` a note on
    style."""

    kind: str
    code: str
    file: str
    line: int
    column: int
    end_column: int
    message: str
    source_line: str
    caret: str
    expected: tuple[str, ...] = ()
    suggestion: str | None = None
    related: tuple[Related, ...] = ()

    @property
    def is_warning(self) -> bool:
        """True when the script may run all the same."""
        return not self.code.startswith("AE")

    @property
    def is_style(self) -> bool:
        """True when it only says how the formatter would write it."""
        return self.code.startswith("AS")

    def render(self) -> str:
        """The finding as people read it: place and message, the line with a caret, what was expected and a hint."""
        label = "style" if self.is_style else "warning" if self.is_warning else f"{self.kind} error"
        lines = [f"{self.file}:{self.line}:{self.column}: {label}: {self.message}"]
        if self.source_line.strip():
            lines += [self.source_line, self.caret]
        notes = []
        if self.expected:
            notes.append("expected: " + ", ".join(self.expected))
        if self.suggestion:
            notes.append("hint: " + self.suggestion)
        if notes:
            lines.append("  " + "   ".join(notes))
        lines += [f"  line {other.line}: {other.message}" for other in self.related]
        return "\n".join(lines)


class AetherError(Exception):
    """A script that cannot be accepted. `diagnostics` holds every finding, in the order of their places."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(diagnostic.render() for diagnostic in self.diagnostics))


class SyntaxProblem(Exception):
    """A finding by offsets, as the stages of the front end raise it; `Source.diagnose` makes the record of it."""

    def __init__(
        self,
        code: str,
        message: str,
        start: int,
        end: int,
        *,
        expected: tuple[str, ...] = (),
        suggestion: str | None = None,
        related: tuple[tuple[int, str], ...] = (),
        kind: str = "syntax",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.expected = expected
        self.suggestion = suggestion
        self.related = related
        self.kind = kind


class Source:
    """The text of a script with its name, and the way from offsets to lines and columns."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    @property
    def lines(self) -> int:
        """How many lines the text has."""
        return len(self._starts)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a line without its end."""
        start = self._starts[line - 1]
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        return self.text[start:end].removesuffix("\r")

    def diagnose(self, problem: SyntaxProblem) -> Diagnostic:
        """The finding as a record with line, column, source line and caret."""
        start = min(max(problem.start, 0), len(self.text))
        line, column = self.position(start)
        text = self.line_text(line)
        column = min(column, len(text) + 1)
        width = min(max(problem.end - problem.start, 1), max(len(text) - column + 1, 1))
        shown, indent = _window(text, column)
        return Diagnostic(
            kind=problem.kind,
            code=problem.code,
            file=self.name,
            line=line,
            column=column,
            end_column=column + width,
            message=problem.message,
            source_line=shown,
            caret="".join("\t" if character == "\t" else " " for character in indent) + "^",
            expected=problem.expected[:MOST_EXPECTED],
            suggestion=problem.suggestion,
            related=tuple(Related(self.position(offset)[0], message) for offset, message in problem.related),
        )


def _window(text: str, column: int) -> tuple[str, str]:
    """The part of a line to show, and what of it stands left of the column."""
    if len(text) <= LONGEST_LINE:
        return text, text[: column - 1]
    start = max(0, column - 1 - LONGEST_LINE // 2)
    shown = text[start : start + LONGEST_LINE]
    return shown, shown[: column - 1 - start]


def refused(source: str, name: str, line: int, column: int, message: str, code: str) -> AetherError:
    """The error of the compiler for what it cannot make, at its place."""
    lines = source.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    caret = "".join(c if c == "\t" else " " for c in text[: column - 1]) + "^"
    return AetherError([Diagnostic("check", code, name, line, column, column + 1, message, text, caret)])
