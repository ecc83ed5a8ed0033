"""The app's health decides what reaches it; a stop lets what is under way end, and no more."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.sidecar import Answer, Ports, Process, Sidecar, Stage, component, free_port, http, until

APPS = Path(__file__).parent / "ops_apps"
BROKER = component("pubsub", "pubsub.sqlite")
WANTED = json.dumps([{"pubsubname": "pubsub", "topic": "t", "route": "/take"}])
WATCHED = ("--enable-app-health-check", "--app-health-probe-interval=1", "--app-health-threshold=1")


class OpenApp:
    """The app of a scene and the doors it has."""

    def __init__(self, stage: Stage) -> None:
        self.port = free_port()
        self.process: Process = stage.python("open", APPS / "open_app.py", str(self.port), "open", WANTED)

    def turn(self, word: str) -> str:
        return http("POST", f"http://127.0.0.1:{self.port}/{word}").body.decode()

    def taken(self) -> list[Any]:
        return list(http("GET", f"http://127.0.0.1:{self.port}/taken").json())


@pytest.fixture
def app(stage: Stage) -> OpenApp:
    made = OpenApp(stage)
    until(lambda: made.turn("hold") == "hold")
    return made


@contextmanager
def held(app: OpenApp, sidecar: Sidecar) -> Iterator[Future[Answer]]:
    """A call that is under way: the app has it and does not answer yet."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sidecar.ask, "GET", "/v1.0/invoke/a/method/held")
        until(lambda: app.turn("waiting") == "1")
        yield call
        app.turn("go")


def test_an_ill_app_gets_no_events_and_a_well_one_gets_all_of_them(stage: Stage, app: OpenApp) -> None:
    resources = stage.resources(BROKER)
    sidecar = stage.sidecar("a", *WATCHED, app_port=app.port, resources=resources).ready()
    publish(sidecar, 0)
    until(lambda: app.taken() == [0])
    app.turn("ill")
    until(lambda: "App entered un-healthy status" in sidecar.said())
    publish(sidecar, 1)
    refused = sidecar.ask("GET", "/v1.0/invoke/a/method/who")
    assert refused.status == 500 and "app is not in a healthy state" in refused.json()["message"]
    assert sidecar.ask("GET", "/v1.0/healthz").status == 204, "the sidecar itself is well"
    assert app.taken() == [0]
    app.turn("well")
    until(lambda: app.taken() == [0, 1])
    assert sidecar.ask("GET", "/v1.0/invoke/a/method/who").status == 200


def publish(sidecar: Sidecar, number: int) -> None:
    assert (
        sidecar.ask("POST", "/v1.0/publish/pubsub/t", str(number), content_type="application/json").status
        == 204
    )


def test_an_app_that_is_ill_from_the_start_gets_nothing_until_it_is_well(stage: Stage, app: OpenApp) -> None:
    app.turn("ill")
    sidecar = stage.sidecar("a", *WATCHED, app_port=app.port, resources=stage.resources(BROKER)).outbound()
    publish(sidecar, 0)
    until(lambda: "application discovered" in sidecar.said())
    assert sidecar.ask("GET", "/v1.0/healthz").status == 500
    assert app.taken() == []
    app.turn("well")
    sidecar.ready()
    until(lambda: app.taken() == [0])


def test_a_grpc_app_is_asked_for_its_health_by_a_call(stage: Stage) -> None:
    port, illness = free_port(), stage.folder / "ill"
    stage.python("grpc", APPS / "grpc_app.py", str(port), str(illness))
    sidecar = stage.sidecar("a", *WATCHED, "--app-protocol=grpc", app_port=port).ready()
    assert sidecar.ask("POST", "/v1.0/invoke/a/method/echo", b"1").status == 200
    illness.touch()
    until(lambda: sidecar.ask("POST", "/v1.0/invoke/a/method/echo", b"1").status == 500)
    illness.unlink()
    until(lambda: sidecar.ask("POST", "/v1.0/invoke/a/method/echo", b"1").status == 200)
    assert sidecar.said().count("App entered healthy status") == 2


def test_it_serves_the_app_before_the_app_listens(stage: Stage) -> None:
    port = free_port()
    sidecar = stage.sidecar("a", app_port=port, resources=stage.resources(BROKER)).outbound()
    assert sidecar.ask("GET", "/v1.0/healthz").status == 500
    publish(sidecar, 0)
    stage.python("open", APPS / "open_app.py", str(port), "open", WANTED)
    sidecar.ready()
    until(lambda: http("GET", f"http://127.0.0.1:{port}/taken").json() == [0])


def test_a_stop_lets_the_call_under_way_end(stage: Stage, app: OpenApp) -> None:
    sidecar = stage.sidecar("a", "--dapr-graceful-shutdown-seconds=20", app_port=app.port).ready()
    with held(app, sidecar) as call:
        sidecar.signal(signal.SIGTERM)
        until(lambda: "Closing HTTP server" in sidecar.said())
        assert not call.done()
        app.turn("go")
        assert (call.result().status, call.result().body) == (200, b"open")
    assert sidecar.wait() == 0


def test_a_stop_lets_the_call_from_another_sidecar_end(stage: Stage, app: OpenApp) -> None:
    callee = stage.sidecar("a", "--dapr-graceful-shutdown-seconds=20", app_port=app.port).ready()
    caller = stage.sidecar("b").ready()
    with held(app, caller) as call:
        callee.signal(signal.SIGTERM)
        until(lambda: "Closing HTTP server" in callee.said())
        app.turn("go")
        assert (call.result().status, call.result().body) == (200, b"open")
    assert callee.wait() == 0


