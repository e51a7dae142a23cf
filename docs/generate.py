"""Writes the generated parts of the docs anew from the code; with `--check`, only tells what is out of date.

A part stands between `<!-- generated: NAME -->` or `<!-- quote: FILE -->` and `<!-- end -->`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import language_tables
from tables import table

from aether_lang import host, stdlib
from aether_lang.codes import catalogue
from aether_lang.errors import Diagnostic
from aether_lang.front import compiled
from hub.app import HUB, make_app
from hub.errors import status_of
from hub.openapi import document
from hub.settings import HubSettings
from kernel import Config, Kernel, Paths, Table
from kernel.config import ALIASES, PATH_ALIASES, WITHOUT_EFFECT
from kernel.contribution import Contribution, Metric
from kernel.errors import AetherraError, errors_tree
from kernel.loader import Source, gather
from kernel.metrics import Declared
from kernel.plugin import Plugin
from kernel.setting_docs import SettingDoc, attribute_docs, describe, describe_paths
from kernel.settings import KERNEL_SECTIONS
from kernel.testing import CHECKS

PART = re.compile(r"(<!-- (generated|quote): ([^ ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def capabilities() -> str:
    """Return the table of the words of rights, from `policies/capabilities.toml`."""
    words = tomllib.loads((ROOT / "policies" / "capabilities.toml").read_text())["words"]
    rows = (
        (f"`{word}`", ", ".join(w["object"]) or "–", w["effect"], str(w["risk"]), w["about"])
        for word, w in words.items()
    )
    return table(("capability", "object", "class", "risk", "what it lets somebody do"), rows)


def errors() -> str:
    """Return the table of error codes, from the classes of `kernel/errors.py`."""
    rows = (
        (f"`{kind.default_code}`", str(status_of(kind("x"))), inspect.getdoc(kind) or "")
        for kind in errors_tree()
        if kind is not AetherraError
    )
    return table(("code", "status", "meaning"), rows)


def setting_rows(title: str, struct: type[Any]) -> str:
    """Return the table of a section, from the fields of its Struct and what is written below each."""
    rows = (
        (
            f"`{title}.{s.key}`",
            f"`{msgspec.json.encode(s.default).decode()}`" if s.default is not None else "–",
            s.meaning,
        )
        for s in describe(struct, title).settings
    )
    return table(("setting", "default", "meaning"), rows)


def settings() -> str:
    """The settings of hub and kernel, a table for each section."""
    sections = {"hub": HubSettings, **KERNEL_SECTIONS}
    return "\n".join(setting_rows(section, struct) for section, struct in sections.items())


def plugin_settings() -> str:
    """The settings of the bundled plugins, a table for each that has any."""
    found = {name: declared.settings for name, declared in plugins()}
    return "\n".join(setting_rows(f"plugins.{name}", struct) for name, struct in found.items() if struct is not None)


def paths() -> str:
    """The folders, as an installed hub has them by default."""
    installed = Paths.find(environ={}, home=Path("/HOME"), root=Path("/an-installation"))
    home = SettingDoc("home", "~/.local/share/aetherra", attribute_docs(Paths)["home"], (PATH_ALIASES["home"],))

    def shown(default: Any) -> str:
        return f"`{msgspec.json.encode(default).decode()}`".replace('"/HOME/', '"HOME/')

    rows = (
        (f"`paths.{s.key}`", shown(s.default), s.meaning, " ".join(f"`{v}`" for v in s.variables))
        for s in (home, *describe_paths(installed).settings)
    )
    return table(("setting", "default when installed", "meaning", "variables"), rows)


def variables() -> str:
    """The documented variables that do not follow the rule, and those without an effect."""
    named = [(f"`{alias}`", f"`{key}`") for alias, key in ALIASES.items()]
    named += [(f"`{alias}`", f"`paths.{key}`") for key, alias in PATH_ALIASES.items()]
    named += [(f"`{variable}`", f"nothing in this version: {reason}") for variable, reason in WITHOUT_EFFECT.items()]
    return table(("variable", "sets"), iter(named))


def verbs() -> str:
    """The verb table of the language, a row for each group of words."""
    rows = (
        (
            " ".join(f"`{word}`" for word in row["words"]),
            " · ".join(f"`{pattern}`" for pattern in row.get("patterns", ())) or "–",
            " ".join(f"`{word.replace('.', ':')}`" for word in row.get("capabilities", ())) or "–",
        )
        for row in tomllib.loads((ROOT / "aether_lang" / "verbs.toml").read_text())["verb"]
    )
    return table(("verb", "written", "right"), rows)


def library_functions() -> str:
    """What needs nobody but the clock, with parameters and defaults."""

    def shown(function: Callable[..., Any]) -> str:
        given = list(inspect.signature(function).parameters.values())[1:]  # the runtime comes first
        return ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in given)

    rows = (
        (f"`{name}({shown(function)})`", (inspect.getdoc(function) or "").splitlines()[0])
        for name, function in stdlib.FUNCTIONS.items()
    )
    return table(("function", "result"), rows)


def host_functions() -> str:
    """What the hub does for a script: the right it asks for, and what is not there in this version."""
    operations = importlib.import_module("plugins.scripts.operations")
    parts = [
        operations,
        *(importlib.import_module(f"plugins.scripts.{name}") for name in ("recollection", "scheduling")),
    ]
    served_by = {operation: function for part in parts for operation, function in part.TABLE.items()}

    def served(operation: str) -> str:
        function = served_by.get(operation)
        if function is not None:
            return (inspect.getdoc(function) or "").splitlines()[0]
        return f"not in this version: it needs the service `{operations.SERVICES[operation.partition('.')[0]]}`"

    rows = (
        (f"`{name}({', '.join(row.parameters)})`", f"`{row.capability.replace('.', ':')}`", served(row.operation))
        for name, row in host.FUNCTIONS.items()
    )
    return table(("function", "right", "result"), rows)


def codes() -> str:
    """Every code of the checker with its explanation and both examples."""
    parts = []
    for entry in catalogue().values():
        found = [] if entry.origin != "check" else compiled(entry.wrong, "wrong.aether")["diagnostics"]
        first = next((one for one in found if one["code"] == entry.code), None)
        parts.append(f"### {entry.code}: {entry.title}\n\n{entry.text}\n")
        parts.append(f"```aether\n{entry.wrong.rstrip()}\n```\n")
        if first is not None:
            parts.append(f"```\n{msgspec.convert(first, Diagnostic).render()}\n```\n")
        parts.append(f"Instead:\n\n```aether\n{entry.right.rstrip()}\n```\n")
        parts += [f"{more}\n" for more in entry.help]
    return "\n" + "\n".join(parts) + "\n"


def plugins() -> Iterator[tuple[str, Contribution]]:
    """What each bundled plugin declares."""
    for folder in sorted((ROOT / "plugins").iterdir()):
        if (folder / "__init__.py").exists():
            module = importlib.import_module(f"plugins.{folder.name}")
            yield folder.name, gather(module, Source.read(folder))


def metric_rows(metrics: Iterable[Declared | Metric]) -> str:
    """Return the table of metrics, by name."""
    rows = (
        (f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "–", metric.help)
        for metric in sorted(metrics, key=lambda metric: metric.name)
    )
    return table(("name", "type", "labels", "meaning"), rows)


def metrics() -> str:
    """Every metric of hub, kernel and bundled plugins."""
    nowhere = Paths.find(environ={}, home=Path("/nonexistent"))
    kernel = Kernel(Config.load(sections={"hub": HubSettings}, file=None, environ={}, overrides={}, paths=nowhere))
    make_app(kernel)
    parts = [f"## The hub and its kernel\n\n{metric_rows(kernel.metrics.declared())}"]
    for name, declared in plugins():
        if declared.metrics:
            parts.append(f"## The plugin {name}\n\n{metric_rows(declared.metrics)}")
    return "\n".join(parts)


def http() -> str:
    """Every operation of hub and bundled plugins, from the document at /openapi.json: a table for each tag."""
    nowhere = Paths.find(environ={}, home=Path("/nonexistent"))
    kernel = Kernel(Config.load(sections={"hub": HubSettings}, file=None, environ={}, overrides={}, paths=nowhere))
    hub = make_app(kernel)[HUB]
    owners = [SimpleNamespace(plugin=name, contribution=declared) for name, declared in plugins()]
    hub.compile(Table.merge(owners, version=1))
    described = document(hub.dispatch.table.endpoints, hub.settings)
    parts = []
    for tag in described["tags"]:
        found = [
            (path, "WS" if "101" in operation["responses"] else method.upper(), operation)
            for path, item in described["paths"].items()
            for method, operation in item.items()
            if operation["tags"] == [tag["name"]]
        ]
        rows = (
            (f"`{method} {path}`", f"`{one['x-right']}`" if "x-right" in one else "–", one["summary"], one["x-dialect"])
            for path, method, one in found
        )
        head = ("operation", "right", "what it does", "dialect")
        parts.append(f"## {tag['name']}\n\n{tag['description']}\n\n{table(head, rows)}")
    return "\n".join(parts)


ONE_DOOR = ("get", "post", "put", "patch", "delete")
"""Written as one row, with what `route` says."""


def doors() -> str:
    """Every decorator of a plugin with its options, and what its docstring says."""

    def shown(name: str, function: Callable[..., Any]) -> str:
        given = [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "fn", "struct")]
        plain = [p.replace(annotation=inspect.Parameter.empty) for p in given]
        text = str(inspect.Signature(plain)).replace("(*, ", "(")
        return f"`@p.{name}{text if plain else ''}`"

    rows: list[tuple[str, str]] = []
    for name, function in vars(Plugin).items():
        if name.startswith("_") or not inspect.isfunction(function) or name in (*ONE_DOOR, "manifest"):
            continue
        told = " ".join((inspect.getdoc(function) or "").split())
        first = shown(name, function)
        if name == "route":
            first = " ".join(f"`@p.{one}(path)`" for one in ONE_DOOR) + " " + first
        rows.append((first.replace("`@p.", "`p.") if name in ("counter", "gauge", "histogram") else first, told))
    return table(("door", "what it makes"), iter(rows))


def authorisation() -> str:
    """Who may call which route, from the table that the tests hold against a running hub."""
    levels = tomllib.loads((ROOT / "tests" / "authorisation.toml").read_text())
    kinds = {
        "none": "no token, here",
        "elsewhere": "no token, elsewhere",
        "user": "user",
        "other": "another user",
        "admin": "admin",
        "demoted": "demoted",
        "expired": "expired",
        "revoked": "revoked",
        "service": "service token",
        "agent": "agent",
    }

    def shown(level: str, kind: str) -> str:
        if kind in levels[level]["let_in"]:
            return "✓"
        return "401" if kind in levels[level]["unproven"] else "403"

    rows = (
        (f"`{route}`", *(shown(level, kind) for kind in kinds))
        for level, expected in levels.items()
        for route in sorted(expected["routes"], key=lambda route: route.split()[1])
    )
    return table(("route", *kinds.values()), rows)


def checks() -> str:
    """The battery's checks, with what holds where each passes."""
    return table(("check", "it passes when"), ((f"`{name}`", about) for name, about in CHECKS.items()))


