"""The tables that the parser runs on are those of the grammar, whatever stands in the file beside it."""

import subprocess
import sys
from importlib.resources import files

import msgspec
import pytest

from aether_lang import tables

CONFLICTS = 17
"""Places where a shift is preferred to a reduction, which is what is wanted: a block behind a statement belongs to it,
a word of a phrase to the guard before it, and `else` to the nearest `if`."""


@pytest.fixture(scope="module")
def kept() -> bytes:
    return files("aether_lang").joinpath("tables.json").read_bytes()


@pytest.fixture(scope="module")
def built() -> tables.Tables:
    return tables.build(tables.grammar_text())


def test_the_kept_tables_are_those_that_lark_makes_of_the_grammar(kept: bytes, built: tables.Tables) -> None:
    assert tables.read(kept, tables.grammar_text()) == built, "write them anew: python -m aether_lang.tables"


def test_no_conflict_was_added_to_the_grammar(built: tables.Tables) -> None:
    assert built.conflicts == CONFLICTS


def test_tables_of_another_grammar_or_another_shape_are_not_used(kept: bytes) -> None:
    text = tables.grammar_text()
    shape = msgspec.json.decode(kept)
    assert tables.read(kept, text + " ") is None
    assert tables.read(msgspec.json.encode({**shape, "format": tables.FORMAT + 1}), text) is None
    assert tables.read(msgspec.json.encode({**shape, "states": "none"}), text) is None
    assert tables.read(kept[:-10], text) is None
    assert tables.read(b"", text) is None


def test_a_grammar_whose_values_the_parser_could_not_make_is_refused() -> None:
    with pytest.raises(ValueError, match="name each alternative"):
        tables.build("start: expr\nexpr: (NAME)+\n%declare NAME\n")


def test_a_process_that_parses_loads_no_lark() -> None:
    code = "import sys, aether_lang; aether_lang.parse('x = 1'); sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
