"""Free ports for sidecars, and sentences about taken ones."""

import random
import socket
from collections.abc import Sequence

from pillion.cli import processes

# Below the range that systems hand to outgoing connections, so that nobody is given one between our look and its use.
_RANGE = range(20000, 32000)
_LOOPBACK = "127.0.0.1"


def free(count: int, taken: Sequence[int] = ()) -> list[int]:
    """So many different ports that nobody listens on, none of them `taken`."""
    found: list[int] = []
    tries = iter(range(len(_RANGE)))
    while len(found) < count:
        port = random.choice(_RANGE) if next(tries, None) is not None else _any()
        if port not in taken and port not in found and is_free(port):
            found.append(port)
    return found


def is_free(port: int, host: str = _LOOPBACK) -> bool:
    """Whether it can be listened on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def who_holds(port: int) -> str:
    """` by python app.py (pid 123)`, or nothing where it cannot be seen."""
    pid = processes.holder(port)
    if not pid:
        return ""
    words = " ".join(processes.command_line(pid))
    return f" by {words[:80]} (pid {pid})" if words else f" by pid {pid}"


def _any() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
