"""Plugins that are bad on purpose: each is caught by the check that is there for it, and by that one alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import warm_battery

from kernel.testing import CHECKS, Report, check_plugin

GOOD = '''
"""bad counts what it is told, and is as good as a plugin can be, until a test spoils it."""

import asyncio
import collections
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from kernel import BadInput, Context, Plugin, needs

bad = Plugin(
    "bad",
    version="1.0.0",
    description="Counts.",
    capabilities=["memory:read:own"],
    migrations=["CREATE TABLE bad__heard (word TEXT NOT NULL)"],
)

counts: dict[str, int] = {}


@bad.get("/api/bad/{word}")
@bad.function("count", effect="read")
async def count(ctx: Context, word: str) -> int:
    """Return how often a word was heard."""
    return counts.get(word, 0)


@bad.post("/api/bad/{word}")
@bad.function("hear", effect="staged")
async def hear(ctx: Context, word: str, times: int = 1) -> int:
    """Count a word."""
    await ctx.store.write(lambda tx: tx.execute("INSERT INTO bad__heard VALUES (?)", (word,)))
    counts[word] = counts.get(word, 0) + times
    await ctx.publish("bad.heard", {"word": word})
    return counts[word]


@bad.on("bad.heard")
async def heard(ctx: Context, word: str) -> None:
    """Note that a word was heard."""
    ctx.log.debug("heard %s", word)


@bad.get("/api/bad/words/all")
async def words(ctx: Context) -> AsyncIterator[str]:
    """Yield every word."""
    for word in list(counts):
        yield word


@bad.service("bad")
class Words:
    """The words."""

    @needs("memory:read")
    async def all(self, ctx: Context) -> list[str]:
        """Return the words."""
        return list(counts)


@bad.task("tidy")
async def tidy(ctx: Context) -> None:
    """Forget words that nobody said."""
    while True:
        await ctx.clock.sleep(30)
        for word in [w for w, n in counts.items() if n < 1]:
            del counts[word]


@bad.health
def health() -> str | None:
    """Return None: it always works."""
    return None


@bad.export_state
def export_state() -> dict[str, Any]:
    """Hand the counts over."""
    return {"counts": dict(counts)}


@bad.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Go on counting."""
    counts.update(state.get("counts", {}))
'''


def checked(tmp_path: Path, source: str, check: Callable[..., Report] = check_plugin, **options: object) -> Report:
    path = tmp_path / "bad.py"
    path.write_text(source)
    return check(path, **options)


def soon(tmp_path: Path, source: str, **options: object) -> Report:
    """Check it with halves that start at once; that they find what the battery finds is shown below."""
    return checked(tmp_path, source, warm_battery.check_plugin, **options)


def test_a_good_plugin_passes_every_check_without_a_warning(tmp_path: Path) -> None:
    report = checked(tmp_path, GOOD)
    assert (report.passed, list(report.warnings)) == (True, []), str(report)
    assert [finding.check for finding in report.findings] == list(CHECKS)


AT_IMPORT = {
    'open("/etc/hostname").read()': "opens a file (/etc/hostname)",
    'open("left", "w").write("x")': "opens a file (left)",
    "import socket; socket.socket().close()": "opens a socket",
    "import threading; threading.Thread(target=str, daemon=True).start()": "starts a thread",
    'import subprocess; subprocess.run(["true"])': "starts a process",
    "asyncio.new_event_loop().close()": "makes an event loop",
    'import os; os.environ["BAD"] = "1"': "changes the environment",
    "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "sets a signal handler",
    "import logging; logging.getLogger().addHandler(logging.NullHandler())": "adds or takes a logging handler",
    'logging.getLogger("asyncio").setLevel(10)': "sets the level of a logger",
    'import sys; sys.path.append("/somewhere")': "changes sys.path",
    "sys.meta_path.append(None)": "changes how Python imports",
    'sys.modules["bad_left"] = object()': "puts 'bad_left' into sys.modules",
    "sys.excepthook = print": "sets a hook of the process",
    'import sqlite3; sqlite3.connect(":memory:").close()': "opens a database (:memory:)",
    'print("hello")': "writes 'hello'",
    'os.chdir("/")': "changes the working directory",
    "os.umask(0)": "sets the umask",
    "import atexit; atexit.register(str)": "registers something for the end",
    "import builtins; builtins.hello = 1": "adds to Python's built-in names",
    'import warnings; warnings.simplefilter("ignore")': "changes the filters of warnings",
}
"""One line each, and how it is told."""


def test_all_that_a_plugin_does_at_import_is_told(tmp_path: Path) -> None:
    report = checked(tmp_path, GOOD + "\n\n" + "\n".join(AT_IMPORT) + "\n")
    assert {finding.check for finding in report.failures} == {"import"}, str(report)
    told = [str(finding) for finding in report.failures]
    assert [words for words in AT_IMPORT.values() if not any(words in one for one in told)] == []
    assert all(one.startswith("bad.py") for one in told)


@pytest.mark.parametrize(
    ("line", "words"),
    {
        "import socket; held = socket.socket(); held.close()": "bad.py:{line}: opens a socket; importing",
        "async def now(): pass\n\n\nasyncio.run(now())": "bad.py:{line}: makes an event loop",
        "raise SystemExit(1)": "",
        "import os; os._exit(7)": "ended its process with status 7",
        "raise KeyboardInterrupt": "",
    }.items(),
)
def test_a_single_deed_at_import_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    source = f"{GOOD}\n\n{line}\n"
    report = checked(tmp_path, source)
    assert {finding.check for finding in report.failures} == {"import"}, str(report)
    assert words.format(line=len(source.splitlines())) in str(report), str(report)


PAUSE = "    await asyncio.sleep(60)\n    return None\n"
LIFESPAN = '''

