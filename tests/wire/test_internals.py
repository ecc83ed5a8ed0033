"""The hand-written codec of the sidecar-to-sidecar messages agrees with the generated classes."""

import pytest

from pillion.model.invoke import Invocation, Outcome
from pillion.wire.internals import Codec, piece, read_piece
from pillion.wire.proto import internals
from pillion.wire.scan import Malformed

HEADERS = [
    (b"accept", b"*/*"),
    (b"x-many", b"a"),
    (b"x-many", b"b"),
    (b"x-long", b"v" * 300),
    (b"x-empty", b""),
    (b"x-bin", b"\xff\x00"),
]
PLAIN = HEADERS[:1] + HEADERS[3:5]


def invocation(headers: list[tuple[bytes, bytes]]) -> Invocation:
    return Invocation("b", "orders/1", "PUT", list(headers), query="q=1", content_type="text/plain")


def as_map(pairs: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode(), []).append(value.decode())
    return found


@pytest.mark.parametrize("headers", [PLAIN, HEADERS[:5], []])
@pytest.mark.parametrize("data", [b"", b"x", b"y" * 70_000])
def test_a_leading_request_reads_as_the_generated_class_reads_it(
    headers: list[tuple[bytes, bytes]], data: bytes
) -> None:
    made = internals.InternalInvokeRequestStream.FromString(Codec().leading(invocation(headers), data))
    assert {name: list(entry.values) for name, entry in made.request.metadata.items()} == as_map(headers)
    assert (made.request.ver, made.request.message.method) == (1, "orders/1")
    assert made.request.message.HasField("data") and not made.request.message.data.value
    assert made.request.message.http_extension.querystring == "q=1"
    assert made.request.message.content_type == "text/plain"
    assert (made.payload.data, made.payload.seq) == (data, 0)


@pytest.mark.parametrize("headers", [PLAIN, HEADERS[:5], []])
def test_what_the_generated_class_writes_is_read_back(headers: list[tuple[bytes, bytes]]) -> None:
    made = internals.InternalInvokeRequestStream()
    made.request.ver = internals.V1
    for name, values in as_map(headers).items():
        made.request.metadata[name].values.extend(values)
    made.request.message.method = "orders/1"
    made.request.message.http_extension.verb = 4
    made.payload.data = b"hello"
    leading = Codec().read_leading(made.SerializeToString())
    assert (leading.invocation.method, leading.invocation.verb, leading.data) == ("orders/1", "PUT", b"hello")
    assert as_map(leading.invocation.headers) == as_map(headers)


def test_an_answer_survives_both_ways_with_status_details_and_trailers() -> None:
    detail = b"\x0a\x03t/x\x12\x01z"
    outcome = Outcome(
        5, list(PLAIN), content_type="a/b", trailers=[(b"x-t", b"v")], message="no", details=(detail,)
    )
    codec = Codec()
    made = internals.InternalInvokeResponseStream.FromString(codec.answer(outcome, b"body"))
    assert (made.response.status.code, made.response.status.message) == (5, "no")
    assert made.response.status.details[0].type_url == "t/x"
    assert made.response.message.content_type == "a/b"
    assert made.response.trailers["x-t"].values == ["v"]
    opening = codec.read_answer(made.SerializeToString())
    again = opening.outcome
    assert (opening.data, opening.seq) == (b"body", 0)
    assert (again.status, again.message, again.details, again.content_type) == (5, "no", (detail,), "a/b")
    assert sorted(again.headers) == sorted(PLAIN) and again.trailers == [(b"x-t", b"v")]


def test_the_unary_form_carries_the_body_in_its_message() -> None:
    codec = Codec()
    made = internals.InternalInvokeRequest.FromString(codec.request(invocation(PLAIN), b"body"))
    assert made.message.data.value == b"body"
    asked, data = codec.read_request(made.SerializeToString())
    assert (asked.method, data) == ("orders/1", b"body")
    answer = internals.InternalInvokeResponse.FromString(codec.response(Outcome(200, type_url="t"), b"back"))
    assert (answer.message.data.type_url, answer.message.data.value) == ("t", b"back")
    outcome, data = codec.read_response(answer.SerializeToString())
    assert (outcome.status, outcome.type_url, data) == (200, "t", b"back")


def test_the_type_of_the_data_goes_ahead_of_its_pieces() -> None:
    """As Dapr's sidecars have it: they take the bytes out of the message and leave the type."""
    codec = Codec()
    for type_url in ("t/a", "t/b", "", "t/a"):
        asked = invocation(PLAIN)
        asked.type_url = type_url
        message = codec.leading(asked, b"body")
        made = internals.InternalInvokeRequestStream.FromString(message)
        assert (made.request.message.data.type_url, made.request.message.data.value) == (type_url, b"")
        read = codec.read_leading(message)
        assert (read.invocation.type_url, read.data) == (type_url, b"body")
        for outcome in (Outcome(0, type_url=type_url), Outcome(5, type_url=type_url, message="no")):
            message = codec.answer(outcome, b"body")
            answer = internals.InternalInvokeResponseStream.FromString(message)
            assert (answer.response.message.data.type_url, answer.response.message.data.value) == (
                type_url,
                b"",
            )
            opening = codec.read_answer(message)
            assert (opening.outcome.type_url, opening.data) == (type_url, b"body")


