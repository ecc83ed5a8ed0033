"""Processes we start: each in a session of its own, told of by one signal, ended with all that descends from it."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from pillion.cli import processes
from pillion.cli.launch.output import Lines, Sink
from pillion.cli.launch.zygote import Zygote
from pillion.cli.processes import Process
from pillion.toolbox.lazily import dataclass

_SET_PDEATHSIG = 1
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36
_LOOK = 0.02
"""Seconds between two looks at processes that are not our children."""


def prctl(option: int, value: int | bytes) -> bool:
    """One word to the Linux kernel about this process; False where there is no such kernel."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends, so that none is out of sight."""
    return prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals) -> bool:
    """Have the kernel send this to us when our parent ends, however it ends."""
    return prctl(_SET_PDEATHSIG, number)


def go_by(name: bytes) -> bool:
    """Take the name, of at most 15 bytes, by which `killall` and `pkill` know this process."""
    return prctl(_SET_NAME, name)


@dataclass(slots=True)
class Child:
    """One process we started. `ended` holds its status: an exit code, or minus the signal that killed it."""

    name: str
    pid: int
    ended: "asyncio.Future[int]"
    output: Lines
    sink: Sink
    pipe: asyncio.BaseTransport | None = None
    born: float = field(default=0.0)

    @property
    def is_alive(self) -> bool:
        return not self.ended.done()


class Nursery:
    """Starts children and waits for them. Orphans of theirs come to us as well, and are waited for too."""

    def __init__(self) -> None:
        self._ends: dict[int, tuple[asyncio.Future[int], subprocess.Popen[bytes] | None]] = {}
        self._early: dict[int, int] = {}
        """Statuses that came while a birth was under way, of whom we do not know yet."""
        self._births = 0
        self._to_be_forked = 0
        self._zygote = Zygote()
        self._prepare = _die_with_us() if sys.platform.startswith("linux") else None

    def open(self) -> None:
        """Be told of ends from now on; needs the main thread's loop."""
        adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def close(self) -> None:
        self._zygote.close()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def cool(self) -> None:
        """Nothing more will be forked."""
        self._zygote.close()

    def warm(self, count: int, types: Iterable[str], *, env: Mapping[str, str], folder: Path) -> None:
        """Begin to warm a process that so many sidecars, with drivers of these types, will be forked from."""
        process = self._zygote.open(types, env, folder, self._prepare)
        if process is not None:
            self._to_be_forked = count
            self._end_of(process.pid, process)

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        sink: Sink,
        forked: bool = False,
    ) -> Child:
        """Start a process, or have it forked where something is warm; raises OSError where the system refuses."""
        loop = asyncio.get_running_loop()
        sink.open()
        output = Lines(sink.line)
        reads, writes = os.pipe()
        with open(writes, "wb", buffering=0):
            pipe = open(reads, "rb", buffering=0)
            try:
                pid, ended = await self._begin(command, env, folder, writes, forked=forked)
            except BaseException:
                pipe.close()
                raise
        child = Child(name, pid, ended, output, sink, born=loop.time())
        child.pipe, _ = await loop.connect_read_pipe(lambda: output, pipe)
        self._reap()
        return child

    async def _begin(
        self, command: Sequence[str], env: Mapping[str, str], folder: Path, output: int, *, forked: bool
    ) -> "tuple[int, asyncio.Future[int]]":
        pid = await self._fork(command, env, folder, output) if forked else None
        if pid is not None:
            return pid, self._end_of(pid)
        process = self._spawn(command, env, folder, output)
        return process.pid, self._end_of(process.pid, process)

    async def _fork(
        self, command: Sequence[str], env: Mapping[str, str], folder: Path, output: int
    ) -> int | None:
        self._births += 1
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            return await self._zygote.bear(command, env, folder, (nothing, output, output))
        finally:
            os.close(nothing)
            self._births -= 1
            self._to_be_forked -= 1
            if not self._to_be_forked:
                self._zygote.close()

    def _spawn(
        self, command: Sequence[str], env: Mapping[str, str], folder: Path, output: int
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(env),
            start_new_session=True,
            preexec_fn=self._prepare,  # safe: this process has one thread
        )

    def _end_of(self, pid: int, process: "subprocess.Popen[bytes] | None" = None) -> "asyncio.Future[int]":
        """What will hold the status of a child, which may have come already."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        early = self._early.pop(pid, None)
        if not self._births:
            self._early.clear()
        if early is None:
            self._ends[pid] = (ended, process)
        else:
            ended.set_result(early)
        return ended

    def _reap(self) -> None:
        """Take the status of whoever has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._has_ended(pid, os.waitstatus_to_exitcode(status))

    def _has_ended(self, pid: int, status: int) -> None:
        ended, process = self._ends.pop(pid, (None, None))
        if process is not None:
            process.returncode = status
        if ended is not None:
            ended.set_result(status)
        elif self._births:
            self._early[pid] = status


def _die_with_us() -> Callable[[], None]:
    """What a child does between fork and exec: nothing that could allocate, import or lock."""
    call = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        call(_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


async def end(child: Child, *, grace: float, hurry: asyncio.Event) -> None:
    """End a process and all that descends from it: asked first, killed after `grace` seconds or when `hurry` is set."""
    await end_all(processes.tree([child.pid]), grace=grace, hurry=hurry)
    if child.is_alive:
        await asyncio.wait({child.ended}, timeout=2.0)
    if not child.output.over.is_set() and child.pipe is not None:
        await _drained(child.output)
        child.pipe.close()
    child.sink.close()


async def end_all(family: Sequence[Process], *, grace: float, hurry: asyncio.Event) -> None:
    """Ask with SIGTERM, wait, kill who stays and whom they have brought into the world since."""
    processes.send(family, signal.SIGTERM)
    if not await _gone(family, grace, hurry):
        grown = processes.tree([each.pid for each in family])
        stubborn = [each for each in {*family, *grown} if processes.is_alive(each.pid, each.started)]
        processes.send(stubborn, signal.SIGKILL)
        await _gone(stubborn, 2.0, asyncio.Event())


async def _gone(family: Sequence[Process], grace: float, hurry: asyncio.Event) -> bool:
    """Whether all are gone within the time."""
    deadline = asyncio.get_running_loop().time() + grace
    left = list(family)
    # Grandchildren are not ours to wait for: we look.
    while left := [each for each in left if processes.is_alive(each.pid, each.started)]:
        if hurry.is_set() or asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True


async def _drained(output: Lines) -> None:
    """The last lines of a process that is gone are in the pipe already: take them."""
    try:
        async with asyncio.timeout(0.2):
            await output.over.wait()
    except TimeoutError:
        pass
