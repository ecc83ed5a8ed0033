"""Single keys of a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.redis_server import RedisServer
from support.waiting import eventually

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.bindings.redis import RedisBinding
from pillion.plug.component import Context
from pillion.plug.settings import read

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def binding(server: RedisServer) -> AsyncIterator[RedisBinding]:
    context = Context(name="rd")
    made = RedisBinding(read(RedisBinding.spec.settings, {"redisHost": server.address}), context)
    await made.open()
    yield made
    await made.close()
    await context.crew.close()


async def value(binding: RedisBinding, key: str, **more: str) -> bytes | None:
    reply = await binding.invoke("get", b"", {"key": key, **more})
    assert reply is not None
    return reply.data


async def test_a_key_is_kept_as_it_is_named(binding: RedisBinding, server: RedisServer) -> None:
    assert await binding.invoke("create", b'{"a":1}', {"key": "k1"}) is None
    assert await value(binding, "k1") == b'{"a":1}'
    assert b'{"a":1}' in await server.command("GET", "k1")


async def test_a_key_that_is_not_there_is_empty(binding: RedisBinding) -> None:
    assert await value(binding, "nobody") == b""


async def test_reading_can_take_the_key_away(binding: RedisBinding) -> None:
    await binding.invoke("create", b"v", {"key": "k"})
    assert await value(binding, "k", delete="true") == b"v"
    assert await value(binding, "k") == b""


async def test_a_key_is_deleted(binding: RedisBinding) -> None:
    await binding.invoke("create", b"v", {"key": "k"})
    assert await binding.invoke("delete", b"", {"key": "k"}) is None
    assert await value(binding, "k") == b""


async def test_a_key_is_incremented_without_an_answer(binding: RedisBinding) -> None:
    for _ in range(3):
        assert await binding.invoke("increment", b"", {"key": "n"}) is None
    assert await value(binding, "n") == b"3"


@pytest.mark.parametrize("operation", ["create", "increment"])
async def test_a_lifetime_ends_the_key(binding: RedisBinding, server: RedisServer, operation: str) -> None:
    await binding.invoke(operation, b"1", {"key": "t", "ttlInSeconds": "50"})
    assert (await server.command("TTL", "t")).startswith((b":50", b":49"))


@pytest.mark.parametrize("seconds", ["abc", "0", "-5", "1.5"])
async def test_a_lifetime_that_is_none_writes_nothing(binding: RedisBinding, seconds: str) -> None:
    with pytest.raises(Refused, match="ttlInSeconds must be a whole number"):
        await binding.invoke("create", b"1", {"key": "t", "ttlInSeconds": seconds})
    assert await value(binding, "t") == b""


async def test_a_request_names_its_key(binding: RedisBinding) -> None:
    with pytest.raises(Refused, match="^redis binding: missing key in request metadata$"):
        await binding.invoke("create", b"1", {})


async def test_what_the_server_refuses_says_why(binding: RedisBinding) -> None:
    await binding.invoke("create", b"text", {"key": "k"})
    with pytest.raises(Refused, match="not an integer"):
        await binding.invoke("increment", b"", {"key": "k"})


async def test_a_server_that_went_away_is_said_to_be_and_used_again_when_back(
    binding: RedisBinding, server: RedisServer
) -> None:
    async def works() -> bool:
        try:
            await binding.invoke("create", b"v", {"key": "k"})
        except Unavailable:
            return False
        return True

    assert await works()
    await server.kill()
    assert not await works()
    await server.start()
    await eventually(works)
