"""Ours beside its peer in one run: variants alternate, and the medians of the ratios of neighbours count.

Absolute figures of one machine move by a factor of two between runs; such ratios repeat to about 15 % in process.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

Timed = Callable[[], Awaitable[float]]
"""Does its work once and returns what it measured, in the unit that is printed."""
ROUNDS = 9
HEAD = f"{'measure':<48} {'ours':>12} {'peer':>12} {'ratio':>7}"


async def compare(name: str, ours: Timed, peer: Timed, unit: str, *, floor: str = "-", goal: str = "-") -> None:
    """Print one line: ours and the peer in `unit`, the median of ours / peer over the rounds, floor and goal."""
    pairs = []
    for round_ in range(ROUNDS + 1):
        first, second = (ours, peer) if round_ % 2 else (peer, ours)
        a, b = await first(), await second()
        if round_:  # the first round only warms up
            pairs.append((a, b) if round_ % 2 else (b, a))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    digits = 0 if min(mine, theirs) >= 100 else 3
    print(
        f"{name:<48} {mine:>9.{digits}f} {unit} {theirs:>9.{digits}f} {unit} {ratio:>6.2f}x  "
        f"floor {floor:<8} goal {goal}",
        flush=True,
    )
