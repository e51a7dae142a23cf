"""What a compile worker does with one script: parse, check, compile, and say what was found. Importing this loads the
parser, so nothing that runs scripts does."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from . import nodes
from .certainty import certain
from .checker import capabilities, check
from .compiled import Compiled
from .compiler import compile_module
from .declaration_checks import contracts
from .errors import AetherError, Diagnostic
from .parser import parse_with_warnings
from .registrations import registrations
from .scanner import Limits

MOST_FINDINGS: Final = 200
"""Findings on one script that are handed on: errors before warnings, warnings before notes on style."""
_OF_SOURCE: Final = frozenset({"source_kb", "brackets", "blocks"})


def compiled(source: str | bytes, name: str, limits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`{ok, diagnostics}`; where nothing is wrong also `capabilities`, of those the `certain` ones, the `contracts`
    with plugins, and what it `registers` while resident; with `ok` true also `code` and `meta`. Of `limits` those of
    the source count here (18.1): `source_kb`, `brackets`, `blocks`; the others are those of a run."""
    bounds = Limits(**{key: value for key, value in (limits or {}).items() if key in _OF_SOURCE})
    findings: list[Diagnostic] = []
    found: dict[str, Any] = {}
    try:
        module, warnings = parse_with_warnings(source, name, bounds)
        findings = sorted([*warnings, *check(module)], key=lambda one: (one.line, one.column))
        if all(one.is_warning for one in findings):
            found = {
                "capabilities": capabilities(module),
                "certain": msgspec.to_builtins(certain(module)),
                "contracts": msgspec.to_builtins(contracts(module)),
                "registers": msgspec.to_builtins(registrations(module)),
            }
            code = compile_module(module)
            found |= {"code": code, "meta": Compiled(code).meta}
    except AetherError as error:
        findings = [*findings, *error.diagnostics]
    return {"ok": "code" in found, "diagnostics": _handed_on(findings), **found}


def compiled_entry(
    source: str, name: str, session: Mapping[str, tuple[bool, bool]], limits: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """As `compiled`, for an entry of a `session.Session` that has those names: `{ok, diagnostics}`, with `ok` also
    `code`, and `shows`: what the entry gives to be shown, its `value`, `last_output` or nothing.

    What ends as an expression gives its value. Findings about names that the session has are left out.
    """
    bounds = Limits(**{key: value for key, value in (limits or {}).items() if key in _OF_SOURCE})
    try:
        module, warnings = parse_with_warnings(source, name, bounds)
        findings = sorted([*warnings, *check(module)], key=lambda one: (one.line, one.column))
        findings = [one for one in findings if not _about_session(one, session)]
        if any(not one.is_warning for one in findings):
            return {"ok": False, "diagnostics": _handed_on(findings)}
        last = module.body[-1] if module.body else None
        shows = ""
        if isinstance(last, nodes.ExprStmt):
            module, shows = _with_value(module, last), "value"
        elif isinstance(last, nodes.Return):
            shows = "value"
        elif isinstance(last, nodes.VerbStmt):
            shows = "last_output"
        code = compile_module(module, session)
    except AetherError as error:
        return {"ok": False, "diagnostics": _handed_on(list(error.diagnostics))}
    return {"ok": True, "diagnostics": _handed_on(findings), "code": code, "shows": shows}


def _with_value(module: nodes.Module, last: nodes.ExprStmt) -> nodes.Module:
    return msgspec.structs.replace(module, body=(*module.body[:-1], nodes.Return(last.span, last.value)))


def _about_session(finding: Diagnostic, session: Mapping[str, tuple[bool, bool]]) -> bool:
    return finding.code[2:3] == "2" and any(f"'{name}'" in finding.message for name in session)


def _handed_on(findings: list[Diagnostic]) -> Any:
    if len(findings) > MOST_FINDINGS:
        gravest = sorted(findings, key=lambda found: (found.is_warning, found.is_style))[:MOST_FINDINGS]
        findings = sorted(gravest, key=lambda found: (found.line, found.column))
    return msgspec.to_builtins(findings)
