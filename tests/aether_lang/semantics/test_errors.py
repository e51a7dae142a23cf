"""Error values, field by field (language reference, section 17.1)."""

import pytest

from tests.aether_lang.running import error, result

CAUGHT = (
    "fn f() {\n  throw { message: 'lost', type: 'Timeout', data: { n: 1 } }\n}\ntry { f() } catch (e) { return %s }"
)

FIELDS = [
    ("e.message", "lost"),
    ("e.type", "Timeout"),
    ("e.line", 2),
    ("e.column", 3),
    ("e.file", "test.aether"),
    ("e.stack.map(s => s.function)", ["f", "main"]),
    ("e.stack.map(s => s.line)", [2, 4]),
    ("e.stack[0].file", "test.aether"),
    ("e.data", {"n": 1}),
    ("e.cause", None),
    ("e.retryable", False),
    ("e.nothing", None),
    ("str(e)", "lost"),
    ('"{e}"', "lost"),
    ("'' + e", "lost"),
    ("not e", True),
    ("e ? 1 : 2", 2),
    ("e == e", True),
]


@pytest.mark.parametrize(("expression", "expected"), FIELDS)
def test_each_field_of_a_caught_error(expression: str, expected: object) -> None:
    assert result(CAUGHT % expression) == expected


@pytest.mark.parametrize("name", ["message", "type", "line", "data", "other"])
def test_an_error_cannot_be_changed(name: str) -> None:
    assert error(f"let e = error('x')\ne.{name} = 1")["type"] == "TypeError"


@pytest.mark.parametrize("name", ["LimitError", "Cancelled", "InternalError"])
def test_what_cannot_be_caught_cannot_be_made(name: str) -> None:
    assert error(f"error('x', type='{name}')")["type"] == "ValueError"


def test_a_limit_passes_every_catch_and_finally_runs() -> None:
    source = "let d = { n: 0 }\ntry { while true { } } catch { return 'caught' } finally { print('last') }"
    found = error(source, limits={"steps": 5000})
    assert (found["type"], found["data"]) == ("LimitError", {"limit": "steps", "value": 5000})
