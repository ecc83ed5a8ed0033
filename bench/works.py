"""What is measured: one row per kind of request, with its bytes ready made."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace

STATE_STORE, SQLITE, REDIS = "statestore", "sqlite", "redis"
PUBSUB, REDIS_PUBSUB = "pubsub", "redispub"
SECRETS, BINDING, HTTP_BINDING = "secrets", "files", "web"
TOPIC, GRPC_TOPIC, UNREAD = "orders", "grpc-orders", "unread"
"""The topics of the apps over HTTP and over gRPC, and one nobody reads."""
CALLEE, GRPC_CALLEE = "back", "grpcback"
KEY = "order"
BULK = 10
"""Keys or events of one bulk request."""

_VALUE = '{"id":1042,"item":"pillion","paid":true}'
_DELIVERED = '{"caller":@CALLER@,"item":"pillion","paid":true}'
"""The load generator writes the caller's number in: by it the app tells who may publish again."""
_GET, _POST = 1, 3
_DAPR = "/dapr.proto.runtime.v1.Dapr/"
_TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request over HTTP/1.1."""

    method: str
    path: str
    body: str = ""
    headers: Headers = ()

    def flags(self, http: int, grpc: int) -> list[str]:
        """How the load generator is told to make this call on a sidecar with these ports."""
        flags = ["http", "-target", f"127.0.0.1:{http}", "-method", self.method, "-path", self.path]
        return flags + _header_flags(self.headers)

    @property
    def bytes(self) -> bytes:
        return self.body.encode()


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """A unary call, its message encoded: of the `Dapr` service, unless the name is a whole path."""

    name: str
    message: bytes
    headers: Headers = ()
    deadline: bool = False

    def flags(self, http: int, grpc: int) -> list[str]:
        """How the load generator is told to make this call on a sidecar with these ports."""
        flags = ["grpc", "-target", f"127.0.0.1:{grpc}", "-method", self.path, f"-deadline={self.deadline}"]
        return flags + _header_flags(self.headers)

    @property
    def path(self) -> str:
        return self.name if self.name.startswith("/") else _DAPR + self.name

    @property
    def bytes(self) -> bytes:
        return self.message


def _header_flags(headers: Headers) -> list[str]:
    return [part for name, value in headers for part in ("-header", f"{name}: {value}")]


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request: which sidecar is asked, and whose CPU counts.

    With `delivered` a call is over when the app has got the event, not when it is published. `callers` and `rate`
    stand for the row's own; None takes what the run was told. `client` is who calls: the load generator in Go, or
    Python's grpcio.
    """

    name: str
    title: str
    call: HttpCall | GrpcCall
    at: str = "front"
    through: tuple[str, ...] = ("front",)
    delivered: bool = False
    callers: int | None = None
    rate: float | None = None
    client: str = "go"
    needs_redis: bool = False

    @property
    def group(self) -> str:
        """The part of the report it belongs to."""
        return "rates" if self.rate else _GROUPS[self.name.partition("-")[0]]


_GROUPS = {
    "invoke": "invoke",
    "state": "state",
    "sqlite": "state",
    "redis": "state",
    "publish": "events",
    "bulk": "events",
    "redispublish": "events",
    "redisbulk": "events",
    "deliver": "events",
    "redisdeliver": "events",
    "binding": "rest",
    "secret": "rest",
}


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _field(number: int, value: bytes | str | int) -> bytes:
    """One protobuf field with a number below 16."""
    if isinstance(value, int):
        return bytes((number << 3,)) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return bytes((number << 3 | 2,)) + _varint(len(raw)) + raw


def _invoked(verb: int, method: str, body: bytes = b"") -> bytes:
    data = _field(2, _field(2, body)) + _field(3, "application/octet-stream") if body else b""
    return _field(1, CALLEE) + _field(3, _field(1, method) + data + _field(4, _field(1, verb)))


def _payload(size: int) -> str:
    return "x" * size


