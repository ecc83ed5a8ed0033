"""A sidecar on Unix domain sockets, and the official Python SDK as a client of its gRPC API there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dapr.aio.clients import DaprClient as AsyncClient
from dapr.clients import DaprClient
from support.sdk import awaited
from support.sidecar import Stage, component, free_port, http, until

PORT = free_port()
"""The public port: the SDK asks for health over TCP, where the API of a sidecar on sockets is not."""


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of the gRPC API."""
    folder = tmp_path_factory.mktemp("uds")
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.sidecar(
            "app", "--unix-domain-socket", str(folder),
            "--dapr-public-port", str(PORT), "--dapr-public-listen-address=127.0.0.1",
            resources=stage.resources(component("store", "state.in-memory"), component("bus", "pubsub.in-memory")),
        )  # fmt: skip
        until(lambda: http("GET", f"http://127.0.0.1:{PORT}/v1.0/healthz").status == 204, why="it is ready")
        yield folder / "dapr-app-grpc.socket"


@pytest.mark.parametrize("form", ["sync", "aio"])
def test_the_sdk_speaks_grpc_over_the_socket(
    socket: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_HTTP_PORT", str(PORT))
    address = f"unix:{socket}"
    with DaprClient(address) if form == "sync" else awaited(lambda: AsyncClient(address)) as client:
        client.save_state("store", f"k-{form}", "over the socket")
        assert client.get_state("store", f"k-{form}").text() == "over the socket"
        client.publish_event("bus", "t", "x", data_content_type="text/plain")
        assert client.get_metadata().application_id == "app"
