"""What `aether doctor` is told of the policy: whether a hub would take the files, and what they say in the main."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kernel import Config, ConfigError, Finding

from .policy import Policy
from .rules import Mistake
from .sources import folder_of, policy_at


def look(config: Config) -> Iterator[Finding]:
    """Compile the folder whose files count, and look at who may write there."""
    folder = folder_of(config)
    try:
        policy = policy_at(folder, config)
    except Mistake as mistake:
        advice = "mend that line; until then a start lets only the console in, and a running hub keeps what it had"
        yield Finding("policy", "fail", f"{folder}: {mistake}", advice)
    except ConfigError as error:
        yield Finding("policy", "fail", error.message, "install the package anew")
    else:
        yield _policy(folder, policy, at_first_start=folder != config.paths.policies)
        yield _strict_mode(policy)
    if folder.is_dir():
        yield from _writable(folder)


def _policy(folder: Path, policy: Policy, *, at_first_start: bool) -> Finding:
    found = f"{folder}: {len(policy.rules)} rules, from {', '.join(policy.files)}"
    if at_first_start:
        found += "; the first start copies them to HOME/policies"
    return Finding("policy", "ok", found)


def _strict_mode(policy: Policy) -> Finding:
    words = "on" if policy.strict_mode else "off"
    network = "only hosts of the allowlist" if policy.network_strict else "as the rules say"
    return Finding("strict_mode", "ok", f"{words} in the policy; network: {network}")


def _writable(folder: Path) -> Iterator[Finding]:
    about = folder.stat()
    foreign_group = about.st_mode & stat.S_IWGRP and about.st_gid != os.getegid()
    if foreign_group or about.st_mode & stat.S_IWOTH:
        found = f"others may put files into {folder} (mode {stat.S_IMODE(about.st_mode):o})"
        yield Finding("policy folder", "fail", found, f"chmod go-w {folder}")
    elif about.st_uid not in (os.geteuid(), 0):
        found = f"{folder} belongs to another user (id {about.st_uid})"
        yield Finding("policy folder", "fail", found, f"chown it to the hub's user (id {os.geteuid()})")
