"""The policy decides as the slow model does, over random policies and requests; broken on purpose, it is caught."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from policy_model import compared, request

from kernel import SystemClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def words(security: ModuleType, policies: Path) -> Any:
    return security.words.Words.read((policies / "capabilities.toml").read_text())


def test_the_policy_decides_as_the_slow_model_does(security: ModuleType, words: Any) -> None:
    seed = int.from_bytes(os.urandom(4))
    done = compared(security, words, seed=seed, pairs=2_000)
    assert not done.wrong, done.wrong
    assert 0.05 < done.yes / done.pairs < 0.95, "random policies must not answer all alike"


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_many_decisions_are_those_of_the_slow_model(security: ModuleType, words: Any) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    pairs = {"C": 20_000, "L": 1_000_000}[size]
    seed, began = int.from_bytes(os.urandom(4)), time.perf_counter()
    done = compared(security, words, seed=seed, pairs=pairs)
    took = time.perf_counter() - began
    print(f"\nS10 seed={seed} size={size} pairs={done.pairs} yes={done.yes} wrong={int(bool(done.wrong))} s={took:.0f}")
    assert not done.wrong, done.wrong


# The checker itself ------------------------------------------------------------------------------------------------

DENY = 'rule.effect == "deny" and rule.right.touches'
LIFTED = 'lifted = any(rule.effect == "override" and rule.right.covers(asked) for rule in about)'
BREAKS = {
    "a deny is not looked at": (DENY, DENY.replace('"deny"', '"none"')),
    "an override lifts every deny": (f"{DENY}(asked) and not (lifted and", f"{DENY}(asked) and not (lifted or"),
    "nothing lifts a deny": (LIFTED, "lifted = False"),
    "only the caller counts": ("return [first, *(Member(name, (name,)) for name in chain.via)]", "return [first]"),
    "roles do not count": ("(caller.id, *caller.roles), caller.scopes)", "(caller.id,), caller.scopes)"),
    "scopes do not narrow": (
        "if member.scopes is not None and not any(_scope_covers(",
        "if False and not any(_scope_covers(",
    ),
    "asking for the whole does not ask for the part": (DENY, DENY.replace("touches", "covers")),
    "a right does not cover its objects": ("            yield from self._exact.get(asked[:2], ())\n", ""),
    "patterns of principals are not looked at": ('(*self._open.get(name[0], ()), *self._open[""])', 'self._open[""]'),
    "the denylist is not looked at": ("if denied is not None:", "if False:"),
    "strict mode asks for no signature": (
        'strict = ("plugin:*", "script:*") if self.strict_mode',
        "strict = () if True",
    ),
}


@pytest.fixture(params=BREAKS, ids=lambda name: name.replace(" ", "_"))
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """Return the plugin's package with one line of its evaluator changed."""
    folder = tmp_path / "security"
    shutil.copytree(ROOT / "plugins" / "security", folder, ignore=shutil.ignore_patterns("__pycache__"))
    old, new = BREAKS[request.param]
    source = (folder / "policy.py").read_text()
    assert source.count(old) == 1, f"the line to break is gone: {old}"
    (folder / "policy.py").write_text(source.replace(old, new))
    name = "security_broken"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for loaded in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
        del sys.modules[loaded]


def test_an_evaluator_that_is_broken_on_purpose_is_caught(broken: ModuleType, policies: Path) -> None:
    words = broken.words.Words.read((policies / "capabilities.toml").read_text())
    assert compared(broken, words, seed=1, pairs=4_000).wrong


# Broken files ------------------------------------------------------------------------------------------------------


def corrupted(text: str, random: Random) -> str:
    """Return the text with something wrong in it, most of the time."""
    at = random.randrange(len(text))
    return random.choice(
        [
            lambda: text[:at] + text[at + 1 :],
            lambda: text[:at] + random.choice('"[]={}:*\x00é\n') + text[at:],
            lambda: text[:at],
            lambda: text.replace(*random.choice(MISSPELT), 1),
            lambda: (
                text + random.choice(["[[capabilities]]\n", "oops", '[overrides]\n"role:*" = ["fs:edit"]\n', "= 1\n"])
            ),
        ]
    )()


MISSPELT = [
    ("memory:", "memry:"),
    ("capabilities", "capabilites"),
    ('"core:*"', '"cor:*"'),
    ("steps", "step"),
    ("= [", "= ("),
]


async def broken_files_keep_the_last_good_policy(
    security: Any, policies: Path, folder: Path, wanted: int, seed: int
) -> int:
    """Write broken files until there were that many; return how many edits were still right."""
    random, right, wrong = Random(seed), 0, 0
    good = (policies / "default.toml").read_text()
    main = folder / "default.toml"
    main.write_text(good)
    keeper = security.folder.Keeper()
    clock = SystemClock()
    assert await keeper.open(folder, policies, security.policy.NetworkSettings(), clock, 100) == "loaded"
    questions = [request(random) for _ in range(40)]
    before = [keeper.policy.decide(*question) for question in questions]
    while wrong < wanted:
        kept = keeper.policy
        main.write_text(corrupted(good, random))
        if await keeper.refresh(clock) == "failed":
            wrong += 1
            assert keeper.policy is kept, "a broken file replaced the policy"
            assert keeper.mistake.message
            assert [keeper.policy.decide(*question) for question in questions] == before
        else:
            right += 1
        main.write_text(good)
        await keeper.refresh(clock)
        assert keeper.mistake is None
        before = [keeper.policy.decide(*question) for question in questions]
    return right


async def test_broken_files_keep_the_last_good_policy(security: ModuleType, policies: Path, tmp_path: Path) -> None:
    await broken_files_keep_the_last_good_policy(security, policies, tmp_path, 30, int.from_bytes(os.urandom(4)))


@pytest.mark.soak
async def test_hundreds_of_broken_files_keep_the_last_good_policy(
    security: ModuleType, policies: Path, tmp_path: Path
) -> None:
    size, seed = os.environ.get("AETHERRA_SOAK", "C"), int.from_bytes(os.urandom(4))
    wanted = {"C": 200, "L": 5_000}[size]
    right = await broken_files_keep_the_last_good_policy(security, policies, tmp_path, wanted, seed)
    print(f"\nS10 seed={seed} size={size} broken_files={wanted} still_right={right} replaced=0")