@bad.lifespan
async def life(ctx: Context) -> AsyncIterator[None]:
    """Open and close."""
    {opening}
    yield
'''
COUNTED = "    return counts.get(word, 0)\n"


class Bad(NamedTuple):
    """What spoils the good plugin: texts put in place of others, and text added; and what is said about it."""

    check: str
    says: tuple[str, ...]
    instead: Mapping[str, str] = {}
    added: str = ""

    def source(self) -> str:
        """Return the spoilt plugin."""
        source = GOOD
        for old, new in self.instead.items():
            assert old in source
            source = source.replace(old, new)
        return source + self.added


BAD = {
    "a slip of syntax": Bad("source", ("bad.py:", "SyntaxError"), {"def health() ->": "def health( ->"}),
    "an await outside of async": Bad("source", ("SyntaxError: 'await' outside",), {"async def hear(": "def hear("}),
    "imports beyond its own": Bad(
        "imports",
        (
            "bad.py:92: `hub.auth` belongs to the house",
            "bad.py:93: `plugins.memory` belongs to the house",
            "`kernel.errors` is private to the kernel",
            "no public name `Contxt`; did you mean `Context`?",
        ),
        added="""

def late() -> None:
    from hub.auth import x
    import plugins.memory
    from kernel.errors import BadInput
    from kernel import Contxt
""",
    ),
    "a logger of its generation": Bad(
        "logger",
        ("bad.py:92: `logging.getLogger(__name__)` makes another logger at each reload", "use ctx.log"),
        added="\n\nimport logging\nlog = logging.getLogger(__name__)\n",
    ),
    "calls of the hub that are not awaited": Bad(
        "awaits",
        (
            "`ctx.publish('bad.heard')` is not awaited, so it never happens",
            "`ctx.service('memory').store('x')` is not awaited",
            "`ctx.store.write(str)` is not awaited",
        ),
        added="""

async def late(ctx: Context) -> None:
    ctx.publish("bad.heard")
    ctx.service("memory").store("x")
    ctx.store.write(str)
    await ctx.clock.sleep(1)
    ctx.log.info("a call that needs none")
""",
    ),
    "another name than its file": Bad("declaration", ("'worse'", "bad.py"), {'    "bad",\n': '    "worse",\n'}),
    "a parameter without a type": Bad(
        "declaration", ("bad.py:", "the parameter `word` needs a type"), {"word: str, times": "word, times"}
    ),
    "a GET that says it changes something": Bad(
        "declaration", ("GET changes nothing",), {'"count", effect="read"': '"count", effect="staged"'}
    ),
    "a door without a description": Bad(
        "descriptions",
        ("bad.py:31: POST /api/bad/{word} has no docstring",),
        {'    """Count a word."""\n': ""},
    ),
    "a function without a class of effect": Bad(
        "effects", ("bad.hear does not say what it does to the world",), {'"hear", effect="staged"': '"hear"'}
    ),
    "a socket that fails at a message that fits": Bad(
        "arguments",
        ("WS /api/bad/talk called with", "raised KeyError: 'no such thing'", "bad.py:"),
        added='''

