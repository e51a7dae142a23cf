"""The part of the compiler that makes verb statements: slots, guards, arrows, payloads; and the use of modules."""

import ast
import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from . import nodes
from .expressions import Frame, assign, call, const, load, locate
from .scopes import result_slot
from .statements import Statements


class Phrases(Statements):
    """Adds phrases and modules to statements."""

    def _guards(self, slots: tuple[Any, ...]) -> list[nodes.SlotGuard]:
        return [slot for slot in slots if isinstance(slot, nodes.SlotGuard) and slot.word != "where"]

    def _guarded(self, guards: list[nodes.SlotGuard], node: nodes.Node) -> contextlib.AbstractContextManager[None]:
        """What is emitted inside happens only when all guards hold."""
        return self._inside(guards, node)

    @contextlib.contextmanager
    def _inside(self, guards: list[nodes.SlotGuard], node: nodes.Node) -> Iterator[None]:
        with self._restored() if guards else contextlib.nullcontext():
            for guard in guards:
                if guard.condition is None:
                    continue
                test = self.expr(guard.condition)
                if guard.word == "unless":
                    test = ast.UnaryOp(ast.Not(), test)
                held = ast.If(test, [], [])
                self._put(held, guard)
                self.frame.out = held.body
            yield
            if guards and not self.frame.out:
                self._put(ast.Pass(), node)

    def _slots(self, phrase: nodes.VerbPhrase) -> ast.expr:
        """The slots as a list of (kind, name, value), evaluated in order."""
        result = result_slot(phrase)
        rows: list[tuple[str, str, Any]] = []
        for slot in phrase.slots:
            if isinstance(slot, nodes.SlotExpr):
                kind = "call" if isinstance(slot.value, nodes.Call | nodes.MethodCall) else "value"
                rows.append((kind, "", slot.value))
            elif isinstance(slot, nodes.SlotWord):
                rows.append(("word", "", nodes.Text(slot.span, slot.text)))
            elif isinstance(slot, nodes.SlotPrep) and slot.value is not result:
                rows.append(("prep", slot.prep, slot.value or nodes.Null(slot.span)))
            elif isinstance(slot, nodes.SlotKey):
                rows.append(("key", slot.key, slot.value))
            elif isinstance(slot, nodes.SlotGuard) and slot.word == "where" and slot.condition is not None:
                rows.append(("where", "", slot))
        for _, _, value in rows:
            self._keep(value)
        values = self.operands(*(value for _, _, value in rows))
        pieces: list[ast.expr] = [
            ast.Tuple([const(kind), const(name), value], ast.Load())
            for (kind, name, _), value in zip(rows, values, strict=True)
        ]
        return ast.List(pieces, ast.Load())

    def _slotguard(self, node: nodes.SlotGuard) -> ast.expr:
        """The condition of `where` as a function of the entry."""
        name = self.temp()
        scope = self.scopes.functions[id(node)]
        outer, self.frame = self.frame, Frame(scope, set(self.frame.assigned))
        self._enter(node)
        self.into(node.condition, lambda: ast.Return)
        frame, self.frame = self.frame, outer
        boxes = sorted(scope.boxes)
        arguments = ast.arguments(
            [],
            [ast.arg("@d"), ast.arg("@entry")],
            None,
            [ast.arg(b) for b in boxes],
            [load(b) for b in boxes],
            None,
            [],
        )
        self._put(ast.FunctionDef(name, arguments, frame.out, [], None), node)
        return load(name)

    def _verbphrase(self, node: nodes.VerbPhrase) -> ast.expr:
        result = self.temp()
        self._put(assign(result, const(None)), node)
        if node.verb:
            self._phrase(node, result, None, node)
        else:
            first = node.slots[0]
            assert isinstance(first, nodes.SlotExpr)
            self._call_phrase(first.value, node.slots[1:], result, node)
        return load(result)

    def _phrase(self, phrase: nodes.VerbPhrase, result: str, body: nodes.Block | None, node: nodes.Node) -> None:
        """Runs the verb into `result`, under its guards, and binds what the phrase binds."""
        from_block = body is not None and phrase.base in ("remember", "store", "emit", "run", "save")
        with self._guarded(self._guards(phrase.slots), node):
            payload = self._record(body, phrase) if from_block and body is not None else None
            if payload is not None:
                payload = self.kept(payload)
            done = self.verb(phrase.verb, phrase.base, self._slots(phrase), phrase.text, payload)
            self._put(assign(result, done), node)
            bound = result_slot(phrase)
            if bound is not None:
                self.assign_to(bound, load(result), node)
            for slot in phrase.slots:
                if isinstance(slot, nodes.SlotArrow):
                    self.assign_to(slot.target, load(result), node)
            if body is not None and not from_block:
                self.frame.out.extend(self._block(body))

    def _do_verbstmt(self, node: nodes.VerbStmt) -> None:
        if node.phrase.base == "simulate" and node.body is not None:
            self._simulation(node, node.body)
        else:
            self._phrase(node.phrase, self.temp(), node.body, node)

    @abstractmethod
    def _simulation(self, node: nodes.VerbStmt, body: nodes.Block) -> None:
        """`simulate x { .. }`: the block with mocks for its effects."""

    def _do_callstmt(self, node: nodes.CallStmt) -> None:
        self._call_phrase(node.call, node.slots, self.temp(), node)

    def _call_phrase(self, target: Any, slots: tuple[Any, ...], result: str, node: nodes.Node) -> None:
        """A call that goes on as a phrase, into `result`: prepositions and keys become keyword arguments."""
        with self._guarded(self._guards(slots), node):
            extra = [
                nodes.Arg(slot.span, slot.value, slot.prep if isinstance(slot, nodes.SlotPrep) else slot.key)
                for slot in slots
                if isinstance(slot, nodes.SlotPrep | nodes.SlotKey) and slot.value is not None
            ]
            if isinstance(target, nodes.Call):
                target = nodes.Call(target.span, target.function, (*target.args, *extra), target.safe, target.effect)
            elif isinstance(target, nodes.MethodCall):
                target = nodes.MethodCall(
                    target.span, target.receiver, target.method, (*target.args, *extra), target.safe, target.effect
                )
            self._keep(target)
            self._put(assign(result, self.expr(target)), node)
            for slot in slots:
                if isinstance(slot, nodes.SlotArrow):
                    self.assign_to(slot.target, load(result), node)

    def _do_arrowstmt(self, node: nodes.ArrowStmt) -> None:
        with self._guarded([node.guard] if node.guard is not None else [], node):
            value = self.expr(node.value)
            if node.target is not None:
                self.assign_to(node.target, value, node)
            else:
                self._put(ast.Expr(value), node)

    def _do_message(self, node: nodes.Message) -> None:
        with self._guarded(self._guards(node.phrase.slots), node):
            slots = self._slots(node.phrase)
            sent = call("@message", const(node.to), const(node.phrase.verb), slots, const(node.phrase.text))
            self._put(ast.Expr(sent), node)
            if node.body is not None:
                self.frame.out.extend(self._block(node.body))

    def _textphrase(self, node: nodes.TextPhrase) -> ast.expr:
        return const(node.text)

    def _barecomparison(self, node: nodes.BareComparison) -> ast.expr:
        return ast.Dict([const("op"), const("value")], [const(node.op), self.expr(node.value)])

    # ------------------------------------------------------------ records

    def _section_value(self, node: nodes.Section) -> ast.expr:
        """Entries and nested sections as a dict; what else stands in it runs in order."""
        self._hoist(node.body.body)
        return self._record(node.body, node)

    def _record(self, block: nodes.Block, node: nodes.Node) -> ast.expr:
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for statement in block.body:
            if isinstance(statement, nodes.Entry):
                keys.append(const(statement.key))
                values.append(self.kept(self._entry_value(statement)))
            elif isinstance(statement, nodes.Section):
                keys.append(const(statement.name))
                values.append(self.kept(self._section_value(statement)))
            elif isinstance(statement, nodes.HeaderFlag) and statement.value is not None:
                keys.append(const(statement.key))
                values.append(self.kept(self.expr(statement.value)))
            elif isinstance(statement, nodes.Assign) and isinstance(statement.target, nodes.Name) and statement.colon:
                self._statement(statement)
                keys.append(const(statement.target.name))
                values.append(self.kept(self.expr(statement.target)))
            elif not isinstance(statement, nodes.Function | nodes.Handler):
                self._statement(statement)
        for emitted in self.frame.out[-3:]:
            locate(emitted, node.span)
        return ast.Dict(keys, values)

    def _entry_value(self, entry: nodes.Entry) -> ast.expr:
        if entry.value is not None:
            return self.expr(entry.value)
        if entry.body is None:
            return const(None)
        items = [statement for statement in entry.body.body if isinstance(statement, nodes.Item)]
        if items and len(items) == len(entry.body.body):
            return self._items(items)
        return self._record(entry.body, entry)

    def _items(self, items: list[nodes.Item]) -> ast.expr:
        """The lines behind dashes as a list; one that is a whole statement runs in its place and is no element."""
        elements = [self._element(item) for item in items]
        return ast.List([element for element in elements if element is not None], ast.Load())

    def _element(self, item: nodes.Item) -> ast.expr | None:
        if isinstance(item.content, _NO_ELEMENTS) and item.body is None:
            self._statement(item.content)
            return None
        return self.kept(self._item_value(item))

    def _item_value(self, item: nodes.Item) -> ast.expr:
        """A line behind a dash as data: an expression, a record, prose as its text, a phrase as what it gives."""
        content, body = item.content, item.body
        if isinstance(content, nodes.Entry) and content.key:
            return self._record(nodes.Block(item.span, (content, *(body.body if body is not None else ()))), item)
        if body is not None and content is None:
            items = [statement for statement in body.body if isinstance(statement, nodes.Item)]
            return self._items(items) if len(items) == len(body.body) else self._record(body, item)
        if body is not None:
            raise self._refuse(item, "AE125", "in data an item has a value or deeper lines, not both")
        if content is None:
            return const(None)
        if isinstance(content, nodes.ExprStmt):
            return self.expr(content.value)
        if isinstance(content, nodes.Entry) and content.value is not None:
            return self.expr(content.value)
        if isinstance(content, nodes.Item):
            return self._items([content])
        if isinstance(content, nodes.VerbStmt) and content.body is None:
            return const(f"{content.phrase.verb} {content.phrase.text}".strip())
        result = self.temp()
        self._put(assign(result, const(None)), item)
        if isinstance(content, nodes.CallStmt):
            self._call_phrase(content.call, content.slots, result, content)
        elif isinstance(content, nodes.ArrowStmt):
            with self._guarded([content.guard] if content.guard is not None else [], content):
                self._put(assign(result, self.expr(content.value)), content)
                if content.target is not None:
                    self.assign_to(content.target, load(result), content)
        else:
            raise self._refuse(item, "AE125", "a value is expected in data")
        return load(result)

    # ------------------------------------------------------------ modules

    def _do_use(self, node: nodes.Use) -> None:
        self.assign_to(nodes.Name(node.span, node.name), call("@module", const(node.path)), node)

    def _do_fromimport(self, node: nodes.FromImport) -> None:
        for name in node.names:
            self.assign_to(nodes.Name(node.span, name), call("@imported", const(node.path), const(name)), node)


_NO_ELEMENTS = (
    nodes.If, nodes.For, nodes.While, nodes.Match, nodes.Try, nodes.Assign, nodes.Wait, nodes.AwaitValues,
    nodes.AwaitEvent, nodes.Throw, nodes.Return, nodes.Break, nodes.Continue, nodes.Use, nodes.FromImport,
)  # fmt: skip
"""Statements that a list of data may hold and that are none of its elements."""
