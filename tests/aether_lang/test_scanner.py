"""Characters to tokens, and the two kinds of brace."""

import pytest

from aether_lang.errors import Source, SyntaxProblem
from aether_lang.scanner import Limits, check_characters, scan


def types(text: str) -> str:
    return " ".join(token.type for token in scan(Source(text, "t"), Limits(), []) if token.type != "NL")


def texts(text: str) -> list[str]:
    return [token.text for token in scan(Source(text, "t"), Limits(), []) if token.type != "NL"]


def refused(text: str, limits: Limits | None = None) -> SyntaxProblem:
    with pytest.raises(SyntaxProblem) as caught:
        _scanned(Source(text, "t"), limits or Limits())
    return caught.value


def _scanned(source: Source, limits: Limits) -> None:
    check_characters(source, limits)
    scan(source, limits, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = { a: 1 }", "NAME = { NAME : NUMBER }"),
        ("if a { b }", "NAME NAME BEGIN NAME FINISH"),
        ("f = x => { return x }", "NAME = NAME => BEGIN NAME NAME FINISH"),
        ("f = x => { a: x }", "NAME = NAME => { NAME : NAME }"),
        ("f = x => { }", "NAME = NAME => { }"),
        ("f = x => { ...x }", "NAME = NAME => { ... NAME }"),
        ("log { a: 1 }", "NAME { NAME : NUMBER }"),
        ("meta { a }", "NAME BEGIN NAME FINISH"),
        ("plugin 'p' { a }", "NAME STRING BEGIN NAME FINISH"),
        ("return { a: 1 }", "NAME { NAME : NUMBER }"),
        ("for x in { a: 1 } { b }", "NAME NAME NAME { NAME : NUMBER } BEGIN NAME FINISH"),
        ("hits = search { a: 1 }", "NAME = NAME { NAME : NUMBER }"),
        ("store v in c with { a: 1 }", "NAME NAME NAME NAME NAME { NAME : NUMBER }"),
        ("simulate load { a }", "NAME NAME BEGIN NAME FINISH"),
        ("x = function(a) { b }", "NAME = NAME ( NAME ) BEGIN NAME FINISH"),
        ("f(function(a) { b })", "NAME ( NAME ( NAME ) BEGIN NAME FINISH )"),
        ("f(if a { b } else { c })", "NAME ( NAME NAME BEGIN NAME FINISH NAME BEGIN NAME FINISH )"),
        ("f(a if b else { c: 1 })", "NAME ( NAME NAME NAME NAME { NAME : NUMBER } )"),
        ("export { a }", "NAME { NAME }"),
        ("- { a: 1 }", "DASH { NAME : NUMBER }"),
        ("try { a } finally { b }", "NAME BEGIN NAME FINISH NAME BEGIN NAME FINISH"),
    ],
)
def test_a_brace_is_told_by_what_stands_before_it(text: str, expected: str) -> None:
    assert types(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = a / b / c", "NAME = NAME / NAME / NAME"),
        ("x = /b/.test(c)", "NAME = REGEX . NAME ( NAME )"),
        ("filter /b/ x", "NAME REGEX NAME"),
        ("x = (a) / 2", "NAME = ( NAME ) / NUMBER"),
        ("if /a/.test(b) { c }", "NAME REGEX . NAME ( NAME ) BEGIN NAME FINISH"),
    ],
)
def test_a_slash_begins_a_regex_only_where_an_operand_may_stand(text: str, expected: str) -> None:
    assert types(text) == expected


def test_comments_vanish_but_not_in_strings_and_addresses() -> None:
    assert texts("a # b\n// c\nd /* e\nf */ g 'h # i' 'http://x'") == ["a", "d", "g", "'h # i'", "'http://x'"]


def test_a_backslash_joins_lines() -> None:
    assert types("a = 1 + \\\n 2") == "NAME = NUMBER + NUMBER"


def test_entries_of_a_dict_may_stand_on_lines_without_commas() -> None:
    assert types("x = { a: 1\n b: 2\n 'c': 3\n ...d }").count(",") == 3
    assert types("x = { a: 1 +\n b }").count(",") == 0
    assert types("x = { a: b\n and c }").count(",") == 0


def test_goal_text_is_raw_up_to_its_keys_and_comments() -> None:
    assert texts("goal: don't fix #4 :) priority: high # bye") == [
        "goal", ":", "don't fix #4 :)", "priority", ":", "high",
    ]  # fmt: skip
    assert types("goal: 'x'") == "NAME : STRING"


def test_a_raw_block_ends_at_a_bar_or_at_a_shallower_line() -> None:
    tokens = scan(Source("  note: |\n    a\n\n      b\n  x = 1", "t"), Limits(), [])
    assert tokens[2].data == "a\n\n  b\n"
    assert tokens[4].text == "x"
    assert tokens[4].span.line == 5
    assert scan(Source("note: |\n a\n|\nx", "t"), Limits(), [])[2].data == "a\n"


def test_hyphens_join_words_only_as_whole_values() -> None:
    assert types("mode: read-write # c") == "NAME : HYPHWORD"
    assert types("mode: n-1 + 2") == "NAME : NAME - NUMBER + NUMBER"
    assert types("x = { mode: read-write }") == "NAME = { NAME : NAME - NAME }"


def test_an_apostrophe_between_letters_joins_a_word() -> None:
    assert types("suggest don't panic") == "NAME WORD NAME"
    assert types("x = f'a'") == "NAME = STRING"


def test_paths_and_clock_times_stand_behind_their_words_only() -> None:
    assert types("call a/b.f()") == "NAME PATH . NAME ( )"
    assert types("x = a/b") == "NAME = NAME / NAME"
    assert types("daily at 06:00") == "NAME NAME CLOCK"


def test_positions_count_characters_over_lines_of_any_kind() -> None:
    tokens = scan(Source("a\r\n  '''x\ny''' b", "t"), Limits(), [])
    string, last = tokens[2], tokens[3]
    assert (string.span.line, string.span.column, string.span.end_line, string.span.end_column) == (2, 3, 3, 5)
    assert (last.span.line, last.span.column) == (3, 6)


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("a ( b", 2, "never closed"),
        ("a [ b )", 6, "does not close '['"),
        ("a }", 2, "closes nothing"),
        ("x = 'abc", 4, "never closed"),
        ("x = 4abc", 4, "neither a number nor a name"),
        ("x = é", 4, "unknown character"),
        ("a \x00", 2, "not allowed"),
        ("a '\u202e'", 3, "not allowed"),
        ("x = /(?<=a)b/", 5, "lookaround"),
        (r"x = /(a)\1/", 8, "back-references"),
        ("x = /a/gg", 8, "no flag"),
        ("x = /(/.test(a)", 5, "no regular expression"),
        ("x = 1e999", 4, "too large"),
        ("/* a", 0, "never closed"),
        ('{"a": 1}', 0, "begin with '{'"),
        ("(a; b)", 2, "bracket is still open"),
    ],
)
def test_what_is_no_token_is_refused_at_its_place(text: str, start: int, words: str) -> None:
    problem = refused(text)
    assert problem.start == start
    assert words in problem.message


def test_limits_are_counted_before_the_parser_runs() -> None:
    assert "more than 3 brackets" in refused("((((a))))", Limits(brackets=3)).message
    assert "more than the 1 KiB" in refused("a" * 2000, Limits(source_kb=1)).message
