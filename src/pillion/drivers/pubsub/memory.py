"""pubsub.in-memory: topics of one process. What is not delivered when it ends is gone."""

import itertools
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pillion.contracts.pubsub import Deliver, Feature, PubSub, Subscription
from pillion.contracts.words import Unavailable
from pillion.drivers.clients.deliveries import Deliveries
from pillion.model.pubsub import Message, Publication, Topic, Verdict
from pillion.plug.component import driver
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

QUEUE: Final = 10_000
"""Messages that may wait for one subscription; publishing more is refused."""
_TOPICS: Final = 1024
"""Topics whose listeners are remembered."""
BACKOFF: Final = Backoff(timedelta(seconds=0.1), timedelta(seconds=30), jitter=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPubSubSettings:
    pass


@driver("pubsub.in-memory", settings=MemoryPubSubSettings, title="In-memory", status="stable")
class MemoryPubSub(PubSub[MemoryPubSubSettings]):
    """Carries messages within one sidecar, without a server. For development and tests.

    A failed message comes back after 0.1 s, then twice as late each time up to 30 s. A topic nobody is subscribed to keeps nothing;
    what a subscription had not finished when it closed waits for the next one of that topic. `orders*` hears every topic whose
    name goes on after `orders`.
    """

    features = Feature.SUBSCRIBE_WILDCARDS | Feature.REDELIVERY
    immediate = True

    _subscriptions: "dict[int, MemorySubscription] | None" = None

    async def open(self) -> None:
        self._subscriptions = {}
        self._unfinished: dict[str, list[Message]] = {}
        self._listening: dict[str, list[MemorySubscription]] = {}
        """Who hears a topic; forgotten when anybody comes or goes."""
        self._ids = itertools.count(1)

    async def close(self) -> None:
        for subscription in list((self._subscriptions or {}).values()):
            await subscription.close()
        self._subscriptions = None
        self._listening = {}

    async def publish(self, message: Publication) -> None:
        listening = self._listening.get(message.topic)
        if listening is None:
            listening = self._listen(message.topic)
        for each in listening:
            if each.is_full:
                raise Unavailable(f"{QUEUE} messages already wait on topic {message.topic}")
        id = str(next(self._ids))
        for each in listening:
            each.put(Message(message.topic, message.data, message.content_type, message.metadata, id, 1))

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        subscriptions = self._opened()
        key = next(self._ids)
        kept = self._unfinished.pop(topic.name, [])

        def left(unfinished: list[Message]) -> None:
            subscriptions.pop(key, None)
            self._listening = {}
            if unfinished:
                self._unfinished.setdefault(topic.name, []).extend(unfinished)

        subscription = MemorySubscription(topic, deliver, self.context.clock, left)
        subscriptions[key] = subscription
        self._listening = {}
        for message in kept:
            subscription.put(message)
        return subscription

    def _listen(self, topic: str) -> "list[MemorySubscription]":
        listening = [each for each in self._opened().values() if each.hears(topic)]
        if len(self._listening) >= _TOPICS:
            self._listening.clear()
        self._listening[topic] = listening
        return listening

    def _opened(self) -> "dict[int, MemorySubscription]":
        if self._subscriptions is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._subscriptions


class MemorySubscription:
    """A queue of one topic (or of all that a wildcard hears) and what is handed up from it."""

    def __init__(
        self, topic: Topic, deliver: Deliver, clock: Clock, left: Callable[[list[Message]], None]
    ) -> None:
        self._topic = topic.name
        self._clock = clock
        self._left: Callable[[list[Message]], None] | None = left
        self._queue: deque[Message] = deque()
        self._resting: dict[str, Message] = {}
        self._deliveries: Deliveries[Message] = Deliveries(topic.name, deliver, topic.in_flight, self._settle)
        self._crew = Crew(topic.name)
        self._paused = False

    def hears(self, topic: str) -> bool:
        if topic == self._topic:
            return True
        stem = self._topic[:-1]
        return self._topic.endswith("*") and topic.startswith(stem) and topic != stem

    @property
    def is_full(self) -> bool:
        return len(self._queue) + len(self._resting) >= QUEUE

    def put(self, message: Message) -> None:
        self._queue.append(message)
        self._hand_up()

    async def pause(self) -> None:
        self._paused = True

    async def resume(self) -> None:
        self._paused = False
        self._hand_up()

    async def drain(self, deadline: float) -> None:
        self._paused = True
        await self._deliveries.finish(deadline)

    async def close(self) -> None:
        left, self._left = self._left, None
        if left is None:
            return
        await self.drain(0)
        await self._crew.close()
        self._settle()
        left([*self._resting.values(), *self._queue])

    def _hand_up(self) -> None:
        queue, deliveries = self._queue, self._deliveries
        while queue and deliveries.free > 0 and not self._paused:
            message = queue.popleft()
            deliveries.start(message, message)

    def _settle(self) -> None:
        for message, verdict in self._deliveries.take():
            if verdict is Verdict.RETRY:
                self._rest(message, message._replace(attempt=message.attempt + 1))
            elif verdict is Verdict.ABANDON and self._paused:
                self._queue.appendleft(message)
            elif verdict is Verdict.ABANDON:
                self._rest(message, message)
        self._hand_up()

    def _rest(self, message: Message, next_time: Message) -> None:
        self._resting[message.id] = next_time
        self._crew.start(self._come_back(next_time, BACKOFF.seconds(message.attempt - 1)))

    async def _come_back(self, message: Message, wait: float) -> None:
        await self._clock.sleep(wait)
        del self._resting[message.id]
        self.put(message)
