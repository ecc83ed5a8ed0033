"""Every broker driver against every promise its features call for."""

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

from pillion.contracts.pubsub import PubSub
from pillion.drivers.index import INDEX
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.conformance.pubsub import CHECKS, Bench, Check

BROKERS = sorted(kind for kind in INDEX if kind.startswith("pubsub."))


@dataclass
class Rig:
    """How to make one kind of broker for a test."""

    metadata: dict[str, str] = field(default_factory=dict)
    shared: bool = True


def class_of(kind: str) -> type[PubSub[Any]]:
    module, _, name = INDEX[kind]["at"].partition(":")
    found: type[PubSub[Any]] = getattr(importlib.import_module(module), name)
    return found


@asynccontextmanager
async def rigged(kind: str, mode: str, folder: Path, harbour: Harbour) -> AsyncIterator[Rig]:
    match kind:
        case "pubsub.in-memory/v1":
            yield Rig(shared=False)
        case "pubsub.sqlite/v1":
            yield Rig({"connectionString": str(folder / "broker.db"), "backOffInitialInterval": "50ms"})
        case "pubsub.redis/v1" if mode:
            with harbour.mode(mode) as metadata:
                yield Rig({**metadata, "redeliverInterval": "200ms"})
        case "pubsub.redis/v1":
            async with RedisServer(folder) as server:
                yield Rig({"redisHost": server.address, "redeliverInterval": "200ms"})
        case _:
            raise AssertionError(f"{kind} has no rig: every broker driver is put to the checks")


async def opened(kind: str, rig: Rig, group: str) -> PubSub[Any]:
    cls = class_of(kind)
    metadata = {**rig.metadata, "consumerID": group}
    broker = cls(
        read(cls.spec.settings, metadata, also=("consumerID",)), Context(name="bench", metadata=metadata)
    )
    await broker.close()  # safe unopened
    await broker.open()
    return broker


CASES = [
    pytest.param(
        kind, mode, check, id=f"{kind.removesuffix('/v1')}{mode and '-' + mode}-{check.name}", marks=marks
    )
    for kind in BROKERS
    for mode in ["", *(MODES if kind == "pubsub.redis/v1" else ())]
    for marks in [[pytest.mark.needs("redis-server")] if kind == "pubsub.redis/v1" else []]
    for check in CHECKS
    if check.applies_to(class_of(kind).features, shared=kind != "pubsub.in-memory/v1")
]


@pytest.mark.parametrize(("kind", "mode", "check"), CASES)
async def test_a_broker_keeps_its_promise(
    kind: str, mode: str, check: Check, tmp_path: Path, harbour: Harbour
) -> None:
    async with rigged(kind, mode, tmp_path, harbour) as rig, contextlib.AsyncExitStack() as stack:

        async def join(group: str) -> PubSub[Any]:
            broker = await opened(kind, rig, group)
            stack.push_async_callback(broker.close)
            return broker

        await check.run(Bench(await join("one"), join if rig.shared else None))


@pytest.mark.parametrize("kind", BROKERS)
def test_every_broker_is_what_the_index_says(kind: str) -> None:
    cls = class_of(kind)
    assert f"{cls.spec.type_name}/{cls.spec.version}" == kind
