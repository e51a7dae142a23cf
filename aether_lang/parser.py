"""Text to the typed tree: scanner, layout, shaping, then Lark's LALR parser over the shaped tokens, with the
builder as its transformer. Lark is loaded at the first parse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple, cast

from . import nodes, style
from .builder import Builder
from .errors import AetherError, Diagnostic, Source, SyntaxProblem
from .expectations import explain
from .layout import Block, lay_out
from .nodes import Span
from .scanner import Limits, Passed, check_characters, scan
from .shaping import shape, shape_expression
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
    limits = limits or Limits()
    source = Source(_decoded(text, name), name)
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
        raise AetherError([source.diagnose(problem) for problem in problems[:MOST_PROBLEMS]])
    warnings = style.bounded(warnings + style.notes(source, tokens, shaped))
    end_line, end_column = source.position(len(source.text))
    span = Span(1, 1, end_line, end_column, 0, len(source.text))
    return Reading(source, tokens, passed, root, nodes.Module(span, name, source.text, body), warnings)


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
        import lark
        from lark.lexer import Lexer

        class ShapedTokens(Lexer):
            """The tokens come shaped; there is nothing to do."""

            def __init__(self, conf: Any) -> None:
                pass

            def lex(self, lexer_state: Any, parser_state: Any = None) -> Iterator[Any]:
                return iter(lexer_state)

        self.builder = Builder()
        self.lark = lark.Lark(
            files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8"),
            parser="lalr", lexer=ShapedTokens, start=["start", "expr"], transformer=self.builder,
        )  # fmt: skip
        self.unexpected = lark.exceptions.UnexpectedToken
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
            return _Run(self, source, tokens, problems).run()

    def _expression(self, source: Source, tokens: list[Token], start: int, end: int) -> nodes.Expr:
        state: Any = self.lark.parse_interactive(None, start="expr").parser_state
        token = Token("$END", "", Span(1, 1, 1, 1, end, end))
        try:
            for token in tokens:
                state.feed_token(token)
            token = Token("$END", "", Span(1, 1, 1, 1, end, end))
            return cast(nodes.Expr, state.feed_token(token, True))
        except self.unexpected as error:
            found = error.token
            if found.type == "$END":
                found = found.retyped("CLOSING" if source.text[end : end + 1] == "}" else "QUOTE")
            raise explain(source, found, error.expected, []) from None


class _Run:
    """One pass of the parser over a script, going on behind each statement that cannot be read."""

    def __init__(self, grammar: _Grammar, source: Source, tokens: list[Token], problems: list[SyntaxProblem]) -> None:
        self.grammar = grammar
        self.source = source
        self.tokens = tokens
        self.problems = problems
        self.state: Any = grammar.lark.parse_interactive(None, start="start").parser_state

    def run(self) -> tuple[nodes.Stmt, ...]:
        tokens, feed = self.tokens, self.state.feed_token
        end = Token("$END", "", Span(1, 1, 1, 1, len(self.source.text), len(self.source.text)))
        at, size = 0, len(tokens)
        while True:
            try:
                while at < size:
                    feed(tokens[at])
                    at += 1
                return cast(tuple[nodes.Stmt, ...], feed(end, True))
            except self.grammar.unexpected as error:
                self.problems.append(explain(self.source, error.token, error.expected, tokens[max(0, at - 20) : at]))
            except SyntaxProblem as problem:
                self.problems.append(problem)
            if len(self.problems) >= MOST_PROBLEMS or at >= size:
                return ()
            at = self._resume(at)

    def _resume(self, at: int) -> int:
        """Drops the statement the parser is in and gives the place of the next one."""
        state = self.state
        states = state.parse_conf.states
        # A reduction that raised has already left the stacks; they are cut to the same height below.
        del state.value_stack[len(state.state_stack) - 1 :]
        closed = 0  # blocks that are complete but not reduced yet: the parser stands behind them, not inside
        while closed or "WHILE" not in states[state.state_stack[-1]]:
            state.state_stack.pop()
            value = state.value_stack.pop()
            if isinstance(value, Token):
                closed += (value.type == "FINISH") - (closed > 0 and value.type == "BEGIN")
        depth = 0
        tokens = self.tokens
        while at < len(tokens):
            kind = tokens[at].type
            if kind == "BEGIN":
                depth += 1
            elif kind == "FINISH":
                if not depth:
                    return at
                depth -= 1
            elif kind == "NEWLINE" and not depth:
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
