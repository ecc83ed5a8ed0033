"""pubsub.in-memory: bounds, backoff by the clock, and what a closed subscription leaves."""

import itertools
from collections.abc import AsyncIterator

import pytest
from support.waiting import eventually

from pillion.contracts.words import Unavailable
from pillion.drivers.pubsub import memory
from pillion.drivers.pubsub.memory import MemoryPubSub, MemoryPubSubSettings
from pillion.model.pubsub import Message, Publication, Topic, Verdict
from pillion.plug.component import Context
from pillion.testing.clock import HandClock
from pillion.testing.conformance.pubsub import Inbox


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def broker(clock: HandClock) -> AsyncIterator[MemoryPubSub]:
    broker = MemoryPubSub(MemoryPubSubSettings(), Context(name="pubsub", clock=clock))
    await broker.open()
    yield broker
    await broker.close()


async def test_a_failed_message_waits_twice_as_long_each_time(broker: MemoryPubSub, clock: HandClock) -> None:
    tried: list[float] = []

    async def fail(message: Message) -> Verdict:
        tried.append(clock.now())
        return Verdict.RETRY

    await broker.subscribe(Topic("t"), fail)
    await broker.publish(Publication("t", b"1"))
    await eventually(lambda: clock.sleepers == 1)
    await clock.advance(120)
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    for number, wait in enumerate(waits):
        middle = min(30, 0.1 * 2**number)
        assert middle * 0.79 <= wait <= min(30, middle * 1.21)
    assert len(waits) >= 9


async def test_a_full_queue_refuses_the_publisher(broker: MemoryPubSub) -> None:
    inbox = Inbox()
    subscription = await broker.subscribe(Topic("t"), inbox)
    await subscription.pause()
    for _ in range(memory.QUEUE):
        await broker.publish(Publication("t", b"x"))
    with pytest.raises(Unavailable, match="already wait"):
        await broker.publish(Publication("t", b"one too many"))
    await broker.publish(Publication("other", b"not affected"))


async def test_every_subscription_of_a_topic_gets_its_own_copy(broker: MemoryPubSub) -> None:
    first, second = Inbox(), Inbox()
    await broker.subscribe(Topic("t"), first)
    await broker.subscribe(Topic("t"), second)
    await broker.publish(Publication("t", b"1"))
    await first.receives(b"1")
    await second.receives(b"1")


async def test_a_topic_nobody_hears_keeps_nothing(broker: MemoryPubSub) -> None:
    inbox = Inbox()
    await broker.publish(Publication("t", b"unheard"))
    await broker.subscribe(Topic("t"), inbox)
    await broker.publish(Publication("t", b"heard"))
    await inbox.receives(b"heard")


@pytest.mark.parametrize(
    ("pattern", "topic", "hears"),
    [
        ("orders", "orders", True),
        ("orders", "orders.new", False),
        ("orders*", "orders.new", True),
        ("orders*", "orders", False),
        ("orders*", "orders*", True),
        ("*", "anything", True),
        ("or*rs", "orders", False),
    ],
)
async def test_a_wildcard_hears_what_goes_on_after_its_stem(
    broker: MemoryPubSub, pattern: str, topic: str, hears: bool
) -> None:
    subscription = await broker.subscribe(Topic(pattern), Inbox())
    assert isinstance(subscription, memory.MemorySubscription)
    assert subscription.hears(topic) is hears