GENERATED: dict[str, Callable[[], str]] = {
    "capabilities": capabilities,
    "errors": errors,
    "settings": settings,
    "plugin-settings": plugin_settings,
    "paths": paths,
    "variables": variables,
    "verbs": verbs,
    "library-functions": library_functions,
    "host-functions": host_functions,
    "codes": codes,
    "doors": doors,
    "checks": checks,
    "authorisation": authorisation,
    "metrics": metrics,
    "http": http,
    **language_tables.PARTS,
}


def quote(name: str) -> str:
    """Return a file of the checkout as a block of code."""
    path = ROOT / name
    language = {".py": "python", ".aether": "aether", ".toml": "toml", ".lark": "lark"}[path.suffix]
    return f"```{language}\n{path.read_text().rstrip()}\n```\n"


def rendered(text: str) -> str:
    """Return a page with its generated parts written anew."""

    def part(match: re.Match[str]) -> str:
        body = quote(match[3]) if match[2] == "quote" else GENERATED[match[3]]()
        return match[1] + body + match[5]

    return PART.sub(part, text)


def main() -> int:
    """Write or check every page; return the exit status."""
    stale = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        wanted = rendered(text)
        if wanted != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(wanted)
    print(("out of date: " if "--check" in sys.argv else "written: ") + (", ".join(stale) or "nothing"))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
