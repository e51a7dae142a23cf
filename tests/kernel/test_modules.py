"""Reload: atomic, lossless, reversible; and every trap of it that was found by trying."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.capabilities import Caller
from kernel.errors import AetherraError, Conflict, LoadError, NotFound, ServiceUnavailable
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

ALICE = Caller("user:alice", ("role:user",))


def greeter(word: str = "Hello", more: str = "") -> str:
    return f"""
from kernel import Context, Plugin
hello = Plugin("hello", version="1.0.0")

@hello.get("/api/hello/{{name}}")
@hello.function("greet", effect="free")
async def greet(ctx: Context, name: str) -> str:
    return f"{word}, {{name}}!"
{more}
"""


async def call(kernel: Kernel, function: str, *args: Any, **kwargs: Any) -> Any:
    return await kernel.context(ALICE).call(function, *args, **kwargs)


def drop(kernel: Kernel, name: str, text: str) -> None:
    """Save as careful editors do: beside, then renamed over."""
    folder = kernel.config.paths.plugins
    beside = folder / f".{name}.new"
    beside.write_text(text)
    beside.rename(folder / f"{name}.py")


@pytest.fixture
async def kernel(tmp_path: Path):
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL}) as running:
        yield running


async def test_a_dropped_file_is_served_and_an_edit_replaces_it(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"
        drop(kernel, "hello", greeter("Hi"))
        await seen.wait_for("module.reloaded")
    assert await call(kernel, "hello.greet", "Ada") == "Hi, Ada!"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("def broken(:", "SyntaxError"),
        ("import no_such_thing", "ModuleNotFoundError"),
        ("raise RuntimeError('at import')", "at import"),
        ("raise SystemExit(1)", "SystemExit"),
        ("@hello.lifespan\nasync def open_up(ctx: Context):\n    raise RuntimeError('no disk')\n    yield", "no disk"),
        ("@hello.health\ndef sick():\n    return 'out of tea'", "out of tea"),
        (
            "@hello.get('/api/hello/{name}')\nasync def again(ctx: Context, name: str) -> str: return ''",
            "hello declares the route GET /api/hello/{name} twice",
        ),
    ],
)
async def test_a_broken_edit_leaves_the_old_version_serving_and_says_why(
    kernel: Kernel, broken: str, reason: str
) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        drop(kernel, "hello", greeter("Never", broken))
        failed = await seen.wait_for("module.reload_failed")
        assert reason in failed.data["error"]
        assert failed.data["serving"] == 1
        assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"
        assert reason in (kernel.modules.get("hello").reason or "")
        drop(kernel, "hello", greeter("Back"))
        await seen.wait_for("module.reloaded")
    assert kernel.modules.get("hello").reason is None


async def test_a_set_up_that_hangs_is_given_up(tmp_path: Path) -> None:
    hanging = (
        "import asyncio\n@hello.lifespan\nasync def stuck(ctx: Context):\n    await asyncio.Event().wait()\n    yield"
    )
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter(more=hanging)}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.open_s": 0.1}) as kernel:
        assert "its lifespan did not reach its yield within 0.1 s" in (kernel.modules.get("hello").reason or "")
        assert kernel.state == "ready"


async def test_two_plugins_that_claim_one_route_the_second_is_refused_and_both_are_named(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        drop(kernel, "rival", greeter().replace('hello = Plugin("hello"', 'rival = hello = Plugin("rival"'))
        failed = await seen.wait_for("module.reload_failed")
    assert "hello and rival" in failed.data["error"]
    assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


async def test_a_removed_file_is_taken_out_of_service(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        (kernel.config.paths.plugins / "hello.py").unlink()
        await seen.wait_for("module.unloaded")
    with pytest.raises(NotFound):
        await call(kernel, "hello.greet", "Ada")


async def test_state_is_carried_over_with_the_old_version(kernel: Kernel) -> None:
    counting = """
count = 0
came_from = ""

@hello.function("next", effect="free")
async def next_number(ctx: Context) -> str:
    global count
    count += 1
    return f"{count} {came_from}"

@hello.export_state
def export() -> dict:
    return {"count": count}

@hello.import_state
def take_over(version: str, state: dict) -> None:
    global count, came_from
    count, came_from = state["count"], version
