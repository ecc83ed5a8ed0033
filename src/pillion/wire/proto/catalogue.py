"""What the shipped descriptors say: which services there are, and the files a reflection client asks for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from pillion.toolbox.lazily import dataclass
from pillion.wire.proto.pool import files, pool

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor


class Kind(Enum):
    """Which sides of a call send more than one message: (client, server)."""

    UNARY = (False, False)
    SERVER_STREAM = (False, True)
    CLIENT_STREAM = (True, False)
    BIDI = (True, True)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC; `request` and `response` are full names, for `message_class`."""

    name: str
    path: str
    kind: Kind
    request: str
    response: str


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service by its full name, methods in the order of the .proto file."""

    name: str
    methods: tuple[Method, ...]


@cache
def services() -> tuple[Service, ...]:
    """Every service of the shipped set, those we call (AppCallback) as well as those we serve."""
    return tuple(_service(each) for file in files() for each in file.services_by_name.values())


def file_descriptor_protos(*, filename: str = "", symbol: str = "") -> tuple[bytes, ...]:
    """The serialized file of that name, or defining that symbol, then all it imports; empty if unknown.

    A symbol is the full name of a service, method, message, field, oneof, enum or enum value.
    """
    try:
        file = pool().FindFileByName(filename) if filename else _file_defining(symbol)
    except KeyError:
        return ()
    return tuple(each.serialized_pb for each in _with_imports(file))


def _service(descriptor: ServiceDescriptor) -> Service:
    return Service(descriptor.full_name, tuple(_method(descriptor, each) for each in descriptor.methods))


def _method(service: ServiceDescriptor, method: MethodDescriptor) -> Method:
    return Method(
        name=method.name,
        path=f"/{service.full_name}/{method.name}",
        kind=Kind((method.client_streaming, method.server_streaming)),
        request=method.input_type.full_name,
        response=method.output_type.full_name,
    )


def _file_defining(symbol: str) -> FileDescriptor:
    try:
        return pool().FindFileContainingSymbol(symbol)
    except KeyError:
        # The pool knows every kind of symbol but methods.
        service, _, method = symbol.rpartition(".")
        return pool().FindServiceByName(service).methods_by_name[method].containing_service.file


def _with_imports(file: FileDescriptor) -> Iterable[FileDescriptor]:
    found = {file.name: file}
    for each in (waiting := [file]):
        fresh = [needed for needed in each.dependencies if needed.name not in found]
        found.update((needed.name, needed) for needed in fresh)
        waiting += fresh
    return found.values()
