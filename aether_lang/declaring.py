"""Shaping of simple statements, declarations, sections and entries (rules 3 to 6 of section 4)."""

from __future__ import annotations

from .intents import INTENT_BLOCKS
from .layout import DATA, Line
from .phrasing import Phrasing
from .refine import first_juxtaposition, top_level
from .tokens import JOINING, LITERALS, KeyPlace, Token
from .words import GUARDS, PREPOSITIONS, SECTIONS, VERBS, verb_base

_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_FUNCTION_WORDS = frozenset({"fn", "function", "def", "define"})
_KEYED_HEADS = frozenset({"policy", "meta", "require"})
_COLON_SECTIONS = frozenset({"plugin", "agent", "workflow", "monitor"})
_OWN_KINDS = frozenset({"transaction", "workflow"})
"""Intent blocks whose body is neither data nor a declaration."""


class Declaring(Phrasing):
    """Simple statements, functions, sections, entries."""

    def _simple(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        word = tokens[0].text
        rest = tokens[1:]
        if second is not None and second.type == ":":
            return False
        if word in ("throw", "raise"):
            if second is not None and not self._thrown(tokens, second):
                return False
            word = "throw"
        if word in ("break", "continue") and rest:
            raise self._error("AE115", f"nothing may stand behind `{word}`", rest[0], expected=("end of line",))
        line.kind = word
        line.out.append(tokens[0].retyped(word.upper()))
        if rest:
            self._value(line, rest, prose=False)
        return True

    def _thrown(self, tokens: list[Token], second: Token) -> bool:
        """Does an operand stand behind `throw`?"""
        if second.type in ("-", "!", "~", "["):
            return second.blank and len(tokens) > 2 and (second.type == "[" or not tokens[2].blank)
        if second.type == "NAME":
            return second.text not in JOINING and second.text not in GUARDS
        return second.type in LITERALS or second.type in ("(", "{")

    def _await(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        if second is not None and second.type == "[" and second.blank:
            raise self._error("AE119", "`await` stands before names", second, expected=("await a, b",))
        if second is None or second.type not in ("NAME", "VAR") or second.text in JOINING:
            return False
        line.kind = "await"
        line.out.append(tokens[0].retyped("AWAITS"))
        self._refine(line, tokens[1:], True)
        return True

    def _let(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        if second is None or second.type not in ("NAME", "VAR"):
            if tokens[0].text == "let" and (second is None or second.type != ":"):
                raise self._error("AE123", "a name is missing behind `let`", second or tokens[0], expected=("a name",))
            taken_apart = second is not None and second.type in ("BLOCK", "[") and second.blank
            if second is not None and taken_apart and any(token.type == "=" for token in tokens[2:]):
                raise self._error(
                    "AE123", f"a name is missing behind `{tokens[0].text}`", second, expected=("a name",),
                    suggestion="take the value apart by hand: let a = x.a",
                )  # fmt: skip
            return False
        if tokens[0].text in ("const", "var") and len(tokens) > 2 and tokens[2].type not in ("=", ":"):
            return False
        line.kind = "assign"
        line.out.append(tokens[0].retyped("LET"))
        rest = tokens[1:]
        places = top_level(rest)
        equals = next((at for at in places if rest[at].type == "="), None)
        colon = len(rest) > 1 and rest[1].type == ":"
        head = rest if equals is None else rest[:equals]
        if colon:
            line.out.append(head[0])
            self._type(line, head[1:])
        elif equals is None and len(rest) > 1:
            raise self._error("AE123", "'=' is missing", rest[1], expected=("'='", "end of line"))
        else:
            self._refine(line, head)
        if equals is not None:
            line.out.append(rest[equals].retyped("ASSIGN"))
            self._value(line, rest[equals + 1 :], prose=False, behind=rest[equals])
        return True

    def _type(self, line: Line, tokens: list[Token]) -> None:
        kinds = {"[": "IBRA", "]": "RBRA", ".": "DOT", ",": "COMMA", "?": "QMARK", "|": "BAR", ":": "COLON"}
        line.out += [token.retyped(kinds.get(token.type, token.type)) for token in tokens]

    def _import(self, line: Line, tokens: list[Token], second: Token | None, item: bool) -> bool:
        if second is not None and (second.type in LITERALS - {"PATH", "STRING"} or second.type == "{"):
            raise self._error("AE118", f"`{tokens[0].text}` takes a module", second, expected=('"a/b"', "a/b"))
        if second is None or second.type not in ("NAME", "PATH", "STRING"):
            return False
        line.kind = "import"
        if tokens[0].text == "import":
            line.out.append(tokens[0].retyped("IMPORT"))
            self._refine(line, tokens[1:], True)
            return True
        words = [token.text for token in tokens]
        if "import" not in words:
            return False
        at = words.index("import")
        line.out.append(tokens[0].retyped("FROM"))
        line.out += tokens[1:at]
        line.out.append(tokens[at].retyped("IMPORT"))
        line.out += [token.retyped("COMMA") if token.type == "," else token for token in tokens[at + 1 :]]
        return True

    # ------------------------------------------------------------ declarations

    def _declaration(self, line: Line, tokens: list[Token], second: Token | None) -> bool:
        first = tokens[0]
        if (first.text in _FUNCTION_WORDS or first.text == "export") and self._function(line, tokens):
            return True
        if second is None:
            return False
        method = second.type == "(" and tokens[-1].type == "BLOCK" and tokens[-2] is second.close
        if method and line.block.kind == "declaration" and first.text not in ("if", "while", "for"):
            self._signature(line, tokens, 0)
            return True
        if first.text == "on" and second.type in ("NAME", "STRING") and self._heads_block(line, tokens):
            return self._on(line, tokens)
        return self._section(line, tokens, second)

    def _function(self, line: Line, tokens: list[Token]) -> bool:
        first = tokens[0]
        at = 1
        if first.text == "export":
            if len(tokens) > 1 and tokens[1].type == "{":
                return self._export_list(line, tokens)
            if len(tokens) > 2 and tokens[1].text in _FUNCTION_WORDS and tokens[2].type == "NAME":
                at = 2
            elif len(tokens) > 2 and tokens[1].type == "NAME" and tokens[2].type in (*LITERALS, "NAME"):
                raise self._error(
                    "AE121", "`export` takes a function or a list of names", tokens[1],
                    expected=("export f(..)", "export { a, b }"),
                )  # fmt: skip
        if len(tokens) > at + 1 and tokens[at].type == "NAME" and tokens[at + 1].type == "(":
            self._signature(line, tokens, at)
            return True
        if first.text == "define" and len(tokens) > 3 and tokens[1].type == "NAME" and tokens[2].text == "as":
            line.kind = "define"
            line.out += [first.retyped("DEFINE"), tokens[1], tokens[2].retyped("AS")]
            self._refine(line, tokens[3:])
            return True
        if (
            first.text in ("fn", "def", "function")
            and len(tokens) > 1
            and tokens[1].type == "NAME"
            and tokens[1].text not in PREPOSITIONS
        ):
            place = tokens[2] if len(tokens) > 2 else tokens[1]
            raise self._error("AE121", "a function needs its parameters in brackets", place, expected=("'('",))
        return False

    def _export_list(self, line: Line, tokens: list[Token]) -> bool:
        line.kind = "export"
        kinds = {"{": "LBRACE", "}": "RBRACE", ",": "COMMA"}
        line.out.append(tokens[0].retyped("EXPORTS"))
        line.out += [token.retyped(kinds.get(token.type, token.type)) for token in tokens[1:]]
        return True

    def _signature(self, line: Line, tokens: list[Token], at: int) -> None:
        """`[export] [fn] name(params) [-> type]` and the body. The terminal FN carries whether it is exported."""
        line.kind = "function"
        name = tokens[at]
        opener = tokens[at + 1]
        line.out.append(tokens[0].retyped("FN", tokens[0].text == "export"))
        line.out.append(name)
        close = next(i for i, token in enumerate(tokens) if token is opener.close)
        line.out.append(opener.retyped("LPAR"))
        self._refine(line, tokens[at + 2 : close], frame="LLPAR")
        line.out.append(tokens[close].retyped("RPAR"))
        rest = tokens[close + 1 :]
        if rest and rest[0].type == "->":
            end = next((i for i, token in enumerate(rest) if token.type in (":", "BLOCK")), len(rest))
            line.out.append(rest[0].retyped("RET"))
            self._type(line, rest[1:end])
            rest = rest[end:]
        self._body_behind(line, rest)

    def _body_behind(self, line: Line, rest: list[Token]) -> None:
        """The body of a declaration: a brace block, a colon, or the deeper lines."""
        if not rest:
            self._note_no_colon(line)
            return
        if rest[0].type == ":":
            self._one_line(line, rest[1:])
            return
        if rest[0].type == "BLOCK":
            self._block(line, rest[0].data, rest[0].span)
            self._tail(line, rest[1:])
            return
        raise self._error("AE114", "the body of the function is missing", rest[0], expected=("'{'", "':'"))

    def _on(self, line: Line, tokens: list[Token]) -> bool:
        """`on x { }`, `on event "x":`, `on memory event "x":`."""
        line.kind = "handler"
        line.out.append(tokens[0].retyped("ON"))
        end = next((i for i, token in enumerate(tokens) if token.type in (":", "BLOCK")), len(tokens))
        line.out += tokens[1:end]
        self._body_behind(line, tokens[end:])
        return True

    def _section(self, line: Line, tokens: list[Token], second: Token) -> bool:
        first = tokens[0]
        last = tokens[-1]
        labelled = second.type in ("NAME", "STRING")
        if last.type == "BLOCK" and (len(tokens) == 2 or (len(tokens) == 3 and labelled)):
            if verb_base(first.text) == first.text and first.text not in SECTIONS:
                return False
        elif not (first.text in _COLON_SECTIONS and len(tokens) == 3 and labelled and last.type == ":"):
            return False
        declared = line.block.kind == "declaration"
        intent = first.text in INTENT_BLOCKS and not declared
        line.kind = first.text if intent and first.text in _OWN_KINDS else "section"
        line.out.append(first.retyped("SECTION", line.block.kind))
        line.out += tokens[1:-1]
        if last.type == "BLOCK":
            plain = not intent and _is_entry_point(first.text, declared)
            kind = "code" if plain else "data" if intent else "declaration"
            self._block(line, last.data, last.span, None if line.kind in _OWN_KINDS else kind)
            last.data.function = plain
        return True

    # ------------------------------------------------------------ entries

    def _entry(self, line: Line, tokens: list[Token], item: bool) -> None:
        key = tokens[0]
        kind = line.block.kind
        value = tokens[2:]
        if not item and kind in ("code", "declaration") and self._handler_entry(line, tokens):
            return
        line.kind = self._entry_kind(line, key, value, item)
        equals = next((at for at in top_level(value) if value[at].type == "="), None)
        if equals and self._is_type(key, value[:equals]):
            line.kind = "assign"
            line.out.append(key)
            self._type(line, tokens[1 : 2 + equals])
            line.out.append(value[equals].retyped("ASSIGN"))
            self._value(line, value[equals + 1 :], prose=False, behind=value[equals])
            return
        line.out.append(key.retyped("KEY", KeyPlace(kind, item)))
        if key.text in _KEYED_HEADS and len(value) > 2 and value[0].type == "NAME" and value[1].type == ":":
            line.out.append(value[0].retyped("KEY", KeyPlace("data", False)))
            value = value[2:]
        if not value:
            return
        if value[0].type == "RAW":
            self._raw(line, value)
        elif value[0].type == "HYPHWORD" and len(value) == 1:
            line.out.append(value[0])
        elif value[0].type in _COMPARISONS:
            line.out.append(value[0].retyped("CMPOP"))
            self._refine(line, value[1:])
        else:
            self._value(line, value, prose=True, key=key)

    def _is_type(self, key: Token, tokens: list[Token]) -> bool:
        """`x: List[T] = e`: does a type stand between the colon and the '='?"""
        shaped = all(token.type in ("NAME", ".", "[", "]", ",", "?", "|") for token in tokens)
        return key.type == "NAME" and shaped and first_juxtaposition(tokens) < 0

    def _entry_kind(self, line: Line, key: Token, value: list[Token], item: bool) -> str:
        """What an entry is, which decides what its deeper lines hold."""
        kind, word = line.block.kind, key.text
        if kind == "workflow" and word == "steps":
            return "steps"
        if word == "goal" and kind in ("code", "command"):
            return "goal"
        if word == "command" and kind not in DATA:
            return "command"
        if kind != "code" or key.type != "NAME":
            return "entry"
        if word in _OWN_KINDS and not item:
            return word
        if word in VERBS and word not in SECTIONS and not (not value and self._owns_dashes(line)):
            return "payload" if VERBS[word].payload else "verb"
        return "entry"

    def _owns_dashes(self, line: Line) -> bool:
        return line.body is not None and line.body.lines[0].tokens[0].type == "DASH"

    def _handler_entry(self, line: Line, tokens: list[Token]) -> bool:
        """`on_run:` and its like with deeper lines, in the colon form of a plugin: the same as `on_run { .. }`."""
        key = tokens[0]
        declared = line.block.kind == "declaration"
        if key.type != "NAME" or len(tokens) > 2 or line.body is None or not _is_entry_point(key.text, declared):
            return False
        line.kind = "handler"
        line.out.append(key.retyped("SECTION", line.block.kind))
        return True

    def _raw(self, line: Line, value: list[Token]) -> None:
        for at, token in enumerate(value):
            if token.type == "NAME":
                line.out.append(token.retyped("SLOTKEY"))
            elif token.type == "RAW":
                line.out.append(token)
            elif token.type != ":" or value[at - 1].type != "NAME":
                raise self._error("AE115", "nothing may stand behind this text", token, expected=("end of line",))


def _is_entry_point(word: str, declared: bool) -> bool:
    """Is `word { .. }` a handler or a function of that name? `on_error`, `init` and `cleanup` are in plugins only."""
    return (word.startswith("on_") and word != "on_error") or (declared and word in ("on_error", "init", "cleanup"))
