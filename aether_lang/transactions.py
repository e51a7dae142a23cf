"""Transactions at run time: effects are kept back until the end of the block, and then happen together (12.6).

What is staged is seen by the job alone, through `Scratch`. What is deferred is told after the commit. What can only be
compensated happens at once, and its compensation is kept; what can be neither is refused.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from .branches import Branches
from .host import BEHIND_THE_LANGUAGE, EFFECTS, PLUGIN_CALLS, Host, Layer, called
from .values import Halt, Place, ScriptError

MOST_EFFECTS: Final = 10_000
"""How many effects one transaction may keep back."""
_ASKED_EACH_TIME: Final = frozenset({"event.emit", "ui.notify", "intent.act", "agent.message", "schedule.write"})
"""Capabilities whose object the right depends on."""


class Room(Protocol):
    """What transactions ask of the runtime."""

    name: str
    host: Host
    outputs: dict[str, Any]
    branches: Branches

    def place(self) -> Place:
        """Where the script stands."""

    def write_log(self, level: str, message: str) -> None:
        """One record of the job's log."""


class Mark(NamedTuple):
    """Where a transaction stood when a block inside it began."""

    scratch: Any
    deferred: int
    compensations: int
    effects: int
    branches: int
    outermost: bool


class Staged(Layer):
    """The host inside a transaction."""

    def __init__(self, base: Host, token: str, script: str, *, all_or_nothing: bool) -> None:
        """`all_or_nothing` refuses what could not be taken back."""
        from .scratch import Scratch  # only transactions and mocks need it

        super().__init__(base)
        self.token = token
        self.effects = 0
        self.deferred: list[dict[str, Any]] = []
        self.compensations: list[tuple[str, Any]] = []
        self._strict = all_or_nothing
        self._permitted: set[str] = set()
        self._place: Place = ("", 0, 0, "")
        self.scratch = Scratch(self._read, self._now, self._new_id, source=f"script:{script}")

    def _read(self, operation: str, args: dict[str, Any]) -> Any:
        capability = "goal.read" if operation.startswith("goal.") else "memory.read"
        return self.base.call(capability, operation, args, self._place)

    def _now(self) -> float:
        return float(self.base.call("time.read", "time.now", {}, self._place))

    def _new_id(self) -> str:
        return str(self.base.call("random.read", "random.uuid", {}, self._place))

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """One operation: passed on, kept back, or refused."""
        self._place = position
        effect = EFFECTS.get(capability, "free")
        if self.scratch.handles(operation):
            if effect == "staged":
                self._count(capability, operation, args)
            return self.scratch.serve(operation, args)
        if effect in ("free", "read") or operation == "http.get":
            return self.base.call(capability, operation, args, position)
        if operation in PLUGIN_CALLS:
            return self._function(capability, operation, args)
        if effect in ("staged", "deferred"):
            self._count(capability, operation, args)
            self.deferred.append({"operation": operation, "args": args})
            return _expected(operation, args)
        return self._once(capability, operation, args, operation)

    def _count(self, capability: str, operation: str, args: dict[str, Any]) -> None:
        """Asks for the right now, since a refusal at the commit would come too late to be understood."""
        if self.effects >= MOST_EFFECTS:
            raise ScriptError("TransactionError", f"a transaction keeps back at most {MOST_EFFECTS} effects")
        if capability in _ASKED_EACH_TIME or capability not in self._permitted:
            row = BEHIND_THE_LANGUAGE["permit"]
            self.base.call(row.capability, row.operation, {"operation": operation, "args": args}, self._place)
            self._permitted.add(capability)
        self.effects += 1

    def _function(self, capability: str, operation: str, args: dict[str, Any]) -> Any:
        name = called(args)
        row = BEHIND_THE_LANGUAGE["function_effect"]
        about = self.base.call(row.capability, row.operation, {"name": name}, self._place)
        effect, undo = about.get("effect"), about.get("undo")
        if effect in ("free", "read"):
            return self.base.call(capability, operation, args, self._place)
        if effect == "compensable" and undo:
            result = self.base.call(capability, operation, args, self._place)
            self.effects += 1
            self.compensations.append((undo, result))
            return result
        return self._once(capability, operation, args, f"'{name}'")

    def _once(self, capability: str, operation: str, args: dict[str, Any], what: str) -> Any:
        if self._strict:
            raise ScriptError(
                "TransactionError",
                f"{what} cannot be taken back, so it cannot stand in a transaction; call it behind the block",
                {"operation": operation, "capability": capability},
            )
        return self.base.call(capability, operation, args, self._place)


