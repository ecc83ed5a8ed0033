"""A process under measurement: started, watched through /proc, stopped. Linux only."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_START_DEADLINE = 30.0
_STOP_DEADLINE = 15.0
_PROC = Path("/proc")


class BenchError(Exception):
    """The bench cannot go on; the text says what a person can do about it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, in bytes: its proportional share of all it maps, of that the anonymous part."""

    pss: int
    anonymous: int


@dataclass(frozen=True, slots=True)
class Load:
    """The machine's own count in CPU seconds over all cores: spent on processes or taken by a host; all."""

    busy: float
    total: float


class Process:
    """One process and whatever it forks. Everything read of it is the sum over that tree."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.started = time.perf_counter()
        self._log = log
        self._name = command[0]
        try:
            with log.open("wb") as out:
                self._popen = subprocess.Popen(
                    command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
        except OSError as error:
            raise BenchError(f"cannot start {command[0]}: {error.strerror}") from error

    def cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in self._tree())

    def memory(self) -> Memory:
        parts = [_rollup(pid) for pid in self._tree()]
        return Memory(pss=sum(p.pss for p in parts), anonymous=sum(p.anonymous for p in parts))

    def wait_until_healthy(self, port: int) -> float:
        """Seconds from the start of the process to its first 204 of the outbound health route."""
        while not _is_healthy(port):
            self._check_alive()
            time.sleep(0.001)
        return time.perf_counter() - self.started

    def wait_until_listening(self, port: int) -> None:
        while not _is_listening(port):
            self._check_alive()
            time.sleep(0.001)

    def stop(self) -> None:
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-12:])

    def _check_alive(self) -> None:
        late = time.perf_counter() - self.started > _START_DEADLINE
        if late or self._popen.poll() is not None:
            what = "is not ready after 30 s" if late else f"ended with status {self._popen.returncode}"
            raise BenchError(f"{self._name} {what}; its last words:\n{self.log_tail()}")

    def _tree(self) -> Iterator[int]:
        waiting = [self._popen.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting += _children(pid)


def machine_load() -> Load:
    """Interrupts count as busy: on loopback they run in the process that sends, which is charged with them."""
    counts = [int(word) * _TICK for word in (_PROC / "stat").read_text().partition("\n")[0].split()[1:9]]
    _, _, _, idle, waiting, _, _, _ = counts
    return Load(busy=sum(counts) - idle - waiting, total=sum(counts))


def free_ports(count: int) -> list[int]:
    """Ports nobody listened on a moment ago, all different."""
    doors = [socket.socket() for _ in range(count)]
    try:
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [int(door.getsockname()[1]) for door in doors]
    finally:
        for door in doors:
            door.close()


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for task in (_PROC / str(pid) / "task").iterdir() for c in _words(task / "children")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _cpu_seconds(pid: int) -> float:
    """By the kernel's clock of that process: nanoseconds, where /proc counts hundredths of a second."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _rollup(pid: int) -> Memory:
    found = {"Pss:": 0, "Anonymous:": 0}
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return Memory(pss=found["Pss:"], anonymous=found["Anonymous:"])


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/v1.0/healthz/outbound")
        return connection.getresponse().status == 204
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
