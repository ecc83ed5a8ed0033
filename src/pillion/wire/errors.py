"""google.rpc.Status and its detail messages, from plain values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pillion.wire.proto import message_class, rpc, wellknown


def is_garbage(error: BaseException) -> bool:
    """Whether a message's bytes could not be read as what they should be."""
    from google.protobuf.message import DecodeError

    return isinstance(error, DecodeError)


def status(code: int, message: str, details: Iterable[Any]) -> bytes:
    """A serialized google.rpc.Status with each detail packed."""
    made = rpc.Status(code=code, message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made.SerializeToString()


def packed_status(code: int, message: str, details: Sequence[bytes]) -> bytes:
    """A serialized google.rpc.Status of details that are serialized Any already."""
    made = rpc.Status(code=code, message=message)
    for detail in details:
        made.details.add().MergeFromString(detail)
    return made.SerializeToString()


def error_info(reason: str, domain: str, metadata: Mapping[str, str]) -> "rpc.ErrorInfo":
    """A google.rpc.ErrorInfo."""
    return rpc.ErrorInfo(reason=reason, domain=domain, metadata=dict(metadata))


def resource_info(kind: str, name: str, description: str) -> "rpc.ResourceInfo":
    """A google.rpc.ResourceInfo."""
    return rpc.ResourceInfo(resource_type=kind, resource_name=name, description=description)


def bad_request(violations: Sequence[tuple[str, str]]) -> "rpc.BadRequest":
    """A google.rpc.BadRequest of field violations."""
    made = rpc.BadRequest()
    for field, text in violations:
        made.field_violations.add(field=field, description=text)
    return made


def status_json(code: int, message: str, details: Sequence[bytes]) -> bytes:
    """A status as an HTTP caller of a gRPC app sees it: `{"code":5, "message":"..."}`, spaced as Dapr's is.

    `details` are serialized Any; one of a type we do not know is shown by its type alone.
    """
    parts = [f'"code":{code}'.encode(), b'"message":' + orjson.dumps(message)]
    if details:
        parts.append(b'"details":' + orjson.dumps([_detail(each) for each in details]))
    return b"{" + b", ".join(parts) + b"}"


def _detail(packed: bytes) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    wrapped = wellknown.Any.FromString(packed)
    try:
        made = message_class(wrapped.type_url.rpartition("/")[2]).FromString(wrapped.value)
    except KeyError:
        return {"@type": wrapped.type_url}
    return {"@type": wrapped.type_url, **MessageToDict(made)}
