"""Every state store against every promise its features call for."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.redis_fleet import MODES, Harbour
from support.redis_server import RedisServer

from pillion.contracts.state import Feature, StateStore
from pillion.drivers.index import INDEX
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.clock import HandClock
from pillion.testing.conformance.state import CHECKS, Bench, Check
from pillion.toolbox.clock import Clock, SystemClock

STORES = sorted(kind for kind in INDEX if kind.startswith("state."))


@dataclass
class Rig:
    """How to make one kind of store for a test."""

    metadata: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=HandClock)
    short: float = 5.0
    shared: bool = True

    async def turn(self, seconds: float) -> None:
        if isinstance(self.clock, HandClock):
            await self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)  # the server's clock, which nobody turns


def class_of(kind: str) -> type[StateStore[Any]]:
    module, _, name = INDEX[kind]["at"].partition(":")
    found: type[StateStore[Any]] = getattr(importlib.import_module(module), name)
    return found


@asynccontextmanager
async def rigged(kind: str, mode: str, folder: Path, harbour: Harbour) -> AsyncIterator[Rig]:
    match kind:
        case "state.in-memory/v1":
            yield Rig(shared=False)
        case "state.sqlite/v1":
            yield Rig({"connectionString": str(folder / "state.db")})
        case "state.redis/v1" if mode:
            with harbour.mode(mode) as metadata:
                yield Rig(metadata, SystemClock(), short=0.25)
        case "state.redis/v1":
            async with RedisServer(folder) as server:
                yield Rig({"redisHost": server.address}, SystemClock(), short=0.25)
        case _:
            raise AssertionError(f"{kind} has no rig: every state store is put to the checks")


CASES = [
    pytest.param(
        kind, mode, check, id=f"{kind.removesuffix('/v1')}{mode and '-' + mode}-{check.name}", marks=marks
    )
    for kind in STORES
    for mode in ["", *(MODES if kind == "state.redis/v1" else ())]
    for marks in [[pytest.mark.needs("redis-server")] if kind == "state.redis/v1" else []]
    for check in CHECKS
    if check.applies_to(class_of(kind).features, shared=kind != "state.in-memory/v1")
    # The keys of a cluster's transaction must share a slot, which those of the checks do not: see test_redis_cluster.py.
    if not (mode == "cluster" and Feature.TRANSACTIONAL in check.needs)
]


@pytest.mark.parametrize(("kind", "mode", "check"), CASES)
async def test_a_store_keeps_its_promise(
    kind: str, mode: str, check: Check, tmp_path: Path, harbour: Harbour
) -> None:
    async with rigged(kind, mode, tmp_path, harbour) as rig, contextlib.AsyncExitStack() as stack:

        async def join() -> StateStore[Any]:
            cls = class_of(kind)
            context = Context(name="bench", clock=rig.clock)
            store = cls(read(cls.spec.settings, rig.metadata), context)
            await store.close()  # safe unopened
            await store.open()
            stack.push_async_callback(context.crew.close)
            stack.push_async_callback(store.close)
            return store

        await check.run(Bench(await join(), rig.clock, rig.turn, rig.short, join if rig.shared else None))
