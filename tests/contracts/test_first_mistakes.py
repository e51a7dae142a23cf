"""What everybody does wrong in the first ten minutes, and what is said then: where it is, and what to write instead."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from hub_process import hub_process
from warm_battery import check_plugin

from kernel import AetherraError, Caller
from kernel.testing import Recording, running_kernel

HEAD = 'from kernel import Context, Plugin\n\nbad = Plugin("bad", version="1.0.0")\n\n\n'
PLAIN = 'async def f(ctx: Context) -> str:\n    """F."""\n    return ""\n'


def with_(**options: str) -> str:
    given = "".join(f", {name}={value}" for name, value in options.items())
    return HEAD.replace('version="1.0.0"', f'version="1.0.0"{given}')


AT_LOAD = {
    "another name than the file's": (
        'from kernel import Plugin\n\ngreeter = Plugin("greeter", version="1.0.0")\n',
        "bad.py declares the plugin 'greeter'; its file and its name must agree: call the plugin 'bad', or the file "
        "greeter.py",
    ),
    "no plugin": (
        "x = 1\n",
        'bad.py declares 0 plugins; expected exactly one, at the top level of the module: bad = Plugin("bad", '
        'version="1.0.0")',
    ),
    "two plugins": (HEAD + 'other = Plugin("other", version="1.0.0")\n', "declares 2 plugins bad other; expected"),
    "a slip of syntax": (HEAD + "def f(:\n", "bad.py:6: SyntaxError: invalid syntax"),
    "a parameter without a type": (
        HEAD + '@bad.get("/api/bad/{name}")\nasync def f(ctx: Context, name):\n    """F."""\n',
        "bad.py:6: f: the parameter `name` needs a type, such as `name: str`",
    ),
    "a context by another name": (
        HEAD + '@bad.get("/api/bad")\nasync def f(context: Context) -> str:\n    """F."""\n',
        "bad.py:6: f: the context is the first parameter and is called `ctx`; here it is called `context`",
    ),
    "a context in another place": (
        HEAD + '@bad.get("/api/bad")\nasync def f(name: str, ctx: Context) -> str:\n    """F."""\n',
        "the context is the first parameter and is called `ctx`; here it is called `ctx`, and others come before it",
    ),
    "a task that is not async": (
        HEAD + '@bad.task("t")\ndef t(ctx: Context) -> None:\n    """T."""\n',
        "bad.py:6: the task 't' is no coroutine function: declare it with async def",
    ),
    "an unknown decorator": (
        HEAD + '@bad.gett("/api/bad")\n' + PLAIN,
        "bad.py:6: AttributeError: Plugin has no `gett`",
    ),
    "a route without a path": (
        HEAD + "@bad.get\n" + PLAIN,
        'bad.py:6: plugin bad: get has no name: it is written @p.get("/api/...") before the function',
    ),
    "a function without a name": (HEAD + "@bad.function\n" + PLAIN, 'it is written @p.function("name", effect="free")'),
    "a handler without a topic": (HEAD + "@bad.on\n" + PLAIN, 'on has no name: it is written @p.on("noun.verbed")'),
    "a task without a name": (HEAD + "@bad.task\n" + PLAIN, 'task has no name: it is written @p.task("name")'),
    "a verb without a name": (HEAD + "@bad.command\n" + PLAIN, 'command has no name: it is written @p.command("name")'),
    "a service without a name": (HEAD + "@bad.service\nclass S: ...\n", "service has no name"),
    "a health with parentheses": (
        HEAD + "@bad.health()\n" + PLAIN,
        "bad.py:6: TypeError: `health` is written without parentheses: @p.health",
    ),
    "a path without its slash": (
        HEAD + '@bad.get("api/bad")\n' + PLAIN,
        "bad.py:6: plugin bad: the path 'api/bad' is not of the form /a/{b}/c; did you mean '/api/bad'?",
    ),
    "a name in the path that is no parameter": (
        HEAD + '@bad.get("/api/bad/{nam}")\nasync def f(ctx: Context, name: str) -> str:\n    """F."""\n',
        "bad.py:6: plugin bad: /api/bad/{nam} names 'nam', which bad.f does not take; it takes name",
    ),
    "the same route twice": (
        HEAD + '@bad.get("/api/bad")\n@bad.get("/api/bad/")\n' + PLAIN,
        "bad declares the route GET /api/bad twice; once is enough",
    ),
    "a GET that writes": (
        HEAD + '@bad.get("/api/bad")\n@bad.function("f", effect="staged")\n' + PLAIN,
        "bad.py:6: plugin bad: GET /api/bad serves bad.f, which is staged; a GET changes nothing, so use POST",
    ),
    "a misspelt import": (
        "from kernel import Contxt, Plugin\n",
        "bad.py:1: ImportError: the kernel has no public name 'Contxt'; did you mean 'Context'?",
    ),
    "a library that is not there": (
        "import no_such_library\n",
        "No module named 'no_such_library'; install it where the hub runs",
    ),
    "a right that the policy does not give": (
        with_(capabilities='["event:emit:greeting.*"]'),
        'if it should, add "plugin:bad" = ["event:emit:greeting.*"] to [capabilities.allow] in default.toml',
    ),
    "a right that does not exist": (
        with_(capabilities='["memry:write"]'),
        "there is no right 'memry:write'; did you mean 'memory:write'?",
    ),
    "a service that nobody provides": (
        with_(requires='{"memroy": ""}'),
        "bad requires the service 'memroy', which no loaded plugin provides; did you mean 'memory'?",
    ),
    "a table of no namespace": (
        with_(migrations='["CREATE TABLE met (name TEXT)"]'),
        "Its tables are called bad__<name>",
    ),
    "a statement where a list belongs": (
        with_(migrations='"CREATE TABLE bad__met (name TEXT)"'),
        'a plugin that is one file lists its statements: migrations=["CREATE TABLE ..."]',
    ),
    "settings that are a plain class": (
        HEAD + "@bad.settings\nclass Settings:\n    x: int = 1\n",
        "settings is Settings; expected a msgspec.Struct: class Settings(msgspec.Struct, frozen=True)",
    ),
}


@pytest.mark.timeout(120)
async def test_a_mistake_that_hinders_the_load_is_told_with_its_place_and_its_remedy(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, bundled=None) as kernel:
        file = kernel.config.paths.plugins / "bad.py"
        for what, (source, words) in AT_LOAD.items():
            with Recording(kernel.bus, "module.*") as seen:
                (file.parent / ".new").write_text(source)
                (file.parent / ".new").rename(file)
                await seen.wait_until(lambda event: event.data["plugin"] == "bad")
                assert words in (kernel.modules.get("bad").reason or ""), what
                assert "<function" not in (kernel.modules.get("bad").reason or ""), what
                file.unlink()
            async with asyncio.timeout(5):
                while any(module.name == "bad" for module in kernel.modules.known()):
                    await asyncio.sleep(0.005)


CALLED = {
    "a misspelt service": (
        'await ctx.service("memroy").store("x")',
        "the service 'memroy' is not there: no loaded plugin provides it; did you mean 'memory'?",
    ),
    "a misspelt method": (
        'await ctx.service("memory").stor("x")',
        "service memory has no method `stor` that others may call; did you mean `store`?",
    ),
    "a misspelt function": (
        'await ctx.call("memory.remembr", "x")',
        "no plugin offers the function 'memory.remembr'; did you mean memory.remember?",
    ),
    "an event under another's name": (
        'await ctx.publish("other.happened", {})',
        "bad.* is its own and needs no right",
    ),
    "a write that is a statement": (
        'await ctx.store.write("DELETE FROM bad__met")',
        "a write takes a function of the transaction, such as lambda tx: tx.execute(sql, values); got 'DELETE FROM",
    ),
    "a metric that was not declared": (
        'ctx.metric("aetherra_bad_totl").inc()',
        "bad did not declare the metric 'aetherra_bad_totl'; did you mean 'aetherra_bad_total'?",
    ),
    "more than a function's class": (
        'await ctx.service("memory").store("x")',
        "a function declared read cannot do what is staged",
    ),
}


async def test_a_mistake_in_a_call_is_told_with_its_remedy(tmp_path: Path) -> None:
    source = HEAD + 'bad.counter("aetherra_bad_total", "What it counts")\n'
    for number, (what, (line, _)) in enumerate(CALLED.items()):
        effect = "read" if "class" in what else "irreversible"
        source += f'\n\n@bad.function("f{number}", effect="{effect}")\nasync def f{number}(ctx: Context) -> None:\n'
        source += f'    """Call."""\n    {line}\n'
    async with running_kernel(tmp_path, plugins={"bad": source}, bundled=["security", "memory"]) as kernel:
        for number, (what, (_, words)) in enumerate(CALLED.items()):
            with pytest.raises(AetherraError) as raised:
                await kernel.context(Caller("user:ada", ("role:user",))).call(f"bad.f{number}")
            assert words in raised.value.message, what


RUNNING = """

