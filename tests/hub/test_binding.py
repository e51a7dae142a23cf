"""From a request to typed arguments and back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest


async def test_path_and_query_are_read_leniently_and_a_repeated_name_is_a_list(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/items/ada%20b?count=3&tags=x&tags=y&deep=true")
    assert answer.status == 200
    assert answer.json == {"name": "ada b", "count": 3, "tags": ["x", "y"], "deep": True}


async def test_one_value_of_a_list_parameter_is_a_list_of_one(hub: Any) -> None:
    assert (await hub.ask("GET", "/api/probe/items/a?tags=x")).json["tags"] == ["x"]


async def test_a_wrong_query_value_names_the_field(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/items/a?count=many")
    assert answer.status == 400
    assert answer.json["details"]["field"] == "count"
    assert answer.json["code"] == "BAD_INPUT"


async def test_a_scalar_given_twice_is_refused(hub: Any) -> None:
    assert (await hub.ask("GET", "/api/probe/items/a?count=1&count=2")).status == 400


async def test_an_own_route_refuses_an_unknown_query_field_and_a_documented_one_ignores_unknown_body_fields(
    hub: Any,
) -> None:
    refused = await hub.ask("GET", "/api/probe/items/a?cuont=1")
    assert refused.status == 400
    assert "count" in refused.json["details"]["expected"]
    ignored = await hub.ask("POST", "/scripts/things", {"name": "x", "kind": "fine", "extra": 1})
    assert (ignored.status, ignored.json) == (200, {"name": "x"})


async def test_an_own_route_refuses_an_unknown_body_field(hub: Any) -> None:
    answer = await hub.ask("POST", "/api/probe/items", {"item": {"name": "a"}, "other": 1})
    assert answer.status == 400
    assert "other" in answer.json["error"]


async def test_the_body_is_read_strictly_and_a_reply_sets_status_and_headers(hub: Any) -> None:
    good = await hub.ask("POST", "/api/probe/items", {"item": {"name": "a", "size": 2}})
    assert (good.status, good.json) == (201, {"name": "a", "size": 2})
    assert good.headers["location"] == "/api/probe/items/a"
    bad = await hub.ask("POST", "/api/probe/items", {"item": {"name": "a", "size": "2"}})
    assert bad.status == 400
    assert bad.json["details"]["field"] == "item.size"


async def test_path_and_body_meet_in_one_call_and_a_keyword_field_drops_its_underscore(hub: Any) -> None:
    answer = await hub.ask("PUT", "/api/probe/items/a", {"size": 1, "async": True})
    assert answer.json == {"name": "a", "size": 1, "async": True}


async def test_a_route_without_required_fields_takes_no_body_at_all(hub: Any) -> None:
    assert (await hub.ask("POST", "/api/probe/free")).json == {"note": "none"}


async def test_a_missing_body_names_the_first_missing_field(hub: Any) -> None:
    answer = await hub.ask("POST", "/api/probe/items")
    assert answer.status == 400
    assert answer.json["details"]["field"] == "item"


async def test_nothing_is_answered_with_204_and_an_empty_body(hub: Any) -> None:
    answer = await hub.ask("DELETE", "/api/probe/items/a?force=1")
    assert answer.status == 204
    assert "content-length" not in answer.headers


async def test_head_answers_like_get_without_a_body(hub: Any) -> None:
    answer = await hub.ask("HEAD", "/api/probe/plain")
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(b'{"is":"plain"}')


async def test_a_handler_may_answer_with_another_content_type(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/text")
    assert answer.body == b"a,b"
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_raw_body_is_bounded_by_upload_kb_and_a_json_body_by_body_kb(start_hub: Any) -> None:
    hub = await start_hub(body_kb=1, upload_kb=4)
    octets = {"Content-Type": "application/octet-stream"}
    assert (await hub.ask("POST", "/api/probe/upload", raw=b"x" * 4096, headers=octets)).json == {"bytes": 4096}
    too_long = await hub.ask("POST", "/api/probe/upload", raw=b"x" * 4097, headers=octets)
    assert (too_long.status, too_long.json["code"]) == (413, "BODY_TOO_LARGE")
    assert "upload_kb" in too_long.json["error"]
    assert (await hub.ask("POST", "/api/probe/free", {"note": "x" * 2000})).status == 413


async def test_a_chunked_body_above_its_bound_is_refused(start_hub: Any) -> None:
    hub = await start_hub(body_kb=1)
    chunk = b"7d0\r\n" + b'"' + b"x" * 1999 + b"\r\n0\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked", "Content-Length": None}
    assert (await hub.ask("POST", "/api/probe/free", raw=chunk, headers=headers)).status == 413


async def test_an_idempotency_key_reaches_the_handler_and_a_wrong_one_is_refused(hub: Any) -> None:
    assert (await hub.ask("POST", "/api/probe/key", headers={"Idempotency-Key": "k-1"})).json == {"key": "k-1"}
    assert (await hub.ask("POST", "/api/probe/key")).json == {"key": None}
    assert (await hub.ask("POST", "/api/probe/key", headers={"Idempotency-Key": "k" * 256})).status == 400


async def test_a_handler_that_takes_too_long_is_a_504(start_hub: Any) -> None:
    hub = await start_hub(request_s=0.05)
    answer = await hub.ask("GET", "/api/probe/slow")
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_route_may_state_a_deadline_of_its_own(start_hub: Any) -> None:
    hub = await start_hub(request_s=0.2)
    patient = asyncio.create_task(hub.ask("GET", "/api/probe/patient"))
    while hub.server.hub.in_flight != 1:
        await asyncio.sleep(0)
    assert (await hub.ask("GET", "/api/probe/slow")).status == 504
    assert not patient.done()
    await hub.ask("POST", "/api/probe/open")
    assert (await patient).json == "at last"
    generation = hub.kernel.modules.get("probe").generation
    generation.module.gate.clear()
    hasty = await hub.ask("GET", "/api/probe/hasty")
    assert (hasty.status, hasty.json["code"]) == (504, "DEADLINE_EXCEEDED")
    assert "0.05 s (the route's own bound)" in hasty.json["error"]


@pytest.mark.parametrize("query", ["x=nan", "x=inf", "x=-Infinity", "several=1&several=nan"])
async def test_a_number_in_the_query_is_one_that_json_has(hub: Any, query: str) -> None:
    answer = await hub.ask("GET", f"/api/probe/number?{query}")
    assert (answer.status, answer.json["details"]["field"]) == (400, query.partition("=")[0])
    assert (await hub.ask("GET", "/api/probe/number?x=1.5&several=1")).json == [1.5, [1.0]]


@pytest.mark.parametrize("code", [99, 100, 101, 199, 600, 1000])
async def test_a_status_that_is_no_final_answer_is_the_plugins_fault(hub: Any, code: int) -> None:
    answer = await hub.ask("GET", f"/api/probe/status?code={code}")
    assert (answer.status, answer.json["code"]) == (500, "PLUGIN_CONTRACT")


async def test_a_handler_that_exits_is_a_500_and_the_hub_goes_on(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/exit")
    assert (answer.status, answer.json["code"]) == (500, "PLUGIN_ERROR")
    assert "SystemExit" in answer.json["error"]
    assert (await hub.ask("GET", "/api/probe/plain")).status == 200


async def test_a_response_header_cannot_begin_another_line(hub: Any) -> None:
    answer = await hub.ask("GET", "/api/probe/split")
    assert answer.status == 500
    assert "x-evil" not in answer.headers


STRICT = [
    (b"\xff\xfe", "not UTF-8"),
    (b'{"note": "a", "note": "b"}', "stands twice"),
    (b'{"note": "a", "n\\u006fte": "b"}', "stands twice"),
    (b'{"x": {"a": 1, "a": 2}}', "stands twice"),
    (b'{"x": NaN}', "not a JSON number"),
    (b'{"x": -Infinity}', "not a JSON number"),
    (b'{"x": 18446744073709551616}', "64 bits"),
    (b'{"x": -9223372036854775809}', "64 bits"),
    (b'{"x": ' + b"9" * 5000 + b"}", "64 bits"),
    (b'{"note": "a"', "not valid JSON"),
    (b'{"note": "a"} x', "not valid JSON"),
    (b"[" * 100_000, "deeper"),
    (b'{"x": ' + b"[" * 64 + b"]" * 64 + b"}", "deeper"),
]


@pytest.mark.parametrize(("body", "words"), STRICT)
async def test_json_that_two_readers_could_read_differently_is_refused(hub: Any, body: bytes, words: str) -> None:
    answer = await hub.ask("POST", "/scripts/things", raw=body)
    assert answer.status in (400, 413)
    assert words in answer.json["message"] or (words == "deeper" and "JSON values" in answer.json["message"])


async def test_json_at_its_bounds_passes_and_beyond_them_does_not(start_hub: Any) -> None:
    hub = await start_hub(json_nodes=10, json_depth=4)
    nine_values = {"name": "x", "kind": "fine", "extra": [1, 2, 3, 4, 5, 6]}
    assert (await hub.ask("POST", "/scripts/things", nine_values)).status == 200
    nine_values["extra"].append(7)
    assert (await hub.ask("POST", "/scripts/things", nine_values)).status == 413
    assert (await hub.ask("POST", "/scripts/things", {"name": "x", "kind": "ok", "e": [[[1]]]})).status == 200
    assert (await hub.ask("POST", "/scripts/things", {"name": "x", "kind": "ok", "e": [[[[1]]]]})).status == 400


async def test_brackets_in_strings_do_not_count(hub: Any) -> None:
    body = {"name": "[" * 500 + '"' + "," * 20_000, "kind": "fine"}
    assert (await hub.ask("POST", "/scripts/things", body)).status == 200


async def test_the_largest_integers_pass(hub: Any) -> None:
    raw = json.dumps({"name": "x", "kind": "fine", "a": 2**64 - 1, "b": -(2**63)}).encode()
    assert (await hub.ask("POST", "/scripts/things", raw=raw)).status == 200
