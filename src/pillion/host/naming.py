"""Which resolvers a runtime asks, and the address it gives of itself."""

import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from pillion.contracts.names import Announced, Announcement, Names
from pillion.contracts.words import DriverError
from pillion.host.catalogue import Catalogue, ExtraMissing, UnknownType
from pillion.host.components import shut
from pillion.host.setup import Fatal, Setup
from pillion.plug import settings
from pillion.plug.component import Component, Context
from pillion.plug.settings import SettingProblem, SettingsError
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime.names")


async def open_resolvers(setup: Setup, catalogue: Catalogue) -> list[Names[Any]]:
    """The Configuration's resolver, else the machine's registry and, unless turned off, multicast DNS.

    One that is configured and cannot be opened is fatal; without one of the defaults the sidecar runs on.
    """
    asked = setup.configuration.name_resolution
    if asked is not None and asked.component:
        metadata = _texts(asked.configuration)
        try:
            return [await _opened(setup, catalogue, asked.component, asked.version, metadata)]
        except (UnknownType, ExtraMissing, SettingsError, DriverError) as error:
            raise Fatal([f"failed to initialise name resolution {asked.component}: {error}"]) from error
    wanted = [] if setup.data_home is None else ["sqlite"]
    if not setup.flags.no_multicast:
        wanted.append("mdns")
    found: list[Names[Any]] = []
    for name in wanted:
        try:
            found.append(await _opened(setup, catalogue, name, "v1", {}))
        except (ExtraMissing, DriverError) as error:
            log.warning("name resolution %s is off: %s", name, error)
        except BaseException:
            await close(found)
            raise
    return found


async def close(drivers: Sequence[Names[Any]]) -> None:
    """Let the resolvers go."""
    for driver in drivers:
        await shut(driver)


async def announce(drivers: Sequence[Names[Any]], who: Announcement, *, configured: bool) -> list[Announced]:
    """Make the sidecar known to each resolver; trouble with one never stops the sidecar."""
    made: list[Announced] = []
    for driver in drivers:
        try:
            made.append(await driver.announce(who))
        except DriverError as error:
            level = logging.ERROR if configured else logging.WARNING
            log.log(level, "%s could not be told of this sidecar: %s", driver.context.name, error)
    return made


def own_address(setup: Setup) -> str:
    """Where other sidecars can call us: DAPR_HOST_IP, loopback if that is all we listen on, else the address of the route out."""
    flags = setup.flags
    if flags.host_ip:
        return flags.host_ip
    listens = flags.dapr_internal_grpc_listen_address.strip("[]")
    if listens:
        try:
            address = ipaddress.ip_address(listens)
        except ValueError:
            return listens
        if not address.is_unspecified:
            return str(address)
    return _address_of_route_out() or "127.0.0.1"


def _address_of_route_out() -> str:
    """The source address of a datagram to the outside; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


async def _opened(
    setup: Setup, catalogue: Catalogue, name: str, version: str, metadata: Mapping[str, str]
) -> Names[Any]:
    cls: type[Component[Any]] = catalogue.find(f"nameresolution.{name}", version)

    def remark(problem: SettingProblem) -> None:
        log.warning("nameResolution %s: %s", name, problem)

    context = Context(
        name=f"nameresolution.{name}",
        app_id=setup.flags.app_id,
        namespace=setup.flags.namespace,
        metadata=dict(metadata),
        log=log,
        crew=Crew(f"nameresolution.{name}"),
        data_home=setup.data_home,
    )
    driver = cls(settings.read(cls.spec.settings, metadata, remark=remark), context)
    if not isinstance(driver, Names):
        raise UnknownType(f"{name} is not a name resolver")
    try:
        await driver.open()
    except BaseException:
        await shut(driver)
        raise
    log.info("Initialized name resolution to %s", name)
    return driver


def _texts(configuration: Any) -> dict[str, str]:
    """A resolver's settings as metadata: scalars as text, as a Component's would be."""
    if not isinstance(configuration, Mapping):
        return {}
    return {
        str(key): str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in configuration.items()
        if value is not None
    }
