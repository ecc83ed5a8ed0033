"""Stand-ins for servers that do not answer, and how long a server is waited for."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from pillion.contracts.words import Refused, Unavailable
from pillion.host.catalogue import Catalogue
from pillion.host.components import Loader
from pillion.host.embedded import Stand
from pillion.host.setup import LoadError
from pillion.host.telemetry import Metrics
from pillion.plug.component import Component as Driver
from pillion.plug.component import driver
from pillion.resources.component import Component
from pillion.resources.references import Templates
from pillion.testing.clock import HandClock
from pillion.toolbox import ids


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """Nothing to set."""


@driver("state.away", settings=NoSettings, title="Away", status="stable")
class AwayStore(Driver[NoSettings]):
    """Its server is not there."""

    tries = 0

    async def open(self) -> None:
        AwayStore.tries += 1
        raise Unavailable("connection refused")


ROWS = {
    "state.away/v1": {"at": f"{__name__}:AwayStore"},
    "state.sqlite/v1": {"at": "pillion.drivers.state.sqlite:SqliteStore"},
}


@pytest.fixture
def ours(tmp_path: Path) -> Loader:
    AwayStore.tries = 0
    return Loader(
        app_id="shop",
        namespace="default",
        environ={},
        catalogue=Catalogue(ROWS),
        metrics=Metrics("shop"),
        clock=HandClock(),
        data_home=tmp_path,
        templates=Templates("shop", "default", ids.uuid4),
    )


def away(name: str) -> Component:
    made = Component(name=name, namespace="", type="state.away", version="v1")
    return replace(made, init_timeout=timedelta(seconds=0.3))


async def test_a_server_is_asked_again_until_its_time_is_over(ours: Loader) -> None:
    with pytest.raises(LoadError, match="connection refused"):
        await ours.load([away("far")])
    assert AwayStore.tries > 1


async def test_with_a_stand_in_at_hand_nobody_waits(ours: Loader) -> None:
    stand = Stand()
    ours.replace, ours.patient = stand, lambda component: not stand.knows(component)
    await ours.load([away("far")])
    assert AwayStore.tries == 1
    assert ours.loaded[0].component.type == "state.sqlite"
    await ours.close()


async def test_there_is_no_stand_in_for_a_binding_or_for_itself() -> None:
    stand, missing = Stand(), Unavailable("connection refused")
    for kind in ("bindings.redis", "state.sqlite"):
        component = Component(name="it", namespace="", type=kind, version="v1")
        assert not stand.knows(component)
        assert stand(component, missing) is None
    assert stand(replace(component, type="state.redis"), Refused("bad password")) is None


async def test_all_that_cannot_be_loaded_is_told_at_once(ours: Loader) -> None:
    unknown = replace(away("odd"), type="state.nosuch")
    with pytest.raises(LoadError) as refused:
        await ours.load([away("far"), unknown])
    assert len(refused.value.sentences) == 2
    assert "far" in refused.value.sentences[0] and "couldn't find state store" in refused.value.sentences[1]
