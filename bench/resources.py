"""What every contender is given alike: components and a Configuration, as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .load import App
from .works import (
    BINDING,
    HTTP_BINDING,
    PUBSUB,
    REDIS,
    REDIS_PUBSUB,
    SECRETS,
    SQLITE,
    STATE_STORE,
)

_COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {type}
  version: v1
  metadata:{settings}
"""

_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: bench
spec:
  metric:
    enabled: true
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: {names}
"""


@dataclass(frozen=True, slots=True)
class Component:
    """One component to be."""

    name: str
    type: str
    settings: Mapping[str, str] = field(default_factory=dict)


def write_resources(
    directory: Path, app: App | None = None, redis_port: int | None = None, database: int = 0
) -> None:
    """All components of the works, as far as the app and a Redis are there for them."""
    (directory / "secrets.json").write_text(json.dumps({"password": "open, pillion"}))
    components = [
        Component(STATE_STORE, "state.in-memory"),
        Component(SQLITE, "state.sqlite", {"connectionString": str(directory / "state.db")}),
        Component(PUBSUB, "pubsub.in-memory"),
        Component(SECRETS, "secretstores.local.file", {"secretsFile": str(directory / "secrets.json")}),
        Component(BINDING, "bindings.localstorage", {"rootPath": str(directory / "files")}),
    ]
    if app is not None:
        components.append(Component(HTTP_BINDING, "bindings.http", {"url": f"http://127.0.0.1:{app.http}"}))
    if redis_port is not None:
        at = {"redisHost": f"127.0.0.1:{redis_port}", "redisDB": str(database)}
        components += [
            Component(REDIS, "state.redis", at),
            Component(REDIS_PUBSUB, "pubsub.redis", at),
        ]
    write_components(directory, components)
    write_configuration(directory)


def write_components(directory: Path, components: Sequence[Component]) -> None:
    place = directory / "resources"
    place.mkdir()
    for component in components:
        lines = [f'\n  - name: {key}\n    value: "{value}"' for key, value in component.settings.items()]
        text = _COMPONENT.format(name=component.name, type=component.type, settings="".join(lines) or " []")
        (place / f"{component.name}.yaml").write_text(text)


def write_configuration(directory: Path) -> None:
    (directory / "config.yaml").write_text(_CONFIGURATION.format(names=directory / "names.db"))
