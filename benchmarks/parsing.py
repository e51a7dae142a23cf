"""How long parsing takes, beside Lark alone over the same shaped tokens. Prints one line per measure.

python -m benchmarks.parsing
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import lark
from lark.lexer import Lexer

from aether_lang import Limits, parse
from aether_lang.errors import Source
from aether_lang.layout import lay_out
from aether_lang.scanner import scan
from aether_lang.shaping import shape

FLOOR_MS, GOAL_MS, MOST_RATIO = 250, 150, 2.5

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
    """The median over some rounds, in milliseconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def shaped(text: str) -> list[Any]:
    """The tokens as the parser gets them, as Lark's own class."""
    source = Source(text, "bench")
    tokens = shape(source, lay_out(source, scan(source, Limits(), []), []), Limits(), [], [])
    return [lark.Token(t.type, t.text, t.span.start, t.span.line, t.span.column) for t in tokens]


def main() -> None:
    """Prints the measures."""
    grammar = files("aether_lang").joinpath("grammar.lark").read_text(encoding="utf-8")
    alone = lark.Lark(grammar, parser="lalr", lexer=Ready, start=["start", "expr"])
    parse("x = 1")
    text = script(430)
    tokens = shaped(text)
    ours = median_ms(lambda: parse(text))
    theirs = median_ms(lambda: alone.parse(tokens, start="start"))  # type: ignore[arg-type]
    lines = text.count("\n")
    print(f"parse, {lines} lines: {ours:.1f} ms (floor {FLOOR_MS}, goal {GOAL_MS})")
    shaping = median_ms(lambda: shaped(text))
    both = theirs + shaping
    print(f"Lark over our shaped tokens: {theirs:.1f} ms, with the shaping of them {both:.1f} ms")
    print(f"ours / (shaping + Lark) = {ours / both:.2f} (<= {MOST_RATIO}); ours / Lark alone = {ours / theirs:.2f}")
    small, large = per_line(100), per_line(2000)
    print(f"per line at 100 and at 2,000 lines: {small:.4f} and {large:.4f} ms, ratio {large / small:.2f}")
    print(f"first parse of a fresh process, import of Lark and grammar included: {cold_ms():.0f} ms")


def per_line(lines: int) -> float:
    """Milliseconds for each line of a script of that length."""
    text = script(lines)
    return median_ms(lambda: parse(text), 5) / text.count("\n")


def cold_ms() -> float:
    """The first parse of a new process."""
    code = "import time; t = time.perf_counter(); import aether_lang; aether_lang.parse('x = 1'); "
    code += "print(time.perf_counter() - t)"
    times = []
    for _ in range(3):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        times.append(float(done.stdout) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    main()
