"""One connection to one Redis server, shared by all who ask: commands of one turn of the loop leave in one write.

The official client gives each command a connection of its own and costs ten times as much per command. It stays the way to
clusters, sentinels and TLS (`redis_client`); both are reached by the same two calls (`Lane`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol, cast

import hiredis

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.redis_client import RedisDoor, in_our_words, said_by_the_server
from pillion.drivers.clients.redis_settings import RedisSettings, seconds
from pillion.plug.component import Context
from pillion.toolbox.backoff import Backoff

Word = bytes | str | int
WAITING: Final = 16_384
"""Commands that may wait for their answers; one more is refused as overload."""
_BREATH: Final = 0.05
"""Seconds after a failed attempt during which nobody tries again."""
_BACKOFF: Final = Backoff(timedelta(milliseconds=50), timedelta(seconds=2))


class Lane(Protocol):
    """A way to a server. `stepped` as in `Component`: whether calls may be made outside a task."""

    stepped: bool

    async def open(self) -> None:
        """Connect; raises Unavailable or Refused."""

    async def close(self) -> None:
        """Safe unopened and safe twice."""

    async def call(self, *words: Word) -> Any:
        """One command and its answer. Never sent twice: a connection lost in between is Unavailable, and the command
        may or may not have been done."""


def lane(settings: RedisSettings, context: Context) -> Lane:
    """The cheapest way that reaches what the settings describe."""
    if settings.redis_type == "cluster" or settings.failover or settings.enable_tls:
        return ClientLane(settings)
    return RedisPipe(settings, context)


class ClientLane:
    """The official client, its own repetitions switched off. It times its calls, which needs a task."""

    stepped = False

    def __init__(self, settings: RedisSettings) -> None:
        self._door = RedisDoor(settings)
        self._client: Any = None

    async def open(self) -> None:
        self._client = await self._door.open(retries=False)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
        self._door.close()

    async def call(self, *words: Word) -> Any:
        if self._client is None:
            raise Unavailable(f"{self._door.where} is not open")
        with in_our_words(self._door.where):
            return await self._client.execute_command(*words)


class RedisPipe:
    """The shared connection. Lost, it is dialled again: at once by the next who asks, and in the background until it
    stands. Who asks while an attempt is under way waits for that attempt; if it fails they are told why."""

    stepped = True

    def __init__(self, settings: RedisSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._wire: _Wire | None = None
        self._attempt: asyncio.Future[_Wire] | None = None
        self._failure: tuple[float, DriverError] | None = None
        self._closed = False
        self._mender: asyncio.Task[None] | None = None
        """Dials again while the connection is lost."""

    async def open(self) -> None:
        self._settings.check()
        await self._connected()

    async def close(self) -> None:
        self._closed = True
        mender = self._mender
        if mender is not None and not mender.done():
            mender.cancel()
            await asyncio.wait((mender,), timeout=1.0)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def call(self, *words: Word) -> Any:
        wire = self._wire or await self._connected()
        return await wire.send(words)

    async def _connected(self) -> "_Wire":
        if self._closed:
            raise Unavailable("the connection was closed")
        if self._attempt is None:
            if self._failure is not None and time.monotonic() - self._failure[0] < _BREATH:
                raise _again(self._failure[1])
            self._attempt = told = asyncio.get_running_loop().create_future()
            name = f"{self._context.name}: connect"
            self._context.crew.start(self._try(told), name).add_done_callback(lambda _: self._settle(told))
        try:
            return await asyncio.shield(self._attempt)
        except DriverError as error:
            raise _again(error) from None

    async def _try(self, told: "asyncio.Future[_Wire]") -> None:
        try:
            wire = await self._dial()
        except DriverError as error:
            self._attempt, self._failure = None, (time.monotonic(), error)
            told.set_exception(error)
            told.exception()  # it counts as seen even if whoever waited has gone
        else:
            self._attempt, self._wire = None, wire
            told.set_result(wire)

    def _settle(self, told: "asyncio.Future[_Wire]") -> None:
        """Nobody waits for ever: an attempt that was cancelled, even before it began, has an end too."""
        if not told.done():
            self._attempt = None
            told.set_exception(Unavailable("the connection was closed"))
            told.exception()

    async def _dial(self) -> "_Wire":
        settings = self._settings
        host, port = settings.addresses[0]
        patience = seconds(settings.read_timeout, "readTimeout")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.dial_timeout.total_seconds()):
                _, wire = await loop.create_connection(
                    lambda: _Wire(f"redis at {host}:{port}", patience, self._lost), host, port
                )
                await _sign_in(wire, settings)
        except TimeoutError:
            raise Unavailable(f"dial tcp {host}:{port}: i/o timeout") from None
        except ConnectionRefusedError:
            raise Unavailable(f"dial tcp {host}:{port}: connect: connection refused") from None
        except OSError as error:
            raise Unavailable(f"dial tcp {host}:{port}: {error.strerror or error}") from error
        return wire

    def _lost(self, wire: "_Wire") -> None:
        if wire is not self._wire:
            return
        self._wire = None
        self._context.health(False, f"{wire.where}: the connection was lost")
        if not self._closed and (self._mender is None or self._mender.done()):
            self._mender = self._context.crew.start(self._mend(), f"{self._context.name}: reconnect")

    async def _mend(self) -> None:
        tries = 0
        while self._wire is None and not self._closed:
            try:
                await self._connected()
            except DriverError as error:
                if tries == 0:
                    self._context.log.warning("the connection is lost and is being dialled again: %s", error)
                await asyncio.sleep(_BACKOFF.seconds(tries))
                tries += 1
        if not self._closed:
            self._context.health(True, "")


async def _sign_in(wire: "_Wire", settings: RedisSettings) -> None:
    try:
        if settings.redis_password:
            user = (settings.redis_username,) if settings.redis_username else ()
            await wire.send(("AUTH", *user, settings.redis_password))
        if settings.redis_db:
            await wire.send(("SELECT", settings.redis_db))
        await wire.send(("PING",))
    except BaseException:
        wire.abort()
        raise


class _Wire(asyncio.Protocol):
    """The bytes: commands out in order, answers back in the same order."""

    def __init__(self, where: str, patience: float | None, lost: "Callable[[_Wire], None]") -> None:
        self.where = where
        self._patience = patience
        self._tell = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._scheduled = False
        self._held = False
        self._answered = 0
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()

    def send(self, words: tuple[Word, ...]) -> "asyncio.Future[Any]":
        """Queue one command; the future of its answer."""
        if self._transport is None:
            raise Unavailable(f"{self.where}: the connection was lost")
        if len(self._waiting) >= WAITING:
            raise Unavailable(f"{self.where} has too many commands waiting")
        self._out.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(answer)
        return answer

    async def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
            await asyncio.wait([self._over], timeout=1)

    def abort(self) -> None:
        """Close without another byte."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if self._patience is not None:
            self._watch = self._loop.call_later(self._patience / 2, self._look, -1, 0)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not False:
                self._answered += 1
                future = waiting.popleft()
                if future.done():
                    continue
                if isinstance(answer, hiredis.ReplyError):
                    future.set_exception(said_by_the_server(self.where, answer))
                else:
                    future.set_result(answer)
        except (hiredis.ProtocolError, IndexError):
            self.abort()  # not Redis, or an answer nobody asked for: order cannot be trusted any more

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(Unavailable(f"{self.where}: the connection was lost before the answer"))
        if not self._over.done():
            self._over.set_result(None)
        self._tell(self)

    def pause_writing(self) -> None:
        self._held = True

    def resume_writing(self) -> None:
        self._held = False
        self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        if self._out and self._transport is not None and not self._held:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _look(self, answered: int, seen: int) -> None:
        """Every half of the patience: who waits while two looks bring no answer at all waits in vain."""
        assert self._patience is not None
        stalled = bool(self._waiting) and answered == self._answered
        if stalled and seen:
            self.abort()
            return
        self._watch = self._loop.call_later(
            self._patience / 2, self._look, self._answered if self._waiting else -1, int(stalled)
        )


def _again(error: DriverError) -> DriverError:
    """The same word for another who asked: an exception is raised once."""
    return Refused(str(error)) if isinstance(error, Refused) else Unavailable(str(error))
