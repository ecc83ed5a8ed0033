"""Server reflection, asked by the official client library and by hand."""

import asyncio

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.pair import sidecar

from pillion.edge.grpc.reflection import Reflection
from pillion.wire.proto import reflection


def asked(**question: str) -> reflection.ServerReflectionResponse:
    message = reflection.ServerReflectionRequest(host="h", **question).SerializeToString()  # type: ignore[arg-type]
    return reflection.ServerReflectionResponse.FromString(Reflection().answer(message))


async def test_a_tool_that_knows_nothing_of_dapr_finds_the_services() -> None:
    async with sidecar("front") as side:

        def look() -> tuple[list[str], str]:
            with grpc.insecure_channel(f"127.0.0.1:{side.grpc_port}") as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                file = database.FindFileContainingSymbol("dapr.proto.runtime.v1.Dapr")
                return list(database.get_services()), file.package

        services, package = await asyncio.to_thread(look)
        assert services == [
            "dapr.proto.runtime.v1.Dapr", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
        ]  # fmt: skip
        assert package == "dapr.proto.runtime.v1"


def test_a_file_comes_with_all_it_imports() -> None:
    by_symbol = asked(file_containing_symbol="dapr.proto.runtime.v1.Dapr.GetState")
    assert len(by_symbol.file_descriptor_response.file_descriptor_proto) > 3
    assert by_symbol.valid_host == "h" and by_symbol.original_request.host == "h"


@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "no.Such"},
        {"file_by_filename": "no.proto"},
        {"all_extension_numbers_of_type": "x.Y"},
    ],
)
def test_what_is_not_known_is_an_error_inside_the_conversation(question: dict[str, str]) -> None:
    assert asked(**question).error_response.error_code == 5


async def test_bytes_that_are_no_question_end_the_conversation() -> None:
    async with sidecar("front") as side, grpc.aio.insecure_channel(f"127.0.0.1:{side.grpc_port}") as channel:
        talk = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(
            iter([b"\xff\xff"])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await talk.read()
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        assert (caught.value.details() or "").startswith("grpc: error unmarshalling request")
