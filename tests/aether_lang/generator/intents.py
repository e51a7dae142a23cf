"""Intent blocks, templates and manifests (sections 12, 14.2 and 14.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aether_lang import nodes

from .declarations import Declarations
from .draw import AT, Piece, Place
from .phrases import symbolic
from .statements import Stated

META = ("name", "version", "author", "purpose", "description")
POLICY = (
    ("risk_budget: 0.5", "risk_budget", nodes.Number(AT, 0.5, "0.5")),
    ("on_error: rollback", "on_error", nodes.Name(AT, "rollback", "symbol")),
    ('unbound_calls: "null"', "unbound_calls", nodes.Text(AT, "null")),
    ("deterministic: true", "deterministic", nodes.Bool(AT, True)),
    ("max_retries: 2", "max_retries", nodes.Number(AT, 2, "2")),
    ("timeout_default: 30s", "timeout_default", nodes.Number(AT, 30, "30s", "duration")),
)
WORDS = nodes.ListExpr(AT, (nodes.Text(AT, "memory.read", True), nodes.Text(AT, "log.write", True)))
REQUIRE = (
    (
        'plugins: ["pot>=1.2", "tea"]',
        "plugins",
        nodes.ListExpr(AT, (nodes.Text(AT, "pot>=1.2"), nodes.Text(AT, "tea"))),
    ),
    ("capabilities: [memory.read, log.write]", "capabilities", WORDS),
    ("models: [abc]", "models", nodes.ListExpr(AT, (nodes.Name(AT, "abc", "symbol"),))),
)
CONTRACT = (
    ('id: "pot"', "id", nodes.Text(AT, "pot")),
    ('version: "1.0.0"', "version", nodes.Text(AT, "1.0.0")),
    ("deterministic: true", "deterministic", nodes.Bool(AT, True)),
    ("timeout: 5s", "timeout", nodes.Number(AT, 5, "5s", "duration")),
)


class Intents(Declarations):
    """Draws intent blocks and what else means more than its form."""

    def blocks_of_intent(self, place: Place) -> list[tuple[str, Callable[[], Stated | None]]]:
        return [
            ("meta", lambda: self._data_block(place, "meta", nodes.Meta, self._meta)),
            ("policy", lambda: self._policy(place)),
            ("require", lambda: self._data_block(place, "require", nodes.Require, self._of(REQUIRE))),
            ("plugin contract", lambda: self._contract(place)),
            ("workflow", lambda: self._workflow(place)),
            ("parallel", lambda: self._parallel(place)),
            ("transaction", lambda: self._transaction(place)),
            ("on_error", lambda: self._on_error(place)),
            ("template", lambda: self._template_of_plugin(place)),
            ("manifest", lambda: self._manifest(place)),
        ]

    # ------------------------------------------------------------ blocks of entries

    def _of(self, rows: tuple[tuple[str, str, Any], ...]) -> Callable[[set[str]], Stated | None]:
        def make(seen: set[str]) -> Stated | None:
            text, key, value = self.one(rows)
            return None if key in seen else Stated(text, nodes.Entry(AT, key, value))

        return make

    def _meta(self, seen: set[str]) -> Stated | None:
        key = self.one(META)
        value = self.one((self.text, self.number))()
        return None if key in seen else Stated(f"{key}: {value.text}", nodes.Entry(AT, key, value.node))

    def _data_block(self, place: Place, head: str, kind: Any, make: Callable[[set[str]], Stated | None]) -> Stated:
        seen: set[str] = set()

        def entry(inner: Place) -> Stated:
            while (made := make(seen)) is None:
                pass
            seen.add(made.node.key)
            return made

        body = self.block(place, forms="colon colon brace inline", make=entry, kind="data")
        node = kind(AT, *([None] if kind is nodes.PluginContract else []), body.node.body)
        return Stated(self.closed(head + body.text, place.column, body.form), node, body.form == "brace")

    def _policy(self, place: Place) -> Stated:
        if self.chance(0.3):
            self.count("policy on one line")
            text, key, value = self.one(POLICY)
            return Stated(f"policy: {text}", nodes.Policy(AT, (nodes.Entry(AT, key, value),)))
        return self._data_block(place, "policy", nodes.Policy, self._of(POLICY))

    def _contract(self, place: Place) -> Stated:
        return self._data_block(place, "plugin_contract", nodes.PluginContract, self._of(CONTRACT))

    # ------------------------------------------------------------ workflow

    def _workflow(self, place: Place) -> Stated:
        column = place.column + self.one((2, 4))
        pad = "\n" + " " * column
        text, given, output = "", None, None
        if self.chance(0.6):
            text, given = f'{pad}input: "beans.csv"', nodes.Text(AT, "beans.csv")
        if self.chance(0.6):
            text, output = f"{text}{pad}output: cup", nodes.Name(AT, "cup", "symbol")
        inner = place.inner(column=column + self.one((0, 2, 4)))
        lines, steps = self.lines(inner, self._step, self.random.randint(1, 4))
        label = self.one((None, None, "brewing"))
        head = "workflow" if label is None else f"workflow {label}"
        node = nodes.Workflow(AT, label, given, output, tuple(steps))
        if self.chance(0.3):
            self.count("workflow with braces")
            return Stated(f"{head} {{{text}{pad}steps:{lines}\n}}", node)
        return Stated(f"{head}:{text}{pad}steps:{lines}", node, False)

    def _step(self, place: Place) -> Stated:
        """`- name as x retry=2 ..`."""
        if self.chance(0.5):
            call = self.small_call()
        else:
            word = self.one(("load_beans", "grind", "brew", "log", "remember"))
            call = Piece(word, nodes.Name(AT, word))
        text = f"- {call.text}"
        alias = retry = timeout = requires = condition = None
        if self.chance(0.4):
            self.count("step: as")
            text, alias = f"{text} as powder", "powder"
        if self.chance(0.3):
            self.count("step: retry")
            text, retry = f"{text} retry=2", nodes.Number(AT, 2, "2")
        if self.chance(0.3):
            self.count("step: timeout")
            text, timeout = f'{text} timeout="30s"', nodes.Text(AT, "30s")
        if self.chance(0.2):
            self.count("step: requires")
            text, requires = f'{text} requires=["plugin.call"]', nodes.ListExpr(AT, (nodes.Text(AT, "plugin.call"),))
        if self.chance(0.3):
            self.count("step: if")
            self.flat += 1
            found = self.condition()
            self.flat -= 1
            text, condition = f"{text} if {found.text}", found.node
        return Stated(text, nodes.WorkflowStep(AT, call.node, alias, retry, timeout, requires, condition), False)

    # ------------------------------------------------------------ parallel, transaction, on_error

    def _parallel(self, place: Place) -> Stated:
        names = ["level", "crew", "beans", "cups"]

        def branch(inner: Place) -> Stated:
            call = self.small_call() if inner.flat else self.dotted_call()
            if self.chance(0.3) and not inner.flat:
                self.count("parallel: a dash")
                return Stated(f"- {call.text}", nodes.ParallelBranch(AT, None, call.node), False)
            return Stated(f"{(name := names.pop())}: {call.text}", nodes.ParallelBranch(AT, name, call.node))

        body = self.block(place, forms="colon colon brace inline", make=branch, kind="data")
        node = nodes.Parallel(AT, body.node.body)  # type: ignore[arg-type]
        return Stated(self.closed("parallel" + body.text, place.column, body.form), node, body.form == "brace")

    def _transaction(self, place: Place) -> Stated:
        dashes = self.chance(0.5)

        def effect(inner: Place) -> Stated:
            if not dashes or inner.flat:
                return self.statement(inner)
            self.count("transaction: a dash")
            call = self.dotted_call()
            return Stated(f"- {call.text}", nodes.ExprStmt(AT, call.node), False)

        body = self.block(place, forms="colon brace inline", make=effect)
        node = nodes.Transaction(AT, body.node)
        return Stated(self.closed("transaction" + body.text, place.column, body.form), node, body.form == "brace")

    def _on_error(self, place: Place) -> Stated:
        def rule(inner: Place) -> Stated:
            head, types, pattern = self.one(
                (("PluginError", ("PluginError",), None), ("any", (), None), ('"offline"', (), "offline"),
                 ("[Timeout, NetworkError]", ("Timeout", "NetworkError"), None))
            )  # fmt: skip
            call = self.small_call()
            pad = "\n" + " " * (inner.column + 2)
            aside = self.one((pad, pad, "\n" + " " * inner.column))
            text, retry, then = f"- when: {head}{aside}do: {call.text}", None, None
            if self.chance(0.3):
                text, retry = f"{text}{aside}retry: 2", nodes.Number(AT, 2, "2")
            if self.chance(0.5):
                then = self.one(("continue", "stop", "rollback"))
                text = f"{text}{aside}then: {then}"
            self.count("on_error: rule")
            actions = (nodes.ExprStmt(AT, call.node),)
            return Stated(text, nodes.ErrorRule(AT, types, pattern, actions, retry, then), False)  # type: ignore[arg-type]

        if self.chance(0.2):
            self.count("on_error: a list of actions")
            call = self.small_call()
            pad = "\n" + " " * (place.column + 2)
            action = nodes.ErrorRule(AT, (), None, (nodes.ExprStmt(AT, call.node),), None, None)
            return Stated(f"on_error:{pad}- {call.text}", nodes.OnError(AT, (action,)), False)
        text, rules = self.lines(place.inner(column=place.column + 2), rule, self.random.randint(1, 3))
        return Stated(f"on_error:{text}", nodes.OnError(AT, tuple(rules)), False)

    # ------------------------------------------------------------ templates and manifests

    def _template_of_plugin(self, place: Place) -> Stated:
        base = " " * (place.column + 2)
        inner = " " * (place.column + 4)
        deep = " " * (place.column + 6)
        out = 'plugin "tea":'
        fields: list[nodes.Entry] = []
        trigger = feedback = goal = output = None
        constraints: tuple[nodes.Expr, ...] = ()
        retrieve: tuple[nodes.Entry, ...] = ()
        actions: tuple[nodes.Stmt, ...] = ()
        if self.chance(0.6):
            out += f'\n{base}description: "warns"'
            fields.append(nodes.Entry(AT, "description", nodes.Text(AT, "warns")))
        guard = None
        out += f"\n{base}trigger:\n{inner}schedule: daily at 06:00"
        if self.chance(0.5):
            self.count("template: guard")
            self.flat += 1
            found = self.condition()
            self.flat -= 1
            out, guard = f"{out}\n{inner}if {found.text}", found.node
        trigger = nodes.Trigger(AT, "daily at 06:00", None, guard)
        if self.chance(0.5):
            out += f"\n{base}memory:\n{inner}retrieve:\n{deep}from: notes\n{deep}limit: 5"
            five = nodes.Entry(AT, "limit", nodes.Number(AT, 5, "5"))
            retrieve = (nodes.Entry(AT, "from", nodes.Name(AT, "notes", "symbol")), five)
        if self.chance(0.6):
            out += f'\n{base}ai:\n{inner}goal: "find"\n{inner}constraints:\n{deep}- keep it short\n{inner}output: plan'
            goal, output = nodes.Text(AT, "find"), "plan"
            constraints = (nodes.Text(AT, "keep it short", True),)
        if self.chance(0.6):
            call = self.small_call()
            out, actions = f"{out}\n{base}actions:\n{inner}- {call.text}", (nodes.ExprStmt(AT, call.node),)
        if self.chance(0.4):
            self.count("template: feedback")
            call = self.small_call()
            out += f"\n{base}feedback:\n{inner}expect: reply from user within 2h"
            out += f"\n{inner}if no_response:\n{deep}{call.text}"
            silent = nodes.Block(AT, (nodes.ExprStmt(AT, call.node),))
            feedback = nodes.Feedback(AT, nodes.Text(AT, "reply from user within 2h", True), silent)
        template = nodes.Template(AT, trigger, retrieve, (), goal, None, constraints, output, actions, feedback)
        node = nodes.Plugin(AT, "plugin", "tea", tuple(fields), None, None, (), (), (), (), (), template)
        return Stated(out, node, False)

    def _manifest(self, place: Place) -> Stated:
        key = self.one(("steps", "initialize", "post_execution"))
        column = place.column + self.one((2, 2, 0))
        records, steps, out = [], [], f"{key}:"
        for _ in range(self.random.randint(1, 3)):
            text, record, step = self._record_of_step(" " * (column + 2))
            out += f"\n{' ' * column}- {text}"
            records.append(record)
            steps.append(step)
        return Stated(out, nodes.Manifest(AT, key, nodes.ListExpr(AT, tuple(records)), tuple(steps)), False)

    def _record_of_step(self, pad: str) -> tuple[str, nodes.Expr, nodes.ManifestStep]:
        self.count("manifest: step")
        action = self.one(("analyze", "report", "action"))
        word = self.one(("shelf", "look", "take"))
        call = nodes.Call(AT, nodes.Name(AT, word), (nodes.Arg(AT, nodes.Number(AT, 2, "2")),))
        subject, using = self.text(), Piece(f"{word}(2)", call)
        text = f"{action}: {subject.text}\n{pad}using: {using.text}"
        pairs: list[tuple[str, Any]] = [(action, subject.node), ("using", nodes.Text(AT, using.text))]
        output = condition = None
        if self.chance(0.5):
            output = "shelf_state"
            text = f"{text}\n{pad}output: {output}"
            pairs.append(("output", symbolic(nodes.Name(AT, output))))
        if self.chance(0.4):
            self.count("manifest: condition as text")
            text = f'{text}\n{pad}if: "n > 2"'
            pairs.append(("if", nodes.Text(AT, "n > 2")))
            condition = nodes.Compare(AT, (">",), (nodes.Name(AT, "n"), nodes.Number(AT, 2, "2")))
        record = nodes.DictExpr(AT, tuple(nodes.Pair(AT, nodes.Text(AT, key), value) for key, value in pairs))
        step = nodes.ManifestStep(
            AT, action, subject.node, using.node, None, output, condition, (), (), (), None, (), None, ()
        )
        return text, record, step


__all__ = ["Intents"]
