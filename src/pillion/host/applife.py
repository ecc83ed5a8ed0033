"""The app's side of the life cycle: waiting until it listens, watching its health."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

from pillion.model.metadata import HealthProbe
from pillion.ports.app import App
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass

log = logging.getLogger("dapr.runtime")

DIAL_EVERY = 0.1
DIAL_TIMEOUT = 0.5


async def listening(address: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Return once something accepts connections at the app's port; waits as long as it takes."""
    while True:
        started = time.monotonic()
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                _, writer = await asyncio.open_connection(address, port, ssl=tls)
            writer.close()
            return
        except (OSError, TimeoutError):
            await asyncio.sleep(max(0.0, DIAL_EVERY - (time.monotonic() - started)))


@dataclass(slots=True)
class HealthWatch:
    """Probes the app and tells when its health changes.

    Starts unhealthy. One success heals; `threshold` failures in a row make ill. The first probe is sent at once.
    """

    app: App
    probe: HealthProbe
    clock: Clock
    changed: Callable[[bool], Awaitable[None]]
    healthy: bool = False
    failures: int = 0

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            started = self.clock.monotonic()
            well = await self.app.is_healthy(self.probe.path, self.probe.timeout)
            spent = self.clock.monotonic() - started
            await self._judge(well)
            await self.clock.sleep(max(0.0, self.probe.interval - spent))

    async def _judge(self, well: bool) -> None:
        if well:
            self.failures = 0
            if not self.healthy:
                self.healthy = True
                log.info("App entered healthy status")
                await self.changed(True)
            return
        self.failures += 1
        if self.healthy and self.failures >= self.probe.threshold:
            self.healthy = False
            log.warning("App entered un-healthy status")
            await self.changed(False)
