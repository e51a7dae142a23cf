"""Shaping of control lines: `if for while when every try match`, what continues them, and where their blocks begin."""

from __future__ import annotations

from .errors import SyntaxProblem
from .foreign import foreign, instead, opens_body
from .layout import DATA, Block, Line
from .lines import LineWriter
from .refine import Refiner, first_juxtaposition, has_juxtaposition, top_level
from .tokens import AFTER_OPERAND, JOINING, LITERALS, TRIES, Token


class Heads(LineWriter):
    """Rule 2 of section 4: the control words, hard and soft."""

    def _head(self, line: Line, tokens: list[Token], kind: str, *, signal: bool = False, slots: bool = False) -> int:
        """Writes what stands between a control word and its block, then the block where it stands on the line.
        Gives the place behind."""
        questions = 0
        places = top_level(tokens)
        for at in places:
            token = tokens[at]
            if token.type == "?":
                questions += 1
            elif token.type == ":" and questions:
                questions -= 1
            elif token.type == ":" and not self._lambda_colon(tokens, places, at):
                self._condition(line, tokens[:at], signal, slots)
                if kind in ("case", "default") and at + 1 < len(tokens) and tokens[at + 1].type == "BLOCK":
                    self._block(line, tokens[at + 1].data, tokens[at + 1].span)
                    return at + 2
                self._one_line(line, tokens[at + 1 :])
                return len(tokens)
            elif token.type == "BLOCK" and not (at and tokens[at - 1].type == "=>"):
                self._condition(line, tokens[:at], signal, slots)
                self._block(line, token.data, token.span)
                return at + 1
        self._check_condition(line, tokens)
        self._condition(line, tokens, signal, slots)
        self._note_no_colon(line)
        return len(tokens)

    def _check_condition(self, line: Line, tokens: list[Token]) -> None:
        """Refuses `while { .. }`, where the brace would be a dict and nothing is left for a block."""
        if tokens and tokens[0].type == "{" and tokens[0].close is tokens[-1] and line.body is None:
            word = line.tokens[line.tokens.index(tokens[0]) - 1].text
            raise self._error(
                "AE112", f"an expression is missing behind `{word}`", tokens[0], expected=("an expression",)
            )

    def _note_no_colon(self, line: Line) -> None:
        """Notes a control head whose block has no colon before it."""
        if line.body is not None or line.closed:
            word, end = line.tokens[0].text, line.tokens[-1].span.end
            self.warn.append(SyntaxProblem("AS110", f"no colon behind `{word}`", end - 1, end))

    def _lambda_colon(self, tokens: list[Token], places: list[int], at: int) -> bool:
        before = [place for place in places if at - 8 <= place < at and tokens[place].text == "lambda"]
        return any(tokens[place].type == "NAME" and tokens[place - 1].type not in (".", "?.") for place in before)

    def _condition(self, line: Line, tokens: list[Token], signal: bool, slots: bool) -> None:
        if tokens and opens_body(tokens[-1]) and first_juxtaposition(tokens) == len(tokens) - 1 and not slots:
            raise self._missing_colon_before(tokens[-1])
        for token in tokens if signal else ():
            if token.type == "=":
                bare = [tokens[i] for i in top_level(tokens)]
                if token in bare and not slots:
                    raise self._error(
                        "AE113",
                        "'=' assigns, it does not compare",
                        token,
                        expected=("an operator",),
                        suggestion="write ==",
                    )
        self._refine(line, tokens, slots and has_juxtaposition(tokens), signal)

    def _one_line(self, line: Line, tokens: list[Token]) -> None:
        """The statement behind the colon of a head, as a block of one line."""
        if not tokens:
            return
        if line.body is not None:
            raise self._error(
                "AE104", "unexpected indent", line.body.lines[0].first,
                suggestion="the body stands behind the ':' already",
            )  # fmt: skip
        if len(tokens) == 1 and tokens[0].type == "BLOCK":  # `case 1: { .. }`
            self._block(line, tokens[0].data, tokens[0].span)
            return
        self._check_no_branch(tokens)
        block = Block(line.block, False, tokens[0].span)
        inner = Line(block, tokens[0], line.indent, None)
        inner.tokens = tokens
        block.lines.append(inner)
        self._block(line, block, tokens[0].span)

    def _check_no_branch(self, tokens: list[Token]) -> None:
        """Refuses an `else` behind a body on one line; that of a ternary has its `if` before it."""
        before = ""
        for at in top_level(tokens):
            token = tokens[at]
            word = token.text if token.type == "NAME" and before not in (".", "?.") else ""
            if word == "if":
                return
            if word in ("else", "elif") and at:
                raise self._error(
                    "AE108", f"`{word}` cannot stand behind a body on one line", token,
                    suggestion="begin a new line with it",
                )  # fmt: skip
            before = token.type

    def _tail(self, line: Line, tokens: list[Token]) -> None:
        """What stands behind the `}` of a head on its line: `else`, `catch` and their like, or nothing."""
        while tokens:
            word = tokens[0]
            if word.type != "NAME" or word.text not in TRIES:
                raise self._behind_block(word)
            taken = self._branch(line, tokens)
            tokens = tokens[taken:]

    def _behind_block(self, token: Token) -> SyntaxProblem:
        return self._error(
            "AE115", "this stands behind the '}' of a block", token, expected=("end of line", "';'"),
            suggestion=instead(token.text) or "begin a new line",
        )  # fmt: skip

    def _branch(self, line: Line, tokens: list[Token]) -> int:
        """One `else`, `elif`, `catch`, `except` or `finally`. Gives the number of tokens it took."""
        word = tokens[0].text
        line.depth += 1
        if word in ("elif", "else"):
            if line.kind not in ("if", "else"):
                raise self._lonely(tokens[0])
            line.kind = "else"
            if word == "elif" or (len(tokens) > 1 and tokens[1].text == "if" and tokens[1].type == "NAME"):
                line.out.append(tokens[0].retyped("ELIF"))
                skip = 1 if word == "elif" else 2
                return skip + self._head(line, tokens[skip:], "if", signal=True)
            line.out.append(tokens[0].retyped("ELSE"))
            return 1 + self._head(line, tokens[1:], "else")
        if line.kind == "finally":
            raise self._error("AE108", "nothing can follow `finally`", tokens[0])
        if line.kind not in ("try", "catch"):
            raise self._lonely(tokens[0])
        if word == "finally":
            self._cost_of_finally(line)
            line.kind = "finally"
            line.out.append(tokens[0].retyped("FINALLY"))
            return 1 + self._head(line, tokens[1:], "finally")
        line.kind = "catch"
        line.out.append(tokens[0].retyped("CATCH"))
        return 1 + self._catch(line, tokens[1:])

    def _cost_of_finally(self, line: Line) -> None:
        """The bodies of `try` and `catch` each nest one block more where a `finally` follows (section 18.1)."""
        part: Line | None = line
        while part is not None:
            for token in part.out:
                if token.type == "BLOCK":
                    token.data.cost += 1
            part = part.previous if part.joins else None

    def _catch(self, line: Line, tokens: list[Token]) -> int:
        """`(e)`, `Type as e`, or nothing, then the block."""
        end = next((i for i, token in enumerate(tokens) if token.type in ("BLOCK", ":")), len(tokens))
        kinds = {"(": "LPAR", ")": "RPAR"}
        for token in tokens[:end]:
            as_word = token.type == "NAME" and token.text == "as" and token is not tokens[0]
            line.out.append(token.retyped("AS" if as_word else kinds.get(token.type, token.type)))
        if end == len(tokens):
            return end
        if tokens[end].type == "BLOCK":
            self._block(line, tokens[end].data, tokens[end].span)
            return end + 1
        self._one_line(line, tokens[end + 1 :])
        return len(tokens)

    def _lonely(self, token: Token) -> SyntaxProblem:
        partner = "`if`" if token.text in ("else", "elif") else "`try`"
        return self._error(
            "AE108", f"`{token.text}` without {partner}", token,
            suggestion=f"it continues a block of {partner} that ends right before it",
        )  # fmt: skip

    # ------------------------------------------------------------ control words

    def _control(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        word = tokens[0].text
        if second is not None and second.type == ":" and not (word == "try" and len(tokens) == 2):
            if len(tokens) == 2 and line.body is not None and line.block.kind == "code" and not item:
                raise self._error(
                    "AE112", f"an expression is missing behind `{word}`", second, expected=("an expression",)
                )
            return False
        line.kind = word
        line.out.append(tokens[0].retyped(word.upper()))
        rest = tokens[1:]
        signal = word in ("if", "while")
        taken = self._for(line, rest) if word == "for" else self._head(line, rest, word, signal=signal)
        rest = rest[taken:]
        self._tail(line, rest)
        if word == "if" and item is False and line.block.kind not in DATA and self._bodiless(line):
            raise self._missing(line)
        return True

    def _bodiless(self, line: Line) -> bool:
        return line.body is None and not line.closed and line.out[-1].type != "BLOCK"

    def _missing(self, line: Line) -> SyntaxProblem:
        last = line.tokens[-1]
        if last.type == ":":
            return SyntaxProblem(
                "AE114", "expected an indented block", last.span.end, last.span.end + 1, expected=("a deeper line",)
            )
        if len(line.tokens) == 1:
            return SyntaxProblem(
                "AE112", f"an expression is missing behind `{last.text}`", last.span.end, last.span.end + 1,
                expected=("an expression",),
            )  # fmt: skip
        shell = foreign(line.tokens)
        if shell:
            return self._error("AE191", "this is no statement", line.tokens[0], suggestion=shell)
        place = first_juxtaposition(line.tokens[1:]) + 1
        if place:
            return self._missing_colon_before(line.tokens[place])
        return SyntaxProblem(
            "AE114", "a block is missing", last.span.end, last.span.end + 1, expected=("':'", "'{'"),
            suggestion="end the line with ':' and indent what belongs to it",
        )  # fmt: skip

    def _missing_colon_before(self, token: Token) -> SyntaxProblem:
        hint = f"write ':' in place of `{token.text}`" if opens_body(token) else None
        return self._error(
            "AE114", f"a ':' is missing before '{token.text}'", token, expected=("':'",), suggestion=hint
        )

    def _for(self, line: Line, tokens: list[Token]) -> int:
        if len(tokens) > 1 and tokens[0].text == "each" and tokens[1].type == "NAME" and tokens[1].text != "in":
            tokens = tokens[1:]
            dropped = 1
            self.warn.append(SyntaxProblem("AS111", "`for each` is `for`", line.first.span.start, line.first.span.end))
        else:
            dropped = 0
        at = next((i for i, t in enumerate(tokens[:8]) if t.type == "NAME" and t.text == "in" and i), None)
        if tokens and tokens[0].type == "(":
            raise self._error(
                "AE122", "the names of a loop stand without brackets", tokens[0], expected=("for x in xs",)
            )
        if at is None:
            place = tokens[0] if tokens else line.tokens[-1]
            counts = len(tokens) > 1 and tokens[1].type == "="
            raise self._error(
                "AE122", "`for` without `in`", place, expected=("for x in xs",),
                suggestion="a loop that counts is `for i in 0..n`" if counts else None,
            )  # fmt: skip
        for token in tokens[:at]:
            line.out.append(token.retyped("COMMA" if token.type == "," else token.type))
        line.out.append(tokens[at].retyped("FORIN"))
        return dropped + at + 1 + self._head(line, tokens[at + 1 :], "for")

    def _continued(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        """`else elif catch except finally` at the start of a line: they go on with the statement before, or are
        keys."""
        word = tokens[0].text
        before = line.previous
        key = second is not None and second.type == ":"
        kind = before.kind if before is not None else ""
        fits = ("if", "else") if word in ("else", "elif") else ("try", "catch")
        if before is not None and kind in fits and before.out and not item and not self._is_record(line, key):
            line.joins = True
            line.kind = kind
            line.depth = before.depth
            self._tail(line, tokens)
            return True
        if (
            before is not None
            and before.out
            and before.out[-1].type == "BLOCK"
            and word in ("else", "elif")
            and not key
        ):
            return self._expression_branch(line, tokens, before)
        if key and (kind in ("entry", "item") or line.block.kind in DATA):
            return False
        raise self._lonely(tokens[0])

    def _is_record(self, line: Line, key: bool) -> bool:
        before = line.previous
        return key and before is not None and before.kind == "entry"

    def _expression_branch(self, line: Line, tokens: list[Token], before: Line) -> bool:
        """`else` on the line behind the block of an if-expression."""
        line.joins = True
        line.kind = before.kind
        marked = [Token("BLOCK", "", tokens[0].span, False, before.out[-1].data), *tokens]
        refiner = Refiner(self.text, marked, False, False)
        out = refiner.run()[1:]
        for token in out:
            if token.type == "BLOCK":
                self._nest(line, token.data, "code", 1 + refiner.deepest, function=True)
        line.out += out
        return True

    def _soft(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        word = tokens[0].text
        if word in ("case", "default"):
            if line.block.kind == "match":
                return self._case(line, tokens)
            named = second is not None and second.type == "NAME" and second.text not in AFTER_OPERAND
            if word == "case" and second is not None and (named or second.type in LITERALS):
                raise self._error("AE108", "`case` without `match`", tokens[0], suggestion="it stands in a match block")
            return False
        if second is None or second.type in ("=", ".", "[", ",", ":"):
            return False
        starts = second.type in LITERALS or second.type in ("(", "{", "-", "!", "NAME")
        if second.type == "NAME" and second.text in JOINING:
            starts = False
        owns = line.body is not None or line.closed or tokens[-1].type in (":", "BLOCK") or self._head_colon(tokens)
        if not (starts and owns) or (second.type == "(" and not self._heads_block(line, tokens)):
            return False
        line.kind = word
        line.out.append(tokens[0].retyped(word.upper(), (line.block.top, line.block.kind)))
        rest = tokens[1:]
        if word == "match":
            taken = self._head(line, rest, word)
        elif word == "when":
            taken = self._head(line, rest, word, signal=not self._is_handler(rest), slots=True)
        else:
            end = next((i for i in top_level(rest) if rest[i].type in (":", "BLOCK")), len(rest))
            line.out[-1].data = self.text[tokens[0].span.start : rest[end - 1].span.end if end else tokens[0].span.end]
            taken = self._head(line, rest, word, slots=True)
        self._tail(line, rest[taken:])
        return True

    def _head_colon(self, tokens: list[Token]) -> bool:
        return any(tokens[at].type == ":" for at in top_level(tokens))

    def _heads_block(self, line: Line, tokens: list[Token]) -> bool:
        return tokens[-1].type in (":", "BLOCK") or line.body is not None or line.closed or self._head_colon(tokens)

    def _is_handler(self, tokens: list[Token]) -> bool:
        """`name`, `name(..)` with nothing but the head's end behind."""
        if not tokens or tokens[0].type != "NAME" or tokens[0].text in ("not", "NOT"):
            return False
        if len(tokens) == 1 or tokens[1].type in (":", "BLOCK"):
            return True
        if tokens[1].type != "(" or tokens[1].close is None:
            return False
        close = tokens.index(tokens[1].close)
        inside = tokens[2:close]
        fresh = True
        for at in top_level(inside):
            if fresh and not (
                inside[at].type == "NAME" and (at + 1 == len(inside) or inside[at + 1].type in (",", "="))
            ):
                return False
            fresh = inside[at].type == ","
        return close + 1 == len(tokens) or tokens[close + 1].type in (":", "BLOCK")

    def _case(self, line: Line, tokens: list[Token]) -> bool:
        word = tokens[0].text
        line.kind = "case"
        line.out.append(tokens[0].retyped(word.upper()))
        rest = tokens[1:]
        head = self._before_colon(rest)
        guard = next((i for i in head if rest[i].type == "NAME" and rest[i].text == "if" and i), None)
        if guard is not None and not any(rest[i].text == "else" for i in head if i > guard):
            self._refine(line, rest[:guard])
            line.out.append(rest[guard].retyped("GUARD"))
            taken = guard + 1 + self._head(line, rest[guard + 1 :], "case", signal=True)
        else:
            taken = self._head(line, rest, "case")
        self._tail(line, rest[taken:])
        return True

    def _before_colon(self, tokens: list[Token]) -> list[int]:
        """The places at depth 0 up to the colon or block that ends the head."""
        questions = 0
        places = top_level(tokens)
        for number, at in enumerate(places):
            type = tokens[at].type
            if type == "BLOCK" or (type == ":" and not questions):
                return places[:number]
            questions += (type == "?") - (type == ":")
        return places
