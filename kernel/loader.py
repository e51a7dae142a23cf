"""From source to module, and from module to contribution.

A plugin's source is read once, whole; what was read is what runs, so a folder that is renamed or rewritten meanwhile
cannot yield half of each. Every generation is a module of its own, `plugins/<name>@<n>`, compiled from those bytes; for
plugins that ship with the hub the result is kept on the disk (`kernel/bytecode.py`). The name has a slash instead of a
dot, since Python would want to import whatever stands before a dot.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import logging
import os
import re
import stat
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import msgspec
import pluggy

from kernel import bytecode, declaration, hookspecs
from kernel.contribution import Contribution
from kernel.errors import ContractError, LoadError
from kernel.plugin import Plugin
from kernel.suggest import nearest

FILES_PER_PLUGIN = 500
BYTES_PER_PLUGIN = 8 * 1024 * 1024
FILES_COMPILED, BYTES_COMPILED = 256, 64 * 1024
"""How many files stay compiled beside the plugins that run, and how large such a file may be."""

BEING_WRITTEN = "BEING_WRITTEN"
"""The code of a refusal that the writer's next event will settle."""

log = logging.getLogger("kernel.loader")

_ROOT = re.compile(r"(plugins/[a-z0-9_]+@\d+)(?:\.(.+))?\Z")
_numbers = itertools.count(1)  # one row for the whole process: two kernels in one test must not share a module name


class Source(msgspec.Struct, frozen=True):
    """A plugin's files as they were at one moment, and the hash that names them."""

    name: str
    path: Path
    files: Mapping[str, bytes]
    hash: str

    @property
    def package(self) -> bool:
        """True for a folder, False for a single file."""
        return "__init__.py" in self.files

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read `path` whole; raise `LoadError` when it vanishes meanwhile, is no plugin, or is too large."""
        try:
            if path.is_dir():
                files = _package_files(path)
                if "__init__.py" not in files:
                    raise LoadError(f"{path} is not a plugin: a folder needs an __init__.py")
            else:
                files = {path.name: _content(path, BYTES_PER_PLUGIN)}
        except OSError as error:
            raise LoadError(f"{path} could not be read: {error.strerror or error}") from None
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
        return cls(path.stem if path.suffix == ".py" else path.name, path, files, digest.hexdigest())

    def folder(self, name: str) -> Sequence[tuple[str, str]]:
        """Return (file name, text) of the .sql files that lie in the folder `name` of a package, sorted."""
        prefix = name.rstrip("/") + "/"
        found = [(f.removeprefix(prefix), self.files[f].decode()) for f in self.files if f.startswith(prefix)]
        return sorted((f, text) for f, text in found if f.endswith(".sql"))


def _package_files(root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = BYTES_PER_PLUGIN
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if any(p.startswith(".") or p == "__pycache__" for p in parts) or not path.is_file():
            continue
        if len(found) >= FILES_PER_PLUGIN:
            raise LoadError(f"{root} holds more than {FILES_PER_PLUGIN} files")
        content = found["/".join(parts)] = _content(path, left)
        left -= len(content)
    return found


def _content(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; raise `LoadError` for one that is too large, or moves while it is read."""
    # Opened without waiting: whoever opens a pipe by its name waits until somebody writes into it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise LoadError(f"{path} is no regular file")
        content = file.read(most + 1)
        after = os.fstat(file.fileno())
    if len(content) > most:
        raise LoadError(f"{path} is too large: a plugin has at most {BYTES_PER_PLUGIN // 1024**2} MiB in all")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(content) != after.st_size:
        raise LoadError(f"{path} was written to while it was read", code=BEING_WRITTEN)
    return content


class _SourceLoader(importlib.abc.Loader):
    def __init__(self, code: CodeType) -> None:
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 - running a trusted plugin's source is this loader's work


class _SourceFinder(importlib.abc.MetaPathFinder):
    """Serves the modules of staged plugins from their snapshots, so that relative imports never reach the disk."""

    def __init__(self, shipped: frozenset[Path]) -> None:
        self.sources: dict[str, Source] = {}
        self._shipped = shipped

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        match = _ROOT.match(fullname)
        source = self.sources.get(match[1]) if match else None
        if match is None or source is None:
            return None
        for relative, is_package in _candidates(source, (match[2] or "").replace(".", "/")):
            if relative in source.files:
                origin = str(source.path / relative if source.package else source.path)
                loader = _SourceLoader(self._code(source, relative, origin))
                spec = importlib.machinery.ModuleSpec(fullname, loader, origin=origin, is_package=is_package)
                spec.has_location = True
                return spec
        return None

    def _code(self, source: Source, relative: str, origin: str) -> CodeType:
        content = source.files[relative]
        # In a checkout single files are dropped into the folder of what ships.
        shipped = source.package and source.path.parent in self._shipped
        return (_compiled if len(content) <= BYTES_COMPILED else _compile_or_find)(content, origin, shipped)


