"""What any broker driver must do, as named coroutines: usable from outside this repository, with any test runner."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Any

from pillion.contracts.pubsub import Deliver, Feature, PubSub
from pillion.contracts.words import Unavailable
from pillion.model.pubsub import Message, Publication, Topic, Verdict
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

PATIENCE = 10.0
"""Seconds to wait for something that must come."""
QUIET = 0.15
"""Seconds to listen for something that must not come."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A freshly opened driver in a consumer group `one` over an empty broker.

    `join` opens another driver on the same broker in the group it is given, for brokers that outlive their driver; the
    bench closes what it opened. A failed message must be retried within about 0.1 s.
    """

    broker: PubSub[Any]
    join: Callable[[str], Awaitable[PubSub[Any]]] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and which drivers it is asked of."""

    name: str
    needs: Feature
    lacks: Feature
    shared: bool
    run: Callable[[Bench], Awaitable[None]]

    def applies_to(self, features: Feature, *, shared: bool) -> bool:
        return self.needs in features and not (self.lacks & features) and (shared or not self.shared)


CHECKS: list[Check] = []

Run = Callable[[Bench], Awaitable[None]]


def check(
    *, needs: Feature = Feature.NONE, lacks: Feature = Feature.NONE, shared: bool = False
) -> Callable[[Run], Run]:
    """List a check; `shared` ones need a broker that several drivers can join."""

    def keep(run: Run) -> Run:
        CHECKS.append(Check(getattr(run, "__name__", "check"), needs, lacks, shared, run))
        return run

    return keep


@dataclass(slots=True)
class Inbox:
    """An app: keeps what it is handed and answers as told."""

    answer: Callable[[Message], Verdict] = lambda message: Verdict.ACK
    got: list[Message] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, deliveries wait."""
    busy: int = 0
    busiest: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.held.set()

    async def __call__(self, message: Message) -> Verdict:
        self.got.append(message)
        self._news.set()
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.held.wait()
            return self.answer(message)
        finally:
            self.busy -= 1
            self._news.set()

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.got]

    async def until(self, fact: Callable[[], bool], what: str) -> None:
        """Wait for something that must become true."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not fact():
            self._news.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                raise AssertionError(f"{what} did not come; got {self.data[:20]!r}") from None

    async def receives(self, *expected: bytes) -> None:
        """All these come, in any order, and nothing else has by then."""
        await self.until(lambda: len(self.got) >= len(expected), f"{len(expected)} messages")
        assert sorted(self.data) == sorted(expected), self.data


async def _publish(broker: PubSub[Any], *data: bytes, topic: str = "t", order_key: str = "") -> None:
    for each in data:
        await broker.publish(Publication(topic, each, order_key=order_key))


@check()
async def what_is_published_is_delivered_byte_for_byte(b: Bench) -> None:
    inbox, sent = Inbox(), (b"", b"\x00\xff", b'{"a": 1}', "é".encode(), b"x" * 300_000)
    await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, *sent)
    await inbox.receives(*sent)
    assert all(message.topic == "t" and message.id for message in inbox.got)


@check()
async def publish_metadata_travels_with_the_message(b: Bench) -> None:
    inbox, metadata = Inbox(), {"ttlInSeconds": "9", "Foo": 'b\u00e4r "quoted"'}
    await b.broker.subscribe(Topic("t"), inbox)
    await b.broker.publish(Publication("t", b"1", metadata=metadata))
    await inbox.receives(b"1")
    assert dict(inbox.got[0].metadata) == metadata


@check()
async def topics_do_not_mix(b: Bench) -> None:
    mine, other = Inbox(), Inbox()
    await b.broker.subscribe(Topic("mine"), mine)
    await b.broker.subscribe(Topic("other"), other)
    await _publish(b.broker, b"1", topic="mine")
    await _publish(b.broker, b"2", topic="other")
    await mine.receives(b"1")
    await other.receives(b"2")


@check()
async def many_published_together_have_an_outcome_each(b: Bench) -> None:
    inbox = Inbox()
    await b.broker.subscribe(Topic("t"), inbox)
    sent = [b"%d" % number for number in range(50)]
    assert await b.broker.publish_many([Publication("t", each) for each in sent]) == [None] * 50
    await inbox.receives(*sent)


@check()
async def an_accepted_message_does_not_come_again(b: Bench) -> None:
    inbox = Inbox()
    first = await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, b"1")
    await inbox.receives(b"1")
    await first.drain(1)
    await first.close()
    await b.broker.subscribe(Topic("t"), inbox)
    await asyncio.sleep(QUIET)
    await inbox.receives(b"1")


