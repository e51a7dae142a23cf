"""`aether init`: a home that explains itself, that a hub takes as it is, and in which nothing is ever overwritten."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
from warm_process import run

from hub.new_home import make_home, settings_file, toml_value
from hub.settings import HubSettings
from kernel import Config, ConfigError, Conflict, Paths, SettingDoc, SettingTable, load_settings

SHOWN = re.compile(r"^#(?=\S+ = )", re.MULTILINE)


def loaded(home: Path) -> Config:
    paths = Paths.find(environ={}, home=home)
    config = Config.load(sections={"hub": HubSettings}, file=None, environ={}, overrides={}, paths=paths)
    load_settings(config)
    return config


def values(config: Config) -> dict[str, object]:
    return {setting.key: setting.value for setting in config.effective()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_home_is_its_owners_alone(home: Path) -> None:
    new = make_home(home)
    assert set(new.made) == {"policies/", "plugins/", "scripts/", "aetherra.toml", "scripts/daily_note.aether"}
    assert (new.kept, new.elsewhere) == ([], [])
    for path in [home, *home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    bundled = Paths.find(environ={}).bundled_policies
    assert {p.name for p in (home / "policies").iterdir()} == {"default.toml"}
    assert (home / "policies/default.toml").read_bytes() == (bundled / "default.toml").read_bytes()


def test_the_settings_file_as_it_is_made_sets_nothing_but_the_homes_own_folders(home: Path) -> None:
    make_home(home)
    config = loaded(home)
    assert {s.key: s.value for s in config.effective() if s.origin.startswith("aetherra.toml")} == {
        "paths.plugins": str(home / "plugins"),
        "paths.policies": str(home / "policies"),
    }
    assert config.without_effect() == []


def test_with_every_line_uncommented_it_sets_every_setting_to_its_default(home: Path) -> None:
    make_home(home)
    file = home / "aetherra.toml"
    before = values(loaded(home))
    text, count = SHOWN.subn("", file.read_text())
    file.write_text(text)
    after = loaded(home)
    assert values(after) == before
    assert after.without_effect() == []
    told = [s for s in after.effective() if s.origin.startswith("aetherra.toml:")]
    # HOME holds the file, and the database lies in HOME: neither is set in it.
    assert {s.key for s in after.effective()} - {s.key for s in told} == {"paths.home", "paths.database"} | {
        key for key in before if key.startswith("paths.bundled_")
    }
    assert count == len(told) - 2


def test_every_setting_in_it_has_its_sentence(home: Path) -> None:
    make_home(home)
    lines = (home / "aetherra.toml").read_text().splitlines()
    shown = [n for n, line in enumerate(lines) if SHOWN.match(line)]
    assert len(shown) > 50
    assert [lines[n] for n in shown if not lines[n - 1].startswith("# ")] == []


def test_nothing_is_overwritten(home: Path) -> None:
    make_home(home)
    (home / "aetherra.toml").write_text("[hub]\nport = 4000\n")
    (home / "policies/default.toml").write_text("version = 1\n")
    (home / "scripts/daily_note.aether").unlink()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    new = make_home(home)
    assert new.made == []
    assert set(new.kept) == {"policies/", "plugins/", "scripts/", "aetherra.toml"}
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_what_is_missing_is_added_beside_what_is_kept(home: Path) -> None:
    make_home(home)
    (home / "aetherra.toml").unlink()
    (home / "plugins").rmdir()
    new = make_home(home, force=True)
    assert set(new.made) == {"plugins/", "aetherra.toml"}


def test_a_folder_full_of_other_things_is_refused_and_left_open(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir(mode=0o755)
    (folder / "main.c").touch()
    with pytest.raises(Conflict, match=r"main\.c.*--force"):
        make_home(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert make_home(folder, force=True).made


def test_a_home_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        make_home(tmp_path / "file")


def test_a_link_in_the_place_of_the_settings_file_is_not_followed(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "aetherra.toml").symlink_to(tmp_path / "elsewhere")
    assert "aetherra.toml" in make_home(home).kept
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "value", [True, 3, 2.5, 'a "b" \\ \x7f\t', [], ["a", "b"], [1, [2]], {"a b": 1, "c": {"d": ["e"]}}, {}]
)
def test_a_value_is_written_as_toml_reads_it(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_a_setting_without_a_value_and_a_nested_one_are_shown(tmp_path: Path) -> None:
    rows = (SettingDoc("tls.file", None, "The key.", ()), SettingDoc("tls.port", 1, "", ()))
    text = settings_file([SettingTable("hub", "About.", rows)], tmp_path)
    assert "# tls.file is not set." in text
    assert tomllib.loads(SHOWN.sub("", text)) == {"hub": {"tls": {"port": 1}}}


def aether(*arguments: str, user_home: Path) -> subprocess.CompletedProcess[str]:
    return run(*arguments, cwd=user_home, env={"PATH": os.environ["PATH"], "HOME": str(user_home)})


def test_the_verb_says_what_it_made_and_the_commands_that_come_next(tmp_path: Path) -> None:
    made = aether("init", "new home", user_home=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "aetherra.toml" in made.stdout
    doctor = next(line for line in made.stdout.splitlines() if "doctor" in line)
    assert f"'{tmp_path / 'new home'}'" in doctor
    again = aether("init", "--home", "new home", "--json", user_home=tmp_path)
    assert '"made":[]' in again.stdout
    refused = aether("init", "/dev/null/x", user_home=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
