"""Where the policy wants scripts signed, no other is read: not submitted, started, checked or loaded as a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from script_house import ADMIN, ScriptHouse, script_house

from aether_lang.signatures import hashed, public_text, signed
from kernel import Denied

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRICT = f'[trust]\nsignatures = "strict"\nkeys = {{ ops = "{public_text(KEY)}" }}\n'
WARN = STRICT.replace("strict", "warn")
CALLS = b'import "lib/kettle" as kettle\ntry { return kettle.boil() } catch e { return { type: e.type } }'


def by_ops(text: bytes, path: str) -> str:
    return signed(text, path, KEY, "ops").decode()


LIBRARY = {
    "good.aether": by_ops(b'return "tea"', "good.aether"),
    "moved.aether": by_ops(b'return "tea"', "good.aether"),
    "changed.aether": by_ops(b'return "tea"', "changed.aether") + " ",
    "hashed.aether": hashed(b'return "tea"').decode(),
    "plain.aether": 'return "tea"',
    "broken.aether": "let x = (",
    "calls.aether": by_ops(CALLS, "calls.aether"),
    "lib/kettle.aether": "fn boil() { return 100 }",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    async with script_house(tmp_path_factory.mktemp("house"), policy=STRICT, scripts=LIBRARY) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def strict(house: ScriptHouse) -> AsyncIterator[ScriptHouse]:
    yield house
    await policy(house, STRICT)


async def policy(house: ScriptHouse, text: str) -> None:
    (house.home / "policies" / "tests.toml").write_text(text)
    await house.service("policy", ADMIN).reload()


async def refused(house: ScriptHouse, **given: Any) -> dict[str, Any]:
    with pytest.raises(Denied) as caught:
        await house.submit(**given)
    assert caught.value.code == "SIGNATURE_ERROR"
    assert caught.value.details["type"] == "SignatureError"
    return dict(caught.value.details)


async def test_strict_lets_a_script_run_that_a_trusted_key_signed_for_its_path(house: ScriptHouse) -> None:
    final = await house.outcome(script_name="good")
    assert final["result"] == "tea"


@pytest.mark.parametrize(
    ("name", "state"),
    [("moved", "wrong"), ("changed", "wrong"), ("hashed", "integrity"), ("plain", "missing"), ("broken", "missing")],
)
async def test_strict_refuses_every_other_before_it_is_parsed(house: ScriptHouse, name: str, state: str) -> None:
    compiled = (await house.service("scripts", ADMIN).stats())["compiled"]["compiles"]
    assert (await refused(house, script_name=name))["state"] == state
    found = await house.service("scripts").check(name=name)
    assert (found["ok"], [one["code"] for one in found["diagnostics"]]) == (False, ["AE601"])
    assert (await house.service("scripts", ADMIN).stats())["compiled"]["compiles"] == compiled


async def test_strict_refuses_a_source_that_a_request_brings_along_even_with_a_signed_text(house: ScriptHouse) -> None:
    for source in ("return 1", LIBRARY["good.aether"]):
        await refused(house, source=source, script_name="good.aether")
        found = await house.service("scripts").check(source=source, name="good.aether")
        assert [one["code"] for one in found["diagnostics"]] == ["AE601"]


async def test_strict_runs_what_comes_with_the_hub(house: ScriptHouse) -> None:
    assert (await house.outcome(script_name="system/utils"))["state"] == "completed"


async def test_a_module_without_a_signature_is_an_error_that_the_script_can_catch(strict: ScriptHouse) -> None:
    assert (await strict.outcome(script_name="calls"))["result"] == {"type": "SignatureError"}
    kettle = strict.home / "scripts" / "lib" / "kettle.aether"
    kettle.write_text(by_ops(LIBRARY["lib/kettle.aether"].encode(), "lib/kettle.aether"))
    assert (await strict.outcome(script_name="calls"))["result"] == 100
    kettle.write_text(LIBRARY["lib/kettle.aether"])


async def test_a_key_that_is_taken_away_counts_no_more_from_that_moment_on(strict: ScriptHouse) -> None:
    await policy(strict, '[trust]\nsignatures = "strict"\n')
    assert (await refused(strict, script_name="good"))["state"] == "unknown key"
    await policy(strict, STRICT)
    assert (await strict.outcome(script_name="good"))["result"] == "tea"


async def test_a_run_that_waited_is_verified_again_when_it_starts(tmp_path: Path) -> None:
    overrides = {"limits.lane_normal_priority": 1}
    slow = {"slow.aether": by_ops(b'log "here"\nwait 300', "slow.aether")}
    async with script_house(tmp_path, policy=STRICT, scripts=LIBRARY | slow, overrides=overrides) as house:
        first = await house.submit(script_name="slow")
        second = await house.submit(script_name="good")
        (tmp_path / "scripts" / "good.aether").write_text('return "something else"')
        await house.service("executions").cancel(first["id"])
        final = await house.ended(second)
        assert (final["state"], final["error"]["code"]) == ("failed", "SIGNATURE_ERROR")


async def test_one_script_can_be_made_to_be_signed_while_others_need_not(strict: ScriptHouse) -> None:
    await policy(strict, '[trust]\nrequire_signature = ["script:lib/*", "script:plain.aether"]\n')
    await refused(strict, script_name="plain")
    assert (await strict.outcome(script_name="hashed"))["result"] == "tea"
    assert await strict.result("return 1") == 1


async def test_strict_mode_wants_signatures_as_well(strict: ScriptHouse) -> None:
    await policy(strict, "strict_mode = true\n")
    await refused(strict, script_name="plain")
    await refused(strict, source="return 1")


@pytest.mark.parametrize(
    ("name", "code"),
    [("good", None), ("moved", "AW602"), ("changed", "AW602"), ("hashed", None), ("plain", "AW601")],
)
async def test_warn_runs_everything_and_tells_what_is_wrong_in_check_and_log(
    strict: ScriptHouse, name: str, code: str | None
) -> None:
    await policy(strict, WARN)
    found = await strict.service("scripts").check(name=name)
    assert found["ok"]
    assert [one["code"] for one in found["diagnostics"]] == ([code] if code else [])
    row = await strict.submit(script_name=name)
    assert (await strict.ended(row))["result"] == "tea"
    told = [entry["data"] for entry in await strict.history(row, "job.log")]
    assert [(one["level"], one["line"]) for one in told] == ([("warning", 1)] if code else [])


async def test_off_says_nothing_of_any(strict: ScriptHouse) -> None:
    await policy(strict, '[trust]\nsignatures = "off"\n[capabilities.allow]\n')
    # The strictest file counts, and the one that ships says warn.
    shipped = strict.home / "policies" / "default.toml"
    text = shipped.read_text()
    shipped.write_text(text.replace('signatures = "warn"', 'signatures = "off"'))
    await strict.service("policy", ADMIN).reload()
    for name in ("changed", "plain"):
        assert (await strict.service("scripts").check(name=name))["diagnostics"] == []
    shipped.write_text(text)


async def test_where_nobody_signs_no_run_is_told_that_its_script_is_not_signed(strict: ScriptHouse) -> None:
    await policy(strict, "version = 1\n")
    row = await strict.submit(script_name="plain")
    await strict.ended(row)
    assert await strict.history(row, "job.log") == []
    found = await strict.service("scripts").check(source="return 1")
    assert found["diagnostics"] == []
