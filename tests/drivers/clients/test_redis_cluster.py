"""A Redis cluster: keys on all its servers, slots that move under load, and a master that dies."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_drivers import Counting, binding, broker, store
from support.redis_fleet import Fleet, Joined, joined
from support.waiting import eventually

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_cluster import slot_of
from pillion.model.pubsub import Publication, Topic
from pillion.model.state import Entry, Put
from pillion.testing.conformance.pubsub import Inbox

pytestmark = [pytest.mark.needs("redis-server"), pytest.mark.timeout(40)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Joined]]:
    with Fleet(tmp_path_factory.mktemp("cluster")) as fleet:
        yield fleet, joined(fleet)


@pytest.fixture
def cluster(shared: tuple[Fleet, Joined]) -> Joined:
    shared[0].flush()
    return shared[1]


@pytest.mark.parametrize("key", ["k", "app||k1", "{tag}1", "a{b}c", "{}x", "{}{a}", "a{b", "ключ"])
def test_a_key_has_the_slot_the_server_gives_it(cluster: Joined, key: str) -> None:
    assert slot_of(key.encode()) == cluster.masters[0].ask("CLUSTER", "KEYSLOT", key)


async def test_keys_lie_on_every_server_and_are_found_again(cluster: Joined) -> None:
    keys = [f"k{at}" for at in range(60)]
    async with store(cluster.metadata) as state:
        assert await state.write_many([Put(key, key.encode()) for key in keys]) == [None] * 60
        assert await state.get_many(keys) == [Entry(key.encode(), "1") for key in keys]
        assert sorted([key async for key in state.keys("k")]) == sorted(keys)
    sizes = [server.ask("DBSIZE") for server in cluster.masters]
    assert min(sizes) > 0
    assert sum(sizes) == 60


async def test_a_transaction_whose_keys_share_a_slot_is_done_and_another_refused(cluster: Joined) -> None:
    async with store(cluster.metadata) as state:
        await state.transact([Put("{order}a", b"1"), Put("{order}b", b"2")])
        assert await state.get("{order}b") == Entry(b"2", "1")
        with pytest.raises(Refused, match="CROSSSLOT"):
            await state.transact([Put("a", b"1"), Put("b", b"2")])


async def test_topics_on_every_server_are_delivered_and_closing_does_not_wait(cluster: Joined) -> None:
    inboxes = {f"t{at}": Inbox() for at in range(6)}
    async with broker(cluster.metadata) as pubsub:
        for topic, inbox in inboxes.items():
            await pubsub.subscribe(Topic(topic), inbox)
        for topic in inboxes:
            assert await pubsub.publish_many([Publication(topic, topic.encode())] * 5) == [None] * 5
        for topic, inbox in inboxes.items():
            await inbox.receives(*[topic.encode()] * 5)
        assert len({cluster.holder(topic).port for topic in inboxes}) == 3
        started = asyncio.get_running_loop().time()
        await pubsub.close()
        assert asyncio.get_running_loop().time() - started < 1.0


async def test_the_binding_reaches_every_server(cluster: Joined) -> None:
    async with binding(cluster.metadata) as redis:
        for at in range(12):
            await redis.invoke("create", b"v", {"key": f"b{at}"})
    assert all(server.ask("DBSIZE") for server in cluster.masters)


async def test_wrong_credentials_are_refused(cluster: Joined) -> None:
    with pytest.raises(Refused, match="WRONGPASS"):
        async with store(cluster.metadata, redisUsername="nobody", redisPassword="no"):
            pass


async def test_a_server_that_is_no_cluster_is_refused(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        plain = {"redisHost": fleet.start().address, "redisType": "cluster"}
        with pytest.raises(Refused, match="cluster support disabled"):
            async with store(plain):
                pass


async def test_hosts_that_are_down_are_passed_over(cluster: Joined) -> None:
    async with store({**cluster.metadata, "redisHost": f"127.0.0.1:1,{cluster.masters[0].address}"}) as state:
        await state.put(Put("k", b"v"))
    with pytest.raises(Unavailable, match="no server of the cluster says"):
        async with store({**cluster.metadata, "redisHost": "127.0.0.1:1"}):
            pass


async def test_a_slot_moves_under_load_and_every_write_is_done_once(cluster: Joined) -> None:
    key = "{moving}1"
    slot, old = slot_of(key.encode()), cluster.holder(key)
    new = next(server for server in cluster.masters if server is not old)
    async with store(cluster.metadata, redisMaxRetries="20") as state:
        counting = [Counting(state, f"{{moving}}{at}") for at in range(4)]
        running = asyncio.gather(*[each.run() for each in counting])
        await asyncio.gather(*[each.more(10) for each in counting])
        new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old.ask("CLUSTER", "MYID"))
        old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new.ask("CLUSTER", "MYID"))
        await state.put(Put("{moving}fresh", b"1"))  # not on the old server: it says ASK
        await asyncio.gather(*[each.more(10) for each in counting])
        for each in counting:
            old.ask("MIGRATE", "127.0.0.1", new.port, each.key, 0, 1000)
            await each.more(10)
        for server in (new, old, *cluster.masters):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", new.ask("CLUSTER", "MYID"))
        await asyncio.gather(*[each.more(10) for each in counting])
        for each in counting:
            each.go_on = False
        await running
        assert [each.doubts for each in counting] == [0] * 4
        for each in counting:
            entry = await state.get(each.key)
            assert entry == Entry(b"%d" % each.acknowledged, str(each.acknowledged))
        assert cluster.holder(key) is new
        assert await state.get("{moving}fresh") == Entry(b"1", "1")


async def test_topics_follow_their_slot(cluster: Joined) -> None:
    topic, inbox = "{wandering}", Inbox()
    slot, old = slot_of(topic.encode()), cluster.holder(topic)
    new = next(server for server in cluster.masters if server is not old)
    async with broker(cluster.metadata) as pubsub:
        await pubsub.subscribe(Topic(topic), inbox)
        await pubsub.publish(Publication(topic, b"before"))
        await inbox.receives(b"before")
        new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old.ask("CLUSTER", "MYID"))
        old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new.ask("CLUSTER", "MYID"))
        old.ask("MIGRATE", "127.0.0.1", new.port, topic, 0, 1000)
        for server in (new, old, *cluster.masters):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", new.ask("CLUSTER", "MYID"))
        await pubsub.publish(Publication(topic, b"after"))
        await inbox.until(lambda: b"after" in inbox.data, "what came after")


async def test_a_killed_master_is_replaced_and_writes_go_on(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        cluster = joined(fleet, replicated=True)
        key = next(f"k{at}" for at in range(100) if slot_of(b"k%d" % at) <= 5460)
        async with store({**cluster.metadata, "redisHost": cluster.masters[0].address}) as state:
            writer = Counting(state, key)
            running = asyncio.create_task(writer.run())
            await writer.more(20)
            cluster.masters[0].kill()
            await writer.more(20, timeout=20)
            writer.go_on = False
            await running
            assert cluster.holder(key) is cluster.replica
            await eventually(lambda: state.told == [False, True], 10)