@bad.get("/api/bad/breaks")
async def breaks(ctx: Context) -> str:
    \"\"\"Break.\"\"\"
    return {}["nothing"]


@bad.post("/api/bad/forgets")
async def forgets(ctx: Context) -> None:
    \"\"\"Forget to await.\"\"\"
    ctx.publish("bad.happened", {})
"""


async def test_what_goes_wrong_in_a_running_hub_stands_at_the_plugin_and_in_the_log(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub, aiohttp.ClientSession(hub.url) as client:

        async def told(wanted: str) -> str:
            async with asyncio.timeout(10):
                while wanted not in (said := await (await client.get("/api/plugins/bad")).text()):
                    await asyncio.sleep(0.01)
            return said

        (hub.plugins / "bad.py").write_text(HEAD + "def f(:\n")
        assert json.loads(await told("SyntaxError"))["reason"] == "bad.py:6: SyntaxError: invalid syntax"
        (hub.plugins / "bad.py").write_text(HEAD + RUNNING)
        await told('"active"')
        broken = await client.get("/api/bad/breaks")
        assert broken.status == 500
        error_id = (await broken.json())["details"]["error_id"]
        assert (await client.post("/api/bad/forgets")).status == 200
        async with asyncio.timeout(10):
            while not any("never awaited" in line for line in hub.lines):
                await asyncio.sleep(0.01)
    lines = [json.loads(line) for line in hub.lines if line.startswith("{")]
    trace = next(line for line in lines if error_id in line["message"])
    assert "bad.py" in trace["exception"]
    assert "KeyError: 'nothing'" in trace["exception"]
    forgotten = next(line for line in lines if "never awaited" in line["message"])
    assert "Context.publish" in forgotten["message"]
    assert "bad.py:17" in forgotten["message"]
    refused = next(line for line in lines if "SyntaxError" in line["message"])
    assert (refused["level"], refused["message"]) == ("warning", "bad: bad.py:6: SyntaxError: invalid syntax")


@pytest.mark.parametrize(
    ("check", "source", "words"),
    [
        ("source", HEAD + "def f(:\n", "bad.py:6: SyntaxError: invalid syntax"),
        ("declaration", AT_LOAD["a task without a name"][0], "bad.py:6: plugin bad: task has no name"),
        ("declaration", AT_LOAD["a parameter without a type"][0], "bad.py:6: f: the parameter `name` needs a type"),
        (
            "awaits",
            HEAD + RUNNING.replace('{}["nothing"]', '""'),
            "bad.py:17: `ctx.publish('bad.happened', {})` is not",
        ),
    ],
)
def test_the_battery_says_it_in_the_same_words(tmp_path: Path, check: str, source: str, words: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    report = check_plugin(tmp_path / "bad.py")
    assert [finding.check for finding in report.failures] == [check], str(report)
    assert words in str(report)
