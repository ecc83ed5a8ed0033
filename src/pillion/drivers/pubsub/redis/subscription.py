"""One subscription to a stream: it reads, hands up, settles, keeps hold of what is in hand, and takes over from the dead."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from pillion.contracts.pubsub import Deliver
from pillion.contracts.words import DriverError
from pillion.drivers.clients.deliveries import Deliveries
from pillion.drivers.clients.redis_lane import Lane
from pillion.drivers.pubsub.redis.stream import Pending, Stream
from pillion.model.pubsub import Message, Verdict
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

BLOCK = 2.0
"""Seconds a read waits at the server for something new."""
RESTING = 1000
"""Failed messages we time ourselves; more are left for the sweep to find, so that nothing grows without bound."""

log = logging.getLogger("pillion.pubsub.redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a subscription behaves in time (seconds), and how many messages it handles at once and reads ahead of that.

    Whoever has held an entry for `timeout` without a word is taken for dead; looking for such entries happens every `sweep`. Either being
    0 turns redelivery off, as in Dapr. `ack_failed` accepts what failed instead of trying again.
    """

    in_flight: int
    ahead: int
    timeout: float
    sweep: float
    ack_failed: bool
    backoff: Backoff

    @property
    def redelivers(self) -> bool:
        return self.timeout > 0 and self.sweep > 0


@dataclass(slots=True)
class _Rest:
    """A failed message waiting for its next try."""

    due: float
    deliveries: int


