"""Header fields that belong to one connection and go no further (RFC 9110 §7.6.1)."""

from collections.abc import Iterable
from typing import Final

HOP_BY_HOP: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection",
        b"transfer-encoding", b"upgrade", b"te", b"trailer", b"http2-settings",
    )
)  # fmt: skip


def named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """What the `connection` fields declare to be of this connection as well; names in lower case."""
    return frozenset(
        each.strip().lower()
        for key, text in headers
        if key == b"connection" and text.lower() not in (b"keep-alive", b"close")
        for each in text.split(b",")
    )
