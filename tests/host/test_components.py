"""Components from their manifests to open drivers."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pillion.contracts.words import Refused
from pillion.host import mounts
from pillion.host.catalogue import Catalogue
from pillion.host.components import Loader
from pillion.host.setup import LoadError
from pillion.host.telemetry import Metrics
from pillion.plug.component import Component as Driver
from pillion.plug.component import driver
from pillion.resources.component import Component, Setting
from pillion.resources.problems import Source
from pillion.resources.references import Templates
from pillion.testing.clock import HandClock
from pillion.toolbox import ids


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """Nothing to set."""


@driver("state.refusing", settings=NoSettings, title="Refusing", status="stable")
class RefusingStore(Driver[NoSettings]):
    """Its server says no."""

    async def open(self) -> None:
        raise Refused("no")


@driver("state.slow", settings=NoSettings, title="Slow", status="stable")
class SlowStore(Driver[NoSettings]):
    """Its server takes its time."""

    async def open(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@driver("state.quick", settings=NoSettings, title="Quick", status="stable")
class QuickStore(Driver[NoSettings]):
    """It is ready at once."""


ROWS = {
    "state.slow/v1": {"at": f"{__name__}:SlowStore"},
    "state.quick/v1": {"at": f"{__name__}:QuickStore"},
    "state.in-memory/v1": {"at": "pillion.drivers.state.memory:MemoryStore"},
    "pubsub.in-memory/v1": {"at": "pillion.drivers.pubsub.memory:MemoryPubSub"},
    "state.refusing/v1": {"at": f"{__name__}:RefusingStore"},
}


def loader(tmp_path: Path, *, denied: frozenset[str] = frozenset()) -> Loader:
    return Loader(
        app_id="shop",
        namespace="default",
        environ={},
        catalogue=Catalogue(ROWS),
        metrics=Metrics("shop"),
        clock=HandClock(),
        data_home=tmp_path,
        templates=Templates("shop", "default", ids.uuid4),
        denied=denied,
    )


def component(type_name: str = "state.in-memory", version: str = "v1", *settings: Setting) -> Component:
    return Component(name="it", namespace="", type=type_name, version=version, settings=settings)


@pytest.mark.parametrize(
    ("entry", "type_name", "version"),
    [
        ("state.in-memory", "state.in-memory", "v1"),
        ("state.in-memory", "state.IN-memory", "v1"),
        ("State.In-Memory", "state.in-memory", "v1"),
        ("state.in-memory/v1", "state.in-memory", "v1"),
        ("state.in-memory/v1", "state.in-memory", "V0"),
        ("state.other", "state.in-memory", ""),
    ],
)
async def test_what_the_configuration_denies_is_not_loaded_however_it_is_spelled(
    tmp_path: Path, entry: str, type_name: str, version: str
) -> None:
    ours = loader(tmp_path, denied=frozenset({entry}))
    await ours.load([component(type_name, version)])
    assert not ours.loaded


async def test_what_is_not_denied_is_loaded(tmp_path: Path) -> None:
    ours = loader(tmp_path, denied=frozenset({"state.in-memory/v2", "state.other"}))
    await ours.load([component()])
    assert len(ours.loaded) == 1
    await ours.close()


async def test_components_stand_in_the_order_of_their_manifests_whichever_was_ready_first(
    tmp_path: Path,
) -> None:
    ours = loader(tmp_path)
    names = ("slow", "quick", "slow too")
    await ours.load([replace(component(f"state.{name.partition(' ')[0]}"), name=name) for name in names])
    assert [each.component.name for each in ours.loaded] == [*names]
    await ours.close()


async def test_a_stand_in_that_cannot_be_opened_is_told_like_any_component(tmp_path: Path) -> None:
    ours = loader(tmp_path)
    ours.replace = lambda component, error: replace(component, type="state.refusing")
    await ours.load([replace(component("state.refusing"), ignore_errors=True)])
    with pytest.raises(LoadError, match=r"it \(state\.refusing/v1\)"):
        await ours.load([component("state.refusing")])


@pytest.mark.parametrize(
    ("type_name", "name", "env"),
    [
        ("state.in-memory", "primaryEncryptionKey", "NOT_SET"),
        ("state.in-memory", "primaryEncryptionKey", ""),
        ("pubsub.in-memory", "allowedTopics", "NOT_SET"),
        ("pubsub.in-memory", "protectedtopics", "NOT_SET"),
    ],
)
async def test_what_is_to_protect_and_has_no_value_keeps_the_component_out(
    tmp_path: Path, type_name: str, name: str, env: str
) -> None:
    empty = Setting(name, None, None, env, Source("it.yaml", 7))
    with pytest.raises(LoadError, match=f"it.yaml:7: {name} is empty"):
        await loader(tmp_path).load([component(type_name, "v1", empty)])


async def test_a_secondary_key_alone_encrypts_nothing_and_is_refused(tmp_path: Path) -> None:
    ours = loader(tmp_path)
    key = Setting("secondaryEncryptionKey", "00" * 16, None, "", Source("it.yaml", 7))
    await ours.load([component("state.in-memory", "v1", key)])
    with pytest.raises(LoadError, match="secondaryEncryptionKey without primaryEncryptionKey"):
        mounts.state(ours.loaded, Metrics("shop"), app_id="shop", namespace="default")
    await ours.close()
