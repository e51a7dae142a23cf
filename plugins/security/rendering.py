"""Explanations and comparisons as lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from .comparison import Comparison
from .explanation import Explanation
from .remedies import Proposal

DECISIONS_SHOWN = 100
"""Changed decisions that are shown; `--json` has all."""


def explanation(found: Explanation) -> Iterator[str]:
    """Yield what to tell of one decision."""
    answer, may = ("yes", "may") if found.allowed else ("no", "may not")
    yield f"{answer}: {found.chain} {may} {found.capability}"
    if found.about:
        yield f"  {found.about} Effect: {found.effect}, risk {found.risk:g}."
    for entry in found.supposed:
        yield f"  supposed: {entry}"
    width = max((len(one.member) for one in found.members), default=0)
    for one in found.members:
        also = f", as {', '.join(one.principals[1:])}" if one.principals[1:] else ""
        narrowed = "" if one.scopes is None else f", narrowed to {', '.join(one.scopes) or 'no scope'}"
        place = f" ({one.source})" if one.source else ""
        answer = "yes" if one.allowed else "no "
        yield f"  {one.member:<{width}}  {answer}  {_short(one.reason)}{place}{also}{narrowed}"
    if not found.allowed and all(one.allowed for one in found.members):
        yield f"  because {found.reason}"
    if found.source:
        yield f"decided by {found.source}: {found.rule}"
    elif not found.allowed:
        yield "decided by no rule: what nothing allows is denied"
    if found.proposal is not None:
        yield from proposal(found.proposal, found.command)
    for note in found.notes:
        yield f"note: {note}"


def proposal(found: Proposal, command: str) -> Iterator[str]:
    """Yield the changes that would turn the no into a yes, and how to try them."""
    yield "The smallest change that makes it a yes:" if found.verified else "What to do:"
    for change in found.changes:
        yield f"  {change.text}"
    entries = [change.try_with for change in found.changes]
    if all(entries):
        yield f"Try it first: {command} {' '.join(f'--with {shlex.quote(entry)}' for entry in entries)}"


def comparison(found: Comparison) -> Iterator[str]:
    """Yield what differs, sections apart; nothing for two policies that say and mean the same."""
    section = ""
    for line in found.lines:
        if line.section != section:
            section = line.section
            yield f"[{section}]"
        yield f"  {'+' if line.added else '-'} {line.text}{f'  ({line.source})' if line.source else ''}"
    if found.decisions:
        yield f"decisions that change, of {found.asked} compared:"
    who = ""
    for turned in found.decisions[:DECISIONS_SHOWN]:
        if turned.principal != who:
            who = turned.principal
            yield f"  {who}"
        place = f"  ({turned.source})" if turned.source else ""
        yield f"    {'no → yes' if turned.allowed else 'yes → no'}  {turned.capability}{place}"
    more = len(found.decisions) - DECISIONS_SHOWN
    if more > 0:
        yield f"  and {more} more; --json has all"


def _short(reason: str) -> str:
    return reason.partition("; if it should, add ")[0]
