"""`aether doctor`: looks at the installation, the home, the machine and a running hub, and says what to do.

It runs offline, starts no hub and changes nothing. What belongs to a plugin is looked at by the plugin itself
(`@p.examination`).
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from hub.doctor.home import home_findings
from hub.doctor.installation import installation_findings
from hub.doctor.machine import machine_findings
from hub.doctor.running import HubThere, running_findings
from hub.settings import HubSettings
from kernel import AetherraError, Config, Finding, Paths, examine_plugins

Given = Mapping[str, Any]
"""What a command line says of folders and files."""


def examine(given: Given, load: Callable[[Given], Config]) -> list[Finding]:
    """Return what is found for the hub that this command line means; `load` reads its settings.

    A settings file that cannot be read is one of the findings; the rest is then looked at with the defaults.
    """
    findings = list(_each(installation_findings))
    config, mistake = _configuration(given, load)
    there = HubThere.on(config.paths.home)
    findings += _each(lambda: examine_plugins(config))
    findings += [mistake] if mistake is not None else _settings(config)
    for look in (
        lambda: home_findings(config, there),
        lambda: machine_findings(config),
        lambda: running_findings(config, there),
    ):
        findings += _each(look)
    return findings


def _configuration(given: Given, load: Callable[[Given], Config]) -> tuple[Config, Finding | None]:
    try:
        return load(given), None
    except AetherraError as error:
        advice = "mend it; the rest was looked at with the defaults"
        return _defaults(given), Finding("settings", "fail", error.message, advice)


def _settings(config: Config) -> Iterator[Finding]:
    """Tell what is set; the plugins have claimed theirs before."""
    advice = "take it away, or mend its name"
    yield from (Finding("settings", "warn", sentence, advice) for sentence in config.without_effect())
    given = [setting.key for setting in config.effective() if setting.origin != "default"]
    file = config.paths.home / "aetherra.toml"
    where = f"{file} and other places set" if file.is_file() else "set are"
    yield Finding("settings", "ok", f"{where} {', '.join(given[:6]) or 'nothing'}{', ...' if given[6:] else ''}")


def _defaults(given: Given) -> Config:
    paths = Paths.find(environ={}, home=given.get("home"), plugins=given.get("plugins"), policies=given.get("policies"))
    return Config.load(sections={"hub": HubSettings}, file=Path(os.devnull), environ={}, overrides={}, paths=paths)


def _each(look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield the findings of one part; what the system refuses to show is a finding, too, and hides no other part."""
    try:
        yield from look()
    except OSError as error:
        yield Finding("doctor", "fail", f"the system does not let us look: {error}", "run it as the hub's own user")


def tell(findings: list[Finding], *, as_json: bool) -> None:
    """Print a line for each finding, what to do below it, and a summary."""
    counts = {level: sum(finding.level == level for finding in findings) for level in ("ok", "warn", "fail")}
    if as_json:
        status = next((level for level in ("fail", "warn") if counts[level]), "ok")
        click.echo(msgspec.json.encode({"status": status, "counts": counts, "checks": findings}).decode())
        return
    width = max(len(finding.check) for finding in findings)
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for finding in findings:
        level = click.style(f"{finding.level:<4}", fg=colours[finding.level], bold=finding.level == "fail")
        click.echo(f"{level}  {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            click.echo(textwrap.indent(f"-> {finding.advice}", " " * (width + 8)))
    click.echo(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures")
