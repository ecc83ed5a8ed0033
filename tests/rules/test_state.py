"""What options and metadata of a state request mean."""

import pytest

from pillion.model.state import Consistency, Expect, Guard
from pillion.rules.state import UnknownWord, consistency, expectation, expiry, lenient_consistency, lifetime


@pytest.mark.parametrize(
    ("etag", "concurrency", "expected"),
    [
        (None, "", Guard.NONE),
        ("", "", Guard.NONE),
        (None, "last-write", Guard.NONE),
        (None, "first-write", Guard.ABSENT),
        ("", "first-write", Guard.ABSENT),
        ("7", "", "7"),
        ("7", "first-write", "7"),
        ("7", "last-write", "7"),
    ],
)
def test_etag_and_concurrency_are_one_precondition(
    etag: str | None, concurrency: str, expected: Expect
) -> None:
    assert expectation(etag, concurrency) == expected


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(UnknownWord, match="unrecognized concurrency model 'weird'"):
        expectation("7", "weird")
    with pytest.raises(UnknownWord, match="unrecognized consistency model 'weird'"):
        consistency("weird")


def test_reading_takes_an_unknown_consistency_for_none() -> None:
    assert [lenient_consistency(word) for word in ("strong", "eventual", "weird", "")] == [
        Consistency.STRONG, Consistency.EVENTUAL, Consistency.ANY, Consistency.ANY
    ]  # fmt: skip
    assert consistency("strong") is Consistency.STRONG


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("100", 100), ("-1", -1), ("0", 0), ("+5", 5), ("007", 7)]
)
def test_a_lifetime_is_a_whole_number(text: str, seconds: int | None) -> None:
    assert lifetime({"ttlInSeconds": text}) == seconds


@pytest.mark.parametrize("text", ["abc", "1.5", "1s", " 1", "1_000", "１", "-", "99999999999999999999"])
def test_anything_else_is_refused_in_gos_words(text: str) -> None:
    why = "value out of range" if text.isdigit() and text.isascii() else "invalid syntax"
    with pytest.raises(UnknownWord) as raised:
        lifetime({"ttlInSeconds": text})
    assert str(raised.value) == f'strconv.Atoi: parsing "{text}": {why}'


@pytest.mark.parametrize(("seconds", "ends"), [(None, None), (0, None), (-1, None), (5, 105.0)])
def test_only_a_lifetime_above_zero_ends(seconds: int | None, ends: float | None) -> None:
    assert expiry(seconds, 100.0) == ends
