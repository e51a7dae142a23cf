"""The watch of the plugin folders: whatever happens in them, in the end what is loaded is what lies there (R23)."""

import asyncio
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kernel.capabilities import Caller
from kernel.errors import LoadError
from kernel.kernel import Kernel
from kernel.loader import Source
from kernel.testing import ALLOW_ALL, Recording, kernel_config, running_kernel
from kernel.watch import Looks, entries, touched

ALICE = Caller("user:alice", ("role:user",))


def source(name: str, word: str, more: str = "") -> str:
    return (
        f"from kernel import Context, Plugin\n{name} = Plugin({name!r}, version='1.0.0')\n{more}\n"
        f"@{name}.function('word', effect='free')\nasync def word(ctx: Context) -> str:\n    return {word!r}\n"
    )


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL}) as running:
        yield running


async def until_loaded(kernel: Kernel, wanted: dict[str, str], timeout_s: float = 5.0) -> None:
    """Return once exactly these plugins serve, each with its word."""
    found: dict[str, str] = {}
    try:
        async with asyncio.timeout(timeout_s):
            while found != wanted:
                await asyncio.sleep(0.005)
                found = {}
                for module in kernel.modules.known():
                    if module.generation is not None and module.name != "allow_all":
                        found[module.name] = await kernel.context(ALICE).call(f"{module.name}.word")
    except TimeoutError:
        states = {m.name: (m.status, m.reason) for m in kernel.modules.known()}
        raise AssertionError(f"expected {wanted}, found {found}: {states}") from None


