"""The verbs `aether sign`, `verify`, `keys new` and `keys show`: what is private stays so, what is signed verifies."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

Aether = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = tmp_path / "home"
    (home / "scripts" / "ci").mkdir(parents=True)
    (home / "policies").mkdir()
    (home / "policies" / "default.toml").write_text("version = 1\n")
    return home


@pytest.fixture
def aether(home: Path) -> Aether:
    """Return a function that runs a verb and gives its output; what the verb refuses it raises."""
    verbs = plugin_verbs(kernel_config(home, bundled=["scripts"]))

    def run(verb: str, *words: str, status: int = 0) -> str:
        done = CliRunner().invoke(verbs[verb], words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


def trust(home: Path, said: str, mode: str = "warn") -> None:
    line = said.splitlines()[-1]
    (home / "policies" / "keys.toml").write_text(f'[trust]\nsignatures = "{mode}"\n[trust.keys]\n{line}\n')


def script(home: Path, name: str = "ci/tea.aether", text: str = 'log "tea"\r\n') -> str:
    file = home / "scripts" / name
    file.write_bytes(text.encode())
    return str(file)


def test_a_key_is_made_for_its_owner_alone_and_printed_is_only_its_public_half(
    aether: Aether, home: Path, tmp_path: Path
) -> None:
    said = aether("keys", "new", "ops")
    file = tmp_path / "config" / "aetherra" / "keys" / "ops.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    secret = "".join(file.read_text().splitlines()[1:-1])
    assert secret not in said
    assert said.splitlines()[-2:-1] == ["[trust.keys]"]
    assert aether("keys", "show", "ops") == said
    shown = json.loads(aether("keys", "show", str(file), "--json"))
    assert f'"ops" = "{shown["public"]}"' == said.splitlines()[-1]


def test_a_key_is_never_written_over_nor_where_the_hub_or_a_repository_would_carry_it_off(
    aether: Aether, home: Path, tmp_path: Path
) -> None:
    aether("keys", "new", "ops")
    with pytest.raises(Exception, match="never overwritten"):
        aether("keys", "new", "ops")
    repository = tmp_path / "repository" / "deep"
    repository.mkdir(parents=True)
    (repository.parent / ".git").mkdir()
    for folder in (home, home / "scripts", home / "policies", repository):
        with pytest.raises(Exception, match="no place for a private key"):
            aether("keys", "new", "other", "--folder", str(folder))
    (tmp_path / "link.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(Exception, match="never overwritten"):
        aether("keys", "new", "link", "--folder", str(tmp_path))
    with pytest.raises(Exception, match="a key's id has"):
        aether("keys", "new", "../ops")


def test_a_key_that_others_can_read_or_that_is_none_signs_nothing(aether: Aether, home: Path, tmp_path: Path) -> None:
    aether("keys", "new", "ops")
    file = tmp_path / "config" / "aetherra" / "keys" / "ops.pem"
    file.chmod(0o640)
    with pytest.raises(Exception, match="can be read by others"):
        aether("sign", script(home), "--key", "ops")
    file.write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    file.chmod(0o600)
    with pytest.raises(Exception, match="holds no private key"):
        aether("sign", script(home), "--key", "ops")
    with pytest.raises(Exception, match="aether keys new NAME makes a key"):
        aether("sign", script(home), "--key", "nobody")
    with pytest.raises(Exception, match="expected --key KEY, or --hash"):
        aether("sign", script(home))


def test_what_is_signed_verifies_once_the_policy_trusts_the_key(aether: Aether, home: Path) -> None:
    said = aether("keys", "new", "ops")
    file = script(home)
    os.chmod(file, 0o640)
    assert aether("sign", file, "--key", "ops") == f"{file}: signed by ops for the path ci/tea.aether\n"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o640
    assert Path(file).read_bytes().endswith(b'\nlog "tea"\r\n')
    assert "unknown key: the policy's [trust] keys has no key 'ops'" in aether("verify", file, status=1)
    trust(home, said)
    assert aether("verify", file) == f"{file}: valid: signed by 'ops' (ci/tea.aether)\n"
    Path(file).write_bytes(Path(file).read_bytes().replace(b"tea", b"tee"))
    found = json.loads(aether("verify", file, "--json", status=1))
    assert (found["state"], found["key"], found["ok"]) == ("wrong", "ops", False)


def test_a_script_that_moves_has_to_be_signed_for_its_new_path(aether: Aether, home: Path) -> None:
    trust(home, aether("keys", "new", "ops"))
    file = Path(script(home))
    aether("sign", str(file), "--key", "ops")
    moved = file.rename(home / "scripts" / "tea.aether")
    assert ": wrong:" in aether("verify", str(moved), status=1)
    aether("sign", str(moved), "--key", "ops")
    assert ": valid:" in aether("verify", str(moved))


def test_a_file_outside_of_the_script_folders_is_signed_for_its_path_below_the_root_that_is_named(
    aether: Aether, home: Path, tmp_path: Path
) -> None:
    trust(home, aether("keys", "new", "ops"))
    elsewhere = tmp_path / "work" / "ci"
    elsewhere.mkdir(parents=True)
    file = elsewhere / "tea.aether"
    file.write_text("log 1\n")
    with pytest.raises(Exception, match="--root DIR names the folder"):
        aether("sign", str(file), "--key", "ops")
    assert "for the path ci/tea.aether" in aether("sign", str(file), "--key", "ops", "--root", str(tmp_path / "work"))
    served = home / "scripts" / "ci" / "tea.aether"
    served.write_bytes(file.read_bytes())
    assert ": valid:" in aether("verify", str(served))
    with pytest.raises(Exception, match="cannot be the name of a script"):
        aether("sign", str(file.rename(elsewhere / "te a.aether")), "--key", "ops", "--root", str(tmp_path))


def test_a_hash_is_enough_for_a_policy_that_warns_and_not_for_a_strict_one(aether: Aether, home: Path) -> None:
    said = aether("keys", "new", "ops")
    file = script(home)
    assert aether("sign", file, "--hash") == f"{file}: has its hash in the first line\n"
    trust(home, said)
    assert ": integrity:" in aether("verify", file)
    trust(home, said, "strict")
    assert ": integrity:" in aether("verify", file, status=1)


def test_check_tells_of_signatures_as_the_policy_files_want_it(aether: Aether, home: Path, tmp_path: Path) -> None:
    said = aether("keys", "new", "ops")
    file = script(home, text="let x = (")
    trust(home, said)
    assert [one["code"] for one in json.loads(aether("check", file, "--json", status=1))["diagnostics"]] == [
        "AW601",
        "AE103",
    ]
    trust(home, said, "strict")
    # What may not run is not parsed.
    assert [one["code"] for one in json.loads(aether("check", file, "--json", status=1))["diagnostics"]] == ["AE601"]
    found = json.loads(aether("check", file, "--json", "--signatures", "off", status=1))
    assert [one["code"] for one in found["diagnostics"]] == ["AE103"]
    aether("sign", script(home), "--key", "ops")
    assert aether("check", file) == f"{file}: ok\n"
    (home / "policies" / "keys.toml").write_text("[trust]\nkeys = {\n")
    with pytest.raises(Exception, match=r"keys.toml cannot be read: .*aether policy check tells more"):
        aether("check", file)
