"""What greeter promises. Runs with pytest, and by itself: python -P test_greeter.py"""

import unittest
from pathlib import Path

from kernel import BadInput, Caller
from kernel.testing import PluginTest, Recording, TestClock, check_plugin, running_plugin

GREETER = Path(__file__).with_name("greeter.py")
ADA = Caller("user:ada", ("role:user",))


class TestGreeter(PluginTest):
    """Each test runs the plugin in a kernel of its own, with a home of its own, under the policy that ships."""

    async def test_it_greets_and_remembers(self) -> None:
        async with running_plugin(GREETER, settings={"word": "Hi"}) as kernel:
            ctx = kernel.context(ADA)
            assert await ctx.call("greeter.greet", "Grace") == "Hi, Grace!"
            assert await ctx.call("greeter.greet", "Grace") == "Hi again, Grace!"
            assert [(row["name"], row["times"]) for row in await ctx.call("greeter.met")] == [("Grace", 2)]

    async def test_an_empty_name_is_refused(self) -> None:
        async with running_plugin(GREETER) as kernel:
            with self.assertRaisesRegex(BadInput, "length >= 1"):
                await kernel.context(ADA).call("greeter.greet", "")

    async def test_who_arrives_is_greeted(self) -> None:
        async with running_plugin(GREETER) as kernel:
            with Recording(kernel.bus) as seen:
                await kernel.bus.publish("user.arrived", {"data": {"name": "Linus"}, "script": "door.aether"})
                assert (await seen.wait_for("greeter.greeted")).data == {"name": "Linus"}

    async def test_who_does_not_come_back_is_forgotten(self) -> None:
        clock = TestClock()  # it stands still until it is moved: no test waits a month
        async with running_plugin(GREETER, clock=clock) as kernel:
            await kernel.context(ADA).call("greeter.greet", "Grace")
            await clock.advance(31 * 86_400)
            assert await kernel.context(ADA).call("greeter.met") == []

    def test_it_is_a_good_plugin(self) -> None:
        report = check_plugin(GREETER)  # what `aether plugin check` says
        assert report.passed, str(report)


if __name__ == "__main__":
    unittest.main()
