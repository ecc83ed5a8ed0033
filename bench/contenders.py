"""Who is measured: three sidecars of one binary and the app behind two of them, or the two hops of the floor."""

import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from .brokers import Redis
from .load import HERE, App
from .process import BenchError, Process, free_ports
from .resources import Component, write_components, write_configuration, write_resources
from .works import (
    CALLEE,
    GRPC_CALLEE,
    REDIS,
    SQLITE,
    STATE_STORE,
    WORKS,
    HttpCall,
    Work,
    fill,
)

_FIND_DEADLINE = 20.0


@dataclass(frozen=True, slots=True)
class Launched:
    """One running sidecar and the milliseconds to its first 204."""

    process: Process
    http: int
    grpc: int
    ms: float


@dataclass(frozen=True, slots=True)
class Running:
    """A contender at work: its processes by what they do."""

    name: str
    parts: Mapping[str, Launched]

    def stop(self) -> None:
        for part in self.parts.values():
            part.process.stop()


@dataclass(frozen=True, slots=True)
class Ground:
    """What contenders are started on: a folder of their own, the app, and a Redis database of their own."""

    directory: Path
    app: App
    redis: Redis | None
    database: int


class Contender(Protocol):
    """Something the bench can start afresh in each round."""

    name: str

    def serves(self, work: Work) -> bool: ...

    def start(self, ground: Ground) -> Running: ...


class Sidecar:
    """A binary that takes daprd's flags."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self._command = shlex.split(command)

    def serves(self, work: Work) -> bool:
        return True

    def start(self, ground: Ground) -> Running:
        """One after the other, since two at once may trip over a fresh name file; then fill the stores."""
        redis = ground.redis.port if ground.redis else None
        write_resources(ground.directory, ground.app, redis, ground.database)
        apps = {CALLEE: (ground.app.http, "http"), GRPC_CALLEE: (ground.app.grpc, "grpc"), "front": None}
        parts: dict[str, Launched] = {}
        running = Running(self.name, parts)
        try:
            for name, app in apps.items():
                parts[name] = self.launch(name, ground.directory, app)
            self._settle(running, ground.redis is not None)
        except BenchError:
            running.stop()
            raise
        return running

    def alone(
        self, directory: Path, components: Sequence[Component], app: tuple[int, str] | None
    ) -> Launched:
        """One sidecar with these components and nothing else."""
        write_components(directory, components)
        write_configuration(directory)
        return self.launch("alone", directory, app)

    def launch(self, app_id: str, directory: Path, app: tuple[int, str] | None) -> Launched:
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
            "max-body-size": "64Mi",
        }
        if app is not None:
            flags |= {"app-port": app[0], "app-protocol": app[1]}
        command = [*self._command, *(part for k, v in flags.items() for part in (f"--{k}", str(v)))]
        process = Process(command, environment=_environment(directory), log=directory / f"{app_id}.log")
        try:
            ready = process.wait_until_healthy(http)
        except BenchError:
            process.stop()
            raise
        return Launched(process, http, grpc, ready * 1000)

    def _settle(self, running: Running, with_redis: bool) -> None:
        """Until the sidecars have found each other and their apps; then there is state to read."""
        for callee in (CALLEE, GRPC_CALLEE):
            wait_until_answered(running.parts["front"], _get(f"/v1.0/invoke/{callee}/method/ping"))
            wait_until_answered(running.parts[callee], _get("/v1.0/healthz"))
        for store in (STATE_STORE, SQLITE, *((REDIS,) if with_redis else ())):
            wait_until_answered(running.parts["front"], fill(store))


class Floor:
    """The stub of the invocation path, see `bench/floor`."""

    name = "floor"

    def serves(self, work: Work) -> bool:
        return work is WORKS[0]

    def start(self, ground: Ground) -> Running:
        http, peer = free_ports(2)
        parts: dict[str, Launched] = {}
        running = Running(self.name, parts)
        try:
            back = self._hop("back", ground.directory, peer, ground.app.http)
            parts["back"] = Launched(back, 0, 0, 0)
            back.wait_until_listening(peer)
            back_ms = (time.perf_counter() - back.started) * 1000
            parts["back"] = Launched(back, 0, 0, back_ms)
            front = self._hop("front", ground.directory, http, peer)
            parts["front"] = Launched(front, http, 0, 0)
            parts["front"] = Launched(front, http, 0, front.wait_until_healthy(http) * 1000)
        except BenchError:
            running.stop()
            raise
        return running

    def _hop(self, hop: str, directory: Path, listen: int, onward: int) -> Process:
        command = [sys.executable, "-m", "bench.floor", hop, str(listen), str(onward)]
        environment = {"PYTHONPATH": str(HERE.parent)}
        return Process(command, environment=environment, log=directory / f"{hop}.log")


def wait_until_answered(part: Launched, call: HttpCall) -> None:
    """Ask until the answer is 2xx: the sidecars may need a moment to find each other."""
    deadline = time.monotonic() + _FIND_DEADLINE
    while (answer := _ask(part.http, call))[0] // 100 != 2:
        if time.monotonic() > deadline:
            said = part.process.log_tail()
            raise BenchError(f"{call.method} {call.path} is answered with {answer}\n{said}")
        time.sleep(0.05)


def processes(running: Iterable[Running]) -> list[Process]:
    return [part.process for each in running for part in each.parts.values()]


def _environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "PILLION_HOME": str(directory / "home"),
        "DAPR_HOST_IP": "127.0.0.1",
    }


def _get(path: str) -> HttpCall:
    return HttpCall("GET", path)


def _ask(port: int, call: HttpCall) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if call.body else {}
        connection.request(call.method, call.path, body=call.body or None, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
