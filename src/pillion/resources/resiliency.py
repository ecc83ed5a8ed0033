"""A Resiliency resource, recognised: which targets it names. Its policies are kept as written."""

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

from pillion.resources.fields import Fields
from pillion.resources.header import TOP_LEVEL, Header
from pillion.resources.problems import Source
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resiliency:
    """Policies for apps, actor types and components, by name."""

    name: str
    namespace: str
    apps: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    policies: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    source: Source = Source("")


def resiliency(fields: Fields, head: Header) -> Resiliency:
    """Read the rest of the document."""
    spec = fields.section("spec")
    policies, targets = spec.section("policies"), spec.section("targets")
    made = Resiliency(
        name=head.name,
        namespace=head.namespace,
        apps=tuple(targets.node("apps").fields),
        actors=tuple(targets.node("actors").fields),
        components=tuple(targets.node("components").fields),
        policies=MappingProxyType(
            {name: policies.raw(name) for name in ("timeouts", "retries", "circuitBreakers")}
        ),
        targets=MappingProxyType({name: targets.raw(name) for name in ("apps", "actors", "components")}),
        scopes=fields.texts("scopes"),
        source=head.source,
    )
    for each in (policies, targets):
        each.done()
    spec.done(TOP_LEVEL)
    fields.done()
    return made
