"""Publishing: an envelope around what the app gives, and off to the broker."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import field

from pillion.contracts.words import DriverError
from pillion.model.call import PLAIN, Call
from pillion.model.errors import (
    PUBSUB_CLOUD_EVENT,
    PUBSUB_FORBIDDEN,
    PUBSUB_METADATA,
    PUBSUB_NAME_EMPTY,
    PUBSUB_NOT_FOUND,
    PUBSUB_PUBLISH,
    PUBSUB_TOPIC_EMPTY,
    ApiError,
)
from pillion.model.pubsub import Message, Publication
from pillion.model.state import NOTHING
from pillion.ports.json import Json
from pillion.ports.telemetry import Telemetry
from pillion.rules import cloudevents
from pillion.rules.cloudevents import CLOUD_EVENT, NotAnEvent, Origin, Template
from pillion.rules.topics import OPEN
from pillion.services.brokers import Broker
from pillion.toolbox.clock import Clock
from pillion.toolbox.ids import Uuids
from pillion.toolbox.lazily import dataclass

_TEMPLATES = 1024
"""Envelopes kept ready."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One entry of a bulk publish. `id` is the caller's own name for it."""

    id: str
    data: bytes
    content_type: str
    metadata: Mapping[str, str] = field(default=NOTHING)


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry of a bulk publish that the broker did not take."""

    id: str
    error: str


class PubSubService:
    """Publishes on any of the brokers. Returns once the broker has the message, raises ApiError otherwise."""

    def __init__(
        self, *, brokers: Mapping[str, Broker], app_id: str, telemetry: Telemetry, json: Json, clock: Clock
    ) -> None:
        """`brokers` is read on every call: replacing an entry is how a component is reloaded."""
        self._brokers = brokers
        self.app_id = app_id
        self._telemetry = telemetry
        self._json = json
        self._clock = clock
        self._templates: dict[tuple[str, str, str], Template] = {}
        self._ids = Uuids()
        self._second = 0
        self._time = ""

    @property
    def only(self) -> str:
        """The broker's name where there is exactly one, else ""."""
        return next(iter(self._brokers)) if len(self._brokers) == 1 else ""

    def find(self, name: str) -> Broker:
        """The broker of that name, or the fault that there is none."""
        broker = self._brokers.get(name)
        if broker is None:
            raise ApiError(PUBSUB_NOT_FOUND, resource=name, info={}, pubsub=name)
        return broker

    async def publish(
        self,
        call: Call,
        pubsub: str,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] = NOTHING,
        *,
        trace_raw: bool = False,
    ) -> None:
        """Publish one event. `trace_raw` puts the trace beside a raw payload, as the gRPC API does."""
        broker = self.target(pubsub, topic)
        if not metadata:
            publication = self._plain(call, broker, topic, data, content_type)
        elif self._is_raw(pubsub, metadata):
            if trace_raw:
                metadata = {**metadata, "traceid": call.trace, "tracestate": call.trace_state}
            publication = self._publication(broker, topic, data, "", metadata)
        else:
            publication = self._wrapped(call, broker, topic, data, content_type, metadata)
        await self._send(call, broker, publication)

    async def publish_many(
        self,
        call: Call,
        pubsub: str,
        topic: str,
        drafts: Sequence[Draft],
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Failure]:
        """Publish a batch; the entries the broker did not take, in their order."""
        broker = self.target(pubsub, topic)
        raw = self._is_raw(pubsub, metadata)
        publications = [
            self._publication(broker, topic, draft.data, draft.content_type, draft.metadata)
            if raw
            else self._wrapped(call, broker, topic, draft.data, draft.content_type, draft.metadata)
            for draft in drafts
        ]
        self._admit(broker, topic)
        if not drafts:
            return []
        outcomes = await self._send_many(call, broker, topic, publications)
        return [Failure(draft.id, str(error)) for draft, error in zip(drafts, outcomes, strict=True) if error]

    def failed(self, pubsub: str, topic: str, why: str) -> ApiError:
        """The fault of a publish that did not reach the broker."""
        return ApiError(
            PUBSUB_PUBLISH,
            resource=pubsub,
            info={"error": why, "topic": topic},
            topic=topic,
            pubsub=pubsub,
            why=why,
        )

    async def bury(self, pubsub: str, topic: str, message: Message) -> None:
        """Publish a message as it came to a dead-letter topic, within the scopes. Raises ApiError."""
        broker = self.find(pubsub)
        await self._send(
            PLAIN, broker, Publication(topic, message.data, message.content_type, message.metadata)
        )

    def target(self, pubsub: str, topic: str) -> Broker:
        """The broker a publish goes to; raises when the broker or the topic has no name, or nobody bears it."""
        if not pubsub:
            raise ApiError(PUBSUB_NAME_EMPTY, resource="", info={})
        if not topic:
            raise ApiError(PUBSUB_TOPIC_EMPTY, resource=pubsub, info={}, pubsub=pubsub)
        return self.find(pubsub)

    def _is_raw(self, pubsub: str, metadata: Mapping[str, str]) -> bool:
        try:
            return cloudevents.is_raw(metadata)
        except ValueError as error:
            given = cloudevents.word(metadata, "rawPayload")
            raise ApiError(PUBSUB_METADATA, resource=pubsub, info={"rawPayload": given}, why=error) from error

    def _plain(self, call: Call, broker: Broker, topic: str, data: bytes, content_type: str) -> Publication:
        """An event that came without metadata, in the envelope that is ready for its topic."""
        name = broker.mount.name
        template = self._templates.get((name, topic, content_type))
        if template is None:
            if cloudevents.plain_type(content_type) == CLOUD_EVENT:
                return self._wrapped(call, broker, topic, data, content_type, NOTHING)
            template = self._template(name, topic, content_type)
        id, time = self._ids.next(), self._stamp(self._clock.now())
        if not call.trace:
            return Publication(topic, template.filled(data, id, time), CLOUD_EVENT)
        trace, state = self._json.encode_exact(call.trace), self._json.encode_exact(call.trace_state)
        return Publication(topic, template.filled(data, id, time, trace, state), CLOUD_EVENT)

    def _template(self, pubsub: str, topic: str, content_type: str) -> Template:
        encode, rewrite = self._json.encode_exact, self._json.rewritten
        if len(self._templates) >= _TEMPLATES:
            self._templates.clear()
        made = Template(self.app_id, pubsub, topic, content_type, encode, rewrite)
        self._templates[pubsub, topic, content_type] = made
        return made

    def _wrapped(
        self,
        call: Call,
        broker: Broker,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> Publication:
        now = self._clock.now()
        origin = Origin(
            self.app_id, broker.name, topic, self._ids.next(), self._stamp(now), call.trace, call.trace_state
        )
        try:
            event = cloudevents.envelope(data, content_type, metadata, origin, self._json.loads_first)
        except NotAnEvent as error:
            raise ApiError(
                PUBSUB_CLOUD_EVENT, resource=broker.name, info={"appID": self.app_id, "error": str(error)}
            ) from error
        lifetime = cloudevents.lifetime(metadata) if metadata else None
        if lifetime is not None and not broker.expires:
            event["expiration"] = cloudevents.rfc3339(now + lifetime, utc=True)
        return self._publication(broker, topic, self._json.encode_exact(event), CLOUD_EVENT, metadata)

    def _stamp(self, now: float) -> str:
        """The time as events say it, written once a second."""
        if int(now) != self._second:
            self._second, self._time = int(now), cloudevents.rfc3339(now)
        return self._time

    def _publication(
        self, broker: Broker, topic: str, data: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Publication:
        if not metadata:
            return Publication(topic, data, content_type)
        lifetime = cloudevents.lifetime(metadata) if broker.expires else None
        expires_at = None if lifetime is None else self._clock.now() + lifetime
        order_key = cloudevents.word(metadata, "partitionKey")
        return Publication(topic, data, content_type, metadata, expires_at, order_key)

    def _admit(self, broker: Broker, topic: str) -> None:
        if broker.scopes is not OPEN and not broker.scopes.may_publish(topic):
            why = PUBSUB_FORBIDDEN.text.format(topic=topic, app_id=self.app_id)
            raise ApiError(
                PUBSUB_FORBIDDEN,
                resource=broker.name,
                info={"error": why, "topic": topic},
                topic=topic,
                app_id=self.app_id,
            )

    async def _send(self, call: Call, broker: Broker, publication: Publication) -> None:
        topic = publication.topic
        self._admit(broker, topic)
        publication = broker.named(publication)
        mount, started, ok = broker.mount, time.perf_counter(), False
        try:
            if mount.direct:
                await mount.driver.publish(publication)
            else:
                await mount.perform(call, "publish", lambda: mount.driver.publish(publication))
            ok = True
        except DriverError as error:
            raise self.failed(mount.name, topic, str(error)) from error
        finally:
            self._telemetry.egress(mount.name, topic, ok, time.perf_counter() - started)

    async def _send_many(
        self, call: Call, broker: Broker, topic: str, publications: Sequence[Publication]
    ) -> list[DriverError | None]:
        named = [broker.named(publication) for publication in publications]
        mount, started, ok = broker.mount, time.perf_counter(), False
        try:
            outcomes = await mount.perform(call, "publish_many", lambda: mount.driver.publish_many(named))
            ok = not any(outcomes)
        except DriverError as error:
            return [error] * len(named)
        finally:
            self._telemetry.egress(broker.name, topic, ok, time.perf_counter() - started, bulk=len(named))
        return outcomes
