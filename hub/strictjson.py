"""What a JSON body must be before anything decodes it: UTF-8, not too deep, not too many values, no key twice, and no
number that another reader would read differently."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from kernel import BadInput, TooLarge

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def check_json(body: bytes, *, depth: int, nodes: int, what: str = "body") -> None:
    """Return when the body is strict JSON within the bounds; else raise `BadInput` or `TooLarge` that says what is not.

    Integers go from -2**63 to 2**64-1. `what` is the word for it in a refusal.
    """
    opened = body.count(b"{") + body.count(b"[")
    # These counts include what stands in strings: too high at worst, so most bodies pass without a closer look.
    if opened > depth or opened + body.count(b",") >= nodes:
        _measure(body, depth, nodes, what)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"the {what} is not UTF-8: {error.reason} at byte {error.start}") from None
    decode = _exact if _LONG_NUMBER in body.translate(_DIGITS) else _plain
    try:
        decode(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"the {what} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None


def _measure(body: bytes, depth: int, nodes: int, what: str) -> None:
    bare = _STRING.sub(b"0", body)
    values = 1 + bare.count(b",") + bare.count(b"{") + bare.count(b"[")
    if values > nodes:
        raise TooLarge(
            f"the {what} has more than {nodes} JSON values, the bound ([hub] json_nodes)",
            details={"limit": nodes, "setting": "hub.json_nodes"},
        )
    level = 0
    for bracket in _BRACKET.finditer(bare):
        if bracket[0] in b"{[":
            level += 1
            if level > depth:
                raise BadInput(
                    f"the {what} nests JSON deeper than {depth} levels, the bound ([hub] json_depth)",
                    details={"limit": depth, "setting": "hub.json_depth"},
                )
        else:
            level -= 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadInput(f"the key {key[:80]!r} stands twice in one JSON object", details={"field": key[:80]})
            seen.add(key)
    return made


def _integer(text: str) -> int:
    if len(text) <= 20 and _INT_MIN <= int(text) <= _INT_MAX:
        return 0
    raise BadInput(f"an integer in JSON has 64 bits at most; got one of {len(text)} characters")


def _constant(text: str) -> NoReturn:
    raise BadInput(f"{text} is not a JSON number")


_plain = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_constant).decode
_exact = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_constant, parse_int=_integer).decode
