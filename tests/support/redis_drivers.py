"""The Redis drivers opened for one test, each with whatever metadata it is given, and writers that notice losses."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pillion.contracts.words import Unavailable
from pillion.drivers.bindings.redis import RedisBinding
from pillion.drivers.pubsub.redis import RedisPubSub
from pillion.drivers.state.redis import RedisStore
from pillion.model.state import Consistency, Guard, Put
from pillion.plug.component import Component, Context
from pillion.plug.settings import read
from support.waiting import eventually

C = TypeVar("C", bound=Component[Any])


@asynccontextmanager
async def opened(cls: type[C], metadata: Mapping[str, str], **more: str) -> AsyncIterator[C]:
    """A driver of this class, closed at the end. What it told of its health is its `told`."""
    given = {**metadata, **more}
    told: list[bool] = []
    context = Context(name="rd", app_id="app", metadata=given, health=lambda well, _: told.append(well))
    made = cls(read(cls.spec.settings, given), context)
    made.told = told  # type: ignore[attr-defined]
    try:
        await made.open()
        yield made
    finally:
        await made.close()
        await context.crew.close()


def store(metadata: Mapping[str, str], **more: str) -> Any:
    return opened(RedisStore, metadata, **more)


def broker(metadata: Mapping[str, str], **more: str) -> Any:
    return opened(RedisPubSub, metadata, consumerID="app", **more)


def binding(metadata: Mapping[str, str], **more: str) -> Any:
    return opened(RedisBinding, metadata, **more)


class Counting:
    """Raises one number, each time from what is there and on condition that nobody else has; notes what was acknowledged."""

    def __init__(self, store: RedisStore, key: str, consistency: Consistency = Consistency.ANY) -> None:
        self.store, self.key, self.consistency = store, key, consistency
        self.go_on = True
        self.acknowledged = 0
        self.doubts = 0

    async def run(self) -> None:
        while self.go_on:
            try:
                await self._once()
            except Unavailable:
                self.doubts += 1
                await asyncio.sleep(0.01)

    async def _once(self) -> None:
        entry = await self.store.get(self.key)
        reached = int(entry.value) if entry else 0
        assert reached >= self.acknowledged, "an acknowledged write was lost"
        expect = (entry.etag or "") if entry else Guard.ABSENT
        await self.store.put(
            Put(self.key, b"%d" % (reached + 1), expect=expect, consistency=self.consistency)
        )
        self.acknowledged = reached + 1

    async def more(self, count: int, timeout: float = 10) -> None:
        """Wait for so many further acknowledged writes."""
        wanted = self.acknowledged + count
        await eventually(lambda: self.acknowledged >= wanted, timeout)
