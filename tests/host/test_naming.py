"""Which resolvers a runtime opens, and that none is left behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from pillion.contracts.names import Names
from pillion.contracts.words import Refused
from pillion.host import naming
from pillion.host.catalogue import Catalogue
from pillion.host.flags import parse
from pillion.host.setup import Fatal, Setup
from pillion.plug.component import driver
from pillion.resources.configuration import Configuration, NameResolution
from pillion.resources.folder import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """Nothing to set."""


class Counting(Names[NoSettings]):
    """Notes what is opened and closed."""

    told: ClassVar[list[str]] = []

    async def open(self) -> None:
        self.told.append(f"open {self.context.name}")

    async def close(self) -> None:
        self.told.append(f"close {self.context.name}")


@driver("nameresolution.sqlite", settings=NoSettings, title="Good", status="stable")
class Good(Counting):
    """Opens."""


@driver("nameresolution.mdns", settings=NoSettings, title="Broken", status="stable")
class Broken(Counting):
    """Fails in a way nobody foresaw."""

    async def open(self) -> None:
        raise RuntimeError("a mistake of ours")


@driver("nameresolution.refusing", settings=NoSettings, title="Refusing", status="stable")
class Refusing(Counting):
    """Cannot be opened."""

    async def open(self) -> None:
        raise Refused("no")


ROWS = {
    f"nameresolution.{name}/v1": {"at": f"{__name__}:{cls}"}
    for name, cls in (("sqlite", "Good"), ("mdns", "Broken"), ("refusing", "Refusing"))
}


@pytest.fixture(autouse=True)
def fresh() -> None:
    Counting.told.clear()


def setup(home: Path, configuration: Configuration | None = None) -> Setup:
    return Setup(parse(["--app-id", "shop"], {}), {}, configuration or Configuration(), Resources(), home)


async def test_a_resolver_that_breaks_leaves_none_open(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        await naming.open_resolvers(setup(tmp_path), Catalogue(ROWS))
    assert Counting.told == [
        "open nameresolution.sqlite",
        "close nameresolution.mdns",
        "close nameresolution.sqlite",
    ]


async def test_a_configured_resolver_that_cannot_be_opened_is_let_go_and_ends_start_up(
    tmp_path: Path,
) -> None:
    asked = Configuration(name_resolution=NameResolution("refusing", "v1", None))
    with pytest.raises(Fatal, match="failed to initialise name resolution refusing: no"):
        await naming.open_resolvers(setup(tmp_path, asked), Catalogue(ROWS))
    assert Counting.told == ["close nameresolution.refusing"]
