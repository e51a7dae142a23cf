"""Logging in: what tells nothing, what is bounded, and what a failure costs whom."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import Overloaded


@pytest.fixture(scope="module")
def identity(load_plugin: Callable[[str], ModuleType]) -> Any:
    return load_plugin("identity")


# Passwords ----------------------------------------------------------------------------------------------------------


async def test_a_password_is_kept_as_argon2id_with_the_parameters_of_the_threat_model(identity: Any) -> None:
    hash = await identity.house.Hasher(2, 16).make("correct horse battery")
    assert hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct" not in hash


async def test_a_hash_of_weaker_parameters_is_known_to_be_outdated(identity: Any) -> None:
    from argon2 import PasswordHasher

    hasher = identity.house.Hasher(2, 16)
    old = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash("correct horse battery")
    assert await hasher.verify(old, "correct horse battery")
    assert hasher.outdated(old)
    assert not hasher.outdated(await hasher.make("x y z 1 2 3"))


async def test_a_password_does_not_depend_on_how_a_keyboard_composes_its_letters(identity: Any) -> None:
    hasher = identity.house.Hasher(2, 16)
    hash = await hasher.make("Frühstück um acht")
    assert await hasher.verify(hash, "Fru\u0308hstu\u0308ck um acht")
    assert not await hasher.verify(hash, "Fruhstuck um acht")


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_whatever_is_typed_is_a_password_or_told_why_not(identity: Any, text: str) -> None:
    wrong = identity.passwords.fault(text, "ada", "ada@example.org")
    assert wrong is None or wrong.startswith("Password")
    assert (wrong is None) <= (8 <= len(identity.passwords.normalised(text)) <= 128)


async def test_no_more_than_two_passwords_are_hashed_at_once_and_sixteen_wait(identity: Any) -> None:
    hasher, inside, most = identity.house.Hasher(2, 16), 0, 0
    lock, go = threading.Lock(), threading.Event()

    def work() -> bool:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go.wait(5)
        with lock:
            inside -= 1
        return True

    tasks = [asyncio.create_task(hasher._alone(work)) for _ in range(18)]
    while inside < 2:
        await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()  # their clients leave; their threads go on, and nobody takes their place
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    with pytest.raises(Overloaded) as refused:
        await hasher.verify(None, "x")
    assert (refused.value.code, refused.value.retry_after_s) == ("RATE_LIMITED", 1.0)
    go.set()
    assert all(await asyncio.gather(*tasks[2:]))
    assert most == 2
    assert not await hasher.verify(None, "x")  # there is room again


async def test_somebody_unknown_costs_as_much_time_as_a_wrong_password(identity: Any) -> None:
    hasher = identity.house.Hasher(1, 16)
    hash = await hasher.make("correct horse battery")
    await hasher.verify(None, "x")  # the dummy is made once
    known: list[float] = []
    unknown: list[float] = []
    for _ in range(15):  # interleaved, so that the machine's mood is the same for both
        for given_hash, times in ((hash, known), (None, unknown)):
            began = time.thread_time()
            hasher._fits(given_hash, "another one")
            times.append(time.thread_time() - began)
    gap = abs(statistics.median(known) - statistics.median(unknown)) / statistics.median(known)
    assert gap < 0.05 or abs(min(known) - min(unknown)) / min(known) < 0.05


# Failures -----------------------------------------------------------------------------------------------------------


def attempts(identity: Any, *, each: int = 10, all: int = 100) -> Any:
    return identity.house.Attempts(each=each, all=all, window_s=600.0)


def refused(bound: Any, account: str, address: str, now: float) -> float | None:
    try:
        bound.check(account, address, now)
    except Overloaded as error:
        return error.retry_after_s if error.code == "RATE_LIMITED" else None
    return None


def test_after_ten_failures_in_ten_minutes_the_answer_is_later_and_says_when(identity: Any) -> None:
    bound = attempts(identity)
    for second in range(10):
        assert refused(bound, "ada", "1.2.3.4", float(second)) is None
        bound.failed("ada", "1.2.3.4", float(second))
    assert refused(bound, "ada", "1.2.3.4", 10.0) == 590.0
    assert refused(bound, "ada", "1.2.3.4", 599.9) == pytest.approx(1.0)
    assert refused(bound, "ada", "1.2.3.4", 600.1) is None


def test_the_owner_is_not_locked_out_by_somebody_elsewhere(identity: Any) -> None:
    bound = attempts(identity)
    for _ in range(50):
        bound.failed("ada", "6.6.6.6", 0.0)
    assert refused(bound, "ada", "6.6.6.6", 1.0) is not None
    assert refused(bound, "ada", "1.2.3.4", 1.0) is None
    assert refused(bound, "bob", "6.6.6.6", 1.0) is None


def test_an_address_that_tries_many_accounts_is_bounded_as_well(identity: Any) -> None:
    bound = attempts(identity)
    for number in range(100):
        bound.failed(f"user{number}", "6.6.6.6", 0.0)
    assert refused(bound, "somebody-new", "6.6.6.6", 1.0) is not None
    assert refused(bound, "somebody-new", "1.2.3.4", 1.0) is None


def test_a_success_forgets_the_failures_of_its_address_only(identity: Any) -> None:
    bound = attempts(identity)
    for address in ("1.2.3.4", "6.6.6.6"):
        for _ in range(10):
            bound.failed("ada", address, 0.0)
    bound.succeeded("ada", "1.2.3.4")
    assert refused(bound, "ada", "1.2.3.4", 1.0) is None
    assert refused(bound, "ada", "6.6.6.6", 1.0) is not None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 300)), max_size=60))
@settings(max_examples=100)
def test_at_no_time_are_there_more_failures_in_a_window_than_the_bound(
    identity: Any, steps: list[tuple[int, float]]
) -> None:
    bound, now, taken = attempts(identity, each=3, all=5), 0.0, []
    for account, seconds in steps:
        now += seconds
        if refused(bound, str(account), "x", now) is None:
            bound.failed(str(account), "x", now)
            taken.append((account, now))
        recent = [who for who, at in taken if at > now - 600.0]
        assert len(recent) <= 5
        assert max((recent.count(who) for who in recent), default=0) <= 3


def test_what_is_remembered_of_failures_is_bounded(identity: Any) -> None:
    bound = attempts(identity)
    for number in range(12_000):
        bound.failed(f"user{number}", "6.6.6.6", 0.0)
    assert len(bound._failures) <= 10_000
