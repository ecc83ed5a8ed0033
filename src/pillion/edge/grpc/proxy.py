"""gRPC calls that are not ours, passed on as they are: to the sidecar of the app they are addressed to, or to our own app."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from pillion.edge.app.slots import Slots
from pillion.edge.peer.links import Links
from pillion.net.rpc import Channel, ClientCall, Code, Metadata, RpcError, ServerCall
from pillion.ports.telemetry import Telemetry
from pillion.services.invoke import AppGate, InvokeService, NotReachable, TargetError
from pillion.toolbox.tasks import Crew, eager
from pillion.toolbox.truth import is_true

_OWN_SERVICES: Final = (b"/dapr.proto.", b"/TaskHubSidecarService/")
_NO_TARGET: Final = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
_NOT_FOUND: Final = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
_NO_GRPC_APP: Final = (
    "this sidecar has no app that speaks gRPC: start it with --app-port and --app-protocol grpc"
)
_KEPT_BACK: Final = frozenset(
    (b"user-agent", b"te", b"content-type", b"grpc-accept-encoding", b"dapr-api-token")
)
"""What each hop says for itself: the caller's compressions are not ours."""


class Proxy:
    """Serves every path no service of ours has, all four kinds of call alike.

    Messages are passed as bytes, one at a time in each direction, so a slow reader holds back its writer. Metadata (`-bin`
    included), trailers, deadline, status and cancellation pass both ways. A call counts as one the app has for as long as it lasts,
    a stream too.
    """

    def __init__(
        self,
        *,
        app_id: str,
        service: InvokeService,
        links: Links,
        gate: AppGate,
        app: Channel | None,
        telemetry: Telemetry,
        app_token: str = "",
        slots: Slots | None = None,
        admits: Callable[[str, Metadata], bool] | None = None,
        internal: bool = False,
    ) -> None:
        """`app` is the channel to a gRPC app, which takes no more calls at once than there are `slots`.

        `internal` serves other sidecars, whose calls `admits` may refuse.
        """
        self._app_id = app_id.encode()
        self._service = service
        self._links = links
        self._gate = gate
        self._app = app
        self._telemetry = telemetry
        self._token = [(b"dapr-api-token", app_token.encode())] if app_token else []
        self._slots = slots or Slots()
        self._admits = admits
        self._internal = internal
        self._crew = Crew("proxied calls")

    async def close(self) -> None:
        """Stop passing on."""
        await self._crew.close()

    async def serve(self, call: ServerCall) -> None:
        """Pass one call on; a `StreamHandler`."""
        asked = _first(call.metadata, b"dapr-callee-app-id") or _first(call.metadata, b"dapr-app-id")
        if not asked:
            ours = self._internal or call.path.startswith(_OWN_SERVICES)
            raise RpcError(Code.UNKNOWN, _NOT_FOUND if ours else _NO_TARGET)
        try:
            addresses = await self._service.whereabouts(asked)
        except (TargetError, NotReachable) as error:
            raise RpcError(Code.UNKNOWN, str(error)) from error
        if addresses is None:
            await self._to_app(call)
        else:
            await self._to_peer(call, asked, addresses)

    async def _to_app(self, call: ServerCall) -> None:
        if self._admits is not None and not self._admits(call.path.decode("latin-1"), call.metadata):
            path = call.path.decode("latin-1")
            raise RpcError(
                Code.PERMISSION_DENIED, f"access control policy has denied access to operation: {path}"
            )
        if self._app is None:
            raise RpcError(Code.UNAVAILABLE, _NO_GRPC_APP)
        if not self._gate.healthy:
            raise RpcError(Code.INTERNAL, "app is not in a healthy state")
        metadata = _passed(call.metadata)
        if self._internal:  # where a sidecar passes on, the address has done its work
            metadata = [pair for pair in metadata if pair[0] != b"dapr-app-id"]
        metadata += self._token
        await self._slots.take()
        try:
            await self._pass(call, await self._app.stream(call.path, metadata, timeout=_left(call)))
        finally:
            self._slots.give()

    async def _to_peer(self, call: ServerCall, asked: str, addresses: list[str]) -> None:
        callee = asked.partition(".")[0].encode()
        metadata = [pair for pair in _passed(call.metadata) if pair[0] not in _ADDRESSING]
        metadata += [(b"dapr-caller-app-id", self._app_id), (b"dapr-callee-app-id", callee)]
        metadata.append((b"dapr-app-id", callee))  # all that Dapr's sidecars up to 1.14 look at
        refusal: RpcError | None = None
        for address in addresses:
            with self._links.hold(address) as link:
                try:
                    out = await link.channel.stream(call.path, metadata, timeout=_left(call))
                except RpcError as error:
                    if error.code != Code.UNAVAILABLE:
                        raise
                    self._links.drop(address, link)
                    self._service.gone(asked, address)
                    refusal = error
                    continue
                return await self._told(call, out, callee.decode())
        raise refusal or RpcError(Code.UNAVAILABLE, "no sidecar took the call")

    async def _told(self, call: ServerCall, out: ClientCall, callee: str) -> None:
        """Pass on and count. Only the caller can say that a call is a long-lived stream, and its answer then counts for nothing."""
        streaming = is_true(_first(call.metadata, b"dapr-stream"))
        self._telemetry.invocation_sent(callee, streaming)
        began, code = time.perf_counter(), int(Code.CANCELLED)
        try:
            await self._pass(call, out)
            code = Code.OK
        except RpcError as error:
            code = error.code
            raise
        finally:
            if not streaming:
                self._telemetry.answer_received(callee, code, False, time.perf_counter() - began)

    async def _pass(self, call: ServerCall, out: ClientCall) -> None:
        trouble: list[RpcError] = []
        up = eager(_upwards(call, out, trouble), _heard)
        if up is not None:
            self._crew.adopt(up)
        try:
            await _downwards(call, out)
        except RpcError as error:
            told = trouble[0] if trouble else error
            raise RpcError(told.code, told.message, details=told.details, trailers=told.trailers) from error
        finally:
            out.cancel()
            if up is not None:
                up.cancel()


async def _upwards(call: ServerCall, out: ClientCall, trouble: list[RpcError]) -> None:
    """The caller's messages. What is wrong with them is noted; what the callee says about them the other direction tells."""
    while True:
        try:
            message = await call.receive()
        except RpcError as error:
            trouble.append(error)
            out.cancel()
            return
        last = call.ended
        if message is None:
            out.half_close()
            return
        try:
            await out.send(message, end=last)
        except RpcError:
            return
        if last:
            return


async def _downwards(call: ServerCall, out: ClientCall) -> None:
    """The callee's head as soon as it comes, its messages, its trailers."""
    head = [pair for pair in await out.initial() if pair[0] not in _KEPT_BACK]
    if head or not out.ended:  # a head in the frame of the status would be taken for trailers
        call.send_initial(head)
    while (message := await out.receive()) is not None:
        await call.send(message)
    call.set_trailers(out.trailers())


def _heard(_: None, error: BaseException | None) -> None:
    """The task tells by itself what it has to tell."""


_ADDRESSING: Final = frozenset((b"dapr-app-id", b"dapr-callee-app-id", b"dapr-caller-app-id"))


def _passed(metadata: Metadata) -> Metadata:
    return [pair for pair in metadata if pair[0] not in _KEPT_BACK and pair[0][:1] != b":"]


def _first(metadata: Metadata, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in metadata if key == name), "")


def _left(call: ServerCall) -> float | None:
    if call.deadline is None:
        return None
    return max(0.0, call.deadline - asyncio.get_running_loop().time())
