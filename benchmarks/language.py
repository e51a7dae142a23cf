"""How fast scripts run beside plain Python functions, metering on: one line per measure, with floor and goal.

Variants run interleaved, warm; each figure is the median of the ratios.

    python -m benchmarks.language
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from aether_lang.budget import Budget
from aether_lang.compiled import Compiled
from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost, Place
from aether_lang.parser import parse
from aether_lang.runtime import Runtime
from aether_lang.units import Unit

ROUNDS = 11
WARM = 9
LIMITS = {"steps": 10**12, "active_s": 3600, "wall_s": 3600, "charged_mb": 4096}


class CountingHost(LocalHost):
    """A host whose one operation does next to nothing, so that the way to it is what is measured."""

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """The number it was given."""
        return args["n"]


SCRIPT = """
fn loop(n) {
  let s = 0
  let i = 0
  while i < n { s = s + i
    i = i + 1 }
  return s
}
fn fib(n) {
  if n < 2 { return n }
  return fib(n - 1) + fib(n - 2)
}
fn interpolate(n) {
  let i = 0
  let s = ""
  while i < n { s = "item {i} of {n}"
    i = i + 1 }
  return s
}
fn host(n) {
  let i = 0
  let s = 0
  while i < n { s = s + time.interval(n=i)
    i = i + 1 }
  return s
}
fn pipeline(xs) { return xs.filter(x => x > 10).map(x => x + 1) }
"""


def loop(n: int) -> int:
    """The loop of the script, in Python."""
    s = 0
    i = 0
    while i < n:
        s = s + i
        i = i + 1
    return s


def fib(n: int) -> int:
    """The recursion of the script, in Python."""
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)


def interpolate(n: int) -> str:
    """The strings of the script, in Python."""
    i = 0
    s = ""
    while i < n:
        s = f"item {i} of {n}"
        i = i + 1
    return s


def host_calls(host: CountingHost) -> Callable[[int], int]:
    """The loop of a caller that reaches the same host by the same request."""
    place = ("bench", 1, 1, "")

    def calls(n: int) -> int:
        i = 0
        s = 0
        while i < n:
            s = s + host.call("time.read", "time.interval", {"n": i}, place)
            i = i + 1
        return s

    return calls


def pipeline(xs: list[int]) -> list[int]:
    """The pipeline of the script, in Python."""
    return list(map(lambda x: x + 1, filter(lambda x: x > 10, xs)))  # noqa: C417  lambdas are what is compared


def functions(host: LocalHost, code: bytes) -> dict[str, Callable[[Any], Any]]:
    """The script's functions as Python callables, metered."""
    rt = Runtime(host, Budget(LIMITS))
    unit = Unit(rt, Compiled(code))
    unit.run(rt.budget.depth)
    made = {name: read() for name, read in unit.members.items()}
    return {name: (lambda x, f=f: f(rt.budget.depth, x)) for name, f in made.items()}


def functions_of_walk(host: CountingHost) -> dict[str, Callable[[Any], Any]]:
    """The script's functions by the reference interpreter of the tests, which walks the tree."""
    from tests.aether_lang.reference import functions as walking  # the tests are not part of an installation

    place = ("bench", 1, 1, "")
    answer = lambda n: host.call("time.read", "time.interval", {"n": n}, place)  # noqa: E731
    return walking(parse(SCRIPT, "bench"), time__interval=answer)


def walk(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], argument: Any) -> float:
    """How many times faster than the tree walk; the median, interleaved."""
    assert ours(argument) == theirs(argument)
    return statistics.median(seconds(theirs, argument) / seconds(ours, argument) for _ in range(3))


def seconds(function: Callable[[Any], Any], argument: Any) -> float:
    """CPU time of one call."""
    started = time.process_time()
    function(argument)
    return time.process_time() - started


def ratio(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], argument: Any, small: Any) -> float:
    """Median of our time over theirs, interleaved, after both were warmed up on a small argument."""
    assert ours(small) == theirs(small)
    for _ in range(WARM):
        ours(small)
        theirs(small)
    return statistics.median(seconds(ours, argument) / seconds(theirs, argument) for _ in range(ROUNDS))


def cold(name: str, argument: Any) -> float:
    """Compiled afresh and called once, over the same source of Python treated the same way."""
    source = "def loop(n):\n s = 0\n i = 0\n while i < n:\n  s = s + i\n  i = i + 1\n return s\n"
    code = compile_module(parse(SCRIPT, "bench"))
    ratios = []
    for _ in range(ROUNDS):
        fresh: dict[str, Any] = {}
        exec(compile(source, "python", "exec"), fresh)
        ratios.append(seconds(functions(CountingHost(), code)[name], argument) / seconds(fresh["loop"], argument))
    return statistics.median(ratios)


def loading() -> tuple[float, float]:
    """Seconds to parse and compile the script, and to load it from its compiled bytes."""
    parse(SCRIPT, "bench")
    code = compile_module(parse(SCRIPT, "bench"))
    compiling, reading = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        compile_module(parse(SCRIPT, "bench"))
        compiling.append(time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(50):
            Compiled(code)
        reading.append((time.perf_counter() - started) / 50)
    return statistics.median(compiling), statistics.median(reading)


def main() -> None:
    """Prints every measure."""
    host = CountingHost()
    made = functions(host, compile_module(parse(SCRIPT, "bench")))
    numbers = list(range(50_000))
    walked = functions_of_walk(host)
    rows = [
        ("while loop", ratio(made["loop"], loop, 200_000, 1000), 1.5, 1.2),
        ("fib(24)", ratio(made["fib"], fib, 24, 10), 2.4, 1.7),
        ("interpolation", ratio(made["interpolate"], interpolate, 100_000, 1000), 1.3, 1.12),
        ("host call without a hub", ratio(made["host"], host_calls(host), 100_000, 1000), 1.5, 1.25),
        ("map/filter with literal lambdas", ratio(made["pipeline"], pipeline, numbers, numbers[:100]), 1.0, 0.5),
        ("cold loop, run once", cold("loop", 200_000), 1.2, 0.95),
    ]
    walks = [
        walk(made["loop"], walked["loop"], 2_000),
        walk(made["fib"], walked["fib"], 12),
        walk(made["interpolate"], walked["interpolate"], 2_000),
        walk(made["host"], walked["host"], 2_000),
        walk(made["pipeline"], walked["pipeline"], numbers[:2_000]),
        None,
    ]
    for (name, figure, floor, goal), faster in zip(rows, walks, strict=True):
        beside = "" if faster is None else f"   {faster:5.0f} x faster than the tree walk, floor 5"
        print(f"{name:34} {figure:5.2f} x CPython   floor {floor}  goal {goal}{beside}")
    compiling, reading = loading()
    figures = f"({compiling * 1e3:.1f} ms, {reading * 1e6:.0f} us)"
    print(f"{'load by hash over compile':34} {compiling / reading:5.0f} x faster   floor 100   {figures}")


if __name__ == "__main__":
    main()
