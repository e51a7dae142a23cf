"""Plugins of the drop folder over the Hub dialect: registered, asked to act, and removed; and who may do that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hub_client import HubClient, client_here, hub_client

from kernel import Config, Kernel, Paths
from kernel.errors import BadInput, Conflict, LoadError, NotFound
from kernel.testing import ALLOW_ALL, running_kernel

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "hello.py").read_text()
MANIFEST = {"version": "1.0.0", "entry_point": "plugin.py:Plugin"}
NEEDY = EXAMPLE.replace('"hello", version', '"needy", requires={"oracle": ""}, version')


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[HubClient]:
    async with client_here(tmp_path / "home") as running:
        yield running


def drop(client: HubClient, name: str = "hello", source: str = EXAMPLE) -> Path:
    """Save as careful editors do: beside, then renamed over."""
    beside = client.hub.plugins / f".{name}.new"
    beside.write_text(source)
    return beside.rename(client.hub.plugins / f"{name}.py")


async def test_a_dropped_plugin_is_registered_with_the_documented_body_and_answer(client: HubClient) -> None:
    drop(client)
    body = {"name": "hello", "manifest": MANIFEST, "what_a_client_sends_besides": 1}
    answer = await client.ask("POST", "/api/plugins/register", body, 201, console=True)
    assert answer == {"status": "registered", "plugin_id": "hello"}
    assert await client.ask("GET", "/api/hello/Ada") == "Hello, Ada!"
    shown = await client.ask("GET", f"/api/plugins/{answer['plugin_id']}")
    assert (shown["status"], shown["bundled"], shown["generation"]) == ("active", False, 1)
    assert await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True) == answer
    assert (await client.ask("GET", "/api/plugins/hello"))["generation"] == 1


async def test_a_disabled_plugin_is_registered_again(client: HubClient) -> None:
    drop(client)
    await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
    await client.ask("POST", "/api/plugins/hello/disable", console=True)
    await client.ask("GET", "/api/hello/Ada", status=404)
    await client.ask("POST", "/api/plugins/register", {"name": "hello", "manifest": MANIFEST}, 201, console=True)
    assert await client.ask("GET", "/api/hello/Ada") == "Hello, Ada!"


async def test_installing_and_removing_need_an_administrator(client: HubClient) -> None:
    drop(client)
    await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
    for method, path, body in (
        ("POST", "/api/plugins/register", {"name": "hello", "manifest": MANIFEST}),
        ("DELETE", "/api/plugins/hello", None),
    ):
        refused = await client.ask(method, path, body, 403)
        assert set(refused) == {"error", "details", "code"}
        assert (refused["code"], refused["details"]["capability"]) == ("CAPABILITY_DENIED", "plugin:manage")
    assert await client.ask("GET", "/api/hello/Ada") == "Hello, Ada!"


async def test_what_cannot_be_registered_is_refused_with_what_to_do(client: HubClient) -> None:
    async def refused(body: object, status: int) -> dict[str, object]:
        return await client.ask("POST", "/api/plugins/register", body, status, console=True)

    absent = await refused({"name": "nothing", "manifest": MANIFEST}, 404)
    assert absent["code"] == "NOT_FOUND"
    assert "put nothing.py there first" in str(absent["error"])
    assert str(client.hub.plugins) in str(absent["error"])
    assert (await refused({"name": "memory"}, 409))["error"] == (
        "memory is part of the hub; it is loaded without being registered"
    )
    for name in ("../plugins/hello", "/etc/hello", "", "Hello", "hello\n", "x" * 65):
        assert (await refused({"name": name}, 400))["details"] == {"field": "name"}
    assert (await refused({"manifest": MANIFEST}, 400))["details"]["field"] == "name"  # type: ignore[index]
    assert (await refused({"name": 1}, 400))["details"]["field"] == "name"  # type: ignore[index]
    assert (await refused({"name": "a", "manifest": {"version": 1}}, 400))["code"] == "BAD_INPUT"
    for field in ("path", "archive"):
        answer = await refused({"name": "hello", field: "hello.py"}, 501)
        assert (answer["code"], answer["details"]) == ("NOT_IMPLEMENTED", {"field": field, "needs": "inbox"})


async def test_a_version_that_the_code_does_not_declare_is_refused_with_both(client: HubClient) -> None:
    drop(client)
    body = {"name": "hello", "manifest": {"version": "2.0.0"}}
    answer = await client.ask("POST", "/api/plugins/register", body, 409, console=True)
    assert answer["code"] == "VERSION_MISMATCH"
    assert answer["details"] == {"plugin": "hello", "declared": "1.0.0", "given": "2.0.0"}


async def test_a_plugin_with_a_mistake_is_refused_with_the_mistake(client: HubClient) -> None:
    drop(client, "broken", "def broken(:")
    answer = await client.ask("POST", "/api/plugins/register", {"name": "broken"}, 409, console=True)
    assert answer["code"] == "LOAD_FAILED"
    assert "SyntaxError" in answer["error"]


async def test_an_action_is_a_function_of_the_plugin(client: HubClient) -> None:
    drop(client)
    await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
    answer = await client.ask("POST", "/api/plugins/hello/actions/greet", {"arguments": {"name": "Ada"}})
    assert answer == {"plugin": "hello", "action": "greet", "result": "Hello, Ada!"}
    await client.ask("POST", "/api/plugins/hello/actions/meet", {"arguments": {"name": "Ada"}})
    recalled = await client.ask("POST", "/api/memory/recall", {"query": "Ada"})
    assert recalled["memories"][0]["content"] == "met Ada"
    near = await client.ask("POST", "/api/plugins/hello/actions/gret", {"arguments": {"name": "Ada"}}, 404)
    assert "did you mean hello.greet?" in near["error"]
    wrong = await client.ask("POST", "/api/plugins/hello/actions/greet", {"arguments": {"nam": "Ada"}}, 400)
    assert wrong["details"]["field"] == "nam"
    await client.ask("POST", "/api/plugins/hello/actions/greet", {"name": "Ada"}, 400)
    await client.ask("POST", "/api/plugins/hello/actions/greet", {"arguments": []}, 400)


async def test_an_action_needs_the_right_on_its_name_whatever_the_function_asks(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    text = (ROOT / "policies" / "default.toml").read_text()
    assert '"plugin:call", "ui:notify"' in text
    (policies / "default.toml").write_text(text.replace('"plugin:call", "ui:notify"', '"plugin:call:hello.greet"'))
    source = EXAMPLE.replace('@hello.function("meet", effect="staged")', '@hello.function("meet", needs="time:read")')
    async with hub_client(tmp_path / "home", "--policies", str(policies)) as client:
        drop(client, source=source)
        await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
        await client.ask("POST", "/api/plugins/hello/actions/greet", {"arguments": {"name": "Ada"}})
        refused = await client.ask("POST", "/api/plugins/hello/actions/meet", {"arguments": {"name": "Ada"}}, 403)
        assert refused["details"]["capability"] == "plugin:call:hello.meet"


async def test_a_removed_plugin_is_gone_and_its_source_is_kept(client: HubClient) -> None:
    file = drop(client)
    await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
    answer = await client.ask("DELETE", "/api/plugins/hello", console=True)
    kept = client.hub.home / "removed" / "hello.py"
    assert answer == {"name": "hello", "removed": True, "kept": str(kept)}
    assert not file.exists()
    assert kept.read_text() == EXAMPLE
    await client.ask("GET", "/api/hello/Ada", status=404)
    assert (await client.ask("GET", "/api/plugins/hello", status=404))["code"] == "NOT_FOUND"
    await client.ask("DELETE", "/api/plugins/hello", status=404, console=True)
    drop(client, source=EXAMPLE.replace("Hello", "Hi"))
    await client.ask("POST", "/api/plugins/register", {"name": "hello"}, 201, console=True)
    assert await client.ask("GET", "/api/hello/Ada") == "Hi, Ada!"
    await client.ask("DELETE", "/api/plugins/hello", console=True)
    assert "Hi" in kept.read_text()


async def test_what_is_not_dropped_is_not_removed(client: HubClient, tmp_path: Path) -> None:
    answer = await client.ask("DELETE", "/api/plugins/memory", status=409, console=True)
    assert "disable it instead" in answer["error"]
    assert (ROOT / "plugins" / "memory").is_dir()
    assert (await client.ask("GET", "/api/plugins/memory"))["status"] == "active"
    async with hub_client(tmp_path / "demo", "--demo") as demo:
        assert (
            "disable it instead" in (await demo.ask("DELETE", "/api/plugins/hello", status=409, console=True))["error"]
        )
    assert (ROOT / "examples" / "hello.py").exists()


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL}) as running:
        yield running


async def test_what_waits_for_a_service_is_not_told_of_as_registered(kernel: Kernel) -> None:
    (kernel.config.paths.plugins / "needy.py").write_text(NEEDY)
    with pytest.raises(Conflict, match="needy requires the service 'oracle'") as caught:
        await kernel.modules.register("needy", None)
    assert caught.value.code == "PLUGIN_WAITING"
    assert kernel.modules.get("needy").status == "waiting"


async def test_a_wrong_version_puts_nothing_into_service(kernel: Kernel) -> None:
    (kernel.config.paths.plugins / "hello.py").write_text(EXAMPLE)
    await kernel.modules.register("hello", "1.0.0")
    await kernel.modules.unload("hello")
    with pytest.raises(Conflict, match=r"declares version 1\.0\.0, not 9\.9\.9"):
        await kernel.modules.register("hello", "9.9.9")
    assert kernel.modules.get("hello").generation is None


async def test_a_plugin_of_an_untrusted_folder_is_refused_with_how_to_trust_it(tmp_path: Path) -> None:
    paths = Paths.find(environ={}, home=tmp_path, plugins=tmp_path / "plugins", policies=tmp_path / "policies")
    paths.prepare()
    (paths.plugins / "hello.py").write_text(EXAMPLE)
    kernel = Kernel(Config.load(sections={}, file=None, environ={}, overrides={}, paths=paths))
    await kernel.start()
    try:
        with pytest.raises(LoadError, match="--trust-plugins"):
            await kernel.modules.register("hello", None)
    finally:
        await kernel.stop()


async def test_a_folder_that_cannot_be_left_keeps_the_file_and_says_so(kernel: Kernel, tmp_path: Path) -> None:
    (kernel.config.paths.plugins / "hello.py").write_text(EXAMPLE)
    await kernel.modules.register("hello", None)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    with pytest.raises(LoadError, match="could not be moved"):
        await kernel.modules.remove("hello", blocked)
    assert (kernel.config.paths.plugins / "hello.py").exists()


@pytest.mark.parametrize("name", ["..", "a/b", "A", "a__b/..", ""])
async def test_a_name_never_becomes_a_path(kernel: Kernel, name: str) -> None:
    with pytest.raises(BadInput, match="expected the name of a plugin"):
        await kernel.modules.register(name, None)
    with pytest.raises(NotFound):
        await kernel.modules.register("nothing", None)
