"""Compiled scripts, by content: in memory, on disk, else from the compile worker.

They are bytes here and stay so: the hub never unmarshals them, and never loads the parser.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kernel import AetherraError, Clock, DeadlineExceeded, Job, Pool, Program, WorkerLost, interpreter

SOURCE_LIMITS: Final = ("source_kb", "brackets", "blocks")
FRAME_KB: Final = 8 * 1024
Found = Literal["memory", "disk", "nowhere"]
"""Where a compiled form was; nowhere means that it had to be made."""
_SUM: Final = hashlib.sha256().digest_size


class Use(msgspec.Struct, frozen=True):
    """A capability that a script certainly uses, and the first place that does."""

    capability: str
    line: int
    column: int


class Compiled(msgspec.Struct, frozen=True):
    """What became of a source: `code` for a run worker where it is `ok`, and what was found either way.

    `capabilities` are those the script can reach, in the spelling of scripts; `certain` are those that every execution
    uses which reaches the end, each with its first place; `contracts` the versions of plugins that it is written for;
    `registers` is what it has the hub do while it is resident, `meta` what it declares, its policy among it; `hash`
    names the source.
    """

    ok: bool
    code: bytes | None = None
    hash: str = ""
    capabilities: list[str] = []
    certain: list[Use] = []
    diagnostics: list[dict[str, Any]] = []
    contracts: list[dict[str, Any]] = []
    registers: dict[str, Any] = {}
    meta: dict[str, Any] = {}

    @property
    def size(self) -> int:
        """Roughly the bytes it takes in memory."""
        return 500 + len(self.code or b"") + 400 * len(self.diagnostics)


def language_folder() -> Path:
    """Return the folder of the language's package, without importing it."""
    found = importlib.util.find_spec("aether_lang")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package aether_lang is not installed beside the kernel")
    return Path(next(iter(found.submodule_search_locations)))


