"""The messages between two sidecars (dapr.proto.internals.v1), to and from the model, by hand from bytes.

| message                      | fields                                                        |
|------------------------------|---------------------------------------------------------------|
| InternalInvokeRequestStream  | 1 request, 2 payload                                          |
| InternalInvokeRequest        | 1 ver, 2 metadata map, 3 message (InvokeRequest)              |
| InvokeRequest                | 1 method, 2 data Any, 3 content_type, 4 http_extension        |
| InternalInvokeResponseStream | 1 response, 2 payload                                         |
| InternalInvokeResponse       | 1 status, 2 headers map, 3 trailers map, 4 message            |
| StreamPayload                | 1 data, 2 seq                                                 |

The unary form (CallLocal) is the inner request and response with the body in the message's `data`. A test holds every
function here against the C-backed classes.
"""

from dataclasses import dataclass
from typing import Final

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.wire.scan import Malformed, fields, number, octets, prefixed, varint

VERBS: Final = ("NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_VERB_NUMBERS: Final = {verb: number for number, verb in enumerate(VERBS)}
_MOST_CACHED: Final = 2048
_LONGEST_CACHED: Final = 256
_MESSAGE, _METADATA, _PAYLOAD = b"\x1a", b"\x12", b"\x12"


@dataclass(frozen=True, slots=True)
class Leading:
    """The first message of a streamed call: who is asked what, and the first piece of the body."""

    invocation: Invocation
    data: bytes


class Codec:
    """Encodes and decodes; keeps the header entries it has seen, in bounded number."""

    def __init__(self) -> None:
        self._made: dict[tuple[bytes, bytes], bytes] = {}
        self._read: dict[bytes, Pairs] = {}

    # Requests

    def leading(self, invocation: Invocation, data: bytes) -> bytes:
        """The first message of CallLocalStream, with the body's first piece."""
        message = _message(invocation, b"\x12\x00")
        request = prefixed(
            b"\x0a", b"\x08\x01" + self._map(b"\x12", invocation.headers) + prefixed(_MESSAGE, message)
        )
        return request + _payload(data, 0)

    def request(self, invocation: Invocation, data: bytes) -> bytes:
        """The one message of CallLocal."""
        body = prefixed(b"\x12", _any(invocation.type_url, data))
        return (
            b"\x08\x01"
            + self._map(b"\x12", invocation.headers)
            + prefixed(_MESSAGE, _message(invocation, body))
        )

    def read_leading(self, data: bytes) -> Leading:
        """Raises Malformed, also when there is no request in it."""
        invocation: Invocation | None = None
        piece = b""
        for field, value in fields(data):
            if field == 1:
                invocation, _ = self.read_request(octets(value))
            elif field == 2:
                piece, _ = _read_payload(octets(value))
        if invocation is None:
            raise Malformed("request does not contain the required fields in the leading chunk")
        return Leading(invocation, piece)

    def read_request(self, data: bytes) -> tuple[Invocation, bytes]:
        """An InternalInvokeRequest and the bytes in its message's data."""
        headers: Pairs = []
        invocation: Invocation | None = None
        body = b""
        known = self._read
        for field, value in fields(data):
            if field == 2:
                pairs = known.get(value)  # type: ignore[arg-type]
                headers += self._entry(octets(value)) if pairs is None else pairs
            elif field == 3:
                invocation, body = _read_message(octets(value), headers)
        if invocation is None:
            raise Malformed("parsing InternalInvokeRequest error: request message is nil")
        return invocation, body

    # Responses

    def answer(self, outcome: Outcome, data: bytes) -> bytes:
        """The first message of the answer's stream, with the body's first piece."""
        return prefixed(b"\x0a", self._response(outcome, b"")) + _payload(data, 0)

    def response(self, outcome: Outcome, data: bytes) -> bytes:
        """The one answer of CallLocal."""
        return self._response(outcome, prefixed(b"\x0a", _any(outcome.type_url, data)))

    def read_answer(self, data: bytes) -> tuple[Outcome, bytes]:
        """The first message of an answer's stream: its head and the first piece of the body."""
        outcome: Outcome | None = None
        piece = b""
        for field, value in fields(data):
            if field == 1:
                outcome, _ = self.read_response(octets(value))
            elif field == 2:
                piece, _ = _read_payload(octets(value))
        if outcome is None:
            raise Malformed("response does not contain the required fields in the leading chunk")
        return outcome, piece

    def read_response(self, data: bytes) -> tuple[Outcome, bytes]:
        """An InternalInvokeResponse and the bytes in its message's data."""
        outcome = Outcome(0)
        body = b""
        known = self._read
        for field, value in fields(data):
            if field == 2:
                pairs = known.get(value)  # type: ignore[arg-type]
                outcome.headers += self._entry(octets(value)) if pairs is None else pairs
            elif field == 1:
                _read_status(octets(value), outcome)
            elif field == 3:
                outcome.trailers += self._entry(octets(value))
            elif field == 4:
                body = _read_response_message(octets(value), outcome)
        return outcome, body

    def _response(self, outcome: Outcome, body: bytes) -> bytes:
        status = b"\x08" + varint(outcome.status)
        if outcome.message:
            status += prefixed(b"\x12", outcome.message.encode())
        for detail in outcome.details:
            status += prefixed(b"\x1a", detail)
        content_type = prefixed(b"\x12", outcome.content_type.encode()) if outcome.content_type else b""
        return (
            prefixed(b"\x0a", status)
            + self._map(b"\x12", outcome.headers)
            + self._map(b"\x1a", outcome.trailers)
            + prefixed(b"\x22", body + content_type)
        )

    # Header maps

    def _map(self, tag: bytes, pairs: Pairs) -> bytes:
        made = self._made
        parts: list[bytes] = []
        names: set[bytes] = set()
        for pair in pairs:
            if pair[0] in names:
                return self._merged(tag, pairs)
            names.add(pair[0])
            entry = made.get(pair)
            if entry is None:
                entry = _encode_entry(pair[0], (pair[1],))
                if len(entry) <= _LONGEST_CACHED:
                    if len(made) >= _MOST_CACHED:
                        made.clear()
                    made[pair] = entry
            parts.append(tag)
            parts.append(entry)
        return b"".join(parts)

    def _merged(self, tag: bytes, pairs: Pairs) -> bytes:
        """A map has one entry per name: the values of a repeated header go into one list."""
        grouped: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            grouped.setdefault(name, []).append(value)
        return b"".join(tag + _encode_entry(name, values) for name, values in grouped.items())

    def _entry(self, data: bytes) -> Pairs:
        entry = self._read.get(data)
        if entry is None:
            entry = _decode_entry(data)
            if len(data) <= _LONGEST_CACHED:
                if len(self._read) >= _MOST_CACHED:
                    self._read.clear()
                self._read[data] = entry
        return entry


def piece(data: bytes, seq: int) -> bytes:
    """A following message of either stream: one more piece of the body."""
    return _payload(data, seq)


def read_piece(data: bytes) -> tuple[bytes, int, bool]:
    """A following message: its bytes, its number, and whether it wrongly repeats the head."""
    found, seq, headed = b"", 0, False
    for field, value in fields(data):
        if field == 2:
            found, seq = _read_payload(octets(value))
        elif field == 1:
            headed = True
    return found, seq, headed


def _payload(data: bytes, seq: int) -> bytes:
    inner = prefixed(b"\x0a", data) if data else b""
    return prefixed(_PAYLOAD, inner + b"\x10" + varint(seq) if seq else inner)


def _read_payload(data: bytes) -> tuple[bytes, int]:
    found, seq = b"", 0
    for field, value in fields(data):
        if field == 1:
            found = octets(value)
        elif field == 2:
            seq = number(value)
    return found, seq


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


def _read_message(data: bytes, headers: Pairs) -> tuple[Invocation, bytes]:
    invocation = Invocation("", "", "", headers)
    body = b""
    for field, value in fields(data):
        if field == 1:
            invocation.method = octets(value).decode()
        elif field == 2:
            invocation.type_url, body = _read_any(octets(value))
        elif field == 3:
            invocation.content_type = octets(value).decode()
        elif field == 4:
            _read_extension(octets(value), invocation)
    return invocation, body


def _read_extension(data: bytes, invocation: Invocation) -> None:
    for field, value in fields(data):
        if field == 1:
            verb = number(value)
            invocation.verb = VERBS[verb] if 0 < verb < len(VERBS) else ""
        elif field == 2:
            invocation.query = octets(value).decode()


def _read_status(data: bytes, outcome: Outcome) -> None:
    details: list[bytes] = []
    for field, value in fields(data):
        if field == 1:
            outcome.status = number(value)
        elif field == 2:
            outcome.message = octets(value).decode()
        elif field == 3:
            details.append(octets(value))
    outcome.details = tuple(details)


def _read_response_message(data: bytes, outcome: Outcome) -> bytes:
    body = b""
    for field, value in fields(data):
        if field == 1:
            outcome.type_url, body = _read_any(octets(value))
        elif field == 2:
            outcome.content_type = octets(value).decode()
    return body


def _encode_entry(name: bytes, values: "list[bytes] | tuple[bytes, ...]") -> bytes:
    """Key and list as one map entry, its own length in front."""
    inner = b"".join(prefixed(b"\x0a", value) for value in values)
    return prefixed(b"", prefixed(b"\x0a", name) + prefixed(b"\x12", inner))


def _decode_entry(data: bytes) -> Pairs:
    name = b""
    values: list[bytes] = []
    for field, value in fields(data):
        if field == 1:
            name = octets(value).lower()
        elif field == 2:
            values = [octets(each) for at, each in fields(octets(value)) if at == 1]
    return [(name, value) for value in values]
