"""A gRPC service of an app's own, called through two sidecars from JavaScript: all kinds of calls."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.sdk import JS
from support.sidecar import Stage, free_port

pytestmark = [pytest.mark.needs("node", "js-sdk"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("js-proxy")) as made:
        yield made


@pytest.fixture(scope="module", params=["proxy", "metadata"])
def told(request: pytest.FixtureRequest, stage: Stage) -> Any:
    """What a client saw: the SDK's `client.proxy` (of 3.6, the last that has one), or a client of grpc-js that names the app."""
    port, app_id = free_port(), f"own-{request.param}"
    stage.app(app_id, ["node", str(JS / "own_server.js"), str(port)])
    stage.sidecar(app_id, "--app-protocol=grpc", app_port=port).ready()
    caller = stage.sidecar(f"caller-{request.param}").ready()
    ran = subprocess.run(
        ["node", str(JS / "proxy.js"), request.param, str(caller.ports.grpc), app_id],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_unary_call_is_answered_with_its_metadata(told: Any) -> None:
    assert told["unary"] == ["HEY", ["yes"]]


def test_streams_pass_either_way(told: Any) -> None:
    assert told["server"] == ["a", "b", "c"]
    assert told["client"] == "a-b-c"
    assert told["both"] == ["x", "y"]


def test_a_failure_keeps_its_code_and_text(told: Any) -> None:
    failed_precondition = 9
    assert told["failed"] == [failed_precondition, "not today"]
