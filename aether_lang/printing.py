"""Pieces and comments to lines: indentation, line breaks, blank lines (the layout half of the formatter).

A statement begins a line, at the column of its block. Inside brackets the author's line breaks stay, each line as deep
as its brackets. A brace block that stood on one line stays there while it fits."""

from __future__ import annotations

import re

from .layout import Block, Line
from .pieces import Piece, Piecemaker
from .tokens import Token

STEP = 2
WIDTH = 100
# A block wider than this in the source is broken up without a look at how wide it would be printed.
_CANDIDATE = 160
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_SIGNATURE = re.compile(r"//\s*@signature")


class _Frame:
    """An open bracket or brace block: the indentation of the line it was opened on. For a block also where its current
    statement begins, and the block of lines that goes on behind it."""

    __slots__ = ("after", "base", "block", "bracket", "indent")

    def __init__(self, indent: int, bracket: bool, block: Block, after: Block) -> None:
        self.indent = indent
        self.bracket = bracket
        self.block = block
        self.after = after
        self.base = indent


class Printer:
    """Prints the pieces of one script."""

    def __init__(self, maker: Piecemaker, root: Block) -> None:
        self.text = maker.text
        self.pieces = maker.pieces
        self.passed = maker.passed
        self.owners = maker.outline.owners
        self.unnumbered = maker.unnumbered
        self.lines: list[str] = []
        self.current: list[str] = []
        self.width = 0
        self.indent = 0
        self.raw: tuple[str, int] | None = None
        self.closed = False  # the raw text ends with a bar
        self.frames = [_Frame(0, False, root, root)]
        self.columns = {id(root): 0}
        self.inside: dict[int, int] = {}  # per line, the column of its statement
        self.root = root
        self.block = root  # of the line, or of the comment, printed last
        self.source_at = 0
        self.newline = -1  # the last line end that was looked up
        self.comment = 0
        self.must_break = False
        self.fresh = True  # nothing stands yet in this block or bracket
        self.commented = False
        self.tight = False  # the last piece touches the next

    def run(self) -> str:
        """The text."""
        at, end = 0, len(self.pieces)
        while at < end:
            piece = self.pieces[at]
            self._comments(piece, piece.start)
            at = self._place(piece, at)
        self._comments(None, len(self.text) + 1)
        self._flush()
        return "\n".join([*self.lines, ""]) if self.lines else ""

    # ------------------------------------------------------------ lines

    def _flush(self) -> None:
        if self.current:
            self.lines.append("".join(self.current))
            self.current = []
        if self.raw is not None:
            data, column = self.raw
            self.raw = None
            filled = any(line.strip() for line in data.splitlines())
            white = " " * (column + STEP) if filled else ""
            self.lines += [white + line if line else "" for line in data.split("\n")[:-1]]
            if self.closed:
                self.lines.append(" " * column + "|")

    def _begin(self, indent: int, start: int, *, blank: bool) -> None:
        """A new line; a blank one before it where the source has one and `blank` allows it."""
        self._flush()
        gap = blank and not self.fresh and _BLANK_LINE.search(self.text, self.source_at, start) is not None
        if gap and self.lines:
            self.lines.append("")
        self.indent = self.width = indent
        if indent:
            self.current.append(" " * indent)
        self.must_break = self.fresh = False

    def _write(self, text: str) -> None:
        self.current.append(text)
        self.width += len(text)

    # ------------------------------------------------------------ pieces

    def _place(self, piece: Piece, at: int) -> int:
        frame = self.frames[-1]
        if piece.line is not None:
            self._statement(piece, piece.line, at)
        elif "\\\n" in self.text[self.source_at : piece.start]:
            self._write("\\" if self.tight else " \\")
            self._continue(piece, frame)
        elif self.must_break or (piece.first and piece.role != "begin"):
            self._continue(piece, frame)
        elif piece.gap or (self.commented and (piece.role != "close" or piece.text == "}")):
            self._write(" ")
        self.commented = False
        piece.column = self.width
        self.source_at = piece.end
        self.tight = piece.tight
        self.fresh = False
        if piece.role == "begin":
            return self._open_block(piece, at)
        self._write(piece.text)
        if piece.role == "open":
            self.frames.append(_Frame(self.indent, True, self.block, self.block))
            self.fresh = True
        elif piece.role in ("close", "finish"):
            self.block = self.frames.pop().after
        elif piece.role == "raw":
            self.raw = (piece.data, self.pieces[at - 2].column)
        return at + 1

    def _continue(self, piece: Piece, frame: _Frame) -> None:
        """A further line of a statement."""
        closes = piece.role in ("close", "finish")
        outer = frame.indent if frame.bracket else frame.base
        indent = frame.indent if closes else outer + STEP
        self._begin(indent, piece.start, blank=frame.bracket and not closes)

    def _statement(self, piece: Piece, line: Line, at: int) -> None:
        frame = self.frames[-1]
        if self._joins(line, at):
            self._write(" ")
            self.inside[id(line)] = self.inside[id(line.previous)]
            return
        column = self._line_column(line)
        self.fresh = self.fresh or (line.previous is None and not self.must_break)
        self._begin(column, piece.start, blank=True)
        frame.base = column
        self.block = line.block

    def _joins(self, line: Line, at: int) -> bool:
        """Does an `else` follow the brace that ends the branch before it?"""
        before = line.previous
        if not line.joins or self.must_break or before is None or not at or self.pieces[at - 1].role != "finish":
            return False
        if line.tokens[-1].type != "BLOCK" or line.body is not None:
            return False
        last = before.tokens[-1]
        return last.type == "BLOCK" and before.body is None and before.out[-1].data is last.data

    def _line_column(self, line: Line) -> int:
        """The column of a statement; of its content, where it stands behind a dash, too."""
        column = self._block_column(line.block)
        first: Token = line.tokens[0]
        if first.type == "DASH":
            dropped = first.span.start in self.unnumbered
            self.inside[id(line)] = column if dropped else column + STEP
            return column
        if line.inner >= 0 and line.previous is not None:
            column = self.inside[id(line.previous)]
        self.inside[id(line)] = column
        return column

    def _block_column(self, block: Block) -> int:
        column = self.columns.get(id(block))
        if column is None:
            owner, item = self.owners[id(block)]
            column = self.inside[id(owner)] + (0 if item else STEP)
            if column == self._block_column(owner.block):
                column += STEP
            self.columns[id(block)] = column
        return column

    def _open_block(self, piece: Piece, at: int) -> int:
        """A brace block: on one line if it stood on one and fits, else broken up."""
        assert piece.block is not None
        flat = self._flat(piece, at)
        if flat is not None:
            self._write(flat)
            last = self.pieces[piece.close]
            self.source_at = last.end
            return piece.close + 1
        self._write("{")
        self.frames.append(_Frame(self.indent, False, piece.block, self.block))
        self.columns[id(piece.block)] = self.indent + STEP
        self.block = piece.block
        self.fresh = True
        self.pieces[piece.close].first = True
        return at + 1

    def _flat(self, piece: Piece, at: int) -> str | None:
        last = self.pieces[piece.close]
        if self._comment_within(last.end):
            return None
        if piece.close == at + 1:
            return "{ ; }" if at and self.pieces[at - 1].text == "=>" else "{}"
        assert piece.block is not None
        if last.end - piece.start > _CANDIDATE or len(piece.block.lines) > 1:
            return None
        if "\n" in self.text[piece.start : last.end]:
            return None
        parts = ["{"]
        for inner in self.pieces[at + 1 : piece.close + 1]:
            if inner.block is not None and len(inner.block.lines) > 1:
                return None
            parts.append(f" {inner.text}" if inner.gap else inner.text)
        flat = "".join(parts)
        return flat if self.width + len(flat) <= WIDTH else None

    # ------------------------------------------------------------ comments

    def _comment_within(self, end: int) -> bool:
        return self.comment < len(self.passed) and self.passed[self.comment].start < end

    def _comments(self, piece: Piece | None, start: int) -> None:
        """What stands before a piece that is no token."""
        while self._comment_within(start):
            passed = self.passed[self.comment]
            self.comment += 1
            if passed.start < self.source_at:
                continue  # inside a text
            if passed.kind == "text":
                # What follows ends the text, too; only a bar keeps blank lines at the end of the file, and deeper lines
                # that belong to the entry out of it.
                last = self.text[passed.start : passed.end].removesuffix("\n").rpartition("\n")[2].strip()
                deeper = piece is not None and piece.line is not None and piece.line.previous is None
                self.closed = last == "|" or deeper or (piece is None and not last)
                self.source_at = passed.end - (self.text[passed.end - 1 : passed.end] == "\n")
                continue
            comment = self.text[passed.start : passed.end].rstrip()
            if comment.startswith("//") and not (passed.start == 0 and _SIGNATURE.match(comment)):
                comment = "#" + comment[2:]
            self._comment(comment, passed.start, passed.end, piece)
            self.source_at = passed.end

    def _comment(self, comment: str, start: int, end: int, piece: Piece | None) -> None:
        between = self.text[self.source_at : start].replace("\\\n", "")
        if self.current and "\n" not in between and not between.strip(" \t;"):
            inline = (
                comment.startswith("/*") and piece is not None and piece.line is None and not piece.first
                and self._line_end(end) >= piece.start
            )  # fmt: skip
            self._write(("" if inline and self.tight else " " if inline else "  ") + comment)
            self.commented = inline
            self.must_break = not inline
            return
        column = self._comment_column(start, piece)
        if piece is not None and piece.line is not None and piece.line.previous is None and not self.must_break:
            self.fresh = True
        self._begin(column, start, blank=True)
        self._write(self._shifted(comment, start, column))
        self.must_break = True

    def _line_end(self, start: int) -> int:
        """Where the line of a place ends; a backslash joins it to the next."""
        while self.newline < start or self.text[self.newline - 1 : self.newline] == "\\":
            found = self.text.find("\n", max(start, self.newline + 1))
            self.newline = found if found >= 0 else len(self.text) + 1
        return self.newline

    def _shifted(self, comment: str, start: int, column: int) -> str:
        """The further lines of a long comment, moved as far as its first."""
        if "\n" not in comment:
            return comment
        moved = column - (start - self.text.rfind("\n", 0, start) - 1)
        lines = comment.split("\n")
        for at, line in enumerate(lines[1:], 1):
            line = line.rstrip()
            white = len(line) - len(line.lstrip(" "))
            lines[at] = " " * moved + line if moved > 0 and line else line[min(white, max(-moved, 0)) :]
        return "\n".join(lines)

    def _comment_column(self, start: int, piece: Piece | None) -> int:
        frame = self.frames[-1]
        if frame.bracket:
            return frame.indent + STEP
        if piece is not None and piece.line is None and piece.role != "finish":
            return frame.base + STEP
        if piece is None:
            target, column = self.root, 0
        elif piece.line is None:
            target, column = frame.block, self._block_column(frame.block)
        else:
            target, column = piece.line.block, self._line_column(piece.line)
            if piece.line.previous is None:
                return column
        place = self._source_column(start)
        block: Block | None = self.block
        while block is not None and block is not target:
            first = block.lines[0].first
            if first.first and first.indent <= place:
                self.block = block
                return self._block_column(block)
            owner = self.owners.get(id(block))
            block = owner[0].block if owner is not None else None
        if block is target:
            self.block = target
        return column

    def _source_column(self, start: int) -> int:
        """How far the source line of a place is indented."""
        begin = self.text.rfind("\n", 0, start) + 1
        width = 0
        for character in self.text[begin:start]:
            if character == "\t":
                width += 4 - width % 4
            elif character == " ":
                width += 1
            else:
                break
        return width


__all__ = ["Printer"]
