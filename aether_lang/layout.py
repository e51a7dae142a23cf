"""Raw tokens to logical lines and blocks (section 3 of the language reference).

A `Block` holds `Line`s; a line holds its own tokens, with one `BLOCK` token in the place of each brace block, and
owns the indentation block of the deeper lines behind it. Whether a line may own one is decided by the shaper, who
knows what it is."""

from __future__ import annotations

from .errors import Source, SyntaxProblem
from .nodes import Span
from .tokens import ASSIGN_OPS, HEADS, TRIES, Token, join

_CLOSABLE = HEADS | {"export", "simulate"}


class Line:
    """One logical line. `body` are the deeper lines that belong to its statement; for a dash item `item_body` are
    those that belong to the item, at the column of its first word. `closed` says that an `end` was seen for it."""

    __slots__ = (
        "block",
        "body",
        "closed",
        "depth",
        "first",
        "indent",
        "inner",
        "item_body",
        "joins",
        "kind",
        "nested",
        "out",
        "previous",
        "tokens",
    )  # fmt: skip

    def __init__(self, block: Block, first: Token, indent: int, previous: Line | None) -> None:
        self.block = block
        self.first = first
        self.indent = indent
        self.inner = -1
        self.previous = previous
        self.tokens: list[Token] = []
        self.body: Block | None = None
        self.item_body: Block | None = None
        self.closed = False
        self.kind = ""
        self.joins = False
        self.depth = 0
        self.nested = 0
        self.out: list[Token] = []


DATA = frozenset({"data", "workflow", "steps"})
"""The kinds of block that hold entries and items in place of statements."""


class Block:
    """A list of lines: the script, the inside of a brace block, or an indentation block. `kind` is what the shaper
    makes of it (`code declaration match command`, or one of `DATA`), `cost` how many blocks of CPython it nests."""

    __slots__ = ("brace", "cost", "function", "kind", "lines", "outer", "span", "start_depth", "top")

    def __init__(self, outer: Block | None, brace: bool, span: Span) -> None:
        self.outer = outer
        self.brace = brace
        self.span = span
        self.lines: list[Line] = []
        self.kind = "code"
        self.top = outer is None
        self.function = outer is None
        self.cost = 0
        self.start_depth = 0


class _Level:
    """An open column: its block, and the whitespace its lines begin with."""

    __slots__ = ("block", "column", "dashes", "owner", "white")

    def __init__(self, column: int, block: Block, owner: Line | None, white: str, dashes: bool = False) -> None:
        self.column = column
        self.block = block
        self.owner = owner
        self.white = white
        self.dashes = dashes


class _Brace:
    """A brace block that is open, with the line that holds it and the columns open inside."""

    __slots__ = ("block", "holder", "levels", "line", "opener")

    def __init__(self, block: Block, holder: Line | None, opener: Token | None) -> None:
        self.block = block
        self.holder = holder
        self.opener = opener
        self.levels: list[_Level] = []
        self.line: Line | None = None


def lay_out(source: Source, tokens: list[Token], warn: list[SyntaxProblem]) -> Block:
    """The block of the whole script. Raises `SyntaxProblem` at the first line that stands where no line can."""
    return _Layout(source, warn).run(tokens)


