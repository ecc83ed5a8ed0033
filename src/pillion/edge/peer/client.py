"""Calls to other sidecars: dapr.proto.internals.v1.ServiceInvocation from the caller's side."""

import asyncio
from typing import Any, Final

from pillion.edge.peer.flow import PIECE, Feed, send_rest
from pillion.edge.peer.links import Link, Links
from pillion.model.invoke import Invocation, Outcome
from pillion.net.rpc import (
    AGAIN,
    LANE_BYTES,
    ClientCall,
    Code,
    LaneAsked,
    Metadata,
    RpcError,
    Unprocessed,
    go_name,
)  # fmt: skip
from pillion.ports.peers import PeerFailed, PeerUnreachable
from pillion.toolbox.stream import BodyTooLarge, Stream, discard, whole
from pillion.toolbox.tasks import Crew, eager
from pillion.wire.internals import Codec
from pillion.wire.lane import Lane
from pillion.wire.scan import Malformed

CALL_LOCAL: Final = b"/dapr.proto.internals.v1.ServiceInvocation/CallLocal"
CALL_LOCAL_STREAM: Final = b"/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"

_IN_TRANSIT: Final = (Code.UNAVAILABLE, Code.UNAUTHENTICATED)


def phrase(code: int, message: str) -> str:
    """A status as one line, in the words every Go client prints."""
    name = go_name(code)
    return f"rpc error: code = {name} desc = {message}"


class PeerCalls:
    """Carries calls to sidecars by address; the `Peers` of the services.

    A small body travels with the head in one message, a stream in pieces as it comes. An answer that came at once is `bytes`, any
    other a stream fed from the call. Whoever stops waiting, or cancels the answer's stream, resets the call.
    """

    def __init__(self, links: Links) -> None:
        self.codec = Codec()
        self._lane = Lane()
        self.crew = Crew("calls to sidecars")
        self._links = links
        self._unary: set[str] = set()

    async def invoke(self, address: str, invocation: Invocation) -> Outcome:
        """See `Peers.invoke`. A call with a body at hand that the sidecar never looked at is made again a few times."""
        try:
            return await self._once(address, invocation)
        except Unprocessed as error:
            unseen = error
        for wait in AGAIN:
            await asyncio.sleep(wait)
            try:
                return await self._once(address, invocation)
            except Unprocessed as error:
                unseen = error
        raise PeerUnreachable(phrase(unseen.code, unseen.message)) from unseen

    async def _once(self, address: str, invocation: Invocation) -> Outcome:
        link = self._links.take(address)
        try:
            asked = self._ask(link, invocation)
        except RpcError as error:
            raise self._over(error, address, link, invocation) from error
        except BaseException:
            self._links.give(link)
            raise
        if asked is not None:
            return await self._asked(asked, address, link, invocation)
        call = _Call(self, address, link, invocation)
        try:
            if address in self._unary:
                return await call.unary()
            return await call.streamed()
        except BaseException:
            call.over()
            raise

    async def close(self) -> None:
        """See `Peers.close`."""
        await self.crew.close()
        await self._links.close()

    def _ask(self, link: Link, invocation: Invocation) -> LaneAsked | None:
        """Send a call that fits one frame in one, where the sidecar takes that."""
        body, channel = invocation.body, link.channel
        if isinstance(body, Stream) or len(body) > LANE_BYTES or not channel.has_lane:
            return None
        message = self._lane.request(invocation, body)
        if message is None or len(message) > LANE_BYTES:
            return None
        return channel.lane(message, timeout=_left(invocation))

    async def _asked(self, asked: LaneAsked, address: str, link: Link, invocation: Invocation) -> Outcome:
        """The answer to a call in one frame: in one too, or as one of gRPC's."""
        try:
            answer = await asked.reply
            if answer is not None:
                outcome = self._lane.read_answer(answer)
                self._links.give(link)
                return outcome
        except Unprocessed:
            self._links.give(link)
            raise
        except RpcError as error:
            raise self._over(error, address, link, invocation) from error
        except Malformed as error:
            self._links.give(link)
            raise PeerFailed(Code.INTERNAL, str(error), phrase(Code.INTERNAL, str(error))) from error
        except BaseException:
            asked.cancel()
            self._links.give(link)
            raise
        call = _Call(self, address, link, invocation)
        try:
            return await call.answered(asked)
        except BaseException:
            call.over()
            raise

    def _over(self, error: RpcError, address: str, link: Link, invocation: Invocation) -> Exception:
        call = _Call(self, address, link, invocation)
        call.over()
        return call.failed(error)

    def speaks_no_streams(self, address: str) -> None:
        """The sidecar there is of a version before streams; remembered."""
        if len(self._unary) > 1024:
            self._unary.clear()
        self._unary.add(address)

    def drop(self, address: str, link: Link) -> None:
        """See `Links.drop`."""
        self._links.drop(address, link)

    def give(self, link: Link) -> None:
        """See `Links.give`."""
        self._links.give(link)


