"""The protobuf classes of one streamed call between sidecars, in a pool of their own.

Only the fields the floor fills are declared; names and numbers are those of `dapr.proto.internals.v1`.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "string": _FIELD.TYPE_STRING,
    "uint64": _FIELD.TYPE_UINT64,
}
_PACKAGE = "floor"

_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "Any": ((1, "type_url", "string"), (2, "value", "bytes")),
    "Extension": ((1, "verb", "int32"), (2, "querystring", "string")),
    "InvokeRequest": (
        (1, "method", "string"),
        (2, "data", "Any"),
        (3, "content_type", "string"),
        (4, "http_extension", "Extension"),
    ),
    "InvokeResponse": ((1, "data", "Any"), (2, "content_type", "string")),
    "StreamPayload": ((1, "data", "bytes"), (2, "seq", "uint64")),
    "Status": ((1, "code", "int32"), (2, "message", "string")),
    "ListStringValue": ((1, "values", "string*"),),
    "InternalInvokeRequest": (
        (1, "ver", "int32"),
        (2, "metadata", "{ListStringValue}"),
        (3, "message", "InvokeRequest"),
    ),
    "InternalInvokeResponse": (
        (1, "status", "Status"),
        (2, "headers", "{ListStringValue}"),
        (4, "message", "InvokeResponse"),
    ),
    "RequestStream": ((1, "request", "InternalInvokeRequest"), (2, "payload", "StreamPayload")),
    "ResponseStream": ((1, "response", "InternalInvokeResponse"), (2, "payload", "StreamPayload")),
}


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind.startswith("{"):
        kind = _add_map_entry(message, name, kind[1:-1])
        field.label = _FIELD.LABEL_REPEATED
    if kind.endswith("*"):
        kind = kind[:-1]
        field.label = _FIELD.LABEL_REPEATED
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _add_map_entry(message: descriptor_pb2.DescriptorProto, name: str, kind: str) -> str:
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    _add_field(entry, 1, "key", "string")
    _add_field(entry, 2, "value", kind)
    return f"{message.name}.{entry.name}"


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="floor.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            _add_field(message, number, field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _class(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


_POOL = _pool()
RequestStream: Any = _class(_POOL, "RequestStream")
ResponseStream: Any = _class(_POOL, "ResponseStream")

VERBS = {b"GET": 1, b"HEAD": 2, b"POST": 3, b"PUT": 4, b"DELETE": 5, b"OPTIONS": 7, b"TRACE": 8, b"PATCH": 9}
VERB_NAMES = {number: name for name, number in VERBS.items()}
