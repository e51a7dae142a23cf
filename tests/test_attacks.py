"""Attacks on the hub's doors, each with a harmless twin: what is refused is the attack, and not a typo in it.

A case is two requests to one hub: the attack, whose answer must have one of the statuses of a refusal and nothing of
what it was after, and its twin, which differs in what makes it an attack and nothing else, and must succeed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from asking import PASSWORD, Asking, asking
from raw_socket import HANDSHAKE, Answered, read_response
from whole_hub import whole_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Ask:
    """One request. `{words}` in path, header values and body are what the house holds: tokens, ids, its port."""

    method: str = "GET"
    path: str = "/api/jobs"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    raw: bytes | None = None
    token: str = ""
    media: str = JSON
    lines: tuple[str, ...] = ()
    """Further lines of the head, as they are."""
    host: str | None = "localhost:{port}"


@dataclass(frozen=True)
class Case:
    """An attack, what refuses it, and its twin."""

    name: str
    attack: Ask
    refused: tuple[int, ...]
    twin: Ask
    fine: tuple[int, ...] = (200, 201, 202, 204)
    never: str = ""
    """What must not be in the answer to the attack."""


class House:
    """A hub with people in it, and what an attacker may know or be after."""

    def __init__(self, hub: Asking, words: Mapping[str, str]) -> None:
        self.hub = hub
        self.words = dict(words)

    def filled(self, text: str) -> str:
        """Return text with the words of the house in it."""
        for name, word in self.words.items():
            text = text.replace("{" + name + "}", word)
        return text

    async def send(self, ask: Ask) -> Answered:
        """Send a request just as it is written, and return the answer."""
        body = ask.raw if ask.raw is not None else b""
        if ask.body is not None:
            body = self.filled(ask.body if isinstance(ask.body, str) else json.dumps(ask.body)).encode()
        head = {"Host": ask.host} if ask.host is not None else {}
        head["Connection"] = "close"
        if ask.token:
            head["Authorization"] = "Bearer {" + ask.token + "}"
        if body:
            head |= {"Content-Type": ask.media, "Content-Length": str(len(body))}
        head |= ask.headers
        lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items() if v), *ask.lines]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.server.port)
        try:
            writer.write(self.filled("\r\n".join(lines)).encode("utf-8") + b"\r\n\r\n" + body)
            async with asyncio.timeout(10):
                return await read_response(reader)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One hub: ada has things of her own, mallory is another user, and root administers."""
    home = tmp_path_factory.mktemp("attacked")
    settings = {f"limits.{name}requests_per_minute": 1_000_000 for name in ("", "aimos_", "aimos_admin_")} | {
        "plugins.identity.login_failures": 1_000,
        "hub.allowed_origins": ("https://ui.example.org",),
    }
    async with whole_hub(home, settings=settings) as server, asking(server) as hub:
        grants = {
            name: await hub.person(name, role)
            for name, role in (("ada", "user"), ("mallory", "user"), ("root", "admin"))
        }
        words = {name: grant["access_token"] for name, grant in grants.items()}
        words |= {f"{name}_refresh": grant["refresh_token"] for name, grant in grants.items()}
        memory = await hub.ask("POST", "/api/memory", {"content": "the tea is in the cellar"}, token=words["ada"])
        job = await hub.ask("POST", "/api/scripts/run", {"source": 'return "cellar"'}, token=words["ada"])
        secret = await hub.ask(
            "POST",
            "/api/tokens",
            {"name": "ada-ci", "scopes": ["job:read:own", "health:read"], "user": "ada"},
            console=True,
        )
        gone = await hub.ask(
            "POST", "/api/tokens", {"name": "gone", "scopes": ["job:read:own"], "user": "ada"}, console=True
        )
        await hub.ask("DELETE", "/api/tokens/gone", console=True)
        words |= {"memory": str(memory.json["id"]), "job": job.json["job_id"], "ci": secret.json["secret"]}
        words |= {"gone": gone.json["secret"], "port": str(server.port), "upper": secret.json["secret"].swapcase()}
        yield House(hub, words)


# A page in the browser of somebody on this machine ------------------------------------------------------------------

RUN = Ask("POST", "/api/scripts/run", body={"source": "return 1"})


def run(**changes: Any) -> Ask:
    """Return the request that runs a script, with changes."""
    return Ask(**{"method": RUN.method, "path": RUN.path, "body": RUN.body, **changes})


