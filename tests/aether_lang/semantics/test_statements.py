"""Statements, row by row, where no other test holds the row (language reference, section "
"10)."""

import pytest

from tests.aether_lang.running import error, result

ROWS = {
    "a type behind a name means nothing when it runs": ("let n: int = 'a'\nm: Text = 2\nreturn [n, m]", ["a", 2]),
    "elif, else if and else": (
        "fn f(x) { if x == 1 { return 'a' } elif x == 2 { return 'b' } else if x == 3 { return 'c' "
        "} else { return 'd' } }\nreturn [1, 2, 3, 4].map(f)",
        ["a", "b", "c", "d"],
    ),
    "for over elements, keys, pairs, characters, sets, counts and null": (
        "let s = []\nfor x in [1] { s.push(x) }\nfor k in { a: 1 } { s.push(k) }\n"
        "for k, v in { b: 2 } { s.push(k + v) }\n"
        "for a, b in [[3, 4]] { s.push(a + b) }\nfor c in 'hi' { s.push(c) }\n"
        "for x in new Set([5]) { s.push(x) }\n"
        "for i in 2 { s.push(i) }\nfor x in null { s.push(x) }\nreturn s",
        [1, "a", "b2", 7, "h", "i", 5, 0, 1],
    ),
    "for each, with and without a name": (
        "let s = []\nfor each x in [1] { s.push(x) }\nfor each in [2] { s.push(each) }\nreturn s",
        [1, 2],
    ),
    "a loop walks what was there when it began": (
        "let xs = [1, 2]\nlet d = { a: 1 }\nfor x in xs { xs.push(x) }\n"
        "for k in d { d[k + k] = 1 }\nreturn [xs, d.length]",
        [[1, 2, 1, 2], 2],
    ),
    "break and continue are the innermost loop's": (
        "let s = []\nfor i in 3 { for j in 3 { if j == 1 { continue }\n if i == 1 { break }\n"
        " s.push(i * 10 + j) } }\nreturn s",
        [0, 2, 20, 22],
    ),
    "match compares by value and runs the first hit": (
        "let s = []\nfor v in [1.0, '1', [1], null, 9] { match v {\n case 1: s.push('one')\n"
        " case '1', [1]: s.push('text or list')\n case null: s.push('null')\n"
        " case 1: s.push('never')\n default: s.push('other')\n} }\nreturn s",
        ["one", "text or list", "text or list", "null", "other"],
    ),
    "a default runs last wherever it stands": ("match 1 {\n default: return 'd'\n case 1: return 'c'\n}", "c"),
    "a guarded case": (
        "fn f(v) { match v {\n case 1, 2 if v > 1: return 'guarded'\n case 1: return 'plain'\n"
        "} }\nreturn [f(2), f(1), f(3)]",
        ["guarded", "plain", None],
    ),
    "catch without a name": ("try { throw 'x' } catch { return 1 }", 1),
    "several clauses": (
        "fn f(t) { try { throw error('m', type=t) } catch TypeError as e { return 't' } catch "
        "ValueError as e { return 'v' } catch (e) { return e.type } }\n"
        "return ['TypeError', 'ValueError', 'Timeout'].map(f)",
        ["t", "v", "Timeout"],
    ),
    "Exception, Error and any catch every type": (
        "let s = 0\ntry { throw 'x' } catch Exception as e { s += 1 }\n"
        "try { throw 'x' } catch Error as e { s += 1 }\n"
        "try { throw 'x' } catch any as e { s += 1 }\nreturn s",
        3,
    ),
    "finally runs at the end, on return, break, continue and errors": (
        "let s = []\nfn f() { try { return 1 } finally { s.push('return') } }\nf()\n"
        "for i in 2 { try { if i == 0 { continue }\n break } finally { s.push(i) } }\n"
        "try { try { throw 'x' } finally { s.push('error') } } catch { s.push('caught') }\n"
        "try { } finally { s.push('end') }\nreturn s",
        ["return", 0, 1, "error", "caught", "end"],
    ),
    "an error of catch passes through finally": (
        "let s = []\ntry { try { throw 'a' } catch { throw 'b' } finally { s.push(1) } } catch (e) "
        "{ s.push(e.message) }\nreturn s",
        [1, "b"],
    ),
    "throw of a text, of a dict and of an error": (
        "let s = []\nfor t in ['m', { message: 'n', type: 'Timeout', data: 5 }, error('o', "
        "type='KeyError')] { try { throw t } catch (e) { s.push([e.type, e.message, e.data]) } "
        "}\nreturn s",
        [["UserError", "m", None], ["Timeout", "n", 5], ["KeyError", "o", None]],
    ),
    "an arrow binds by the rule of =": ("let x = 1\nfn f() { max(1, 5) -> x }\nf()\nreturn x", 5),
    "a function without return gives null": ("fn f() { 1 }\nreturn f()", None),
    "return without a value": ("fn f() { return }\nreturn f()", None),
    "a while with a break": ("let n = 0\nwhile true { n += 1\n if n > 3 { break } }\nreturn n", 4),
    "a bare name that is no handler and no verb": ("let x = 1\nx\nreturn x", 1),
}


@pytest.mark.parametrize("title", ROWS)
def test_each_row_on_statements_holds(title: str) -> None:
    source, expected = ROWS[title]
    assert result(source) == expected


MISTAKES = {
    "a field of a missing dict on the way": ("let d = {}\nd.a.b = 1", "TypeError", 2),
    "an element beyond the end": ("let xs = [1]\nxs[1] = 2", "IndexError", 2),
    "a loop over a function": ("fn f() { }\nfor x in f { }", "TypeError", 2),
    "a loop with two names over no pairs": ("for a, b in [1] { }", "TypeError", 1),
    "a type that no clause names": ("try { throw 'x' }\ncatch TypeError as e { }", "UserError", 1),
    "an error thrown on by finally's way": ("try {\n throw 'x'\n} finally { let a = 1 }", "UserError", 2),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_each_mistake_with_statements_is_named_at_its_line(title: str) -> None:
    source, name, line = MISTAKES[title]
    found = error(source)
    assert (found["type"], found["line"]) == (name, line)
