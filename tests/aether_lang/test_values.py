"""Values: text, truth, equality, order, fields, elements, plain data (language reference, section 6)."""

from typing import Any

import pytest

from aether_lang.operators import Operators
from aether_lang.regex import Regex, RegexError
from aether_lang.values import (
    Builtin,
    ErrorValue,
    Halt,
    LimitError,
    ScriptError,
    ScriptSet,
    checked,
    compare,
    contains,
    element,
    elements,
    equal,
    field,
    json_text,
    kind,
    part,
    plain,
    text,
)

FUNCTION = Builtin("len", lambda *_: 0)
ERROR = ErrorValue("UserError", "lost", line=3, column=4, file="a.aether", data={"n": 1})


class Room:
    """What operators need of a runtime: it collects the warnings."""

    def __init__(self, strict_null: bool = False) -> None:
        self.strict_null = strict_null
        self.warnings: list[str] = []

    def warn(self, code: str, message: str) -> None:
        self.warnings.append(code)

    def sized(self, value: str) -> str:
        return value

    def listed(self, value: list[Any]) -> list[Any]:
        return value

    def check_text(self, length: int) -> None:
        if length > 1000:
            raise LimitError("too long")

    def worked(self, size: int) -> None:
        assert size >= 0


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def op(room: Room) -> Operators:
    return Operators(room)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-7, "-7"),
        (1.5, "1.5"),
        (2.0, "2"),
        (-0.0, "0"),
        (1e22, "1e+22"),
        (999999999999999.0, "999999999999999"),
        ("tea", "tea"),
        ([1, "a", None, 2.0], '[1,"a",null,2]'),
        ({"a": {"b": [True]}}, '{"a":{"b":[true]}}'),
        (["é"], '["é"]'),
        (ERROR, "lost"),
        (FUNCTION, "<fn len>"),
        (Regex("a+", "gi"), "/a+/gi"),
        (ScriptSet([1, 1, 2]), "[1,2]"),
    ],
)
def test_each_value_has_the_text_of_the_reference(value: Any, expected: str) -> None:
    assert text(value) == expected


def test_a_value_that_holds_itself_has_no_text() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ScriptError, match="holds itself") as caught:
        text(loop)
    assert caught.value.type == "ValueError"


def test_indented_json_puts_one_entry_on_a_line() -> None:
    assert json_text({"a": [1], "b": {}}, 2) == '{\n  "a": [\n    1\n  ],\n  "b": {}\n}'


@pytest.mark.parametrize("value", [False, None, 0, 0.0, "", [], {}, ScriptSet(), ERROR])
def test_the_false_values_are_false(value: Any) -> None:
    assert not value


@pytest.mark.parametrize("value", [True, 1, -0.5, "0", [0], {"a": None}, ScriptSet([0]), FUNCTION, Regex("a")])
def test_everything_else_is_true(value: Any) -> None:
    assert value


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (1, "1", False),
        (True, 1, False),
        (False, 0, False),
        (None, None, True),
        (None, False, False),
        ([1, {"a": [True]}], [1.0, {"a": [True]}], True),
        ([True], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        (ScriptSet([1, 2]), ScriptSet([2, 1]), True),
        (FUNCTION, FUNCTION, True),
        (FUNCTION, Builtin("len", FUNCTION.call), False),
        (Regex("a"), Regex("a"), True),
        (Regex("a"), Regex("a", "g"), False),
    ],
)
def test_equality_is_deep_and_converts_nothing(a: Any, b: Any, same: bool) -> None:
    assert equal(a, b) is same
    assert equal(b, a) is same


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        (1, 2.5, -1),
        (True, 0, 1),
        ("a", "b", -1),
        ("B", "a", -1),
        ([1, 2], [1, 3], -1),
        ([1], [1, 0], -1),
        ([], [], 0),
        (None, 1, None),
        ("a", None, None),
        ([None], [1], None),
    ],
)
def test_order_knows_numbers_strings_and_lists_and_null_never(a: Any, b: Any, order: int | None) -> None:
    assert compare(a, b) == order


