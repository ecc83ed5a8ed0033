"""Binding requests and answers: JSON and protobuf to the model's nouns and back."""

from collections.abc import Mapping

from pillion.model.bindings import Reply
from pillion.model.errors import MALFORMED_REQUEST, ApiError
from pillion.toolbox.lazily import dataclass
from pillion.wire import json
from pillion.wire.json import JsonError
from pillion.wire.proto import runtime
from pillion.wire.shapes import GoShape

DESERIALIZING = "failed deserializing HTTP body: "
_REQUEST = GoShape("OutputBindingRequest", "metadata data operation", whole="http.OutputBindingRequest")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The body of an invocation; `data` is JSON again, `null` where it was not given."""

    operation: str
    data: bytes
    metadata: Mapping[str, str]


def invocation(body: bytes) -> Invocation:
    """Read the body of an invocation, member names in any case; raises ApiError."""
    try:
        given = _REQUEST.object(json.loads_first(body))
        metadata, operation = _REQUEST.texts(given, "metadata"), _REQUEST.text(given, "operation")
    except JsonError as error:
        raise ApiError(MALFORMED_REQUEST, why=DESERIALIZING + str(error)) from error
    return Invocation(operation, json.encode_canonical(given.get("data")), metadata)


def answer(reply: Reply | None) -> bytes:
    """An InvokeBindingResponse."""
    if reply is None:
        return b""
    return runtime.InvokeBindingResponse(
        data=reply.data or b"", metadata=dict(reply.metadata)
    ).SerializeToString()
