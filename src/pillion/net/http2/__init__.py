"""HTTP/2 by hand: header compression, the connection both sides share, and HTTP spoken over it."""

from pillion.net.http2.client import Http2Client
from pillion.net.http2.server import Http2ServerProtocol

__all__ = ["Http2Client", "Http2ServerProtocol"]
