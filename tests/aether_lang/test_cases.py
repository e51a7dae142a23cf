"""Every case of the language does what it says, in each surrounding and with either line end."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aether_lang import nodes, parse
from aether_lang.likeness import meaning
from tests.aether_lang import case_files
from tests.aether_lang.case_files import Case


def cases(accepted: bool | None = None) -> list[Any]:
    """The cases as parameters; `accepted` chooses those that expect a tree, or those that expect none."""
    found = []
    for case in case_files.all_cases():
        refused = all(case_files.is_finding(line) for line in case.expected)
        if accepted is None or accepted is not refused:
            found.append(pytest.param(case, id=case.path.stem))
    return found


@cache
def tree(path: Path) -> nodes.Module:
    """The tree of a case that is accepted."""
    return parse(case_files.read(path).text)


def same_line_ends(found: list[Any]) -> list[Any]:
    return [(part[0], part[1].replace("\r\n", "\n")) if isinstance(part, tuple) and part[0] == "str" else part
            for part in found]  # fmt: skip


@pytest.mark.parametrize("case", cases())
def test_a_case_gives_what_its_comments_say(case: Case) -> None:
    assert case.expected, "a case says what it expects"
    assert case_files.found(case) == case.expected


@pytest.mark.parametrize("case", cases(accepted=True))
def test_a_case_means_the_same_in_each_surrounding_and_with_either_line_end(case: Case) -> None:
    module = tree(case.path)
    alone = meaning(nodes.Block(module.span, module.body))
    for surrounding in case.only:
        if surrounding != "top":
            (function,) = parse(case_files.wrapped(case, module, surrounding)).body
            assert isinstance(function, nodes.Function)
            assert meaning(function.body) == alone, surrounding
    if "\r" not in case.text:
        other = parse(case.text.replace("\n", "\r\n"))
        assert same_line_ends(meaning(nodes.Block(other.span, other.body))) == same_line_ends(alone)


@pytest.mark.parametrize("case", cases(accepted=False))
def test_a_finding_stands_at_the_same_place_with_either_line_end(case: Case) -> None:
    if "\r" not in case.text:
        assert case_files.found(case, case.text.replace("\n", "\r\n")) == case.expected


@pytest.mark.parametrize("case", cases(accepted=True))
def test_the_tree_of_a_case_survives_serialisation_and_its_spans_lie_in_the_text(case: Case) -> None:
    module = tree(case.path)
    assert msgspec.json.decode(msgspec.json.encode(module), type=nodes.Module) == module
    work: list[Any] = [module]
    while work:
        node = work.pop()
        if isinstance(node, tuple):
            work += node
        elif isinstance(node, nodes.Node):
            assert 0 <= node.span.start <= node.span.end <= len(case.text)
            work += [getattr(node, name) for name in node.__struct_fields__]


def test_every_section_of_the_language_has_a_case() -> None:
    assert [section for section, names in case_files.coverage().items() if not names] == []
