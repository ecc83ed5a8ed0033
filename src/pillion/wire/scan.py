"""Protobuf's wire format by hand, for the few messages on the hottest path.

The C-backed classes are fast, but a map of headers costs one Python object per entry and level. Reading the bytes
directly lets an entry that was seen before come from a cache.
"""


class Malformed(ValueError):
    """Bytes that are not a protobuf message."""


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


_ONE = tuple(bytes((number,)) for number in range(128))


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
                tag, pos = _number(data, pos - 1, end)
            kind = tag & 7
            if kind == 2:
                size = data[pos]
                pos += 1
                if size > 127:
                    size, pos = _number(data, pos - 1, end)
                found.append((tag >> 3, data[pos : pos + size]))
                pos += size
            elif kind == 0:
                value, pos = _number(data, pos, end)
                found.append((tag >> 3, value))
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                found.append((tag >> 3, data[pos : pos + size]))
                pos += size
            else:
                raise Malformed("cannot parse invalid wire-format data")
    except IndexError:
        pos = end + 1
    if pos > end:
        raise Malformed("cannot parse invalid wire-format data")
    return found


def _number(data: bytes, pos: int, end: int) -> tuple[int, int]:
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
    raise Malformed("cannot parse invalid wire-format data")


def octets(value: int | bytes) -> bytes:
    """A field that must be length-delimited."""
    if isinstance(value, int):
        raise Malformed("cannot parse invalid wire-format data")
    return value


def number(value: int | bytes) -> int:
    """A field that must be a varint."""
    if not isinstance(value, int):
        raise Malformed("cannot parse invalid wire-format data")
    return value
