"""Every binding against every promise."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.redis_fleet import MODES, Harbour
from support.redis_server import RedisServer
from support.web import web_site

from pillion.contracts.bindings import Binding
from pillion.drivers.index import INDEX
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.clock import HandClock
from pillion.testing.conformance.bindings import CHECKS, Bench, Check, Sample

KINDS = sorted(kind for kind in INDEX if kind.startswith("bindings."))


@dataclass
class Rig:
    """How to make one kind of binding for a test."""

    metadata: dict[str, str]
    samples: tuple[Sample, ...] = ()
    provoke: Callable[[], Awaitable[None]] | None = None
    clock: HandClock = field(default_factory=HandClock)


def class_of(kind: str) -> type[Binding[Any]]:
    module, _, name = INDEX[kind]["at"].partition(":")
    found: type[Binding[Any]] = getattr(importlib.import_module(module), name)
    return found


_REDIS_SAMPLES = tuple(
    Sample(verb, b"v", named)
    for verb, named in (
        ("create", {"key": "k"}),
        ("get", {"key": "k"}),
        ("increment", {"key": "n", "ttlInSeconds": "60"}),
        ("delete", {"key": "k"}),
    )
)


@asynccontextmanager
async def rigged(kind: str, mode: str, folder: Path, harbour: Harbour) -> AsyncIterator[Rig]:
    match kind:
        case "bindings.cron/v1":
            rig = Rig({"schedule": "@every 1s"})

            async def tick() -> None:
                for _ in range(5):  # until it has gone to sleep, or is seen not to
                    await asyncio.sleep(0)
                await rig.clock.advance(1.0)

            rig.provoke = tick
            yield rig
        case "bindings.http/v1":
            async with web_site() as site:
                verbs = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")
                yield Rig({"url": site.url}, tuple(Sample(verb, b'{"a":1}') for verb in verbs))
        case "bindings.localstorage/v1":
            named = {"fileName": "a/b.txt"}
            (folder / "root").mkdir()
            samples = (
                Sample("create", b'"text"', named),
                Sample("get", b"", named),
                Sample("list"),
                Sample("create", b"x", {"fileName": "gone"}),
            )
            yield Rig(
                {"rootPath": str(folder / "root")}, (*samples, Sample("delete", b"", {"fileName": "gone"}))
            )
        case "bindings.redis/v1" if mode:
            with harbour.mode(mode) as metadata:
                yield Rig(metadata, _REDIS_SAMPLES)
        case "bindings.redis/v1":
            async with RedisServer(folder) as server:
                yield Rig({"redisHost": server.address}, _REDIS_SAMPLES)
        case _:
            raise AssertionError(f"{kind} has no rig: every binding is put to the checks")


CASES = [
    pytest.param(
        kind, mode, check, id=f"{kind.removesuffix('/v1')}{mode and '-' + mode}-{check.name}", marks=marks
    )
    for kind in KINDS
    for mode in ["", *(MODES if kind == "bindings.redis/v1" else ())]
    for marks in [[pytest.mark.needs("redis-server")] if kind == "bindings.redis/v1" else []]
    for check in CHECKS
    if check.applies_to(class_of(kind))
]


@pytest.mark.parametrize(("kind", "mode", "check"), CASES)
async def test_a_binding_keeps_its_promise(
    kind: str, mode: str, check: Check, tmp_path: Path, harbour: Harbour
) -> None:
    async with rigged(kind, mode, tmp_path, harbour) as rig:
        cls = class_of(kind)
        context = Context(name="bench", metadata=rig.metadata, clock=rig.clock)
        binding = cls(read(cls.spec.settings, rig.metadata), context)
        await binding.close()  # safe unopened
        await binding.open()
        await check.run(Bench(binding, rig.samples, rig.provoke))
        await binding.close()
        await context.crew.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_binding_is_what_the_index_says(kind: str) -> None:
    cls = class_of(kind)
    assert f"{cls.spec.type_name}/{cls.spec.version}" == kind