class _Call:
    """One call under way: what must be let go when it is over, whichever way."""

    __slots__ = (
        "_peers",
        "_codec",
        "_address",
        "_link",
        "_invocation",
        "_call",
        "_pump",
        "_trouble",
        "_held",
    )

    def __init__(self, peers: PeerCalls, address: str, link: Link, invocation: Invocation) -> None:
        self._peers = peers
        self._codec = peers.codec
        self._address = address
        self._link = link
        self._invocation = invocation
        self._call: ClientCall | None = None
        self._pump: asyncio.Task[Any] | None = None
        self._trouble: Exception | None = None  # what went wrong with the body we send
        self._held = True

    async def answered(self, call: ClientCall) -> Outcome:
        """What comes back on a call that was sent whole."""
        self._call = call
        try:
            message = await call.receive()
            if message is not None and call.ended:
                await call.receive()  # does not wait; raises where the end is not OK
        except Unprocessed:
            raise
        except RpcError as error:
            raise self.failed(error) from error
        return await self._answer(call, message)

    async def streamed(self) -> Outcome:
        """CallLocalStream."""
        invocation = self._invocation
        body = invocation.body
        call = await self._open()
        try:
            if isinstance(body, Stream):
                await call.send(self._codec.leading(invocation, b""))
                self._start_pump(call)
            elif len(body) <= PIECE:
                await call.send(self._codec.leading(invocation, body), end=True)
            else:
                await call.send(self._codec.leading(invocation, body[:PIECE]))
                self._start_pump(call)
            message = await call.receive()
            if message is not None and call.ended:
                await call.receive()  # does not wait; raises where the end is not OK
        except RpcError as error:
            if isinstance(error, Unprocessed) and not isinstance(body, Stream):
                raise
            if error.code == Code.UNIMPLEMENTED and error.remote and not isinstance(body, Stream):
                self._peers.speaks_no_streams(self._address)
                self._end_pump()
                return await self.unary()
            raise self.failed(error) from error
        return await self._answer(call, message)

    async def unary(self) -> Outcome:
        """CallLocal, for a sidecar that knows no streams."""
        codec, invocation = self._codec, self._invocation
        message = codec.request(invocation, await whole(invocation.body))
        try:
            reply = await self._link.channel.unary(
                CALL_LOCAL, message, _transport(invocation), timeout=_left(invocation)
            )
        except RpcError as error:
            raise self.failed(error) from error
        try:
            outcome, body = codec.read_response(reply.message)
        except (Malformed, UnicodeDecodeError) as error:
            raise PeerFailed(Code.INTERNAL, str(error), phrase(Code.INTERNAL, str(error))) from error
        outcome.body = body
        self.over()
        return outcome

    def over(self) -> None:
        """Nothing more is sent or awaited. Safe twice."""
        if self._pump is not None:
            self._end_pump()
        if self._call is not None:
            if not self._call.ended:
                self._call.cancel()
            self._call = None
        if self._held:
            self._held = False
            self._peers.give(self._link)

    async def _open(self) -> ClientCall:
        invocation = self._invocation
        try:
            streams = isinstance(invocation.body, Stream)
            channel = self._link.wide if streams else self._link.channel
            call = await channel.stream(CALL_LOCAL_STREAM, _transport(invocation), timeout=_left(invocation))
        except RpcError as error:
            if error.code in _IN_TRANSIT:
                # No connection, so nothing was sent: the next address costs nothing to try.
                self._peers.drop(self._address, self._link)
                raise PeerUnreachable(phrase(error.code, error.message), refused=True) from error
            raise self.failed(error) from error
        self._call = call
        return call

    async def _answer(self, call: ClientCall, message: bytes | None) -> Outcome:
        try:
            opening = self._codec.read_answer(message or b"")
        except (Malformed, UnicodeDecodeError) as error:
            raise PeerFailed(Code.INTERNAL, str(error), phrase(Code.INTERNAL, str(error))) from error
        outcome = opening.outcome
        if call.ended:
            outcome.body = opening.data
            self.over()
        else:
            await self._follow(call, outcome, Feed(call.receive, opening.data, opening.seq))
        return outcome

    async def _follow(self, call: ClientCall, outcome: Outcome, feed: Feed) -> None:
        """The rest of an answer that did not come at once."""
        feed.stream.on_cancel = self.over
        task = eager(feed.run(), lambda _, error: self.over())
        if task is not None:
            self._peers.crew.adopt(task)
            outcome.body = feed.stream
        elif feed.error is None:
            outcome.body = await whole(feed.stream)  # it had come after all
        elif isinstance(feed.error, RpcError):
            raise self.failed(feed.error) from feed.error
        else:
            raise PeerFailed(Code.INTERNAL, str(feed.error), phrase(Code.INTERNAL, str(feed.error)))

    def _start_pump(self, call: ClientCall) -> None:
        self._pump = self._peers.crew.start(self._send(call), f"body to {self._address}")

    async def _send(self, call: ClientCall) -> None:
        body = self._invocation.body
        try:
            await send_rest(body, call.send)
            call.half_close()
        except RpcError:
            discard(body)  # the peer wants no more; its answer says why
        except (ConnectionError, BodyTooLarge) as error:
            self._trouble = error
            call.cancel()

    def _end_pump(self) -> None:
        if self._pump is not None:
            if not self._pump.done():
                discard(self._invocation.body)
                self._pump.cancel()
            self._pump = None

    def failed(self, error: RpcError) -> Exception:
        """What a status other than OK means: nobody answered, or the sidecar itself did."""
        if isinstance(self._trouble, BodyTooLarge):
            return self._trouble
        if self._trouble is not None:
            return PeerUnreachable(str(self._trouble))
        text = phrase(error.code, error.message)
        if error.code in _IN_TRANSIT:
            if not error.remote:
                self._peers.drop(self._address, self._link)
            return PeerUnreachable(text)
        return PeerFailed(error.code, error.message, text)


def _transport(invocation: Invocation) -> Metadata:
    return [(b"traceparent", invocation.trace.encode())] if invocation.trace else []


def _left(invocation: Invocation) -> float | None:
    if invocation.deadline is None:
        return None
    return max(0.0, invocation.deadline - asyncio.get_running_loop().time())
