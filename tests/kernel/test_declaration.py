"""What cannot work is refused while it is staged: nothing of it is switched, and the hub comes up and goes on."""

from pathlib import Path

from kernel.capabilities import Caller
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, kernel_config, running_kernel

CALLER = Caller("user:alice", ("role:user",))

HEAD = """
import asyncio, sys
import msgspec
from kernel import Context, Plugin, hookimpl, needs
bad = Plugin("bad", version="1.0.0")
"""
GOOD = HEAD + '@bad.function("word", effect="free")\nasync def word(ctx: Context) -> str:\n    return "good"\n'

WRONG = {
    "a hook that gives no list": ("@hookimpl\ndef routes():\n    return 5\n", "the hook routes gave 5"),
    "a hook whose list holds something else": (
        "@hookimpl\ndef tasks():\n    return ['x']\n",
        "the hook tasks gave 'x' in its list; expected a Task",
    ),
    "a pattern that is none": ("@bad.on('a..b')\nasync def f(ctx: Context) -> None: ...\n", "bad.f: a topic pattern"),
    "a queue without room": (
        "@bad.on('a.b', limit=0)\nasync def f(ctx: Context) -> None: ...\n",
        "limit is a number of events from 1, got 0",
    ),
    "a policy for full queues that is none": (
        "@bad.on('a.b', when_full='explode')\nasync def f(ctx: Context) -> None: ...\n",
        "got 'explode'",
    ),
    "two handlers of one name on one pattern": (
        "for _ in range(2):\n    @bad.on('a.b')\n    async def f(ctx: Context) -> None: ...\n",
        "the subscription 'bad.f on a.b' is declared 2 times",
    ),
    "two tasks of one name": (
        "for _ in range(2):\n    @bad.task('x')\n    async def f(ctx: Context) -> None: ...\n",
        "the task 'x' is declared 2 times",
    ),
    "a task without a context": ("@bad.task('x')\nasync def f() -> None: ...\n", "f is called with (ctx)"),
    "a task that is not async": ("@bad.task('x')\ndef f(ctx) -> None: ...\n", "no coroutine function"),
    "a task with a rule that is none": (
        "@bad.task('x', restart='sometimes')\nasync def f(ctx: Context) -> None: ...\n",
        "got 'sometimes'",
    ),
    "an export that wants something": ("@bad.export_state\ndef f(a): ...\n", "export_state: f is called with ()"),
    "an import that takes too little": (
        "@bad.import_state\ndef f(state): ...\n",
        "import_state: f is called with (version, state)",
    ),
    "a decider that takes too little": (
        "@bad.decider\ndef f(chain): ...\n",
        "decider: f is called with (chain, capability)",
    ),
    "a trust that takes too much": ("@bad.trusts\ndef f(a, b): ...\n", "trusts: f is called with (folder)"),
    "a health that takes too much": ("@bad.health\ndef f(a, b): ...\n", "health: f is called with (ctx)"),
    "a lifespan without a context": ("@bad.lifespan\nasync def f():\n    yield\n", "lifespan: f is called with (ctx)"),
    "settings that are no Struct": ("@bad.settings\nclass S: ...\n", "expected a msgspec.Struct"),
    "capabilities that are no texts": ("bad.capabilities = (5,)\n", "capabilities holds 5"),
    "requirements that are no map": ("bad.requires = ['kernel']\n", "requires is ['kernel']"),
    "a range that is none": ("bad.requires = {'kernel': 'new'}\n", "version range 'new'"),
    "a migration that is no SQL": ("bad.migrations = ['CREATE TABEL bad__x (y);']\n", "OperationalError"),
    "a metric with a wrong name": ("bad.counter('x y', 'h')\n", "got 'x y'"),
    "a path of the hub's own": (
        "@bad.get('/mine/{x}')\nasync def f(x: str) -> str: return x\n",
        "/mine/{x}, a path that belongs to the test",
    ),
    "a deadline that is none": ("bad.get('/x', deadline_s=0)\n", "deadline_s is above 0"),
    "an error that is none of the house's": (
        "bad.get('/x', raises=(ValueError,))\n",
        "raises=<class 'ValueError'> is no error of the house",
    ),
    "a function that is undone and not compensable": (
        "@bad.function('f', undo='g')\nasync def f(ctx: Context) -> int: return 1\n",
        "its effect is 'compensable'",
    ),
    "a function that is undone by none": (
        "@bad.function('f', effect='compensable', undo='g')\nasync def f(ctx: Context) -> int: return 1\n",
        "which it does not offer",
    ),
    "a null byte": ("\0", "null bytes"),
    "an exit in its set-up": (
        "@bad.lifespan\nasync def f(ctx: Context):\n    sys.exit(3)\n    yield\n",
        "SystemExit",
    ),
    "a cancellation in its set-up": (
        "@bad.lifespan\nasync def f(ctx: Context):\n    raise asyncio.CancelledError\n    yield\n",
        "CancelledError",
    ),
    "a set-up that ends without a yield": (
        "@bad.lifespan\nasync def f(ctx: Context):\n    if False: yield\n",
        "without a yield",
    ),
    "a provider that cannot be made": (
        "@bad.service('s')\nclass S:\n    def __init__(self): raise SystemExit\n"
        "    @needs('plugin:read')\n    async def f(self, ctx: Context) -> int: return 1\n",
        "SystemExit",
    ),
}


async def test_an_edit_that_cannot_work_leaves_the_version_before_it_serving(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "bad": GOOD}) as kernel:
        kernel.reserved["/mine/{}"] = "the test"
        beside, path = (kernel.config.paths.plugins / name for name in (".bad.new", "bad.py"))
        for what, (source, reason) in WRONG.items():
            with Recording(kernel.bus, "module.reload_failed") as seen:
                beside.write_text(HEAD + source)
                beside.rename(path)
                failed = await seen.wait_for("module.reload_failed")
            assert reason in failed.data["error"], what
            assert failed.data["serving"] == 1, what
            assert await kernel.context(CALLER).call("bad.word") == "good", what
            module = kernel.modules.get("bad")
            assert (module.status, reason in (module.reason or "")) == ("active", True), what


async def test_plugins_that_cannot_work_do_not_keep_the_hub_from_coming_up(tmp_path: Path) -> None:
    names = {what: f"bad{number}" for number, what in enumerate(WRONG)}
    plugins = {"allow_all": ALLOW_ALL}
    for what, name in names.items():
        plugins[name] = (HEAD + WRONG[what][0]).replace('Plugin("bad"', f'Plugin("{name}"')
    kernel = Kernel(kernel_config(tmp_path, plugins=plugins))
    kernel.reserved["/mine/{}"] = "the test"
    await kernel.start()
    try:
        assert kernel.state == "ready"
        for what, name in names.items():
            module = kernel.modules.get(name)
            assert (module.status, module.generation) == ("failed", None), what
            assert WRONG[what][1].replace("bad.f", f"{name}.f") in (module.reason or ""), (what, module.reason)
        assert [task for task in kernel.supervisor.stats().tasks if task.owner != "kernel"] == []
        assert kernel.bus.subscriptions() == []
    finally:
        await kernel.stop()
