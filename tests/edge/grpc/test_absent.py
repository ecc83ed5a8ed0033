"""Methods of blocks that are not here, asked by grpcio: they fail as on a Dapr that has nothing configured."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from pillion.edge.grpc import absent, workflow
from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.net.grpc.server import GrpcServer
from pillion.wire.proto import rpc, runtime

SEARCH = (
    "CreateIndex", "GetIndex", "ListIndexes", "DeleteIndex", "IndexDocuments", "GetDocuments", "DeleteDocuments", "Search",
)  # fmt: skip
VECTOR = (
    "CreateCollection", "GetCollection", "ListCollections", "DeleteCollection", "UpsertVectors", "DeleteVectors", "GetVectors",
    "QueryVectors", "BatchQueryVectors",
)  # fmt: skip


@asynccontextmanager
async def served(*, grpc_app: bool = False) -> AsyncIterator[grpc.aio.Channel]:
    api = GrpcApi(None, lambda *_: None)
    api.serve(DAPR, absent.unary("appa", "default"), absent.streams(grpc_app=grpc_app))
    api.serve(workflow.TASK_HUB, workflow.unary(), workflow.streams())
    server = GrpcServer(api)
    port = await server.listen(["127.0.0.1"], 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.close()


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    async with served() as made:
        yield made


async def refusal(call: Any) -> tuple[str, str, str]:
    """Code, message and the ErrorInfo's reason, if there is one."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    reason = ""
    if "grpc-status-details-bin" in trailers:
        status = rpc.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
        reason = rpc.ErrorInfo.FromString(status.details[0].value).reason
    return caught.value.code().name, caught.value.details() or "", reason


def asked(channel: grpc.aio.Channel, method: str, message: Any) -> Any:
    return channel.unary_unary(DAPR.decode() + method)(message.SerializeToString())


@pytest.mark.parametrize(("names", "kind"), [(SEARCH, "search"), (VECTOR, "vector")])
async def test_stores_of_documents_and_vectors_are_not_configured(
    channel: grpc.aio.Channel, names: tuple[str, ...], kind: str
) -> None:
    for name in names:
        message = getattr(runtime, f"{name}RequestAlpha1")(store_name="mine")
        assert await refusal(asked(channel, f"{name}Alpha1", message)) == (
            "FAILED_PRECONDITION", f"{kind} store mine is not configured", f"DAPR_{kind.upper()}_STORE_NOT_CONFIGURED",
        )  # fmt: skip


@pytest.mark.parametrize("method", ["ListActorTimers", "GetActorTimer"])
async def test_timers_cannot_be_read_without_placement(channel: grpc.aio.Channel, method: str) -> None:
    message = getattr(runtime, f"{method}Request")(actor_type="T")
    assert await refusal(asked(channel, method, message)) == (
        "UNAVAILABLE",
        "placement service is not configured",
        "",
    )


BAD_NAME = 'invalid request: invalid file name "a/b": contains reserved characters'
FILES = [
    ("", "INVALID_ARGUMENT", "file name is required"),
    ("a/b", "INVALID_ARGUMENT", BAD_NAME),
    ("a.bin", "INVALID_ARGUMENT", "failed finding binary store component files"),
]


@pytest.mark.parametrize(("name", "code", "text"), FILES)
async def test_a_file_is_looked_for_in_no_store(
    channel: grpc.aio.Channel, name: str, code: str, text: str
) -> None:
    delete = runtime.DeleteBinaryFileRequestAlpha1(component_name="files", file_name=name)
    assert await refusal(asked(channel, "DeleteBinaryFileAlpha1", delete)) == (code, text, "")
    get = runtime.GetBinaryFileRequestAlpha1(component_name="files", file_name=name).SerializeToString()
    download = channel.unary_stream(f"{DAPR.decode()}GetBinaryFileAlpha1")(get)
    assert await refusal(download.read()) == (code, text, "")
    begin = runtime.SetBinaryFileRequestAlpha1()
    begin.initial_request.component_name, begin.initial_request.file_name = "files", name
    assert await refusal(uploaded(channel, begin)) == (code, text, "")


def uploaded(channel: grpc.aio.Channel, *messages: Any) -> Any:
    def sent() -> Iterator[bytes]:
        yield from (message.SerializeToString() for message in messages)

    return channel.stream_unary(f"{DAPR.decode()}SetBinaryFileAlpha1")(sent())


async def test_an_upload_says_first_what_it_is(channel: grpc.aio.Channel) -> None:
    data = runtime.SetBinaryFileRequestAlpha1()
    data.payload.data = b"x"
    assert await refusal(uploaded(channel, data)) == (
        "INVALID_ARGUMENT",
        "invalid request: first message does not contain the required initial request",
        "",
    )
    nameless = runtime.SetBinaryFileRequestAlpha1()
    nameless.initial_request.file_name = "a"
    assert (await refusal(uploaded(channel, nameless)))[1] == (
        "invalid request: missing property 'componentName' in the initial request"
    )
    assert await refusal(uploaded(channel)) == (
        "INTERNAL", 'failed storing binary file "" in component : error receiving the first message: EOF', "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("grpc_app", "code", "text"),
    [
        (False, "FAILED_PRECONDITION", "actor callback streaming requires a gRPC app channel"),
        (True, "UNAVAILABLE", "placement service is not configured"),
    ],
)
async def test_a_stream_of_actor_events_needs_a_grpc_app_and_placement(
    grpc_app: bool, code: str, text: str
) -> None:
    async with served(grpc_app=grpc_app) as channel:
        stream = channel.stream_stream(f"{DAPR.decode()}SubscribeActorEventsAlpha1")()
        assert await refusal(stream.read()) == (code, text, "")


async def test_a_workflow_worker_is_greeted_and_has_no_work(channel: grpc.aio.Channel) -> None:
    hub = workflow.TASK_HUB.decode()
    assert await channel.unary_unary(f"{hub}Hello")(b"") == b""
    for method in ("StartInstance", "GetInstance", "CompleteOrchestratorTask"):
        refused = await refusal(channel.unary_unary(hub + method)(b""))
        assert refused == ("UNAVAILABLE", "placement service is not configured", "")
    code, text, _ = await refusal(channel.unary_stream(f"{hub}GetWorkItems")(b"").read())
    assert code == "UNAVAILABLE" and text.startswith("unable to establish work item stream at this time: ")
