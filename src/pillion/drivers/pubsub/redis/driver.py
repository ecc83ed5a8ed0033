"""The driver: settings, publishing, and the subscriptions it has open."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from pillion.contracts.pubsub import Deliver, Feature, PubSub, Subscription
from pillion.contracts.words import DriverError, Unavailable
from pillion.drivers.clients.redis_client import Client, RedisDoor
from pillion.drivers.clients.redis_pipe import Lane, lane
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.pubsub.redis.stream import Stream, Trim, addition
from pillion.drivers.pubsub.redis.subscription import BLOCK, Pace, RedisSubscription
from pillion.model.pubsub import Publication, Topic
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.backoff import Backoff

BACKOFF = Backoff(timedelta(seconds=0.1), timedelta(seconds=30), jitter=0.2)


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
    queue_depth: int = setting("The most messages asked for in one read.", default="100")
    concurrency: int = setting("The most messages of one topic that are handled at once.", default="10")
    max_len_approx: int = setting(
        "About how many messages a topic keeps; older ones are dropped. 0: all of them.", default="0"
    )
    stream_ttl: timedelta = setting(
        "About how long a topic keeps messages. 0: for ever.", name="streamTTL", default="0s"
    )


@dataclass(frozen=True, slots=True)
class _Open:
    """The ways to the server: the lane for what is frequent, the client for the rest, the door for readers of their own."""

    door: RedisDoor
    client: Client
    lane: Lane


@driver("pubsub.redis", settings=RedisPubSubSettings, title="Redis Streams", status="stable")
class RedisPubSub(PubSub[RedisPubSubSettings]):
    """Keeps each topic as a Redis stream, in the layout of Dapr's driver: both may publish to and consume one topic.

    Every consumer group gets every message at least once; its members compete. A failed message comes back after 0.1 s, then twice
    as late each time up to 30 s. What a dead consumer held is taken over after `processingTimeout`. Nothing is lost over a restart of
    the server if it saves each command (`appendfsync always`).
    """

    features = Feature.REDELIVERY

    _open: _Open | None = None

    async def open(self) -> None:
        door = RedisDoor(self.settings)
        self._subscriptions: set[RedisSubscription] = set()
        self._trim = Trim(length=self.settings.max_len_approx, age=self.settings.stream_ttl)
        self._well = True
        way = lane(self.settings, replace(self.context, health=self._told))
        try:
            client = await door.open()
            try:
                await way.open()
            except BaseException:
                await client.aclose()
                raise
        except BaseException:
            await way.close()
            door.close()
            raise
        self._open = _Open(door, client, way)
        self.stepped = way.stepped

    async def close(self) -> None:
        opened = self._open
        if opened is None:
            return
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        self._open = None
        await opened.lane.close()
        await opened.client.aclose()
        opened.door.close()

    async def publish(self, message: Publication) -> None:
        words = addition(message, self._trim, self.context.clock.now())
        try:
            await self._opened().lane.call(*words)
        except DriverError as error:
            raise _unpublished(error) from error

    async def publish_many(self, messages: Sequence[Publication]) -> list[DriverError | None]:
        way, now = self._opened().lane, self.context.clock.now()
        calls = (way.call(*addition(message, self._trim, now)) for message in messages)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, DriverError):
                raise answer
        return [_unpublished(answer) if isinstance(answer, DriverError) else None for answer in answers]

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        opened = self._opened()
        group = self.settings.consumer_id or self.context.app_id
        stream = Stream(opened.client, opened.lane, opened.door.where, topic.name, group)
        await stream.make_group()
        reader = await opened.door.open(patience=BLOCK, retries=False)
        subscription = RedisSubscription(stream, reader, self._pace(topic), deliver, self.context.clock)
        subscription.left = self._subscriptions.discard
        subscription.health = self._told
        self._subscriptions.add(subscription)
        subscription.start()
        return subscription

    def _pace(self, topic: Topic) -> Pace:
        return Pace(
            in_flight=min(
                topic.in_flight, max(1, self.settings.concurrency), max(1, self.settings.queue_depth)
            ),
            timeout=self.settings.processing_timeout.total_seconds(),
            sweep=self.settings.redeliver_interval.total_seconds(),
            ack_failed=self.settings.ack_on_error,
            backoff=BACKOFF,
        )

    def _told(self, well: bool, reason: str) -> None:
        if well != self._well:
            self._well = well
            self.context.health(well, reason)

    def _opened(self) -> "_Open":
        if self._open is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._open


def _unpublished(error: DriverError) -> DriverError:
    """The same trouble, with the words Dapr's driver puts before it."""
    return type(error)(f"redis streams: error from publish: {error}")
