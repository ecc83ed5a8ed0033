"""Output bindings over gRPC."""

import pytest
from support.api import Calling
from support.bindings import Quay

from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.grpc.bindings import BindingRpcs
from pillion.net.rpc import Code, RpcError
from pillion.services.bindings import OutputBindings
from pillion.wire.proto import rpc, runtime


@pytest.fixture
def quay() -> Quay:
    made = Quay()
    made.echo()
    return made


async def ask(
    quay: Quay, calling: Calling, operation: str, name: str = "echo", data: bytes = b"hello", **metadata: str
) -> "runtime.InvokeBindingResponse":
    api = GrpcApi(admission=None, over=lambda *_: None)
    api.serve(DAPR, BindingRpcs(OutputBindings(quay.mounts, quay)).unary())  # type: ignore[arg-type]
    request = runtime.InvokeBindingRequest(name=name, operation=operation, data=data, metadata=metadata)
    made = await api.unary[DAPR + b"InvokeBinding"](calling, request.SerializeToString())
    return runtime.InvokeBindingResponse.FromString(made)


@pytest.fixture
def calling() -> Calling:
    return Calling(DAPR + b"InvokeBinding")


async def test_data_and_metadata_come_back_in_the_message_and_in_headers(
    quay: Quay, calling: Calling
) -> None:
    got = await ask(quay, calling, "create")
    assert got.data == b"hello"
    assert dict(got.metadata) == {"Content-Length": "5", "X-Hb": "v", "statusCode": "200"}
    assert calling.initial == [
        (b"metadata.content-length", b"5"), (b"metadata.x-hb", b"v"), (b"metadata.statuscode", b"200"),
    ]  # fmt: skip


async def test_nothing_to_say_is_an_empty_message(quay: Quay, calling: Calling) -> None:
    assert await ask(quay, calling, "nothing") == runtime.InvokeBindingResponse()


async def test_metadata_of_the_call_reaches_the_binding(quay: Quay, calling: Calling) -> None:
    calling.metadata += [
        (b":authority", b"localhost"), (b"traceparent", b"00-a-b-01"), (b"k", b"first"), (b"k", b"second"),
        (b"grpc-accept-encoding", b"gzip"), (b"x-bin", b"\x00"), (b"own", b"call"),
    ]  # fmt: skip
    await ask(quay, calling, "create", own="request", kept="r")
    got = quay.mounts["echo"].driver.got  # type: ignore[attr-defined]
    assert got[0][2] == {
        "dapr-authority": "localhost", "traceparent": "00-a-b-01", "k": "first",
        "dapr-grpc-accept-encoding": "gzip", "own": "call", "kept": "r",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "operation", "message"),
    [
        ("zz", "create", "error invoking output binding zz: couldn't find output binding zz"),
        (
            "echo", "frob",
            "error invoking output binding echo: binding echo does not support operation frob. "
            "supported operations:create fail refuse lose nothing",
        ),
        ("echo", "", "error invoking output binding echo: operation field is missing from request"),
        ("echo", "fail", "error invoking output binding echo: received status code 500"),
    ],
)  # fmt: skip
async def test_what_cannot_be_invoked_says_why(
    quay: Quay, calling: Calling, name: str, operation: str, message: str
) -> None:
    with pytest.raises(RpcError) as failed:
        await ask(quay, calling, operation, name)
    status = rpc.Status.FromString(failed.value.details)
    info = rpc.ErrorInfo.FromString(status.details[0].value)
    assert (failed.value.code, failed.value.message) == (Code.INTERNAL, message)
    assert (len(status.details), info.reason, info.domain) == (1, "ERR_INVOKE_OUTPUT_BINDING", "dapr.io")


async def test_a_failure_shows_what_the_outside_told(quay: Quay, calling: Calling) -> None:
    with pytest.raises(RpcError):
        await ask(quay, calling, "fail")
    assert calling.initial == [(b"metadata.statuscode", b"500")]
