"""Logical lines and blocks of both kinds."""

import pytest

from aether_lang import AetherError, parse
from aether_lang.errors import Source
from aether_lang.layout import Block, lay_out
from aether_lang.scanner import Limits, scan


def outline(text: str) -> list[object]:
    """The lines as nested lists: first word, then the blocks they own."""
    source = Source(text, "t")
    return _block(lay_out(source, scan(source, Limits(), []), []))


def _block(block: Block) -> list[object]:
    found: list[object] = []
    for line in block.lines:
        found.append(" ".join(token.text for token in line.tokens if token.type != "BLOCK"))
        found += [_block(token.data) for token in line.tokens if token.type == "BLOCK"]
        found += [_block(body) for body in (line.body, line.item_body) if body is not None]
    return found


def message(text: str) -> str:
    with pytest.raises(AetherError) as caught:
        parse(text)
    return caught.value.diagnostics[0].message


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1 +\n2", ["a = 1 + 2"]),
        ("a = b\n  .c()\n  ?.d", ["a = b . c ( ) ?. d"]),
        ("a = b\nand c", ["a = b and c"]),
        ("a = f(\n1,\n2)", ["a = f ( 1 , 2 )"]),
        ("a = c\n? b\n: d", ["a = c ? b : d"]),
        ("a; b", ["a", "b"]),
        ("a\n- b", ["a", "- b"]),
    ],
)
def test_a_line_goes_on_where_an_operand_is_missing(text: str, lines: list[object]) -> None:
    assert outline(text) == lines


def test_deeper_lines_belong_to_the_line_before() -> None:
    assert outline("a:\n  b\n  c:\n    d\ne") == ["a :", ["b", "c :", ["d"]], "e"]


def test_indentation_blocks_stand_in_braces_and_are_closed_by_them() -> None:
    assert outline("a {\n  b:\n    c\n}\nd") == ["a", ["b :", ["c"]], "d"]


def test_end_closes_once_and_stands_for_an_empty_block() -> None:
    assert outline("a:\n  b\nend\nc:\nend\nd") == ["a :", ["b"], "c :", "d"]
    assert "closes nothing" in message("when a:\n  log b\nend\nend")


def test_each_of_two_siblings_has_its_own_end() -> None:
    assert outline("if a:\n  if b:\n    c\n  end\nend\nd") == ["if a :", ["if b :", ["c"]], "d"]


def test_a_record_continues_at_the_column_of_its_first_word() -> None:
    assert outline("- a: 1\n  b: 2\n- c") == ["- a : 1", ["b : 2"], "- c"]
    assert outline("- a:\n    b: 1\n  c: 2") == ["- a :", ["b : 1"], ["c : 2"]]


def test_dashes_may_stand_at_the_column_of_their_key() -> None:
    assert outline("a:\n- b\n- c\nd: 1") == ["a :", ["- b", "- c"], "d : 1"]


def test_tabs_count_to_the_next_multiple_of_four() -> None:
    assert outline("a:\n\tb\n\tc") == ["a :", ["b", "c"]]
    assert "tabs and spaces" in message("if a:\n\tlog b\n    log c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\n  b = 2", "unexpected indent"),
        ("if a:\n    log b\n  log c", "inconsistent indentation"),
        ("if a:\nlog b", "expected an indented block"),
        ("log a\nend", "closes nothing"),
        ("if a {\n  log b\n}\nend", "closes nothing"),
        ("if a { log b } log c", "behind the '}'"),
        ("else:\n  log a", "`else` without `if`"),
        ("try:\n  f()\n} catch (e) {\n}", "closes nothing"),
    ],
)
def test_a_line_out_of_place_is_refused(text: str, words: str) -> None:
    assert words in message(text)
