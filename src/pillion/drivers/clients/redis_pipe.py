"""The way to one Redis server: one connection for all who ask, dialled again when it is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import (
    WAITING,
    Answer,
    Asked,
    Owner,
    Wire,
    Word,
    fail,
    packed,
    said_by_the_server,
    unpacked,
)
from pillion.plug.component import Context
from pillion.toolbox.backoff import Backoff

Dialling = Callable[[Owner], Awaitable[Wire]]
_BREATH: Final = 0.05
"""Seconds after a failed attempt during which nobody tries again."""
_BACKOFF: Final = Backoff(timedelta(milliseconds=50), timedelta(seconds=2))
_NOT_DONE: Final = ("LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN")
"""How an answer begins that says: nothing was done, ask again."""
_READING: Final = frozenset(
    {b"GET", b"HMGET", b"HGETALL", b"EXISTS", b"SCAN", b"XPENDING", b"INFO", b"PING", b"TTL"}
)
"""Commands that may be done twice."""


class Tries:
    """How often a command has been tried again, and how long the next try waits."""

    def __init__(self, limit: int, waits: Backoff) -> None:
        self._limit = limit
        self._waits = waits
        self._spent: dict[Answer, int] = {}

    def next(self, answer: Answer) -> float | None:
        """Seconds to wait before the next try; None when there is none."""
        spent = self._spent.get(answer, 0)
        if spent >= self._limit or len(self._spent) >= WAITING:
            return None
        if not spent:
            answer.add_done_callback(self._spent.pop)
        self._spent[answer] = spent + 1
        return self._waits.seconds(spent)


class RedisPipe:
    """A `Lane` to one server, whoever that is at the moment.

    Lost, the connection is dialled again: at once by the next who asks, and in the background until it stands. Who asks while an
    attempt is under way waits for that attempt. A command is sent again only if it certainly was not done, or only reads.

    | what happened                        | then                                          |
    |--------------------------------------|-----------------------------------------------|
    | no connection, quickly; or never sent | tried again, up to redisMaxRetries            |
    | the server says it did not do it      | tried again                                   |
    | lost while a reading one was out      | tried again                                   |
    | lost while a writing one was out      | Unavailable: it may or may not have been done |
    | silence, or a dial that ran out of time | Unavailable                                 |
    """

    def __init__(self, settings: RedisSettings, context: Context, dial: Dialling, tries: Tries) -> None:
        self._settings = settings
        self._context = context
        self._dial = dial
        self._tries = tries
        self._wire: Wire | None = None
        self._attempt: asyncio.Future[Wire] | None = None
        self._failure: tuple[float, DriverError] | None = None
        self._closed = False
        self._mender: asyncio.Task[None] | None = None
        """Dials again while the connection is lost."""

    async def open(self) -> None:
        await self.connected()

    async def close(self) -> None:
        self._closed = True
        mender = self._mender
        if mender is not None and not mender.done():
            mender.cancel()
            await asyncio.wait((mender,), timeout=1.0)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def call(self, *words: Word) -> Answer:
        wire = self._wire
        if wire is not None:
            return wire.send(words)
        answer = asyncio.get_running_loop().create_future()
        self.offer((answer, packed(*words)))
        return answer

    @property
    def is_busy(self) -> bool:
        """Whether anybody waits for an answer."""
        return self._wire is not None and self._wire.is_busy

    @property
    def is_connected(self) -> bool:
        return self._wire is not None

    def at(self, key: str) -> "RedisPipe":
        return self

    async def everywhere(self) -> "list[RedisPipe]":
        return [self]

    def offer(self, asked: Asked) -> None:
        """Send a packed command as soon as there is a connection."""
        answer, command = asked
        if answer.done():
            return
        if self._wire is not None:
            self._wire.put(answer, command)
        else:
            late = self._context.crew.start(self._late(asked), f"{self._context.name}: late command")
            late.add_done_callback(lambda task: fail(answer, _closed()) if task.cancelled() else None)

    async def connected(self) -> Wire:
        """The connection, dialled now if there is none."""
        if self._wire is not None:
            return self._wire
        if self._closed:
            raise _closed()
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

    # What a wire tells.

    def refused(self, wire: Wire, asked: Asked, error: Exception) -> None:
        text = str(error)
        if self._settings.failover and text.startswith("READONLY"):
            wire.abort()  # it is the master no more: the sentinels know who is
        if text.startswith(_NOT_DONE):
            self.again(asked, said_by_the_server(wire.where, error))
        else:
            fail(asked[0], said_by_the_server(wire.where, error))

    def lost(self, wire: Wire, sent: list[Asked], unsent: list[Asked]) -> None:
        ours, why = (
            wire is self._wire,
            Unavailable(f"{wire.where}: the connection was lost before the answer"),
        )
        if ours:
            self._wire = None
        for asked in sent:
            if ours and not wire.silent and unpacked(asked[1])[0] in _READING:
                self.again(asked, why)
            else:
                fail(asked[0], why)
        for asked in unsent:
            self.again(asked, why)
        if ours and not self._closed:
            self.mourn(wire)

    def again(self, asked: Asked, why: DriverError) -> None:
        """Try a command that was not done once more after a while, or say why not."""
        wait = None if self._closed else self._tries.next(asked[0])
        if wait is None:
            fail(asked[0], why)
        else:
            asyncio.get_running_loop().call_later(wait, self.reoffer, asked)

    def reoffer(self, asked: Asked) -> None:
        """The wait before another try is over."""
        self.offer(asked)

    def undialled(self) -> None:
        """A command has found no connection."""

    def mourn(self, wire: Wire) -> None:
        """The connection is lost: dial again in the background until it stands."""
        self._context.health(False, f"{wire.where}: the connection was lost")
        if self._mender is None or self._mender.done():
            self._mender = self._context.crew.start(self._mend(), f"{self._context.name}: reconnect")

    async def _late(self, asked: Asked) -> None:
        started = time.monotonic()
        try:
            wire = await self.connected()
        except Unavailable as error:
            self.undialled()
            quickly = time.monotonic() - started < self._settings.dialling / 2
            self.again(asked, error) if quickly else fail(asked[0], error)
        except DriverError as error:
            fail(asked[0], error)
        else:
            if not asked[0].done():
                wire.put(*asked)

    async def _try(self, told: "asyncio.Future[Wire]") -> None:
        try:
            wire = await self._dialled()
        except DriverError as error:
            self._attempt, self._failure = None, (time.monotonic(), error)
            told.set_exception(error)
            told.exception()  # it counts as seen even if whoever waited has gone
        else:
            self._attempt, self._wire = None, wire
            told.set_result(wire)

    async def _dialled(self) -> Wire:
        wire = await self._dial(self)
        if self._closed:
            wire.abort()
            raise _closed()
        if not wire.is_open:
            raise Unavailable(f"{wire.where}: the connection was lost at once")
        return wire

    def _settle(self, told: "asyncio.Future[Wire]") -> None:
        """Nobody waits for ever: an attempt that was cancelled, even before it began, has an end too."""
        if not told.done():
            self._attempt = None
            told.set_exception(_closed())
            told.exception()

    async def _mend(self) -> None:
        tries = 0
        while self._wire is None and not self._closed:
            try:
                await self.connected()
            except DriverError as error:
                if tries == 0:
                    self._context.log.warning("the connection is lost and is being dialled again: %s", error)
                await asyncio.sleep(_BACKOFF.seconds(tries))
                tries += 1
        if not self._closed:
            self._context.health(True, "")


def _closed() -> Unavailable:
    return Unavailable("the connection was closed")


def _again(error: DriverError) -> DriverError:
    """The same word for another who asked: an exception is raised once."""
    return Refused(str(error)) if isinstance(error, Refused) else Unavailable(str(error))
