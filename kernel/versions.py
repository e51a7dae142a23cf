"""Versions and ranges: `">=1.2, <2"` against `"1.4.0"`, compared number by number, a pre-release below its release."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from kernel.errors import ContractError

_PART = re.compile(r"(==|!=|>=|<=|~=|>|<)?\s*(\d+(?:\.\d+)*(?:-[0-9A-Za-z.]+)?)\Z")
_COMPARE: dict[str, Callable[[tuple[object, ...], tuple[object, ...]], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def _key(version: str) -> tuple[object, ...]:
    numbers, _, pre = version.partition("+")[0].partition("-")
    padded = [int(n) for n in numbers.split(".")] + [0, 0]
    return (*padded[: max(3, len(padded) - 2)], not pre, pre)


def satisfies(version: str, wanted: str) -> bool:
    """Tell whether `version` lies in the comma-separated range `wanted` (empty: any); `~=1.2` means >=1.2, <2."""
    for part in filter(None, (p.strip() for p in wanted.split(","))):
        match = _PART.match(part)
        if match is None:
            raise ContractError(f"version range {wanted!r}: expected comma-separated parts such as >=1.2, got {part!r}")
        sign, bound = match[1] or "==", match[2]
        if sign == "~=":
            stem = [int(n) for n in bound.partition("-")[0].split(".")][:-1] or [0]
            ceiling = ".".join(map(str, [*stem[:-1], stem[-1] + 1]))
            if not _key(bound) <= _key(version) < _key(ceiling):
                return False
        elif not _COMPARE[sign](_key(version), _key(bound)):
            return False
    return True
