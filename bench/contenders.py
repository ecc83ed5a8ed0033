"""Who is measured: two sidecars of one binary, the app behind the second, or the two hops of the floor."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from .load import HERE
from .process import BenchError, Process, free_ports
from .works import CALLEE, FILL, PUBSUB, SQLITE, STATE_STORE, WORKS, Work

_FIND_DEADLINE = 20.0

_COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {type}
  version: v1
"""

_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: bench
spec:
  metric:
    enabled: true
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: {names}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two running hops: `front` takes the calls, `back` has the app."""

    name: str
    front: Process
    back: Process
    http: int
    grpc: int
    start_ms: tuple[float, ...]

    def taking_part(self, work: Work) -> tuple[Process, ...]:
        return (self.front, self.back) if len(work.through) == 2 else (self.front,)

    def stop(self) -> None:
        self.front.stop()
        self.back.stop()


class Contender(Protocol):
    """Something the bench can start afresh in each round."""

    name: str

    def serves(self, work: Work) -> bool: ...

    def start(self, directory: Path, app_port: int) -> Pair: ...


class Sidecar:
    """A binary that takes daprd's flags."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self._command = shlex.split(command)

    def serves(self, work: Work) -> bool:
        return True

    def start(self, directory: Path, app_port: int) -> Pair:
        """One after the other, since two at once may trip over a fresh name file; then seed the state."""
        write_resources(directory)
        back = self._launch(CALLEE, directory, ["--app-port", str(app_port), "--app-protocol", "http"])
        try:
            front = self._launch("front", directory, [])
        except BenchError:
            back.process.stop()
            raise
        pair = Pair(self.name, front.process, back.process, front.http, front.grpc, (front.ms, back.ms))
        try:
            _wait_until_answered(pair, "GET", f"/v1.0/invoke/{CALLEE}/method/ping", "")
            _wait_until_answered(pair, FILL.method, FILL.path, FILL.body)
        except BenchError:
            pair.stop()
            raise
        return pair

    def _launch(self, app_id: str, directory: Path, more: Sequence[str]) -> "_Launched":
        http, grpc, internal, metrics = free_ports(4)
        flags = {
            "app-id": app_id,
            "dapr-http-port": http,
            "dapr-grpc-port": grpc,
            "dapr-internal-grpc-port": internal,
            "metrics-port": metrics,
            "dapr-listen-addresses": "127.0.0.1",
            "dapr-internal-grpc-listen-address": "127.0.0.1",
            "resources-path": directory / "resources",
            "config": directory / "config.yaml",
            "log-level": "error",
            "dapr-graceful-shutdown-seconds": 1,
        }
        command = [*self._command, *(part for k, v in flags.items() for part in (f"--{k}", str(v))), *more]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "PILLION_HOME": str(directory / "home"),
            "DAPR_HOST_IP": "127.0.0.1",
        }
        process = Process(command, environment=environment, log=directory / f"{app_id}.log")
        try:
            ready = process.wait_until_healthy(http)
        except BenchError:
            process.stop()
            raise
        return _Launched(process, http, grpc, ready * 1000)


@dataclass(frozen=True, slots=True)
class _Launched:
    process: Process
    http: int
    grpc: int
    ms: float


class Floor:
    """The stub of the invocation path, see `bench/floor`."""

    name = "floor"

    def serves(self, work: Work) -> bool:
        return work is WORKS[0]

    def start(self, directory: Path, app_port: int) -> Pair:
        http, peer = free_ports(2)
        back = self._hop("back", directory, peer, app_port)
        try:
            back.wait_until_listening(peer)
            back_ms = (time.perf_counter() - back.started) * 1000
            front = self._hop("front", directory, http, peer)
            front_ms = front.wait_until_healthy(http) * 1000
        except BenchError:
            back.stop()
            raise
        return Pair(self.name, front, back, http, 0, (front_ms, back_ms))

    def _hop(self, hop: str, directory: Path, listen: int, onward: int) -> Process:
        command = [sys.executable, "-m", "bench.floor", hop, str(listen), str(onward)]
        environment = {"PYTHONPATH": str(HERE.parent)}
        return Process(command, environment=environment, log=directory / f"{hop}.log")


def write_resources(directory: Path) -> None:
    """What every sidecar of a contender is given: components and a Configuration."""
    resources = directory / "resources"
    resources.mkdir()
    for name, (type_, settings) in _components(directory).items():
        lines = "".join(f"\n  - name: {key}\n    value: {value}" for key, value in settings.items())
        text = _COMPONENT.format(name=name, type=type_) + (f"  metadata:{lines}\n" if settings else "")
        (resources / f"{name}.yaml").write_text(text)
    (directory / "config.yaml").write_text(_CONFIGURATION.format(names=directory / "names.db"))


def _components(directory: Path) -> dict[str, tuple[str, dict[str, str]]]:
    return {
        STATE_STORE: ("state.in-memory", {}),
        SQLITE: ("state.sqlite", {"connectionString": str(directory / "state.db")}),
        PUBSUB: ("pubsub.in-memory", {}),
    }


def _wait_until_answered(pair: Pair, method: str, path: str, body: str) -> None:
    """Ask until the answer is 2xx: the sidecars may need a moment to find each other."""
    deadline = time.monotonic() + _FIND_DEADLINE
    while (answer := _ask(pair.http, method, path, body))[0] // 100 != 2:
        if time.monotonic() > deadline:
            raise BenchError(f"{pair.name} answers {method} {path} with {answer}\n{pair.front.log_tail()}")
        time.sleep(0.05)


def _ask(port: int, method: str, path: str, body: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body=body or None, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