def test_pieces_are_numbered() -> None:
    assert read_piece(piece(b"abc", 7)) == (b"abc", 7, False)
    assert internals.InternalInvokeRequestStream.FromString(piece(b"abc", 300)).payload.seq == 300


def test_a_leading_message_without_a_request_is_malformed() -> None:
    with pytest.raises(Malformed, match="leading chunk"):
        Codec().read_leading(piece(b"x", 0))


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 9, 20])
def test_cut_off_bytes_never_read_as_a_message(cut: int) -> None:
    whole = Codec().leading(invocation(PLAIN), b"x" * 50)
    with pytest.raises((Malformed, UnicodeDecodeError)):
        Codec().read_leading(whole[:-cut])


def test_the_caches_stay_bounded() -> None:
    codec = Codec()
    for number in range(5000):
        codec.leading(invocation([(b"x", str(number).encode())]), b"")
        codec.read_leading(codec.leading(Invocation("b", str(number), "GET", []), b""))
        codec.read_answer(codec.answer(Outcome(200, [(b"x", str(number).encode())]), b""))
    assert len(codec._made) <= 2048
    assert max(len(each) for each in (codec._blocks, codec._asked, codec._answered, codec._starts)) <= 256


def test_binary_values_travel_as_base64_text_and_odd_ones_as_utf8() -> None:
    headers = [
        (b"x-b-bin", b"\xff\x00"),
        (b"x-b-bin", b"\x01"),
        (b"x-old", b"caf\xe9"),
        (b"x-new", "né".encode()),
    ]
    message = Codec().leading(invocation(headers), b"")
    made = internals.InternalInvokeRequestStream.FromString(message)
    assert list(made.request.metadata["x-b-bin"].values) == ["/wA=", "AQ=="]
    assert list(made.request.metadata["x-old"].values) == ["café"]
    read = Codec().read_leading(message).invocation.headers
    assert read == [*headers[:2], (b"x-old", "café".encode()), headers[3]]


def test_a_second_request_that_begins_alike_reads_the_same() -> None:
    codec = Codec()
    for trace in (b"a", b"b", b"b", b"c"):
        sent = [*PLAIN, (b"traceparent", trace), (b"x-last", b"1")]
        read = codec.read_leading(codec.leading(invocation(sent), b"")).invocation.headers
        assert sorted(read) == sorted(sent)
        read.clear()  # what a reader does to its headers is nobody else's business
    assert len(codec._starts) == 1


def test_a_beginning_cut_short_is_not_taken_for_the_one_known() -> None:
    codec = Codec()
    whole = codec.leading(invocation(PLAIN), b"")
    codec.read_leading(whole)
    with pytest.raises(Malformed):
        codec.read_leading(whole[:-30])


def test_a_call_of_a_grpc_app_is_known_by_its_content_type() -> None:
    sent = [(b"content-type", b"application/grpc+proto")]
    codec = Codec()
    assert codec.read_leading(codec.leading(invocation(sent), b"")).invocation.from_grpc
    assert not codec.read_leading(codec.leading(invocation(PLAIN), b"application/grpc")).invocation.from_grpc


def test_a_status_out_of_every_range_is_malformed() -> None:
    with pytest.raises(Malformed):
        Codec().read_response(internals.InternalInvokeResponse(status={"code": -1}).SerializeToString())


def test_a_head_that_comes_again_reads_as_the_first_time_and_is_nobody_elses() -> None:
    codec = Codec()
    message = codec.leading(invocation([(b"x-h", b"1")]), b"one")
    first = codec.read_leading(message)
    first.invocation.headers.append((b"mine", b"1"))
    first.invocation.method = "changed"
    again = codec.read_leading(codec.leading(invocation([(b"x-h", b"1")]), b"two"))
    assert (again.invocation.method, again.invocation.headers, again.data) == (
        "orders/1",
        [(b"x-h", b"1")],
        b"two",
    )
    assert (again.invocation.verb, again.invocation.query, again.invocation.content_type) == (
        "PUT",
        "q=1",
        "text/plain",
    )
    answer = codec.answer(Outcome(200, [(b"x", b"1")], content_type="a/b"), b"x")
    codec.read_answer(answer).outcome.headers.clear()
    outcome = codec.read_answer(answer).outcome
    assert (outcome.status, outcome.headers, outcome.content_type) == (200, [(b"x", b"1")], "a/b")
