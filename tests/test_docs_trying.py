"""The page on trying scripts without a hub: what stands below each command is what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "trying.md").read_text()
SESSIONS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, click.Command]:
    return plugin_verbs(kernel_config(tmp_path_factory.mktemp("home"), bundled=["scripts", "security"]))


def plain(text: str) -> str:
    """What a page can say of the output: no path of this machine, no blanks at the end, one id for all."""
    text = UUID.sub("ID", re.sub(r"the files in \S+policies;", "the files in POLICIES;", text))
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s.splitlines()[0][2:40])
def test_the_page_shows_what_is_printed(
    verbs: dict[str, click.Command], session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = re.search(r"^```aether\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert script is not None
    Path("tea.aether").write_text(script[1])
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        program, verb, *words = command.split()
        if program == "cat":
            assert Path(verb).read_text() == shown
            continue
        said = shown.splitlines()
        given = "\n".join(line for line in said if not line.startswith("> ")) if verb == "repl" else None
        done = CliRunner().invoke(verbs[verb], words, input=given)
        expected = "".join(f"{line[2:]}\n" for line in said if line.startswith("> ")) if given else shown
        assert done.exit_code == 0, done.output
        assert plain(done.output) == plain(expected)
