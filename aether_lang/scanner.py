"""Characters to raw tokens (section 2 of the language reference), with the two kinds of brace told apart
(section 3.1, in `braces`).

The scanner goes once over the text. It keeps a stack of open brackets, and for each block the tokens of the
statement it is in, because three things depend on them: what a `{` is, where the raw text of a goal is, and where a
`/` opens a regex."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

import msgspec

from . import literals
from .braces import NO_HEAD, UNSHARED, Before, Frame
from .errors import Source, SyntaxProblem
from .foreign import character_hint
from .nodes import Span
from .tokens import ENDS, HEADS, Token
from .words import POSTFIX, RESERVED, SOFT


class Limits(msgspec.Struct, frozen=True):
    """How much a script may hold: KiB of source, brackets inside each other, blocks inside each other as CPython
    counts them, and depth along any path (section 18.1)."""

    source_kb: int = 512
    brackets: int = 64
    blocks: int = 18
    depth: int = 800


_TOKEN = re.compile(
    r"""[ \t]*(?:(?P<line>\r?\n)
  | (?P<joined>\\\r?\n)
  | (?P<end>\Z)
  | (?P<comment>\#[^\n]*|(?<![A-Za-z0-9:])//[^\n]*)
  | (?P<long_comment>/\*)
  | (?P<word>[A-Za-z_]\w*(?:(?<=[A-Za-z])'(?=[A-Za-z])\w+)+)
  | (?P<string>[rf]?["'])
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9])
  | (?P<var>\$[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>\.\.\.|===|!==|=>|->|→|\?\.(?![0-9])|\?\?|\|\||&&|\.\.|==|!=|<=|>=|\+=|-=|\*=|/=|%=|\+\+|--|\*\*|<<|>>
      |[-=+*/%|&^~!?:,.;()\[\]{}<>]))
    """,
    re.X | re.A,
)
_FORBIDDEN = re.compile("[\x00\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PATH = re.compile(r"[A-Za-z_]\w*(?:/[A-Za-z_]\w*)+", re.A)
_HYPHWORD = re.compile(r"[ \t]*([A-Za-z_]\w*(?:-[A-Za-z0-9_.]+)+)(?=[ \t]*(?:\r?$|;|\#|//|/\*))", re.A | re.M)
_TEMPLATE = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}", re.A)
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?![0-9])")
_PIPE = re.compile(r"[ \t]*\|[ \t]*(?:(?:\#|//)[^\n]*)?\r?(?:\n|\Z)")
_ANY_COMMENT = re.compile(r"(?:\#|//)[^\n]*")
_KEY_COLON = re.compile(r"[ \t]*:")
_GOAL_COMMENT = re.compile(r"(?<=[ \t])(?:\#|//)(?=[ \t]|$)")
_GOAL_KEY = re.compile(r"(?:^|(?<=[ \t]))(priority|metrics|deadline):")

_SYNONYMS = {"→": "->", "===": "==", "!==": "!="}
_CONTINUES = frozenset(
    {
        "=", "=>", ",", ".", "?.", "+", "-", "*", "/", "%", "**", "|", "^", "&", "<<", ">>", "..", "||", "&&", "??",
        "==", "!=", "<", ">", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "...",
    }
)  # fmt: skip
_CONTINUED_BY = frozenset([".", "?.", "||", "&&", "??", "?", ":", "*", "/", "==", "+"])
_WORD_OPERATORS = frozenset({"and", "or", "in", "is", "AND", "OR", "not"})
_KEYED = frozenset({"policy", "meta", "require"})


class Passed(NamedTuple):
    """A piece of the text that no token covers: a `comment`, or the lines of a raw `text` block."""

    kind: str
    start: int
    end: int


def _width(white: str) -> int:
    """The columns that blanks take; a tab counts to the next multiple of 4."""
    if "\t" not in white:
        return len(white)
    width = 0
    for character in white:
        width = width + 4 - width % 4 if character == "\t" else width + 1
    return width


def scan(
    source: Source, limits: Limits, warn: list[SyntaxProblem], start: int = 0, end: int | None = None,
    passed: list[Passed] | None = None,
) -> list[Token]:  # fmt: skip
    """The raw tokens of a text, or of the part of it that an interpolation holds. `NL` tokens end logical lines;
    block braces have the types `BEGIN` and `FINISH`. `passed` is given what no token covers. Raises `SyntaxProblem` at
    the first thing that is no token."""
    scanner = _Scanner(source, limits, warn, start, end)
    if passed is not None:
        scanner.passed = passed
    return scanner.run()


class _Scanner(Before):
    def __init__(self, source: Source, limits: Limits, warn: list[SyntaxProblem], start: int, end: int | None) -> None:
        self.source = source
        self.text = source.text
        self.limits = limits
        self.warn = warn
        self.at = start
        self.end = len(self.text) if end is None else end
        self.embedded = end is not None
        self.line, column = source.position(start)
        self.line_start = start - column + 1
        self.margin = -1  # where a line begins that a comment before its first token carried further
        self.tokens: list[Token] = []
        self.last: Token | None = None
        self.frames = [Frame("(" if self.embedded else "block", None)]
        self.brackets = 0
        self.new_line = True  # no token yet on this physical line
        self.ended = False  # a line end was seen since the last token
        self.passed: list[Passed] = []

    def run(self) -> list[Token]:
        text, match, end = self.text, _TOKEN.match, self.end
        steps = {
            "name": self._name, "op": self._op, "string": self._string, "number": self._number,
            "var": self._var, "word": self._word,
        }  # fmt: skip
        blank = False
        while self.at < end:
            found = match(text, self.at, end)
            if found is None:
                raise self._unknown()
            kind = found.lastgroup
            assert kind is not None
            start, stop = found.span(kind)
            if kind in steps:
                blank = blank or start > self.at
                self.at = start
                if self.ended:
                    self._line_break(kind, text[start:stop])
                steps[kind](start, stop, blank)
                blank = False
                continue
            blank = True
            self.at = stop
            if kind == "line":
                self._advance_line(stop)
                self.new_line = self.ended = True
                self.margin = -1
            elif kind == "joined":
                self._advance_line(stop)
            elif kind == "long_comment":
                self.at = start
                self._long_comment()
                self.passed.append(Passed("comment", start, self.at))
            elif kind == "comment":
                self.passed.append(Passed("comment", start, stop))
        self._finish()
        return self.tokens

    # ------------------------------------------------------------ positions and lines

    def _advance_line(self, start: int) -> None:
        self.line += 1
        self.line_start = start

    def _span(self, start: int, end: int) -> Span:
        column = start - self.line_start + 1
        return Span(self.line, column, self.line, column + end - start, start, end)

    def _add(self, type: str, start: int, end: int, blank: bool, data: object = None) -> Token:
        column = start - self.line_start + 1
        span = Span(self.line, column, self.line, column + end - start, start, end)
        token = Token(type, self.text[start:end], span, blank or self.new_line, data)
        self._append(token)
        self.at = end
        return token

    def _append(self, token: Token) -> None:
        if self.new_line:
            token.first = True
            token.white = self._white(token.span.start)
            token.indent = _width(token.white)
            self.new_line = False
        self.tokens.append(token)
        self.frames[-1].statement.append(token)
        self.last = token

    def _white(self, start: int) -> str:
        """The blanks a line begins with; a comment before its first token is none of them."""
        leading = self.text[self.margin if self.margin >= 0 else self.line_start : start]
        self.margin = -1
        return leading if leading.isspace() else leading[: len(leading) - len(leading.lstrip(" \t"))]

    def _long_comment(self) -> None:
        close = self.text.find("*/", self.at + 2, self.end)
        if close < 0:
            raise SyntaxProblem("AE102", "this comment is never closed", self.at, self.at + 2, expected=("'*/'",))
        if self.new_line and self.margin < 0:
            self.margin = self.line_start
        while (newline := self.text.find("\n", self.at, close)) >= 0:
            self.at = newline + 1
            self._advance_line(self.at)
            self.new_line = self.ended = True
        self.at = close + 2

    def _line_break(self, kind: str, text: str) -> None:
        """A token is the first behind a line end: does it begin a new logical line, or a new entry of a dict?"""
        self.ended = False
        frame = self.frames[-1]
        last = self.last
        if last is None:
            return
        if frame.kind == "block":
            if not self._continues(last, kind, text):
                self._end_statement()
        elif frame.kind == "{" and self._separates(last, kind, text):
            comma = Token(",", "", Span(self.line, 1, self.line, 1, self.line_start, self.line_start))
            self.tokens.append(comma)
            frame.statement.append(comma)
            self.last = comma

    def _end_statement(self) -> None:
        frame = self.frames[-1]
        self.tokens.append(Token("NL", "", self._span(self.at, self.at)))
        column = self.at - self.line_start
        if column <= frame.match_indent:
            frame.match_indent = -1
        head = frame.statement[0] if len(frame.statement) > 1 else None
        if head is not None and head.text == "match" and head.first and column > head.indent:
            frame.match_indent = head.indent
        frame.case = False
        frame.statement = []
        frame.questions = 0
        frame.if_open = False
        self.last = None

    def _continues(self, last: Token, kind: str, text: str) -> bool:
        statement = self.frames[-1].statement
        if last.type == "RAW":
            return False
        if last.type in _CONTINUES and not (last.type in ("-", "*", "...") and len(statement) == 1):
            return True
        if last.type == "NAME" and last.text in _WORD_OPERATORS and len(statement) > 1 + (last.text == "in"):
            before = statement[-2]
            operator = before.type not in (".", "?.")
            if last.text == "not":
                operator = before.text == "is"
            elif last.text in ("in", "is"):
                operator = operator and (before.type in ENDS or before.text == "not")
            if operator:
                return True
        if kind == "op":
            return _SYNONYMS.get(text, text) in _CONTINUED_BY and last.type != ":"
        if kind == "name" and text in ("and", "or"):
            return _KEY_COLON.match(self.text, self.at + len(text), self.end) is None
        return False

    def _separates(self, last: Token, kind: str, text: str) -> bool:
        if not (self._ends_operand(last) or last.type == "FINISH"):
            return False
        if kind == "name":
            if text not in ("and", "or", "in", "is", "if", "else", "not", "AND", "OR", "for"):
                return True
            return _KEY_COLON.match(self.text, self.at + len(text), self.end) is not None
        return kind in ("string",) or text == "..."

    # ------------------------------------------------------------ words

    def _name(self, start: int, end: int, blank: bool) -> None:
        frame = self.frames[-1]
        last = self.last
        if last is not None and last.type == "NAME" and last.text in ("call", "use", "import", "from"):
            path = _PATH.match(self.text, start, self.end)
            if path is not None:
                self._add("PATH", start, path.end(), blank)
                return
        fresh = self.new_line and frame.kind == "block" and not frame.statement
        name = self._add("NAME", start, end, blank)
        if name.text == "if" and frame.kind != "block" and not self._after_operand_before_last():
            frame.if_open = True
        if fresh and name.text == "goal":
            self._goal(end)

    def _after_operand_before_last(self) -> bool:
        statement = self.frames[-1].statement
        return len(statement) > 1 and statement[-2].type in ENDS

    def _word(self, start: int, end: int, blank: bool) -> None:
        if self.text[start] in "fr" and self.text[start + 1] == "'":
            self._string(start, start + 2, blank)
            return
        self._add("WORD", start, end, blank)

    def _var(self, start: int, end: int, blank: bool) -> None:
        self._add("VAR", start, end, blank, self.text[start + 1 : end])

    def _goal(self, end: int) -> None:
        """The raw text of a `goal:` line, with the raw values of its keys."""
        colon = _KEY_COLON.match(self.text, end, self.end)
        if colon is None:
            return
        line_end = self.text.find("\n", colon.end(), self.end)
        line_end = self.end if line_end < 0 else line_end
        rest = self.text[colon.end() : line_end]
        comment = _GOAL_COMMENT.search(rest)
        if comment is not None:
            rest = rest[: comment.start()]
        value = rest.strip()
        if not value or re.match(r"f?[\"']", value) or value == "|":
            return
        if comment is not None:
            self.passed.append(Passed("comment", colon.end() + comment.start(), line_end))
        self._add(":", colon.end() - 1, colon.end(), False)
        base = colon.end()
        keys = list(_GOAL_KEY.finditer(rest))
        if keys and not rest[: keys[0].start()].strip():
            start = base + keys[0].start(1)
            raise SyntaxProblem(
                "AE112", f"a text is missing before '{keys[0][1]}:'", start, start + 1, expected=("a text",)
            )
        bounds = [0, *[key.start() for key in keys], len(rest)]
        for number, (a, b) in enumerate(pairwise(bounds)):
            if number:
                key = keys[number - 1]
                self._add("NAME", base + key.start(1), base + key.end(1), True)
                self._add(":", base + key.end(1), base + key.end(), False)
                a = key.end()
            piece = rest[a:b]
            stripped = piece.strip()
            if not stripped and not number:
                continue
            begin = base + a + len(piece) - len(piece.lstrip())
            self._add("RAW", begin, begin + len(stripped), True, stripped)
        self.at = line_end

    # ------------------------------------------------------------ literals

    def _number(self, start: int, end: int, blank: bool) -> None:
        last = self.last
        if last is not None and last.type == "NAME" and last.text == "at":
            clock = _CLOCK.match(self.text, start, self.end)
            if clock is not None:
                self._add("CLOCK", start, clock.end(), blank, clock.group())
                return
        type, end, data = literals.number(self.text, start, self.end)
        self._add(type, start, end, blank, data)

    def _string(self, start: int, end: int, blank: bool) -> None:
        prefix = self.text[start] if end - start == 2 else ""
        end = literals.string_end(self.text, start + len(prefix), self.end, raw=prefix == "r")
        token = Token("STRING", self.text[start:end], self._span(start, end), blank or self.new_line, prefix)
        newlines = token.text.count("\n")
        if newlines:
            tail = token.text.rindex("\n")
            line_start = start + tail + 1
            span = token.span
            token.span = Span(span.line, span.column, self.line + newlines, end - line_start + 1, start, end)
        self._append(token)
        if newlines:
            self.line += newlines
            self.line_start = line_start
        self.at = end

    def _regex(self, start: int, blank: bool) -> None:
        end, data = literals.regex(self.text, start, self.end)
        self._add("REGEX", start, end, blank, data)

    # ------------------------------------------------------------ operators and brackets

    def _op(self, start: int, end: int, blank: bool) -> None:
        op = self.text[start:end]
        if op in "([{":
            self._open(op, start, blank)
        elif op in ")]}":
            self._close(op, start, blank)
        elif op in ("/", "/=") and not self._divides(op) and self._wants_operand(start, start + 1, blank):
            if self.text[start - 1 : start] == "/" or self.text.startswith("//", start):
                raise self._double_slash(start)
            self._regex(start, blank)
        elif op == "." and self.text[end : end + 1].isdecimal() and (blank or not self._ends_operand(self.last)):
            self._number(start, end, blank)
        elif op == ";":
            if self.frames[-1].kind != "block":
                opener = self.frames[-1].opener
                loop = opener is not None and self.text[: opener.span.start].rstrip().endswith("for")
                raise SyntaxProblem(
                    "AE103", "';' ends a statement, but a bracket is still open", start, end, related=self._opened(),
                    suggestion="a loop that counts is `for i in 0..n`" if loop else None,
                )  # fmt: skip
            self.at = end
            self._end_statement()
        else:
            token = self._add(_SYNONYMS.get(op, op), start, end, blank)
            if op == ":":
                self._colon(token)
            elif op == "?":
                self.frames[-1].questions += not self._in_signature()
            elif op == "-" and len(self.frames[-1].statement) == 1 and self.frames[-1].kind == "block":
                self._dash(token)
            elif op == "." and len(self.frames[-1].statement) == 2 and self.frames[-1].kind == "block":
                self._numbered()

    def _double_slash(self, start: int) -> SyntaxProblem:
        """`a//b` and `http://x`, where the slashes begin no comment."""
        if self.text[start - 1 : start] == "/":
            message, hint = "there is no operator '//'", "write Math.floor(a / b); a comment needs a blank before //"
            start -= 1
        else:
            message, hint = "'//' cannot stand here", "put an address in quotes; a comment needs a blank before //"
        return SyntaxProblem("AE106", message, start, start + 2, suggestion=hint)

    def _dash(self, token: Token) -> None:
        if self.text[token.span.end : token.span.end + 1] in ("", " ", "\t", "\r", "\n"):
            token.type = "DASH"
            self.frames[-1].statement = []

    def _numbered(self) -> None:
        """`1.` with a blank behind it is the head of an item."""
        number, point = self.tokens[-2:]
        if (
            number.type == "NUMBER"
            and not point.blank
            and self.text[point.span.end : point.span.end + 1] in ("", " ", "\t", "\r", "\n")
        ):
            self.tokens.pop()
            number.type = "DASH"
            self.last = number
            self.frames[-1].statement = []

    def _colon(self, token: Token) -> None:
        frame = self.frames[-1]
        if frame.kind != "block":
            return
        if frame.questions:
            frame.questions -= 1
            return
        statement = frame.statement
        first = statement[0]
        size = len(statement)
        keyed = size == 4 and statement[1].type == ":" and first.text in _KEYED
        if first.type == "NAME" and first.text in ("case", "default") and self._in_match(frame, first):
            frame.statement, frame.case = [], True
            self.last = token
        elif (size == 2 and first.type in ("NAME", "STRING", "NUMBER") and first.text not in UNSHARED) or keyed:
            self._after_key(first)
        elif first.type == "NAME" and self._heads(first.text, statement[1].type):
            if first.text == "match" and first.first:
                frame.match_indent = first.indent
            frame.statement = []
            self.last = token

    def _in_match(self, frame: Frame, first: Token) -> bool:
        """Does the statement stand directly in a `match`?"""
        return frame.container == "match" or -1 < frame.match_indent < (first.indent if first.first else 1_000_000)

    def _heads(self, word: str, behind: str) -> bool:
        """Does the colon end the head that begins with this word?"""
        return (word in HEADS or word == "export") and not (word in SOFT and behind in NO_HEAD)

    def _after_key(self, key: Token) -> None:
        word = _HYPHWORD.match(self.text, self.at, self.end)
        if word is not None:
            self._add("HYPHWORD", word.start(1), word.end(1), True, word.group(1))
            return
        pipe = _PIPE.match(self.text, self.at, self.end)
        if pipe is not None:
            self._raw_block(key, self.text.index("|", self.at), pipe.end())

    def _raw_block(self, key: Token, bar: int, start: int) -> None:
        """The lines behind `key: |`: up to a line with a lone `|`, or one indented no deeper than the key."""
        column = _width(self.text[key.span.start - key.span.column + 1 : key.span.start])
        comment = _ANY_COMMENT.search(self.text, bar, start)
        if comment is not None:
            self.passed.append(Passed("comment", comment.start(), comment.end()))
        lines: list[str] = []
        at, count = start, 1
        while at < self.end:
            stop = self.text.find("\n", at, self.end)
            stop = self.end if stop < 0 else stop
            line = self.text[at:stop].removesuffix("\r")
            if line.strip() == "|":
                at = min(stop + 1, self.end)
                count += 1
                break
            if line.strip() and len(line[: len(line) - len(line.lstrip())].expandtabs(4)) <= column:
                break
            lines.append(line)
            count += 1
            at = min(stop + 1, self.end)
        self.passed.append(Passed("text", start, at))
        token = Token("RAW", "|", self._span(bar, bar + 1), True, literals.dedent(lines))
        self._append(token)
        self.at = at
        self.line += count - (0 if self.text[at - 1 : at] == "\n" else 1)
        self.line_start = at if self.text[at - 1 : at] == "\n" else self.text.rfind("\n", 0, at) + 1
        self.new_line = self.ended = True

    def _open(self, op: str, start: int, blank: bool) -> None:
        if op == "{":
            template = _TEMPLATE.match(self.text, start, self.end)
            if template is not None and "\n" not in template.group():
                self._add("TEMPLATE", start, template.end(), blank, template.group(1))
                return
        frame = self.frames[-1]
        anon = op == "(" and self.last is not None and self.last.type == "NAME" and self.last.text == "function"
        block = op == "{" and self._opens_block(start)
        container = frame.statement[0].text if block and frame.statement else ""
        token = self._add("BEGIN" if block else op, start, start + 1, blank)
        if not block:
            self.brackets += 1
            if self.brackets > self.limits.brackets:
                raise SyntaxProblem(
                    "AE110", f"more than {self.limits.brackets} brackets inside each other", start, start + 1
                )
        self.frames.append(Frame("block" if block else op, token, container, anon))
        if block:
            self.last = None

    def _close(self, op: str, start: int, blank: bool) -> None:
        frame = self.frames[-1]
        if frame.opener is None:
            message = f"'{op}' closes nothing"
            raise SyntaxProblem(
                "AE103", message, start, start + 1, suggestion="remove it, or open the bracket before it"
            )
        wanted = {"(": ")", "[": "]", "{": "}", "block": "}"}[frame.kind]
        if wanted != op:
            raise SyntaxProblem(
                "AE103", f"'{op}' does not close '{frame.opener.text}'", start, start + 1,
                expected=(f"'{wanted}'",), suggestion="wrong kind of bracket", related=self._opened(),
            )  # fmt: skip
        self.frames.pop()
        block = frame.kind == "block"
        if not block:
            self.brackets -= 1
        token = self._add("FINISH" if block else op, start, start + 1, blank)
        token.data = frame.anon
        frame.opener.close = token

    def _opened(self) -> tuple[tuple[int, str], ...]:
        opener = self.frames[-1].opener
        return ((opener.span.start, f"'{opener.text}' was opened here"),) if opener is not None else ()

    # ------------------------------------------------------------ the end

    def _unknown(self) -> SyntaxProblem:
        while self.text[self.at] in " \t":
            self.at += 1
        character = self.text[self.at]
        hint = character_hint(self.text, self.at)
        name = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
        return SyntaxProblem("AE101", f"unknown character {name}", self.at, self.at + 1, suggestion=hint)

    def _finish(self) -> None:
        frame = self.frames[-1]
        if frame.opener is not None:
            wanted = {"(": ")", "[": "]", "{": "}", "block": "}"}[frame.kind]
            opener = frame.opener
            what = "block" if frame.kind == "block" else "bracket"
            raise SyntaxProblem(
                "AE103", f"'{opener.text}' was never closed", opener.span.start, opener.span.end,
                expected=(f"'{wanted}'",), suggestion=f"the {what} that starts here reaches the end of the file",
                related=self._crooked(opener),
            )  # fmt: skip
        if not self.embedded and self.tokens and self.tokens[-1].type != "NL":
            self._end_statement()

    def _crooked(self, opener: Token) -> tuple[tuple[int, str], ...]:
        """The first bracket behind that one to be closed on a line of another indentation: it may be the one that was
        not closed, and have taken the closing of the others."""
        found: Token | None = None
        for token in self.tokens:
            close = token.close
            if token.span.start <= opener.span.start or close is None or close.span.line == token.span.line:
                continue
            earlier = found is None or found.close is None or close.span.start < found.close.span.start
            if earlier and close.first and close.indent != self._indent_of_line(token):
                found = token
        if found is None or found.close is None:
            return ()
        message = f"'{found.text}' is closed in line {found.close.span.line}, which is indented otherwise"
        return ((found.span.start, message),)

    def _indent_of_line(self, token: Token) -> int:
        line = self.source.line_text(token.span.line)
        return _width(line[: len(line) - len(line.lstrip(" \t"))])


def check_characters(source: Source, limits: Limits) -> None:
    """Refuses what no script may hold: too much text, NUL and bidirectional control characters (sections 2.1,
    18.1)."""
    found = _FORBIDDEN.search(source.text)
    if found is not None:
        code = ord(found.group())
        raise SyntaxProblem(
            "AE101", f"the character U+{code:04X} is not allowed", found.start(), found.end(),
            suggestion=f"in a string write \\u{{{code:04X}}}",
        )  # fmt: skip
    size = len(source.text.encode("utf-8"))
    if size > limits.source_kb * 1024:
        raise SyntaxProblem("AE110", f"the script has {size} bytes, more than the {limits.source_kb} KiB allowed", 0, 1)


__all__ = ["POSTFIX", "RESERVED", "Limits", "check_characters", "scan"]
