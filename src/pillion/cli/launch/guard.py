"""Two processes instead of one, so that killing either leaves nothing behind.

The one a person sees only watches: it hands signals on and, should the other be killed, ends all that it started.
The other does the work and is told by the kernel when the watcher dies. It goes by another name, so that `pkill -9 pillion`
does not kill both in one stroke: then nobody would be left to end what the apps have started.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

from pillion.cli import processes
from pillion.cli.launch.children import adopt_orphans, die_with_parent, go_by

_HANDED_ON = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_GRACE = 2.0
_LONGEST = 10.0
"""Seconds after which a process that even SIGKILL does not end is left to the system."""


def guarded(work: Callable[[], int]) -> int:
    """Do the work in a child; its exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    watcher = os.getpid()
    adopt_orphans()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    pid = os.fork()
    if pid == 0:
        _work(work, watcher, before)
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
    for number in _HANDED_ON:
        if number != signal.SIGHUP or not ignored:
            signal.signal(number, lambda number, _: _hand_on(pid, number))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _watch(pid)


def _work(work: Callable[[], int], watcher: int, mask: "set[signal.Signals] | set[int]") -> None:
    """The child: never returns. A session of its own keeps the terminal's Ctrl-C from reaching it twice."""
    status = 1
    try:
        os.setsid()
        go_by(b"run-worker")
        die_with_parent(signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.getppid() == watcher:
            status = work()
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # a process's root: whatever it is, it is shown and ends the process
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _hand_on(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _watch(pid: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            break
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"pillion: the run was killed by signal {-code}; ending what it started", file=sys.stderr)
        _sweep()
        return 128 - code
    return code


def _sweep() -> None:
    """End every process that came to us when its parent died."""
    began = time.monotonic()
    asked: set[int] = set()
    while left := [each for each in processes.tree([os.getpid()]) if each.pid != os.getpid()]:
        passed = time.monotonic() - began
        if passed >= _LONGEST:
            return
        if passed >= _GRACE:
            processes.send(left, signal.SIGKILL)
        processes.send([each for each in left if each.pid not in asked], signal.SIGTERM)
        asked |= {each.pid for each in left}
        time.sleep(0.02)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
