"""Publishing over gRPC, and subscriptions that an app holds open as a stream."""

import asyncio
from typing import Final

from pillion.edge.app.log import log
from pillion.edge.grpc.api import Streaming, Unary
from pillion.model.call import Call
from pillion.model.errors import PUBSUB_MARSHAL_EVENTS, PUBSUB_NAME_EMPTY, ApiError
from pillion.model.pubsub import Answer, Event, Interest, Origin, Rule
from pillion.model.state import NOTHING
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.services.pubsub import Draft, PubSubService
from pillion.services.subscriptions import Line, NotSubscribed, Subscriptions
from pillion.toolbox.tasks import tasked
from pillion.wire import pubsub as wire
from pillion.wire.proto import runtime

PATH: Final = "/"
"""Where the events of a stream go: it has no routes."""


class PubSubRpcs:
    """The publishing methods of the runtime's service and its subscription stream."""

    def __init__(self, service: PubSubService, subscriptions: Subscriptions) -> None:
        self._service = service
        self._subscriptions = subscriptions

    def unary(self) -> dict[str, Unary]:
        """The methods by name."""
        return {
            "PublishEvent": self.publish,
            "BulkPublishEvent": self.publish_many,
            "BulkPublishEventAlpha1": self.publish_many,
        }

    def streams(self) -> dict[str, Streaming]:
        """The streaming methods by name."""
        return {"SubscribeTopicEventsAlpha1": self.subscribe}

    async def publish(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """One event; an empty answer once the broker has it."""
        if (plain := wire.plain_publish(message)) is not None:
            await self._service.publish(call, *plain)
            return b""
        request = runtime.PublishEventRequest.FromString(message)
        await self._service.publish(
            call,
            request.pubsub_name,
            request.topic,
            request.data,
            request.data_content_type,
            dict(request.metadata) or NOTHING,
            trace_raw=True,
        )
        return b""

    async def publish_many(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """A batch; the status of its first failure when one entry fails."""
        request = runtime.BulkPublishRequest.FromString(message)
        pubsub, topic, metadata = request.pubsub_name, request.topic, dict(request.metadata)
        self._service.target(pubsub, topic)
        self._check_ids([entry.entry_id for entry in request.entries], pubsub, topic)
        drafts = [
            Draft(
                entry.entry_id,
                entry.event,
                entry.content_type,
                {**metadata, **entry.metadata} if entry.metadata else NOTHING,
            )
            for entry in request.entries
        ]
        failures = await self._service.publish_many(call, pubsub, topic, drafts, metadata)
        if failures:
            raise self._service.failed(pubsub, topic, failures[0].error)
        return b""

    async def subscribe(self, _: Call, call: ServerCall) -> None:
        """Events for as long as the app holds the stream open; each waits for its answer by id."""
        interest = await self._interest(call)
        stream = EventStream(call)
        line = await stream.begin(self._subscriptions, interest)
        try:
            await stream.listen(line)
        finally:
            stream.end()
            await self._subscriptions.close_stream(line)

    def _check_ids(self, ids: list[str], pubsub: str, topic: str) -> None:
        if len(set(ids)) == len(ids) and all(ids):
            return
        why = "entryId is duplicated or not present for entry"
        info = {"appID": self._service.app_id, "error": why}
        raise ApiError(PUBSUB_MARSHAL_EVENTS, resource=pubsub, info=info, topic=topic, pubsub=pubsub, why=why)

    async def _interest(self, call: ServerCall) -> Interest:
        first = await _received(call)
        if first.WhichOneof(_REQUEST) != "initial_request":
            raise RpcError(Code.UNKNOWN, "initial request is required")
        wish = first.initial_request
        if not wish.pubsub_name:
            raise ApiError(PUBSUB_NAME_EMPTY, resource="", info={})
        if not wish.topic:
            raise RpcError(Code.UNKNOWN, "topic is required")
        return Interest(
            wish.pubsub_name,
            wish.topic,
            (Rule("", PATH),),
            dict(wish.metadata),
            wish.dead_letter_topic,
            origin=Origin.STREAMING,
        )


class EventStream:
    """One stream: events out one at a time, answers in by the event's id."""

    def __init__(self, call: ServerCall) -> None:
        self._call = call
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._sending = asyncio.Lock()
        self._ended = False

    async def begin(self, subscriptions: Subscriptions, interest: Interest) -> Line:
        """Subscribe, and say so before the first event is sent."""
        async with self._sending:
            try:
                line = await subscriptions.open_stream(interest, self.take)
            except NotSubscribed as error:
                why = f"failed to create subscription for {interest.pubsub}: {error}"
                raise RpcError(Code.UNKNOWN, why) from error
            try:
                await self._call.send(_STANDS)
            except BaseException:
                self.end()
                await subscriptions.close_stream(line)
                raise
        return line

    async def take(self, event: Event) -> Answer:
        """Send an event and wait for the app's word on it; one whose id is under way on this stream waits its turn.

        An event that finds the stream gone waits for `end`, which comes together with the subscription's: only then is it
        returned to the broker, where it would otherwise count as one that the app failed.
        """
        id = str(event.envelope.get("id", ""))
        while (other := self._waiting.get(id)) is not None:
            await asyncio.wait([other])
        if self._ended:
            raise AppUnreachable(_GONE)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            await self._send(event)
            return await answer
        finally:
            answer.cancel()
            if self._waiting.get(id) is answer:
                del self._waiting[id]

    async def _send(self, event: Event) -> None:
        try:
            async with self._sending:
                await self._call.send(_message(event))
        except RpcError as error:
            if error.code == Code.RESOURCE_EXHAUSTED:
                raise AppFailed(f"the event cannot be sent: {error.message}") from error
            log.debug("the stream has gone: %s", error.message)
        except ValueError as error:
            raise AppFailed(f"the event cannot be sent: {error}") from error

    async def listen(self, line: Line) -> None:
        """Hear the app's answers; ends with the stream, or with the subscription once the sidecar has drained it."""
        # The first answers may be here already: nothing has waited yet, and a timeout needs a task.
        await tasked(self._live(line))

    async def _live(self, line: Line) -> None:
        try:
            async with asyncio.timeout(None) as life:
                line.at_end(lambda: life.reschedule(0))
                await self._hear()
        except TimeoutError:
            raise RpcError(Code.UNKNOWN, "api server closed") from None
        finally:
            line.at_end(None)

    async def _hear(self) -> None:
        while True:
            request = await _received(self._call)
            match request.WhichOneof(_REQUEST):
                case "initial_request":
                    raise RpcError(Code.UNKNOWN, "duplicate initial request received")
                case "event_processed":
                    processed = request.event_processed
                    self._answered(processed.id, wire.rpc_answer(processed.status.status))

    def end(self) -> None:
        """Nobody will answer any more."""
        self._ended = True
        while self._waiting:
            answer = self._waiting.popitem()[1]
            if not answer.done():
                answer.set_exception(AppUnreachable(_GONE))
                answer.exception()  # its waiter may be cancelled before it looks

    def _answered(self, id: str, word: Answer) -> None:
        answer = self._waiting.pop(id, None)
        if answer is None:
            log.warning("an answer came for event %s, which this stream does not wait for", id)
        elif not answer.done():
            answer.set_result(word)


_REQUEST: Final = "subscribe_topic_events_request_type"
_GONE: Final = "the stream has gone"
_STANDS = b"\x0a\x00"
"""An initial_response: field 1, empty."""


async def _received(call: ServerCall) -> "runtime.SubscribeTopicEventsRequestAlpha1":
    message = await call.receive()
    if message is None:
        raise RpcError(Code.UNKNOWN, "EOF")
    return runtime.SubscribeTopicEventsRequestAlpha1.FromString(message)


def _message(event: Event) -> bytes:
    response = runtime.SubscribeTopicEventsResponseAlpha1()
    message = response.event_message
    message.topic, message.pubsub_name, message.path = event.topic, event.pubsub, event.path
    wire.fill_event(message, event)
    return response.SerializeToString()
