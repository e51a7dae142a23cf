"""The verb `aether fmt`, as a person at a terminal meets it."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

Fmt = Callable[..., str]
LOOSE, NEAT = "log   1 // one\r\n", "log 1  # one\n"


@pytest.fixture
def fmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fmt:
    """Return a function that runs the verb in a folder of scripts and gives what it printed."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    monkeypatch.chdir(folder)
    verb = plugin_verbs(kernel_config(tmp_path / "home", bundled=["scripts"]))["fmt"]

    def run(*words: str, status: int = 0, given: str | bytes | None = None) -> str:
        done = CliRunner().invoke(verb, words, input=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


def script(name: str, text: str = LOOSE) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_files_and_folders_are_written_anew(fmt: Fmt) -> None:
    one, two, neat, other = (
        script("one.aether"),
        script("a/b/two.aether"),
        script("a/n.aether", NEAT),
        script("a/x.txt"),
    )
    said = fmt("one.aether", "a")
    assert said.splitlines() == ["one.aether: formatted", "a/b/two.aether: formatted", "3 files, 2 formatted"]
    assert [path.read_bytes().decode() for path in (one, two, neat, other)] == [NEAT, NEAT, NEAT, LOOSE]
    assert fmt(".").splitlines() == ["3 files, 0 formatted"]


def test_the_mode_of_a_file_stays_and_nothing_else_is_left(fmt: Fmt) -> None:
    path = script("run.aether")
    path.chmod(0o750)
    fmt("run.aether")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert os.listdir() == ["run.aether"]


def test_a_file_may_have_the_longest_name_there_is(fmt: Fmt) -> None:
    path = script("a" * 248 + ".aether")
    fmt(".")
    assert path.read_bytes().decode() == NEAT


def test_what_is_neat_already_is_not_touched(fmt: Fmt) -> None:
    path = script("neat.aether", NEAT)
    before = path.stat()
    fmt("neat.aether")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_check_writes_nothing_and_tells_what_would_change(fmt: Fmt) -> None:
    path = script("one.aether")
    script("neat.aether", NEAT)
    assert fmt("--check", ".", status=1).splitlines() == ["one.aether: would change", "2 files, 1 would change"]
    assert path.read_bytes().decode() == LOOSE
    assert fmt("--check", "neat.aether") == "1 file, 0 would change\n"


def test_diff_prints_the_changes_and_writes_nothing(fmt: Fmt) -> None:
    path = script("one.aether", "x=1\nlog [b]\n")
    shown = "--- one.aether\n+++ one.aether\n@@ -1,2 +1,2 @@\n-x=1\n+x = 1\n log [b]\n"
    assert fmt("--diff", "one.aether") == shown + "1 file, 1 would change\n"
    assert fmt("--check", "--diff", "one.aether", status=1).startswith(shown)
    assert path.read_text() == "x=1\nlog [b]\n"


def test_a_script_that_cannot_be_read_is_told_and_the_others_are_done(fmt: Fmt) -> None:
    broken, good = script("broken.aether", "x = (\n"), script("good.aether")
    Path("bytes.aether").write_bytes(b"x = \xff\n")
    said = fmt("broken.aether", "bytes.aether", "none.aether", "good.aether", status=1)
    assert "broken.aether:1:5: syntax error: '(' was never closed" in said
    assert "bytes.aether is not UTF-8: byte 5 cannot be read" in said
    assert "none.aether cannot be read: No such file or directory" in said
    assert said.endswith("good.aether: formatted\n4 files, 1 formatted, 3 with errors\n")
    assert broken.read_text() == "x = (\n"
    assert good.read_text() == NEAT


def test_a_signed_script_is_left_as_it_is(fmt: Fmt) -> None:
    text = f"# @signature: {'0' * 64}\nlog   1\n"
    path = script("signed.aether", text)
    assert fmt(".").splitlines() == ["signed.aether: signed, left as it is", "1 file, 0 formatted, 1 signed"]
    assert path.read_text() == text


def test_standard_input_goes_to_standard_output_and_nowhere_else(fmt: Fmt) -> None:
    assert fmt("-", given=LOOSE) == NEAT
    assert fmt("-", given="\ufeff" + NEAT) == NEAT
    assert fmt("--check", "-", given=NEAT) == "1 file, 0 would change\n"
    assert fmt("--check", "-", given=LOOSE, status=1).startswith("-: would change\n")
    refused = fmt("-", given="x = (", status=1)
    assert "-:1:5: syntax error" in refused


def test_a_link_that_leaves_the_folder_is_not_followed(fmt: Fmt, tmp_path: Path) -> None:
    outside = tmp_path / "outside.aether"
    outside.write_text("log   1\n")
    (tmp_path / "other").mkdir()
    deeper = tmp_path / "other" / "deeper.aether"
    deeper.write_text("log   1\n")
    Path("link.aether").symlink_to(outside)
    Path("folder").symlink_to(tmp_path / "other")
    assert fmt(".").splitlines() == ["0 files, 0 formatted"]
    assert outside.read_text() == deeper.read_text() == "log   1\n"


def test_a_link_that_is_named_stays_a_link(fmt: Fmt, tmp_path: Path) -> None:
    outside = tmp_path / "outside.aether"
    outside.write_text("log   1\n")
    Path("link.aether").symlink_to(outside)
    fmt("link.aether")
    assert Path("link.aether").is_symlink()
    assert outside.read_text() == "log 1\n"


def test_a_file_that_cannot_be_written_is_told_and_stays_as_it_was(fmt: Fmt) -> None:
    path = script("a/one.aether")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))  # holds for root as well, unlike the mode of a folder
    try:
        assert "one.aether cannot be written: File too large" in fmt("a", status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes().decode() == LOOSE
    assert [one.name for one in path.parent.iterdir()] == ["one.aether"]


def test_data_for_programs(fmt: Fmt) -> None:
    script("one.aether", "x=1\n")
    script("two.aether", "x = (\n")
    records: list[dict[str, Any]] = [json.loads(line) for line in fmt("--json", "--diff", ".", status=1).splitlines()]
    assert [(one["file"], one["changed"], one["signed"], one["error"]) for one in records] == [
        ("one.aether", True, False, ""),
        ("two.aether", False, False, ""),
    ]
    assert records[0]["diff"].endswith("-x=1\n+x = 1\n")
    assert records[1]["diagnostics"][0]["code"] == "AE103"
    assert json.loads(fmt("--json", "-", given="x=1"))["text"] == "x = 1\n"
