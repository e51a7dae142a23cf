"""How long a text takes to become a checked tree, beside Lark alone over the same shaped tokens, and how long the
tables of the grammar take to load. Prints one line per measure.

python -m benchmarks.parsing
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import lark
from lark.lexer import Lexer

from aether_lang import Limits, parse, tables
from aether_lang.checker import check
from aether_lang.errors import Source
from aether_lang.layout import lay_out
from aether_lang.scanner import scan
from aether_lang.shaping import shape

FLOOR_MS, GOAL_MS, MOST_RATIO, MOST_LOAD_RATIO = 250, 150, 2.5, 1.15

PLUGIN = """plugin tea_{n} {{
  description: "warns when pot {n} runs dry"
  memory_access: read-write
  schedule: every 10 minutes
  config: {{ floor: 200, names: ["a", "b"] }}

  on_run {{
    try {{
      let level = call pot_sensor.read(unit="ml")
      if level?.value < config.floor {{
        warn_crew_{n}(level.value)
      }} else if level == null {{ log "no reading" }}
    }} catch (e) {{
      log "sensor offline: {{e.message}}"
    }}
  }}

  fn warn_crew_{n}(ml, least = 1) {{
    let crew = search_memory({{ type: "person", role: "brewer" }})
      .filter(p => p.awake || false)
      .sort_by("name")
    if crew.length < least {{ return false }}
    notify(team: "kitchen", content: "only {{ml}} ml left")
    return true
  }}
}}
when pot_low_{n}(ml = 0):
    remember("pot at {{ml}} ml") as "pot,tea"
    suggest refill for "kitchen" if ml < 20%
    for k, v in state_{n}
        total = total + v * 2 - k.size[0]
    end
end
recall tag: "pot" → $history
"""


def script(lines: int) -> str:
    """A script of about that many lines, in two spellings."""
    parts: list[str] = []
    count = 0
    while count < lines:
        parts.append(PLUGIN.format(n=len(parts)))
        count += parts[-1].count("\n")
    return "".join(parts)


class Ready(Lexer):
    """Hands on tokens that are shaped already."""

    def __init__(self, conf: Any) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any = None) -> Any:
        return iter(lexer_state)


def median_ms(work: Callable[[], object], rounds: int = 9) -> float:
    """The median over some rounds, in milliseconds of CPU time."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) * 1000)
    return statistics.median(times)


def shaped(text: str) -> list[Any]:
    """The tokens as the parser gets them, as Lark's own class."""
    source = Source(text, "bench")
    tokens = shape(source, lay_out(source, scan(source, Limits(), []), []), Limits(), [], [])
    return [lark.Token(t.type, t.text, t.span.start, t.span.line, t.span.column) for t in tokens]


def main() -> None:
    """Prints the measures."""
    alone = lark.Lark(tables.grammar_text(), parser="lalr", lexer=Ready, start=["start", "expr"])
    parse("x = 1")
    text = script(430)
    tokens = shaped(text)
    work: dict[str, Callable[[], object]] = {
        "parse": lambda: parse(text),
        "checked": lambda: check(parse(text)),
        "shaping": lambda: shaped(text),
        "lark": lambda: alone.parse(tokens, start="start"),  # type: ignore[arg-type]
    }
    took = interleaved_ms(work)
    both = took["lark"] + took["shaping"]
    lines = text.count("\n")
    print(f"parse, {lines} lines: {took['parse']:.1f} ms (floor {FLOOR_MS}, goal {GOAL_MS})")
    print(f"text to checked tree: {took['checked']:.1f} ms")
    print(f"Lark over our shaped tokens: {took['lark']:.1f} ms, with the shaping of them {both:.1f} ms")
    print(f"checked / (shaping + Lark) = {took['checked'] / both:.2f} (<= {MOST_RATIO})")
    print(f"checked / Lark alone = {took['checked'] / took['lark']:.2f}, parse: {took['parse'] / took['lark']:.2f}")
    pace = {size: per_line(size) for size in (100, 1_000, 10_000)}
    shown = ", ".join(f"{size:,}: {ms:.4f} ms" for size, ms in pace.items())
    print(f"per line at {shown}; ratio {pace[10_000] / pace[100]:.2f}")
    ours, cached, first = loading_ms()
    print(f"load of the tables in a fresh process: {ours:.1f} ms; Lark's own cache, warm: {cached:.1f} ms")
    print(f"ours / Lark's cache = {ours / cached:.2f} (<= {MOST_LOAD_RATIO})")
    print(f"first parse of a fresh process, all imports included: {first:.0f} ms")


def interleaved_ms(work: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """The median of each, in milliseconds of CPU time, measured in turns so that all meet the same noise."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, each in work.items():
            begin = time.process_time()
            each()
            times[name].append((time.process_time() - begin) * 1000)
    return {name: statistics.median(found) for name, found in times.items()}


def per_line(lines: int) -> float:
    """Milliseconds for each line of a script of that length, read and checked."""
    text = script(lines)
    return median_ms(lambda: check(parse(text)), 3 if lines > 5_000 else 7) / text.count("\n")


OURS = """import time; t = time.process_time()
from aether_lang.tables import load
load()
print(time.process_time() - t)
"""
FIRST = """import time; t = time.process_time()
import aether_lang
aether_lang.parse("x = 1")
print(time.process_time() - t)
"""
CACHED = """import sys, time; sys.path.insert(0, sys.argv[1]); t = time.process_time()
import lark, ready
text = open(sys.argv[2]).read()
lark.Lark(text, parser="lalr", lexer=ready.Ready, start=["start", "expr"], cache=sys.argv[1] + "/kept")
print(time.process_time() - t)
"""
READY = """from lark.lexer import Lexer
class Ready(Lexer):
    def __init__(self, conf): pass
    def lex(self, lexer_state, parser_state=None): return iter(lexer_state)
"""


def loading_ms() -> tuple[float, float, float]:
    """Loading the tables, loading them from a warm cache of Lark's, and a first parse, each in new processes."""
    found: dict[str, list[float]] = {OURS: [], CACHED: [], FIRST: []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ready.py").write_text(READY)
        grammar = str(files("aether_lang").joinpath("grammar.lark"))
        for turn in range(9):
            for code, times in found.items():
                took = fresh(code, folder, grammar)
                if turn:  # the first one fills caches
                    times.append(took)
    ours, cached, first = (statistics.median(times) * 1000 for times in found.values())
    return ours, cached, first


def fresh(code: str, *args: str) -> float:
    """What a new process prints."""
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return float(done.stdout)


if __name__ == "__main__":
    main()
