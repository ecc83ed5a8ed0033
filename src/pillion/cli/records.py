"""What runs, kept as one small file per sidecar in the `run` folder of Pillion's home."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from pillion.cli import processes
from pillion.cli.command import Refusal
from pillion.toolbox import home as places
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sidecar that `pillion run` started, and the app beside it."""

    app_id: str
    pid: int
    started: str
    created: float
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    metrics_enabled: bool = True
    app_port: int = 0
    app_pid: int = 0
    cli_pid: int = 0
    command: str = ""
    max_body_size: str = "4Mi"
    read_buffer_size: str = "4Ki"
    unix_domain_socket: str = ""
    run_template_path: str = ""
    run_template_name: str = ""
    app_log_path: str = ""
    daprd_log_path: str = ""

    @property
    def file_name(self) -> str:
        return f"{self.app_id}-{self.pid}.json"


def home(environ: Mapping[str, str], asked: str = "") -> Path:
    """The folder that `pilliond` would choose too."""
    problems = []
    for place in places.candidates(asked, environ):
        problem = places.prepare(place)
        if not problem:
            return place.absolute()
        problems.append(f"{place} cannot hold Pillion's files: {problem}")
    raise Refusal(*problems, "set PILLION_HOME to a folder that you may write to")


def write(home: Path, record: Record) -> None:
    """Keep a record, whole or not at all."""
    folder = home / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=folder, suffix=".new")
    with os.fdopen(number, "w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
    os.replace(name, folder / record.file_name)


def forget(home: Path, record: Record) -> None:
    """The sidecar is gone."""
    (home / "run" / record.file_name).unlink(missing_ok=True)


def alive(home: Path) -> list[Record]:
    """The sidecars that still run, the oldest first; what others left behind is cleared away."""
    found = []
    for file in sorted((home / "run").glob("*.json")):
        record = _read(file)
        if record is not None and processes.is_alive(record.pid, record.started):
            found.append(record)
        else:
            file.unlink(missing_ok=True)
    return sorted(found, key=lambda each: each.created)


def _read(file: Path) -> Record | None:
    """None for what is no record: half a file, or one of another version."""
    known = {each.name for each in fields(Record)}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Record(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
