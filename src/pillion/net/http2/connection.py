"""The HTTP/2 connection that servers and clients share: frames, windows, turns, keep-alive and the end.

Everything a batch of received bytes causes to be sent leaves in one write. A rule broken by the peer is a
`StreamFault`, which costs it the stream, or a `ConnectionFault`, which costs it the connection.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from typing import cast

from pillion.net.http2.control import DRAIN_PING, ControlFrames
from pillion.net.http2.exchange import LINGER_BYTES, Exchange
from pillion.net.http2.fields import (
    RequestHead,
    ResponseHead,
    Trailers,
    request_head,
    response_head,
    trailers,
)
from pillion.net.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HAS_PRIORITY,
    HEADER_BYTES,
    HEADERS,
    LANE,
    MAX_STREAM,
    PADDED,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    frame,
    goaway_frame,
    reset_frame,
    unpack_header,
    unpadded,
    window_frame,
)
from pillion.net.http2.guard import Guard
from pillion.net.http2.hpack import Decoder, HeaderBlock, HpackError
from pillion.net.http2.life import Life
from pillion.net.http2.limits import Http2Limits
from pillion.net.http2.settings import PeerSettings
from pillion.net.sockets import round_trip
from pillion.net.wheel import Wheel

log = logging.getLogger("pillion.net")

CONNECTION_WINDOW = 16 * 1024 * 1024
"""What all streams of a connection may have on the way to us together.

Generous, and given back at once: what bounds memory are the streams' own windows, so that no slow reader holds up the others.
"""
CROWDED_BYTES = 16 * 1024 * 1024
"""Bytes that readers have left lying, past which no stream's window grows."""
HELD_BYTES = 128 * 1024 * 1024
"""The same, past which the whole connection waits for them: nobody has so many streams in good faith."""
GROWTH_BYTES = 256 * 1024
MOST_GROWTH_BYTES = 4 * 1024 * 1024
"""How far the window of a stream whose reader keeps up grows: as far as the distance to the peer asks for, within these.

What is on the way stands in front of everybody else's frames, so no more than that.
"""
FULL_SPEED = 200 * 1024 * 1024
"""Bytes per second that a stream should reach over any distance, as far as the bounds allow."""
BACKLOG_BYTES = 4 * 1024 * 1024
"""Answers and acknowledgements waiting for a peer that does not read, past which it is dropped."""
WRITE_BYTES = 256 * 1024
"""Bodies written in one turn of the loop, all streams together, but for the last one's share."""
RECENT = 256
"""Streams we have reset and whose late frames are still excused."""
LAST_WORDS = 2.0
"""Seconds a connection has to deliver its GOAWAY before it is cut."""


