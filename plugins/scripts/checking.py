"""The verb `aether check`: files, folders and standard input, parsed, checked and compiled here, without a hub."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from aether_lang import signatures
from aether_lang.errors import Diagnostic
from kernel import BadInput, Config, Plugin, ServiceUnavailable, Terminal

from .limits import SHIPPED
from .names import inline_name, readable
from .roots import OfflineTrust, path_below, roots_of, scripts_in

STDIN: Final = "-"
CODES_SHOWN: Final = 6
"""Codes that the last lines name."""
_MODES: Final = ("", "off", "warn", "strict")


def add(p: Plugin) -> None:
    """Collect the verb on `p`."""
    p.command("check")(check)


async def check(
    terminal: Terminal,
    files: list[str],
    capabilities: bool = False,
    style: bool = False,
    as_: str = "user:local",
    signatures: str = "",
    root: str = "",
) -> int | None:
    """Check scripts without running them; the exit status is 1 when one has an error.

    A folder stands for all scripts below it, - for standard input. --style shows how aether fmt would write it.
    --capabilities lists what each can reach, and what the policy of the running hub says of that for --as. Signatures
    are looked at as the policy files say, or as --signatures off, warn or strict does; --root is the folder that the
    scripts are served from, where that is none of this hub's.
    """
    if signatures not in _MODES:
        raise BadInput(f"--signatures: expected off, warn or strict, got {signatures!r}")
    found = _Findings(terminal, style, as_)
    signed = await asyncio.to_thread(_Signed, terminal.config, root, signatures)
    several = len(files) > 1
    for named in files:
        below = await asyncio.to_thread(_scripts_below, named)
        several = several or below is not None
        for path in [named] if below is None else below:
            data = await asyncio.to_thread(_read, path)
            diagnostics = await asyncio.to_thread(_diagnose, data, path, signed)
            fine = all(one.is_warning for one in diagnostics)
            reach = await _reach(terminal, data, path, as_) if capabilities and fine else None
            found.show(path, diagnostics, reach, named=below is None)
    found.sum_up(several)
    return 1 if found.errors else None


class _Findings:
    """Prints what was found, and counts it."""

    def __init__(self, terminal: Terminal, style: bool, principal: str) -> None:
        self._terminal = terminal
        self._principal = principal
        self._style = style
        self.files = self.errors = self.warnings = self.notes = 0
        self._codes: dict[str, None] = {}

    def show(self, path: str, found: list[Diagnostic], reach: list[dict[str, Any]] | None, *, named: bool) -> None:
        """Print the findings of one file; that there are none only where it was named itself."""
        notes = sum(one.is_style for one in found)
        shown = [one for one in found if self._style or not one.is_style]
        self.files += 1
        self.errors += sum(not one.is_warning for one in found)
        self.warnings += sum(one.is_warning and not one.is_style for one in found)
        self.notes += notes
        self._codes |= dict.fromkeys(one.code for one in shown)
        terminal = self._terminal
        if terminal.json:
            record = {"file": path, "diagnostics": msgspec.to_builtins(shown), "style": notes}
            terminal.print(record if reach is None else {**record, "principal": self._principal, "reach": reach})
            return
        for finding in shown:
            terminal.console.print(finding.render(), markup=False, highlight=False, soft_wrap=True)
        if not shown and named:
            terminal.print(f"{path}: ok")
        if reach is not None:
            _show_reach(terminal, reach, self._principal)

    def sum_up(self, several: bool) -> None:
        """Print the last lines."""
        if self._terminal.json:
            return
        if self._codes:
            codes = list(self._codes)
            more = f"CODE, such as {', '.join(codes[:CODES_SHOWN])}" if len(codes) > 1 else codes[0]
            self._terminal.print(f"to learn more: aether explain {more}")
        if several:
            counts = [(self.files, "file"), (self.errors, "error"), (self.warnings, "warning")]
            self._terminal.print(", ".join(_counted(number, word) for number, word in counts))
        if self.notes and not self._style:
            self._terminal.print(f"{_counted(self.notes, 'note')} on style; --style shows them, aether fmt mends most")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


# Reading ---------------------------------------------------------------------------------------------------------


def _scripts_below(target: str) -> list[str] | None:
    """Return the scripts below a folder; None for what is none."""
    path = Path(target)
    return [str(file) for file in scripts_in(path)] if target != STDIN and path.is_dir() else None


def _read(path: str) -> bytes:
    """Return the text, or its beginning where it is longer than any script may be: the finding says so."""
    most = int(SHIPPED["source_kb"]) * 1024 + 1
    try:
        if path == STDIN:
            return sys.stdin.buffer.read(most)
        with Path(path).open("rb") as source:
            return source.read(most)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None


class _Signed:
    """What is said of signatures, by the policy files of this machine."""

    def __init__(self, config: Config, root: str, mode: str) -> None:
        self._roots = roots_of(config, root)
        self._mode = mode
        self._policy = OfflineTrust(config) if mode != "off" else None

    def finding(self, data: bytes, text: str, path: str) -> Diagnostic | None:
        """Return the finding about a file's first line, if any; what is bundled is trusted by its folder."""
        below = path_below(Path(path), self._roots) if path != STDIN else None
        if self._policy is None or (below is not None and below[1]):
            return None
        trust = self._policy.of(below[0] if below else inline_name(None))
        mode = self._mode or trust.mode
        verdict = signatures.verify(data, below[0] if below else None, trust.keys)
        # Of a file in no script folder nobody knows for which path it is signed, or whether it should be.
        if below is None and mode != "strict" and (verdict.key_id or verdict.state == "missing"):
            return None
        return signatures.finding(verdict, mode, text, path)  # type: ignore[arg-type]