class Ask(msgspec.Struct, tag_field="type", tag="ask"):
    """Ask for a word."""

    word: str


@bad.socket("/api/bad/talk", effect="read")
async def talk(ctx: Context, socket: Socket[Ask | str, int]) -> None:
    """Say how often a word was heard."""
    async for message in socket:
        if isinstance(message, Ask):
            await socket.send(counts.get(message.word, 0))
        elif message == "no such thing":
            await socket.send(counts[message])
''',
        instead={"Plugin, needs": "Plugin, Socket, needs"},
    ),
    "claims on what others have": Bad(
        "claims",
        ("GET /health belongs to the hub itself", "two plugins claim the service memory: memory and bad"),
        {'@bad.get("/api/bad/words/all")': '@bad.get("/health")', '@bad.service("bad")': '@bad.service("memory")'},
    ),
    "rights that do not exist": Bad(
        "rights",
        ("did you mean 'memory:read'", "bad.all needs 'memory:look', which nobody can have"),
        {'"memory:read:own"': '"memry:read:own"', '@needs("memory:read")': '@needs("memory:look")'},
    ),
    "a table of another": Bad(
        "migrations", ("called bad__<name>",), {"CREATE TABLE bad__heard": "CREATE TABLE memory__heard"}
    ),
    "a migration that takes away": Bad(
        "migrations", ("DROP is none of",), {'(word TEXT NOT NULL)"': '(word TEXT NOT NULL)", "DROP TABLE bad__heard"'}
    ),
    "a service that is not there": Bad(
        "load",
        ("requires the service 'memroy', which no loaded plugin provides",),
        {'    description="Counts.",\n': '    requires={"memroy": ""},\n'},
    ),
    "a lifespan that fails": Bad("load", ("KeyError: 'here'",), added=LIFESPAN.format(opening='{}["here"]')),
    "a health that fails": Bad("health", ("KeyError",), {"    return None\n\n\n@bad.ex": "    {}['x']\n\n\n@bad.ex"}),
    "a health that hangs": Bad(
        "health",
        ("its health function did not answer within 5 s",),
        {"def health() -> str | None:": "async def health() -> str | None:", "    return None\n": PAUSE},
    ),
    "a task and a handler that die": Bad(
        "background",
        ("the task tidy died", "KeyError: 'gone'", "failed on module.loaded"),
        {"        for word in [w": '        {}["gone"]\n        for word in [w'},
        '\n\n@bad.on("module.loaded")\nasync def loaded(ctx: Context, plugin: int) -> None:\n    """Note it."""\n',
    ),
    "calls that break": Bad(
        "arguments",
        (
            "bad.count called with word='' raised ZeroDivisionError",
            "POST /api/bad called with",
            "raised IndexError",
            "takes `path` as Event, which no data can become",
        ),
        {COUNTED: "    return 1 // len(word)\n"},
        '''

class Times(msgspec.Struct):
    at: list[int]

    def __post_init__(self) -> None:
        self.at[0]


@bad.post("/api/bad")
async def hear_at(ctx: Context, times: Times) -> None:
    """Hear it."""


@bad.post("/api/bad/path")
async def hear_from(ctx: Context, path: asyncio.Event) -> None:
    """Hear it."""
''',
    ),
    "a result that is no data": Bad("arguments", ("TypeError",), {COUNTED: "    return object()\n"}),
    "reading doors that change something": Bad(
        "reads",
        ("bad.count is declared read", "publishes bad.asked", "GET /api/bad/words is a GET", "writes to its tables"),
        {COUNTED: '    await ctx.publish("bad.asked", {"word": word})\n    return 0\n'},
        '''

@bad.get("/api/bad/words")
async def written(ctx: Context, word: str) -> None:
    """Look."""
    await ctx.store.write(lambda tx: tx.execute("INSERT INTO bad__heard VALUES (?)", (word,)))
