"""Brokers in memory, the services over them, and an app that says what a test wants it to say."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pillion.contracts.pubsub import PubSub
from pillion.drivers.pubsub.memory import MemoryPubSub, MemoryPubSubSettings
from pillion.model.pubsub import Answer, Batch, Event, Interest, Message, Topic, Verdict
from pillion.plug.component import Context
from pillion.ports.app import AppFailed
from pillion.services.brokers import Broker, broker
from pillion.services.mount import Mount
from pillion.services.pubsub import PubSubService
from pillion.services.subscriptions import Subscriptions
from pillion.testing.clock import HandClock
from pillion.wire import json


class Noted:
    """Telemetry that keeps what it was told of publish/subscribe and of calls."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def egress(self, pubsub: str, topic: str, ok: bool, seconds: float, *, bulk: int = 0) -> None:
        self.told.append(("egress", pubsub, topic, ok, bulk))

    def ingress(self, pubsub: str, topic: str, process_status: str, status: str, seconds: float) -> None:
        self.told.append(("ingress", pubsub, topic, process_status, status))

    def ingress_batch(self, pubsub: str, topic: str, statuses: dict[str, int], seconds: float) -> None:
        self.told.append(("batch", pubsub, topic, statuses))

    def http_called(
        self, method: str, path: str, status: int, seconds: float, sent: int, received: int
    ) -> None:
        self.told.append(("http", method, path, status, sent, received))

    def rpc_called(self, method: str, code: int, seconds: float, sent: int, received: int) -> None:
        self.told.append(("rpc", method, code))

    def health_probed(self, healthy: bool, seconds: float, *, grpc: bool) -> None:
        self.told.append(("health", healthy, grpc))

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **named: None


class Told:
    """An app in memory: keeps the events it is given and answers as `says` decides."""

    def __init__(
        self, *interests: Interest, says: Callable[[Event], Answer] = lambda event: Answer.SUCCESS
    ) -> None:
        self.wants: Sequence[Interest] = interests
        self.says = says
        self.events: list[Event] = []
        self.batches: list[Batch] = []
        self.asked = 0
        self.silent: Callable[[], Any] | None = None

    async def interests(self) -> Sequence[Interest]:
        self.asked += 1
        return self.wants

    async def deliver(self, event: Event) -> Answer:
        self.events.append(event)
        if self.silent is not None:
            await self.silent()
        return self.says(event)

    async def deliver_batch(self, batch: Batch) -> Mapping[str, Answer]:
        self.batches.append(batch)
        if self.silent is not None:
            await self.silent()
        return {event.entry_id: self.says(event) for event in batch.events}

    def heard(self) -> list[object]:
        """The data of the events, in the order of their coming."""
        return [event.envelope.get("data") for event in self.events]


class Deck:
    """One sidecar's brokers and pub/sub services."""

    def __init__(self, app: Any = None) -> None:
        self.clock = HandClock()
        self.noted = Noted()
        self.brokers: dict[str, Broker] = {}
        self.app = app
        self._contexts: list[Context] = []
        self._drivers: list[PubSub[Any]] = []
        self.service = PubSubService(
            brokers=self.brokers, app_id="appa", telemetry=self.noted, json=json, clock=self.clock
        )
        self.subscriptions = self.subscribing(app)

    def subscribing(self, app: Any) -> Subscriptions:
        return Subscriptions(pubsub=self.service, app=app, telemetry=self.noted, json=json, clock=self.clock)

    def context(self, name: str) -> Context:
        made = Context(name=name, app_id="appa", clock=self.clock)
        self._contexts.append(made)
        return made

    async def memory(self, name: str = "ps", prefix: str = "", **metadata: str) -> MemoryPubSub:
        driver = MemoryPubSub(MemoryPubSubSettings(), self.context(name))
        await driver.open()
        self.mount(name, driver, prefix, metadata)
        return driver

    def mount(
        self, name: str, driver: PubSub[Any], prefix: str = "", metadata: Mapping[str, str] = {}
    ) -> None:
        self._drivers.append(driver)
        mount: Mount[PubSub[Any]] = Mount(name, "pubsub.in-memory", "v1", driver, lambda *_: None)
        self.brokers[name] = broker(mount, metadata, "appa", prefix)

    async def spy(self, topic: str, name: str = "ps") -> list[Message]:
        """Everything that comes by on a topic."""
        seen: list[Message] = []

        async def note(message: Message) -> Verdict:
            seen.append(message)
            return Verdict.ACK

        await self.brokers[name].mount.driver.subscribe(Topic(topic), note)
        return seen

    async def close(self) -> None:
        await self.subscriptions.close()
        for driver in self._drivers:
            await driver.close()
        for context in self._contexts:
            await context.crew.close()


def failing(event: Event) -> Answer:
    """An app that breaks down."""
    raise AppFailed("app returned 500")
