"""One sidecar from start to stop: what is opened in which order, and how it is let go."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pillion import DAPR_VERSION, __version__
from pillion.host.apilog import Served
from pillion.host.fronts import Fronts
from pillion.host.furnish import furnish
from pillion.host.serving import Listeners, Page, Port
from pillion.host.setup import Setup
from pillion.host.telemetry import Metrics
from pillion.net.wheel import Wheel
from pillion.services.readiness import Readiness
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

if TYPE_CHECKING:
    from pillion.host.doorstep import Doorstep
    from pillion.host.household import Household
    from pillion.net.listen import HttpServer

log = logging.getLogger("dapr.runtime")

_LATE = "the rest of the start"


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports, open and not yet served but for health; the public one only where it was asked for."""

    grpc: Port
    internal: Port
    http: "tuple[HttpServer, Doorstep]"
    public: "tuple[HttpServer | None, Doorstep]"


class Runtime:
    """One life of a sidecar. `stop` may be called at any moment after `start` was; nothing it opened outlives it.

    `asked_to_stop` is called (with whether to force it) when the shutdown API is used.
    """

    def __init__(self, setup: Setup, asked_to_stop: Callable[[bool], None]) -> None:
        flags, conf = setup.flags, setup.configuration
        self._setup = setup
        self._started = time.monotonic()
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
        self._readiness = Readiness(flags.app_id, ["runtime"], ["grpc-api-server", "http-server"])
        self._fronts = Fronts(setup, self._served())
        self._listeners = Listeners(flags, self._wheel)
        self._household: Household | None = None
        self._asked_to_stop = asked_to_stop

    @property
    def http_address(self) -> str:
        """Where the HTTP API listens, once it does."""
        return self._listeners.http_address

    async def start(self) -> None:
        """Open everything and serve. Returns once both APIs answer; the app is waited for in the background.

        What is declared may be refused, so it is opened before the ports are. Where nothing is, the ports come
        first: health is told at once, and whoever asks for more waits for what is loaded behind them.
        """
        flags, conf = self._setup.flags, self._setup.configuration
        log.info("Starting Dapr Runtime -- version %s -- pillion %s", DAPR_VERSION, __version__)
        log.info("Log level set to: %s", flags.log_level)
        if flags.enable_metrics and conf.metrics.enabled:
            await self._listeners.serve_metrics(Page(self._metrics.text))
        log.info("%s mode configured", flags.mode)
        log.info("app id: %s", flags.app_id)
        if self._setup.declares_something:
            await self._open()
            await self._serve(await self._ports())
        else:
            ports = await self._ports()
            self._ready()
            self._crew.start(self._open_behind(ports), _LATE)

    async def stop(self) -> None:
        """Let go in order: events first, then callers, then components. What does not end in time is cut by the process."""
        log.info("Dapr is shutting down")
        grace = self._setup.flags.graceful_shutdown.total_seconds()
        household = self._household
        if household is not None and household.blocks is not None:
            await household.block()
            await household.withdraw()
            # The rest of the grace is for releasing what the app never answered, so that it ends as a stop and not as a fall.
            await household.blocks.drain(min(0.8 * grace, 30.0))
        await self._crew.close()
        await self._listeners.close(grace)
        await self._close_rest()
        log.info("Dapr runtime stopped")

    async def abandon(self) -> None:
        """Close whatever a failed start has opened."""
        if self._household is not None:
            await self._household.withdraw()
        await self._crew.close()
        await self._listeners.close(0)
        await self._close_rest()

    async def _open(self) -> None:
        await furnish()
        from pillion.host.household import Household

        self._household = Household(
            self._setup, self._metrics, self._wheel, self._readiness, self._asked_to_stop
        )
        await self._household.open()

    async def _ports(self) -> Ports:
        """Open all ports; the HTTP ones answer for health."""
        listeners = self._listeners
        grpc = await listeners.open_grpc()
        guarded = self._fronts.doorstep(self._readiness, guarded=True)
        http = await listeners.serve_http(guarded)
        unguarded = self._fronts.doorstep(self._readiness, guarded=False)
        public = await listeners.serve_public(unguarded)
        return Ports(grpc, await listeners.open_internal(), (http, guarded), (public, unguarded))

    async def _open_behind(self, ports: Ports) -> None:
        await self._open()
        await self._serve(ports)

    async def _serve(self, ports: Ports) -> None:
        """Let who waits at the ports in, tell the others, and wait for the app."""
        household = self._household
        assert household is not None and household.blocks is not None
        built, apis = household.blocks, household.apis(self._fronts)
        await self._listeners.serve_grpc(ports.grpc, apis.grpc(built.proxies[0]))
        await self._listeners.serve_grpc(ports.internal, built.internal, built.internal.lane)
        for (server, doorstep), api in ((ports.http, apis.http()), (ports.public, apis.public())):
            if server is not None:
                server.hand_to(api.handle)
            doorstep.open_to(api.handle)
        await household.announce(ports.internal.number)
        self._ready()
        self._crew.start(household.with_app(self._crew, self._started), "app")

    def _ready(self) -> None:
        self._readiness.ready("grpc-api-server")
        self._readiness.ready("http-server")

    async def _close_rest(self) -> None:
        if self._household is not None:
            # A start that was stopped in its middle may have announced itself by now.
            await self._household.withdraw()
            await self._household.close()
            self._household = None
        await self._listeners.close_metrics()
        self._wheel.close()

    def _served(self) -> Served:
        rules = self._setup.configuration.api_logging
        asked = self._setup.flags.enable_api_logging
        return Served(self._metrics, rules if (rules.enabled if asked is None else asked) else None)

    def _failed(self, name: str, error: BaseException) -> None:
        log.error("%s failed: %s", name, error, exc_info=error)
        if name == _LATE:
            self._asked_to_stop(True)
