"""A sidecar of an app that is a synchronous gRPC server: what of it holds only when everything is put together."""

import json
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from scenes.golden_apps.grpc_app import GrpcApp
from support.sidecar import Sidecar, Stage, until

pytest.importorskip("dapr")
from dapr.proto.runtime.v1 import dapr_pb2_grpc, invoke_pb2

TO = (("dapr-app-id", "b"),)


@pytest.fixture
def app() -> Iterator[GrpcApp]:
    with GrpcApp() as made:
        yield made


@pytest.fixture
def sidecar(stage: Stage, app: GrpcApp) -> Sidecar:
    flags = ("--app-protocol=grpc", "--app-max-concurrency=1", "--enable-api-logging", "--log-as-json")
    return stage.sidecar("b", *flags, app_port=app.port).ready()


def invoke(channel: grpc.Channel, timeout: float) -> Any:
    request = invoke_pb2.InvokeServiceRequest(id="b")
    request.message.method = "m"
    return dapr_pb2_grpc.DaprStub(channel).InvokeService(request, timeout=timeout)


def test_proxied_calls_and_callbacks_share_the_app_s_places(sidecar: Sidecar) -> None:
    asked: queue.Queue[bytes | None] = queue.Queue()
    with grpc.insecure_channel(sidecar.grpc) as channel:
        stream = channel.stream_stream("/my.pkg.Svc/SS")(iter(asked.get, None), metadata=TO)
        asked.put(b"x")
        assert next(stream) == b"pong:x"
        with pytest.raises(grpc.RpcError) as caught:
            invoke(channel, timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        asked.put(None)
        assert list(stream) == []
        assert invoke(channel, timeout=10).data.value == b"echo:"


def test_each_call_is_logged_with_the_agent_that_made_it(sidecar: Sidecar) -> None:
    options = (("grpc.primary_user_agent", "mine/1"),)
    with grpc.insecure_channel(sidecar.grpc, options) as channel:
        invoke(channel, timeout=10)
        assert channel.unary_unary("/my.pkg.Svc/UU")(b"x", metadata=TO) == b"pong:x"

    def called() -> list[tuple[str, int, bool]]:
        lines = [json.loads(line) for line in sidecar.said().splitlines() if "gRPC API Called" in line]
        return [(each["method"], each["code"], each["useragent"].startswith("mine/1 grpc-python")) for each in lines]  # fmt: skip

    wanted = [("/dapr.proto.runtime.v1.Dapr/InvokeService", 0, True), ("/my.pkg.Svc/UU", 0, True)]
    until(lambda: called() == wanted, why=str(called()))


def test_the_internal_port_describes_itself(sidecar: Sidecar) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.ports.internal}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            "dapr.proto.internals.v1.ServiceInvocation",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        file = database.FindFileContainingSymbol("dapr.proto.internals.v1.ServiceInvocation.CallLocal")
        assert file.package == "dapr.proto.internals.v1"