def _invoke() -> Iterable[Work]:
    both, path = ("front", "back"), f"/v1.0/invoke/{CALLEE}/method/ping"
    get = Work("invoke-http", "HTTP invoke", HttpCall("GET", path), through=both)
    call = GrpcCall("InvokeService", _invoked(_GET, "ping"))
    rpc = Work("invoke-grpc", "gRPC invoke", call, through=both)
    yield get
    yield rpc
    for work in (get, rpc):
        for callers in (1, 256):
            said = "one caller" if callers == 1 else f"{callers} callers"
            yield replace(
                work, name=f"{work.name}-{callers}c", title=f"{work.title}, {said}", callers=callers
            )
    for size, said in ((1024, "1k"), (10 * 1024, "10k"), (100 * 1024, "100k")):
        body = _payload(size)
        title = f"{size // 1024} KiB there and back"
        yield replace(
            get, name=f"invoke-http-{said}", title=f"HTTP invoke, {title}", call=HttpCall("POST", path, body)
        )
        if size != 10 * 1024:
            sent = replace(call, message=_invoked(_POST, "ping", body.encode()))
            yield replace(rpc, name=f"invoke-grpc-{said}", title=f"gRPC invoke, {title}", call=sent)
    many = tuple((f"x-header-{n:02}", f"value-{n:02}-of-fifty") for n in range(50))
    yield replace(
        get, name="invoke-http-50h", title="HTTP invoke, 50 headers", call=HttpCall("GET", path, "", many)
    )
    across = ("front", GRPC_CALLEE)
    proxied = GrpcCall("/bench.Echo/Say", _field(1, _VALUE), (("dapr-app-id", GRPC_CALLEE),))
    yield Work("invoke-proxied", "gRPC proxied to the app", proxied, through=across)
    to_grpc = HttpCall("GET", f"/v1.0/invoke/{GRPC_CALLEE}/method/ping")
    yield Work("invoke-http-to-grpc", "HTTP invoke of a gRPC app", to_grpc, through=across)
    strict = replace(call, headers=(_TRACE,), deadline=True)
    yield replace(rpc, name="invoke-grpc-traced", title="gRPC invoke, deadline and trace", call=strict)
    yield replace(
        rpc,
        name="invoke-grpcio",
        title="gRPC invoke from grpcio (Python), the same",
        call=strict,
        client="grpcio",
    )


def _save(store: str) -> HttpCall:
    return HttpCall("POST", f"/v1.0/state/{store}", f'[{{"key":"{KEY}","value":{_VALUE}}}]')


def fill(store: str) -> HttpCall:
    """Every key that is read below."""
    keys = [KEY, *(f"{KEY}{n}" for n in range(BULK))]
    items = ",".join(f'{{"key":"{key}","value":{_VALUE}}}' for key in keys)
    return HttpCall("POST", f"/v1.0/state/{store}", f"[{items}]")


def _state(prefix: str, store: str, where: str) -> Iterable[Work]:
    item = _field(1, KEY) + _field(2, _VALUE)
    path = f"/v1.0/state/{store}"
    keys = ",".join(f'"{KEY}{n}"' for n in range(BULK))
    several = b"".join(_field(2, f"{KEY}{n}") for n in range(BULK))
    upserts = ",".join(
        f'{{"operation":"upsert","request":{{"key":"{KEY}{n}","value":{_VALUE}}}}}' for n in range(3)
    )
    steps = b"".join(
        _field(2, _field(1, "upsert") + _field(2, _field(1, f"{KEY}{n}") + _field(2, _VALUE)))
        for n in range(3)
    )
    rows: tuple[tuple[str, str, HttpCall | GrpcCall], ...] = (
        ("get-http", "HTTP get state", HttpCall("GET", f"{path}/{KEY}")),
        ("get-grpc", "gRPC get state", GrpcCall("GetState", _field(1, store) + _field(2, KEY))),
        ("save-http", "HTTP save state", _save(store)),
        ("save-grpc", "gRPC save state", GrpcCall("SaveState", _field(1, store) + _field(2, item))),
        (
            "bulk-http",
            f"HTTP get {BULK} states in bulk",
            HttpCall("POST", f"{path}/bulk", f'{{"keys":[{keys}]}}'),
        ),
        (
            "bulk-grpc",
            f"gRPC get {BULK} states in bulk",
            GrpcCall("GetBulkState", _field(1, store) + several),
        ),
        (
            "tx-http",
            "HTTP transaction of 3",
            HttpCall("POST", f"{path}/transaction", f'{{"operations":[{upserts}]}}'),
        ),
        (
            "tx-grpc",
            "gRPC transaction of 3",
            GrpcCall("ExecuteStateTransaction", _field(1, store) + steps),
        ),
    )
    for name, title, call in rows:
        yield Work(
            f"{prefix}-{name}",
            f"{title}, {where}",
            call,
            needs_redis=store == REDIS,
        )
    if store == STATE_STORE:
        get = rows[1][2]
        yield Work("state-get-grpc-1c", "gRPC get state, in memory, one caller", get, callers=1)
        yield Work("state-get-grpc-256c", "gRPC get state, in memory, 256 callers", get, callers=256)


