"""The lane, seen from the server: a small call that came whole in one frame, and is answered in one where that is possible.

An answer that is large, that streams, or that is a status other than OK leaves as gRPC's frames, on the same stream.
"""

from typing import TYPE_CHECKING

from pillion.net.grpc.call import ServedCall
from pillion.net.http2.frames import END_STREAM, FRAME_BYTES, LANE, ErrorCode, StreamFault
from pillion.net.rpc import Code, LaneHandler, RpcError
from pillion.toolbox.tasks import light

if TYPE_CHECKING:
    from pillion.net.grpc.server import ServerConnection

TIMEOUT_BYTES = 4
"""In front of every call: the milliseconds its client waits, 0 for as long as it takes."""
_NO_TIMEOUT = b"\0\0\0\0"
_FLAGS = bytes((LANE, END_STREAM))


class LaneServed(ServedCall):
    """One call in the lane (`net.rpc.LaneCall`)."""

    __slots__ = ()

    def __init__(self, connection: "ServerConnection", sid: int) -> None:
        super().__init__(connection, sid)
        self.headed = self.remote_closed = self._half_closed = True

    def asked(self, path: bytes, handler: LaneHandler, payload: bytes) -> None:
        """Serve the call in a frame's payload."""
        if len(payload) < TIMEOUT_BYTES:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "LANE too short for its timeout")
        connection = self.connection
        site = connection.site
        self.path, self.metadata, self.peer = path, [], connection.peer
        self.deadline = None
        self._began = site.time()
        self._counted = False
        self._received = len(payload) - TIMEOUT_BYTES
        if not payload.startswith(_NO_TIMEOUT):
            self._set_deadline(int.from_bytes(payload[:TIMEOUT_BYTES], "big") / 1000)
        self._running = True
        try:
            site.admit(self)
        except RpcError as error:
            self._fail(error)
            return
        going = light(handler(self, payload[TIMEOUT_BYTES:]), self._handled)  # type: ignore[arg-type]
        if going is not None:
            self._keep(going)

    def fits(self, size: int) -> bool:
        """See `LaneCall.fits`."""
        return size <= FRAME_BYTES and not self.connection.paused

    def _handled(self, answer: bytes | None, error: BaseException | None) -> None:
        if answer is None:
            self._streamed(None, error)
            return
        if self._going is not None or self._timer is not None:
            self._stop()
        connection = self.connection
        if self.gone or self.local_closed:
            self._over(self._verdict.code if self._verdict else Code.CANCELLED)
            return
        connection.out += (len(answer).to_bytes(3, "big"), _FLAGS, self.sid.to_bytes(4, "big"), answer)
        connection.answered = self.local_closed = True
        connection.forget(self)
        connection.touch()
        self._sent = len(answer)
        self._over(0)
