"""Shaping of values, phrases, verb statements, assignments and expressions (rules 7 to 9 and the slots of section
4)."""

from __future__ import annotations

from itertools import pairwise

from .errors import SyntaxProblem
from .expectations import side_by_side
from .foreign import foreign, instead
from .heads import Heads
from .layout import Line
from .refine import first_juxtaposition, top_level
from .tokens import ASSIGN_OPS, LITERALS, KeyPlace, Token
from .words import GUARDS, POSTFIX, PREPOSITIONS, VERBS, nearest, verb_base

_OPERATORS = frozenset({"and", "or", "in", "is", "AND", "OR"})


class Phrasing(Heads):
    """What stands behind `=`, a colon or a verb, and lines that are nothing but that."""

    def _value(
        self, line: Line, tokens: list[Token], *, prose: bool, behind: Token | None = None, key: Token | None = None
    ) -> None:
        """The right side of an assignment, the value of an entry or of `return`: an expression or a phrase."""
        if not tokens or (behind is not None and _next_statement(tokens)):
            assert behind is not None
            raise SyntaxProblem(
                "AE112", f"nothing stands behind '{behind.text}'", behind.span.end, behind.span.end + 1,
                expected=("an expression",),
            )  # fmt: skip
        if tokens[-1].type == "BLOCK" and prose and len(tokens) > 1 and tokens[-2].type != "=>":
            block = self._entry_block(line, tokens)
            if block:
                tokens = tokens[:-1]
        else:
            block = None
        first = tokens[0]
        place = first_juxtaposition(tokens)
        verb = first.type == "NAME" and verb_base(first.text) is not None and self._verb_value(tokens, place)
        if verb:
            line.out.append(first.retyped("PHRASE", (verb_base(first.text), self._raw_text(tokens[1:]))))
            self._refine(line, tokens[1:], True)
        elif place < 0 and not (prose and (self._slotted(tokens) or self._verb_slots(line, key, tokens))):
            self._refine(line, tokens)
        elif prose or self._starts_phrase(tokens, place):
            line.out.append(Token("PHRASE", "", first.span, False, (None, self._raw_text(tokens))))
            self._refine(line, tokens, True)
        else:
            raise self._side_by_side(tokens, place)
        if block is not None:
            self._block(line, block.data, block.span)

    def _entry_block(self, line: Line, tokens: list[Token]) -> Token | None:
        """The brace block of an entry such as `goal: "x" { .. }`."""
        if any(token.type == "NAME" and token.text in ("if", "function", "else") for token in tokens):
            return None
        return tokens[-1]

    def _verb_value(self, tokens: list[Token], place: int) -> bool:
        """Does the verb at the start run? It does with slots behind, or with a dict."""
        if len(tokens) == 1:
            return False
        second = tokens[1]
        if place == 1 or (place > 1 and second.type == "NAME" and second.text in PREPOSITIONS):
            return True
        return second.type == "{" or (second.type == "NAME" and second.text in GUARDS and "else" not in
                                      [token.text for token in tokens])  # fmt: skip

    def _slotted(self, tokens: list[Token]) -> bool:
        """`f(x) -> y` as the value of an entry."""
        return any(tokens[at].type in ("->", ",") for at in top_level(tokens))

    def _verb_slots(self, line: Line, key: Token | None, tokens: list[Token]) -> bool:
        """`recall: x in y`, `log: x if y`: behind a verb these words are a preposition and a guard."""
        if key is None or key.type != "NAME" or key.text not in VERBS or line.block.kind != "code":
            return False
        return any(
            tokens[at].type == "NAME" and tokens[at].text in ("in", "if") and tokens[before].type not in (".", "?.")
            for before, at in pairwise(top_level(tokens))
        )

    def _starts_phrase(self, tokens: list[Token], place: int) -> bool:
        """`x = f(..) as y`: a call that goes on with a preposition."""
        word = tokens[place]
        return place > 1 and tokens[place - 1].type == ")" and word.type == "NAME" and word.text in PREPOSITIONS

    def _side_by_side(self, tokens: list[Token], place: int) -> SyntaxProblem:
        token = tokens[place]
        if tokens[place - 1].type == "BLOCK":
            return self._behind_block(token)
        return side_by_side(tokens[place - 1], token, ("an operator", "end of line"))

    def _raw_text(self, tokens: list[Token]) -> str:
        if not tokens:
            return ""
        end = tokens[-2] if tokens[-1].type == "BLOCK" and len(tokens) > 1 else tokens[-1]
        return self.text[tokens[0].span.start : end.span.end].replace("\r\n", "\n")

    # ------------------------------------------------------------ verbs, assignments, expressions

    def _verb_or_phrase(self, line: Line, tokens: list[Token], item: bool) -> bool:
        first = tokens[0]
        second = tokens[1] if len(tokens) > 1 else None
        base = verb_base(first.text) if first.type == "NAME" else None
        if first.type == "NAME" and not self._goes_on(line, tokens, second, base):
            return False
        step = item and line.block.kind == "steps"
        if base is not None and not step:
            self._verb(line, tokens, base)
            return True
        if second is None and first.type == "NAME":
            return False
        if item:
            line.kind = "item"
            line.out.append(Token("PHRASE", "", first.span, False, (None, self._raw_text(tokens))))
            self._refine(line, tokens, True)
            return True
        raise self._unknown_verb(tokens)

    def _goes_on(self, line: Line, tokens: list[Token], second: Token | None, base: str | None) -> bool:
        """Rule 7: does the name begin a verb statement?"""
        if second is None:
            return base is not None and (line.body is not None or base in VERBS)
        type = second.type
        if base is not None:
            if type in ("{", "->", "BLOCK"):
                return True
            if type == "[":
                close = tokens.index(second.close) if second.close in tokens else 0
                return second.blank and not (close + 1 < len(tokens) and tokens[close + 1].type == "=")
            if type in ("-", "!", "~"):
                return second.blank and len(tokens) > 2 and not tokens[2].blank
        if type in LITERALS:
            return not (type in ("PATH", "VAR") and tokens[0].text in ("call", "new", "await"))
        if type != "NAME":
            return False
        if second.text in POSTFIX or (second.text == "not" and len(tokens) > 2 and tokens[2].text in POSTFIX):
            return True
        if second.text in ("for", "in", "if", "unless", "when", "where"):
            if base is None:
                return second.text in ("for", "unless", "when", "where")
            return not (second.text == "if" and any(token.text == "else" for token in tokens))
        return first_juxtaposition(tokens[:3]) == 1

    def _verb(self, line: Line, tokens: list[Token], base: str) -> None:
        first = tokens[0]
        payload = base == first.text and VERBS[base].payload
        line.kind = "payload" if payload else "goal" if base in ("goal", "simulate") else "verb"
        rest = tokens[1:]
        block = rest[-1] if rest and rest[-1].type == "BLOCK" and (len(rest) == 1 or rest[-2].type != "=>") else None
        if block is not None:
            rest = rest[:-1]
        if line.block.kind == "declaration" and len(rest) > 1 and rest[0].type == "{" and rest[-1] is rest[0].close:
            line.kind = "entry"
            line.out.append(first.retyped("KEY", KeyPlace("declaration", False)))
            self._refine(line, rest)
            return
        colon = rest and rest[-1].type == ":"
        if colon:
            rest = rest[:-1]
        elif base == "simulate":
            self._note_no_colon(line)
        line.out.append(first.retyped("VERB", (base, self._raw_text(rest))))
        self._refine(line, rest, True)
        if block is not None:
            self._block(line, block.data, block.span)

    def _unknown_verb(self, tokens: list[Token]) -> SyntaxProblem:
        word = tokens[0].text
        if word in _OPERATORS:
            return self._error(
                "AE106", f"`{word}` cannot begin a statement", tokens[0], expected=("a statement",),
                suggestion="an operand is missing before it",
            )  # fmt: skip
        known = nearest(word, VERBS) or nearest(word, {"if", "for", "while", "let", "return", "const", "function"})
        hint = instead(word) or (f"did you mean `{known}`?" if known else None)
        code = "AE107"
        other = foreign(tokens)
        if other:
            hint, code = other, "AE191"
        return self._error(code, f"unknown verb '{word}'", tokens[0], suggestion=hint, expected=("a statement",))

    def _plain(self, line: Line, tokens: list[Token], item: bool) -> None:
        """Rules 8 and 9: an assignment, a call that goes on as a phrase, an expression."""
        places = top_level(tokens)
        for at in places:
            type = tokens[at].type
            if type == "=>":
                break
            if type in ASSIGN_OPS:
                if first_juxtaposition(tokens[:at]) > 0:
                    break
                self._assign(line, tokens, at)
                return
        verb = verb_base(tokens[0].text) if len(tokens) > 2 and tokens[1].type == "(" and not item else None
        if verb is not None and tokens[-1].type == ":":
            tokens = tokens[:-1]  # `deploy(x):` with deeper lines
            places = places[:-1]
        other = foreign(tokens)
        if other:
            raise self._error("AE191", "this is no statement", tokens[0], suggestion=other, expected=("a statement",))
        arrow = next((at for at in places if tokens[at].type == "->"), -1)
        if arrow == 0:
            raise self._error("AE112", "nothing stands before '->'", tokens[0], expected=("an expression",))
        phrase = arrow > 0
        place = first_juxtaposition(tokens)
        if place > 0:
            word = tokens[place]
            called = place > 1 and tokens[place - 1].type == ")" and _is_call(tokens, place - 1)
            fits = word.type == "NAME" and (word.text in PREPOSITIONS or word.text in GUARDS or word.text == "based")
            phrase = (called and fits and not 0 < arrow < place) or item or self._guarded(tokens, places, item)
            if not phrase:
                raise self._side_by_side(tokens, place)
        if not phrase:
            phrase = self._guarded(tokens, places, item)
        line.kind = "item" if item else "expression"
        block = None
        if (
            len(tokens) > 1
            and tokens[-1].type == "BLOCK"
            and tokens[0].text in ("goal", "simulate")
            and tokens[-2].type == ")"
        ):
            block = tokens[-1]
            tokens = tokens[:-1]
            line.kind = "goal"
        elif phrase and _owns_payload(tokens):
            line.kind = "payload"
            if tokens[-1].type == "BLOCK" and tokens[-2].type != "=>":
                block = tokens[-1]
                tokens = tokens[:-1]
        if phrase:
            line.out.append(
                Token("PHRASE", "", tokens[0].span, False, ("item" if item else "", self._raw_text(tokens)))
            )
        self._refine(line, tokens, phrase)
        if block is not None:
            self._block(line, block.data, block.span)
        elif verb is not None:
            line.kind = "goal" if verb in ("goal", "simulate") else "payload" if VERBS[verb].payload else "verb"

    def _guarded(self, tokens: list[Token], places: list[int], item: bool) -> bool:
        """`f(x) if c`, `f(x) in y`: a call that goes on with a guard or a preposition which is also an operator
        word."""
        if any(tokens[at].type == "NAME" and tokens[at].text == "else" for at in places):
            return False
        for before, at in pairwise(places):
            token = tokens[at]
            if token.type != "NAME" or token.text not in ("if", "unless", "when", "where", "in", "for"):
                continue
            if item and token.text in GUARDS:
                return True
            return tokens[before].type == ")" and _is_call(tokens, before)
        return False

    def _assign(self, line: Line, tokens: list[Token], at: int) -> None:
        place = first_juxtaposition(tokens[:at])
        if place > 0:
            first = tokens[0]
            if first.type == "NAME" and verb_base(first.text) is None:
                raise self._unknown_verb(tokens)
            raise self._side_by_side(tokens, place)
        if at == 0:
            raise self._error("AE123", "nothing stands before '='", tokens[0], expected=("a name",))
        line.kind = "assign"
        self._refine(line, tokens[:at])
        line.out.append(tokens[at].retyped("ASSIGN"))
        self._value(line, tokens[at + 1 :], prose=False, behind=tokens[at])


def _next_statement(tokens: list[Token]) -> bool:
    """Is what stands behind an `=` at the line end the assignment of the next line?"""
    if not tokens[0].first:
        return False
    for at in top_level(tokens):
        if tokens[at].type in ASSIGN_OPS:
            return first_juxtaposition(tokens[:at]) < 0  # else it is the key of a phrase
        if tokens[at].type == "=>":
            return False
    return False


def _owns_payload(tokens: list[Token]) -> bool:
    """`remember(v) as "t"`: the call of a verb whose block is its payload."""
    verb = VERBS.get(tokens[0].text) if tokens[0].type == "NAME" else None
    return verb is not None and verb.payload and tokens[1].type == "("


def _is_call(tokens: list[Token], close: int) -> bool:
    """Does the expression up to this `)` begin with a call: a dotted name right before the bracket?"""
    if tokens[0].type not in ("NAME", "PATH"):
        return False
    opener = next((i for i, token in enumerate(tokens) if token.close is tokens[close]), 0)
    return opener > 0 and tokens[opener].type == "(" and tokens[opener - 1].type in ("NAME", "PATH")
