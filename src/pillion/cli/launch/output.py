"""What a run says: its own lines, and those of its processes with a prefix, a colour and a file."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

LONGEST_LINE = 64 * 1024
"""A line without end is cut into pieces of this size."""
_COLOURS: Final = ("\x1b[34m", "\x1b[36m", "\x1b[35m", "\x1b[32m", "\x1b[33m")
_END: Final = "\x1b[0m"
_MARKS: Final = {"info": "", "good": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


class Voice:
    """The run's own sentences, on standard output."""

    def __init__(self, *, as_json: bool = False, environ: Mapping[str, str] | None = None) -> None:
        self._as_json = as_json
        self._coloured = _is_coloured(os.environ if environ is None else environ)

    def colour(self, number: int) -> str:
        """The colour of the app with that number; none where colours are not shown."""
        return _COLOURS[number % len(_COLOURS)] if self._coloured else ""

    def info(self, text: str) -> None:
        self._say("info", text)

    def good(self, text: str) -> None:
        self._say("good", text)

    def warn(self, text: str) -> None:
        self._say("warning", text)

    def bad(self, text: str) -> None:
        self._say("error", text)

    def _say(self, level: str, text: str) -> None:
        if self._as_json:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            shown = json.dumps({"level": level, "msg": text, "time": now})
        elif self._coloured and _MARKS[level]:
            shown = f"{_MARKS[level]}{text}{_END}"
        else:
            shown = f"{level}: {text}" if level in ("warning", "error") else text
        write(shown.encode() + b"\n")


def _is_coloured(environ: Mapping[str, str]) -> bool:
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def write(line: bytes) -> None:
    """Put a line on standard output; who stopped reading is not told again."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Lines(asyncio.Protocol):
    """Cuts what a process writes into lines and hands each on; `over` is set when the last writer is gone."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._rest = b""
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line)
        while len(self._rest) >= LONGEST_LINE:
            self._show(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]

    def connection_lost(self, _: Exception | None) -> None:
        if self._rest:
            self._show(self._rest)
        self._rest = b""
        self.over.set()


class Sink:
    """Where the lines of one process go: the console with its prefix, a file without."""

    def __init__(
        self, prefix: str = "", colour: str = "", *, console: bool = True, file: Path | None = None
    ) -> None:
        self._before = f"{colour}{prefix}".encode()
        self._after = (_END if colour else "").encode()
        self._console = console
        self._path = file
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Make the file."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)

    def line(self, text: bytes) -> None:
        """One line without its end. A full disk costs the line, not the run."""
        text = text.removesuffix(b"\r")
        if self._file is not None:
            try:
                self._file.write(text + b"\n")
            except OSError:
                pass
        if self._console:
            write(self._before + text + self._after + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
