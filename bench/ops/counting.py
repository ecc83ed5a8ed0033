"""The counter: bytecodes and calls per code object, in every thread, while it is switched on."""

import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_BENCH = str(Path(__file__).parent.parent)


class Steps:
    """Counts once `install` was called, from `start` to `stop`; threads count that were started after `install`."""

    def __init__(self) -> None:
        self.ops: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()
        self._on = False

    def install(self) -> None:
        threading.settrace(self._trace)

    def start(self) -> None:
        self.ops.clear()
        self.calls.clear()
        self._on = True
        sys.settrace(self._trace)

    def stop(self) -> None:
        sys.settrace(None)
        self._on = False

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename.startswith(_BENCH):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if self._on and event == "opcode":
            self.ops[frame.f_code] += 1
        elif self._on and event == "call":
            self.calls[frame.f_code] += 1
        return self._trace


def place(code: CodeType) -> str:
    """Where the code stands, short enough for a line."""
    for mark in ("/pillion/", "/site-packages/", "/lib/"):
        before, found, after = code.co_filename.rpartition(mark)
        if found:
            return after
    return Path(code.co_filename).name
