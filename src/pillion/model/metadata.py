"""What a sidecar says of itself: its components, subscriptions, app and health."""

from collections.abc import Mapping
from dataclasses import field

from pillion.model.pubsub import Interest
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class LoadedComponent:
    """One loaded component as the metadata API lists it."""

    name: str
    type_name: str
    version: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthProbe:
    """How the app's health is watched. Seconds."""

    path: str
    interval: float
    timeout: float
    threshold: int


@dataclass(frozen=True, slots=True)
class AppConnection:
    """How the sidecar reaches its app. `port` 0 when there is none, `max_concurrency` 0 when unlimited."""

    port: int
    protocol: str
    address: str
    max_concurrency: int = 0
    health: HealthProbe | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A snapshot of one sidecar."""

    app_id: str
    runtime_version: str
    app: AppConnection
    components: tuple[LoadedComponent, ...] = ()
    subscriptions: tuple[Interest, ...] = ()
    http_endpoints: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    extended: Mapping[str, str] = field(default_factory=dict)
