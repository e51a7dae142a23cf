"""How often a client may ask: the windows themselves, and what a client gets to see of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asking import asking
from hypothesis import given
from hypothesis import strategies as st
from whole_hub import whole_hub

from hub.client import Clients
from hub.rates import Exact, Weighted, Windows
from hub.settings import HubSettings
from kernel import ConfigError
from kernel.testing import TestClock

STEPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 90)), max_size=80)

# The windows --------------------------------------------------------------------------------------------------------


@given(STEPS, st.integers(1, 8))
def test_an_exact_window_never_takes_more_than_its_bound_in_any_minute_and_never_fewer(
    steps: list[float], bound: int
) -> None:
    window, now, taken = Exact(), 1_000.0, []
    for seconds in steps:
        now += seconds
        recent = [at for at in taken if at > now - 60.0]
        verdict = window.take(bound, now)
        assert (verdict.wait_s is None) == (len(recent) < bound)
        if verdict.wait_s is None:
            taken.append(now)
            assert verdict.remaining == bound - len(recent) - 1
        else:
            assert window.take(bound, now + verdict.wait_s + 0.001).wait_s is None
            taken.append(now + verdict.wait_s + 0.001)
            now += verdict.wait_s + 0.001


@given(STEPS, st.integers(1, 8))
def test_a_weighted_window_takes_its_bound_at_once_and_at_most_twice_that_in_any_minute(
    steps: list[float], bound: int
) -> None:
    window, now, taken = Weighted(), 1_000.0, []
    for seconds in steps:
        now += seconds
        if window.take(bound, now) is None:
            taken.append(now)
        assert len([at for at in taken if at > now - 60.0]) <= 2 * bound
    fresh = Weighted()
    assert [fresh.take(bound, now) is None for _ in range(bound + 1)] == [True] * bound + [False]


def test_a_weighted_window_lets_a_steady_client_go_on_at_its_bound() -> None:
    window = Weighted()
    assert all(window.take(60, 1_000.0 + second * 1.02) is None for second in range(600))


def test_a_refused_client_is_told_when_the_next_request_is_taken() -> None:
    window = Exact()
    for second in range(3):
        window.take(3, float(second))
    assert window.take(3, 10.0).wait_s == pytest.approx(50.0)
    assert window.take(3, 60.01).wait_s is None


def test_of_more_clients_than_are_counted_the_one_that_asked_longest_ago_begins_anew() -> None:
    windows = Windows(Exact, 2)
    for client in ("a", "b", "a", "c"):
        windows.of(client).take(2, 0.0)
    assert len(windows) == 2
    assert windows.of("a").take(2, 0.0).wait_s is not None  # still known, with two requests
    assert windows.of("b").take(2, 0.0).remaining == 1


# What a client sees -------------------------------------------------------------------------------------------------


def limits(**numbers: int) -> dict[str, Any]:
    return {f"limits.{name}": number for name, number in numbers.items()}


async def test_the_paths_of_the_aimos_document_tell_what_is_left_and_refuse_as_it_says(tmp_path: Path) -> None:
    clock = TestClock()
    async with whole_hub(tmp_path, clock=clock) as server, asking(server) as hub:
        ada, root = await hub.person("ada"), await hub.person("root", "admin")
        answers = [await hub.ask("GET", "/api/auth/me", token=ada["access_token"]) for _ in range(101)]
        first, last = answers[0].headers, answers[-1]
        assert (first["X-RateLimit-Limit"], first["X-RateLimit-Remaining"]) == ("100", "99")
        assert int(first["X-RateLimit-Reset"]) == int(clock.now() + 60)
        assert [answer.status for answer in answers] == [200] * 100 + [429]
        assert last.json == {"detail": "Rate limit exceeded", "retry_after": 60}
        assert (last.headers["Retry-After"], last.headers["X-RateLimit-Remaining"]) == ("60", "0")
        admin = await hub.ask("GET", "/api/auth/me", token=root["access_token"])
        assert admin.headers["X-RateLimit-Limit"] == "200"
        assert (await hub.ask("GET", "/api/jobs", token=ada["access_token"])).status == 200  # another document's path
        await clock.advance(61)
        assert (await hub.ask("GET", "/api/auth/me", token=ada["access_token"])).status == 200


async def test_a_new_token_session_or_path_gives_no_new_window(tmp_path: Path) -> None:
    settings = limits(aimos_requests_per_minute=3)
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        grants = [await hub.person("ada"), await hub.login("ada")]
        paths = ["/api/auth/me", "/api/auth/me/", "/api/auth/me?x=1", "/api/auth/%6de"]
        statuses = [(await hub.ask("GET", p, token=grants[n % 2]["access_token"])).status for n, p in enumerate(paths)]
        assert statuses == [200, 200, 200, 429]


async def test_elsewhere_a_generous_bound_holds_and_health_and_metrics_are_exempt(tmp_path: Path) -> None:
    settings = limits(requests_per_minute=5)
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        statuses = [(await hub.ask("GET", "/api/jobs")).status for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        refused = await hub.ask("GET", "/api/jobs")
        assert (refused.json["code"], "Retry-After" in refused.headers) == ("RATE_LIMITED", True)
        for path in ("/health", "/health/live", "/health/ready", "/api/health", "/metrics"):
            assert [(await hub.ask("GET", path)).status for _ in range(8)] == [200] * 8


async def test_a_client_is_known_by_its_address_and_cannot_choose_one(tmp_path: Path) -> None:
    settings = limits(requests_per_minute=3) | {"hub.allow_insecure_bind": True, "hub.host": "0.0.0.0"}
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        # Nobody named a proxy, so what the header says counts for nothing.
        made_up = [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(4)]
        assert [(await hub.ask("GET", "/api/jobs", headers=h)).status for h in made_up] == [200, 200, 200, 429]
    trusting = settings | {"hub.trusted_proxies": ("127.0.0.1",)}
    async with whole_hub(tmp_path, settings=trusting) as server, asking(server) as hub:
        assert [(await hub.ask("GET", "/api/jobs", headers=h)).status for h in made_up] == [200] * 4
        # Only what the trusted proxy added counts: a client may send the rest itself.
        longer = [{"X-Forwarded-For": f"10.0.0.{n}, 198.51.100.7"} for n in range(4)]
        assert [(await hub.ask("GET", "/api/jobs", headers=h)).status for h in longer] == [200, 200, 200, 429]


async def test_whoever_tries_tokens_is_bounded_by_address(tmp_path: Path) -> None:
    settings = limits(requests_per_minute=4)
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        statuses = [(await hub.ask("GET", "/api/jobs", token=f"aek_{n}")).status for n in range(6)]
        assert statuses == [401] * 4 + [429] * 2
        assert (await hub.ask("GET", "/api/jobs")).status == 200  # others on this machine are not hindered


async def test_a_jump_of_the_wall_clock_neither_opens_nor_closes_a_window(tmp_path: Path) -> None:
    clock = TestClock()
    settings = limits(requests_per_minute=2)
    async with whole_hub(tmp_path, settings=settings, clock=clock) as server, asking(server) as hub:
        assert [(await hub.ask("GET", "/api/jobs")).status for _ in range(3)] == [200, 200, 429]
        for seconds in (31_536_000, -31_536_000):
            clock.jump_wall(seconds)
            assert (await hub.ask("GET", "/api/jobs")).status == 429


# Who the client is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_what_a_proxy_that_nobody_named_forwards_is_not_taken_for_this_machine(
    tmp_path: Path, header: str
) -> None:
    async with whole_hub(tmp_path) as server, asking(server) as hub:
        assert (await hub.ask("GET", "/api/jobs")).status == 200
        assert (await hub.ask("GET", "/api/jobs", headers={header: "127.0.0.1"})).status == 401


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "127.0.0.1", "127.0.0.1, 203.0.113.9", "no address", ""])
async def test_nor_is_what_a_named_one_forwards(tmp_path: Path, forwarded: str) -> None:
    settings = {"hub.trusted_proxies": ("127.0.0.1",)}
    async with whole_hub(tmp_path, settings=settings) as server, asking(server) as hub:
        assert (await hub.ask("GET", "/api/jobs", headers={"X-Forwarded-For": forwarded})).status == 401


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["10.9.9.9, 203.0.113.9"], "203.0.113.9"),
        (["10.9.9.9", "203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (["203.0.113.9, no address"], "127.0.0.1"),
        ([""], "127.0.0.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
    ],
)
def test_the_address_is_the_last_one_that_no_named_proxy_has(lines: list[str], address: str) -> None:
    clients = Clients(HubSettings(trusted_proxies=("127.0.0.1", "10.0.0.0/24")))
    assert clients._forwarded("127.0.0.1", lines) == address


def test_a_proxy_that_is_no_address_is_an_error_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"hub\.trusted_proxies: 'proxy'"):
        Clients(HubSettings(trusted_proxies=("proxy",)))
