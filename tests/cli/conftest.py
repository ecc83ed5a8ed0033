"""A person at a desk: a home of their own, commands that end and runs that stay."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sidecar import Process, Stage, http, until

from pillion.cli import main, processes

APP = """
import http.server, json, os, sys

class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        subscribed = [{"pubsubname": "pubsub", "topic": "news", "route": "/news"}]
        told = json.dumps(subscribed).encode() if self.path == "/dapr/subscribe" else b"you said " + body
        self.send_response(404 if self.path in ("/missing", "/dapr/config") else 200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
        print("asked", self.path, self.headers.get("content-type"), body.decode(), flush=True)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass

print("environment", json.dumps(dict(os.environ)), flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
"""


class Desk:
    """Runs commands as a person would, in one folder with one Pillion home."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.stage = stage
        self.environ = {**stage.environment(), "HOME": str(folder / "me"), "PILLION_HOME": str(self.home)}
        (folder / "app.py").write_text(APP)

    def run(self, *words: str, name: str = "run") -> Process:
        """`pillion run …`, which stays."""
        command = [sys.executable, "-m", "pillion.cli.main", "run", "--no-multicast", *words]
        return self.stage.app(name, command, env=self.environ)

    def say(self, *words: str, told: str = "") -> "subprocess.CompletedProcess[str]":
        """Another command, to its end; `told` is what it reads."""
        command = [sys.executable, "-m", "pillion.cli.main", *words]
        return subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60, input=told
        )

    def listed(self) -> list[dict[str, Any]]:
        """`pillion list -o json`, without what others run on this machine."""
        mine = {each.pid for each in family(self.folder)}
        return [app for app in json.loads(self.say("list", "-o", "json").stdout) if app["daprdPid"] in mine]

    def ready(self, run: Process, *app_ids: str, by_port: bool = True) -> dict[str, dict[str, Any]]:
        """Wait until apps have started and, if they are reached by port, are ready; what `list` says of them."""

        def all_there() -> dict[str, dict[str, Any]] | None:
            assert run.status is None, run.said()
            text = run.said()
            if not all(f"You're up and running! {app_id} " in text for app_id in app_ids):
                return None
            apps = {app["appId"]: app for app in self.listed()}
            ports = [app["httpPort"] for app in apps.values()] if by_port else []
            until(lambda: all(healthy(port) for port in ports), why="sidecars and apps are ready")
            return apps

        return until(all_there, why="the run is up")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk; every process begun at it is gone when it is left."""
    with Stage(tmp_path) as stage:
        made = Desk(tmp_path, stage)
        for name in ("PILLION_HOME", "HOME"):
            monkeypatch.setenv(name, made.environ[name])
        monkeypatch.chdir(tmp_path)
        yield made
    processes.send(family(tmp_path), signal.SIGKILL)


def healthy(port: int) -> bool:
    return http("GET", f"http://127.0.0.1:{port}/v1.0/healthz").status == 204


def family(folder: Path) -> list[processes.Process]:
    """The live processes whose command line or working folder names this folder."""
    return [each for each in processes.every() if not each.dead and _is_of(each.pid, str(folder))]


def _is_of(pid: int, folder: str) -> bool:
    if pid == os.getpid():
        return False
    try:
        place = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        place = ""
    return folder in place or any(folder in word for word in processes.command_line(pid))


@pytest.fixture
def say(desk: Desk, capfd: pytest.CaptureFixture[str]) -> Any:
    """A command in this process: its status, what it printed and what it complained."""

    def said(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main.run(words)
        out, complaint = capfd.readouterr()
        return status, out, complaint

    return said