def origin(of: str, **more: Any) -> Ask:
    return run(headers={"Origin": of, **more})


OWN = origin("http://localhost:{port}")
UPGRADE = {name: value for name, value in HANDSHAKE.items() if name != "Connection"} | {"Connection": "Upgrade"}


def socket(**headers: str) -> Ask:
    return Ask(path="/api/events/ws", headers={**UPGRADE, **headers})


WEB = [
    Case("a page of another origin runs a script", origin("https://evil.example"), (403,), OWN),
    Case("a page without an origin runs a script", origin("null"), (403,), OWN),
    Case("a page on another port of this machine", origin("http://localhost:8080"), (403,), OWN),
    Case("an origin that begins as ours does", origin("http://localhost:{port}.evil.example"), (403,), OWN),
    Case("an origin that ends as ours does", origin("http://evil.example#localhost:{port}"), (403,), OWN),
    Case("an origin with our name as its user", origin("http://localhost:{port}@evil.example"), (403,), OWN),
    Case("our own name over TLS, which is not ours", origin("https://localhost:{port}"), (403,), OWN),
    Case(
        "a listed origin on another port",
        origin("https://ui.example.org:444"),
        (403,),
        origin("https://ui.example.org"),
    ),
    Case("a listed origin without TLS", origin("http://ui.example.org"), (403,), origin("https://ui.example.org")),
    Case("a name below a listed origin", origin("https://x.ui.example.org"), (403,), origin("https://ui.example.org")),
    Case(
        "a form that a page of another site sends",
        run(headers={"Sec-Fetch-Site": "cross-site"}),
        (403,),
        run(headers={"Sec-Fetch-Site": "none"}),
    ),
    Case(
        "the same from another port of this machine",
        run(headers={"Sec-Fetch-Site": "same-site"}),
        (403,),
        run(headers={"Sec-Fetch-Site": "same-origin"}),
    ),
    Case("a body that a form can send as text", run(media="text/plain"), (415,), run()),
    Case("a body that a form can send as fields", run(media=FORM), (415,), run()),
    Case("a body that a form can send in parts", run(media="multipart/form-data; boundary=x"), (415,), run()),
    Case(
        "JSON as a parameter of text",
        run(media="text/plain; application/json"),
        (415,),
        run(media="application/json; charset=utf-8"),
    ),
    Case("a body without a type", run(headers={"Content-Type": ""}), (415,), run()),
    Case(
        "a body that is packed",
        run(headers={"Content-Encoding": "gzip"}),
        (415,),
        run(headers={"Content-Encoding": "identity"}),
    ),
    Case(
        "an image whose address cancels a job",
        Ask("GET", "/api/cancel/{job}"),
        (405,),
        Ask("GET", "/api/jobs/{job}", token="ada"),
    ),
    Case(
        "another method in a header",
        Ask("GET", "/api/memory/{memory}", {"X-HTTP-Method-Override": "DELETE"}),
        (404,),
        Ask("GET", "/api/memory/{memory}", token="ada"),
        never="cellar",
    ),
    Case("a name that was rebound to this address", run(host="evil.example:{port}"), (421,), run()),
    Case("a rebound name that ends as ours does", run(host="evil.localhost:{port}"), (421,), run()),
    Case("our name with a dot behind it", run(host="localhost.:{port}"), (421,), run()),
    Case("our name with a user before it", run(host="evil@localhost:{port}"), (400, 421), run()),
    Case("two hosts", run(lines=("Host: evil.example",)), (400,), run()),
    Case("no host", run(host=None), (400,), run()),
    Case("a forwarded host", run(host="evil.example:{port}", headers={"X-Forwarded-Host": "localhost"}), (421,), run()),
    Case(
        "an address with a whole other host in it",
        run(path="http://evil.example/api/scripts/run", host="evil.example"),
        (400, 404, 421),
        run(),
    ),
    Case(
        "a socket of another origin's page",
        socket(Origin="https://evil.example"),
        (403,),
        socket(Origin="http://localhost:{port}"),
        (101,),
    ),
    Case("a socket of a page without an origin", socket(Origin="null"), (403,), socket(), (101,)),
    Case(
        "a socket to a rebound name",
        Ask(path="/api/events/ws", headers=UPGRADE, host="evil.example"),
        (421,),
        socket(),
        (101,),
    ),
    Case(
        "a socket with its token in the address",
        Ask(path="/api/events/ws?token={ada}", headers=UPGRADE),
        (400,),
        socket(Authorization="Bearer {ada}"),
        (101,),
    ),
]

