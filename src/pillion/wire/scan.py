"""Protobuf's wire format by hand, for the few messages on the hottest path.

The C-backed classes are fast, but a map of headers costs one Python object per entry and level. Reading the bytes
directly lets an entry that was seen before come from a cache.
"""

from typing import Final


class Malformed(ValueError):
    """Bytes that are not a protobuf message."""


SPOILED: Final = "cannot parse invalid wire-format data"
_ONE: Final = tuple(bytes((number,)) for number in range(128))


def varint(value: int) -> bytes:
    """A number in base 128, least group first."""
    if value < 128:
        return _ONE[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefixed(tag: bytes, data: bytes) -> bytes:
    """A length-delimited field."""
    size = len(data)
    return tag + (_ONE[size] if size < 128 else varint(size)) + data


def fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Every field as its number and value: an int for varints, the bytes for everything else. Groups are refused."""
    found: list[tuple[int, int | bytes]] = []
    pos, end = 0, len(data)
    try:
        while pos < end:
            tag = data[pos]
            pos += 1
            if tag > 127:
                tag, pos = read_varint(data, pos - 1, end)
            kind = tag & 7
            if kind == 2:
                size = data[pos]
                pos += 1
                if size > 127:
                    size, pos = read_varint(data, pos - 1, end)
                found.append((tag >> 3, data[pos : pos + size]))
                pos += size
            elif kind == 0:
                value, pos = read_varint(data, pos, end)
                found.append((tag >> 3, value))
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                found.append((tag >> 3, data[pos : pos + size]))
                pos += size
            else:
                raise Malformed(SPOILED)
    except IndexError:
        pos = end + 1
    if pos > end:
        raise Malformed(SPOILED)
    return found


def read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """The number at `pos`, and the position behind it."""
    if pos < end and (byte := data[pos]) < 128:
        return byte, pos + 1
    value = shift = 0
    while pos < end and shift < 64:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
    raise Malformed(SPOILED)


def skip(data: bytes, pos: int, end: int) -> int:
    """The position behind the field that begins at `pos`."""
    tag, pos = read_varint(data, pos, end)
    match tag & 7:
        case 0:
            pos = read_varint(data, pos, end)[1]
        case 1:
            pos += 8
        case 2:
            size, pos = read_varint(data, pos, end)
            pos += size
        case 5:
            pos += 4
        case _:
            raise Malformed(SPOILED)
    if pos > end:
        raise Malformed(SPOILED)
    return pos


def span(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Start and end of the length-delimited value whose length stands at `pos`."""
    size = data[pos] if pos < end else 128
    if size < 128:
        start = pos + 1
    else:
        size, start = read_varint(data, pos, end)
    if start + size > end:
        raise Malformed(SPOILED)
    return start, start + size


def octets(value: int | bytes) -> bytes:
    """A field that must be length-delimited."""
    if isinstance(value, int):
        raise Malformed(SPOILED)
    return value


def number(value: int | bytes) -> int:
    """A field that must be a varint."""
    if not isinstance(value, int):
        raise Malformed(SPOILED)
    return value
