"""The script library on a real file system: which root serves what, what is refused, and what is listed and noticed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from script_house import script_house

from kernel import BadInput, NotFound, TooLarge
from kernel.testing import Recording

MOST_KB = 4


@pytest.fixture(scope="module")
def module(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    found: ModuleType = load_plugin("scripts").library
    return found


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The two folders of the operator's, in order, and the bundled one."""
    made = tmp_path / "named", tmp_path / "home", tmp_path / "bundled"
    for folder in made:
        folder.mkdir()
    return made


@pytest.fixture
def library(module: ModuleType, folders: tuple[Path, Path, Path]) -> Any:
    named, home, bundled = folders
    roots = [module.Root(named, bundled=False), module.Root(home, bundled=False), module.Root(bundled, bundled=True)]
    return module.Library(roots, MOST_KB)


def write(folder: Path, name: str, text: str = "return 1") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Finding ---------------------------------------------------------------------------------------------------------


def test_the_first_root_that_has_a_script_serves_it(library: Any, folders: tuple[Path, Path, Path]) -> None:
    named, home, bundled = folders
    for folder in reversed(folders):
        write(folder, "tea.aether", f"# {folder.name}")
        assert library.find("tea").source == f"# {folder.name}"
    assert library.find("tea").bundled is False
    (named / "tea.aether").unlink()
    (home / "tea.aether").unlink()
    assert (library.find("tea").source, library.find("tea").bundled) == (f"# {bundled.name}", True)


def test_system_is_served_by_the_bundled_root_alone(library: Any, folders: tuple[Path, Path, Path]) -> None:
    named, home, bundled = folders
    write(named, "system/goals.aether", "# a false one")
    write(home, "system/own.aether", "# a false one")
    write(bundled, "system/goals.aether", "# the house's")
    assert library.find("system/goals").source == "# the house's"
    assert library.find("goals").name == "system/goals.aether"
    assert library.module("vendor/system/goals").source == "# the house's"
    with pytest.raises(NotFound):
        library.find("system/own")
    with pytest.raises(NotFound):
        library.find("own")


def test_a_name_without_system_prefers_the_operators_script(library: Any, folders: tuple[Path, Path, Path]) -> None:
    _, home, bundled = folders
    write(bundled, "system/goals.aether", "# the house's")
    write(home, "goals.aether", "# mine")
    assert (library.find("goals").name, library.find("goals").source) == ("goals.aether", "# mine")
    assert library.find("system/goals").source == "# the house's"


def test_no_root_serves_the_names_of_sources_that_came_along(library: Any, folders: tuple[Path, Path, Path]) -> None:
    for folder in folders:
        write(folder, "inline/script.aether")
    with pytest.raises(NotFound):
        library.find("inline/script")
    assert library.list() == []


def test_an_edited_script_is_read_anew_and_has_another_hash(library: Any, folders: tuple[Path, Path, Path]) -> None:
    write(folders[1], "tea.aether", "return 1")
    first = library.find("tea")
    write(folders[1], "tea.aether", "return 2")
    second = library.find("tea")
    assert (first.source, second.source) == ("return 1", "return 2")
    assert first.hash != second.hash


def test_an_unknown_script_is_answered_with_the_nearest_name(library: Any, folders: tuple[Path, Path, Path]) -> None:
    write(folders[1], "kettle.aether")
    write(folders[2], "system/goals.aether")
    with pytest.raises(NotFound) as unknown:
        library.find("ketle")
    assert unknown.value.code == "SCRIPT_NOT_FOUND"
    assert unknown.value.details == {"type": "ScriptNotFound", "script_name": "ketle"}
    assert unknown.value.message == "there is no script 'ketle'; did you mean 'kettle.aether'?"
    with pytest.raises(NotFound, match=r"did you mean 'system/goals\.aether'"):
        library.find("gaols")
    with pytest.raises(NotFound, match=r"^there is no script 'xyz'$"):
        library.find("xyz")  # though all names end alike


def links_out(folder: Path) -> None:
    (folder / "way.aether").symlink_to("/etc/hostname")


def links_within(folder: Path) -> None:
    write(folder, "true.aether")
    (folder / "way.aether").symlink_to("true.aether")


def links_a_folder(folder: Path) -> None:
    write(folder.parent, "outside/way.aether")
    (folder / "kitchen").symlink_to(folder.parent / "outside")


def links_to_nothing(folder: Path) -> None:
    (folder / "way.aether").symlink_to("nowhere")


def a_fifo(folder: Path) -> None:
    os.mkfifo(folder / "way.aether")


