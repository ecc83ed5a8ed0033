"""What is decided before anything starts."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pillion.cli.command import Refusal
from pillion.cli.launch.plan import Plan, Wishes, plan
from pillion.resources.runfile import AppRun


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def app(place: Path, **more: object) -> AppRun:
    return AppRun(**{"app_id": "a", "app_dir": place, "app_protocol": "http", **more})  # type: ignore[arg-type]


def planned(place: Path, **more: object) -> Plan:
    return plan([app(place, **more)], Wishes(home=place), {"PATH": os.environ["PATH"]})[0]


def refused(place: Path, *apps: AppRun) -> tuple[str, ...]:
    with pytest.raises(Refusal) as told:
        plan(apps, Wishes(home=place), {"PATH": os.environ["PATH"]})
    return told.value.sentences


def test_a_sidecar_listens_on_loopback_only(tmp_path: Path) -> None:
    words = planned(tmp_path).sidecar
    assert words[:3] == (sys.executable, "-m", "pillion.host.main")
    assert {
        "--dapr-listen-addresses=127.0.0.1",
        "--metrics-listen-address=127.0.0.1",
        "--dapr-internal-grpc-listen-address=127.0.0.1",
    } <= set(words)


def test_ports_left_out_are_free_and_different(tmp_path: Path) -> None:
    apps = [app(tmp_path, app_id=name) for name in "abc"]
    plans = plan(apps, Wishes(home=tmp_path), {})
    ports = [port for each in plans for port in (each.http_port, each.grpc_port, each.metrics_port)]
    assert len(set(ports)) == 9
    assert not {3500, 50001, 9090} & set(ports)


def test_ports_asked_for_are_taken(tmp_path: Path) -> None:
    made = planned(tmp_path, dapr_http_port=31999, metrics_port=31998)
    assert (made.http_port, made.metrics_port) == (31999, 31998)


def test_every_wish_of_an_app_reaches_its_sidecar(tmp_path: Path) -> None:
    words = planned(
        tmp_path,
        app_port=31997,
        app_protocol="grpc",
        app_channel_address="10.0.0.1",
        app_max_concurrency=3,
        log_level="debug",
        max_body_size="1Mi",
        read_buffer_size="8Ki",
        unix_domain_socket="/tmp/s",
        api_listen_addresses="0.0.0.0",
        enable_app_health_check=True,
        app_health_check_path="/up",
        app_health_probe_interval=1,
        app_health_probe_timeout=2,
        app_health_threshold=4,
        enable_api_logging=True,
    ).sidecar
    assert {
        "--app-port=31997", "--app-protocol=grpc", "--app-channel-address=10.0.0.1", "--app-max-concurrency=3",
        "--log-level=debug", "--max-body-size=1Mi", "--read-buffer-size=8Ki", "--unix-domain-socket=/tmp/s",
        "--dapr-listen-addresses=0.0.0.0", "--enable-app-health-check", "--app-health-check-path=/up",
        "--app-health-probe-interval=1", "--app-health-probe-timeout=2", "--app-health-threshold=4",
        "--enable-api-logging",
    } <= set(words)  # fmt: skip


def test_every_wish_of_a_run_reaches_every_sidecar(tmp_path: Path) -> None:
    wishes = Wishes(
        home=tmp_path,
        embedded=True,
        no_multicast=True,
        log_as_json=True,
        metrics_listen_address="0.0.0.0",
        internal_listen_address="10.0.0.2",
    )
    for each in plan([app(tmp_path, app_id=name) for name in "ab"], wishes, {}):
        assert {
            "--embedded", "--no-multicast", "--log-as-json", "--metrics-listen-address=0.0.0.0",
            "--dapr-internal-grpc-listen-address=10.0.0.2",
        } <= set(each.sidecar)  # fmt: skip
        assert each.sidecar_env == {"DAPR_HOST_IP": "127.0.0.1", "PILLION_HOME": str(tmp_path)}


def test_an_app_may_have_a_dapr_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "r" / ".dapr").mkdir(parents=True)
    (tmp_path / "r" / ".dapr" / "config.yaml").write_text("")
    words = planned(tmp_path, runtime_path=tmp_path / "r").sidecar
    assert f"--config={tmp_path / 'r' / '.dapr' / 'config.yaml'}" in words


def test_an_app_finds_its_sidecar_in_its_environment(tmp_path: Path) -> None:
    made = planned(tmp_path, app_port=31997, env={"APP_ID": "mine", "MORE": "1"})
    given = {name: made.env[name] for name in made.env if name != "PATH"}
    assert given == {
        "DAPR_HTTP_PORT": str(made.http_port),
        "DAPR_GRPC_PORT": str(made.grpc_port),
        "DAPR_METRICS_PORT": str(made.metrics_port),
        "APP_ID": "mine",
        "APP_PORT": "31997",
        "APP_PROTOCOL": "http",
        "APP_CHANNEL_ADDRESS": "127.0.0.1",
        "MORE": "1",
    }


def test_without_an_app_port_none_is_given(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert "APP_PORT" not in made.env
    assert not any(word.startswith("--app-port") for word in made.sidecar)


def test_a_taken_port_is_refused_with_its_holder(tmp_path: Path, taken: int) -> None:
    (said,) = refused(tmp_path, app(tmp_path, dapr_grpc_port=taken))
    assert said.startswith(f"a: port {taken} (--dapr-grpc-port) is already in use")
    if Path("/proc").is_dir():
        assert f"(pid {os.getpid()})" in said


def test_a_taken_app_port_is_refused_only_if_we_are_to_start_the_app(tmp_path: Path, taken: int) -> None:
    assert planned(tmp_path, app_port=taken)
    (said,) = refused(tmp_path, app(tmp_path, app_port=taken, command=("python3",)))
    assert "run without a command to put a sidecar beside it" in said


def test_two_apps_cannot_have_one_port(tmp_path: Path) -> None:
    apps = [app(tmp_path, app_id="a", app_port=31990), app(tmp_path, app_id="b", dapr_http_port=31990)]
    assert refused(tmp_path, *apps) == ("b: port 31990 is already asked for by a; give each its own",)


def test_every_mistake_of_every_app_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("")
    sentences = refused(
        tmp_path,
        app(tmp_path, command=("no-such-program", "x")),
        app(tmp_path, app_id="b", command=("./nothing",), resources_paths=(tmp_path / "none",)),
        app(tmp_path, app_id="c", command=("./script",), config_file=tmp_path / "none.yaml"),
        app(tmp_path / "gone", app_id="d"),
    )
    assert [said.partition(": ")[2] for said in sentences] == [
        'the command "no-such-program" is not found on the PATH; is it installed and spelled right?',
        f"there is no program {tmp_path / 'nothing'}",
        f"there is no resource folder {tmp_path / 'none'}; make it, or correct --resources-path",
        f"{tmp_path / 'script'} is not executable; chmod +x it, or start it with its interpreter",
        f"there is no configuration file {tmp_path / 'none.yaml'}; correct --config",
        f"there is no folder {tmp_path / 'gone'}",
    ]
