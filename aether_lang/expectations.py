"""What to say when the parser meets a token it cannot use: message, human names of what fits, and a hint."""

from __future__ import annotations

from .errors import Source, SyntaxProblem
from .foreign import line_hint
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
    "QUOTE": "the end of the text",
    "FINISH": "end of the block",
    "BEGIN": "a block",
    "JUXT": "this",
}
_NEEDED = {"TELSE": "`else`", "COLON": "':'"}
_LINE_ENDS = frozenset({"FINISH", "NEWLINE", "$END"})
_CLOSERS = frozenset({"RPAR", "RBRA", "RBRACE", "COMMA"})
_BEFORE_KEYS = frozenset({"NEWLINE", "BEGIN", "FINISH", "LBRACE", "COMMA", "CPAR", "DASH"})
_OPEN_ENDS = frozenset({"OP", "PLUS", "MINUS", "BAR", "POW", "FAT", "COMMA", "JUXT", "ASSIGN", "DOT", "SAFEDOT"})
_ENDS = frozenset({"NAME", "NUMBER", "STRING", "VAR", "RPAR", "RBRA", "RBRACE", "CONST", "UNITNUM", "PERCENT"})
_STARTS = frozenset({"NAME", "NUMBER", "STRING", "VAR", "CONST", "UNITNUM", "PERCENT", "REGEX", "TEMPLATE", "PATH"})


def explain(source: Source, token: Token, expected: set[str], earlier: list[Token]) -> SyntaxProblem:
    """The problem at a token; `earlier` are the last tokens before it, where they are known."""
    before = earlier[-1] if earlier else None
    start, end = token.span.start, max(token.span.end, token.span.start + 1)
    names = _human(expected)
    kind = token.type
    if kind in _LINE_ENDS and before is not None:
        start = before.span.end
        end = start + 1
    if before is not None and before.type in _ENDS and kind in _STARTS:
        return side_by_side(before, token, names)
    if kind == "JUXT" and not token.text and before is not None:
        if before.type == "FINISH":
            return SyntaxProblem("AE115", "this stands behind the '}' of a block", start, end, expected=names)
        message = f"an operator is missing behind '{_short(before.text)}'"
        return SyntaxProblem("AE111", message, start, end, expected=names)
    if kind == "ASSIGN":
        return _assignment(token, earlier, names)
    if kind == "ARROW" and before is not None and before.type in ("NAME", "RPAR"):
        message = f"'{token.text}' cannot stand here"
        return SyntaxProblem("AE106", message, start, end, expected=names, suggestion="a function is written x => ..")
    code, message = _message(token, expected, names, before)
    return SyntaxProblem(code, message, start, end, expected=names, suggestion=_hint(source, token, before))


def side_by_side(before: Token, token: Token, names: tuple[str, ...]) -> SyntaxProblem:
    """The problem of two operands with nothing between them."""
    if before.text == "function":
        hint = "a function inside an expression has no name: function(..) { }"
    elif before.type == "STRING" and before.text.count("{") > before.text.count("}"):
        hint = "inside {..} use the other kind of quote"
    elif before.type in ("STEP", "++", "--"):
        hint = f"write x{before.text} or x {before.text[0]}= 1"
    else:
        hint = "is an operator, a comma or quotes missing?"
    message = f"two words side by side: '{_short(before.text)}' and '{_short(token.text)}'"
    return SyntaxProblem("AE111", message, token.span.start, token.span.end, expected=names, suggestion=hint)


def _assignment(token: Token, earlier: list[Token], names: tuple[str, ...]) -> SyntaxProblem:
    """An `=` inside an expression: often that of the next line, since the line before it goes on."""
    for at in range(len(earlier) - 1, 0, -1):
        operator = earlier[at - 1]
        if earlier[at].first and operator.type in _OPEN_ENDS and operator.span.line < earlier[at].span.line:
            return SyntaxProblem(
                "AE112", f"nothing stands behind '{operator.text}'", operator.span.end, operator.span.end + 1,
                expected=("an expression",),
            )  # fmt: skip
        if earlier[at].type in _LINE_ENDS or earlier[at].first:
            break
    hint = "assignment is a statement; to compare write =="
    if earlier and earlier[-1].type in ("KEY", "COLON"):
        hint = "write either ':' or '='"
    elif "'}'" in names:
        hint = "in a dict write key: value"
    start, end = token.span.start, token.span.end
    if names == ("a name",):
        return SyntaxProblem("AE106", f"a name is missing before '{token.text}'", start, end, expected=names)
    return SyntaxProblem("AE113", f"'{token.text}' cannot stand here", start, end, expected=names, suggestion=hint)


def _message(token: Token, expected: set[str], names: tuple[str, ...], before: Token | None) -> tuple[str, str]:
    kind = token.type
    what = _SHOWN.get(kind, f"'{_short(token.text)}'")
    if kind == "JUXT" and token.text:
        what = f"'{token.text}'"
    if kind == "WORD":
        return "AE106", f"{what} is prose, no expression"
    if kind == "COLON" and ("WHILE" in expected if before is None else before.type in _BEFORE_KEYS):
        return "AE112", "a key is missing before ':'"
    if kind in ("XELSE", "TELSE", "XELIF"):
        return "AE108", f"{what} cannot stand here"
    ended = kind in _LINE_ENDS and "NEWLINE" not in expected
    if "an expression" in names and (len(names) == 1 or ended or kind in _CLOSERS or kind == "OP"):
        return "AE112", f"an expression is missing before {what}"
    if kind in _LINE_ENDS or kind in _CLOSERS:
        missing = [text for type, text in _NEEDED.items() if type in expected]
        if not expected & {"NEWLINE", "RPAR", "RBRA", "RBRACE"} and len(missing) == 1:
            return "AE112" if missing[0] == "`else`" else "AE106", f"{missing[0]} is missing before {what}"
    if names == ("a name",):
        return "AE106", f"a name is missing before {what}"
    return "AE106", f"{what} cannot stand here"


def _hint(source: Source, token: Token, before: Token | None) -> str | None:
    kind = token.type
    if kind in ("XELSE", "TELSE", "XELIF"):
        return "`else` without `if`"
    if kind == "WORD":
        return "put the text in quotes"
    if kind == "VAR" or (kind == "FAT" and before is not None and before.type == "VAR"):
        return "a name that is bound here stands without `$`"
    if kind == "COLON" and before is not None and before.type == "VAR":
        return f"to assign write {before.text} = .."
    if kind == "COMPFOR":
        return "a comprehension stands in [ ] or ( ), or as the first argument"
    return line_hint(source.line_text(token.span.line)) if token.span.line <= source.lines else None


def _human(expected: set[str]) -> tuple[str, ...]:
    names = []
    if expected >= _OPERANDS:
        names.append("an expression")
    elif "NAME" in expected:
        names.append("a name")
    if "OP" in expected:
        names.append("an operator")
    names += [text for type, text in _NAMES.items() if type in expected and type not in ("ASSIGN", "FAT", "RAW")]
    if "an expression" in names and "`import`" in names:
        names.remove("`import`")  # where a statement may begin
    return tuple(names[:6])


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:24] + ".."
