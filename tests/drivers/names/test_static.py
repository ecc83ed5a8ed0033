"""Addresses written down."""

import pytest

from pillion.contracts.names import Announcement
from pillion.contracts.words import Refused
from pillion.drivers.names.static import StaticNames, StaticNamesSettings
from pillion.plug import settings
from pillion.plug.component import Context


async def opened(apps: str) -> StaticNames:
    made = StaticNames(settings.read(StaticNamesSettings, {"apps": apps}), Context(name="names"))
    await made.open()
    return made


async def test_an_app_is_where_the_list_says() -> None:
    made = await opened("orders=127.0.0.1:5001, pay=[::1]:5002 ,orders=10.0.0.1:5003,")
    assert await made.resolve("orders", "any") == ["127.0.0.1:5001", "10.0.0.1:5003"]
    assert await made.resolve("pay", "") == ["[::1]:5002"]
    assert await made.resolve("nosuch", "") == []
    await (await made.announce(Announcement("a", "", "h", 1))).close()


@pytest.mark.parametrize(
    "apps", ["orders", "orders=host", "=host:1", "orders=host:0", "orders=:1", "orders=host:99999"]
)
async def test_what_is_no_address_is_refused_with_the_place(apps: str) -> None:
    with pytest.raises(Refused, match="app=host:port"):
        await opened(apps)
