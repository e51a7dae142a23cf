"""Diagnostics: their words, their places, how they are rendered, and that nothing else ever comes out of the parser."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_lang import AetherError, Diagnostic, check, parse

SCRIPT = """goal: keep the pot full priority: high
plugin tea {
  memory_access: read-write
  config: { floor: 200 }
  on_run {
    try {
      let level = call pot.read(unit="ml")
      if level?.value < config.floor { warn(level.value) } else if level == null { log "none {level:.2f}" }
    } catch (e) { log "offline: {e.message}" }
  }
}
when pot_low(ml = 0):
    remember("pot at {ml} ml") as "pot,tea"
    match ml { case 1: log "one" default: log "more" }
end
recall tag: "pot" → $history
for entry in $history
    log entry.content
end
let xs = [1, 2].map(x => { return x }).filter((a, b = 1) => a > b)
"""


def found(text: str | bytes) -> tuple[Diagnostic, ...]:
    with pytest.raises(AetherError) as caught:
        parse(text, "tidy.aether")
    return caught.value.diagnostics


def test_a_diagnostic_is_rendered_with_its_line_and_a_caret() -> None:
    (diagnostic,) = found("fn f() {\n\n\n\n\n\n    let box = { size: 2\n")
    assert diagnostic.render() == (
        "tidy.aether:7:15: syntax error: '{' was never closed\n"
        "    let box = { size: 2\n"
        "              ^\n"
        "  expected: '}'   hint: the bracket that starts here reaches the end of the file"
    )


def test_the_caret_line_reproduces_tabs() -> None:
    (diagnostic,) = found("if a:\n\tx = )\n")
    assert diagnostic.caret == "\t    ^"
    assert (diagnostic.line, diagnostic.column, diagnostic.end_column) == (2, 6, 7)


def test_a_very_long_line_is_cut_around_the_place() -> None:
    (diagnostic,) = found("x = '" + "a" * 5000 + "' )")
    assert len(diagnostic.source_line) <= 300
    assert diagnostic.source_line[len(diagnostic.caret) - 1] == ")"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("recal 'x' from y", "did you mean `recall`?"),
        ("if x = 1 { log x }", "write =="),
        ("if x\nlog 1", "end the line with ':' and indent what belongs to it"),
        ("x = [1, 2)", "wrong kind of bracket"),
        ("else:\n  log 1", "it continues a block of `if` that ends right before it"),
        ("echo hello", "this looks like a shell script"),
        ("x = $(date)", "this looks like a shell script"),
        ("class Tea:\n  x = 1", "this looks like Python"),
        ('{"a": 1}', "this looks like JSON"),
        ("x = big kettle", "is an operator, a comma or quotes missing?"),
        ("f(big kettle)", "is an operator, a comma or quotes missing?"),
    ],
)
def test_a_mistake_gets_one_diagnostic_with_a_hint(text: str, hint: str) -> None:
    (diagnostic,) = found(text)
    assert diagnostic.suggestion == hint
    assert len(diagnostic.expected) <= 6
    assert not any(name.isupper() and len(name) > 3 for name in diagnostic.expected)


def test_the_parser_goes_on_at_the_next_statement() -> None:
    text = "let a = 1 +* 2\nfn f() {\n  let b = 2\n  log b + * 2\n  if b { let c = (,) }\n  let d = 4\n}\nlet e = 5 5\n"
    assert [d.line for d in found(text)] == [1, 4, 5, 8]


def test_at_most_twenty_errors_are_reported() -> None:
    assert len(found("let a = 1 +* 2\n" * 50)) == 20
    assert len(found("zzzz yy\n" * 50)) == 20


def test_bytes_that_are_not_utf_8_are_one_diagnostic() -> None:
    (diagnostic,) = found(b"log 'x'\nlog '\xff'")
    assert (diagnostic.line, diagnostic.column) == (2, 6)


def answers(text: str | bytes) -> None:
    """The text is a tree or diagnostics with places inside it, and it can be checked; nothing else happens."""
    module, errors = None, ()
    try:
        module = parse(text)
    except AetherError as error:
        errors = error.diagnostics
    assert (module is None) == bool(errors)
    assert len(errors) <= 20
    assert all(d.line >= 1 and d.column >= 1 and d.render() for d in errors)
    if module is not None:
        check(module)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_give_a_tree_or_diagnostics(text: bytes) -> None:
    answers(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ax1 \n\t.,:;=+-*/%<>!?&|(){}[]\"'#$→", max_size=60))
def test_any_text_of_the_alphabet_gives_a_tree_or_diagnostics(text: str) -> None:
    answers(text)


WORDS = """if else elif for in while when every match case default try catch finally end fn return let goal: log recall
with as not and or exists call await new lambda function => -> { } ( ) [ ] : , . ?. ? = == + - | " ' {{ }} $x x f( a b 1
80% 5m 'a' "{x}" /a/ meta: steps: plugin p 1."""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\n  ", "\n    "])


@settings(max_examples=250, deadline=None)
@given(st.lists(PIECES, max_size=25))
def test_any_row_of_words_gives_a_tree_or_diagnostics(pieces: list[str]) -> None:
    answers(" ".join(pieces))


@settings(max_examples=250, deadline=None)
@given(st.integers(0, len(SCRIPT)), st.integers(0, 12), PIECES)
def test_a_damaged_script_gives_a_tree_or_diagnostics(at: int, removed: int, put: str) -> None:
    answers(SCRIPT[:at] + put + SCRIPT[at + removed :])


def test_a_script_of_all_spellings_parses() -> None:
    assert [type(s).__name__ for s in parse(SCRIPT).body] == [
        "Goal", "Plugin", "Handler", "VerbStmt", "For", "Assign",
    ]  # fmt: skip


LONG = [
    "x = [1, 2, 3]\n",
    "log a if b if c ",
    "log a where b c ",
    "x = 'a' +\n",
    '"{',
    "{{",
    "x.y ",
    "- a: 1\n",
    "(a, ",
]
LONG += [
    "and\n",
    "if a:\n",
    "not ",
    "f(x) as y ",
    "a b: c ",
    "goal: x priority: y ",
    "'''",
    "/* ",
    "} else {",
    "/",
    "? ",
]


@pytest.mark.parametrize("piece", LONG)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    def seconds(count: int) -> float:
        begin = time.process_time()
        answers(piece * count)
        return time.process_time() - begin

    small, large = 4_000 // len(piece), 32_000 // len(piece)
    bound = 8 * 4 * max(min(seconds(small) for _ in range(3)), 0.002)
    assert any(seconds(large) < bound for _ in range(3))  # the quickest of three counts; the rest is noise


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("-> x", 1, "nothing stands before '->'"),
        ('"a" "b" -> c', 5, "two words side by side: '\"a\"' and '\"b\"'"),
        ("1 -> x y", 8, "two words side by side: 'x' and 'y'"),
        ("1 -> x -> y", 3, "this cannot follow an expression"),
    ],
)
def test_an_arrow_binds_one_value_to_one_name(text: str, column: int, message: str) -> None:
    found = check(text)[0]
    assert (found.column, found.message) == (column, message)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ('x = f"{1 +}"', 11, "an expression is missing before the '}' of the string"),
        ("x = new Set", 5, "`new Set` needs brackets"),
        ("wait", 1, "a duration is missing"),
        ("fn f(a) { return a }\nf(1, 2)", 6, "'f' takes 1 argument, not 2"),
    ],
)
def test_small_slips_are_named(text: str, column: int, message: str) -> None:
    found = check(text)[-1]
    assert (found.column, found.message) == (column, message)
