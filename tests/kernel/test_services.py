"""Handles: only data crosses a plugin's border, and every call is asked for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from kernel.capabilities import Caller
from kernel.errors import BadInput, ContractError, Denied, ServiceUnavailable
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, running_kernel

SHOP = """
import msgspec
from collections.abc import AsyncIterator
from kernel import Context, Plugin, needs

class Tea(msgspec.Struct):
    name: str
    grams: int = 50

shop = Plugin("shop", version="1.0.0")

@shop.service("shop")
class Shop:
    @needs("plugin:read")
    async def tea(self, ctx: Context, name: str, grams: int = 50) -> Tea:
        return Tea(name, grams)

    @needs("plugin:read")
    async def weigh(self, ctx: Context, tea: Tea) -> int:
        assert type(tea) is Tea
        return tea.grams

    @needs("plugin:read")
    async def all(self, ctx: Context) -> AsyncIterator[Tea]:
        for name in ("green", "black"):
            yield Tea(name)

    @needs("plugin:read")
    async def chain(self, ctx: Context) -> str:
        return str(ctx.chain)

    @needs("memory:write")
    async def keep(self, ctx: Context) -> None: ...

    async def private(self, ctx: Context) -> None: ...
"""


class Leaf(msgspec.Struct):
    name: str
    grams: int


class Teas(Protocol):
    async def tea(self, name: str) -> Leaf: ...
    async def weigh(self, tea: Leaf) -> int: ...
    def all(self) -> AsyncIterator[Leaf]: ...


@pytest.fixture
async def kernel(tmp_path: Path):
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "shop": SHOP}) as running:
        yield running


def shop(kernel: Kernel, protocol: Any = None) -> Any:
    return kernel.context(Caller("user:ada")).service("shop", protocol)


async def test_results_become_the_consumers_own_type(kernel: Kernel) -> None:
    assert await shop(kernel, Teas).tea("green") == Leaf("green", 50)


async def test_without_a_type_results_are_plain_data(kernel: Kernel) -> None:
    assert await shop(kernel).tea("green", grams=20) == {"name": "green", "grams": 20}


async def test_arguments_become_the_providers_own_type(kernel: Kernel) -> None:
    assert await shop(kernel, Teas).weigh(Leaf("green", 7)) == 7


async def test_a_stream_crosses_item_by_item(kernel: Kernel) -> None:
    assert [tea["name"] async for tea in shop(kernel).all()] == ["green", "black"]
    assert [tea async for tea in shop(kernel, Teas).all()] == [Leaf("green", 50), Leaf("black", 50)]


async def test_a_wrong_argument_is_refused_with_the_field(kernel: Kernel) -> None:
    with pytest.raises(BadInput) as caught:
        await shop(kernel).tea("green", grams="many")
    assert caught.value.details["field"] == "grams"


async def test_a_method_without_a_right_cannot_be_called_across_a_border(kernel: Kernel) -> None:
    with pytest.raises(ContractError, match="no method `private`"):
        await shop(kernel).private()


async def test_a_misspelt_method_is_answered_with_the_nearest(kernel: Kernel) -> None:
    with pytest.raises(ContractError, match="did you mean `weigh`"):
        await shop(kernel).weihg()


async def test_a_service_nobody_provides_is_named(kernel: Kernel) -> None:
    with pytest.raises(ServiceUnavailable, match="'library'"):
        await kernel.context(Caller("user:ada")).service("library").lend("book")


async def test_a_consumer_that_expects_another_parameter_is_told_which(kernel: Kernel) -> None:
    class Wrong(Protocol):
        async def tea(self, title: str) -> Any: ...

    with pytest.raises(ContractError, match=r"no parameter `title`; the parameter `name` is required"):
        await shop(kernel, Wrong).tea("green")


async def test_an_answer_that_does_not_fit_the_consumers_type_is_a_contract_error(kernel: Kernel) -> None:
    class Wrong(Protocol):
        async def tea(self, name: str) -> int: ...

    with pytest.raises(ContractError, match="does not fit what its consumer declared"):
        await shop(kernel, Wrong).tea("green")


async def test_each_method_asks_for_its_right_with_the_callers_own_resource(tmp_path: Path) -> None:
    reading = ALLOW_ALL.replace("Decision(True,", 'Decision(capability != "memory:write:own",')
    async with running_kernel(tmp_path, plugins={"allow_all": reading, "shop": SHOP}) as kernel:
        assert await shop(kernel).chain() == "user:ada"
        with pytest.raises(Denied, match="memory:write:own"):
            await shop(kernel).keep()


async def test_a_plugin_that_calls_on_stands_in_the_chain(tmp_path: Path) -> None:
    middle = """
from kernel import Context, Plugin
middle = Plugin("middle", version="1.0.0")
@middle.function("ask", effect="free")
async def ask(ctx: Context) -> str:
    return await ctx.service("shop").chain()
"""
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "shop": SHOP, "middle": middle}) as kernel:
        assert await kernel.context(Caller("user:ada")).call("middle.ask") == "user:ada → plugin:middle"
