"""What to try first, as the terminal says it after a start and the page at `/` shows it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Final

from kernel import Paths

FIRST_PLUGIN: Final = "hello.py"
FIRST_SCRIPT: Final = "daily_note.aether"
"""Those of the examples that are suggested."""


@cache
def aether_command() -> str:
    """Return how a shell calls `aether`: by its name where it finds it, else by its path."""
    if shutil.which("aether"):
        return "aether"
    return shlex.quote(str(Path(sys.executable).parent / "aether"))


@cache
def aether_on(home: Path) -> str:
    """Return how a shell calls `aether` for the hub on this HOME; the usual one need not be named."""
    usual = Paths.find(environ={"HOME": os.environ.get("HOME", "")}).home
    return aether_command() if home == usual else f"{aether_command()} --home {shlex.quote(str(home))}"
