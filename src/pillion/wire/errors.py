"""google.rpc.Status and its detail messages, from plain values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pillion.wire.proto import rpc


def status(code: int, message: str, details: Iterable[Any]) -> bytes:
    """A serialized google.rpc.Status with each detail packed."""
    made = rpc.Status(code=code, message=message)
    for detail in details:
        made.details.add().Pack(detail)
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