# Somebody who wants to be somebody else -----------------------------------------------------------------------------

ME = Ask("GET", "/api/auth/me")
ADAS_ME = Ask("GET", "/api/auth/me", token="ada")


def me(**changes: Any) -> Ask:
    return Ask(**{"method": "GET", "path": "/api/auth/me", **changes})


def header(value: str) -> Ask:
    return me(headers={"Authorization": value})


def login(body: str) -> Ask:
    return Ask("POST", "/api/auth/login", body=body, media=FORM)


FINE_LOGIN = login(f"username=ada&password={PASSWORD.replace(' ', '+')}")


def register(**fields: Any) -> Ask:
    return Ask("POST", "/api/auth/register", body={"password": PASSWORD, **fields})


IDENTITY = [
    Case("a token in the address", me(path="/api/auth/me?access_token={ada}"), (401,), ADAS_ME, never="ada"),
    Case("a token in a cookie", me(headers={"Cookie": "access_token={ada}"}), (401,), ADAS_ME, never="ada"),
    Case("a token in another header", me(headers={"X-Api-Key": "{ada}"}), (401,), ADAS_ME, never="ada"),
    Case("a name in a header that proxies set", me(headers={"X-Forwarded-User": "root"}), (401,), ADAS_ME),
    Case(
        "a name in a header that gateways set",
        Ask("GET", "/api/users", {"X-Remote-User": "root", "X-Roles": "admin"}),
        (403,),
        Ask("GET", "/api/users", token="root"),
    ),
    Case("a password as Basic", header("Basic YWRhOmNvcnJlY3QgaG9yc2U="), (401,), header("Bearer {ada}")),
    Case(
        "two credentials",
        me(headers={"Authorization": "Bearer {mallory}"}, lines=("Authorization: Bearer {root}",)),
        (401,),
        ADAS_ME,
    ),
    Case("two tokens in one header", header("Bearer {mallory}, Bearer {root}"), (401,), header("Bearer {ada}")),
    Case("a refresh token as an access token", header("Bearer {ada_refresh}"), (401,), header("Bearer {ada}")),
    Case(
        "an access token as a refresh token",
        Ask("POST", "/api/auth/refresh", body={"refresh_token": "{root}"}),
        (401,),
        Ask("POST", "/api/auth/refresh", body={"refresh_token": "{root_refresh}"}),
    ),
    Case("a token that was revoked", Ask(token="gone"), (401,), Ask(token="ci")),
    Case("a token with one letter more", header("Bearer {ci}x"), (401,), Ask(token="ci")),
    Case("a token in other letters", header("Bearer {upper}"), (401,), Ask(token="ci")),
    Case(
        "a service token as a session",
        Ask("POST", "/api/auth/logout", token="ci"),
        (403,),
        Ask("POST", "/api/auth/ticket", token="ci"),
    ),
    Case("a ticket for nobody", Ask("POST", "/api/auth/ticket"), (401,), Ask("POST", "/api/auth/ticket", token="ada")),
    Case(
        "a made-up ticket", Ask(path="/api/events/ws?ticket=aet_x&token=x", headers=UPGRADE), (400,), socket(), (101,)
    ),
    Case("a log-in with two names", login("username=ada&username=root&password=x"), (400,), FINE_LOGIN),
    Case(
        "a log-in with a list of passwords",
        Ask("POST", "/api/auth/login", body={"username": "root", "password": ["a", "b"]}),
        (415,),
        FINE_LOGIN,
    ),
    Case("a log-in with a statement in it", login("username=ada'+OR+1%3D1--&password=x"), (401,), FINE_LOGIN),
    Case("a log-in with a zero byte", login("username=ada%00&password=correct+horse+battery"), (401,), FINE_LOGIN),
    Case("a log-in with an empty password", login("username=ada&password="), (401,), FINE_LOGIN),
    Case("a log-in with a pattern", login("username=a%25&password=correct+horse+battery"), (401,), FINE_LOGIN),
    Case("a name in other letters that look alike", register(username="аda"), (400,), register(username="adah")),
    Case("a name in wide letters", register(username="ａｄａ"), (400,), register(username="adam")),
    Case("a name with blanks around it", register(username=" ada "), (400,), register(username="adan")),
    Case("the name of the local user", register(username="local"), (400,), register(username="locals")),
    Case("a name with a colon", register(username="role:admin"), (400,), register(username="role-admin")),
    Case(
        "a set-up code on a hub that has an administrator",
        Ask("POST", "/api/auth/setup", body={"code": "", "username": "me", "password": PASSWORD}),
        (403,),
        register(username="set-up"),
    ),
]