@pytest.mark.parametrize(
    ("a", "b"), [(1, "1"), ({}, {}), ([1], ["a"]), (FUNCTION, FUNCTION), (ScriptSet(), ScriptSet())]
)
def test_other_mixes_have_no_order(a: Any, b: Any) -> None:
    with pytest.raises(ScriptError, match="cannot compare") as caught:
        compare(a, b)
    assert caught.value.type == "TypeError"


@pytest.mark.parametrize(
    ("x", "container", "held"),
    [
        (2, [1, 2], True),
        (True, [1], False),
        ("a", {"a": None}, True),
        (1, {"1": 0}, True),
        ("ea", "tea", True),
        (1, None, False),
        (["a", "b"], ["b", "c", "a"], True),
        (["a", "z"], ["b", "c", "a"], False),
        ([], [1], False),
        ([1], [[1], 2], True),
        (1, ScriptSet([1]), True),
    ],
)
def test_in_follows_the_reference(x: Any, container: Any, held: bool) -> None:
    assert contains(container, x) is held


def test_a_missing_key_is_null_and_a_field_of_null_is_an_error() -> None:
    assert field({"a": 1}, "b") is None
    with pytest.raises(ScriptError, match=r"cannot read \.k of null"):
        field(None, "k")


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ({"a": 1}, "a", 1),
        ({"a": 1}, "length", 1),
        ({"length": 9}, "length", 9),
        ({"count": None}, "count", None),
        ([4, 5], "length", 2),
        ([4, 5], "count", 2),
        ([4, 5], "first", 4),
        ([4, 5], "last", 5),
        ([], "first", None),
        ([4], "other", None),
        ("tea", "length", 3),
        (ERROR, "message", "lost"),
        (ERROR, "line", 3),
        (ERROR, "column", 4),
        (ERROR, "file", "a.aether"),
        (ERROR, "data", {"n": 1}),
        (ERROR, "cause", None),
        (ERROR, "retryable", False),
        (ERROR, "nothing", None),
        (FUNCTION, "__code__", None),
    ],
)
def test_fields_read_as_the_reference_says(value: Any, name: str, expected: Any) -> None:
    assert field(value, name) == expected


@pytest.mark.parametrize(
    ("value", "index", "expected"),
    [
        *(([1, 2], 0, 1), ([1, 2], -1, 2), ([1, 2], 2, None), ([1, 2], -3, None), ([1, 2], 1.0, 2), ("ab", 1, "b")),
        *(({"a": 1}, "a", 1), ({"1": 5}, 1, 5), ({"true": 5}, True, 5), ({}, "x", None)),
    ],
)
def test_elements_out_of_range_are_null(value: Any, index: Any, expected: Any) -> None:
    assert element(value, index) == expected


def test_an_index_of_null_or_by_a_fraction_is_a_type_error() -> None:
    for value, index in ((None, 0), ([1], 0.5), ([1], None), (5, 0)):
        with pytest.raises(ScriptError) as caught:
            element(value, index)
        assert caught.value.type == "TypeError"


def test_slices_are_clamped_and_both_ends_optional() -> None:
    assert part([1, 2, 3], 1, None) == [2, 3]
    assert part([1, 2, 3], None, -1) == [1, 2]
    assert part("tea", -9, 99) == "tea"


def test_loops_walk_over_what_the_reference_names() -> None:
    assert elements({"a": 1, "b": 2}) == ["a", "b"]
    assert elements("ab") == ["a", "b"]
    assert elements(None) == []
    assert elements(ScriptSet([2, 1, 2])) == [2, 1]
    with pytest.raises(ScriptError):
        elements(FUNCTION)


def test_an_error_value_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ERROR.message = "other"


def test_data_of_an_error_is_given_as_a_copy() -> None:
    ERROR.field("data")["n"] = 2
    assert ERROR.field("data") == {"n": 1}


def test_numbers_are_finite_and_bounded() -> None:
    assert checked(2**4095) == 2**4095
    with pytest.raises(ScriptError):
        checked(float("inf"))
    with pytest.raises(LimitError) as caught:
        checked(2**4096)
    assert caught.value.data == {"limit": "int_bits", "value": 4096}


