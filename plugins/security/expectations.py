"""A file of expectations about a policy, and whether the policy meets them: a test for whoever writes policies.

policy = ["team.toml"]          # beside this file; without it, the policy of the hub

[[expect]]
principal = "user:local"
through = ["script:a.aether"]
capability = ["memory:write:own", "log:write"]
allowed = true
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kernel import BadInput, Caller

from .explanation import KNOWN_ROLES, Explanation, Question, explain
from .policy import Policy
from .rules import FILE_BYTES, Mistake

_HEAD = re.compile(r"^[ \t]*\[\[[ \t]*expect[ \t]*\]\]", re.MULTILINE)


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table `[[expect]]`: who, through whom, what, and whether it is allowed.

    `roles` are the principal's, by default those that need no account; `scopes` those of a token that it comes with.
    `reason` is a part of the reason, `source` the deciding file, or file and line.
    """

    principal: str
    capability: str | list[str]
    allowed: bool
    through: list[str] = []
    roles: list[str] | None = None
    scopes: list[str] | None = None
    reason: str = ""
    source: str = ""


class Expectations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file: which policy files it is about, beside itself, and what is expected of them."""

    expect: list[Expectation]
    policy: list[str] = []


class Failure(msgspec.Struct, frozen=True):
    """An expectation that the policy does not meet: on which line it stands, what was expected, and the explanation."""

    line: int | None
    expected: str
    explanation: Explanation


class Outcome(msgspec.Struct, frozen=True):
    """How many questions were asked, and which answers were not the expected ones."""

    asked: int
    failures: list[Failure]


def read(path: Path) -> tuple[Expectations, list[int | None]]:
    """Return the expectations of a file, and the line of each; raise `Mistake` for what is none."""
    try:
        raw = path.read_bytes()
        if len(raw) > FILE_BYTES:
            raise Mistake(path.name, None, f"larger than {FILE_BYTES // 1024} KiB")
        text = raw.decode()
        found = msgspec.convert(tomllib.loads(text), Expectations)
    except OSError as error:
        raise Mistake(path.name, None, f"cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise Mistake(path.name, None, f"no file of expectations: {error}") from None
    lines = [text[: match.start()].count("\n") + 1 for match in _HEAD.finditer(text)]
    known = len(lines) == len(found.expect)
    return found, list(lines) if known else [None] * len(found.expect)


def outcome_of(policy: Policy, expectations: Expectations, lines: list[int | None]) -> Outcome:
    """Return which expectations the policy does not meet; raise `BadInput` for a question that cannot be asked."""
    asked, failures = 0, []
    for expected, line in zip(expectations.expect, lines, strict=True):
        for question in _questions(expected, line):
            asked += 1
            found = explain(policy, question)
            wrong = _wrong(expected, found)
            if wrong:
                failures.append(Failure(line, wrong, found))
    return Outcome(asked, failures)


def _questions(expected: Expectation, line: int | None) -> Iterator[Question]:
    given = expected.capability
    roles = KNOWN_ROLES.get(expected.principal, ()) if expected.roles is None else tuple(expected.roles)
    scopes = None if expected.scopes is None else tuple(expected.scopes)
    for capability in [given] if isinstance(given, str) else given:
        try:
            question = Question.of(expected.principal, capability, expected.through)
        except BadInput as error:
            place = f"line {line}: " if line else ""
            raise BadInput(f"{place}{error.message}", details=error.details) from None
        yield msgspec.structs.replace(question, caller=Caller(expected.principal, roles, scopes))


def _wrong(expected: Expectation, found: Explanation) -> str:
    """Return what was expected and did not come, empty when all of it came."""
    if found.allowed != expected.allowed:
        return f"expected {'yes' if expected.allowed else 'no'}, got {'yes' if found.allowed else 'no'}"
    if expected.reason not in found.reason:
        return f"expected a reason with {expected.reason!r}"
    if expected.source and expected.source not in (found.source, found.source.partition(":")[0]):
        return f"expected {expected.source} to decide, and {found.source or 'no line'} did"
    return ""
