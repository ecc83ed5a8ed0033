"""Encryption at rest."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pillion.services.sealing import KeyRefused, SealBroken, Sealer, SealKey

OLD, NEW = SealKey("old", "11" * 16), SealKey("new", "22" * 32)


def test_a_value_is_stored_in_daprs_layout() -> None:
    stored = Sealer("store", NEW).seal(b"value")
    text, _, name = stored.partition(b"||")
    sealed = base64.b64decode(text)
    assert name == b"new"
    assert AESGCM(bytes.fromhex(NEW.digits)).decrypt(sealed[:12], sealed[12:], None) == b"value"


def test_a_value_comes_back_and_never_looks_the_same_twice() -> None:
    sealer = Sealer("store", NEW)
    assert sealer.open(sealer.seal(b"\x00||\xff")) == b"\x00||\xff"
    assert sealer.seal(b"v") != sealer.seal(b"v")


def test_the_key_before_still_opens_what_it_sealed() -> None:
    stored = Sealer("store", OLD).seal(b"value")
    assert Sealer("store", NEW, OLD).open(stored) == b"value"
    assert Sealer("store", NEW, OLD).seal(b"value").endswith(b"||new")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b"plain", "encryption key name not found on record"),
        (b"abc||", "encryption key name not found on record"),
        (b"abc||other", "encrypted under another key, other"),
        (b"!!||new", "could not decrypt data for state store store"),
        (b"||new", "could not decrypt data for state store store"),
        (
            Sealer("store", SealKey("new", "33" * 16)).seal(b"v"),
            "the key is not the one it was encrypted under",
        ),
    ],
)
def test_what_these_keys_do_not_open_says_why(stored: bytes, why: str) -> None:
    with pytest.raises(SealBroken, match=why):
        Sealer("store", NEW).open(stored)


@pytest.mark.parametrize(
    ("digits", "why"), [("zz", "hexadecimal"), ("1122", "2 bytes; AES takes 16, 24 or 32")]
)
def test_a_key_that_cannot_be_is_refused_without_showing_it(digits: str, why: str) -> None:
    with pytest.raises(KeyRefused, match=why) as raised:
        Sealer("store", SealKey("s", digits))
    assert digits not in str(raised.value)