@check()
async def no_more_are_awaited_at_once_than_the_topic_allows(b: Bench) -> None:
    inbox = Inbox()
    inbox.held.clear()
    await b.broker.subscribe(Topic("t", in_flight=3), inbox)
    sent = [b"%d" % number for number in range(10)]
    await _publish(b.broker, *sent)
    await inbox.until(lambda: inbox.busy == 3, "three at once")
    await asyncio.sleep(QUIET)
    assert len(inbox.got) == 3
    inbox.held.set()
    await inbox.receives(*sent)
    assert inbox.busiest == 3


@check()
async def messages_come_in_order_where_one_is_awaited_at_a_time(b: Bench) -> None:
    inbox = Inbox()
    await b.broker.subscribe(Topic("t", in_flight=1), inbox)
    sent = [b"%02d" % number for number in range(40)]
    await _publish(b.broker, *sent)
    await inbox.receives(*sent)
    assert inbox.data == sent


@check()
async def a_paused_subscription_is_handed_nothing_until_it_resumes(b: Bench) -> None:
    inbox = Inbox()
    subscription = await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, b"1")
    await inbox.receives(b"1")
    await subscription.pause()
    await _publish(b.broker, b"2")
    await asyncio.sleep(QUIET)
    await inbox.receives(b"1")
    await subscription.resume()
    await inbox.receives(b"1", b"2")


@check()
async def draining_waits_for_what_is_in_flight(b: Bench) -> None:
    inbox = Inbox()
    inbox.held.clear()
    subscription = await b.broker.subscribe(Topic("t", in_flight=1), inbox)
    await _publish(b.broker, b"1", b"2")
    await inbox.until(lambda: inbox.busy == 1, "the first message")
    draining = Crew("draining").start(subscription.drain(PATIENCE))
    await asyncio.sleep(QUIET)
    assert not draining.done() and inbox.data == [b"1"]
    inbox.held.set()
    await draining
    await subscription.close()
    assert inbox.data == [b"1"]
    await b.broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1", b"2")


@check()
async def what_a_closing_subscription_had_in_flight_is_released_at_once(b: Bench) -> None:
    stuck, inbox = Inbox(), Inbox()
    stuck.held.clear()
    subscription = await b.broker.subscribe(Topic("t"), stuck)
    await _publish(b.broker, b"1")
    await stuck.until(lambda: stuck.busy == 1, "the message")
    await subscription.drain(0.01)
    await subscription.close()
    assert stuck.busy == 0
    await b.broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1")
    assert inbox.got[0].attempt <= 1


@check()
async def closing_a_subscription_twice_is_safe(b: Bench) -> None:
    subscription = await b.broker.subscribe(Topic("t"), Inbox())
    await subscription.close()
    await subscription.close()


@check(needs=Feature.REDELIVERY)
async def a_failed_message_comes_back_until_it_is_accepted(b: Bench) -> None:
    inbox = Inbox()
    inbox.answer = lambda message: Verdict.ACK if len(inbox.got) == 3 else Verdict.RETRY
    await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, b"1")
    await inbox.receives(b"1", b"1", b"1")
    await asyncio.sleep(QUIET)
    assert len(inbox.got) == 3
    assert [message.attempt for message in inbox.got] in ([0, 0, 0], [1, 2, 3])


@check(needs=Feature.REDELIVERY)
async def a_failing_message_does_not_hold_the_others_back(b: Bench) -> None:
    inbox = Inbox(lambda message: Verdict.RETRY if message.data == b"poison" else Verdict.ACK)
    await b.broker.subscribe(Topic("t", in_flight=1), inbox)
    await _publish(b.broker, b"poison", b"1", b"2", b"3")
    await inbox.until(lambda: {b"1", b"2", b"3"} <= set(inbox.data), "the good messages")


@check(needs=Feature.REDELIVERY)
async def an_app_that_raises_against_the_contract_loses_nothing(b: Bench) -> None:
    inbox = Inbox()

    def answer(message: Message) -> Verdict:
        if len(inbox.got) == 1:
            raise RuntimeError("a defect of the app's caller")
        return Verdict.ACK

    inbox.answer = answer
    await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, b"1")
    await inbox.receives(b"1", b"1")


@check(needs=Feature.REDELIVERY)
async def what_failed_before_a_close_comes_to_the_next_subscription(b: Bench) -> None:
    failing, inbox = Inbox(lambda message: Verdict.RETRY), Inbox()
    subscription = await b.broker.subscribe(Topic("t"), failing)
    await _publish(b.broker, b"1")
    await failing.until(lambda: bool(failing.got) and failing.busy == 0, "the message")
    await subscription.close()
    await b.broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1")