def _events(prefix: str, broker: str, where: str) -> Iterable[Work]:
    redis = broker == REDIS_PUBSUB
    to = f"{broker}/{UNREAD}"
    event = _field(3, _VALUE) + _field(4, "application/json")
    entries = ",".join(
        f'{{"entryId":"{n}","event":{_VALUE},"contentType":"application/json"}}' for n in range(BULK)
    )
    rpc_entries = b"".join(
        _field(3, _field(1, str(n)) + _field(2, _VALUE) + _field(3, "application/json")) for n in range(BULK)
    )
    rows: tuple[tuple[str, str, HttpCall | GrpcCall], ...] = (
        ("publish-http", "HTTP publish", HttpCall("POST", f"/v1.0/publish/{to}", _VALUE)),
        (
            "publish-grpc",
            "gRPC publish",
            GrpcCall("PublishEvent", _field(1, broker) + _field(2, UNREAD) + event),
        ),
        (
            "bulk-http",
            f"HTTP publish of {BULK} in bulk",
            HttpCall("POST", f"/v1.0-alpha1/publish/bulk/{to}", f"[{entries}]"),
        ),
        (
            "bulk-grpc",
            f"gRPC publish of {BULK} in bulk",
            GrpcCall("BulkPublishEventAlpha1", _field(1, broker) + _field(2, UNREAD) + rpc_entries),
        ),
    )
    for name, title, call in rows:
        yield Work(prefix + name, f"{title}, {where}", call, needs_redis=redis)
    for name, at, kind, topic in (
        ("deliver-http", CALLEE, "HTTP", TOPIC),
        ("deliver-grpc", GRPC_CALLEE, "gRPC", GRPC_TOPIC),
    ):
        call = HttpCall("POST", f"/v1.0/publish/{broker}/{topic}", _DELIVERED)
        title = f"Publish and delivery, {kind} app, {where}"
        yield Work(prefix + name, title, call, at, (at,), delivered=True, needs_redis=redis)


def _rest() -> Iterable[Work]:
    create = f'{{"operation":"create","data":{_VALUE},"metadata":{{"fileName":"order.json"}}}}'
    fetch = '{"operation":"get","metadata":{"path":"/ping"}}'
    files, web = f"/v1.0/bindings/{BINDING}", f"/v1.0/bindings/{HTTP_BINDING}"
    yield Work("binding-file", "HTTP binding, write a local file", HttpCall("POST", files, create))
    yield Work("binding-web", "HTTP binding, get over HTTP", HttpCall("POST", web, fetch))
    get = GrpcCall("GetSecret", _field(1, SECRETS) + _field(2, "password"))
    yield Work("secret-http", "HTTP get secret", HttpCall("GET", f"/v1.0/secrets/{SECRETS}/password"))
    yield Work("secret-grpc", "gRPC get secret", get)


_AT_A_RATE = ("invoke-http", "invoke-grpc", "state-get-grpc", "redis-get-http", "redispublish-http")


def _rates(works: Iterable[Work]) -> Iterable[Work]:
    for work in works:
        if work.name in _AT_A_RATE:
            for rate in (1000, 5000):
                title = f"{work.title}, {rate:,}/s"
                yield replace(work, name=f"{work.name}@{rate}", title=title, rate=float(rate), callers=64)


def _all() -> tuple[Work, ...]:
    works = [
        *_invoke(),
        *_state("state", STATE_STORE, "in memory"),
        *_state("sqlite", SQLITE, "SQLite"),
        *_state("redis", REDIS, "Redis"),
        *_events("", PUBSUB, "in memory"),
        *_events("redis", REDIS_PUBSUB, "Redis"),
        *_rest(),
    ]
    return (*works, *_rates(works))


WORKS = _all()

MAIN = tuple(
    (
        "invoke-http invoke-grpc state-get-http state-save-http state-get-grpc state-save-grpc "
        "redis-get-http redis-save-http redis-get-grpc redis-save-grpc publish-http publish-grpc "
        "redispublish-http redispublish-grpc deliver-http deliver-grpc redisdeliver-http redisdeliver-grpc"
    ).split()
)
"""What a plain run measures; the report measures all."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, as ratios to the Go sidecar."""

    throughput: float
    cpu: float
    p99: float


def target(work: Work) -> Target | None:
    """The aim for one of the main works; publishing in memory has none."""
    head, _, rest = work.name.partition("-")
    if head == "state":
        return Target(1.5, 0.5, 0.7) if rest.endswith("grpc") else Target(1.2, 0.6, 0.8)
    return {
        "invoke": Target(2.5, 0.35, 0.5),
        "redis": Target(1.3, 0.6, 0.8),
        "redispublish": Target(1.3, 0.6, 0.8),
        "deliver": Target(2.0, 0.5, 0.5),
        "redisdeliver": Target(2.0, 0.5, 0.5),
    }.get(head)


def listed(names: Iterable[str]) -> tuple[Work, ...]:
    """The works of these names, in the order of the table; KeyError names what is unknown."""
    wanted = set(names)
    if unknown := wanted - {work.name for work in WORKS}:
        raise KeyError(", ".join(sorted(unknown)))
    return tuple(work for work in WORKS if work.name in wanted)


def chosen(names: str) -> tuple[Work, ...]:
    """The works of a comma-separated list; a name may be a group's, and `all` is all of them."""
    wanted = {name.strip() for name in names.split(",")}
    whole = {work.name for work in WORKS if {"all", work.group} & wanted}
    try:
        return listed(wanted - {"all"} - {work.group for work in WORKS} | whole)
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no such work: {error.args[0]}") from error
