"""The program that plays the app and the callers: built when stale, run as a process, its JSON read."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import BenchError, Process, free_ports
from .works import Work

HERE = Path(__file__).parent
_SOURCE = HERE / "load"
_BINARY = HERE / "bin" / "load"
_BUSY = 0.9
_GRACE = 30.0
_AT_A_RATE_PROCS = 2
"""A thread that sleeps to the next due instant must not hold up those that call."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How the callers call: how many at once, how long (after a warm-up), on how many cores, at which rate (0: flat out)."""

    callers: int
    warm_up: float
    seconds: float
    procs: int
    rate: float

    def on(self, work: Work) -> "Pressure":
        """The same with what the work insists on."""
        rate = self.rate if work.rate is None else work.rate
        procs = max(self.procs, _AT_A_RATE_PROCS) if rate else self.procs
        callers = self.callers if work.callers is None else work.callers
        return Pressure(callers, self.warm_up, self.seconds, procs, rate)

    def flags(self) -> list[str]:
        times = [f"-warm-up={self.warm_up}s", f"-for={self.seconds}s"]
        return [f"-callers={self.callers}", *times, f"-procs={self.procs}", f"-rate={self.rate}"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers saw, and the CPU seconds they took to make the calls."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    generator_seconds: float
    generator_was_the_limit: bool

    @classmethod
    def read(cls, said: dict[str, Any], procs: int) -> "Outcome":
        """One failed call makes the figures worthless, so it is an error."""
        if said["errors"] or not said["requests"]:
            raise BenchError(f"{said['errors']} calls failed, the last with: {said['first_error']}")
        spent = said["cpu_seconds"]
        return cls(
            requests=said["requests"],
            seconds=said["seconds"],
            p50_ms=said["p50_us"] / 1000,
            p90_ms=said["p90_us"] / 1000,
            p99_ms=said["p99_us"] / 1000,
            generator_seconds=spent,
            generator_was_the_limit=spent >= _BUSY * said["seconds"] * procs,
        )


@dataclass(frozen=True, slots=True)
class App:
    """The app behind every contender, over HTTP and over gRPC."""

    process: Process
    http: int
    grpc: int


def build() -> None:
    """Compile the load program if a source of it is newer than the binary."""
    newest = max(path.stat().st_mtime for path in _SOURCE.iterdir())
    if _BINARY.exists() and _BINARY.stat().st_mtime >= newest:
        return
    _BINARY.parent.mkdir(exist_ok=True)
    try:
        subprocess.run(["go", "build", "-p", "1", "-o", str(_BINARY), "."], cwd=_SOURCE, check=True)
    except FileNotFoundError as error:
        raise BenchError("the load generator needs Go: install it and put `go` on PATH") from error
    except subprocess.CalledProcessError as error:
        raise BenchError("the load generator did not build, see above") from error


def start_app(directory: Path, topics: Sequence[str], grpc_topics: Sequence[str] = ()) -> App:
    """Each topic is broker/topic."""
    http, grpc = free_ports(2)
    command = [str(_BINARY), "app", "-listen", f"127.0.0.1:{http}", "-grpc", f"127.0.0.1:{grpc}"]
    command += ["-subscribe", ",".join(topics), "-subscribe-grpc", ",".join(grpc_topics)]
    process = Process(command, environment=os.environ, log=directory / "app.log")
    process.wait_until_listening(http)
    process.wait_until_listening(grpc)
    return App(process, http, grpc)


def press(
    work: Work, pressure: Pressure, *, http: int, grpc: int, app: App, warm: Callable[[], None]
) -> Outcome:
    """Make one kind of call over and over. `warm` is called after the warm-up, just before what counts."""
    command = [*_program(work), *work.call.flags(http, grpc), *pressure.flags()]
    if work.delivered:
        command += ["-deliveries", f"127.0.0.1:{app.http}"]
    body = work.call.bytes
    return Outcome.read(
        _conversed(command, len(body).to_bytes(8, "big") + body, pressure, warm), pressure.procs
    )


def mixed(pressure: Pressure, *, http: int, path: str, streams: int, endless: int) -> dict[str, Any]:
    """Time small calls alone, beside slow streams, and beside these and an upload; `failed` says what went wrong."""
    command = [str(_BINARY), "mixed", "-target", f"127.0.0.1:{http}", "-path", path, *pressure.flags()]
    command += [f"-streams={streams}", f"-endless={endless}"]
    limit = 3 * pressure.seconds + pressure.warm_up + 2 * _GRACE
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {limit:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip()}
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _program(work: Work) -> list[str]:
    if work.client == "grpcio":
        return [sys.executable, "-m", "bench.grpcio_callers"]
    return [str(_BINARY)]


def _conversed(command: list[str], body: bytes, pressure: Pressure, warm: Callable[[], None]) -> Any:
    limit = time.monotonic() + pressure.warm_up + pressure.seconds + _GRACE
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=HERE.parent
    ) as talk:
        assert talk.stdin is not None and talk.stdout is not None and talk.stderr is not None
        try:
            talk.stdin.write(body)
            talk.stdin.flush()
            _line(talk, limit)
            warm()
            talk.stdin.write(b"\n")
            talk.stdin.flush()
            return json.loads(_line(talk, limit))
        except BrokenPipeError as error:
            raise BenchError(talk.stderr.read().decode().strip()) from error
        finally:
            talk.kill()


def _line(talk: "subprocess.Popen[bytes]", limit: float) -> bytes:
    assert talk.stdout is not None and talk.stderr is not None
    with selectors.DefaultSelector() as ready:
        ready.register(talk.stdout, selectors.EVENT_READ)
        if not ready.select(max(0.0, limit - time.monotonic())):
            raise BenchError("the callers did not end in time")
    if line := talk.stdout.readline():
        return line
    raise BenchError(talk.stderr.read().decode().strip() or "the callers ended without a word")
