"""What to say when the parser meets a token it cannot use: message, human names of what fits, and a hint."""

from __future__ import annotations

from .errors import Source, SyntaxProblem
from .tokens import Token

_OPERANDS = frozenset({"NAME", "NUMBER", "STRING", "VAR", "LPAR"})
_NAMES = {
    "NEWLINE": "end of line", "RPAR": "')'", "RBRA": "']'", "RBRACE": "'}'", "COMMA": "','", "COLON": "':'",
    "ASSIGN": "'='", "FORIN": "`in`", "TELSE": "`else`", "FAT": "'=>'", "BEGIN": "a block", "FINISH": "'}'",
    "IMPORT": "`import`", "AS": "`as`", "CATCH": "`catch`", "RAW": "a text",
}  # fmt: skip
_SHOWN = {
    "NEWLINE": "end of line",
    "$END": "end of file",
    "CLOSING": "the '}' of the string",
    "FINISH": "end of the block",
    "BEGIN": "a block",
    "JUXT": "this",
}
_ENDS = frozenset({"NAME", "NUMBER", "STRING", "VAR", "RPAR", "RBRA", "RBRACE", "CONST", "UNITNUM", "PERCENT"})
_STARTS = frozenset({"NAME", "NUMBER", "STRING", "VAR", "CONST", "UNITNUM", "PERCENT", "REGEX", "TEMPLATE", "PATH"})


def explain(source: Source, token: Token, expected: set[str], before: Token | None) -> SyntaxProblem:
    """The problem at a token, with the one before it where that is known."""
    start, end = token.span.start, max(token.span.end, token.span.start + 1)
    names = _human(expected)
    kind = token.type
    if kind in ("FINISH", "NEWLINE", "$END") and before is not None:
        start = before.span.end
        end = start + 1
    if kind in _STARTS and before is not None and before.type in _ENDS:
        message = f"two words side by side: '{_short(before.text)}' and '{_short(token.text)}'"
        return SyntaxProblem(
            "AE111", message, start, end, expected=names, suggestion="is an operator, a comma or quotes missing?"
        )
    if kind == "ASSIGN":
        return SyntaxProblem(
            "AE113", f"'{token.text}' cannot stand here", start, end, expected=names,
            suggestion="assignment is a statement; to compare write ==",
        )  # fmt: skip
    hint, code = None, "AE106"
    if kind in ("XELSE", "TELSE", "XELIF"):
        hint, code = "`else` without `if`", "AE108"
    if kind == "WORD":
        hint = "put the text in quotes"
    what = _SHOWN.get(kind, f"'{_short(token.text)}'")
    if names == ("an expression",):
        return SyntaxProblem(
            "AE112", f"an expression is missing before {what}", start, end, expected=names, suggestion=hint
        )
    return SyntaxProblem(code, f"{what} cannot stand here", start, end, expected=names, suggestion=hint)


def _human(expected: set[str]) -> tuple[str, ...]:
    names = []
    if expected >= _OPERANDS:
        names.append("an expression")
    elif "NAME" in expected:
        names.append("a name")
    if "OP" in expected:
        names.append("an operator")
    names += [text for type, text in _NAMES.items() if type in expected and type not in ("ASSIGN", "FAT", "RAW")]
    return tuple(names[:6])


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:24] + ".."
