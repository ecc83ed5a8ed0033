"""The warm process that a run of several apps has its sidecars forked from: started once, asked for each of them.

It is a help and nothing more: where it cannot be had, does not answer or has died, sidecars are started one by one.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

ANSWERS_WITHIN = 15.0
"""Seconds for an answer, the first of which waits until the process is warm."""
_MODULE: Final = "pillion.host.main"
_ROOM = "." * 4096
"""A word that leaves room in the process's command line: each child writes its own there."""


class Zygote:
    """Holds the one end of a socket; a `pilliond --zygote` has the other as its standard input and ends when we let go."""

    def __init__(self) -> None:
        self._link: socket.socket | None = None
        self._turn = asyncio.Lock()

    def open(
        self, types: Iterable[str], env: Mapping[str, str], folder: Path, prepare: Callable[[], None] | None
    ) -> "subprocess.Popen[bytes] | None":
        """Start it, with the drivers it is to know; None where that cannot be."""
        if not sys.platform.startswith("linux"):
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", _MODULE, "--zygote", _ROOM, *types]
        with theirs:
            try:
                process = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
                    env=dict(env), start_new_session=True, preexec_fn=prepare,
                )  # fmt: skip
            except OSError:
                ours.close()
                return None
        ours.setblocking(False)
        self._link = ours
        return process

    def close(self) -> None:
        """Let go: the process ends, its children stay."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def bear(
        self, command: Sequence[str], env: Mapping[str, str], folder: Path, files: Sequence[int]
    ) -> int | None:
        """Have a sidecar forked with these files as its standard ones: its number, our child from then on.

        None where there is no help; raises OSError where the child could not be what was asked.
        """
        async with self._turn:
            if self._link is None:
                return None
            try:
                async with asyncio.timeout(ANSWERS_WITHIN):
                    told = await _asked(self._link, _order(command, env, folder), files)
            except (OSError, ValueError, TimeoutError):
                self.close()
                return None
            except asyncio.CancelledError:
                self.close()  # the answer that is still to come would be taken for the next one's
                raise
        match told:
            case {"pid": int(pid)}:
                return pid
            case {"error": str(reason)}:
                raise OSError(reason)
        return None


def _order(command: Sequence[str], env: Mapping[str, str], folder: Path) -> bytes:
    args = command[command.index(_MODULE) + 1 :]
    return json.dumps(
        {"words": list(command), "args": list(args), "env": dict(env), "folder": str(folder)}
    ).encode()


async def _asked(link: socket.socket, order: bytes, files: Sequence[int]) -> dict[str, object]:
    socket.send_fds(link, [order], files)
    answer = await asyncio.get_running_loop().sock_recv(link, 65536)
    found = json.loads(answer)  # nothing at all when the other end is gone, which is no JSON
    return found if isinstance(found, dict) else {}
