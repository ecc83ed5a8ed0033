"""What small calls between two sidecars of our own kind look like in a frame."""

import random
from typing import Any

import pytest

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.wire.internals import Codec
from pillion.wire.lane import Lane
from pillion.wire.scan import Malformed

TRACE = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
HEADERS: list[Pairs] = [
    [],
    [(b"accept", b"*/*")],
    [(b"x-many", b"a"), (b"x-other", b"-"), (b"x-many", b"b"), (b"x-many", b"a")],
    [(b"x-empty", b""), (b"x-long", b"v" * 3000)],
    [(b"x-latin", b"caf\xe9"), (b"x-utf", "naïve ☃".encode()), (b"x-raw-bin", bytes(range(256)))],
    [(b"content-length", b"4"), TRACE, (b"x-h", b"1"), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
]


def invocation(headers: Pairs, **more: Any) -> Invocation:
    words = {"query": "q=1&q=2", "content_type": "text/plain; x=é", "type_url": "", "from_grpc": False}
    made = Invocation("b", "orders/1 ü", "PUT", list(headers))
    for name, value in (words | more).items():
        setattr(made, name, value)
    return made


def known(headers: Pairs) -> list[tuple[bytes, list[bytes]]]:
    """Names in any order, the values of each in theirs."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return sorted(found.items())


def carried(asked: Invocation, body: bytes = b"", ways: tuple[Lane, Lane] | None = None) -> Invocation:
    there, here = ways or (Lane(), Lane())
    data = there.request(asked, body)
    assert data is not None
    return here.read_request(data)


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 60])
def test_a_call_comes_out_as_it_went_in_every_time(headers: Pairs, body: bytes) -> None:
    ways = Lane(), Lane()
    asked = invocation(headers)
    for _ in range(3):
        read = carried(asked, body, ways)
        assert (read.app_id, read.verb, read.method, read.query) == ("", "PUT", "orders/1 ü", "q=1&q=2")
        assert (read.content_type, read.from_grpc, read.body) == ("text/plain; x=é", False, body)
        assert known(read.headers) == known(headers)
    assert asked.headers == headers


def test_a_grpc_caller_keeps_its_metadata_and_its_type() -> None:
    asked = invocation([(b"grpc-mine", b"1"), (b"x-bin", b"\xff")], from_grpc=True, type_url="t/x.Y")
    read = carried(asked)
    assert (read.from_grpc, read.type_url, read.headers) == (True, "t/x.Y", asked.headers)


def test_what_an_http_caller_named_as_grpcs_own_arrives_prefixed() -> None:
    headers = [(b"grpc-mine", b"1"), (b"x-grpc-y", b"3"), (b"grpc-timeout", b"1S")]
    ways = Lane(), Lane()
    for _ in range(2):
        assert sorted(carried(invocation(headers), b"", ways).headers) == [
            (b"dapr-grpc-mine", b"1"),
            (b"dapr-grpc-timeout", b"1S"),
            (b"x-grpc-y", b"3"),
        ]


@pytest.mark.parametrize("headers", [each for number, each in enumerate(HEADERS) if number != 4])
def test_a_call_reads_as_from_the_messages_it_stands_for(headers: Pairs) -> None:
    codec, asked = Codec(), invocation([*headers, (b"grpc-x", b"1")], type_url="t/u")
    leading = codec.read_leading(codec.leading(asked, b"body"))
    read = carried(asked, b"body")
    assert known(read.headers) == known(leading.invocation.headers)
    assert read.body == leading.data
    for name in ("app_id", "method", "verb", "query", "content_type", "type_url", "from_grpc", "deadline"):
        assert getattr(read, name) == getattr(leading.invocation, name), name


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("status", [0, 13, 200, 404, 599])
def test_an_answer_comes_out_as_it_went_in_every_time(headers: Pairs, status: int) -> None:
    there, here = Lane(), Lane()
    for _ in range(3):
        data = there.answer(Outcome(status, list(headers), b"", "text/x", "t/u"), b"body")
        assert data is not None
        read = here.read_answer(data)
        assert (read.status, read.content_type, read.type_url, read.body) == (
            status,
            "text/x",
            "t/u",
            b"body",
        )
        assert known(read.headers) == known(headers)
        assert (read.message, read.details, read.trailers) == ("", (), [])


def test_a_reader_may_do_what_it_likes_with_its_headers() -> None:
    there, here = Lane(), Lane()
    for headers in ([(b"x", b"1")], [(b"x", b"1"), TRACE], []):
        request, answer = there.request(invocation(headers), b""), there.answer(Outcome(200, headers), b"")
        assert request is not None and answer is not None
        for _ in range(3):
            for found in (here.read_request(request), here.read_answer(answer)):
                assert found.headers == headers
                found.headers.append((b"spoilt", b"1"))


def test_a_value_that_changes_with_every_call_is_not_remembered() -> None:
    there, here = Lane(), Lane()
    for number in range(50):
        headers = [(b"x-same", b"1"), (b"traceparent", b"%d" % number), (b"content-length", b"%d" % number)]
        assert known(carried(invocation(headers), b"", (there, here)).headers) == known(headers)
        answer = there.answer(Outcome(200, headers), b"")
        assert answer is not None and known(here.read_answer(answer).headers) == known(headers)
    assert sizes(there) == [("_answered", 0), ("_asked", 0), ("_lines", 0), ("_made", 2)]
    assert sizes(here) == [("_answered", 1), ("_asked", 1), ("_lines", 1), ("_made", 0)]


def sizes(lane: Lane) -> list[tuple[str, int]]:
    return sorted((name, len(value)) for name, value in vars(lane).items())


def test_memories_are_bounded_in_number_and_in_size() -> None:
    there, here = Lane(), Lane()
    for number in range(1000):
        headers = [(b"x-%d" % number, b"1")]
        carried(invocation(headers), b"", (there, here))
        answer = there.answer(Outcome(200, headers, b"", f"t/{number}"), b"")
        assert answer is not None
        here.read_answer(answer)
    assert all(size <= 256 for lane in (there, here) for _, size in sizes(lane))
    there, here = Lane(), Lane()
    long = [(b"x", b"v" * 5000)]
    carried(invocation(long), b"", (there, here))
    answer = there.answer(Outcome(200, long, b"", "t" * 5000), b"")
    assert answer is not None
    here.read_answer(answer)
    assert [size for lane in (there, here) for _, size in sizes(lane)] == [0] * 8


@pytest.mark.parametrize(
    "asked",
    [
        invocation([], content_type="text/x\nx: y"),
        invocation([], query="a\nb"),
        invocation([], type_url="\n"),
        invocation([(b"x", b"v" * 15_000), (b"y", b"v" * 1000)]),
        invocation([(b"x", b"v" * 70_000)]),
        invocation([(b"v" * 70_000, b"x")]),
        invocation([(b"traceparent", b"v" * 70_000)]),
        invocation([], query="q" * 15_500),
    ],
)
def test_a_call_that_does_not_fit_the_form_is_left_to_the_messages(asked: Invocation) -> None:
    assert Lane().request(asked, b"") is None
    assert Lane().answer(Outcome(200, asked.headers, b"", asked.content_type + asked.query + asked.type_url), b"") is None  # fmt: skip


def test_a_method_with_a_line_break_is_left_to_the_messages() -> None:
    asked = invocation([])
    asked.method = "a\nb"
    assert Lane().request(asked, b"") is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(3, message="no"),
        Outcome(3, details=(b"\x0a\x01x",)),
        Outcome(0, trailers=[(b"x", b"1")]),
    ],
)
def test_an_answer_with_a_status_of_grpcs_is_left_to_the_messages(outcome: Outcome) -> None:
    assert Lane().answer(outcome, b"") is None


def samples() -> list[tuple[Any, bytes]]:
    """Reading functions, and bytes for them."""
    found: list[tuple[Any, bytes]] = []
    for headers in (HEADERS[2], HEADERS[5]):
        request = Lane().request(invocation(headers), b"body")
        answer = Lane().answer(Outcome(200, headers, b"", "text/x"), b"body")
        assert request is not None and answer is not None
        found += [(Lane.read_request, request), (Lane.read_answer, answer)]
    return found


def test_what_breaks_off_before_its_body_is_malformed() -> None:
    for read, data in samples():
        for size in range(len(data) - len(b"body")):
            with pytest.raises(Malformed):
                read(Lane(), data[:size])
        for size in range(len(data) - len(b"body"), len(data)):
            assert b"body".startswith(read(Lane(), data[:size]).body)


def test_any_bytes_are_read_or_malformed() -> None:
    chance = random.Random(7)
    lane, read_well = Lane(), 0
    for read, data in samples():
        for _ in range(3000):
            spoilt = bytearray(data)
            for _ in range(chance.randrange(1, 4)):
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
            try:
                found = read(lane, bytes(spoilt))
            except Malformed:
                continue
            read_well += 1
            assert all(type(part) is bytes for pair in found.headers for part in pair)
            assert isinstance(found.body, bytes)
    for _ in range(3000):
        noise = chance.randbytes(chance.randrange(40))
        for read in (lane.read_request, lane.read_answer):
            try:
                read(noise)
            except Malformed:
                continue
    assert read_well > 100


@pytest.mark.parametrize(
    "words", [b"200\na", b"200\na\nb\nc", b"x\na\nb", b"-1\na\nb", b"1000\na\nb", b"200\n\xff\n"]
)
def test_an_answer_whose_first_line_is_no_status_is_malformed(words: bytes) -> None:
    with pytest.raises(Malformed):
        Lane().read_answer(len(words).to_bytes(2, "big") + bytes(4) + words)


@pytest.mark.parametrize("steady", [b"", b"x", b"H", b"g\x00", b"h\x00\x01x\x00\x05abc"])
def test_a_call_of_neither_kind_of_caller_is_malformed(steady: bytes) -> None:
    words = b"GET\nm\n\n\n"
    with pytest.raises(Malformed):
        Lane().read_request(
            len(words).to_bytes(2, "big") + len(steady).to_bytes(2, "big") + bytes(2) + words + steady
        )
