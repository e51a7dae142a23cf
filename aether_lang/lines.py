"""Writing the terminals of a logical line, with the blocks it owns and the limits on nesting (sections 3.3, 18.1)."""

from __future__ import annotations

from .errors import Source, SyntaxProblem
from .layout import Block, Line
from .nodes import Span
from .refine import Refiner, check_deepness
from .scanner import Limits
from .tokens import Token
from .words import SOFT, nearest

# What a block of the statement holds, by its kind; statements that are not listed own none.
_BODIES = {
    "if": "code", "else": "code", "for": "code", "while": "code", "when": "code", "every": "code", "try": "code",
    "catch": "code", "finally": "code", "match": "match", "case": "code", "function": "code", "section": "declaration",
    "entry": "data", "verb": "code", "item": "data", "goal": "code", "handler": "code", "command": "command",
    "payload": "data", "transaction": "code", "workflow": "workflow", "steps": "steps",
}  # fmt: skip
_MUST_OWN = frozenset({"for", "while", "when", "every", "try", "catch", "finally", "match", "function", "case", "else"})
_NO_ENDS = frozenset({"?", "->", "!", "~"})
_COSTS = {"for": 1, "while": 1, "try": 1, "catch": 2, "finally": 1, "transaction": 2, "goal": 2}


class LineWriter:
    """What all kinds of line need: terminals, blocks, problems."""

    def __init__(
        self, source: Source, limits: Limits, problems: list[SyntaxProblem], warn: list[SyntaxProblem]
    ) -> None:
        self.source = source
        self.text = source.text
        self.limits = limits
        self.problems = problems
        self.warn = warn
        self.blocks: list[Block] = []
        self.work: list[Block] = []

    # ------------------------------------------------------------ writing terminals

    def _refine(
        self, line: Line, tokens: list[Token], phrase: bool = False, signal: bool = False, frame: str = ""
    ) -> None:
        refiner = Refiner(self.text, tokens, phrase, signal)
        refiner.frames += [frame] if frame else []
        out = refiner.run()
        deepest = refiner.deepest
        check_deepness(line.depth + deepest, self.limits.depth, tokens[0].span if tokens else line.first.span)
        line.out += out
        for token in out:
            if token.type == "BLOCK":
                self._nest(line, token.data, "code", 1 + deepest, function=True)

    def _nest(self, line: Line, block: Block, kind: str, depth: int, *, function: bool = False, cost: int = 0) -> None:
        block.kind = kind
        block.top = False
        block.start_depth = line.depth + depth
        block.function = function
        block.cost = cost
        if block.start_depth > self.limits.depth:
            raise self._error("AE110", f"nested deeper than {self.limits.depth} levels", line.first)
        self.blocks.append(block)
        self.work.append(block)

    def _block(self, line: Line, block: Block, span: Span, kind: str | None = None) -> None:
        """Writes a block of the statement itself."""
        line.out.append(Token("BLOCK", "", span, False, block))
        what = line.kind
        self._nest(
            line, block, kind or _BODIES[what], 1, function=what in ("function", "handler", "when", "every"),
            cost=_COSTS.get(what, 0),
        )  # fmt: skip

    def _error(self, code: str, message: str, token: Token, **more: object) -> SyntaxProblem:
        return SyntaxProblem(code, message, token.span.start, token.span.end, **more)  # type: ignore[arg-type]

    def _own(self, line: Line) -> None:
        """The deeper lines: may this statement own them?"""
        body, kind = line.body, line.kind
        if body is not None:
            if line.out and line.out[-1].type == "BLOCK" and kind != "item":
                raise self._error("AE104", "unexpected indent", body.lines[0].first)
            if kind not in _BODIES:
                self._check_end(line)
                hint = self._missing_colon(line)
                raise self._error("AE104", "unexpected indent", body.lines[0].first, suggestion=hint)
            self._block(line, body, body.span)
        elif kind in _MUST_OWN and not (line.out and line.out[-1].type == "BLOCK"):
            if not line.closed:
                last = line.tokens[-1]
                raise SyntaxProblem(
                    "AE114", "expected an indented block", last.span.end, last.span.end + 1,
                    expected=("a deeper line", "'{'"),
                )  # fmt: skip
            self._block(line, Block(line.block, False, line.first.span), line.first.span)
        if line.item_body is not None:
            span = line.item_body.span
            line.out.append(Token("BLOCK", "", span, False, line.item_body))
            self._nest(line, line.item_body, "data", 1)

    def _check_end(self, line: Line) -> None:
        """Refuses a line that ends where an operand is missing, and does not go on with the deeper one behind it."""
        last = line.tokens[-1]
        before = line.tokens[-2].type if len(line.tokens) > 1 else "."
        if last.type in _NO_ENDS or (last.type == "NAME" and last.text == "not" and before not in (".", "?.")):
            raise SyntaxProblem(
                "AE112", f"nothing stands behind '{last.text}'", last.span.end, last.span.end + 1,
                expected=("an expression",), suggestion="this line does not go on with the next one",
            )  # fmt: skip

    def _missing_colon(self, line: Line) -> str | None:
        word = line.first.text
        if word in SOFT and len(line.tokens) > 1 and line.tokens[1].type == "[":
            return f"`{word}` before '[' is a name; put the list in brackets"
        known = nearest(word, {"if", "for", "while", "when", "function", "else", "try", "every"})
        return f"did you mean `{known}`?" if known is not None and known != word else None

    def _check_blocks(self) -> None:
        """Counts the blocks that CPython nests, per function (section 18.1)."""
        nested: dict[int, int] = {}
        for block in self.blocks:
            outer = 0 if block.outer is None else nested.get(id(block.outer), 0)
            nested[id(block)] = count = block.cost if block.function else outer + block.cost
            if count > self.limits.blocks and block.cost:
                message = f"more than {self.limits.blocks} loops and `try` inside each other"
                self.problems.append(
                    SyntaxProblem("AE110", message, block.span.start, block.span.start + 1,
                                  suggestion="move the inner ones to a function")
                )  # fmt: skip
                return