def _compile(content: bytes, origin: str) -> CodeType:
    return compile(_decoded(content, origin), origin, "exec", dont_inherit=True)


def _compile_or_find(content: bytes, origin: str, shipped: bool) -> CodeType:
    return bytecode.kept(content, origin, _compile) if shipped else _compile(content, origin)


_compiled = lru_cache(maxsize=FILES_COMPILED)(_compile_or_find)
"""Of a package that is edited in one place, the other files need not be compiled again."""


def _decoded(content: bytes, origin: str) -> str:
    try:
        return importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError) as error:
        # Python words it without the file, and a package has several.
        raise SyntaxError(f"not readable as text: {error}", (origin, None, None, None)) from None


def _candidates(source: Source, inner: str) -> list[tuple[str, bool]]:
    if not source.package:
        return [] if inner else [(source.path.name, False)]
    return [(f"{inner}/__init__.py".lstrip("/"), True), (f"{inner}.py", False)]


class _TookTooLong(BaseException):
    """Raised inside an import that outlived its deadline; no `except Exception` of the plugin can swallow it."""


class Loader:
    """Loads snapshots as modules and forgets them cleanly. `shipped` are the folders of the hub's own plugins."""

    def __init__(self, shipped: Iterable[Path] = ()) -> None:
        self._finder = _SourceFinder(frozenset(shipped))

    def install(self) -> None:
        """Begin to serve staged plugins to Python's import."""
        sys.meta_path.insert(0, self._finder)

    def remove(self) -> None:
        """Stop doing so and forget whatever is left."""
        for root in list(self._finder.sources):
            self.forget(root)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)

    async def load(self, source: Source, *, timeout_s: float) -> tuple[ModuleType, Contribution]:
        """Import `source` under a name of its own, in a thread, and gather what it declares.

        Raises `LoadError` with the traceback's last lines for whatever goes wrong, a hanging import included.
        """
        name = f"plugins/{source.name}@{next(_numbers)}"
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[ModuleType, Contribution]] = loop.create_future()
        thread = threading.Thread(target=self._work, args=(name, source, loop, done), name=f"load {name}", daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(done)
        except TimeoutError:
            if thread.ident is not None:
                import ctypes  # rarely needed, and the hub listens sooner without it

                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_TookTooLong))
            self.forget(name)
            raise LoadError(
                f"importing {source.path.name} did not finish in {timeout_s:g} s; importing a plugin must do nothing",
                details={"plugin": source.name},
            ) from None

    def _work(
        self,
        name: str,
        source: Source,
        loop: asyncio.AbstractEventLoop,
        done: asyncio.Future[tuple[ModuleType, Contribution]],
    ) -> None:
        try:
            result = self.load_now(name, source)
        except BaseException as error:
            loop.call_soon_threadsafe(_settle, done, None, error if isinstance(error, LoadError) else None)
        else:
            loop.call_soon_threadsafe(_settle, done, result, None)

    def load_now(self, name: str, source: Source) -> tuple[ModuleType, Contribution]:
        """Import and gather in the calling thread; what `load` does in a thread of its own."""
        self._finder.sources[name] = source
        try:
            module = self._import_root(name)
            return module, gather(module, source)
        except BaseException as error:
            self.forget(name)
            if isinstance(error, LoadError | _TookTooLong):
                raise
            if not isinstance(error, ContractError | SyntaxError):
                # Who reads the event gets one line; where it came from is for the log.
                log.info("importing %s failed", source.name, exc_info=error)
            raise refused(source, error) from None

    def _import_root(self, name: str) -> ModuleType:
        spec = self._finder.find_spec(name, None)
        if spec is None or spec.loader is None:
            raise LoadError(f"{name} has no source to load")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def forget(self, name: str) -> None:
        """Take a generation's modules out of `sys.modules`."""
        self._finder.sources.pop(name, None)
        # Copied in one step: another thread may be importing meanwhile.
        for loaded in [m for m in list(sys.modules) if m == name or m.startswith(name + ".")]:
            sys.modules.pop(loaded, None)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    elif result is not None:
        future.set_result(result)


