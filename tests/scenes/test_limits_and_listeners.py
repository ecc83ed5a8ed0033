"""How large, from where and by which protocol: limits, origins, h2c, Unix sockets, the public port."""

import shutil
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from support.sidecar import Stage, component, free_port, http, until

IN_MEMORY = component("mem", "state.in-memory")
MEBIBYTE = 1 << 20

curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


def state_of(size: int) -> bytes:
    """A request to save that has exactly so many bytes."""
    head, tail = b'[{"key":"k","value":"', b'"}]'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_a_body_of_four_mebibytes_passes_and_a_larger_one_does_not(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(IN_MEMORY)).ready()
    assert sidecar.ask("POST", "/v1.0/state/mem", state_of(4 * MEBIBYTE)).status == 204
    answer = sidecar.ask("POST", "/v1.0/state/mem", state_of(4 * MEBIBYTE + 2))
    assert (answer.status, answer.json()["errorCode"]) == (400, "ERR_MALFORMED_REQUEST")
    assert sidecar.ask("GET", "/v1.0/healthz").status == 204


def test_the_limit_of_bodies_is_a_flag(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--max-body-size=1Ki", resources=stage.resources(IN_MEMORY)).ready()
    assert sidecar.ask("POST", "/v1.0/state/mem", state_of(1024)).status == 204
    assert sidecar.ask("POST", "/v1.0/state/mem", state_of(1026)).status == 400
    with grpc.insecure_channel(sidecar.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/dapr.proto.runtime.v1.Dapr/SaveState")(bytes(2000), timeout=10)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_head_of_five_kilobytes_passes_and_one_of_nine_does_not(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(IN_MEMORY)).ready()
    assert sidecar.ask("GET", "/v1.0/state/mem/k", x_long="x" * 5000).status == 204
    assert sidecar.ask("GET", "/v1.0/state/mem/k", x_long="x" * 9000).status == 431


def test_browsers_of_listed_origins_may_call(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--allowed-origins=http://shop.test,http://x.test").ready()
    wish = {"access_control_request_method": "POST", "access_control_request_headers": "content-type"}
    leave = sidecar.ask("OPTIONS", "/v1.0/state/mem", origin="http://shop.test", **wish)
    assert leave.status == 200 and leave.headers["Access-Control-Allow-Origin"] == "http://shop.test"
    assert leave.headers["Access-Control-Allow-Methods"] == "POST"
    own = sidecar.ask("GET", "/v1.0/metadata", origin="http://shop.test")
    assert own.headers["Access-Control-Allow-Origin"] == "http://shop.test"
    foreign = sidecar.ask("GET", "/v1.0/metadata", origin="http://evil.test")
    assert foreign.status == 200 and "Access-Control-Allow-Origin" not in foreign.headers
    assert foreign.headers["Vary"] == "Origin"


def test_without_listed_origins_nothing_is_said_to_browsers(stage: Stage) -> None:
    answer = stage.sidecar("a").ready().ask("GET", "/v1.0/metadata", origin="http://shop.test")
    assert answer.status == 200 and not [name for name in answer.headers if name.lower().startswith("access")]


@curl
def test_the_http_port_speaks_http2_with_and_without_an_upgrade(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(IN_MEMORY)).ready()
    for option in ("--http2-prior-knowledge", "--http2", "--http1.1"):
        saved = curled(option, "-d", '[{"key":"k","value":7}]', f"{sidecar.url}/v1.0/state/mem")
        assert saved.split()[0] == "204"
        status, version, body = curled(option, f"{sidecar.url}/v1.0/state/mem/k").split()
        assert (status, version, body) == ("200", "1.1" if option == "--http1.1" else "2", "7")


@curl
def test_http2_can_be_turned_off(stage: Stage) -> None:
    sidecar = stage.sidecar("a", env={"DAPR_HTTP_DISABLE_H2C": "true"}).ready()
    assert curled("--http2", f"{sidecar.url}/v1.0/healthz").split() == ["204", "1.1"]


def curled(*options: str) -> str:
    """Status, version and body as curl has them."""
    done = subprocess.run(
        ["curl", "-s", "-m", "10", "-w", "%{stderr}%{http_code} %{http_version} ", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stderr + done.stdout


def test_unix_sockets_take_the_place_of_the_ports(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("s")
    sidecar = stage.sidecar("a", "--unix-domain-socket", str(folder), resources=stage.resources(IN_MEMORY))
    here = folder / "dapr-a-http.socket"
    until(lambda: over(here, "/v1.0/healthz") == 204)
    assert over(here, "/v1.0/state/mem/k") == 204
    with grpc.insecure_channel(f"unix:{folder}/dapr-a-grpc.socket") as channel:
        assert channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetMetadata")(b"", timeout=10)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", sidecar.ports.http)) != 0, "no TCP beside the socket"
    assert sidecar.stop() == 0
    assert not list(folder.iterdir()), "it takes its sockets away"


def test_a_socket_left_by_a_killed_one_is_taken_over(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("s")
    flags = ("--unix-domain-socket", str(folder))
    first = stage.sidecar("a", *flags)
    until(lambda: over(folder / "dapr-a-http.socket", "/v1.0/healthz") == 204)
    first.kill()
    second = stage.sidecar("a", *flags)
    until(lambda: over(folder / "dapr-a-http.socket", "/v1.0/healthz") == 204)
    assert second.status is None


def over(path: Path, target: str) -> int:
    """The status of a GET over a Unix socket."""
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(5)
        connection.sock.connect(str(path))
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_public_port_has_health_and_metadata_and_needs_no_token(stage: Stage) -> None:
    port = free_port()
    sidecar = stage.sidecar(
        "a", f"--dapr-public-port={port}", "--dapr-public-listen-address=127.0.0.1",
        resources=stage.resources(IN_MEMORY), env={"DAPR_API_TOKEN": "sesame"},
    ).ready()  # fmt: skip
    public = f"http://127.0.0.1:{port}"
    assert http("GET", f"{public}/v1.0/healthz").status == 204
    assert http("GET", f"{public}/v1.0/metadata").json()["id"] == "a"
    for path in ("/v1.0/state/mem/k", "/v1.0/invoke/b/method/m", "/v1.0/shutdown"):
        answer = http("POST", public + path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert sidecar.status is None