def test_halts_are_no_exceptions_a_catch_could_see() -> None:
    assert not issubclass(Halt, Exception)


def test_plain_data_leaves_and_functions_do_not() -> None:
    assert plain({"a": [1, None, "x"], "s": ScriptSet([1]), "e": ERROR})["e"]["message"] == "lost"
    for value in (FUNCTION, [FUNCTION], 2**70, float("nan")):
        with pytest.raises(ScriptError):
            plain(value)


def test_plain_data_is_a_copy() -> None:
    inner = [1]
    copy = plain({"a": inner})
    inner.append(2)
    assert copy == {"a": [1]}


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        (1, 2, 3),
        (True, 1, 2),
        ("a", 1, "a1"),
        (None, "a", "nulla"),
        ([1], [2], [1, 2]),
        (1.5, 1, 2.5),
        ("n", [1], "n[1]"),
    ],
)
def test_plus_adds_joins_and_concatenates(op: Operators, left: Any, right: Any, result: Any) -> None:
    assert op.add(left, right) == result


@pytest.mark.parametrize(("left", "right"), [({}, {}), ([1], 1), (FUNCTION, 1), ([1], None)])
def test_plus_of_anything_else_is_a_type_error(op: Operators, left: Any, right: Any) -> None:
    with pytest.raises(ScriptError) as caught:
        op.add(left, right)
    assert caught.value.type == "TypeError"


def test_null_counts_as_zero_with_a_warning(op: Operators, room: Room) -> None:
    assert (op.add(None, 5), op.sub(5, None), op.mul(None, 3), op.neg(None)) == (5, 5, 0, 0)
    assert len(room.warnings) == 4


def test_strict_null_makes_it_a_type_error() -> None:
    with pytest.raises(ScriptError) as caught:
        Operators(Room(strict_null=True)).add(None, 5)
    assert caught.value.type == "TypeError"


def test_division_is_exact_and_keeps_integral_results_int(op: Operators) -> None:
    assert op.div(6, 2) == 3
    assert type(op.div(6, 2)) is int
    assert op.div(7, 2) == 3.5
    assert type(op.div(6.0, 2)) is float
    for run in (op.div, op.mod):
        with pytest.raises(ScriptError) as caught:
            run(1, 0)
        assert caught.value.type == "DivisionByZero"


def test_modulo_takes_the_sign_of_the_divisor(op: Operators) -> None:
    assert (op.mod(-7, 3), op.mod(7, -3), op.mod(7.5, 2)) == (2, -2, 1.5)


def test_a_string_times_a_number_repeats_up_to_the_limit(op: Operators) -> None:
    assert op.mul("ab", 3) == "ababab"
    assert op.mul(2, "ab") == "abab"
    assert op.mul("ab", -1) == ""
    with pytest.raises(LimitError):
        op.mul("ab", 10**12)


def test_results_beyond_the_range_are_errors(op: Operators) -> None:
    for run in (
        lambda: op.mul(1e308, 10),
        lambda: op.div(10**400, 3),
        lambda: op.pow(10.0, 400),
        lambda: op.pow(-8, 0.5),
    ):
        with pytest.raises(ScriptError) as caught:
            run()
        assert caught.value.type == "ValueError"
    for run in (lambda: op.pow(2, 5000), lambda: op.mul(2**4000, 2**4000), lambda: op.pow(10, 10**9)):
        with pytest.raises(LimitError):
            run()


def test_powers_bind_as_numbers(op: Operators) -> None:
    assert (op.pow(2, 10), op.pow(2, -1), op.pow(1, 10**9), op.pow(-1, 3)) == (1024, 0.5, 1, -1)


