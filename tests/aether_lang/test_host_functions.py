"""The table of host functions says of each capability what the one source says (section 18.3)."""

import tomllib
from pathlib import Path

from aether_lang.host import BEHIND_THE_LANGUAGE, EFFECTS, FUNCTIONS, RISKS

WORDS = tomllib.loads((Path(__file__).parents[2] / "policies" / "capabilities.toml").read_text())["words"]


def test_effects_and_risks_are_those_of_the_policys_table() -> None:
    assert {word.replace(":", ".", 1): row["effect"] for word, row in WORDS.items()} == EFFECTS
    assert {word.replace(":", ".", 1): row["risk"] for word, row in WORDS.items()} == RISKS


def test_every_host_function_has_a_capability_of_the_table() -> None:
    used = {row.capability for table in (FUNCTIONS, BEHIND_THE_LANGUAGE) for row in table.values()}
    assert used <= EFFECTS.keys()


def test_operations_of_one_name_take_one_capability() -> None:
    taken: dict[str, set[str]] = {}
    for table in (FUNCTIONS, BEHIND_THE_LANGUAGE):
        for row in table.values():
            taken.setdefault(row.operation, set()).add(row.capability)
    assert {name: words for name, words in taken.items() if len(words) > 1} == {}
