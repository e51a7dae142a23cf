"""What a compile worker does with any text: code or findings, and nothing else, whatever the text is."""

import io
import random
import re
from pathlib import Path

from aether_lang.front import MOST_FINDINGS, compiled
from aether_lang.host import LocalHost
from aether_lang.program import run
from aether_lang.style import MOST_NOTES

ROOT = Path(__file__).parents[2]
PIECES = re.findall(
    r"\S+",
    """
{ } ( ) [ ] : ; , . ?. ?? ? => -> = == + - * / % ! " ' # // | ++ += ... .. if else for in while when every match case
default try catch finally return throw break not is let const null end log remember recall as with to exists lambda
await call goal: plugin agent on_run fn export define use policy: steps: command: unless where - 1. 30s 80% $x x
""",
)
LIMITS = {"steps": 20_000, "active_s": 2, "wall_s": 3, "depth": 40, "items": 10_000, "text_mb": 0.1}


def altered(draw: random.Random, texts: list[str]) -> str:
    """A script with a few pieces put in, taken out or moved."""
    text = draw.choice(texts)
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        at = draw.randrange(len(text) + 1)
        lines = text.split("\n")
        one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        match draw.randrange(5):
            case 0:
                text = f"{text[:at]} {draw.choice(PIECES)} {text[at:]}"
            case 1:
                text = text[:at] + text[at + draw.choice((1, 2, 10, 60)) :]
            case 2:
                lines[one], lines[other] = lines[other], lines[one]
                text = "\n".join(lines)
            case 3:
                lines[one] = " " * draw.randrange(9) + lines[one].strip()
                text = "\n".join(lines)
            case 4:
                text = text[:at] + draw.choice(PIECES) + draw.choice(PIECES) + text[at + 3 :]
    return text


def test_altered_scripts_give_code_or_findings_and_their_runs_a_recorded_outcome() -> None:
    files = [*ROOT.glob("tests/cases/*.aether"), *ROOT.glob("examples/*.aether"), *ROOT.glob("scripts/*/*.aether")]
    texts = [file.read_text(encoding="utf-8") for file in sorted(files)]
    draw = random.Random(11)
    ran = 0
    for _ in range(500):
        text = altered(draw, texts)
        answer = compiled(text, "altered.aether")
        if not answer["ok"]:
            assert answer["diagnostics"], text
            continue
        ran += 1
        ended = run(answer["code"], LocalHost(seed=1, sleep=lambda _: None, out=io.StringIO()), limits=LIMITS)
        assert ended.private is None, text
    assert ran > 20


def test_of_very_many_findings_the_gravest_are_handed_on_in_the_order_of_their_places() -> None:
    text = "".join(f"x = missing{n}\nlog 1 // {n}\n" for n in range(400)) + "break\n"
    codes = [found["code"] for found in compiled(text, "t")["diagnostics"]]
    assert len(codes) == MOST_FINDINGS
    assert codes[-1] == "AE109"
    assert set(codes[:-1]) == {"AW201"}


def test_a_script_gets_at_most_fifty_notes_on_style_and_they_are_the_first() -> None:
    found = compiled("if true\n  log 1 === 1 // x\nend\n" * 500, "t")["diagnostics"]
    assert len(found) == MOST_NOTES
    assert max(one["line"] for one in found) <= 3 * MOST_NOTES
    assert {one["code"] for one in found} == {"AS110", "AS114", "AS123", "AS129"}
