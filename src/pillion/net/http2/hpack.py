"""Header compression (RFC 7541): a decoder that remembers whole blocks, and an encoder that keeps no state at the peer.

Both halves live from repetition. A block that leaves the decoder's table alone reads the same the next time, so
its fields are found by the block's own bytes. The encoder sends static references and literals without indexing
only: a field always has the same bytes, whatever was sent before, so whole answers are encoded once, and a peer
that remembers blocks finds ours again.
"""

from typing import Any

from pillion.net.http import Headers
from pillion.net.http2.huffman import HuffmanError, unpack

STATIC: tuple[tuple[bytes, bytes], ...] = tuple(
    (name.encode(), value.encode())
    for name, _, value in (
        line.partition("=")
        for line in (
            "|:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204"
            "|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate"
            "|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control"
            "|content-disposition|content-encoding|content-language|content-length|content-location|content-range"
            "|content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range"
            "|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range"
            "|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via"
            "|www-authenticate"
        ).split("|")
    )
)
"""The fixed table; entry 0 does not exist."""

TABLE_BYTES = 4096
"""The dynamic table's limit: the protocol's default, which we never change."""

_FIRST_DYNAMIC = len(STATIC)
_FIELD_COST = 32
_SENSITIVE = frozenset(
    (b"authorization", b"cookie", b"set-cookie", b"proxy-authorization", b"dapr-api-token")
)
_LIKE_THE_NEWEST = bytes((0x40 | _FIRST_DYNAMIC,))
"""A literal that enters the table, named like the field that entered last."""
_STEADY = 4
"""Beginnings of blocks remembered by their places."""
_MEMO_BLOCKS = 256
_MEMO_BLOCK_BYTES = 2048
_MEMO_FIELDS = 1024
_MEMO_FIELD_BYTES = 128


class HpackError(ValueError):
    """A header block that cannot be read: the two tables may differ from here on, so the connection is lost."""


class HeaderBlock:
    """The fields of one block. Shared by every equal block: `fields` must not be changed.

    `head` belongs to the reader: what it made of the fields, kept with them. `oversize` says that the list passed
    the limit, in which case the fields are incomplete. `start` is the block of the first fields alone, the same object
    for every block that begins with them.
    """

    __slots__ = ("fields", "head", "oversize", "start")

    def __init__(self, fields: Headers, oversize: bool = False, start: "HeaderBlock | None" = None) -> None:
        self.fields = fields
        self.head: Any = None
        self.oversize = oversize
        self.start = start


class _Steady:
    """How a client's blocks begin, in places of the tables: what is before the first field that changes with every call.

    Clients that put the changing field into the table shift the place of everything else by one with each block.
    """

    __slots__ = ("block", "fields", "places", "deepest", "added", "size", "_spelled", "_shift")

    def __init__(self, fields: Headers, places: list[int], added: int) -> None:
        self.block = HeaderBlock(fields)
        self.fields = fields
        self.places = places
        self.deepest = max(places)
        self.added = added
        """Fields that had entered the table when the places were these."""
        self.size = sum(len(name) + len(value) + _FIELD_COST for name, value in fields)
        self._shift = 0
        self._spelled = self._spell(0)

    def spelled(self, shift: int) -> bytes:
        """The bytes that say the same after so many more fields entered."""
        if shift != self._shift:
            if shift == self._shift + 1 and self.deepest + shift < 0x7F:
                self._spelled = self._spelled.translate(_NEXT)
            else:
                self._spelled = self._spell(shift)
            self._shift = shift
        return self._spelled

    def _spell(self, shift: int) -> bytes:
        return b"".join(
            [_INDEXED[place if place < _FIRST_DYNAMIC else place + shift] for place in self.places]
        )


