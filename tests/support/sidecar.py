"""Whole processes for scenes: sidecars and apps on loopback, started, frozen, killed and cleaned up."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEADLINE = 20.0
PILLIOND = (sys.executable, "-m", "pillion.host.main", "--no-multicast")


_PORTS = iter(range(10000 + os.getpid() % 97 * 100, 20000))


def free_port() -> int:
    """A port nobody has, below those the kernel gives to outgoing connections: none can take it before its server does."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def until(predicate: Callable[[], Any], timeout: float = DEADLINE, why: str = "") -> Any:
    """Try until truthy; AssertionErrors, refused connections and HTTP errors count as "not yet"."""
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            if value := predicate():
                return value
        except (AssertionError, OSError, urllib.error.URLError) as error:
            last = error
        time.sleep(0.01)
    raise AssertionError(f"not so within {timeout:g} s: {why} ({last!r})")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP, whatever the status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def http(
    method: str,
    url: str,
    body: bytes | str | dict[str, Any] | list[Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = DEADLINE,
) -> Answer:
    """One request; dicts and lists go as JSON."""
    data = body.encode() if isinstance(body, str) else body
    extra = {}
    if isinstance(data, dict | list):
        data, extra = json.dumps(data).encode(), {"content-type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers={**extra, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


class Process:
    """A process with its output in a file; killed at the latest when its scene ends."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*command], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=dict(env), cwd=folder,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status once it has ended."""
        return self._process.poll()

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, of everything it started as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(DEADLINE)

    def stop(self, timeout: float = DEADLINE) -> int:
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def wait(self, timeout: float = DEADLINE) -> int:
        return self._process.wait(timeout)


class Sidecar(Process):
    """One sidecar with ports of its own: a `pilliond`, or a daprd, which takes the same flags."""

    def __init__(
        self, app_id: str, folder: Path, command: Sequence[str], env: Mapping[str, str], ports: "Ports"
    ) -> None:
        super().__init__(f"sidecar-{app_id}-{ports.http}", command, folder, env)
        self.app_id = app_id
        self.ports = ports

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports.grpc}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request of its HTTP API; `_` in header names becomes `-`."""
        return http(
            method, self.url + path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def ready(self, timeout: float = DEADLINE) -> Self:
        """Wait until it is ready for everything (the app included)."""
        return self._answers("/v1.0/healthz", timeout)

    def outbound(self, timeout: float = DEADLINE) -> Self:
        """Wait until it serves the app's own calls."""
        return self._answers("/v1.0/healthz/outbound", timeout)

    def _answers(self, path: str, timeout: float) -> Self:
        def well() -> bool:
            if self.status is not None:
                raise RuntimeError(f"{self.name} ended with {self.status}:\n{self.said()[-4000:]}")
            return self.ask("GET", path).status == 204

        until(well, timeout, f"{self.name} answers {path}")
        return self


@dataclass(frozen=True, slots=True)
class Ports:
    http: int = field(default_factory=free_port)
    grpc: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    internal: int = field(default_factory=free_port)


class Stage:
    """Everything one scene starts, in one folder, with one Pillion home; nothing survives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.kill()
        if error is not None:
            for process in self._processes:
                error.add_note(f"--- {process.name} (status {process.status})\n{process.said()[-3000:]}")

    def resources(self, *manifests: str, folder: str = "resources") -> Path:
        """A folder of manifests, one file each."""
        place = self.folder / folder
        place.mkdir(exist_ok=True)
        for number, manifest in enumerate(manifests, len(list(place.iterdir()))):
            (place / f"{number}.yaml").write_text(manifest)
        return place

    def sidecar(
        self,
        app_id: str,
        *flags: str,
        app_port: int | None = None,
        resources: Path | None = None,
        env: Mapping[str, str] | None = None,
        ports: Ports | None = None,
        program: Sequence[str] = PILLIOND,
    ) -> Sidecar:
        """Start a `pilliond`, or another program of its flags; ask it for `ready()` or `outbound()` next."""
        ports = ports or Ports()
        command = [
            *program, "--app-id", app_id,
            "--dapr-http-port", str(ports.http), "--dapr-grpc-port", str(ports.grpc),
            "--metrics-port", str(ports.metrics), "--dapr-internal-grpc-port", str(ports.internal),
            "--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1",
            "--dapr-internal-grpc-listen-address", "127.0.0.1",
        ]  # fmt: skip
        if app_port:
            command += ["--app-port", str(app_port)]
        if resources:
            command += ["--resources-path", str(resources)]
        made = Sidecar(app_id, self.folder, [*command, *flags], self.environment(env), ports)
        self._processes.append(made)
        return made

    def app(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        sidecar: Sidecar | None = None,
    ) -> Process:
        """Start an app as `dapr run` would: the ports of its sidecar in the environment."""
        extra = dict(env or {})
        if sidecar is not None:
            extra |= {"DAPR_HTTP_PORT": str(sidecar.ports.http), "DAPR_GRPC_PORT": str(sidecar.ports.grpc)}
        process = Process(f"app-{name}", command, self.folder, self.environment(extra))
        self._processes.append(process)
        return process

    def python(self, name: str, script: Path | str, *args: str, **options: Any) -> Process:
        """Start a Python app: a file, or the text of one."""
        path = script if isinstance(script, Path) else self._written(name, script)
        return self.app(name, [sys.executable, "-u", str(path), *args], **options)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {**kept, "PILLION_HOME": str(self.home), "PYTHONUNBUFFERED": "1", **(extra or {})}

    def _written(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(text)
        return path


def component(name: str, kind: str, **metadata: str) -> str:
    """A Component manifest."""
    items = [{"name": key, "value": value} for key, value in metadata.items()]
    return json.dumps(
        {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": name},
            "spec": {"type": kind, "version": "v1", "metadata": items},
        }
    )