class Http2Connection(asyncio.Protocol):
    """One connection. A subclass says which side it is and what its streams are.

    `cut` ends it at once, `drain` as soon as its streams are done. However it ends, every open stream is told
    once, and then `ended`.
    """

    is_server: bool

    def __init__(self, limits: Http2Limits, wheel: Wheel) -> None:
        self.limits = limits
        self.streams: dict[int, Exchange] = {}
        self.zombies = 0
        """Streams the peer has reset whose work has not ended yet: they count as open."""
        self.out: list[bytes] = []
        self.window = WINDOW
        self.peer_window = WINDOW
        self.own_window = limits.window
        self.settings = PeerSettings(self)
        self.paused = False
        self.answered = False
        """We have sent headers or data since the peer's last ping."""
        self.last_sid = 0  # the highest stream the client has opened
        self.peer = ""
        self.closing = False
        self.draining = False
        self.transport: asyncio.Transport | None = None
        self.notice = b""  # table size update owed to the peer before our next header block
        self.loop = asyncio.get_running_loop()
        self._decoder = Decoder(limits.header_list_bytes)
        self._known_blocks = self._decoder.memo
        self.guard = Guard(self.loop.time, limits.min_ping_interval)
        self._rest = b""
        self.begun = False  # the peer's preface and first frame have been seen
        self.busy = False
        """Received bytes are being worked through; what they cause is written at their end."""
        self._flushing: asyncio.Handle | None = None
        self._turns: deque[Exchange] = deque()
        self.opening: tuple[int, int, list[bytes]] | None = (
            None  # a header block waiting for its continuation
        )
        self._open_bytes = 0
        self._self_dependent = 0
        self._room = CONNECTION_WINDOW  # what the peer may still send to all streams
        self._owed = 0
        self._held = 0
        self._skipped: deque[tuple[int, int]] = deque(maxlen=64)
        self._recent: OrderedDict[int, None] = OrderedDict()
        self.life = Life(self, wheel)
        self._control = ControlFrames(self)
        self._reason = ""  # why we hung up
        self._final = MAX_STREAM  # streams above it come too late

    # For the subclass.

    def greeting(self) -> bytes:
        """What we send first."""
        raise NotImplementedError

    def accept(self, sid: int) -> Exchange:
        """A peer opens a stream (server)."""
        raise NotImplementedError

    def request(self, block: HeaderBlock) -> RequestHead:
        """What a request's fields say (server)."""
        return request_head(block.fields)

    def laned(self, sid: int, payload: bytes) -> None:
        """A `LANE` frame: a call opens a stream (server), or is answered (client)."""
        raise NotImplementedError

    def settled(self) -> None:
        """The peer's first settings have been read."""

    def room_made(self) -> None:
        """A stream ended, or the peer allows more."""

    def goaway(self, last: int, code: int, text: str) -> None:
        """The peer takes no new streams; those above `last` were never looked at (client)."""

    def ended(self, error: str) -> None:
        """The connection is over and every stream was told."""

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclasses of asyncio's.
        self.transport = link = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"
        link.write(self.greeting() + window_frame(0, CONNECTION_WINDOW - WINDOW))
        self.life.begin()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        life = self.life
        life.last_read = self.loop.time()
        life.pinged = 0.0
        self.busy = True
        try:
            self._rest = self._parse(self._rest + data if self._rest else data)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        self.busy = False
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self.transport = None
        self.life.close()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._end(self._reason or (str(error) if error else "the connection was closed"))

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.touch()

    # Reading frames.

    def _parse(self, data: bytes) -> bytes:
        """Every whole frame; what is left is returned."""
        pos, size = 0, len(data)
        if not self.begun:
            pos = self._begin(data)
            if pos < 0:
                return data
        while size - pos >= HEADER_BYTES:
            high, low, kind, flags, sid = unpack_header(data, pos)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "http2: frame too large")
            stop = pos + HEADER_BYTES + length
            if stop > size:
                break
            payload = data[pos + HEADER_BYTES : stop]
            pos = stop
            sid &= MAX_STREAM
            if self.opening is not None:
                self._continuation(kind, flags, sid, payload)
            elif kind == DATA:
                self._data(flags, sid, payload)
            elif kind == HEADERS:
                if sid and flags & ~END_STREAM == END_HEADERS:
                    if self.is_server and flags == END_HEADERS and size - pos >= HEADER_BYTES:
                        high, low, kind, flags, after = unpack_header(data, pos)
                        stop = pos + HEADER_BYTES + (high << 8 | low)
                        if (
                            kind == DATA
                            and flags == END_STREAM
                            and after == sid
                            and stop <= size
                            and not high >> 6
                        ):
                            self._whole(sid, payload, data[pos + HEADER_BYTES : stop])
                            pos = stop
                            if self.closing:
                                return b""
                            continue
                        flags = END_HEADERS
                    self._block(sid, flags & END_STREAM, payload)
                else:
                    self._headers(flags, sid, payload)
            elif kind == LANE and self.settings.lane:
                self._lane(sid, payload)
            else:
                self._control.take(kind, flags, sid, payload)
            if self.closing:
                return b""
        return data[pos:] if pos else data

    def _begin(self, data: bytes) -> int:
        """Where the frames start, -1 while too little has come; the first must be SETTINGS."""
        start = len(PREFACE) if self.is_server else 0
        if data[:start] != PREFACE[: len(data)] and self.is_server:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not the HTTP/2 preface")
        if len(data) < start + HEADER_BYTES:
            return -1
        high, low, kind, flags, _ = unpack_header(data, start)
        if high << 8 | low > FRAME_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "http2: frame too large")
        if kind != SETTINGS or flags & ACK:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self.begun = True
        self.life.look()
        return start

    # Header blocks.

    def _headers(self, flags: int, sid: int, payload: bytes) -> None:
        if not sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (PADDED | HAS_PRIORITY):
            payload = unpadded(flags, payload)
            if flags & HAS_PRIORITY:
                self._depends(sid, payload)
                payload = payload[5:]
        if flags & END_HEADERS:
            self._block(sid, flags & END_STREAM, payload)
            return
        self.opening = (sid, flags & END_STREAM, [payload])
        self._open_bytes = len(payload)
        self.life.block_opened()

    def _depends(self, sid: int, payload: bytes) -> None:
        if len(payload) < 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        if int.from_bytes(payload[:4], "big") & MAX_STREAM == sid:
            self._self_dependent = sid

    def _continuation(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        assert self.opening is not None
        opened, end, parts = self.opening
        if kind != CONTINUATION or sid != opened:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        parts.append(payload)
        self._open_bytes += len(payload)
        limit = self.limits.header_list_bytes
        if self._open_bytes > limit + FRAME_BYTES or len(parts) > 32 + limit // 4096:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            self.opening = None
            self._block(sid, end, b"".join(parts))

    def _block(self, sid: int, end: int, block: bytes) -> None:
        self._headed(sid, end, self._known_blocks.get(block) or self._decoded(block))

    def _decoded(self, block: bytes) -> HeaderBlock:
        try:
            return self._decoder.decode(block)
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def _whole(self, sid: int, block: bytes, body: bytes) -> None:
        """A small request in two frames of one read: nearly every unary call, and told as one."""
        found = self._known_blocks.get(block) or self._decoded(block)
        size = len(body)
        if sid in self.streams or found.oversize or size > self.own_window or self._self_dependent == sid:
            self._headed(sid, 0, found)
            self._data(END_STREAM, sid, body)
            return
        self._room -= size  # whatever becomes of the stream
        self._owed += size
        if self._owed >= CONNECTION_WINDOW // 16:
            self._widen()
        try:
            if not self.admits(sid):
                self.late(sid, "DATA")
                return
            head = found.head
            if head is None:
                head = found.head = self.request(found)
            if not isinstance(head, RequestHead):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers opened a stream")
            stream = self.streams[sid] = self.accept(sid)
            stream.headed = True
            if head.length >= 0 and head.length != size:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the body is not as long as announced")
            stream.opened_whole(head, body)
        except StreamFault as fault:
            self.refuse(sid, fault.code)

    def _headed(self, sid: int, end: int, found: HeaderBlock) -> None:
        stream = self.streams.get(sid)
        try:
            if stream is not None:
                self._more_headers(stream, found, end)
            elif self.is_server:
                self._open_stream(sid, found, end)
            else:
                self.late(sid, "HEADERS")
        except StreamFault as fault:
            self.refuse(sid, fault.code)

    def admits(self, sid: int) -> bool:
        """Whether a client's new stream is to be looked at (server)."""
        if not sid & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client opened an even stream")
        if sid != self.last_sid + 2:
            self._unusual(sid)
        if sid <= self.last_sid:
            return False
        self.last_sid = sid
        if sid > self._final:
            return False
        if len(self.streams) + self.zombies >= self.limits.max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        return True

    def _open_stream(self, sid: int, block: HeaderBlock, end: int) -> None:
        if not self.admits(sid):
            return
        if self._self_dependent == sid:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
        head = block.head
        if head is None:
            head = block.head = self.request(block) if not block.oversize else None
        stream = self.streams[sid] = self.accept(sid)
        stream.headed = True
        if end:
            stream.remote_closed = True
        if head is None:
            self._too_large(stream)
            return
        if not isinstance(head, RequestHead):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers opened a stream")
        if head.length >= 0:
            stream.expected = head.length
            if end and head.length:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the announced body is missing")
        stream.opened(head, end != 0)

    def _too_large(self, stream: Exchange) -> None:
        """The header list passed the limit."""
        raise StreamFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large")

    def _unusual(self, sid: int) -> None:
        """A client's stream that is not the next: ids were skipped, or it was used before."""
        if sid > self.last_sid:
            if self.last_sid or sid > 1:
                self._skipped.append((self.last_sid + 1, sid - 1))
            return
        if sid in self._recent:
            return
        if any(low <= sid <= high for low, high in self._skipped):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream ids go up")
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def _lane(self, sid: int, payload: bytes) -> None:
        try:
            self.laned(sid, payload)
        except StreamFault as fault:
            self.refuse(sid, fault.code)

    def _more_headers(self, stream: Exchange, block: HeaderBlock, end: int) -> None:
        """An answer's head, or trailers."""
        if stream.remote_closed:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end")
        if block.oversize:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "header list too large")
        head = block.head
        if not stream.headed:
            if head is None:
                head = block.head = response_head(block.fields)
            self._answer(stream, head, end)
            return
        if not end:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
        if head is None:
            head = block.head = trailers(block.fields)
        if not isinstance(head, Trailers):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a second head")
        self._remote_end(stream)
        if not (self.is_server and stream.local_closed):
            stream.trailed(head)
        if stream.local_closed and not stream.gone:
            self.forget(stream)

    def _answer(self, stream: Exchange, head: object, end: int) -> None:
        if not isinstance(head, ResponseHead):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers before the head")
        interim = head.status < 200
        if interim and end:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "an interim answer ends the stream")
        if not interim:
            stream.headed = True
        if end:
            stream.remote_closed = True
        elif head.length >= 0 and not interim:
            stream.expected = head.length
        stream.answered(head, end != 0)
        if end and stream.local_closed and not stream.gone:
            self.forget(stream)

    def _remote_end(self, stream: Exchange) -> None:
        stream.remote_closed = True
        if stream.expected > 0:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the body is shorter than announced")

    # Bodies.

    def _data(self, flags: int, sid: int, payload: bytes) -> None:
        size = len(payload)
        self._room -= size
        self._owed += size
        if self._owed >= CONNECTION_WINDOW // 16:
            self._widen()
        stream = self.streams.get(sid)
        if stream is None or stream.remote_closed:
            self._stray(sid)
            return
        stream.receive_window -= size
        try:
            if flags & PADDED:
                payload = unpadded(flags, payload)
                stream.owed += size - len(payload)
            end = flags & END_STREAM
            if stream.receive_window < 0:
                raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the stream's window")
            if stream.expected >= 0:
                self._count(stream, len(payload), end)
            if end:
                stream.remote_closed = True
            elif not payload:
                self.guard.nuisance(self.last_sid)
            if stream.local_closed and self.is_server:
                self._lingering(stream, len(payload), end)
                return
            if not stream.headed:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "DATA before the head")
            stream.data(payload, end != 0)
            if end and stream.local_closed and not stream.gone:
                self.forget(stream)
        except StreamFault as fault:
            self.refuse(sid, fault.code)

    def _count(self, stream: Exchange, size: int, end: int) -> None:
        stream.expected -= size
        if stream.expected < 0 or (end and stream.expected):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the body is not as long as announced")

    def _lingering(self, stream: Exchange, size: int, end: int) -> None:
        """We have answered in full: let the client finish, within limits."""
        if end:
            self.forget(stream)
            return
        stream.owed += size
        if stream.owed > LINGER_BYTES:
            self.drop(stream, ErrorCode.NO_ERROR)

    def _stray(self, sid: int) -> None:
        if not sid:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0")
        self.late(sid, "DATA")

    def is_idle(self, sid: int) -> bool:
        return sid > self.last_sid or not sid & 1

    def late(self, sid: int, what: str) -> None:
        """A frame for a stream that is not open."""
        if self.is_idle(sid):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{what} on an idle stream")
        if sid in self._recent or sid > self._final:
            return
        self.guard.nuisance(self.last_sid)
        self.refuse(sid, ErrorCode.STREAM_CLOSED)

    def hold(self, size: int) -> None:
        """A reader leaves bytes lying (negative: takes them up)."""
        self._held += size
        if size < 0 and self._owed >= CONNECTION_WINDOW // 16:
            self._widen()

    @property
    def growth(self) -> int:
        """How far a stream's window may grow now."""
        if self._held > CROWDED_BYTES or self.transport is None:
            return 0
        return min(MOST_GROWTH_BYTES, max(GROWTH_BYTES, int(round_trip(self.transport) * FULL_SPEED)))

    def _widen(self) -> None:
        if self._room < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._held < HELD_BYTES:
            self.out.append(window_frame(0, self._owed))
            self._room += self._owed
            self._owed = 0
            self.touch()

    # Sending.

    def announced(self, block: bytes) -> bytes:
        """A header block, behind the table size update if one is owed."""
        if self.notice:
            block, self.notice = self.notice + block, b""
        return block

    def touch(self) -> None:
        """Something waits in `out` or for its turn: have it written once this turn of the loop is over."""
        if not self.busy and self._flushing is None and not self.closing:
            self._flushing = self.loop.call_soon(self._flush_later)

    def enqueue(self, stream: Exchange) -> None:
        """A stream has bytes pending and wants its turn."""
        if not stream.pending and stream.ending:
            stream.take_turn()
        elif not stream.queued and stream.send_window > 0:
            stream.queued = True
            self._turns.append(stream)
        self.touch()

    def _flush_later(self) -> None:
        self._flushing = None
        self.flush()

    def flush(self) -> None:
        """Write everything that may go now."""
        transport = self.transport
        if transport is None:
            self.out.clear()
            return
        if self._turns and not self.paused:
            self._take_turns()
        out = self.out
        if out:
            transport.write(b"".join(out))
            out.clear()
            if self.paused and transport.get_write_buffer_size() > BACKLOG_BYTES:
                log.debug("%s does not read what it asked for", self.peer)
                transport.abort()

    def _take_turns(self) -> None:
        """One turn for each stream that waits, as far as the connection's window reaches."""
        enough = self.window - WRITE_BYTES
        for _ in range(len(self._turns)):
            if self.window <= max(0, enough):
                break
            stream = self._turns.popleft()
            stream.queued = False
            if not stream.gone and stream.take_turn():
                stream.queued = True
                self._turns.append(stream)
        if self._turns and self.window > 0 and self._flushing is None:
            self._flushing = self.loop.call_soon(self._flush_later)

    # Ends.

    def forget(self, stream: Exchange) -> None:
        """Both halves of a stream are over."""
        stream.gone = True
        streams = self.streams
        streams.pop(stream.sid, None)
        if not streams:
            self.life.idle_since = self.loop.time()
            if self.draining:
                self._close_drained()
        if not self.is_server:
            self.room_made()

    def take_out(self, stream: Exchange) -> None:
        stream.gone = True
        if self.streams.pop(stream.sid, None) is not None:
            if not self.streams:
                self.life.idle_since = self.loop.time()
            if not self.is_server:
                self.room_made()

    def drop(self, stream: Exchange, code: int) -> None:
        """Reset a stream without telling it."""
        self.take_out(stream)
        self._reset_sid(stream.sid, code)
        self.end_if_drained()

    def refuse(self, sid: int, code: int) -> None:
        """Reset a stream the peer has misused, telling it if it is open."""
        stream = self.streams.get(sid)
        if stream is not None:
            self.take_out(stream)
            stream.cut(code, "the peer broke the protocol", remote=False)
        self._reset_sid(sid, code)
        self.end_if_drained()

    def _reset_sid(self, sid: int, code: int) -> None:
        self._recent[sid] = None
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        self.out.append(reset_frame(sid, code))
        self.touch()

    def fail(self, code: ErrorCode, text: str) -> None:
        """Tell the peer why and hang up."""
        if self.closing:
            return
        self.out.append(goaway_frame(self.last_sid, code, text))
        self._hang_up(text)

    def drain(self) -> None:
        """Take no new streams, and close when those open are done."""
        if self.draining or self.closing:
            return
        self.draining = True
        if not self.begun or not self.is_server:
            self.last_call()
            return
        # The client may have opened streams that are still on their way: the last word comes after a round trip.
        self.out.append(goaway_frame(MAX_STREAM, ErrorCode.NO_ERROR) + frame(PING, 0, 0, DRAIN_PING))
        self.touch()
        self.life.look_in(LAST_WORDS / 2)

    def last_call(self) -> None:
        if self._final != MAX_STREAM:
            return
        self._final = self.last_sid if self.is_server else 0
        self.out.append(goaway_frame(self._final, ErrorCode.NO_ERROR))
        if self.streams:
            self.touch()
        else:
            self._close_drained()

    def end_if_drained(self) -> None:
        """Close a connection that takes no new streams once the last is gone."""
        if self.draining and not self.streams:
            self._close_drained()

    def _close_drained(self) -> None:
        if self._final != MAX_STREAM:
            self._hang_up("the connection was closed")

    def _hang_up(self, text: str) -> None:
        self.flush()
        self.closing = True
        self._reason = text
        if self.transport is not None:
            self.transport.close()
            self.life.look_in(LAST_WORDS)
        self._end(text)

    def cut(self) -> None:
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()

    def _end(self, text: str) -> None:
        streams = list(self.streams.values())
        self.streams.clear()
        self._turns.clear()
        for stream in streams:
            stream.gone = True
            stream.cut(ErrorCode.CANCEL, text, remote=False)
        if self.transport is None:
            self.ended(text)