"""
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=counting))
        await seen.wait_for("module.loaded")
        assert await call(kernel, "hello.next") == "1 "
        drop(kernel, "hello", greeter("Hi", counting).replace("1.0.0", "1.1.0"))
        await seen.wait_for("module.reloaded")
    assert await call(kernel, "hello.next") == "2 1.0.0"


async def test_state_that_cannot_be_taken_over_leaves_the_old_version_serving(kernel: Kernel) -> None:
    carrying = "@hello.export_state\ndef export() -> dict:\n    return {}\n"
    refusing = (
        carrying
        + "@hello.import_state\ndef take(version: str, state: dict) -> None:\n    raise ValueError('too old')\n"
    )
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=carrying))
        await seen.wait_for("module.loaded")
        drop(kernel, "hello", greeter("Never", refusing))
        failed = await seen.wait_for("module.reload_failed")
    assert "too old" in failed.data["error"]
    assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


WAITING = """
import asyncio
entered, release = asyncio.Event(), asyncio.Event()

@hello.function("wait", effect="free")
async def wait(ctx: Context) -> str:
    entered.set()
    await release.wait()
    return "done by {word}"

@hello.function("enter", effect="free")
async def enter(ctx: Context) -> None:
    await entered.wait()

@hello.function("release", effect="free")
async def let_go(ctx: Context) -> None:
    release.set()
"""


async def test_a_call_in_flight_finishes_on_the_generation_it_began_on(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=WAITING.replace("{word}", "one")))
        await seen.wait_for("module.loaded")
        old = kernel.modules.get("hello").generation
        waiting = asyncio.create_task(call(kernel, "hello.wait"))
        await call(kernel, "hello.enter")
        drop(kernel, "hello", greeter("Hi", WAITING.replace("{word}", "two")))
        await seen.wait_for("module.reloaded")
        assert await call(kernel, "hello.greet", "Ada") == "Hi, Ada!"
        assert not waiting.done()
        assert old is not None
        assert old.stage == "draining"
        old.module.release.set()
        assert await waiting == "done by one"


async def test_a_call_that_outlives_the_drain_is_cut_with_a_code(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter(more=WAITING)}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.drain_s": 0.05}) as kernel:
        waiting = asyncio.create_task(call(kernel, "hello.wait"))
        await call(kernel, "hello.enter")
        await kernel.modules.reload("hello")
        with pytest.raises(AetherraError) as caught:
            await waiting
        assert caught.value.code == "GENERATION_ENDED"


async def by_script(kernel: Kernel) -> Any:
    return await call(kernel, "hello.greet", "Ada")


async def by_route(kernel: Kernel) -> Any:
    route = next(owned for owned in kernel.table.routes if owned.item.path == "/api/hello/{name}")
    return await kernel.serve(route, kernel.context(ALICE), {"name": "Ada"})


async def by_service(kernel: Kernel) -> Any:
    return await kernel.context(ALICE).service("greeter").greet("Ada")


@pytest.mark.parametrize("door", [by_script, by_route, by_service])
async def test_while_state_is_handed_over_calls_wait_and_then_enter_the_new_generation(
    tmp_path: Path, door: Callable[[Kernel], Awaitable[Any]]
) -> None:
    carrying = WAITING + "@hello.export_state\ndef export() -> int:\n    return 0\n"
    carrying += "@hello.import_state\ndef take(version: str, state: int) -> None: ...\n"
    carrying += """
from kernel import needs

@hello.service("greeter")
class Greeter:
    @needs("plugin:read")
    async def greet(self, ctx: Context, name: str) -> str:
        return await greet(ctx, name)
"""
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter("Old", carrying)}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.pause_ms": 60_000}) as kernel:
        assert await door(kernel) == "Old, Ada!"
        old = kernel.modules.get("hello").generation
        assert old is not None
        inside = asyncio.create_task(call(kernel, "hello.wait"))
        await call(kernel, "hello.enter")
        drop(kernel, "hello", greeter("New", carrying))
        while old.paused is None:
            await asyncio.sleep(0)
        queued = asyncio.ensure_future(door(kernel))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not queued.done()
        old.module.release.set()
        assert await queued == "New, Ada!"
        assert await inside == "done by {word}"


OTHER = """
from kernel import Context, Plugin
other = Plugin("other", version="1.0.0")

