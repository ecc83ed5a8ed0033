"""Both APIs asked in this process: what a client would send, what it would get, without a connection between."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.http.api import Ask, Front, HttpApi, Reply, Route
from pillion.model.errors import DIRECT_INVOKE_NO_APP, ApiError
from pillion.net.http import Headers, Request
from pillion.net.rpc import Metadata
from pillion.toolbox.stream import Body


@dataclass
class Answer:
    """What a client got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Recorder:
    """Takes the one answer to a request."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.closes = False
        self.gone: list[Callable[[], None]] = []

    def respond(self, status: int, headers: Headers, body: Body = b"") -> None:
        assert isinstance(body, bytes)
        named = {name.decode(): value.decode() for name, value in headers}
        named.pop("traceparent", None)
        self.answer.set_result(Answer(status, named, body))

    def on_disconnect(self, tell: Callable[[], None]) -> None:
        self.gone.append(tell)

    def close_after(self) -> None:
        self.closes = True


class HttpCaller:
    """Asks an HttpApi made of some routes."""

    def __init__(self, routes: list[Route], *, body_limit: int | None = None) -> None:
        self.served: list[tuple[str, str, int]] = []
        self._api = HttpApi(routes, _no_app, Front(served=self._note, body_limit=body_limit))

    async def ask(self, method: str, target: str, body: Body = b"", **headers: str) -> Answer:
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        recorder = Recorder()
        self._api.handle(Request(method.encode(), target.encode(), fields, body), recorder)
        return await recorder.answer

    def _note(self, method: str, path: str, status: int, *_: Any) -> None:
        self.served.append((method, path, status))


async def _no_app(_: Ask) -> Reply:
    raise ApiError(DIRECT_INVOKE_NO_APP)


@dataclass
class Calling:
    """A gRPC call as a handler sees it."""

    path: bytes
    metadata: Metadata = field(default_factory=list)
    peer: str = ""
    deadline: float | None = None
    initial: list[tuple[bytes, bytes]] = field(default_factory=list)

    def set_initial(self, metadata: Any) -> None:
        self.initial += metadata

    async def receive(self) -> bytes | None:
        return None

    async def send(self, message: bytes) -> None:
        raise AssertionError("a unary call sends nothing by itself")

    def send_initial(self, metadata: Any) -> None:
        self.initial += metadata

    def set_trailers(self, metadata: Any) -> None: ...

    def on_cancel(self, tell: Callable[[], None]) -> None: ...


class GrpcCaller:
    """Asks a GrpcApi made of some unary methods of the runtime's service."""

    def __init__(self, unary: dict[str, Any]) -> None:
        self._api = GrpcApi(admission=None, over=lambda *_: None)
        self._api.serve(DAPR, unary)

    async def ask(self, method: str, request: Any) -> bytes:
        """The answer's bytes; raises RpcError for another status than OK."""
        call = Calling(DAPR + method.encode())
        return await self._api.unary[call.path](call, request.SerializeToString())
