"""Output bindings over HTTP."""

from collections.abc import Mapping

from pillion.edge.http.api import Ask, Reply, Route
from pillion.edge.render import JSON_TYPE, http_body
from pillion.model.errors import MALFORMED_REQUEST, ApiError
from pillion.net.http import Headers
from pillion.services.bindings import BindingFailed, OutputBindings
from pillion.toolbox.stream import BodyTooLarge
from pillion.wire import bindings as wire


class BindingRoutes:
    """The one operation: invoke an output."""

    def __init__(self, service: OutputBindings) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Where it lives."""
        return [Route("POST,PUT", "/v1.0/bindings/{name}", self.invoke, "bindings.v1")]

    async def invoke(self, ask: Ask) -> Reply:
        """What the outside system answered as it is; its metadata goes as headers, whether it worked or not."""
        given = wire.invocation(await _body(ask))
        try:
            reply = await self._service.invoke(
                ask.call, ask.params[0], given.operation, given.data, given.metadata
            )
        except BindingFailed as error:
            return Reply(error.fault.status, [JSON_TYPE, *_headers(error.metadata)], http_body(error))
        if reply is None:
            return Reply()
        if reply.data is None:
            return Reply(204, _headers(reply.metadata))
        kind = (b"content-type", reply.content_type.encode()) if reply.content_type else JSON_TYPE
        return Reply(200, [kind, *_headers(reply.metadata)], reply.data)


def _headers(metadata: Mapping[str, str]) -> Headers:
    return [
        (b"metadata." + name.lower().encode(), value.encode("utf-8", "replace"))
        for name, value in metadata.items()
    ]


async def _body(ask: Ask) -> bytes:
    try:
        return await ask.body()
    except BodyTooLarge as error:
        raise ApiError(MALFORMED_REQUEST, why=f"{wire.DESERIALIZING}{error}") from error
    except ConnectionError as error:
        raise ApiError(MALFORMED_REQUEST, why=f"{wire.DESERIALIZING}unexpected EOF") from error
