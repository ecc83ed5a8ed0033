"""The messages between two sidecars (dapr.proto.internals.v1), to and from the model, by hand from bytes.

| message                      | fields                                                        |
|------------------------------|---------------------------------------------------------------|
| InternalInvokeRequestStream  | 1 request, 2 payload                                          |
| InternalInvokeRequest        | 1 ver, 2 metadata map, 3 message (InvokeRequest)              |
| InvokeRequest                | 1 method, 2 data Any, 3 content_type, 4 http_extension        |
| InternalInvokeResponseStream | 1 response, 2 payload                                         |
| InternalInvokeResponse       | 1 status, 2 headers map, 3 trailers map, 4 message            |
| StreamPayload                | 1 data, 2 seq                                                 |

The unary form (CallLocal) is the inner request and response with the body in the message's `data`. Values of `-bin` names
are bytes in the model and base64 text here; every other value is UTF-8, as protobuf demands of its strings. A test holds
every function here against the C-backed classes.
"""

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from dataclasses import replace
from typing import Final, TypeVar

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.toolbox.lazily import dataclass
from pillion.wire.scan import (
    SPOILED,
    Malformed,
    fields,
    number,
    octets,
    prefixed,
    read_varint,
    skip,
    span,
    varint,
)

K = TypeVar("K")
V = TypeVar("V")

