"""Heads of messages as bytes: canonical names, status lines, the date."""

import time
from collections.abc import Iterable
from http import HTTPStatus

from pillion.net.dates import http_date

REMEMBERED = 1024
"""Names remembered in canonical form; past it the memory starts anew."""

REMEMBERED_BLOCKS = 256
LONGEST = 1024
"""Whole blocks of fields that are remembered, and the bytes in the fields of the longest."""

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


class Fields:
    """A head's fields as bytes. `told` are those of the framing (`OWN`), which are left to whoever writes the head."""

    __slots__ = ("text", "told")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]], names: Names) -> None:
        parts: list[bytes] = []
        told: dict[bytes, bytes] = {}
        for name, value in fields:
            prefix = names[name]
            if prefix:
                parts += (prefix, one_line(value))
            elif is_token(name):
                told[name.lower()] = one_line(value)
        self.text = b"".join(parts)
        self.told = told


class Blocks:
    """Fields to bytes, remembering what was written before: most heads of a connection are like the one before.

    What is returned is shared and must not be changed.
    """

    __slots__ = ("_names", "_known")

    def __init__(self) -> None:
        self._names = Names()
        self._known: dict[tuple[tuple[bytes, bytes], ...], Fields] = {}

    def of(self, fields: Iterable[tuple[bytes, bytes]]) -> Fields:
        """The bytes of these fields, each behind a line break."""
        key = tuple(fields)
        known = self._known.get(key)
        if known is None:
            known = Fields(key, self._names)
            if sum([len(name) + len(value) for name, value in key]) <= LONGEST:
                if len(self._known) >= REMEMBERED_BLOCKS:
                    self._known.clear()
                self._known[key] = known
        return known


def one_line(value: bytes) -> bytes:
    """A line break hidden in a value becomes a space: it must not start a field of its own."""
    if b"\n" in value or b"\r" in value:
        return value.replace(b"\r", b" ").replace(b"\n", b" ")
    return value


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
            self._date = http_date(self._second)
            self._dated.clear()
        line = self._dated.get(status)
        if line is None:
            line = self._dated[status] = b"%b\r\nDate: %b" % (bare(status), self._date)
        return line


def bare(status: int) -> bytes:
    """A status line alone."""
    return b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b"status code %d" % status))
