"""Heads of calls that differ only in what changes with every call."""

from pillion.net.grpc.words import CallHead, call_head, parsed_timeout
from pillion.net.http import Headers
from pillion.net.http2.fields import request_head
from pillion.net.http2.hpack import HeaderBlock

_VOLATILE = frozenset((b"grpc-timeout", b"traceparent"))
_REMEMBERED = 512


class Heads:
    """Reads request heads, remembering those it has read by the fields that stay the same.

    A deadline and a trace make every head of a client different; the rest of it is checked and understood once.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], CallHead] = {}

    def read(self, block: HeaderBlock) -> CallHead:
        """What a request's fields say."""
        fields, start = block.fields, block.start
        if start is not None and start.head is not None:
            # The connection knows the steady fields by itself: only what follows them is looked at.
            head = _completed(start.head, fields[len(start.fields) :])
            if head is not None:
                return head
        steady = tuple([field for field in fields if field[0] not in _VOLATILE])
        if len(steady) == len(fields):
            return _read(fields)
        known = self._known.get(steady)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[steady] = _read(list(steady))
        if start is not None and start.fields == list(steady):
            start.head = known
        return _completed(known, _volatile(fields)) or _read(fields)


def _volatile(fields: Headers) -> Headers:
    """The volatile fields, or the pseudo-fields that come too late: behind one of them."""
    first = next(at for at, field in enumerate(fields) if field[0] in _VOLATILE)
    late = [field for field in fields[first:] if field[0][:1] == b":"]
    return late or [field for field in fields if field[0] in _VOLATILE]


def _read(fields: Headers) -> CallHead:
    return call_head(request_head(fields))


def _completed(known: CallHead, rest: Headers) -> CallHead | None:
    """A known head with the volatile fields of another; None if those need a closer look."""
    if known.refusal is not None:
        return None
    timeout, metadata = None, known.metadata
    for name, value in rest:
        if name == b"grpc-timeout":
            try:
                timeout = parsed_timeout(value)
            except ValueError:
                return None
        elif name == b"traceparent" and not (b"\r" in value or b"\n" in value or b"\0" in value):
            metadata = [*metadata, (name, value)]
        else:
            return None
    return known.but(timeout, metadata)
