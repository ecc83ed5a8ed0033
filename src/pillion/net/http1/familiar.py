"""Heads that were read before: a client and an app say nearly the same each time, and need not be read field by field again.

Only what a parser has read, and found plain, is kept: HTTP/1.1, a connection that stays, a body that is announced and small. A
message is familiar if its bytes are, up to the body; everything else goes to the parser.
"""

import re
from typing import Final, Generic, TypeVar

from pillion.net.http import Headers

T = TypeVar("T")

BREAK: Final = b"\r\n\r\n"
_MOST: Final = 256
_LONGEST: Final = 2048

request_line: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/[!\"$-~]*) HTTP/1\.1", re.ASCII
).fullmatch
"""The first line of a request as nearly everybody sends it: its method and its target."""


class Familiar(Generic[T]):
    """A bounded memory of heads by their bytes."""

    __slots__ = ("_known", "of")

    def __init__(self) -> None:
        self._known: dict[bytes, T] = {}
        self.of = self._known.get

    def keep(self, head: bytes, meaning: T) -> None:
        """Know this head from now on."""
        if len(head) <= _LONGEST:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[head] = meaning


class Asked:
    """What a request's fields say: they themselves, the host they name, the bytes of the body behind them."""

    __slots__ = ("head", "headers", "host", "length")

    def __init__(self, head: bytes, headers: Headers, host: bytes, length: int) -> None:
        self.head = head
        self.headers = headers
        self.host = host
        self.length = length


class Answered:
    """What the head of an answer says."""

    __slots__ = ("head", "status", "reason", "headers", "length")

    def __init__(self, head: bytes, status: int, reason: bytes, headers: Headers, length: int) -> None:
        self.head = head
        self.status = status
        self.reason = reason
        self.headers = headers
        self.length = length
