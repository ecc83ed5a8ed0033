"""What is measured: one row per kind of request, with its bytes ready made."""

import argparse
import base64
from dataclasses import dataclass

STATE_STORE = "statestore"
PUBSUB = "pubsub"
CALLEE = "back"
KEY = "order"
_VALUE = '{"id":1042,"item":"pillion","paid":true}'
_VERB_GET = 1


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request over HTTP/1.1."""

    method: str
    path: str
    body: str = ""

    def flags(self, http: int, grpc: int) -> list[str]:
        """How the load generator is told to make this call on a sidecar with these ports."""
        target = f"127.0.0.1:{http}"
        return ["http", "-target", target, "-method", self.method, "-path", self.path, "-body", self.body]


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """A unary call of the `Dapr` service, its message encoded."""

    name: str
    message: bytes

    def flags(self, http: int, grpc: int) -> list[str]:
        """How the load generator is told to make this call on a sidecar with these ports."""
        method = f"/dapr.proto.runtime.v1.Dapr/{self.name}"
        body = base64.b64encode(self.message).decode()
        return ["grpc", "-target", f"127.0.0.1:{grpc}", "-method", method, "-body", body]


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request. `hops` is how many sidecars take part, and so whose CPU counts."""

    name: str
    title: str
    hops: int
    call: HttpCall | GrpcCall


def _field(number: int, value: bytes | str | int) -> bytes:
    """One protobuf field. Every message and number here is short enough for one-byte lengths and keys."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    raw = value.encode() if isinstance(value, str) else value
    return bytes((number << 3 | 2, len(raw))) + raw


_INVOKED = _field(1, "ping") + _field(4, _field(1, _VERB_GET))
_STATE_ITEM = _field(1, KEY) + _field(2, _VALUE)
_EVENT = _field(3, _VALUE) + _field(4, "application/json")

SEED = HttpCall("POST", f"/v1.0/state/{STATE_STORE}", f'[{{"key":"{KEY}","value":{_VALUE}}}]')

WORKS = (
    Work("invoke-http", "HTTP invoke through both", 2, HttpCall("GET", f"/v1.0/invoke/{CALLEE}/method/ping")),
    Work(
        "invoke-grpc",
        "gRPC `InvokeService` through both",
        2,
        GrpcCall("InvokeService", _field(1, CALLEE) + _field(3, _INVOKED)),
    ),
    Work(
        "state-get-http", "HTTP get state, in memory", 1, HttpCall("GET", f"/v1.0/state/{STATE_STORE}/{KEY}")
    ),
    Work("state-save-http", "HTTP save state, in memory", 1, SEED),
    Work(
        "state-get-grpc",
        "gRPC get state, in memory",
        1,
        GrpcCall("GetState", _field(1, STATE_STORE) + _field(2, KEY)),
    ),
    Work(
        "state-save-grpc",
        "gRPC save state, in memory",
        1,
        GrpcCall("SaveState", _field(1, STATE_STORE) + _field(2, _STATE_ITEM)),
    ),
    Work(
        "publish-http",
        "HTTP publish, in memory",
        1,
        HttpCall("POST", f"/v1.0/publish/{PUBSUB}/orders", _VALUE),
    ),
    Work(
        "publish-grpc",
        "gRPC publish, in memory",
        1,
        GrpcCall("PublishEvent", _field(1, PUBSUB) + _field(2, "orders") + _EVENT),
    ),
)


def chosen(names: str) -> tuple[Work, ...]:
    """The works of a comma-separated list, in the order of the table; an error names what is unknown."""
    wanted = {name.strip() for name in names.split(",")}
    if unknown := wanted - {work.name for work in WORKS}:
        raise argparse.ArgumentTypeError(f"no such work: {', '.join(sorted(unknown))}")
    return tuple(work for work in WORKS if work.name in wanted)
