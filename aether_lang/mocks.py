"""Mock providers: a host that answers every effect and has none (section 18.4).

Memory and goals go to a scratch copy, files to a dict, plugins answer by their contract, models by a fixed text, the
network is refused; what would tell somebody something is only kept. `effects` has it all in order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from .describing import described
from .determinism import FixedHost
from .host import BEHIND_THE_LANGUAGE, EFFECTS, FUNCTIONS, Host, Layer, called
from .samples import sample
from .scratch import Scratch
from .values import Place, ScriptError, copied, limit_error

Named = dict[str, Any]

AI_TEXT: Final = "This is a mock answer: no model was asked."
AI_TOLD: Final[dict[str, Any]] = {"ai.anomalies": [], "ai.confidence": 0.5}
"""What is no text among the answers of models."""
MOST_MB: Final = 64
"""Bound of the scratch files, and of the scratch memory."""
CALLS: Final = {"host_calls": 10_000, "ai_calls": 50}
"""Bounds of the calls, as shipped; those of class free do not count."""


class Effect(msgspec.Struct, frozen=True):
    """A call of the host: what it was, where it stands in the script, and what it would have done.

    `effect` is its class (18.3); `line` is 0 for a call that stands in no line.
    """

    operation: str
    capability: str
    args: dict[str, Any]
    line: int
    would: str
    effect: str

    @property
    def matters(self) -> bool:
        """True for a call that would change something, tell somebody or cost something."""
        return self.effect not in ("free", "read") or self.capability == "ai.call"


class Mocks(Layer):
    """Answers for every operation. What is of class free is left to the host beneath."""

    overlaps: bool = False

    def __init__(
        self,
        base: Host,
        *,
        reads: bool = False,
        contracts: Sequence[Mapping[str, Any]] = (),
        limits: Mapping[str, Any] | None = None,
        source: str | None = None,
        noted: Callable[[Effect], None] = lambda _: None,
    ) -> None:
        """`reads`: the host beneath answers reads too, so memory, goals and plugins are seen as they are. `contracts`
        are those of the script. `limits` may have other values for `host_calls` and `ai_calls`. `source` is who writes
        to memory; `noted` is told of each call that is kept."""
        super().__init__(base)
        self.overlaps = False
        self.calls: list[Effect] = []
        self.files: dict[str, str] = {}
        self._reads = reads
        self._noted = noted
        self._contracts = {str(contract.get("id")): contract for contract in contracts}
        self._most = {name: int((limits or {}).get(name, most)) for name, most in CALLS.items()}
        self._used = dict.fromkeys(CALLS, 0)
        self._place: Place = ("", 0, 0, "")
        self._file_bytes = 0
        self._states: dict[str, Any] = {}
        self._story: list[str] = []
        self._undo: dict[str, Named] = {}
        self._told: set[str] = set()
        read = self._beneath if reads else None
        self.scratch = Scratch(read, self._now, self._new_id, ranked=True, source=source, most_mb=MOST_MB)

    @property
    def effects(self) -> list[Effect]:
        """The calls that would have had an effect or cost something, in order."""
        return [call for call in self.calls if call.matters]

    def _now(self) -> float:
        return float(self.base.call("time.read", "time.now", {}, self._place))

    def _new_id(self) -> str:
        return str(self.base.call("random.read", "random.uuid", {}, self._place))

    def _beneath(self, operation: str, args: Named) -> Any:
        capability = "goal.read" if operation.startswith("goal.") else "memory.read"
        return self.base.call(capability, operation, args, self._place)

    # Calls -------------------------------------------------------------------------------------------------------

    def call(self, capability: str, operation: str, args: Named, position: Place) -> Any:
        """One operation, answered without its effect."""
        self._place = position
        effect = EFFECTS.get(capability, "irreversible")
        own = _OWN.get(operation)
        if effect == "free" and own is None:
            return self.base.call(capability, operation, args, position)
        if effect != "free" and operation not in _QUESTIONS:
            self._note(capability, operation, args, effect)
        if self.scratch.handles(operation):
            return self.scratch.serve(operation, args)
        if own is not None:
            return own(self, args)
        if operation.startswith("ai."):
            return copied(AI_TOLD.get(operation, AI_TEXT))
        if effect == "read" and self._reads:
            return self.base.call(capability, operation, args, position)
        if operation in _ANSWERS:
            return copied(_ANSWERS[operation])
        self._warn(f"{operation} has no mock: its answer is null")
        return None

    def _note(self, capability: str, operation: str, args: Named, effect: str) -> None:
        for name in ("host_calls", "ai_calls") if capability == "ai.call" else ("host_calls",):
            if self._used[name] >= self._most[name]:
                raise limit_error(name, self._most[name], "the script made too many calls")
            self._used[name] += 1
        would = described(operation, args)
        call = Effect(operation, capability, copied(args), self._place[1], would, effect)
        self.calls.append(call)
        self._noted(call)

    def _warn(self, message: str) -> None:
        """Once for each message."""
        if message not in self._told:
            self._told.add(message)
            self.log("warning", f"mock: {message}", self._place)

    # Plugins -----------------------------------------------------------------------------------------------------

    def _function(self, args: Named) -> Any:
        name = called(args)
        contract = self._contracts.get(name) or self._contracts.get(name.partition(".")[0])
        schema = None if contract is None else contract.get("output_schema")
        if schema is None and self._reads:
            about = self.base.call("plugin.read", "plugin.effect", {"name": name}, self._place)
            schema = about.get("output")
        if not schema:
            self._warn(
                f"nothing says what {name} answers: its mock is null; a plugin_contract with output_schema would"
            )
        return sample(schema)

    def _tried(self, args: Named) -> Named:
        return {"success": True, "data": self._function(args), "error": None}

    def _effect(self, args: Named) -> Any:
        if self._reads:
            return self.base.call("plugin.read", "plugin.effect", args, self._place)
        # As if it could be taken back: a transaction is to be tried, not refused.
        return {"name": args.get("name"), "effect": "read", "undo": None}

    def _exists(self, args: Named) -> Any:
        name = str(args.get("name") or "")
        if name.partition(".")[0] in self._contracts:
            return True
        return self._reads and self.base.call("plugin.read", "plugin.exists", args, self._place)

    def _has_function(self, args: Named) -> Any:
        plugin, name = args.get("plugin"), args.get("name")
        owner = plugin.get("name") if isinstance(plugin, dict) else plugin
        if f"{owner}.{name}" in self._contracts or owner in self._contracts:
            return True
        return self._reads and self.base.call("plugin.read", "plugin.has_function", args, self._place)

    def _plugin_loaded(self, args: Named) -> Named:
        name = args.get("name")
        return {"id": name, "name": name, "status": "active", "version": None, "description": None, "health": "ok"}

    # Files -------------------------------------------------------------------------------------------------------

    def _file(self, args: Named, operation: str) -> Any:
        path = args.get("path")
        if not isinstance(path, str):
            raise ScriptError("TypeError", f"{operation}: expected a path as text")
        if path in self.files:
            return self.files[path]
        if self._reads:
            return self.base.call("fs.read", operation, args, self._place)
        raise ScriptError("FileError", f"there is no file {path!r}: a mock run has those alone that it wrote")

    def _read_json(self, args: Named) -> Any:
        given = self._file(args, "file.read_json")
        if args["path"] not in self.files:
            return given
        try:
            return msgspec.json.decode(given)
        except msgspec.DecodeError as error:
            raise ScriptError("FileError", f"{args['path']!r} is not JSON: {error}") from None

    def _file_exists(self, args: Named) -> bool:
        if args.get("path") in self.files:
            return True
        return self._reads and bool(self.base.call("fs.read", "file.exists", args, self._place))

    def _write(self, args: Named) -> None:
        path, text = args.get("path"), args.get("text")
        if not isinstance(path, str) or not isinstance(text, str):
            raise ScriptError("TypeError", "file.write: expected a path and a text")
        self._file_bytes += len(text) + len(path)
        if self._file_bytes > MOST_MB << 20:
            raise limit_error("charged_mb", MOST_MB, "what the run would write to files is too large to be held back")
        self.files[path] = text

    def _write_json(self, args: Named) -> None:
        self._write({"path": args.get("path"), "text": msgspec.json.encode(args.get("value")).decode()})

    # The rest ----------------------------------------------------------------------------------------------------

    def _refused(self, args: Named) -> Any:
        raise ScriptError("NetworkError", f"a mock run has no network: {str(args.get('url'))[:200]} was not asked")

    def _intent(self, args: Named) -> Named:
        return {**copied(args), "status": "recorded"}

    def _narrate(self, args: Named) -> str:
        if args.get("text") is not None:
            self._story.append(str(args["text"]))
        return " ".join(self._story)

    def _stream_write(self, args: Named) -> None:
        self.log("info", f"{args.get('name')}: {msgspec.json.encode(args.get('data')).decode()[:2_000]}", self._place)

    def _commit(self, args: Named) -> Named:
        changes, deferred = args.get("changes") or {}, args.get("deferred") or []
        told = [("memory.delete", {"id": one}) for one in changes.get("deleted") or []]
        told += [("memory.store", {"entry": one}) for one in changes.get("entries") or []]
        told += [("goal.update", {"goal": one}) for one in changes.get("goals") or []]
        for operation, given in [*told, *((str(one["operation"]), one["args"]) for one in deferred)]:
            capability = _CAPABILITY_OF[operation]
            self._note(capability, operation, given, EFFECTS[capability])
        self._undo[str(args.get("token"))] = self.scratch.write(changes)
        return {"token": args.get("token"), "told": len(deferred)}

    def _take_back(self, args: Named) -> bool:
        before = self._undo.pop(str(args.get("token")), None)
        if before is None:
            return False
        self.scratch.write(before)
        return True

    def _unmet(self, args: Named) -> Any:
        return self.base.call("plugin.read", "require.unmet", args, self._place) if self._reads else []

    def _state(self, args: Named) -> Any:
        plugin = str(args.get("plugin"))
        if plugin not in self._states and self._reads:
            return self.base.call("storage.write", "state.load", args, self._place)
        return copied(self._states.get(plugin))

    def _keep_state(self, args: Named) -> None:
        self._states[str(args.get("plugin"))] = copied(args.get("value"))

    def _status(self, args: Named) -> Any:
        what, words = args.get("what"), args.get("words") or []
        if what == "goal":
            return self.scratch.serve("goal.status", {})
        if what == "memory" and "tags" not in words:
            return {"total_memories": self.scratch.serve("memory.count", {})}
        if what == "memory":
            tags = [tag for entry in self.scratch.serve("memory.search", {}) for tag in entry["tags"]]
            counts = {tag: tags.count(tag) for tag in sorted(set(tags))}
            return [{"tag": tag, "count": n} for tag, n in sorted(counts.items(), key=lambda row: -row[1])]
        if self._reads:
            return self.base.call("plugin.read", "status.read", args, self._place)
        return [] if what in ("list", "plugin") else {"job_id": None, "script": None, "time": None}


_OWN: Final[dict[str, Callable[[Mocks, Named], Any]]] = {
    "plugin.call": Mocks._function,
    "plugin.try": Mocks._tried,
    "function.call": Mocks._function,
    "receiver.call": Mocks._function,
    "plugin.effect": Mocks._effect,
    "plugin.exists": Mocks._exists,
    "plugin.has_function": Mocks._has_function,
    "plugin.load": Mocks._plugin_loaded,
    "file.read": lambda mocks, args: mocks._file(args, "file.read"),
    "file.read_json": Mocks._read_json,
    "file.exists": Mocks._file_exists,
    "file.write": Mocks._write,
    "file.write_json": Mocks._write_json,
    "http.get": Mocks._refused,
    "http.post": Mocks._refused,
    "intent.record": Mocks._intent,
    "story.narrate": Mocks._narrate,
    "log.stream_open": lambda _, args: args.get("name"),
    "log.stream_write": Mocks._stream_write,
    "effect.permit": lambda *_: None,
    "effect.commit": Mocks._commit,
    "effect.undo": Mocks._take_back,
    "require.unmet": Mocks._unmet,
    "audit.breach": lambda *_: None,
    "state.load": Mocks._state,
    "state.save": Mocks._keep_state,
    "status.read": Mocks._status,
    "park.event": lambda *_: None,
    "park.approval": lambda *_: True,
    "time.interval": lambda *_: True,
    "trace.level": lambda *_: None,
    "metrics.record": lambda *_: None,
}
"""What is answered in a way of its own."""

_ANSWERS: Final[dict[str, Any]] = {
    "event.emit": 1,
    "verb.handle": {"handled": False},
    "ui.notify": None,
    "ui.alert": None,
    "ui.speak": None,
    "agent.run": AI_TEXT,
    "agent.mode": None,
    "agent.send": None,
    "agent.message": None,
    "agent.escalate": None,
    "secret.config": {},
    "schedule.recurring": None,
    "schedule.daily": None,
    "schedule.register": None,
    "plugin.active": [],
    "plugin.all": [],
    "plugin.available": [],
}
"""What is answered always the same."""

_CAPABILITY_OF: Final[dict[str, str]] = {
    row.operation: row.capability for rows in (FUNCTIONS, BEHIND_THE_LANGUAGE) for row in rows.values()
}
_QUESTIONS: Final = frozenset({"plugin.effect", "verb.handle", "require.unmet"})
"""Operations that only prepare others; they are no effects of the script."""


def with_policy(
    host: Host,
    policy: Mapping[str, Any],
    job_id: str,
    start: float,
    *,
    meta: Mapping[str, Any] | None = None,
    contracts: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> Host:
    """Return the host that a script's policy asks for, over the job's own.

    With `deterministic` chance comes from the seed and time from `start`; with a `seed` alone, chance only. With
    `mock_io` effects go to mocks. The seed is that of the policy, else that of `meta`, else the job's id.
    """
    seed = policy.get("seed", (meta or {}).get("seed"))
    deterministic = policy.get("deterministic") is True
    if deterministic or seed is not None:
        host = FixedHost(host, job_id if seed is None else seed, start if deterministic else None)
    if policy.get("mock_io") is True:
        host = Mocks(host, reads=True, contracts=contracts, limits=limits, source=source)
    return host
