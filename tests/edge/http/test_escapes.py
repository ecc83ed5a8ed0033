"""Escapes in the parameters of a path."""

import pytest

from pillion.edge.http.api import unescape


@pytest.mark.parametrize(
    "text", ["%", "a%", "%2", "%zz", "%+f", "%-1", "% 1", "%1 ", "%0x", "%%41", "a%2Fb%2"]
)
def test_a_percent_without_two_hex_digits_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid URL escape"):
        unescape(text)


def test_digits_of_other_scripts_are_no_hex_digits() -> None:
    with pytest.raises(ValueError, match="invalid URL escape"):
        unescape("%\u0661\u0661")


@pytest.mark.parametrize(
    ("text", "means"), [("a", "a"), ("a+b", "a b"), ("%2Fa%7c%7C", "/a||"), ("%C3%A4%25", "ä%")]
)
def test_a_parameter_is_read_as_a_query_value_is(text: str, means: str) -> None:
    assert unescape(text) == means
