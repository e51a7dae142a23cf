"""Settings in layers: defaults < `aetherra.toml` < environment (`AETHERRA_*`) < command line, read into frozen Structs.

Nothing is taken silently: an unknown key or a value of a wrong type is a `ConfigError` that names the place, the key,
what was expected and the nearest valid name. Every effective value knows where it came from (`Config.effective`).
Where everything lies is found first, since the file itself lies there: `Paths`.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from kernel.errors import ConfigError
from kernel.settings import KERNEL_SECTIONS, EventSettings, Limits, NetworkSettings, StoreSettings
from kernel.suggest import nearest

FILE_NAME = "aetherra.toml"
FILE_BYTES = 256 * 1024
PREFIX = "AETHERRA_"
PLUGINS = "plugins"

ALIASES: Mapping[str, str] = {
    "AETHERRA_API_HOST": "hub.host",
    "AETHERRA_API_PORT": "hub.port",
    "AETHERRA_NET_STRICT": "network.strict",
    "AETHERRA_ALLOW_INSECURE_BIND": "hub.allow_insecure_bind",
    "AETHERRA_ADMIN_USER": "plugins.identity.admin_user",
    "AETHERRA_ADMIN_PASSWORD": "plugins.identity.admin_password",
    "AETHERRA_AI_API_TOKEN": "plugins.identity.ai_api_token",
    "AETHERRA_AGENTS_API_TOKEN": "plugins.identity.agents_api_token",
}
"""Documented names that do not follow the rule AETHERRA_SECTION_KEY; the name that follows it wins over its alias."""

PATHS = "paths"
PATH_ALIASES: Mapping[str, str] = {"home": "AETHERRA_HOME", "scripts": "AETHERRA_SCRIPT_PATH"}
"""Documented names of folders; the others, and these as well, follow the rule AETHERRA_PATHS_KEY."""
OF_TESTS = frozenset({"AETHERRA_CRASHPOINT", "AETHERRA_TEST_REQUIRE"})

_NO_AI = "the AI API is not part of it"
_NO_AGENTS = "the agents API is not part of it"

WITHOUT_EFFECT: Mapping[str, str] = {
    "AETHERRA_AI_API_ENABLED": _NO_AI,
    "AETHERRA_AI_API_REQUIRE_TOKEN": _NO_AI,
    "AETHERRA_AGENTS_API_ENABLED": _NO_AGENTS,
    "AETHERRA_AGENTS_API_REQUIRE_TOKEN": _NO_AGENTS,
    "AETHERRA_KEYS_MASTER": "there is no vault in it",
}
"""Documented variables whose subsystem this version lacks: a warning with the reason, not an error."""

_SECRET = re.compile(r"token|password|secret|key", re.IGNORECASE)
_TOML_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")

S = TypeVar("S", bound=msgspec.Struct)


class Paths(msgspec.Struct, frozen=True):
    """Where everything lies; all absolute. `origins` tells what gave a path, where that was not the default."""

    home: Path
    """The hub's data: the database, the console's socket, `aetherra.toml`."""
    plugins: Path
    """The drop folder."""
    scripts: Path | None
    """The operator's own root of scripts (HOME/scripts unless named); it may not exist yet."""
    policies: Path
    """The one folder whose policy files count."""
    bundled_plugins: Path
    bundled_scripts: Path
    bundled_policies: Path
    """Where `capabilities.toml` is read from, in an installed hub as well."""
    trusted: tuple[Path, ...]
    """Folders that are trusted, as with --trust-plugins: what lies there runs in the hub's own process."""
    database: Path
    demo: bool = False
    """The examples are loaded as well: their plugins in this process, and their scripts in the operator's place."""
    examples: Path | None = None
    """Where they lie, when they are."""
    origins: Mapping[str, str] = {}

    @classmethod
    def find(
        cls,
        *,
        environ: Mapping[str, str],
        home: Path | None = None,
        plugins: Path | None = None,
        scripts: Path | None = None,
        policies: Path | None = None,
        trusted: Sequence[Path] = (),
        demo: bool = False,
        root: Path | None = None,
    ) -> Paths:
        """Return the folders of this hub: of the checkout that holds the `kernel` package, else the installed ones.

        What is given (by the command line) wins over the environment; `[paths]` of the settings file is read by
        `Config.load`. `root` is the folder that holds the packages. Nothing is created.
        """
        root = (root or Path(__file__).resolve().parent.parent).absolute()
        checkout = (root / "pyproject.toml").is_file() and (root / "plugins").is_dir()
        data = root if checkout else root / "aetherra"
        options = {"home": home, "plugins": plugins, "scripts": scripts, "policies": policies}
        given = {name: _Given(path, f"--{name}", f"command line, --{name}") for name, path in options.items() if path}
        if trusted:
            given["trusted"] = _Given(tuple(trusted), "--trust-plugins", "command line, --trust-plugins")
        if demo:
            given["demo"] = _Given(True, "--demo", "command line, --demo")
        given = _paths_of_environment(environ) | given
        user = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
        default_home = root / ".aetherra" if checkout else user / ".local/share/aetherra"
        at_home = _absolute(given["home"].value if "home" in given else default_home)
        defaults = cls(
            home=at_home,
            plugins=(data if checkout else at_home) / "plugins",
            scripts=at_home / "scripts",
            policies=(data if checkout else at_home) / "policies",
            bundled_plugins=data / "plugins",
            bundled_scripts=data / "scripts",
            bundled_policies=data / "policies",
            trusted=(),
            database=at_home / "aetherra.db",
        )
        return defaults.given(given)

    def given(self, found: Mapping[str, _Given]) -> Paths:
        """Return these folders with what a layer gives, where no stronger one gave it before."""
        new = {name: one for name, one in found.items() if name not in self.origins}
        values = {name: one.value for name, one in new.items()}
        origins = {**self.origins, **{name: one.origin for name, one in new.items()}}
        if values.get("demo"):
            values["examples"] = self.bundled_plugins.parent / "examples"
        made = msgspec.structs.replace(
            self, **{name: _all_absolute(value) for name, value in values.items()}, origins=origins
        )
        if made.examples is not None and "scripts" not in origins:
            made = msgspec.structs.replace(made, scripts=made.examples)
        return made

    def prepare(self) -> None:
        """Create HOME, for its owner alone, with the folders in it that are used, and at an installed hub's first
        start HOME/policies from the bundled ones.

        Raises `ConfigError` when a folder cannot be made. `capabilities.toml` belongs to the hub and is never copied.
        """
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
            for folder in (self.plugins, self.scripts):
                if folder is not None and folder.parent == self.home:
                    folder.mkdir(mode=0o700, exist_ok=True)
            if self.policies == self.home / "policies" and not self.policies.exists():
                self._copy_policies()
        except OSError as error:
            raise ConfigError(
                f"{error.filename or self.home} cannot be prepared: {error.strerror or error}; name another folder "
                "with --home or AETHERRA_HOME",
                details={"path": str(error.filename or self.home)},
            ) from None

    def _copy_policies(self) -> None:
        # Copied beside and renamed: a start that was cut short must not leave a folder that looks complete.
        staged = self.home / f".policies-{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(mode=0o700)
        for source in sorted(self.bundled_policies.glob("*.toml")):
            if source.name != "capabilities.toml":
                target = staged / source.name
                target.write_bytes(source.read_bytes())
                target.chmod(0o600)
        staged.rename(self.policies)


