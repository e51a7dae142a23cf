"""Every script that the docs show is one, and says what stands below it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from script_house import ROOT, ScriptHouse, script_house

import aether_lang
from aether_lang import Diagnostic, LocalHost
from aether_lang.formatter import format_script
from aether_lang.front import compiled
from kernel import Caller

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_THE_LANGUAGE = [page for page in PAGES if page.name in ("language.md", "language-reference.md")]
GENERATED = "diagnostics.md"
"""Its scripts come from the catalogue of codes, which tests of its own hold; half of them are wrong by intent."""
SCRIPT = re.compile(r"^```aether\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(
    r"^```(aether|aether-error)\n(.*?)^```\n\n```(text|hub|checked|rendered|formatted)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
"""A script and what it does: `text` is what it prints, `hub` what it prints in a hub, `checked` what the checker says
of what is not run here, `formatted` what `aether fmt` makes of it. Below an `aether-error` stands, as `text` or
`rendered`, what refuses it."""


def scripts(page: Path) -> list[str]:
    return SCRIPT.findall(page.read_text())


def shown(*kinds: tuple[str, str]) -> list[Any]:
    """The scripts of the language pages with what stands below them, of those kinds."""
    found = []
    for page in OF_THE_LANGUAGE:
        text = page.read_text()
        for match in SHOWN.finditer(text):
            if (match[1], match[3]) in kinds:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], match[4], id=f"{page.stem}:{line}"))
    return found


def findings(source: str) -> str:
    """What the checker says, a line each, notes on style aside; `no findings` where it says nothing."""
    return "".join(f"{one.line}:{one.column}: {one.code}: {one.message}\n" for one in found(source)) or "no findings\n"


def found(source: str) -> list[Diagnostic]:
    """The findings of the checker without notes on style."""
    every = msgspec.convert(compiled(source, "tea.aether")["diagnostics"], list[Diagnostic])
    return [one for one in every if not one.is_style]


def rendered(source: str) -> str:
    """The findings as `aether check` prints them."""
    return "".join(f"{one.render()}\n" for one in found(source))


def printed(source: str) -> str:
    """What a script prints that needs no hub; only its own waiting takes time."""
    waited = [0.0]
    host = LocalHost(out=io.StringIO(), clock=lambda: sum(waited), sleep=waited.append)
    ended = aether_lang.run(aether_lang.compile(aether_lang.parse(source)), host)
    assert ended.state == "completed", ended.error
    return "".join(f"{line}\n" for line in host.lines)


async def printed_in_a_hub(house: ScriptHouse, source: str, user: str) -> str:
    """What a script prints in a hub, for a user of its own."""
    row = await house.submit(source, Caller(user, ("role:user",)))
    ended = await house.ended(row)
    assert ended["state"] == "completed", ended["error"]
    return "".join(entry["data"]["text"] + "\n" for entry in await house.history(row, "job.output"))


WITH_SCRIPTS = [page for page in PAGES if page.name != GENERATED and scripts(page)]


@pytest.mark.parametrize("page", WITH_SCRIPTS, ids=lambda page: page.name)
def test_every_script_of_a_page_parses(page: Path) -> None:
    for source in scripts(page):
        aether_lang.parse(source)


@pytest.mark.parametrize(("source", "said"), shown(("aether", "text")))
def test_a_script_prints_what_stands_below_it(source: str, said: str) -> None:
    assert printed(source) == said


@pytest.mark.parametrize(("source", "said"), shown(("aether", "checked")))
def test_the_checker_says_what_stands_below_a_script_that_is_only_checked(source: str, said: str) -> None:
    assert findings(source) == said
    assert all(one.is_warning for one in found(source))


@pytest.mark.parametrize(("source", "said"), shown(("aether-error", "text")))
def test_a_script_with_a_mistake_is_refused_with_what_stands_below_it(source: str, said: str) -> None:
    assert findings(source) == said
    assert not compiled(source, "tea.aether")["ok"]


@pytest.mark.parametrize(("source", "said"), shown(("aether-error", "rendered")))
def test_a_mistake_is_shown_with_its_line_as_the_page_shows_it(source: str, said: str) -> None:
    assert rendered(source) == said


@pytest.mark.parametrize(("source", "said"), shown(("aether", "formatted")))
def test_the_formatter_makes_of_a_script_what_stands_below_it(source: str, said: str) -> None:
    assert format_script(source) == said


async def test_the_scripts_that_need_a_hub_print_there_what_stands_below_them(tmp_path: Path) -> None:
    async with script_house(tmp_path) as house:
        for number, example in enumerate(shown(("aether", "hub"))):
            source, said = example.values
            assert await printed_in_a_hub(house, str(source), f"user:reader{number}") == said, example.id


def test_every_script_of_the_language_pages_is_shown_with_what_it_does() -> None:
    text = "".join(page.read_text() for page in OF_THE_LANGUAGE)
    assert len(SHOWN.findall(text)) == len(re.findall(r"^```aether", text, re.MULTILINE)) >= 60
