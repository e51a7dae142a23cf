"""The limits of a run: one set of numbers, wherever they are read."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def test_without_a_policy_the_limits_are_those_of_the_policy_that_ships(
    load_plugin: Callable[[str], ModuleType], policies: Path
) -> None:
    limits = load_plugin("scripts").limits
    written = tomllib.loads((policies / "default.toml").read_text())["limits"]["script:*"]
    assert {name: written[name] for name in limits.SHIPPED} == limits.SHIPPED


def test_the_worker_gets_all_that_it_counts_and_a_later_end_than_the_hub_measures(
    load_plugin: Callable[[str], ModuleType],
) -> None:
    limits = load_plugin("scripts").limits
    handed = limits.for_worker({**limits.SHIPPED, "steps": 7}, 10.0)
    assert set(handed) == set(limits.IN_WORKER)
    assert (handed["steps"], handed["wall_s"]) == (7, 15.0)
