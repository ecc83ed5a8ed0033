"""Log lines as operators of Dapr know them: key=value text or one JSON object a line."""

import json
import logging
import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from pillion import __version__
from pillion.toolbox.lazily import dataclass

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""The words of `--log-level`."""

_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
_PLAIN = re.compile(r"[A-Za-z0-9._/@^+-]+\Z")


class DaprFormatter(logging.Formatter):
    """One record, one line, with the fields Dapr's lines have.

    Fields given as `extra={"fields": {...}}` are added. The logger's name is the scope; `pillion.x` reads `dapr.x`
    because alerts and tests of Dapr's users look for that.
    """

    def __init__(self, app_id: str, *, as_json: bool = False) -> None:
        super().__init__()
        self._common = {"app_id": app_id} if app_id else {}
        self._common |= {"instance": socket.gethostname(), "type": "log", "ver": __version__}
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info and record.levelno >= logging.ERROR:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z",
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "msg": message,
        }
        more = self._common | {"scope": scope(record.name)} | getattr(record, "fields", {})
        if self._as_json:
            return json.dumps(dict(sorted((fields | more).items())), ensure_ascii=False, default=str)
        pairs = [*fields.items(), *sorted(more.items())]
        return " ".join(f"{key}={_quoted(str(value), always=key in ('time', 'msg'))}" for key, value in pairs)


def scope(name: str) -> str:
    """The scope a logger's lines carry."""
    return f"dapr.{name[8:]}" if name.startswith("pillion.") else name


@dataclass(frozen=True, slots=True)
class Output:
    """Where lines go now, and the level before."""

    handler: logging.Handler
    before: int


def configure(*, app_id: str, level: str, as_json: bool, file: str) -> Output:
    """Send the runtime's lines to standard output or to a file, until `release`."""
    stream: IO[str] = open_log(file) if file else sys.stdout
    handler = logging.StreamHandler(stream)
    handler.setFormatter(DaprFormatter(app_id, as_json=as_json))
    root = logging.getLogger()
    output = Output(handler, root.level)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return output


def open_log(path: str) -> IO[str]:
    """A log file opened for appending, its folder made if need be."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("a", buffering=1, encoding="utf-8")


def release(output: Output) -> None:
    """Undo `configure`."""
    root = logging.getLogger()
    root.removeHandler(output.handler)
    root.setLevel(output.before)
    output.handler.close()


def _quoted(text: str, *, always: bool) -> str:
    if not always and _PLAIN.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
