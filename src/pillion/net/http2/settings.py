"""What the peer has asked for, and what follows for the streams already open."""

import struct
from typing import TYPE_CHECKING

from pillion.net.http2.frames import (
    ENABLE_PUSH,
    FRAME_BYTES,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LANE_CALLS,
    LANE_VERSION,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
)
from pillion.net.http2.hpack import TABLE_BYTES

if TYPE_CHECKING:
    from pillion.net.http2.connection import Http2Connection

_EMPTY_TABLE = b"\x20"


class PeerSettings:
    """The peer's settings. Its frame size is only checked, since ours never exceed what every peer takes."""

    def __init__(self, connection: "Http2Connection") -> None:
        self._connection = connection
        self.seen = False
        self.max_streams = 2**31 - 1
        """Streams the peer lets us have open."""
        self.header_list_bytes = 2**32 - 1
        self.lane = False
        """Both ends take `LANE` frames."""

    def read(self, payload: bytes) -> None:
        """Take over a SETTINGS payload, value by value."""
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        self.seen = True
        for key, value in struct.iter_unpack(">HL", payload):
            self._take(key, value)

    def _take(self, key: int, value: int) -> None:
        if key == INITIAL_WINDOW_SIZE:
            self._resize_windows(value)
        elif key == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame size out of range")
        elif key == ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        elif key == MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif key == MAX_HEADER_LIST_SIZE:
            self.header_list_bytes = value
        elif key == LANE_CALLS:
            self.lane = value == LANE_VERSION and self._connection.limits.lane
        elif key == HEADER_TABLE_SIZE and value < TABLE_BYTES:
            # We never use the table, but a peer that made it smaller waits to hear that we know.
            self._connection.notice = _EMPTY_TABLE

    def _resize_windows(self, value: int) -> None:
        connection = self._connection
        if value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond the limit")
        step = value - connection.peer_window
        connection.peer_window = value
        for stream in list(connection.streams.values()):
            stream.send_window += step
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond the limit")
            if stream.pending:
                connection.enqueue(stream)
