"""Bulk delivery: messages gathered until they are many enough or have waited long enough, one call per route."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from pillion.model.pubsub import Answer, Batch, Bulk, Event, Message, Verdict
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.ports.telemetry import Telemetry
from pillion.services.delivery import Delivery
from pillion.toolbox.clock import Clock
from pillion.toolbox.ids import Uuids
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime.processor.subscription")

TakeBatch = Callable[[Batch], Awaitable[Mapping[str, Answer]]]
"""The app. Raises AppUnreachable or AppFailed: every entry is to come again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    event: Event
    answer: "asyncio.Future[Answer | None]"


class Batches:
    """What a driver calls for each message of a bulk subscription; every call waits for its own entry's verdict.

    One timer per batch, none per message. What still waits for its batch when the subscription closes is released.
    """

    def __init__(
        self, delivery: Delivery, bulk: Bulk, take: TakeBatch, *, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._delivery = delivery
        self._bulk = bulk
        self._take = take
        self._telemetry = telemetry
        self._clock = clock
        self._ids = Uuids()
        self._waiting: list[_Entry] = []
        self._ripening: asyncio.Task[None] | None = None
        self._crew = Crew(f"bulk delivery of {delivery.interest.topic}")

    async def __call__(self, message: Message) -> Verdict:
        if self._delivery.closing:
            return Verdict.ABANDON
        try:
            return await self._delivered(message)
        except Exception as error:  # the root of a delivery: a mistake of ours must not lose the message
            log.error("the bulk delivery of a message of topic %s failed", message.topic, exc_info=error)
            return Verdict.ABANDON if self._delivery.closing else Verdict.RETRY

    async def _delivered(self, message: Message) -> Verdict:
        event = self._delivery.read(message)
        if isinstance(event, Answer):
            return await self._delivery.settle(message, event)
        entry = _Entry(event._replace(entry_id=self._ids.next()), asyncio.get_running_loop().create_future())
        self._add(entry)
        try:
            answer = await entry.answer
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            raise
        if answer is None:
            return Verdict.ABANDON
        return await self._delivery.settle(message, answer)

    async def close(self, deadline: float) -> None:
        """Release what waits for a batch, and give running calls up to `deadline` seconds."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            _tell(entry, None)
        self._ripe()
        await self._crew.drain(deadline)

    def _add(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        if len(self._waiting) >= self._bulk.max_messages:
            self._flush()
        elif self._ripening is None:
            self._ripening = self._crew.start(self._ripen())

    async def _ripen(self) -> None:
        await self._clock.sleep(self._bulk.max_await)
        self._ripening = None
        self._flush()

    def _ripe(self) -> None:
        ripening, self._ripening = self._ripening, None
        if ripening is not None:
            ripening.cancel()

    def _flush(self) -> None:
        self._ripe()
        waiting, self._waiting = self._waiting, []
        routes: dict[tuple[str, str], list[_Entry]] = {}
        for entry in waiting:
            routes.setdefault((entry.event.topic, entry.event.path), []).append(entry)
        for (topic, path), entries in routes.items():
            self._crew.start(self._send(topic, path, entries))

    async def _send(self, topic: str, path: str, entries: list[_Entry]) -> None:
        pubsub, started = self._delivery.broker.name, time.perf_counter()
        events = tuple(entry.event for entry in entries)
        batch = Batch(self._ids.next(), pubsub, topic, path, events, {"pubsubName": pubsub})
        answers: Mapping[str, Answer] = {}
        try:
            answers = await self._take(batch)
        except (AppUnreachable, AppFailed) as error:
            log.warning("a batch of %d events of topic %s was not taken: %s", len(entries), topic, error)
        finally:
            counted = Counter[str]()
            for entry in entries:
                answer = answers.get(entry.event.entry_id, Answer.RETRY)
                counted[_STATUS[answer]] += 1
                _tell(entry, answer)
            self._telemetry.ingress_batch(pubsub, topic, dict(counted), time.perf_counter() - started)


_STATUS = {
    Answer.SUCCESS: "SUCCESS",
    Answer.RETRY: "RETRY",
    Answer.DROP: "DROP",
    Answer.UNHANDLED: "DROP",
}


def _tell(entry: _Entry, answer: Answer | None) -> None:
    if not entry.answer.done():
        entry.answer.set_result(answer)