def refused(source: Source, error: BaseException) -> LoadError:
    """Word what went wrong while loading, with the place in the plugin's own files where there is one."""
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        line = f":{error.lineno}" if error.lineno is not None else ""
        where = f"{Path(error.filename).name}{line}: "
    else:
        trace = error.__traceback__
        while trace is not None:
            filename = trace.tb_frame.f_code.co_filename
            if filename.startswith(str(source.path)):
                where = f"{Path(filename).name}:{trace.tb_lineno}: "
            trace = trace.tb_next
    if not where and isinstance(error, ContractError) and error.details.get("place"):
        where = f"{error.details['place']}: "
    kind = "" if isinstance(error, ContractError) else f"{type(error).__name__}: "
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return LoadError(
        f"{where}{kind}{_worded(error, message)}", details={"plugin": source.name, "error": type(error).__name__}
    )


def _worded(error: BaseException, message: str) -> str:
    """Return what Python says about a common slip, and what to do about it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{message}; install it where the hub runs, into the environment of its Python"
    missing = re.match(r"cannot import name '(\w+)' from 'kernel'", message) if isinstance(error, ImportError) else None
    if missing is not None:
        close = nearest(missing[1], sys.modules["kernel"].__all__)
        return f"the kernel has no public name {missing[1]!r}" + (f"; did you mean {close!r}?" if close else "")
    bare = re.match(r"Plugin\.(\w+)\(\) missing 1 required positional argument: '(fn|struct)'", message)
    if bare is not None:
        return f"`{bare[1]}` is written without parentheses: @p.{bare[1]}"
    return message


def gather(module: ModuleType, source: Source) -> Contribution:
    """Ask a freshly imported module for everything it declares; raise `LoadError` for anything that does not fit.

    The newcomer gets a plugin manager of its own, so that a bad one harms itself only.
    """
    plugins = [value for value in vars(module).values() if isinstance(value, Plugin)]
    plugins = list(dict.fromkeys(plugins))
    if len(plugins) != 1:
        names = "".join(f" {plugin.name}" for plugin in plugins)
        raise LoadError(
            f"{source.path.name} declares {len(plugins)} plugins{names}; expected exactly one, at the top level of the "
            f'module: {source.name} = Plugin("{source.name}", version="1.0.0")'
        )
    plugin = plugins[0]
    if plugin.name != source.name:
        raise LoadError(
            f"{source.path.name} declares the plugin {plugin.name!r}; its file and its name must agree: call the "
            f"plugin {source.name!r}, or the file {plugin.name}{source.path.suffix}"
        )
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, plugin.name)
        manager.register(module, f"{plugin.name} (module)")
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise LoadError(_hook_mistake(str(error)), details={"plugin": plugin.name}) from None
    asked = manager.hook
    contribution = Contribution(
        manifest=plugin.manifest(source.path if source.package else None, lambda path: source.folder(path.name)),
        routes=declaration.listed("routes", asked.routes()),
        functions=declaration.listed("functions", asked.functions()),
        subscriptions=declaration.listed("subscriptions", asked.subscriptions()),
        services=declaration.listed("services", asked.services()),
        tasks=declaration.listed("tasks", asked.tasks()),
        metrics=declaration.listed("metrics", asked.metrics()),
        commands=declaration.listed("commands", asked.commands()),
        uses=declaration.listed("uses", asked.uses()),
        health=_single("health", asked.health()),
        lifespan=_single("lifespan", asked.lifespan()),
        settings=_single("settings", asked.settings()),
        export_state=_single("export_state", asked.export_state()),
        import_state=_single("import_state", asked.import_state()),
        decider=_single("decider", asked.decider()),
        auditor=_single("auditor", asked.auditor()),
        trusts=_single("trusts", asked.trusts()),
        authenticator=_single("authenticator", asked.authenticator()),
        renewer=_single("renewer", asked.renewer()),
        examination=_single("examination", asked.examination()),
    )
    declaration.check(contribution)
    return contribution


def _single(hook: str, results: list[Any]) -> Any:
    if len(results) > 1:
        raise LoadError(f"the hook {hook} is implemented {len(results)} times; one is enough")
    return results[0] if results else None


def _hook_mistake(text: str) -> str:
    misspelt = re.search(r"unknown hook '([^']+)'", text)
    if misspelt is None:
        return f"a hook does not fit its specification: {' '.join(text.split())}"
    known = [n for n in dir(hookspecs) if getattr(getattr(hookspecs, n), "aetherra_spec", None) is not None]
    close = nearest(misspelt[1], known)
    return f"there is no hook {misspelt[1]!r}" + (
        f"; did you mean {close!r}?" if close else f"; there are {', '.join(known)}"
    )
