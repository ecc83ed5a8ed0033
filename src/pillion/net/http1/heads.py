"""Heads of messages as bytes: canonical names, status lines, the date."""

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

REMEMBERED = 1024
"""Names remembered in canonical form; past it the memory starts anew."""

OWN = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields of the framing: a connection writes them itself, whatever it is told."""

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus} | {
    413: b"Request Entity Too Large",
    414: b"Request URI Too Long",
    416: b"Requested Range Not Satisfiable",
    418: b"I'm a teapot",
}


class Names(dict[bytes, bytes]):
    """From a field's name to the line break, canonical name and colon that go before its value.

    `content-type` becomes `Content-Type`; a name that already has a capital is written as it is. Names that are
    not tokens, and those in `OWN`, map to nothing: whoever writes a head must look at them.
    """

    def __missing__(self, name: bytes) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        prefix = self[name] = (
            b"" if name.lower() in OWN or not is_token(name) else b"\r\n%b: " % canonical(name)
        )
        return prefix


def is_token(name: bytes) -> bool:
    """Whether this may stand as a field's name."""
    return bool(name) and _TOKEN.issuperset(name)


def canonical(name: bytes) -> bytes:
    """A capital after the start and after every hyphen, as Go writes names; untouched if there is a capital."""
    if name != name.lower():
        return name
    return b"-".join(word[:1].upper() + word[1:] for word in name.split(b"-"))


def lines(
    start: bytes, fields: Iterable[tuple[bytes, bytes]], names: Names
) -> tuple[list[bytes], dict[bytes, bytes] | None]:
    """The pieces of a head without its end, and those of the `OWN` fields that were given."""
    pieces = [start]
    told: dict[bytes, bytes] | None = None
    for name, value in fields:
        prefix = names[name]
        if prefix:
            pieces += (prefix, value)
        elif is_token(name):
            told = told or {}
            told[name.lower()] = value
    return pieces, told


def joined(pieces: list[bytes], tail: bytes, body: bytes = b"") -> bytes:
    """Start line and fields, our own `tail`, and the body in one piece.

    A line break hidden in a value becomes a space: it must not start a field of its own.
    """
    head = b"".join(pieces)
    breaks = (len(pieces) >> 1) + pieces[0].count(b"\n")
    if not head.count(b"\n") == breaks == head.count(b"\r"):
        values = [value.replace(b"\r", b" ").replace(b"\n", b" ") for value in pieces[2::2]]
        head = pieces[0] + b"".join(map(bytes.__add__, pieces[1::2], values))
    return b"".join((head, tail, body))


class StatusLines:
    """Status line and `Date` field together, written once per second and status."""

    def __init__(self) -> None:
        self._second = 0
        self._date = b""
        self._dated: dict[int, bytes] = {}

    def dated(self, status: int) -> bytes:
        """`HTTP/1.1 200 OK` and the date, without a line break at the end."""
        if int(time.time()) != self._second:
            self._second = int(time.time())
            self._date = formatdate(self._second, usegmt=True).encode()
            self._dated.clear()
        line = self._dated.get(status)
        if line is None:
            line = self._dated[status] = b"%b\r\nDate: %b" % (bare(status), self._date)
        return line


def bare(status: int) -> bytes:
    """A status line alone."""
    return b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b"status code %d" % status))
