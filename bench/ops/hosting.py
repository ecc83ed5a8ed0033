"""Sidecars in this process: `front` takes the calls, `back` has an app over HTTP, `grpcback` one over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pillion.host import flags
from pillion.host.runtime import Runtime
from pillion.host.setup import prepare

from ..process import free_ports
from ..resources import write_resources
from ..works import PUBSUB, REDIS_PUBSUB
from .apps import Delivered, HttpApp, grpc_app


@dataclass(frozen=True, slots=True)
class Hosted:
    """The ports of one running sidecar."""

    http: int
    grpc: int


@contextlib.asynccontextmanager
async def hosted(
    folder: Path, delivered: Delivered, redis_port: int | None = None
) -> AsyncIterator[dict[str, Hosted]]:
    """All three, found by name and ready; stopped at the end."""
    loop = asyncio.get_running_loop()
    write_resources(folder, redis_port=redis_port)
    brokers = [PUBSUB, *([REDIS_PUBSUB] if redis_port else [])]
    plain = await loop.create_server(lambda: HttpApp(delivered, brokers), "127.0.0.1", 0)
    rpc = await loop.create_server(grpc_app(delivered, brokers), "127.0.0.1", 0)
    running: list[Runtime] = []
    ports: dict[str, Hosted] = {}
    for name, app, protocol in (("back", plain, "http"), ("grpcback", rpc, "grpc"), ("front", None, "")):
        runtime, ports[name] = _prepared(name, folder, app, protocol)
        running.append(runtime)
        await runtime.start()
        await _ready(ports[name].http)
    try:
        yield ports
    finally:
        for runtime in running:
            await runtime.stop()
        plain.close()
        rpc.close()


def _prepared(name: str, folder: Path, app: asyncio.Server | None, protocol: str) -> tuple[Runtime, Hosted]:
    http, grpc, internal, metrics = free_ports(4)
    given = {
        "app-id": name,
        "dapr-http-port": http,
        "dapr-grpc-port": grpc,
        "dapr-internal-grpc-port": internal,
        "metrics-port": metrics,
        "dapr-listen-addresses": "127.0.0.1",
        "dapr-internal-grpc-listen-address": "127.0.0.1",
        "metrics-listen-address": "127.0.0.1",
        "resources-path": folder / "resources",
        "config": folder / "config.yaml",
        "log-level": "error",
        "dapr-graceful-shutdown-seconds": 1,
    }
    if app is not None:
        given |= {"app-port": app.sockets[0].getsockname()[1], "app-protocol": protocol}
    args = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    environment = {"HOME": str(folder), "PILLION_HOME": str(folder / "home"), "DAPR_HOST_IP": "127.0.0.1"}
    setup = prepare(flags.parse(args, environment), environment)
    return Runtime(setup, lambda _: None), Hosted(http, grpc)


async def _ready(port: int) -> None:
    async with asyncio.timeout(20):
        # The health route is the only sign of it.
        while b" 204 " not in await _health(port):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _health(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.readline()
    writer.close()
    return answer
