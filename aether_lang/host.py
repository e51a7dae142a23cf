"""What the outside offers a script: the `Host` protocol, the functions behind it, and a host without a hub.

A host answers synchronously with plain data. `FUNCTIONS` is the one list of library and host functions (language
reference, sections 20 and 21) that reach it: compiler, checker and the other side of the gateway read the same rows.
"""

import random
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TextIO

import msgspec

from .values import Place, ScriptError, whole


class LoadedModule(msgspec.Struct, frozen=True):
    """What a host gives for a module's path: the compiled bytes, the name for tracebacks, the hash of its source."""

    code: bytes
    name: str
    hash: str


class Host(Protocol):
    """The outside, as a running script meets it. Nothing else is reachable.

    Errors: `ScriptError` with a type of 17.2 reaches the script's `catch`; `Cancelled`, `LimitError`, `BudgetError` and
    `Nondeterministic` end the run.
    """

    direct: bool
    """True when `call` may be called as it is: it copies what it keeps, never blocks and watches no deadline."""

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """Carries out one operation; arguments and result are plain data. Blocks until the answer is there."""

    def log(self, level: str, message: str, position: Place) -> None:
        """One record of the job's log."""

    def output(self, line: str) -> None:
        """One line of the job's output."""

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """The compiled module of that path; `ImportError` when there is none or the policy refuses it."""


class Operation(NamedTuple):
    """A function of the host: its capability, the operation's name, and its parameters.

    Parameters in order; `name?` is optional, `*` takes further positional arguments as `args`, `**` further keyword
    arguments as `kwargs`.
    """

    capability: str
    operation: str
    parameters: tuple[str, ...] = ()


def _op(capability: str, operation: str, parameters: str = "") -> Operation:
    return Operation(capability, operation, tuple(parameters.split()))


