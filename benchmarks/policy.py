"""What a decision about a right costs: remembered and anew, under 500 rules, beside a bare look-up in a dict.

python -m benchmarks.policy
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from kernel import Caller, Chain

ROOT = Path(__file__).resolve().parent.parent
RULES = 500
ROUNDS = 7


def load() -> ModuleType:
    """Return the package of the plugin, imported by path."""
    folder = ROOT / "plugins" / "security"
    spec = importlib.util.spec_from_file_location(
        "security", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["security"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(words: list[str]) -> dict[str, bytes]:
    """Return the policy that ships and one beside it: a fifth for everybody, the rest spread over a hundred agents."""
    rows: dict[str, list[str]] = {}
    for number in range(RULES):
        principal = "script:*" if number % 5 == 0 else f"agent:a{number % 100}"
        rows.setdefault(principal, []).append(f"{words[number % len(words)]}:object{number}")
    text = "[capabilities.allow]\n" + "".join(f'"{who}" = {what!r}\n' for who, what in rows.items())
    return {"default.toml": (ROOT / "policies" / "default.toml").read_bytes(), "more.toml": text.encode()}


def best_us(work: Callable[[int], object], count: int) -> float:
    """Return microseconds per call, the best of several rounds."""
    best = float("inf")
    for round_number in range(ROUNDS):
        began = time.perf_counter()
        for number in range(round_number * count, (round_number + 1) * count):
            work(number)
        best = min(best, (time.perf_counter() - began) / count)
    return best * 1e6


def main() -> None:
    """Print one line per measure."""
    security = load()
    words = security.words.Words.read((ROOT / "policies" / "capabilities.toml").read_text())
    sources = files(sorted(words.all))
    began = time.perf_counter()
    policy = security.policy.Policy.load(sources, words)
    loading_ms = (time.perf_counter() - began) * 1000
    local = Caller("user:local", ("role:user",))
    chain = Chain(local, ("core:hub_api", "script:ci/a.aether"))
    bare = {(chain, "memory:write:own"): True}
    plain = {"memory:write:own": True}

    def equal(_: int) -> object:
        return policy.decide(Chain(Caller("user:local", ("role:user",)), ("script:ci/a.aether",)), "memory:write:own")

    own = "memory:write:own"
    measures: list[tuple[str, Callable[[int], object], int]] = [
        ("dict look-up, text as key", lambda _: plain[own], 100_000),
        ("dict look-up, chain as key", lambda _: bare[chain, own], 100_000),
        ("remembered, the same chain", lambda _: policy.decide(chain, own), 100_000),
        ("remembered, an equal chain", equal, 50_000),
        ("anew, yes, three members", lambda n: policy.decide(chain, f"plugin:call:a.f{n}"), 2_000),
        ("anew, no", lambda n: policy.decide(chain, f"memory:write:c{n}"), 2_000),
        ("anew, a principal never seen", lambda n: policy.decide(Chain(local, (f"script:s{n}",)), own), 500),
    ]
    print(f"{'rules':30} {len(policy.rules):9}")
    print(f"{'read, check and try out':30} {loading_ms:9.3f} ms")
    for name, work, count in measures:
        print(f"{name:30} {best_us(work, count):9.3f} us")


if __name__ == "__main__":
    main()
