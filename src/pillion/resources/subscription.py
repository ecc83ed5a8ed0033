"""A declarative Subscription: a topic of a broker, and the routes its messages take into the app."""

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from pillion.resources.fields import Fields
from pillion.resources.header import TOP_LEVEL, V2, Header
from pillion.resources.problems import Source
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL condition and the path taken when it holds."""

    match: str
    path: str
    source: Source


@dataclass(frozen=True, slots=True)
class Bulk:
    """How messages are gathered before delivery; 0 leaves the broker's default."""

    enabled: bool = False
    max_messages: int = 0
    max_await_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Both versions in one shape: v1's route is the default route."""

    name: str
    namespace: str
    pubsub: str
    topic: str
    rules: tuple[Rule, ...] = ()
    default_route: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    dead_letter_topic: str = ""
    bulk: Bulk = Bulk()
    scopes: tuple[str, ...] = ()
    source: Source = Source("")


def subscription(fields: Fields, head: Header) -> Subscription:
    """Read the rest of the document, of either version."""
    spec = fields.section("spec")
    rules, default = _routes(spec) if head.version == V2 else ((), spec.text("route"))
    made = Subscription(
        name=head.name,
        namespace=head.namespace,
        pubsub=spec.needed("pubsubname"),
        topic=spec.needed("topic"),
        rules=rules,
        default_route=default,
        metadata=MappingProxyType(spec.table("metadata")),
        dead_letter_topic=spec.text("deadLetterTopic"),
        bulk=_bulk(spec.section("bulkSubscribe")),
        scopes=fields.texts("scopes"),
        source=head.source,
    )
    other = (
        {"route": "in apiVersion dapr.io/v1alpha1"}
        if head.version == V2
        else {"routes": f"in apiVersion {V2}"}
    )
    spec.done({**TOP_LEVEL, **other})
    fields.done()
    return made


def _routes(spec: Fields) -> tuple[tuple[Rule, ...], str]:
    routes = spec.section("routes")
    rules = []
    for each in routes.sections("rules"):
        rules.append(Rule(each.text("match"), each.needed("path"), each.source))
        each.done()
    default = routes.text("default")
    routes.done()
    return tuple(rules), default


def _bulk(fields: Fields) -> Bulk:
    made = Bulk(
        fields.flag("enabled"), fields.number("maxMessagesCount"), fields.number("maxAwaitDurationMs")
    )
    fields.done()
    return made
