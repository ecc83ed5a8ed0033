"""From a command line and a folder of YAML to a sidecar that runs, or ends and says why: whole processes."""

import json
import signal
from pathlib import Path

import pytest
from support.sidecar import Ports, Sidecar, Stage, component, free_port, http, until

APPS = Path(__file__).parent / "ops_apps"
IN_MEMORY = component("mem", "state.in-memory")
NOBODY = "127.0.0.1:9"
"""An address where no server answers."""

EVERY_FLAG = [
    "--app-protocol=http", "--app-channel-address=127.0.0.1", "--app-max-concurrency=-1", "--app-ssl=false",
    "--dapr-http-max-request-size=4", "--dapr-http-read-buffer-size=4", "--max-body-size", "4Mi",
    "--read-buffer-size", "4Ki", "--enable-profiling=false", "-profile-port=7777", "--enable-metrics",
    "--allowed-origins=", "--dapr-graceful-shutdown-seconds=-1", "--enable-app-health-check=false",
    "--app-health-check-path=/healthz", "--app-health-probe-interval=0", "--app-health-probe-timeout=0",
    "--app-health-threshold=0", "--app-binding-options-timeout=3s", "--enable-api-logging=false",
    "--disable-init-endpoints=config", "--placement-host-address=localhost:50005",
    "--scheduler-host-address=localhost:50006", "--scheduler-job-streams=3",
    "--actors-disseminate-timeout=30s", "--actors-service=placement:localhost:50005",
    "--reminders-service=default", "--hot-reload-reconcile-interval=0s", "--disable-builtin-k8s-secret-store",
    "--mode", "standalone", "--enable-mtls=false", "--sentry-address=", "--sentry-request-jwt-audiences=a,b",
    "--control-plane-address=", "--control-plane-trust-domain=localhost", "--control-plane-namespace=default",
    "--log-level", "info", "--log-as-json=false", "--components-path=",
]  # fmt: skip


def test_every_flag_of_dapr_is_accepted_and_what_has_no_effect_is_said(stage: Stage) -> None:
    sidecar = stage.sidecar("a", *EVERY_FLAG).ready()
    said = sidecar.said()
    assert "placement" in said and "scheduler" in said
    assert sidecar.stop() == 0


def test_without_a_writable_folder_it_runs_and_says_what_is_off(stage: Stage) -> None:
    sidecar = stage.sidecar(
        "a", resources=stage.resources(IN_MEMORY), env={"PILLION_HOME": "/dev/null/nowhere"}
    ).ready()
    assert sidecar.ask("GET", "/v1.0/state/mem/k").status == 204
    assert sidecar.said().count("no writable folder: the registry and embedded components are off") == 1


def test_every_mistake_of_all_files_is_told_at_once(stage: Stage) -> None:
    resources = stage.resources(
        component("one", "state.reddis"),
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: two\nspec:\n  tpye: state.in-memory\n",
        component("three", "pubsub.redis", redisHost=NOBODY, redisDB="many"),
    )
    sidecar = stage.sidecar("a", resources=resources)
    assert sidecar.wait() == 1
    said = sidecar.said()
    for clue in ("0.yaml", "state.redis", "1.yaml", "spec.type", "2.yaml", "redisDB"):
        assert clue in said, clue


def test_a_mistake_that_may_be_ignored_leaves_the_rest_running(stage: Stage) -> None:
    broken = json.loads(component("bad", "state.redis", redisHost=NOBODY))
    broken["spec"] |= {"ignoreErrors": True, "initTimeout": "300ms"}
    sidecar = stage.sidecar("a", resources=stage.resources(json.dumps(broken), IN_MEMORY)).ready()
    assert sidecar.ask("GET", "/v1.0/state/mem/k").status == 204
    assert sidecar.ask("GET", "/v1.0/state/bad/k").json()["errorCode"] == "ERR_STATE_STORE_NOT_FOUND"
    assert "Ignoring error processing component" in sidecar.said()


def test_a_server_that_does_not_answer_ends_the_start_and_is_named(stage: Stage) -> None:
    far = json.loads(component("far", "state.redis", redisHost=NOBODY))
    far["spec"]["initTimeout"] = "300ms"
    sidecar = stage.sidecar("a", resources=stage.resources(json.dumps(far)))
    assert sidecar.wait() == 1
    assert NOBODY in sidecar.said() and "0.yaml" in sidecar.said()


def test_embedded_engines_stand_in_for_servers_that_do_not_answer(stage: Stage) -> None:
    port = free_port()
    resources = stage.resources(
        component("statestore", "state.redis", redisHost=NOBODY),
        component("pubsub", "pubsub.redis", redisHost=NOBODY),
    )
    wanted = json.dumps([{"pubsubname": "pubsub", "topic": "t", "route": "/take"}])
    stage.python("open", APPS / "open_app.py", str(port), "open", wanted)
    sidecar = stage.sidecar("a", "--embedded", app_port=port, resources=resources).ready()
    assert sidecar.said().count("does not answer") == 2, "loudly"
    assert "Component loaded: statestore (state.sqlite/v1)" in sidecar.said()
    assert "Component loaded: pubsub (pubsub.sqlite/v1)" in sidecar.said()
    assert sidecar.ask("POST", "/v1.0/state/statestore", [{"key": "k", "value": 7}]).status == 204
    other = stage.sidecar("b", "--embedded", resources=resources).ready()
    assert other.ask("POST", "/v1.0/publish/pubsub/t", {"n": 1}).status == 204
    until(lambda: http("GET", f"http://127.0.0.1:{port}/taken").json() == [{"n": 1}])
    assert sidecar.stop() == 0
    again = stage.sidecar("a", "--embedded", app_port=port, resources=resources).ready()
    assert again.ask("GET", "/v1.0/state/statestore/k").json() == 7, "it outlives the process"


