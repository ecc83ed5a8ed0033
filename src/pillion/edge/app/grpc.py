"""An app that speaks gRPC: it serves `AppCallback` and is called there."""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pillion.edge.app import traces
from pillion.edge.app.log import log
from pillion.edge.app.slots import Slots
from pillion.edge.permanent import PERMANENT
from pillion.model.bindings import Reply, Trigger
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.model.pubsub import Answer, Batch, Event, Interest
from pillion.net.rpc import Channel, Code, RpcError
from pillion.net.rpc import Reply as RpcReply
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.ports.telemetry import Telemetry
from pillion.toolbox.stream import BodyTooLarge, StreamClosed, whole
from pillion.wire import pubsub as wire
from pillion.wire.proto import common, rpc, runtime

_CALLBACK: Final = b"/dapr.proto.runtime.v1.AppCallback/"
_ALPHA: Final = b"/dapr.proto.runtime.v1.AppCallbackAlpha/"
_HEALTH: Final = b"/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"
INPUTS_TIMEOUT: Final = 3.0

_OURS = frozenset((b"te", b"content-type", b"user-agent", b"content-length"))


class GrpcApp:
    """Calls the app over a channel; one face of `ports.app.App`. Callbacks carry no deadline but those that Dapr gives one."""

    def __init__(
        self,
        channel: Channel,
        *,
        telemetry: Telemetry,
        token: str = "",
        slots: Slots | None = None,
        body_limit: int | None = None,
        inputs_timeout: float = INPUTS_TIMEOUT,
    ) -> None:
        """`body_limit` bounds the body of an invocation, which gRPC carries in one message."""
        self._channel = channel
        self._telemetry = telemetry
        self._slots = slots or Slots()
        self._token = [(b"dapr-api-token", token.encode())] if token else []
        self._body_limit = body_limit
        self._inputs_timeout = inputs_timeout
        self._bulk: bytes | None = _CALLBACK + b"OnBulkTopicEvent"

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `App.invoke`. A status the app answered is an Outcome below 100."""
        request = common.InvokeRequest(method=invocation.method, content_type=invocation.content_type)
        try:
            request.data.value = await whole(invocation.body, self._body_limit)
        except (BodyTooLarge, StreamClosed) as error:
            raise AppUnreachable(str(error)) from error
        request.data.type_url = invocation.type_url
        request.http_extension.verb = _verb(invocation.verb)
        request.http_extension.querystring = invocation.query
        metadata = _metadata(invocation)
        if self._token:  # ours goes in the place of one that the caller sent along
            metadata = [pair for pair in metadata if pair[0] != b"dapr-api-token"]
        try:
            reply = await self._call(_CALLBACK + b"OnInvoke", request.SerializeToString(), metadata)
        except RpcError as error:
            return _refusal(error)
        answer = common.InvokeResponse.FromString(reply.message)
        return Outcome(
            Code.OK,
            _answered(reply.initial),
            answer.data.value,
            answer.content_type,
            answer.data.type_url,
            _answered(reply.trailers),
        )

    async def settings(self) -> Mapping[str, object] | None:
        """See `App.settings`: a gRPC app says it on a stream of its own, not here."""
        return None

    async def interests(self) -> Sequence[Interest]:
        """See `App.interests`."""
        try:
            reply = await self._call(_CALLBACK + b"ListTopicSubscriptions", b"")
        except RpcError as error:
            if error.code == Code.UNIMPLEMENTED:
                log.debug("the app does not list topics")
                return ()
            raise AppFailed(f"error getting topics from app: {error.message}") from error
        return wire.interests_of(runtime.ListTopicSubscriptionsResponse.FromString(reply.message))

    async def deliver(self, event: Event) -> Answer:
        """See `App.deliver`. An app that does not implement it is done with the event."""
        request = runtime.TopicEventRequest(topic=event.topic, pubsub_name=event.pubsub, path=event.path)
        try:
            wire.fill_event(request, event)
            reply = await self._call(
                _CALLBACK + b"OnTopicEvent", request.SerializeToString(), _event_metadata(event)
            )
        except RpcError as error:
            if error.code == Code.UNIMPLEMENTED:
                log.warning("non-retriable error: the app does not implement OnTopicEvent")
                return Answer.UNHANDLED
            raise AppFailed(f"retriable error returned from app: {error}") from error
        except ValueError as error:
            raise AppFailed(f"the event cannot be sent: {error}") from error
        return wire.rpc_answer(runtime.TopicEventResponse.FromString(reply.message).status)

    async def deliver_batch(self, batch: Batch) -> Mapping[str, Answer]:
        """See `App.deliver_batch`. The name of the alpha is tried for older apps; without either nobody wants the entries."""
        message = _batch(batch).SerializeToString()
        last = batch.events[-1]
        metadata = [] if last.raw is not None else _traced(last)
        while self._bulk is not None:
            path = self._bulk
            try:
                reply = await self._call(path, message, metadata)
            except RpcError as error:
                if error.code != Code.UNIMPLEMENTED:
                    raise AppFailed(f"retriable error returned from app: {error}") from error
                self._implements_no(path)
            else:
                answer = runtime.TopicEventBulkResponse.FromString(reply.message)
                return {each.entry_id: wire.rpc_answer(each.status) for each in answer.statuses}
        return {event.entry_id: Answer.UNHANDLED for event in batch.events}

    async def inputs(self, names: Mapping[str, str]) -> frozenset[str]:
        """See `App.inputs`: the app lists them itself."""
        try:
            reply = await self._call(_CALLBACK + b"ListInputBindings", b"", timeout=self._inputs_timeout)
        except (RpcError, AppUnreachable) as error:
            log.debug("the app lists no input bindings: %s", error)
            return frozenset()
        listed = runtime.ListInputBindingsResponse.FromString(reply.message).bindings
        return frozenset(listed) & frozenset(names)

    async def bring(self, name: str, route: str, trigger: Trigger, trace: str) -> Reply:
        """See `App.bring`. What the app wants sent on is in the reply's `to`."""
        request = runtime.BindingEventRequest(name=name, data=trigger.data, metadata=dict(trigger.metadata))
        metadata = [(b"traceparent", traces.child(trace))] if trace else []
        try:
            reply = await self._call(_CALLBACK + b"OnBindingEvent", request.SerializeToString(), metadata)
        except RpcError as error:
            raise AppFailed(f"error invoking app: {error}") from error
        answer = runtime.BindingEventResponse.FromString(reply.message)
        return Reply(answer.data, to=tuple(answer.to), parallel=answer.concurrency == 1)

    async def is_healthy(self, path: str, timeout: float) -> bool:
        """See `App.is_healthy`; the path plays no part."""
        started = time.perf_counter()
        healthy = False
        try:
            await self._channel.unary(_HEALTH, b"", timeout=timeout)
            healthy = True
        except RpcError as error:
            log.debug("health probe: %s", error)
        self._telemetry.health_probed(healthy, time.perf_counter() - started, grpc=True)
        return healthy

    async def close(self) -> None:
        """See `App.close`."""
        await self._channel.close()

    async def _call(
        self,
        path: bytes,
        message: bytes,
        metadata: Sequence[tuple[bytes, bytes]] = (),
        *,
        timeout: float | None = None,
    ) -> RpcReply:
        """One unary call within the slots. Raises AppUnreachable where no answer came, RpcError for an answer other than OK."""
        await self._slots.take()
        started, code, received = time.perf_counter(), int(Code.OK), 0
        try:
            reply = await self._channel.unary(path, message, [*metadata, *self._token], timeout=timeout)
            received = len(reply.message)
            return reply
        except RpcError as error:
            code = error.code
            if code == Code.UNAVAILABLE and not error.remote:
                raise AppUnreachable(f"rpc error: code = Unavailable desc = {error.message}") from error
            raise
        finally:
            self._slots.give()
            self._telemetry.rpc_called(
                path.decode(), code, time.perf_counter() - started, len(message), received
            )

    def _implements_no(self, path: bytes) -> None:
        if self._bulk == path:
            alpha = _ALPHA + b"OnBulkTopicEventAlpha1"
            self._bulk = alpha if path != alpha else None
            if self._bulk is None:
                log.warning("the app implements no bulk delivery: its entries are acknowledged unseen")