class Decoder:
    """Reads the header blocks of one connection, in order."""

    def __init__(self, list_bytes: int) -> None:
        self.list_bytes = list_bytes
        """The largest header list taken, counted as RFC 7541 §4.1 does (32 bytes on top of each field)."""
        self.memo: dict[bytes, HeaderBlock] = {}
        """Blocks whose meaning is known as things stand. Whoever finds one here need not ask `decode`."""
        self._stem = 0  # length of the last remembered beginning of a block
        self._table: list[tuple[bytes, bytes]] = []  # newest last
        self._used = 0
        self._limit = TABLE_BYTES
        self._added = 0
        self._steady: list[_Steady] = []  # the last one learned first
        self._turn = 0  # which of them was met last
        self._expected = b""

    def decode(self, block: bytes) -> HeaderBlock:
        """The fields of a block; raises `HpackError`."""
        known = self.memo.get(block)
        if known is not None:
            return known
        try:
            return self._next(block) or self._read(block)
        except IndexError as error:
            raise HpackError("a header block ends in the middle of a field") from error
        except HuffmanError as error:
            raise HpackError(str(error)) from error

    def _next(self, block: bytes) -> HeaderBlock | None:
        """A known beginning and one volatile field, which enters the table under the name of the newest there.

        Each call of a client with deadlines is one; None for anything else, nothing having happened.
        """
        expected = self._expected
        if expected and block.startswith(expected):
            steady, at = self._steady[self._turn], len(expected)
        else:
            expected, at = b"", self._resumed(block)
            if not at:
                return None
            steady = self._steady[self._turn]
        table, length, value = self._table, block[at], block[at + 1 :]
        size = len(value)
        if length == size | 0x80 and size < 0x7F:
            value = unpack(value)
        elif length != size or size >= 0x7F:
            return None
        name = table[-1][0]
        cost = len(name) + len(value) + _FIELD_COST
        if steady.size + cost > self.list_bytes:
            return None
        field = (name, value)
        table.append(field)
        self._added += 1
        self._used += cost
        if self._used > self._limit:
            self._evict()
        if self.memo:
            self.memo.clear()
            self._stem = 0
        deepest = steady.deepest + self._added - steady.added
        if expected and deepest < 0x7F and deepest - _FIRST_DYNAMIC < len(table):
            self._expected = expected.translate(_NEXT)
        else:
            self._expected = self._foreseen(steady)
        return HeaderBlock([*steady.fields, field], False, steady.block)

    def _resumed(self, block: bytes) -> int:
        """Where a block's volatile field begins its value, 0 where the block does not begin in a known way."""
        depth = _FIRST_DYNAMIC + len(self._table)
        for turn, steady in enumerate(self._steady):
            shift = self._added - steady.added
            if steady.deepest + shift < depth and block.startswith(spelled := steady.spelled(shift)):
                at = len(spelled)
                if block[at : at + 1] == _LIKE_THE_NEWEST and self._table[-1][0] in _VOLATILE:
                    self._turn = turn
                    return at + 1
                return 0
        return 0

    def _foreseen(self, steady: _Steady) -> bytes:
        """How the next block begins, if its client goes on as it did."""
        shift = self._added - steady.added
        if steady.deepest + shift >= _FIRST_DYNAMIC + len(self._table):
            return b""
        return steady.spelled(shift) + _LIKE_THE_NEWEST

    def _read(self, block: bytes) -> HeaderBlock:
        self._expected = b""
        reading = _Reading(self, block)
        start = self._begun(block, reading)
        added = self._added
        reading.run()
        found = HeaderBlock(reading.fields, reading.size > self.list_bytes, start)
        if start is None and reading.places:
            steady = _Steady(reading.fields[: len(reading.places)], reading.places, added)
            self._steady = [
                steady,
                *self._steady[: _STEADY - 1],
            ]  # none is known without a field in the table
        if reading.touched:
            self.memo.clear()
            self._stem = 0
        elif len(block) <= _MEMO_BLOCK_BYTES and not found.oversize:
            self._remember(block, found, reading.stem)
        return found

    def _begun(self, block: bytes, reading: "_Reading") -> HeaderBlock | None:
        """Skip the beginning of a block where it is known; what it says, if blocks go on from it in different ways."""
        end = _FIRST_DYNAMIC + len(self._table)
        for steady in self._steady:
            shift = self._added - steady.added
            if steady.deepest < _FIRST_DYNAMIC or steady.deepest + shift < end:
                spelled = steady.spelled(shift)
                if block.startswith(spelled):
                    reading.skip(len(spelled), steady.block.fields, steady.size)
                    return steady.block
        stem = self.memo.get(block[: self._stem]) if self._stem else None
        if stem is not None:
            size = sum(len(name) + len(value) + _FIELD_COST for name, value in stem.fields)
            reading.skip(self._stem, stem.fields, size)
        return stem

    def _remember(self, block: bytes, found: HeaderBlock, stem: tuple[int, int] | None) -> None:
        if len(self.memo) >= _MEMO_BLOCKS:
            self.memo.clear()
            self._stem = 0
        self.memo[block] = found
        if stem and not self._stem:
            self._stem, count = stem
            self.memo[block[: self._stem]] = HeaderBlock(found.fields[:count])

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """The field at an index of the static and dynamic tables."""
        if 0 < index < _FIRST_DYNAMIC:
            return STATIC[index]
        place = index - _FIRST_DYNAMIC
        if not 0 <= place < len(self._table):
            raise HpackError("a header block refers to a field that does not exist")
        return self._table[-1 - place]

    def add(self, field: tuple[bytes, bytes]) -> None:
        """A field enters the dynamic table; the oldest leave."""
        self._added += 1
        self._table.append(field)
        self._used += len(field[0]) + len(field[1]) + _FIELD_COST
        if self._used > self._limit:
            self._evict()

    def resize(self, limit: int) -> None:
        """The peer chose another size of the dynamic table, within what we allow."""
        if limit > TABLE_BYTES:
            raise HpackError("a header block makes the table larger than allowed")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        used, table = self._used, self._table
        while used > self._limit:
            name, value = table.pop(0)
            used -= len(name) + len(value) + _FIELD_COST
        self._used = used