FUNCTIONS: Final[dict[str, Operation]] = {
    "random": _op("random.read", "random.number"),
    "Math.random": _op("random.read", "random.number"),
    "random_int": _op("random.read", "random.int", "a b"),
    "generate_id": _op("random.read", "random.id"),
    "generate_uuid": _op("random.read", "random.uuid"),
    "crypto.randomUUID": _op("random.read", "random.uuid"),
    "generate_session_id": _op("random.read", "random.session"),
    "trace": _op("trace.write", "trace.level", "level?"),
    "metrics": _op("metrics.write", "metrics.record", "values"),
    "http.get": _op("net.http", "http.get", "url headers?"),
    "http.post": _op("net.http", "http.post", "url json? headers?"),
    "read_file": _op("fs.read", "file.read", "path"),
    "file_exists": _op("fs.read", "file.exists", "path"),
    "load_json_file": _op("fs.read", "file.read_json", "path"),
    "write_file": _op("fs.write", "file.write", "path text"),
    "save_json_file": _op("fs.write", "file.write_json", "path value"),
    "load_secure_config": _op("secret.read", "secret.config", "name"),
    "remember": _op("memory.write", "memory.remember", "content as?"),
    "store_memory": _op("memory.write", "memory.store", "entry"),
    "update_memory": _op("memory.write", "memory.update", "id patch"),
    "delete_memory": _op("memory.write", "memory.delete", "id"),
    "delete_memory_entry": _op("memory.write", "memory.delete", "id"),
    "archive_memory": _op("memory.write", "memory.archive", "entry"),
    "memory.save": _op("memory.write", "collection.store", "collection value"),
    "store": _op("memory.write", "memory.put", "value tag? metadata?"),
    "search_memory": _op("memory.read", "memory.search", "criteria?"),
    "search_memory_one": _op("memory.read", "memory.search_one", "criteria?"),
    "get_memory": _op("memory.read", "memory.get", "id"),
    "get_memory_by_id": _op("memory.read", "memory.get", "id"),
    "load_memory": _op("memory.read", "memory.load", "tag?"),
    "query_memory": _op("memory.read", "memory.query", "query"),
    "recall_tagged": _op("memory.read", "memory.tagged", "tag limit?"),
    "load_logs": _op("memory.read", "memory.logs", "tag? hours? since?"),
    "memory.pattern": _op("memory.read", "memory.pattern", "name frequency?"),
    "memory.has": _op("memory.read", "collection.has", "collection"),
    "memory.count": _op("memory.read", "memory.count"),
    "time.interval": _op("time.read", "time.interval", "n unit?"),
    "plugin": _op("plugin.call", "plugin.call", "name * **"),
    "run_plugin": _op("plugin.call", "plugin.call", "name * **"),
    "call_plugin": _op("plugin.call", "plugin.try", "name * **"),
    "plugin_exists": _op("plugin.read", "plugin.exists", "name"),
    "has_method": _op("plugin.read", "plugin.has_function", "plugin name"),
    "get_active_plugins": _op("plugin.read", "plugin.active"),
    "get_all_plugins": _op("plugin.read", "plugin.all"),
    "get_available_plugins": _op("plugin.read", "plugin.available"),
    "available_plugins": _op("plugin.read", "plugin.available"),
    "load_plugin": _op("plugin.manage", "plugin.load", "name"),
    "activate": _op("plugin.manage", "plugin.load", "name"),
    "notify": _op("ui.notify", "ui.notify", "user? team? content?"),
    "alert": _op("ui.notify", "ui.alert", "text"),
    "escalate_to": _op("agent.message", "agent.escalate", "who message? priority? data?"),
    "ask_ai": _op("ai.call", "ai.ask", "prompt"),
    "summarize": _op("ai.call", "ai.summarize", "value *"),
    "detect_anomalies": _op("ai.call", "ai.anomalies", "value"),
    "reflect": _op("ai.call", "ai.reflect"),
    "reflect_on": _op("ai.call", "ai.reflect", "value"),
    "evaluate_confidence": _op("ai.call", "ai.confidence", "value"),
    "self_heal": _op("ai.call", "ai.self_heal"),
    "count_active_goals": _op("goal.read", "goal.count_active"),
    "get_all_goals": _op("goal.read", "goal.all"),
    "get_all_active_goals": _op("goal.read", "goal.active"),
    "goal_status": _op("goal.read", "goal.status"),
    "set_goal": _op("goal.write", "goal.set", "goal"),
    "update_goal": _op("goal.write", "goal.update", "goal"),
    "schedule_recurring_task": _op("schedule.write", "schedule.recurring", "name n unit"),
    "schedule_daily_task": _op("schedule.write", "schedule.daily", "name at"),
    "write_to_log": _op("log.write", "log.stream_write", "name data"),
    "new_log_stream": _op("log.write", "log.stream_open", "name"),
}