class Setting(msgspec.Struct, frozen=True):
    """One effective value: its dotted key, the value as plain data (secrets as `***`), and what set it."""

    key: str
    value: Any
    origin: str


class _Given(msgspec.Struct, frozen=True):
    """A value as one layer gives it. `text` is true where everything is text: the environment, the command line."""

    value: Any
    origin: str
    where: str
    text: bool = False
    line: int | None = None


class _Leaf(msgspec.Struct, frozen=True):
    """One setting of a Struct, nested Structs opened: its path, type and whether it must be given."""

    path: tuple[str, ...]
    type: Any
    required: bool

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()


class _Claim(msgspec.Struct, frozen=True):
    """What a plugin asked for, as plain data: its Struct must not outlive its generation."""

    settings: tuple[Setting, ...]
    variables: frozenset[str]


class _Layers(msgspec.Struct):
    """What was given from outside, before any of it is decoded."""

    file: Path | None = None
    tables: dict[str, Any] = msgspec.field(default_factory=dict)
    lines: dict[tuple[str, ...], int] = msgspec.field(default_factory=dict)
    environ: dict[str, str] = msgspec.field(default_factory=dict)
    overrides: dict[str, Any] = msgspec.field(default_factory=dict)

    def place(self, path: tuple[str, ...]) -> tuple[str, int | None]:
        """Return the file, with the line where it is known, in which `path` is set."""
        line = self.lines.get(path)
        return (f"{self.file}:{line}" if line else f"{self.file}"), line


