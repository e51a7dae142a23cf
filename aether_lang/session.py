"""Entries that are run one after another in one run, each with what those before it have bound (`aether repl`).

The names of a session are the variables of a function around each entry. Every entry gets the very cells of those
before it, so a function sees what a later entry assigns, as it would within one script.
"""

from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from .boundaries import Contracts
from .budget import Budget
from .compiled import Compiled
from .host import Host
from .program import Outcome, ended, room_for_calls
from .runtime import Runtime
from .units import Unit
from .values import Halt, ScriptError, StopExecution


class Session:
    """One run that goes on as long as there are entries. Its budget is renewed for each."""

    def __init__(self, host: Host, budget: Budget, name: str = "session") -> None:
        """`budget` is what each entry may use."""
        self.budget = budget
        self.names: dict[str, tuple[bool, bool]] = {}
        self._cells: dict[str, CellType] = {}
        self._rt = Runtime(host, self.budget, name=name)
        self._contracts: list[Mapping[str, Any]] = []

    def run(self, code: bytes, shows: str = "value") -> Outcome:
        """Run an entry that `front.compiled_entry` made with the names of this session; its result is what it shows.

        Never raises for what the entry does; what it bound before it failed is kept.
        """
        program = Compiled(code)
        self.budget.renew()
        if program.meta["policy"]:
            error = ScriptError("ValueError", "`policy:` stands in a script; an entry cannot change what is under way")
            return ended(self._rt, None, error)
        if program.meta["contracts"]:
            self._contracts += program.meta["contracts"]
            self._rt.contracts = Contracts(self._rt, self._contracts)
        unit = self._rt.main = _Entry(self._rt, program, self._cells)
        result, failure = None, None
        with room_for_calls(self.budget):
            try:
                result = unit.run(self.budget.depth)
                self._rt.delays.finish()
                self._rt.branches.join()
            except StopExecution as stop:
                result = stop.message or None
            except (Halt, Exception) as error:
                failure = error
            self._keep(unit, program.meta["session"])
            if shows != "value":
                result = self._rt.outputs.get(shows) if shows else None
            return ended(self._rt, self._shown(result), failure)

    def _shown(self, value: Any) -> Any:
        """The value as text, null for null: what an entry gives need not be data."""
        from .values import text  # the name stands for many things above

        return None if value is None else text(value)

    def _keep(self, unit: Unit, names: Mapping[str, tuple[bool, bool]]) -> None:
        for name, read in unit.members.items():
            cell = _cell_of(read)
            if cell is not None and _is_set(cell):
                self._cells[name] = cell
        self.names = {name: (known[0], known[1]) for name, known in names.items() if name in self._cells}

    def value(self, name: str) -> Any:
        """What a name of the session holds, as text."""
        return self._shown(self._cells[name].cell_contents) or "null"

    def close(self) -> None:
        """The end: plugin blocks clean up."""
        self.budget.renew()
        for cleanup in reversed(self._rt.cleanups):
            cleanup()


class _Entry(Unit):
    """A module whose top level has the cells of the session."""

    def __init__(self, rt: Runtime, compiled: Compiled, cells: Mapping[str, CellType]) -> None:
        super().__init__(rt, compiled)
        self._cells = cells

    def main(self, namespace: dict[str, Any]) -> Callable[[Any], Any]:
        """The entry as a function over the cells."""
        around = next(one for one in self.compiled.code.co_consts if isinstance(one, CodeType))
        code = next(one for one in around.co_consts if isinstance(one, CodeType) and one.co_name == "@entry")
        closure = tuple(self._cells[name.removeprefix("v_")] for name in code.co_freevars)
        return FunctionType(code, namespace, "@main", None, closure)


def _cell_of(read: Any) -> CellType | None:
    """The cell that a reader of a name reads."""
    names = zip(read.__code__.co_freevars, read.__closure__ or (), strict=True)
    return next((cell for name, cell in names if name.startswith("v_")), None)


def _is_set(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  reading raises when there is nothing
    except ValueError:
        return False
    return True