BEHIND_THE_LANGUAGE: Final[dict[str, Operation]] = {
    "now": _op("time.read", "time.now"),
    "sleep": _op("time.read", "time.sleep", "seconds"),
    "park_event": _op("time.read", "park.event", "name seconds?"),
    "park_approval": _op("ui.notify", "park.approval", "text seconds?"),
    "signal": _op("signal.read", "signal.read", "name"),
    "emit": _op("event.emit", "event.emit", "event data"),
    "function": _op("plugin.call", "function.call", "name args kwargs"),
    "receiver": _op("plugin.call", "receiver.call", "receiver function args kwargs"),
    "agent_method": _op("agent.message", "agent.send", "agent message args kwargs"),
    "ai_function": _op("ai.call", "ai.function", "name args kwargs"),
    "verb_plugin": _op("intent.act", "verb.handle", "verb slots text"),
    "intent": _op("intent.act", "intent.record", "verb target slots text"),
    "think": _op("ai.call", "ai.verb", "verb target slots text"),
    "learn": _op("memory.write", "memory.learn", "verb source slots text"),
    "recall": _op("memory.read", "memory.recall", "query? with? from? tag? limit?"),
    "forget": _op("memory.write", "memory.forget", "query? tag?"),
    "remember_verb": _op("memory.write", "memory.remember", "content as? key? for? data?"),
    "collection_store": _op("memory.write", "collection.store", "collection value with?"),
    "collection_append": _op("memory.write", "collection.append", "collection value"),
    "collection_remove": _op("memory.write", "collection.remove", "collection value"),
    "collection_clear": _op("memory.write", "collection.clear", "collection"),
    "collection_update": _op("memory.write", "collection.update", "collection value"),
    "tag": _op("memory.write", "memory.tag", "value tag"),
    "pattern": _op("memory.read", "memory.statistics", "slots text"),
    "run_agent": _op("agent.run", "agent.run", "agent input data?"),
    "message": _op("agent.message", "agent.message", "verb to slots text"),
    "speak": _op("ui.notify", "ui.speak", "text"),
    "narrate": _op("log.write", "story.narrate", "text?"),
    "agent_mode": _op("agent.run", "agent.mode", "mode text"),
    "check_goal": _op("goal.read", "goal.check", "goal"),
    "goal": _op("goal.write", "goal.declare", "title priority? deadline? metrics?"),
    "goal_done": _op("goal.write", "goal.finish", "id state"),
    "read_out": _op("plugin.read", "status.read", "what words"),
    "register": _op("schedule.write", "schedule.register", "owner schedule tz?"),
}
"""Operations that verbs, ambient values and declarations reach, by the runtime's own name for them."""

_MISSING: Final = object()


class LocalHost:
    """A host without a hub: it knows the time, randomness, a log and an output; everything else is a clear error.

    Used by tests and by a run on the command line. `seed` makes randomness repeatable.
    """

    direct = True

    def __init__(
        self,
        *,
        seed: int | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        out: TextIO | None = None,
        modules: Callable[[str], LoadedModule | None] | None = None,
    ) -> None:
        """`out` takes output lines (standard output if None); `modules` finds modules by path."""
        self.records: list[tuple[str, str, Place]] = []
        self.lines: list[str] = []
        self._out = sys.stdout if out is None else out
        self._modules = modules
        draw = random.Random(seed)  # noqa: S311  randomness of scripts, never a secret
        self._served: dict[str, Callable[[dict[str, Any]], Any]] = {
            "time.now": lambda _: clock(),
            "time.sleep": lambda args: sleep(max(float(args["seconds"]), 0.0)),
            "random.number": lambda _: draw.random(),
            "random.int": lambda args: _between(draw, args["a"], args["b"]),
            "random.id": lambda _: f"{draw.getrandbits(64):016x}",
            "random.uuid": lambda _: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            "random.session": lambda _: f"session_{draw.getrandbits(64):016x}",
            "signal.read": lambda _: None,
            "trace.level": lambda _: None,
            "metrics.record": lambda _: None,
            "event.emit": lambda _: 0,
            "verb.handle": lambda _: {"handled": False},
            "intent.record": lambda _: None,
        }

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """Serves time and randomness; PermissionError names the capability for anything else."""
        served = self._served.get(operation, _MISSING)
        if served is _MISSING:
            raise ScriptError(
                "PermissionError",
                f"missing capability: {capability} ({operation} needs a hub, and this run has none)",
                {"capability": capability, "operation": operation},
            )
        return served(args)  # type: ignore[operator]

    def log(self, level: str, message: str, position: Place) -> None:
        """Keeps the record in `records`."""
        self.records.append((level, message, position))

    def output(self, line: str) -> None:
        """Keeps the line in `lines` and writes it out."""
        self.lines.append(line)
        print(line, file=self._out)

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """The module that the given finder knows."""
        found = self._modules(path) if self._modules is not None else None
        if found is None:
            raise ScriptError("ImportError", f"there is no module '{path}'")
        return found


def _between(draw: random.Random, a: Any, b: Any) -> int:
    low, high = whole(0 if a is None else a, "random_int"), whole(0 if b is None else b, "random_int")
    if low > high:
        raise ScriptError("ValueError", f"random_int needs a lower and an upper end, not {low} and {high}")
    return draw.randint(low, high)