_VOLATILE = frozenset((b"grpc-timeout", b"traceparent", b"tracestate", b"grpc-trace-bin"))


class _Reading:
    """One block being read. `run` is the hot loop of every request that is not found whole, hence flat."""

    __slots__ = ("decoder", "block", "pos", "fields", "size", "touched", "stem", "places")

    def __init__(self, decoder: Decoder, block: bytes) -> None:
        self.decoder = decoder
        self.block = block
        self.pos = 0
        self.fields: Headers = []
        self.size = 0
        self.touched = False  # the dynamic table was changed
        self.stem: tuple[int, int] | None = None  # bytes and fields before the first volatile one
        self.places: list[
            int
        ] = []  # of the fields before a volatile one that enters the table, if all were in it

    def skip(self, length: int, fields: Headers, size: int) -> None:
        """The block begins with bytes whose fields are known."""
        self.pos = length
        self.fields = fields.copy()
        self.size = size

    def run(self) -> None:
        block, end, fields, decoder = self.block, len(self.block), self.fields, self.decoder
        size, limit = self.size, decoder.list_bytes
        places: list[int] | None = [] if not self.pos else None
        while self.pos < end:
            began = self.pos
            byte = block[began]
            if byte >= 0x80:
                self.pos = began + 1
                index = byte & 0x7F if byte != 0xFF else self._integer(0x7F)
                field = STATIC[index] if 0 < index < _FIRST_DYNAMIC else decoder.entry(index)
                if places is not None:
                    places.append(index)
            elif byte >= 0x40:
                field = self._literal(byte & 0x3F, 0x3F)
                decoder.add(field)
                self.touched = True
                if places and field[0] in _VOLATILE and size <= limit:
                    self.places = places
                places = None
            elif byte >= 0x20:
                self._resize(byte)
                continue
            else:
                field = self._literal(byte & 0x0F, 0x0F)
                if self.stem is None and field[0] in _VOLATILE:
                    self.stem = (began, len(fields))
                places = None
            size += len(field[0]) + len(field[1]) + _FIELD_COST
            if size <= limit:
                fields.append(field)
        self.size = size

    def _resize(self, byte: int) -> None:
        if self.fields or self.size:
            raise HpackError("a table size update comes after a field")
        self.pos += 1
        size = byte & 0x1F
        self.decoder.resize(self._integer(0x1F) if size == 0x1F else size)
        self.touched = True

    def _literal(self, index: int, mask: int) -> tuple[bytes, bytes]:
        block, pos = self.block, self.pos + 1
        if index == mask:
            self.pos = pos
            index, pos = self._integer(mask), self.pos
        if index:
            name = STATIC[index][0] if index < _FIRST_DYNAMIC else self.decoder.entry(index)[0]
        else:
            length = block[pos]
            if length < 0x7F:
                name = block[pos + 1 : pos + 1 + length]
                pos += 1 + length
            else:
                name, pos = self._string(pos)
        length = block[pos]
        if length >= 0x7F:
            value, self.pos = self._string(pos)
            return name, value
        self.pos = stop = pos + 1 + length
        if stop > len(block):
            raise HpackError("a header string is longer than its block")
        return name, block[pos + 1 : stop]

    def _string(self, pos: int) -> tuple[bytes, int]:
        """A string that is packed or long, and where it ends."""
        byte = self.block[pos]
        self.pos = pos + 1
        length = byte & 0x7F
        if length == 0x7F:
            length = self._integer(0x7F)
        stop = self.pos + length
        if stop > len(self.block):
            raise HpackError("a header string is longer than its block")
        text = self.block[self.pos : stop]
        return (unpack(text) if byte & 0x80 else text), stop

    def _integer(self, value: int) -> int:
        """The rest of an integer whose prefix is full; five bytes more than suffice for any honest one."""
        for shift in range(0, 35, 7):
            byte = self.block[self.pos]
            self.pos += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise HpackError("an integer in a header block is too large")


