"""Every name resolver against every promise."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.segment import NearNames, Segment

from pillion.contracts.names import Names
from pillion.drivers.index import INDEX
from pillion.drivers.names.mdns.driver import MdnsNamesSettings
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.clock import HandClock
from pillion.testing.conformance.names import CHECKS, Bench, Check
from pillion.toolbox.tasks import Crew

KINDS = sorted(kind for kind in INDEX if kind.startswith("nameresolution."))
ANNOUNCES = {
    "nameresolution.sqlite/v1": True,
    "nameresolution.mdns/v1": True,  # on a segment in memory
    "nameresolution.static/v1": False,
}
LISTED = ("orders", "10.0.0.5:50002")


def class_of(kind: str) -> type[Names[Any]]:
    module, _, name = INDEX[kind]["at"].partition(":")
    found: type[Names[Any]] = getattr(importlib.import_module(module), name)
    return found


def made(kind: str, folder: Path, segment: Segment, clock: HandClock) -> Names[Any]:
    context = Context(name="names", clock=clock, crew=Crew("names"), data_home=folder)
    if kind == "nameresolution.mdns/v1":
        near = NearNames(MdnsNamesSettings(), context)
        near.segment = segment
        return near
    cls = class_of(kind)
    metadata = {"apps": "=".join(LISTED)} if kind == "nameresolution.static/v1" else {}
    return cls(read(cls.spec.settings, metadata), context)


@asynccontextmanager
async def bench(kind: str, folder: Path) -> AsyncIterator[Bench]:
    segment, clock = Segment(), HandClock()
    mine, theirs = (made(kind, folder, segment, clock) for _ in range(2))
    await mine.close()  # unopened: nothing to close
    mine = made(kind, folder, segment, clock)
    await mine.open()
    await theirs.open()
    announces = ANNOUNCES[kind]  # a kind without a rig fails here
    try:
        yield Bench(mine, theirs, announces, None if announces else LISTED)
    finally:
        await mine.close()
        await theirs.close()


CASES = [
    pytest.param(kind, check, id=f"{kind.removesuffix('/v1')}-{check.name}")
    for kind in KINDS
    for check in CHECKS
    if check.applies_to(announces=ANNOUNCES[kind])
]


@pytest.mark.parametrize(("kind", "check"), CASES)
async def test_a_resolver_keeps_its_promise(kind: str, check: Check, tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        await check.run(b)
