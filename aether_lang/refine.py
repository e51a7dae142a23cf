"""Raw tokens of an expression or a phrase to the terminals of the grammar (section 4: slots, token refinements).

Each decision looks at what stands before and at most a bracket ahead; nothing comes back from the parser.
"""

from __future__ import annotations

import re

from .errors import SyntaxProblem
from .nodes import Span
from .tokens import CONSTANTS, ENDS, JOINING, LITERALS, Token
from .words import GUARDS, POSTFIX, PREPOSITIONS

_PUNCTUATION = {
    ",": "COMMA", ":": "COLON", ".": "DOT", "?.": "SAFEDOT", "?": "QMARK", ")": "RPAR", "]": "RBRA", "}": "RBRACE",
    "+": "PLUS", "-": "MINUS", "~": "TILDE", "!": "NOT", "|": "BAR", "**": "POW", "++": "STEP", "--": "STEP",
    "...": "ELLIPSIS", "=>": "FAT", "=": "ASSIGN", "+=": "ASSIGN", "-=": "ASSIGN", "*=": "ASSIGN", "/=": "ASSIGN",
    "%=": "ASSIGN", "->": "ARROW",
}  # fmt: skip
_OPERATORS = {
    "*": "*", "/": "/", "%": "%", "==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "<<": "<<",
    ">>": ">>", "^": "^", "&": "&", "&&": "and", "||": "or", "??": "??", "..": "..",
}  # fmt: skip
_WORD_OPERATORS = {"and": "and", "AND": "and", "or": "or", "OR": "or", "in": "in", "is": "=="}
_OPENS = frozenset("([{")
_CLOSES = frozenset(")]}")
_COUNTED = frozenset({"OP", "PLUS", "MINUS", "BAR", "POW", "DOT", "SAFEDOT", "STEP", "NOT", "TILDE", "QMARK", "FAT",
                      "COLON", "TIF", "POSTFIX", "CALL", "NEW", "AWAIT", "LAMBDA", "XIF"})  # fmt: skip
MOST_GUARDS = 8
_BEHIND_FAT = re.compile(r"(?:\s|\\\n)*=>")
_BEHIND_BRACE = re.compile(r"\s*\{")


