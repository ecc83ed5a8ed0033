"""Small invocations between two sidecars of our own kind, each way one run of bytes: the contents of a `LANE` frame, version 1.

| part   | request                                                        | answer                        |
|--------|----------------------------------------------------------------|-------------------------------|
| sizes  | two bytes each: of the words, the steady, the changing headers | the same                      |
| words  | verb, method, query, content type, type URL; one line each     | status, content type, type URL |
| steady | whether a gRPC caller asks (`g` or `h`), then its headers      | headers                       |
| changing | headers that differ from call to call                        | headers                       |
| body   | the rest                                                       | the rest                      |

Headers are pairs of name and value, each behind two bytes of its length; values are the bytes that came, in their order. What is
steady is known at one glance by who has seen it before. Whatever does not fit this form (`None`) takes the protobuf messages.
"""

import struct
from typing import Final

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.wire.scan import Malformed

_CHANGING: Final = frozenset(
    (b"traceparent", b"tracestate", b"baggage", b"grpc-trace-bin", b"content-length")
)
_MOST_KNOWN: Final = 256
_LONGEST_KNOWN: Final = 2048
_LONGEST_PART: Final = 15 * 1024
_SIZES: Final = struct.Struct(">HHH")
_read_sizes: Final = _SIZES.unpack_from
_HEAD: Final = _SIZES.size
_SPOILED: Final = "a call in the lane is broken off or not of this version"


class Lane:
    """Writes and reads; keeps the steady parts it has seen, in bounded number."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], bytes] = {}
        self._asked: dict[bytes, tuple[bool, Pairs]] = {}
        self._answered: dict[bytes, Pairs] = {}
        self._lines: dict[bytes, tuple[int, str, str]] = {}

    def request(self, invocation: Invocation, body: bytes) -> bytes | None:
        """The bytes of a call, None where the lane cannot carry it."""
        words = "\n".join(
            (
                invocation.verb,
                invocation.method,
                invocation.query,
                invocation.content_type,
                invocation.type_url,
            )
        )
        if words.count("\n") != 4:
            return None
        return self._written(words.encode(), b"g" if invocation.from_grpc else b"h", invocation.headers, body)

    def read_request(self, data: bytes) -> Invocation:
        """The call in a frame. Raises Malformed."""
        try:
            words, steady, changing, body = _parts(data)
            verb, method, query, content_type, type_url = words.decode().split("\n")
            known = self._asked.get(steady)
            from_grpc, headers = known or self._caller(steady)
            headers = headers + _pairs(changing, 0) if changing else headers.copy()
        except (ValueError, IndexError, struct.error) as error:
            raise Malformed(_SPOILED) from error
        made = Invocation("", method, verb, headers, body)
        made.query, made.content_type, made.type_url, made.from_grpc = (
            query,
            content_type,
            type_url,
            from_grpc,
        )
        return made

    def answer(self, outcome: Outcome, body: bytes) -> bytes | None:
        """The bytes of an answer, None where the lane cannot carry it."""
        if outcome.message or outcome.details or outcome.trailers:
            return None
        words = f"{outcome.status}\n{outcome.content_type}\n{outcome.type_url}"
        if words.count("\n") != 2:
            return None
        return self._written(words.encode(), b"", outcome.headers, body)

    def read_answer(self, data: bytes) -> Outcome:
        """The answer in a frame. Raises Malformed."""
        try:
            words, steady, changing, body = _parts(data)
            status, content_type, type_url = self._lines.get(words) or self._line(words)
            known = self._answered.get(steady)
            headers = known.copy() if known is not None else self._headers(steady)
            if changing:
                headers += _pairs(changing, 0)
        except (ValueError, IndexError, struct.error) as error:
            raise Malformed(_SPOILED) from error
        return Outcome(status, headers, body, content_type, type_url)

    def _written(self, words: bytes, kind: bytes, headers: Pairs, body: bytes) -> bytes | None:
        changing = b""
        if not _CHANGING.isdisjoint(dict(headers)):
            changing = _block([pair for pair in headers if pair[0] in _CHANGING])
            headers = [pair for pair in headers if pair[0] not in _CHANGING]
        key = (kind, *headers)
        steady = self._made.get(key)
        if steady is None:
            steady = kind + _block(headers)
            if len(steady) <= _LONGEST_KNOWN:
                if len(self._made) >= _MOST_KNOWN:
                    self._made.clear()
                self._made[key] = steady
        if len(words) + len(steady) + len(changing) > _LONGEST_PART:
            return None
        return b"".join((_SIZES.pack(len(words), len(steady), len(changing)), words, steady, changing, body))

    def _caller(self, steady: bytes) -> tuple[bool, Pairs]:
        """Who asks: over gRPC or not, and with which headers."""
        kind = steady[:1]
        if kind not in (b"g", b"h"):
            raise ValueError(kind)
        headers = _pairs(steady, 1)
        if kind == b"h":
            # An HTTP caller's, named as what gRPC keeps for itself: the app sees it prefixed, as by way of the messages.
            headers = [
                (b"dapr-" + name if name.startswith(b"grpc-") else name, value) for name, value in headers
            ]
        made = (kind == b"g", headers)
        if len(steady) <= _LONGEST_KNOWN:
            if len(self._asked) >= _MOST_KNOWN:
                self._asked.clear()
            self._asked[steady] = made
        return made

    def _headers(self, steady: bytes) -> Pairs:
        headers = _pairs(steady, 0)
        if len(steady) <= _LONGEST_KNOWN:
            if len(self._answered) >= _MOST_KNOWN:
                self._answered.clear()
            self._answered[steady] = headers.copy()
        return headers

    def _line(self, words: bytes) -> tuple[int, str, str]:
        status, content_type, type_url = words.decode().split("\n")
        made = (int(status), content_type, type_url)
        if not 0 <= made[0] <= 999:
            raise ValueError(status)
        if len(words) <= _LONGEST_KNOWN:
            if len(self._lines) >= _MOST_KNOWN:
                self._lines.clear()
            self._lines[words] = made
        return made


def _parts(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    first, second, third = _read_sizes(data)
    steady = _HEAD + first
    changing = steady + second
    body = changing + third
    if body > len(data):
        raise ValueError("broken off")
    return data[_HEAD:steady], data[steady:changing], data[changing:body], data[body:]


def _block(headers: Pairs) -> bytes:
    """Names and values behind their lengths; one too long for its length makes the part too long for the lane."""
    parts: list[bytes] = []
    for name, value in headers:
        if len(name) > _LONGEST_PART or len(value) > _LONGEST_PART:
            return bytes(_LONGEST_PART + 1)
        parts += (len(name).to_bytes(2, "big"), name, len(value).to_bytes(2, "big"), value)
    return b"".join(parts)


def _pairs(data: bytes, pos: int) -> Pairs:
    found: Pairs = []
    end = len(data)
    while pos < end:
        start = pos + 2
        stop = start + int.from_bytes(data[pos:start], "big")
        begin = stop + 2
        pos = begin + int.from_bytes(data[stop:begin], "big")
        if pos > end:
            raise ValueError("broken off")
        found.append((data[start:stop], data[begin:pos]))
    return found
