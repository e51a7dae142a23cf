"""Text to the typed tree: scanner, layout, shaping, then the LALR tables that Lark makes of the grammar, run over the
shaped tokens, with the builder making the nodes."""

from __future__ import annotations

import gc
import threading
from typing import NamedTuple, cast

from . import nodes, style
from .builder import Builder
from .errors import AetherError, Diagnostic, Source, SyntaxProblem
from .expectations import explain
from .foreign import first_line_hint
from .lalr import Machine, Run, Unexpected
from .layout import Block, lay_out
from .nodes import Span
from .scanner import Limits, Passed, check_characters, scan
from .shaping import shape, shape_expression
from .tables import load
from .tokens import Token

MOST_PROBLEMS = 20
_STOPPING = ("AE110", "AE191")


def parse(text: str | bytes, name: str = "<script>", limits: Limits | None = None) -> nodes.Module:
    """The tree of a script. Raises `AetherError` with at most twenty diagnostics when the text is not of the
    language."""
    return parse_with_warnings(text, name, limits)[0]


def parse_with_warnings(
    text: str | bytes, name: str = "<script>", limits: Limits | None = None
) -> tuple[nodes.Module, list[Diagnostic]]:
    """The tree, and what the formatter would rewrite or a reader should know."""
    reading = read(text, name, limits)
    return reading.module, [reading.source.diagnose(warning) for warning in reading.warnings]


class Reading(NamedTuple):
    """A script as each stage of the front end saw it: its raw tokens, what no token covers, its shaped lines, its
    tree."""

    source: Source
    tokens: list[Token]
    passed: list[Passed]
    root: Block
    module: nodes.Module
    warnings: list[SyntaxProblem]


def read(text: str | bytes, name: str = "<script>", limits: Limits | None = None) -> Reading:
    """All that the front end knows of a script, for tools that need more than its tree. Raises what `parse` does."""
    source = Source(_decoded(text, name), name)
    # What is made here lives until the end; looking through it again and again would cost half the time of a long text.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _read(source, limits or Limits())
    finally:
        if collects:
            gc.enable()


def _read(source: Source, limits: Limits) -> Reading:
    warnings: list[SyntaxProblem] = []
    problems: list[SyntaxProblem] = []
    passed: list[Passed] = []
    body: tuple[nodes.Stmt, ...] = ()
    try:
        check_characters(source, limits)
        tokens = scan(source, limits, warnings, passed=passed)
        root = lay_out(source, tokens, warnings)
        shaped = shape(source, root, limits, problems, warnings)
        if not any(problem.code in _STOPPING for problem in problems):
            body = _grammar().parse(source, shaped, limits, problems, warnings)
    except SyntaxProblem as problem:
        problems.append(problem)
    if problems:
        problems.sort(key=lambda problem: problem.start)
        problems[0].suggestion = first_line_hint(source.text) or problems[0].suggestion
        raise AetherError([source.diagnose(problem) for problem in problems[:MOST_PROBLEMS]])
    warnings = style.bounded(warnings + style.notes(source, tokens, shaped))
    end_line, end_column = source.position(len(source.text))
    span = Span(1, 1, end_line, end_column, 0, len(source.text))
    return Reading(source, tokens, passed, root, nodes.Module(span, source.name, source.text, body), warnings)


def _decoded(text: str | bytes, name: str) -> str:
    """The text without a leading byte order mark, which is no part of the script."""
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        source = Source(text[: error.start].decode("utf-8"), name)
        problem = SyntaxProblem("AE101", "the script is not UTF-8", len(source.text), len(source.text) + 1)
        raise AetherError([source.diagnose(problem)]) from None


# ---------------------------------------------------------------- the LALR parser


class _Grammar:
    """The tables of the grammar and the one builder; a lock lets one script through at a time."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.machine = Machine(load(), self.builder)
        self.lock = threading.RLock()

    def parse(
        self, source: Source, tokens: list[Token], limits: Limits, problems: list[SyntaxProblem],
        warnings: list[SyntaxProblem],
    ) -> tuple[nodes.Stmt, ...]:  # fmt: skip
        """The statements of a script; what cannot be read is noted and left out."""

        def parse_expression(start: int, end: int) -> nodes.Expr:
            raw = scan(source, limits, warnings, start, end)
            return self._expression(source, shape_expression(source, raw, limits), start, end)

        with self.lock:
            self.builder.begin(source, warnings, parse_expression)
            return self._statements(source, tokens, problems)

    def _expression(self, source: Source, tokens: list[Token], start: int, end: int) -> nodes.Expr:
        run = Run(self.machine, "expr")
        try:
            run.feed(tokens)
            return cast(nodes.Expr, run.finish(Token("$END", "", Span(1, 1, 1, 1, end, end))))
        except Unexpected as error:
            found = error.token
            if found.type == "$END":
                found = found.retyped("CLOSING" if source.text[end : end + 1] == "}" else "QUOTE")
            raise explain(source, found, error.expected, []) from None

    def _statements(self, source: Source, tokens: list[Token], problems: list[SyntaxProblem]) -> tuple[nodes.Stmt, ...]:
        """Goes on behind each statement that cannot be read."""
        run = Run(self.machine, "start")
        end = Token("$END", "", Span(1, 1, 1, 1, len(source.text), len(source.text)))
        while True:
            try:
                run.feed(tokens)
                return cast(tuple[nodes.Stmt, ...], run.finish(end))
            except Unexpected as error:
                problems.append(explain(source, error.token, error.expected, tokens[max(0, run.at - 20) : run.at]))
            except SyntaxProblem as problem:
                problems.append(problem)
            if len(problems) >= MOST_PROBLEMS or run.at >= len(tokens):
                return ()
            run.unwind("WHILE")
            run.at = _behind_statement(tokens, run.at)


def _behind_statement(tokens: list[Token], at: int) -> int:
    """The place of the next statement, or of the end of the block."""
    depth = 0
    while at < len(tokens):
        type = tokens[at].type
        if type == "BEGIN":
            depth += 1
        elif type == "FINISH":
            if not depth:
                return at
            depth -= 1
        elif type == "NEWLINE" and not depth:
            return at + 1
        at += 1
    return at


_LOADED: list[_Grammar] = []
_LOADING = threading.Lock()


def _grammar() -> _Grammar:
    with _LOADING:
        if not _LOADED:
            _LOADED.append(_Grammar())
        return _LOADED[0]
