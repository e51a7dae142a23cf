"""Flat runs of operators to trees: the precedence of section 5.1, applied by the builder.

The grammar gives `a + b * c == d` as one list, because sixteen levels of rules would cost time for every operand.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from . import nodes
from .errors import SyntaxProblem
from .tokens import Token, join

_LEVELS = {
    "??": 1, "or": 2, "and": 3, "==": 5, "!=": 5, "<": 5, ">": 5, "<=": 5, ">=": 5, "in": 5, "not in": 5,
    "|": 6, "^": 6, "&": 7, "<<": 8, ">>": 8, "..": 9, "+": 10, "-": 10, "*": 11, "/": 11, "%": 11,
}  # fmt: skip
_COMPARE = 5
_RANGE = 9


class Negation:
    """`not x` as the parser hands it on: its reach is known only when the operators behind it are."""

    __slots__ = ("operand", "span", "token")

    def __init__(self, token: Token, operand: Any) -> None:
        self.token = token
        self.operand = operand
        self.span = join(token.span, operand.span)


class Postfixed:
    """`x exists`, whose operand reaches back over comparisons and sums."""

    __slots__ = ("operand", "span", "token")

    def __init__(self, operand: Any, token: Token) -> None:
        self.operand = operand
        self.token = token
        self.span = join(operand.span, token.span)


def settle(value: Any) -> nodes.Expr:
    """A value that no operator follows, as a node."""
    if isinstance(value, Negation | Postfixed):
        return climb([value], [])
    return cast(nodes.Expr, value)


def climb(operands: list[Any], operators: list[Token]) -> nodes.Expr:
    """The tree of a run of operands and the operators between them."""
    negations: list[list[Token]] = []
    tests: list[Token | None] = []
    plain: list[Any] = []
    for operand in operands:
        signs: list[Token] = []
        test = None
        while isinstance(operand, Negation):
            signs.append(operand.token)
            operand = operand.operand
        if isinstance(operand, Postfixed):
            test = operand.token
            operand = operand.operand
        plain.append(operand)
        negations.append(signs)
        tests.append(test)
    levels = [_LEVELS[operator.data] for operator in operators]
    _check(operators, levels, negations, tests)
    for level in sorted({level for level in levels if level >= _COMPARE}, reverse=True):
        plain, operators, levels, negations, tests = _pass(level, plain, operators, levels, negations, tests)
    plain = [_wrap(*each) for each in zip(plain, negations, tests, strict=True)]
    for level in sorted(set(levels), reverse=True):
        plain, operators, levels = _logic(level, plain, operators, levels)
    return cast(nodes.Expr, plain[0])


def _check(operators: list[Token], levels: list[int], negations: list[list[Token]], tests: list[Token | None]) -> None:
    for at, (operator, level) in enumerate(zip(operators, levels, strict=True)):
        if level < _COMPARE:
            continue
        sign = negations[at + 1]
        if sign:
            span = sign[0].span
            raise SyntaxProblem(
                "AE124", f"`not` cannot stand right behind '{operator.text}'", span.start, span.end,
                suggestion="put brackets around it",
            )  # fmt: skip
        test = tests[at]
        if test is not None:
            raise SyntaxProblem(
                "AE124", f"'{operator.text}' cannot stand behind `{test.data}`", operator.span.start, operator.span.end,
                suggestion="put brackets around the test",
            )  # fmt: skip


def _wrap(value: Any, signs: list[Token], test: Token | None) -> nodes.Expr:
    if test is not None:
        value = nodes.PostfixTest(join(value.span, test.span), test.data, value)
    for sign in reversed(signs):
        value = nodes.Unary(join(sign.span, value.span), "not", value)
    return cast(nodes.Expr, value)


def _pass(
    level: int, operands: list[Any], operators: list[Token], levels: list[int], negations: list[list[Token]],
    tests: list[Token | None],
) -> tuple[list[Any], list[Token], list[int], list[list[Token]], list[Token | None]]:  # fmt: skip
    """Joins the operands of one level. What stands before the first or behind the last of them is kept."""
    out, out_operators, out_levels = [operands[0]], [], []
    out_negations, out_tests = [negations[0]], [tests[0]]
    at = 0
    while at < len(operators):
        if levels[at] != level:
            out.append(operands[at + 1])
            out_operators.append(operators[at])
            out_levels.append(levels[at])
            out_negations.append(negations[at + 1])
            out_tests.append(tests[at + 1])
            at += 1
            continue
        end = at
        while end < len(operators) and levels[end] == level:
            end += 1
        run = [out[-1], *operands[at + 1 : end + 1]]
        out[-1] = _join_run(level, run, operators[at:end])
        out_tests[-1] = tests[end]
        at = end
    return out, out_operators, out_levels, out_negations, out_tests


def _join_run(level: int, operands: list[Any], operators: list[Token]) -> nodes.Expr:
    span = join(operands[0].span, operands[-1].span)
    if level == _COMPARE:
        if len(operators) > 1:
            for operator in operators:
                if operator.text in ("in", "not", "is"):
                    word = operator.text if operator.text == "is" else operator.data
                    raise SyntaxProblem(
                        "AE124", f"`{word}` beside another comparison needs brackets", operator.span.start,
                        operator.span.end, suggestion=f"write (x {word} a) == true",
                    )  # fmt: skip
        return nodes.Compare(span, tuple(operator.data for operator in operators), tuple(operands))
    if level == _RANGE:
        if len(operators) > 1:
            second = operators[1].span
            raise SyntaxProblem("AE124", "a range has two ends", second.start, second.end, expected=("end of line",))
        return nodes.Range(span, operands[0], operands[1])
    value = operands[0]
    for operator, right in zip(operators, operands[1:], strict=True):
        value = nodes.Binary(join(value.span, right.span), operator.data, value, right)
    return cast(nodes.Expr, value)


def _logic(
    level: int, operands: list[Any], operators: list[Token], levels: list[int]
) -> tuple[list[Any], list[Token], list[int]]:
    out, out_operators, out_levels = [], [], []
    run = [operands[0]]
    word: Literal["and", "or", "??"] = operators[levels.index(level)].data
    for operator, operand_level, operand in zip(operators, levels, operands[1:], strict=True):
        if operand_level == level:
            run.append(operand)
            continue
        out.append(_logic_node(word, run))
        out_operators.append(operator)
        out_levels.append(operand_level)
        run = [operand]
    out.append(_logic_node(word, run))
    return out, out_operators, out_levels


def _logic_node(word: Literal["and", "or", "??"], run: list[Any]) -> nodes.Expr:
    if len(run) == 1:
        return cast(nodes.Expr, run[0])
    return nodes.Logic(join(run[0].span, run[-1].span), word, tuple(run))
