"""A gRPC app on the official stubs that records what it is asked and answers as the method says."""

import queue
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from types import TracebackType
from typing import Any, Self

import grpc
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import appcallback_pb2, appcallback_pb2_grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

Metadata = Sequence[tuple[str, str | bytes]]


class Callbacks(appcallback_pb2_grpc.AppCallbackServicer):  # type: ignore[misc]
    """Invocation and events."""

    def __init__(self, app: "GrpcApp") -> None:
        self._app = app

    def OnInvoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._app.invoked.put((request, context.invocation_metadata()))
        context.set_trailing_metadata((("x-trail", "tv"), ("x-tr-bin", b"\x01\x02")))
        name, _, number = request.method.partition("/")
        if name == "err":
            context.abort(_code(int(number)), f"app says {number}")
        if name == "richerr":
            context.abort_with_status(rpc_status.to_status(_rich()))
        if name == "slow":
            time.sleep(1)
        extra = (("dapr-http-status", "404"),) if name == "httpstatus" else (("custom", "1"),)
        context.send_initial_metadata((*extra, ("x-init", "iv"), ("x-init-bin", b"\t")))
        return common_pb2.InvokeResponse(
            data=any_pb2.Any(value=b"echo:" + request.data.value), content_type=request.content_type
        )

    def ListTopicSubscriptions(self, request: Any, context: grpc.ServicerContext) -> Any:
        return appcallback_pb2.ListTopicSubscriptionsResponse(subscriptions=self._app.subscriptions)

    def OnTopicEvent(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._app.events.put((request, context.invocation_metadata()))
        if request.topic == "t3" and request.data == b'"UNIMPLEMENTED"':
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")
        if request.topic == "t3" and request.data == b'"INTERNAL"':
            context.abort(grpc.StatusCode.INTERNAL, "no")
        status = int(request.data) if request.topic == "t3" and request.data.isdigit() else 0
        return appcallback_pb2.TopicEventResponse(status=status)

    def ListInputBindings(self, request: Any, context: grpc.ServicerContext) -> Any:
        return appcallback_pb2.ListInputBindingsResponse(bindings=["tick"])

    def OnBindingEvent(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._app.bound.put((request, context.invocation_metadata()))
        return appcallback_pb2.BindingEventResponse()


class Alpha(appcallback_pb2_grpc.AppCallbackAlphaServicer):  # type: ignore[misc]
    """Events in batches."""

    def __init__(self, app: "GrpcApp") -> None:
        self._app = app

    def OnBulkTopicEvent(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._take(request, context)

    def OnBulkTopicEventAlpha1(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._take(request, context)

    def _take(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._app.batches.put((request, context.invocation_metadata()))
        done = [
            appcallback_pb2.TopicEventBulkResponseEntry(entry_id=each.entry_id) for each in request.entries
        ]
        return appcallback_pb2.TopicEventBulkResponse(statuses=done)


class Plain(grpc.GenericRpcHandler):
    """/my.pkg.Svc: a service of the app's own, in bare bytes; reached by proxying. UU, US, SU and SS are the four kinds of call."""

    def __init__(self, app: "GrpcApp") -> None:
        self._app = app

    def service(self, details: Any) -> Any:
        match details.method:
            case "/my.pkg.Svc/UU":
                return grpc.unary_unary_rpc_method_handler(self._answer)
            case "/my.pkg.Svc/US":
                return grpc.unary_stream_rpc_method_handler(self._three)
            case "/my.pkg.Svc/SU":
                return grpc.stream_unary_rpc_method_handler(lambda asked, _: b"+".join(asked))
            case "/my.pkg.Svc/SS":
                return grpc.stream_stream_rpc_method_handler(self._each)
        return None

    def _three(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(3):
            yield b"%d:%b" % (number, request)
        if request == b"fail":
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "after three")

    def _each(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for each in asked:
            yield b"pong:" + each

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._app.proxied.put((request, context.invocation_metadata()))
        context.set_trailing_metadata((("x-trail", "tv"), ("x-t-bin", b"\x01")))
        if request == b"fail":
            context.abort(grpc.StatusCode.DATA_LOSS, "pfail")
        if request == b"slow":
            time.sleep(1)
        context.send_initial_metadata((("x-i-bin", b"\x07"), ("x-init", "iv")))
        return b"pong:" + request


class GrpcApp:
    """Serves on a port of its own until the block ends; each kind of request waits in its queue."""

    def __init__(self, subscriptions: Sequence[Any] = ()) -> None:
        self.subscriptions = subscriptions
        self.invoked: queue.Queue[Any] = queue.Queue()
        self.events: queue.Queue[Any] = queue.Queue()
        self.batches: queue.Queue[Any] = queue.Queue()
        self.bound: queue.Queue[Any] = queue.Queue()
        self.proxied: queue.Queue[Any] = queue.Queue()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        appcallback_pb2_grpc.add_AppCallbackServicer_to_server(Callbacks(self), self._server)
        appcallback_pb2_grpc.add_AppCallbackAlphaServicer_to_server(Alpha(self), self._server)
        self._server.add_generic_rpc_handlers((Plain(self),))
        self.port = int(self._server.add_insecure_port("127.0.0.1:0"))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()


def _code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def _rich() -> Any:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="R", domain="d", metadata={"k": "v"}))
    return status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="rich", details=[detail])
