"""Compiled scripts: made once for each content, kept in memory and on disk within bounds, never loaded by the hub."""

from __future__ import annotations

import asyncio
import hashlib
import marshal
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from hub_process import hub_process

from kernel import DeadlineExceeded
from kernel.clock import SystemClock
from kernel.testing import TestClock
from kernel.workers import Pool, Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def module(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    found: ModuleType = load_plugin("scripts").compiled
    return found


@dataclass
class Workshop:
    """Compilers over one folder and one real compile worker."""

    module: ModuleType
    pool: Pool
    folder: Path
    limits: dict[str, float]

    def compiler(self, **options: Any) -> Any:
        """Return a compiler that remembers nothing yet."""
        given = {"clock": SystemClock(), "version": "1", "memory_mb": 8, "disk_mb": 8, "compile_s": 10.0, **options}
        return self.module.Compiler(self.pool, self.folder, **given)

    def files(self) -> list[Path]:
        """Return what lies on disk."""
        return sorted(self.folder.glob("*/*"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(module: ModuleType) -> AsyncIterator[Pool]:
    workers = Workers(SystemClock())
    pool = workers.pool(module.compile_program("test"))
    yield pool
    await workers.stop()


@pytest.fixture
def shop(module: ModuleType, pool: Pool, tmp_path: Path, load_plugin: Callable[[str], ModuleType]) -> Workshop:
    return Workshop(module, pool, tmp_path / "cache", dict(load_plugin("scripts").limits.SHIPPED))


async def test_a_source_is_compiled_once_and_then_found_in_memory(shop: Workshop) -> None:
    compiler = shop.compiler()
    first = await compiler.compile("return 1", "a.aether", shop.limits)
    again = await compiler.compile("return 1", "a.aether", shop.limits)
    assert first.ok
    assert isinstance(first.code, bytes)
    assert again is first
    assert compiler.stats() == {"hits": 1, "loads": 0, "compiles": 1, "held": 1}


async def test_two_askers_at_once_compile_once(shop: Workshop) -> None:
    compiler = shop.compiler()
    both = await asyncio.gather(*(compiler.compile("return 2", "a.aether", shop.limits) for _ in range(5)))
    assert compiler.stats()["compiles"] == 1
    assert all(one is both[0] for one in both)


async def test_an_asker_who_leaves_does_not_take_it_from_the_others(shop: Workshop) -> None:
    compiler = shop.compiler()
    leaves = asyncio.ensure_future(compiler.compile("return 3", "a.aether", shop.limits))
    stays = asyncio.ensure_future(compiler.compile("return 3", "a.aether", shop.limits))
    await asyncio.sleep(0)
    leaves.cancel()
    assert (await stays).ok
    assert leaves.cancelled()
    assert compiler.stats()["compiles"] == 1


async def test_another_content_name_or_bound_is_another_compilation(shop: Workshop) -> None:
    compiler = shop.compiler()
    base = await compiler.compile("return 1", "a.aether", shop.limits)
    for source, name, limits in (
        ("return 2", "a.aether", shop.limits),
        ("return 1", "b.aether", shop.limits),
        ("return 1", "a.aether", {**shop.limits, "brackets": 9}),
    ):
        assert await compiler.compile(source, name, limits) is not base
    assert compiler.stats()["compiles"] == 4
    await compiler.compile("return 1", "a.aether", {**shop.limits, "steps": 5})
    assert compiler.stats()["compiles"] == 4, "what is counted at run time does not matter to the compiler"


async def test_a_new_hub_finds_it_on_disk(shop: Workshop) -> None:
    first = await shop.compiler().compile("return 1", "a.aether", shop.limits)
    later = shop.compiler()
    found = await later.compile("return 1", "a.aether", shop.limits)
    assert (found.code, found.hash, found.capabilities) == (first.code, first.hash, first.capabilities)
    assert later.stats() == {"hits": 0, "loads": 1, "compiles": 0, "held": 1}


async def test_what_lies_on_disk_is_for_the_hubs_user_alone_and_leaves_nothing_half_written(shop: Workshop) -> None:
    await shop.compiler().compile("return 1", "a.aether", shop.limits)
    (file,) = shop.files()
    assert file.suffix == ".bin"
    assert file.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: bytes(32) + data[32:],
        lambda data: b"\xff" * len(data),
    ],
    ids=["empty", "its head", "cut", "one bit", "another sum", "noise"],
)
async def test_a_spoiled_file_is_ignored_and_made_anew(shop: Workshop, spoil: Callable[[bytes], bytes]) -> None:
    first = await shop.compiler().compile("return 1", "a.aether", shop.limits)
    (file,) = shop.files()
    whole = file.read_bytes()
    file.write_bytes(spoil(whole))
    later = shop.compiler()
    assert (await later.compile("return 1", "a.aether", shop.limits)).code == first.code
    assert later.stats()["compiles"] == 1
    assert file.read_bytes() == whole


async def test_a_file_of_another_make_with_a_right_sum_is_ignored(shop: Workshop) -> None:
    await shop.compiler().compile("return 1", "a.aether", shop.limits)
    (file,) = shop.files()
    other = b"\x81\xa2ok\xa3yes"
    file.write_bytes(hashlib.sha256(other).digest() + other)
    later = shop.compiler()
    assert (await later.compile("return 1", "a.aether", shop.limits)).ok
    assert later.stats()["compiles"] == 1


async def test_a_folder_that_cannot_be_written_only_makes_it_slower(shop: Workshop) -> None:
    shop.folder.write_text("a file where the folder should be")
    for _ in range(2):
        compiler = shop.compiler()
        assert (await compiler.compile("return 1", "a.aether", shop.limits)).ok
        assert compiler.stats()["compiles"] == 1


async def test_what_a_killed_hub_left_half_written_goes_with_the_oldest(shop: Workshop) -> None:
    left = shop.folder / "00" / "left.1.new"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(1024 * 1024))
    os.utime(left, (1, 1))
    await shop.compiler(disk_mb=1).compile("return 1", "a.aether", shop.limits)
    assert [file.suffix for file in shop.files()] == [".bin"]


