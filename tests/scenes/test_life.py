"""A sidecar's life as an operator sees it: start, health, stop, exit statuses."""

import signal
import subprocess
import sys

from support.sidecar import Ports, Stage, component, http, until

IN_MEMORY = component("mem", "state.in-memory")


def test_it_starts_serves_and_ends_with_status_0_on_sigterm(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(IN_MEMORY)).ready()
    assert sidecar.ask("POST", "/v1.0/state/mem", [{"key": "k", "value": {"n": 1}}]).status == 204
    assert sidecar.ask("GET", "/v1.0/state/mem/k").json() == {"n": 1}
    assert sidecar.stop() == 0
    assert "Daprd shutdown gracefully" in sidecar.said()


def test_sigint_ends_it_with_status_0(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    sidecar.signal(signal.SIGINT)
    assert sidecar.wait() == 0


def test_the_shutdown_api_answers_and_ends_it(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    assert sidecar.ask("POST", "/v1.0/shutdown").status == 204
    assert sidecar.wait() == 0


def test_a_forced_shutdown_ends_it_with_status_1(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    assert sidecar.ask("POST", "/v1.0/shutdown", dapr_force_shutdown="true").status == 204
    assert sidecar.wait() == 1


def test_sighup_restarts_it_in_the_same_process(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    sidecar.signal(signal.SIGHUP)
    until(lambda: sidecar.said().count("dapr initialized") == 2)
    assert sidecar.ready().stop() == 0


def test_it_starts_in_an_empty_environment(stage: Stage) -> None:
    ports = Ports()
    bare = subprocess.Popen(
        [
            *(sys.executable, "-m", "pillion.host.main", "--app-id", "a", "--no-multicast"),
            *("--dapr-http-port", str(ports.http), "--dapr-grpc-port", str(ports.grpc)),
            *("--metrics-port", str(ports.metrics), "--pillion-home", str(stage.home)),
        ],
        env={},
    )
    try:
        until(lambda: http("GET", f"http://127.0.0.1:{ports.http}/v1.0/healthz").status == 204)
        bare.terminate()
        assert bare.wait(10) == 0
    finally:
        bare.kill()


def test_without_an_app_id_it_ends_with_status_1_and_says_why(stage: Stage) -> None:
    sidecar = stage.sidecar("")
    assert sidecar.wait() == 1
    assert "parameter app-id cannot be empty" in sidecar.said()


def test_an_unknown_flag_ends_it_with_status_2(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--nosuch")
    assert sidecar.wait() == 2
    assert "unknown flag: --nosuch" in sidecar.said()


def test_mtls_is_refused_rather_than_ignored(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--enable-mtls")
    assert sidecar.wait() == 1
    assert "has no mTLS" in sidecar.said()


def test_a_component_type_that_is_not_there_is_named_with_its_place(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(component("m", "state.reddis")))
    assert sidecar.wait() == 1
    said = sidecar.said()
    assert "couldn't find state store state.reddis/v1" in said and "state.redis" in said and "0.yaml" in said


def test_a_taken_port_is_named_with_what_to_do(stage: Stage) -> None:
    first = stage.sidecar("a").ready()
    second = stage.sidecar("b", "--dapr-http-port", str(first.ports.http))
    assert second.wait() == 1
    assert f"port {first.ports.http}" in second.said() and "--dapr-http-port" in second.said()
