"""JSON with the habits of Go's encoding/json: sorted keys, `<`, `>` and `&` escaped, forgiving of broken UTF-8.

Numbers keep what the caller wrote: integers of any size stay exact, and a number with a fraction or an exponent
becomes a `Number`, a float that remembers its spelling. Parsing and writing run in C unless a text needs more care.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from pillion.toolbox.lazily import pattern
from pillion.wire.json_faults import complaint

_DELICATE = re.compile(rb"[\[:,\s]-?[0-9]+(?:[.eE]|(?<=[0-9]{19}))")
_DELICATE_ALONE = re.compile(rb"-?[0-9]+(?:[.eE]|(?<=[0-9]{19}))")
"""A fraction, an exponent or an integer that may pass 64 bits; inside a string it only costs time."""
_MARKUP = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_ESCAPES = {
    b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026",
    b"\xe2\x80\xa8": b"\\u2028", b"\xe2\x80\xa9": b"\\u2029",
}  # fmt: skip
_SPACE = pattern(r"[ \t\r\n]*")
_LONE = pattern("[\ud800-\udfff]")


class JsonError(ValueError):
    """The text is not JSON; the sentence is the one a Go program would give."""


class Number(float):
    """A number with a fraction or an exponent, and how it was spelled."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "Number":
        made = super().__new__(cls, text)
        made.text = text
        return made


class Big(int):
    """An integer of any size, written in full where the encoder in C would stop at 64 bits."""

    __slots__ = ()


def loads(body: bytes) -> Any:
    """The value of a body that must hold nothing else; raises JsonError."""
    if not is_delicate(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return _careful(body, whole=True)


def glance(body: bytes) -> Any:
    """As `loads`, but numbers with a fraction, or of more than 64 bits, may come out rounded. Costs a quarter."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return loads(body)


def loads_first(body: bytes) -> Any:
    """The first value of a body, whatever follows it; raises JsonError, `EOF` when there is none."""
    if not is_delicate(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return _careful(body, whole=False)


def encode_canonical(value: object) -> bytes:
    """Sorted keys, escaped markup, floats as Go prints a float64: `1.0` is `1`."""
    return escaped(_written(value, _go_number, _SORTED))


def encode_exact(value: object) -> bytes:
    """Sorted keys, escaped markup, every number spelled as it came in."""
    return escaped(_written(value, _same_number, _SORTED))


def rewritten(body: bytes) -> bytes:
    """The first value of a body as `encode_exact` writes it; raises JsonError."""
    if not is_delicate(body):
        try:
            return escaped(orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            pass
    return encode_exact(loads_first(body))


def encode_ordered(value: object) -> bytes:
    """Keys in the order given, escaped markup, numbers as Go prints them."""
    return escaped(_written(value, _go_number, orjson.OPT_PASSTHROUGH_SUBCLASS))


def escaped(text: bytes) -> bytes:
    """JSON with its markup characters escaped; these occur inside strings only."""
    if not (b"<" in text or b">" in text or b"&" in text or b"\xe2\x80" in text):
        return text
    return _MARKUP.sub(lambda found: _ESCAPES[found[0]], text)


def field(mapping: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A member by name whatever its case; an exact match is found first, else the last one wins."""
    if name in mapping:
        return mapping[name]
    if name.islower() and "".join(mapping).islower():
        return default  # no other case, so no other spelling
    found, folded = default, name.lower()
    for key, value in mapping.items():
        if len(key) == len(name) and key.lower() == folded:
            found = value
    return found


def go_float(value: float) -> str:
    """A float64 as Go's encoder prints it: the shortest digits, an exponent only outside 1e-6…1e21."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value)) if value or str(value)[0] != "-" else "-0"
    text = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        return (
            text
            if "e" not in text
            else format(value, "f" if "." not in text else ".17f").rstrip("0").rstrip(".")
        )
    mantissa, _, exponent = text.partition("e")
    sign, digits = exponent[0], exponent[1:] if exponent[0] in "+-" else exponent
    return f"{mantissa.removesuffix('.0')}e{'-' if sign == '-' else '+'}{digits.lstrip('0')}"


_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS


def _written(value: object, default: Callable[[object], Any], option: int) -> bytes:
    try:
        return orjson.dumps(value, default=default, option=option)
    except orjson.JSONEncodeError as error:
        if "ecursion" not in str(error):
            raise
    # Nested deeper than the encoder in C goes (254 levels), yet read: it must be written, too.
    sort = bool(option & orjson.OPT_SORT_KEYS)
    return json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":")).encode()


def _same_number(value: object) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    return _rest(value)


def _go_number(value: object) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(go_float(value) if abs(value) < float("inf") else value.text)
    return _rest(value)


def _rest(value: object) -> Any:
    match value:
        case int():
            return orjson.Fragment(int.__str__(value))
        case str():
            return str.__str__(value)
        case Mapping():
            return dict(value)
        case tuple() | list():
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def is_delicate(body: bytes) -> bool:
    """Whether a text may hold numbers that must be read with care."""
    if _DELICATE.search(body) is not None:
        return True
    return b"-" <= body[:1] <= b"9" and _DELICATE_ALONE.match(body) is not None


def _careful(body: bytes, *, whole: bool) -> Any:
    text = body.decode("utf-8", "replace")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise JsonError(complaint(body, whole=whole) or _depth(error)) from error
    if whole and _SPACE.fullmatch(text, end) is None:
        raise JsonError(complaint(body, whole=True) or "invalid trailing text")
    return _mended(value) if "\\ud" in text or "\\uD" in text else value


def _depth(error: BaseException) -> str:
    return "exceeded max depth" if isinstance(error, RecursionError) else f"invalid JSON: {error}"


def _whole_number(text: str) -> int:
    if len(text) < 19:
        return int(text)
    value = int(text) if len(text) < 4000 else 0
    if not value:
        raise ValueError("integer of more than 4000 digits")
    return value if -(2**63) <= value < 2**64 else Big(value)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_decoder: Callable[..., json.JSONDecoder] = json.JSONDecoder
_DECODER = _decoder(parse_float=Number, parse_int=_whole_number, parse_constant=_no_constant)


def _mended(value: Any) -> Any:
    """The value with every lone surrogate replaced, as Go does on reading."""
    match value:
        case str():
            return _LONE.sub("\ufffd", value)
        case dict():
            return {_mended(key): _mended(member) for key, member in value.items()}
        case list():
            return [_mended(member) for member in value]
        case _:
            return value
