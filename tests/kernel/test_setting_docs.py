"""Settings as people are told of them: read from the Structs, nested ones and those of plugins too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from kernel import Config, Paths, describe_settings
from kernel.setting_docs import attribute_docs, describe


class Inner(msgspec.Struct, frozen=True):
    size_kb: Annotated[int, msgspec.Meta(ge=1)] = 4
    """How much
    there is."""


class Example(msgspec.Struct, frozen=True):
    """`[example]`: what is told of.

    More of it."""

    name: str
    """It must be given."""
    port: int = 3001
    """Of the hub."""
    deep: Inner = Inner()
    silent: tuple[str, ...] = ()
    after: float | None = None
    """Nothing by default."""


def test_each_setting_has_its_default_its_meaning_and_its_variables() -> None:
    table = describe(Example, "hub")
    assert table.about == "What is told of.\n\nMore of it."
    rows = {setting.key: setting for setting in table.settings}
    assert list(rows) == ["name", "port", "deep.size_kb", "silent", "after"]
    assert (rows["name"].default, rows["name"].meaning) == (None, "It must be given.")
    assert (rows["port"].default, rows["port"].variables) == (3001, ("AETHERRA_HUB_PORT", "AETHERRA_API_PORT"))
    assert (rows["deep.size_kb"].default, rows["deep.size_kb"].meaning) == (4, "How much there is.")
    assert rows["deep.size_kb"].variables == ("AETHERRA_HUB_DEEP_SIZE_KB",)
    assert (rows["silent"].default, rows["silent"].meaning) == ((), "")


def test_a_struct_that_extends_another_keeps_its_texts() -> None:
    class More(Inner, frozen=True):
        other: int = 1
        """Added."""

    assert [s.meaning for s in describe(More, "x").settings] == ["How much there is.", "Added."]


def test_a_struct_without_source_has_no_texts() -> None:
    made = msgspec.defstruct("Made", [("x", int, 1)])
    assert attribute_docs(made) == {}
    assert [s.key for s in describe(made, "made").settings] == ["x"]


def test_a_hub_is_described_whole(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "extra.py").write_text(
        "import msgspec\nfrom kernel import Plugin\nextra = Plugin('extra', version='1.0.0')\n"
        "@extra.settings\nclass Settings(msgspec.Struct):\n    cups: int = 2\n    '''Of tea.'''\n"
    )
    paths = Paths.find(environ={}, home=tmp_path / "home", plugins=plugins, trusted=[plugins])
    config = Config.load(sections={"x": Inner}, file=Path(os.devnull), environ={}, overrides={}, paths=paths)
    tables = {table.title: table for table in describe_settings(config, {"x": Inner})}
    assert list(tables)[:2] == ["x", "store"]
    assert {"limits", "network", "paths", "plugins.memory", "plugins.extra"} <= set(tables)
    assert [(s.key, s.default, s.meaning) for s in tables["plugins.extra"].settings] == [("cups", 2, "Of tea.")]
    assert {s.key: s.default for s in tables["paths"].settings}["plugins"] == str(plugins)
    assert all(setting.meaning for table in tables.values() for setting in table.settings)
