"""The machine's processes: who is alive, who descends from whom, who holds a port."""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from pillion.toolbox.lazily import dataclass

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `started` tells it from a later one with the same number; "" where the system does not say."""

    pid: int
    parent: int
    group: int
    session: int
    started: str
    dead: bool = False
    """Ended and not yet waited for."""


def find(pid: int) -> Process | None:
    """The process of that number, if it is alive."""
    if _PROC.is_dir():
        found = _stat(pid)
    else:
        found = next((each for each in every() if each.pid == pid), None)
    return None if found is None or found.dead else found


def is_alive(pid: int, started: str = "") -> bool:
    """Whether the number still is the process that was `started` then."""
    found = find(pid)
    return found is not None and (not started or not found.started or found.started == started)


def every() -> list[Process]:
    """All processes that can be seen."""
    if not _PROC.is_dir():
        return list(_by_ps())
    numbers = (int(name) for name in os.listdir(_PROC) if name.isdigit())
    return [found for pid in numbers if (found := _stat(pid)) is not None]


def tree(roots: Iterable[int]) -> list[Process]:
    """The live processes that are a root, descend from one, or belong to the group or session a root leads."""
    all_of_them = every()
    wanted = set(roots)
    leaders = frozenset(wanted)
    wanted |= {each.pid for each in all_of_them if each.group in leaders or each.session in leaders}
    grown = True
    while grown:
        more = {each.pid for each in all_of_them if each.parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    return [each for each in all_of_them if each.pid in wanted and not each.dead]


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Signal each that is still the same process; who is gone or not ours is passed over."""
    for each in processes:
        if each.pid == os.getpid() or not is_alive(each.pid, each.started):
            continue
        try:
            os.kill(each.pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def command_line(pid: int) -> list[str]:
    """The words a process was started with; nothing where they cannot be seen."""
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode("utf-8", "replace") for word in text.rstrip(b"\0").split(b"\0")] if text else []


def started_at(pid: int) -> float:
    """Epoch seconds of a process's start; 0 where the system does not say."""
    found = find(pid)
    if found is None or not found.started:
        return 0.0
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1]) + int(found.started) / os.sysconf("SC_CLK_TCK")
    return 0.0


def holder(port: int) -> int:
    """The process that listens on a TCP port, 0 where that cannot be seen."""
    sockets = set(_listening(port))
    if not sockets:
        return 0
    for name in os.listdir(_PROC):
        if name.isdigit() and sockets & set(_sockets(int(name))):
            return int(name)
    return 0


def _stat(pid: int) -> Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=fields[19],
        dead=fields[0] in "ZX",
    )


def _by_ps() -> Iterator[Process]:
    """Where there is no /proc, as on macOS."""
    asked = ["ps", "-axo", "pid=,ppid=,pgid=,sess=,stat="]
    shown = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout
    for line in shown.splitlines():
        pid, parent, group, _, state = line.split(None, 4)
        yield Process(int(pid), int(parent), int(group), 0, "", state.startswith("Z"))


def _listening(port: int) -> Iterator[str]:
    """The sockets that listen on a port, as /proc spells them."""
    for table in ("tcp", "tcp6"):
        try:
            rows = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"


def _sockets(pid: int) -> Iterator[str]:
    folder = _PROC / str(pid) / "fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(folder / name)
        except OSError:
            continue
