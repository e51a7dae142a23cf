"""What a decision about a right costs: remembered and anew, under 500 rules, beside a bare look-up and a bare scan.

`of one principal` is the worst case: all 500 rules are about the one who asks, in one domain, half of them patterns.

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


def crowded() -> dict[str, bytes]:
    """Return the policy that ships and one beside it whose rules are all about one agent and one word."""
    exact = [f"memory:read:c{number}" for number in range(RULES // 2)]
    patterns = [f"memory:read:c{number}.*" for number in range(RULES // 2)]
    text = f'[capabilities.allow]\n"agent:busy" = {exact + patterns!r}\n'
    return {"default.toml": (ROOT / "policies" / "default.toml").read_bytes(), "more.toml": text.encode()}


def scan(rules: list[tuple[str, str]], names: list[str], asked: str) -> bool:
    """Decide as the shortest code would, for one member and exact rules: the bare alternative to a decision anew."""
    return any(who in names and (right == asked or asked.startswith(f"{right}:")) for who, right in rules)


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
    sources = files(sorted(word for word, row in words.all.items() if row.object))
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
    bare_rules = [(rule.who.text, rule.right.text) for rule in policy.rules]
    busy = security.policy.Policy.load(crowded(), words)
    agent = Chain(Caller("agent:busy"))
    question = security.explanation.Question.of("user:local", "net:http:a.b", ["script:ci/a.aether"])
    measures: list[tuple[str, Callable[[int], object], int]] = [
        ("dict look-up, text as key", lambda _: plain[own], 100_000),
        ("dict look-up, chain as key", lambda _: bare[chain, own], 100_000),
        ("bare scan of all rules", lambda n: scan(bare_rules, ["role:user"], f"memory:write:c{n}"), 2_000),
        ("remembered, the same chain", lambda _: policy.decide(chain, own), 100_000),
        ("remembered, an equal chain", equal, 50_000),
        ("anew, yes, three members", lambda n: policy.decide(chain, f"plugin:call:a.f{n}"), 2_000),
        ("anew, no", lambda n: policy.decide(chain, f"memory:write:c{n}"), 2_000),
        ("anew, a principal never seen", lambda n: policy.decide(Chain(local, (f"script:s{n}",)), own), 500),
        ("anew, yes, of one principal", lambda n: busy.decide(agent, f"memory:read:c{n % 250}.x{n}"), 500),
        ("anew, no, of one principal", lambda n: busy.decide(agent, f"memory:read:d{n}"), 500),
        ("explained, a no for two", lambda _: security.explanation.explain(policy, question), 20),
    ]
    print(f"{'rules':30} {len(policy.rules):9}")
    print(f"{'read, check and try out':30} {loading_ms:9.3f} ms")
    for name, work, count in measures:
        print(f"{name:30} {best_us(work, count):9.3f} us")


if __name__ == "__main__":
    main()