# A user who wants more ----------------------------------------------------------------------------------------------


def theirs(method: str, path: str, body: Any = None) -> tuple[Ask, Ask]:
    return Ask(method, path, token="mallory", body=body), Ask(method, path, token="ada", body=body)


def authority(
    name: str, method: str, path: str, body: Any = None, fine: tuple[int, ...] = (200, 201, 202, 204)
) -> Case:
    attack, twin = theirs(method, path, body)
    return Case(name, attack, (404,), twin, fine, never="cellar")


def event(topic: str, token: str = "mallory") -> Ask:
    return Ask("POST", "/api/events", token=token, body={"topic": topic, "data": {"x": 1}})


AUTHORITY = [
    authority("another's memory is read", "GET", "/api/memory/{memory}"),
    authority("another's memory is changed", "PATCH", "/api/memory/{memory}", {"tags": ["mine"]}),
    authority("another's job is read", "GET", "/api/jobs/{job}"),
    authority("another's job is read in another dialect", "GET", "/status/{job}"),
    authority("another's job is followed", "GET", "/api/jobs/{job}/events"),
    authority("another's job is cancelled", "POST", "/api/cancel/{job}", fine=(200, 409)),
    authority("another's job is cancelled in another dialect", "POST", "/cancel/{job}", fine=(200, 409)),
    Case(
        "a user makes himself an administrator",
        Ask("PATCH", "/api/users/mallory", token="mallory", body={"roles": ["admin"]}),
        (403,),
        Ask("PATCH", "/api/users/mallory", token="root", body={"roles": ["user"]}),
    ),
    Case(
        "a user makes an account with roles",
        Ask("POST", "/api/users", token="mallory", body={"name": "evil", "password": PASSWORD, "roles": ["admin"]}),
        (403,),
        Ask("POST", "/api/users", token="root", body={"name": "good", "password": PASSWORD}),
    ),
    Case(
        "a user makes a token",
        Ask("POST", "/api/tokens", token="mallory", body={"name": "mine", "scopes": ["*"]}),
        (403,),
        Ask("POST", "/api/tokens", token="root", body={"name": "mine", "scopes": ["job:read:own"]}),
    ),
    Case(
        "a user lists who there is",
        Ask("GET", "/api/users", token="mallory"),
        (403,),
        Ask("GET", "/api/users", token="root"),
        never="root",
    ),
    Case(
        "a user changes the policy",
        Ask("POST", "/api/security/reload", token="mallory"),
        (403,),
        Ask("POST", "/api/security/reload", token="root"),
    ),
    Case(
        "a user loads a plugin anew",
        Ask("POST", "/api/klm/modules/memory/reload", token="mallory"),
        (403,),
        Ask("GET", "/api/klm/modules", token="mallory"),
    ),
    Case(
        "a user takes a plugin away",
        Ask("DELETE", "/api/plugins/memory", token="mallory"),
        (403,),
        Ask("GET", "/api/plugins/memory", token="mallory"),
    ),
    Case(
        "the local user takes a plugin away",
        Ask("DELETE", "/api/plugins/memory"),
        (403,),
        Ask("GET", "/api/plugins/memory"),
    ),
    Case("an event in the name of the kernel", event("module.loaded"), (403,), event("user.tea")),
    Case("an event that lets nobody in again", event("identity.changed"), (403,), event("user.tea")),
    Case("an event in the name of the policy", event("policy.loaded"), (403,), event("user.tea")),
    Case("an event in the name of a job", event("job.completed"), (403,), event("user.tea")),
    Case(
        "every event there is",
        Ask(path="/api/events?topics=%23", token="mallory"),
        (403,),
        Ask("POST", "/api/scripts/check", token="mallory", body={"source": "return 1"}),
    ),
    Case(
        "what was denied to others",
        Ask(path="/api/events?topics=capability.*", token="mallory"),
        (403,),
        Ask("GET", "/api/klm/status", token="mallory"),
    ),
    Case(
        "who logs in",
        Ask(path="/api/events?topics=identity.*", token="mallory"),
        (403,),
        Ask("GET", "/api/klm/status", token="mallory"),
    ),
    Case(
        "an owner of one's choice",
        Ask("POST", "/api/memory", token="mallory", body={"content": "x", "owner": "user:ada"}),
        (400,),
        Ask("POST", "/api/memory", token="mallory", body={"content": "x"}),
    ),
    Case(
        "a caller of one's choice",
        Ask("POST", "/api/scripts/run", token="mallory", body={"source": "return 1", "caller": "core:console"}),
        (400,),
        Ask("POST", "/api/scripts/run", token="mallory", body={"source": "return 1"}),
    ),
    Case(
        "a token that is wider than it is",
        Ask("GET", "/api/memory/status", token="ci"),
        (403,),
        Ask("GET", "/api/jobs", token="ci"),
    ),
]