def test_a_call_longer_than_the_grace_is_cut_with_status_1(stage: Stage, app: OpenApp) -> None:
    sidecar = stage.sidecar("a", "--dapr-graceful-shutdown-seconds=1", app_port=app.port).ready()
    with held(app, sidecar) as call:
        assert sidecar.stop() == 1
        assert isinstance(call.exception(), OSError)
    assert "Graceful shutdown timeout exceeded, forcing shutdown" in sidecar.said()


def test_a_second_signal_ends_it_at_once_with_status_1(stage: Stage, app: OpenApp) -> None:
    sidecar = stage.sidecar("a", "--dapr-graceful-shutdown-seconds=20", app_port=app.port).ready()
    with held(app, sidecar) as call:
        sidecar.signal(signal.SIGTERM)
        until(lambda: "Dapr is shutting down" in sidecar.said())
        sidecar.signal(signal.SIGTERM)
        assert sidecar.wait(5) == 1
        assert isinstance(call.exception(), OSError)
    assert "during shutdown; exiting immediately" in sidecar.said()


def test_a_blocked_stop_keeps_serving_until_the_app_turns_ill(stage: Stage, app: OpenApp) -> None:
    blocked = ("--dapr-block-shutdown-duration=1m", *WATCHED)
    resources = stage.resources(BROKER)
    sidecar = stage.sidecar("a", *blocked, app_port=app.port, resources=resources).ready()
    sidecar.signal(signal.SIGTERM)
    until(lambda: sidecar.ask("GET", "/v1.0/healthz").status == 500)
    publish(sidecar, 1)
    assert sidecar.ask("GET", "/v1.0/invoke/a/method/who").status == 200
    assert app.taken() == [], "events stay with the broker"
    app.turn("ill")
    assert sidecar.wait() == 0


def test_a_blocked_stop_ends_after_its_time(stage: Stage, app: OpenApp) -> None:
    sidecar = stage.sidecar("a", "--dapr-block-shutdown-duration=1s", app_port=app.port).ready()
    assert sidecar.stop() == 0
    assert "Block shutdown period expired, entering shutdown..." in sidecar.said()


def test_events_under_way_at_a_stop_are_not_lost(stage: Stage, app: OpenApp) -> None:
    wanted = json.dumps([{"pubsubname": "pubsub", "topic": "t", "route": "/held"}])
    port, resources = free_port(), stage.resources(BROKER)
    stage.python("slow", APPS / "open_app.py", str(port), "slow", wanted)
    first = stage.sidecar(
        "a", "--dapr-graceful-shutdown-seconds=2", app_port=port, resources=resources
    ).ready()
    publish(first, 7)
    until(lambda: http("GET", f"http://127.0.0.1:{port}/waiting").body == b"1")
    first.stop()
    stage.sidecar("a", app_port=app.port, resources=resources).ready()
    until(lambda: app.taken() == [7])


def test_wait_returns_once_a_sidecar_serves(stage: Stage) -> None:
    ports = Ports()
    command = [sys.executable, "-m", "pillion.host.main", "--wait", "--dapr-http-port", str(ports.http)]
    waiter = stage.app("wait", command)
    until(lambda: "Dapr outbound NOT ready yet" in waiter.said())
    assert waiter.status is None
    stage.sidecar("a", ports=ports)
    assert waiter.wait() == 0


@pytest.mark.parametrize("flag", ["--version", "-version", "--build-info"])
def test_its_version_is_printed_in_an_instant(stage: Stage, flag: str) -> None:
    command = [sys.executable, "-m", "pillion.host.main", flag]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=stage.environment())
    first = done.stdout.splitlines()[0].removeprefix("Version: ")
    assert all(part.isdigit() for part in first.split(".")) and first.count(".") == 2


def test_the_log_is_json_when_asked(stage: Stage, app: OpenApp) -> None:
    flags = ("--log-as-json", "--log-level=debug", "--enable-api-logging")
    sidecar = stage.sidecar("a", *flags, app_port=app.port, resources=stage.resources(BROKER)).ready()
    sidecar.ask("GET", "/v1.0/invoke/a/method/who", user_agent='say "hi"\\')
    assert sidecar.stop() == 0
    lines = [json.loads(line) for line in sidecar.said().splitlines()]
    assert all(
        {"app_id", "instance", "level", "msg", "scope", "time", "type", "ver"} <= line.keys()
        for line in lines
    )
    called = next(line for line in lines if line["msg"] == "HTTP API Called" and "invoke" in line["method"])
    assert (called["code"], called["useragent"]) == (200, 'say "hi"\\')
    assert called["scope"] == "dapr.runtime.http-info"


def test_a_log_of_text_says_what_others_look_for(stage: Stage) -> None:
    sidecar = stage.sidecar("a").ready()
    assert 'msg="dapr initialized. Status: Running. Init Elapsed ' in sidecar.said()
    assert " level=info " in sidecar.said() and " app_id=a " in sidecar.said()


def test_a_configuration_that_is_not_there_ends_the_start(stage: Stage) -> None:
    sidecar = stage.sidecar("a", "--config=/nosuch.yaml")
    assert sidecar.wait() == 1
    assert "error loading configuration: stat /nosuch.yaml: no such file or directory" in sidecar.said()
