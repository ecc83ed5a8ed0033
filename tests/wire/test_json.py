"""JSON in Go's habits, and its complaints."""

import pytest

from pillion.wire.json import (
    JsonError,
    Number,
    encode_canonical,
    encode_exact,
    encode_ordered,
    field,
    go_float,
    loads,
    loads_first,
    rewritten,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "exact", "canonical"),
    [
        ('{"b":1,"a":[2,"<&>"]}', '{"a":[2,"\\u003c\\u0026\\u003e"],"b":1}', None),
        ("12345678901234567890", "12345678901234567890", None),
        ("123456789012345678901234567890", "123456789012345678901234567890", None),
        ("-9223372036854775809", "-9223372036854775809", None),
        ("[1.0, 1.50, 1e2]", "[1.0,1.50,1e2]", "[1,1.5,100]"),
        ("1e400", "1e400", "1e400"),
        ('"\u2028é"', '"\\u2028é"', None),
        ("null", "null", None),
        (' {"k" : "2.5"} ', '{"k":"2.5"}', None),
        ('"\\ud800x"', '"\ufffdx"', None),
        ('"\\ud83d\\ude00"', '"\U0001f600"', None),
        ('{"é":1,"e":2,"\U0001f600":3,"\uffff":4}', '{"e":2,"é":1,"\uffff":4,"\U0001f600":3}', None),
    ],
)
def test_a_value_is_written_back_in_gos_way(text: str, exact: str, canonical: str | None) -> None:
    value = loads(text.encode())
    assert encode_exact(value).decode() == exact
    assert encode_canonical(value).decode() == (canonical or exact)


def test_broken_utf8_in_a_string_is_replaced() -> None:
    assert loads(b'"\xff\xfe"') == "\ufffd\ufffd"


def test_the_first_value_of_a_body_is_enough() -> None:
    assert loads_first(b'[1] trailing {"') == [1]


def test_keys_keep_their_order_when_asked() -> None:
    assert encode_ordered({"b": Number("2.0"), "a": "<"}) == b'{"b":2,"a":"\\u003c"}'


def test_a_number_is_a_float_that_remembers_its_spelling() -> None:
    value = loads(b"[1.50]")[0]
    assert value == 1.5 and value.text == "1.50"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-0.0, "-0"), (1.5, "1.5"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e22, "1.5e+22"),
        (1e-6, "0.000001"), (1.5e-6, "0.0000015"), (1e-7, "1e-7"), (1.25e-9, "1.25e-9"), (0.1, "0.1"), (123456.789, "123456.789"),
        (1.2345e-5, "0.000012345"), (-2.5e-5, "-0.000025"),
    ],
)  # fmt: skip
def test_floats_print_as_a_float64_of_go(value: float, text: str) -> None:
    assert go_float(value) == text


@pytest.mark.parametrize(
    ("body", "whole", "text"),
    [
        (b"", False, "EOF"),
        (b"", True, "unexpected end of JSON input"),
        (b'{"a"', False, "unexpected EOF"),
        (b"notjson", True, "invalid character 'o' in literal null (expecting 'u')"),
        (b"{x", True, "invalid character 'x' looking for beginning of object key string"),
        (b"bad", True, "invalid character 'b' looking for beginning of value"),
        (b"{bad json", True, "invalid character 'b' looking for beginning of object key string"),
        (b"[1 2]", True, "invalid character '2' after array element"),
        (b'{"a" 1}', True, "invalid character '1' after object key"),
        (b'{"a":1 "b"}', True, "invalid character '\"' after object key:value pair"),
        (b"1 2", True, "invalid character '2' after top-level value"),
        (b'"\n"', True, "invalid character '\\n' in string literal"),
        (b'"\\x"', True, "invalid character 'x' in string escape code"),
        (b'"\\u00g0"', True, "invalid character 'g' in \\u hexadecimal character escape"),
        (b"-x", True, "invalid character 'x' in numeric literal"),
        (b"1.x", True, "invalid character 'x' after decimal point in numeric literal"),
        (b"1ex", True, "invalid character 'x' in exponent of numeric literal"),
        (b"NaN", True, "invalid character 'N' looking for beginning of value"),
        (b"01", True, "invalid character '1' after top-level value"),
    ],
)
def test_a_text_that_is_no_json_is_refused_in_gos_words(body: bytes, whole: bool, text: str) -> None:
    with pytest.raises(JsonError) as refused:
        (loads if whole else loads_first)(body)
    assert str(refused.value) == text


def test_a_text_nested_without_end_is_refused() -> None:
    with pytest.raises(JsonError, match="max depth"):
        loads(b"[" * 100_000)


def test_what_was_read_however_deep_can_be_written() -> None:
    deep = b"[" * 600 + b'{"b":"<","a":1}' + b"]" * 600
    assert encode_exact(loads(deep)) == b"[" * 600 + b'{"a":1,"b":"\\u003c"}' + b"]" * 600


def test_members_are_found_whatever_their_case() -> None:
    assert field({"PubsubName": 1}, "pubsubname") == 1
    assert field({"KEY": 1, "key": 2}, "key") == 2
    assert field({"other": 1}, "key", "none") == "none"


@pytest.mark.parametrize(
    "body",
    [
        b'{"b":1,"a":"<"}',
        b"1.50",
        b"-0.0",
        b" 1e2",
        b"[1.0] rest",
        b"12345678901234567890",
        b'"\\u2028"',
        b"[" * 300 + b"]" * 300,
    ],
)
def test_a_text_rewritten_is_the_value_read_and_written_exactly(body: bytes) -> None:
    assert rewritten(body) == encode_exact(loads_first(body))


def test_a_text_that_is_no_json_is_not_rewritten() -> None:
    with pytest.raises(JsonError):
        rewritten(b"{")
