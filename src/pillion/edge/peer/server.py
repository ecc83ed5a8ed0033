"""Calls from other sidecars: dapr.proto.internals.v1.ServiceInvocation as we serve it on the internal port."""

import asyncio
from typing import Final

from pillion.edge.grpc.api import Streaming, Unary
from pillion.edge.peer.flow import Feed, OutOfOrder, first_piece, send_rest
from pillion.model.call import Call
from pillion.model.errors import ACTOR_NO_PLACEMENT, ApiError
from pillion.model.invoke import Invocation, Outcome
from pillion.net.rpc import LANE_BYTES, Code, LaneCall, RpcError, ServerCall
from pillion.ports.app import AppUnreachable
from pillion.services.invoke import Denied, InvokeService, MethodError, NoApp, NotReachable
from pillion.toolbox.stream import Body, Stream, discard, whole
from pillion.toolbox.tasks import Crew
from pillion.wire.internals import Codec
from pillion.wire.lane import Lane
from pillion.wire.scan import Malformed

PREFIX: Final = b"/dapr.proto.internals.v1.ServiceInvocation/"
_NO_APP: Final = "app channel is not initialized"
_BODILESS: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
_PATIENCE: Final = 0.2
"""Seconds a call of a verb that seldom has a body waits to hear that it has none. Dapr's sidecars say so behind the head,
and an app would be sent an empty chunked body, which not every server of apps can read."""


class PeerRpcs:
    """The internal port's own service: our app, called by other sidecars.

    A streamed answer's head leaves as soon as the app has sent it, and each piece of its body as it comes.
    """

    def __init__(self, service: InvokeService) -> None:
        self._service = service
        self._codec = Codec()
        self._lane = Lane()
        self._crew = Crew("bodies from sidecars")

    def unary(self) -> dict[str, Unary]:
        """The unary methods by name."""
        return {
            "CallLocal": self.call_local,
            "CallActor": self.no_actors,
            "CallActorReminder": self.no_actors,
        }

    def streams(self) -> dict[str, Streaming]:
        """The streaming methods by name."""
        return {"CallLocalStream": self.call_local_stream, "CallActorStream": self.no_actor_stream}

    async def close(self) -> None:
        """Stop reading bodies."""
        await self._crew.close()

    async def call_local(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        """A call whose bodies travel in its messages."""
        try:
            invocation, body = self._codec.read_request(message)
        except (Malformed, UnicodeDecodeError) as error:
            raise _unreadable(error) from error
        invocation.body = body
        outcome = await self._serve(invocation)
        try:
            return self._codec.response(_typed(outcome), await whole(outcome.body))
        except (ConnectionError, ValueError) as error:
            raise _app_trouble(error) from error

    async def call_local_stream(self, call: Call, rpc: ServerCall) -> None:
        """A call whose bodies travel in pieces, both ways at once."""
        message = await rpc.receive()
        try:
            leading = self._codec.read_leading(message or b"")
        except (Malformed, UnicodeDecodeError) as error:
            raise _unreadable(error) from error
        invocation = leading.invocation
        if rpc.ended:
            if leading.seq > 0:
                raise _app_trouble(
                    OutOfOrder(f"invalid sequence number received: {leading.seq} (expected: 0)")
                )
            invocation.body = leading.data
            await self._reply(rpc, await self._serve(invocation))
            return
        feed = Feed(rpc.receive, leading.data, leading.seq)
        feeding = self._crew.start(feed.run(), "body from a sidecar")
        try:
            invocation.body = await _body(invocation, feed)
            await self._reply(rpc, await self._serve(invocation))
        finally:
            feeding.cancel()

    async def lane(self, rpc: LaneCall, message: bytes) -> bytes | None:
        """A call that came in one frame; its answer leaves in one where it is small and there already."""
        try:
            invocation = self._lane.read_request(message)
        except Malformed as error:
            raise _unreadable(error) from error
        outcome = await self._serve(invocation)
        body = outcome.body
        if isinstance(body, bytes) and len(body) <= LANE_BYTES:
            answer = self._lane.answer(_typed(outcome), body)
            if answer is not None and rpc.fits(len(answer)):
                return answer
        await self._reply(rpc, outcome)
        return None

    async def no_actors(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        """Actors are not served."""
        raise ApiError(ACTOR_NO_PLACEMENT)

    async def no_actor_stream(self, call: Call, rpc: ServerCall) -> None:
        """Actors are not served."""
        raise ApiError(ACTOR_NO_PLACEMENT)

    async def _serve(self, invocation: Invocation) -> Outcome:
        try:
            return await self._service.serve(invocation)
        except NoApp as error:
            raise RpcError(Code.INTERNAL, _NO_APP) from error
        except Denied as error:
            raise RpcError(Code.PERMISSION_DENIED, str(error)) from error
        except MethodError as error:
            raise RpcError(Code.INVALID_ARGUMENT, str(error)) from error
        except (NotReachable, AppUnreachable) as error:
            raise _app_trouble(error) from error

    async def _reply(self, rpc: ServerCall, outcome: Outcome) -> None:
        body = outcome.body
        try:
            if isinstance(body, Stream):
                await rpc.send(self._codec.answer(_typed(outcome), b""))
                await send_rest(body, rpc.send)
                return
            data = first_piece(body)
            await rpc.send(self._codec.answer(_typed(outcome), data), end=len(data) == len(body))
            if len(data) < len(body):
                await send_rest(body, rpc.send)
        except (RpcError, asyncio.CancelledError):
            discard(body)
            raise
        except ConnectionError as error:
            raise _app_trouble(error) from error


async def _body(invocation: Invocation, feed: Feed) -> Body:
    """The body that comes in pieces, with the length the caller's app announced."""
    body = feed.stream
    body.length = _announced(invocation)
    if body.length is None and invocation.verb in _BODILESS and await feed.ends_empty(_PATIENCE):
        return b""
    return body


def _announced(invocation: Invocation) -> int | None:
    if invocation.from_grpc:
        return None
    for name, value in invocation.headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else None
    return None


def _typed(outcome: Outcome) -> Outcome:
    """With the content type among the headers also where other sidecars look for it."""
    if not outcome.content_type and outcome.is_http:
        for name, value in outcome.headers:
            if name == b"content-type":
                outcome.content_type = value.decode("latin-1")
                break
    return outcome


def _unreadable(error: Exception) -> RpcError:
    return RpcError(Code.INVALID_ARGUMENT, f"parsing InternalInvokeRequest error: {error}")


def _app_trouble(error: Exception) -> RpcError:
    return RpcError(Code.INTERNAL, f"error invoking app channel: {error}")