def _diagnose(data: bytes, path: str, signed: _Signed) -> list[Diagnostic]:
    from aether_lang.front import compiled  # loads the parser

    name = "<stdin>" if path == STDIN else path
    text = data.decode("utf-8", "replace")
    about = signed.finding(data, text, path)
    if about is not None and not about.is_warning:
        return [about]
    found = msgspec.convert(compiled(data, name)["diagnostics"], list[Diagnostic])
    return [about, *found] if about is not None else found


# What a script can reach -----------------------------------------------------------------------------------------


async def _reach(terminal: Terminal, data: bytes, path: str, principal: str) -> list[dict[str, Any]]:
    """Return what a script can reach; the answers are empty without a hub."""
    source = data.decode()
    asked = {"source": source, "name": readable(Path(path).name), "principal": principal}
    try:
        checked = await terminal.request("POST", "/api/scripts/check", json=asked)
    except ServiceUnavailable as error:
        if error.code != "HUB_NOT_RUNNING":
            raise
        from aether_lang.front import compiled

        words = await asyncio.to_thread(compiled, source, path)
        return [{"capability": word, "answer": "", "reason": "", "source": ""} for word in words["capabilities"]]
    return list(checked["reach"])


def _show_reach(terminal: Terminal, reach: list[dict[str, Any]], principal: str) -> None:
    if not reach:
        terminal.print("  it reaches nothing outside itself")
        return
    if not reach[0]["answer"]:
        terminal.print(f"  it can reach {', '.join(one['capability'] for one in reach)}")
        terminal.print("  no hub runs, so what the policy says is not known; ask: aether policy explain --offline")
        return
    rows = [
        (
            one["capability"],
            "depends on its object" if one["answer"] == "depends" else one["answer"],
            f"line {one['line']}" if one["certain"] else "perhaps",
            one["source"],
        )
        for one in reach
    ]
    terminal.table(("capability", f"for {principal}", "used", "decided by"), rows)
    for one in reach:
        if one["answer"] == "no":
            sure = "so the hub refuses to run it: " if one["certain"] else ""
            place = f" ({one['source']})" if one["source"] else ""
            terminal.print(f"{one['capability']}: {sure}{one['reason']}{place}")
            terminal.print(f"  to learn more: {one['hint']}")
