"""The attacks as they stand in the files beside this one: a script that tries something, how it must end, and a twin
that has the same words put to honest use, with what it gives.

    ## title                        `[long]` behind it leaves it to the long proofs
    ends: LimitError steps          how it ends: `TYPE [limit or capability]`, `completed [JSON]` or `refused CODE`;
        script                      several ways stand between `|`
    twin: JSON
        script
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FILES = Path(__file__).parent


class Attack(NamedTuple):
    """An attack and its twin."""

    family: str
    title: str
    ends: tuple[str, ...]
    script: str
    gives: Any
    twin: str


_ONE = re.compile(r"## (.+)\nends: (.+)\n((?:    .*\n|\n)+)twin: (.+)\n((?:    .*\n|\n)+)")


def attacks(family: str) -> list[Attack]:
    """All attacks of a family, in order; ValueError when a part of the file is no attack."""
    text = (FILES / f"{family}.txt").read_text(encoding="utf-8")
    found = [
        Attack(family, title, tuple(ends.split("|")), _script(script), json.loads(gives), _script(twin))
        for title, ends, script, gives, twin in _ONE.findall(text + "\n")
    ]
    if len(found) != text.count("\n## ") or len({one.title for one in found}) != len(found):
        raise ValueError(f"{family}.txt: {text.count(chr(10) + '## ')} titles, {len(found)} different attacks")
    return found


def _script(indented: str) -> str:
    return "\n".join(line[4:] for line in indented.rstrip("\n").split("\n")) + "\n"
