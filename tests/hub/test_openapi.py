"""The OpenAPI document: what is served stands in it and nothing else, truly described, in valid 3.1."""

import asyncio
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from whole_hub import whole_hub

from hub.errors import SHAPES
from kernel import SOCKET_METHOD, Table
from kernel.testing import running_kernel

ROOT = Path(__file__).resolve().parents[2]

KINDS = '''
"""kinds has an operation of every kind."""
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec

from kernel import Conflict, Context, EventStream, NotFound, Plugin, Reply, Socket

kinds = Plugin("kinds", version="1.0.0")
Limit = Annotated[int, msgspec.Meta(ge=1, le=100, description="How many.")]

class Part(msgspec.Struct):
    """A part."""

    name: Annotated[str, msgspec.Meta(max_length=20)]
    weight: float = 1.0

class Whole(msgspec.Struct, omit_defaults=True):
    """Something made of parts."""

    id: str
    parts: list[Part]
    note: str | None = None

class Tick(msgspec.Struct):
    """One tick."""

    n: int

@kinds.get("/api/kinds/{id}", raises=(NotFound,))
async def one(ctx: Context, id: str) -> Whole:
    """Return one whole.

    With all its parts.
    """

@kinds.get("/api/kinds", raises=())
async def several(
    ctx: Context, tags: list[str] = [], kind: Literal["a", "b"] | None = None, limit: Limit = 10, deep: bool = False
) -> list[Whole]:
    """List wholes: the newest first."""

@kinds.post("/api/kinds", status=201, keyed=True, raises=(Conflict, "RATE_LIMITED"))
async def make(ctx: Context, parts: list[Part], async_: bool = False, label: str | None = None) -> Reply[Whole]:
    """Make a whole."""

@kinds.post("/kinds/run", dialect="scripts", documented=True)
async def run(ctx: Context, script_name: str) -> Reply:
    """Run something."""

@kinds.delete("/api/kinds/{id}", status=204)
async def remove(ctx: Context, id: str) -> None:
    """Remove a whole."""

@kinds.put("/api/kinds/{id}/picture", raises=())
async def picture(ctx: Context, id: str, data: bytes) -> Tick:
    """Keep a picture."""

@kinds.get("/api/kinds/table", produces="text/csv", raises=())
async def table(ctx: Context) -> str:
    """Return a table."""
    return "a,b"

@kinds.get("/api/kinds/events", raises=())
async def events(ctx: Context) -> EventStream:
    """Stream events."""

@kinds.post("/api/kinds/ticks", raises=())
async def ticks(ctx: Context, count: int) -> AsyncIterator[Tick]:
    """Stream ticks."""
    yield Tick(1)

@kinds.socket("/api/kinds/talk", raises=())
async def talk(ctx: Context, socket: Socket[Part, Tick], deep: bool = False) -> None:
    """Talk about parts."""

@kinds.socket("/api/kinds")
async def watch(ctx: Context, socket: Socket[Part, Tick]) -> None:
    """Watch where one also asks."""

@kinds.get("/api/kinds/odd", raises=())
async def odd(ctx: Context) -> object:
    """Return something that no schema describes."""
'''

SAME_NAMES = '''
import msgspec
from kernel import Plugin
{name} = Plugin("{name}", version="1.0.0")

class Row(msgspec.Struct):
    """A row of {name}."""
    {name}: int

@{name}.get("/api/{name}")
async def rows() -> list[Row]:
    return []

@{name}.post("/api/{name}")
async def add(row: Row) -> Row:
    return row
'''


async def read(hub: Any) -> dict[str, Any]:
    answered = await hub.ask("GET", "/openapi.json")
    assert (answered.status, answered.headers["content-type"]) == (200, "application/json; charset=utf-8")
    return dict(answered.json)


