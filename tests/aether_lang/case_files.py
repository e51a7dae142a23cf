"""The cases of the language: small scripts that say in comment lines of their own what they expect.

- `# section: 3.1, 24`: the sections of the language reference that the case is about.
- `# expect: SHAPE`: one for each statement at the top, in the notation of `shapes`.
- `# expect: CODE line:column message; hint: suggestion`: one for each finding. With `# checked` the findings of the
  checker follow, as `# expect: check: CODE ..`; notes on style are listed only where `# style` stands.
- `# only: top`, or `top, braces`: the surroundings in which the case has its meaning; all three where nothing is said.

A line that begins with `#   ` goes on with the expectation before it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from aether_lang import AetherError, nodes
from aether_lang.checker import check
from aether_lang.errors import Diagnostic
from aether_lang.parser import parse_with_warnings
from aether_lang.walking import children
from tests.aether_lang.shapes import shape

_LONG_QUOTES = tuple(prefix + quotes for prefix in ("", "r", "f") for quotes in ('"""', "'''"))
CASES = Path(__file__).parents[1] / "cases"
SURROUNDINGS = ("top", "braces", "indentation")
SECTIONS = (
    "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "3.1", "3.2", "3.3", "3.4", "4", "5.1", "6.1", "6.2", "6.3",
    "6.4", "7", "8.1", "8.2", "8.3", "9", "10", "11.1", "11.2", "11.3", "11.4", "12.1", "12.2", "12.3", "12.4", "12.5",
    "12.6", "12.7", "12.8", "13", "14.1", "14.2", "14.3", "15", "16", "17.1", "17.2", "17.3", "19", "23", "24",
)  # fmt: skip


@dataclass
class Case:
    """One file: its text as it stands on the disk, and what its comment lines say."""

    path: Path
    text: str
    sections: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    only: tuple[str, ...] = SURROUNDINGS
    checked: bool = False
    style: bool = False


@cache
def read(path: Path) -> Case:
    """The case of a file. Raises ValueError when it does not say its sections."""
    case = Case(path, path.read_bytes().decode("utf-8"))
    going_on = False
    for line in case.text.splitlines():
        if line.startswith("# expect: "):
            case.expected.append(line.removeprefix("# expect: ").strip())
            going_on = True
            continue
        if going_on and line.startswith("#   "):
            case.expected[-1] += " " + line[4:].strip()
            continue
        going_on = False
        if line.startswith("# section: "):
            case.sections = [part.strip() for part in line.removeprefix("# section: ").split(",")]
        elif line.startswith("# only: "):
            case.only = tuple(part.strip() for part in line.removeprefix("# only: ").split(","))
        elif line.strip() == "# checked":
            case.checked = True
        elif line.strip() == "# style":
            case.style = True
    unknown = set(case.sections) - set(SECTIONS)
    if not case.sections or unknown or set(case.only) - set(SURROUNDINGS):
        raise ValueError(f"{path.name} must say its sections and surroundings; unknown: {sorted(unknown)}")
    return case


def all_cases() -> list[Case]:
    """Every case, by the names of the files."""
    return [read(path) for path in sorted(CASES.glob("*.aether"))]


def said(finding: Diagnostic) -> str:
    """A finding in one line."""
    parts = [f"{finding.code} {finding.line}:{finding.column} {finding.message}"]
    parts += [f"hint: {finding.suggestion}"] if finding.suggestion else []
    parts += [f"line {other.line}: {other.message}" for other in finding.related]
    return " ".join("; ".join(parts).split())


def found(case: Case, text: str | None = None) -> list[str]:
    """What the front end makes of a case, or of another text in its place, in the notation of expectations."""
    text = case.text if text is None else text
    try:
        module, warnings = parse_with_warnings(text, case.path.name)
    except AetherError as error:
        return [said(finding) for finding in error.diagnostics]
    lines = [" ".join(shape(statement).split()) for statement in module.body]
    warnings = [warning for warning in warnings if case.style or not warning.code.startswith("AS")]
    lines += [said(warning) for warning in sorted(warnings, key=lambda warning: (warning.line, warning.column))]
    if case.checked:
        beyond = [finding for finding in check(module) if case.style or not finding.code.startswith("AS")]
        lines += ["check: " + said(finding) for finding in beyond]
    return lines


def wrapped(case: Case, module: nodes.Module, surrounding: str) -> str:
    """The script as the body of a function, in braces or by indentation. Lines inside a string over several lines stay
    as they are."""
    text = case.text if case.text.endswith("\n") else case.text + "\n"
    if surrounding == "braces":
        return "fn wrapped() {\n" + text + "}\n"
    kept = _lines_in_strings(module)
    lines = text.split("\n")[:-1]
    moved = [line if at in kept or not line.strip() else "    " + line for at, line in enumerate(lines, 1)]
    return "function wrapped():\n" + "\n".join(moved) + "\n"


def _lines_in_strings(module: nodes.Module) -> set[int]:
    inside: set[int] = set()
    work: list[nodes.Node] = [module]
    while work:
        node = work.pop()
        if isinstance(node, (nodes.Text, nodes.TextTemplate)) and not getattr(node, "raw", False):
            inside |= set(range(node.span.line + 1, node.span.end_line + 1))
        work += children(node)
    return inside


def coverage() -> dict[str, list[str]]:
    """The names of the cases by the section that they are about."""
    by_section: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for case in all_cases():
        for section in case.sections:
            by_section[section].append(case.path.stem)
    return by_section


def is_finding(line: str) -> bool:
    """Is this expectation an error or a warning?"""
    return re.match(r"(?:check: )?A[EWS][0-9]{3} ", line) is not None