class Refiner:
    """Turns the tokens of one stretch into terminals. `phrase` splits it into slots at its depth 0; `signal` gives
    bare names the role they have in a condition. `deepest` is the depth the stretch reaches along any path."""

    def __init__(self, text: str, tokens: list[Token], phrase: bool, signal: bool, guards: int = 0) -> None:
        self.text = text
        self.guards = guards
        self.last_else: int | None = None
        self.tokens = tokens
        self.phrase = phrase
        self.signal = signal
        self.out: list[Token] = []
        self.frames: list[str] = []
        self.after = False  # an operand has just ended
        self.slot_start = phrase
        self.questions = 0
        self.expect_in = 0  # depth at which a comprehension waits for its `in`, plus one
        self.chain = self.inner = self.best = 0
        self.saved: list[tuple[int, int, int]] = []
        self.deepest = 0
        self.lambda_in = -1  # depth at which the names of a `lambda` stand, up to its colon

    def run(self) -> list[Token]:
        """The terminals."""
        tokens = self.tokens
        out = self.out
        end = len(tokens)
        at = 0
        while at < end:
            token = tokens[at]
            type = token.type
            if type == "NAME":
                at = self._name(token, at, end)
                continue
            if type in LITERALS:
                if self.after and self.phrase and not self.frames:
                    self._juxtapose(token)
                out.append(token)
                self.after = True
                self.slot_start = False
            elif type in _OPENS:
                self._open(token, at)
            elif type in _CLOSES:
                self._close(token)
            elif type == "BLOCK":
                out.append(token)
                self.after = True
            else:
                self._punctuation(token, type)
            at += 1
        self.deepest = max(self.best, self.chain + self.inner)
        return out

    # ------------------------------------------------------------ brackets

    def _open(self, token: Token, at: int) -> None:
        type = token.type
        top = self.phrase and not self.frames
        call = self.after or (self.out and self.out[-1].type == "SAFEDOT")
        if type == "(":
            if call:
                kind = "CPAR"
            else:
                fat = token.close is not None and _BEHIND_FAT.match(self.text, token.close.span.end) is not None
                kind = "LLPAR" if fat else "LPAR"
                if self.out and self.out[-1].type == "ANONFN":
                    kind = "LLPAR"
        elif type == "[":
            kind = "IBRA" if call else "LBRA"
        else:
            kind = "LBRACE"
            if self.after and top:
                self._juxtapose(token)
        self.out.append(token.retyped(kind))
        self.frames.append(kind)
        self.saved.append((self.chain + 1, self.inner, self.best))
        self.chain = self.inner = self.best = 0
        self.after = False
        self.slot_start = False

    def _close(self, token: Token) -> None:
        if self.frames:
            self.frames.pop()
            total = max(self.best, self.chain + self.inner)
            self.chain, inner, self.best = self.saved.pop()
            self.inner = max(inner, total)
        self.out.append(token.retyped(_PUNCTUATION[token.type]))
        self.after = True

    def _punctuation(self, token: Token, type: str) -> None:
        operator = _OPERATORS.get(type)
        if operator is not None:
            self.out.append(token.retyped("OP", operator))
            self.chain += 1
            self.after = False
            return
        kind = _PUNCTUATION.get(type)
        if kind is None:
            self.out.append(token)
            self.after = type in ENDS
            return
        if kind == "COLON" and self.lambda_in == len(self.frames):
            self.lambda_in = -1
        if kind in _COUNTED:
            self.chain += 1
        elif kind == "COMMA":
            self.best = max(self.best, self.chain + self.inner)
            self.chain = self.inner = 0
        if not self.frames:
            if kind == "QMARK":
                self.questions += 1
            elif self.phrase and kind == "COMMA":
                self.out.append(token.retyped("JUXT", True))
                self.after = False
                self.slot_start = True
                return
        self.out.append(token.retyped(kind))
        self.after = kind == "STEP"

    # ------------------------------------------------------------ names

    def _name(self, token: Token, at: int, end: int) -> int:
        tokens, out = self.tokens, self.out
        following = tokens[at + 1] if at + 1 < end else None
        before = out[-1].type if out else ""
        if before in ("DOT", "SAFEDOT"):
            out.append(token)
            self.after = True
            return at + 1
        if following is not None and (kind := self._key(token, before, following)):
            out.append(token.retyped(kind))
            self.after = self.slot_start = False
            return at + 2
        top = self.phrase and not self.frames
        if top and (self.after or self.slot_start):
            taken = self._slot_word(token, at, end)
            if taken:
                return taken
        if self.after:
            taken = self._behind_operand(token, at, following)
            if taken:
                return taken
            if top:
                self._juxtapose(token)
        return self._operand(token, at, following)

    def _key(self, token: Token, before: str, following: Token) -> str:
        """Is this NAME the key of an argument or of a dict entry?"""
        if following.type not in (":", "=") or (self.lambda_in == len(self.frames) and following.type == ":"):
            return ""
        frame = self.frames[-1] if self.frames else ""
        if frame == "CPAR" and before in ("CPAR", "COMMA"):
            return "ARGKEY" if token.text != "lambda" or following.type == "=" else ""
        if frame == "LBRACE" and before in ("LBRACE", "COMMA") and following.type == ":":
            return "DKEY"
        return ""

    def _drop_comma(self) -> None:
        """A slot that begins with a word of its own needs no comma between it and the slot before."""
        out = self.out
        if len(out) > 1 and out[-1].type == "JUXT" and out[-2].type != "JUXT":
            out.pop()

    def _slot_word(self, token: Token, at: int, end: int) -> int:
        """Prepositions, keys and guards at depth 0 of a phrase; 0 for any other word."""
        tokens, word = self.tokens, token.text
        following = tokens[at + 1] if at + 1 < end else None
        behind = tokens[at + 2] if at + 2 < end else None
        if word == "based" and following is not None and following.text == "on" and behind is not None:
            self._drop_comma()
            self.out.append(token.retyped("PREP", "based_on"))
            return self._slot(at + 2)
        if word in PREPOSITIONS and following is not None and self._begins_slot(following, behind):
            self._drop_comma()
            self.out.append(token.retyped("PREP", word))
            return self._slot(at + 1)
        if word in GUARDS and following is not None and not (word == "if" and self._has_else(at)):
            return self._guard(token, at, end)
        if following is not None and following.type in (":", "=") and not self.questions:
            self._drop_comma()
            self.out.append(token.retyped("SLOTKEY"))
            return self._slot(at + 2)
        return 0

    def _slot(self, at: int) -> int:
        self.after = False
        self.slot_start = True
        return at

    def _begins_slot(self, token: Token, behind: Token | None) -> bool:
        if token.type == "NAME":
            return (token.text not in JOINING
                    and not (behind is not None and behind.type == "=" and token.text in PREPOSITIONS))  # fmt: skip
        if token.type in LITERALS:
            return True
        if token.type in _OPENS:
            return token.blank
        if token.type in ("-", "!", "~"):
            return token.blank and behind is not None and not behind.blank
        return False

    def _guard(self, token: Token, at: int, end: int) -> int:
        """A guard: the rest of the line is its condition."""
        rest = self.tokens[at + 1 : end]
        if token.text == "where" and rest and rest[0].type == ":":
            rest = rest[1:]  # `recall x from w where: cond`
        if token.text == "where":
            arrow = next((i for i in top_level(rest) if rest[i].type == "->"), None)
            if arrow is not None:
                end -= len(rest) - arrow
                rest = rest[:arrow]
        prose = token.text == "where" and has_juxtaposition(rest)
        if self.guards == MOST_GUARDS:
            raise SyntaxProblem(
                "AE110", f"more than {MOST_GUARDS} guards in one phrase", token.span.start, token.span.end
            )
        inner = Refiner(self.text, rest, prose, True, self.guards + 1)
        self._drop_comma()
        self.out.append(token.retyped("GUARD"))
        self.out += inner.run()
        self.inner = max(self.inner, inner.deepest + 1)
        self.after = True
        return end

    def _has_else(self, at: int) -> bool:
        if self.last_else is None:
            places = [
                i
                for i in top_level(self.tokens)
                if self.tokens[i].text == "else"
                and self.tokens[i].type == "NAME"
                and (not i or self.tokens[i - 1].type not in (".", "?."))
            ]
            self.last_else = max(places, default=-1)
        return self.last_else > at

    def _behind_operand(self, token: Token, at: int, following: Token | None) -> int:
        """A word where an operator may stand; 0 if it is no operator."""
        word, out = token.text, self.out
        kind, data, taken = "", None, 1
        if word == "in" and self.frames and self.expect_in == len(self.frames):
            kind, self.expect_in = "FORIN", 0
        elif word in _WORD_OPERATORS:
            kind, data = "OP", _WORD_OPERATORS[word]
            if word == "is" and following is not None and following.text == "not":
                data, taken = "!=", 2
        elif word in ("not", "NOT") and following is not None:
            if following.text == "in":
                kind, data, taken = "OP", "not in", 2
            elif following.text in POSTFIX and self._is_postfix(at + 1):
                kind, data, taken = "POSTFIX", "not " + following.text, 2
        elif word in POSTFIX and self._is_postfix(at):
            kind, data = "POSTFIX", word
        elif word == "if":
            kind = "TIF"
        elif word in ("else", "elif"):
            kind = "TELSE"
            if out[-1].type == "BLOCK":
                kind = "XELSE"
                if word == "elif" or (following is not None and following.text == "if"):
                    kind, taken = "XELIF", 1 if word == "elif" else 2
        elif word == "for" and self.frames:
            kind, self.expect_in = "COMPFOR", len(self.frames)
        if not kind:
            return 0
        out.append(token.retyped(kind, data))
        if kind in _COUNTED:
            self.chain += 1
        self.after = kind == "POSTFIX"
        self.slot_start = False
        return at + taken

    def _is_postfix(self, at: int) -> bool:
        """`exists` or `empty` right after an operand on its line, with no operand, `(`, `.` or `=` behind."""
        token = self.tokens[at]
        if token.first:
            return False
        following = self.tokens[at + 1] if at + 1 < len(self.tokens) else None
        if following is None or following.first:
            return True
        if following.type == "NAME":
            return following.text in (
                "and",
                "or",
                "AND",
                "OR",
                "if",
                "else",
                "is",
                "in",
                "for",
                "not",
                "unless",
                "when",
            )
        return following.type not in (LITERALS | {"(", ".", "?.", "=", "{", "["})

    def _operand(self, token: Token, at: int, following: Token | None) -> int:
        """A word where an operand is expected."""
        word, out = token.text, self.out
        kind = "NAME"
        data: object = "signal" if self.signal else "value"
        if word in ("not", "NOT"):
            kind = "NOT"
        elif word == "if":
            kind = "XIF"
        elif word in CONSTANTS:
            kind, data = "CONST", CONSTANTS[word]
        elif following is not None:
            next_type = following.type
            if next_type == "=>":
                kind = "LNAME"
            elif word == "lambda" and (next_type == ":" or (next_type == "NAME" and following.text != "in")):
                kind = "LAMBDA"
                self.lambda_in = len(self.frames)
            elif word in ("call", "new", "await") and self._is_operand_word(following):
                kind = word.upper()
            elif word == "function" and self._is_anonymous(following):
                kind = "ANONFN"
        if kind == "NAME":
            token.data = data
            out.append(token)
        else:
            out.append(token.retyped(kind, data))
        self.slot_start = False
        self.after = kind in ("NAME", "CONST")
        if kind in _COUNTED:
            self.chain += 1
        return at + 1

    def _is_operand_word(self, token: Token) -> bool:
        return token.type in ("VAR", "PATH") or (token.type == "NAME" and token.text not in JOINING)

    def _is_anonymous(self, token: Token) -> bool:
        """Is this the bracket of `function(..) {`?"""
        close = token.close if token.type == "(" else None
        return close is not None and _BEHIND_BRACE.match(self.text, close.span.end) is not None

    def _juxtapose(self, token: Token) -> None:
        self.out.append(Token("JUXT", "", Span(*_before(token.span)), False, False))
        self.chain = self.inner = 0


