"""Making a home for a hub: its folders, a policy, a first script, and a settings file that explains itself.

Nothing that is there already is touched.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hub.first_steps import FIRST_SCRIPT, command_line, of_home
from hub.home import LOCK
from hub.settings import HubSettings
from kernel import Config, ConfigError, Conflict, Paths, SettingDoc, SettingTable, describe_settings

FILE = "aetherra.toml"
SIGNS = (FILE, LOCK, "aetherra.db")
"""What tells a hub's home from any other folder."""

WIDTH = 110
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")

HEAD = """\
# The settings of this hub. A line such as #port = 3001 is a default: take its # away to change it.
# A variable (AETHERRA_SECTION_KEY) is stronger than this file, and the command line stronger than both;
# `aether config` prints what counts and what set it. The hub reads this file when it starts.
"""


class NewHome(msgspec.Struct):
    """What `make_home` did: paths below `home`, as they are shown."""

    home: Path
    made: list[str]
    kept: list[str]
    """What was there already, and was left as it was."""
    elsewhere: list[str]
    """Folders of this hub that do not lie in its home, as sentences."""
    script: str | None
    """The first script, if one was made."""


def make_home(home: Path, *, force: bool = False) -> NewHome:
    """Make `home` the home of a hub, for its owner alone, and say what was made and what was kept.

    In a checkout the checkout's own policies and drop folder count; a home other than the usual one gets folders of its
    own all the same, named under `[paths]` of its settings file. Raises `Conflict` for a folder full of other things,
    unless forced, and `ConfigError` where something cannot be written.
    """
    usual = Paths.find(environ={}).home
    paths = Paths.find(environ={}, home=home)
    if not force:
        _refuse_foreign_folder(home)
    named: dict[str, Any] = {}
    if home != usual and paths.plugins.parent != home:
        named = {"plugins": "plugins", "policies": "policies"}
        paths = Paths.find(environ={}, home=home, plugins=home / "plugins", policies=home / "policies")
    below = [folder for folder in (paths.policies, paths.plugins, home / "scripts") if folder.parent == home]
    new = NewHome(home, [], [], [], None)
    for folder in below:
        (new.kept if folder.exists() else new.made).append(f"{folder.name}/")
    if paths.policies.parent != home:
        new.elsewhere.append(f"the policies of this checkout count: {paths.policies}")
    if paths.plugins.parent != home:
        new.elsewhere.append(f"its drop folder is the checkout's: {paths.plugins}")
    paths.prepare()
    tables = describe_settings(_defaults(home), {"hub": HubSettings})
    _write_once(new, FILE, settings_file(tables, home, named))
    if "scripts/" in new.made:
        example = (paths.bundled_plugins.parent / "examples" / FIRST_SCRIPT).read_text()
        _write_once(new, f"scripts/{FIRST_SCRIPT}", example)
        new.script = FIRST_SCRIPT
    return new


def tell(new: NewHome, *, as_json: bool) -> None:
    """Print what was made and kept, and the commands that come next."""
    home = of_home(new.home)
    commands = [command_line("doctor", *home), command_line("serve", *home)]
    if new.script is not None:
        commands.append(command_line(*home, "run", new.script, "--watch"))
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(new, enc_hook=str) | {"next": commands}).decode())
        return
    click.echo(f"{new.home} is a hub's home")
    for word, names in (("made", new.made), ("kept", new.kept)):
        if names:
            click.echo(f"  {word}  {', '.join(names)}")
    for sentence in new.elsewhere:
        click.echo(f"  {sentence}")
    click.echo("Next:")
    for command, purpose in zip(commands, ("look whether all is well", "run the hub", "a first script"), strict=False):
        click.echo(f"  {command}   # {purpose}")


def settings_file(tables: Sequence[SettingTable], home: Path, named: Mapping[str, Any] | None = None) -> str:
    """Return a settings file that says nothing but what `named` gives for `[paths]`, and shows everything.

    With every `#key = value` made a line of its own it sets each default.
    """
    parts = [HEAD]
    for table in tables:
        lines = [f"[{table.title}]", *_comment(table.about)]
        given = named if named and table.title == "paths" else {}
        for setting in table.settings:
            lines += ["", *_setting(setting, home, given)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _setting(setting: SettingDoc, home: Path, given: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(setting.meaning)
    if setting.key in given:
        yield f"{_key(setting.key)} = {toml_value(given[setting.key])}"
    elif setting.default is None:
        yield f"# {_key(setting.key)} is not set."
    else:
        yield f"#{_key(setting.key)} = {toml_value(_short(setting.default, home))}"


def _short(value: Any, home: Path) -> Any:
    """Return a path below HOME as it is written in the file, which lies there."""
    inside = f"{home}{os.sep}"
    return value.removeprefix(inside) if isinstance(value, str) else value


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        for line in textwrap.wrap(" ".join(paragraph.split()), WIDTH):
            yield f"# {line}"


def _key(key: str) -> str:
    return ".".join(part if _PLAIN_KEY.fullmatch(part) else json.dumps(part) for part in key.split("."))


def toml_value(value: Any) -> str:
    """Return plain data as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's text is TOML's, but for one character that TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    raise TypeError(f"{value!r:.80} cannot be written as TOML")


def _defaults(home: Path) -> Config:
    """Return a configuration in which nothing is set, so that what it tells are defaults."""
    paths = Paths.find(environ={}, home=home)
    return Config.load(sections={"hub": HubSettings}, file=Path(os.devnull), environ={}, overrides={}, paths=paths)


def _refuse_foreign_folder(home: Path) -> None:
    try:
        there = sorted(path.name for path in home.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{home} cannot be a home: {error.strerror or error}; name another folder") from None
    if there and not any(sign in there for sign in SIGNS):
        shown = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
        raise Conflict(
            f"{home} holds other things ({shown}), and a home is closed to all but its owner; name another folder, or "
            "give --force if you mean this one",
            details={"home": str(home)},
        )


def _write_once(new: NewHome, name: str, text: str) -> None:
    """Write a file, for its owner alone, where there is none; note which it was."""
    path = new.home / name
    try:
        with open(path, "x", opener=_private) as file:
            file.write(text)
    except FileExistsError:
        new.kept.append(name)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    else:
        new.made.append(name)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
