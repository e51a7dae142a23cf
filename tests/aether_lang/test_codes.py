"""The catalogue: every code that the sources give stands in it, and its examples do what it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import aether_lang
from aether_lang import codes, compile, parse, signatures
from aether_lang.codes import Code, catalogue
from aether_lang.formatter import format_script
from aether_lang.front import compiled
from aether_lang.host import LocalHost
from aether_lang.program import run
from aether_lang.signatures import Mode

FOLDER = Path(aether_lang.__file__).parent
CODE = re.compile(r"A[EWS][0-9]{3}")
NOT_YET = {"AE190", "AW190"}
ENTRIES = list(catalogue().values())
OF_TEXT = [entry for entry in ENTRIES if entry.origin == "check"]


def in_sources() -> set[str]:
    """Return every text of the sources that is exactly a code, docstrings and comments left out."""
    found = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.add(node.value)
    return found


def found_in(text: str, severity: str) -> set[str]:
    """Return the codes that a script gets; for an error also those of the compiler."""
    given = compiled(text, "example")["diagnostics"] if severity == "error" else None
    return {one["code"] for one in given} if given is not None else {one.code for one in aether_lang.check(text)}


def test_every_code_of_the_sources_stands_in_the_catalogue_and_every_entry_in_the_sources() -> None:
    assert in_sources() == set(catalogue())


def test_the_catalogue_is_in_order_and_says_each_thing_once() -> None:
    written = CODE.findall((FOLDER / "codes.toml").read_text(encoding="utf-8"))
    headed = [code for code in written if f"[{code}]" in (FOLDER / "codes.toml").read_text(encoding="utf-8")]
    assert set(headed) >= set(catalogue())
    assert len({entry.title for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry.text.endswith("."), entry.code
        assert not entry.title.endswith("."), entry.code


@pytest.mark.parametrize("entry", OF_TEXT, ids=lambda entry: entry.code)
def test_the_wrong_example_gets_exactly_that_code(entry: Code) -> None:
    alike = {code for code in found_in(entry.wrong, entry.severity) if code[:2] == entry.code[:2]}
    assert alike == {entry.code}


@pytest.mark.parametrize("entry", OF_TEXT, ids=lambda entry: entry.code)
def test_the_right_example_gets_nothing_but_that_it_may_not_run_yet(entry: Code) -> None:
    assert found_in(entry.right, entry.severity) - (NOT_YET - {entry.code}) == set()


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.origin == "run"], ids=lambda entry: entry.code)
def test_the_examples_of_a_run_warn_in_its_log_or_do_not(entry: Code) -> None:
    for text, warned in ((entry.wrong, True), (entry.right, False)):
        host = LocalHost()
        run(compile(parse(text)), host)
        assert any(message.startswith(entry.code) for _, message, _ in host.records) == warned


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.origin == "signature"], ids=lambda entry: entry.code)
def test_the_examples_of_signatures_are_judged_so(entry: Code) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    mode: Mode = "strict" if entry.code == "AE601" else "warn"
    for text, expected in ((entry.wrong, entry.code), (entry.right, None)):
        data = text.encode()
        if "<key id>" in text:  # what aether sign would have written
            data = signatures.signed(data, "tea.aether", key, "ops")
        verdict = signatures.verify(data, "tea.aether", {"ops": signatures.public_text(key)})
        found = signatures.finding(verdict, mode, data.decode(), "tea.aether")
        assert (found and found.code) == expected


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.severity == "style"], ids=lambda entry: entry.code)
def test_the_formatter_mends_every_note_on_style_but_two_that_change_the_meaning(entry: Code) -> None:
    left = {one.code for one in aether_lang.check(format_script(entry.wrong)) if one.is_style}
    assert left == ({entry.code} if entry.code in ("AS117", "AS120") else set())


def test_a_code_is_found_however_it_is_written_and_an_unknown_one_has_neighbours() -> None:
    assert codes.find(" ae103 ") is catalogue()["AE103"]
    assert codes.find("AE999") is None
    assert "AE103" in codes.nearest("AE183")
    assert codes.nearest("x" * 10_000) == []
    assert [entry.severity for entry in map(codes.find, ("AE101", "AW101", "AS110")) if entry] == [
        "error",
        "warning",
        "style",
    ]
