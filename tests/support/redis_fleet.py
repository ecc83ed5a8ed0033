"""Several real redis-servers that belong together: behind TLS, under sentinels, as a cluster.

Started with plain subprocesses, so that a whole module may share them; what a test asks of them goes through the official client.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from support.redis_server import free_port
from support.tls import Authority, Pair

PATIENCE = 15.0


@dataclass(slots=True)
class Server:
    """One process and the client that speaks to it."""

    port: int
    process: "subprocess.Popen[bytes]"
    client: "redis.Redis"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *words: Any) -> Any:
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@dataclass(slots=True)
class Fleet:
    """Every process that was started in a folder; leaving it kills them all."""

    folder: Path
    servers: list[Server] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.client.close()
            server.process.kill()
        for server in self.servers:
            server.process.wait(PATIENCE)

    def start(self, *options: str, password: str | None = None, file: str = "") -> Server:
        """A server with these options, or one run by a configuration `file`, once it answers."""
        port = free_port()
        folder = self.folder / str(port)
        folder.mkdir()
        given = folder / "redis.conf"
        given.write_text(file)
        common = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["redis-server", str(given), *common, *options], stdout=log, stderr=log
            )
        client = redis.Redis(port=port, protocol=2, password=password)
        server = Server(port, process, client)
        self.servers.append(server)
        wait_for(lambda: client.ping() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        return server

    def flush(self) -> None:
        """Forget all keys and all scripts."""
        for server in self.servers:
            if server.process.poll() is None and server.ask("ROLE")[0] == b"master":
                server.ask("FLUSHALL")
                server.ask("SCRIPT", "FLUSH")


@dataclass(frozen=True, slots=True)
class Secured:
    """A server that speaks TLS beside its plain port, and asks for certificates."""

    server: Server
    tls_port: int
    authority: Authority
    client: Pair

    @property
    def metadata(self) -> dict[str, str]:
        """For a component whose process trusts the authority."""
        return {
            "redisHost": f"localhost:{self.tls_port}",
            "enableTLS": "true",
            "clientCert": self.client.certificate.read_text(),
            "clientKey": self.client.key.read_text(),
        }


def secured(fleet: Fleet, *options: str) -> Secured:
    authority = Authority(fleet.folder)
    own, client, port = authority.signed("server"), authority.signed("client"), free_port()
    server = fleet.start(
        *("--tls-port", str(port), "--tls-ca-cert-file", str(fleet.folder / "ca.pem")),
        *("--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)),
        *("--bind", "127.0.0.1", "127.0.0.2"),  # the second is not in the certificate
        *options,
    )
    return Secured(server, port, authority, client)


@dataclass(frozen=True, slots=True)
class Watched:
    """A master, its replica, and the sentinel that promotes the replica when the master is gone."""

    master: Server
    replica: Server
    sentinel: Server

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "redisHost": self.sentinel.address,
            "failover": "true",
            "sentinelMasterName": "mymaster",
            "redisPassword": "pw",
            "sentinelPassword": "sentinels",
        }

    def named(self) -> int:
        """The port of the server the sentinel names now."""
        return int(self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])


def watched(fleet: Fleet) -> Watched:
    own = ("--requirepass", "pw", "--masterauth", "pw", "--repl-diskless-sync-delay", "0")
    master = fleet.start(*own, password="pw")
    replica = fleet.start(*own, "--replicaof", f"127.0.0.1 {master.port}", password="pw")
    wait_for(lambda: replica.ask("ROLE")[3] == b"connected")
    watching = f"""sentinel monitor mymaster 127.0.0.1 {master.port} 1
sentinel auth-pass mymaster pw
sentinel down-after-milliseconds mymaster 400
sentinel failover-timeout mymaster 3000
requirepass sentinels
"""
    sentinel = fleet.start("--sentinel", password="sentinels", file=watching)
    wait_for(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "mymaster")) == 1)
    return Watched(master, replica, sentinel)


@dataclass(frozen=True, slots=True)
class Joined:
    """Three masters that share the slots, and the replica of the first where one was asked for."""

    masters: list[Server]
    replica: Server | None = None

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "redisHost": ",".join(each.address for each in self.masters[1:]),
            "redisType": "cluster",
        }

    def holder(self, key: str) -> Server:
        """Who holds a key now, by the first server that lives."""
        alive = next(each for each in self.masters if each.process.poll() is None)
        slot = alive.ask("CLUSTER", "KEYSLOT", key)
        for line in _nodes(alive):
            spans = [span.partition("-") for span in line[8:] if not span.startswith("[")]
            if any(int(low) <= slot <= int(high or low) for low, _, high in spans):
                port = int(line[1].partition("@")[0].rpartition(":")[2])
                return next(each for each in (*self.masters, self.replica) if each and each.port == port)
        raise AssertionError(f"nobody holds {key}")


def joined(fleet: Fleet, *, replicated: bool = False) -> Joined:
    everyone = [_member(fleet) for _ in range(4 if replicated else 3)]
    masters, replica = everyone[:3], everyone[3] if replicated else None
    for number, (server, low, high) in enumerate(
        zip(masters, (0, 5461, 10923), (5460, 10922, 16383), strict=True), 1
    ):
        server.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
        server.ask("CLUSTER", "ADDSLOTSRANGE", low, high)
    bus = int(masters[0].ask("CONFIG", "GET", "cluster-port")[1])
    for server in everyone[1:]:
        server.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port, bus)
    wait_for(lambda: all(len(_nodes(each)) == len(everyone) for each in everyone))
    if replica:
        replica.ask("CLUSTER", "REPLICATE", masters[0].ask("CLUSTER", "MYID").decode())
        wait_for(lambda: replica.ask("ROLE")[3] == b"connected")
    wait_for(lambda: all(b"cluster_state:ok" in each.ask("CLUSTER", "INFO") for each in everyone))
    return Joined(masters, replica)


def _member(fleet: Fleet) -> Server:
    return fleet.start(
        *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port())),
        *("--repl-diskless-sync-delay", "0"),
    )


def _nodes(server: Server) -> list[list[str]]:
    return [line.split(" ") for line in server.ask("CLUSTER", "NODES").decode().splitlines()]


def wait_for(so: Callable[[], Any]) -> None:
    """Try until it is so; what the servers refuse meanwhile counts as not so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if so():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"not so within {PATIENCE:g} s")


MODES = ("tls", "sentinels", "cluster")
"""The shapes of deployment beside one plain server."""


class Harbour:
    """One fleet of each mode, started when first asked for and emptied before each use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._fleets: dict[str, tuple[Fleet, Secured | Watched | Joined]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def mode(self, name: str) -> Iterator[dict[str, str]]:
        """The metadata by which a component finds the fleet; inside, this process trusts its authority."""
        fleet, made = self._fleets.get(name) or self._made(name)
        fleet.flush()
        with trusting(made.authority) if isinstance(made, Secured) else contextlib.nullcontext():
            yield made.metadata

    def _made(self, name: str) -> "tuple[Fleet, Secured | Watched | Joined]":
        folder = self._folder / name
        folder.mkdir()
        fleet = self._stack.enter_context(Fleet(folder))
        made: Secured | Watched | Joined
        match name:
            case "tls":
                made = secured(fleet)
            case "sentinels":
                made = watched(fleet)
            case _:
                made = joined(fleet)
        self._fleets[name] = fleet, made
        return fleet, made


@contextlib.contextmanager
def trusting(authority: Authority) -> Iterator[None]:
    """What is opened inside trusts this authority and no other, as an operator would make it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.path))
        patch.setenv("SSL_CERT_DIR", "/nowhere")
        yield
