"""Header compression: what is read, what is refused, what is remembered."""

import pytest

from pillion.net.http2.hpack import STATIC, TABLE_BYTES, Decoder, Encoder, HpackError, encode, encode_field
from pillion.net.http2.huffman import HuffmanError, pack, unpack


def decoder(limit: int = 65536) -> Decoder:
    return Decoder(limit)


def indexed(name: bytes, value: bytes) -> bytes:
    """A literal that enters the table."""
    return b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value


def test_the_static_table_is_the_one_of_the_rfc() -> None:
    assert len(STATIC) == 62
    assert (STATIC[1], STATIC[8], STATIC[61]) == (
        (b":authority", b""),
        (b":status", b"200"),
        (b"www-authenticate", b""),
    )


# RFC 7541, appendix C.3 and C.4: three requests on one connection, plain and packed.
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
PACKED = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)


@pytest.mark.parametrize("blocks", [PLAIN, PACKED], ids=["plain", "packed"])
def test_the_examples_of_the_rfc_are_read(blocks: tuple[str, ...]) -> None:
    reading = decoder()
    first, second, third = (reading.decode(bytes.fromhex(block)).fields for block in blocks)
    assert first == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    ]
    assert second == [*first, (b"cache-control", b"no-cache")]
    assert third[1:3] == [(b":scheme", b"https"), (b":path", b"/index.html")] and third[-1] == (
        b"custom-key",
        b"custom-value",
    )


def test_every_byte_survives_packing() -> None:
    assert unpack(pack(bytes(range(256)) * 3)) == bytes(range(256)) * 3


@pytest.mark.parametrize(
    "packed",
    [
        pack(b"a") + b"\xff",  # more than seven bits of padding
        bytes((0b00011000,)),  # "a" padded with zeros
        b"\xff\xff\xff\xff",  # the end mark
    ],
)
def test_wrong_packing_is_refused(packed: bytes) -> None:
    with pytest.raises(HuffmanError):
        unpack(packed)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # one past the static table, the dynamic one being empty
        b"\xff\xff\xff\xff\xff\xff\x7f",  # an integer without end
        b"\xff\x80\x80\x80\x80\x80\x01",
        b"\x3f\xe2\x1f",  # a table of one byte too many
        b"\x82\x20",  # a size update after a field
        b"\x00\x03ab",  # a string longer than its block
        b"\x00\x01a\x7f",  # an integer cut off
        b"\x40",  # nothing after the start
        b"\x00\x81\xff\x00",  # a packed name that is all padding past seven bits
    ],
)
def test_a_broken_block_is_refused(block: bytes) -> None:
    with pytest.raises(HpackError):
        decoder().decode(block)


def test_an_evicted_field_is_gone() -> None:
    reading = decoder()
    for number in range(200):
        reading.decode(indexed(b"x-%03d" % number, b"v" * 30))
    kept = TABLE_BYTES // (5 + 30 + 32)
    assert reading.decode(bytes((0xBE + kept - 1,))).fields == [(b"x-%03d" % (200 - kept), b"v" * 30)]
    with pytest.raises(HpackError):
        reading.decode(bytes((0xBE + kept,)))


def test_a_field_larger_than_the_table_empties_it() -> None:
    reading = decoder()
    reading.decode(indexed(b"a", b"b"))
    reading.decode(b"\x40\x01c\x7f\x81\x20" + b"v" * 4224)
    with pytest.raises(HpackError):
        reading.decode(b"\xbe")


def test_a_smaller_table_forgets() -> None:
    reading = decoder()
    reading.decode(indexed(b"a", b"b"))
    reading.decode(b"\x20\x82")
    with pytest.raises(HpackError):
        reading.decode(b"\xbe")


def test_equal_blocks_are_one_object_until_the_table_changes() -> None:
    reading = decoder()
    reading.decode(indexed(b"a", b"1"))
    block = b"\x82\xbe"
    first = reading.decode(block)
    assert reading.decode(block) is first
    reading.decode(indexed(b"a", b"2"))
    assert reading.decode(block).fields == [(b":method", b"GET"), (b"a", b"2")]
    assert first.fields == [(b":method", b"GET"), (b"a", b"1")]


def test_blocks_that_differ_behind_a_known_beginning_are_read_right() -> None:
    reading = decoder()
    usual = [(b":method", b"POST"), (b":path", b"/a"), (b"x-b", b"c")]
    for number in range(5):
        fields = [*usual, (b"grpc-timeout", b"%dm" % number), (b"x-last", b"%d" % number)]
        assert reading.decode(encode(fields)).fields == fields
    assert reading.decode(encode(usual)).fields == usual


def test_a_list_past_the_limit_is_marked_and_the_table_stays_right() -> None:
    reading = decoder(100)
    found = reading.decode(indexed(b"x-a", b"v" * 40) + indexed(b"x-b", b"w" * 40))
    assert found.oversize and found.fields == [(b"x-a", b"v" * 40)]
    assert reading.decode(b"\xbe").fields == [(b"x-b", b"w" * 40)]


