"""What a Prometheus sees after traffic of every kind: Dapr's names and labels, in a text that its own tool reads."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from support.sidecar import Sidecar, Stage, component, free_port, http, until

APPS = Path(__file__).parent / "ops_apps"
SUBSCRIPTION = '[{"pubsubname": "pubsub", "topic": "t", "route": "/take"}]'
SAMPLE = re.compile(r"(dapr_\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def page(sidecar: Sidecar, path: str = "/metrics") -> str:
    return http("GET", f"http://127.0.0.1:{sidecar.ports.metrics}{path}").body.decode()


def samples(sidecar: Sidecar) -> list[tuple[str, Mapping[str, str], float]]:
    found = (SAMPLE.fullmatch(line) for line in page(sidecar).splitlines())
    return [(each[1], dict(LABEL.findall(each[2])), float(each[3])) for each in found if each]


def value(sidecar: Sidecar, name: str, **labels: str) -> float:
    """The value of the one series that has these labels, all of them and no other; 0 where there is none."""
    wanted = {"app_id": sidecar.app_id, **labels}
    return next((number for at, own, number in samples(sidecar) if at == name and own == wanted), 0.0)


def series(sidecar: Sidecar, name: str) -> list[Mapping[str, str]]:
    return [own for at, own, _ in samples(sidecar) if at == name]


@pytest.fixture
def busy(stage: Stage) -> tuple[Sidecar, Sidecar]:
    """Two sidecars after traffic of every kind; the second has an app."""
    port, folder = free_port(), stage.folder / "files"
    resources = stage.resources(
        component("mem", "state.in-memory"),
        component("pubsub", "pubsub.sqlite"),
        component("files", "bindings.localstorage", rootPath=str(folder)),
        component("env", "secretstores.local.env"),
    )
    stage.python("open", APPS / "open_app.py", str(port), "open", SUBSCRIPTION)
    callee = stage.sidecar("b", app_port=port, resources=resources).ready()
    caller = stage.sidecar("a", resources=resources).ready()
    caller.ask("POST", "/v1.0/state/mem", [{"key": "k", "value": 1}])
    caller.ask("GET", "/v1.0/state/mem/k")
    caller.ask("GET", "/v1.0/secrets/env/PATH")
    caller.ask(
        "POST", "/v1.0/bindings/files", {"operation": "create", "data": "x", "metadata": {"fileName": "f"}}
    )
    caller.ask("POST", "/v1.0/publish/pubsub/t", {"n": 1})
    caller.ask("GET", "/v1.0/invoke/b/method/who")
    caller.ask("GET", "/v1.0/invoke/b/method/status/418")
    with grpc.insecure_channel(caller.grpc) as channel:
        channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetMetadata")(b"", timeout=10)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetState")(b"\n\x03not", timeout=10)
    until(lambda: http("GET", f"http://127.0.0.1:{port}/taken").json() == [{"n": 1}])
    return caller, callee


def test_everything_that_was_done_is_counted_under_dapr_s_names(busy: tuple[Sidecar, Sidecar]) -> None:
    caller, callee = busy
    for name, labels in SEEN_BY_CALLER:
        assert value(caller, name, **labels) >= 1, f"{name} {labels} is not among {series(caller, name)}"
    for name, labels in SEEN_BY_CALLEE:
        until(
            lambda name=name, labels=labels: value(callee, name, **labels) >= 1,
            5,
            f"{name} {labels} is not among {series(callee, name)}",
        )


SEEN_BY_CALLER = [
    ("dapr_http_server_request_count", {"method": "POST", "path": "/v1.0/state/mem", "status": "204"}),
    ("dapr_http_server_request_count", {"method": "GET", "path": "/v1.0/state/mem", "status": "200"}),
    (
        "dapr_http_server_request_count",
        {"method": "GET", "path": "/v1.0/invoke/b/method/who", "status": "200"},
    ),
    ("dapr_http_server_latency_count", {"method": "POST", "path": "/v1.0/state/mem", "status": "204"}),
    ("dapr_http_server_request_bytes_count", {}),
    ("dapr_http_server_response_bytes_count", {}),
    (
        "dapr_grpc_io_server_completed_rpcs",
        {"grpc_server_method": "/dapr.proto.runtime.v1.Dapr/GetMetadata", "grpc_server_status": "OK"},
    ),
    (
        "dapr_grpc_io_server_completed_rpcs",
        {
            "grpc_server_method": "/dapr.proto.runtime.v1.Dapr/GetState",
            "grpc_server_status": "InvalidArgument",
        },
    ),
    (
        "dapr_grpc_io_server_server_latency_count",
        {"grpc_server_method": "/dapr.proto.runtime.v1.Dapr/GetMetadata", "grpc_server_status": "OK"},
    ),
    (
        "dapr_grpc_io_server_received_bytes_per_rpc_count",
        {"grpc_server_method": "/dapr.proto.runtime.v1.Dapr/GetMetadata"},
    ),
    ("dapr_runtime_component_loaded", {}),
    ("dapr_runtime_component_init_total", {"component": "state.in-memory"}),
    (
        "dapr_component_state_count",
        {"component": "mem", "namespace": "", "operation": "set", "success": "true"},
    ),
    (
        "dapr_component_state_count",
        {"component": "mem", "namespace": "", "operation": "get", "success": "true"},
    ),
    (
        "dapr_component_secret_count",
        {"component": "env", "namespace": "", "operation": "get", "success": "true"},
    ),
    (
        "dapr_component_output_binding_count",
        {"component": "files", "namespace": "", "operation": "create", "success": "true"},
    ),
    (
        "dapr_component_pubsub_egress_count",
        {"component": "pubsub", "namespace": "", "success": "true", "topic": "t"},
    ),
    ("dapr_runtime_service_invocation_req_sent_total", {"dst_app_id": "b", "type": "unary"}),
    (
        "dapr_runtime_service_invocation_res_recv_total",
        {"src_app_id": "b", "status": "200", "type": "unary"},
    ),
    (
        "dapr_runtime_service_invocation_res_recv_total",
        {"src_app_id": "b", "status": "418", "type": "unary"},
    ),
    ("dapr_runtime_service_invocation_res_recv_latency_ms_count", {"src_app_id": "b", "status": "200"}),
]

SEEN_BY_CALLEE = [
    ("dapr_runtime_service_invocation_req_recv_total", {"src_app_id": "a"}),
    ("dapr_runtime_service_invocation_res_sent_total", {"dst_app_id": "a", "status": "200"}),
    ("dapr_http_client_completed_count", {"method": "GET", "path": "who", "status": "200"}),
    (
        "dapr_component_pubsub_ingress_count",
        {"component": "pubsub", "namespace": "", "process_status": "success", "status": "", "topic": "t"},
    ),
]


def test_every_path_of_the_metrics_port_is_the_page(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    answer = http("GET", f"http://127.0.0.1:{sidecar.ports.metrics}/")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert "dapr_" in page(sidecar, "/any/thing")


def test_metrics_can_be_turned_off(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--enable-metrics=false").ready()
    with pytest.raises(OSError):
        page(sidecar)


@pytest.mark.needs("promtool")
def test_prometheus_own_tool_reads_the_page(busy: tuple[Sidecar, Sidecar]) -> None:
    for sidecar in busy:
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=page(sidecar), capture_output=True, text=True
        )
        # Dapr's own names break the tool's taste (status 3, a remark a name); a text it cannot read is status 1.
        assert checked.returncode in (0, 3), checked.stderr
        remarks = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip()]
        assert all(line.startswith(("dapr_", "error while linting")) for line in remarks) or not remarks, (
            remarks
        )
