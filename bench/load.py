"""The Go program that plays the app and the callers: built when stale, run as a process, its JSON read."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .process import BenchError, Process, free_ports
from .works import GrpcCall, HttpCall

HERE = Path(__file__).parent
_SOURCE = HERE / "load"
_BINARY = HERE / "bin" / "load"
_BUSY = 0.9


@dataclass(frozen=True, slots=True)
class Pressure:
    """How the callers call: how many at once, how long, on how many cores, at which rate (0: flat out)."""

    callers: int
    seconds: float
    procs: int
    rate: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers saw, and the CPU seconds they took to make the calls."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    generator_seconds: float
    generator_was_the_limit: bool


@dataclass(frozen=True, slots=True)
class App:
    """The app behind every contender."""

    process: Process
    port: int


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


def start_app(directory: Path) -> App:
    (port,) = free_ports(1)
    command = [str(_BINARY), "app", "-listen", f"127.0.0.1:{port}"]
    process = Process(command, environment=os.environ, log=directory / "app.log")
    process.wait_until_listening(port)
    return App(process, port)


def press(call: HttpCall | GrpcCall, pressure: Pressure, *, http: int, grpc: int) -> Outcome:
    """Make one kind of call over and over. One failed call makes the figures worthless, so it is an error."""
    flags = [f"-callers={pressure.callers}", f"-for={pressure.seconds}s", f"-procs={pressure.procs}"]
    command = [str(_BINARY), *call.flags(http, grpc), *flags, f"-rate={pressure.rate}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=pressure.seconds + 30, check=False)
    if done.returncode:
        raise BenchError(done.stderr.strip())
    result = json.loads(done.stdout)
    if result["errors"] or not result["requests"]:
        raise BenchError(f"{result['errors']} calls failed, the last with: {result['first_error']}")
    return Outcome(
        requests=result["requests"],
        seconds=result["seconds"],
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        generator_seconds=result["cpu_seconds"],
        generator_was_the_limit=result["cpu_seconds"] >= _BUSY * result["seconds"] * pressure.procs,
    )
