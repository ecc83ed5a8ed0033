"""Words about this process to the kernel, which Linux alone understands."""

import ctypes
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_SET_PDEATHSIG = 1
_ARG_START, _ARG_END = 45, 46
"""Places in /proc/self/stat, counted after the program's name."""


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this to us when our parent ends, however it ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, int(number), 0, 0, 0)


def show(words: Sequence[str]) -> None:
    """Have `ps` and others see these words as our command line, as far as there is room in the one we were started with."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    except (OSError, ValueError, IndexError):
        return
    room = end - start
    if start <= 0 or room <= 0:
        return
    ctypes.memmove(start, fitting(words, room), room)


def fitting(words: Sequence[str], room: int) -> bytes:
    """The words as the kernel keeps them, whole ones only, filled up to the room."""
    line = b""
    for word in words:
        longer = line + word.encode("utf-8", "surrogateescape") + b"\0"
        if len(longer) > room:
            break
        line = longer
    return line.ljust(room, b"\0")
