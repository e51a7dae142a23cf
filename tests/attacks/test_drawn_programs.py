"""Programs drawn at random run within their limits: each completes, fails with a type of 17.2 or is refused, touches
nothing outside, and never holds a value that the language does not have (threats 1 and 3)."""

import importlib
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import pytest

from aether_lang.errors import AetherError
from aether_lang.jobs import CATCHABLE
from aether_lang.program import run
from aether_lang.regex import Regex
from aether_lang.values import Builtin, ErrorValue, Future, Place, Receiver, ScriptSet
from tests.aether_lang.generator import generated
from tests.attacks.programs import program
from tests.attacks.test_attacks_of_scripts import GRACE_S, Gate, compiled

LIMITS = {"steps": 20_000, "active_s": 1, "text_mb": 1, "items": 50_000, "charged_mb": 64}
TYPES = CATCHABLE | {"LimitError", "BudgetError", "StopExecution"}
DATA = frozenset({type(None), bool, int, float, str})
RECORDS = frozenset({FunctionType, Builtin, ErrorValue, Future, Regex, Receiver})
OUTSIDE = (
    "import",
    "compile",
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.spawn",
    "ctypes.",
    "shutil.",
)


class Tripwire:
    """Hears of everything Python does with the outside while it is armed; an audit hook can never be taken away."""

    armed = False
    touched: list[str] = []

    @classmethod
    def heard(cls, event: str, args: tuple[Any, ...]) -> None:
        if cls.armed and (event.startswith(OUTSIDE) or (event == "open" and args[0] != "/proc/self/statm")):
            cls.touched.append(f"{event} {args[:1]}")


for module in ("mocks", "scratch"):  # loaded at their first use, which is not what the tripwire is for
    importlib.import_module(f"aether_lang.{module}")
sys.addaudithook(Tripwire.heard)


class Looking(Gate):
    """A gate that looks through every value that comes by, before it is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: list[str] = []

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        self._look(args)
        return super().call(capability, operation, args, position)

    def _look(self, value: Any) -> None:
        work, seen = [value], set()
        while work:
            value = work.pop()
            of = type(value)
            if of in DATA or id(value) in seen:
                continue
            seen.add(id(value))
            if of is dict:
                work.extend(value.values())
                self.strangers.extend(f"the key {key!r}" for key in value if type(key) is not str)
            elif of is list or of is ScriptSet:
                work.extend(value)
            elif of is FunctionType:
                if value.__globals__["__builtins__"] != {}:
                    self.strangers.append(f"the function {value.__qualname__}")
            elif of not in RECORDS:
                self.strangers.append(f"a {of.__name__}")


@dataclass
class Round:
    """What came of many programs."""

    programs: int = 0
    ran: int = 0
    failures: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def tried(self, source: str) -> None:
        """Compiles and runs one program."""
        self.programs += 1
        try:
            code = compiled(source)
        except AetherError as refused:
            self.endings[f"refused {refused.diagnostics[0].code}"] += 1
            return
        except Exception as error:  # any exception at all is the failure that is looked for
            self.failures.append(f"compiling: {type(error).__name__}: {error}\n{source}")
            return
        self.ran += 1
        host = Looking()
        Tripwire.touched.clear()
        Tripwire.armed, began = True, time.process_time()
        try:
            outcome = run(code, host, limits=LIMITS)
        except Exception as error:  # as above
            self.failures.append(f"raised: {type(error).__name__}: {error}\n{source}")
            return
        finally:
            Tripwire.armed = False
        took = time.process_time() - began
        ending = outcome.state if outcome.error is None else str(outcome.error["type"])
        self.endings[ending] += 1
        wrong = [*Tripwire.touched, *host.strangers]
        if outcome.private is not None:
            wrong.append(outcome.private)
        if outcome.state == "cancelled" or (outcome.error is not None and ending not in TYPES):
            wrong.append(f"{outcome.state} {ending}")
        if outcome.steps > LIMITS["steps"] * 1.1 or took > LIMITS["active_s"] * 1.1 + GRACE_S:
            wrong.append(f"{outcome.steps} steps, {took:.2f} s")
        if wrong:
            self.failures.append("\n".join([*wrong, source]))


def rounds(seed: int, drawn: int, general: int) -> Round:
    """That many programs of our own taste, and that many of the whole language."""
    done = Round()
    for number in range(drawn):
        done.tried(program(f"{seed}:{number}"))
    for number in range(general):
        done.tried(generated(f"{seed}:run:{number}", fuel=30).text)
    return done


def test_drawn_programs_end_within_their_limits_and_touch_nothing() -> None:
    done = rounds(7, drawn=90, general=10)
    assert not done.failures, done.failures[0]
    assert done.ran > 60, done.endings
    assert len(done.endings) > 6, "hardly anything came of them"


def test_the_tripwire_and_the_look_notice_what_they_are_for() -> None:
    Tripwire.touched.clear()
    Tripwire.armed = True
    try:
        with open(os.devnull, "rb"):
            pass
    finally:
        Tripwire.armed = False
    assert Tripwire.touched
    host = Looking()
    host._look({"a": [ScriptSet([object()]), os.getcwd], "b": {1: 2}, "c": lambda: 1})
    assert len(host.strangers) == 4


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_many_drawn_programs_end_within_their_limits_and_touch_nothing() -> None:
    many = {"C": 20_000, "L": 200_000}[os.environ.get("AETHERRA_SOAK", "C")]
    seed, began = int.from_bytes(os.urandom(4)), time.perf_counter()
    done = rounds(seed, drawn=many * 4 // 5, general=many // 5)
    print(
        f"\nS3-lang seed={seed} programs={done.programs} ran={done.ran} failures={len(done.failures)} "
        f"s={time.perf_counter() - began:.0f}"
    )
    print("\n".join(f"  {count:7}  {name}" for name, count in done.endings.most_common()))
    assert not done.failures, done.failures[0]
