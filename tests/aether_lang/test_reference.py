"""What compiled programs do is what a second reading of the language reference says: programs are drawn at random, run
compiled and walked as a tree, and must end, print and warn alike."""

import os
import time
from collections import Counter
from typing import Any

import pytest

from aether_lang import nodes, parse
from aether_lang.compiler import compile_module
from aether_lang.program import run
from tests.aether_lang.reference import Ending, Exhausted, interpret
from tests.aether_lang.reference.programs import Program
from tests.aether_lang.running import Recorder

SEED = 9
"""That of the suite; the long proof draws one."""
LIMITS = {"steps": 100_000, "active_s": 20}


def compiled(tree: nodes.Module) -> Ending:
    """How a run of the compiled program ended."""
    host = Recorder()
    ended = run(compile_module(tree), host, limits=LIMITS)
    assert ended.private is None, ended.private
    error = None if ended.error is None else (ended.error["type"], ended.error["line"])
    warned = {(message.split(" ")[0], place[1]) for level, message, place in host.records if level == "warning"}
    return Ending(ended.result, error, host.lines, warned)


def typed(value: Any) -> Any:
    """The value with the types of its parts, which `==` would not tell apart."""
    if isinstance(value, list):
        return [typed(one) for one in value]
    if isinstance(value, dict):
        return [(key, typed(one)) for key, one in value.items()]
    return type(value), value


def difference(source: str) -> str | None:
    """What the compiled program does otherwise than the reference says, None if nothing; `Exhausted` if that says
    nothing."""
    tree = parse(source, "program")
    wanted = interpret(tree)
    got = compiled(tree)
    # A loop over nothing may warn of a name that its body would have read.
    warned = {one for one in got.warnings if one[0] != "AW206" or one in wanted.warnings}
    if (got.error, got.lines, warned) != (wanted.error, wanted.lines, wanted.warnings):
        return f"got {got}, wanted {wanted}"
    if typed(got.result) != typed(wanted.result):
        return f"gave {got.result!r}, wanted {wanted.result!r}"
    return None


def compared(seed: Any, count: int, sizes: tuple[int, ...]) -> tuple[Counter[str], list[str]]:
    """Compares that many programs: how many were, how many say nothing, and the differences."""
    counts: Counter[str] = Counter()
    failures = []
    for number in range(count):
        source = Program(f"{seed}:{number}", sizes[number % len(sizes)]).text
        try:
            wrong = difference(source)
        except Exhausted:
            counts["unsaid"] += 1
            continue
        except Exception as error:  # the failure shows the program, which says more than a traceback
            wrong = f"{type(error).__name__}: {error}"
        counts["compared"] += 1
        if wrong is not None:
            failures.append(f"{seed}:{number} of {sizes[number % len(sizes)]}: {wrong}\n{source}")
    return counts, failures


def test_drawn_programs_end_print_and_warn_as_the_reference_says() -> None:
    counts, failures = compared(SEED, 500, (1,))
    assert not failures, failures[0]
    assert counts["compared"] > 450


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_many_drawn_programs_end_print_and_warn_as_the_reference_says() -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    many = {"C": 20_000, "L": 200_000}[size]
    seed, began = int.from_bytes(os.urandom(4)), time.perf_counter()
    counts, failures = compared(seed, many, (1, 2, 3, 6, 10))
    print(
        f"\nS2-run seed={seed} size={size} programs={counts['compared']} unsaid={counts['unsaid']} "
        f"failures={len(failures)} s={time.perf_counter() - began:.0f}"
    )
    assert not failures, failures[0]
    assert counts["compared"] > many * 0.85
