"""Our descriptors say what the official SDK's say, and what our own .proto files say."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pillion.wire.proto import message_class, services

ROOT = Path(__file__).resolve().parents[2]
SDK = ["dapr.proto.common.v1", "dapr.proto.runtime.v1"]
GOOGLE = ["google.rpc.status_pb2", "google.rpc.error_details_pb2"]
GOOGLE += [
    f"google.protobuf.{name}_pb2" for name in ("any", "duration", "empty", "struct", "timestamp", "wrappers")
]


def sdk_files() -> Iterator[Any]:
    for package in map(importlib.import_module, SDK):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_pb2"):
                yield importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR


def google_files() -> Iterator[Any]:
    for name in GOOGLE:
        yield importlib.import_module(name).DESCRIPTOR


def every_message(messages: Iterable[Any]) -> Iterator[Any]:
    for message in messages:
        yield message
        yield from every_message(message.nested_types)


def every_enum(file: Any) -> Iterator[Any]:
    yield from file.enum_types_by_name.values()
    for message in every_message(file.message_types_by_name.values()):
        yield from message.enum_types


def fields(message: Any) -> dict[str, dict[str, Any]]:
    return {field.name: field_facts(field) for field in message.fields}


def field_facts(field: Any) -> dict[str, Any]:
    """All that decides a field's bytes, its presence and its JSON."""
    refers = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return {
        "number": field.number,
        "type": field.type,
        "of": refers.full_name if refers else None,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "oneof": oneof.name if oneof else None,
        "json": field.json_name,
        "deprecated": field.GetOptions().deprecated,
    }


def enum_values(enum: Any) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def mismatches(files: Iterable[Any]) -> list[str]:
    """Every message, enum and service of `files` that ours lacks or has otherwise."""
    return [
        name for file in files for name in (*wrong_messages(file), *wrong_enums(file), *wrong_services(file))
    ]


def wrong_messages(file: Any) -> Iterator[str]:
    for theirs in every_message(file.message_types_by_name.values()):
        try:
            ours = message_class(theirs.full_name).DESCRIPTOR
        except KeyError:
            yield theirs.full_name
            continue
        if fields(ours) != fields(theirs) or ours.GetOptions().deprecated != theirs.GetOptions().deprecated:
            yield theirs.full_name


def wrong_enums(file: Any) -> Iterator[str]:
    pool = message_class("google.protobuf.Any").DESCRIPTOR.file.pool
    for theirs in every_enum(file):
        try:
            ours = pool.FindEnumTypeByName(theirs.full_name)
        except KeyError:
            yield theirs.full_name
            continue
        if enum_values(ours) != enum_values(theirs):
            yield theirs.full_name


def wrong_services(file: Any) -> Iterator[str]:
    ours = {method.path: method for service in services() for method in service.methods}
    for service in file.services_by_name.values():
        for theirs in service.methods:
            found = ours.get(f"/{service.full_name}/{theirs.name}")
            expected = (
                (theirs.client_streaming, theirs.server_streaming),
                theirs.input_type.full_name,
                theirs.output_type.full_name,
            )
            if found is None or (found.kind.value, found.request, found.response) != expected:
                yield theirs.full_name


def test_ours_agree_with_the_official_sdk() -> None:
    pytest.importorskip("dapr")
    assert mismatches(sdk_files()) == []


def test_the_official_sdk_was_really_read() -> None:
    pytest.importorskip("dapr")
    files = list(sdk_files())
    methods = [
        method for file in files for service in file.services_by_name.values() for method in service.methods
    ]
    messages = [message for file in files for message in every_message(file.message_types_by_name.values())]
    assert len(methods) == 94 + 7 + 1 + 2
    assert len(messages) > 200


def test_our_copies_of_google_s_types_agree_with_google_s() -> None:
    pytest.importorskip("google.rpc.error_details_pb2")
    assert mismatches(google_files()) == []


def test_our_reflection_agrees_with_grpc_s() -> None:
    theirs = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")
    assert mismatches([theirs.DESCRIPTOR]) == []


def test_the_shipped_set_is_what_the_proto_files_say() -> None:
    pytest.importorskip("grpc_tools")
    spec = importlib.util.spec_from_file_location("build_protos", ROOT / "tools" / "build_protos.py")
    assert spec is not None and spec.loader is not None
    build_protos = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_protos)
    shipped = (ROOT / "src" / "pillion" / "wire" / "proto" / "pillion.binpb").read_bytes()
    assert build_protos.compile_protos() == shipped, "run tools/build_protos.py and commit what it writes"
