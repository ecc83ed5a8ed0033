"""The Redis server behind the works that need one: in memory, on a port of its own, gone with the run."""

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from .process import BenchError, Process, free_ports


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server. Each contender has a database of its own, so that none reads what another wrote."""

    process: Process
    port: int

    def empty(self) -> None:
        """Forget everything: streams that nobody reads would grow from round to round."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            if connection.recv(16) != b"+OK\r\n":
                raise BenchError("redis-server did not empty itself")


def start_redis(directory: Path) -> Redis | None:
    """None where the machine has no server: the works on it are left out."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    (port,) = free_ports(1)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = Process(
        [*command, "--dir", str(directory)], environment=os.environ, log=directory / "redis.log"
    )
    process.wait_until_listening(port)
    return Redis(process, port)