class RedisSubscription:
    """A consumer of one stream, alive until closed.

    A failed message stays pending at the server while we time its return. What is in hand or resting is renewed every third of the
    timeout, so that a slow handler of a live process is never doubled; a process that dies, or is stopped for longer than
    the timeout, loses its entries to the others.
    """

    def __init__(self, stream: Stream, reader: Lane, pace: Pace, deliver: Deliver, clock: Clock) -> None:
        self.left: Callable[[RedisSubscription], None] = lambda subscription: None
        self.health: Callable[[bool, str], None] = lambda well, reason: None
        self._stream = stream
        self._reader = reader
        self._pace = pace
        self._clock = clock
        self._name = f"{stream.topic} ({stream.group})"
        self._ready: deque[Message] = deque()
        self._resting: dict[str, _Rest] = {}
        self._deliveries: Deliveries[Message] = Deliveries(self._name, deliver, pace.in_flight, self._told)
        self._verdicts = asyncio.Event()
        self._room = asyncio.Event()
        self._rested = asyncio.Event()
        self._settling = asyncio.Lock()
        self._crew = Crew(self._name)
        self._reading: asyncio.Task[None] | None = None
        self._reader_id: int | None = None
        self._next_renewal = self._next_sweep = clock.monotonic()
        self._paused = False
        self._closed = False

    def start(self) -> None:
        self._room.set()
        self._reading = self._crew.start(self._again_and_again(self._read), "read")
        self._crew.start(self._again_and_again(self._settle), "settle")
        if self._pace.redelivers:
            self._crew.start(self._again_and_again(self._renew), "renew")
            self._crew.start(self._again_and_again(self._sweep), "sweep")
            self._crew.start(self._again_and_again(self._wake_the_rested), "rest")

    async def pause(self) -> None:
        self._paused = True
        self._room.clear()

    async def resume(self) -> None:
        if not self._closed:
            self._paused = False
            self._hand_up()

    async def drain(self, deadline: float) -> None:
        await self.pause()
        await self._deliveries.finish(deadline)
        await self._last_words()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.pause()
        await self._stop_reading()
        await self._deliveries.finish(0)
        await self._crew.close()
        self._give_up_the_rest()
        await self._last_words()
        await self._reader.close()
        self.left(self)

    # What goes on side by side.

    async def _again_and_again(self, step: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while not self._closed:
            try:
                await step()
            except DriverError as error:
                log.log(logging.WARNING if failures == 0 else logging.DEBUG, "%s: %s", self._name, error)
                self._reader_id = None
                self.health(False, str(error))
                await self._clock.sleep(self._pace.backoff.seconds(failures))
                failures += 1
            else:
                if failures:
                    self.health(True, "")
                failures = 0

    async def _read(self) -> None:
        await self._room.wait()
        if self._closed:
            return
        if self._reader_id is None:
            self._reader_id = await self._stream.connection_id(self._reader)
        self._take_in(await self._stream.read(self._reader, self._free + self._pace.ahead, BLOCK))

    async def _settle(self) -> None:
        await self._verdicts.wait()
        self._verdicts.clear()
        await self._settle_now()

    async def _renew(self) -> None:
        await self._clock.sleep(self._next_renewal - self._clock.monotonic())
        await self._stream.hold([*(message.id for message in self._in_hand()), *self._resting])
        self._next_renewal = self._clock.monotonic() + self._pace.timeout / 3

    async def _sweep(self) -> None:
        """Take over what nobody speaks for, as far as there is room; the rest stays for the next sweep, or for others."""
        await self._clock.sleep(self._next_sweep - self._clock.monotonic())
        # What is done, and could not be said while the server was away, is nobody's to take over.
        await self._settle_now()
        while not self._paused and (free := self._free) > 0 and not self._ready:
            found = await self._stream.left_behind(self._pace.timeout, free)
            ours = {message.id for message in self._in_hand()}
            found = [one for one in found if one.id not in ours]
            for one in found:
                self._resting.pop(one.id, None)
            taken = await self._stream.take(found, self._pace.timeout)
            self._take_in(taken)
            if len(taken) < free:
                break
        self._next_sweep = self._clock.monotonic() + self._pace.sweep

    async def _wake_the_rested(self) -> None:
        if not self._resting or self._paused or self._free <= 0:
            self._rested.clear()
            await self._rested.wait()
            return
        now = self._clock.monotonic()
        soonest = min(rest.due for rest in self._resting.values())
        if soonest > now:
            await self._nap(soonest - now)
            return
        due = [id for id, rest in self._resting.items() if rest.due <= now][: self._free]
        entries = [Pending(id, self._resting[id].deliveries) for id in due]
        taken = await self._stream.take(entries, 0)
        for id in due:
            self._resting.pop(id, None)
        self._take_in(taken)

    async def _nap(self, wait: float) -> None:
        """Sleep until the next failed message is due; one that fails meanwhile may be due sooner."""
        self._rested.clear()
        timer = asyncio.get_running_loop().call_later(wait, self._rested.set)
        try:
            await self._rested.wait()
        finally:
            timer.cancel()

    # What is in hand.

    @property
    def _free(self) -> int:
        return self._deliveries.free - len(self._ready)

    def _in_hand(self) -> Iterable[Message]:
        return [*self._ready, *self._deliveries.out]

    def _take_in(self, messages: Iterable[Message]) -> None:
        self._ready.extend(messages)
        self._hand_up()

    def _hand_up(self) -> None:
        while self._ready and self._deliveries.free > 0 and not self._paused:
            message = self._ready.popleft()
            self._deliveries.start(message, message)
        if self._free > 0 and not self._paused:
            self._rested.set()
        # Read again when half of what was read ahead is used up: a read for each message would cost as much as the message.
        if (
            2 * len(self._ready) <= self._pace.ahead
            and self._free + self._pace.ahead > 0
            and not self._paused
        ):
            self._room.set()
        else:
            self._room.clear()

    def _told(self) -> None:
        self._verdicts.set()
        self._hand_up()

    # What has been decided.

    async def _settle_now(self) -> None:
        async with self._settling:
            verdicts = self._deliveries.take()
            accepted = [message.id for message, verdict in verdicts if self._is_done(verdict)]
            released = [message for message, verdict in verdicts if verdict is Verdict.ABANDON]
            try:
                if accepted:
                    await self._stream.accept(accepted)
                if released:
                    await self._stream.release(released, self._pace.timeout)
            except BaseException:
                for message, verdict in verdicts:
                    self._deliveries.verdict(message, verdict)
                self._verdicts.set()
                raise
            for message, verdict in verdicts:
                if verdict is Verdict.RETRY and not self._is_done(verdict):
                    self._rest(message)

    def _is_done(self, verdict: Verdict) -> bool:
        return verdict is Verdict.ACK or (verdict is Verdict.RETRY and self._pace.ack_failed)

    def _rest(self, message: Message) -> None:
        if not self._pace.redelivers or len(self._resting) >= RESTING:
            return
        wait = self._pace.backoff.seconds(message.attempt - 1)
        self._resting[message.id] = _Rest(self._clock.monotonic() + wait, message.attempt)
        self._rested.set()

    # Going away.

    async def _stop_reading(self) -> None:
        """End the read that waits at the server by asking for it: cut off, it could still be handed messages."""
        if self._reading is None or self._reading.done():
            return
        self._room.set()
        if self._reader_id is not None:
            await self._stream.unblock(self._reader_id)
        await asyncio.wait([self._reading], timeout=BLOCK)

    def _give_up_the_rest(self) -> None:
        """What was read and not handed up, or rests, is for others to have."""
        for message in self._ready:
            self._deliveries.verdict(message, Verdict.ABANDON)
        for id, rest in self._resting.items():
            failed = Message(self._stream.topic, b"", id=id, attempt=rest.deliveries + 1)
            self._deliveries.verdict(failed, Verdict.ABANDON)
        self._ready.clear()
        self._resting.clear()

    async def _last_words(self) -> None:
        try:
            await self._settle_now()
        except DriverError as error:
            log.warning("%s: what was handled last may be delivered again: %s", self._name, error)
