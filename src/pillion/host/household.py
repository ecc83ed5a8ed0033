"""What one runtime holds behind its ports: resolvers, components, services, APIs, and the way to its app.

This is where everything that serves is imported. A sidecar for which nothing is declared opens its ports without it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pillion import DAPR_VERSION, __version__
from pillion.contracts.names import Announced, Announcement, Names
from pillion.host import blocks, mounts, naming
from pillion.host import endpoints as http_endpoints
from pillion.host.apis import Apis
from pillion.host.applife import HealthWatch, listening
from pillion.host.blocks import Blocks
from pillion.host.catalogue import Catalogue
from pillion.host.components import Loader
from pillion.host.embedded import Stand
from pillion.host.fronts import Fronts
from pillion.host.setup import Setup
from pillion.host.telemetry import Metrics
from pillion.model.metadata import AppConnection, HealthProbe, Sidecar
from pillion.net.wheel import Wheel
from pillion.resources.references import Templates
from pillion.services.metadata import MetadataService
from pillion.services.readiness import Readiness
from pillion.toolbox import ids
from pillion.toolbox.clock import SystemClock
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime")

RUNTIME: Final = "runtime"
"""The part of readiness that waits for the app."""


class Household:
    """Opened, announced, joined with the app, and closed, each once; `close` at any moment.

    `asked_to_stop` is called (with whether to force it) when the shutdown API is used.
    """

    def __init__(
        self,
        setup: Setup,
        metrics: Metrics,
        wheel: Wheel,
        readiness: Readiness,
        asked_to_stop: Callable[[bool], None],
    ) -> None:
        self._setup = setup
        self._metrics = metrics
        self._wheel = wheel
        self._readiness = readiness
        self._asked_to_stop = asked_to_stop
        self._clock = SystemClock()
        self._loader = self._made_loader()
        self._names: Sequence[Names[Any]] = ()
        self._announced: list[Announced] = []
        self.blocks: Blocks | None = None
        """Once it is open."""
        self._ill = asyncio.Event()
        """Set while a watched app is unhealthy."""

    async def open(self) -> Blocks:
        """Open what is declared. Raises Fatal and LoadError for what cannot be."""
        self._names = await naming.open_resolvers(self._setup, self._loader.catalogue)
        log.info("Loading components…")
        await self._loader.load(self._setup.resources.components)
        log.info("All outstanding components processed")
        endpoints = await http_endpoints.resolve(self._setup.resources.endpoints, self._loader)
        extended = {"daprRuntimeVersion": DAPR_VERSION, "pillionVersion": __version__}
        self.blocks = blocks.build(
            self._setup,
            self._loader.loaded,
            endpoints,
            self._names,
            self._metrics,
            self._clock,
            self._wheel,
            metadata=MetadataService(self._snapshot, extended),
            readiness=self._readiness,
            shutdown=self._asked_to_stop,
        )
        return self.blocks

    def apis(self, fronts: Fronts) -> Apis:
        """Both APIs over its services, once it is open."""
        assert self.blocks is not None
        return Apis(self._setup, self.blocks.services, fronts)

    async def announce(self, port: int) -> None:
        """Tell the resolvers where other sidecars find this one."""
        flags = self._setup.flags
        who = Announcement(flags.app_id, flags.own_namespace or "", naming.own_address(self._setup), port)
        configured = self._setup.configuration.name_resolution is not None
        self._announced = await naming.announce(self._names, who, configured=configured)

    async def withdraw(self) -> None:
        """Have nobody find this sidecar any more."""
        announced, self._announced = self._announced, []
        for each in announced:
            await each.close()

    async def with_app(self, crew: Crew, since: float) -> None:
        """Wait for the app, then take up everything that calls it. `since` is when the start began."""
        flags, built = self._setup.flags, self.blocks
        assert built is not None
        if built.app is not None and flags.app_port:
            log.info(
                "application protocol: %s. waiting on port %d.  This will block until the app is listening on that port.",
                flags.app_protocol, flags.app_port,
            )  # fmt: skip
            await listening(flags.app_channel_address, flags.app_port, built.app_tls)
            log.info("application discovered on port %d", flags.app_port)
            if flags.enable_app_health_check:
                built.gate.healthy = False
                await self._watched(built, crew)
            else:
                await self._take_up(built)
        else:
            await built.subscriptions.start(built.declared, ask=False)
        self._readiness.ready(RUNTIME)
        elapsed = round((time.monotonic() - since) * 1000)
        log.info("dapr initialized. Status: Running. Init Elapsed %dms", elapsed)

    async def block(self) -> None:
        """Keep serving the app's own calls for a while, without bringing it anything new."""
        blocked = self._setup.flags.block_shutdown
        if blocked is None or self.blocks is None:
            return
        self._readiness.unready("security-provider")
        seconds = blocked.total_seconds()
        log.info("Blocking graceful shutdown for %gs or until app reports unhealthy...", seconds)
        await self.blocks.pause()
        try:
            async with asyncio.timeout(seconds):
                await self._ill.wait()
        except TimeoutError:
            pass
        log.info("Block shutdown period expired, entering shutdown...")

    async def close(self) -> None:
        """Let everything go."""
        if self.blocks is not None:
            await self.blocks.close()
            self.blocks = None
        names, self._names = self._names, ()
        await naming.close(names)
        await self._loader.close()

    async def _watched(self, built: Blocks, crew: Crew) -> None:
        """Start the app's health watch and wait until the app is well for the first time."""
        assert built.app is not None
        well = asyncio.Event()
        taken_up = False

        async def changed(healthy: bool) -> None:
            nonlocal taken_up
            built.gate.healthy = healthy
            self._ill.clear() if healthy else self._ill.set()
            if not taken_up:
                taken_up = True
                await self._take_up(built)
                well.set()
            elif healthy:
                await built.resume()
            else:
                await built.pause()

        watch = HealthWatch(built.app, self._probe(), self._clock, changed)
        crew.start(watch.run(), "app health")
        await well.wait()

    async def _take_up(self, built: Blocks) -> None:
        disabled = self._setup.flags.disable_init_endpoints
        if built.app is not None and "config" not in disabled:
            await blocks.read_app_settings(built.app)
        await built.subscriptions.start(built.declared, ask="subscribe" not in disabled)
        if built.inputs is not None:
            await built.inputs.start()

    def _made_loader(self) -> Loader:
        setup = self._setup
        flags = setup.flags
        loader = Loader(
            app_id=flags.app_id,
            namespace=flags.namespace,
            environ=setup.environ,
            catalogue=Catalogue(),
            metrics=self._metrics,
            clock=self._clock,
            data_home=setup.data_home,
            templates=Templates(flags.app_id, flags.namespace, ids.uuid4, flags.pod_name),
            denied=frozenset(setup.configuration.denied_components),
        )
        if flags.embedded:
            stand = Stand()
            loader.replace, loader.patient = stand, lambda component: not stand.knows(component)
        return loader

    def _probe(self) -> HealthProbe:
        flags = self._setup.flags
        return HealthProbe(
            flags.app_health_check_path if not flags.app_protocol.startswith("grpc") else "",
            flags.app_health_probe_interval.total_seconds(),
            flags.app_health_probe_timeout.total_seconds(),
            flags.app_health_threshold,
        )

    def _snapshot(self, extended: Mapping[str, str]) -> Sidecar:
        flags, conf = self._setup.flags, self._setup.configuration
        app = AppConnection(
            flags.app_port or 0,
            flags.app_protocol,
            flags.app_channel_address,
            flags.app_max_concurrency or 0,
            self._probe() if flags.enable_app_health_check else None,
        )
        return Sidecar(
            flags.app_id,
            DAPR_VERSION,
            app,
            components=mounts.listed(self._loader.loaded),
            subscriptions=self.blocks.subscriptions.listing() if self.blocks is not None else (),
            http_endpoints=tuple(each.name for each in self._setup.resources.endpoints),
            features=tuple(name for name, on in conf.features.items() if on),
            extended=extended,
        )
