"""Scratch memory: what a run has written and nobody else sees yet, over what everybody sees.

A transaction holds its writes back in one until it commits; a mock run writes to nothing else.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from .overlay import Overlay, State
from .refusals import Impossible, Refused
from .remembered import Bounds
from .requests import Misfit
from .scratch_entries import Base, ScratchEntries
from .scratch_goals import ScratchGoals
from .values import ScriptError, copied

Named = dict[str, Any]
Mark = tuple[State, State]


class Scratch:
    """Memory entries, collections and goals as one run sees them."""

    def __init__(
        self,
        base: Base | None,
        now: Callable[[], float],
        new_id: Callable[[], str],
        *,
        ranked: bool = False,
        source: str | None = None,
        bounds: Bounds | None = None,
        most_mb: float = 64,
    ) -> None:
        """`base(operation, args)` answers reads for everybody (None: there is nothing), `now` is in seconds since 1970,
        `new_id` gives ids that nothing has. `ranked`: recall by words sees the run's own entries too, those first that
        have most of the words. `source` is who writes. `most_mb` bounds what is held back; beyond it is a LimitError.
        """
        bounds = Bounds() if bounds is None else bounds
        self._entries = ScratchEntries(base, now, new_id, ranked=ranked, source=source, bounds=bounds, most_mb=most_mb)
        self._goals = ScratchGoals(base, now, new_id, bounds=bounds, most_mb=most_mb)

    @staticmethod
    def handles(operation: str) -> bool:
        """Tell whether this is an operation on memory, collections or goals."""
        return operation in _TABLE

    def serve(self, operation: str, args: Named) -> Any:
        """Carry out an operation; answer and errors (`ScriptError`) are those of the hub. The answer is a copy."""
        method = _TABLE[operation]
        owner = self._goals if operation.startswith("goal.") else self._entries
        try:
            return copied(method(owner, **_bound(operation, method, copied(args))))
        except Refused as refused:
            field = refused.details.get("field")
            raise ScriptError("ValueError", refused.message, field and {"field": field}) from None
        except Impossible as impossible:
            raise ScriptError("MemoryStoreError", impossible.message) from None
        except Misfit as misfit:
            raise ScriptError("TypeError", str(misfit)) from None

    def changes(self) -> dict[str, list[Any]]:
        """Return what a commit must write, in order: whole `entries` and `goals` (each in the place of the one with its
        id), and the ids of the entries that are `deleted`."""
        return copied(  # type: ignore[no-any-return]
            {
                "entries": list(self._entries.records.own()),
                "deleted": self._entries.records.gone(),
                "goals": list(self._goals.records.own()),
            }
        )

    def write(self, changes: Named) -> Named:
        """Carry out changes such as `changes` gives, and return those that put back what was before: then there are
        the ids of goals that are `gone`, too."""
        entries, goals = self._entries.records, self._goals.records
        kept, deleted = _written(entries, changes.get("entries") or [], changes.get("deleted") or [])
        before, gone = _written(goals, changes.get("goals") or [], changes.get("gone") or [])
        return {"entries": kept, "deleted": deleted, "goals": before, "gone": gone}

    def mark(self) -> Mark:
        """Return the state as it is now, for `reset`."""
        return self._entries.records.mark(), self._goals.records.mark()

    def reset(self, mark: Mark) -> None:
        """Go back to an earlier state."""
        self._entries.records.reset(mark[0])
        self._goals.records.reset(mark[1])


def _written(records: Overlay, put: list[Named], dropped: list[str]) -> tuple[list[Named], list[str]]:
    """Put and drop records; return those to put and the ids to drop that take it back."""
    before = {identity: records.get(identity) for identity in [*dropped, *(record["id"] for record in put)]}
    for identity in dropped:
        records.drop(identity)
    for record in put:
        records.put(copied(record), len(msgspec.json.encode(record)))
    there = [copied(record) for record in before.values() if record is not None]
    return there, [identity for identity, record in before.items() if record is None]


def _bound(operation: str, method: Callable[..., Any], args: Named) -> Named:
    """Return the arguments, once their types are checked."""
    struct = _STRUCTS.get(operation)
    if struct is None:
        struct = _STRUCTS[operation] = _struct(method)
    try:
        filled = msgspec.convert(args, struct)
    except msgspec.ValidationError as error:
        raise ScriptError("TypeError", f"{operation}: {error}") from None
    return {name: getattr(filled, name) for name in struct.__struct_fields__}


def _struct(method: Callable[..., Any]) -> type[msgspec.Struct]:
    """The parameters of a method as a type; `with_` stands for the argument `with`."""
    code, defaults = method.__code__, method.__defaults__ or ()
    names = code.co_varnames[1 : code.co_argcount]
    first = len(names) - len(defaults)
    fields: list[Any] = [
        (name, method.__annotations__[name], *([defaults[at - first]] if at >= first else []))
        for at, name in enumerate(names)
    ]
    return msgspec.defstruct(
        code.co_name, fields, rename={name: name.rstrip("_") for name in names}, forbid_unknown_fields=True
    )


_STRUCTS: dict[str, type[msgspec.Struct]] = {}

_TABLE: Final[dict[str, Callable[..., Any]]] = {
    "memory.remember": ScratchEntries.remember,
    "memory.store": ScratchEntries.store,
    "memory.put": ScratchEntries.put,
    "memory.update": ScratchEntries.update,
    "memory.delete": ScratchEntries.delete,
    "memory.archive": ScratchEntries.archive,
    "memory.tag": ScratchEntries.tag,
    "memory.learn": ScratchEntries.learn,
    "memory.forget": ScratchEntries.forget,
    "memory.search": ScratchEntries.search,
    "memory.search_one": ScratchEntries.search_one,
    "memory.get": ScratchEntries.get,
    "memory.load": ScratchEntries.load,
    "memory.logs": ScratchEntries.logs,
    "memory.tagged": ScratchEntries.tagged,
    "memory.query": ScratchEntries.query,
    "memory.recall": ScratchEntries.recall,
    "memory.pattern": ScratchEntries.pattern,
    "memory.statistics": ScratchEntries.statistics,
    "memory.count": ScratchEntries.count,
    "collection.store": ScratchEntries.collect,
    "collection.append": ScratchEntries.collect,
    "collection.has": ScratchEntries.has,
    "collection.remove": ScratchEntries.remove,
    "collection.clear": ScratchEntries.clear,
    "collection.update": ScratchEntries.change,
    "goal.all": ScratchGoals.all,
    "goal.active": ScratchGoals.active,
    "goal.count_active": ScratchGoals.count_active,
    "goal.status": ScratchGoals.statistics,
    "goal.set": ScratchGoals.set,
    "goal.update": ScratchGoals.update,
    "goal.declare": ScratchGoals.declare,
    "goal.finish": ScratchGoals.finish,
    "goal.check": ScratchGoals.check,
}
