"""Whole scripts, and the smallest part of one that still shows what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import msgspec

from aether_lang import nodes

from .draw import AT, BARE_END, Place
from .intents import Intents
from .statements import Stated


class Generated(msgspec.Struct):
    """A script with the tree that it must become. `parts` are its statements, each a script of its own."""

    seed: str
    text: str
    tree: nodes.Module
    counts: Counter[str]
    parts: list[tuple[str, nodes.Stmt]]

    def joined(self, start: int, stop: int | None = None) -> str:
        """Some of the statements, one under the other."""
        return "".join(text.replace(BARE_END, "") + "\n" for text, _ in self.parts[start:stop])

    def alone(self, at: int) -> Generated:
        """A script of that part only."""
        text, node = self.parts[at]
        return Generated(
            f"{self.seed} part {at}", text.replace(BARE_END, "") + "\n", module((node,)), Counter(), [(text, node)]
        )


def module(body: tuple[nodes.Stmt, ...]) -> nodes.Module:
    """A module of these statements."""
    return nodes.Module(AT, "", "", body)


def generated(seed: object, *, size: int = 5, fuel: int = 60) -> Generated:
    """The script of a seed: the same one each time. `size` is the most statements at its top, `fuel` bounds what each
    holds."""
    random = Random(str(seed))
    counts: Counter[str] = Counter()
    parts: list[tuple[str, nodes.Stmt]] = []
    text = _opening(random, counts)
    more = False
    for _ in range(random.randint(1, size)):
        draw = Intents(random, random.randint(fuel // 6, fuel))
        stated: Stated = draw.top_statement(Place(top=True))
        counts.update(draw.counts)
        parts.append((stated.text, stated.node))
        text += stated.text + ("\n" if stated.text.endswith(BARE_END) else draw.line_end())
        more = stated.more
    if more and random.random() < 0.1:
        text = text.rstrip("\n")
    text = text.replace(BARE_END, "")
    if random.random() < 0.1 and '"""' not in text and "'''" not in text and "|\n" not in text:
        counts["layout: CRLF"] += 1
        text = text.replace("\n", "\r\n")
    return Generated(str(seed), text, module(tuple(node for _, node in parts)), counts, parts)


def expression_of(random: Random) -> str:
    """An expression on one line that may stand anywhere."""
    draw = Intents(random, 4)
    draw.flat = draw.bare = draw.slot = 1
    return draw.expression(13).text


def _opening(random: Random, counts: Counter[str]) -> str:
    text = ""
    if random.random() < 0.04:
        counts["layout: byte order mark"] += 1
        text += "\ufeff"
    if random.random() < 0.06:
        counts["layout: #! line"] += 1
        text += "#!/usr/bin/env aether {\n"
    if random.random() < 0.06:
        text += "\n  \n# a script\n"
    return text


def smallest(script: Generated, wrong: Callable[[Generated], bool]) -> Generated:
    """The first part of a script that is wrong alone, or the whole."""
    return next((one for at in range(len(script.parts)) if wrong(one := script.alone(at))), script)
