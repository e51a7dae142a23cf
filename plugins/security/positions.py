"""On which line of a TOML text each key and each element of a list stands; and how deep the text nests.

Python's TOML reader tells neither, and a refusal or a decision that names `default.toml:12` saves a search. The scan
expects text that the reader has accepted; of such text it is linear.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]

_PIECE = re.compile(
    r"""
      (?P<space>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\#"'\[\]{}=,.]+|.)
    """,
    re.DOTALL | re.VERBOSE,
)


class Positions:
    """The lines of one text: `line(path)` of a key or an element; and how deep it nests (`depth`, `deepest_line`)."""

    def __init__(self, text: str) -> None:
        self.depth = 0
        self.deepest_line = 1
        self._lines: dict[Path, int] = {}
        self._table: Path = ()
        for statement in _statements(text):
            self._read(statement)

    def line(self, path: Path) -> int:
        """Return the line, counted from 1; for what is not set, that of the table in which it is missing."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _read(self, statement: list[tuple[str, int]]) -> None:
        line = statement[0][1]
        if statement[0][0] == "[":
            self._table = _key([piece for piece, _ in statement if piece not in "[]"])
            self._lines.setdefault(self._table, line)
            self._nests(len(self._table), line)
            return
        equals = next((i for i, (piece, _) in enumerate(statement) if piece == "="), len(statement))
        path = self._table + _key([piece for piece, _ in statement[:equals]])
        for length in range(len(self._table) + 1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
        self._nests(len(path), line)
        self._elements(path, statement[equals + 1 :])

    def _elements(self, path: Path, value: list[tuple[str, int]]) -> None:
        inside = index = 0
        for piece, line in value:
            if piece in "]}":
                inside -= 1
            elif inside == 1 and piece == ",":
                index += 1
            elif inside == 1 and value[0][0] == "[":
                self._lines.setdefault((*path, index), line)
            if piece in "[{":
                inside += 1
                self._nests(len(path) + inside, line)

    def _nests(self, depth: int, line: int) -> None:
        if depth > self.depth:
            self.depth, self.deepest_line = depth, line


def _statements(text: str) -> Iterator[list[tuple[str, int]]]:
    """Yield each statement as its pieces, each with its line; a statement ends with a line outside all brackets."""
    statement: list[tuple[str, int]] = []
    inside, line = 0, 1
    for match in _PIECE.finditer(text):
        piece = match[0]
        if match.lastgroup == "newline" and inside <= 0 and statement:
            yield statement
            statement, inside = [], 0
        elif match.lastgroup in ("text", "mark", "bare"):
            statement.append((piece, line))
            inside += (piece in "[{") - (piece in "]}")
        line += piece.count("\n")
    if statement:
        yield statement


def _key(pieces: list[str]) -> Path:
    parts = [piece for piece in pieces if piece != "."]
    return tuple(_unquoted(part) if part[0] in "\"'" else part for part in parts)


def _unquoted(piece: str) -> str:
    try:
        return str(tomllib.loads(f"k = {piece}")["k"])
    except tomllib.TOMLDecodeError:
        return piece
