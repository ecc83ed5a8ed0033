"""One connection to a Redis server: commands out in order, answers back in the same order."""

import asyncio
from collections import deque
from typing import Any, Final, Protocol, cast

import hiredis

from pillion.contracts.words import Refused, Unavailable
from pillion.toolbox.lazily import dataclass

Word = bytes | str | int
Answer = asyncio.Future[Any]
Asked = tuple[Answer, bytes]
"""An answer somebody waits for, and the command as it was packed."""

WAITING: Final = 16_384
"""Commands that may wait for their answers; one more is refused as overload."""
_NOT_NOW: Final = (
    "LOADING",
    "BUSY ",
    "READONLY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
)


class Owner(Protocol):
    """Who decides about what did not go well on a wire."""

    def refused(self, wire: "Wire", asked: Asked, error: Exception) -> None:
        """The server answered with an error. The answer is the owner's to give."""

    def lost(self, wire: "Wire", sent: list[Asked], unsent: list[Asked]) -> None:
        """The connection has ended with these unanswered: of those sent nobody knows whether they were done."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer, and how long the server's taking what we send, may take (seconds, None for ever)."""

    read: float | None
    write: float | None


class Wire(asyncio.Protocol):
    """Commands of one turn of the loop leave in one write. A server that is silent, or does not read, is given up."""

    def __init__(self, where: str, patience: Patience, owner: Owner) -> None:
        self.where = where
        self.owner = owner
        self.silent = False
        """Whether it was given up for silence."""
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[Asked] = deque()
        self._out: list[bytes] = []
        self._scheduled = False
        self._held = False
        self._stuck: asyncio.TimerHandle | None = None
        self._heard = 0
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting)

    def send(self, words: tuple[Word, ...]) -> Answer:
        """Queue one command; its answer. Whatever is wrong is in the answer."""
        answer = self._loop.create_future()
        self.put(answer, hiredis.pack_command(words))  # type: ignore[arg-type]
        return answer

    def put(self, answer: Answer, command: bytes) -> None:
        """Queue a packed command for whoever waits for this answer."""
        if self._transport is None:
            fail(answer, Unavailable(f"{self.where}: the connection was lost"))
        elif len(self._waiting) >= WAITING:
            fail(answer, Unavailable(f"{self.where} has too many commands waiting"))
        else:
            self._out.append(command)
            self._waiting.append((answer, command))
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._flush)

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
        if self._patience.read is not None:
            self._watch = self._loop.call_later(self._patience.read / 2, self._look, -1, 0)

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (told := reader.gets()) is not False:
                answer, command = waiting.popleft()
                if answer.done():
                    continue
                if isinstance(told, hiredis.ReplyError):
                    self.owner.refused(self, (answer, command), told)
                else:
                    answer.set_result(told)
        except (hiredis.ProtocolError, IndexError):
            self.abort()  # not Redis, or an answer nobody asked for: order cannot be trusted any more

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._let_go()
        if self._watch is not None:
            self._watch.cancel()
        waiting = [*self._waiting]
        self._waiting.clear()
        kept = len(waiting) - len(self._out)
        self._out.clear()
        if not self._over.done():
            self._over.set_result(None)
        self.owner.lost(self, _open(waiting[:kept]), _open(waiting[kept:]))

    def pause_writing(self) -> None:
        self._held = True
        if self._patience.write is not None:
            self._stuck = self._loop.call_later(self._patience.write, self._give_up)

    def resume_writing(self) -> None:
        self._let_go()
        self._flush()

    def _let_go(self) -> None:
        self._held = False
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _flush(self) -> None:
        self._scheduled = False
        way = self._transport
        if self._out and way is not None and not self._held and not way.is_closing():
            way.write(b"".join(self._out))
            self._out.clear()

    def _look(self, heard: int, seen: int) -> None:
        """Every half of the patience: who waits while two looks bring nothing at all waits in vain."""
        assert self._patience.read is not None
        stalled = bool(self._waiting) and heard == self._heard
        if stalled and seen:
            self._give_up()
            return
        self._watch = self._loop.call_later(
            self._patience.read / 2, self._look, self._heard if self._waiting else -1, int(stalled)
        )

    def _give_up(self) -> None:
        self.silent = True
        self.abort()


def packed(*words: Word) -> bytes:
    """A command as it is sent."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return command


def unpacked(command: bytes) -> list[bytes]:
    """The words of a packed command."""
    reader = hiredis.Reader()
    reader.feed(command)
    words: list[bytes] = reader.gets()
    return words


def said_by_the_server(where: str, error: BaseException) -> Unavailable | Refused:
    """An answer the server gave: most are final, some mean "not now"."""
    word = Unavailable if str(error).startswith(_NOT_NOW) else Refused
    return word(f"{where}: {error}")


def fail(answer: Answer, error: Exception) -> None:
    """Tell whoever still waits."""
    if not answer.done():
        answer.set_exception(error)


def _open(asked: list[Asked]) -> list[Asked]:
    return [each for each in asked if not each[0].done()]
