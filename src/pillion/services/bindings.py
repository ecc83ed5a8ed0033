"""Bindings: outside systems an app asks, and those that bring it events."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pillion.contracts.bindings import Binding, InvocationFailed, Listening, NotDelivered
from pillion.contracts.words import DriverError
from pillion.model.bindings import Reply, Trigger
from pillion.model.call import PLAIN, Call
from pillion.model.errors import OUTPUT_BINDING, ApiError
from pillion.model.state import NOTHING
from pillion.ports.app import App, AppFailed, AppUnreachable
from pillion.ports.json import Json
from pillion.ports.telemetry import Instrument, Telemetry
from pillion.services.mount import Guard, Mount
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass

log = logging.getLogger("dapr.runtime.processor.binding")

CREATE = "create"
SETTLE = 0.4
"""Seconds that a driver has to pass the last answers on before it is closed."""
PATIENCE = 5.0
"""Seconds that deliveries under way may take when an input stops."""


@dataclass(frozen=True, slots=True)
class BindingMount(Mount[Binding[Any]]):
    """A binding as this service holds it: which ways it is used, and where the app takes its events."""

    route: str = ""
    directions: frozenset[str] = frozenset()
    """As the component says; empty leaves it to the driver and, for inputs, to the app."""
    arrivals: Instrument | None = None
    """Told of each event brought; `instrument` is told of invocations."""
    inbound: Guard | None = None
    """Policies of deliveries to the app; `guard` has those of invocations."""

    @classmethod
    def of(
        cls,
        mount: Mount[Binding[Any]],
        metadata: Mapping[str, str],
        arrivals: Instrument | None = None,
        inbound: Guard | None = None,
    ) -> "BindingMount":
        """Complete a mount by the component's metadata, whose names match without regard to case."""
        words = {name.lower(): value for name, value in metadata.items()}
        named = (word.strip().lower() for word in words.get("direction", "").split(","))
        return cls(
            mount.name,
            mount.type_name,
            mount.version,
            mount.driver,
            mount.instrument,
            mount.guard,
            words.get("route") or mount.name,
            frozenset(filter(None, named)),
            arrivals,
            inbound,
        )

    @property
    def is_output(self) -> bool:
        return bool(self.driver.operations) and (not self.directions or "output" in self.directions)

    @property
    def is_input(self) -> bool:
        return self.driver.is_input and (not self.directions or "input" in self.directions)


class BindingFailed(ApiError):
    """The fault of an invocation; `metadata` is what the outside system told of its failure."""

    def __init__(self, binding: str, why: str, metadata: Mapping[str, str] = NOTHING) -> None:
        super().__init__(OUTPUT_BINDING, binding=binding, why=why)
        self.metadata = metadata


class OutputBindings:
    """Invocations of the mounted outputs.

    `mounts` is the host's own mapping: what it replaces there on a reload counts from the next request on.
    """

    def __init__(self, mounts: Mapping[str, BindingMount], telemetry: Telemetry) -> None:
        self._mounts = mounts
        self._telemetry = telemetry

    async def invoke(
        self, call: Call, name: str, operation: str, data: bytes, metadata: Mapping[str, str] = NOTHING
    ) -> Reply | None:
        """Have a binding do one of its operations; None and a Reply without data are both "no content".
        Raises BindingFailed."""
        mount = self._find(name, operation)
        given = traced(metadata, call)
        try:
            return await mount.run(call, operation, lambda: mount.driver.invoke(operation, data, given))
        except InvocationFailed as error:
            raise BindingFailed(name, str(error), error.reply.metadata) from error
        except DriverError as error:
            raise BindingFailed(name, str(error)) from error

    def _find(self, name: str, operation: str) -> BindingMount:
        mount = self._mounts.get(name)
        if mount is not None and operation in mount.driver.operations and mount.is_output:
            return mount
        self._telemetry.component("output_binding", name)(operation, False, 0.0)
        if not operation:
            raise BindingFailed(name, "operation field is missing from request")
        if mount is None or not mount.is_output:
            raise BindingFailed(name, f"couldn't find output binding {name}")
        known = " ".join(mount.driver.operations)
        raise BindingFailed(
            name, f"binding {name} does not support operation {operation}. supported operations:{known}"
        )


def traced(metadata: Mapping[str, str], call: Call) -> Mapping[str, str]:
    """The request's metadata with its trace: a driver that speaks HTTP hands it on."""
    marks = (("traceparent", call.trace), ("tracestate", call.trace_state), ("baggage", call.baggage))
    found = {name: value for name, value in marks if value}
    return {**metadata, **found} if found else metadata


