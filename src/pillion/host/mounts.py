"""From open drivers to what the services hold: mounts by kind, with everything fixed that a request would else decide."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pillion.contracts.bindings import Binding
from pillion.contracts.pubsub import Feature as PubSubFeature
from pillion.contracts.pubsub import PubSub
from pillion.contracts.secrets import SecretStore
from pillion.contracts.state import StateStore
from pillion.host.components import Loaded
from pillion.host.setup import LoadError
from pillion.host.telemetry import Metrics
from pillion.model.metadata import LoadedComponent
from pillion.plug.component import Component
from pillion.rules import keys
from pillion.services.mount import Mount
from pillion.services.sealing import KeyRefused, Sealer, SealKey
from pillion.services.state import StateMount, capabilities, unsupported_metadata

D = TypeVar("D", bound=Component[Any])

_INTERNAL = PubSubFeature.REDELIVERY | PubSubFeature.ORDER_KEY


def of_kind(loaded: Sequence[Loaded], kind: type[D]) -> Iterator[tuple[Loaded, D]]:
    """The loaded components whose driver is of a kind."""
    for each in loaded:
        if isinstance(each.driver, kind):
            yield each, each.driver


def mounted(loaded: Sequence[Loaded], kind: type[D], metrics: Metrics, label: str) -> dict[str, Mount[D]]:
    """Mounts by name, measured under a metric's label; "" where the service counts for itself."""
    found: dict[str, Mount[D]] = {}
    for each, driver in of_kind(loaded, kind):
        name = each.component.name
        instrument = metrics.component(label, name) if label else _uncounted
        found[name] = Mount(name, each.component.type, _version(each), driver, instrument)
    return found


def _uncounted(operation: str, ok: bool, seconds: float) -> None:
    """Publishes and deliveries are counted by topic, not by component."""


def state(
    loaded: Sequence[Loaded], metrics: Metrics, *, app_id: str, namespace: str
) -> dict[str, StateMount]:
    """State stores with their key rule and cipher. Raises LoadError for metadata that cannot be honoured."""
    plain: Mapping[str, Mount[StateStore[Any]]] = mounted(loaded, StateStore, metrics, "state")
    made: dict[str, StateMount] = {}
    for each, _ in of_kind(loaded, StateStore):
        name = each.component.name
        if unbuilt := unsupported_metadata(each.metadata):
            raise LoadError(
                f"process component {name} error: {', '.join(unbuilt)}: this version has no transactional outbox; "
                f"events would be lost. Remove the setting ({each.component.source})"
            )
        try:
            prefix = keys.prefix(each.word("keyPrefix"), app_id=app_id, namespace=namespace, store=name)
        except ValueError as error:
            raise LoadError(f"process component {name} error: {error} ({each.component.source})") from error
        made[name] = StateMount.of(plain[name], prefix=prefix, sealer=_sealer(each))
    return made


def _sealer(loaded: Loaded) -> Sealer | None:
    primary, secondary = (
        _seal_key(loaded, "primaryEncryptionKey"),
        _seal_key(loaded, "secondaryEncryptionKey"),
    )
    if primary is None and secondary is None:
        return None
    try:
        if primary is None:
            raise KeyRefused(
                "secondaryEncryptionKey without primaryEncryptionKey: values would be stored as they are"
            )
        return Sealer(loaded.component.name, primary, secondary)
    except (KeyRefused, ImportError) as error:
        component = loaded.component
        raise LoadError(f"process component {component.name} error: {error} ({component.source})") from error


def _seal_key(loaded: Loaded, name: str) -> SealKey | None:
    digits = loaded.word(name)
    if not digits:
        return None
    setting = next(each for each in loaded.component.settings if each.name.lower() == name.lower())
    return SealKey(setting.secret.name if setting.secret is not None else name, digits)


def listed(loaded: Sequence[Loaded]) -> tuple[LoadedComponent, ...]:
    """The components as the metadata API names them."""
    return tuple(
        LoadedComponent(
            each.component.name, each.component.type, _version(each), tuple(_capabilities(each.driver))
        )
        for each in loaded
    )


def _version(loaded: Loaded) -> str:
    return loaded.component.version or "v1"


def _capabilities(driver: Component[Any]) -> Iterator[str]:
    match driver:
        case StateStore():
            yield from capabilities(driver)
        case PubSub():
            yield from (feature.name or "" for feature in driver.features & ~_INTERNAL)
        case SecretStore():
            yield from (feature.name or "" for feature in driver.features)
        case Binding():
            if driver.is_input:
                yield "INPUT_BINDING"
            if driver.operations:
                yield "OUTPUT_BINDING"
