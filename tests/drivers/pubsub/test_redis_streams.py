"""pubsub.redis against a real server: what lies in the stream, who takes over from whom, and servers that come and go."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio
from support.broker_process import BrokerProcess, Job
from support.redis_server import RedisServer
from support.waiting import eventually

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.pubsub.redis import RedisPubSub
from pillion.model.pubsub import Publication, Topic, Verdict
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.conformance.pubsub import Inbox

pytestmark = pytest.mark.needs("redis-server")

KIND = "pubsub.redis/v1"


class Yard:
    """A server, and whatever drivers a test opens on it."""

    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.told: list[tuple[bool, str]] = []
        self._stack = stack

    async def open(self, **metadata: str) -> RedisPubSub:
        given = {"redisHost": self.server.address, "consumerID": "app", **metadata}
        context = Context(name="pubsub", health=lambda well, reason: self.told.append((well, reason)))
        broker = RedisPubSub(read(RedisPubSub.spec.settings, given), context)
        await broker.open()
        self._stack.push_async_callback(broker.close)
        return broker

    async def look(self) -> "redis.asyncio.Redis":
        """A plain client, to see what is really there."""
        client = redis.asyncio.Redis(port=self.server.port, protocol=2)
        self._stack.push_async_callback(client.aclose)
        return client


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with RedisServer(tmp_path, durable=True) as server, AsyncExitStack() as stack:
        yield Yard(server, stack)


# At rest.


async def test_an_entry_lies_in_the_stream_as_dapr_writes_it(yard: Yard) -> None:
    broker, client = await yard.open(), await yard.look()
    await broker.publish(Publication("orders", b"\x00\xff", "image/png", {"rawPayload": "true", "a": "b"}))
    [(_, fields)] = await client.xrange("orders")
    assert fields == {b"data": b"\x00\xff", b"metadata": b'{"a":"b","rawPayload":"true"}'}


async def test_the_group_and_its_consumer_are_named_by_the_consumer_id(yard: Yard) -> None:
    broker, client, inbox = await yard.open(), await yard.look(), Inbox()
    inbox.held.clear()
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.until(lambda: inbox.busy == 1, "the message")
    assert [group["name"] for group in await client.xinfo_groups("orders")] == [b"app"]
    assert [one["name"] for one in await client.xinfo_consumers("orders", "app")] == [b"app"]


async def test_what_daprs_driver_published_is_delivered(yard: Yard) -> None:
    broker, client, inbox = await yard.open(), await yard.look(), Inbox()
    await client.xadd("orders", {"data": b'{"id":"1"}', "metadata": json.dumps({"foo": "bar"})})
    await client.xadd("orders", {"data": b"older versions wrote no metadata"})
    await broker.subscribe(Topic("orders", in_flight=1), inbox)
    await inbox.receives(b'{"id":"1"}', b"older versions wrote no metadata")
    assert [dict(message.metadata) for message in inbox.got] == [{"foo": "bar"}, {}]


async def test_an_accepted_entry_is_no_longer_pending(yard: Yard) -> None:
    broker, client, inbox = await yard.open(), await yard.look(), Inbox()
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.receives(b"1")
    await eventually(lambda: _pending(client, 0))


async def _pending(client: "redis.asyncio.Redis", count: int) -> bool:
    return bool((await client.xpending("orders", "app"))["pending"] == count)


async def test_a_topic_is_trimmed_to_about_its_length(yard: Yard) -> None:
    broker, client = await yard.open(maxLenApprox="100"), await yard.look()
    for _ in range(10):
        await broker.publish_many([Publication("orders", b"x") for _ in range(100)])
    assert await client.xlen("orders") < 400


async def test_a_topic_is_trimmed_by_age(yard: Yard) -> None:
    broker, client = await yard.open(streamTTL="1h"), await yard.look()
    for number in range(1, 300):
        await client.xadd("orders", {"data": b"long ago"}, id=f"{number}-0")
    await broker.publish(Publication("orders", b"now"))
    assert await client.xlen("orders") < 200


async def test_a_pending_entry_that_was_deleted_is_forgotten(yard: Yard) -> None:
    broker, client = await yard.open(), await yard.look()
    inbox = Inbox(lambda message: Verdict.RETRY)
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.until(lambda: bool(inbox.got), "the message")
    await client.xdel("orders", inbox.got[0].id)
    await eventually(lambda: _pending(client, 0))


async def test_a_failed_message_is_accepted_where_ack_on_error_says_so(yard: Yard) -> None:
    broker, client = await yard.open(ackOnError="true"), await yard.look()
    inbox = Inbox(lambda message: Verdict.RETRY)
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.receives(b"1")
    await eventually(lambda: _pending(client, 0))


# Who takes over from whom.


async def test_a_slow_handler_of_a_live_process_is_not_doubled(yard: Yard) -> None:
    slow, other = Inbox(), Inbox()
    slow.held.clear()
    settings = {"processingTimeout": "300ms", "redeliverInterval": "50ms"}
    first, second = await yard.open(**settings), await yard.open(**settings)
    await first.subscribe(Topic("orders"), slow)
    await first.publish(Publication("orders", b"1"))
    await slow.until(lambda: slow.busy == 1, "the message")
    await second.subscribe(Topic("orders"), other)
    await asyncio.sleep(1)
    slow.held.set()
    await asyncio.sleep(0.4)
    assert (slow.data, other.data) == ([b"1"], [])


async def test_a_message_at_rest_between_tries_is_not_taken_by_another(yard: Yard) -> None:
    failing, other = Inbox(lambda message: Verdict.RETRY), Inbox()
    settings = {"processingTimeout": "200ms", "redeliverInterval": "50ms"}
    first, second = await yard.open(**settings), await yard.open(**settings)
    await first.subscribe(Topic("orders"), failing)
    await first.publish(Publication("orders", b"1"))
    await failing.until(lambda: len(failing.got) >= 2, "the second try")
    await second.subscribe(Topic("orders"), other)
    await failing.until(lambda: len(failing.got) >= 4, "the fourth try")
    assert other.data == []
    assert [message.attempt for message in failing.got[:4]] == [1, 2, 3, 4]


async def test_a_killed_consumers_messages_go_to_another(yard: Yard) -> None:
    broker = await yard.open()
    settings = {"redisHost": yard.server.address, "consumerID": "app"}
    settings |= {"processingTimeout": "500ms", "redeliverInterval": "100ms"}
    sent = [b"%d" % number for number in range(300)]
    async with BrokerProcess(Job(KIND, settings, topic="orders", hold=0.01)) as victim:
        await broker.publish_many([Publication("orders", each) for each in sent])
        await eventually(lambda: len(victim.done) > 50)
        await victim.kill()
    async with BrokerProcess(Job(KIND, settings, topic="orders")) as heir:
        wanted = {each.decode() for each in sent}
        await eventually(lambda: set(victim.done) | set(heir.done) == wanted)
    doubled = sum(count - 1 for count in Counter([*victim.done, *heir.done]).values())
    assert doubled <= 20  # at most what was in flight, and what was done but not yet acknowledged


# Servers that come and go.


class Counting:
    """Publishes numbered messages for as long as it is let, and remembers which the broker said it has."""

    def __init__(self, broker: RedisPubSub) -> None:
        self.broker = broker
        self.kept: set[bytes] = set()
        self.refusals = 0
        self.go_on = True

    async def more(self, count: int) -> None:
        wanted = len(self.kept) + count
        await eventually(lambda: len(self.kept) > wanted)

    async def run(self) -> None:
        number = 0
        while self.go_on:
            number += 1
            try:
                await self.broker.publish(Publication("orders", b"%d" % number))
            except DriverError as error:
                assert isinstance(error, Unavailable), error
                self.refusals += 1
                await asyncio.sleep(0.01)
            else:
                self.kept.add(b"%d" % number)


@pytest.mark.timeout(40)
async def test_a_server_killed_and_started_again_loses_nothing_it_had_accepted(yard: Yard) -> None:
    broker = await yard.open(processingTimeout="1s", redeliverInterval="200ms", redisMaxRetries="-1")
    inbox = Inbox(
        lambda message: Verdict.RETRY if message.attempt == 1 and message.data[-1:] == b"7" else Verdict.ACK
    )
    await broker.subscribe(Topic("orders"), inbox)
    counting = Counting(broker)
    running = asyncio.create_task(counting.run())
    for _ in range(2):
        await counting.more(300)
        await yard.server.kill()
        await eventually(lambda: not yard.told[-1][0] if yard.told else False)
        await yard.server.start()
    await counting.more(300)
    counting.go_on = False
    await running
    await eventually(lambda: counting.kept <= set(inbox.data), timeout=15)
    assert counting.refusals
    await eventually(lambda: yard.told[-1] == (True, ""))


@pytest.mark.timeout(30)
async def test_a_server_that_lost_its_data_is_used_afresh(tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as server, AsyncExitStack() as stack:
        broker, inbox = await Yard(server, stack).open(), Inbox()
        await broker.subscribe(Topic("orders"), inbox)
        await broker.publish(Publication("orders", b"1"))
        await inbox.receives(b"1")
        await server.kill()
        await server.start()
        await eventually(lambda: published(broker, b"2"))
        await inbox.receives(b"1", b"2")


@pytest.mark.timeout(30)
async def test_a_group_deleted_under_us_is_made_anew(yard: Yard) -> None:
    broker, client, inbox = await yard.open(), await yard.look(), Inbox()
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.receives(b"1")
    await client.flushall()
    await broker.publish(Publication("orders", b"2"))
    await inbox.receives(b"1", b"2")


@pytest.mark.timeout(30)
async def test_a_frozen_server_is_unavailable_and_recovers(yard: Yard) -> None:
    broker, inbox = await yard.open(readTimeout="200ms", redisMaxRetries="-1"), Inbox()
    await broker.subscribe(Topic("orders"), inbox)
    yard.server.freeze()
    with pytest.raises(Unavailable):
        await broker.publish(Publication("orders", b"lost or not, the caller knows"))
    await eventually(lambda: bool(yard.told) and not yard.told[-1][0])
    yard.server.thaw()
    await eventually(lambda: published(broker, b"after"))
    await inbox.until(lambda: b"after" in inbox.data, "what was published afterwards")
    await eventually(lambda: yard.told[-1] == (True, ""))


@pytest.mark.timeout(30)
async def test_what_was_done_while_the_server_was_away_is_not_taken_over(yard: Yard) -> None:
    settings = {"processingTimeout": "300ms", "redeliverInterval": "700ms"}
    broker, client, inbox = await yard.open(**settings), await yard.look(), Inbox()
    inbox.held.clear()
    await broker.subscribe(Topic("orders"), inbox)
    await broker.publish(Publication("orders", b"1"))
    await inbox.until(lambda: inbox.busy == 1, "the message")
    await yard.server.kill()
    inbox.held.set()
    await inbox.until(lambda: inbox.busy == 0, "the verdict")
    await asyncio.sleep(1.9)  # the verdict's next try is further off by now than that of looking for the dead
    await yard.server.start()
    await eventually(lambda: _pending(client, 0), 15)
    assert inbox.data == [b"1"]


async def test_no_more_is_read_ahead_than_the_queue_holds(yard: Yard) -> None:
    broker, client, inbox = await yard.open(queueDepth="12", concurrency="8"), await yard.look(), Inbox()
    inbox.held.clear()
    await broker.publish_many([Publication("orders", b"%d" % at) for at in range(40)])
    await broker.subscribe(Topic("orders"), inbox)
    await eventually(lambda: inbox.busy == 8)
    assert await _pending(client, 12)
    inbox.held.set()
    await inbox.receives(*[b"%d" % at for at in range(40)])


async def published(broker: RedisPubSub, data: bytes) -> bool:
    try:
        await broker.publish(Publication("orders", data))
    except Unavailable:
        return False
    return True


async def test_closing_while_the_server_is_gone_does_not_hang(yard: Yard) -> None:
    broker = await yard.open(readTimeout="200ms")
    await broker.subscribe(Topic("orders"), Inbox())
    await yard.server.kill()
    async with asyncio.timeout(8):
        await broker.close()


# Signing in.


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = RedisServer(tmp_path)
        await stack.enter_async_context(server)
        await server.command("CONFIG", "SET", "requirepass", "secret")
        with pytest.raises(Refused, match="WRONGPASS|invalid"):
            await Yard(server, stack).open(redisPassword="wrong")
        await Yard(server, stack).open(redisPassword="secret")


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable, match="dial tcp 127.0.0.1"):
            await Yard(RedisServer(tmp_path), stack).open(redisMaxRetries="-1")


async def test_signing_in_that_is_not_built_is_refused_rather_than_skipped(yard: Yard) -> None:
    with pytest.raises(Refused, match="Entra ID"):
        await yard.open(useEntraID="true")
