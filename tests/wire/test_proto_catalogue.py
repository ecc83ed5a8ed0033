"""Services and files as the shipped descriptors tell them."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from pillion.wire.proto import Kind, Method, file_descriptor_protos, services

DAPR = "dapr/proto/runtime/v1/dapr.proto"


def methods(service: str) -> dict[str, Method]:
    (found,) = (each for each in services() if each.name == service)
    return {method.name: method for method in found.methods}


def names(files: tuple[bytes, ...]) -> list[str]:
    return [FileDescriptorProto.FromString(file).name for file in files]


def test_every_service_is_listed() -> None:
    assert {service.name for service in services()} == {
        "dapr.proto.internals.v1.ServiceInvocation",
        "dapr.proto.runtime.v1.AppCallback",
        "dapr.proto.runtime.v1.AppCallbackAlpha",
        "dapr.proto.runtime.v1.AppCallbackHealthCheck",
        "dapr.proto.runtime.v1.Dapr",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_a_method_says_where_and_how_it_is_called() -> None:
    assert methods("dapr.proto.runtime.v1.Dapr")["GetState"] == Method(
        name="GetState",
        path="/dapr.proto.runtime.v1.Dapr/GetState",
        kind=Kind.UNARY,
        request="dapr.proto.runtime.v1.GetStateRequest",
        response="dapr.proto.runtime.v1.GetStateResponse",
    )


@pytest.mark.parametrize(
    ("service", "method", "kind"),
    [
        ("dapr.proto.runtime.v1.Dapr", "SubscribeConfiguration", Kind.SERVER_STREAM),
        ("dapr.proto.runtime.v1.Dapr", "SetBinaryFileAlpha1", Kind.CLIENT_STREAM),
        ("dapr.proto.runtime.v1.Dapr", "SubscribeTopicEventsAlpha1", Kind.BIDI),
        ("dapr.proto.internals.v1.ServiceInvocation", "CallActor", Kind.UNARY),
        ("dapr.proto.internals.v1.ServiceInvocation", "CallActorReminder", Kind.UNARY),
        ("dapr.proto.internals.v1.ServiceInvocation", "CallActorStream", Kind.SERVER_STREAM),
        ("dapr.proto.internals.v1.ServiceInvocation", "CallLocal", Kind.UNARY),
        ("dapr.proto.internals.v1.ServiceInvocation", "CallLocalStream", Kind.BIDI),
    ],
)
def test_streams_are_told_by_their_kind(service: str, method: str, kind: Kind) -> None:
    assert methods(service)[method].kind is kind


def test_a_file_comes_first_and_all_it_imports_after() -> None:
    files = file_descriptor_protos(filename=DAPR)
    assert names(files)[0] == DAPR
    assert len(set(names(files))) == len(files)
    known = DescriptorDatabase()
    for file in files:
        known.Add(FileDescriptorProto.FromString(file))
    assert len(DescriptorPool(known).FindServiceByName("dapr.proto.runtime.v1.Dapr").methods) == 94


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("dapr.proto.runtime.v1.Dapr", DAPR),
        ("dapr.proto.runtime.v1.Dapr.GetState", DAPR),
        ("dapr.proto.runtime.v1.GetStateRequest", "dapr/proto/runtime/v1/state.proto"),
        ("dapr.proto.runtime.v1.GetStateRequest.key", "dapr/proto/runtime/v1/state.proto"),
        ("dapr.proto.common.v1.JobFailurePolicy.policy", "dapr/proto/common/v1/common.proto"),
        ("dapr.proto.internals.v1.APIVersion", "dapr/proto/internals/v1/apiversion.proto"),
        ("dapr.proto.internals.v1.V1", "dapr/proto/internals/v1/apiversion.proto"),
        ("google.protobuf.Any", "google/protobuf/any.proto"),
        ("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"),
    ],
)
def test_every_kind_of_symbol_leads_to_its_file(symbol: str, file: str) -> None:
    assert names(file_descriptor_protos(symbol=symbol))[0] == file


@pytest.mark.parametrize("symbol", ["", "nope", "dapr.proto.runtime.v1", "dapr.proto.runtime.v1.Dapr.Nope"])
def test_an_unknown_symbol_has_no_files(symbol: str) -> None:
    assert file_descriptor_protos(symbol=symbol) == ()


def test_an_unknown_file_has_no_files() -> None:
    assert file_descriptor_protos(filename="nope.proto") == ()
