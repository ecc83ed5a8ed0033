"""Answers of the secrets API, in JSON and in protobuf."""

from collections.abc import Mapping

from pillion.wire import json
from pillion.wire.proto import runtime


def body(found: Mapping[str, str] | Mapping[str, Mapping[str, str]]) -> bytes:
    """One secret, or all of them by name, with the line end that Dapr's encoder puts behind."""
    return json.encode_exact(found) + b"\n"


def answer(found: Mapping[str, str]) -> bytes:
    """A GetSecretResponse."""
    return runtime.GetSecretResponse(data=dict(found)).SerializeToString()


def bulk_answer(found: Mapping[str, Mapping[str, str]]) -> bytes:
    """A GetBulkSecretResponse."""
    made = runtime.GetBulkSecretResponse()
    for name, secret in found.items():
        made.data[name].secrets.update(secret)
    return made.SerializeToString()
