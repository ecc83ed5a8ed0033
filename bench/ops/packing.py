"""Header blocks as the Go client packs them: every new field enters the table, strings are Huffman-coded.

Unlike a constant block it changes with every call, since the deadline left does: what a decoder really meets.
"""

from collections.abc import Sequence

from pillion.net.http2.hpack import STATIC, TABLE_BYTES
from pillion.net.http2.huffman import LENGTHS

Field = tuple[bytes, bytes]


def _codes() -> dict[int, tuple[int, int]]:
    codes: dict[int, tuple[int, int]] = {}
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(LENGTHS)):
        code <<= length - before
        codes[symbol] = (code, length)
        before = length
        code += 1
    return codes


class GoEncoder:
    """The encoder of one connection."""

    def __init__(self) -> None:
        self._codes = _codes()
        self._table: list[Field] = []
        self._used = 0

    def block(self, fields: Sequence[Field]) -> bytes:
        return b"".join(self._field(field) for field in fields)

    def _field(self, field: Field) -> bytes:
        known = [*STATIC[1:], *self._table]
        if field in known:
            return _number(known.index(field) + 1, 7, 0x80)
        names = [name for name, _ in known]
        index = names.index(field[0]) + 1 if field[0] in names else 0
        self._remember(field)
        name = b"" if index else self._string(field[0])
        return _number(index, 6, 0x40) + name + self._string(field[1])

    def _remember(self, field: Field) -> None:
        self._table.insert(0, field)
        self._used += len(field[0]) + len(field[1]) + 32
        while self._used > TABLE_BYTES:
            name, value = self._table.pop()
            self._used -= len(name) + len(value) + 32

    def _string(self, text: bytes) -> bytes:
        bits = size = 0
        for symbol in text:
            code, length = self._codes[symbol]
            bits, size = bits << length | code, size + length
        padding = -size % 8
        packed = (bits << padding | (1 << padding) - 1).to_bytes((size + padding) // 8, "big")
        return _number(len(packed), 7, 0x80) + packed


def _number(value: int, prefix: int, mark: int) -> bytes:
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((mark | value,))
    rest, out = value - limit, bytearray((mark | limit,))
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*out, rest))