def a_folder(folder: Path) -> None:
    (folder / "way.aether").mkdir()


def a_socket(folder: Path) -> None:
    # Bound from within: a socket's path has 108 bytes at most.
    before = os.getcwd()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("way.aether")
    os.chdir(before)


def a_file_for_a_folder(folder: Path) -> None:
    write(folder, "kitchen")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (links_out, "way"),
        (links_within, "way"),
        (links_a_folder, "kitchen/way"),
        (links_to_nothing, "way"),
        (a_fifo, "way"),
        (a_folder, "way"),
        (a_socket, "way"),
        (a_file_for_a_folder, "kitchen/way"),
    ],
)
def test_what_is_no_plain_file_of_the_root_is_neither_found_nor_listed(
    library: Any, folders: tuple[Path, Path, Path], make: Callable[[Path], None], name: str
) -> None:
    make(folders[1])
    with pytest.raises(NotFound) as unknown:
        library.find(name)
    assert unknown.value.code == "SCRIPT_NOT_FOUND"
    with pytest.raises(NotFound):
        library.module(name)
    assert f"{name}.aether" not in [listed.name for listed in library.list()]


def test_a_name_that_cannot_be_one_is_refused_before_any_file_is_opened(
    library: Any, folders: tuple[Path, Path, Path]
) -> None:
    write(folders[0].parent, "beside.aether")
    for name in ("../beside", "a/../../beside", str(folders[0].parent / "beside.aether"), "beside\0", "..%2fbeside"):
        with pytest.raises(BadInput) as refused:
            library.find(name)
        assert refused.value.code == "INVALID_SCRIPT_NAME"
        with pytest.raises(BadInput):
            library.module(name)


def test_a_file_that_is_not_utf_8_is_refused_at_its_byte(library: Any, folders: tuple[Path, Path, Path]) -> None:
    (folders[1] / "latin.aether").write_bytes(b"log 'th\xe9'")
    with pytest.raises(BadInput) as refused:
        library.find("latin")
    assert refused.value.code == "INVALID_SCRIPT"
    assert refused.value.message == "latin.aether is not UTF-8: byte 8 cannot be read"


def test_a_source_above_the_bound_is_refused_and_one_at_it_is_read(
    library: Any, folders: tuple[Path, Path, Path]
) -> None:
    write(folders[1], "long.aether", "#" * (MOST_KB * 1024))
    assert len(library.find("long").source) == MOST_KB * 1024
    write(folders[1], "long.aether", "#" * (MOST_KB * 1024 + 1))
    with pytest.raises(TooLarge) as refused:
        library.find("long")
    assert refused.value.code == "SCRIPT_TOO_LARGE"
    assert "source_kb" in refused.value.message


def test_a_root_that_is_not_there_serves_nothing(module: ModuleType, tmp_path: Path) -> None:
    library = module.Library([module.Root(tmp_path / "nowhere", bundled=False)], MOST_KB)
    assert library.list() == []
    with pytest.raises(NotFound):
        library.find("tea")


# Listing ---------------------------------------------------------------------------------------------------------


def test_the_list_has_each_name_once_from_the_root_that_serves_it(
    library: Any, folders: tuple[Path, Path, Path]
) -> None:
    named, home, bundled = folders
    write(named, "tea.aether", "# the first\nreturn 1")
    write(home, "tea.aether", "# the second")
    write(home, "kitchen/pot.aether", "")
    write(home, "system/false.aether")
    write(home, ".git/hooks.aether")
    write(home, "notes.txt")
    write(home, "té.aether")
    write(bundled, "system/goals.aether", "# goals")
    listed = {one.name: one for one in library.list()}
    assert list(listed) == ["kitchen/pot.aether", "system/goals.aether", "tea.aether"]
    assert (listed["tea.aether"].description, listed["tea.aether"].root) == ("the first", "operator")
    assert (listed["system/goals.aether"].description, listed["system/goals.aether"].root) == ("goals", "bundled")
    assert listed["tea.aether"].size == len("# the first\nreturn 1")
    assert listed["tea.aether"].modified_at.endswith("Z")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("# boils water\nlog 1", "boils water"),
        ("// boils water", "boils water"),
        ("# --- boils water ---", "boils water"),
        ('# a comment\nplugin p {\n  description: "boils water"\n}', "boils water"),
        ("description: boils water", "boils water"),
        ("#!/usr/bin/aether\n# @signature: x\n# boils water", "boils water"),
        ("return 1", ""),
        ("", ""),
        ("\n" * 100 + "# too far down", ""),
        ("# " + "x" * 1000, "x" * 300),
    ],
)
def test_a_description_is_the_headers_or_the_first_comment(module: ModuleType, source: str, said: str) -> None:
    assert module.description(source) == said