# What breaks parsers ------------------------------------------------------------------------------------------------


def recall(**changes: Any) -> Ask:
    return Ask(**{"method": "POST", "path": "/api/memory/recall", "body": {"query": "tea"}, **changes})


def raw(text: bytes) -> Ask:
    return recall(raw=text, body=None)


PARSERS = [
    Case("lists in lists", raw(b'{"query":' + b"[" * 100 + b"]" * 100 + b"}"), (400, 413), recall()),
    Case("very many values", raw(b'{"tags":[' + b'"a",' * 20_000 + b'"a"]}'), (400, 413), raw(b'{"tags":["a","a"]}')),
    Case("one name twice", raw(b'{"query":"a","query":"b"}'), (400,), raw(b'{"query":"a"}')),
    Case("a number that is none", raw(b'{"since":NaN}'), (400,), raw(b'{"since":1}')),
    Case("a number without end", raw(b'{"since":Infinity}'), (400,), raw(b'{"since":1}')),
    Case("a number of 30 digits", raw(b'{"limit":' + b"9" * 30 + b"}"), (400,), raw(b'{"limit":9}')),
    Case("a text that is not UTF-8", raw(b'{"query":"\xff"}'), (400,), raw('{"query":"ä"}'.encode())),
    Case("half a pair of surrogates", raw(b'{"query":"\\ud800"}'), (400,), raw(b'{"query":"\\u00e4"}')),
    Case("a body that ends early", raw(b'{"query":"a"'), (400,), raw(b'{"query":"a"}')),
    Case("two bodies in one", raw(b"{}{}"), (400,), raw(b"{}")),
    Case("a body above its size", raw(b'{"query":"' + b"a" * 1_100_000 + b'"}'), (413,), recall()),
    Case("two lengths", recall(lines=("Content-Length: 3",)), (400,), recall()),
    Case("a length and pieces", recall(lines=("Transfer-Encoding: chunked",)), (400,), recall()),
    Case("a length with a sign", Ask("POST", "/api/memory/recall", lines=("Content-Length: +2",)), (400,), recall()),
    Case("a head in folded lines", Ask(lines=("X-A: 1", " 2")), (400,), Ask(lines=("X-A: 1 2",))),
    Case("a name of a header with a blank", Ask(lines=("X-A : 1",)), (400,), Ask(lines=("X-A: 1",))),
    Case(
        "very many fields of a head",
        Ask(lines=tuple(f"X-{n}: 1" for n in range(200))),
        (400, 431),
        Ask(lines=("X-1: 1",)),
    ),
    Case(
        "a very long head",
        Ask(headers={f"X-{n}": "a" * 8_000 for n in range(5)}),
        (400, 431),
        Ask(headers={"X-1": "a" * 8_000}),
    ),
    Case("a tunnel", Ask("CONNECT", "evil.example:443"), (400, 501), Ask()),
    Case("a method that nobody knows", Ask("TRACE"), (405,), Ask()),
]

# What hides in names and words --------------------------------------------------------------------------------------


def named(name: str) -> Ask:
    return Ask("POST", "/api/run", token="ada", body={"script": name})


FINE_NAME = named("system/goals")

