"""What stands before a place in the text: does an operand end there, and is a `{` behind it that of a block or that
of a dict (section 3.1 of the language reference)?

The scanner asks while it goes, since raw text, regular expressions and hyphenated words depend on the answers."""

from __future__ import annotations

import re

from .errors import SyntaxProblem
from .foreign import JSON
from .tokens import ASSIGN_OPS, ENDS, HEADS, Token
from .words import OPWORDS, PREPOSITIONS, RESERVED, SECTIONS, SOFT, verb_base

_DICT_LAMBDA = re.compile(
    r"""(?:\s|\#[^\n]*+|//[^\n]*+)*+(?:\.\.\.|\}|(?:[A-Za-z_]\w*|"[^"\n]*"|'[^'\n]*')\s*:)""", re.A
)
_UPPER_WORDS = frozenset({"AND", "OR", "NOT"})
NO_HEAD = ASSIGN_OPS | {".", "[", ","}
_HEADERS = frozenset({"fn", "function", "def", "define", "export"})  # their result type may end in `?`
_NO_CALLS = RESERVED | SOFT | _HEADERS | {"on", "let", "const", "var"}
UNSHARED = frozenset({"else", "elif", "try", "catch", "except", "finally", "case"})


class Frame:
    """An open bracket, or the block that holds statements. `kind` is `(`, `[`, `{` for a dict, or `block`."""

    __slots__ = ("anon", "case", "container", "if_open", "kind", "match_indent", "opener", "questions", "statement")

    def __init__(self, kind: str, opener: Token | None, container: str = "", anon: bool = False) -> None:
        self.kind = kind
        self.opener = opener
        self.container = container
        self.anon = anon
        self.if_open = False
        self.questions = 0
        self.statement: list[Token] = []
        self.case = False  # the head of a `case` or `default` has just ended
        self.match_indent = -1  # column of a `match` whose cases stand on deeper lines