_PLAIN_STATUS: Final = {b"\x08" + varint(code): code for code in range(600)}
"""A status without text, as its message's bytes."""
_STATUS: Final = {code: data for data, code in _PLAIN_STATUS.items()}
VERBS: Final = ("NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_VERB_NUMBERS: Final = {verb: number for number, verb in enumerate(VERBS)}
_MOST_CACHED: Final = 2048
_LONGEST_CACHED: Final = 256
_CHANGING: Final = frozenset(
    (b"traceparent", b"tracestate", b"baggage", b"grpc-trace-bin", b"content-length")
)
"""Headers whose values rarely come twice: kept out of the caches."""
_NEVER_TWICE: Final = _CHANGING - {b"content-length"}
"""With one of these a head is not worth remembering as a whole."""
_NO_PAYLOAD: Final = -1
_NOTHING_YET: Final = b"\x12\x00"
"""The payload of a first message that brings nothing of the body."""
_SHORT: Final = 120
"""Name and value of an entry whose three lengths fit one byte each."""
_TELLING: Final = 64
"""The first bytes of a request, by which its headers are looked up."""
_MOST_STARTS: Final = 256
_LONGEST_START: Final = 2048


@dataclass(frozen=True, slots=True)
class Leading:
    """The first message of a streamed call: who is asked what, and the first piece of the body.

    `seq` is that piece's number, -1 when the message has none.
    """

    invocation: Invocation
    data: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Opening:
    """The first message of a streamed answer: its head, and the first piece of the body as in `Leading`."""

    outcome: Outcome
    data: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class _Start:
    """The bytes a caller's requests begin with, and the headers in them."""

    block: bytes
    headers: Pairs


class Codec:
    """Encodes and decodes; keeps the header entries it has seen, in bounded number.

    What changes from call to call is written behind what does not, so that the reader knows the rest at one glance.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[bytes, bytes], bytes] = {}
        self._read: dict[bytes, Pairs] = {}
        self._starts: dict[bytes, _Start] = {}
        self._types: dict[bytes, str] = {}
        self._blocks: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self._requests: dict[tuple[object, ...], bytes] = {}
        self._responses: dict[tuple[object, ...], bytes] = {}
        self._asked: dict[bytes, Invocation] = {}
        self._answered: dict[bytes, Outcome] = {}
        self._kinds: dict[str, bytes] = {}
        self._ends: dict[bytes, tuple[str, str, str]] = {}

    # Requests

    def leading(self, invocation: Invocation, data: bytes) -> bytes:
        """The first message of CallLocalStream, with the body's first piece."""
        key = (
            invocation.method, invocation.verb, invocation.query, invocation.content_type, invocation.type_url,
            *invocation.headers,
        )  # fmt: skip
        head = self._requests.get(key)
        if head is None:
            message = _message(invocation, prefixed(b"\x12", _any(invocation.type_url, b"")))
            request = b"\x08\x01" + self._map(b"\x12", invocation.headers) + prefixed(b"\x1a", message)
            head = prefixed(b"\x0a", request)
            if len(head) <= _LONGEST_START and _may_come_again(invocation.headers):
                _bounded(self._requests)[key] = head
        return head + (_payload(data, 0) if data else _NOTHING_YET)

    def request(self, invocation: Invocation, data: bytes) -> bytes:
        """The one message of CallLocal."""
        message = _message(invocation, prefixed(b"\x12", _any(invocation.type_url, data)))
        return b"\x08\x01" + self._map(b"\x12", invocation.headers) + prefixed(b"\x1a", message)

    def read_leading(self, data: bytes) -> Leading:
        """Raises Malformed, also when there is no request in it."""
        start, stop, payload, seq = _parts(data)
        if start < 0:
            raise Malformed("request does not contain the required fields in the leading chunk")
        head = data[start:stop]
        known = self._asked.get(head)
        if known is not None:
            made = Invocation("", known.method, known.verb, known.headers.copy())
            made.query, made.content_type = known.query, known.content_type
            made.type_url, made.from_grpc = known.type_url, known.from_grpc
            return Leading(made, payload, seq)
        invocation, _ = self._request(head, 0, len(head))
        if len(head) <= _LONGEST_START and _may_come_again(invocation.headers):
            _bounded(self._asked)[head] = replace(invocation, headers=invocation.headers.copy())
        return Leading(invocation, payload, seq)

    def read_request(self, data: bytes) -> tuple[Invocation, bytes]:
        """An InternalInvokeRequest and the bytes in its message's data."""
        return self._request(data, 0, len(data))

    def _request(self, data: bytes, pos: int, end: int) -> tuple[Invocation, bytes]:
        known = self._starts.get(data[pos : pos + _TELLING])
        if known is not None and data.startswith(known.block, pos) and pos + len(known.block) <= end:
            headers = known.headers.copy()
            pos += len(known.block)
        else:
            headers = []
            pos = self._start(data, pos, end, headers)
        message: tuple[int, int] | None = None
        while pos < end:
            tag = data[pos]
            if tag == 0x12:
                pos, stop = span(data, pos + 1, end)
                headers += self._entry(data[pos:stop])
                pos = stop
            elif tag == 0x1A:
                message = span(data, pos + 1, end)
                pos = message[1]
            else:
                pos = skip(data, pos, end)
        if message is None:
            raise Malformed("request does not contain the required fields in the leading chunk")
        invocation = Invocation("", "", "", headers)
        body = self._message(data, *message, invocation)
        # One search in C; only what might be a gRPC caller's is looked at header by header.
        invocation.from_grpc = b"application/grpc" in data and any(
            name == b"content-type" and value.startswith(b"application/grpc") for name, value in headers
        )
        if b"rpc-" in data and not invocation.from_grpc:
            # An HTTP caller's, named as what gRPC keeps for itself: the app sees it prefixed.
            invocation.headers = [
                (b"dapr-" + name if name.startswith(b"grpc-") else name, value) for name, value in headers
            ]
        return invocation, body

    def _message(self, data: bytes, pos: int, end: int, invocation: Invocation) -> bytes:
        """The method, and behind it what is mostly the same from call to call."""
        if pos < end and data[pos] == 0x0A:
            start, pos = span(data, pos + 1, end)
            invocation.method = data[start:pos].decode()
        rest = data[pos:end]
        known = self._ends.get(rest)
        if known is not None:
            invocation.content_type, invocation.verb, invocation.query = known
            return b""
        method = invocation.method
        body = _read_message(rest, 0, len(rest), invocation)
        plain = not body and not invocation.type_url and not invocation.query and invocation.method is method
        if plain and len(rest) <= _LONGEST_CACHED:
            if len(self._ends) >= _MOST_STARTS:
                self._ends.clear()
            self._ends[rest] = (invocation.content_type, invocation.verb, invocation.query)
        return body

    def _start(self, data: bytes, begin: int, end: int, headers: Pairs) -> int:
        """Read up to the first thing that changes from call to call, and know it again the next time."""
        pos = begin
        while pos < end:
            tag = data[pos]
            if tag == 0x12:
                start, stop = span(data, pos + 1, end)
                pairs = self._entry(data[start:stop])
                if pairs and pairs[0][0] in _CHANGING:
                    break
                headers += pairs
                pos = stop
            elif tag == 0x08:
                pos = skip(data, pos, end)
            else:
                break
        if _TELLING < pos - begin <= _LONGEST_START:
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[data[begin : begin + _TELLING]] = _Start(data[begin:pos], headers.copy())
        return pos

    # Responses

    def answer(self, outcome: Outcome, data: bytes) -> bytes:
        """The first message of the answer's stream, with the body's first piece."""
        if outcome.message or outcome.details or outcome.trailers:
            return prefixed(b"\x0a", self._response(outcome, _kept_type(outcome))) + _payload(data, 0)
        key = (outcome.status, outcome.content_type, outcome.type_url, *outcome.headers)
        head = self._responses.get(key)
        if head is None:
            head = prefixed(b"\x0a", self._response(outcome, _kept_type(outcome)))
            if len(head) <= _LONGEST_START and _may_come_again(outcome.headers):
                _bounded(self._responses)[key] = head
        return head + (_payload(data, 0) if data else _NOTHING_YET)

    def response(self, outcome: Outcome, data: bytes) -> bytes:
        """The one answer of CallLocal."""
        return self._response(outcome, prefixed(b"\x0a", _any(outcome.type_url, data)))

    def read_answer(self, data: bytes) -> Opening:
        """The first message of an answer's stream; raises Malformed."""
        start, stop, payload, seq = _parts(data)
        if start < 0:
            raise Malformed("response does not contain the required fields in the leading chunk")
        head = data[start:stop]
        known = self._answered.get(head)
        if known is not None:
            made = Outcome(known.status, known.headers.copy(), content_type=known.content_type)
            return Opening(made, payload, seq)
        outcome, _ = self._read_response(head, 0, len(head))
        plain = outcome.is_http and not (
            outcome.trailers or outcome.message or outcome.details or outcome.type_url
        )
        if plain and len(head) <= _LONGEST_START and _may_come_again(outcome.headers):
            _bounded(self._answered)[head] = replace(outcome, headers=outcome.headers.copy())
        return Opening(outcome, payload, seq)

    def read_response(self, data: bytes) -> tuple[Outcome, bytes]:
        """An InternalInvokeResponse and the bytes in its message's data."""
        return self._read_response(data, 0, len(data))

    def _read_response(self, data: bytes, pos: int, end: int) -> tuple[Outcome, bytes]:
        outcome = Outcome(0)
        headers = outcome.headers
        body = b""
        while pos < end:
            tag = data[pos]
            if tag not in _RESPONSE_TAGS:
                pos = skip(data, pos, end)
                continue
            pos, stop = span(data, pos + 1, end)
            part = data[pos:stop]
            if tag == 0x12:
                headers += self._entry(part)
            elif tag == 0x0A:
                _read_status(part, outcome)
            elif tag == 0x22:
                body = self._response_message(part, outcome)
            else:
                outcome.trailers += self._entry(part)
            pos = stop
        return outcome, body

    def _response_message(self, data: bytes, outcome: Outcome) -> bytes:
        known = self._types.get(data)
        if known is not None:
            outcome.content_type = known
            return b""
        body = b""
        for field, value in fields(data):
            if field == 1:
                outcome.type_url, body = _read_any(octets(value))
            elif field == 2:
                outcome.content_type = octets(value).decode()
        if not outcome.type_url and not body and len(data) <= _LONGEST_CACHED:
            if len(self._types) >= _MOST_STARTS:
                self._types.clear()
            self._types[data] = outcome.content_type
        return body

    def _response(self, outcome: Outcome, body: bytes) -> bytes:
        status = _STATUS.get(outcome.status) or b"\x08" + varint(outcome.status)
        if outcome.message or outcome.details:
            status += prefixed(b"\x12", outcome.message.encode()) if outcome.message else b""
            status += b"".join(prefixed(b"\x1a", detail) for detail in outcome.details)
        kind = self._kinds.get(outcome.content_type)
        if kind is None:
            kind = self._kind(outcome.content_type)
        headers = self._map(b"\x12", outcome.headers)
        if outcome.trailers:
            headers += self._map(b"\x1a", outcome.trailers)
        return b"\x0a" + varint(len(status)) + status + headers + prefixed(b"\x22", body + kind)

    def _kind(self, content_type: str) -> bytes:
        """A content type as the second field of an answer's message."""
        made = prefixed(b"\x12", content_type.encode()) if content_type else b""
        if len(made) <= _LONGEST_CACHED:
            _bounded(self._kinds)[content_type] = made
        return made

    # Header maps

    def _map(self, tag: bytes, pairs: Pairs) -> bytes:
        if tag != b"\x12" or not _may_come_again(pairs):
            return self._entries(tag, pairs)
        key = tuple(pairs)
        block = self._blocks.get(key)
        if block is None:
            block = self._entries(tag, pairs)
            if len(block) <= _LONGEST_START:
                _bounded(self._blocks)[key] = block
        return block

    def _entries(self, tag: bytes, pairs: Pairs) -> bytes:
        made = self._made
        parts: list[bytes] = []
        changing: list[bytes] = []
        for pair in pairs:
            if pair in made:
                parts.append(made[pair])
            elif pair[0] in _CHANGING:
                changing.append(_encode_entry(pair[0], (pair[1],)))
            else:
                parts.append(self._encoded(pair))
        if len({name for name, _ in pairs}) != len(pairs):
            return _merged(tag, pairs)
        return tag + tag.join(parts + changing) if pairs else b""

    def _encoded(self, pair: tuple[bytes, bytes]) -> bytes:
        entry = _encode_entry(pair[0], (pair[1],))
        if len(entry) <= _LONGEST_CACHED:
            if len(self._made) >= _MOST_CACHED:
                self._made.clear()
            self._made[pair] = entry
        return entry

    def _entry(self, data: bytes) -> Pairs:
        entry = self._read.get(data)
        if entry is not None:
            return entry
        entry = _decode_entry(data)
        if len(data) <= _LONGEST_CACHED and entry and entry[0][0] not in _CHANGING:
            if len(self._read) >= _MOST_CACHED:
                self._read.clear()
            self._read[data] = entry
        return entry


def _may_come_again(pairs: Pairs) -> bool:
    return _NEVER_TWICE.isdisjoint([name for name, _ in pairs])


def _bounded(known: dict[K, V]) -> dict[K, V]:
    """Ready to take one more."""
    if len(known) >= _MOST_STARTS:
        known.clear()
    return known


def read_service_request(data: bytes) -> Invocation | None:
    """The runtime API's InvokeServiceRequest (1 id, 3 message as above); None without a message. Raises Malformed."""
    invocation = Invocation("", "", "", [], from_grpc=True)
    message = False
    pos, end = 0, len(data)
    while pos < end:
        tag = data[pos]
        if tag == 0x1A:
            start, pos = span(data, pos + 1, end)
            invocation.body = _read_message(data, start, pos, invocation)
            message = True
        elif tag == 0x0A:
            start, pos = span(data, pos + 1, end)
            invocation.app_id = data[start:pos].decode()
        else:
            pos = skip(data, pos, end)
    return invocation if message else None


def service_response(type_url: str, body: bytes, content_type: str) -> bytes:
    """The runtime API's InvokeResponse: 1 data, 2 content_type."""
    made = prefixed(b"\x0a", _any(type_url, body)) if body or type_url else b""
    return made + prefixed(b"\x12", content_type.encode()) if content_type else made


def piece(data: bytes, seq: int) -> bytes:
    """A following message of either stream: one more piece of the body."""
    return _payload(data, seq)


def read_piece(data: bytes) -> tuple[bytes, int, bool]:
    """A following message: its bytes, its number (-1: none), and whether it wrongly repeats the head."""
    start, _, found, seq = _parts(data)
    return found, seq, start >= 0


def _parts(data: bytes) -> tuple[int, int, bytes, int]:
    """Where the head of a stream's message stands (-1: nowhere), and its payload."""
    size = len(data)
    if size > 2 and data[0] == 0x0A and (data[1] < 128 or data[2] < 128):
        # A head and one short piece of the body behind it: nearly every call and every answer.
        start, stop = (2, data[1] + 2) if data[1] < 128 else (3, (data[1] & 127 | data[2] << 7) + 3)
        rest = size - stop
        if rest == 2 and data[stop:] == _NOTHING_YET:
            return start, stop, b"", 0
        if 4 < rest < 128 and data[stop : stop + 4] == b"\x12%c\x0a%c" % (rest - 2, rest - 4):
            return start, stop, data[stop + 4 :], 0
    return _searched_parts(data)


def _searched_parts(data: bytes) -> tuple[int, int, bytes, int]:
    start = stop = -1
    payload, seq = b"", _NO_PAYLOAD
    pos, end = 0, len(data)
    while pos < end:
        tag = data[pos]
        if tag == 0x0A:
            start, stop = span(data, pos + 1, end)
            pos = stop
        elif tag == 0x12:
            begin, pos = span(data, pos + 1, end)
            payload, seq = _read_payload(data, begin, pos)
        else:
            pos = skip(data, pos, end)
    return start, stop, payload, seq


def _payload(data: bytes, seq: int) -> bytes:
    inner = prefixed(b"\x0a", data) if data else b""
    return prefixed(b"\x12", inner + b"\x10" + varint(seq) if seq else inner)


def _read_payload(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    found, seq = b"", 0
    while pos < end:
        tag = data[pos]
        if tag == 0x0A:
            start, pos = span(data, pos + 1, end)
            found = data[start:pos]
        elif tag == 0x10:
            seq, pos = read_varint(data, pos + 1, end)
        else:
            pos = skip(data, pos, end)
    return found, seq


def _kept_type(outcome: Outcome) -> bytes:
    """An answer's data without its bytes, which travel in pieces: its type, if it has one."""
    return prefixed(b"\x0a", _any(outcome.type_url, b"")) if outcome.type_url else b""


def _any(type_url: str, data: bytes) -> bytes:
    head = prefixed(b"\x0a", type_url.encode()) if type_url else b""
    return head + prefixed(b"\x12", data) if data else head


def _read_any(data: bytes) -> tuple[str, bytes]:
    type_url, found = "", b""
    for field, value in fields(data):
        if field == 1:
            type_url = octets(value).decode()
        elif field == 2:
            found = octets(value)
    return type_url, found


def _message(invocation: Invocation, data: bytes) -> bytes:
    out = prefixed(b"\x0a", invocation.method.encode()) + data
    if invocation.content_type:
        out += prefixed(b"\x1a", invocation.content_type.encode())
    if invocation.verb:
        extension = b"\x08" + varint(_VERB_NUMBERS.get(invocation.verb, 3))
        if invocation.query:
            extension += prefixed(b"\x12", invocation.query.encode())
        out += prefixed(b"\x22", extension)
    return out


def _read_message(data: bytes, pos: int, end: int, invocation: Invocation) -> bytes:
    body = b""
    while pos < end:
        tag = data[pos]
        if tag in _MESSAGE_TAGS:
            pos, stop = span(data, pos + 1, end)
            value = data[pos:stop]
            if tag == 0x0A:
                invocation.method = value.decode()
            elif tag == 0x1A:
                invocation.content_type = value.decode()
            elif tag == 0x22:
                _read_extension(value, invocation)
            elif value:
                invocation.type_url, body = _read_any(value)
        else:
            stop = skip(data, pos, end)
        pos = stop
    return body


_MESSAGE_TAGS: Final = (0x0A, 0x12, 0x1A, 0x22)
_RESPONSE_TAGS: Final = _MESSAGE_TAGS


def _read_extension(data: bytes, invocation: Invocation) -> None:
    if len(data) == 2 and data[0] == 0x08:
        verb = data[1]
    else:
        verb = 0
        for field, value in fields(data):
            if field == 1:
                verb = number(value)
            elif field == 2:
                invocation.query = octets(value).decode()
    invocation.verb = VERBS[verb] if 0 < verb < len(VERBS) else ""


def _read_status(data: bytes, outcome: Outcome) -> None:
    known = _PLAIN_STATUS.get(data)
    if known is not None:
        outcome.status = known
        return
    details: list[bytes] = []
    for field, value in fields(data):
        if field == 1:
            outcome.status = number(value)
        elif field == 2:
            outcome.message = octets(value).decode()
        elif field == 3:
            details.append(octets(value))
    if outcome.status > 999:
        raise Malformed(SPOILED)
    outcome.details = tuple(details)


def _merged(tag: bytes, pairs: Pairs) -> bytes:
    """A map has one entry per name: the values of a repeated header go into one list."""
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return b"".join(tag + _encode_entry(name, values) for name, values in grouped.items())


def _encode_entry(name: bytes, values: "list[bytes] | tuple[bytes, ...]") -> bytes:
    """Key and list as one map entry, its own length in front."""
    if len(values) == 1:
        value = values[0]
        room = len(name) + len(value)
        if room < _SHORT and name[-4:] != b"-bin" and value.isascii() and name.isascii():
            size = len(value)
            return b"%c\n%c%b\x12%c\n%c%b" % (room + 6, len(name), name, size + 2, size, value)
    if name[-4:] == b"-bin":
        texts = [b2a_base64(value, newline=False) for value in values]
    else:
        texts = [_utf8(value) for value in values]
    inner = b"".join(prefixed(b"\x0a", text) for text in texts)
    return prefixed(b"", prefixed(b"\x0a", _utf8(name)) + prefixed(b"\x12", inner))


def _decode_entry(data: bytes) -> Pairs:
    """One name and its values. Nearly always they are short, few and in order, and need no search."""
    size = len(data)
    if 6 <= size < 128 and data[0] == 0x0A and (stop := data[1] + 2) <= size - 4:
        length = size - stop - 4
        if data[stop] == 0x12 and data[stop + 1 : stop + 4] == b"%c\n%c" % (length + 2, length):
            name = data[2:stop].lower()
            if name[-4:] != b"-bin":
                return [(name, data[stop + 4 :])]
    return _searched_entry(data)


def _searched_entry(data: bytes) -> Pairs:
    name = b""
    values: list[bytes] = []
    for field, value in fields(data):
        if field == 1:
            name = octets(value).lower()
        elif field == 2:
            values = [octets(each) for at, each in fields(octets(value)) if at == 1]
    if name[-4:] == b"-bin":
        return [(name, binary) for text in values if (binary := _binary(text)) is not None]
    return [(name, each) for each in values]


def _utf8(value: bytes) -> bytes:
    """A header's bytes as a protobuf string: what is not UTF-8 is taken for Latin-1, HTTP's old charset."""
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1").encode()
    return value


def _binary(text: bytes) -> bytes | None:
    try:
        return a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except NotBase64:
        return None
