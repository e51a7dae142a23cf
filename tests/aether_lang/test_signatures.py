"""What a script's first line proves (section 19): every byte, the path and the key count, and nothing else passes."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from aether_lang import signatures
from aether_lang.signatures import Mode, Verdict, finding, hashed, passes, public_text, signed, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = {"ops": public_text(KEY), "other": public_text(OTHER)}
PATH = "ci/tea.aether"
TEXT = b'# makes tea\r\nlog "t\xc3\xa9"\n\n'
SIGNED = signed(TEXT, PATH, KEY, "ops")
HASHED = hashed(TEXT)
LINE, _, BODY = SIGNED.partition(b"\n")


def state(data: bytes, path: str | None = PATH, keys: dict[str, str] = KEYS) -> str:
    return verify(data, path, keys).state


def test_what_is_signed_is_the_mark_the_path_and_the_hash_of_all_bytes_behind_the_line() -> None:
    message = b"aether-script-v1\0" + PATH.encode() + b"\0" + hashlib.sha256(TEXT).digest()
    KEY.public_key().verify(base64.b64decode(LINE.rpartition(b":")[2]), message)
    assert LINE.startswith(b"# @signature: ed25519:ops:")
    assert BODY == TEXT
    assert verify(SIGNED, PATH, KEYS) == Verdict("valid", "signed by 'ops'", "ops")


def test_a_plain_hash_that_fits_proves_integrity_only_and_does_so_under_any_path() -> None:
    assert b"# @signature: " + hashlib.sha256(TEXT).hexdigest().encode() + b"\n" + TEXT == HASHED
    assert state(HASHED) == state(HASHED, None) == state(HASHED, "elsewhere", {}) == "integrity"
    assert state(HASHED + b" ") == "wrong"


@given(at=st.integers(0, len(SIGNED) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_anywhere_is_never_valid(at: int, bit: int) -> None:
    changed = SIGNED[:at] + bytes([SIGNED[at] ^ (1 << bit)]) + SIGNED[at + 1 :]
    assert state(changed) != "valid"


@given(at=st.integers(0, len(SIGNED)), what=st.binary(min_size=1, max_size=3))
def test_one_added_byte_is_never_valid_but_for_the_end_of_the_signature_line(at: int, what: bytes) -> None:
    changed = SIGNED[:at] + what + SIGNED[at:]
    assert state(changed) != "valid" or (at == len(LINE) and what == b"\r")


@given(at=st.integers(0, len(SIGNED) - 1))
def test_one_missing_byte_is_never_valid(at: int) -> None:
    assert state(SIGNED[:at] + SIGNED[at + 1 :]) != "valid"


@given(data=st.binary(max_size=200), headed=st.booleans())
def test_any_bytes_at_all_get_a_verdict_and_none_of_them_is_valid(data: bytes, headed: bool) -> None:
    assert state(b"# @signature: " * headed + data) in ("missing", "wrong", "unknown key", "integrity")


@pytest.mark.parametrize("path", ["tea.aether", "ci/tea", "CI/tea.aether", "ci/tea.aether/", "/ci/tea.aether", ""])
def test_the_signature_of_one_path_is_wrong_at_another(path: str) -> None:
    assert state(SIGNED, path) == "wrong"


def test_a_source_without_a_path_has_no_valid_signature() -> None:
    assert state(SIGNED, None) == "wrong"


def test_the_name_of_another_trusted_key_does_not_serve() -> None:
    assert state(SIGNED.replace(b":ops:", b":other:")) == "wrong"
    assert state(SIGNED, PATH, {"ops": KEYS["other"]}) == "wrong"


def test_without_its_key_in_the_policy_a_signature_is_by_an_unknown_key() -> None:
    assert verify(SIGNED, PATH, {}) == Verdict("unknown key", "the policy's [trust] keys has no key 'ops'", "ops")
    for broken in ("ed25519:", "ed25519:AAAA", "ed25519:****", "rsa:x", ""):
        assert state(SIGNED, PATH, {"ops": broken}) == "unknown key"


def test_other_line_ends_in_the_text_are_another_text() -> None:
    assert state(LINE + b"\n" + BODY.replace(b"\r\n", b"\n")) == "wrong"
    assert state(LINE + b"\n" + BODY.replace(b"\n", b"\r\n")) == "wrong"
    # The end of the signature line itself is outside of what is signed.
    assert state(LINE + b"\r\n" + BODY) == "valid"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "missing"),
        (b"log 1", "missing"),
        (b"\n" + SIGNED, "wrong"),
        (b"#!/usr/bin/aether\n" + SIGNED, "missing"),
        (b"\xef\xbb\xbf" + SIGNED, "wrong"),
        (b" " + SIGNED, "wrong"),
        (SIGNED.replace(b"# @", b"#  @", 1), "wrong"),
        (SIGNED.replace(b"# @s", b"# @S", 1), "wrong"),
        (SIGNED.replace(b": ed", b":  ed", 1), "wrong"),
        (SIGNED.replace(b": ed", b":\ted", 1), "wrong"),
        (LINE + b" \n" + BODY, "wrong"),
        (LINE + b"\r\r\n" + BODY, "wrong"),
        (LINE + b"\r" + BODY, "wrong"),
        (LINE, "wrong"),
        (LINE + b"\n" + SIGNED, "wrong"),
        (SIGNED.replace(b"\n", b"\n" + LINE + b"\n", 1), "wrong"),
        (HASHED.partition(b"\n")[0] + b"\n" + SIGNED, "wrong"),
        (SIGNED.replace(b"ed25519:", b"ED25519:", 1), "wrong"),
        (SIGNED.replace(b":ops:", b":" + b"k" * 65 + b":", 1), "wrong"),
        (SIGNED.replace(b":ops:", b":" + b"k" * 1_000_000 + b":", 1), "wrong"),
        (SIGNED.replace(b":ops:", "：ops：".encode(), 1), "wrong"),
        (SIGNED.replace(b":ops:", ":оps:".encode(), 1), "wrong"),
        (SIGNED.replace(b":ops:", b"::", 1), "wrong"),
        (SIGNED.replace(b":ops:", b":ops:ops:", 1), "wrong"),
        (LINE.rstrip(b"=") + b"\n" + BODY, "wrong"),
        (LINE[:-2].replace(b"+", b"-") + b"==\n" + BODY, "wrong"),
        (b"# @signature: " + "٣".encode() * 64 + b"\n" + TEXT, "wrong"),
        (b"# @signature: " + b"0" * 63 + b"\n" + TEXT, "wrong"),
        (b"# @signature: sha256:" + hashlib.sha256(TEXT).hexdigest().encode() + b"\n" + TEXT, "wrong"),
        (b"# @signature:\n" + TEXT, "wrong"),
        (b"# @signatures are explained elsewhere\n", "missing"),
    ],
)
def test_what_is_not_exactly_a_line_of_one_of_the_two_forms_in_the_first_place_passes_for_none(
    data: bytes, expected: str
) -> None:
    assert state(data) == expected
    assert not passes(verify(data, PATH, KEYS), "strict")


def test_a_signature_has_one_spelling_only() -> None:
    # The letter before `==` carries four bits that mean nothing.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = alphabet.index(LINE[-3])
    twin = LINE[:-3] + bytes([alphabet[at ^ 1]]) + b"==\n" + BODY
    assert base64.b64decode(twin.split(b"\n")[0].rpartition(b":")[2]) == base64.b64decode(LINE.rpartition(b":")[2])
    assert state(twin) == "wrong"


def test_signing_again_takes_the_place_of_the_line_before_and_covers_the_same_text() -> None:
    again = signed(SIGNED, PATH, OTHER, "other")
    assert again.count(b"@signature") == 1
    assert verify(again, PATH, KEYS).key_id == "other"
    assert hashed(SIGNED) == HASHED
    assert signed(b"\xef\xbb\xbf" + TEXT, PATH, KEY, "ops") == SIGNED


@pytest.mark.parametrize("key_id", ["", "a b", "k" * 65, "a:b", "a\n", "é"])
def test_an_id_that_cannot_stand_in_the_line_signs_nothing(key_id: str) -> None:
    with pytest.raises(ValueError, match="a key's id has"):
        signed(TEXT, PATH, KEY, key_id)


@pytest.mark.parametrize(
    ("data", "keys", "off", "warn", "strict"),
    [
        (TEXT, KEYS, None, "AW601", "AE601"),
        (SIGNED + b" ", KEYS, None, "AW602", "AE601"),
        (HASHED, KEYS, None, None, "AE601"),
        (SIGNED, {}, None, "AW603", "AE601"),
        (SIGNED, KEYS, None, None, None),
    ],
)
def test_each_mode_makes_of_each_state_what_it_should(
    data: bytes, keys: dict[str, str], off: str | None, warn: str | None, strict: str | None
) -> None:
    verdict = verify(data, PATH, keys)
    modes: tuple[tuple[Mode, str | None], ...] = (("off", off), ("warn", warn), ("strict", strict))
    for mode, code in modes:
        found = finding(verdict, mode, data.decode(), PATH)
        assert (found and found.code) == code
        assert passes(verdict, mode) == (code != "AE601")
        if found is not None:
            assert (found.kind, found.line, found.column, found.file) == ("check", 1, 1, PATH)


def test_a_signed_script_is_still_a_script_and_its_first_line_a_comment() -> None:
    from aether_lang.parser import parse

    assert [type(node).__name__ for node in parse(SIGNED).body] == ["VerbStmt"]
    assert [type(node).__name__ for node in parse(signed(b"#!/bin/aether\nlog 1", "a", KEY, "ops")).body] == [
        "VerbStmt"
    ]
    assert signatures.body_of(SIGNED) == TEXT
