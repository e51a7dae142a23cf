"""The pages that show the API: complete with the extra `docs`, plain without it, and never a word to another host."""

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from hub.pages import ASSETS
from hub.reference import FOREIGN_PICTURE, OURS, TAKEN, package_folder

PAGES = ["/docs", "/api/docs", "/redoc", "/api/redoc"]
OTHER_HOST = re.compile(r"(?:https?:)?//[^\s\"'<>]+")


class Addresses(HTMLParser):
    """Collects every address that a page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset", "data")]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split(";"))}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_and_all_that_it_names_come_from_the_hub(hub, path: str) -> None:
    answered = await hub.ask("GET", path)
    assert (answered.status, answered.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = Addresses(answered.body.decode())
    assert named.inline == []
    assert len(named.found) >= 4
    for address in named.found:
        assert re.match(r"/[a-z]", address)
        if address != "/openapi.json":
            file = await hub.ask("GET", address)
            assert file.status == 200
            assert len(file.body) > 100
            assert "immutable" in file.headers["cache-control"]
            assert file.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
async def test_the_policy_of_a_page_allows_its_own_origin_only(hub, path: str) -> None:
    rules = directives((await hub.ask("GET", path)).headers["content-security-policy"])
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == ["'none'"]
    assert rules["script-src"] == rules["connect-src"] == ["'self'"]
    everything = {source for sources in rules.values() for source in sources}
    assert everything <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    redoc = path.endswith("redoc")  # it writes styles as it goes, and searches in a worker of its own making
    assert [name for name, sources in rules.items() if "'unsafe-inline'" in sources] == ["style-src"] * redoc
    assert [name for name, sources in rules.items() if "blob:" in sources] == ["worker-src"] * redoc


@pytest.mark.parametrize("name", sorted(path.name for path in ASSETS.iterdir()))
def test_no_file_of_the_hubs_own_names_another_host(name: str) -> None:
    text = re.sub(r"^\s*//.*", "", (ASSETS / name).read_text(), flags=re.MULTILINE)
    assert [found for found in OTHER_HOST.findall(text) if "www.w3.org" not in found] == []


async def test_the_settings_of_the_viewers_ask_nobody_else(hub) -> None:
    swagger = (await hub.ask("GET", "/docs/assets/swagger.js")).body.decode()
    assert "validatorUrl: null" in swagger
    assert "queryConfigEnabled: false" in swagger
    assert swagger.count("/openapi.json") == 1
    assert (await hub.ask("GET", "/docs/assets/redoc.js")).body.decode().count("/openapi.json") == 1


async def test_the_picture_that_a_viewer_would_fetch_from_elsewhere_is_taken_out(hub) -> None:
    folder = package_folder()
    assert folder is not None
    assert FOREIGN_PICTURE in (folder / TAKEN["redoc.standalone.js"]).read_bytes()
    assert FOREIGN_PICTURE not in (await hub.ask("GET", "/docs/assets/redoc.standalone.js")).body


async def test_the_types_of_the_files_are_right(hub) -> None:
    types = {name: (await hub.ask("GET", f"/docs/assets/{name}")).headers["content-type"] for name in (*TAKEN, *OURS)}
    assert {name: kind.partition(";")[0] for name, kind in types.items()} == {
        "swagger-ui.css": "text/css",
        "swagger-ui-bundle.js": "text/javascript",
        "redoc.standalone.js": "text/javascript",
        "icon.png": "image/png",
        "reference.css": "text/css",
        "swagger.js": "text/javascript",
        "redoc.js": "text/javascript",
    }


async def test_a_file_the_browser_has_is_not_sent_again(hub) -> None:
    address = "/docs/assets/swagger-ui-bundle.js"
    tag = (await hub.ask("GET", address)).headers["etag"]
    again = await hub.ask("GET", address, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status, again.body) == (304, b"")
    assert (await hub.ask("GET", address, headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Freference.css", "swagger.html", "%2Fetc%2Fpasswd"])
async def test_only_the_files_of_the_pages_are_served(hub, name: str) -> None:
    answered = await hub.ask("GET", f"/docs/assets/{name}")
    assert (answered.status, answered.json["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", PAGES)
async def test_without_the_extra_a_page_says_how_to_get_it_and_works_once_it_is_there(
    hub, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "aiohttp_swagger3", None)
        answered = await hub.ask("GET", path)
        file = await hub.ask("GET", "/docs/assets/redoc.standalone.js")
    text = answered.body.decode()
    assert (answered.status, answered.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "pip install 'aetherra[docs]'" in text
    assert "/openapi.json" in Addresses(text).found
    assert "'unsafe-inline'" not in answered.headers["content-security-policy"]
    assert (file.status, "`docs`" in file.json["error"]) == (404, True)
    assert (await hub.ask("GET", path)).status == 200


async def test_the_code_of_the_package_is_never_imported(hub) -> None:
    for path in PAGES:
        await hub.ask("GET", path)
    assert "aiohttp_swagger3" not in sys.modules


async def test_a_page_opens_without_a_credential_and_is_not_read_by_other_origins(hub) -> None:
    assert (await hub.ask("GET", "/docs", headers={"Authorization": "Bearer x"})).status == 200
    foreign = await hub.ask("GET", "/docs", headers={"Origin": "https://evil.example"})
    assert (foreign.status, foreign.json["code"]) == (403, "FOREIGN_ORIGIN")


async def test_other_answers_keep_the_policy_that_loads_nothing(hub) -> None:
    await hub.ask("GET", "/docs")
    for path in ("/health", "/docs/assets/redoc.js", "/nowhere"):
        policy = (await hub.ask("GET", path)).headers["content-security-policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"


TAKES_AN_ASSET = """
from kernel import Plugin
taker = Plugin("taker", version="1.0.0")

@taker.get("/docs/assets/{file}")
async def file(file: str) -> str:
    return file
"""


async def test_a_plugin_cannot_take_the_path_of_the_files(start_hub: Callable[..., Any]) -> None:
    hub = await start_hub(plugins={"taker": TAKES_AN_ASSET})
    assert "belongs to the hub itself" in hub.kernel.modules.get("taker").reason
