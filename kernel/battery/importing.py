"""The first half of the battery, a program of its own: it reads a plugin's text, and imports it under observation.

An audit hook cannot be taken away again, and what an import leaves behind stays in its process; so both have a process
to themselves, which ends with them.
"""

from __future__ import annotations

import ast
import asyncio
import atexit
import builtins
import gc
import importlib
import io
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from kernel.battery import declared, reading
from kernel.battery.child import Child, on_thread_start
from kernel.battery.report import Findings
from kernel.contribution import Contribution
from kernel.errors import LoadError
from kernel.loader import Loader, Source
from kernel.plugin import Plugin

WORDS: Mapping[str, str] = {
    "open": "opens a file",
    "sqlite3.connect": "opens a database",
    "socket.": "opens a socket",
    "subprocess.": "starts a process",
    "os.system": "starts a process",
    "os.exec": "starts a process",
    "os.fork": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.putenv": "changes the environment",
    "os.unsetenv": "changes the environment",
    "os.kill": "sends a signal",
    "signal.pthread_kill": "sends a signal",
    "os.chdir": "changes the working directory",
    "os.listdir": "looks into a folder",
    "os.scandir": "looks into a folder",
    "os.mkdir": "changes files",
    "os.rename": "changes files",
    "os.remove": "changes files",
    "os.rmdir": "changes files",
    "os.chmod": "changes files",
    "os.link": "changes files",
    "os.symlink": "changes files",
    "os.truncate": "changes files",
    "shutil.": "changes files",
    "tempfile.": "makes a file",
    "sys.settrace": "traces the process",
    "sys.setprofile": "traces the process",
    "sys.addaudithook": "adds an audit hook, which stays for ever",
}
"""What Python tells of while it happens, by the beginning of its name, in words."""

INSTEAD = "importing a plugin does nothing; do it in @p.lifespan, in a @p.task, or when a call needs it"

ENDS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError")

_LOOKS = ("open", "os.listdir", "os.scandir")
"""What Python's own import does as well."""


class Watch:
    """Notes what the plugin's own code does while it is imported, with the line that did it."""

    def __init__(self, source: Source) -> None:
        self._root = str(source.path)
        self._on = False
        self.seen: dict[str, str] = {}
        """What happened, in words, to where."""

    def __enter__(self) -> Watch:
        sys.addaudithook(self._note)
        on_thread_start(self._note_thread)
        self._on = True
        return self

    def __exit__(self, *_error: object) -> None:
        self._on = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        words = next((words for start, words in WORDS.items() if event.startswith(start)), None)
        if words is None:
            return
        where, importing, loop = self._place(sys._getframe(1))
        if where is None or (importing and _only_looks(event, arguments)):
            return
        if loop:
            words = "makes an event loop"
        elif event.startswith(("open", "os.", "sqlite3.")) and arguments and isinstance(arguments[0], str | bytes):
            words += f" ({os.fsdecode(arguments[0])})"
        self.seen.setdefault(words, where)

    def _note_thread(self, _thread: threading.Thread, frame: FrameType | None) -> None:
        where, _, _ = self._place(frame)
        if self._on and where is not None:
            self.seen.setdefault("starts a thread", where)

    def _place(self, frame: FrameType | None) -> tuple[str | None, bool, bool]:
        """Return the plugin's innermost line on the stack, and whether an import or an event loop lies below it."""
        importing = loop = False
        while frame is not None:
            filename = frame.f_code.co_filename
            if filename.startswith(self._root):
                return f"{Path(filename).name}:{frame.f_lineno}", importing, loop
            importing = importing or filename.startswith("<frozen importlib")
            loop = loop or f"{os.sep}asyncio{os.sep}" in filename
            frame = frame.f_back
        return None, importing, loop


def _only_looks(event: str, arguments: tuple[Any, ...]) -> bool:
    if event not in _LOOKS:
        return False
    return event != "open" or not any(sign in str(arguments[1] or "r") for sign in "wax+")


def _state() -> dict[str, Any]:
    """Return what a process has of its own and a plugin must not change, by a sentence about it."""
    umask = os.umask(0o077)
    os.umask(umask)
    root = logging.getLogger()
    loggers = {name: log for name, log in logging.Logger.manager.loggerDict.items() if isinstance(log, logging.Logger)}
    return {
        "changes the environment": dict(os.environ),
        "changes sys.path": list(sys.path),
        "changes how Python imports (sys.meta_path, sys.path_hooks)": (list(sys.meta_path), list(sys.path_hooks)),
        "sets a signal handler": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "adds or takes a logging handler": (list(root.handlers), {n: list(x.handlers) for n, x in loggers.items()}),
        "sets the level of a logger": (
            root.level,
            logging.root.manager.disable,
            {n: x.level for n, x in loggers.items()},
        ),
        "sets a hook of the process (sys.excepthook and its like)": (
            sys.excepthook,
            sys.unraisablehook,
            sys.displayhook,
            threading.excepthook,
        ),
        "replaces sys.stdout or sys.stderr": (sys.stdout, sys.stderr, sys.stdin),
        "sets a limit of the interpreter": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold()),
        "changes the working directory": os.getcwd(),
        "sets the umask": umask,
        "sets the default time-out of sockets": socket.getdefaulttimeout(),
        "sets the event loop policy": getattr(asyncio.events, "_event_loop_policy", None),
        "registers something for the end of the process (atexit)": atexit._ncallbacks(),
        "changes the filters of warnings": list(warnings.filters),
        "adds to Python's built-in names": set(vars(builtins)),
        "starts a thread": set(threading.enumerate()),
    }


