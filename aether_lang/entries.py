"""The builder's half for entries, items, verbs and phrases: which of them have a meaning of their own (sections
8.3, 13, 14)."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from . import nodes
from .data import as_data, key_span, symbolic, unsymbolic
from .errors import SyntaxProblem
from .expression_builder import ExpressionBuilder
from .intents import INTENT_BLOCKS, intent
from .layout import DATA
from .manifests import Manifests
from .tokens import TRIES, Token, join
from .words import RESERVED, VERBS, verb_base

Children = list[Any]

_FLAGS = frozenset({"consciousness", "memory", "identity", "agent", "agents", "local_ai", "model"})
_EVENT_WORDS = ("event", "approval")
_PROSE_KEYS = frozenset({"schedule", "expect"})
"""Keys whose value is text even where it begins with a verb: `schedule: on weekdays at 09:00`."""


class EntryBuilder(ExpressionBuilder):
    """Builds entries, items, phrases and verb statements."""

    manifests: Manifests

    # ------------------------------------------------------------ entries

    def entry(self, c: Children) -> nodes.Stmt:
        key: Token = c[0]
        block = c[-1] if len(c) > 1 and type(c[-1]) is nodes.Block else None
        value = symbolic(c[1] if len(c) > 1 and c[1] is not block else None)
        if type(value) is nodes.VerbPhrase and key.text == "schedule":  # `on weekdays at 09:00`
            value = nodes.TextPhrase(value.span, value.slots, self.source.text[value.span.start : value.span.end])
        last = block or value or key
        span = join(key.span, last.span)
        kind, item = key.data
        if key.text in _PROSE_KEYS and type(value) is nodes.VerbPhrase and kind not in ("code", "command"):
            value = nodes.TextPhrase(value.span, value.slots, self.source.text[value.span.start : value.span.end])
        if type(value) is nodes.TextPhrase and (kind in DATA or kind == "declaration"):
            self._warn_of_keys(value)
        plain = nodes.Entry(span, self.key_text(key), value, block, key.type == "STRING" or key.text[:1] in "\"'")
        if kind in DATA or kind == "declaration" or item or plain.quoted or not key.text[:1].isidentifier():
            return plain
        if kind == "command" and key.text in ("input", "inputs", "output", "outputs"):
            return plain
        return self.in_code(plain)

    def _warn_of_keys(self, phrase: nodes.TextPhrase) -> None:
        """`low: 1 high: 3` on one line is the text `1 high: 3`, which is seldom what was meant."""
        for slot in phrase.slots:
            if type(slot) is nodes.SlotKey:
                message = f"'{slot.key}' is part of the text that began at the first colon"
                hint = "put each entry on a line of its own, or ';' between them"
                self.warn.append(SyntaxProblem("AW407", message, slot.span.start, slot.span.end, suggestion=hint))
                return

    def entry_in_entry(self, c: Children) -> nodes.Stmt:
        """`policy: strict: true`: a block of one entry."""
        inner = self.entry([c[1], c[2]])
        return self.entry([c[0], nodes.Block(inner.span, (inner,))])

    def entry_raw(self, c: Children) -> nodes.Stmt:
        key, raw, options = c[0], c[1], c[2]
        block = c[3] if len(c) > 3 else None
        title = nodes.Text(raw.span, raw.data, True)
        last = block or (options[-1][1] if options else raw)
        span = join(key.span, last.span)
        kind, item = key.data
        if key.text != "goal" or kind in DATA or kind == "declaration" or item:
            if options:  # data has no keys behind a goal: the whole line is its text
                title = nodes.Text(raw.span, self.source.text[raw.span.start : options[-1][1].span.end], True)
            entry = nodes.Entry(span, self.key_text(key), title, block)
            if kind == "code" and not item and key.type != "STRING" and key.text != "goal":
                return nodes.Assign(span, nodes.Name(key.span, key.text), "=", title, None, None, True)
            return entry
        values = {word.text: nodes.Text(text.span, text.data, True) for word, text in options}
        return nodes.Goal(span, title, values.get("priority"), values.get("deadline"), values.get("metrics"), block)

    def append_raw(self, c: Children) -> list[Any]:
        c[0].append((c[1], c[2]))
        return cast(list[Any], c[0])

    def key_text(self, token: Token) -> str:
        """The text of a key, quotes resolved."""
        if token.text[:1] in "\"'" or token.text[:2] in ("r'", 'r"', "f'", 'f"'):
            value = self.string([Token("STRING", token.text, token.span, False, _prefix(token.text))])
            if type(value) is not nodes.Text:
                raise SyntaxProblem("AE125", "a key cannot be computed here", token.span.start, token.span.end)
            return value.value
        return token.text

    def in_code(self, entry: nodes.Entry) -> nodes.Stmt:
        """What an entry at statement level means."""
        name, value, body = entry.key, entry.value, entry.body
        if name == "meta" and body is None and value is not None:
            return self._plugin_line(entry)
        if name in INTENT_BLOCKS:
            return self._intent(entry)
        if name == "goal" and value is not None:
            return self._goal(entry)
        if name == "plugin" and value is not None and body is None:
            return self._plugin_line(entry)
        if name == "command" and body is not None:
            return self._command(entry, body)
        if name in _FLAGS and body is None and value is not None:
            return self._flag(entry)
        listed = body is not None and value is None and all(type(each) is nodes.Item for each in body.body)
        if name in VERBS and not listed:
            return self._verb_entry(entry)
        if body is not None:
            return self._record(entry)
        if type(value) is nodes.BareComparison:
            raise SyntaxProblem(
                "AE125", "a bare comparison is data, not a value", value.span.start, value.span.end,
                expected=("an expression",),
            )  # fmt: skip
        if name in RESERVED:
            raise _reserved(entry)
        target = nodes.Name(key_span(entry, entry.key), name)
        if value is None:
            value = nodes.Null(target.span)
        if type(value) is nodes.TextPhrase:
            value = nodes.Text(value.span, value.text, True)
        if type(value) is nodes.VerbPhrase and value.base and VERBS[value.base].message:
            return nodes.Message(entry.span, name, value)
        return nodes.Assign(entry.span, target, "=", cast(nodes.Expr, value), None, None, True)

    def _intent(self, entry: nodes.Entry) -> nodes.Stmt:
        """`policy:` and its like with deeper lines, or with none, which is an empty block."""
        if entry.value is not None:
            raise SyntaxProblem(
                "AE402", f"`{entry.key}:` takes deeper lines", entry.value.span.start, entry.value.span.end,
                expected=("end of line",), kind="check",
            )  # fmt: skip
        block = entry.body or nodes.Block(entry.span, ())
        return intent(self, entry.key, None, entry.span, block)

    def _record(self, entry: nodes.Entry) -> nodes.Stmt:
        """`limits:` with deeper lines: a manifest, or data bound to the name."""
        if entry.value is not None:
            assert entry.body is not None
            raise SyntaxProblem("AE104", "unexpected indent", entry.body.span.start, entry.body.span.start + 1)
        found = self.manifests.read(entry)
        if found is not None:
            return found
        return nodes.Assign(
            entry.span, nodes.Name(key_span(entry, entry.key), entry.key), "=", as_data(entry), None, None, True
        )

    def expression_in(self, text: nodes.Text) -> nodes.Expr:
        """The expression that a quoted text holds, with its places in the script."""
        quoted = self.source.text[text.span.start : text.span.end]
        at = quoted.find(text.value)
        if at < 1 or not text.value.strip():
            raise SyntaxProblem(
                "AE405", "this text stands for an expression, which cannot be read out of it", text.span.start,
                text.span.end, suggestion="write it without backslashes, in the other kind of quotes", kind="check",
            )  # fmt: skip
        start = text.span.start + at
        return self.parse_expression(start, start + len(text.value))

    def _goal(self, entry: nodes.Entry) -> nodes.Stmt:
        value: Any = entry.value
        options: dict[str, nodes.Expr] = {}
        if type(value) is nodes.TextPhrase or type(value) is nodes.VerbPhrase:
            first, *rest = value.slots
            keys = [slot for slot in rest if type(slot) is nodes.SlotKey]
            if type(first) is nodes.SlotExpr and len(keys) == len(rest) and type(value) is nodes.TextPhrase:
                options = {slot.key: slot.value for slot in keys}
                value = first.value
            else:
                text = value.text
                if type(value) is nodes.VerbPhrase:  # whose text begins behind the verb
                    end = self.source.text.index(text, value.span.start + len(value.verb)) + len(text)
                    text = self.source.text[value.span.start : end]
                value = nodes.Text(value.span, text, True)
        return nodes.Goal(
            entry.span, value, options.get("priority"), options.get("deadline"), options.get("metrics"), entry.body
        )

    def _flag(self, entry: nodes.Entry) -> nodes.Stmt:
        value: Any = entry.value
        options: tuple[nodes.SlotKey, ...] = ()
        if type(value) is nodes.VerbPhrase and all(type(slot) is nodes.SlotKey for slot in value.slots):
            head = nodes.SlotExpr(value.span, nodes.Name(value.span, value.verb))  # `on` is a verb elsewhere
            value = nodes.TextPhrase(value.span, (head, *value.slots), value.text)
        if type(value) is nodes.TextPhrase:
            first, *rest = value.slots
            options = tuple(slot for slot in rest if type(slot) is nodes.SlotKey)
            if type(first) is nodes.SlotExpr and len(options) == len(rest):
                value = symbolic(first.value)
            else:
                options = ()
        elif type(value) is nodes.VerbPhrase and all(type(slot) is nodes.SlotKey for slot in value.slots):
            options = cast(Any, value.slots)  # `local_ai: on model: "m"`: the verb is a mere word here
            value = nodes.Name(value.span, value.verb, "symbol")
        return nodes.HeaderFlag(entry.span, entry.key, value, options)

    def _plugin_line(self, entry: nodes.Entry) -> nodes.Stmt:
        value: Any = entry.value
        if type(value) is nodes.TextPhrase:
            first, *rest = value.slots
            if type(first) is nodes.SlotExpr:
                return nodes.PluginLine(entry.span, first.value, tuple(rest), value.text)
        if type(value) is nodes.VerbPhrase:
            head = nodes.Name(value.span, value.verb, "symbol")
            return nodes.PluginLine(entry.span, head, value.slots, f"{value.verb} {value.text}")
        text = self.source.text[value.span.start : value.span.end]
        return nodes.PluginLine(entry.span, value, (), text)

    def _verb_entry(self, entry: nodes.Entry) -> nodes.Stmt:
        """`log: "x"`, `recall: words from today`, `wait: 5`."""
        value: Any = entry.value
        slots: tuple[nodes.Slot, ...] = ()
        text = ""
        if value is not None:
            text = self.source.text[value.span.start : value.span.end]
            if type(value) is nodes.TextPhrase:
                slots, text = value.slots, value.text
            else:
                slots = (nodes.SlotExpr(value.span, value),)
        phrase = nodes.VerbPhrase(entry.span, entry.key, entry.key, slots, text)
        return self._verb_statement(entry.span, phrase, entry.body, colon=True)

    def _command(self, entry: nodes.Entry, body: nodes.Block) -> nodes.Stmt:
        if type(entry.value) is not nodes.Text:
            raise SyntaxProblem(
                "AE127", "a command is named by a text", entry.span.start, entry.span.end, expected=('command: "word"',)
            )
        inputs: list[nodes.Param] = []
        outputs: list[str] = []
        code = []
        for statement in body.body:
            if type(statement) is nodes.Entry and statement.key in ("input", "inputs"):
                inputs += [nodes.Param(statement.span, name) for name in _words(statement)]
            elif type(statement) is nodes.Entry and statement.key in ("output", "outputs"):
                outputs += _words(statement)
            else:
                code.append(statement)
        return nodes.Command(
            entry.span, entry.value.value, tuple(inputs), tuple(outputs), nodes.Block(body.span, tuple(code))
        )

    # ------------------------------------------------------------ values

    def hyphword(self, c: Children) -> nodes.Text:
        return nodes.Text(c[0].span, c[0].text, True)

    def bare_comparison(self, c: Children) -> nodes.BareComparison:
        return nodes.BareComparison(join(c[0].span, c[1].span), c[0].text, c[1])

    def phrase(self, c: Children) -> Any:
        verb, text = c[0].data
        slots = tuple(c[1])
        span = join(c[0].span, slots[-1].span)
        if verb:
            return nodes.VerbPhrase(span, c[0].text, verb, slots, text)
        if _is_call_phrase(slots):
            return nodes.VerbPhrase(span, "", "", slots, text)
        return nodes.TextPhrase(span, slots, text)

    # ------------------------------------------------------------ slots

    def one_slot(self, c: Children) -> list[nodes.Slot]:
        return _arrow_apart(c[0])

    def more_slots(self, c: Children) -> list[nodes.Slot]:
        c[0] += _arrow_apart(c[1])
        return cast(list[nodes.Slot], c[0])

    def slot_expr(self, c: Children) -> nodes.Slot:
        return nodes.SlotExpr(c[0].span, symbolic(c[0]))

    def slot_juxt(self, c: Children) -> nodes.Slot:
        return nodes.SlotExpr(c[1].span, symbolic(c[1]), bool(c[0].data))

    def slot_word(self, c: Children) -> nodes.Slot:
        return nodes.SlotWord(c[-1].span, c[-1].text)

    def slot_prep(self, c: Children) -> nodes.Slot:
        value = symbolic(c[1]) if len(c) > 1 else None
        return nodes.SlotPrep(join(c[0].span, c[-1].span), c[0].data, value)

    def slot_prep_word(self, c: Children) -> nodes.Slot:
        text = nodes.Text(c[1].span, c[1].text, True)
        return nodes.SlotPrep(join(c[0].span, c[1].span), c[0].data, text)

    def slot_key(self, c: Children) -> nodes.Slot:
        return nodes.SlotKey(join(c[0].span, c[1].span), c[0].text, symbolic(c[1]))

    def slot_guard(self, c: Children) -> nodes.Slot:
        slots: list[nodes.Slot] = c[1]
        span = join(c[0].span, slots[-1].span)
        first = slots[0]
        if len(slots) == 1 and type(first) is nodes.SlotExpr:
            return nodes.SlotGuard(span, c[0].text, as_signal(first.value))
        if c[0].text != "where":
            place = slots[-1 if len(slots) == 1 else 1].span
            raise SyntaxProblem("AE106", "this cannot follow a condition", place.start, place.end,
                                suggestion="an arrow stands before the guard")  # fmt: skip
        return nodes.SlotGuard(span, c[0].text, None, tuple(slots))

    def slot_arrow(self, c: Children) -> nodes.Slot:
        self.check_target(c[1])
        return nodes.SlotArrow(join(c[0].span, c[1].span), c[1])

    # ------------------------------------------------------------ statements that are phrases

    def verb(self, c: Children) -> nodes.Stmt:
        token: Token = c[0]
        base, text = token.data
        block = c[-1] if type(c[-1]) is nodes.Block else None
        slots = tuple(c[1]) if len(c) > 1 and type(c[1]) is list else ()
        span = join(token.span, (block or (slots[-1] if slots else token)).span)
        head = join(token.span, slots[-1].span) if slots else token.span
        phrase = nodes.VerbPhrase(head, token.text, base, slots, text)
        return self._verb_statement(span, phrase, block, colon=False)

    def _verb_statement(
        self, span: nodes.Span, phrase: nodes.VerbPhrase, block: nodes.Block | None, *, colon: bool
    ) -> nodes.Stmt:
        first = phrase.slots[0] if phrase.slots else None
        value = first.value if type(first) is nodes.SlotExpr else None
        if phrase.verb == "use" and type(value) is nodes.Path:
            return _use(span, value, phrase.slots[1:])
        if phrase.verb == "wait":
            return _wait(span, phrase)
        if phrase.verb == "expose_command":
            return _expose(span, phrase)
        if phrase.verb == "goal" and (type(value) is nodes.Text or type(value) is nodes.TextTemplate):
            options = {slot.key: slot.value for slot in phrase.slots if type(slot) is nodes.SlotKey}
            return nodes.Goal(
                span, value, options.get("priority"), options.get("deadline"), options.get("metrics"), block
            )
        return nodes.VerbStmt(span, phrase, block, colon)

    def phrase_stmt(self, c: Children) -> nodes.Stmt:
        """`f(..) as "t"`, `e -> x`, or the phrase of an item."""
        verb, text = c[0].data
        slots: list[nodes.Slot] = c[1]
        block = c[2] if len(c) > 2 else None
        span = join(c[0].span, slots[-1].span)
        first = slots[0]
        if type(first) is nodes.SlotExpr:
            value = unsymbolic(first.value)
            if type(value) in (nodes.Call, nodes.MethodCall):
                if block is not None and _runs_its_block(value):
                    return self._verb_with_block(span, value, tuple(slots[1:]), text, block)
                if block is not None:
                    rest = (nodes.SlotExpr(block.span, as_data(nodes.Entry(span, "", None, block))),)
                    return nodes.CallStmt(span, value, (*slots[1:], *rest), text)
                return nodes.CallStmt(span, value, tuple(slots[1:]), text)
            arrows = [slot for slot in slots[1:] if type(slot) is nodes.SlotArrow]
            guards = [slot for slot in slots[1:] if type(slot) is nodes.SlotGuard]
            if verb is not None and len(slots) - 1 == len(arrows) + len(guards) and len(arrows) < 2 and len(guards) < 2:
                target = arrows[0].target if arrows else None
                return nodes.ArrowStmt(span, value, target, guards[0] if guards else None)
        if verb == "":
            extra = slots[1].span
            raise SyntaxProblem(
                "AE115", "this cannot follow an expression", extra.start, extra.end, expected=("-> x", "end of line")
            )
        phrase = nodes.TextPhrase(span, tuple(slots), text)
        return nodes.Entry(span, "", phrase, block)

    def _verb_with_block(
        self, span: nodes.Span, call: nodes.Expr, rest: tuple[nodes.Slot, ...], text: str, block: nodes.Block
    ) -> nodes.Stmt:
        """`deploy(x) on server` with deeper lines: the verb, then its block."""
        assert isinstance(call, nodes.Call)
        assert isinstance(call.function, nodes.Name)
        name = call.function.name
        slots = tuple(
            nodes.SlotKey(arg.span, arg.name, arg.value) if arg.name else nodes.SlotExpr(arg.span, arg.value, at > 0)
            for at, arg in enumerate(call.args)
        )
        base = verb_base(name) or name
        return nodes.VerbStmt(span, nodes.VerbPhrase(span, name, base, (*slots, *rest), text), block)

    def await_stmt(self, c: Children) -> nodes.Stmt:
        slots: list[nodes.Slot] = c[1]
        span = join(c[0].span, slots[-1].span)
        first = slots[0]
        subject = first.value if type(first) is nodes.SlotExpr and len(slots) > 1 else None
        if type(subject) is nodes.Name and subject.name in _EVENT_WORDS:
            return _await_event(span, subject.name, slots[1:])
        values = []
        for slot in slots:
            if type(slot) is not nodes.SlotExpr:
                raise SyntaxProblem(
                    "AE119", "this cannot be awaited", slot.span.start, slot.span.end,
                    expected=("await a, b", 'await event "name" for 5m'),
                )  # fmt: skip
            values.append(unsymbolic(slot.value))
        return nodes.AwaitValues(span, tuple(values))

    def item(self, c: Children) -> nodes.Stmt:
        token: Token = c[0]
        block = c[-1] if len(c) > 1 and type(c[-1]) is nodes.Block else None
        content = c[1] if len(c) > 1 and c[1] is not block else None
        if type(content) is nodes.Entry and block is None and content.value is not None and content.body is not None:
            block, content = content.body, msgspec.structs.replace(content, body=None)
        if token.data in DATA and type(content) is nodes.ExprStmt:
            content = nodes.ExprStmt(content.span, symbolic(content.value))
        last = block or content or token
        number = int(token.text) if token.text.isdecimal() and len(token.text) < 10 else None
        code = number is not None and token.data in ("code", "declaration")
        if code and block is None and content is not None and type(content) is not nodes.Entry:
            return cast(nodes.Stmt, content)  # a numbered line in code is its statement
        return nodes.Item(join(token.span, last.span), content, block, number)


# ---------------------------------------------------------------- single verbs


def _reserved(entry: nodes.Entry) -> SyntaxProblem:
    """A key such as `else:` in code, where it would assign."""
    word, place = entry.key, key_span(entry, entry.key)
    partner = "`if`" if word in ("else", "elif") else "`try`" if word in TRIES else None
    if partner is not None:
        return SyntaxProblem("AE108", f"`{word}` without {partner}", place.start, place.end)
    return SyntaxProblem(
        "AE123", f"`{word}` is a keyword and cannot be assigned to", place.start, place.end,
        suggestion=f"the body of `{word}` begins on the next line" if word == "try" else None,
    )  # fmt: skip


def _prefix(text: str) -> str:
    found = re.match(r"[rf]?", text)
    return found.group() if found is not None else ""


def _words(entry: nodes.Entry) -> list[str]:
    """The names an `input:` entry lists."""
    value: Any = entry.value
    if type(value) is nodes.ListExpr:
        return [element.name for element in value.elements if type(element) is nodes.Name]
    if type(value) is nodes.Name:
        return [value.name]
    if type(value) is nodes.Text:
        return [value.value]
    if type(value) is nodes.TextPhrase:
        return [slot.value.name for slot in value.slots
                if type(slot) is nodes.SlotExpr and type(slot.value) is nodes.Name]  # fmt: skip
    return []


def _use(span: nodes.Span, path: nodes.Path, rest: tuple[nodes.Slot, ...]) -> nodes.Stmt:
    name = path.path.rpartition("/")[2]
    if rest:
        alias = rest[0]
        if (
            len(rest) > 1
            or type(alias) is not nodes.SlotPrep
            or alias.prep != "as"
            or type(alias.value) is not nodes.Name
        ):
            raise SyntaxProblem(
                "AE118", "this cannot follow a module", alias.span.start, alias.span.end, expected=("as name",)
            )
        name = alias.value.name
    return nodes.Use(span, path.path, name)


def _wait(span: nodes.Span, phrase: nodes.VerbPhrase) -> nodes.Stmt:
    first = phrase.slots[0] if phrase.slots else None
    if type(first) is not nodes.SlotExpr:
        raise SyntaxProblem("AE119", "a duration is missing", span.start, span.end, expected=("wait 5", "wait 2 hours"))
    if len(phrase.slots) == 1:
        return nodes.Wait(span, unsymbolic(first.value))
    return nodes.Wait(span, nodes.Text(span, phrase.text, True))


def _expose(span: nodes.Span, phrase: nodes.VerbPhrase) -> nodes.Stmt:
    slots = phrase.slots
    if len(slots) == 2 and type(slots[0]) is nodes.SlotExpr and type(slots[1]) is nodes.SlotArrow:
        word, target = slots[0].value, slots[1].target
        if type(word) is nodes.Text and type(target) is nodes.Name:
            return nodes.ExposeCommand(span, word.value, target.name)
    raise SyntaxProblem(
        "AE127", "this command cannot be read", span.start, span.end, expected=('expose_command "word" -> handler',)
    )


def _await_event(span: nodes.Span, kind: str, slots: list[nodes.Slot]) -> nodes.Stmt:
    subject = slots[0]
    duration = target = None
    if type(subject) is not nodes.SlotExpr:
        raise SyntaxProblem("AE119", "a text is missing", span.start, span.end, expected=(f'await {kind} "..."',))
    for slot in slots[1:]:
        if type(slot) is nodes.SlotPrep and slot.prep == "for" and duration is None:
            duration = slot.value
        elif type(slot) is nodes.SlotArrow and target is None:
            target = slot.target
        else:
            raise SyntaxProblem(
                "AE119",
                f"this cannot follow `await {kind}`",
                slot.span.start,
                slot.span.end,
                expected=("for 5m", "-> x"),
            )
    return nodes.AwaitEvent(span, cast(Any, kind), subject.value, duration, target)


def _arrow_apart(slot: nodes.Slot) -> list[nodes.Slot]:
    """A slot; the arrow behind the condition of `where` as one of its own."""
    if type(slot) is not nodes.SlotGuard or not slot.slots or type(slot.slots[-1]) is not nodes.SlotArrow:
        return [slot]
    *rest, arrow = slot.slots
    first = rest[0] if len(rest) == 1 else None
    if type(first) is nodes.SlotExpr:
        return [nodes.SlotGuard(slot.span, slot.word, as_signal(first.value)), arrow]
    return [nodes.SlotGuard(slot.span, slot.word, None, tuple(rest)), arrow]


def as_signal(value: nodes.Expr) -> nodes.Expr:
    """A bare name as the signal that it is in a condition."""
    if type(value) is nodes.Name and value.role == "symbol":
        return nodes.Name(value.span, value.name, "signal")
    if type(value) is nodes.ListExpr and any(type(e) in (nodes.Name, nodes.ListExpr) for e in value.elements):
        return nodes.ListExpr(value.span, tuple(cast(Any, as_signal(cast(Any, e))) for e in value.elements))
    return value


def _runs_its_block(call: nodes.Expr) -> bool:
    """Is this a call of a verb whose deeper lines are code, not its payload?"""
    if type(call) is not nodes.Call or type(call.function) is not nodes.Name:
        return False
    base = verb_base(call.function.name)
    return base is not None and not VERBS[base].payload


def _is_call_phrase(slots: tuple[nodes.Slot, ...]) -> bool:
    first = slots[0]
    return type(first) is nodes.SlotExpr and type(first.value) in (nodes.Call, nodes.MethodCall)
