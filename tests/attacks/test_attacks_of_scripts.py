"""Scripts that try to break out of the language or to use up what they may (language reference, 18; threats 1, 3, 4).

Each attack ends as the reference says, shows nothing of Python or of the machine, and passes no limit by more than a
tenth; its twin, which has the same words, completes. What fills memory runs in a worker process, the rest right here.
"""

import io
import json
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from aether_lang.checker import check
from aether_lang.compiler import compile_module
from aether_lang.errors import AetherError
from aether_lang.host import BEHIND_THE_LANGUAGE, FUNCTIONS, LoadedModule, LocalHost
from aether_lang.parser import parse
from aether_lang.program import Outcome, run
from aether_lang.values import Place
from tests.aether_lang.test_worker import Hub
from tests.attacks.attack_files import Attack, attacks

HERE = ["python", "host", "steps", "time", "depth", "swallowing", "numbers", "floods"]
LIMITS: dict[str, dict[str, Any]] = {
    "time": {"active_s": 0.05, "steps": 10**9},
    "steps": {"steps": 6000},
    "swallowing": {"steps": 6000},
    "floods": {"log_records": 50, "output_kb": 1, "steps": 100_000},
}
SMALL = {"steps": 20_000, "active_s": 2, "text_mb": 1, "items": 50_000}
GRACE_S = 0.4
ALLOWED = {(row.capability, row.operation) for row in [*FUNCTIONS.values(), *BEHIND_THE_LANGUAGE.values()]}
GIVEN_AWAY = re.compile(
    r"Traceback|NoneType|object at 0x|<(class|function|module|built-in)|site-packages|\.pyc?\b|aether_lang|"
    r"/home/|/usr/|" + re.escape(str(Path(__file__).resolve().parents[2]))
)
"""What a script must never see: words of Python and places of the machine."""


@cache
def module(path: str) -> LoadedModule | None:
    """The modules that the attacks may import."""
    sources = {
        "tea": "let cups = 3\nfn pour(n) { return n * 2 }\n",
        "ping": 'import "pong" as p\nfn f(n) { return p.f(n + 1) }\n',
        "pong": 'import "ping" as p\nfn f(n) { return p.f(n + 1) }\n',
        "greedy": 'let x = 5\nexpose_command "take" -> y\nwhen y:\n  log "taken"\nevery 5 minutes:\n  log "tick"\n',
    }
    if path == "broken":
        return LoadedModule(b"not ours", "broken.aether", "b")
    source = sources.get(path)
    return None if source is None else LoadedModule(compiled(source, f"{path}.aether"), f"{path}.aether", path)


class Gate(LocalHost):
    """A host that lets nothing pass but the operations of the language, each under its own capability."""

    def __init__(self) -> None:
        super().__init__(seed=1, sleep=lambda _: None, out=io.StringIO(), modules=module)

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        assert (capability, operation) in ALLOWED
        return super().call(capability, operation, args, position)


class Checked(Gate):
    """A gate whose arguments are copied as they are for a hub, which shows what cannot leave the script."""

    direct = False


def compiled(source: str, name: str = "attack.aether") -> bytes:
    """The code of a script without findings that forbid it; AetherError for others."""
    tree = parse(source, name)
    wrong = [found for found in check(tree) if found.code.startswith("AE")]
    if wrong:
        raise AetherError(wrong)
    return compile_module(tree)


def ending(outcome: Outcome | dict[str, Any]) -> tuple[str, str]:
    """How a run ended in the words of the files: the whole of it, and the error's type alone."""
    shown = (
        json.loads(json.dumps(outcome)) if type(outcome) is dict else {"result": outcome.result, "error": outcome.error}
    )  # type: ignore[union-attr]
    error = shown["error"]
    if error is None:
        return "completed " + json.dumps(shown["result"], ensure_ascii=False), "completed"
    data = error.get("data")
    what = (data.get("limit") or data.get("capability") or "") if type(data) is dict else ""
    return f"{error['type']} {what}".strip(), error["type"]


