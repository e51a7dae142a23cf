"""What is kept at every call of a plugin: its contract in the script, and what its own block allows (11.2, 12.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from .budget import Budget
from .host import EFFECTS
from .stdlib.schemas import validate_schema
from .stdlib.times import seconds
from .values import Place, ScriptError

_READS: Final = frozenset({"memory.read"})
_WRITES: Final = frozenset({"memory.write"})
_ACCESS: Final[Mapping[Any, frozenset[str]]] = {
    "none": _READS | _WRITES,
    "read-only": _WRITES,
    "write-only": _READS,
    "read-write": frozenset(),
}
"""What each `memory_access` keeps a plugin block from."""


class Room(Protocol):
    """What boundaries ask of the runtime."""

    policy: dict[str, Any]
    budget: Budget

    def spend(self, steps: int) -> None:
        """Charges steps at once."""

    def warn(self, code: str, message: str) -> None:
        """A warning, once per place."""

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def require_capabilities(self, wanted: Sequence[str]) -> None:
        """PermissionError for one that the run does not have."""


class _Answered(Exception):
    """The call itself failed and says so: there is no result to look at."""


class Contracts:
    """The contracts of a script with plugins."""

    def __init__(self, room: Room, contracts: Sequence[Mapping[str, Any]]) -> None:
        """Each contract is the entries of its block, `id` among them."""
        self._room = room
        self.all = contracts
        self._by_id = {str(contract.get("id")): contract for contract in contracts}
        self._full: dict[str, str] = {}
        self._asked: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any call has to be looked at."""
        return bool(self._by_id) or self._room.policy.get("deterministic") is True

    def kept(self, name: str, args: list[Any], kwargs: dict[str, Any], call: Callable[[], Any]) -> Any:
        """The result of the call, once the contract of the plugin holds for arguments and result."""
        full = name if "." in name else self._full_name(name)
        contract = self._by_id.get(full) or self._by_id.get(full.partition(".")[0])
        self._deterministic(full, contract)
        if contract is None:
            return call()
        if contract.get("permissions") and full not in self._asked:
            self._room.require_capabilities([str(one) for one in contract["permissions"]])
            self._asked.add(full)
        schema = contract.get("input_schema")
        if schema is not None:
            self._check(full, "input", _as_input(schema, args, kwargs), schema)
        if contract.get("timeout") is None:
            result = call()
        else:
            with self._room.budget.within(seconds(contract["timeout"])):
                result = call()
        if contract.get("output_schema") is not None:
            self._check(full, "output", result, contract["output_schema"])
        return result

    def tried(self, name: str, args: list[Any], kwargs: dict[str, Any], call: Callable[[], Any]) -> Any:
        """The answer of `call_plugin`, which never raises: a breach of the contract is part of it."""
        answer: dict[str, Any] = {}

        def data() -> Any:
            answer.update(call())
            if answer.get("success") is not True:
                raise _Answered
            return answer.get("data")

        try:
            self.kept(name, args, kwargs, data)
        except _Answered:
            pass
        except ScriptError as error:
            return {"success": False, "data": None, "error": error.message}
        return answer

    def _full_name(self, name: str) -> str:
        if name not in self._full:
            about = self._room.serve("function_effect", {"name": name})
            self._full[name] = str(about.get("name") or name)
        return self._full[name]

    def _deterministic(self, name: str, contract: Mapping[str, Any] | None) -> None:
        policy = self._room.policy
        if policy.get("deterministic") is not True or policy.get("mock_io") is True:
            return
        if contract is None or contract.get("deterministic") is not True or contract.get("side_effects") is not False:
            raise ScriptError(
                "ContractError",
                f"a deterministic run calls '{name}' only with a contract that says `deterministic: true` and "
                "`side_effects: false`",
                {"plugin": name},
            )

    def _check(self, name: str, side: str, value: Any, schema: Any) -> None:
        found = validate_schema(self._room, value, schema)  # type: ignore[arg-type]
        if not found["valid"]:
            first = found["errors"][0]
            pointer = first["path"] or "/"
            message = f"the {side} of '{name}' breaks its contract at {pointer}: {first['message']}"
            raise ScriptError("ContractError", message, {"plugin": name, "side": side, "pointer": pointer})


def _as_input(schema: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The arguments as one value: positional ones take the names of the properties in their order. A dict alone whose
    keys are all properties is the input itself, and so is a single argument where the schema wants no object."""
    properties = list(schema.get("properties") or {}) if isinstance(schema, dict) else []
    wanted = schema.get("type", "object") if isinstance(schema, dict) else "object"
    if len(args) == 1 and not kwargs:
        only = args[0]
        if "object" not in (wanted if isinstance(wanted, list) else [wanted]):
            return only
        if type(only) is dict and (not properties or set(only) <= set(properties)):
            return only
    named = dict(zip(properties, args, strict=False))
    extra = {str(n): value for n, value in enumerate(args) if n >= len(properties)}
    return {**named, **extra, **kwargs}


class Block(NamedTuple):
    """The lines of a plugin block, and what it allows its code."""

    first: int
    last: int
    name: str
    memory_access: str | None
    capabilities: frozenset[str] | None


class Narrowing:
    """What plugin blocks allow their own code."""

    def __init__(self, room: Room) -> None:
        """Nothing is narrowed yet."""
        self._room = room
        self._blocks: dict[str, list[Block]] = {}
        self._told: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        """Whether any call has to be looked at."""
        return bool(self._blocks)

    def add(self, file: str, plugins: Sequence[Mapping[str, Any]]) -> None:
        """The plugin blocks of a module, as its compiled form tells of them."""
        for plugin in plugins:
            fields = plugin.get("fields", {})
            access, listed = fields.get("memory_access"), fields.get("capabilities")
            if access is not None or listed is not None:
                allowed = None if listed is None else frozenset(listed if isinstance(listed, list) else [listed])
                block = Block(plugin["line"], plugin["end_line"], plugin["name"], access, allowed)
                self._blocks.setdefault(file, []).append(block)

    def check(self, capability: str, place: Place) -> None:
        """PermissionError where a list of capabilities, or with `strict` the access to memory, leaves it out."""
        for block in self._blocks.get(place[0], ()):
            if block.first <= place[1] <= block.last:
                self._within(block, capability)

    def _within(self, block: Block, capability: str) -> None:
        listed = block.capabilities
        if listed is not None and capability not in listed and EFFECTS.get(capability, "free") != "free":
            raise ScriptError(
                "PermissionError",
                f"missing capability: {capability} (plugin '{block.name}' lists its capabilities, and this is none)",
                {"capability": capability, "plugin": block.name},
            )
        if block.memory_access is None or capability not in _ACCESS.get(block.memory_access, frozenset()):
            return
        message = f"plugin '{block.name}' says memory_access: {block.memory_access} and uses {capability}"
        if self._room.policy.get("strict") is True:
            raise ScriptError("PermissionError", message, {"capability": capability, "plugin": block.name})
        if (block.name, capability) not in self._told:
            self._told.add((block.name, capability))
            self._room.warn("AW306", message)
            request = {"plugin": block.name, "declared": block.memory_access, "capability": capability}
            self._room.serve("breach", request)
