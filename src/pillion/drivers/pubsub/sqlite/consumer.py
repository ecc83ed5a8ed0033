"""One subscription of the embedded broker: it visits the file when told to look, and hands up what it claims there."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from pillion.contracts.pubsub import Deliver
from pillion.contracts.words import DriverError
from pillion.drivers.clients.deliveries import Deliveries
from pillion.drivers.clients.sqlite import SqliteFile
from pillion.drivers.pubsub.sqlite import tables
from pillion.drivers.pubsub.sqlite.tables import Claimed, Listener, Seat, Settled
from pillion.model.pubsub import Topic, Verdict
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.clock import Clock
from pillion.toolbox.tasks import Crew

log = logging.getLogger("pillion.pubsub.sqlite")


class Consumer:
    """A seat in a consumer group and the deliveries of its claims.

    One task visits the file: each visit settles every verdict that waits and claims as many messages as there are free slots, in one
    transaction. Between visits it sleeps until it is rung, a verdict comes, or a failed message is due.
    """

    def __init__(
        self, file: SqliteFile, seat: Seat, topic: Topic, deliver: Deliver, backoff: Backoff, clock: Clock
    ) -> None:
        self.seat = seat
        self.left: Callable[[Consumer], None] = lambda consumer: None
        self.released: Callable[[Sequence[Listener]], None] = lambda listeners: None
        self.health: Callable[[bool, str], None] = lambda well, reason: None
        self._file = file
        self._clock = clock
        self._backoff = backoff
        self._name = f"{topic.name} (seat {seat.id})"
        self._look = asyncio.Event()
        self._deliveries: Deliveries[Claimed] = Deliveries(
            self._name, deliver, topic.in_flight, self._look.set
        )
        self._visiting = asyncio.Lock()
        self._crew = Crew(self._name)
        self._paused = False
        self._closed = False
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._look.set()
        self._crew.start(self._live())

    def look(self) -> None:
        """There may be something to have."""
        self._look.set()

    async def pause(self) -> None:
        self._paused = True

    async def resume(self) -> None:
        self._paused = False
        self._look.set()

    async def drain(self, deadline: float) -> None:
        self._paused = True
        await self._deliveries.finish(deadline)
        await self._last_visit()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = self._paused = True
        await self._crew.close()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._deliveries.finish(0)
        await self._last_visit()
        await self._leave()

    async def _live(self) -> None:
        failures = 0
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await self._visit()
            except DriverError as error:
                log.log(logging.WARNING if failures == 0 else logging.DEBUG, "%s: %s", self._name, error)
                self.health(False, str(error))
                await self._clock.sleep(self._backoff.seconds(failures))
                failures += 1
                self._look.set()
            else:
                if failures:
                    self.health(True, "")
                failures = 0

    async def _visit(self) -> None:
        async with self._visiting:
            free = 0 if self._paused else self._deliveries.free
            verdicts = self._deliveries.take()
            if not verdicts and free <= 0:
                return
            settled = [self._settled(claimed, verdict) for claimed, verdict in verdicts]
            now = self._clock.now()
            try:
                turn = await self._file.write(lambda db: tables.turn(db, self.seat, settled, free, now))
            except BaseException:
                # Not written, or not known to be: said again on the next visit, which does no harm.
                for claimed, verdict in verdicts:
                    self._deliveries.verdict(claimed, verdict)
                raise
            self._hand_up(turn.claimed)
            self.released(turn.listeners)
            self._set_alarm(turn.due)
            if turn.more:
                self._look.set()

    def _hand_up(self, claimed: Sequence[Claimed]) -> None:
        for each in claimed:
            if self._paused:
                self._deliveries.verdict(each, Verdict.ABANDON)
                self._look.set()
            else:
                self._deliveries.start(each, each.message)

    def _settled(self, claimed: Claimed, verdict: Verdict) -> Settled:
        due = self._clock.now()
        if verdict is Verdict.RETRY:
            due += self._backoff.seconds(claimed.attempts)
        elif verdict is Verdict.ABANDON and not self._paused:
            due += self._backoff.seconds(0)  # others may have it soon, and we do not spin on it
        return Settled(claimed, verdict, due)

    def _set_alarm(self, due: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None and not self._paused:
            wait = max(0.001, due - self._clock.now())
            self._alarm = asyncio.get_running_loop().call_later(wait, self._look.set)

    async def _last_visit(self) -> None:
        if not self._deliveries.waiting:
            return
        try:
            await self._visit()
        except DriverError as error:
            log.warning("%s: what was handled last may be delivered again: %s", self._name, error)

    async def _leave(self) -> None:
        now = self._clock.now()
        self.left(self)
        try:
            self.released(
                await self._file.write(lambda db: tables.leave(db, [self.seat.id], now, failed=False))
            )
        except DriverError as error:
            log.warning("%s: its messages are released later: %s", self._name, error)