def _expected(operation: str, args: dict[str, Any]) -> Any:
    """What a script gets for an effect that is yet to happen."""
    if operation == "event.emit":
        return 1
    return {**args, "status": "recorded"} if operation == "intent.record" else None


class Transactions:
    """The transactions of one run."""

    def __init__(self, room: Room) -> None:
        """None is open."""
        self._room = room
        self._begun = 0
        self._committed: dict[str, list[tuple[str, Any]]] = {}
        self._whole: Mark | None = None

    def begin(self, *, all_or_nothing: bool = True) -> Mark:
        """Opens a transaction, or a part of the one that is open already."""
        staged = self._room.host
        if isinstance(staged, Staged):
            marked = staged.scratch.mark()
            counts = len(staged.deferred), len(staged.compensations), staged.effects
            return Mark(marked, *counts, self._room.branches.mark(), False)
        self._begun += 1
        self._room.host = Staged(staged, f"tx-{self._begun}", self._room.name, all_or_nothing=all_or_nothing)
        return Mark(None, 0, 0, 0, self._room.branches.mark(), True)

    def commit(self, mark: Mark) -> None:
        """The end of a block that was not discarded: of the outermost one, what was kept back happens."""
        staged = self._room.host
        if not isinstance(staged, Staged):
            return  # discarded
        try:
            self._room.branches.join(mark.branches)
            if mark.outermost:
                self._carry_out(staged)
        except (Halt, Exception):
            self.discard(mark)
            raise
        effects = staged.effects - mark.effects
        self._room.outputs["transaction"] = {"token": staged.token, "effects": effects}
        if mark.outermost:
            self._room.host = staged.base

    def _carry_out(self, staged: Staged) -> None:
        changes = staged.scratch.changes()
        kept = bool(staged.deferred or any(changes.values()))
        if kept:
            row = BEHIND_THE_LANGUAGE["commit"]
            request = {"token": staged.token, "changes": changes, "deferred": staged.deferred}
            staged.base.call(row.capability, row.operation, request, self._room.place())
        self._committed[staged.token] = [*staged.compensations, *([("", None)] if kept else [])]

    def discard(self, mark: Mark) -> None:
        """Forgets what was kept back since the mark, and compensates the rest, last first."""
        staged = self._room.host
        if not isinstance(staged, Staged):
            return
        undone = staged.compensations[mark.compensations :][::-1]
        if mark.outermost:
            self._room.host = staged.base
        else:
            staged.scratch.reset(mark.scratch)
            del staged.deferred[mark.deferred :], staged.compensations[mark.compensations :]
            staged.effects = mark.effects
        self._compensate(undone)

    def _compensate(self, undone: list[tuple[str, Any]]) -> bool:
        host, whole = self._room.host, True
        base = host.base if isinstance(host, Staged) else host
        for name, result in undone:
            try:
                base.call("plugin.call", "plugin.call", {"name": name, "args": [result]}, self._room.place())
            except ScriptError as error:
                whole = False
                self._room.write_log("error", f"the compensation {name} failed: {error.message}")
        return whole

    def rollback(self, token: Any) -> bool:
        """Takes back a committed transaction of this run, once; false for a token that names none, and where a part of
        it could not be taken back. What was told stays told."""
        steps = self._committed.pop(token, None) if type(token) is str else None
        if steps is None:
            return False
        host = self._room.host
        base = host.base if isinstance(host, Staged) else host
        whole = True
        if steps and steps[-1][0] == "":
            row = BEHIND_THE_LANGUAGE["undo"]
            whole = bool(base.call(row.capability, row.operation, {"token": token}, self._room.place()))
        return self._compensate([step for step in steps if step[0]][::-1]) and whole

    # ------------------------------------------------------------ a job that is one transaction

    def begin_job(self) -> None:
        """From here on the whole job is a transaction, in which what cannot be taken back may happen all the same."""
        self._whole = self.begin(all_or_nothing=False)

    def end_job(self, failed: bool) -> None:
        """The end of a job that is a transaction."""
        if self._whole is not None:
            mark, self._whole = self._whole, None
            if failed:
                self.discard(mark)
            else:
                self.commit(mark)
