"""nameresolution.static: addresses written down."""

from collections.abc import Sequence

from pillion.contracts.names import Announced, Announcement, Names
from pillion.contracts.words import Refused
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticNamesSettings:
    apps: str = setting(
        "Each app id with the address of its sidecar's internal port, separated by commas; an app may stand there more than once.",
        example="orders=10.0.0.5:50002,payments=10.0.0.6:50002",
    )


@driver("nameresolution.static", settings=StaticNamesSettings, title="Static addresses", status="stable")
class StaticNames(Names[StaticNamesSettings]):
    """Finds sidecars by a list in the configuration.

    For machines without a registry or multicast between them. Namespaces are not looked at, and nothing is announced.
    """

    async def open(self) -> None:
        self._apps: dict[str, list[str]] = {}
        for item in filter(None, (text.strip() for text in self.settings.apps.split(","))):
            app_id, equals, address = (part.strip() for part in item.partition("="))
            host, colon, port = address.rpartition(":")
            if not (app_id and equals and host and colon and port.isdigit() and 0 < int(port) < 65536):
                raise Refused(f"apps: {item!r} is not of the form app=host:port")
            self._apps.setdefault(app_id, []).append(address)

    async def resolve(self, app_id: str, namespace: str) -> Sequence[str]:
        """The addresses in the order they were written."""
        return self._apps.get(app_id, [])

    async def announce(self, who: Announcement) -> Announced:
        """Nothing to do: the list says it."""
        return _Nothing()


class _Nothing:
    async def close(self) -> None:
        """Nothing was announced."""
