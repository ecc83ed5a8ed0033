"""Where an app's sidecars are: several resolvers in order, remembered for a moment."""

import logging
from collections.abc import Sequence
from typing import Any

from pillion.contracts.names import Names
from pillion.contracts.words import DriverError
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew, tasked

log = logging.getLogger("dapr.runtime.names")

FRESH = 1.0
"""Seconds an answer is used without asking again."""

STALE = 10.0
"""Seconds an answer may still be used while a new one is fetched."""

EMPTY_TRIES = 5
"""How often an empty answer is asked again, 100 ms apart, before it is believed."""


@dataclass(slots=True)
class _Known:
    addresses: list[str]
    at: float
    turn: int = 0
    asking: bool = False


class Resolver:
    """Asks each driver in order until one knows somebody. Answers rotate, so that replicas share the load.

    A fresh answer costs a dictionary look-up. An address that refused a connection is taken out at once and told to the drivers.
    """

    def __init__(self, drivers: Sequence[Names[Any]], clock: Clock) -> None:
        self._drivers = drivers
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._crew = Crew("names")

    async def addresses(self, app_id: str, namespace: str) -> list[str]:
        """`host:port` of the app's sidecars, the one whose turn it is first; empty when nobody knows the app."""
        found = self.known(app_id, namespace)
        if found is None:
            found = _turned(await tasked(self._ask(app_id, namespace)))
        return found

    def known(self, app_id: str, namespace: str) -> list[str] | None:
        """The same without waiting; None where somebody must be asked first."""
        known = self._known.get((app_id, namespace))
        if known is None or not known.addresses:
            return None
        age = self._clock.monotonic() - known.at
        if age > FRESH:
            if age > STALE:
                return None
            if not known.asking:
                known.asking = True
                self._crew.start(self._refresh(app_id, namespace), f"look for {app_id}")
        return known.addresses if len(known.addresses) == 1 else _turned(known)

    def drop(self, app_id: str, namespace: str, address: str) -> None:
        """Nobody listens at this address any more."""
        known = self._known.get((app_id, namespace))
        if known is not None and address in known.addresses:
            known.addresses = [each for each in known.addresses if each != address]
        for driver in self._drivers:
            driver.drop(app_id, address)

    async def close(self) -> None:
        """Stop looking."""
        await self._crew.close()

    async def _ask(self, app_id: str, namespace: str) -> _Known:
        found = await self._look(app_id, namespace)
        for _ in range(EMPTY_TRIES - 1):
            if found:
                break
            await self._clock.sleep(0.1)
            found = await self._look(app_id, namespace)
        known = _Known(found, self._clock.monotonic())
        if found:
            self._known[app_id, namespace] = known
        else:
            self._known.pop((app_id, namespace), None)
        return known

    async def _refresh(self, app_id: str, namespace: str) -> None:
        found = await self._look(app_id, namespace)
        known = self._known.get((app_id, namespace))
        if known is not None:
            known.asking = False
            # An empty answer is kept only until the old one is stale: the resolver may be in trouble, the app alive.
            if found:
                known.addresses = found
                known.at = self._clock.monotonic()

    async def _look(self, app_id: str, namespace: str) -> list[str]:
        for driver in self._drivers:
            try:
                found = list(await driver.resolve(app_id, namespace))
            except DriverError as error:
                log.warning("%s could not look for %s: %s", driver.context.name, app_id, error)
                continue
            if found:
                return found
        return []


def _turned(known: _Known) -> list[str]:
    """The addresses, the next in turn first."""
    known.turn += 1
    at = known.turn % len(known.addresses) if known.addresses else 0
    return known.addresses[at:] + known.addresses[:at] if at else known.addresses
