"""The catalogue of codes: what each diagnostic means, with a script that has it and one that has not."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from .words import nearest as _nearest

Origin = Literal["check", "hub", "run", "signature"]
"""Where a code comes from: `check` the front end, on any text; `hub` a check that a hub makes; `run` the log of a run;
`signature` the first line of a script, as far as the policy cares."""


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One code. `text` explains it to people; `wrong` is a script that gets it and `right` one that does not, with
    the same aim; `help` are further things to look at."""

    code: str
    title: str
    text: str
    wrong: str
    right: str
    help: tuple[str, ...] = ()
    origin: Origin = "check"

    @property
    def severity(self) -> Literal["error", "warning", "style"]:
        """How grave it is, which the first letters say."""
        return {"AE": "error", "AW": "warning"}.get(self.code[:2], "style")  # type: ignore[return-value]


@cache
def catalogue() -> dict[str, Code]:
    """All codes in their order, by code."""
    tables = tomllib.loads(files(__package__).joinpath("codes.toml").read_text(encoding="utf-8"))
    return {code: msgspec.convert({"code": code, **table}, Code) for code, table in sorted(tables.items(), key=_order)}


def find(code: str) -> Code | None:
    """The entry of a code, however its letters are written; None for what is no code."""
    return catalogue().get(code.strip().upper())


def nearest(code: str) -> list[str]:
    """At most three known codes that look like one that is not, the nearest first."""
    asked = code.strip().upper()
    left = set(catalogue())
    found: list[str] = []
    while len(found) < 3 and (near := _nearest(asked[:8], left)) is not None:
        found.append(near)
        left.remove(near)
    return found


def _order(item: tuple[str, object]) -> tuple[int, str]:
    return ("AE", "AW", "AS").index(item[0][:2]), item[0]
