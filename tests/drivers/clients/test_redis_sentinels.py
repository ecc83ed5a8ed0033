"""A server that the sentinels name: found, followed when another takes its place, and refused in words that help."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_drivers import Counting, binding, broker, store
from support.redis_fleet import Fleet, Watched, watched
from support.waiting import eventually

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.pubsub.redis import RedisPubSub
from pillion.model.pubsub import Publication, Topic
from pillion.model.state import Consistency, Put
from pillion.testing.conformance.pubsub import Inbox

pytestmark = [pytest.mark.needs("redis-server"), pytest.mark.timeout(40)]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Watched]:
    with Fleet(tmp_path) as fleet:
        yield watched(fleet)


async def promoted(yard: Watched) -> bool:
    return yard.named() == yard.replica.port and yard.replica.ask("ROLE")[0] == b"master"


async def test_a_killed_master_is_replaced_and_no_strong_write_is_lost(yard: Watched) -> None:
    async with store(yard.metadata) as state:
        writers = [Counting(state, f"k{at}", Consistency.STRONG) for at in range(4)]
        running = asyncio.gather(*[writer.run() for writer in writers])
        await asyncio.gather(*[writer.more(20) for writer in writers])
        yard.master.kill()
        await asyncio.gather(*[writer.more(20, timeout=20) for writer in writers])
        assert yard.named() == yard.replica.port
        for writer in writers:
            writer.go_on = False
        await running
        assert sum(writer.doubts for writer in writers) > 0
        for writer in writers:
            entry = await state.get(writer.key)
            assert entry is not None
            assert int(entry.value) >= writer.acknowledged
        await eventually(lambda: state.told == [False, True])


async def test_a_master_that_became_a_replica_unseen_is_left(yard: Watched) -> None:
    """No connection is lost: only its answer tells."""
    async with store(yard.metadata) as state:
        await state.put(Put("k", b"old"))
        yard.replica.ask("REPLICAOF", "NO", "ONE")
        yard.sentinel.ask("SENTINEL", "REMOVE", "mymaster")
        yard.sentinel.ask("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", yard.replica.port, 1)
        yard.master.ask("REPLICAOF", "127.0.0.1", yard.replica.port)
        await state.put(Put("k", b"new"))  # refused by the one, done by the other
        assert yard.replica.ask("HGET", "k", "data") == b"new"


async def test_topics_go_on_after_the_master_was_killed(yard: Watched) -> None:
    inbox = Inbox()
    async with broker(yard.metadata) as pubsub:
        await pubsub.subscribe(Topic("orders"), inbox)
        await pubsub.publish(Publication("orders", b"before"))
        await inbox.receives(b"before")
        await eventually(lambda: yard.replica.ask("XLEN", "orders") == 1)
        yard.master.kill()
        await eventually(lambda: _published(pubsub, b"after"), 20)
        await inbox.until(lambda: b"after" in inbox.data, "what came after")
        await eventually(lambda: pubsub.told[-1], 10)


async def _published(pubsub: RedisPubSub, data: bytes) -> bool:
    try:
        await pubsub.publish(Publication("orders", data))
    except Unavailable:
        return False
    return True


async def test_the_binding_follows_the_master(yard: Watched) -> None:
    async with binding(yard.metadata) as redis:
        await redis.invoke("create", b"1", {"key": "b"})
        await eventually(lambda: yard.replica.ask("GET", "b") == b"1")
        yard.master.kill()
        await eventually(lambda: promoted(yard), 20)
        await eventually(lambda: _counts(redis), 10)


async def _counts(redis: object) -> bool:
    try:
        await redis.invoke("increment", b"", {"key": "b"})  # type: ignore[attr-defined]
    except Unavailable:
        return False
    return True


async def test_a_sentinel_that_is_down_is_passed_over(yard: Watched) -> None:
    hosts = f"127.0.0.1:1,{yard.sentinel.address}"
    async with store({**yard.metadata, "redisHost": hosts}) as state:
        await Counting(state, "k")._once()


async def test_a_cluster_of_type_behind_sentinels_is_their_one_server(yard: Watched) -> None:
    async with store(yard.metadata, redisType="cluster") as state:
        await Counting(state, "k")._once()


@pytest.mark.parametrize(
    ("wrong", "word", "why"),
    [
        ({"sentinelPassword": "no"}, Refused, "no sentinel names the server: .*WRONGPASS"),
        ({"sentinelPassword": ""}, Refused, "NOAUTH"),
        ({"redisPassword": "no"}, Refused, "WRONGPASS"),
        ({"sentinelMasterName": "other"}, Unavailable, "knows no server called other"),
        ({"redisHost": "127.0.0.1:1"}, Unavailable, "no sentinel names the server: dial tcp"),
    ],
)
async def test_what_is_wrong_is_said(
    yard: Watched, wrong: dict[str, str], word: type[DriverError], why: str
) -> None:
    with pytest.raises(word, match=why):
        async with store({**yard.metadata, **wrong}):
            pass


async def test_a_server_that_is_no_sentinel_is_refused(yard: Watched) -> None:
    plain = {**yard.metadata, "redisHost": yard.master.address, "sentinelPassword": "pw"}
    with pytest.raises(Refused, match="unknown command"):
        async with store(plain):
            pass
