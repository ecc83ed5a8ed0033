"""`pillion run -f` has its sidecars forked from one warm process, and nobody can tell."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from support.sidecar import Process, free_port, http, until

from pillion.cli import processes
from pillion.cli.launch.zygote import Zygote
from tests.cli.conftest import Desk, family, healthy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")

LATE_APP = """
import os, pathlib, time
while not pathlib.Path("go").exists():
    time.sleep(0.01)
exec(open("../app.py").read())
"""


def run_file(desk: Desk, *apps: str) -> str:
    file = desk.folder / "dapr.yaml"
    file.write_text("version: 1\napps:\n" + "".join(f"  - {app}\n" for app in apps))
    return str(file)


def alone(desk: Desk, *names: str) -> str:
    """A run file of sidecars without apps."""
    for name in names:
        (desk.folder / name).mkdir()
    return run_file(desk, *(f"{{appID: {name}, appDirPath: {name}}}" for name in names))


def zygotes(desk: Desk) -> list[processes.Process]:
    return [each for each in family(desk.folder) if "--zygote" in processes.command_line(each.pid)]


def shared(pid: int) -> int:
    """Kilobytes that were written to and are shared all the same, which only a fork does."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Shared_Dirty:"))


def up(desk: Desk, run: Process, *names: str) -> dict[str, dict[str, Any]]:
    found = desk.ready(run, *names)
    assert set(found) == set(names)
    return found


@pytest.mark.timeout(60)
def test_ten_sidecars_are_forked_and_look_as_if_they_were_not(desk: Desk) -> None:
    names = [f"desk-{number}" for number in range(10)]
    run = desk.run("-f", alone(desk, *names))
    apps = up(desk, run, *names)
    (worker,) = (each for each in family(desk.folder) if each.parent == run.pid)
    for name, app in apps.items():
        found = processes.find(app["daprdPid"])
        assert found is not None
        assert (found.parent, found.session, found.group) == (worker.pid, found.pid, found.pid)
        assert processes.command_line(found.pid)[1:4] == ["-m", "pillion.host.main", f"--app-id={name}"]
        assert os.readlink(f"/proc/{found.pid}/cwd") == str(desk.folder / name)
        assert shared(found.pid) > 5000
    until(lambda: not zygotes(desk), why="a zygote with nothing left to do is gone")
    assert desk.say("stop", "-f", str(desk.folder)).returncode == 0
    assert run.wait() == 0
    assert (family(desk.folder), desk.listed()) == ([], [])


@pytest.mark.timeout(60)
def test_no_zygote_starts_each_afresh(desk: Desk) -> None:
    run = desk.run("-f", alone(desk, "desk-one", "desk-two"), "--no-zygote")
    apps = up(desk, run, "desk-one", "desk-two")
    assert all(shared(app["daprdPid"]) < 1000 for app in apps.values())


@pytest.mark.timeout(60)
def test_the_zygotes_death_is_nobody_elses(desk: Desk) -> None:
    (desk.folder / "first").mkdir()
    (desk.folder / "first" / "late.py").write_text(LATE_APP)
    first = f"{{appID: desk-first, appDirPath: first, command: [python3, late.py], appPort: {free_port()}}}"
    run = desk.run(
        "-f", run_file(desk, first, "{appID: desk-second, appDirPath: ., dependsOn: [desk-first]}")
    )
    until(lambda: "running! desk-first" in run.said(), why="the first app has started")
    (zygote,) = zygotes(desk)
    os.kill(zygote.pid, signal.SIGKILL)
    until(lambda: processes.find(zygote.pid) is None, why="it is dead and buried")
    (app,) = desk.listed()
    port = app["httpPort"]
    assert http("GET", f"http://127.0.0.1:{port}/v1.0/healthz/outbound").status == 204
    (desk.folder / "first" / "go").touch()
    apps = up(desk, run, "desk-first", "desk-second")
    assert shared(apps["desk-second"]["daprdPid"]) < 1000
    run.signal(signal.SIGTERM)
    assert run.wait() == 0
    assert run.said().count("Exited Dapr successfully") == 2
    assert family(desk.folder) == []


@pytest.mark.timeout(60)
def test_the_end_of_a_forked_sidecar_is_told_with_its_status(desk: Desk) -> None:
    run = desk.run("-f", alone(desk, "desk-one", "desk-two"))
    apps = up(desk, run, "desk-one", "desk-two")
    os.kill(apps["desk-one"]["daprdPid"], signal.SIGKILL)
    until(lambda: "the sidecar of desk-one ended with status -9" in run.said(), why="the kill is told")
    assert healthy(apps["desk-two"]["httpPort"])
    assert desk.say("stop", "desk-two").returncode == 0
    assert run.wait() == 1


@pytest.mark.timeout(60)
def test_a_forked_sidecar_that_cannot_start_says_why(desk: Desk) -> None:
    for name in ("one", "two"):
        (desk.folder / name).mkdir()
    bad = "{appID: desk-bad, appDirPath: one, logLevel: loud, daprdLogDestination: console}"
    run = desk.run("-f", run_file(desk, bad, "{appID: desk-good, appDirPath: two}"))
    until(lambda: "the sidecar of desk-bad ended with status 1" in run.said(), why="its end is told")
    assert "loud" in run.said()
    up(desk, run, "desk-good")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("whom", ["command", "worker"])
def test_killing_a_run_ends_what_was_forked_for_it(desk: Desk, whom: str) -> None:
    run = desk.run("-f", alone(desk, "desk-one", "desk-two"))
    up(desk, run, "desk-one", "desk-two")
    (worker,) = (each for each in family(desk.folder) if each.parent == run.pid)
    os.kill(run.pid if whom == "command" else worker.pid, signal.SIGKILL)
    run.wait()
    until(lambda: family(desk.folder) == [], why="nothing is left")


async def test_the_answer_to_an_order_given_up_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    zygote = Zygote()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    zygote._link = ours
    command = ["python", "-m", "pillion.host.main"]
    with theirs:
        first = asyncio.create_task(zygote.bear(command, {}, tmp_path, [0, 1, 2]))
        await asyncio.to_thread(socket.recv_fds, theirs, 65536, 3)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with contextlib.suppress(OSError):
            theirs.send(b'{"pid": 17}')
        assert await zygote.bear(command, {}, tmp_path, [0, 1, 2]) is None
