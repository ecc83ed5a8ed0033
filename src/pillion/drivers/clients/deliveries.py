"""What one subscription has handed up: tasks awaiting a verdict, and verdicts awaiting the broker."""

import asyncio
import logging
from asyncio import Task
from collections.abc import Callable
from typing import Generic, TypeVar

from pillion.contracts.pubsub import Deliver
from pillion.model.pubsub import Message, Verdict

T = TypeVar("T")

log = logging.getLogger("pillion.pubsub")


class Deliveries(Generic[T]):
    """At most `limit` deliveries at once, each known by a token of the driver's.

    A verdict waits here until the driver takes it to the broker; `settled` is called when one has arrived. A delivery that
    is cancelled counts as ABANDON, one that raises against the contract as RETRY: neither loses the message.
    """

    def __init__(self, name: str, deliver: Deliver, limit: int, settled: Callable[[], None]) -> None:
        self._deliver = deliver
        self._limit = max(1, limit)
        self._settled = settled
        self._name = name
        self._closed = False
        self._out: dict[Task[Verdict], T] = {}
        self._verdicts: list[tuple[T, Verdict]] = []

    @property
    def free(self) -> int:
        """How many more may be started, once the verdicts that wait have been taken."""
        return self._limit - len(self._out)

    @property
    def out(self) -> list[T]:
        """What has been handed up and has no verdict yet."""
        return list(self._out.values())

    @property
    def waiting(self) -> bool:
        """Whether verdicts wait to be taken."""
        return bool(self._verdicts)

    def start(self, token: T, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(message), name=self._name)
        self._out[task] = token
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()

    def verdict(self, token: T, verdict: Verdict) -> None:
        """Note a verdict without a delivery, or give one back that the broker did not take."""
        self._verdicts.append((token, verdict))

    def take(self) -> list[tuple[T, Verdict]]:
        """The verdicts that wait, which are the caller's now."""
        taken, self._verdicts = self._verdicts, []
        return taken

    async def finish(self, deadline: float) -> None:
        """Wait up to `deadline` seconds for what is out, then cancel the rest. Nothing may be started afterwards."""
        self._closed = True
        out = self._out.keys() - {asyncio.current_task()}
        if out and deadline > 0:
            _, out = await asyncio.wait(out, timeout=deadline)
        for task in out:
            task.cancel()
        if out:
            _, late = await asyncio.wait(out, timeout=1.0)
            if late:
                log.warning("%s: %d deliveries did not stop within 1 s", self._name, len(late))

    def _ended(self, task: "Task[Verdict]") -> None:
        token = self._out.pop(task)
        if task.cancelled():
            verdict = Verdict.ABANDON
        elif (error := task.exception()) is not None:
            log.error("%s: a delivery failed", self._name, exc_info=error)
            verdict = Verdict.RETRY
        else:
            verdict = task.result()
        self._verdicts.append((token, verdict))
        self._settled()
