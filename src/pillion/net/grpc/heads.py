"""Heads of calls that differ only in what changes with every call."""

from pillion.net.grpc.words import CallHead, call_head, parsed_timeout
from pillion.net.http import Headers
from pillion.net.http2.fields import RequestHead, request_head

_VOLATILE = frozenset((b"grpc-timeout", b"traceparent"))
_REMEMBERED = 512


class Heads:
    """Reads request heads, remembering those it has read by the fields that stay the same.

    A deadline and a trace make every head of a client different; the rest of it is checked and understood once.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], RequestHead] = {}

    def read(self, fields: Headers) -> RequestHead:
        """What a request's fields say, `served` included."""
        steady = tuple([field for field in fields if field[0] not in _VOLATILE])
        if len(steady) == len(fields):
            return _read(fields)
        known = self._known.get(steady)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[steady] = _read(list(steady))
        return _completed(known, fields) or _read(fields)


def _read(fields: Headers) -> RequestHead:
    head = request_head(fields)
    head.served = call_head(head)
    return head


def _completed(known: RequestHead, fields: Headers) -> RequestHead | None:
    """A known head with the volatile fields of another; None if those need a closer look."""
    steady: CallHead = known.served
    if steady.refusal is not None or fields[0][0][:1] != b":":
        return None
    call = CallHead(steady.path)
    call.metadata = metadata = steady.metadata.copy()
    call.encoding, call.browsed = steady.encoding, steady.browsed
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular:
                return None
        else:
            regular = True
            if name in _VOLATILE:
                if b"\r" in value or b"\n" in value or b"\0" in value:
                    return None
                if name == b"traceparent":
                    metadata.append((name, value))
                    continue
                try:
                    call.timeout = parsed_timeout(value)
                except ValueError:
                    return None
    head = known.copied()
    head.served = call
    return head
