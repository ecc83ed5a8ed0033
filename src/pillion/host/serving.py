"""The sidecar's listeners: both APIs, the port for other sidecars, the public port, the metrics."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from pillion.host.flags import Flags
from pillion.host.setup import Fatal
from pillion.net import sockets
from pillion.net.http import HttpHandler, HttpLimits, Request, Responder
from pillion.net.listen import BACKLOG, HttpServer
from pillion.net.rpc import GrpcLimits, GrpcService, LaneHandler
from pillion.net.wheel import Wheel
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import discard

if TYPE_CHECKING:
    from pillion.net.grpc.server import GrpcServer

log = logging.getLogger("dapr.runtime")

HEAD_SLACK = 4096
"""What Go's server grants a request head beyond the configured size."""

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


@dataclass(frozen=True, slots=True)
class Port:
    """A gRPC port that is open; `path` is that of a Unix socket."""

    sockets: Sequence[socket.socket]
    path: str = ""

    @property
    def number(self) -> int:
        """That of TCP."""
        return int(self.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Give it up unserved."""
        for each in self.sockets:
            each.close()
        if self.path:
            sockets.unlink(self.path)


@dataclass(slots=True)
class Listeners:
    """All open ports of one runtime."""

    flags: Flags
    wheel: Wheel
    http: list[HttpServer] = field(default_factory=list)
    grpc: "list[GrpcServer]" = field(default_factory=list)
    waiting: "list[Port]" = field(default_factory=list)
    """gRPC ports that are open and that nobody serves yet: who connects waits in the kernel."""
    http_address: str = ""
    metrics: HttpServer | None = None

    async def serve_metrics(self, page: "Page") -> None:
        """Any path of the metrics port answers with the page."""
        flags = self.flags
        server = self._http_server(page, HttpLimits(h2c=False))
        try:
            await server.listen([bare(flags.metrics_listen_address) or "0.0.0.0"], flags.metrics_port)
        except OSError as error:
            raise Fatal([busy("metrics", "metrics-port", flags.metrics_port, error)]) from error
        self.metrics = server
        log.info("metrics server started on %s:%d/", flags.metrics_listen_address, flags.metrics_port)

    async def serve_http(self, handler: HttpHandler) -> HttpServer:
        """The HTTP API."""
        flags = self.flags
        server = self._http_server(handler, self._http_limits())
        self.http.append(server)
        try:
            if flags.unix_domain_socket:
                path = _socket_path(flags, "http")
                await server.listen_unix(path)
                self.http_address = path
                log.info("HTTP server listening on UNIX socket: %s", path)
                return server
            where = hosts(flags)
            bound = await server.listen(where or every_address(), flags.dapr_http_port)
        except OSError as error:
            raise Fatal([busy("HTTP", "dapr-http-port", flags.dapr_http_port, error)]) from error
        port = bound[0][1]
        self.http_address = ", ".join(_spoken(where, port)) if where else f"[::]:{port}"
        for address in _spoken(where, port):
            log.info("HTTP server listening on TCP address: %s", address)
        log.info("HTTP server is running on port %d", port)
        log.info("The request body size parameter is: %d bytes", flags.max_body_size)
        return server

    async def serve_public(self, handler: HttpHandler) -> HttpServer | None:
        """Health and metadata for a cluster's probes, where a port for them was given."""
        flags = self.flags
        if flags.dapr_public_port is None:
            return None
        server = self._http_server(handler, self._http_limits())
        self.http.append(server)
        try:
            await server.listen([bare(flags.dapr_public_listen_address) or "0.0.0.0"], flags.dapr_public_port)
        except OSError as error:
            raise Fatal([busy("public HTTP", "dapr-public-port", flags.dapr_public_port, error)]) from error
        return server

    async def open_grpc(self) -> Port:
        """The port of the gRPC API, to be served by `serve_grpc`."""
        flags = self.flags
        try:
            if flags.unix_domain_socket:
                path = _socket_path(flags, "grpc")
                port = self._opened([await sockets.opened_unix(path, backlog=BACKLOG)], path)
                log.info("gRPC server listening on UNIX socket: %s", path)
                return port
            where = hosts(flags)
            port = self._opened(await _listening(where or every_address(), flags.dapr_grpc_port))
        except OSError as error:
            raise Fatal([busy("gRPC", "dapr-grpc-port", flags.dapr_grpc_port, error)]) from error
        number = port.number
        for address in _spoken(where, number):
            log.info("gRPC server listening on TCP address: %s", address)
        log.info("API gRPC server is running on port %d", number)
        return port

    async def open_internal(self) -> Port:
        """The port for other sidecars, to be served by `serve_grpc`."""
        flags = self.flags
        asked = bare(flags.dapr_internal_grpc_listen_address)
        where = [asked or "0.0.0.0"]
        wanted = flags.dapr_internal_grpc_port
        try:
            port = self._opened(
                await _listening(where, stable_port(flags.app_id) if wanted is None else wanted)
            )
        except OSError as error:
            if wanted is not None:
                raise Fatal([busy("internal gRPC", "dapr-internal-grpc-port", wanted, error)]) from error
            port = self._opened(await _listening(where, 0))
        log.info("Internal gRPC server is running on %s", _spoken([asked], port.number)[0])
        return port

    async def serve_grpc(
        self, port: Port, service: GrpcService, lane: tuple[bytes, LaneHandler] | None = None
    ) -> None:
        """Accept on an open port, who has waited there first. `lane` as in `GrpcServer`."""
        from pillion.net.grpc.server import GrpcServer

        server = GrpcServer(service, self._grpc_limits(), wheel=self.wheel, lane=lane)
        self.grpc.append(server)
        self.waiting.remove(port)
        await server.accept(port.sockets, port.path)

    def _opened(self, made: Sequence[socket.socket], path: str = "") -> Port:
        self.waiting.append(Port(made, path))
        return self.waiting[-1]

    async def close(self, grace: float) -> None:
        """Take nothing new, let what runs end within `grace` seconds, cut the rest."""
        if self.http_address:
            log.info("Closing HTTP server %s…", self.http_address)
        while self.waiting:
            self.waiting.pop().close()
        await asyncio.gather(
            *(server.close(grace) for server in self.grpc),
            *(server.close(min(grace, 10.0)) for server in self.http),
        )
        self.grpc.clear()
        self.http.clear()

    async def close_metrics(self) -> None:
        """Last of all."""
        if self.metrics is not None:
            await self.metrics.close()
            self.metrics = None

    def _http_server(self, handler: HttpHandler, limits: HttpLimits) -> HttpServer:
        def http2(upgrade: "tuple[Request, bytes] | None" = None) -> asyncio.Protocol:
            from pillion.net.http2.server import Http2ServerProtocol

            return Http2ServerProtocol(server.handler, limits, self.wheel, upgrade=upgrade)

        server = HttpServer(handler, limits, http2=http2)
        return server

    def _http_limits(self) -> HttpLimits:
        flags = self.flags
        return HttpLimits(
            header_bytes=flags.read_buffer_size + HEAD_SLACK,
            body_bytes=flags.max_body_size or None,
            h2c=not flags.disable_h2c,
        )

    def _grpc_limits(self) -> GrpcLimits:
        flags = self.flags
        return GrpcLimits(
            message_bytes=flags.max_body_size or None, header_list_bytes=flags.read_buffer_size << 10
        )


class Page:
    """Answers every request of the metrics port."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def __call__(self, request: Request, responder: Responder) -> None:
        discard(request.body)
        responder.respond(200, [(b"content-type", _METRICS_TYPE)], self._text().encode())


def hosts(flags: Flags) -> Sequence[str]:
    """The addresses of both APIs; none given is all of them, and none returned.

    Of several, those this machine has: a cluster gives `[::1],127.0.0.1` to machines without IPv6 as well.
    """
    asked = [bare(each) for each in flags.dapr_listen_addresses]
    here = [each for each in asked if _is_here(each)]
    for each in asked:
        if here and each not in here:
            log.warning("this machine has no address %s: it is not listened on", each)
    return here or asked


def _spoken(hosts: Sequence[str], port: int) -> Sequence[str]:
    """Addresses as the log names them: `127.0.0.1:3500`, `[::1]:3500`, and `:3500` for all there are."""
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts or ("",)]


def bare(address: str) -> str:
    """An address as sockets take it: `[::1]` without its brackets."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def _is_here(address: str) -> bool:
    try:
        family, kind, _, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def every_address() -> Sequence[str]:
    """All addresses, of both families where the machine has IPv6."""
    if not socket.has_ipv6:
        return ("0.0.0.0",)
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return ("0.0.0.0",)
    return ("0.0.0.0", "::")


def stable_port(app_id: str) -> int:
    """The port, of 47300 to 49347, that an app of this user in this folder of this host has while nobody else takes it."""
    from hashlib import sha256

    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    user = os.getuid() if hasattr(os, "getuid") else -1
    digest = sha256("|".join((app_id, folder, str(user), socket.gethostname())).encode()).digest()
    return 47300 + digest[0] + ((digest[1] >> 5) << 8)


def busy(what: str, flag: str, port: int, error: OSError) -> str:
    """Why a server could not listen, and what to do."""
    reason = error.strerror or str(error)
    return (
        f"failed to start {what} server: could not listen on any endpoint: port {port}: {reason}. "
        f"Stop the program that holds the port, or choose another with --{flag}"
    )


def _socket_path(flags: Flags, kind: str) -> str:
    return os.path.join(flags.unix_domain_socket, f"dapr-{flags.app_id}-{kind}.socket")


async def _listening(where: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets on every host, all on one port, chosen if 0. Raises OSError and leaves none open if one is taken."""
    made: list[socket.socket] = []
    try:
        for host in where:
            made += await sockets.opened(host, port, backlog=BACKLOG)
            port = made[0].getsockname()[1]
    except OSError:
        for each in made:
            each.close()
        raise
    return made