def _changed(before: Any, after: Any) -> bool:
    """Compare, a logger or module that came with the import counting only where it has something of its own."""
    if isinstance(before, dict) and isinstance(after, dict):
        return any(after.get(key, value) != value for key, value in before.items()) or any(
            bool(value) for key, value in after.items() if key not in before
        )
    if isinstance(before, tuple) and isinstance(after, tuple):
        return any(_changed(one, other) for one, other in zip(before, after, strict=True))
    return bool(before != after)


def import_watched(
    source: Source, trees: Mapping[str, ast.Module], findings: Findings
) -> tuple[str, ModuleType, Contribution] | None:
    """Import the plugin as a hub does, and note all it does and leaves behind; None where it cannot be loaded."""
    for name in dict.fromkeys(reading.imported(trees)):
        _warm(name)  # what a library does when it is first imported is no deed of the plugin
    loader = Loader()
    loader.install()
    name = f"plugins/{source.name}@0"
    output = io.StringIO()
    loaded = None
    with redirect_stdout(output), redirect_stderr(output):
        modules, before = dict(sys.modules), _state()
        with Watch(source) as watch:
            try:
                loaded = loader.load_now(name, source)
            except LoadError as error:
                if error.details.get("error") in ENDS:
                    findings.fail("import", f"raises {error.message.strip()}, which would end the hub; {INSTEAD}")
                else:
                    findings.fail("declaration", error.message)
        after = _state()
    for words, where in watch.seen.items():
        findings.fail("import", f"{words}; {INSTEAD}", where)
    told = " ".join(watch.seen)
    for words in before:
        if words not in told and _changed(before[words], after[words]):
            findings.fail("import", f"{words}; {INSTEAD}", source.path.name)
    if said := output.getvalue().strip():
        findings.fail("import", f"writes {said[:80]!r}; use ctx.log when it runs; {INSTEAD}", source.path.name)
    for left in _left_behind(source, modules, name):
        findings.fail("import", left, source.path.name)
    findings.done("import")
    return None if loaded is None else (name, *loaded)


def _warm(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException:  # noqa: S110 - the import that counts comes next, and says so itself
        pass


def _left_behind(source: Source, before: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what stands in sys.modules and would stay there when this generation goes."""
    home = source.path if source.package else source.path.parent
    for key, value in list(sys.modules.items()):
        if key == name or key.startswith(name + ".") or before.get(key) is value:
            continue
        file = getattr(value, "__file__", None)
        if file is not None and Path(file).is_relative_to(home):
            yield (
                f"imports its neighbour {Path(file).name} as `{key}`, a name that all share and that a reload would "
                "not replace; make it a package and write `from . import ...`"
            )
        elif key in before or getattr(value, "__spec__", None) is None:
            yield f"puts {key!r} into sys.modules, where it would outlive the plugin"


def check_kept(name: str, contribution: Contribution, trees: Mapping[str, ast.Module], findings: Findings) -> None:
    """Note module-level state of a plugin that hands none over: each reload begins with it empty."""
    if contribution.export_state is not None:
        return
    kept = {f"`{bound}` ({file}:{line})" for file, bound, line in reading.rebound(trees)}
    for key, module in sorted(sys.modules.items()):
        if key == name or key.startswith(name + "."):
            file = Path(str(getattr(module, "__file__", None) or key)).name
            kept |= {f"`{bound}` ({file})" for bound, value in vars(module).items() if _is_state(bound, value, module)}
    for one in sorted(kept):
        findings.warn(
            "state",
            f"{one} is kept in the module, so each reload begins without what it held; hand it over with "
            "@p.export_state and @p.import_state, keep it in ctx.store, or write its name in capitals if it never "
            "changes",
        )


def _is_state(name: str, value: Any, module: ModuleType) -> bool:
    if name.startswith("__") or name.isupper() or name.lstrip("_").isupper() or isinstance(value, Plugin):
        return False
    return isinstance(value, list | dict | set | bytearray | deque) and not hasattr(value, "__module__")


def main(child: Child) -> None:
    """Make the checks that need no kernel."""
    findings = child.findings
    try:
        source = Source.read(child.path)
    except LoadError as error:
        findings.fail("source", error.message)
        return
    trees = reading.parsed(source, findings)
    if findings.failed("source"):
        return
    child.reach("source", "imports", "logger", "awaits")
    reading.check_imports(trees, findings)
    reading.check_loggers(trees, findings)
    reading.check_awaits(trees, findings)
    child.reach("import")
    loaded = import_watched(source, trees, findings)
    child.reach("declaration")
    if loaded is not None:
        name, _module, contribution = loaded
        child.reach("descriptions", "effects")
        declared.check_descriptions(contribution, findings)
        declared.check_effects(contribution, findings)
        check_kept(name, contribution, trees, findings)
    child.reach()


if __name__ == "__main__":
    Child.run(main)
