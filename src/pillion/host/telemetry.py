"""What the runtime measures, under Dapr's metric names and labels.

Facts: names and labels are Dapr 1.17's. Component latencies below one millisecond are counted but not put into the
histogram, and bulk deliveries carry the literal component `pubsubName`, both as there.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pillion.host.metrics import LATENCY_MS, MOST_SERIES, Cell, Family, Histogram, Registry, Tally
from pillion.net.rpc import go_name
from pillion.ports.telemetry import Instrument

_VERBS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))
K = TypeVar("K")

_KINDS = {
    "state": "state",
    "secret": "secret",
    "output_binding": "output binding",
    "configuration": "configuration",
    "crypto": "crypto",
}


class Metrics:
    """Collects by counting; `pillion.ports.telemetry.Telemetry` in shape.

    `paths` False drops the path label (Dapr's `increasedCardinality: false`), `verbs` False the method. `policy` says that access
    control is configured; without one every invocation that came counts as admitted.
    """

    def __init__(
        self,
        app_id: str,
        namespace: str = "",
        *,
        latency_ms: Sequence[int] = LATENCY_MS,
        paths: bool = True,
        verbs: bool = True,
        policy: bool = False,
    ) -> None:
        self._policy = policy
        self._registry = registry = Registry(app_id, latency_ms)
        self._namespace = namespace
        self._paths = paths
        self._verbs = verbs
        self._started = time.time()
        self._http(registry)
        self._rpc(registry)
        self._invocation(registry)
        self._pubsub(registry)
        self._components(registry)

    def text(self) -> str:
        """The whole page a scraper gets."""
        if not self._policy and (received := sum(each.value for each in self._req_recv.series())):
            self._allowed["global"].at("", "").value = received
        return self._registry.text() + _process_lines(self._started)

    # HTTP

    def _http(self, r: Registry) -> None:
        labels = ("method", "path", "status")
        self._served = r.counter("http_server_request_count", "HTTP requests served", *labels)
        self._responses = r.counter("http_server_response_count", "HTTP responses sent", *labels)
        self._served_ms = r.latency("http_server_latency", "Time to serve an HTTP request, ms", *labels)
        self._in = r.size("http_server_request_bytes", "Size of HTTP request bodies")
        self._out = r.size("http_server_response_bytes", "Size of HTTP response bodies")
        self._called = r.counter("http_client_completed_count", "HTTP calls to the app completed", *labels)
        self._called_ms = r.latency(
            "http_client_roundtrip_latency", "Time of an HTTP call to the app, ms", *labels
        )
        self._sent = r.size("http_client_sent_bytes", "Size of bodies sent to the app", *labels)
        self._received = r.size("http_client_received_bytes", "Size of bodies received from the app")
        self._probes = r.counter("http_healthprobes_completed_count", "App health probes over HTTP", "status")
        self._probes_ms = r.latency(
            "http_healthprobes_roundtrip_latency", "Time of an app health probe, ms", "status"
        )
        self._http_series: dict[tuple[str, str, int], Tally] = {}
        self._called_series: dict[tuple[str, str, int], Tally] = {}
        self._in_bytes, self._out_bytes, self._received_bytes = (
            self._in.at(),
            self._out.at(),
            self._received.at(),
        )

    def http_served(
        self, method: str, path: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        series = self._http_series.get((method, path, status)) or self._http_new(method, path, status)
        series.add((seconds * 1000, received, sent))

    def _http_new(self, method: str, path: str, status: int) -> Tally:
        verb = "" if not self._verbs else method if method in _VERBS else "UNKNOWN"
        key = (verb, path if self._paths else "", str(status))
        counters = [self._served.at(*key)]
        if self._paths:
            counters.append(self._responses.at(*key))
        return self._tallied(
            self._http_series, (method, path, status),
            counters, self._served_ms.at(*key), self._in_bytes, self._out_bytes,
        )  # fmt: skip

    def _tallied(
        self, series: dict[K, Tally], key: K, counters: Sequence[Cell], *distributions: Histogram
    ) -> Tally:
        """The tally of requests like one that is over; past the cap it is made for this one alone."""
        if len(series) >= MOST_SERIES:
            return _Passing(counters, distributions)
        made = series[key] = self._registry.tally(counters, *distributions)
        return made

    def http_called(
        self, method: str, path: str, status: int, seconds: float, sent: int, received: int
    ) -> None:
        series = self._called_series.get((method, path, status)) or self._called_new(method, path, status)
        series.add((seconds * 1000, sent, received))

    def _called_new(self, method: str, path: str, status: int) -> Tally:
        where = path if self._paths else ""
        key = (method, where, str(status))
        return self._tallied(
            self._called_series, (method, path, status), [self._called.at(*key)],
            self._called_ms.at(*key), self._sent.at(method, where, ""), self._received_bytes,
        )  # fmt: skip

    def health_probed(self, healthy: bool, seconds: float, *, grpc: bool) -> None:
        status = ("OK" if healthy else "Unavailable") if grpc else ("200" if healthy else "500")
        count, latency = (self._rpc_probes, self._rpc_probes_ms) if grpc else (self._probes, self._probes_ms)
        count.at(status).value += 1
        latency.at(status).observe(seconds * 1000)

    # gRPC

    def _rpc(self, r: Registry) -> None:
        self._rpc_series: dict[tuple[bytes, int], Tally] = {}
        self._rpc_called: dict[tuple[str, int], Tally] = {}
        m, s = "grpc_server_method", "grpc_server_status"
        self._rpc_in = r.size("grpc_io_server_received_bytes_per_rpc", "Bytes received per call", m)
        self._rpc_out = r.size("grpc_io_server_sent_bytes_per_rpc", "Bytes sent per call", m)
        self._rpc_ms = r.latency("grpc_io_server_server_latency", "Time to serve a call, ms", m, s)
        self._rpc_done = r.counter("grpc_io_server_completed_rpcs", "Calls served", m, s)
        m, s = "grpc_client_method", "grpc_client_status"
        self._call_out = r.size("grpc_io_client_sent_bytes_per_rpc", "Bytes sent per call made", m)
        self._call_in = r.size("grpc_io_client_received_bytes_per_rpc", "Bytes received per call made", m)
        self._call_ms = r.latency("grpc_io_client_roundtrip_latency", "Time of a call made, ms", m, s)
        self._call_done = r.counter("grpc_io_client_completed_rpcs", "Calls made", m, s)
        self._rpc_probes = r.counter("grpc_io_healthprobes_completed_count", "App health probes over gRPC", s)
        self._rpc_probes_ms = r.latency(
            "grpc_io_healthprobes_roundtrip_latency", "Time of an app health probe, ms", s
        )

    def rpc_served(self, path: bytes, code: int, seconds: float, received: int, sent: int) -> None:
        series = self._rpc_series.get((path, code)) or self._rpc_new(path, code)
        series.add((seconds * 1000, received, sent))

    def _rpc_new(self, path: bytes, code: int) -> Tally:
        method, status = path.decode("latin-1"), go_name(code)
        return self._tallied(
            self._rpc_series, (path, code), [self._rpc_done.at(method, status)],
            self._rpc_ms.at(method, status), self._rpc_in.at(method), self._rpc_out.at(method),
        )  # fmt: skip

    def rpc_called(self, method: str, code: int, seconds: float, sent: int, received: int) -> None:
        series = self._rpc_called.get((method, code)) or self._rpc_called_new(method, code)
        series.add((seconds * 1000, sent, received))

    def _rpc_called_new(self, method: str, code: int) -> Tally:
        status = go_name(code)
        return self._tallied(
            self._rpc_called, (method, code), [self._call_done.at(method, status)],
            self._call_ms.at(method, status), self._call_out.at(method), self._call_in.at(method),
        )  # fmt: skip

    # Invocation

    def _invocation(self, r: Registry) -> None:
        self._answer_series: dict[tuple[str, int, bool], tuple[Cell, Histogram]] = {}
        name = "runtime_service_invocation_"
        self._req_sent = r.counter(
            f"{name}req_sent_total", "Invocations sent to other sidecars", "dst_app_id", "type"
        )
        self._req_recv = r.counter(
            f"{name}req_recv_total", "Invocations received from other sidecars", "src_app_id"
        )
        self._res_sent = r.counter(
            f"{name}res_sent_total", "Answers sent to other sidecars", "dst_app_id", "status"
        )
        self._res_recv = r.counter(
            f"{name}res_recv_total", "Answers received from other sidecars", "src_app_id", "status", "type"
        )
        self._res_ms = r.latency(
            f"{name}res_recv_latency_ms", "Time until another sidecar answered, ms", "src_app_id", "status"
        )
        labels = ("trustDomain", "namespace")
        self._allowed, self._blocked = (
            {
                scope: r.counter(
                    f"runtime_acl_{scope}_policy_action_{what}_total", text, *labels, nameless=True
                )
                for scope in ("app", "global")
            }
            for what, text in (("allowed", "Invocations admitted"), ("blocked", "Invocations refused"))
        )

    def invocation_sent(self, app_id: str, streaming: bool) -> None:
        self._req_sent.at(app_id, "streaming" if streaming else "unary").value += 1

    def invocation_received(self, app_id: str) -> None:
        self._req_recv.at(app_id).value += 1

    def answer_sent(self, app_id: str, status: int) -> None:
        self._res_sent.at(app_id, str(status)).value += 1

    def answer_received(self, app_id: str, status: int, streaming: bool, seconds: float) -> None:
        series = self._answer_series.get((app_id, status, streaming))
        count, latency = series or self._answer_new(app_id, status, streaming)
        count.value += 1
        latency.observe(seconds * 1000)

    def _answer_new(self, app_id: str, status: int, streaming: bool) -> tuple[Cell, Histogram]:
        code = str(status)
        count = self._res_recv.at(app_id, code, "streaming" if streaming else "unary")
        made = (count, self._res_ms.at(app_id, code))
        if len(self._answer_series) < MOST_SERIES:
            self._answer_series[app_id, status, streaming] = made
        return made

    def access_decided(self, scope: str, allowed: bool) -> None:
        (self._allowed if allowed else self._blocked)[scope].at("", "").value += 1

    # Publish/subscribe

    def _pubsub(self, r: Registry) -> None:
        self._egress_series: dict[tuple[str, str, bool], _Timed] = {}
        self._ingress_series: dict[tuple[str, str, str, str], _Timed] = {}
        name = "component_pubsub_"
        labels = ("component", "namespace", "success", "topic")
        self._egress = r.counter(f"{name}egress_count", "Messages published", *labels)
        self._egress_ms = r.latency(f"{name}egress_latencies", "Time to publish, ms", *labels)
        self._bulk_egress = r.counter(f"{name}egress_bulk_count", "Bulk publishes", *labels)
        self._bulk_events = r.counter(f"{name}egress_bulk_event_count", "Messages published in bulk", *labels)
        self._bulk_egress_ms = r.latency(
            f"{name}egress_bulk_latencies", "Time to publish in bulk, ms", *labels
        )
        single = ("component", "namespace", "process_status", "status", "topic")
        self._ingress = r.counter(f"{name}ingress_count", "Messages delivered to the app", *single)
        self._ingress_ms = r.latency(f"{name}ingress_latencies", "Time of a delivery, ms", *single)
        batch = ("component", "namespace", "process_status", "topic")
        self._batches = r.counter(f"{name}ingress_bulk_count", "Bulk deliveries", *batch)
        self._batch_events = r.counter(
            f"{name}ingress_bulk_event_count", "Messages delivered in bulk", *batch
        )
        self._batches_ms = r.latency(f"{name}ingress_bulk_latencies", "Time of a bulk delivery, ms", *batch)

    def egress(self, pubsub: str, topic: str, ok: bool, seconds: float, *, bulk: int = 0) -> None:
        if not bulk and (known := self._egress_series.get((pubsub, topic, ok))) is not None:
            known.tell(seconds)
            return
        key = (pubsub, self._namespace, "true" if ok else "false", topic)
        if bulk:
            self._bulk_egress.at(*key).value += 1
            self._bulk_events.at(*key).value += bulk
            _slow(self._bulk_egress_ms, key, seconds)
        else:
            made = _Timed(self._egress, self._egress_ms, key)
            _keep(self._egress_series, (pubsub, topic, ok), made).tell(seconds)

    def ingress(self, pubsub: str, topic: str, process_status: str, status: str, seconds: float) -> None:
        short = (pubsub, topic, process_status, status)
        known = self._ingress_series.get(short)
        if known is None:
            key = (pubsub, self._namespace, process_status, status, topic)
            known = _keep(self._ingress_series, short, _Timed(self._ingress, self._ingress_ms, key))
        known.tell(seconds)

    def ingress_batch(self, pubsub: str, topic: str, statuses: dict[str, int], seconds: float) -> None:
        key = ("pubsubName", self._namespace, "", topic)
        self._batches.at(*key).value += 1
        _slow(self._batches_ms, key, seconds)
        for status, count in statuses.items():
            self._batch_events.at("pubsubName", self._namespace, status, topic).value += count

    # Components

    def _components(self, r: Registry) -> None:
        labels = ("component", "namespace", "operation", "success")
        self._kinds = {
            kind: (
                r.counter(f"component_{kind}_count", f"Operations of {text} components", *labels),
                r.latency(f"component_{kind}_latencies", f"Time of {text} operations, ms", *labels),
            )
            for kind, text in _KINDS.items()
        }
        plain = ("component", "namespace", "success")
        self._inputs = r.counter("component_input_binding_count", "Events of input bindings", *plain)
        self._inputs_ms = r.latency(
            "component_input_binding_latencies", "Time to hand over an event, ms", *plain
        )
        self._loaded = r.counter("runtime_component_loaded", "Components loaded").at()
        self._init = r.counter("runtime_component_init_total", "Components opened", "component")
        self._init_failed = r.counter(
            "runtime_component_init_fail_total",
            "Components that failed to open",
            "component",
            "reason",
            "componentName",
        )

    def component(self, kind: str, name: str) -> Instrument:
        if kind == "input_binding":
            return _InputInstrument(self._inputs, self._inputs_ms, name, self._namespace)
        return _ComponentInstrument(*self._kinds[kind], name, self._namespace)

    def component_loaded(self, type_name: str) -> None:
        """A component was read and its driver opened."""
        self._loaded.value += 1
        self._init.at(type_name).value += 1

    def component_failed(self, type_name: str, reason: str, name: str) -> None:
        """A component could not be opened."""
        self._init_failed.at(type_name, reason, name).value += 1


class _Passing(Tally):
    """Adds each sample at once: nobody keeps it."""

    __slots__ = ()

    def add(self, sample: tuple[float, ...]) -> None:
        super().add(sample)
        self.settle()


class _Timed:
    """A counter, and the distribution that its slow samples enter, which is made with the first of them."""

    __slots__ = ("_count", "_latency", "_family", "_key")

    def __init__(self, count: Family[Cell], family: Family[Histogram], key: tuple[str, ...]) -> None:
        self._count = count.at(*key)
        self._latency: Histogram | None = None
        self._family = family
        self._key = key

    def tell(self, seconds: float) -> None:
        self._count.value += 1
        if seconds >= 0.001:
            if self._latency is None:
                self._latency = self._family.at(*self._key)
            self._latency.observe(seconds * 1000)


def _keep(series: dict[K, _Timed], key: K, made: _Timed) -> _Timed:
    """Find it by this key from now on."""
    if len(series) < MOST_SERIES:
        series[key] = made
    return made


class _ComponentInstrument:
    """Bound to one component; series by operation and outcome."""

    __slots__ = ("_count", "_latency", "_name", "_namespace", "_series")

    def __init__(self, count: Family[Cell], latency: Family[Histogram], name: str, namespace: str) -> None:
        self._count = count
        self._latency = latency
        self._name = name
        self._namespace = namespace
        self._series: dict[tuple[str, bool], _Timed] = {}

    def __call__(self, operation: str, ok: bool, seconds: float) -> None:
        known = self._series.get((operation, ok))
        if known is None:
            key = (self._name, self._namespace, operation, "true" if ok else "false")
            known = _keep(self._series, (operation, ok), _Timed(self._count, self._latency, key))
        known.tell(seconds)


class _InputInstrument:
    """Bound to one input binding."""

    __slots__ = ("_count", "_latency", "_name", "_namespace")

    def __init__(self, count: Family[Cell], latency: Family[Histogram], name: str, namespace: str) -> None:
        self._count = count
        self._latency = latency
        self._name = name
        self._namespace = namespace

    def __call__(self, operation: str, ok: bool, seconds: float) -> None:
        key = (self._name, self._namespace, "true" if ok else "false")
        self._count.at(*key).value += 1
        _slow(self._latency, key, seconds)


def _slow(latency: Family[Histogram], key: tuple[str, ...], seconds: float) -> None:
    if seconds >= 0.001:
        latency.at(*key).observe(seconds * 1000)


def _process_lines(started: float) -> str:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    rows = (
        (
            "process_cpu_seconds_total",
            "counter",
            "User and system time spent",
            usage.ru_utime + usage.ru_stime,
        ),
        ("process_resident_memory_bytes", "gauge", "Resident memory", _resident()),
        ("process_start_time_seconds", "gauge", "Start since the epoch", started),
        ("process_open_fds", "gauge", "Open file descriptors", _open_files()),
    )
    lines = [
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}" for name, kind, text, value in rows
    ]
    import platform

    version = platform.python_version()
    lines.append("# HELP python_info The interpreter\n# TYPE python_info gauge")
    lines.append(f'python_info{{implementation="{platform.python_implementation()}",version="{version}"}} 1')
    return "\n".join(lines) + "\n"


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0
