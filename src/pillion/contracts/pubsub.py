"""The broker contract: publish, and hand messages up one awaited delivery each."""

import enum
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from pillion.contracts.words import DriverError
from pillion.model.pubsub import Message, Publication, Topic, Verdict
from pillion.plug.component import Component, S

Deliver = Callable[[Message], Coroutine[Any, Any, Verdict]]
"""Never raises but for cancellation, which a driver treats as ABANDON."""


class Feature(enum.Flag):
    """Abilities a broker may claim; the names are those of the metadata API's `capabilities`."""

    NONE = 0
    MESSAGE_TTL = enum.auto()
    SUBSCRIBE_WILDCARDS = enum.auto()
    BULK_PUBSUB = enum.auto()
    BULK_SUBSCRIBE_IMMEDIATE = enum.auto()
    REDELIVERY = enum.auto()
    """A RETRY comes back. Ours all claim it; not shown in the metadata API."""
    ORDER_KEY = enum.auto()
    """Messages of one `order_key` are delivered in order. Not shown in the metadata API."""


class Subscription(Protocol):
    """A running consumer of one topic."""

    async def pause(self) -> None:
        """Hand nothing new up; what is in flight goes on."""

    async def resume(self) -> None:
        """Take up again after `pause`."""

    async def drain(self, deadline: float) -> None:
        """Pause and wait up to `deadline` seconds for what is in flight; the rest is released for redelivery."""

    async def close(self) -> None:
        """Stop now: deliveries in flight are cancelled and released. Safe twice, and after `drain`."""


class PubSub(Component[S]):
    """Topics to consumer groups, at least once.

    A message is gone for its group only when `deliver` returned ACK. The consumer group is the driver's `consumerID` setting
    (the host fills in the app id). The number of deliveries awaited at once never exceeds `topic.in_flight`: that wait
    is the back-pressure.
    """

    features: Feature = Feature.NONE

    async def publish(self, message: Publication) -> None:
        """Returns once the broker has it; raises a word of `contracts.words` otherwise."""
        raise NotImplementedError

    async def publish_many(self, messages: Sequence[Publication]) -> list[DriverError | None]:
        """One outcome per message in order. Override when the broker has a cheaper way."""
        outcomes: list[DriverError | None] = []
        for message in messages:
            try:
                await self.publish(message)
            except DriverError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        """Start handing messages up; raises when the broker refuses now. A later loss of the broker is
        the driver's to mend, told through `context.health`."""
        raise NotImplementedError
