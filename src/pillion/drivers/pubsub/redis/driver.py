"""The driver: settings, publishing, and the subscriptions it has open."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from pillion.contracts.pubsub import Deliver, Feature, PubSub, Subscription
from pillion.contracts.words import DriverError, Unavailable
from pillion.drivers.clients.redis_lane import Lane, lane, outcome, side_lane
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.pubsub.redis.stream import Stream, Trim, addition
from pillion.drivers.pubsub.redis.subscription import BLOCK, Pace, RedisSubscription
from pillion.model.pubsub import Publication, Topic
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.lazily import dataclass

BACKOFF = Backoff(timedelta(seconds=0.1), timedelta(seconds=30), jitter=0.2)
_AT_ONCE = 1000
"""Messages of a batch that are on their way together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPubSubSettings(RedisSettings):
    consumer_id: str = setting(
        "The consumer group: each message goes to one member of it. The app id where it is not given.",
        name="consumerID",
        default="",
    )
    processing_timeout: timedelta = setting(
        "How long a message may be pending without a sign of life before another consumer takes it; a live consumer gives signs. "
        "0: no redelivery.",
        default="60s",
        unit="ms",
    )
    redeliver_interval: timedelta = setting(
        "How often to look for messages that a dead consumer has left. 0: no redelivery.",
        default="15s",
        unit="ms",
    )
    ack_on_error: bool = setting(
        "Whether a message the app failed is accepted instead of tried again.", default="false"
    )
    queue_depth: int = setting(
        "The most messages held at once, handled or read ahead; no more is read ahead than is handled at once.",
        default="100",
    )
    concurrency: int = setting("The most messages of one topic that are handled at once.", default="10")
    max_len_approx: int = setting(
        "About how many messages a topic keeps; older ones are dropped. 0: all of them.", default="0"
    )
    stream_ttl: timedelta = setting(
        "About how long a topic keeps messages. 0: for ever.", name="streamTTL", default="0s"
    )


@driver("pubsub.redis", settings=RedisPubSubSettings, title="Redis Streams", status="stable")
class RedisPubSub(PubSub[RedisPubSubSettings]):
    """Keeps each topic as a Redis stream, in the layout of Dapr's driver: both may publish to and consume one topic.

    Every consumer group gets every message at least once; its members compete. A failed message comes back after 0.1 s, then twice
    as late each time up to 30 s. What a dead consumer held is taken over after `processingTimeout`. Nothing is lost over a restart of
    the server if it saves each command (`appendfsync always`).
    """

    features = Feature.REDELIVERY
    stepped = True
    _lane: Lane | None = None

    async def open(self) -> None:
        self._subscriptions: set[RedisSubscription] = set()
        self._trim = Trim(length=self.settings.max_len_approx, age=self.settings.stream_ttl)
        self._well = True
        way = lane(self.settings, replace(self.context, health=self._told))
        try:
            await way.open()
        except BaseException:
            await way.close()
            raise
        self._lane = way

    async def close(self) -> None:
        if self._lane is None:
            return
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        opened, self._lane = self._lane, None
        await opened.close()

    async def publish(self, message: Publication) -> None:
        try:
            await self._opened().call(*addition(message, self._trim.words(self.context.clock)))
        except DriverError as error:
            raise _unpublished(error) from error

    async def publish_many(self, messages: Sequence[Publication]) -> list[DriverError | None]:
        told: list[DriverError | None] = []
        way, trim = self._opened(), self._trim.words(self.context.clock)
        for start in range(0, len(messages), _AT_ONCE):
            calls = [way.call(*addition(message, trim)) for message in messages[start : start + _AT_ONCE]]
            told += map(outcome, await asyncio.gather(*calls, return_exceptions=True))
        return [None if error is None else _unpublished(error) for error in told]

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        group = self.settings.consumer_id or self.context.app_id
        stream = Stream(self._opened(), topic.name, group)
        await stream.make_group()
        reader = side_lane(self.settings, self.context, blocking=BLOCK)
        try:
            await reader.open()
        except BaseException:
            await reader.close()
            raise
        subscription = RedisSubscription(stream, reader, self._pace(topic), deliver, self.context.clock)
        subscription.left = self._subscriptions.discard
        subscription.health = self._told
        self._subscriptions.add(subscription)
        subscription.start()
        return subscription

    def _pace(self, topic: Topic) -> Pace:
        depth = max(1, self.settings.queue_depth)
        in_flight = min(topic.in_flight, max(1, self.settings.concurrency), depth)
        return Pace(
            in_flight=in_flight,
            ahead=min(in_flight, depth - in_flight),
            timeout=self.settings.processing_timeout.total_seconds(),
            sweep=self.settings.redeliver_interval.total_seconds(),
            ack_failed=self.settings.ack_on_error,
            backoff=BACKOFF,
        )

    def _told(self, well: bool, reason: str) -> None:
        if well != self._well:
            self._well = well
            self.context.health(well, reason)

    def _opened(self) -> Lane:
        if self._lane is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._lane


def _unpublished(error: DriverError) -> DriverError:
    """The same trouble, with the words Dapr's driver puts before it."""
    return type(error)(f"redis streams: error from publish: {error}")