@check(needs=Feature.MESSAGE_TTL)
async def what_expired_is_not_delivered(b: Bench) -> None:
    now, inbox = b.broker.context.clock.now(), Inbox()
    await b.broker.publish(Publication("t", b"late", expires_at=now - 1))
    await b.broker.publish(Publication("t", b"in time", expires_at=now + 60))
    await b.broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"in time")


@check(needs=Feature.ORDER_KEY | Feature.REDELIVERY)
async def messages_of_one_key_stay_in_order_even_when_one_fails(b: Bench) -> None:
    inbox, failed = Inbox(), set[bytes]()

    def answer(message: Message) -> Verdict:
        if message.data.endswith(b"2") and message.data not in failed:
            failed.add(message.data)
            return Verdict.RETRY
        return Verdict.ACK

    inbox.answer = answer
    await b.broker.subscribe(Topic("t", in_flight=8), inbox)
    for number in range(6):
        for key in "abc":
            await _publish(b.broker, f"{key}{number}".encode(), order_key=key)
    await inbox.until(lambda: len(inbox.got) == 21, "all messages")
    for initial in (b"a", b"b", b"c"):
        order = [data[1:] for data in inbox.data if data[:1] == initial]
        assert order == [b"0", b"1", b"2", b"2", b"3", b"4", b"5"], order


@check(needs=Feature.SUBSCRIBE_WILDCARDS)
async def a_wildcard_hears_the_topics_below_it(b: Bench) -> None:
    inbox = Inbox()
    await b.broker.subscribe(Topic("orders*"), inbox)
    await _publish(b.broker, b"1", topic="orders.new")
    await _publish(b.broker, b"2", topic="order")
    await _publish(b.broker, b"3", topic="orders")
    await inbox.receives(b"1")
    assert inbox.got[0].topic == "orders.new"


@check(shared=True)
async def a_new_group_begins_at_the_oldest_message_kept(b: Bench) -> None:
    inbox = Inbox()
    await _publish(b.broker, b"1", b"2")
    await b.broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1", b"2")


@check(shared=True)
async def every_group_gets_every_message(b: Bench) -> None:
    assert b.join
    mine, theirs = Inbox(), Inbox()
    other = await b.join("two")
    await b.broker.subscribe(Topic("t"), mine)
    await other.subscribe(Topic("t"), theirs)
    await _publish(b.broker, b"1")
    await _publish(other, b"2")
    await mine.receives(b"1", b"2")
    await theirs.receives(b"1", b"2")


@check(shared=True)
async def the_members_of_a_group_share_its_messages(b: Bench) -> None:
    assert b.join
    inbox, twin = Inbox(), await b.join("one")
    shares = {"first": 0, "second": 0}

    def taker(name: str) -> Deliver:
        async def take(message: Message) -> Verdict:
            shares[name] += 1
            await asyncio.sleep(0.001)
            return await inbox(message)

        return take

    await b.broker.subscribe(Topic("t", in_flight=1), taker("first"))
    await twin.subscribe(Topic("t", in_flight=1), taker("second"))
    sent = [b"%02d" % number for number in range(60)]
    await b.broker.publish_many([Publication("t", each) for each in sent])
    await inbox.receives(*sent)
    assert min(shares.values()) > 0, shares


@check(shared=True)
async def a_member_that_leaves_hands_its_work_to_the_others(b: Bench) -> None:
    assert b.join
    stuck, inbox = Inbox(), Inbox()
    stuck.held.clear()
    twin = await b.join("one")
    await twin.subscribe(Topic("t"), stuck)
    await _publish(b.broker, b"1", b"2")
    await stuck.until(lambda: stuck.busy == 2, "both messages")
    await b.broker.subscribe(Topic("t"), inbox)
    await twin.close()
    await inbox.receives(b"1", b"2")


@check()
async def a_closed_driver_takes_nothing(b: Bench) -> None:
    await b.broker.close()
    try:
        await _publish(b.broker, b"1")
    except Unavailable:
        return
    raise AssertionError("expected Unavailable")


@check()
async def closing_ends_every_subscription_and_is_safe_twice(b: Bench) -> None:
    inbox = Inbox()
    inbox.held.clear()
    await b.broker.subscribe(Topic("t"), inbox)
    await _publish(b.broker, b"1")
    await inbox.until(lambda: inbox.busy == 1, "the message")
    await b.broker.close()
    assert inbox.busy == 0
    await b.broker.close()
