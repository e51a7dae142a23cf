"""Secrets do not leave by the side: registered values and shapes of secrets are hidden, the rest stays as it was."""

from __future__ import annotations

import base64
import json
import logging
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.logs import RECORD_BYTES, JsonLines
from kernel.exposition import series
from kernel.redaction import HIDDEN, REGISTERED, Redactions, redactions

URL_SAFE = string.ascii_letters + string.digits + "-_"


def made_of(letters: str, least: int, most: int = 60) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=least, max_size=most)


def jwt(parts: tuple[str, str]) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"EdDSA","typ":"at+jwt"}').decode().rstrip("=")
    return f"{head}.eyJ{parts[0]}.{parts[1]}"


SECRETS = {
    "bearer": made_of(URL_SAFE + ".~+/=", 8).map(lambda s: (f"Authorization: Bearer {s}", s)),
    "bearer in lower case": made_of(URL_SAFE, 8).map(lambda s: (f"bearer {s}", s)),
    "basic": made_of(string.ascii_letters, 8).map(lambda s: (f'"Authorization": "Basic {s}"', s)),
    "webhook": made_of(URL_SAFE + "/+=", 8).map(lambda s: (f"whsec_{s}", s)),
    "jwt": st.tuples(made_of(URL_SAFE, 8), made_of(URL_SAFE, 8)).map(lambda p: (jwt(p), p[1])),
    "service token": made_of(URL_SAFE, 8).map(lambda s: (f"aek_{s}", s)),
    "refresh token": made_of(URL_SAFE, 8).map(lambda s: (f"aer_{s}", s)),
    "ticket": made_of(URL_SAFE, 8).map(lambda s: (f"/ws?ticket=aet_{s}&x=1", s)),
    "set-up code": made_of(string.ascii_uppercase + string.digits, 10).map(lambda s: (f"setup-{s}", s)),
    "userinfo": made_of(URL_SAFE + ":@!$&", 6).map(lambda s: (f"postgres+ssl://ada:{s}@db.example:5432/x", s)),
}


@pytest.mark.parametrize("kind", SECRETS)
@given(data=st.data(), before=st.text(max_size=40), after=st.text(max_size=40))
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(
    kind: str, data: st.DataObject, before: str, after: str
) -> None:
    text, secret = data.draw(SECRETS[kind])
    told = Redactions().text(f"{before} {text} {after}")
    assert HIDDEN in told
    assert secret not in told.replace(before, "").replace(after, "")