class _Layout:
    def __init__(self, source: Source, warn: list[SyntaxProblem]) -> None:
        self.source = source
        self.warn = warn
        self.root = Block(None, True, Span(1, 1, 1, 1, 0, 0))
        self.brace = _Brace(self.root, None, None)
        self.stack: list[_Brace] = []
        self.warned_of_tabs = False

    def run(self, tokens: list[Token]) -> Block:
        for token in tokens:
            type = token.type
            if type == "NL":
                self._end_line()
            elif type == "FINISH":
                self._leave(token)
            else:
                brace = self.brace
                if brace.line is None:
                    brace.line = self._begin_line(token)
                if type == "BEGIN":
                    self._enter(token)
                else:
                    brace.line.tokens.append(token)
        return self.root

    # ------------------------------------------------------------ braces

    def _enter(self, token: Token) -> None:
        line = self.brace.line
        assert line is not None
        block = Block(line.block, True, token.span)
        line.tokens.append(Token("BLOCK", "{", token.span, token.blank, block))
        self.stack.append(self.brace)
        self.brace = _Brace(block, line, token)

    def _leave(self, token: Token) -> None:
        self._end_line()
        block = self.brace.block
        block.span = join(block.span, token.span)
        self.brace = self.stack.pop()

    # ------------------------------------------------------------ lines

    def _end_line(self) -> None:
        line = self.brace.line
        if line is None:
            return
        self.brace.line = None
        tokens = line.tokens
        if len(tokens) == 1 and tokens[0].type == "NAME" and tokens[0].text == "end" and line.first.first:
            self._close_by_end(line)
            return
        if tokens[0].type == "DASH":
            following = tokens[1].span if len(tokens) > 1 else None
            gap = following.start - tokens[0].span.start if following is not None else 2
            line.inner = line.indent + gap

    def _begin_line(self, token: Token) -> Line:
        brace = self.brace
        if not token.first:
            block = brace.levels[-1].block if brace.levels else brace.block
            indent = brace.levels[-1].column if brace.levels else -1
            return self._new_line(block, token, indent)
        column = token.indent
        white = self._white(token)
        if not brace.levels:
            brace.levels.append(_Level(column, brace.block, None, white))
            return self._new_line(brace.block, token, column)
        return self._line_at(brace, token, column, white)

    def _line_at(self, brace: _Brace, token: Token, column: int, white: str) -> Line:
        levels = brace.levels
        left: Line | None = None  # the owner of the outermost block that this line leaves
        while len(levels) > 1 and (
            levels[-1].column > column or (levels[-1].dashes and levels[-1].column == column and token.type != "DASH")
        ):
            left = levels.pop().owner
        level = levels[-1]
        if column == level.column:
            if white != level.white:
                raise SyntaxProblem(
                    "AE104", "tabs and spaces disagree with the lines around", token.span.start, token.span.end,
                    suggestion="indent with spaces",
                )  # fmt: skip
            return self._sibling(level, token, column, white)
        if column < level.column:
            raise self._inconsistent(token)
        owner = level.block.lines[-1] if level.block.lines else None
        if owner is None:
            raise self._inconsistent(token)
        return self._deeper(owner, left, token, column, white)

    def _sibling(self, level: _Level, token: Token, column: int, white: str) -> Line:
        head = level.block.lines[-1] if level.block.lines else None
        if (
            token.type == "DASH"
            and head is not None
            and head.tokens[0].type != "DASH"
            and head.tokens[-1].type == ":"
            and head.body is None
            and not head.closed
        ):
            head.body = Block(level.block, False, token.span)
            self.brace.levels.append(_Level(column, head.body, head, white, dashes=True))
            return self._new_line(head.body, token, column)
        return self._new_line(level.block, token, column)

    def _deeper(self, owner: Line, left: Line | None, token: Token, column: int, white: str) -> Line:
        if owner.inner >= 0:
            if column == owner.inner and token.type == "NAME" and token.text in TRIES and owner.body is not None:
                line = self._new_line(owner.block, token, owner.indent)
                line.inner = owner.inner
                return line
            if column <= owner.inner and owner.item_body is None:
                owner.item_body = self._open(owner, token, column, white)
                return self._new_line(owner.item_body, token, column)
        if left is not None or owner.body is not None or owner.closed:
            raise self._inconsistent(token)
        owner.body = self._open(owner, token, column, white)
        return self._new_line(owner.body, token, column)

    def _open(self, owner: Line, token: Token, column: int, white: str) -> Block:
        block = Block(owner.block, False, token.span)
        self.brace.levels.append(_Level(column, block, owner, white))
        return block

    def _new_line(self, block: Block, token: Token, indent: int) -> Line:
        line = Line(block, token, indent, block.lines[-1] if block.lines else None)
        block.lines.append(line)
        return line

    def _close_by_end(self, line: Line) -> None:
        """`end` closes the block of the line before it at its column, once."""
        block = line.block
        block.lines.pop()
        head = block.lines[-1] if block.lines else None
        if head is None or head.closed or not self._may_end(head):
            raise SyntaxProblem(
                "AE105", "this `end` closes nothing", line.first.span.start, line.first.span.end,
                suggestion="`end` closes an indentation block whose head stands at the same column",
            )  # fmt: skip
        head.closed = True
        span = line.first.span
        if head.body is not None or head.item_body is not None:
            note = SyntaxProblem("AS129", "`end` closes what the indentation has closed", span.start, span.end)
        else:
            note = SyntaxProblem("AS113", "`end` stands for an empty block", span.start, span.end)
        self.warn.append(note)

    def _may_end(self, head: Line) -> bool:
        if head.body is not None or head.item_body is not None:
            return True
        first, last = head.tokens[0], head.tokens[-1]
        second = head.tokens[1].type if len(head.tokens) > 1 else ""
        bare = first.type == "NAME" and first.text in _CLOSABLE and second not in (*ASSIGN_OPS, ".", "?.", "[")
        return last.type == ":" or (bare and all(token.type not in (":", "BLOCK") for token in head.tokens))

    # ------------------------------------------------------------ columns

    def _white(self, token: Token) -> str:
        white = token.white
        if "\t" in white and not self.warned_of_tabs:
            self.warned_of_tabs = True
            start = token.span.start
            self.warn.append(
                SyntaxProblem("AW101", "a tab in the indentation counts to the next multiple of 4", start, start + 1)
            )
        return white

    def _inconsistent(self, token: Token) -> SyntaxProblem:
        return SyntaxProblem(
            "AE104", "inconsistent indentation: no open block stands at this column", token.span.start, token.span.end,
            expected=tuple(f"column {level.column + 1}" for level in self.brace.levels[-3:]),
        )  # fmt: skip


__all__ = ["Block", "Line", "lay_out"]
