"""What the formatter prints: the raw tokens of a script, each in the recommended spelling (section 24 of the language
reference), with the blank before it decided.

The tokens carry the meaning; the shaped lines say which role each one has, and the tree which stretches are text whose
blanks count."""

from __future__ import annotations

from .layout import Block, Line
from .outline import gather, survey
from .parser import Reading
from .refine import first_juxtaposition, top_level
from .scanner import Passed
from .tokens import TRIES, Token
from .words import GUARDS, POSTFIX, PREPOSITIONS

_HEADS = frozenset(
    {"if", "else", "for", "while", "when", "every", "try", "catch", "finally", "match", "case", "function", "handler"}
)
_CODE = frozenset({"code", "declaration"})
_RUN = frozenset({"code", "command"})
_FUNCTION_WORDS = frozenset({"fn", "function", "def", "define"})
_CONSTANTS = {"True": "true", "False": "false", "None": "null", "none": "null", "undefined": "null"}
_WORDS = {"&&": "and", "||": "or", "AND": "and", "OR": "or", "NOT": "not"}
_PRIORITIES = frozenset({"low", "medium", "normal", "high", "urgent", "critical"})
_TYPE_MARK_BEHIND = frozenset({"=", "|", ",", ")", "]", ":", "BEGIN", "FINISH", "NL"})


class Piece:
    """One word, sign or text of the output. `gap` says that a blank stands before it where no line break does;
    `first` that the author began a line with it; `line` is the statement that it begins. `role` is `open` or `close`
    for round, square and dict brackets, `begin` or `finish` for the braces of blocks, `raw` for the bar of a raw text
    block, whose lines are `data`. `block` is the block a `begin` opens; `end` where the piece ends in the source."""

    __slots__ = ("block", "close", "column", "data", "end", "first", "gap", "line", "role", "start", "text", "tight")

    def __init__(self, text: str, start: int, end: int, gap: bool, tight: bool = False, role: str = "") -> None:
        self.text = text
        self.start = start
        self.end = end
        self.gap = gap
        self.tight = tight  # nothing separates it from what follows
        self.role = role
        self.first = False
        self.line: Line | None = None
        self.block: Block | None = None
        self.close = -1
        self.data = ""
        self.column = 0


def quoted(text: str) -> str:
    """A string literal for a text: in double quotes, in single ones where braces would interpolate or quotes would
    need escapes."""
    quote = "'" if ("{" in text or "}" in text or ('"' in text and "'" not in text)) else '"'
    text = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return quote + text + quote


# ---------------------------------------------------------------- tokens to pieces


class _Bracket:
    """An open bracket: its role, and how many `?` and `lambda` in it wait for their colon."""

    __slots__ = ("at", "lambdas", "questions", "role")

    def __init__(self, role: str, at: int) -> None:
        self.role = role
        self.at = at
        self.questions = 0
        self.lambdas = 0


def _stands_alone(line: Line) -> bool:
    """Is what follows the number of this line a statement without it? A phrase is one where it begins with a call and
    goes on with a preposition, a guard or an arrow."""
    if len(line.out) < 2 or line.out[1].type != "PHRASE" or line.out[1].data[0] != "item":
        return True
    tokens = line.tokens[1:]
    place = first_juxtaposition(tokens)
    if place < 0:
        return any(tokens[at].type == "->" for at in top_level(tokens)[1:])
    return tokens[place - 1].type == ")" and tokens[place].text in (*PREPOSITIONS, *GUARDS)


def _is_empty(line: Line) -> bool:
    """Does only an `end` mark the body of this head?"""
    last = line.out[-1]
    if last.type == "BLOCK":
        return not last.data.brace and not last.data.lines
    return line.kind == "if"


