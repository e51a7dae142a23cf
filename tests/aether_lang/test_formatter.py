"""`format_script`: one style, the same meaning, every comment in its place, and nothing changes the second time."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from aether_lang import AetherError, FormattingError, format_script, parse
from aether_lang.likeness import alike
from aether_lang.parser import Reading, parse_with_warnings, read

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "formatting").glob("*.aether"))
FILES = sorted(
    {
        *(ROOT / "tests" / "cases").glob("*.aether"),
        *(ROOT / "examples").glob("*.aether"),
        *(ROOT / "scripts").rglob("*.aether"),
        *GOLDEN,
    }
)
SHOWN = re.compile(r"^```aether\n(.*?)^```", re.MULTILINE | re.DOTALL)


def formatted(text: str) -> str:
    """The script formatted, with the three promises held."""
    before = read(text)
    result = format_script(text)
    after = read(result)
    assert alike(after.module, before.module), result
    assert format_script(result) == result
    left = comments(after)
    for comment in comments(before):
        if left and left[0] == comment:
            del left[0]
        else:
            assert comment in result  # it stood in a text, and is now in its quotes
    assert not left
    return result


def parses(text: str) -> bool:
    """Is it a script of the language?"""
    try:
        parse(text)
    except AetherError:
        return False
    return True


def comments(reading: Reading) -> list[str]:
    """The comments of a script in their order, each without what may change of it."""
    return [plain(reading.source.text[one.start : one.end]) for one in reading.passed if one.kind == "comment"]


def plain(comment: str) -> str:
    """A comment without its mark and the indentation of its further lines."""
    return re.sub(r"\s+", " ", re.sub(r"^(#|//)", "#", comment)).strip()


# ---------------------------------------------------------------- the leniencies of section 24


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if a\n  b()", "if a:\n  b()\n"),
        ("simulate load for 24h\n  b()\nthink about x\n  c()", "simulate load for 24h:\n  b()\nthink about x\n  c()\n"),
        ("while a\n  b()\nend", "while a:\n  b()\n"),
        ("define f(a)\n  b()\nend", "fn f(a):\n  b()\n"),
        ("try\n  a()\ncatch e\n  b()\nfinally\n  c()", "try:\n  a()\ncatch e:\n  b()\nfinally:\n  c()\n"),
        ("x = {\n  a: 1\n  b: 2 # c\n  ...d\n}", "x = {\n  a: 1,\n  b: 2,  # c\n  ...d\n}\n"),
        ("if a:\n  b()\nend\nend_of = 1", "if a:\n  b()\nend_of = 1\n"),
        ("when late:\nend", "when late {}\n"),
        ("if a:\nend", "if a {}\n"),
        ("function f(a):\nend", "fn f(a) {}\n"),
        ("plan:\nend\nlog 1", "plan:\nlog 1\n"),
        ("log 1 // said\n//bare", "log 1  # said\n#bare\n"),
        ("goal: keep the pot full priority: high", 'goal: "keep the pot full" priority: high\n'),
        ('goal: fix #4, don\'t "wait" \\n', 'goal: "fix #4, don\'t \\"wait\\" \\\\n"\n'),
        ("goal: use {braces} and 'quotes'", "goal: 'use {braces} and \\'quotes\\''\n"),
        ('goal: say "hi"', "goal: 'say \"hi\"'\n"),
        ("goal: x metrics: a=80%,b=3 deadline: 2 days", 'goal: "x" metrics: "a=80%,b=3" deadline: "2 days"\n'),
        ("high = 3\ngoal: x priority: high", 'high = 3\ngoal: "x" priority: "high"\n'),
        ("plugin p {\n  memory_access: read-write\n}", 'plugin p {\n  memory_access: "read-write"\n}\n'),
        ("for each x in xs:\n  log x", "for x in xs:\n  log x\n"),
        ("for each /* c */ x in xs:\n  log x", "for /* c */ x in xs:\n  log x\n"),
        ("for each in xs:\n  log each", "for each in xs:\n  log each\n"),
        ('rules:\n  - don\'t wait\n  - say "{x}" twice', 'rules:\n  - "don\'t wait"\n  - \'say "{x}" twice\'\n'),
        ("checks:\n  - jars_left: > 2", 'checks:\n  - jars_left: { op: ">", value: 2 }\n'),
        ("checks:\n  - a: != [1,\n 2] # c", 'checks:\n  - a: { op: "!=", value: [1,\n    2] }  # c\n'),
        (
            'steps:\n- if: "a"\n  then:\n  - f()\n  else:\n  - g()',
            'steps:\n  - if: "a"\n    then:\n      - f()\n    "else":\n      - g()\n',
        ),
        ("f(a: 1, b : 2)", "f(a=1, b=2)\n"),
        ("x = a === b\ny = a !== b", "x = a == b\ny = a != b\n"),
        ("x = a AND NOT b OR c", "x = a and not b or c\n"),
        ("x = [True, False, None, none, undefined]", "x = [true, false, null, null, null]\n"),
        ('1. f()\n2. g() -> x\n3. h(x) as "t"\n4. x > 1 if y', 'f()\ng() -> x\nh(x) as "t"\n4. x > 1 if y\n'),
        ("steps:\n  1. scan: f()\n  2. scan: g()", "steps:\n  - scan: f()\n  - scan: g()\n"),
        ("def f():\n  return 1", "fn f():\n  return 1\n"),
        ("export function f(a) { return a }", "export fn f(a) { return a }\n"),
        ("print (a) + b", "print(a) + b\n"),
        ("if a:\n  b()\nend\nif c:\n  d()\nend", "if a:\n  b()\nif c:\n  d()\n"),
        ("recall x → y", "recall x -> y\n"),
        ("x = !a && b || !c.d", "x = not a and b or not c.d\n"),
        ("x = a is b\ny = a is not b", "x = a == b\ny = a != b\n"),
    ],
)
def test_each_leniency_is_rewritten(before: str, after: str) -> None:
    assert formatted(before) == after


def test_a_compound_verb_stays_since_no_other_form_means_the_same() -> None:
    assert formatted("adapt_strategy   for today") == "adapt_strategy for today\n"


def test_a_guard_without_a_block_stays() -> None:
    text = 'plugin "p":\n  trigger:\n    schedule: daily at "22:00"\n    if late  and true\n'
    assert formatted(text) == text.replace("  and", " and")


# ---------------------------------------------------------------- layout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x=1;y=2", "x = 1\ny = 2\n"),
        ("\n\n\nx = 1\n\n\n\ny = 2\n\n\n", "x = 1\n\ny = 2\n"),
        ("fn f() {\n\n\n  a()\n\n\n}", "fn f() {\n  a()\n}\n"),
        ("if a:\n\n  b()", "if a:\n  b()\n"),
        ("if a { b() }", "if a { b() }\n"),
        ("if a { b(); c() }", "if a {\n  b()\n  c()\n}\n"),
        ("if a { }", "if a {}\n"),
        ("if a {\n}", "if a {}\n"),
        ("if a { b }\nelse { c }", "if a { b } else { c }\n"),
        ("if a { b }\n# why\nelse { c }", "if a { b }\n# why\nelse { c }\n"),
        ("if a:\n\tb\n\tif c:\n\t\td", "if a:\n  b\n  if c:\n    d\n"),
        ("plan:\n- a: 1\n- b: 2", "plan:\n  - a: 1\n  - b: 2\n"),
        ("plan:\n  -   a: 1\n      b: 2", "plan:\n  - a: 1\n    b: 2\n"),
        ("f({\na: 1,\nb: [\n1,\n2\n]\n})", "f({\n  a: 1,\n  b: [\n    1,\n    2\n  ]\n})\n"),
        ("x = a\n      .b()\n    .c", "x = a\n  .b()\n  .c\n"),
        ("x = [1\n, 2]", "x = [1,\n  2]\n"),
        ("x = a + \\\n      b", "x = a + \\\n  b\n"),
        ("xs.map(x=>{ let y=x\nreturn y })", "xs.map(x => {\n  let y = x\n  return y\n})\n"),
        ("note: |\n      one\n        two\n\n      three\n|\nx = 1", "note: |\n  one\n    two\n\n  three\n|\nx = 1\n"),
        ("note: |\n one\nx = 1", "note: |\n  one\nx = 1\n"),
        ("note: |\n one\n\n", "note: |\n  one\n\n|\n"),
        ('x = """a\n   b"""', 'x = """a\n   b"""\n'),
        ("if a: b", "if a: b\n"),
        ("match x { case 1: log 1\ndefault: log 2 }", "match x {\n  case 1: log 1\n  default: log 2\n}\n"),
        ("", ""),
        ("\n\n", ""),
    ],
)
def test_lines_blocks_and_blank_lines(before: str, after: str) -> None:
    assert formatted(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x=a+b*-c**2", "x = a + b * -c ** 2\n"),
        ("x= - -a", "x = - -a\n"),
        ("x=a- -b", "x = a - -b\n"),
        ("log -x", "log -x\n"),
        ("log - x", "log - x\n"),
        ("log [1,2]", "log [1, 2]\n"),
        ("log[1]", "log[1]\n"),
        ("log /a b/g", "log /a b/g\n"),
        ("x=log/2/3", "x = log / 2 / 3\n"),
        ("x = 10%3 + 80%", "x = 10 % 3 + 80%\n"),
        ("x = a ?.5 : b", "x = a ? .5 : b\n"),
        ("x = a ?.b ?. c", "x = a?.b?.c\n"),
        ("x = 1 .. 5", "x = 1..5\n"),
        ("x = xs[1 : n-1]", "x = xs[1:n - 1]\n"),
        ("x = xs[c?1:2]", "x = xs[c ? 1 : 2]\n"),
        ("x = {a:1,'b' : {c : [ ]}, ...d, e}", "x = { a: 1, 'b': { c: [] }, ...d, e }\n"),
        ("x = {}", "x = {}\n"),
        ("x = f ( ...xs , k = 1 )", "x = f(...xs, k=1)\n"),
        ("fn f(a,b=2,...rest)->int? { }", "fn f(a, b = 2, ...rest) -> int? {}\n"),
        ("let x:List[ int ]=[]", "let x: List[int] = []\n"),
        ("x = ( a , )", "x = (a,)\n"),
        ("x = (a,b)=>a+b", "x = (a, b) => a + b\n"),
        ("x = lambda a,b : a", "x = lambda a, b: a\n"),
        ("x = xs.map( function(a){ return a } )", "x = xs.map(function(a) { return a })\n"),
        ("x ++", "x++\n"),
        ("store v in c with {a:1}", "store v in c with { a: 1 }\n"),
        ("x = call a/b.f() / 2", "x = call a/b.f() / 2\n"),
        ("use a/b  as  c", "use a/b as c\n"),
        ("x = {{ a.b }}", "x = {{ a.b }}\n"),
        ('x = f"{ a }" + r"\\d"', 'x = f"{ a }" + r"\\d"\n'),
        ("think   about long-term plans", "think about long-term plans\n"),
        ('expect:   reply   from "x"', 'expect: reply   from "x"\n'),
        ("x = if a {1} else {2}", "x = if a { 1 } else { 2 }\n"),
        ("x = ~a|b&c", "x = ~a | b & c\n"),
    ],
)
def test_blanks_stand_where_the_style_wants_them_and_where_they_count(before: str, after: str) -> None:
    assert formatted(before) == after


def test_the_text_of_a_call_in_a_manifest_is_data() -> None:
    text = 'steps:\n  - action:   "x"\n    using: shelf( 1 )\n'
    assert formatted(text) == 'steps:\n  - action: "x"\n    using: shelf( 1 )\n'


def test_a_block_that_would_be_too_wide_is_broken_up_and_stays_so() -> None:
    name = "a" * 40
    assert formatted(f"if {name} {{ {name}({name[:10]}) }}").count("\n") == 1
    assert formatted(f"if {name} {{ {name}({name[:11]}) }}").count("\n") == 3


def test_what_would_go_on_with_the_line_before_is_kept_apart() -> None:
    assert formatted("a; +b") == "a;\n+b\n"
    assert formatted("goal: add this\n+ 1") == 'goal: "add this";\n+1\n'


def test_the_same_job_in_five_spellings() -> None:
    names = {"legacy", "plugin", "handler", "manifest", "bootstrap"}
    for name in names:
        text = (ROOT / "tests" / "formatting" / f"{name}.aether").read_text()
        golden = (ROOT / "tests" / "formatting" / f"{name}.formatted.aether").read_text()
        assert formatted(text) == golden


# ---------------------------------------------------------------- comments

COMMENTED = [
    "# top\n\n# of x\nx = 1  # at x\n# last\n",
    "if a:  # head\n  # before b\n  b()  # at b\n  # after b\n# before else\nelse:  # other\n  c()\n  # of c\n# end\n",
    "plugin p {  # head\n  # a\n  tags: [a]  # tags\n\n  # of f\n  fn f() {  # f\n    # in f\n  }\n  # b\n}  # c\n",
    "x = [  # list\n  # one\n  1,  # first\n  # two\n  2  # second\n  # none\n]  # done\n",
    "x = f(a, /* of b */ b)  # call\ny = (/* in */ a)\n",
    "/* long\n   comment */\nx = 1 /* short */ + 2  /* end */\n",
    "steps:  # all\n  # of one\n  - a: 1  # a\n    # of b\n    b: 2  # b\n  # of two\n  - a: 2\n# out\ny = 1\n",
    'note: |  # raw\n  # text\n|\n# behind\ngoal: "x" priority: high  # why\n',
    "xs\n  # first\n  .map(f)  # map\n  # second\n  .filter(g)\n",
    "try {  # a\n  a()  # b\n}  # c\n# d\ncatch (e) {  # e\n  b()\n}  # f\n",
    "match x {\n  # g\n  case 1: y  # h\n  # i\n  default: z\n  /* j */\n}\n",
    "when a:\n  b()\n  # in a\n\n# of c\nwhen c:\n  # only this\n  d()\n    # deep\n",
]


@pytest.mark.parametrize("text", COMMENTED)
def test_comments_keep_their_places(text: str) -> None:
    assert formatted(text) == text.replace("    # deep", "  # deep")


@pytest.mark.parametrize("text", [text for text in COMMENTED if "- " not in text and "/* long" not in text])
def test_comments_keep_their_places_in_a_deeper_layout(text: str) -> None:
    deeper = "\n".join(" " * (len(line) - len(line.lstrip())) * 2 + line.lstrip() for line in text.split("\n"))
    assert formatted(deeper) == formatted(text)


def test_comments_around_what_is_dropped() -> None:
    text = "if a\n  b\n  # in\nend # of a\n\n// next\nc ; /* d */ d // e\n"
    assert formatted(text) == "if a:\n  b\n  # in\n# of a\n\n# next\nc  /* d */\nd  # e\n"


# ---------------------------------------------------------------- first lines, line ends


def test_a_signed_script_comes_back_as_it_is() -> None:
    text = "# @signature: " + "0" * 64 + "\r\nlog   1"
    assert format_script(text) == text
    assert format_script("\ufeff" + text) == "\ufeff" + text
    assert format_script("\n" + text) != "\n" + text


def test_no_comment_becomes_a_signature() -> None:
    assert formatted("// @signature: " + "0" * 64 + "\nx = 1").startswith("// @signature")


def test_a_first_line_for_the_shell_stays_first() -> None:
    assert formatted("#!/usr/bin/env aether\n\n\nx=1") == "#!/usr/bin/env aether\n\nx = 1\n"


def test_a_byte_order_mark_is_dropped_and_lines_end_in_one_way() -> None:
    text = '\ufeffif a\r\n  b = """x\r\ny"""\r\n\r\n\r\nend\r\nnote: |\r\n  z\r\n|\r\nschedule: daily at \\\r\n 06:00'
    assert formatted(text) == ('if a:\n  b = """x\ny"""\n\nnote: |\n  z\n|\nschedule: daily at \\\n  06:00\n')


# ---------------------------------------------------------------- what cannot be formatted


def test_what_does_not_parse_raises_its_findings() -> None:
    with pytest.raises(AetherError) as refused:
        format_script("x = (", "broken.aether")
    assert refused.value.diagnostics[0].file == "broken.aether"


def test_nothing_is_given_out_that_would_mean_something_else() -> None:
    # At the start of a line this text would be the goal's, the comment with it.
    with pytest.raises(FormattingError, match="would mean something else"):
        format_script('x = 1; goal:/*c*/ "y"')


def test_depth_is_no_matter() -> None:
    deep = "".join("  " * at + f"if a{at}:\n" for at in range(300)) + "  " * 300 + "b\n"
    assert formatted(deep) == deep
    assert formatted("x = " + "(" * 60 + "1" + ")" * 60)
    assert formatted("if a { " * 150 + "b" + " }" * 150).count("\n") > 150


# ---------------------------------------------------------------- all scripts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_script_of_the_house_keeps_its_meaning_and_its_comments(path: Path) -> None:
    text = path.read_bytes().decode()
    if not parses(text):
        with pytest.raises(AetherError):
            format_script(text)
        return
    notes = {one.code for one in parse_with_warnings(formatted(text))[1] if one.is_style}
    assert notes <= KEPT


def test_every_script_shown_in_the_documentation_keeps_its_meaning() -> None:
    shown = [block for path in (ROOT / "docs").glob("*.md") for block in SHOWN.findall(path.read_text())]
    read_well = [block for block in shown if parses(block)]  # the others show what is wrong
    assert len(read_well) >= 7
    for block in read_well:
        formatted(block)


KEPT = {"AS117", "AS120", "AS125"}
"""Notes on style that the formatter leaves: compound verbs, guards, and numbers without which there is no statement."""

BETWEEN = (
    " ",
    "   ",
    "\n",
    " /* c */ ",
    "/*c*/",
    " # note\n",
    "\n# own\n",
    "\n   # own\n",
    " // x\n",
    "\n\n\n",
    ";",
    "\\\n",
)


def test_scripts_with_blanks_and_comments_anywhere_keep_their_meaning() -> None:
    draw = random.Random(7)
    texts = [text for path in FILES if len(text := path.read_text()) < 2000]
    tried = 0
    while tried < 40:
        text = draw.choice(texts)
        for _ in range(draw.choice((1, 2, 4))):
            places = [found.start() for found in re.finditer(r"\b|(?<=[^\w\s])|(?=[^\w\s])", text)] or [0]
            at = draw.choice(places)
            text = text[:at] + draw.choice(BETWEEN) + text[at:]
        if parses(text):
            tried += 1
            formatted(text)


def test_the_scripts_that_are_shipped_are_in_the_one_style() -> None:
    shipped = [*ROOT.glob("examples/*.aether"), *ROOT.glob("scripts/**/*.aether")]
    assert len(shipped) > 10
    assert [path.name for path in shipped if format_script(path.read_text()) != path.read_text()] == []
