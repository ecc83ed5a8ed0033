"""A `pilliond` and a daprd find each other: in one SQLite file, in Pillion's own registry, on the air."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import HttpApp
from support.daprd import BOTH, DAPRD, HOST, Programs, configuration, neighbour
from support.multicast import has_multicast
from support.sidecar import PILLIOND, Sidecar, Stage, free_port, until

pytestmark = pytest.mark.needs("daprd")

OPEN_APP = Path(__file__).parent / "ops_apps" / "open_app.py"


def status(front: Sidecar, app_id: str, method: str = "plain") -> int:
    return send(front.ports.http, "GET", f"/v1.0/invoke/{app_id}/method/{method}").status


def who(front: Sidecar, app_id: str) -> str:
    return send(front.ports.http, "GET", f"/v1.0/invoke/{app_id}/method/who").text


@pytest.mark.parametrize("programs", BOTH)
def test_one_that_starts_is_found_and_one_that_stopped_is_not(stage: Stage, programs: Programs) -> None:
    front = neighbour(stage, "front", programs[0])
    assert status(front, "web") == 500
    with HttpApp() as app:
        back = neighbour(stage, "web", programs[1], app_port=app.port)
        assert status(front, "web") == 200
        back.stop()
        assert status(front, "web") == 500


@pytest.mark.parametrize("programs", BOTH)
def test_a_daprd_pointed_at_the_registry_of_pillion_meets_those_who_know_no_other(
    stage: Stage, programs: Programs
) -> None:
    stage.home.mkdir()
    registry = {"connectionString": str(stage.home / "names.db")}
    shared = configuration(
        stage, "registry", nameResolution={"component": "sqlite", "version": "v1", "configuration": registry}
    )

    def start(app_id: str, program: Sequence[str], app_port: int | None = None) -> Sidecar:
        flags = ["--config", shared] if program is DAPRD else []
        return stage.sidecar(app_id, *flags, program=program, env=HOST, app_port=app_port).ready()

    with HttpApp() as app:
        front = start("front", programs[0])
        start("web", programs[1], app.port)
        assert status(front, "web") == 200


def test_replicas_of_both_kinds_take_turns_and_a_killed_daprd_costs_no_call(stage: Stage) -> None:
    made = {}
    for name, program in (("ours", PILLIOND), ("daprs", DAPRD)):
        port = free_port()
        stage.python(name, OPEN_APP, str(port), name)
        made[name] = neighbour(stage, "web", program, app_port=port)
    front = neighbour(stage, "front", PILLIOND)
    until(lambda: {who(front, "web") for _ in range(10)} == {"ours", "daprs"})
    made["daprs"].kill()
    assert {who(front, "web") for _ in range(20)} == {"ours"}


@pytest.mark.parametrize("programs", BOTH)
def test_they_find_each_other_by_multicast(stage: Stage, programs: Programs) -> None:
    if not has_multicast():
        pytest.skip("this host has no multicast")

    def start(app_id: str, program: Sequence[str], app_port: int | None = None) -> Sidecar:
        flags = [] if program is DAPRD else ["--no-multicast=false"]
        env = {**HOST, "PILLION_HOME": str(stage.folder / f"home-{app_id}")}
        return stage.sidecar(app_id, *flags, program=program, env=env, app_port=app_port).ready()

    callee = f"web-{os.getpid()}"  # the air is shared with whoever runs these tests beside us
    with HttpApp() as app:
        front = start("front", programs[0])
        back = start(callee, programs[1], app.port)
        until(lambda: status(front, callee) == 200)
        back.stop()
        # Dapr's resolver remembers an address until it expires, ours hears the farewell.
        if programs[0] is PILLIOND:
            until(lambda: status(front, callee) == 500)