class InputBindings:
    """Brings the events of the mounted inputs to the app, between `start` and `stop`.

    Both may be called again and again, as the app becomes well and ill; they wait for each other. A binding that cannot
    start is named in the log and does not keep the others from starting.
    """

    def __init__(
        self, mounts: Mapping[str, BindingMount], app: App, outputs: OutputBindings, json: Json, clock: Clock
    ) -> None:
        self._mounts = mounts
        self._app = app
        self._outputs = outputs
        self._json = json
        self._clock = clock
        self._running: list[_Input] = []
        self._turn = asyncio.Lock()
        self._over = False

    async def start(self) -> None:
        """Ask the app which inputs it takes, and start those. Started already, it does nothing."""
        async with self._turn:
            if self._over or self._running:
                return
            inputs = {name: mount for name, mount in self._mounts.items() if mount.is_input}
            wanted = await self._wanted(inputs)
            for name, mount in inputs.items():
                if name in wanted:
                    await self._start(mount)
                else:
                    log.info("app has not subscribed to binding %s.", name)

    async def stop(self, *, forever: bool = False, patience: float = PATIENCE) -> None:
        """Take no more events, wait for those under way, then stop listening. `forever` makes later starts do nothing."""
        self._over = self._over or forever
        async with self._turn:
            running, self._running = self._running, []
            for each in running:
                each.closed = True
            await asyncio.gather(*(each.stop(patience, self._clock) for each in running))

    async def _wanted(self, inputs: Mapping[str, BindingMount]) -> frozenset[str]:
        sure = frozenset(name for name, mount in inputs.items() if mount.directions)
        asked = {name: mount.route for name, mount in inputs.items() if name not in sure}
        if not asked:
            return sure
        try:
            return sure | await self._app.inputs(asked)
        except (AppUnreachable, AppFailed) as error:
            log.error("could not ask the app which input bindings it takes: %s", error)
            return sure

    async def _start(self, mount: BindingMount) -> None:
        one = _Input(mount, self._app, self._outputs, self._json)
        try:
            one.listening = await mount.driver.listen(one.bring)
        except DriverError as error:
            log.error("error reading from input binding %s: %s", mount.name, error)
            return
        self._running.append(one)


class _Input:
    """One binding that is listened to: counts what is under way."""

    def __init__(self, mount: BindingMount, app: App, outputs: OutputBindings, json: Json) -> None:
        self.listening: Listening | None = None
        self._mount = mount
        self._app = app
        self._outputs = outputs
        self._json = json
        self.closed = False
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def bring(self, trigger: Trigger) -> Reply:
        """Hand an event to the app and do what its answer asks for; raises NotDelivered."""
        if self.closed:
            raise NotDelivered("input binding is closed")
        self._busy += 1
        self._idle.clear()
        try:
            reply = await self._deliver(trigger)
            if reply.to:
                await self._forward(reply)
            return reply
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def stop(self, patience: float, clock: Clock) -> None:
        if self._busy:
            try:
                async with asyncio.timeout(patience):
                    await self._idle.wait()
            except TimeoutError:
                log.warning("%s: the app still handles %d events", self._mount.name, self._busy)
            await clock.sleep(SETTLE)
        if self.listening is not None:
            await self.listening.close()

    async def _deliver(self, trigger: Trigger) -> Reply:
        mount, trace = self._mount, trigger.metadata.get("traceparent", "")
        started, ok = time.perf_counter(), False

        async def work() -> Reply:
            return await self._app.bring(mount.name, mount.route, trigger, trace)

        try:
            reply = await (work() if mount.inbound is None else mount.inbound.run(PLAIN, "bring", work))
            ok = True
            return reply
        except (AppUnreachable, AppFailed) as error:
            log.debug("error from app consumer for binding [%s]: %s", mount.name, error)
            raise NotDelivered(str(error)) from error
        finally:
            if mount.arrivals is not None:
                mount.arrivals("", ok, time.perf_counter() - started)

    async def _forward(self, reply: Reply) -> None:
        """Send the app's data to the outputs it names; what fails is logged, the event counts as taken."""
        data = self._spelled(reply.data)
        try:
            if reply.parallel:
                await self._all_at_once(reply.to, data)
                return
            for name in reply.to:
                await self._outputs.invoke(PLAIN, name, CREATE, data)
        except ApiError as error:
            log.error("error executing app response: %s", error.message)

    async def _all_at_once(self, names: Iterable[str], data: bytes) -> None:
        works = (self._outputs.invoke(PLAIN, name, CREATE, data) for name in names)
        for outcome in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(outcome, ApiError):
                log.error("error executing app response: %s", outcome.message)
            elif isinstance(outcome, BaseException):
                raise outcome

    def _spelled(self, data: bytes | None) -> bytes:
        """JSON as the HTTP API would hand it to a binding; what is not JSON goes as it is."""
        if not data:
            return b"null"
        try:
            return self._json.encode_exact(self._json.loads(data))
        except ValueError:
            return data
