"""What the outside offers a script: the `Host` protocol, the functions behind it, and a host without a hub.

A host answers synchronously with plain data. `functions.json` is the one list of library and host functions
(language reference, sections 20 and 21) that reach it: compiler, checker and the other side of the gateway read it.
"""

import random
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
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
    overlaps: bool
    """True when several threads may have a call under way at once."""

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


# JSON, since the reader of TOML would be loaded by every worker that runs scripts.
_DATA = msgspec.json.decode(Path(__file__).with_name("functions.json").read_bytes())


def _operations(rows: dict[str, dict[str, str]]) -> dict[str, Operation]:
    return {
        name: Operation(row["capability"], row["operation"], tuple(row.get("parameters", "").split()))
        for name, row in rows.items()
    }


FUNCTIONS: Final = _operations(_DATA["functions"])
"""What scripts call (sections 20 and 21), by its full name. `name?` may be left out, `*` takes further positional
arguments as `args`, `**` further keyword arguments as `kwargs`."""
BEHIND_THE_LANGUAGE: Final = _operations(_DATA["behind"])
"""Operations that verbs, ambient values and declarations reach, by the runtime's own name for them."""
PLUGIN_CALLS: Final = frozenset({"plugin.call", "plugin.try", "function.call", "receiver.call"})
"""Operations that call a plugin's function; `called` names it."""


def called(args: Mapping[str, Any]) -> str:
    """The name of the function that an operation of `PLUGIN_CALLS` calls, as the script has it."""
    return str(args.get("name") or f"{args.get('receiver')}.{args.get('function')}")


EFFECTS: Final[dict[str, str]] = {name: row["effect"] for name, row in _DATA["capabilities"].items()}
"""The class of effect of each capability (18.3), as `policies/capabilities.toml` has it."""
RISKS: Final[dict[str, float]] = {name: row["risk"] for name, row in _DATA["capabilities"].items()}
"""What one use of each capability takes from `risk_budget`."""

_MISSING: Final = object()


class LocalHost:
    """A host without a hub: it knows the time, randomness, a log and an output; everything else is a clear error.

    Used by tests and by a run on the command line. `seed` makes randomness repeatable.
    """

    direct = True
    overlaps = False

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
            **drawing(draw),
            "time.now": lambda _: clock(),
            "time.sleep": lambda args: sleep(max(float(args["seconds"]), 0.0)),
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


class Layer:
    """A host over another one, to which it leaves log, output and modules."""

    direct = False

    def __init__(self, base: Host) -> None:
        """`base` is the host beneath."""
        self.base = base
        self.overlaps = base.overlaps

    def log(self, level: str, message: str, position: Place) -> None:
        """One record of the log beneath."""
        self.base.log(level, message, position)

    def output(self, line: str) -> None:
        """One line of the output beneath."""
        self.base.output(line)

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """The module that the host beneath has."""
        return self.base.load_module(path, position)


def drawing(draw: random.Random) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The operations on randomness, all drawn from one source."""
    return {
        "random.number": lambda _: draw.random(),
        "random.int": lambda args: _between(draw, args["a"], args["b"]),
        "random.id": lambda _: f"{draw.getrandbits(64):016x}",
        "random.uuid": lambda _: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        "random.session": lambda _: f"session_{draw.getrandbits(64):016x}",
    }


def _between(draw: random.Random, a: Any, b: Any) -> int:
    low, high = whole(0 if a is None else a, "random_int"), whole(0 if b is None else b, "random_int")
    if low > high:
        raise ScriptError("ValueError", f"random_int needs a lower and an upper end, not {low} and {high}")
    return draw.randint(low, high)
