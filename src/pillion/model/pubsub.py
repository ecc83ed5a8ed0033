"""Publish/subscribe: what is published, what is delivered, who asked for it, and how delivery went.

What is made for every message is a NamedTuple: as unchangeable as a frozen dataclass, at a third of the price.
"""

import enum
from collections.abc import Mapping
from dataclasses import field
from typing import NamedTuple

from pillion.model.state import NOTHING
from pillion.toolbox.lazily import dataclass


class Verdict(enum.Enum):
    """What became of a message a driver handed up."""

    ACK = "ack"
    """Done with; never deliver it again to this consumer group."""
    RETRY = "retry"
    """Failed; deliver it again after a while."""
    ABANDON = "abandon"
    """The consumer is shutting down: release it at once for others, count no attempt."""


class Answer(enum.Enum):
    """What the app said of an event."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    DROP = "DROP"
    UNHANDLED = "UNHANDLED"
    """The app has no such handler (gRPC Unimplemented): acknowledged without a dead letter."""


class Publication(NamedTuple):
    """A message on its way to a broker: final bytes, with what a driver may use of the request's metadata.

    `expires_at` (epoch seconds) is set only for drivers that claim MESSAGE_TTL. `order_key` is the request's partitionKey.
    """

    topic: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = NOTHING
    expires_at: float | None = None
    order_key: str = ""


class Message(NamedTuple):
    """A message as a broker delivered it. `id` is the broker's own; `attempt` counts from 1 where the broker knows, else 0."""

    topic: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = NOTHING
    id: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Topic:
    """What a subscription asks of a driver. At most `in_flight` messages are awaited at once."""

    name: str
    metadata: Mapping[str, str] = field(default=NOTHING)
    in_flight: int = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: an expression over the event ("" always matches) and where the event goes."""

    match: str
    path: str


@dataclass(frozen=True, slots=True)
class Bulk:
    """Whether the app takes events in batches, and how large and how late a batch may be."""

    enabled: bool = False
    max_messages: int = 100
    max_await: float = 1.0
    """Seconds."""


class Origin(enum.Enum):
    """How a subscription came about; the words of the metadata API."""

    DECLARATIVE = "DECLARATIVE"
    PROGRAMMATIC = "PROGRAMMATIC"
    STREAMING = "STREAMING"


@dataclass(frozen=True, slots=True)
class Interest:
    """One topic an app wants, and how its events are routed. Rules in order, the default (match "") last."""

    pubsub: str
    topic: str
    rules: tuple[Rule, ...] = ()
    metadata: Mapping[str, str] = field(default=NOTHING)
    dead_letter: str = ""
    bulk: Bulk = Bulk()
    origin: Origin = Origin.PROGRAMMATIC


class Event(NamedTuple):
    """One event on its way to the app: the CloudEvent's JSON as stored, the same parsed, and what came around it.

    `body` is the exact JSON to give an HTTP app; numbers in `envelope` may be rounded. `raw` holds the broker's bytes when the
    subscription asked for raw payloads. `headers` are the publish metadata for the app (keys as published).
    """

    pubsub: str
    topic: str
    path: str
    body: bytes
    envelope: Mapping[str, object]
    headers: Mapping[str, str] = NOTHING
    raw: bytes | None = None
    trace: str = ""
    """W3C traceparent for the call, "" for none."""
    entry_id: str = ""
    """Set inside a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one topic and one route for one bulk call."""

    id: str
    pubsub: str
    topic: str
    path: str
    events: tuple[Event, ...]
    metadata: Mapping[str, str] = field(default=NOTHING)