def import_paths() -> tuple[str, ...]:
    """Return the folders in which a worker finds the language and what it imports."""
    folders = [language_folder().parent]
    for package in ("msgspec", "re2", "lark", "cronsim"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            folders.append(
                Path(found.origin).parent.parent if found.submodule_search_locations else Path(found.origin).parent
            )
    return tuple(dict.fromkeys(str(folder) for folder in folders))


def compile_program(version: str) -> Program:
    """Return the program that parses, checks and compiles: one process, which never runs a script."""
    argv = (*_worker(version), "--preload", "compile")
    return Program("compile", argv, warm=1, most=1, queue=1_000, jobs_each=10_000, frame_kb=FRAME_KB)


def run_program(version: str, most: int) -> Program:
    """Return the program that runs scripts, at most that many processes at a time."""
    return Program("run", _worker(version), warm=1, most=most, queue=10_000, jobs_each=50)


def _worker(version: str) -> tuple[str, ...]:
    # The version means nothing to the interpreter. It makes another version another program, so that what an older
    # compiler makes is never kept as this one's.
    return ("-X", f"aether={version}", *interpreter(str(language_folder() / "worker.py"), import_paths()))


def fingerprint(folder: Path | None = None) -> str:
    """Return what stands for this version of language, compiler and Python: the hash of their files and tags."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sys.version}".encode())
    folder = folder or language_folder()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".lark", ".toml", ".json"):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Compiler:
    """Compiles each source once, whoever asks for it, and remembers what came of it."""

    def __init__(
        self,
        pool: Pool,
        folder: Path,
        clock: Clock,
        *,
        version: str,
        memory_mb: int,
        disk_mb: int,
        compile_s: float,
        count: Callable[[Found], None] | None = None,
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._clock = clock
        self._version = version
        self._memory_most = memory_mb * 1024 * 1024
        self._disk_most = disk_mb * 1024 * 1024
        self._compile_s = compile_s
        self._count = count or _nobody_counts
        self._held: OrderedDict[str, Compiled] = OrderedDict()
        self._size = 0
        self._under_way: dict[str, asyncio.Task[Compiled]] = {}
        self.hits = self.loads = self.compiles = 0

    async def compile(self, source: str, name: str, limits: Mapping[str, float]) -> Compiled:
        """Return what became of the source; a mistake in it is part of the answer and raises nothing.

        Raises `DeadlineExceeded` for a source that takes too long, and what the worker's pool raises.
        """
        bounds = {limit: limits[limit] for limit in SOURCE_LIMITS if limit in limits}
        key = self._key(source, name, bounds)
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            self.hits += 1
            self._count("memory")
            return held
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._produce(key, source, name, bounds), name=f"compile {name}")
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        # One who leaves must not take it from the others who wait for the same.
        return await asyncio.shield(task)

    def _done(self, key: str, task: asyncio.Task[Compiled]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen: those who asked may all have left

    def _key(self, source: str, name: str, bounds: Mapping[str, float]) -> str:
        digest = hashlib.sha256(f"{self._version}\0{name}\0{sorted(bounds.items())}\0".encode())
        digest.update(source.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    async def _produce(self, key: str, source: str, name: str, bounds: Mapping[str, float]) -> Compiled:
        stored = await asyncio.to_thread(self._load, key)
        if stored is not None:
            self.loads += 1
            self._count("disk")
            return self._hold(key, stored)
        compiled = await self._ask(source, name, bounds)
        self.compiles += 1
        self._count("nowhere")
        if compiled.ok:
            await asyncio.to_thread(self._store, key, compiled)
        return self._hold(key, compiled)

    async def _ask(self, source: str, name: str, bounds: Mapping[str, float]) -> Compiled:
        body = {"kind": "compile", "source": source, "name": name, "limits": dict(bounds)}
        job: Job = self._pool.submit(body, serve=_no_calls, told=_no_events)
        try:
            answer = await self._answer(job, name)
        except asyncio.CancelledError:
            job.cancel()
            raise
        try:
            return msgspec.convert(answer, Compiled)
        except msgspec.ValidationError as error:
            raise WorkerLost(f"the compile worker gave no answer that can be read: {error}") from None

    async def _answer(self, job: Job, name: str) -> Any:
        """Wait for the worker; the time in which it had another source before this one does not count."""
        while True:
            begun = job.state != "waiting"
            try:
                async with self._clock.timeout(self._compile_s) as limit:
                    return await job.result()
            except TimeoutError:
                if not limit.expired():
                    raise
                if begun:  # one that began meanwhile gets the whole time once more
                    job.kill("compiling took too long")
                    raise DeadlineExceeded(
                        f"{name} took longer than {self._compile_s:g} s to compile ([plugins.scripts] compile_s)",
                        code="COMPILE_TOO_LONG",
                    ) from None

    def _hold(self, key: str, compiled: Compiled) -> Compiled:
        self._held[key] = compiled
        self._size += compiled.size
        while self._size > self._memory_most and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._size -= oldest.size
        return compiled

    # On disk, in a thread ----------------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.bin"

    def _load(self, key: str) -> Compiled | None:
        path = self._path(key)
        try:
            data = path.read_bytes()
            if hashlib.sha256(data[_SUM:]).digest() != data[:_SUM]:
                path.unlink()
                return None
            return msgspec.msgpack.decode(data[_SUM:], type=Compiled)
        except (OSError, msgspec.MsgspecError):
            return None

    def _store(self, key: str, compiled: Compiled) -> None:
        data = msgspec.msgpack.encode(compiled)
        path = self._path(key)
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_bytes(hashlib.sha256(data).digest() + data)
            new.replace(path)
            self._prune()
        except OSError:
            with contextlib.suppress(OSError):  # a cache that cannot be written is slow, not wrong
                new.unlink()

    def _prune(self) -> None:
        # What a hub that was killed left half written counts as well, and goes with the oldest.
        files = [(path, path.stat()) for path in self._folder.glob("*/*")]
        total = sum(about.st_size for _, about in files)
        for path, about in sorted(files, key=lambda one: one[1].st_mtime):
            if total <= self._disk_most:
                return
            path.unlink(missing_ok=True)
            total -= about.st_size

    def stats(self) -> dict[str, int]:
        """Return how often a compiled script was in memory, on disk, or had to be made, and how many are held."""
        return {"hits": self.hits, "loads": self.loads, "compiles": self.compiles, "held": len(self._held)}


def _nobody_counts(_found: Found) -> None:
    return None


async def _no_calls(_body: Any) -> Any:
    raise AetherraError("a compile worker asks the hub for nothing", code="NOT_ALLOWED")


def _no_events(_body: Any) -> None:
    return None