@pytest.mark.parametrize(
    ("name", "a", "b", "result"),
    [
        ("shl", 1, 40, 256),
        ("shl", 1, 31, -2147483648),
        ("shr", -8, 1, -4),
        ("band", 6.9, 3, 2),
        ("bor", 1, None, 1),
        ("bxor", True, 3, 2),
        ("band", 2**40 + 5, 7, 5),
    ],
)
def test_bit_operators_work_on_32_signed_bits(op: Operators, name: str, a: Any, b: Any, result: int) -> None:
    assert getattr(op, name)(a, b) == result


def test_the_bit_complement_is_signed(op: Operators) -> None:
    assert op.inv(0) == -1


def test_comparisons_with_null_are_false(op: Operators) -> None:
    assert [op.lt(1, None), op.le(None, None), op.gt(None, 1), op.ge("a", None)] == [False] * 4
    assert [op.lt(1, 2), op.le(2, 2), op.gt(3, 2), op.ge(2, 3)] == [True, True, True, False]


def test_a_set_keeps_the_first_of_equal_values_in_order() -> None:
    assert list(ScriptSet([[1], 1, [1], 1.0, True])) == [[1], 1, True]


def test_regexes_are_linear_and_say_what_they_refuse() -> None:
    for pattern in ("(?=a)", r"(a)\1", "a{", "x" * 501):
        with pytest.raises(RegexError):
            Regex(pattern if pattern != "a{" else "(")
    with pytest.raises(RegexError, match="unknown flag 'q'"):
        Regex("a", "q")
    assert Regex("A", "i").test("xa")
    assert Regex("^b", "m").test("a\nb")
    assert not Regex("a.b").test("a\nb")
    assert Regex("a.b", "s").test("a\nb")


def test_kinds_are_named_in_the_words_of_the_reference() -> None:
    values = [None, True, 1, 1.5, "", [], {}, FUNCTION, ERROR, Regex("a"), ScriptSet()]
    names = ["null", "bool", "int", "float", "string", "list", "dict", "function", "error", "regex", "set"]
    assert [kind(value) for value in values] == names


def doubled(levels: int) -> list[Any]:
    """A list of two pieces, each the one list of the level below: small, and with 2 ** levels leaves."""
    value: list[Any] = [1]
    for _ in range(levels):
        value = [value, value]
    return value


def test_two_values_that_hold_one_list_many_times_over_are_compared_at_once() -> None:
    assert equal(doubled(60), doubled(60))
    assert not equal([doubled(60), 1], [doubled(60), 2])
    assert contains([doubled(60)], doubled(60))


def test_values_that_hold_themselves_can_be_compared() -> None:
    a: list[Any] = [1]
    b: list[Any] = [1]
    a.append(a)
    b.append(b)
    assert equal(a, b)
    assert not equal(a, [1, [2]])


def test_values_nested_deeper_than_python_recurses_can_be_compared() -> None:
    a: list[Any] = []
    b: list[Any] = []
    for _ in range(50_000):
        a, b = [a], [b]
    assert equal(a, b)
    assert not equal(a, [b])


@pytest.mark.parametrize("use", [text, plain, lambda v: ScriptSet([v])])
def test_a_value_with_more_pieces_than_memory_holds_is_refused(use: Any) -> None:
    with pytest.raises(LimitError, match="too many pieces"):
        use(doubled(27))


def test_a_copy_holds_twice_what_the_value_holds_twice() -> None:
    made = ErrorValue("UserError", "x", data=doubled(60)).data
    assert made[0] is made[1]


def test_lists_in_lists_are_looked_up_by_a_table_when_they_are_long() -> None:
    rows = [[n, {"n": n}] for n in range(2000)]
    assert contains(rows, [[1999, {"n": 1999}], [0, {"n": 0}]] * 100)
    assert not contains(rows, [[1999, {"n": 1999}], [0, {"n": 1}]] * 100)


@pytest.mark.parametrize(("sign", "name"), [("neg", "-"), ("pos", "+"), ("inv", "~")])
def test_a_sign_before_no_number_names_its_one_operand(sign: str, name: str) -> None:
    with pytest.raises(ScriptError) as found:
        getattr(Operators(Room()), sign)("a")  # type: ignore[arg-type]
    assert found.value.message == f"cannot apply '{name}' to string"
