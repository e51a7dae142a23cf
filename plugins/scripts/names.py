"""Names of scripts: what may stand in one, and which files it is tried as (threat model, section 9)."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from kernel import BadInput

SUFFIX: Final = ".aether"
SYSTEM: Final = "system"
INLINE: Final = "inline"
"""The first part of the names under which sources run that a request brought along; no root serves it."""
LONGEST: Final = 200

_SEGMENT = re.compile(r"[A-Za-z0-9_.-]+")


def check_name(name: str) -> str:
    """Return the name with its suffix; raise `BadInput` for one that cannot be a script's.

    Relative, `/` between parts of A-Z a-z 0-9 _ . -, none of them empty, `.` or `..`, at most 200 bytes.
    """
    if not isinstance(name, str) or not name:
        raise wrong(name, "it is empty")
    if unicodedata.normalize("NFC", name) != name:
        raise wrong(name, "it is not in Unicode's NFC form")
    full = name if name.endswith(SUFFIX) else name + SUFFIX
    if len(full.encode("utf-8", "surrogatepass")) > LONGEST:
        raise wrong(name, f"it is longer than {LONGEST} bytes")
    for part in full.split("/"):
        if part in ("", ".", ".."):
            raise wrong(name, "it has an empty part, '.' or '..'; a name is relative to the script folders")
        if not _SEGMENT.fullmatch(part):
            raise wrong(name, "its parts are made of A-Z, a-z, 0-9, '_', '.' and '-', with '/' between them")
    if full.rpartition("/")[2] == SUFFIX:
        raise wrong(name, "it has no name before its suffix")
    return full


def candidates(name: str) -> tuple[str, ...]:
    """Return the files a checked name is tried as, in order."""
    if name.startswith(f"{SYSTEM}/"):
        return (name,)
    return (name, f"{SYSTEM}/{name}")


def module_candidates(path: str) -> tuple[str, ...]:
    """Return the files a module path is tried as: whole, then without its first part, and so on (reference, 15)."""
    parts = check_name(path).split("/")
    return tuple("/".join(parts[start:]) for start in range(len(parts)))


def inline_name(name: str | None) -> str:
    """Return the name under which a source runs that came with the request."""
    return f"{INLINE}/{check_name(name or 'script')}"


def readable(file: str) -> str:
    """Return a name that the hub takes, as near to a file's as can be."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", file)[-100:].lstrip(".") or "script"


def entered(entry: str | None, command: str | None, config: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a run's input says of where it begins, without what nobody said."""
    if entry is not None and command is not None:
        raise BadInput("a run has one entry: give `entry` or `command`", details={"field": "command"})
    for field, word in (("entry", entry), ("command", command)):
        if word is not None and not 0 < len(word) <= LONGEST:
            raise BadInput(f"{field}: expected 1 to {LONGEST} characters, got {len(word)}", details={"field": field})
    named = f"command:{command}" if command is not None else entry
    return {key: value for key, value in {"entry": named, "config": config}.items() if value is not None}


def wrong(name: Any, why: str) -> BadInput:
    """Return the refusal of a name."""
    shown = str(name)[:80]
    return BadInput(
        f"{shown!r} cannot be the name of a script: {why}",
        details={"type": "InvalidScriptName", "script_name": shown},
        code="INVALID_SCRIPT_NAME",
    )
