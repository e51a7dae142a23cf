"""Accounts, sessions and tokens as their owners and an administrator have them, over a whole hub."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asking import PASSWORD, Asking, asking
from whole_hub import whole_hub

from kernel.testing import TestClock

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asking]:
    """One hub for all tests of this file that mind only accounts of their own."""
    settings = {"limits.aimos_requests_per_minute": 10_000, "limits.aimos_admin_requests_per_minute": 10_000}
    async with whole_hub(tmp_path_factory.mktemp("identity"), settings=settings) as server, asking(server) as client:
        yield client


# As the AIMOS document has it ---------------------------------------------------------------------------------------


async def test_an_account_is_registered_logged_in_and_shown_as_documented(hub: Asking) -> None:
    asked = {"username": "john_doe", "email": "john@example.com", "password": "secure_password123"}
    made = await hub.ask("POST", "/api/auth/register", asked)
    assert made.status == 201
    fields = {"id", "username", "email", "is_active", "is_admin", "created_at", "last_login"}
    assert made.json.keys() == fields
    assert (made.json["is_admin"], made.json["last_login"]) == (False, None)
    login = await hub.ask("POST", "/api/auth/login", form={"username": "john_doe", "password": "secure_password123"})
    assert (login.status, login.json["token_type"], login.json["expires_in"]) == (200, "bearer", 1800)
    me = await hub.ask("GET", "/api/auth/me", token=login.json["access_token"])
    assert (me.json["username"], me.json["last_login"] is None) == ("john_doe", False)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"username": "jo"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "local"}, "username"),
        ({"email": "no address"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "aaaaaaaaaa"}, "password"),
        ({"username": "somebody", "password": "somebody"}, "password"),
        ({"password": "x" * 129}, "password"),
    ],
)
async def test_what_cannot_be_an_account_is_told_field_by_field(hub: Asking, wrong: dict[str, str], field: str) -> None:
    asked = {"username": "fine_name", "email": "fine@example.com", "password": PASSWORD} | wrong
    refused = await hub.ask("POST", "/api/auth/register", asked)
    assert (refused.status, refused.json["type"]) == (400, "validation_error")
    assert [error["field"] for error in refused.json["errors"]] == [field]


async def test_a_name_or_an_address_is_taken_once_whatever_its_case(hub: Asking) -> None:
    asked = {"username": "Grace", "email": "grace@example.com", "password": PASSWORD}
    assert (await hub.ask("POST", "/api/auth/register", asked)).json["username"] == "Grace"
    again = await hub.ask("POST", "/api/auth/register", asked | {"username": "gRACE", "email": "else@example.com"})
    assert [error["field"] for error in again.json["errors"]] == ["username"]
    again = await hub.ask("POST", "/api/auth/register", asked | {"username": "hopper", "email": "Grace@example.com"})
    assert [error["field"] for error in again.json["errors"]] == ["email"]
    assert (await hub.login("GRACE"))["token_type"] == "bearer"


async def test_who_is_unknown_and_who_has_another_password_are_told_alike(hub: Asking) -> None:
    await hub.person("alike")
    wrong = await hub.ask("POST", "/api/auth/login", form={"username": "alike", "password": "not that one"})
    nobody = await hub.ask("POST", "/api/auth/login", form={"username": "nobody", "password": "not that one"})
    assert (
        (wrong.status, wrong.json)
        == (nobody.status, nobody.json)
        == (401, {"detail": "Invalid authentication credentials"})
    )


async def test_the_paths_of_this_document_want_a_token_on_this_machine_as_well(hub: Asking) -> None:
    refused = await hub.ask("GET", "/api/auth/me")
    assert (refused.status, list(refused.json), refused.headers["WWW-Authenticate"]) == (401, ["detail"], "Bearer")


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Bearer", "Bearer a b", "bearer", "Token x", "Bearer ä", "Bearer " + "x" * 8_101]
)
async def test_another_kind_of_credential_is_refused_and_not_passed_over(hub: Asking, header: str) -> None:
    refused = await hub.ask("GET", "/api/jobs", headers={"Authorization": header})
    assert refused.status == 401


@pytest.mark.parametrize("header", ["X-Api-Key", "X-Auth-Token", "Cookie", "Proxy-Authorization", "Token"])
async def test_any_other_header_with_a_credential_is_ignored(hub: Asking, header: str) -> None:
    token = (await hub.person(f"other-{header.lower()}"))["access_token"]
    assert (await hub.ask("GET", "/api/auth/me", headers={header: f"Bearer {token}"})).status == 401


async def test_a_form_names_each_field_once(hub: Asking) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with hub.tcp.post(f"{hub.url}/api/auth/login", data="username=a&username=b&password=c", headers=form) as got:
        assert (got.status, (await got.json())["errors"][0]["field"]) == (400, "username")
    async with hub.tcp.post(f"{hub.url}/api/auth/login", data="username=%ff&password=c", headers=form) as got:
        assert got.status == 400
    as_json = await hub.ask("POST", "/api/auth/login", {"username": "a", "password": "b"})
    assert as_json.status == 415


# Sessions -----------------------------------------------------------------------------------------------------------


async def me(hub: Asking, token: str) -> int:
    return (await hub.ask("GET", "/api/auth/me", token=token)).status


async def refresh(hub: Asking, token: str) -> Any:
    return await hub.ask("POST", "/api/auth/refresh", {"refresh_token": token})


async def test_a_refresh_token_is_good_once_and_a_second_use_ends_the_whole_session(hub: Asking) -> None:
    first = await hub.person("refreshing")
    second = (await refresh(hub, first["refresh_token"])).json
    assert await me(hub, second["access_token"]) == 200
    assert await me(hub, first["access_token"]) == 200  # until it expires
    stolen = await refresh(hub, first["refresh_token"])
    assert stolen.status == 401
    assert [await me(hub, grant["access_token"]) for grant in (first, second)] == [401, 401]
    assert (await refresh(hub, second["refresh_token"])).status == 401
    assert (await hub.login("refreshing"))["token_type"] == "bearer"


async def test_two_refreshes_at_once_yield_one_pair_or_none(hub: Asking) -> None:
    token = (await hub.person("racing"))["refresh_token"]
    answers = await asyncio.gather(*(refresh(hub, token) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_log_out_ends_its_session_and_no_other(hub: Asking) -> None:
    one, other = await hub.person("leaving"), await hub.login("leaving")
    assert (await hub.ask("POST", "/api/auth/logout", token=one["access_token"])).status == 204
    assert [await me(hub, grant["access_token"]) for grant in (one, other)] == [401, 200]
    assert (await refresh(hub, one["refresh_token"])).status == 401
    everywhere = await hub.ask("POST", "/api/auth/logout", {"everywhere": True}, token=other["access_token"])
    assert everywhere.status == 204
    assert await me(hub, other["access_token"]) == 401


async def test_a_changed_password_ends_every_session_and_begins_a_new_one(hub: Asking) -> None:
    one, other = await hub.person("changing"), await hub.login("changing")
    change = {"current": PASSWORD, "new": "another good password"}
    wrong = await hub.ask("POST", "/api/auth/password", change | {"current": "x"}, token=one["access_token"])
    assert wrong.status == 401
    same = await hub.ask("POST", "/api/auth/password", change | {"new": PASSWORD}, token=one["access_token"])
    assert same.status == 400
    new = (await hub.ask("POST", "/api/auth/password", change, token=one["access_token"])).json
    tokens = [one["access_token"], other["access_token"], new["access_token"]]
    assert [await me(hub, token) for token in tokens] == [401, 401, 200]
    assert (await hub.login("changing", "another good password"))["token_type"] == "bearer"


async def test_an_account_has_so_many_sessions_and_the_one_used_longest_ago_ends(tmp_path: Path) -> None:
    settings = {"plugins.identity.sessions_per_account": 2}
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        grants = [await hub.person("many"), await hub.login("many"), await hub.login("many")]
        assert [await me(hub, grant["access_token"]) for grant in grants] == [401, 200, 200]


async def test_a_token_expires_in_half_an_hour_and_a_session_when_it_is_not_used(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        grant = await hub.person("late")
        await clock.advance(1_799)
        assert await me(hub, grant["access_token"]) == 200
        await clock.advance(32)  # half a minute of leeway
        assert await me(hub, grant["access_token"]) == 401
        grant = (await refresh(hub, grant["refresh_token"])).json
        assert await me(hub, grant["access_token"]) == 200
        clock.jump_wall(30 * 86_400 + 1)  # the machine slept: nothing else has a month of minutes to go through
        assert (await refresh(hub, grant["refresh_token"])).status == 401


async def test_what_is_long_over_is_forgotten_and_what_was_revoked_is_not(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        left, stolen, idle = await hub.person("ada"), await hub.login("ada"), await hub.login("ada")
        await hub.ask("POST", "/api/auth/logout", token=left["access_token"])
        for _ in range(2):
            await refresh(hub, stolen["refresh_token"])

        async def kept() -> list[str | None]:
            rows = await server.kernel.store.query("identity", "SELECT ended FROM identity__sessions ORDER BY ended")
            return [row["ended"] for row in rows]

        async def left_over(seconds: float, wanted: list[str | None]) -> None:
            clock.jump_wall(seconds)
            async with asyncio.timeout(10):
                while await kept() != wanted:  # the plugin looks each minute
                    await clock.advance(60)

        assert await kept() == [None, "logged_out", "revoked"]
        await left_over(86_400, [None, "revoked"])
        assert (await refresh(hub, idle["refresh_token"])).status == 200
        await left_over(31 * 86_400, ["revoked"])
        rows = await server.kernel.store.query("identity", "SELECT count(*) AS n FROM identity__refreshes")
        assert rows[0]["n"] <= 2


# What an administrator does -----------------------------------------------------------------------------------------


async def test_a_demotion_bites_at_the_next_request_and_the_session_goes_on_with_what_is_left(hub: Asking) -> None:
    grant = await hub.person("demoted", "admin", "user")
    assert (await hub.ask("GET", "/api/users", token=grant["access_token"])).status == 200
    await hub.person("second-admin", "admin")
    changed = await hub.ask("PATCH", "/api/users/demoted", {"roles": ["user"]}, console=True)
    assert (changed.status, changed.json["is_admin"]) == (200, False)
    assert (await hub.ask("GET", "/api/users", token=grant["access_token"])).status == 401
    renewed = (await refresh(hub, grant["refresh_token"])).json["access_token"]
    assert (await hub.ask("GET", "/api/users", token=renewed)).status == 403
    assert (await hub.ask("GET", "/api/jobs", token=renewed)).status == 200


async def test_a_promotion_needs_no_new_token(hub: Asking) -> None:
    token = (await hub.person("promoted"))["access_token"]
    assert (await hub.ask("GET", "/api/users", token=token)).status == 403
    await hub.ask("PATCH", "/api/users/promoted", {"roles": ["admin", "user"]}, console=True)
    assert (await hub.ask("GET", "/api/users", token=token)).status == 200


async def test_a_disabled_account_may_not_do_anything_until_it_is_enabled(hub: Asking) -> None:
    grant = await hub.person("disabled")
    await hub.ask("PATCH", "/api/users/disabled", {"active": False}, console=True)
    assert await me(hub, grant["access_token"]) == 401
    assert (await refresh(hub, grant["refresh_token"])).status == 401
    refused = await hub.ask("POST", "/api/auth/login", form={"username": "disabled", "password": PASSWORD})
    assert refused.json == {"detail": "Invalid authentication credentials"}
    await hub.ask("PATCH", "/api/users/disabled", {"active": True}, console=True)
    assert await me(hub, (await hub.login("disabled"))["access_token"]) == 200


async def test_a_removed_accounts_name_is_never_given_to_somebody_else(hub: Asking) -> None:
    grant = await hub.person("removed")
    assert (await hub.ask("DELETE", "/api/users/removed", console=True)).status == 204
    assert await me(hub, grant["access_token"]) == 401
    assert (await hub.ask("GET", "/api/users/removed", console=True)).status == 404
    again = await hub.ask("POST", "/api/auth/register", {"username": "removed", "password": PASSWORD})
    assert [error["field"] for error in again.json["errors"]] == ["username"]


async def test_a_password_that_an_administrator_sets_ends_every_session(hub: Asking) -> None:
    grant = await hub.person("forgetful")
    asked = {"new": "yet another password"}
    assert (await hub.ask("POST", "/api/users/forgetful/password", asked, console=True)).status == 204
    assert await me(hub, grant["access_token"]) == 401
    assert (await hub.login("forgetful", "yet another password"))["token_type"] == "bearer"


async def test_the_only_administrator_is_neither_demoted_nor_removed(tmp_path: Path) -> None:
    async with whole_hub(tmp_path) as server, asking(server) as hub:
        await hub.person("root", "admin")
        for method, body in (("PATCH", {"roles": ["user"]}), ("PATCH", {"active": False}), ("DELETE", None)):
            refused = await hub.ask(method, "/api/users/root", body, console=True)
            assert (refused.status, refused.json["code"]) == (409, "CONFLICT")
        await hub.person("other", "admin")
        assert (await hub.ask("DELETE", "/api/users/root", console=True)).status == 204


async def test_accounts_are_listed_page_by_page(hub: Asking) -> None:
    for name in ("page-a", "page-b", "page-c"):
        await hub.ask("POST", "/api/users", {"name": name, "password": PASSWORD}, console=True)
    page = (await hub.ask("GET", "/api/users?limit=2&after=page-", console=True)).json
    assert ([user["name"] for user in page["users"]], page["next"]) == (["page-a", "page-b"], "page-b")
    assert "password" not in str(page)


@pytest.mark.parametrize("roles", [["a b"], ["role:user"], [""], ["x" * 65]])
async def test_a_role_is_a_plain_word(hub: Asking, roles: list[str]) -> None:
    await hub.ask("POST", "/api/users", {"name": "roles", "password": PASSWORD}, console=True)
    refused = await hub.ask("PATCH", "/api/users/roles", {"roles": roles}, console=True)
    assert (refused.status, refused.json["details"]["field"]) == (400, "roles")


# Service tokens -----------------------------------------------------------------------------------------------------


async def token(hub: Asking, name: str, *scopes: str, **more: Any) -> str:
    made = await hub.ask("POST", "/api/tokens", {"name": name, "scopes": list(scopes)} | more, console=True)
    assert made.status == 201, made.json
    return str(made.json["secret"])


async def test_a_token_of_an_account_may_do_what_both_may(hub: Asking) -> None:
    await hub.person("scoped", "admin")
    secret = await token(hub, "narrow", "job:read:own", "user:read", user="scoped")
    assert (await hub.ask("GET", "/api/jobs", token=secret)).status == 200
    assert (await hub.ask("GET", "/api/users", token=secret)).status == 200
    refused = await hub.ask("POST", "/api/memory", {"content": "x"}, token=secret)
    assert refused.status == 403
    assert "does not have the scope memory:write:own" in refused.json["error"]


async def test_a_token_without_an_account_may_do_what_the_policy_says_of_it_and_nothing_else(hub: Asking) -> None:
    secret = await token(hub, "lonely", "job:read:own")
    refused = await hub.ask("GET", "/api/jobs", token=secret)
    assert refused.status == 403
    assert '"token:lonely" = ["job:read:own"]' in refused.json["error"]


async def test_a_token_is_shown_once_and_kept_as_a_hash(hub: Asking) -> None:
    secret = await token(hub, "hashed", "job:read:own")
    assert secret.startswith("aek_")
    listed = (await hub.ask("GET", "/api/tokens?after=hashe", console=True)).json["tokens"][0]
    assert (listed["name"], listed["state"], listed["last_used"]) == ("hashed", "holds", None)
    assert secret not in str(listed)
    home = hub.server.kernel.config.paths.home
    assert not any(secret.encode() in path.read_bytes() for path in home.glob("aetherra.db*"))
    await hub.ask("GET", "/api/jobs", token=secret)
    listed = (await hub.ask("GET", "/api/tokens?after=hashe", console=True)).json["tokens"][0]
    assert listed["last_used"] is not None


async def test_a_revoked_token_proves_nobody(hub: Asking) -> None:
    await hub.person("revoking")
    secret = await token(hub, "revoked", "job:read:own", user="revoking")
    assert (await hub.ask("GET", "/api/jobs", token=secret)).status == 200
    assert (await hub.ask("DELETE", "/api/tokens/revoked", console=True)).json["state"] == "revoked"
    assert (await hub.ask("GET", "/api/jobs", token=secret)).status == 401
    taken = await hub.ask("POST", "/api/tokens", {"name": "revoked", "scopes": ["job:read:own"]}, console=True)
    assert taken.status == 409


async def test_a_token_ends_with_its_days_and_with_its_account(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        await hub.person("mortal")
        short = await token(hub, "short", "job:read:own", user="mortal", expires_days=1)
        long = await token(hub, "long", "job:read:own", user="mortal", expires_days=None)
        await clock.advance(86_399)
        assert (await hub.ask("GET", "/api/jobs", token=short)).status == 200
        await clock.advance(2)
        assert (await hub.ask("GET", "/api/jobs", token=short)).status == 401
        assert (await hub.ask("GET", "/api/jobs", token=long)).status == 200
        await hub.ask("DELETE", "/api/users/mortal", console=True)
        assert (await hub.ask("GET", "/api/jobs", token=long)).status == 401


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"scopes": []}, "1 to 64 scopes"),
        ({"scopes": ["job:raed"]}, "did you mean 'job:read'?"),
        ({"scopes": ["nonsense"]}, "is no right"),
        ({"name": "A B"}, "a-z, 0-9"),
        ({"name": "ai-api"}, "one of the hub's own"),
        ({"user": "nobody-such"}, "no user"),
    ],
)
async def test_what_cannot_be_a_token_is_refused_with_what_it_should_be(
    hub: Asking, asked: dict[str, Any], words: str
) -> None:
    refused = await hub.ask("POST", "/api/tokens", {"name": "refused", "scopes": ["job:read"]} | asked, console=True)
    assert refused.status in (400, 404)
    assert words in refused.json["error"]


async def test_the_documented_static_tokens_have_their_scopes(tmp_path: Path) -> None:
    settings = {"plugins.identity.ai_api_token": "a-static-token-of-many-letters"}
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        refused = await hub.ask("GET", "/api/jobs", token="a-static-token-of-many-letters")
        assert refused.status == 403
        assert "token:ai-api" in refused.json["error"]
        assert (await hub.ask("GET", "/api/jobs", token="a-static-token-of-many-letterS")).status == 401


# The first administrator --------------------------------------------------------------------------------------------


async def test_a_set_up_code_makes_one_administrator_within_a_quarter_of_an_hour(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        path = server.kernel.config.paths.home / "setup-code"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        asked = {"code": path.read_text().strip(), "username": "root", "password": PASSWORD}
        wrong = await hub.ask("POST", "/api/auth/setup", asked | {"code": "setup-aaaaa-aaaaa-aaaaa-aaaaa"})
        assert wrong.status == 403
        await clock.advance(901)
        assert (await hub.ask("POST", "/api/auth/setup", asked)).status == 403
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        asked["code"] = path.read_text().strip()
        assert (await hub.ask("POST", "/api/auth/setup", asked | {"password": "short"})).status == 400
        made = await hub.ask("POST", "/api/auth/setup", asked)
        assert (made.status, made.json["is_admin"]) == (201, True)
        assert not path.exists()
        assert (await hub.ask("POST", "/api/auth/setup", asked | {"username": "again"})).status == 403
    async with whole_hub(tmp_path, clock=clock):
        assert not path.exists()


async def test_a_set_up_code_that_is_sent_twice_at_once_makes_one_administrator(tmp_path: Path) -> None:
    async with whole_hub(tmp_path) as server, asking(server) as hub:
        code = (server.kernel.config.paths.home / "setup-code").read_text().strip()
        asked = [{"code": code, "username": f"root{n}", "password": PASSWORD} for n in range(4)]
        answers = await asyncio.gather(*(hub.ask("POST", "/api/auth/setup", one) for one in asked))
        assert sorted(answer.status for answer in answers) == [201, 403, 403, 403]


async def test_a_set_up_code_is_worth_nothing_once_there_is_an_administrator_by_another_way(tmp_path: Path) -> None:
    async with whole_hub(tmp_path) as server, asking(server) as hub:
        code = (server.kernel.config.paths.home / "setup-code").read_text().strip()
        await hub.person("ada")
        await hub.ask("PATCH", "/api/users/ada", {"roles": ["admin"]}, console=True)
        asked = {"code": code, "username": "eve", "password": PASSWORD}
        assert (await hub.ask("POST", "/api/auth/setup", asked)).status == 403


async def test_the_first_account_that_is_registered_is_no_administrator(tmp_path: Path) -> None:
    async with whole_hub(tmp_path) as server, asking(server) as hub:
        made = await hub.ask("POST", "/api/auth/register", {"username": "first", "password": PASSWORD})
        assert made.json["is_admin"] is False


async def test_registration_can_be_closed(tmp_path: Path) -> None:
    closed = {"plugins.identity.registration": "closed"}
    async with whole_hub(tmp_path, settings=closed) as server, asking(server) as hub:
        refused = await hub.ask("POST", "/api/auth/register", {"username": "first", "password": PASSWORD})
        assert (refused.status, "aether users add" in refused.json["detail"]) == (403, True)


async def test_the_administrator_of_the_environment_is_made_once_and_keeps_the_password_that_he_chose(
    tmp_path: Path,
) -> None:
    given = {"plugins.identity.admin_user": "Root", "plugins.identity.admin_password": "first password!"}
    async with whole_hub(tmp_path, settings=given) as server, asking(server) as hub:
        token = (await hub.login("root", "first password!"))["access_token"]
        change = {"current": "first password!", "new": PASSWORD}
        assert (await hub.ask("POST", "/api/auth/password", change, token=token)).status == 200
    async with whole_hub(tmp_path, settings=given) as server, asking(server) as hub:
        assert (await hub.login("root", PASSWORD))["token_type"] == "bearer"
        await hub.ask("POST", "/api/auth/login", form={"username": "root", "password": "first password!"})


# Keys ---------------------------------------------------------------------------------------------------------------


async def test_keys_are_rotated_and_the_one_before_still_verifies(tmp_path: Path) -> None:
    clock = TestClock()
    settings = {"plugins.identity.rotation_days": 1.0, "plugins.identity.access_minutes": 1_440}
    async with whole_hub(tmp_path, settings=settings, clock=clock) as server, asking(server) as hub:
        keys = server.kernel.config.paths.home / "keys"
        first = await hub.person("rotating")
        await clock.advance(43_000)
        late = await hub.login("rotating")
        await clock.advance(43_500)
        second = await hub.login("rotating")
        assert len(list(keys.glob("access-*.pem"))) == 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
        statuses = [await me(hub, grant["access_token"]) for grant in (first, late, second)]
        assert statuses == [401, 200, 200]  # the first has expired


async def test_keys_that_are_replaced_end_every_access_token_and_no_session(hub: Asking) -> None:
    grant = await hub.person("replaced")
    assert (await hub.ask("POST", "/api/tokens/keys", console=True)).json["kid"]
    assert await me(hub, grant["access_token"]) == 401
    assert await me(hub, (await refresh(hub, grant["refresh_token"])).json["access_token"]) == 200


# Tickets ------------------------------------------------------------------------------------------------------------


async def test_a_ticket_opens_one_socket_within_half_a_minute(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        access = (await hub.person("ticketed"))["access_token"]
        path = f"{hub.url}/api/events/ws"

        async def ticket() -> str:
            return str((await hub.ask("POST", "/api/auth/ticket", token=access)).json["ticket"])

        async def opened(text: str) -> bool:
            async with hub.tcp.ws_connect(f"{path}?ticket={text}") as socket:
                await socket.send_str("{}")
                return (await socket.receive_json())["code"] != "UNAUTHENTICATED"

        once = await ticket()
        assert [await opened(once), await opened(once)] == [True, False]
        late = await ticket()
        await clock.advance(31)
        assert not await opened(late)
        ended = await ticket()
        await hub.ask("POST", "/api/auth/logout", token=access)
        assert not await opened(ended)


# What was set going -------------------------------------------------------------------------------------------------

GATE = '''
"""gate lets a script wait until a test opens it."""
import asyncio
from kernel import Context, Plugin

gate = Plugin("gate", version="1.0.0")
reached, opened = asyncio.Event(), asyncio.Event()

@gate.function("wait", effect="free", needs="log:write")
async def wait(ctx: Context) -> str:
    """Wait until it is opened."""
    reached.set()
    await opened.wait()
    return "open"

@gate.get("/api/gate/reached", needs="health:read")
async def until_reached() -> str:
    await reached.wait()
    reached.clear()
    opened.clear()
    return "reached"

@gate.post("/api/gate/open", needs="health:read")
async def open_gate() -> None:
    opened.set()
'''
SCOPES = ("script:run", "memory:write:own", "job:read:own", "log:write")
SOURCE = 'gate.wait()\nremember("after the gate")\nreturn "done"'


@pytest.mark.parametrize("how", ["demoted", "disabled", "revoked", "stolen", "nothing", "logged out"])
async def test_a_run_under_way_may_do_what_its_user_may_by_now(tmp_path: Path, how: str) -> None:
    async with whole_hub(tmp_path, plugins={"gate": GATE}) as server, asking(server) as hub:
        grant = await hub.person("runner")
        access = grant["access_token"]
        if how == "revoked":
            access = await token(hub, "run", *SCOPES, user="runner")
        job = await hub.ask("POST", "/api/scripts/run", {"source": SOURCE}, token=access)
        assert job.status == 201, job.json
        await hub.ask("GET", "/api/gate/reached")
        match how:
            case "demoted":
                await hub.ask("PATCH", "/api/users/runner", {"roles": []}, console=True)
            case "disabled":
                await hub.ask("PATCH", "/api/users/runner", {"active": False}, console=True)
            case "revoked":
                await hub.ask("DELETE", "/api/tokens/run", console=True)
            case "stolen":
                await refresh(hub, grant["refresh_token"])
                await refresh(hub, grant["refresh_token"])
            case "logged out":
                await hub.ask("POST", "/api/auth/logout", token=access)
        await hub.ask("POST", "/api/gate/open")
        path = f"/api/jobs/{job.json['job_id']}"
        async with asyncio.timeout(10):
            while (ended := await hub.ask("GET", path, console=True)).json["status"] in ("pending", "running"):
                await asyncio.sleep(0.01)
        if how in ("nothing", "logged out"):  # whoever leaves does not take back what he set going
            assert ended.json["status"] == "completed", ended.json
        else:
            assert (ended.json["status"], ended.json["error"]["code"]) == ("failed", "CAPABILITY_DENIED"), ended.json