def test_without_a_watch_the_list_is_read_anew_each_time(library: Any, folders: tuple[Path, Path, Path]) -> None:
    write(folders[1], "tea.aether")
    assert [one.name for one in library.list()] == ["tea.aether"]
    write(folders[1], "pot.aether")
    assert [one.name for one in library.list()] == ["pot.aether", "tea.aether"]


async def test_with_a_watch_the_list_is_kept_until_something_changes(
    library: Any, folders: tuple[Path, Path, Path]
) -> None:
    folders[0].rmdir()
    write(folders[1], "tea.aether")
    stop, noticed = asyncio.Event(), asyncio.Event()
    watching = asyncio.create_task(library.watch(stop, lambda names: noticed.set()))
    await asyncio.sleep(0)  # the watch stands once it has run
    first = library.list()
    assert library.list() is first
    write(folders[1], "pot.aether")
    async with asyncio.timeout(5):
        await noticed.wait()
    assert [one.name for one in library.list()] == ["pot.aether", "tea.aether"]
    # A folder that was not there when the watch began is never missed in the list.
    write(folders[0], "late.aether")
    assert [one.name for one in library.list()] == ["late.aether", "pot.aether", "tea.aether"]
    (folders[0] / "late.aether").unlink()
    assert [one.name for one in library.list()] == ["pot.aether", "tea.aether"]
    stop.set()
    await watching


# In a kernel -----------------------------------------------------------------------------------------------------


async def test_scripts_that_come_change_and_go_are_told_of_and_listed(tmp_path: Path) -> None:
    async with script_house(tmp_path, bundled=["security", "executions", "scripts"]) as house:
        folder, scripts = tmp_path / "scripts", house.service("scripts")

        async def told(act: Callable[[], Any]) -> list[str]:
            with Recording(house.kernel.bus, "script.changed") as heard:
                act()
                return list((await heard.wait_for("script.changed")).data["scripts"])

        async def listed() -> dict[str, str]:
            return {one["name"]: one["description"] for one in await scripts.list() if one["root"] == "operator"}

        assert await listed() == {}
        assert await told(lambda: write(folder, "tea.aether", "# pours")) == ["tea.aether"]
        assert await listed() == {"tea.aether": "pours"}
        assert await told(lambda: write(folder, "tea.aether", "# pours twice")) == ["tea.aether"]
        assert await listed() == {"tea.aether": "pours twice"}
        assert await told((folder / "tea.aether").unlink) == ["tea.aether"]
        assert await listed() == {}


async def test_nothing_is_told_of_files_that_are_no_scripts_of_that_root(tmp_path: Path) -> None:
    async with script_house(tmp_path, bundled=["security", "executions", "scripts"]) as house:
        folder = tmp_path / "scripts"
        await house.service("scripts").list()  # by now the folder is watched
        with Recording(house.kernel.bus, "script.changed") as heard:
            write(folder, "notes.txt")
            write(folder, "system/false.aether")
            write(folder, "inline/false.aether")
            write(folder, "té.aether")
            # Noticed in one go or after the others: either way nothing but this may be told.
            write(folder, "tea.aether")
            await heard.wait_for("script.changed")
        assert {name for event in heard.events for name in event.data["scripts"]} == {"tea.aether"}


async def test_the_service_refuses_by_the_same_rules(tmp_path: Path) -> None:
    async with script_house(tmp_path, bundled=["security", "executions", "scripts"]) as house:
        (tmp_path / "scripts" / "latin.aether").write_bytes(b"\xff")
        os.mkfifo(tmp_path / "scripts" / "pipe.aether")
        scripts = house.service("scripts")
        async with asyncio.timeout(10):  # a FIFO would hold the thread that opens it
            assert "pipe.aether" not in [one["name"] for one in await scripts.list()]
            for name, code in (
                ("../tea", "INVALID_SCRIPT_NAME"),
                ("latin", "INVALID_SCRIPT"),
                ("pipe", "SCRIPT_NOT_FOUND"),
            ):
                with pytest.raises((BadInput, NotFound)) as refused:
                    await scripts.check(name=name)
                assert refused.value.code == code
                with pytest.raises((BadInput, NotFound)) as refused:
                    await scripts.submit(script_name=name)
                assert refused.value.code == code
        with pytest.raises(BadInput, match="expected `source`, or the `name`"):
            await scripts.check()
        with pytest.raises(BadInput, match="name of a script, or a source"):
            await scripts.submit()
