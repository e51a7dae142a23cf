"""What `aether doctor` asks of plugins: loading them without a hub, and their own examinations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel import Config, Finding, LoadError, Paths, examine_plugins
from kernel.loader import Loader, Source

HEAD = "from kernel import Finding, Plugin\np = Plugin({name!r}, version='1.0.0')\n"


def examined(tmp_path: Path, environ: dict[str, str] | None = None, **plugins: str) -> list[Finding]:
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, text in plugins.items():
        (folder / f"{name}.py").write_text(HEAD.format(name=name) + text)
    paths = Paths.find(environ={}, home=tmp_path / "home", plugins=folder, trusted=[folder])
    config = Config.load(sections={}, file=Path(os.devnull), environ=environ or {}, overrides={}, paths=paths)
    return list(examine_plugins(config))


def test_a_plugin_tells_what_it_finds_and_the_bundled_ones_do(tmp_path: Path) -> None:
    text = "@p.examination\ndef look(config):\n    yield Finding('tea', 'warn', f'{config.paths.home}: cold', 'boil')\n"
    found = examined(tmp_path, tea=text)
    assert Finding("tea", "warn", f"{tmp_path / 'home'}: cold", "boil") in found
    assert {"plugins", "language", "policy", "strict_mode"} <= {f.check for f in found if f.level == "ok"}
    assert not (tmp_path / "home").exists()


def test_a_broken_plugin_and_a_broken_examination_hide_no_other(tmp_path: Path) -> None:
    found = examined(
        tmp_path,
        broken="def (:\n",
        careless="@p.examination\ndef look(config):\n    raise RuntimeError('a bug')\n",
        wrong="@p.examination\ndef look(config):\n    return [1]\n",
    )
    levels = {f.check: f.level for f in found}
    assert levels["plugin broken"] == "warn"
    assert levels["careless"] == levels["wrong"] == "fail"
    assert levels["language"] == "ok"


def test_a_wrong_setting_of_a_plugin_is_a_finding(tmp_path: Path) -> None:
    found = examined(tmp_path, {"AETHERRA_PLUGINS_SECURITY_SETTLE_MS": "soon"})
    assert ["AETHERRA_PLUGINS_SECURITY_SETTLE_MS" in f.found for f in found if f.level == "fail"] == [True]


@pytest.mark.parametrize("text", ["@p.examination\nasync def look(config): ...\n", "@p.examination\ndef look(): ...\n"])
def test_an_examination_that_could_not_be_asked_is_refused_at_load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.py"
    path.write_text(HEAD.format(name="odd") + text)
    loader = Loader()
    loader.install()
    try:
        with pytest.raises(LoadError):
            loader.load_now("plugins/odd@1", Source.read(path))
    finally:
        loader.remove()


def test_an_open_policy_folder_and_a_broken_policy_are_told(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "default.toml").write_text("version = 1\nstrict_mode = 7\n")
    policies.chmod(0o777)
    paths = Paths.find(environ={}, home=tmp_path / "home", policies=policies)
    config = Config.load(sections={}, file=Path(os.devnull), environ={}, overrides={}, paths=paths)
    failed = {f.check: f for f in examine_plugins(config) if f.level == "fail"}
    assert set(failed) == {"policy", "policy folder"}
    assert "strict_mode" in failed["policy"].found
    assert failed["policy folder"].advice == f"chmod go-w {policies}"