def judge(attack: Attack, ended: tuple[str, str]) -> None:
    assert set(attack.ends) & set(ended), f"ended as {ended[0]}"


def keep_quiet(shown: Any, source: str) -> None:
    """Nothing of Python or the machine stands in what is shown, but for words that the script itself has."""
    for found in GIVEN_AWAY.finditer(json.dumps(shown, ensure_ascii=False, default=str)):
        assert found[0] in source, f"shows {found[0]}"


def ran(source: str, family: str) -> tuple[Outcome, Gate, float]:
    host = Checked() if family == "host" else Gate()
    began = time.process_time()
    outcome = run(compiled(source), host, limits={**SMALL, **LIMITS.get(family, {})})
    return outcome, host, time.process_time() - began


def cases(*families: str) -> list[Any]:
    return [
        pytest.param(one, id=f"{family}: {one.title}", marks=pytest.mark.soak if one.title.endswith("[long]") else ())
        for family in families
        for one in attacks(family)
    ]


@pytest.mark.parametrize("attack", cases(*HERE))
def test_an_attack_ends_as_the_reference_says_and_its_twin_completes(attack: Attack) -> None:
    limits = {**SMALL, **LIMITS.get(attack.family, {})}
    try:
        outcome, host, took = ran(attack.script, attack.family)
    except AetherError as refused:
        codes = tuple(f"refused {refused.diagnostics[0].code[:length]}" for length in (3, 5))
        judge(attack, codes)  # type: ignore[arg-type]
        keep_quiet(str(refused), attack.script)
    else:
        judge(attack, ending(outcome))
        assert outcome.private is None
        assert outcome.steps <= limits["steps"] * 1.1
        assert took < limits["active_s"] * 1.1 + GRACE_S + 0.2
        keep_quiet([outcome.result, outcome.error, host.records, host.lines], attack.script)
        assert outcome.timers == outcome.commands == []
    twin = ran(attack.twin, attack.family)[0]
    assert (twin.state, twin.result) == ("completed", attack.gives), twin.error


def test_a_flood_is_cut_with_a_mark() -> None:
    for attack in attacks("floods"):
        if "flood" in attack.title or "long" in attack.title or "too long" in attack.title:
            host = ran(attack.script, "floods")[1]
            assert len(host.records) <= LIMITS["floods"]["log_records"] + 1
            assert sum(map(len, host.lines)) <= 1024 * 1.1


MEMORY = {"memory_mb": 160, "charged_mb": 24, "active_s": 10, "steps": 10**8}


class Workers:
    """One worker for many jobs; a new one once a job has left it with much more memory than it had."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.base = 0.0

    def run(self, source: str) -> tuple[dict[str, Any], float]:
        """The outcome of a job, and the MiB by which the process has grown since its first."""
        if self.hub is None:
            self.hub = Hub()
            self.base = self.peak()
        self.hub.job({"kind": "run", "code": compiled(source), "limits": MEMORY})
        while (frame := self.hub.next())["t"] == "call":
            self.hub.answer(frame, None)
        assert frame["t"] == "done"
        grown = self.peak() - self.base
        if grown > 40:
            self.close()
        return frame["body"], grown

    def peak(self) -> float:
        """The most MiB that the process ever held."""
        assert self.hub is not None
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.hub.process.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024

    def close(self) -> None:
        """Ends the worker there is."""
        if self.hub is not None:
            self.hub.close()
            self.hub = None


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.mark.parametrize("attack", cases("memory"))
def test_what_fills_memory_ends_at_a_limit(workers: Workers, attack: Attack) -> None:
    body, grown = workers.run(attack.script)
    judge(attack, ending(body))
    assert body["private"] is None
    keep_quiet(body, attack.script)
    assert grown < MEMORY["memory_mb"] * 1.1
    twin = workers.run(attack.twin)[0]
    assert (twin["state"], twin["result"]) == ("completed", attack.gives)


def test_there_are_as_many_attacks_as_promised() -> None:
    assert sum(len(attacks(family)) for family in [*HERE, "memory"]) > 200
