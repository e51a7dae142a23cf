"""Which statement is this line? (Section 4 of the language reference.)

The shaper goes over the logical lines, each head before the lines of its blocks, decides what each one is by the
first rule that fits, and writes the terminals of the grammar. `shape` then strings them together."""

from __future__ import annotations

from collections.abc import Iterator

from .declaring import Declaring
from .errors import Source, SyntaxProblem
from .layout import Block, Line, lay_out
from .nodes import Span
from .refine import Refiner, check_deepness
from .scanner import Limits
from .tokens import TRIES, Token

_SPANLESS = Span(1, 1, 1, 1, 0, 0)


def shape(
    source: Source, root: Block, limits: Limits, problems: list[SyntaxProblem], warn: list[SyntaxProblem]
) -> list[Token]:
    """The terminals of a script. A line that is no statement of the language is left out and its problem noted,
    twenty at most; nesting beyond the limits is raised."""
    shaper = Shaper(source, limits, problems, warn)
    shaper.run(root)
    return list(_emit(root))


def shape_expression(source: Source, tokens: list[Token], limits: Limits) -> list[Token]:
    """The terminals of an interpolation."""
    if any(token.type == "BEGIN" for token in tokens):
        return _shape_with_blocks(source, tokens, limits)
    refiner = Refiner(source.text, tokens, False, False)
    out = refiner.run()
    if tokens:
        check_deepness(refiner.deepest, limits.depth, tokens[0].span)
    return out


def _shape_with_blocks(source: Source, tokens: list[Token], limits: Limits) -> list[Token]:
    """The terminals of an interpolation that holds blocks: `{if c { a } else { b }}`, a lambda with a body."""
    problems: list[SyntaxProblem] = []
    root = lay_out(source, [*tokens, Token("NL", "", tokens[-1].span)], [])
    Shaper(source, limits, problems, []).run_expression(root)
    if problems:
        raise problems[0]
    *terminals, _ = _emit(root)
    return terminals


def _emit(root: Block) -> Iterator[Token]:
    """The terminals in order, with BEGIN and FINISH around blocks and NEWLINE behind statements."""
    stack: list[Iterator[Token]] = [_lines(root)]
    while stack:
        for token in stack[-1]:
            if token.type != "BLOCK":
                yield token
                continue
            block: Block = token.data
            yield Token("BEGIN", "", token.span)
            stack.append(_lines(block))
            break
        else:
            stack.pop()
            if stack:
                yield Token("FINISH", "", _SPANLESS)


def _lines(block: Block) -> Iterator[Token]:
    pending: Token | None = None
    for line in block.lines:
        if not line.out:
            continue
        if pending is not None and not line.joins:
            yield pending
        yield from line.out
        last = line.tokens[-1].span if line.tokens else line.first.span
        pending = Token(
            "NEWLINE", "", Span(last.end_line, last.end_column, last.end_line, last.end_column, last.end, last.end)
        )
    if pending is not None:
        yield pending


class Shaper(Declaring):
    """The shaping of one script."""

    def run(self, root: Block) -> None:
        """Shapes all lines of a block and of the blocks in it."""
        self.work.append(root)
        self._shape_blocks()

    def run_expression(self, root: Block) -> None:
        """Shapes the one expression of a block and the blocks in it."""
        line = root.lines[0]
        self._refine(line, line.tokens)
        self._shape_blocks()

    def _shape_blocks(self) -> None:
        while self.work:
            block = self.work.pop()
            for line in block.lines:
                try:
                    if not self._behind_broken(line):
                        self._line(line)
                except SyntaxProblem as problem:
                    self._drop(line)
                    self.problems.append(problem)
                    if len(self.problems) >= 20 or problem.code in ("AE110", "AE191"):
                        return
        self._check_blocks()

    def _drop(self, line: Line) -> None:
        """Leaves out a line that could not be read, with the statement that it goes on with."""
        line.out = []
        line.kind = "broken"
        while line.joins and line.previous is not None:
            line = line.previous
            line.out = []
            line.kind = "broken"

    def _behind_broken(self, line: Line) -> bool:
        """Does this line belong to one that could not be read, behind its `;` or as its `else`? It is passed over."""
        before = line.previous
        if before is None or before.kind != "broken":
            return False
        if not line.first.first or line.first.text in TRIES:
            line.kind = "broken"
            return True
        return False

    # ------------------------------------------------------------ one line

    def _line(self, line: Line) -> None:
        tokens = line.tokens
        line.depth = line.block.start_depth
        at = 0
        item = tokens[0].type == "DASH"
        if item:
            line.out.append(tokens[0].retyped("DASH", line.block.kind))
            at = 1
            if len(tokens) == 1:
                line.kind = "item"
                self._own(line)
                return
        self._statement(line, tokens[at:], item)
        if line.kind not in ("else", "catch", "finally") and line.inner >= 0 and not item:
            raise self._error("AE104", "inconsistent indentation", line.first)
        self._own(line)

    def _statement(self, line: Line, tokens: list[Token], item: bool) -> None:
        first = tokens[0]
        if line.block.kind == "match" and first.text not in ("case", "default"):
            hint = "write `case` before the value" if any(token.type == "=>" for token in tokens) else None
            raise self._error(
                "AE116", "only `case` and `default` stand in a match", first, expected=("case", "default"),
                suggestion="write `default:`" if first.text == "else" else hint,
            )  # fmt: skip
        if first.type == "NAME":
            second = tokens[1] if len(tokens) > 1 else None
            handler = _BY_WORD.get(first.text)
            if handler is not None and handler(self, line, tokens, second, item):
                return
            if self._declaration(line, tokens, second):
                return
        if len(tokens) > 1 and tokens[1].type == ":" and first.type in ("NAME", "STRING", "NUMBER"):
            self._entry(line, tokens, item)
            return
        if first.type in ("NAME", "WORD") and self._verb_or_phrase(line, tokens, item):
            return
        self._plain(line, tokens, item)


_BY_WORD = {
    **dict.fromkeys(("if", "for", "while", "try"), Shaper._control),
    **dict.fromkeys(TRIES, Shaper._continued),
    **dict.fromkeys(("when", "every", "match", "case", "default"), Shaper._soft),
    **dict.fromkeys(("return", "throw", "raise", "break", "continue"), Shaper._simple),
    **dict.fromkeys(("let", "const", "var"), Shaper._let),
    **dict.fromkeys(("import", "from"), Shaper._import),
    "await": Shaper._await,
}

__all__ = ["shape", "shape_expression"]
