"""`aether plugin`: what an author of plugins needs before any hub runs: a first one to change, and the battery."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kernel import Config
    from kernel.testing import Report

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "greeter"
"""The plugin that is written, under another name: a real one, which the house's own tests run."""

COLOURS = {"passed": "green", "warned": "yellow", "failed": "red", "skipped": "bright_black"}

Configured = Callable[[click.Context, Mapping[str, Any]], "Config"]
Options = Callable[[Any], Any]


def plugin_group(folders: Options, configured: Configured) -> click.Group:
    """Return the verb `aether plugin`; `folders` adds a hub's options, and `configured` reads what they mean."""

    @click.group("plugin")
    def plugin() -> None:
        """Write a plugin, and check that it is a good one. No hub needs to run."""

    @plugin.command("new")
    @click.argument("name")
    @click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="A folder; the drop folder if none.")
    @folders
    @click.pass_context
    def new_verb(ctx: click.Context, /, name: str, into: Path | None, **given: Any) -> None:
        """Write the plugin NAME and its test: a small one that uses most doors, to be changed."""
        config = configured(ctx, given)
        written = write_plugin(name, into or config.paths.plugins, bundled=config.paths.bundled_plugins)
        tell_next(name, written, config)

    @plugin.command("check")
    @click.argument("targets", nargs=-1, required=True, metavar="PATH_OR_NAME...")
    @click.option("--with", "beside", multiple=True, metavar="PATH_OR_NAME", help="Another plugin that it needs.")
    @click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
    @folders
    @click.pass_context
    def check_verb(
        ctx: click.Context, /, targets: Sequence[str], beside: Sequence[str], as_json: bool, **given: Any
    ) -> None:
        """Run the contract battery over plugins, each in processes of its own; exit with 1 if one fails."""
        from kernel.testing import check_plugin

        config = configured(ctx, given)
        others = [find_plugin(one, config) for one in beside]
        found = [find_plugin(one, config) for one in targets]
        reserved = own_paths(config)
        reports = []
        for path in found:
            began = time.perf_counter()
            reports.append(check_plugin(path, beside=others, reserved=reserved))
            if not as_json:
                print_report(reports[-1], time.perf_counter() - began)
        if as_json:
            print_json(reports)
        if not all(report.passed for report in reports):
            sys.exit(1)

    return plugin


# A new one --------------------------------------------------------------------------------------------------------


def write_plugin(name: str, folder: Path, *, bundled: Path) -> list[Path]:
    """Write the template under `name` into `folder` and return its files; raise before one that is there is touched."""
    from kernel import Conflict, ContractError, Plugin

    Plugin(name, version="0.1.0")  # knows which names a plugin may have
    if keyword.iskeyword(name):
        raise ContractError(f"plugin name {name!r} is a word of Python's; choose another")
    if (bundled / name / "__init__.py").is_file():
        raise Conflict(f"a plugin named {name} comes with the hub; choose another name")
    texts = {folder / f"{start}{name}.py": TEMPLATES / f"{start}{TEMPLATE}.py" for start in ("", "test_")}
    for path in (*texts, folder / name):
        if path.exists() or path.is_symlink():
            raise Conflict(
                f"{path} is there already and is left as it is; choose another name, or --into another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in texts.items():
        with path.open("x") as file:
            file.write(rendered(template.read_text(), name))
    return list(texts)


def rendered(text: str, name: str) -> str:
    """Return the template's text under another name, in each of the ways in which it is written there."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    for old, new in ((TEMPLATE, name), (TEMPLATE.upper(), name.upper()), (TEMPLATE.capitalize(), camel)):
        text = re.sub(rf"(?<![A-Za-z]){old}(?![a-z])|(?<=Test){old}", new, text)
    return text


def tell_next(name: str, written: Sequence[Path], config: Config) -> None:
    """Print what was written, and the commands that come next, which work as they stand."""
    from hub.first_steps import aether_command, aether_on

    source, test = written
    paths, folder = config.paths, source.parent
    for path in written:
        click.echo(f"wrote {_shown(path)}")
    dropped = folder.resolve() == paths.plugins.resolve()
    where = "" if dropped else f"--plugins {_shown(folder)} "
    command = shlex.split(aether_command())[0]
    options = aether_on(paths.home).removeprefix(aether_command())
    command = _shown(Path(command)) if os.sep in command else command
    rows = {
        f"{_shown(Path(sys.executable))} -P {_shown(test)}": "its test; pytest runs it as well",
        f"{command} plugin check {_shown(source)}": "what every plugin must hold",
        f"{command}{options} serve {where}--trust-plugins {_shown(folder)}": "a hub that runs what lies there",
        f"curl -X POST http://{config.hub.host}:{config.hub.port}/api/{name}/Ada": '"Hello, Ada!"',
    }
    click.echo("Next:")
    for command, words in rows.items():
        click.echo(f"  {command}   # {words}")


def _shown(path: Path) -> str:
    """Return a path as a shell takes it, as one from the folder that the shell is in where it lies below."""
    here = Path.cwd()
    absolute = path.absolute()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))


# The battery ------------------------------------------------------------------------------------------------------


def find_plugin(given: str, config: Config) -> Path:
    """Return the plugin at a path, else the one of that name in the hub's folders; raise naming where it was looked."""
    from kernel import NotFound, nearest

    path = Path(given)
    if path.is_file() or (path / "__init__.py").is_file():
        return path
    paths = config.paths
    examples = paths.bundled_plugins.parent / "examples"
    folders = list(dict.fromkeys([paths.plugins, *paths.trusted, paths.bundled_plugins, examples]))
    known: dict[str, Path] = {}
    for folder in folders:
        for found in [*folder.glob("*.py"), *(package.parent for package in folder.glob("*/__init__.py"))]:
            known.setdefault(found.stem, found)
    if given in known:
        return known[given]
    close = nearest(given, known)
    raise NotFound(
        f"there is no plugin {given!r}: no file or package of that path, and none of that name in "
        f"{', '.join(map(str, folders))}" + (f"; did you mean {close}?" if close else "")
    )


def own_paths(config: Config) -> Mapping[str, str]:
    """Return the paths that the hub itself serves, with the words for that."""
    from hub.app import Hub
    from kernel import Kernel

    return Hub(Kernel(config)).kernel.reserved


def print_report(report: Report, seconds: float) -> None:
    """Print a line for each check, and in full what has to be mended or known."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size((120, 24)).columns
    console = Console(width=width, highlight=False, soft_wrap=False)
    console.print(Text(f"{report.plugin}  {report.path}"), soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        table.add_row(Text(finding.verdict, COLOURS[finding.verdict]), finding.check, Text(str(finding)))
    console.print(table)
    checks = len({finding.check for finding in report.findings})
    told = [f"{len(found)} {word}" for word, found in _counted(report) if found]
    verdict = Text("good", "green") if report.passed else Text("to be mended", "red")
    console.print(verdict.append(f": {checks} checks in {seconds:.1f} s, {', '.join(told) or 'nothing to mend'}", ""))


def _counted(report: Report) -> Sequence[tuple[str, Sequence[Any]]]:
    skipped = [finding for finding in report.findings if finding.verdict == "skipped"]
    return (
        ("to mend", report.failures),
        ("to know", report.warnings),
        ("not reached", skipped),
    )


def print_json(reports: Sequence[Report]) -> None:
    """Print the reports as one line of JSON."""
    import msgspec

    plugins = [{**msgspec.to_builtins(report), "passed": report.passed} for report in reports]
    whole = {"passed": all(report.passed for report in reports), "plugins": plugins}
    click.echo(msgspec.json.encode(whole).decode())