class Piecemaker:
    """Makes the pieces of one script."""

    def __init__(self, reading: Reading) -> None:
        self.text = reading.source.text
        self.tokens = reading.tokens
        self.passed: list[Passed] = reading.passed
        self.facts = gather(reading)
        self.outline = survey(reading.root)
        self.pieces: list[Piece] = []
        self.brackets = [_Bracket("", -1)]
        self.before: Token | None = None
        self.line: Line | None = None
        self.statement: Line | None = None
        self.carry = False  # the line break before a comma moves behind it
        self.raws = 0
        self.unnumbered: set[int] = set()

    def run(self) -> list[Piece]:
        """The pieces in their order."""
        tokens, lines = self.tokens, self.outline.lines
        fresh = True
        at, end = 0, len(tokens)
        while at < end:
            token = tokens[at]
            if token.type == "NL":
                fresh = True
            elif token.type == "FINISH":
                fresh = False
                self._finish(token)
            elif fresh and token.span.start not in lines:
                while tokens[at].type not in ("NL", "FINISH"):  # an `end`
                    at += 1
                continue
            else:
                if fresh:
                    self.line = self.statement = lines[token.span.start]
                    self._keep_apart(token, at)
                    self.brackets[-1].questions = self.brackets[-1].lambdas = 0
                    self.before = None
                    self.raws = 0
                at = self._token(token, at)
                fresh = token.type == "BEGIN"
                continue
            at += 1
        return self.pieces

    def _keep_apart(self, token: Token, at: int) -> None:
        """A statement that would go on with the one before it, did no `;` stand between them."""
        before = self.pieces[-1] if self.pieces else None
        if before is None or before.role in ("begin", "raw") or before.text.endswith((":", ";")):
            return
        goes_on = token.text in ("and", "or") and self.tokens[at + 1].type != ":"
        if goes_on or token.type in ("+", "REGEX") or before.text in ("and", "or"):
            before.text += ";"

    def _put(self, text: str, token: Token, gap: bool, tight: bool = False, role: str = "") -> Piece:
        pieces = self.pieces
        piece = Piece(text, token.span.start, token.span.end, gap, tight, role)
        piece.first = token.first or self.carry
        self.carry = False
        piece.line, self.line = self.line, None
        if pieces and (pieces[-1].tight or not pieces[-1].text) and not self._collides(pieces[-1], text):
            piece.gap = False
        if pieces and pieces[-1].role == "begin":
            piece.gap = True
        pieces.append(piece)
        self.before = token
        return piece

    def _collides(self, piece: Piece, text: str) -> bool:
        """Would two pieces that touch be read as another token?"""
        last = piece.text[-1:]
        return (last in "+-" and text[:1] == last) or (last == "." and text[:1] == "." and piece.text != ".")

    def _finish(self, token: Token) -> None:
        bracket = self.brackets.pop()
        self.line = None
        piece = self._put("}", token, True, role="finish")
        if self.pieces[-2].role == "begin":
            piece.gap = False
        self.pieces[bracket.at].close = len(self.pieces) - 1

    # ------------------------------------------------------------ one token

    def _token(self, token: Token, at: int) -> int:
        """Puts the pieces of a token, or of the stretch that begins with it. Gives the place behind."""
        start, type = token.span.start, token.type
        role = self.outline.roles.get(start, "")
        if type == "," and (not token.text or token.first):
            self.pieces[-1].text += ","
            self.pieces[-1].tight = False
            self.carry = token.first and bool(token.text)
            self.before = token
            return at + 1
        if start in self.facts.texts and type not in ("RAW", "HYPHWORD"):
            return self._stretch(token, at, self.facts.texts[start])
        if type == "BEGIN":
            self.brackets.append(_Bracket("block", len(self.pieces)))
            piece = self._put("{", token, True, role="begin")
            piece.block = self.outline.blocks[start]
            return at + 1
        if type == "DASH":
            return self._dash(token, at)
        if type in "([{":
            self._open(token, role)
        elif type in ")]}":
            self._close(token)
        elif type == ":":
            self._colon(token)
        elif type == "RAW":
            self._raw(token)
        elif start in self.facts.titles and type == "NAME" and token.text not in self.facts.bound:
            self._put(quoted(token.text), token, True)
        elif start in self.outline.loose and type != ",":
            self._put(token.text, token, token.blank)
        elif type == "NAME":
            return self._name(token, role, at)
        else:
            self._sign(token, role, at)
        self._end_of(token)
        return at + 1

    def _end_of(self, token: Token) -> None:
        """What the end of a statement needs: the colon of a head, the braces of an empty body, the end of a dict."""
        start = token.span.start
        if start in self.outline.comparisons:
            self.pieces[-1].text += " }"
        line = self.outline.last.get(start)
        if line is None or token.type == "BLOCK" or not (line.kind in _HEADS or self._simulates(line)):
            return
        if line.body is not None:
            if token.type != ":":
                self.pieces[-1].text += ":"
        elif line.closed and line.item_body is None and _is_empty(line):
            if token.type == ":":
                self.pieces[-1].text = "{}"
                self.pieces[-1].gap = True
            else:
                self.pieces[-1].text += " {}"

    def _simulates(self, line: Line) -> bool:
        """`simulate x` is the one verb that heads its deeper lines as a control word does."""
        word = line.tokens[line.tokens[0].type == "DASH" and len(line.tokens) > 1]
        return word.text == "simulate" and self.outline.roles.get(word.span.start) == "VERB"

    def _stretch(self, token: Token, at: int, end: int) -> int:
        """A text that stays as it is, or becomes a string."""
        start, last = token.span.start, token
        text = self.text[start:end]
        first = at
        while at < len(self.tokens) and self.tokens[at].span.start < end:
            last = self.tokens[at]
            at += 1
        if start in self.facts.prose or (start in self.facts.raws and self._is_item(first, at)):
            text = quoted(text)
        piece = self._put(text, token, True)
        piece.end = end
        self.before = last
        self._end_of(last)
        return at

    def _is_item(self, at: int, end: int) -> bool:
        """Do these tokens follow a dash, and nothing them?"""
        dash = self.tokens[at - 1] if at else None
        line = self.outline.lines.get(dash.span.start) if dash is not None and dash.type == "DASH" else None
        alone = line is not None and line.body is None and line.item_body is None
        return alone and (end == len(self.tokens) or self.tokens[end].type == "NL")

    def _dash(self, token: Token, at: int) -> int:
        assert self.line is not None
        if token.text == "-" or token.span.start in self.facts.items or self.line.block.kind not in _CODE:
            self._put("-", token, True)
        elif not _stands_alone(self.line):
            self._put(f"{token.text}.", token, True)  # without the number it would be no statement
        else:
            self.unnumbered.add(token.span.start)
            self.tokens[at + 1].first = token.first
        self.before = None
        return at + 1

    # ------------------------------------------------------------ brackets and colons

    def _open(self, token: Token, role: str) -> None:
        loose = token.span.start in self.outline.loose
        gap = token.blank if loose else role not in ("CPAR", "IBRA")
        if token.type == "{" and not token.blank and self.before is not None and self.before.text in PREPOSITIONS:
            gap = False  # with a blank the word would be a preposition
        if self.before is not None and self.before.type == "PERCENT":
            gap = True
        self.brackets.append(_Bracket(role or token.type, len(self.pieces)))
        self._put(token.text, token, gap, tight=token.type != "{", role="open")

    def _close(self, token: Token) -> None:
        bracket = self.brackets.pop()
        empty = len(self.pieces) - 1 == bracket.at
        self._put(token.text, token, token.type == "}" and not empty, role="close")
        self.pieces[bracket.at].close = len(self.pieces) - 1

    def _colon(self, token: Token) -> None:
        bracket = self.brackets[-1]
        before = self.before
        if before is not None and self.outline.roles.get(before.span.start) == "ARGKEY":
            self._equals(token)
        elif bracket.lambdas:
            bracket.lambdas -= 1
            self._put(":", token, False)
        elif bracket.questions:
            bracket.questions -= 1
            self._put(":", token, True)
        else:
            self._put(":", token, False, tight=bracket.role == "IBRA").first = False

    def _equals(self, token: Token) -> None:
        """The `=` behind the name of an argument or of a parameter."""
        assert self.before is not None
        default = self.before.span.start in self.facts.params
        self._put("=", token, default, tight=not default)

    # ------------------------------------------------------------ words and signs

    def _name(self, token: Token, role: str, at: int) -> int:
        text = token.text
        behind = self.tokens[at + 1].text if at + 1 < len(self.tokens) else ""
        taken = 1
        if role == "CONST":
            text = _CONSTANTS.get(text, text)
        elif role == "OP" and text == "is":
            text, taken = ("!=", 2) if behind == "not" else ("==", 1)
        elif role in ("OP", "NOT", "POSTFIX"):
            text = _WORDS.get(text, text)
        elif text in _FUNCTION_WORDS and (role == "FN" or self._exported(at)):
            text = "fn"
        elif role == "DATAKEY" and text in TRIES:
            text = quoted(text)
        elif role == "LAMBDA":
            self.brackets[-1].lambdas += 1
        elif role == "FOR" and behind == "each" and self.tokens[at + 2].type == "NAME":
            taken = 1 if self.tokens[at + 2].text == "in" else 2
        last = self.tokens[at + taken - 1]
        self._put(text, token, True).end = last.span.end
        self._end_of(last)
        return at + taken

    def _exported(self, at: int) -> bool:
        """Is this the `function` of `export function f(..)`?"""
        return self._follows("FN") and self.before.text == "export" and self.tokens[at + 1].type == "NAME"  # type: ignore[union-attr]

    def _follows(self, role: str) -> bool:
        return self.before is not None and self.outline.roles.get(self.before.span.start) == role

    def _sign(self, token: Token, role: str, at: int) -> None:
        type, unary = token.type, token.span.start in self.outline.unary
        if type in (".", "?.", ".."):
            self._put(type, token, False, tight=True)
        elif type == ",":
            self._put(",", token, False)
        elif type in ("++", "--"):
            self._put(type, token, False)
        elif type == "...":
            self._put(type, token, True, tight=True)
        elif type == "=" and self._follows_key():
            self._equals(token)
        elif type == "?":
            mark = self.tokens[at + 1].type in _TYPE_MARK_BEHIND
            self.brackets[-1].questions += not mark
            self._put("?", token, not mark)
        elif type == "!":
            behind = self.tokens[at + 1].text
            keep = behind in POSTFIX or behind == "in"
            self._put("!" if keep else "not", token, True, tight=keep)
        elif role == "CMPOP":
            key = self.pieces[-2]
            if key.text in ("case", "default"):  # whose brace would be that of a block
                key.text = quoted(key.text)
            self._put(f"{{ op: {quoted(token.text)}, value:", token, True)
        elif type in ("-", "+", "~"):
            self._put(type, token, True, tight=unary)
        elif type == "/=" and self._is_one_word():
            self._put("/=", token, False)  # behind a verb and a blank it would begin a regex
        elif type == "HYPHWORD":
            self._put(quoted(token.text), token, True)
        elif type in _WORDS:
            self._put(_WORDS[type], token, True)
        else:
            self._put(token.text if type.isupper() else type, token, True)

    def _is_one_word(self) -> bool:
        """Does the statement have one word so far, behind a dash or not?"""
        last = self.pieces[-1]
        return last.line is not None or (self.pieces[-2].text == "-" and self.pieces[-2].line is not None)

    def _follows_key(self) -> bool:
        return self._follows("ARGKEY") or self._follows("SLOTKEY")

    def _raw(self, token: Token) -> None:
        """The bar of a raw text block, or the raw text of a `goal:` line with the values of its keys."""
        data: str = token.data
        if token.text == "|" and data != "|":
            self._put("|", token, True, role="raw").data = data
            return
        self.raws += 1
        statement = self.statement
        keyed = statement is not None and (self.raws > 1 or statement.tokens[-1] is not token)
        if statement is not None and keyed and statement.block.kind not in _RUN:
            self._put(token.text, token, True)  # quoted, its keys would be a part of it
            return
        bare = self.raws > 1 and data in _PRIORITIES and data not in self.facts.bound
        self._put(data if bare else quoted(data), token, True)