@other.function("back", effect="free")
async def back(ctx: Context) -> str:
    return await ctx.call("hello.greet", "you")
"""


async def test_a_call_that_comes_back_through_another_plugin_is_let_in_while_state_is_handed_over(
    tmp_path: Path,
) -> None:
    roundabout = """
import asyncio
entered, release = asyncio.Event(), asyncio.Event()

@hello.function("round", effect="free")
async def go_round(ctx: Context) -> str:
    entered.set()
    await release.wait()
    return await ctx.call("other.back")

@hello.export_state
def export() -> int:
    return 0

@hello.import_state
def take(version: str, state: int) -> None: ...
"""
    plugins = {"allow_all": ALLOW_ALL, "other": OTHER, "hello": greeter("Old", roundabout)}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.pause_ms": 60_000}) as kernel:
        old = kernel.modules.get("hello").generation
        assert old is not None
        inside = asyncio.create_task(call(kernel, "hello.round"))
        await old.module.entered.wait()
        drop(kernel, "hello", greeter("New", roundabout))
        while old.paused is None:
            await asyncio.sleep(0)
        old.module.release.set()
        # Otherwise it would wait for a hand-over that waits for it, here for a minute.
        async with asyncio.timeout(5):
            assert await inside == "Old, you!"
            while await call(kernel, "hello.greet", "Ada") != "New, Ada!":
                await asyncio.sleep(0)


async def test_a_call_that_never_ends_holds_a_hand_over_up_for_its_bound_only(tmp_path: Path) -> None:
    carrying = WAITING + "@hello.export_state\ndef export() -> int:\n    return 0\n"
    carrying += "@hello.import_state\ndef take(version: str, state: int) -> None: ...\n"
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter("Old", carrying)}
    clock = TestClock()
    async with running_kernel(tmp_path, plugins=plugins, clock=clock) as kernel:
        inside = asyncio.create_task(call(kernel, "hello.wait"))
        await call(kernel, "hello.enter")
        reloading = asyncio.create_task(kernel.modules.reload("hello"))
        old = kernel.modules.get("hello").generation
        assert old is not None
        while old.paused is None:
            await asyncio.sleep(0)
        queued = asyncio.create_task(call(kernel, "hello.greet", "Ada"))
        await clock.advance(0.9)
        assert not queued.done()
        await clock.advance(0.2)
        await reloading
        assert await queued == "Old, Ada!"
        assert kernel.modules.get("hello").generation is not old
        await clock.advance(10)
        with pytest.raises(AetherraError, match="was replaced"):
            await inside


async def test_the_old_decider_decides_until_the_new_one_is_there(kernel: Kernel) -> None:
    slow = (
        ALLOW_ALL
        + """
import asyncio
from kernel import Context

@allow_all.lifespan
async def slow(ctx: Context):
    await ctx.publish("allow_all.opening")
    await asyncio.sleep(0.2)
    yield
"""
    )
    with Recording(kernel.bus) as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        drop(kernel, "allow_all", slow)
        await seen.wait_for("allow_all.opening")
        while not seen.of("module.reloaded"):
            assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"
            await asyncio.sleep(0.01)
    assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


async def test_the_old_task_ends_before_the_new_one_begins(kernel: Kernel) -> None:
    ticking = """
import asyncio
@hello.task("tick")
async def tick(ctx: Context) -> None:
    await ctx.publish("hello.began", {"word": "%s"})
    try:
        await asyncio.Event().wait()
    finally:
        await ctx.publish("hello.ended", {"word": "%s"})
"""
    with Recording(kernel.bus, "hello.*") as seen:
        drop(kernel, "hello", greeter(more=ticking % ("one", "one")))
        await seen.wait_for("hello.began")
        drop(kernel, "hello", greeter(more=ticking % ("two", "two")))
        await seen.wait_for("hello.began", 2)
        assert [(e.topic, e.data["word"]) for e in seen.events] == [
            ("hello.began", "one"),
            ("hello.ended", "one"),
            ("hello.began", "two"),
        ]


LISTENING = """
from typing import Any
@hello.on("user.*")
async def heard(ctx: Context, data: Any) -> None:
    await ctx.publish("hello.heard", {"n": data["n"], "by": "%s"})