async def test_a_file_that_becomes_a_folder_and_back_is_followed(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    (folder / "a.py").write_text(source("a", "file"))
    await until_loaded(kernel, {"a": "file"})
    (folder / ".a").mkdir()
    (folder / ".a" / "__init__.py").write_text(source("a", "folder"))
    (folder / "a.py").unlink()
    (folder / ".a").rename(folder / "a")
    await until_loaded(kernel, {"a": "folder"})
    (folder / "a").rename(folder / ".a")
    (folder / "a.py").write_text(source("a", "file again"))
    await until_loaded(kernel, {"a": "file again"})


async def test_a_renamed_folder_is_the_plugin_of_its_new_name_only_if_it_says_so(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    (folder / ".new").mkdir()
    (folder / ".new" / "__init__.py").write_text("from .inner import *\nfrom .inner import a\n")
    (folder / ".new" / "inner.py").write_text(source("a", "one"))
    (folder / ".new").rename(folder / "a")
    await until_loaded(kernel, {"a": "one"})
    (folder / "a").rename(folder / "b")
    await until_loaded(kernel, {})
    async with asyncio.timeout(5):
        while not any("its file and its name must agree" in (m.reason or "") for m in kernel.modules.known()):
            await asyncio.sleep(0.005)
    (folder / "b").rename(folder / "a")
    await until_loaded(kernel, {"a": "one"})


async def test_a_folder_renamed_away_and_back_while_it_loads_ends_as_it_lies(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    (folder / ".new").mkdir()
    (folder / ".new" / "__init__.py").write_text("import time\ntime.sleep(0.2)\nfrom .inner import a\n")
    (folder / ".new" / "inner.py").write_text(source("a", "one"))
    (folder / ".new").rename(folder / "a")
    async with asyncio.timeout(5):
        while not any(thread.name.startswith("load plugins/a@") for thread in threading.enumerate()):
            await asyncio.sleep(0.001)
    (folder / "a").rename(folder / ".old")
    await until_loaded(kernel, {})
    (folder / ".old").rename(folder / "a")
    await until_loaded(kernel, {"a": "one"})


async def test_the_drop_folder_may_be_taken_away_and_made_anew(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    (folder / "a.py").write_text(source("a", "one"))
    await until_loaded(kernel, {"a": "one"})
    decider = (folder / "allow_all.py").read_text()
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    (folder / "allow_all.py").write_text(decider)
    (folder / "b.py").write_text(source("b", "two"))
    await until_loaded(kernel, {"b": "two"})
    # And the new folder is followed as the old one was.
    (folder / "b.py").write_text(source("b", "three"))
    await until_loaded(kernel, {"b": "three"})


async def test_a_drop_folder_that_comes_after_the_start_is_found(tmp_path: Path) -> None:
    config = kernel_config(tmp_path)
    (config.paths.bundled_plugins / "allow_all").mkdir()
    (config.paths.bundled_plugins / "allow_all" / "__init__.py").write_text(ALLOW_ALL)
    late = tmp_path / "late"
    config.paths = msgspec.structs.replace(config.paths, plugins=late, trusted=(late,))
    kernel = Kernel(config)
    await kernel.start()
    try:
        late.mkdir()
        (late / "a.py").write_text(source("a", "late"))
        await until_loaded(kernel, {"a": "late"})
    finally:
        await kernel.stop()


async def test_what_clashed_is_tried_again_when_the_other_leaves(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    route = "\n@NAME.get('/api/same')\nasync def same(ctx: Context) -> int: return 1\n"
    (folder / "a.py").write_text(source("a", "a", route.replace("NAME", "a")))
    await until_loaded(kernel, {"a": "a"})
    with Recording(kernel.bus) as seen:
        (folder / "b.py").write_text(source("b", "b", route.replace("NAME", "b")))
        assert "a and b" in (await seen.wait_for("module.reload_failed")).data["error"]
    (folder / "a.py").unlink()
    await until_loaded(kernel, {"b": "b"})


async def test_what_is_no_regular_file_holds_nobody_up(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    os.mkfifo(folder / "pipe.py")
    (folder / "folder.py").mkdir()
    (folder / "broken.py").symlink_to(folder / "nowhere.py")
    (folder / "a.py").write_text(source("a", "one"))
    await until_loaded(kernel, {"a": "one"})
    assert entries(folder) == [folder / "a.py", folder / "allow_all.py"]
    with pytest.raises(LoadError, match="no regular file"):
        Source.read(folder / "pipe.py")


async def test_any_mix_of_operations_ends_as_a_full_look_would(kernel: Kernel) -> None:
    """150 operations, seed 23: whole writes, truncating writes, renames over, deletes, copies, broken versions."""
    chance = random.Random(23)
    folder = kernel.config.paths.plugins
    names = ["a", "b", "c", "d"]
    wanted: dict[str, str] = {}
    with Recording(kernel.bus, "module.reload_failed") as failed:
        for step in range(150):
            name = chance.choice(names)
            path = folder / f"{name}.py"
            text = source(name, str(step), "# " + "x" * chance.choice([0, 100, 20_000]))
            match chance.choice(["whole", "truncate", "over", "over", "delete", "broken"]):
                case "whole":
                    path.write_text(text)
                    wanted[name] = str(step)
                case "truncate":
                    with path.open("w") as file:
                        file.write(text[: len(text) // 2])
                        file.flush()
                        file.write(text[len(text) // 2 :])
                    wanted[name] = str(step)
                case "over":
                    (folder / f".{name}.new").write_text(text)
                    (folder / f".{name}.new").rename(path)
                    wanted[name] = str(step)
                case "delete":
                    path.unlink(missing_ok=True)
                    wanted.pop(name, None)
                case "broken":
                    if name in wanted:  # the version before it goes on only while it is loaded
                        await until_loaded(kernel, wanted)
                        (folder / f".{name}.new").write_text(text + "def broken(:\n")
                        (folder / f".{name}.new").rename(path)
            if chance.random() < 0.2:
                await asyncio.sleep(chance.choice([0, 0.01, 0.06]))
        await until_loaded(kernel, wanted)
    reasons = [event.data["error"] for event in failed.events]
    assert all("SyntaxError" in reason or "declares 0 plugins" in reason for reason in reasons), reasons


def test_a_file_that_is_written_while_it_is_read_is_never_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    whole = [b"#" + letter * 2_000_000 + b"\n" for letter in (b"x", b"y", b"z" * 2)]
    path.write_bytes(whole[0])
    stop = threading.Event()

    def write() -> None:
        for n in range(1, 1_000_000):
            if stop.is_set():
                return
            with path.open("wb") as file:
                for at in range(0, len(whole[n % 3]), 100_000):
                    file.write(whole[n % 3][at : at + 100_000])

    writer = threading.Thread(target=write)
    writer.start()
    moved = 0
    try:
        for turn in range(20_000):
            if moved and turn >= 200:
                break
            try:
                content = Source.read(path).files["a.py"]
            except LoadError as error:
                moved += error.code == "BEING_WRITTEN"
                continue
            # A prefix is whole for who looks between two writes of its author; a mixture never is.
            assert any(text.startswith(content) for text in whole)
    finally:
        stop.set()
        writer.join()
    assert moved > 0


def test_a_look_tells_what_came_went_and_changed(tmp_path: Path) -> None:
    for name in ("stays", "changes", "goes"):
        (tmp_path / f"{name}.py").write_text("1")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("1")
    (tmp_path / "deep" / "inner").mkdir()
    (tmp_path / "deep" / "inner" / "far.py").write_text("1")
    looks = Looks([tmp_path, tmp_path / "absent"])
    assert looks.changes() == []
    (tmp_path / "changes.py").write_text("22")
    (tmp_path / "goes.py").unlink()
    (tmp_path / "comes.py").write_text("1")
    (tmp_path / "deep" / "inner" / "far.py").write_text("22")
    (tmp_path / "deep" / "__pycache__").mkdir()
    assert looks.changes() == [(tmp_path, name) for name in ("changes.py", "comes.py", "deep", "goes.py")]
    shutil.rmtree(tmp_path / "deep")
    assert looks.changes() == [(tmp_path, "deep")]


@pytest.mark.parametrize(
    ("changed", "entry"),
    [
        ("a.py", "a.py"),
        ("a/b/c.py", "a"),
        (".a.py.swp", None),
        ("a/__pycache__/b.pyc", None),
        ("../x.py", None),
        ("test_a.py", None),
        ("a/test_b.py", None),
        ("conftest.py", None),
        ("attest_a.py", "attest_a.py"),
    ],
)
def test_a_changed_path_belongs_to_the_entry_directly_in_the_folder(
    tmp_path: Path, changed: str, entry: str | None
) -> None:
    assert touched(tmp_path, os.path.normpath(tmp_path / changed)) == entry
