"""Every setting as people are told of it: its key, its default, what it means, and the variable that sets it.

Read from the Structs themselves, so that a page, a fresh settings file and the code cannot disagree.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kernel.command import plugin_settings
from kernel.config import (
    ALIASES,
    PATH_ALIASES,
    PATH_TYPES,
    PATHS,
    PLUGINS,
    PREFIX,
    Config,
    Paths,
)
from kernel.settings import KERNEL_SECTIONS

_TITLE = re.compile(r"\A`\[[\w.]+\]`[:.]\s*")


class SettingDoc(msgspec.Struct, frozen=True):
    """One setting. `key` is what stands in its table (`port`, or `tls.file` for a nested one)."""

    key: str
    default: Any
    """Plain data; None where there is no default."""
    meaning: str
    """A sentence or two, with the unit; empty where the code says nothing."""
    variables: tuple[str, ...]
    """The environment variables that set it, the one of the rule first."""


class SettingTable(msgspec.Struct, frozen=True):
    """The settings of one table of `aetherra.toml`: `hub`, `limits`, `paths`, `plugins.NAME`."""

    title: str
    about: str
    settings: tuple[SettingDoc, ...]


def describe_settings(config: Config, sections: Mapping[str, type[msgspec.Struct]]) -> list[SettingTable]:
    """Return the tables of a hub with these folders: `sections` (as `Config.load` takes them), the kernel's, `[paths]`
    with the folders in effect as its defaults, and those of the plugins that a hub would load, by name.

    Imports the plugins, and opens nothing.
    """
    own = {**KERNEL_SECTIONS, **sections}
    tables = [describe(own[name], name) for name in dict.fromkeys((*sections, *own))]
    tables.append(describe_paths(config.paths))
    plugins = sorted(plugin_settings(config).items())
    return tables + [describe(struct, f"{PLUGINS}.{name}") for name, struct in plugins]


def describe(struct: type[msgspec.Struct], title: str) -> SettingTable:
    """Return the settings of one Struct under the title of its table."""
    about = _TITLE.sub("", inspect.getdoc(struct) or "")
    about = about[:1].upper() + about[1:]
    rows = []
    for path, known, meaning in _leaves(struct, ()):
        rule = "_".join((title.replace(".", "_"), *path))
        full = ".".join((title, *path))
        aliases = tuple(alias for alias, key in ALIASES.items() if key == full)
        default = msgspec.to_builtins(_default(known), enc_hook=str)
        rows.append(SettingDoc(".".join(path), default, meaning, ((PREFIX + rule).upper(), *aliases)))
    return SettingTable(title, about, tuple(rows))


def describe_paths(paths: Paths) -> SettingTable:
    """Return `[paths]`: the folders that a settings file may name, with the ones in effect as defaults."""
    docs = attribute_docs(Paths)
    rows = []
    for name in PATH_TYPES:
        if name != "home":  # the file lies in it
            rule = f"{PREFIX}{PATHS}_{name}".upper()
            variables = (rule, *([PATH_ALIASES[name]] if name in PATH_ALIASES else ()))
            default = msgspec.to_builtins(getattr(paths, name), enc_hook=str)
            rows.append(SettingDoc(name, default, docs.get(name, ""), variables))
    return SettingTable(PATHS, "Where things lie; a relative path counts from the settings file.", tuple(rows))


def attribute_docs(struct: type[Any]) -> dict[str, str]:
    """Return the text that stands below each attribute in the source of a class; empty where there is no source."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    except OSError:
        return {}
    found: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for field, doc in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                found[field.target.id] = " ".join(str(doc.value.value).split())
    return found


def _leaves(
    struct: type[msgspec.Struct], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], msgspec.structs.FieldInfo, str]]:
    docs: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            docs |= attribute_docs(base)
    for known in msgspec.structs.fields(struct):
        inner = (*path, known.encode_name)
        if isinstance(known.type, type) and issubclass(known.type, msgspec.Struct):
            yield from _leaves(known.type, inner)
        else:
            yield inner, known, docs.get(known.name, "")


def _default(known: msgspec.structs.FieldInfo) -> Any:
    if known.default is not msgspec.NODEFAULT:
        return known.default
    return None if known.default_factory is msgspec.NODEFAULT else known.default_factory()