def test_secrets_and_the_environment_reach_components(stage: Stage) -> None:
    secrets = stage.folder / "secrets.json"
    secrets.write_text(json.dumps({"store": {"place": str(stage.folder / "by-secret.db")}}))
    by_secret, by_env = (json.loads(component(name, "state.sqlite")) for name in ("by-secret", "by-env"))
    by_secret["auth"] = {"secretStore": "vault"}
    reference = {"name": "store:place", "key": "store:place"}
    by_secret["spec"]["metadata"] = [{"name": "connectionString", "secretKeyRef": reference}]
    by_env["spec"]["metadata"] = [{"name": "connectionString", "envRef": "PLACE"}]
    vault = component("vault", "secretstores.local.file", secretsFile=str(secrets))
    resources = stage.resources(json.dumps(by_secret), json.dumps(by_env), vault)
    place = {"PLACE": str(stage.folder / "by-env.db")}
    sidecar = stage.sidecar("a", resources=resources, env=place).ready()
    for name in ("by-secret", "by-env"):
        assert sidecar.ask("POST", f"/v1.0/state/{name}", [{"key": "k", "value": 1}]).status == 204
        assert (stage.folder / f"{name}.db").exists()


def test_a_declared_subscription_routes_by_what_is_in_the_event(stage: Stage) -> None:
    port = free_port()
    declared = {
        "apiVersion": "dapr.io/v2alpha1",
        "kind": "Subscription",
        "metadata": {"name": "orders"},
        "spec": {
            "pubsubname": "pubsub",
            "topic": "orders",
            "routes": {"rules": [{"match": 'event.data.kind == "big"', "path": "/take"}], "default": "/who"},
        },
        "scopes": ["a"],
    }
    resources = stage.resources(component("pubsub", "pubsub.in-memory"), json.dumps(declared))
    stage.python("open", APPS / "open_app.py", str(port), "open")
    sidecar = stage.sidecar("a", app_port=port, resources=resources).ready()
    for kind in ("small", "big"):
        assert sidecar.ask("POST", "/v1.0/publish/pubsub/orders", {"kind": kind}).status == 204
    until(lambda: http("GET", f"http://127.0.0.1:{port}/taken").json() == [{"kind": "big"}])


def test_a_restart_by_signal_reads_the_resources_again(stage: Stage) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(IN_MEMORY)).ready()
    stage.resources(component("second", "state.in-memory"))
    sidecar.signal(signal.SIGHUP)
    until(lambda: sidecar.ask("GET", "/v1.0/state/second/k").status == 204)
    assert sidecar.stop() == 0


def test_the_addresses_a_cluster_gives_are_listened_on(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--dapr-listen-addresses=[::1],127.0.0.1").ready()
    for host in ("127.0.0.1", "[::1]"):
        assert http("GET", f"http://{host}:{sidecar.ports.http}/v1.0/healthz").status == 204
        for what, port in (("HTTP", sidecar.ports.http), ("gRPC", sidecar.ports.grpc)):
            assert f"{what} server listening on TCP address: {host}:{port}" in sidecar.said()


def test_where_no_address_is_given_the_log_names_none(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--dapr-listen-addresses=").ready()
    assert f"HTTP server listening on TCP address: :{sidecar.ports.http}" in sidecar.said()
    assert sidecar.stop() == 0
    assert f"Closing HTTP server [::]:{sidecar.ports.http}" in sidecar.said()


def test_two_of_one_app_beside_each_other_need_no_port_for_each_other(stage: Stage) -> None:
    """The internal port stays with the app id, so the second finds it taken and chooses another."""
    first, second = (stage.sidecar("a", "--dapr-internal-grpc-port=0").ready() for _ in range(2))
    ports = [internal_port(each) for each in (first, second)]
    assert ports[0] != ports[1]


def internal_port(sidecar: Sidecar) -> int:
    words = "Internal gRPC server is running on 127.0.0.1:"
    return int(sidecar.said().partition(words)[2].partition('"')[0])


def test_the_log_goes_to_a_file_when_asked(stage: Stage) -> None:
    file = stage.folder / "its.log"
    sidecar = stage.sidecar("a", "--log-file", str(file)).ready()
    sidecar.stop()
    assert "Daprd shutdown gracefully" in file.read_text()


@pytest.mark.parametrize("ports", [Ports()])
def test_an_app_port_that_is_the_sidecar_s_own_ends_the_start(stage: Stage, ports: Ports) -> None:
    sidecar = stage.sidecar("a", app_port=ports.http, ports=ports)
    assert sidecar.wait() == 1
    assert "conflicts with 'app-port'" in sidecar.said()
