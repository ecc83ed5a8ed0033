"""`pillion run` with real sidecars: what starts, what is said, and that nothing is left."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sidecar import Process, component, free_port, http, until

from pillion.cli.processes import command_line
from tests.cli.conftest import Desk, family

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")

STUBBORN = """
import os, signal, subprocess, sys
ignoring = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
inside = subprocess.Popen([sys.executable, "-c", ignoring, sys.argv[1]], stdout=subprocess.PIPE)
away = subprocess.Popen([sys.executable, "-c", ignoring, sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True)
inside.stdout.readline(), away.stdout.readline()
print("family complete", flush=True)
signal.pause()
"""


@pytest.fixture
def running(desk: Desk) -> Iterator[tuple[Desk, Process, dict[str, Any]]]:
    """One app beside its sidecar, and what `list` says of it."""
    port = free_port()
    run = desk.run("--app-id", "desk-one", "-p", str(port), "--", "python3", "app.py")
    yield desk, run, desk.ready(run, "desk-one")["desk-one"]


def environment(run: Process) -> dict[str, str]:
    line = next(line for line in run.said().splitlines() if line.startswith("== APP == environment "))
    found: dict[str, str] = json.loads(line.removeprefix("== APP == environment "))
    return found


@pytest.mark.timeout(60)
def test_one_app_is_run_listed_called_published_to_and_stopped(
    running: tuple[Desk, Process, dict[str, Any]],
) -> None:
    desk, run, app = running
    given = environment(run)
    assert (given["DAPR_HTTP_PORT"], given["DAPR_GRPC_PORT"]) == (str(app["httpPort"]), str(app["grpcPort"]))
    assert app["command"] == "python3 app.py"
    assert "Resources of desk-one: embedded defaults in" in run.said()

    called = desk.say("invoke", "-a", "desk-one", "-m", "hello", "-d", '{"a":1}')
    assert (called.returncode, called.stdout) == (0, 'you said {"a":1}\nApp invoked successfully\n')
    missing = desk.say("invoke", "-a", "desk-one", "-m", "missing", "-v", "get")
    assert (missing.returncode, missing.stderr) == (1, "error invoking app desk-one: 404 Not Found\n")
    wrong = desk.say("invoke", "-a", "desk-on", "-m", "hello")
    assert 'did you mean "desk-one"?' in wrong.stderr

    told = desk.say("publish", "-i", "desk-one", "-p", "pubsub", "-t", "news", "-d", '{"n":1}')
    assert (told.returncode, told.stdout) == (0, "Event published successfully\n")
    until(lambda: "asked /news application/cloudevents+json" in run.said(), why="the app got the event")
    failed = desk.say("publish", "-i", "desk-one", "-p", "none", "-t", "news")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error publishing topic news: 404 ")

    metadata = http("GET", f"http://127.0.0.1:{app['httpPort']}/v1.0/metadata").json()["extended"]
    assert metadata["cliPID"] == str(run.pid) == str(app["cliPid"])
    assert (metadata["appPID"], metadata["appCommand"]) == (str(app["appPid"]), "python3 app.py")

    stopped = desk.say("stop", "-a", "desk-one")
    assert (stopped.returncode, stopped.stdout) == (0, "app stopped successfully: desk-one\n")
    assert run.wait() == 0
    assert [line for line in run.said().splitlines() if line.startswith("Exited")] == [
        "Exited Dapr successfully: desk-one",
        "Exited App successfully: desk-one",
    ]
    assert (family(desk.folder), desk.listed()) == ([], [])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_whole_tree_the_stubborn_included(desk: Desk, number: int) -> None:
    (desk.folder / "stubborn.py").write_text(STUBBORN)
    run = desk.run("--app-id", "desk-tree", "--", "python3", "stubborn.py", str(desk.folder))
    until(lambda: "family complete" in run.said(), why="the app has children")
    assert len(family(desk.folder)) >= 6
    run.signal(number)
    until(lambda: "shutting down" in run.said(), why="the signal has come")
    run.signal(number)  # impatient: no grace
    assert run.wait() == 0
    assert family(desk.folder) == []


@pytest.mark.timeout(60)
def test_killing_the_command_ends_everything(desk: Desk) -> None:
    (desk.folder / "stubborn.py").write_text(STUBBORN)
    run = desk.run("--app-id", "desk-tree", "--", "python3", "stubborn.py", str(desk.folder))
    until(lambda: "family complete" in run.said(), why="the app has children")
    run.signal(signal.SIGKILL)
    run.wait()
    until(lambda: family(desk.folder) == [], why="nothing is left")


@pytest.mark.timeout(60)
def test_killing_the_commands_worker_ends_everything_too(desk: Desk) -> None:
    (desk.folder / "stubborn.py").write_text(STUBBORN)
    run = desk.run("--app-id", "desk-tree", "--", "python3", "stubborn.py", str(desk.folder))
    until(lambda: "family complete" in run.said(), why="the app has children")
    (worker,) = (each for each in family(desk.folder) if each.parent == run.pid)
    os.kill(worker.pid, signal.SIGKILL)
    assert run.wait() == 128 + signal.SIGKILL
    assert (family(desk.folder), desk.listed()) == ([], [])


@pytest.mark.timeout(60)
def test_killing_all_of_the_commands_name_ends_everything_too(desk: Desk) -> None:
    (desk.folder / "stubborn.py").write_text(STUBBORN)
    run = desk.run("--app-id", "desk-tree", "--", "python3", "stubborn.py", str(desk.folder))
    until(lambda: "family complete" in run.said(), why="the app has children")
    modules = ("pillion.cli.main", "pillion.host.main")
    ours = (each.pid for each in family(desk.folder) if {*modules} & {*command_line(each.pid)})
    known = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in ours}
    for pid in [pid for pid, name in known.items() if name == known[run.pid]]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: family(desk.folder) == [], why="nothing is left")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("print('bye')", 0, "Exited App successfully: desk-end ended after"),
        ("raise SystemExit(3)", 1, "exited with error code: 3: desk-end ended with status 3 after"),
        ("import os; os.kill(os.getpid(), 9)", 1, "error code: -9: desk-end was killed by signal 9 after"),
    ],
)
def test_an_app_that_ends_takes_its_sidecar_along(desk: Desk, script: str, status: int, said: str) -> None:
    run = desk.run("--app-id", "desk-end", "--", "python3", "-c", script)
    assert run.wait() == status
    assert said in run.said()
    assert "Exited Dapr successfully: desk-end" in run.said()
    assert family(desk.folder) == []


@pytest.mark.timeout(60)
def test_a_sidecar_that_cannot_start_says_why(desk: Desk) -> None:
    run = desk.run("--app-id", "desk-bad", "--log-level", "loud", "--", "python3", "app.py")
    assert run.wait() == 1
    assert "loud" in run.said()
    assert "error: the sidecar of desk-bad ended with status 1" in run.said()
    assert "== APP ==" not in run.said()


@pytest.mark.timeout(60)
def test_a_sidecar_over_unix_sockets_is_listed_and_called(desk: Desk) -> None:
    sockets = desk.folder / "s"
    sockets.mkdir()
    words = ("--app-id", "desk-unix", "-p", str(free_port()), "-u", str(sockets), "--", "python3", "app.py")
    run = desk.run(*words)
    desk.ready(run, "desk-unix", by_port=False)
    call = ("invoke", "-a", "desk-unix", "-m", "hello", "-u", str(sockets))
    until(lambda: desk.say(*call).stdout.startswith("you said "), why="the app listens and is called")


@pytest.mark.timeout(60)
def test_a_sidecar_started_by_hand_is_listed_and_stopped(desk: Desk) -> None:
    sidecar = desk.stage.sidecar("desk-hand").ready()
    (app,) = desk.listed()
    assert (app["daprdPid"], app["httpPort"], app["cliPid"]) == (sidecar.pid, sidecar.ports.http, 0)
    assert desk.say("stop", "desk-hand").stdout == "app stopped successfully: desk-hand\n"
    assert sidecar.wait() == 0


RUN_FILE = """
version: 1
name: both
common:
  env: {{SHARED: everywhere}}
apps:
  - appID: desk-late
    appDirPath: late
    command: [python3, ../app.py]
    appPort: {late}
    dependsOn: [desk-early]
  - appID: desk-early
    appDirPath: early
    command: [python3, ../app.py]
    appPort: {early}
    daprdLogDestination: fileAndConsole
"""


@pytest.fixture
def run_file(desk: Desk) -> Path:
    for name in ("late", "early"):
        (desk.folder / name).mkdir()
    file = desk.folder / "dapr.yaml"
    file.write_text(RUN_FILE.format(late=free_port(), early=free_port()))
    return file


@pytest.mark.timeout(60)
def test_a_run_file_starts_apps_with_logs_and_in_order_and_is_stopped_by_name(
    desk: Desk, run_file: Path
) -> None:
    run = desk.run("-f", str(run_file))
    apps = desk.ready(run, "desk-late", "desk-early")
    text = run.said()
    assert text.index("Starting Dapr with id desk-early") < text.index("Starting Dapr with id desk-late")
    assert "desk-late waits for desk-early" in text
    assert "== DAPR - desk-early == time=" in text
    assert "== DAPR - desk-late ==" not in text
    assert "== APP - desk-late == environment" in run.said()

    late = apps["desk-late"]
    assert (late["runTemplatePath"], late["runTemplateName"]) == (str(run_file), "both")
    app_log, sidecar_log = Path(late["appLogPath"]), Path(late["daprdLogPath"])
    assert app_log.parent == sidecar_log.parent == desk.folder / "late" / ".dapr" / "logs"
    assert app_log.name.startswith("desk-late_app_2")
    assert '"SHARED": "everywhere"' in app_log.read_text()
    assert "dapr initialized" in sidecar_log.read_text()

    one = desk.say("stop", "-a", "desk-late")
    assert (one.returncode, [app["appId"] for app in desk.listed()]) == (0, ["desk-early"])
    stopped = desk.say("stop", "-f", str(desk.folder))
    assert stopped.stdout == "Dapr and app processes stopped successfully\n"
    assert run.wait() == 0
    assert family(desk.folder) == []


@pytest.mark.timeout(60)
def test_an_app_whose_dependency_ends_is_not_started(desk: Desk, run_file: Path) -> None:
    run_file.write_text(
        run_file.read_text().replace("[python3, ../app.py]\n    appPort: ", "[sh, -c, exit 4]\n    appPort: ")
    )
    run = desk.run("-f", str(run_file))
    assert run.wait() == 1
    assert "desk-late is not started: desk-early, which it depends on, did not become ready" in run.said()


@pytest.mark.timeout(60)
def test_one_app_that_fails_leaves_the_others_running(desk: Desk, run_file: Path) -> None:
    text = run_file.read_text().replace("    dependsOn: [desk-early]\n", "")
    run_file.write_text(text.replace("[python3, ../app.py]", "[sh, -c, exit 4]", 1))
    run = desk.run("-f", str(run_file))
    until(lambda: "desk-late ended with status 4" in run.said(), why="the first has ended")
    assert [app["appId"] for app in desk.ready(run, "desk-early").values()] == ["desk-early"]
    run.signal(signal.SIGTERM)
    assert run.wait() == 1


@pytest.mark.timeout(60)
def test_what_stands_in_for_a_silent_server_is_told_where_the_sidecars_log_is_a_file(
    desk: Desk, run_file: Path
) -> None:
    own = desk.folder / "late" / ".dapr" / "resources"
    own.mkdir(parents=True)
    (own / "store.yaml").write_text(component("store", "state.redis", redisHost=f"127.0.0.1:{free_port()}"))
    run = desk.run("-f", str(run_file), "--embedded")
    desk.ready(run, "desk-late", "desk-early")
    told = [line for line in run.said().splitlines() if line.startswith("warning: desk-late: store runs on")]
    said = f"state.sqlite in {desk.home}, not on state.redis, whose server does not answer (--embedded)"
    assert told == [f"warning: desk-late: store runs on {said}"]


@pytest.mark.timeout(60)
def test_a_run_file_may_come_by_standard_input(desk: Desk) -> None:
    text = "version: 1\napps: [{appID: desk-in, appDirPath: ., command: [echo, from here]}]\n"
    told = desk.say("run", "--no-multicast", "-f", "-", told=text)
    assert told.returncode == 0
    assert "== APP - desk-in == from here\n" in told.stdout


def test_every_mistake_of_a_run_file_is_told_with_its_line(desk: Desk, run_file: Path) -> None:
    run_file.write_text("version: 1\napps:\n  - appID: a\n    appDirPath: nowhere\n    comand: [x]\n")
    told = desk.say("run", "-f", str(run_file))
    assert told.returncode == 1
    assert f"{run_file}:4: apps[0].appDirPath: no such file or folder" in told.stderr
    assert 'did you mean "command"?' in told.stdout


def test_a_port_in_use_is_refused_before_anything_starts(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = desk.say("run", "-a", "desk-x", "-H", str(port), "--", "python3", "app.py")
    assert told.returncode == 1
    assert f"desk-x: port {port} (--dapr-http-port) is already in use by " in told.stderr
