"""The frames that carry no request: windows, resets, settings, pings, goodbyes."""

from typing import TYPE_CHECKING

from pillion.net.http2.frames import (
    ACK,
    CONTINUATION,
    GOAWAY,
    MAX_STREAM,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    frame,
)

if TYPE_CHECKING:
    from pillion.net.http2.connection import Http2Connection

DRAIN_PING = b"drain\0\0\0"
"""Sent behind the first GOAWAY: its answer says that the client has read it."""


class ControlFrames:
    """Acts on the control frames of one connection, and judges them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "Http2Connection") -> None:
        self._connection = connection

    def take(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        """One frame that is neither DATA nor HEADERS."""
        try:
            self._sort(kind, flags, sid, payload)
        except StreamFault as fault:
            self._connection.refuse(sid, fault.code)

    def _sort(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(sid, payload)
        elif kind == RST_STREAM:
            self._reset(sid, payload)
        elif kind == PING:
            self._ping(flags, sid, payload)
        elif kind == SETTINGS:
            self._settings(flags, sid, payload)
        elif kind == GOAWAY:
            self._goaway(sid, payload)
        elif kind == PRIORITY:
            self._priority(sid, payload)
        elif kind in (PUSH_PROMISE, CONTINUATION):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame that has no place here")
        else:
            self._connection.guard.nuisance(self._connection.last_sid)

    def _window_update(self, sid: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
        step = int.from_bytes(payload, "big") & MAX_STREAM
        if not sid:
            self._widened(step)
            return
        stream = self._connection.streams.get(sid)
        if stream is None:
            if self._connection.is_idle(sid):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        if not step:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if stream.send_window + step > MAX_STREAM:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond the limit")
        stream.send_window += step
        if stream.pending:
            self._connection.enqueue(stream)

    def _widened(self, step: int) -> None:
        if not step:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if self._connection.window + step > MAX_STREAM:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond the limit")
        self._connection.window += step

    def _reset(self, sid: int, payload: bytes) -> None:
        if not sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on stream 0")
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        if self._connection.is_idle(sid):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self._connection.streams.get(sid)
        if stream is None:
            self._connection.guard.nuisance(self._connection.last_sid)
            return
        if self._connection.is_server:
            self._connection.guard.early_end(self._connection.last_sid)
        self._connection.take_out(stream)
        code = int.from_bytes(payload, "big")
        stream.cut(code, "the peer reset the stream", remote=True)
        self._connection.end_if_drained()

    def _settings(self, flags: int, sid: int, payload: bytes) -> None:
        if sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledged with a payload")
            return
        self._connection.guard.nuisance(self._connection.last_sid)
        first = not self._connection.settings.seen
        self._connection.settings.read(payload)
        if first:
            self._connection.settled()
        self._connection.out.append(frame(SETTINGS, ACK, 0))
        self._connection.room_made()

    def _ping(self, flags: int, sid: int, payload: bytes) -> None:
        if sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong size")
        if flags & ACK:
            if payload == DRAIN_PING and self._connection.draining:
                self._connection.last_call()
            return
        self._connection.guard.nuisance(self._connection.last_sid)
        self._connection.guard.ping(self._connection.answered)
        self._connection.answered = False
        self._connection.out.append(frame(PING, ACK, 0, payload))

    def _goaway(self, sid: int, payload: bytes) -> None:
        if sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong size")
        last = int.from_bytes(payload[:4], "big") & MAX_STREAM
        code = int.from_bytes(payload[4:8], "big")
        self._connection.goaway(last, code, payload[8:].decode("utf-8", "replace"))

    def _priority(self, sid: int, payload: bytes) -> None:
        if not sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")
        self._connection.guard.nuisance(self._connection.last_sid)
        if int.from_bytes(payload[:4], "big") & MAX_STREAM == sid:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