class Before:
    """The questions about what stands before, over the open brackets and the tokens of the statement so far."""

    text: str
    end: int
    at: int
    tokens: list[Token]
    last: Token | None
    frames: list[Frame]

    # ------------------------------------------------------------ what stands before

    def _ends_operand(self, token: Token | None) -> bool:
        """Does an operand end with this token, the last one?"""
        if token is None or token.type not in ENDS or self._defines(token):
            return False
        if token.type != "NAME" or (token.text not in OPWORDS and token.text not in _UPPER_WORDS):
            return not (token.type == "NAME" and token.text == "else" and self._is_keyword(token))
        return not self._is_keyword(token)

    def _defines(self, token: Token) -> bool:
        """Is it the `as` of `define X as`?"""
        statement = self.frames[-1].statement
        return token.text == "as" and len(statement) == 3 and statement[0].text == "define"

    def _is_keyword(self, token: Token) -> bool:
        """Does this word, the last token and one of OPWORDS or `else`, act as a keyword before `{`, `/`, `[`, `(`
        or a sign?"""
        statement = self.frames[-1].statement
        before = statement[-2] if len(statement) > 1 else None
        if before is not None and before.type in (".", "?."):
            return False
        if token.text in ("call", "new", "await", "lambda"):
            return False
        if before is None or before.type == "DASH":
            return token.text not in ("and", "or", "in", "is", "AND", "OR")
        if token.text in ("not", "if", "NOT"):
            return True
        if token.text == "elif" and before.type == "FINISH":
            return True
        if token.text in ("when", "match", "case", "throw", "raise", "return", "while", "elif"):
            return token.text in ("when", "elif") and before.type in (ENDS | {"FINISH"}) and self._in_phrase()
        return before.type in ENDS or before.type == "FINISH"

    def _in_phrase(self) -> bool:
        """Is the current statement one that is split into slots?"""
        frame = self.frames[-1]
        if frame.kind != "block":
            return False
        statement = frame.statement
        first = statement[0]
        if len(statement) > 1 and statement[1].type == ":" and first.type in ("NAME", "STRING", "NUMBER"):
            return True
        if first.type == "NAME" and verb_base(first.text) and len(statement) > 1:
            second = statement[1]
            if second.type not in NO_HEAD or (second.type == "[" and second.blank):
                return True
        if first.type == "NAME" and first.text not in _NO_CALLS and any(token.type == ")" for token in statement[:64]):
            return True  # a call that goes on
        value = next((i for i, token in enumerate(statement[:64]) if token.type in ASSIGN_OPS), 0) + 1
        if first.text == "return":
            value = 1
        return (
            1 <= value < len(statement) and statement[value].type == "NAME" and bool(verb_base(statement[value].text))
        )

    def _wants_operand(self, start: int, end: int, blank: bool) -> bool:
        """May an operand begin here? True as well behind a verb at statement start with a blank before only."""
        last = self.last
        if not self._ends_operand(last):
            return True
        statement = self.frames[-1].statement
        return (
            len(statement) == 1
            and self.frames[-1].kind == "block"
            and last is not None
            and last.type == "NAME"
            and verb_base(last.text) is not None
            and blank
            and self.text[end : end + 1] not in (" ", "\t", "\r", "\n", "")
        )

    def _divides(self, op: str) -> bool:
        """Is it the `/=` of an assignment: right behind the one name that the statement begins with?"""
        statement = self.frames[-1].statement
        return op == "/=" and len(statement) == 1 and statement[0].type == "NAME" and statement[0].text not in RESERVED

    def _in_signature(self) -> bool:
        """Is the statement the head of a function, where a `?` belongs to a type?"""
        statement = self.frames[-1].statement
        named = len(statement) > 2 and statement[2].text == "as"  # `define X as a ? b : c`
        return bool(statement) and statement[0].text in _HEADERS and not named and statement[-2].type != "?"

    # ------------------------------------------------------------ block or dict

    def _opens_block(self, start: int) -> bool:
        """Section 3.1: is the `{` at this place a block brace?"""
        frame = self.frames[-1]
        last = self.last
        if frame.kind != "block":
            return self._opens_block_in_brackets(frame, last, start)
        statement = frame.statement
        if not statement:
            if self.tokens and self.tokens[-1].type == "DASH":
                return False
            if last is not None and last.type == ":":
                if frame.case:
                    return True
                raise SyntaxProblem(
                    "AE106", "'{' cannot stand behind the ':' of a head", start, start + 1,
                    suggestion="write either ':' and deeper lines, or '{' .. '}'",
                )  # fmt: skip
            raise self._brace_first(start)
        assert last is not None
        if last.type == "=>":
            return _DICT_LAMBDA.match(self.text, start + 1, self.end) is None
        first = statement[0]
        if last.type == "NAME":
            decided = self._word_before_brace(statement, first, last)
            if decided is not None:
                return decided
        if last.type == "?" and first.text in _HEADERS and any(token.type == "->" for token in statement):
            return True  # `fn f() -> str? {`
        return self._ends_operand(last)

    def _word_before_brace(self, statement: list[Token], first: Token, last: Token) -> bool | None:
        word = last.text
        if len(statement) == 1:
            if word in SECTIONS or word in ("try", "finally", "catch", "except", "else"):
                return True
            if word == "export" or verb_base(word) == word:
                return False
        before = statement[-2] if len(statement) > 1 else None
        if before is not None:
            if len(statement) == 2 and first.text in SECTIONS:
                return True
            if before.type == "FINISH" and word in ("else", "finally", "catch", "except"):
                return True
            value = before.type == "=" or (before.type == ":" and len(statement) == 3) or (before.text == "return")
            if value and verb_base(word) == word:
                return False
            field = len(statement) > 2 and statement[-3].type in (".", "?.")
            operand = before.type in ENDS and (field or before.text not in OPWORDS | _UPPER_WORDS)
            if word in PREPOSITIONS and operand and self._in_phrase():
                return False
        return None

    def _opens_block_in_brackets(self, frame: Frame, last: Token | None, start: int) -> bool:
        if last is None:
            return False
        if last.type == "=>":
            return _DICT_LAMBDA.match(self.text, start + 1, self.end) is None
        statement = frame.statement
        if last.type == "NAME" and last.text == "else" and statement[-2:-1] and statement[-2].type not in (".", "?."):
            return statement[-2].type == "FINISH"
        if last.type == ")" and last.data is True:
            return True
        if frame.if_open and self._ends_operand(last):
            return len(statement) > 1
        return False

    def _brace_first(self, start: int) -> SyntaxProblem:
        hint = "assign it to a name: x = { .. }"
        if not self.tokens and re.compile(r'\{\s*"').match(self.text, start) is not None:
            hint = JSON
        elif self._head_before():
            hint = "'{' belongs at the end of the line before"
        return SyntaxProblem("AE126", "a statement cannot begin with '{'", start, start + 1, suggestion=hint)

    def _head_before(self) -> bool:
        """Was the line before this one the head of a block?"""
        line = self.text[: self.at].rstrip().rpartition("\n")[2]
        words = re.findall(r"[A-Za-z_]+", line)
        return bool(words) and (words[0] in HEADS or words[-1] in UNSHARED)