''',
    ),
    "state that is an object": Bad(
        "state",
        ("export_state gives a Counter at state['counts']",),
        {'return {"counts": dict(counts)}': 'return {"counts": collections.Counter(counts)}'},
    ),
    "state that is not taken up": Bad(
        "state",
        ("reload 1 changed what is exported",),
        {'counts.update(state.get("counts", {}))': 'counts["again"] = 1 + len(state.get("counts", {}))'},
    ),
    "state that only its own version can read": Bad(
        "state",
        ("refuses the same state from version 0.0.1",),
        {"    counts.update(": "    if version != bad.version:\n        raise ValueError(version)\n    counts.update("},
    ),
    "state that is handed over and dropped": Bad(
        "state", ("export_state is declared and import_state is not",), {"@bad.import_state\n": ""}
    ),
    "something that holds the old version": Bad(
        "reload",
        ("generation 1 stays in memory",),
        added=LIFESPAN.format(opening="__import__('atexit').register(count)"),
    ),
    "a task and a thread left behind": Bad(
        "unload",
        ("the asyncio task of wait still runs", "the thread 'left' is still there"),
        added=LIFESPAN.format(opening="leave()")
        + """

async def wait() -> None:
    await asyncio.Event().wait()


def leave() -> None:
    import threading
    threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()
    asyncio.get_running_loop().left = asyncio.create_task(wait())
""",
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_bad_plugin_is_caught_by_the_check_that_is_there_for_it(tmp_path: Path, bad: Bad) -> None:
    report = soon(tmp_path, bad.source(), reserved={"/health": "the hub itself"})
    assert {finding.check for finding in report.failures} == {bad.check}, str(report)
    assert [words for words in bad.says if words not in str(report)] == [], str(report)


@pytest.mark.parametrize("what", ["a slip of syntax", "a health that fails"])
def test_the_battery_finds_what_its_halves_find_when_they_start_at_once(tmp_path: Path, what: str) -> None:
    source, reserved = BAD[what].source() + "\n\nseen = set()\n", {"/health": "the hub itself"}
    report = checked(tmp_path, source, reserved=reserved)
    assert not report.passed
    assert report == soon(tmp_path, source, reserved=reserved)


def test_every_check_has_a_plugin_that_it_catches() -> None:
    assert {bad.check for bad in BAD.values()} | {"import"} == set(CHECKS)


# What it says besides ----------------------------------------------------------------------------------------------


def test_state_that_a_reload_would_lose_is_a_warning_with_its_name(tmp_path: Path) -> None:
    source = GOOD.replace("@bad.export_state\n", "").replace("@bad.import_state\n", "")
    report = soon(tmp_path, source + "\n\nseen = set()\nTABLE = {}\n")
    assert report.passed
    told = [str(warning) for warning in report.warnings]
    assert [one.split(" is kept")[0] for one in told] == ["`counts` (bad.py)", "`seen` (bad.py)"]


def test_a_state_that_grew_a_field_is_told_what_its_older_versions_lack(tmp_path: Path) -> None:
    report = soon(tmp_path, GOOD.replace('state.get("counts", {})', 'state["counts"]'))
    assert report.passed
    assert "read it with state.get('counts', ...)" in str(report.warnings[0])


def test_a_right_that_the_policy_does_not_give_is_a_warning_with_the_rule_to_add(tmp_path: Path) -> None:
    report = soon(tmp_path, GOOD.replace('"memory:read:own"', '"event:emit:greeting.*"'))
    assert report.passed, str(report)
    assert '"plugin:bad" = ["event:emit:greeting.*"]' in str(report.warnings[0])


def test_a_plugin_that_needs_another_is_checked_beside_it(tmp_path: Path) -> None:
    needing = tmp_path / "needing.py"
    needing.write_text(
        'from kernel import Plugin\n\nneeding = Plugin("needing", version="1.0.0", requires={"bad": ""})\n'
    )
    (tmp_path / "bad.py").write_text(GOOD)
    assert "can be loaded beside it" in str(check_plugin(needing))
    assert check_plugin(needing, beside=[tmp_path / "bad.py"]).passed


def test_a_plugin_that_imports_its_neighbour_by_path_is_told_to_be_a_package(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("WORDS = 1\n")
    line = f"\n\nimport sys; sys.path.insert(0, {str(tmp_path)!r}); import neighbour\n"
    report = checked(tmp_path, GOOD + line)
    assert "imports its neighbour neighbour.py as `neighbour`" in str(report)
    assert not report.passed


def test_what_is_no_plugin_at_all_fails_at_the_first_check(tmp_path: Path) -> None:
    report = check_plugin(tmp_path / "nothing.py")
    assert [finding.check for finding in report.failures] == ["source"]
    assert {f.verdict for f in report.findings if f.check != "source"} == {"skipped"}


def test_a_package_with_its_tests_inside_is_checked_without_them(tmp_path: Path) -> None:
    package = tmp_path / "bad"
    package.mkdir()
    (package / "__init__.py").write_text(GOOD)
    (package / "test_bad.py").write_text("from kernel.testing import check_plugin\n")
    assert check_plugin(package).passed