class Config:
    """The settings in effect: each section as an attribute (`config.limits`), `config.paths`, and those of plugins."""

    paths: Paths
    limits: Limits
    store: StoreSettings
    events: EventSettings
    network: NetworkSettings
    warnings: tuple[str, ...]
    """Sentences about what was given and has no effect."""

    def __init__(self, paths: Paths, layers: _Layers) -> None:
        self.paths = paths
        self.warnings = ()
        self._layers = layers
        self._sections: dict[str, msgspec.Struct] = {}
        self._plugins: dict[str, _Claim] = {}
        self._origins: dict[str, str] = {}

    @classmethod
    def load(
        cls,
        *,
        sections: Mapping[str, type[msgspec.Struct]],
        file: Path | None,
        environ: Mapping[str, str],
        overrides: Mapping[str, Any],
        paths: Paths,
    ) -> Config:
        """Return the settings; raise `ConfigError` for the first one that is unknown or wrong.

        `sections` are those of the caller beside the kernel's own; one of the same name stands in its place, and
        therefore extends that Struct.
        `file` None means HOME/aetherra.toml, which may be absent. `overrides` maps dotted keys to values of the command
        line; None means the option was not given.
        """
        wanted = {**KERNEL_SECTIONS, **sections}
        layers = _Layers(environ={k: v for k, v in environ.items() if k.startswith(PREFIX)})
        layers.overrides = {key: value for key, value in overrides.items() if value is not None}
        _read_file(layers, file or paths.home / FILE_NAME, named=file is not None)
        config = cls(paths.given(_paths_of_file(layers)), layers)
        leaves = {name: list(_leaves(struct, (name,))) for name, struct in wanted.items()}
        _refuse_unknown_tables(layers, wanted)
        _refuse_unknown_overrides(layers, leaves)
        config.warnings = tuple(_sort_out_environment(layers, leaves))
        for name, struct in wanted.items():
            config._sections[name] = config._decode(struct, leaves[name])
        return config

    def __getattr__(self, name: str) -> Any:
        sections: dict[str, Any] = self.__dict__.get("_sections", {})
        if name in sections:
            return sections[name]
        close = nearest(name, sections)
        raise AttributeError(
            f"there is no section {name!r} in the configuration" + (f"; did you mean {close!r}?" if close else "")
        )

    def plugin(self, name: str, struct: type[S]) -> S:
        """Return `[plugins.NAME]` as `struct`; raise `ConfigError` for an unknown key or a value that does not fit."""
        leaves = list(_leaves(struct, (PLUGINS, name)))
        self._refuse_misspelt(name, leaves)
        settings = self._decode(struct, leaves)
        shown = tuple(self._setting(leaf, settings, 2) for leaf in leaves)
        self._plugins[name] = _Claim(shown, frozenset(leaf.variable for leaf in leaves))
        return settings

    def _refuse_misspelt(self, name: str, leaves: Sequence[_Leaf]) -> None:
        keys = [leaf.key for leaf in leaves]
        for key in self._layers.overrides:
            if key.startswith(f"{PLUGINS}.{name}.") and key not in keys:
                raise _unknown("command line", f"there is no setting {key!r}", key, key, keys)
        # A variable may belong to another plugin whose longer name begins with this one; one near to a key does not.
        variables = [leaf.variable for leaf in leaves]
        start = f"{PREFIX}PLUGINS_{name.upper()}_"
        for variable in self._layers.environ:
            if variable.startswith(start) and variable not in variables:
                words = {known.removeprefix(start): known for known in variables}
                if nearest(variable.removeprefix(start), words):
                    what = f"{variable} is no setting of the plugin {name}"
                    raise _unknown("environment", what, variable, variable, variables)

    def unclaimed(self) -> list[str]:
        """Return what was set for plugins and asked for by none: names of tables, variables and options, sorted."""
        found = [f"{PLUGINS}.{name}" for name in self._layers.tables.get(PLUGINS, {}) if name not in self._plugins]
        variables = {variable for claim in self._plugins.values() for variable in claim.variables}
        found += [v for v in self._layers.environ if v.startswith(f"{PREFIX}PLUGINS_") and v not in variables]
        keys = {setting.key for claim in self._plugins.values() for setting in claim.settings}
        found += [k for k in self._layers.overrides if k.startswith(f"{PLUGINS}.") and k not in keys]
        return sorted(found)

    def without_effect(self) -> list[str]:
        """Return sentences about everything that was set and has no effect; after the plugins have claimed theirs."""
        loose = [f"{name} has no effect: no plugin that is loaded here has such a setting" for name in self.unclaimed()]
        return [*self.warnings, *loose]

    def effective(self) -> list[Setting]:
        """Return every value in effect, with what set it: `default`, `aetherra.toml:12`, a variable, or an option."""
        found = []
        for name, value in self._sections.items():
            found += [self._setting(leaf, value, 1) for leaf in _leaves(type(value), (name,))]
        for _, claim in sorted(self._plugins.items()):
            found += claim.settings
        for name in self.paths.__struct_fields__:
            if name not in ("origins", "examples"):
                origin = self.paths.origins.get(name, "default")
                found.append(Setting(f"paths.{name}", _plain(getattr(self.paths, name)), origin))
        return found

    def lower(self, key: str, value: int, origin: str) -> None:
        """Put a smaller value in the place of a bound that this process cannot keep; `origin` says what forced it."""
        section, name = key.split(".")
        self._sections[section] = msgspec.structs.replace(self._sections[section], **{name: value})
        self._origins[key] = origin

    def _setting(self, leaf: _Leaf, section: msgspec.Struct, depth: int) -> Setting:
        value: Any = section
        for name in leaf.path[depth:]:
            value = getattr(value, _attribute(type(value), name))
        secret = value not in (None, "") and _SECRET.search(leaf.path[-1])
        return Setting(leaf.key, "***" if secret else _plain(value), self._origins.get(leaf.key, "default"))

    # Decoding ----------------------------------------------------------------------------------------------------

    def _decode(self, struct: type[S], leaves: Sequence[_Leaf]) -> S:
        depth = 2 if leaves and leaves[0].path[0] == PLUGINS else 1
        self._refuse_unknown_keys(struct, leaves[0].path[:depth] if leaves else ())
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for leaf in leaves:
            given = _given(self._layers, leaf)
            if given is None:
                if leaf.required:
                    raise ConfigError(
                        f"{leaf.key} has no default and must be set, in [{'.'.join(leaf.path[:-1])}] of "
                        f"{self._layers.file or FILE_NAME} or as {leaf.variable}",
                        details={"key": leaf.key},
                    )
                continue
            inner = values
            for name in leaf.path[depth:-1]:
                inner = inner.setdefault(name, {})
            inner[leaf.path[-1]] = _convert(given, leaf)
            origins[leaf.key] = given.origin
        try:
            made = _make(struct, values)
        except (ValueError, TypeError) as error:  # a rule of the Struct's own, over several settings
            title = ".".join(leaves[0].path[:depth]) if leaves else struct.__name__
            places = ", ".join(sorted(set(origins.values()))) or "defaults"
            raise ConfigError(
                f"[{title}] does not hold together: {error} (set by: {places})", details={"key": title}
            ) from None
        self._origins |= origins
        return made

    def _refuse_unknown_keys(self, struct: type[msgspec.Struct], path: tuple[str, ...]) -> None:
        table: Any = self._layers.tables
        for name in path:
            table = table.get(name, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            where, line = self._layers.place(path)
            title = ".".join(path)
            raise ConfigError(
                f"{where}: {title} must be a table, written as [{title}]",
                details={"key": title, "file": str(self._layers.file), "line": line},
            )
        known = {f.encode_name: f.type for f in msgspec.structs.fields(struct)} if table else {}
        for key in table:
            inner = (*path, key)
            if key not in known:
                where, line = self._layers.place(inner)
                what = f"[{'.'.join(path)}] has no setting {key!r}"
                raise _unknown(where, what, ".".join(inner), key, list(known), file=self._layers.file, line=line)
            if _is_struct(known[key]):
                self._refuse_unknown_keys(known[key], inner)


# Where everything lies ---------------------------------------------------------------------------------------------

PATH_TYPES: Mapping[str, Any] = {
    "home": Path,
    "plugins": Path,
    "scripts": Path,
    "policies": Path,
    "trusted": tuple[Path, ...],
    "demo": bool,
}
"""What `[paths]` and AETHERRA_PATHS_* set; HOME itself not in the file, which lies in it."""


def _path_variable(name: str) -> str:
    return f"{PREFIX}PATHS_{name}".upper()


def _paths_of_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    found = {}
    for name, kind in PATH_TYPES.items():
        for variable in (_path_variable(name), PATH_ALIASES.get(name, "")):
            if environ.get(variable):
                given = _Given(environ[variable], variable, variable, text=True)
                leaf = _Leaf((PATHS, name), kind, required=False)
                found[name] = msgspec.structs.replace(given, value=_convert(given, leaf))
                break
    return found


def _paths_of_file(layers: _Layers) -> dict[str, _Given]:
    """Return what `[paths]` says; a relative path counts from the file."""
    table, file = layers.tables.get(PATHS, {}), layers.file or Path(FILE_NAME)
    where, line = layers.place((PATHS,))
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: paths must be a table, written as [paths]", details={"key": PATHS, "line": line})
    known = [name for name in PATH_TYPES if name != "home"]
    found = {}
    for name, value in table.items():
        where, line = layers.place((PATHS, name))
        if name == "home":
            what = "HOME is where this file lies; it is named with --home or AETHERRA_HOME"
            raise ConfigError(f"{where}: {what}", details={"key": "paths.home", "file": str(file), "line": line})
        if name not in known:
            what = f"[paths] has no setting {name!r}"
            raise _unknown(where, what, f"paths.{name}", name, known, file=file, line=line)
        given = _Given(value, f"{file.name}:{line}" if line else file.name, where, line=line)
        read = _convert(given, _Leaf((PATHS, name), PATH_TYPES[name], required=False))
        beside = file.absolute().parent
        if isinstance(read, Path):
            read = beside / read
        elif isinstance(read, tuple):
            read = tuple(beside / folder for folder in read)
        found[name] = msgspec.structs.replace(given, value=read)
    return found


# Reading the layers ------------------------------------------------------------------------------------------------


def _read_file(layers: _Layers, file: Path, *, named: bool) -> None:
    layers.file = file
    try:
        with layers.file.open("rb") as source:
            raw = source.read(FILE_BYTES + 1)
    except FileNotFoundError:
        if not named:
            return
        raise ConfigError(
            f"{file}: there is no such file; --config names one that exists", details={"file": str(file)}
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{layers.file}: cannot be read: {error.strerror}", details={"file": str(layers.file)}
        ) from None
    details: dict[str, Any] = {"file": str(layers.file)}
    if len(raw) > FILE_BYTES:
        raise ConfigError(f"{layers.file}: larger than {FILE_BYTES // 1024} KiB", details=details)
    try:
        text = raw.decode().replace("\r\n", "\n")
        layers.tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{layers.file}: not UTF-8, from byte {error.start} on", details=details) from None
    except RecursionError:
        raise ConfigError(f"{layers.file}: nested too deeply", details=details) from None
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        what = _TOML_PLACE.sub("", str(error))
        raise ConfigError(f"{layers.file}:{line}: not valid TOML: {what}", details={**details, "line": line}) from None
    layers.lines = _lines(text)


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line on which each key of valid TOML is set: a statement is the shortest run of lines that parses."""
    rows = text.split("\n")
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    start = 0
    while start < len(rows):
        end, part = start + 1, None
        while part is None:
            try:
                part = tomllib.loads("\n".join(rows[start:end]))
            except tomllib.TOMLDecodeError:
                end += 1
                if end > len(rows):  # not reached for valid TOML
                    return found
        header = rows[start].lstrip().startswith("[")
        paths = list(_paths(part, () if header else table))
        if header and paths:
            table = paths[-1]
        for path in paths:
            found.setdefault(path, start + 1)
        start = end
    return found


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _paths(inner, (*path, key))


def _refuse_unknown_tables(layers: _Layers, wanted: Mapping[str, Any]) -> None:
    for name, table in layers.tables.items():
        where, line = layers.place((name,))
        if name == PATHS:
            continue  # read before all else: where the others lie depends on it
        if name == PLUGINS and not (isinstance(table, dict) and all(isinstance(t, dict) for t in table.values())):
            raise ConfigError(
                f"{where}: the settings of a plugin stand in a table of its own, written as [plugins.NAME]",
                details={"key": name, "file": str(layers.file), "line": line},
            )
        if name != PLUGINS and name not in wanted:
            what = (
                f"there is no section [{name}]"
                if isinstance(table, dict)
                else f"there is no setting {name!r} outside a section"
            )
            raise _unknown(where, what, name, name, [*wanted, PLUGINS, PATHS], file=layers.file, line=line)


def _refuse_unknown_overrides(layers: _Layers, leaves: Mapping[str, Sequence[_Leaf]]) -> None:
    known = [leaf.key for group in leaves.values() for leaf in group]
    for key in layers.overrides:
        if key not in known and not key.startswith(f"{PLUGINS}."):
            raise _unknown("command line", f"there is no setting {key!r}", key, key, known)


def _sort_out_environment(layers: _Layers, leaves: Mapping[str, Sequence[_Leaf]]) -> list[str]:
    """Return warnings for variables without effect; raise for those that nothing knows."""
    known = {leaf.variable for group in leaves.values() for leaf in group}
    known |= {
        alias
        for alias, key in ALIASES.items()
        if key.startswith(f"{PLUGINS}.") or any(leaf.key == key for group in leaves.values() for leaf in group)
    }
    known |= {_path_variable(name) for name in PATH_TYPES} | set(PATH_ALIASES.values()) | OF_TESTS
    warnings = []
    for variable in sorted(layers.environ):
        if variable in known or variable.startswith(f"{PREFIX}PLUGINS_"):
            continue
        if variable not in WITHOUT_EFFECT:
            words = [*known, *WITHOUT_EFFECT]
            raise _unknown("environment", f"{variable} is no variable of this hub", variable, variable, words)
        warnings.append(f"{variable} has no effect in this version: {WITHOUT_EFFECT[variable]}")
    return warnings


def _given(layers: _Layers, leaf: _Leaf) -> _Given | None:
    """Return the value of the strongest layer that has one."""
    if leaf.key in layers.overrides:
        option = "--" + leaf.path[-1].replace("_", "-")
        return _Given(layers.overrides[leaf.key], option, f"command line, {option}", text=True)
    aliases = [alias for alias, key in ALIASES.items() if key == leaf.key]
    for variable in (leaf.variable, *aliases):
        if variable in layers.environ:
            return _Given(layers.environ[variable], variable, variable, text=True)
    value: Any = layers.tables
    for name in leaf.path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    where, line = layers.place(leaf.path)
    name = layers.file.name if layers.file else FILE_NAME
    return _Given(value, f"{name}:{line}" if line else name, where, line=line)


# Types -------------------------------------------------------------------------------------------------------------


def _leaves(struct: type[msgspec.Struct], path: tuple[str, ...]) -> Iterator[_Leaf]:
    for known in msgspec.structs.fields(struct):
        inner = (*path, known.encode_name)
        if _is_struct(known.type):
            yield from _leaves(known.type, inner)
        else:
            yield _Leaf(inner, known.type, known.required)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _attribute(struct: type[msgspec.Struct], encoded: str) -> str:
    # Not `structs.fields`, which reads every annotation anew.
    return struct.__struct_fields__[struct.__struct_encode_fields__.index(encoded)]


def _make(struct: type[S], values: Mapping[str, Any]) -> S:
    """Build a Struct of values that are converted already, nested ones from inside out."""
    arguments = {}
    for known in msgspec.structs.fields(struct):
        if _is_struct(known.type) and (known.required or known.encode_name in values):
            arguments[known.name] = _make(known.type, values.get(known.encode_name, {}))
        elif known.encode_name in values:
            arguments[known.name] = values[known.encode_name]
    return struct(**arguments)


def _convert(given: _Given, leaf: _Leaf) -> Any:
    value = given.value
    if given.text and isinstance(value, str) and _is_list(leaf.type):
        value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return msgspec.convert(value, leaf.type, strict=not given.text, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        secret = bool(_SECRET.search(leaf.path[-1]))
        came = "" if secret or not isinstance(value, str | int | float) else f" (it is {value!r})"
        raise ConfigError(
            f"{given.where}: {leaf.key}: {_lower(str(error))}{came}",
            details={"key": leaf.key, "file": given.origin.rpartition(":")[0] or None, "line": given.line},
        ) from None


def _is_list(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin is Annotated or origin in (typing.Union, types.UnionType):
        return any(_is_list(part) for part in typing.get_args(kind))
    return (origin or kind) in (list, tuple, set, frozenset)


def _from_text(kind: type[Any], value: Any) -> Any:
    # A ValueError is told as a refusal, with its place.
    if kind is not Path:
        raise ValueError(f"A setting of type {kind.__name__} cannot be read; plain types, Path and Structs can")
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    return Path(value).expanduser()


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=str)


def _all_absolute(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_absolute(path) for path in value)
    return _absolute(value) if isinstance(value, Path) else value


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _unknown(
    where: str,
    what: str,
    key: str,
    word: str,
    words: Sequence[str],
    *,
    file: Path | None = None,
    line: int | None = None,
) -> ConfigError:
    close = nearest(word, words)
    hint = f"did you mean {close!r}?" if close else f"there are {', '.join(sorted(words))}"
    return ConfigError(
        f"{where}: {what}; {hint}",
        details={"key": key, "file": str(file) if file else None, "line": line, "nearest": close},
    )
