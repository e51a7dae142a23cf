"""Names and scope, row by row, where no other test holds the row (language reference, "
"section 7)."""

import pytest

from tests.aether_lang.running import Recorder, error, result

ROWS = {
    "an assignment, a colon and a sigil all update the nearest binding": (
        "let x = 1\nfn f() { x = x + 1\n x: x + 1\n $x = x + 1 }\nf()\nreturn x",
        4,
    ),
    "a name made in a block belongs to the function": ("fn f() { if true { made = 5 }\n return made }\nreturn f()", 5),
    "and not to the functions around": ("fn f() { made = 5 }\nfn g() { made = 6\n return made }\nf()\nreturn g()", 6),
    "a let shadows and the outer one stays": (
        "let x = 1\nif true { let x = 2\n if true { let x = 3 }\n x += 5 }\nreturn x",
        1,
    ),
    "var is let": ("var x = 1\nif true { var x = 2 }\nreturn x", 1),
    "functions are usable before their line": ("return g()\nfn g() { return h() }\nfn h() { return 3 }", 3),
    "sections are usable before their line": ("fn f() { return box.size }\nbox { size: 2 }\nreturn f()", 2),
    "a loop's name is its own": ("let i = 9\nfor i in 2 { }\nreturn i", 9),
    "a caught name is its own": ("let e = 9\ntry { throw 'x' } catch (e) { }\nreturn e", 9),
    "a comprehension's name is its own": ("let x = 9\nlet xs = [x for x in [1]]\nreturn [x, xs]", [9, [1]]),
    "a parameter hides a built-in": ("fn f(len) { return len }\nreturn f(3)", 3),
    "defaults are evaluated from left to right": (
        "let seen = []\nfn t(v) { seen.push(v)\n return v }\n"
        "fn f(a = t(1), b = t(a + 1)) { return b }\nf()\nf(5)\nreturn seen",
        [1, 2, 6],
    ),
    "closures see what the variable becomes": ("let n = 1\nlet f = () => n\nn = 2\nreturn f()", 2),
    "a request's parameters": ("return [parameters.a, context.b, parameters.c]", [1, 2, None]),
    "the time of the start is compact text": ("return type(timestamp)", "string"),
    "the date and the time are read each time": (
        "return [current_date, current_timestamp, current_time, __name__]",
        ["1970-01-01", 1000.0, 1000.0, "__main__"],
    ),
    "a binding hides an ambient value": ("let current_date = 5\nreturn current_date", 5),
    "a bare name as the value of an entry": (
        "box { mode: enabled\n tags: [os, sync] }\nreturn box",
        {"mode": "enabled", "tags": ["os", "sync"]},
    ),
    "a bare name in a condition that nobody signals": ("if pot_is_low { return 1 }\nreturn 2", 2),
    "a function of the library in a condition is no signal": ("if [0].map(str).first == '0' { return 1 }\nreturn 2", 1),
    "unbound names are null by policy": ('policy: unbound_names: "null"\nreturn [nothing_here]', [None]),
    "unbound functions are null by policy": ('policy: unbound_calls: "null"\nreturn [brew_it(1)]', [None]),
}


@pytest.mark.parametrize("title", ROWS)
def test_each_row_on_names_holds(title: str) -> None:
    source, expected = ROWS[title]
    assert result(source, Recorder(), parameters={"a": 1}, context={"b": 2}) == expected


MISTAKES: dict[str, tuple[str, str]] = {
    "an unbound name": ("return nothing_here", "NameError"),
    "a sigil forces the variable": ("x: $nothing_here", "NameError"),
    "a constant": ("const c = 1\nfn f() { c = 2 }\nf()", "ConstError"),
    "a constant's step": ("const c = 1\nc++", "ConstError"),
    "a constant's step in a function": ("const c = 1\nfn f() { return c-- }\nf()", "ConstError"),
    "an arrow to a constant": ("const c = 1\nmax(1, 2) -> c", "ConstError"),
    "a block's name after the block": ("if true { let inner_only = 1 }\nreturn inner_only", "NameError"),
    "an unbound function": ("brew_it(1)", "UnknownFunction"),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_each_mistake_with_names_is_named(title: str) -> None:
    source, name = MISTAKES[title]
    assert error(source)["type"] == name


def test_a_binding_that_was_not_reached_is_null_with_a_warning_where_it_is_read() -> None:
    host = Recorder()
    assert result("if false { x = 1 }\nlet y = 1\nreturn [x, y]", host) == [None, 1]
    assert [(message.split(" ")[0], place[1]) for _, message, place in host.records] == [("AW206", 3)]