def _before(span: Span) -> tuple[int, int, int, int, int, int]:
    return span.line, span.column, span.line, span.column, span.start, span.start


def top_level(tokens: list[Token], start: int = 0) -> list[int]:
    """The places of the tokens outside all brackets; a pair of brackets shows with its two ends."""
    depth = 0
    found = []
    for at in range(start, len(tokens)):
        type = tokens[at].type
        if type in _CLOSES:
            depth -= 1
        if not depth:
            found.append(at)
        if type in _OPENS:
            depth += 1
    return found


_KEYWORDS_BEHIND = JOINING | GUARDS | {"elif", "AND", "OR"}


def has_juxtaposition(tokens: list[Token]) -> bool:
    """Do two operands stand side by side at depth 0?"""
    return first_juxtaposition(tokens) >= 0


def first_juxtaposition(tokens: list[Token]) -> int:
    """The place of the first operand at depth 0 that stands right behind another one, or -1."""
    after = False
    before = ""
    depth = 0
    end = len(tokens)
    for at, token in enumerate(tokens):
        type = token.type
        if depth:
            if type in _OPENS:
                depth += 1
            elif type in _CLOSES:
                depth -= 1
                after = not depth
            before = type
            continue
        if type in _OPENS:
            if type == "{" and after:
                return at
            depth = 1
        elif type == "NAME" and before not in (".", "?."):
            following = tokens[at + 1] if at + 1 < end else None
            step = _word_step(token, after, following, tokens, at)
            if step == "operand" and after:
                return at
            after = step in ("operand", "postfix")
        elif type in LITERALS:
            if after:
                return at
            after = True
        else:
            after = type in ENDS or type == "BLOCK"
        before = type
    return -1


def _word_step(token: Token, after: bool, following: Token | None, tokens: list[Token], at: int) -> str:
    word = token.text
    if after:
        if word in ("not", "NOT"):
            return "operator" if following is not None and following.text in ("in", *POSTFIX) else "operand"
        if word in POSTFIX and Refiner("", tokens, False, False)._is_postfix(at):
            return "postfix"
        return "operator" if word in _KEYWORDS_BEHIND else "operand"
    if word in ("not", "NOT", "if") or (word == "in" and at and tokens[at - 1].text in ("not", "NOT")):
        return "operator"
    prefix = word in ("call", "new", "await") and following is not None and following.type in ("NAME", "VAR", "PATH")
    if prefix and following.text not in JOINING:  # type: ignore[union-attr]
        return "operator"
    if word == "lambda" and following is not None and following.type in ("NAME", ":"):
        return "operator"
    return "operand"


def check_deepness(deepest: int, limit: int, span: Span) -> None:
    """Refuses what nests deeper than the limit along any path."""
    if deepest > limit:
        raise SyntaxProblem(
            "AE110", f"expression too long, split it: it nests deeper than {limit} levels", span.start, span.end
        )
