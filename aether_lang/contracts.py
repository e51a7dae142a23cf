"""What `plugin_contract:` and `require:` may say: ranges of versions, and schemas of arguments and results (sections
12.3 and 12.8). Pure; nothing is looked up here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
KEYWORDS: dict[str, str] = {
    "type": "a type or a list of types", "properties": "an object", "required": "a list of names", "items": "a schema",
    "enum": "a list", "const": "a value", "minimum": "a number", "maximum": "a number", "minLength": "a length",
    "maxLength": "a length", "pattern": "a pattern", "additionalProperties": "a schema", "oneOf": "a list of schemas",
    "anyOf": "a list of schemas",
}  # fmt: skip
"""The keywords of a schema, with what each takes in words for people."""
DESCRIBING = frozenset({"title", "description", "default", "examples", "$schema", "$id", "format"})
"""Keywords that only say something."""
MOST_LEVELS = 64

_REQUIREMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(.*)", re.S)
_TERM = re.compile(r"\s*(==|!=|>=|<=|>|<|~=)\s*([0-9A-Za-z.+-]+)\s*")
_VERSION = re.compile(r"([0-9]+(?:\.[0-9]+)*)(?:[-.+]?([A-Za-z][0-9A-Za-z.-]*))?")


class RequirementText(ValueError):
    """A requirement or version that cannot be read; the message says what is wrong with it."""


def requirement(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The name and the terms of `name>=1.2,<2`. Raises `RequirementText`."""
    found = _REQUIREMENT.fullmatch(text)
    if found is None:
        raise RequirementText(f"'{text}' names nothing; write `name` or `name>=1.0,<2`")
    found_terms = []
    for part in found[2].split(",") if found[2].strip() else ():
        term = _TERM.fullmatch(part)
        if term is None:
            raise RequirementText(
                f"'{part.strip()}' is no version range; write one of == != >= <= > < ~= and a version"
            )
        version(term[2])
        found_terms.append((term[1], term[2]))
    return found[1], tuple(found_terms)


def terms(text: str) -> tuple[tuple[str, str], ...]:
    """The terms of a range such as `>=1.2,<2`; a version alone stands for `==`. Raises `RequirementText`."""
    if text.strip()[:1] in "=!<>~":
        return requirement("it" + text.strip())[1]
    version(text)
    return (("==", text.strip()),)


def version(text: str) -> tuple[tuple[int, ...], bool, str]:
    """A version for comparison, number by number; a pre-release lies below its release. Raises `RequirementText`."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise RequirementText(f"'{text}' is no version; write numbers with dots, such as 1.4.2")
    numbers = [int(number) for number in found[1].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), found[2] is None, found[2] or ""


def satisfies(installed: str, wanted: tuple[tuple[str, str], ...]) -> bool:
    """Does an installed version lie in the range? `~=` wants at least that version and the same numbers but for the
    last. Raises `RequirementText`."""
    have = version(installed)
    for sign, text in wanted:
        want = version(text)
        if sign == "~=":
            given = text.strip().split(".")
            prefix = version(".".join(given[:-1]))[0] if len(given) > 1 else ()
            width = max(len(given) - 1, 0)
            same = (*have[0], *[0] * width)[:width] == (*prefix, *[0] * width)[:width]
            if not (have >= want and same):
                return False
        elif not {
            "==": have == want, "!=": have != want, ">=": have >= want, "<=": have <= want, ">": have > want,
            "<": have < want,
        }[sign]:  # fmt: skip
            return False
    return True


def schema_faults(schema: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with a schema: a JSON pointer and a message for each fault."""
    work: list[tuple[Any, str, int]] = [(schema, "", 0)]
    while work:
        value, path, level = work.pop()
        if isinstance(value, bool):
            continue
        if not isinstance(value, dict):
            yield path or "/", "a schema is an object, true or false"
            continue
        if level > MOST_LEVELS:
            yield path, f"a schema is at most {MOST_LEVELS} levels deep"
            continue
        for word, given in value.items():
            if word in DESCRIBING:
                continue
            if word not in KEYWORDS:
                yield f"{path}/{word}", f"'{word}' is no keyword of a schema here"
            elif not _fits(word, given):
                yield f"{path}/{word}", f"'{word}' takes {KEYWORDS[word]}"
            else:
                work += [(inner, f"{path}/{step}", level + 1) for step, inner in _inner(word, given)]


def _fits(word: str, given: Any) -> bool:
    if word == "type":
        names = given if isinstance(given, list) else [given]
        return bool(names) and all(name in TYPES for name in names)
    if word == "properties":
        return isinstance(given, dict)
    if word == "required":
        return isinstance(given, list) and all(isinstance(name, str) for name in given)
    if word in ("enum", "oneOf", "anyOf"):
        return isinstance(given, list) and bool(given)
    if word in ("minimum", "maximum"):
        return isinstance(given, int | float) and not isinstance(given, bool)
    if word in ("minLength", "maxLength"):
        return isinstance(given, int) and not isinstance(given, bool) and given >= 0
    if word == "pattern":
        return isinstance(given, str)
    return True


def _inner(word: str, given: Any) -> list[tuple[str, Any]]:
    """The schemas that stand in the value of a keyword."""
    if word == "properties":
        return [(f"properties/{name}", inner) for name, inner in given.items()]
    if word in ("items", "additionalProperties"):
        return [(word, given)]
    if word in ("oneOf", "anyOf"):
        return [(f"{word}/{place}", inner) for place, inner in enumerate(given)]
    return []
