"""Functions, plugins, sections, handlers, timers, and the lines of a header (sections 11, 12 and 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aether_lang import nodes

from .data import Data
from .draw import AT, BARE_END, Place
from .statements import Stated

GOALS = ("keep the pot full", "don't lose data", "fix issue #4", "smile :)", 'say "hi" (now', "a - b; c", "100% { done")
SCHEDULES = ("every 6 hours", "daily at 06:00", "weekly on Monday", "on weekdays at 09:00", "monthly on 1 at 03:00")


class Declarations(Data):
    """Draws what stands at the top of a script or in a declaration."""

    def top_statement(self, place: Place) -> Stated:
        """Any statement of the top level."""
        table: list[tuple[str, int, Callable[[], Stated | None]]] = [
            ("statement", 60, lambda: self.statement(place)),
            ("function", 14, lambda: self.function(place)),
            ("handler", 8, lambda: self._handler(place)),
            ("on event", 4, lambda: self._on_event(place)),
            ("timer", 4, lambda: self._timer(place)),
            ("plugin", 8, lambda: self._plugin(place)),
            ("section", 5, lambda: self._section(place)),
            ("goal line", 6, lambda: self._goal_line(place)),
            ("goal verb", 3, lambda: self._goal_verb(place)),
            ("header flag", 5, self._flag),
            ("plugin line", 4, self._plugin_line),
            ("command", 3, lambda: self._command(place)),
            ("record", 6, lambda: self._record(place)),
            ("raw text assigned", 2, lambda: self._raw_assigned(place)),
        ]
        table += [(name, 3, make) for name, make in self.blocks_of_intent(place)]
        saved, self.column = self.column, place.column
        try:
            return self.pick(table)
        finally:
            self.column = saved

    def blocks_of_intent(self, place: Place) -> list[tuple[str, Callable[[], Stated | None]]]:
        """The intent blocks, templates and manifests."""
        return []

    # ------------------------------------------------------------ functions and handlers

    def function(self, place: Place, *, bare: bool = False) -> Stated:
        """A function in one of its spellings."""
        name = self.one(("f", "sweep", "log_it", "goal", "default", "on", "status", "type"))
        saved, self.role = self.role, "value"
        head, params = self.params(types=True)
        self.role = saved
        word = (
            ""
            if bare
            else self.one(("fn ", "function ", "def ", "define ", "export ", "export fn ", "export function "))
        )
        self.count(f"function: {word.strip() or 'bare'}")
        returns, written = None, ""
        if not bare and self.chance(0.15):
            self.count("function: type of its value")
            text, returns = self.type()
            written = f" -> {text}"
        forms = (
            "brace inline"
            if bare
            else "brace inline colon line" + (" bare" if word == "define " and not written else "")
        )
        body = self.block(place, forms=forms, make=self._in_function)
        text = f"{word}{name}{head}{written}{body.text}"
        node = nodes.Function(AT, name, params, body.node, word.startswith("export"), returns)
        return Stated(self.closed(text, place.column, body.form), node, body.form == "brace")

    def _in_function(self, place: Place) -> Stated:
        if self.fuel > 0 and self.chance(0.04) and not place.flat:
            self.count("function in a function")
            return self.function(place)
        return self.statement(place)

    def _handler(self, place: Place) -> Stated:
        name = self.one(("pot_low", "refresh", "x_requested", "on_pot"))
        text, params = name, ()
        if self.chance(0.5):
            self.count("handler with parameters")
            parts, found = [], []
            for param in self.random.sample(("a", "b", "ml"), self.random.randint(0, 2)):
                if self.chance(0.4):
                    value = self.number()
                    parts.append(f"{param} = {value.text}")
                    found.append(nodes.Param(AT, param, value.node))
                else:
                    parts.append(param)
                    found.append(nodes.Param(AT, param))
            text, params = f"{name}({', '.join(parts)})", tuple(found)  # type: ignore[assignment]
        body = self.block(place, forms="brace inline colon colon bare line")
        node = nodes.Handler(AT, name, name, params, body.node)
        return Stated(self.closed(f"when {text}{body.text}", place.column, body.form), node, body.form == "brace")

    def _on_event(self, place: Place) -> Stated:
        kind = self.random.randrange(4)
        head, name, source = (
            ('on event "pot"', "pot", None), ('on memory event "pot"', "pot", "memory"), ("on pot", "pot", None),
            ('on "pot.low"', "pot.low", None),
        )[kind]  # fmt: skip
        body = self.block(place, forms="brace inline colon")
        node = nodes.Handler(AT, name, name, (), body.node, source)
        return Stated(self.closed(head + body.text, place.column, body.form), node, body.form == "brace")

    def _timer(self, place: Place) -> Stated:
        head, slots = self.one(
            (
                (
                    "every 5 minutes",
                    (
                        nodes.SlotExpr(AT, nodes.Number(AT, 5, "5")),
                        nodes.SlotExpr(AT, nodes.Name(AT, "minutes", "symbol")),
                    ),
                ),
                ("every 30s", (nodes.SlotExpr(AT, nodes.Number(AT, 30, "30s", "duration")),)),
                ('every "1 hour"', (nodes.SlotExpr(AT, nodes.Text(AT, "1 hour")),)),
            )
        )
        body = self.block(place, forms="brace inline colon bare line")
        node = nodes.Timer(AT, head, slots, body.node)
        return Stated(self.closed(head + body.text, place.column, body.form), node, body.form == "brace")

    # ------------------------------------------------------------ plugins and sections

    def _plugin(self, place: Place) -> Stated:
        kind: Any = self.one(("plugin", "agent"))
        name = self.one(("tidy", "tea_watch", "goal", "log"))
        label = f'"{name}"' if self.chance(0.2) else name
        forms = "brace brace inline" + (" colon" if kind == "agent" else "")
        body = self.block(place, forms=forms, make=self.member, kind="declaration", most=5, least=0)
        node = plugin(self, kind, name, body.node)
        return Stated(self.closed(f"{kind} {label}{body.text}", place.column, body.form), node, body.form == "brace")

    def member(self, place: Place) -> Stated:
        """What stands in a plugin, agent or section."""
        saved, self.column = self.column, place.column
        if place.flat:
            self.flat += 1
        try:
            return self.pick(
                (
                    ("field", 30, lambda: self._field_of_plugin(place)),
                    ("config, state", 6, lambda: self._settings(place)),
                    ("entry point", 8, lambda: self._entry_point(place)),
                    ("method", 10, lambda: self.function(place)),
                    ("bare method", 6, lambda: self.function(place, bare=True)),
                    ("timer in a declaration", 2, lambda: self._timer(place)),
                    ("sub-section", 4, lambda: self._section(place)),
                    ("verb as a field", 2, self._verb_field),
                    ("assignment in a declaration", 1, self._plain_assignment),
                )
            )
        finally:
            self.column = saved
            if place.flat:
                self.flat -= 1

    def _plain_assignment(self) -> Stated:
        value = self.number()
        return Stated(f"seen = {value.text}", nodes.Assign(AT, nodes.Name(AT, "seen"), "=", value.node))

    def _field_of_plugin(self, place: Place) -> Stated:
        if self.chance(0.25):
            text = self.one(SCHEDULES)
            self.count("schedule")
            return Stated(f"schedule: {text}", nodes.Entry(AT, "schedule", nodes.Text(AT, text, True)), True)
        return self._entry(place, 0)

    def _verb_field(self) -> Stated:
        verb = self.one(("log", "search", "remember"))
        return Stated(
            verb + " { limit: 5 }",
            nodes.Entry(
                AT, verb, nodes.DictExpr(AT, (nodes.Pair(AT, nodes.Text(AT, "limit"), nodes.Number(AT, 5, "5")),))
            ),
        )

    def _settings(self, place: Place) -> Stated:
        """`config` or `state`, as a dict, as deeper lines or as a section."""
        word = self.one(("config", "state"))
        kind = self.random.randrange(3)
        if kind == 0 and not place.flat:
            text, found = self.lines(self._inner(place), lambda inner: self._entry(inner, 1), self.some(1, 3))
            node = nodes.Entry(AT, word, None, nodes.Block(AT, tuple(found)))
            return Stated(f"{word}:{text}", Settings(word, self.value_of(node)), False)
        if kind == 1:
            body = self.block(place, forms="brace inline", make=lambda inner: self._entry(inner, 1), kind="declaration")
            node = nodes.Entry(AT, word, None, body.node)
            return Stated(word + body.text, Settings(word, self.value_of(node)))
        saved, self.role = self.role, "value"
        value = self._dict() or self.number()
        self.role = saved
        return Stated(f"{word}: {value.text}", Settings(word, value.node))

    def _entry_point(self, place: Place) -> Stated:
        name = self.one(("on_run", "on_start", "on_message", "on_tea", "on_error", "init", "cleanup"))
        body = self.block(place, forms="brace inline")
        node: Any
        if name in ("init", "cleanup"):
            node = nodes.Function(AT, name, (), body.node)
        else:
            node = nodes.Handler(AT, name, None if name == "on_run" else name[3:], (), body.node)
        head = name
        if self.chance(0.3):
            self.count("entry point with brackets")
            head = f"{name}()"
        return Stated(head + body.text, node)

    def _section(self, place: Place) -> Stated:
        name = self.one(("voice", "identity", "vector_config", "monitor", "memory"))
        label = self.one((None, None, None, "main"))
        body = self.block(place, forms="brace brace inline", make=self.section_member, kind="declaration", least=0)
        text = f"{name} {label}" if label else name
        return Stated(text + body.text, nodes.Section(AT, name, label, body.node))

    def section_member(self, place: Place) -> Stated:
        """What stands in a section."""
        kind = self.random.randrange(10)
        if kind == 0 and not place.flat and self.fuel > 0:
            return self._section(place)
        if kind == 1:
            call = self.dotted_call() if not place.flat else self.small_call()
            return Stated(call.text, nodes.ExprStmt(AT, call.node))
        if kind == 2 and not place.flat:
            self.count("numbered line in a section")
            call = self.small_call()
            return Stated(f"1. {call.text}", nodes.ExprStmt(AT, call.node))
        if place.flat:
            self.flat += 1
        made = self._entry(place, 1)
        if place.flat:
            self.flat -= 1
        return made

    def small_call(self) -> Any:
        """`f(1)`."""
        self.flat += 1
        made = self.dotted_call()
        self.flat -= 1
        return made

    # ------------------------------------------------------------ single lines

    def _goal_line(self, place: Place) -> Stated:
        if self.chance(0.5):
            title = self.one(GOALS)
            self.count("goal: raw text")
            text, priority, deadline = f"goal: {title}", None, None
            if self.chance(0.4):
                text, priority = f"{text} priority: high", nodes.Text(AT, "high", True)
            if self.chance(0.2):
                text, deadline = f"{text} deadline: 2 days", nodes.Text(AT, "2 days", True)
            return Stated(text + BARE_END, nodes.Goal(AT, nodes.Text(AT, title, True), priority, deadline, None), False)
        title = self.text().node.value
        text, rank = f'goal: "{title}"', None
        if self.chance(0.4):
            text, rank = f"{text} priority: high", nodes.Name(AT, "high", "symbol")
        return Stated(text, nodes.Goal(AT, nodes.Text(AT, title), rank, None, None), True)

    def _goal_verb(self, place: Place) -> Stated:
        title = nodes.Text(AT, "tea")
        if self.chance(0.5):
            text, rank = 'goal "tea"', None
            if self.chance(0.5):
                text, rank = 'goal "tea" priority: high', nodes.Name(AT, "high", "symbol")
            return Stated(text, nodes.Goal(AT, title, rank, None, None))
        self.count("goal(..) with a body")
        body = self.block(place, forms="brace inline bare")
        node = nodes.Goal(AT, title, None, None, None, body.node)
        return Stated(self.closed(f'goal("tea"){body.text}', place.column, body.form), node, body.form == "brace")

    def _flag(self) -> Stated:
        symbol = lambda word: nodes.Name(AT, word, "symbol")  # noqa: E731
        text, node = self.one(
            (
                ("consciousness: enabled", nodes.HeaderFlag(AT, "consciousness", symbol("enabled"))),
                ("memory: persistent", nodes.HeaderFlag(AT, "memory", symbol("persistent"))),
                ('identity: "X"', nodes.HeaderFlag(AT, "identity", nodes.Text(AT, "X"))),
                ("agent: on", nodes.HeaderFlag(AT, "agent", symbol("on"))),
                ("agents: [a, b]", nodes.HeaderFlag(AT, "agents", nodes.ListExpr(AT, (symbol("a"), symbol("b"))))),
                ("model: abc-4o", nodes.HeaderFlag(AT, "model", nodes.Text(AT, "abc-4o", True))),
                (
                    'local_ai: on model: "m"',
                    nodes.HeaderFlag(AT, "local_ai", symbol("on"), (nodes.SlotKey(AT, "model", nodes.Text(AT, "m")),)),
                ),
                (
                    'agent: "tea" specialization: "green"',
                    nodes.HeaderFlag(
                        AT,
                        "agent",
                        nodes.Text(AT, "tea"),
                        (nodes.SlotKey(AT, "specialization", nodes.Text(AT, "green")),),
                    ),
                ),
            )
        )
        return Stated(text, node)

    def _plugin_line(self) -> Stated:
        symbol = lambda word: nodes.Name(AT, word, "symbol")  # noqa: E731
        field = nodes.Field(AT, nodes.Name(AT, "pot"), "read")
        ml = nodes.SlotExpr(AT, nodes.Text(AT, "ml"))
        text, node = self.one(
            (
                ('plugin: pot.read "ml"', nodes.PluginLine(AT, field, (ml,), "")),
                ("plugin: pot.read", nodes.PluginLine(AT, field, (), "")),
                (
                    "plugin: pot status",
                    nodes.PluginLine(AT, symbol("pot"), (nodes.SlotExpr(AT, symbol("status")),), ""),
                ),
                ("meta: tool mode", nodes.PluginLine(AT, symbol("tool"), (nodes.SlotExpr(AT, symbol("mode")),), "")),
            )
        )
        if self.chance(0.2):
            call = self.dotted_call()
            return Stated(f"plugin: {call.text}", nodes.PluginLine(AT, call.node, (), ""))
        return Stated(text, node)

    def _command(self, place: Place) -> Stated:
        column = place.column + 2
        pad = "\n" + " " * column
        inner = place.inner(column=column)
        text, found = self.lines(inner, self.statement, self.some(1, 2))
        inputs, outputs, head = (), (), ""
        if self.chance(0.6):
            head, inputs = f"{pad}input: [a, b]", (nodes.Param(AT, "a"), nodes.Param(AT, "b"))
        tail = ""
        if self.chance(0.5):
            tail, outputs = f"{pad}output: row", ("row",)
        node = nodes.Command(AT, "brew", inputs, outputs, nodes.Block(AT, tuple(found)))
        return Stated(f'command: "brew"{head}{text}{tail}', node, False)

    def _record(self, place: Place) -> Stated | None:
        """`limits:` with deeper lines, at the level of statements: data bound to the name."""
        name = self.one(("limits", "shelf", "reporting", "x"))
        node = nodes.Entry(AT, name, None)
        make = self._nested if self.chance(0.6) else self._listed
        stated = make(name, ":", node, place, 0)
        if any(isinstance(getattr(item, "content", None), nodes.Entry) for item in stated.node.body.body):
            return None  # a manifest, which is another thing
        items = [item.content for item in stated.node.body.body if isinstance(item, nodes.Item)]
        if any(isinstance(getattr(item, "value", None), nodes.Call | nodes.MethodCall) for item in items):
            return None  # calls behind dashes are steps of a manifest
        value = self.value_of(stated.node)
        return Stated(stated.text, nodes.Assign(AT, nodes.Name(AT, name), "=", value, None, None, True), False)

    def _raw_assigned(self, place: Place) -> Stated:
        text, value = self.raw_block(place.column)
        return Stated(f"note: {text}", nodes.Assign(AT, nodes.Name(AT, "note"), "=", value, None, None, True), False)


class Settings:
    """`config` or `state` on its way into the plugin around it."""

    def __init__(self, word: str, value: Any) -> None:
        self.word = word
        self.value = value


def plugin(draw: Declarations, kind: Any, name: str, block: nodes.Block) -> nodes.Plugin:
    """The node of a plugin or agent out of what stands in it."""
    special: dict[str, Any] = {"config": None, "state": None}
    groups: dict[Any, list[Any]] = {
        nodes.Entry: [], nodes.Handler: [], nodes.Function: [], nodes.Timer: [], nodes.Section: [],
    }  # fmt: skip
    others: list[Any] = []
    for member in block.body:
        if isinstance(member, Settings):
            special[member.word] = member.value
        else:
            groups.get(type(member), others).append(member)
    return nodes.Plugin(
        AT, kind, name, tuple(groups[nodes.Entry]), special["config"], special["state"], tuple(groups[nodes.Handler]),
        tuple(groups[nodes.Function]), tuple(groups[nodes.Timer]), tuple(groups[nodes.Section]), tuple(others),
    )  # fmt: skip
