"""What is sent again and what is not, told by a server that misbehaves on cue."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis
import pytest
from support.waiting import eventually

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_lane import Lane, lane
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.plug.component import Context
from pillion.plug.settings import read

HANG_UP = object()
SILENCE = object()

Script = Callable[[str, int], bytes | object]
"""From a command and how often it has come so far to what the server does about it."""


class Stage:
    """A server that answers by a script, and knows what it was asked."""

    def __init__(self, script: Script) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self._script = script
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def address(self) -> str:
        assert self._server
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (words := parser.gets()) is not False:
                name = words[0].decode()
                self.asked.append(name)
                does = b"+PONG" if name == "PING" else self._script(name, self.asked.count(name))
                if does is HANG_UP:
                    writer.transport.abort()
                    return
                if isinstance(does, bytes):
                    writer.write(does + b"\r\n")


@asynccontextmanager
async def staged(script: Script, **metadata: str) -> AsyncIterator[tuple[Stage, Lane]]:
    stage, context = Stage(script), Context(name="rd")
    await stage.open()
    settings = read(RedisSettings, {"redisHost": stage.address, **metadata})
    way = lane(settings, context)
    try:
        await way.open()
        yield stage, way
    finally:
        await way.close()
        await context.crew.close()
        await stage.close()


async def test_a_write_that_was_out_when_the_connection_went_is_never_repeated() -> None:
    async with staged(lambda name, times: HANG_UP) as (stage, way):
        with pytest.raises(Unavailable, match="lost before the answer"):
            await way.call("INCR", "k")
        await eventually(lambda: stage.connections == 2)  # it is mended all the same
        assert stage.asked.count("INCR") == 1


async def test_a_reading_command_is_repeated_on_the_next_connection() -> None:
    async with staged(lambda name, times: HANG_UP if times < 3 else b"+v") as (stage, way):
        assert await way.call("GET", "k") == b"v"
        assert stage.asked.count("GET") == 3


async def test_a_command_that_was_never_sent_is_sent_on_the_next_connection() -> None:
    async with staged(lambda name, times: b":1") as (stage, way):
        answer = way.call("INCR", "k")
        way._wire.abort()  # type: ignore[attr-defined]
        assert await answer == 1
        assert stage.asked.count("INCR") == 1


@pytest.mark.parametrize("word", ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"])
async def test_what_the_server_did_not_do_is_asked_again(word: str) -> None:
    async with staged(lambda name, times: b"-%s not now" % word.encode() if times < 3 else b":1") as (
        stage,
        way,
    ):
        assert await way.call("INCR", "k") == 1
        assert stage.asked.count("INCR") == 3


async def test_after_the_tries_the_last_answer_is_told() -> None:
    async with staged(lambda name, times: b"-LOADING still", redisMaxRetries="2") as (stage, way):
        with pytest.raises(Unavailable, match="LOADING still"):
            await way.call("INCR", "k")
        assert stage.asked.count("INCR") == 3


async def test_minus_one_try_is_one_try() -> None:
    async with staged(lambda name, times: b"-LOADING still", redisMaxRetries="-1") as (stage, way):
        with pytest.raises(Unavailable):
            await way.call("GET", "k")
        assert stage.asked.count("GET") == 1


async def test_the_wait_between_tries_is_as_set() -> None:
    waits = {"redisMinRetryInterval": "200ms", "redisMaxRetries": "1"}
    async with staged(lambda name, times: b"-LOADING x" if times == 1 else b"+v", **waits) as (_, way):
        started = asyncio.get_running_loop().time()
        assert await way.call("GET", "k") == b"v"
        assert asyncio.get_running_loop().time() - started >= 0.1


async def test_a_refusal_is_final() -> None:
    async with staged(lambda name, times: b"-WRONGTYPE no") as (stage, way):
        with pytest.raises(Refused, match="WRONGTYPE no"):
            await way.call("INCR", "k")
        assert stage.asked.count("INCR") == 1


async def test_silence_ends_the_connection_and_is_not_waited_for_twice() -> None:
    async with staged(lambda name, times: SILENCE, readTimeout="100ms") as (stage, way):
        with pytest.raises(Unavailable):
            await way.call("GET", "k")
        assert stage.asked.count("GET") == 1


async def test_a_server_that_does_not_read_is_given_up_after_the_write_timeout() -> None:
    async with staged(lambda name, times: SILENCE, readTimeout="-1", writeTimeout="100ms") as (stage, way):
        for writer in stage._writers:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(Unavailable, match="lost"):
            await way.call("SET", "k", b"x" * 30_000_000)


async def test_signing_in_counts_as_dialling() -> None:
    async with staged(lambda name, times: SILENCE, dialTimeout="100ms") as (stage, _):
        with pytest.raises(Unavailable, match="i/o timeout"):
            settings = read(
                RedisSettings,
                {"redisHost": stage.address, "redisPassword": "pw", "dialTimeout": "100ms"},
            )
            context = Context(name="other")
            await lane(settings, context).open()
        await context.crew.close()


async def test_a_caller_who_has_gone_is_not_answered_and_nobody_else_is_given_the_answer() -> None:
    async with staged(lambda name, times: b"+%d" % times) as (_, way):
        first, second = way.call("GET", "k"), way.call("GET", "k")
        first.cancel()
        assert await second == b"2"


async def test_an_answer_nobody_asked_for_ends_the_connection() -> None:
    async with staged(lambda name, times: b"+1\r\n+2" if times == 1 else b"+v") as (stage, way):
        assert await way.call("SET", "k", "v") == b"1"
        await eventually(lambda: stage.connections == 2)
        assert await way.call("SET", "k", "v") == b"v"


async def test_closing_answers_those_who_wait_to_try_again() -> None:
    waits = {"redisMinRetryInterval": "300ms"}
    async with staged(lambda name, times: b"-LOADING x", **waits) as (stage, way):
        answer = way.call("GET", "k")
        await eventually(lambda: "GET" in stage.asked)
    with pytest.raises(Unavailable, match="closed|LOADING"):
        await answer


async def test_settings_without_effect_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with staged(lambda name, times: b"+v", poolSize="5", idleTimeout="1m"):
            pass
    said = [each for each in caplog.messages if "no effect" in each]
    assert said == ["rd: one connection carries all commands: poolSize, idleTimeout have no effect"]
