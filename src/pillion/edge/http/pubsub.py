"""Publishing over HTTP."""

from collections.abc import Mapping

from pillion.edge.http.api import Ask, Operation, Reply, Route
from pillion.edge.render import JSON_TYPE, http_message
from pillion.model.errors import (
    DIRECT_INVOKE_NO_APP,
    PUBSUB_MARSHAL_ENVELOPE,
    PUBSUB_MARSHAL_EVENTS,
    PUBSUB_UNMARSHAL_EVENTS,
    ApiError,
    Fault,
)
from pillion.model.state import NOTHING
from pillion.net.http import Headers
from pillion.services.pubsub import Draft, Failure, PubSubService
from pillion.toolbox.stream import BodyTooLarge
from pillion.wire import pubsub as wire
from pillion.wire.json import JsonError

_WRITE = "POST,PUT"


class PubSubRoutes:
    """Publish, bulk publish, and the one-segment publish of 2020 where there is just one broker to mean."""

    def __init__(self, service: PubSubService, fallback: Operation | None = None) -> None:
        """`fallback` answers a one-segment publish that is none, as it answers every unknown path."""
        self._service = service
        self._fallback = fallback or _nobody

    def routes(self) -> list[Route]:
        """Where the operations live. Bulk comes first: a broker called `bulk` is shadowed."""
        return [
            Route(_WRITE, "/v1.0/publish/bulk/{pubsub}/{topic...}", self.publish_many, "publish.v1"),
            Route(
                _WRITE, "/v1.0-alpha1/publish/bulk/{pubsub}/{topic...}", self.publish_many, "publish.v1alpha1"
            ),
            Route(_WRITE, "/v1.0/publish/{pubsub}/{topic...}", self.publish, "publish.v1"),
            Route(_WRITE, "/v1.0/publish/{topic}", self.publish_to_only, "publish.v1"),
        ]

    async def publish(self, ask: Ask) -> Reply:
        """One event; 204 once the broker has it."""
        pubsub, topic = ask.params
        await self._publish(ask, pubsub, topic.removesuffix("/"))
        return Reply()

    async def publish_to_only(self, ask: Ask) -> Reply:
        """An event for the one broker there is; a path that names the broker alone lacks its topic."""
        (topic,) = ask.params
        only = self._service.only
        if not only or topic == only:
            return await self._fallback(ask)
        await self._publish(ask, only, topic)
        return Reply()

    async def publish_many(self, ask: Ask) -> Reply:
        """A batch; 204, or 500 with the entries the broker did not take."""
        pubsub, topic = ask.params[0], ask.params[1].removesuffix("/")
        metadata = ask.metadata()
        body = await self._body(ask, pubsub, topic)
        drafts = self._drafts(body, pubsub, topic, metadata)
        failures = await self._service.publish_many(ask.call, pubsub, topic, drafts, metadata)
        return self._partly(pubsub, topic, failures) if failures else Reply()

    async def _publish(self, ask: Ask, pubsub: str, topic: str) -> None:
        body = ask.request.body
        if not isinstance(body, bytes):
            body = await self._body(ask, pubsub, topic)
        metadata = ask.metadata() if ask.query else NOTHING
        await self._service.publish(ask.call, pubsub, topic, body, ask.header(b"content-type"), metadata)

    async def _body(self, ask: Ask, pubsub: str, topic: str) -> bytes:
        self._service.target(pubsub, topic)
        try:
            return await ask.body()
        except BodyTooLarge as error:
            raise self._service.failed(pubsub, topic, str(error)) from error

    def _drafts(self, body: bytes, pubsub: str, topic: str, metadata: Mapping[str, str]) -> list[Draft]:
        """The entries; a request's metadata reaches only those that have some of their own."""

        def refused(fault: Fault, error: Exception, why: str) -> ApiError:
            info = {"appID": self._service.app_id, "error": str(error)}
            return ApiError(fault, resource=pubsub, info=info, topic=topic, pubsub=pubsub, why=why)

        try:
            entries = wire.bulk_entries(body)
        except JsonError as error:
            raise refused(PUBSUB_UNMARSHAL_EVENTS, error, str(error)) from error
        except wire.DoubledEntry as error:
            raise refused(PUBSUB_MARSHAL_EVENTS, error, str(error)) from error
        except wire.BadEntry as error:
            raise refused(PUBSUB_MARSHAL_ENVELOPE, error, f"error: {error}") from error
        return [
            Draft(id, data, kind, NOTHING if own is None else {**metadata, **own})
            for id, data, kind, own in entries
        ]

    def _partly(self, pubsub: str, topic: str, failures: list[Failure]) -> Reply:
        error = self._service.failed(pubsub, topic, failures[0].error)
        body = wire.bulk_failure([(each.id, each.error) for each in failures], error.fault.code)
        headers: Headers = [
            JSON_TYPE,
            (b"metadata.responsedata", body),
            (b"metadata.error", _one_line(http_message(error))),
        ]
        return Reply(error.fault.status, headers, body)


async def _nobody(_: Ask) -> Reply:
    raise ApiError(DIRECT_INVOKE_NO_APP)


def _one_line(text: str) -> bytes:
    return " ".join(f"api error: code = Internal desc = {text}".split()).encode()