def _size(value: int, prefix: int, mark: int) -> bytes:
    if value < prefix:
        return bytes((mark | value,))
    value -= prefix
    out = bytearray((mark | prefix,))
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_FULL = {
    field: bytes((0x80 | index,)) for index, field in enumerate(STATIC) if index and (field[1] or index == 1)
}
_NAMES = {field[0]: index for index, field in reversed(list(enumerate(STATIC))) if index}


_INDEXED = [_size(index, 0x7F, 0x80) for index in range(_FIRST_DYNAMIC + TABLE_BYTES // _FIELD_COST)]
"""Every field that may stand in the tables, as the reference to it."""
_NEXT = bytes(byte + 1 if 0x80 | _FIRST_DYNAMIC <= byte < 0xFF else byte for byte in range(256))
"""References of one byte, each to the field's place after another has entered the table."""


def encode_field(name: bytes, value: bytes) -> bytes:
    """One field as a static reference or a literal that stays out of the peer's table."""
    if value and (whole := _FULL.get((name, value))):
        return whole
    mark = 0x10 if name in _SENSITIVE else 0
    index = _NAMES.get(name)
    start = _size(index, 0x0F, mark) if index else bytes((mark,)) + _size(len(name), 0x7F, 0) + name
    return start + _size(len(value), 0x7F, 0) + value


def encode(fields: Headers) -> bytes:
    """A block of fields."""
    return b"".join([encode_field(name, value) for name, value in fields])


class Encoder:
    """Encodes blocks, remembering what each field came to. May serve any number of connections."""

    def __init__(self) -> None:
        self._memo: dict[tuple[bytes, bytes], bytes] = {}

    def encode(self, fields: Headers) -> bytes:
        """A block of fields."""
        memo = self._memo
        return b"".join([memo.get(field) or self._add(field) for field in fields])

    def _add(self, field: tuple[bytes, bytes]) -> bytes:
        coded = encode_field(*field)
        if len(coded) <= _MEMO_FIELD_BYTES:
            if len(self._memo) >= _MEMO_FIELDS:
                self._memo.clear()
            self._memo[field] = coded
        return coded