@pytest.mark.parametrize(
    "text",
    [
        "the file setup-code is 0600",
        "see https://example.org/a@b?c=d and http://[::1]:3001/x",
        "bearer of bad news",
        "eyJust a word",
        "job 0190a2c4e1f7 of user:local failed: no rule allows plugin:manage",
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_was(text: str) -> None:
    assert Redactions().text(text) == text


@given(st.text(string.printable, min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_a_registered_value_is_hidden_as_it_is_and_as_a_url_has_it(value: str, before: str, after: str) -> None:
    from urllib.parse import quote

    known = Redactions()
    known.register(value)
    assert value not in known.text(f"{before}{value}{after}").replace(HIDDEN, "\0")
    assert quote(value, safe="") not in known.text(f"x={quote(value, safe='')}").replace(HIDDEN, "\0")


def test_a_value_that_is_the_beginning_of_another_leaves_nothing_of_it() -> None:
    known = Redactions()
    known.register("hunter2")
    known.register("hunter2-and-more")
    assert known.text("it is hunter2-and-more") == f"it is {HIDDEN}"


def test_a_value_that_opens_nothing_any_more_can_be_forgotten() -> None:
    known = Redactions()
    known.register("hunter2")
    known.forget("hunter2")
    known.forget("never registered")
    assert known.text("hunter2") == "hunter2"


def test_values_registered_are_bounded_and_the_oldest_goes() -> None:
    known = Redactions()
    for number in range(REGISTERED + 1):
        known.register(f"value-{number:06}-value")
    assert known.text("value-000000-value") == "value-000000-value"
    assert known.text(f"value-{REGISTERED:06}-value") == HIDDEN


def test_a_value_too_short_to_be_told_from_other_text_is_left_out() -> None:
    known = Redactions()
    known.register("abc")
    assert known.text("abc abcabc") == "abc abcabc"


def test_the_secrets_of_the_environment_are_known_by_their_names() -> None:
    known = Redactions()
    known.register_environment(
        {
            "AETHERRA_AI_API_TOKEN": "value-one",
            "AETHERRA_ADMIN_PASSWORD": "value-two",
            "AETHERRA_KEYS_MASTER": "value-three",
            "AETHERRA_HOME": "value-four",
            "OTHER_TOKEN": "value-five",
        }
    )
    assert known.text("value-one value-two value-three value-four value-five") == (
        f"{HIDDEN} {HIDDEN} {HIDDEN} value-four value-five"
    )


def test_data_is_cleaned_at_every_depth_and_by_the_names_of_its_fields() -> None:
    given = {
        "password": "short",
        "nested": [{"refresh_token": "x"}, ("Bearer 0123456789",)],
        "aek_0123456789": 1,
        "token": "hmr-2026-11-26-002",
        "count": 3,
    }
    assert Redactions().data(given) == {
        "password": HIDDEN,
        "nested": [{"refresh_token": HIDDEN}, [f"Bearer {HIDDEN}"]],
        HIDDEN: 1,
        "token": "hmr-2026-11-26-002",
        "count": 3,
    }


@pytest.mark.parametrize("letters", ["a", "a://", "eyJ", "aek_", "Bearer ", "a:/@", "whsec_ ", "eyJa."])
def test_the_time_grows_with_the_length_alone(letters: str) -> None:
    """A hundred times the text, at most four hundred times the work: a square would be ten thousand times."""
    known = Redactions()

    def seconds(length: int, times: int) -> float:
        text = (letters * length)[:length] + "://"
        known.text(text)
        began = time.thread_time()
        for _ in range(times):
            known.text(text)
        return (time.thread_time() - began) / times

    small = min(seconds(2_000, 50) for _ in range(3))
    large = min(seconds(200_000, 1) for _ in range(3))
    assert large < 400 * small + 0.005


def test_a_log_line_has_no_secret_in_message_or_traceback_and_no_locals() -> None:
    secret = "canary" + "".join(random.choices(string.ascii_letters, k=12))
    redactions.register(secret)
    try:
        local_only = "only a local " + secret[::-1]
        try:
            raise RuntimeError(f"cannot open https://ada:pw@db.example with {secret}", len(local_only))
        except RuntimeError:
            record = logging.LogRecord("x", logging.ERROR, "x", 1, "%s", (f"tried {secret}",), None)
            import sys

            record.exc_info = sys.exc_info()
        line = JsonLines().format(record)
    finally:
        redactions.forget(secret)
    told = json.loads(line)
    assert secret not in line
    assert secret[::-1] not in line
    assert "ada:pw" not in line
    assert told["message"] == f"tried {HIDDEN}"
    assert "RuntimeError" in told["exception"]


@given(st.text(max_size=3_000), st.integers(0, 8_000))
def test_a_log_line_is_one_line_of_json_within_its_bound_whatever_it_says(text: str, more: int) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", (text + "\x1b\n\r\u2028\x9b\u202e" * more,), None)
    line = JsonLines().format(record)
    assert len(line.encode()) <= RECORD_BYTES
    assert "\n" not in line
    assert not set("\x1b\x9b\u2028\u202e") & set(line)
    assert json.loads(line)["level"] == "info"


def test_a_secret_that_a_cut_would_halve_is_hidden_before_it() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "x" * 2_040 + " Bearer abcdefghijklmnop", (), None)
    assert "abcd" not in JsonLines().format(record)


def test_a_label_of_a_metric_has_no_secret() -> None:
    assert "hunter" not in series("x_total", {"url": "https://ada:hunter2@example.org"})