"""


async def test_no_event_is_lost_across_reloads(kernel: Kernel) -> None:
    with Recording(kernel.bus, "hello.heard") as heard, Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=LISTENING % 0))
        await seen.wait_for("module.loaded")
        sent = 0
        for version in range(1, 6):
            drop(kernel, "hello", greeter(more=LISTENING % version))
            while len(seen.of("module.reloaded")) < version:
                await kernel.bus.publish("user.spoke", {"n": sent})
                sent += 1
                await asyncio.sleep(0.001)
        await heard.wait_for("hello.heard", sent)
        assert [e.data["n"] for e in heard.events] == list(range(sent))
        assert len({e.data["by"] for e in heard.events}) > 1


async def test_a_retired_generation_leaves_memory(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=LISTENING % 0))
        await seen.wait_for("module.loaded")
        for word in ("One", "Two", "Three"):
            drop(kernel, "hello", greeter(word, LISTENING % word))
            await seen.wait_for("module.reloaded", {"One": 1, "Two": 2, "Three": 3}[word])
            assert await call(kernel, "hello.greet", "Ada") == f"{word}, Ada!"
        await kernel.modules.settled()
    assert kernel.modules.counts().leaked == 0


async def test_a_generation_that_something_still_holds_is_told_of(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        generation = kernel.modules.get("hello").generation
        assert generation is not None
        held = generation.module
        drop(kernel, "hello", greeter("Hi"))
        del generation
        leaked = await seen.wait_for("module.leaked")
        assert leaked.data["plugin"] == "hello"
        assert held is not None


async def test_a_rollback_token_takes_the_plugin_back_and_the_next_edit_wins(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter("One"))
        await seen.wait_for("module.loaded")
        drop(kernel, "hello", greeter("Two"))
        switched = await seen.wait_for("module.reloaded")
        await kernel.modules.roll_back(switched.data["token"])
        assert await call(kernel, "hello.greet", "Ada") == "One, Ada!"
        drop(kernel, "hello", greeter("Three"))
        await seen.wait_for("module.reloaded", 2)
    assert await call(kernel, "hello.greet", "Ada") == "Three, Ada!"
    assert kernel.modules.counts().rollback == 1


async def test_a_rollback_before_the_first_load_or_with_an_unknown_token_is_refused(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter("One"))
        loaded = await seen.wait_for("module.loaded")
    with pytest.raises(Conflict, match="first load"):
        await kernel.modules.roll_back(loaded.data["token"])
    with pytest.raises(NotFound, match="no rollback token"):
        await kernel.modules.roll_back("hmr-1999-01-01-001")


async def test_a_plugin_can_reload_itself(kernel: Kernel) -> None:
    itself = """
from typing import Any
@hello.function("again", effect="irreversible")
async def again(ctx: Context) -> int:
    return (await ctx.service("modules").reload("hello"))["generation"]
"""
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=itself))
        await seen.wait_for("module.loaded")
        async with asyncio.timeout(5):
            assert await call(kernel, "hello.again") == 2


async def test_the_plugin_that_decides_can_be_reloaded(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        drop(kernel, "allow_all", ALLOW_ALL + "\n# edited\n")
        await seen.wait_for("module.reloaded")
    assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


async def test_without_a_decider_the_answer_is_no(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, plugins={"hello": greeter()}) as kernel:
        with pytest.raises(AetherraError) as caught:
            await call(kernel, "hello.greet", "Ada")
        assert caught.value.code == "CAPABILITY_DENIED"
        assert "nothing decides" in caught.value.message


PROVIDER = """
from kernel import Context, Plugin, needs
shop = Plugin("shop", version="1.2.0")

@shop.service("shop")
class Shop:
    @needs("plugin:read")
    async def price(self, ctx: Context, item: str) -> int:
        return len(item)
"""
CONSUMER = """
from typing import Protocol
from kernel import Context, Plugin
buyer = Plugin("buyer", version="1.0.0", requires={"shop": ">=1.0"})

@buyer.uses("shop")
class Shop(Protocol):
    async def price(self, item: str) -> int: ...

