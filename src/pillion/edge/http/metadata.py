"""Metadata, health and shutdown over HTTP."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import orjson

from pillion.edge.http.api import Ask, Reply, Route, json_reply
from pillion.edge.http.health import HealthRoutes, plain
from pillion.model.errors import BODY_READ, ApiError
from pillion.model.metadata import AppConnection, Sidecar
from pillion.model.pubsub import Interest
from pillion.services.metadata import MetadataService
from pillion.services.readiness import Readiness
from pillion.toolbox.durations import written
from pillion.toolbox.stream import BodyTooLarge
from pillion.toolbox.truth import is_true


class MetadataRoutes:
    """GET and PUT of the metadata, the two health checks, shutdown."""

    def __init__(
        self, metadata: MetadataService, readiness: Readiness, shutdown: Callable[[bool], None]
    ) -> None:
        self._metadata = metadata
        self._health = HealthRoutes(readiness)
        self._shutdown = shutdown
        """Asked to stop the sidecar: gracefully (False) or at once (True); returns before it happens."""

    def public(self) -> list[Route]:
        """What the public port serves as well."""
        return [
            *self._health.routes(),
            Route("GET", "/v1.0/metadata", self.get, "metadata.v1"),
            Route("PUT", "/v1.0/metadata/{key}", self.put, "metadata.v1", plain("/v1.0/metadata/{key}")),
        ]

    def routes(self) -> list[Route]:
        """Everything, for the API's own port."""
        return [*self.public(), Route("POST", "/v1.0/shutdown", self.shutdown, "shutdown.v1")]

    async def get(self, ask: Ask) -> Reply:
        return json_reply(orjson.dumps(as_json(self._metadata.get())) + b"\n")

    async def put(self, ask: Ask) -> Reply:
        try:
            value = (await ask.body()).decode("utf-8", "replace")
        except BodyTooLarge as error:
            raise ApiError(BODY_READ, why=str(error)) from error
        self._metadata.put(ask.params[0], value)
        return Reply()

    async def shutdown(self, ask: Ask) -> Reply:
        self._shutdown(is_true(ask.header(b"dapr-force-shutdown")))
        return Reply()


def as_json(sidecar: Sidecar) -> dict[str, Any]:
    """The metadata document; empty lists are left out, as Dapr does."""
    lists = {
        "enabledFeatures": list(sidecar.features),
        "components": [
            _component(c.name, c.type_name, c.version, c.capabilities) for c in sidecar.components
        ],
    }
    tail = {
        "subscriptions": [_subscription(interest) for interest in sidecar.subscriptions],
        "httpEndpoints": [{"name": name} for name in sidecar.http_endpoints],
    }
    return {
        "id": sidecar.app_id,
        "runtimeVersion": sidecar.runtime_version,
        **{key: value for key, value in lists.items() if value},
        "extended": dict(sidecar.extended),
        **{key: value for key, value in tail.items() if value},
        "appConnectionProperties": dict(_app(sidecar.app)),
        "actorRuntime": {
            "runtimeStatus": "DISABLED",
            "hostReady": False,
            "placement": "placement: disconnected",
        },
        "workflows": {},
    }


def _component(name: str, type_name: str, version: str, capabilities: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "type": type_name, "version": version}
    if capabilities:
        row["capabilities"] = list(capabilities)
    return row


def _subscription(interest: Interest) -> dict[str, Any]:
    row: dict[str, Any] = {"pubsubname": interest.pubsub, "topic": interest.topic}
    if interest.metadata:
        row["metadata"] = dict(interest.metadata)
    row["rules"] = [
        {"match": rule.match, "path": rule.path} if rule.match else {"path": rule.path}
        for rule in interest.rules
    ]
    return row | {"deadLetterTopic": interest.dead_letter, "type": interest.origin.value}


def _app(app: AppConnection) -> Iterator[tuple[str, Any]]:
    if app.port:
        yield "port", app.port
    yield "protocol", app.protocol
    yield "channelAddress", app.address
    if app.max_concurrency:
        yield "maxConcurrency", app.max_concurrency
    if app.health is not None:
        health = app.health
        yield (
            "health",
            {
                **({"healthCheckPath": health.path} if health.path else {}),
                "healthProbeInterval": _span(health.interval),
                "healthProbeTimeout": _span(health.timeout),
                "healthThreshold": health.threshold,
            },
        )


def _span(seconds: float) -> str:
    return written(timedelta(seconds=seconds))
