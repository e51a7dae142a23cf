"""What `aether doctor` asks of plugins, without a hub: whether each can be loaded, and what it finds where it lies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Literal

import msgspec

from kernel.command import loaded
from kernel.config import Config
from kernel.contribution import Contribution
from kernel.errors import ConfigError

log = logging.getLogger("kernel.examination")

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `ok` as it should be, `warn` works but wants attention, `fail` does not work."""

    check: str
    """What was looked at, in a word."""
    level: Level
    found: str
    """What was found, with figures and paths."""
    advice: str = ""
    """What to do about it; empty where nothing is to be done."""


def examine_plugins(config: Config) -> Iterator[Finding]:
    """Import the plugins that a hub with this configuration would load, tell of each that cannot be, and let the
    others claim their settings and examine (`@p.examination`) what is theirs.

    Nothing is opened, started or changed.
    """
    names, contributions = [], []
    for found in loaded(config):
        if found.contribution is not None:
            names.append(found.name)
            contributions.append(found.contribution)
            yield from _settings(found.contribution, config)
        elif found.folder.bundled:
            yield Finding(f"plugin {found.name}", "fail", found.reason, "it comes with the hub: install it anew")
        else:
            yield Finding(f"plugin {found.name}", "warn", found.reason, f"mend {found.path}, or take it away")
    bundled = config.paths.bundled_plugins
    if names:
        yield Finding("plugins", "ok", f"{len(names)} can be loaded: {', '.join(sorted(names))}")
    else:
        yield Finding("plugins", "fail", f"none can be loaded from {bundled}", "install the package anew")
    for contribution in contributions:
        yield from _examined(contribution, config)


def _settings(contribution: Contribution, config: Config) -> Iterator[Finding]:
    if contribution.settings is None:
        return
    try:
        config.plugin(contribution.name, contribution.settings)
    except ConfigError as error:
        yield Finding("settings", "fail", error.message, "mend it; the plugin does not start with it")


def _examined(contribution: Contribution, config: Config) -> Iterator[Finding]:
    if contribution.examination is None:
        return
    try:
        for finding in contribution.examination(config):
            yield msgspec.convert(finding, Finding, from_attributes=True)
    except Exception as error:  # a bug in one plugin must not hide what the others found
        log.info("the examination of %s failed", contribution.name, exc_info=error)
        found = f"its examination failed: {type(error).__name__}: {error}"
        yield Finding(contribution.name, "fail", found, "that is a mistake in the plugin; tell its author")
