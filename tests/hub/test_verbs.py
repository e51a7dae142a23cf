"""Verbs that plugins add: of one word or, in a group, of two; what claims a word twice is left out or refused."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hub.verbs import plugin_verbs
from kernel.testing import ALLOW_ALL, kernel_config, running_kernel

HEAD = """from kernel import Plugin, Terminal
p = Plugin({name!r}, version="1.0.0", description="Adds verbs.")
"""
VERB = '''
@p.command({verb!r})
async def {fn}(terminal: Terminal, cups: int = 1) -> int | None:
    """{about}"""
    terminal.print({{"home": str(terminal.config.paths.home == terminal.home), "cups": cups, "from": {verb!r}}})
    return 5 if cups > 9 else None
'''


def source(name: str, *verbs: str) -> str:
    """Return a plugin with verbs, each with a sentence of its own."""
    bodies = (VERB.format(verb=v, fn=f"verb_{n}", about=f"Do {v}.") for n, v in enumerate(verbs))
    return HEAD.format(name=name) + "".join(bodies)


def verbs_of(tmp_path: Path, **plugins: str) -> dict[str, click.Command]:
    return plugin_verbs(kernel_config(tmp_path, plugins=plugins))


def test_a_name_of_two_words_is_a_verb_of_a_group_that_several_plugins_may_fill(tmp_path: Path) -> None:
    verbs = verbs_of(tmp_path, pot=source("pot", "tea brew", "tea pour"), cup=source("cup", "tea drink", "sit"))
    assert sorted(verbs) == ["sit", "tea"]
    help_text = CliRunner().invoke(verbs["tea"], ["--help"]).output
    assert [word for word in ("Do tea brew.", "Do tea drink.", "Do tea pour.") if word not in help_text] == []
    done = CliRunner().invoke(verbs["tea"], ["pour", "--cups", "2", "--json"])
    assert (done.exit_code, done.output) == (0, '{"home":"True","cups":2,"from":"tea pour"}\n')
    assert CliRunner().invoke(verbs["tea"], ["drink", "--cups", "10"]).exit_code == 5
    wrong = CliRunner().invoke(verbs["tea"], ["spill"])
    assert (wrong.exit_code, "No such command 'spill'" in wrong.output) == (2, True)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("tea", "tea brew", "the verb `aether tea brew` of b is left out: `aether tea` of a is a verb, no group"),
        ("tea brew", "tea", "the verb `aether tea` of b is left out: a has made it a group"),
    ],
)
def test_a_verb_that_others_have_made_a_group_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str, second: str, said: str
) -> None:
    with caplog.at_level(logging.WARNING, "kernel.command"):
        verbs = verbs_of(tmp_path, a=source("a", first), b=source("b", second, "other"))
    assert sorted(verbs) == ["other", "tea"]
    assert isinstance(verbs["tea"], click.Group) == (" " in first)
    assert said in caplog.text


async def test_a_hub_refuses_a_plugin_whose_verb_others_have_made_a_group(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "a": source("a", "tea brew"), "b": source("b", "tea")}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        a, b = kernel.modules.get("a"), kernel.modules.get("b")
        assert (a.status, b.status) == ("active", "failed")
        assert b.reason is not None
        assert "`aether tea` of b is a verb, and `aether tea brew` of a makes it a group; rename one" in b.reason


@pytest.mark.parametrize("name", ["", "Tea", "tea  brew", "tea brew hot", "tea ", "-tea", "te:a"])
async def test_a_verb_is_named_with_one_word_or_two(tmp_path: Path, name: str) -> None:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "a": source("a", name)}) as kernel:
        module = kernel.modules.get("a")
        assert module.status == "failed"
        assert f"the command {name!r}: expected a word, or a group and a word" in (module.reason or "")
