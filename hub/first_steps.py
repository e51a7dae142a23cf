"""What to try first, as the terminal says it after a start and the page at `/` shows it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from kernel import Paths

FIRST_PLUGIN: Final = "hello.py"
FIRST_SCRIPT: Final = "daily_note.aether"
"""Those of the examples that are suggested."""


@cache
def aether_command() -> str:
    """Return how a shell calls this `aether`: by its name where it finds this very one, else by its path."""
    found, beside = shutil.which("aether"), Path(sys.executable).parent / "aether"
    if found is not None and beside.exists() and beside.samefile(found):
        return "aether"
    return shlex.quote(str(beside))


def aether_on(home: Path) -> str:
    """Return how a shell calls `aether` for the hub on this HOME; the usual one need not be named."""
    return " ".join([aether_command(), *map(shlex.quote, of_home(home))])


@cache
def of_home(home: Path) -> tuple[str, ...]:
    """Return the options that lead a new shell to `home`: none where the command goes there by itself."""
    usual = Paths.find(environ={"HOME": os.environ.get("HOME", "")}).home
    return () if home == usual else ("--home", str(home))


def command_line(*arguments: str | Path) -> str:
    """Return a command line of `aether` for the shell it is printed in: quoted, and short where the folder allows."""
    (command,) = shlex.split(aether_command())
    path, here = Path(command), Path.cwd()
    return shlex.join([str(path.relative_to(here) if path.is_relative_to(here) else path), *map(str, arguments)])


def same_again(*more: str | Path) -> str:
    """Return the command line of this very process, with `more` behind it."""
    return command_line(*sys.argv[1:], *more)


def setup_code(home: Path) -> str:
    """Return the code that makes the first administrator, as a hub that has none left it in HOME; else nothing."""
    try:
        return (home / "setup-code").read_text().strip()
    except OSError:
        return ""


def add_administrator(home: Path) -> str:
    """Return the command line that makes an administrator of the hub on this HOME."""
    return command_line(*of_home(home), "users", "add", "NAME", "--roles", "admin", "--roles", "user")


def things_to_try(address: str, paths: Paths, trusted: bool) -> Iterator[str]:
    """Yield command lines that work as they are printed, while a hub runs there that does or does not trust its drop
    folder.
    """
    home, examples = of_home(paths.home), paths.bundled_plugins.parent / "examples"
    yield f"curl {address}/health"
    if trusted and not paths.demo:
        yield shlex.join(["cp", str(examples / FIRST_PLUGIN), f"{paths.plugins}/"])
    if trusted or paths.demo:
        yield f"curl {address}/api/hello/Ada"
    yield command_line(*home, "run", examples / FIRST_SCRIPT, "--watch")
    yield command_line("doctor", *home)
    yield command_line("plugins", *home)
    yield command_line("events", *home)
