"""state.redis against a real server: what lies there, and what becomes of it when the server goes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.redis_server import RedisServer
from support.waiting import eventually

from pillion.contracts.words import EtagInvalid, EtagMismatch, Refused, Unavailable
from pillion.drivers.state.redis import RedisStateSettings, RedisStore
from pillion.model.state import Consistency, Delete, Entry, Guard, Put
from pillion.plug.component import Context
from pillion.plug.settings import read

pytestmark = pytest.mark.needs("redis-server")


@asynccontextmanager
async def opened(server: RedisServer, **metadata: str) -> AsyncIterator[RedisStore]:
    heard: list[bool] = []
    context = Context(name="rd", health=lambda ok, _: heard.append(ok))
    store = RedisStore(read(RedisStateSettings, {"redisHost": server.address, **metadata}), context)
    store.heard = heard  # type: ignore[attr-defined]
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        await context.crew.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path) as running:
        yield running


async def hash_of(server: RedisServer, key: str) -> set[str]:
    """The words of a hash, fields and values."""
    told = (await server.command("HGETALL", f'"{key}"')).decode()
    return {line for line in told.split("\r\n") if line and line[0] not in "*$"}


async def test_a_key_is_a_hash_of_data_and_version(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.put(Put("appa||k1", b"v1"))
        await store.put(Put("appa||k1", b"v2"))
        assert await hash_of(server, "appa||k1") == {"data", "v2", "version", "2"}


async def test_a_first_write_is_marked_as_dapr_marks_it(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.put(Put("k", b"v", expect=Guard.ABSENT))
        assert await hash_of(server, "k") == {"data", "v", "version", "1", "first-write", "0"}


async def test_what_dapr_wrote_is_read_and_replaced(server: RedisServer) -> None:
    await server.command("HSET", "k", "data", "7", "version", "41", "first-write", "0")
    async with opened(server) as store:
        assert await store.get("k") == Entry(b"7", "41")
        await store.put(Put("k", b"8", expect="41"))
        assert await store.get("k") == Entry(b"8", "42")


async def test_a_plain_string_is_read_without_an_etag_and_replaced_by_a_write(server: RedisServer) -> None:
    await server.command("SET", "k", "text")
    async with opened(server) as store:
        assert await store.get("k") == Entry(b"text")
        with pytest.raises(EtagMismatch):
            await store.put(Put("k", b"1", expect="1"))
        await store.put(Put("k", b"1"))
        assert await store.get("k") == Entry(b"1", "1")


async def test_a_hash_of_somebody_else_is_refused(server: RedisServer) -> None:
    await server.command("HSET", "k", "data", "7")
    async with opened(server) as store:
        with pytest.raises(Refused, match="required hash field 'data' or 'version' was not found"):
            await store.get("k")


async def test_an_etag_that_is_no_number_is_invalid_for_a_write(server: RedisServer) -> None:
    async with opened(server) as store:
        with pytest.raises(EtagInvalid, match='strconv.Atoi: parsing "xyz": invalid syntax'):
            await store.put(Put("k", b"1", expect="xyz"))
        with pytest.raises(EtagMismatch, match="failed to delete k"):
            await store.delete(Delete("k", expect="xyz"))


async def test_values_live_as_long_as_the_component_says(server: RedisServer) -> None:
    async with opened(server, ttlInSeconds="600") as store:
        assert store.lifetime == 600


async def test_a_server_that_forgot_the_script_is_told_it_again(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.put(Put("k", b"1"))
        await server.command("SCRIPT", "FLUSH")
        await asyncio.gather(*[store.put(Put("k", b"%d" % at)) for at in range(10)])
        assert await store.get("k") == Entry(b"9", "11")


async def test_a_strong_write_waits_for_the_replicas(server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    replica = RedisServer(tmp_path / "second", options=("--replicaof", "127.0.0.1", str(server.port)))
    async with replica:
        await eventually(lambda: _is_following(server))
        async with opened(server) as store:
            await asyncio.gather(
                *[store.put(Put(f"k{at}", b"1", consistency=Consistency.STRONG)) for at in range(5)]
            )
            assert (await replica.command("EXISTS", *[f"k{at}" for at in range(5)])).strip() == b":5"


async def _is_following(server: RedisServer) -> bool:
    return b"connected_slaves:1" in await server.command("INFO", "replication")


async def test_the_password_and_the_database_are_used(tmp_path: Path) -> None:
    async with RedisServer(
        tmp_path, options=("--user", "someone", "on", ">pw", "~*", "&*", "+@all")
    ) as server:
        async with opened(server, redisUsername="someone", redisPassword="pw", redisDB="3") as store:
            await store.put(Put("k", b"1"))
            assert b"db3:keys=1" in await server.command("INFO", "keyspace")
        with pytest.raises(Refused, match="WRONGPASS"):
            async with opened(server, redisUsername="someone", redisPassword="wrong"):
                pass


async def test_opening_without_a_server_says_where(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with pytest.raises(Unavailable, match=f"dial tcp {server.address}: connect: connection refused"):
        async with opened(server):
            pass


@pytest.mark.parametrize("metadata", [{"queryIndexes": "[]"}, {"useEntraID": "true"}])
async def test_what_is_not_built_is_refused(server: RedisServer, metadata: dict[str, str]) -> None:
    with pytest.raises(Refused):
        async with opened(server, **metadata):
            pass


async def test_a_server_that_falls_silent_is_given_up(server: RedisServer) -> None:
    async with opened(server, readTimeout="200ms") as store:
        server.freeze()
        try:
            with pytest.raises(Unavailable, match="the connection was lost before the answer"):
                await store.get("k")
        finally:
            server.thaw()
        await eventually(lambda: _reads(store))


async def _reads(store: RedisStore) -> bool:
    try:
        await store.get("k")
    except Unavailable:
        return False
    return True


async def test_a_server_that_comes_back_is_found_and_health_is_told(server: RedisServer) -> None:
    async with opened(server) as store:
        await server.kill()
        await eventually(lambda: _refuses(store))
        await server.start()
        await eventually(lambda: _reads(store))
        await eventually(lambda: store.heard == [False, True])  # type: ignore[attr-defined]


async def _refuses(store: RedisStore) -> bool:
    try:
        await store.get("k")
    except Unavailable as error:
        return "connection refused" in str(error)
    return False


async def test_one_connection_carries_all(server: RedisServer) -> None:
    async with opened(server) as store:
        await asyncio.gather(*[store.put(Put(f"k{at}", b"1")) for at in range(500)])
        assert await store.get_many([f"k{at}" for at in range(500)]) == [Entry(b"1", "1")] * 500
        clients = await server.command("CLIENT", "LIST")
        assert clients.count(b"id=") == 2  # the store's, and the one that asks


async def test_nobody_waits_for_ever_after_a_cancelled_caller(server: RedisServer) -> None:
    async with opened(server) as store:
        server.freeze()
        asking = asyncio.get_running_loop().create_task(store.get("k"))
        await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        server.thaw()
        await store.put(Put("k", b"1"))
        assert await store.get("k") == Entry(b"1", "1")


@pytest.mark.timeout(60)
async def test_no_acknowledged_write_is_lost_and_none_is_done_twice_when_the_server_dies(
    tmp_path: Path,
) -> None:
    """Writers count one key each upwards by etag; the server is killed and started three times meanwhile."""
    async with RedisServer(tmp_path, durable=True) as server, opened(server) as store:
        done = asyncio.Event()
        writers = [Counting(store, f"k{at}", done) for at in range(8)]
        working = asyncio.gather(*[writer.run() for writer in writers])
        for _ in range(3):
            reached = [writer.acknowledged + 20 for writer in writers]
            await eventually(
                lambda low=reached: all(w.acknowledged > n for w, n in zip(writers, low, strict=True)), 20
            )
            await server.kill()
            await server.start()
        reached = [writer.acknowledged + 5 for writer in writers]
        await eventually(
            lambda low=reached: all(w.acknowledged > n for w, n in zip(writers, low, strict=True)), 20
        )
        done.set()
        await working
        for writer in writers:
            entry = await store.get(writer.key)
            assert entry is not None
            # Every write raises the version by one: as many happened as were acknowledged or left in doubt.
            assert int(entry.value) >= writer.acknowledged
            assert int(entry.etag or 0) == int(entry.value)
        assert sum(writer.doubts for writer in writers) > 0


class Counting:
    """A writer that raises a number, each time from what is there."""

    def __init__(self, store: RedisStore, key: str, done: asyncio.Event) -> None:
        self.store, self.key, self.done = store, key, done
        self.acknowledged = 0
        self.doubts = 0

    async def run(self) -> None:
        while not self.done.is_set():
            try:
                entry = await self.store.get(self.key)
                reached = int(entry.value) if entry else 0
                assert reached >= self.acknowledged, "an acknowledged write was lost"
                expect = (entry.etag or "") if entry else Guard.ABSENT
                await self.store.put(Put(self.key, b"%d" % (reached + 1), expect=expect))
                self.acknowledged = reached + 1
            except Unavailable:
                self.doubts += 1
                await asyncio.sleep(0.005)