@pytest.fixture
async def kinds(start_hub: Callable[..., Any]) -> dict[str, Any]:
    return await read(await start_hub(plugins={"kinds": KINDS}))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def listed(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (SOCKET_METHOD if "101" in operation["responses"] else method.upper(), path)
        for method, path, operation in operations(document)
    }


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def query(operation: dict[str, Any]) -> dict[str, Any]:
    return {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", ())}


def body(operation: dict[str, Any]) -> dict[str, Any]:
    return dict(operation["requestBody"]["content"]["application/json"]["schema"])


def answer(operation: dict[str, Any], status: int = 200) -> dict[str, Any]:
    return dict(operation["responses"][str(status)]["content"]["application/json"]["schema"])


def resolved(document: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    return dict(document["components"]["schemas"][reference["$ref"].rpartition("/")[2]])


@dataclass
class Whole:
    """What a hub with all bundled plugins says about itself, and what it serves."""

    document: dict[str, Any]
    routes: set[tuple[str, str]]
    endpoints: set[tuple[str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    async def look() -> Whole:
        home = tmp_path_factory.mktemp("whole")
        async with whole_hub(home) as server, aiohttp.ClientSession() as session:
            routes = {(owned.item.method, owned.item.path) for owned in server.kernel.table.routes}
            endpoints = {(endpoint.method, endpoint.pattern) for endpoint in server.hub.dispatch.table.endpoints}
            async with session.get(f"http://localhost:{server.port}/openapi.json") as response:
                return Whole(await response.json(), routes, endpoints)

    return asyncio.run(look())


# All of it -----------------------------------------------------------------------------------------------------------


def test_the_document_lists_exactly_what_the_bundled_plugins_and_the_hub_serve(whole: Whole) -> None:
    assert len(whole.routes) > 35
    assert whole.endpoints - whole.routes >= {("GET", "/openapi.json"), ("GET", "/health")}
    assert listed(whole.document) == whole.routes | whole.endpoints == whole.endpoints


def test_the_document_of_the_bundled_plugins_is_valid_openapi_3_1(whole: Whole) -> None:
    document = whole.document
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_every_named_schema_is_used_and_every_reference_leads_somewhere(whole: Whole) -> None:
    document = whole.document
    there = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    used = set(references(document))
    assert used <= there
    assert {name for name in there - used if "/headers/" not in name} == {"#/components/securitySchemes/bearer"}


def test_every_operation_of_the_bundled_plugins_says_what_it_returns(whole: Whole) -> None:
    """A schema that allows everything would make "each answer fits its schema" say nothing."""
    document = whole.document
    bare = []
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            for media, content in response.get("content", {}).items():
                if media == "application/json" and status.startswith("2") and not content["schema"].get("$ref"):
                    bare.append((method, path))
    assert bare == [("get", "/api/openapi.json"), ("get", "/openapi.json")]


def test_only_what_is_documented_as_not_implemented_has_no_answer_of_success(whole: Whole) -> None:
    failing = [
        (method, path)
        for method, path, operation in operations(whole.document)
        if not any(status < "400" for status in operation["responses"])
    ]
    assert failing == [("post", "/api/peers/announce"), ("post", "/api/peers/sync")]


def test_every_number_in_a_query_is_bounded(whole: Whole) -> None:
    document = whole.document
    unbounded = []
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if schema.get("type") in ("integer", "number") and not {"minimum", "maximum"} <= schema.keys():
                unbounded.append((method, path, parameter["name"]))
    assert unbounded == []


def test_every_operation_has_words_a_tag_and_an_id_of_its_own(whole: Whole) -> None:
    document = whole.document
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert set(operation["tags"]) <= tags
    assert {tag["name"] for tag in document["tags"] if not tag["description"]} == set()


async def test_a_linter_of_openapi_finds_no_error(whole: Whole, tmp_path: Path, need) -> None:
    redocly = need("redocly")
    document = whole.document
    place = tmp_path / "openapi.json"
    place.write_text(json.dumps(document))
    rules = ROOT / "tests" / "hub" / "redocly.yaml"
    command = [redocly, "lint", str(place), "--config", str(rules), "--format=json"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=quiet()
    )
    out, err = await process.communicate()
    assert process.returncode == 0, out.decode() + err.decode()
    found = json.loads(out)
    assert (found["totals"]["errors"], found["totals"]["warnings"]) == (0, 0), out.decode()
    document["paths"]["/api/run"]["post"]["operationId"] = document["paths"]["/api/jobs"]["get"]["operationId"]
    place.write_text(json.dumps(document))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=quiet()
    )
    out, _ = await process.communicate()
    assert b"operation-operationId-unique" in out


def quiet() -> dict[str, str]:
    return {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


# As it changes -------------------------------------------------------------------------------------------------------


async def test_a_route_that_leaves_the_table_leaves_the_document(start_hub: Callable[..., Any]) -> None:
    hub = await start_hub(plugins={"kinds": KINDS})
    before = listed(await read(hub))
    table = hub.kernel.table
    fewer = tuple(owned for owned in table.routes if owned.item.path != "/api/kinds/table")
    hub.server.hub.compile(Table(table.version, table.owners, fewer))
    hub.kernel.table = Table(table.version + 1, table.owners, fewer)
    assert before - listed(await read(hub)) == {("GET", "/api/kinds/table")}


async def test_the_document_follows_a_reload_and_holds_nothing_of_the_old_version(
    start_hub: Callable[..., Any],
) -> None:
    hub = await start_hub(plugins={"kinds": KINDS})
    first = await hub.ask("GET", "/openapi.json")
    module = weakref.ref(hub.kernel.modules.get("kinds").generation.module)
    source = hub.kernel.config.paths.plugins / "kinds.py"
    source.write_text(KINDS.replace("/api/kinds/table", "/api/kinds/sheet").replace("weight: float", "mass: float"))
    await hub.kernel.modules.reload("kinds")
    second = await hub.ask("GET", "/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert second.status == 200
    assert listed(second.json) - listed(first.json) == {("GET", "/api/kinds/sheet")}
    assert set(second.json["components"]["schemas"]["kinds.Part"]["properties"]) == {"name", "mass"}
    assert set(first.json["components"]["schemas"]) == set(second.json["components"]["schemas"])
    async with asyncio.timeout(5):
        while module() is not None:
            await asyncio.sleep(0)


async def test_the_document_is_made_once_for_a_table_and_not_sent_to_whom_has_it(hub: Any) -> None:
    first, again = await asyncio.gather(hub.ask("GET", "/openapi.json"), hub.ask("GET", "/api/openapi.json"))
    assert first.body == again.body
    assert first.headers["etag"] == again.headers["etag"]
    known = await hub.ask("GET", "/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (known.status, known.body) == (304, b"")


async def test_any_origin_may_read_the_document(hub: Any) -> None:
    answered = await hub.ask("GET", "/openapi.json", headers={"Origin": "https://viewer.example"})
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (200, "*")


def test_the_start_of_a_hub_imports_no_generator() -> None:
    program = "import sys, hub.app, hub.serve; print([m for m in sys.modules if m in ('hub.openapi', 'hub.schemas')])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"


async def test_a_hub_without_plugins_describes_itself(tmp_path: Path) -> None:
    from hub.app import Hub
    from hub.openapi import document
    from hub.settings import HubSettings

    async with running_kernel(tmp_path, sections={"hub": HubSettings}) as kernel:
        hub = Hub(kernel)
        made = document(hub.dispatch.table.endpoints, hub.settings)
        hub.close()
    validate(made)
    assert {operation["tags"][0] for _, _, operation in operations(made)} == {"hub"}


# By kind -------------------------------------------------------------------------------------------------------------


async def test_the_document_of_every_kind_is_valid(kinds: dict[str, Any]) -> None:
    validate(kinds)


async def test_words_come_from_the_docstring(kinds: dict[str, Any]) -> None:
    operation = kinds["paths"]["/api/kinds/{id}"]["get"]
    assert operation["summary"] == "Return one whole"
    assert operation["description"] == "Return one whole.\n\nWith all its parts."
    assert operation["tags"] == ["kinds"]
    assert operation["x-right"] == "plugin:call:kinds.one"
    assert {"name": "kinds", "description": "kinds has an operation of every kind."} in kinds["tags"]


async def test_parameters_have_their_types_defaults_and_bounds(kinds: dict[str, Any]) -> None:
    assert query(kinds["paths"]["/api/kinds"]["get"]) == {
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        "deep": {"type": "boolean", "default": False},
    }
    (place,) = kinds["paths"]["/api/kinds/{id}"]["get"]["parameters"]
    assert (place["in"], place["required"]) == ("path", True)
    described = [p for p in kinds["paths"]["/api/kinds"]["get"]["parameters"] if p["name"] == "limit"]
    assert described[0]["description"] == "How many."


async def test_a_body_says_what_is_required_and_whether_more_is_taken(kinds: dict[str, Any]) -> None:
    made = body(kinds["paths"]["/api/kinds"]["post"])
    assert made["required"] == ["parts"]
    assert made["properties"]["async"] == {"type": "boolean", "default": False}
    assert made["properties"]["label"] == {"type": ["string", "null"], "default": None}
    assert made["additionalProperties"] is False
    assert "additionalProperties" not in body(kinds["paths"]["/kinds/run"]["post"])


async def test_an_answer_has_every_field_and_a_request_those_without_a_default(kinds: dict[str, Any]) -> None:
    answered = resolved(kinds, answer(kinds["paths"]["/api/kinds/{id}"]["get"]))
    assert (answered["title"], answered["description"]) == ("Whole", "Something made of parts.")
    assert answered["required"] == ["id", "parts"]  # what is None is left out of this one
    part = resolved(kinds, answered["properties"]["parts"]["items"])
    assert part["required"] == ["name", "weight"]
    given = resolved(kinds, body(kinds["paths"]["/api/kinds"]["post"])["properties"]["parts"]["items"])
    assert given["required"] == ["name"]
    assert given["properties"]["name"] == {"type": "string", "maxLength": 20}
    assert given["properties"]["weight"] == {"type": "number", "default": 1.0}


async def test_a_create_takes_a_key_and_says_when_it_is_a_replay(kinds: dict[str, Any]) -> None:
    operation = kinds["paths"]["/api/kinds"]["post"]
    assert "Idempotency-Key" in query(operation)
    assert "Idempotency-Replayed" in operation["responses"]["201"]["headers"]
    assert "Idempotency-Key" not in query(kinds["paths"]["/kinds/run"]["post"])


async def test_every_answer_has_the_headers_that_every_answer_has(kinds: dict[str, Any]) -> None:
    for method, path, operation in operations(kinds):
        for status, response in operation["responses"].items():
            whole = response
            if "$ref" in response:
                whole = kinds["components"]["responses"][response["$ref"].rpartition("/")[2]]
            assert {"X-Request-Id", "X-Hub-Version"} <= whole["headers"].keys(), (method, path, status)


async def test_errors_are_those_that_can_come_in_the_shape_of_the_dialect(kinds: dict[str, Any]) -> None:
    declared = kinds["paths"]["/api/kinds"]["post"]["responses"]
    assert set(declared) == {
        *("201", "400", "401", "403", "408", "409", "413", "415", "421", "429", "500", "503", "504"),
    }
    assert declared["409"] == {"$ref": "#/components/responses/hub.409"}
    assert set(kinds["paths"]["/api/kinds"]["get"]["responses"]) == {
        *("200", "400", "401", "403", "421", "429", "500", "503", "504"),
    }
    unsaid = kinds["paths"]["/kinds/run"]["post"]["responses"]
    assert {"404", "409", "410", "413", "501", "507"} <= set(unsaid)
    assert unsaid["404"] == {"$ref": "#/components/responses/scripts.404"}
    shape = kinds["components"]["responses"]["scripts.404"]["content"]["application/json"]["schema"]
    assert resolved(kinds, shape)["required"] == ["details", "error", "message"]
    assert "Retry-After" in kinds["components"]["responses"]["hub.429"]["headers"]


@pytest.mark.parametrize("dialect", sorted(SHAPES))
async def test_each_dialect_has_its_error_shape(start_hub: Callable[..., Any], dialect: str) -> None:
    hub = await start_hub()
    document = await read(hub)
    path = f"/{dialect}/things" if dialect != "hub" else "/api/probe/items"
    name = document["paths"][path]["post"]["responses"]["400"]["$ref"].rpartition("/")[2]
    schema = document["components"]["responses"][name]["content"]["application/json"]["schema"]
    refused = await hub.ask("POST", path, {"name": 3, "item": {}})
    assert refused.status == 400
    fields = resolved(document, schema)
    assert set(fields["required"]) <= refused.json.keys() <= fields["properties"].keys()


async def test_raw_bytes_are_an_octet_stream(kinds: dict[str, Any]) -> None:
    operation = kinds["paths"]["/api/kinds/{id}/picture"]["put"]
    assert list(operation["requestBody"]["content"]) == ["application/octet-stream"]
    assert "10240 KiB" in operation["requestBody"]["description"]


async def test_text_has_its_own_type_and_is_answered_as_it(start_hub: Callable[..., Any]) -> None:
    hub = await start_hub(plugins={"kinds": KINDS})
    document = await read(hub)
    content = document["paths"]["/api/kinds/table"]["get"]["responses"]["200"]["content"]
    assert content == {"text/csv": {"schema": {"type": "string"}}}
    answered = await hub.ask("GET", "/api/kinds/table")
    assert (answered.body, answered.headers["content-type"]) == (b"a,b", "text/csv")
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


async def test_a_stream_says_what_its_messages_are(kinds: dict[str, Any]) -> None:
    events = kinds["paths"]["/api/kinds/events"]["get"]
    content = events["responses"]["200"]["content"]["text/event-stream"]["schema"]
    wire, notice = (resolved(kinds, one) for one in content["properties"]["data"]["contentSchema"]["anyOf"])
    assert notice["required"] == ["message", "type"]
    assert wire["required"] == ["seq", "topic", "time", "data", "source", "trace"]
    assert {"Last-Event-ID", "last_event_id"} <= query(events).keys()
    ticks = kinds["paths"]["/api/kinds/ticks"]["post"]
    content = ticks["responses"]["200"]["content"]["text/event-stream"]["schema"]
    assert resolved(kinds, content["properties"]["data"]["contentSchema"]["anyOf"][0])["title"] == "Tick"
    assert "Last-Event-ID" not in query(ticks)


async def test_a_socket_is_a_get_that_changes_protocols_with_its_messages_beside_it(kinds: dict[str, Any]) -> None:
    operation = kinds["paths"]["/api/kinds/talk"]["get"]
    assert query(operation) == {"deep": {"type": "boolean", "default": False}}
    assert {"101", "401", "403", "426"} <= operation["responses"].keys()
    assert "200" not in operation["responses"]
    told = operation["x-websocket"]
    assert resolved(kinds, told["receives"])["required"] == ["name"]
    assert resolved(kinds, told["sends"])["title"] == "Tick"
    assert resolved(kinds, told["errors"])["properties"]["type"] == {"const": "error"}
    assert "4401" in told["description"]
    assert "64 KiB" in told["description"]


async def test_a_path_that_is_also_a_socket_keeps_its_get(kinds: dict[str, Any]) -> None:
    item = kinds["paths"]["/api/kinds"]
    assert "200" in item["get"]["responses"]
    assert "101" in item["x-websocket"]["responses"]
    assert (SOCKET_METHOD, "/api/kinds") in listed(kinds)
    assert ("GET", "/api/kinds") in listed(kinds)


async def test_what_comes_on_a_stream_fits_its_description(start_hub: Callable[..., Any]) -> None:
    hub = await start_hub(limits={"ring": 1})
    document = await read(hub)
    content = document["paths"]["/api/probe/watch"]["get"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["schema"]["properties"]["data"]["contentSchema"]
    fits = Draft202012Validator({**data, "components": document["components"]})
    emitted = await hub.ask("POST", "/api/probe/emit", {"topic": "probe.made", "data": {"a": [1]}, "times": 3})
    async with hub.stream(f"/api/probe/watch?topics=probe.*&since={emitted.json['first'] - 1}") as stream:
        gap, event = await stream.message(), await stream.message()
    assert (gap["event"], event["event"]) == ("stream.gap", "probe.made")
    fits.validate(gap["data"])
    fits.validate(event["data"])
    assert not fits.is_valid({**event["data"], "seq": "1"})
    assert not fits.is_valid({**gap["data"], "message": None})


async def test_nothing_to_say_has_no_content(kinds: dict[str, Any]) -> None:
    assert "content" not in kinds["paths"]["/api/kinds/{id}"]["delete"]["responses"]["204"]


async def test_what_no_schema_describes_is_described_as_anything(kinds: dict[str, Any]) -> None:
    assert answer(kinds["paths"]["/api/kinds/odd"]["get"]) == {}


ODD = '''
import msgspec
from kernel import Plugin
odd = Plugin("odd", version="1.0.0")

class Torn(msgspec.Struct):
    """Names a type that is nowhere."""
    other: "Nowhere"

class Weird:
    """Nothing that JSON knows."""

@odd.get("/api/odd/torn", raises=("NO_SUCH_CODE",))
async def torn() -> Torn:
    return None

@odd.get("/api/odd/weird", status=299)
async def weird() -> list[Weird]:
    return []

@odd.post("/api/kinds/{name}")
async def shared(name: str, default: list[int] = []) -> None:
    """Share a path with another plugin, and call its parameter otherwise."""
'''


async def test_a_plugin_with_types_that_nobody_can_describe_harms_no_other(start_hub: Callable[..., Any]) -> None:
    document = await read(await start_hub(plugins={"kinds": KINDS, "odd": ODD}))
    validate(document)
    assert answer(document["paths"]["/api/odd/torn"]["get"]) == {}
    assert answer(document["paths"]["/api/odd/weird"]["get"], 299)["type"] == "array"
    assert "kinds.Whole" in document["components"]["schemas"]


async def test_one_path_of_two_plugins_is_one_path_whatever_they_call_its_parameter(
    start_hub: Callable[..., Any],
) -> None:
    document = await read(await start_hub(plugins={"kinds": KINDS, "odd": ODD}))
    assert "/api/kinds/{name}" not in document["paths"]
    item = document["paths"]["/api/kinds/{id}"]
    assert [parameter["name"] for parameter in item["post"]["parameters"]] == ["id"]
    assert item["get"]["tags"] != item["post"]["tags"]


async def test_an_answer_leads_to_the_operations_that_take_what_it_brings(kinds: dict[str, Any]) -> None:
    made = kinds["paths"]["/api/kinds"]["post"]["responses"]["201"]["links"]
    assert {"get_api_kinds_id", "delete_api_kinds_id", "put_api_kinds_id_picture"} == made.keys()
    assert made["get_api_kinds_id"]["parameters"] == {"id": "$response.body#/id"}
    assert "links" not in kinds["paths"]["/api/kinds/table"]["get"]["responses"]["200"]


async def test_two_structs_of_one_name_in_two_plugins_do_not_clash(start_hub: Callable[..., Any]) -> None:
    plugins = {name: SAME_NAMES.format(name=name) for name in ("left", "right")}
    document = await read(await start_hub(plugins=plugins))
    for name in plugins:
        listed_rows = answer(document["paths"][f"/api/{name}"]["get"])
        assert set(resolved(document, listed_rows["items"])["properties"]) == {name}
        # The same when it is given: then it has one schema, not two.
        assert body(document["paths"][f"/api/{name}"]["post"])["properties"]["row"] == listed_rows["items"]


async def test_ids_of_operations_do_not_depend_on_what_else_is_loaded(start_hub: Callable[..., Any]) -> None:
    alone = await read(await start_hub(plugins={"kinds": KINDS}))
    beside = await read(await start_hub(plugins={"kinds": KINDS, "left": SAME_NAMES.format(name="left")}))
    ids = {path: item for path, item in beside["paths"].items() if path in alone["paths"]}
    assert alone["paths"] == ids
