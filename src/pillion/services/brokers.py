"""A pub/sub component as the services hold it: its driver, who may use which topic, and how its topics are called."""

from collections.abc import Mapping
from typing import Any

from pillion.contracts.pubsub import Feature, PubSub
from pillion.model.pubsub import Publication
from pillion.rules.topics import OPEN, TopicScopes, scopes
from pillion.services.mount import Guard, Mount
from pillion.toolbox.lazily import dataclass

BrokerMount = Mount[PubSub[Any]]


@dataclass(frozen=True, slots=True)
class Broker:
    """One mounted pub/sub component. Immutable, as its mount.

    `prefix` stands before every topic on the broker and is never seen by the app. `inbound` holds the policies of
    deliveries, None where there are none.
    """

    mount: BrokerMount
    scopes: TopicScopes = OPEN
    prefix: str = ""
    inbound: Guard | None = None

    @property
    def name(self) -> str:
        return self.mount.name

    @property
    def expires(self) -> bool:
        """Whether the driver ends messages by itself."""
        return Feature.MESSAGE_TTL in self.mount.driver.features

    def topic(self, topic: str) -> str:
        """A topic as the broker knows it."""
        return self.prefix + topic

    def topic_seen(self, topic: str) -> str:
        """A topic as the app knows it."""
        return topic.removeprefix(self.prefix) if self.prefix else topic

    def named(self, publication: Publication) -> Publication:
        """A publication under the broker's own name of its topic."""
        return publication._replace(topic=self.prefix + publication.topic) if self.prefix else publication


def broker(
    mount: BrokerMount,
    metadata: Mapping[str, str],
    app_id: str,
    prefix: str = "",
    inbound: Guard | None = None,
) -> Broker:
    """Mount a component with the words on topics in its metadata."""
    return Broker(mount, scopes(metadata, app_id), prefix, inbound)