async def test_another_version_of_the_compiler_compiles_anew(shop: Workshop) -> None:
    await shop.compiler(version="1").compile("return 1", "a.aether", shop.limits)
    other = shop.compiler(version="2")
    await other.compile("return 1", "a.aether", shop.limits)
    assert other.stats()["compiles"] == 1
    assert len(shop.files()) == 2


async def test_a_changed_file_of_the_language_is_another_version_and_another_worker(
    module: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "aether_lang"
    shutil.copytree(module.language_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    version = module.fingerprint(folder)
    assert version == module.fingerprint()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert module.fingerprint(folder) == version
    for file in ("compiler.py", "grammar.lark", "verbs.toml"):
        (folder / file).write_text((folder / file).read_text() + "\n")
        assert module.fingerprint(folder) != version
        version = module.fingerprint(folder)
    assert module.compile_program("1") == module.compile_program("1")
    assert module.compile_program("1") != module.compile_program("2")
    assert module.run_program("1", 4) != module.run_program("2", 4)


async def test_what_an_older_version_has_begun_is_finished_by_it(module: ModuleType, shop: Workshop) -> None:
    workers = Workers(SystemClock())
    made = await shop.compiler().compile("now()\nreturn 1", "a.aether", shop.limits)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def serve(body: Any) -> Any:
        asked.set()
        await answer.wait()
        return 5.0

    body = {"kind": "run", "code": made.code}
    old = workers.pool(module.run_program("1", 2))
    running = old.submit(body, serve=serve, told=lambda body: None)
    await asked.wait()
    new = workers.pool(module.run_program("2", 2))
    assert new is not old
    assert new is workers.pool(module.run_program("2", 2))
    late = old.submit(body, serve=serve, told=lambda body: None)
    answer.set()
    for job in (running, late):
        assert (await job.result())["result"] == 1
    assert (await new.submit(body, serve=serve, told=lambda body: None).result())["result"] == 1
    assert running.pid is not None
    async with asyncio.timeout(5):
        while psutil.pid_exists(running.pid):  # nothing of the old version is kept ready
            await asyncio.sleep(0)
    await workers.stop()


async def test_a_mistake_is_an_answer_that_is_kept_in_memory_alone(shop: Workshop) -> None:
    compiler = shop.compiler()
    found = await compiler.compile("let box = {", "a.aether", shop.limits)
    assert not found.ok
    assert found.code is None
    assert found.diagnostics[0]["line"] == 1
    assert await compiler.compile("let box = {", "a.aether", shop.limits) is found
    assert shop.files() == []


async def test_memory_holds_no_more_than_its_bound_and_lets_go_of_the_oldest(shop: Workshop) -> None:
    compiler = shop.compiler(memory_mb=1)
    big = 'return "' + "x" * 300_000 + '"'
    for n in range(5):
        await compiler.compile(f"# {n}\n{big}", "a.aether", shop.limits)
    held = compiler.stats()["held"]
    assert 1 <= held <= 3
    await compiler.compile(f"# 4\n{big}", "a.aether", shop.limits)
    assert compiler.stats()["hits"] == 1
    await compiler.compile(f"# 0\n{big}", "a.aether", shop.limits)
    assert compiler.stats()["loads"] == 1


async def test_disk_holds_no_more_than_its_bound_and_lets_go_of_the_oldest(shop: Workshop) -> None:
    compiler = shop.compiler(disk_mb=1)
    big = 'return "' + "x" * 300_000 + '"'
    first = None
    for n in range(5):
        await compiler.compile(f"# {n}\n{big}", "a.aether", shop.limits)
        first = first or shop.files()[0]
        assert sum(file.stat().st_size for file in shop.files()) <= 1024 * 1024
    assert first not in shop.files()
    assert len(shop.files()) == 3


# A worker that hangs ---------------------------------------------------------------------------------------------


def compile_worker() -> psutil.Process:
    """Return the one compile worker of this process."""
    (found,) = [child for child in psutil.Process().children() if "compile" in child.cmdline()]
    return found


async def test_a_source_that_takes_too_long_is_given_up_and_those_behind_it_are_not(shop: Workshop) -> None:
    await shop.compiler().compile("return 0", "a.aether", shop.limits)
    os.kill(compile_worker().pid, signal.SIGSTOP)
    clock = TestClock()
    compiler = shop.compiler(clock=clock, compile_s=10.0)
    asked = []
    for waiting, name in enumerate(("hangs", "behind"), 1):
        asked.append(asyncio.ensure_future(compiler.compile("return 1", f"{name}.aether", shop.limits)))
        while clock.waiting < waiting:  # until it is with the worker; before that it is looked for on disk
            await asyncio.sleep(0)
    hangs, behind = asked
    await clock.advance(10.0)
    with pytest.raises(DeadlineExceeded) as late:
        await hangs
    assert late.value.code == "COMPILE_TOO_LONG"
    assert "hangs.aether took longer than 10 s to compile" in late.value.message
    assert (await behind).ok
    assert (await compiler.compile("return 1", "hangs.aether", shop.limits)).ok


# In a hub --------------------------------------------------------------------------------------------------------

WITNESS = '''
"""Sees what the hub's own process loads."""
import marshal, sys
from kernel import Context, Plugin

witness = Plugin("witness", version="1.0.0")
seen: list[str] = []

def look(event: str, args: tuple) -> None:
    if event == "marshal.loads" and b"a_word_to_be_found" in bytes(args[0]):
        seen.append(event)

@witness.lifespan
async def lifespan(ctx: Context):
    sys.addaudithook(look)
    yield

@witness.get("/api/witness", needs="health:read")
async def tell(ctx: Context) -> dict:
    before = len(seen)
    marshal.loads(marshal.dumps("a_word_to_be_found"))
    return {
        "unmarshalled": before,
        "would_notice": len(seen) - before,
        "parser": sorted(m for m in sys.modules if m.split(".")[0] == "lark" or m == "aether_lang.parser"),
        "language": "aether_lang.host" in sys.modules,
    }
'''


async def test_the_hub_never_loads_the_parser_nor_what_was_compiled(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "witness.py").write_text(WITNESS)
    source = 'let a_word_to_be_found = "a_word_to_be_found"\nreturn a_word_to_be_found'
    async with hub_process(tmp_path) as hub, aiohttp.ClientSession() as session:
        for _ in range(2):
            body = {"source": source, "name": "word", "parameters": {}}
            async with session.post(f"{hub.url}/api/scripts/run", json=body) as answer:
                assert answer.status == 201, await answer.text()
                job = (await answer.json())["job_id"]
            async with session.get(f"{hub.url}/api/jobs/{job}/events") as stream:
                assert b"job.completed" in await stream.read()
        async with session.get(f"{hub.url}/api/witness") as answer:
            found = await answer.json()
    (kept,) = (tmp_path / "cache" / "scripts").glob("*/*.bin")
    assert b"a_word_to_be_found" in kept.read_bytes()
    assert found == {"unmarshalled": 0, "would_notice": 1, "parser": [], "language": True}


async def test_the_compiled_bytes_are_pythons_own_so_that_loading_them_would_matter(shop: Workshop) -> None:
    made = await shop.compiler().compile("return 1", "a.aether", shop.limits)
    assert marshal.loads(made.code)
