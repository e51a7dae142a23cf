"""Scripts that are drawn at random from the language reference parse to the trees they must have, and whatever is
done to them gives a tree or findings, and nothing else."""

import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest

from aether_lang import FormattingError, format_script, nodes, parse
from aether_lang.checker import check
from aether_lang.errors import AetherError, Diagnostic
from aether_lang.likeness import alike, meaning
from tests.aether_lang.generator import Generated, breakages, damaged, generated, noise, smallest

SEED = 20
"""That of the suite; the long proof draws one."""
FEWEST = 25
"""Of ten thousand scripts, so often at least is each production drawn."""


def difference(script: Generated) -> str | None:
    """What is wrong with the tree of a script, None if nothing is."""
    try:
        tree = parse(script.text)
    except AetherError as error:
        return error.diagnostics[0].render()
    except Exception as error:  # the failure shows the script, which says more than a traceback
        return f"{type(error).__name__}: {error}"
    got, wanted = meaning(tree), meaning(script.tree)
    if got == wanted:
        return None
    at = next((at for at, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
    return f"got {got[max(0, at - 6) : at + 6]}, not {wanted[max(0, at - 6) : at + 6]}"


def misformatted(text: str) -> str | None:
    """What is wrong with the script in the one style, None if it means the same and stays as it is."""
    try:
        once = format_script(text)
    except (AetherError, FormattingError) as error:
        return str(error)
    if not alike(parse(text), parse(once)):
        return f"means something else:\n{once}"
    return None if format_script(once) == once else f"does not stay as it is:\n{once}"


def report(script: Generated) -> str:
    """The smallest part of a script that is wrong, and what is wrong with it."""
    small = smallest(script, lambda one: difference(one) is not None)
    return f"seed {small.seed}: {difference(small)}\n{small.text}"


def findings(text: str | bytes) -> tuple[Diagnostic, ...]:
    """What the parser and the checker have to say on a text; each finding lies in the text and can be shown."""
    found: tuple[Diagnostic, ...]
    try:
        found = tuple(check(parse(text)))
    except AetherError as error:
        found = error.diagnostics
        assert 0 < len(found) <= 20
    lines = (text if isinstance(text, str) else text.decode("utf-8", "replace")).split("\n")
    for one in found:
        assert 1 <= one.line <= len(lines)
        assert 1 <= one.column <= len(lines[one.line - 1]) + 1
        assert one.column < one.end_column
        assert one.render()
    return found


@dataclass
class Round:
    """What came of many scripts."""

    scripts: int = 0
    formatted: int = 0
    mutated: int = 0
    random: int = 0
    broken: int = 0
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    pace: list[float] = field(default_factory=list)
    worst: float = 0.0

    def timed(self, text: str | bytes) -> None:
        """Reads a text that may be anything, and notes how long each byte took."""
        began = time.perf_counter()
        try:
            findings(text)
        except Exception as error:  # any exception at all is the failure that is looked for
            self.failures.append(f"{type(error).__name__}: {error}\n{text!r}")
        pace = (time.perf_counter() - began) * 1e6 / (len(text) + 200)
        self.pace.append(pace)
        self.worst = max(self.worst, pace)


def all_rounds(
    seed: int, *, scripts: int = 0, formatted: int = 0, mutated: int = 0, random: int = 0, broken: int = 0
) -> Round:
    """Draws that many scripts, formats that many of them, damages that many, reads that much noise, and breaks that
    many at a known place."""
    done = Round()
    draw = Random(seed)
    texts: list[str] = []
    for number in range(scripts):
        script = generated(f"{seed}:{number}", fuel=draw.choice((15, 30, 60)))
        done.counts += script.counts
        done.scripts += 1
        if difference(script) is not None:
            done.failures.append(report(script))
        elif done.formatted < formatted:
            done.formatted += 1
            if (wrong := misformatted(script.text)) is not None:
                small = smallest(script, lambda one: misformatted(one.text) is not None)
                done.failures.append(f"seed {small.seed} formatted: {wrong}\n{small.text}")
        if len(texts) < 400:
            texts.append(script.text)
        else:
            texts[draw.randrange(400)] = script.text
    while done.mutated < mutated:
        done.timed(damaged(draw, texts))
        done.mutated += 1
    while done.random < random:
        done.timed(noise(draw))
        done.random += 1
    while done.broken < broken:
        for each in breakages(draw, f"{seed}:broken:{done.broken}"):
            found = [(one.code, one.line, one.column) for one in findings(each.text) if one.code.startswith("AE")]
            if found != [each.expected]:
                done.failures.append(f"{each.what}: expected {each.expected}, found {found}\n{each.text}")
            done.broken += 1
    return done


def test_generated_scripts_parse_to_the_trees_they_were_drawn_from() -> None:
    done = all_rounds(SEED, scripts=500)
    assert not done.failures, done.failures[0]
    assert len(done.counts) > 150, "hardly anything was drawn"


def test_a_generated_script_in_the_one_style_means_the_same_and_stays_as_it_is() -> None:
    done = all_rounds(SEED + 1, scripts=60, formatted=60)
    assert not done.failures, done.failures[0]
    assert done.formatted == 60


def test_what_is_done_to_generated_scripts_gives_a_tree_or_findings_in_the_text() -> None:
    done = all_rounds(SEED, scripts=60, mutated=400, random=200)
    assert not done.failures, done.failures[0]


def test_a_script_that_was_broken_at_one_place_is_told_so_there_and_nowhere_else() -> None:
    done = all_rounds(SEED, broken=300)
    assert not done.failures, done.failures[0]


@pytest.mark.parametrize("seed", range(40))
def test_the_tree_of_a_generated_script_is_checked_and_survives_serialisation(seed: int) -> None:
    tree = parse(generated(seed).text)
    check(tree)
    again = msgspec.json.decode(msgspec.json.encode(tree), type=nodes.Module)
    assert again == tree
    assert alike(again, tree)


def test_a_generated_script_is_that_of_its_seed_and_holds_something() -> None:
    assert generated("tea") == generated("tea")
    sizes = [len(generated(seed).text) for seed in range(50)]
    assert statistics.median(sizes) > 100


def test_a_tree_that_is_not_the_drawn_one_is_noticed() -> None:
    script = generated("tea")
    other = msgspec.structs.replace(script, text=script.text + "one_more = 1\n")
    assert difference(other) is not None


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_many_generated_scripts_parse_to_their_trees_and_nothing_breaks_the_parser() -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    many = {"C": 20_000, "L": 200_000}[size]
    seed, began = int.from_bytes(os.urandom(4)), time.perf_counter()
    done = all_rounds(seed, scripts=many, formatted=many // 8, mutated=many, random=many, broken=many // 2)
    took = time.perf_counter() - began
    print(
        f"\nS2-front seed={seed} size={size} scripts={done.scripts} formatted={done.formatted} mutated={done.mutated} "
        f"random={done.random} broken={done.broken} failures={len(done.failures)} "
        f"median_us_per_byte={statistics.median(done.pace):.2f} worst_us_per_byte={done.worst:.0f} s={took:.0f}"
    )
    table: list[Any] = sorted(done.counts.items(), key=lambda row: row[1])
    print("\n".join(f"  {count:7}  {name}" for name, count in table))
    assert not done.failures, done.failures[0]
    rare = {name: count for name, count in table if count * 10_000 < FEWEST * many}
    assert not rare, f"drawn too seldom: {rare}"
