"""One message on its way into the app: read, routed, handed over, settled."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pillion.model.call import Call
from pillion.model.errors import ApiError
from pillion.model.pubsub import Answer, Event, Interest, Message, Verdict
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.ports.json import Json
from pillion.ports.telemetry import Telemetry
from pillion.rules import cloudevents
from pillion.rules.cloudevents import NotAnEvent
from pillion.rules.delivery import Fate, fate
from pillion.rules.expressions import ExpressionError
from pillion.rules.routing import Routes
from pillion.services.brokers import Broker
from pillion.toolbox.clock import Clock
from pillion.toolbox.ids import uuid4

log = logging.getLogger("dapr.runtime.processor.subscription")

BURIAL: Final = 30.0
"""Seconds a dead letter may take to be published."""

_SUCCESS, _ACK = Answer.SUCCESS, Verdict.ACK  # a member of an enumeration costs ten times a global

Take = Callable[[Event], Awaitable[Answer]]
"""The app, or a stream it opened. Raises AppUnreachable or AppFailed, both of which mean RETRY."""

Bury = Callable[[str, str, Message], Awaitable[None]]
"""Publish a message (broker, dead-letter topic, message); raises ApiError."""


class Delivery:
    """What a driver calls for each message of one subscription.

    A message is acknowledged when the app took it, when it is of no use to the app, or when the dead-letter topic has it;
    in every other case the broker keeps it. Once `closing` is set nothing is buried and what fails is released untouched:
    the app may have failed only because we are leaving.
    """

    def __init__(
        self,
        interest: Interest,
        broker: Broker,
        take: Take,
        bury: Bury,
        *,
        telemetry: Telemetry,
        json: Json,
        clock: Clock,
    ) -> None:
        """Raises ExpressionError for a rule that is not CEL, ValueError for a `rawPayload` that is no boolean."""
        self.interest = interest
        self.broker = broker
        self.closing = False
        self._name = broker.name
        self._take = take
        self._bury = bury
        self._routes = Routes(interest.rules)
        self._raw = cloudevents.is_raw(interest.metadata)
        self._telemetry = telemetry
        self._json = json
        self._clock = clock

    async def __call__(self, message: Message) -> Verdict:
        if self.closing:
            return Verdict.ABANDON
        try:
            event = self.read(message)
            if isinstance(event, Answer):
                return await self.settle(message, event)
            started = time.perf_counter()
            answer = await self._ask(event)
            seconds = time.perf_counter() - started
            if answer is _SUCCESS:
                self._telemetry.ingress(self._name, event.topic, "success", "", seconds)
                return _ACK
            said = "drop" if answer is Answer.DROP else ""
            self._telemetry.ingress(self._name, event.topic, _STATUS[answer], said, seconds)
            return await self.settle(message, answer)
        except Exception as error:  # the root of a delivery: a mistake of ours must not lose the message
            log.error("the delivery of a message of topic %s failed", message.topic, exc_info=error)
            return Verdict.ABANDON if self.closing else Verdict.RETRY

    def read(self, message: Message) -> Event | Answer:
        """The event a message holds and where it goes; or, when the app need not see it, what to do instead."""
        topic = self.broker.topic_seen(message.topic)
        try:
            envelope, body = self._opened(message, topic)
            if "expiration" in envelope and cloudevents.has_expired(envelope, self._clock.now()):
                log.warning(
                    "dropping expired pub/sub event %s as of %s",
                    envelope.get("id"),
                    envelope["expiration"],
                )
                return self._unseen(topic, Answer.DROP, "")
            path = self._routes.path(envelope)
        except NotAnEvent as error:
            log.error(
                "error deserializing cloud event in pubsub %s and topic %s: %s",
                self.broker.name,
                topic,
                error,
            )
            return self._unseen(topic, Answer.RETRY, "")
        except ExpressionError as error:
            log.error(
                "error finding matching route for event %s in pubsub %s and topic %s: %s",
                envelope.get("id"),
                self.broker.name,
                topic,
                error,
            )
            return self._unseen(topic, Answer.RETRY, "")
        if path is None:
            log.debug("no route for event %s of topic %s: it is skipped", envelope.get("id"), topic)
            return self._unseen(topic, Answer.DROP, "success")
        raw = message.data if self._raw else None
        trace = cloudevents.trace_of(envelope)
        return Event(self._name, topic, path, body, envelope, message.metadata, raw, trace, message.id)

    async def settle(self, message: Message, answer: Answer) -> Verdict:
        """Tell the broker what became of the message, burying it first where that is its fate."""
        match fate(answer, has_dead_letter=bool(self.interest.dead_letter)):
            case Fate.ACK:
                return Verdict.ACK
            case _ if self.closing:
                return Verdict.ABANDON
            case Fate.RETRY:
                return Verdict.RETRY
            case Fate.BURY:
                return await self._buried(message)

    async def _ask(self, event: Event) -> Answer:
        try:
            if self.broker.inbound is None:
                return await self._take(event)
            call = Call(trace=event.trace)
            return await self.broker.inbound.run(call, "deliver", lambda: self._take(event))
        except (AppUnreachable, AppFailed) as error:
            log.warning(
                "event %s of topic %s was not taken: %s", event.envelope.get("id"), event.topic, error
            )
            return Answer.RETRY

    async def _buried(self, message: Message) -> Verdict:
        """A dead letter that cannot be published leaves the message with the broker."""
        dead_letter = self.interest.dead_letter
        try:
            async with asyncio.timeout(BURIAL):
                await self._bury(self.broker.name, dead_letter, message)
        except (ApiError, TimeoutError) as error:
            log.error(
                "error sending message to dead letter, origin topic: %s dead letter topic %s err: %s",
                message.topic,
                dead_letter,
                error,
            )
            return Verdict.RETRY
        return Verdict.ACK

    def _opened(self, message: Message, topic: str) -> tuple[dict[str, Any], bytes]:
        """The envelope, and the bytes an HTTP app is given: those of the broker wherever they are an event already."""
        if self._raw:
            envelope = cloudevents.from_raw(message.data, self.broker.name, topic, uuid4(), message.metadata)
            return envelope, self._json.encode_exact(envelope)
        kind = message.content_type
        if kind and kind != cloudevents.CLOUD_EVENT and cloudevents.is_binary(kind):
            return (
                cloudevents.from_binary(message.data, kind, message.metadata),
                message.data,
            )
        envelope = cloudevents.parsed(message.data, self._json.glance)
        if message.metadata:
            cloudevents.trace_from(envelope, message.metadata)
        return envelope, message.data

    def _unseen(self, topic: str, answer: Answer, said: str) -> Answer:
        self._telemetry.ingress(self.broker.name, topic, _STATUS[answer], said, 0.0)
        return answer


_STATUS = {
    Answer.SUCCESS: "success",
    Answer.UNHANDLED: "drop",
    Answer.DROP: "drop",
    Answer.RETRY: "retry",
}