@buyer.function("buy", effect="free")
async def buy(ctx: Context, item: str) -> int:
    return await ctx.service("shop", Shop).price(item)
"""


async def test_a_plugin_waits_for_what_it_requires_and_loads_when_it_comes(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "buyer", CONSUMER)
        waiting = await seen.wait_for("module.waiting")
        assert "'shop', which no loaded plugin provides" in waiting.data["reason"]
        drop(kernel, "shop", PROVIDER)
        await seen.wait_for("module.loaded", 2)
    assert await call(kernel, "buyer.buy", "tea") == 3


async def test_what_is_required_loads_first_at_the_start(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "buyer": CONSUMER, "shop": PROVIDER}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        assert await call(kernel, "buyer.buy", "tea") == 3


async def test_a_version_out_of_range_is_waited_for_with_the_reason(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "buyer": CONSUMER.replace(">=1.0", ">=2"), "shop": PROVIDER}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        assert kernel.modules.get("buyer").reason == "buyer requires shop >=2; shop is 1.2.0"


async def test_a_provider_that_no_longer_fits_its_consumer_is_refused(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "buyer": CONSUMER, "shop": PROVIDER}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        with Recording(kernel.bus, "module.*") as seen:
            drop(kernel, "shop", PROVIDER.replace("item: str", "thing: str").replace("len(item)", "len(thing)"))
            failed = await seen.wait_for("module.reload_failed")
        assert "no parameter `item`" in failed.data["error"]
        assert await call(kernel, "buyer.buy", "tea") == 3


async def test_a_service_that_goes_away_is_a_clear_error_and_comes_back_with_its_provider(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "buyer": CONSUMER, "shop": PROVIDER}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        await kernel.modules.unload("shop")
        with pytest.raises(ServiceUnavailable, match="'shop'"):
            await call(kernel, "buyer.buy", "tea")
        await kernel.modules.reload("shop")
        assert await call(kernel, "buyer.buy", "tea") == 3


async def test_a_folder_nobody_trusts_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from kernel.testing import kernel_config

    config = kernel_config(tmp_path, plugins={"hello": greeter()})
    import msgspec

    config.paths = msgspec.structs.replace(config.paths, trusted=())
    kernel = Kernel(config)
    await kernel.start()
    try:
        module = kernel.modules.get("hello")
        assert module.status == "refused"
        assert "--trust-plugins" in (module.reason or "")
    finally:
        await kernel.stop()


async def test_what_editors_leave_behind_is_not_loaded(kernel: Kernel) -> None:
    folder = kernel.config.paths.plugins
    for noise in (".hello.py.swp", "hello.py~", "#hello.py#", ".#hello.py", "hello.py.bak", "notes.txt"):
        (folder / noise).write_text(greeter())
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter())
        await seen.wait_for("module.loaded")
        assert [e.data["plugin"] for e in seen.events] == ["hello"]


async def test_an_edit_that_comes_during_a_reload_waits_and_the_last_one_wins(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter("0"))
        await seen.wait_for("module.loaded")
        for number in range(1, 21):
            drop(kernel, "hello", greeter(str(number)))
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while await call(kernel, "hello.greet", "Ada") != "20, Ada!":
                await asyncio.sleep(0.005)


async def test_a_logger_is_not_left_behind_by_a_reload(kernel: Kernel) -> None:
    logging_plugin = "@hello.lifespan\nasync def open_up(ctx: Context):\n    ctx.log.debug('opened')\n    yield"
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "hello", greeter(more=logging_plugin))
        await seen.wait_for("module.loaded")
        drop(kernel, "hello", greeter("Hi", logging_plugin))
        await seen.wait_for("module.reloaded")
    assert not [name for name in logging.Logger.manager.loggerDict if "@" in name]


BLOCKS = """
import asyncio
from typing import Any

@hello.on("#", limit=1, when_full="block")
async def never(ctx: Context, data: Any) -> None:
    await asyncio.Event().wait()
