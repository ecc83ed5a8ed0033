"""One sidecar from start to stop: what is opened in which order, and how it is let go."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pillion import DAPR_VERSION, __version__
from pillion.contracts.names import Announced, Announcement, Names
from pillion.host import blocks, mounts, naming
from pillion.host import endpoints as http_endpoints
from pillion.host.apilog import Served
from pillion.host.apis import Apis
from pillion.host.applife import HealthWatch, listening
from pillion.host.blocks import Blocks
from pillion.host.catalogue import Catalogue
from pillion.host.components import Loader
from pillion.host.embedded import Stand
from pillion.host.serving import Listeners, Page
from pillion.host.setup import Setup
from pillion.host.telemetry import Metrics
from pillion.model.metadata import AppConnection, HealthProbe, Sidecar
from pillion.net.wheel import Wheel
from pillion.resources.references import Templates
from pillion.services.metadata import MetadataService, Readiness
from pillion.toolbox import ids
from pillion.toolbox.clock import SystemClock
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime")

RUNTIME = "runtime"
"""The part of readiness that waits for the app."""


class Runtime:
    """One life of a sidecar. `stop` may be called at any moment after `start` was; nothing it opened outlives it.

    `asked_to_stop` is called (with whether to force it) when the shutdown API is used.
    """

    def __init__(self, setup: Setup, asked_to_stop: Callable[[bool], None]) -> None:
        flags, conf = setup.flags, setup.configuration
        self._setup = setup
        self._started = time.monotonic()
        self._clock = SystemClock()
        self._wheel = Wheel(asyncio.get_running_loop())
        self._crew = Crew("runtime", self._failed)
        self._metrics = Metrics(
            flags.app_id,
            flags.own_namespace or "",
            latency_ms=conf.metrics.latency_buckets,
            paths=conf.metrics.increased_cardinality,
            verbs=not conf.metrics.exclude_verbs,
            policy="accessControl" in conf.written,
        )
        self._readiness = Readiness(flags.app_id, [RUNTIME], ["grpc-api-server", "http-server"])
        self._listeners = Listeners(flags, self._wheel)
        self._loader = self._made_loader()
        self._names: Sequence[Names[Any]] = ()
        self._announced: list[Announced] = []
        self._blocks: Blocks | None = None
        extended = {"daprRuntimeVersion": DAPR_VERSION, "pillionVersion": __version__}
        self._metadata = MetadataService(self._snapshot, extended)
        self._asked_to_stop = asked_to_stop
        self._ill = asyncio.Event()
        """Set while a watched app is unhealthy."""

    @property
    def http_address(self) -> str:
        """Where the HTTP API listens, once it does."""
        return self._listeners.http_address

    async def start(self) -> None:
        """Open everything and serve. Returns once both APIs answer; the app is waited for in the background."""
        flags, conf = self._setup.flags, self._setup.configuration
        log.info("Starting Dapr Runtime -- version %s -- pillion %s", DAPR_VERSION, __version__)
        log.info("Log level set to: %s", flags.log_level)
        if flags.enable_metrics and conf.metrics.enabled:
            await self._listeners.serve_metrics(Page(self._metrics.text))
        log.info("%s mode configured", flags.mode)
        log.info("app id: %s", flags.app_id)
        catalogue = self._loader.catalogue
        self._names = names = await naming.open_resolvers(self._setup, catalogue)
        log.info("Loading components…")
        await self._loader.load(self._setup.resources.components)
        log.info("All outstanding components processed")
        endpoints = await http_endpoints.resolve(self._setup.resources.endpoints, self._loader)
        self._blocks = blocks.build(
            self._setup,
            self._loader.loaded,
            endpoints,
            names,
            self._metrics,
            self._clock,
            self._wheel,
            metadata=self._metadata,
            readiness=self._readiness,
            shutdown=self._asked_to_stop,
        )
        await self._serve(self._blocks, names)
        self._crew.start(self._with_app(self._blocks), "app")

    async def stop(self) -> None:
        """Let go in order: events first, then callers, then components. What does not end in time is cut by the process."""
        log.info("Dapr is shutting down")
        grace = self._setup.flags.graceful_shutdown.total_seconds()
        built = self._blocks
        if built is not None:
            await self._block(built)
            await self._withdraw()
            # The rest of the grace is for releasing what the app never answered, so that it ends as a stop and not as a fall.
            await built.drain(min(0.8 * grace, 30.0))
        await self._crew.close()
        await self._listeners.close(grace)
        await self._close_rest()
        log.info("Dapr runtime stopped")

    async def abandon(self) -> None:
        """Close whatever a failed start has opened."""
        await self._withdraw()
        await self._crew.close()
        await self._listeners.close(0)
        await self._close_rest()

    async def _serve(self, built: Blocks, names: Sequence[Names[Any]]) -> None:
        apis = Apis(self._setup, built.services, self._served())
        await self._listeners.serve_grpc(apis.grpc(built.proxies[0]))
        self._readiness.ready("grpc-api-server")
        http = apis.http()
        await self._listeners.serve_http(http.handle)
        await self._listeners.serve_public(apis.public().handle)
        port = await self._listeners.serve_internal(built.internal, built.internal.lane)
        flags = self._setup.flags
        who = Announcement(flags.app_id, flags.own_namespace or "", naming.own_address(self._setup), port)
        configured = self._setup.configuration.name_resolution is not None
        self._announced = await naming.announce(names, who, configured=configured)
        self._readiness.ready("http-server")

    async def _with_app(self, built: Blocks) -> None:
        """Wait for the app, then take up everything that calls it."""
        flags = self._setup.flags
        if built.app is not None and flags.app_port:
            log.info(
                "application protocol: %s. waiting on port %d.  This will block until the app is listening on that port.",
                flags.app_protocol, flags.app_port,
            )  # fmt: skip
            await listening(flags.app_channel_address, flags.app_port, built.app_tls)
            log.info("application discovered on port %d", flags.app_port)
            if flags.enable_app_health_check:
                built.gate.healthy = False
                await self._watched(built)
            else:
                await self._take_up(built)
        else:
            await built.subscriptions.start(built.declared, ask=False)
        self._readiness.ready(RUNTIME)
        elapsed = round((time.monotonic() - self._started) * 1000)
        log.info("dapr initialized. Status: Running. Init Elapsed %dms", elapsed)

    async def _watched(self, built: Blocks) -> None:
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
        self._crew.start(watch.run(), "app health")
        await well.wait()

    async def _take_up(self, built: Blocks) -> None:
        disabled = self._setup.flags.disable_init_endpoints
        if built.app is not None and "config" not in disabled:
            await blocks.read_app_settings(built.app)
        await built.subscriptions.start(built.declared, ask="subscribe" not in disabled)
        if built.inputs is not None:
            await built.inputs.start()

    async def _block(self, built: Blocks) -> None:
        """Keep serving the app's own calls for a while, without bringing it anything new."""
        blocked = self._setup.flags.block_shutdown
        if blocked is None:
            return
        self._readiness.unready("security-provider")
        seconds = blocked.total_seconds()
        log.info("Blocking graceful shutdown for %gs or until app reports unhealthy...", seconds)
        await built.pause()
        try:
            async with asyncio.timeout(seconds):
                await self._ill.wait()
        except TimeoutError:
            pass
        log.info("Block shutdown period expired, entering shutdown...")

    async def _withdraw(self) -> None:
        announced, self._announced = self._announced, []
        for each in announced:
            await each.close()

    async def _close_rest(self) -> None:
        if self._blocks is not None:
            await self._blocks.close()
            self._blocks = None
        names, self._names = self._names, ()
        await naming.close(names)
        await self._loader.close()
        await self._listeners.close_metrics()
        self._wheel.close()

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

    def _served(self) -> Served:
        rules = self._setup.configuration.api_logging
        asked = self._setup.flags.enable_api_logging
        return Served(self._metrics, rules if (rules.enabled if asked is None else asked) else None)

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
            subscriptions=self._blocks.subscriptions.listing() if self._blocks is not None else (),
            http_endpoints=tuple(each.name for each in self._setup.resources.endpoints),
            features=tuple(name for name, on in conf.features.items() if on),
            extended=extended,
        )

    def _failed(self, name: str, error: BaseException) -> None:
        log.error("%s failed: %s", name, error, exc_info=error)
