"""Two sidecars that share no registry find each other by multicast DNS."""

import os

import pytest
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import HttpApp
from support.multicast import has_multicast
from support.sidecar import Sidecar, Stage, until


def test_two_sidecars_with_homes_of_their_own_find_each_other(stage: Stage) -> None:
    if not has_multicast():
        pytest.skip("this host has no multicast")
    callee = f"callee-{os.getpid()}"  # the air is shared with whoever runs these tests beside us
    with HttpApp() as app:
        _on_the_air(stage, callee, app_port=app.port).ready()
        caller = _on_the_air(stage, "caller").ready()
        until(
            lambda: send(caller.ports.http, "GET", f"/v1.0/invoke/{callee}/method/hello").status == 200,
            why="it is found",
        )
        assert app.find("/hello")


def _on_the_air(stage: Stage, app_id: str, app_port: int | None = None) -> Sidecar:
    env = {"PILLION_HOME": str(stage.folder / f"home-{app_id}"), "DAPR_HOST_IP": "127.0.0.1"}
    return stage.sidecar(app_id, "--no-multicast=false", app_port=app_port, env=env)