def _metadata(invocation: Invocation) -> Pairs:
    """The caller's headers as metadata: HTTP's own names are prefixed, the caller's agent is not ours to repeat."""
    found: Pairs = []
    for name, value in invocation.headers:
        if invocation.from_grpc:
            if name not in _OURS and name[:1] != b":" and not name.startswith(b"grpc-"):
                found.append((name, value))
        elif name == b"user-agent" or name == b"te" or name[:1] == b":":
            continue
        elif name in PERMANENT or name.startswith(b"grpc-"):
            found.append((b"dapr-" + name, value))
        elif name.endswith(b"-bin"):
            found.append((name, _decoded(value)))
        else:
            found.append((name, value))
    return found


def _decoded(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return value


def _verb(verb: str) -> Any:
    names = common.HTTPExtension.Verb
    return names.Value(verb) if verb in names.keys() else names.Value("NONE")


def _answered(metadata: Sequence[tuple[bytes, bytes]]) -> Pairs:
    return [(name, value) for name, value in metadata if name != b"content-type"]


def _refusal(error: RpcError) -> Outcome:
    details: tuple[bytes, ...] = ()
    if error.details:
        details = tuple(any.SerializeToString() for any in rpc.Status.FromString(error.details).details)
    return Outcome(
        error.code,
        _answered(error.initial),
        trailers=_answered(error.trailers),
        message=error.message,
        details=details,
    )


def _event_metadata(event: Event) -> Pairs:
    metadata = _traced(event)
    metadata.append((b"pubsubname", event.pubsub.encode()))
    if event.headers:
        metadata += _words(event.headers)
    return metadata


def _traced(event: Event) -> Pairs:
    return traces.of_event(event) if event.raw is None else []


def _words(metadata: Mapping[str, str]) -> Pairs:
    """Publish metadata as call metadata; what gRPC could not carry or keeps for itself is left out."""
    return [
        (name, value)
        for name, value in wire.http_fields(metadata)
        if value.isascii()
        and not name.startswith(b"grpc-")
        and name not in _OURS
        and wire.is_metadata_key(name)
    ]


def _batch(batch: Batch) -> Any:
    request = runtime.TopicEventBulkRequest(
        id=batch.id,
        metadata=dict(batch.metadata),
        topic=batch.topic,
        pubsub_name=batch.pubsub,
        type=wire.BULK_TYPE,
        path=batch.path,
    )
    for event in batch.events:
        entry = request.entries.add(entry_id=event.entry_id, metadata=dict(event.headers))
        if event.raw is not None:
            entry.bytes = event.raw
        else:
            wire.fill_event(entry.cloud_event, event)
    return request
