"""The verb `aether explain`: what a code of the checker means, with a script that has it and one that has not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from aether_lang import codes
from aether_lang.codes import Code
from aether_lang.errors import Diagnostic
from kernel import NotFound, Plugin, Terminal

Code_ = Annotated[str | None, msgspec.Meta(extra={"argument": True})]
"""A code that may be left out."""


def add(p: Plugin) -> None:
    """Collect the verb on `p`."""
    p.command("explain")(explain)


async def explain(terminal: Terminal, code: Code_ = None) -> None:
    """Explain what CODE means, as `aether check` prints it; without one, list all of them.

    `aether policy explain` is for decisions of the policy.
    """
    if code is None:
        _list(terminal)
        return
    entry = codes.find(code)
    if entry is None:
        near = codes.nearest(code)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; aether explain lists all codes"
        raise NotFound(f"there is no code {code[:40]!r}{hint}", details={"code": code[:40], "near": near})
    found = await asyncio.to_thread(_found, entry)
    if terminal.json:
        terminal.print({**_plain(entry), "diagnostics": msgspec.to_builtins(found)})
        return
    for line in _told(entry, found):
        terminal.console.print(line, markup=False, highlight=False)


def _list(terminal: Terminal) -> None:
    entries = codes.catalogue().values()
    if terminal.json:
        terminal.print([_plain(entry) for entry in entries])
    else:
        terminal.table(("code", "kind", "title"), [(one.code, one.severity, one.title) for one in entries])


def _plain(entry: Code) -> dict[str, Any]:
    return {**msgspec.to_builtins(entry), "severity": entry.severity}


def _found(entry: Code) -> list[Diagnostic]:
    """Return what the checker says of the wrong example, as far as it is about this code."""
    if entry.origin != "check":
        return []
    from aether_lang.front import compiled  # loads the parser

    every = msgspec.convert(compiled(entry.wrong, "wrong.aether")["diagnostics"], list[Diagnostic])
    return [one for one in every if one.code == entry.code]


def _told(entry: Code, found: list[Diagnostic]) -> Iterator[str]:
    yield f"{entry.code} ({entry.severity}): {entry.title}"
    yield ""
    yield entry.text
    yield ""
    yield "Wrong:"
    yield from _indented(entry.wrong)
    if found:
        yield ""
        yield from _indented(found[0].render())
    yield ""
    yield "Right:"
    yield from _indented(entry.right)
    if entry.help:
        yield ""
        yield from entry.help


def _indented(text: str) -> Iterator[str]:
    yield from (f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
