"""Two sidecars that share no registry find each other by multicast DNS."""

import os
import socket

import pytest
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import HttpApp
from support.sidecar import Sidecar, Stage, until


def has_multicast() -> bool:
    """Whether a packet sent to the group of mDNS comes back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said,
    ):
        try:
            heard.bind(("", 0))
            heard.settimeout(1)
            group = socket.inet_aton("224.0.0.251")
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton("0.0.0.0"))
            said.sendto(b"anybody", ("224.0.0.251", heard.getsockname()[1]))
            return heard.recv(16) == b"anybody"
        except OSError:
            return False


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