WORDS = [
    Case("a script above the library", named("../../../etc/passwd"), (400, 404), FINE_NAME, never="root:"),
    Case("a script by its place on the disk", named("/etc/passwd"), (400, 404), FINE_NAME, never="root:"),
    Case("a script beside the library", named("system/../../README"), (400, 404), FINE_NAME),
    Case("a script by escapes", named("system%2fgoals/%2e%2e"), (400, 404), FINE_NAME),
    Case("a script with another slash", named("system\\goals"), (400, 404), FINE_NAME),
    Case("a script with a zero byte", named("system/goals\x00.aether"), (400, 404), FINE_NAME),
    Case("a script with a line break", named("system/goals\n"), (400, 404), FINE_NAME),
    Case("a script in other letters that look alike", named("systеm/goals"), (400, 404), FINE_NAME),
    Case(
        "a path that leaves its root",
        Ask("GET", "/docs/assets/..%2f..%2fpyproject.toml"),
        (404, 503),
        Ask("GET", "/health"),
        never="aiohttp",
    ),
    Case(
        "a path that is no UTF-8",
        Ask("GET", "/status/%ff", token="ada"),
        (400,),
        Ask("GET", "/status/{job}", token="ada"),
    ),
    Case(
        "an id with a statement in it",
        Ask("GET", "/api/memory/x'%20OR%20'1'='1", token="ada"),
        (400, 404),
        Ask("GET", "/api/memory/{memory}", token="ada"),
    ),
    Case(
        "a job's id with a statement in it",
        Ask("GET", "/status/x'%20UNION%20SELECT%20*%20--", token="ada"),
        (400, 404),
        Ask("GET", "/status/{job}", token="ada"),
    ),
    Case(
        "a plugin above its folder",
        Ask("POST", "/api/plugins/register", token="root", body={"name": "../../evil"}),
        (400, 404),
        Ask("GET", "/api/plugins/memory", token="root"),
    ),
    Case(
        "a key with a line break",
        Ask("POST", "/api/memory", {"Idempotency-Key": "a b"}, token="ada", body={"content": "x"}),
        (400,),
        Ask("POST", "/api/memory", {"Idempotency-Key": "a-b"}, token="ada", body={"content": "x"}),
    ),
    Case("a topic with a wildcard", event("user.*", "ada"), (400, 403), event("user.tea", "ada")),
    Case("a topic with a line break", event("user.tea\nid: 9", "ada"), (400,), event("user.tea", "ada")),
]

CASES = [*WEB, *IDENTITY, *AUTHORITY, *PARSERS, *WORDS]


async def test_there_are_more_than_eighty_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_an_attack_is_refused_and_its_harmless_twin_is_not(house: House, case: Case) -> None:
    answer = await house.send(case.attack)
    assert answer.status in case.refused, answer.body[:300]
    assert "access-control-allow-credentials" not in answer.headers
    assert not case.never or case.never.encode() not in answer.body
    twin = await house.send(case.twin)
    assert twin.status in case.fine, twin.body[:300]


# Attacks that take more than one request ----------------------------------------------------------------------------


async def test_extra_fields_of_a_registration_are_ignored_and_make_nobody_an_administrator(house: House) -> None:
    more = {"is_admin": True, "roles": ["admin"], "is_active": False, "id": "root", "must_change": False}
    answer = await house.send(
        Ask("POST", "/api/auth/register", body={"username": "massive", "password": PASSWORD, **more})
    )
    profile = answer.json
    assert (answer.status, profile["is_admin"], profile["is_active"]) == (201, False, True)
    assert profile["id"] != "root"
    grant = await house.hub.login("massive")
    assert (await house.hub.ask("GET", "/api/users", token=grant["access_token"])).status == 403


@pytest.mark.parametrize(
    "query", ['" OR 1=1 --', "tea NEAR cellar", "tea*", "content:cellar", "-x", '"', "(", "a AND", "^tea"]
)
async def test_words_to_search_for_are_words_and_no_statement(house: House, query: str) -> None:
    """The index's own operators find nothing of another, and are no error either."""
    for token in ("mallory", "ada"):
        answer = await house.send(Ask("POST", "/api/memory/recall", token=token, body={"query": query}))
        assert answer.status == 200, answer.body
        assert token == "ada" or b"cellar" not in answer.body


@pytest.mark.parametrize("given", ["a\r\nX-Evil: 1", "a\nb", "x" * 300, "<script>"])
async def test_a_request_id_cannot_write_into_the_head_of_the_answer(house: House, given: str) -> None:
    fine = await house.send(Ask(path="/health", lines=("X-Request-Id: fine-1",)))
    assert fine.headers["x-request-id"] == "fine-1"
    head = await house.send(Ask(path="/health", lines=(f"X-Request-Id: {given}",)))
    assert "x-evil" not in head.headers
    assert head.headers.get("x-request-id") != given