"""


async def test_a_subscriber_that_blocks_and_never_reads_holds_up_no_reload_and_no_stop(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter(more=BLOCKS)}
    overrides = {"limits.drain_s": 0.1}
    async with asyncio.timeout(20):
        async with running_kernel(tmp_path, plugins=plugins, overrides=overrides) as kernel:
            with Recording(kernel.bus, "module.*") as seen:
                # More than its reader and its queue can take: whoever published the next one would wait for ever.
                for number in range(1, 4):
                    drop(kernel, f"other{number}", OTHER.replace("other", f"other{number}"))
                    await seen.wait_for("module.loaded", number)
                for word in ("One", "Two"):
                    drop(kernel, "hello", greeter(word, BLOCKS))
                    await seen.wait_for("module.reloaded", 1 if word == "One" else 2)
            assert await call(kernel, "other1.back") == "Two, you!"


FAILS = """
from typing import Any

@hello.on("user.spoke", when_full="block", limit=1)
@hello.on("plugin.error", when_full="block", limit=1)
async def fails(ctx: Context, data: Any) -> None:
    raise RuntimeError("always")
"""


async def test_a_handler_that_hears_its_own_errors_does_not_wait_for_itself(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "hello": greeter(more=FAILS)}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        with Recording(kernel.bus, "plugin.error") as seen:
            async with asyncio.timeout(5):
                for _ in range(5):
                    await kernel.bus.publish("user.spoke", {})
                await seen.wait_for("plugin.error", 5)


async def test_a_capability_that_the_policy_gives_later_lets_the_plugin_in(tmp_path: Path) -> None:
    switch = tmp_path / "allowed"
    denying = ALLOW_ALL.replace(
        'Decision(True, "everything is allowed in this test", effect="free")',
        'Decision(not capability.startswith("net:") or SWITCH.exists(), "by the switch", effect="free")',
    )
    denying = f"from pathlib import Path\nSWITCH = Path({str(switch)!r})\n{denying}"
    wanting = greeter().replace('version="1.0.0"', 'version="1.0.0", capabilities=["net:http"]')
    async with running_kernel(tmp_path, plugins={"allow_all": denying, "hello": wanting}) as kernel:
        assert kernel.modules.get("hello").status == "failed"
        switch.touch()
        await kernel.bus.publish("policy.loaded", {})
        assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


async def test_a_plugin_that_loses_a_right_it_asked_for_is_stopped_until_it_has_it_again(tmp_path: Path) -> None:
    switch = tmp_path / "allowed"
    switch.touch()
    deciding = ALLOW_ALL.replace(
        'Decision(True, "everything is allowed in this test", effect="free")',
        'Decision(not capability.startswith("net:") or SWITCH.exists(), "by the switch", effect="free")',
    )
    deciding = f"from pathlib import Path\nSWITCH = Path({str(switch)!r})\n{deciding}"
    wanting = greeter().replace('version="1.0.0"', 'version="1.0.0", capabilities=["net:http"]')
    other = greeter().replace('"hello"', '"other"').replace("/api/hello/", "/api/other/")
    async with running_kernel(tmp_path, plugins={"allow_all": deciding, "hello": wanting, "other": other}) as kernel:
        assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"
        switch.unlink()
        for _ in range(2):
            await kernel.bus.publish("policy.loaded", {})
            with pytest.raises(NotFound):
                await call(kernel, "hello.greet", "Ada")
            assert "hello asks for net:http, which the policy does not give it" in (
                kernel.modules.get("hello").reason or ""
            )
        assert await call(kernel, "other.greet", "Ada") == "Hello, Ada!"
        switch.touch()
        await kernel.bus.publish("policy.loaded", {})
        assert await call(kernel, "hello.greet", "Ada") == "Hello, Ada!"


async def test_a_capability_that_the_policy_does_not_give_refuses_the_plugin(tmp_path: Path) -> None:
    denying = ALLOW_ALL.replace(
        'Decision(True, "everything is allowed in this test", effect="free")',
        'Decision(not capability.startswith("net:"), "no network here")',
    )
    wanting = greeter().replace('version="1.0.0"', 'version="1.0.0", capabilities=["net:http:example.org"]')
    async with running_kernel(tmp_path, plugins={"allow_all": denying, "hello": wanting}) as kernel:
        assert "asks for net:http:example.org" in (kernel.modules.get("hello").reason or "")
        with pytest.raises(LoadError, match="no network here"):
            await kernel.modules.reload("hello")
