import asyncio
import sys
from pathlib import Path

import pytest

from kernel.errors import LoadError
from kernel.loader import Loader, Source

HELLO = """
from kernel import Context, Plugin
hello = Plugin("hello", version="1.0.0")

@hello.get("/api/hello/{name}")
@hello.function("greet", effect="free")
async def greet(ctx: Context, name: str) -> str:
    "Return a greeting."
    return f"Hello, {name}!"
"""


@pytest.fixture
def loader():
    made = Loader()
    made.install()
    yield made
    made.remove()


def dropped(folder: Path, text: str, name: str = "hello") -> Source:
    path = folder / f"{name}.py"
    path.write_text(text)
    return Source.read(path)


async def refusal(loader: Loader, source: Source, timeout_s: float = 5.0) -> str:
    before = {name for name in sys.modules if name.startswith("plugins/")}
    with pytest.raises(LoadError) as caught:
        await loader.load(source, timeout_s=timeout_s)
    assert {name for name in sys.modules if name.startswith("plugins/")} == before
    return caught.value.message


async def test_a_source_becomes_a_module_of_its_own_and_a_contribution(loader: Loader, tmp_path: Path) -> None:
    module, contribution = await loader.load(dropped(tmp_path, HELLO), timeout_s=5)
    assert module.__name__.startswith("plugins/hello@")
    assert [route.path for route in contribution.routes] == ["/api/hello/{name}"]
    assert contribution.functions[0].name == "hello.greet"
    assert contribution.routes[0].effect == "free"
    assert contribution.routes[0].description == "Return a greeting."


async def test_an_edit_of_equal_length_within_the_same_second_is_served(loader: Loader, tmp_path: Path) -> None:
    first, _ = await loader.load(dropped(tmp_path, HELLO), timeout_s=5)
    second, _ = await loader.load(dropped(tmp_path, HELLO.replace("Hello", "Howdy")), timeout_s=5)
    assert await first.greet(None, "Ada") == "Hello, Ada!"
    assert await second.greet(None, "Ada") == "Howdy, Ada!"
    assert not list(tmp_path.rglob("*.pyc"))


async def test_relative_imports_of_a_package_come_from_the_snapshot_not_the_disk(
    loader: Loader, tmp_path: Path
) -> None:
    package = tmp_path / "pair"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from kernel import Plugin\nfrom . import inner\nfrom .inner.deep import WORD\n"
        "pair = Plugin('pair', version='1.0.0')\n"
        "async def late():\n    from . import other\n    return other.WORD\n"
    )
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "deep.py").write_text("WORD = 'deep'\n")
    (package / "other.py").write_text("WORD = 'as it was'\n")
    source = Source.read(package)
    (package / "other.py").write_text("WORD = 'changed meanwhile'\n")
    package.rename(tmp_path / "moved")
    module, _ = await loader.load(source, timeout_s=5)
    assert module.WORD == "deep"
    assert "plugins" not in sys.modules, "a parent package would hold every generation as its attribute"
    assert await module.late() == "as it was"


async def test_a_folder_that_vanishes_while_it_is_read_is_a_clear_refusal(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="could not be read"):
        Source.read(tmp_path / "gone.py")


async def test_a_syntax_error_names_file_and_line(loader: Loader, tmp_path: Path) -> None:
    assert "hello.py:1: SyntaxError" in await refusal(loader, dropped(tmp_path, "def broken(:"))


async def test_an_import_error_names_the_line_and_the_module(loader: Loader, tmp_path: Path) -> None:
    message = await refusal(loader, dropped(tmp_path, "import kernel\nimport no_such_thing\n"))
    assert message.startswith("hello.py:2: ModuleNotFoundError")
    assert "no_such_thing" in message


async def test_the_traceback_of_an_import_is_in_the_log_and_not_in_the_refusal(
    loader: Loader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kernel.loader")
    deep = "\ndef deep():\n    raise RuntimeError('down there')\ndeep()\n"
    with pytest.raises(LoadError) as caught:
        await loader.load(dropped(tmp_path, HELLO + deep), timeout_s=5)
    assert "down there" in caught.value.message
    assert "Traceback" not in caught.value.message
    assert "Traceback" in caplog.text
    assert "in deep" in caplog.text


async def test_an_exit_while_importing_does_not_end_the_hub(loader: Loader, tmp_path: Path) -> None:
    assert "SystemExit" in await refusal(loader, dropped(tmp_path, "raise SystemExit(3)"))


async def test_an_import_that_hangs_is_given_up_and_its_thread_is_ended(loader: Loader, tmp_path: Path) -> None:
    message = await refusal(loader, dropped(tmp_path, "while True:\n    pass\n"), timeout_s=0.2)
    assert "did not finish in 0.2 s" in message
    import threading

    async with asyncio.timeout(5):
        while any(t.name.startswith("load plugins/hello") for t in threading.enumerate()):
            await asyncio.to_thread(lambda: None)


async def test_a_misspelt_hook_is_refused_with_the_nearest_one(loader: Loader, tmp_path: Path) -> None:
    text = HELLO + "\nfrom kernel import hookimpl\n@hookimpl\ndef rotues():\n    return []\n"
    assert "did you mean 'routes'?" in await refusal(loader, dropped(tmp_path, text))


async def test_a_hook_with_a_wrong_signature_is_refused(loader: Loader, tmp_path: Path) -> None:
    text = HELLO + "\nfrom kernel import hookimpl\n@hookimpl\ndef routes(everything):\n    return []\n"
    assert "does not fit its specification" in await refusal(loader, dropped(tmp_path, text))


async def test_a_misspelt_decorator_is_refused_with_the_nearest_one(loader: Loader, tmp_path: Path) -> None:
    message = await refusal(loader, dropped(tmp_path, HELLO.replace("@hello.get(", "@hello.gte(")))
    assert "did you mean `get`?" in message


async def test_a_file_without_a_plugin_or_with_two_is_refused(loader: Loader, tmp_path: Path) -> None:
    assert "declares 0 plugins" in await refusal(loader, dropped(tmp_path, "x = 1\n"))
    second = HELLO + "\nother = Plugin('other', version='1.0.0')\n"
    assert "declares 2 plugins" in await refusal(loader, dropped(tmp_path, second))


async def test_a_file_and_its_plugin_must_agree_on_the_name(loader: Loader, tmp_path: Path) -> None:
    assert "must agree" in await refusal(loader, dropped(tmp_path, HELLO, name="greeter"))


async def test_a_get_door_on_a_function_that_changes_something_is_refused(loader: Loader, tmp_path: Path) -> None:
    message = await refusal(loader, dropped(tmp_path, HELLO.replace('effect="free"', 'effect="staged"')))
    assert "a GET changes nothing" in message


async def test_a_path_that_names_what_the_function_does_not_take_is_refused(loader: Loader, tmp_path: Path) -> None:
    message = await refusal(loader, dropped(tmp_path, HELLO.replace("{name}", "{nmae}")))
    assert "'nmae'" in message


async def test_forgetting_takes_all_modules_of_a_generation_away(loader: Loader, tmp_path: Path) -> None:
    module, _ = await loader.load(dropped(tmp_path, HELLO), timeout_s=5)
    assert module.__name__ in sys.modules
    loader.forget(module.__name__)
    assert module.__name__ not in sys.modules