def test_what_is_encoded_is_read_back_and_leaves_the_table_alone() -> None:
    fields = [
        (b":method", b"POST"),
        (b":path", b"/x"),
        (b"authorization", b"secret"),
        (b"x-long", b"v" * 5000),
        (b"x", b""),
    ]
    reading = decoder()
    assert Encoder().encode(fields) == encode(fields)
    assert reading.decode(encode(fields)).fields == fields
    with pytest.raises(HpackError):
        reading.decode(b"\xbe")


def test_secrets_are_marked_as_never_to_be_stored() -> None:
    assert encode_field(b"dapr-api-token", b"t")[0] & 0xF0 == 0x10
    assert encode_field(b"cookie", b"c")[0] & 0xF0 == 0x10
    assert encode_field(b"x-plain", b"p")[0] & 0xF0 == 0


class Indexing:
    """A client that puts every field into the table, as Go's does."""

    def __init__(self) -> None:
        self.table: list[tuple[bytes, bytes]] = []  # newest first

    def encode(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        return b"".join([self._field(field) for field in fields])

    def _field(self, field: tuple[bytes, bytes]) -> bytes:
        if field in STATIC[1:] or field in self.table:
            place = STATIC.index(field) if field in STATIC else 62 + self.table.index(field)
            return bytes((0x80 | place,)) if place < 127 else bytes((0xFF, place - 127))
        self.table.insert(0, field)
        while sum(len(name) + len(value) + 32 for name, value in self.table) > TABLE_BYTES:
            self.table.pop()
        return indexed(*field)


def test_blocks_whose_fields_move_through_the_table_are_read_right_past_its_end() -> None:
    client, reading = Indexing(), decoder()
    known = 0
    for turn in range(400):
        fields = [
            (b":method", b"POST"),
            (b":path", b"/a/%d" % (turn % 3)),
            (b"content-type", b"application/grpc"),
        ]
        fields += [(b"te", b"trailers"), (b"grpc-timeout", b"%du" % (9_000_000 - turn))]
        fields += [(b"x-more", b"1")] * (turn % 7 == 0)
        found = reading.decode(client.encode(fields))
        assert found.fields == fields
        known += found.start is not None
    assert known > 300


class Packing(Indexing):
    """The same, its names referred to where the table has them and its values packed: Go's very bytes."""

    def _field(self, field: tuple[bytes, bytes]) -> bytes:
        names = [name for name, _ in STATIC] + [name for name, _ in self.table]
        whole = super()._field(field)
        if whole[0] != 0x40:
            return whole
        value = pack(field[1])
        value = bytes((0x80 | len(value),)) + value
        if field[0] not in names:
            return whole[: 2 + len(field[0])] + value
        place = names.index(field[0])
        return (bytes((0x40 | place,)) if place < 63 else bytes((0x7F, place - 63))) + value


@pytest.mark.parametrize("traced", [False, True])
def test_the_changing_field_of_a_known_client_is_read_right(traced: bool) -> None:
    client, reading = Packing(), decoder()
    known = 0
    for turn in range(400):
        fields = [(b":method", b"POST"), (b":path", b"/a/%d" % (turn // 9 % 2)), (b"te", b"trailers")]
        fields += [(b"grpc-timeout", b"%du" % (11_999_999 - 137 * turn))]
        fields += [(b"traceparent", b"00-%032x-%016x-01" % (turn + 1, turn + 1))] * traced
        found = reading.decode(client.encode(fields))
        assert found.fields == fields
        known += found.start is not None and len(found.start.fields) == 3
    assert known > 300


def test_a_changing_field_that_makes_the_list_too_long_is_marked() -> None:
    client, reading = Packing(), decoder(190)
    for turn in range(5):
        fields = [(b":method", b"POST"), (b"x-steady", b"1"), (b"grpc-timeout", b"%dm" % 10**turn)]
        assert not reading.decode(client.encode(fields)).oversize
    assert reading.decode(client.encode([*fields[:2], (b"grpc-timeout", b"9" * 80)])).oversize
    assert reading.decode(client.encode(fields)).fields == fields


@pytest.mark.parametrize("tail", [b"\x7e", b"\x7e\x81", b"\x7e\x02a", b"\x7e\x81\x00", b"\x7e\x7f\x00"])
def test_a_changing_field_cut_off_or_badly_packed_is_refused(tail: bytes) -> None:
    client, reading = Packing(), decoder()
    for turn in range(3):
        last = client.encode([(b":method", b"POST"), (b"x-steady", b"1"), (b"grpc-timeout", b"%du" % turn)])
        reading.decode(last)
    with pytest.raises(HpackError):
        reading.decode(b"\x83" + bytes((last[1] + 1,)) + tail)


def test_a_known_beginning_whose_fields_have_left_the_table_is_refused() -> None:
    client, reading = Indexing(), decoder()
    steady = [(b":method", b"POST"), (b"x-steady", b"1")]
    for turn in range(3):
        last = client.encode([*steady, (b"grpc-timeout", b"%du" % turn)])
        reading.decode(last)
    reading.decode(b"\x20\x3f\xe1\x1f")  # the table is emptied, and as large as before
    with pytest.raises(HpackError):
        reading.decode(b"\x83" + bytes((last[1] + 1,)) + indexed(b"grpc-timeout", b"1u"))
