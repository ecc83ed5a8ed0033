"""The word that was probably meant."""

import pytest

from pillion.toolbox.suggest import closest, hint

WORDS = ["metadata", "ignoreErrors", "initTimeout", "type"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("metdata", "metadata"),
        ("ignoreerrors", "ignoreErrors"),
        ("initTimout", "initTimeout"),
        ("colour", None),
        ("", None),
    ],
)
def test_the_nearest_word_is_found(word: str, meant: str | None) -> None:
    assert closest(word, WORDS) == meant


def test_a_hint_is_the_tail_of_a_sentence_or_nothing() -> None:
    assert hint("tpye", WORDS) == '; did you mean "type"?'
    assert hint("zzz", WORDS) == ""
