"""What one side of an HTTP/2 connection puts up with."""

from pillion.net.http2.frames import WINDOW
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """What one side of a connection accepts. Sizes in bytes, times in seconds; a time of 0 is never."""

    header_list_bytes: int = 4 * 1024 * 1024
    max_streams: int = 4096
    """Streams a client may have open at once."""
    window: int = WINDOW
    """How much of a stream may come before its reader has taken any. Stays the protocol's default towards our clients,
    since Dapr announces nothing else; grows per stream while its reader keeps up."""
    preface_timeout: float = 10.0
    """For the preface, and for each header block."""
    keepalive_after: float = 0.0
    """Silence after which the peer is asked whether it is alive."""
    keepalive_timeout: float = 5.0
    min_ping_interval: float = 0.0
    """The peer that asks more often, four times over, is sent away, as gRPC has it."""
    idle_timeout: float = 0.0
    lane: bool = False
    """Offer the peer small calls in one frame each, and take them from one that offers the same."""
