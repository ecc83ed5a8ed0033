"""The sidecars that run on this machine, whoever started them."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pillion.cli import processes, records
from pillion.cli.command import Refusal
from pillion.cli.records import Record
from pillion.cli.sidecar import Sidecar, socket_path
from pillion.toolbox import suggest
from pillion.toolbox.lazily import dataclass

_MODULES = ("pillion.host.main", "pillion.host")


@dataclass(frozen=True, slots=True)
class Instance:
    """One sidecar: what was noted when it started, corrected by what it says itself.

    `is_ours` is false for one that no run of this home started.
    """

    record: Record
    is_ours: bool = True

    @property
    def app_id(self) -> str:
        return self.record.app_id

    def sidecar(self, socket_folder: str = "") -> Sidecar:
        """A client of it. `socket_folder` is where its Unix socket lies, if it is to be used."""
        folder = socket_folder or self.record.unix_domain_socket
        path = socket_path(folder, self.app_id) if folder else ""
        return Sidecar(self.record.http_port, socket=path)


async def running(home: Path) -> list[Instance]:
    """Every sidecar alive, the oldest first; those that answer were asked for their metadata."""
    found = [Instance(record) for record in records.alive(home)]
    known = {each.record.pid for each in found}
    found += [Instance(record, is_ours=False) for record in by_hand() if record.pid not in known]
    made = await asyncio.gather(*(_asked(each) for each in found))
    # A command line without an app id is a sidecar's only if it answers as one: an editor may have its file open.
    return sorted((each for each in made if each.app_id), key=lambda each: each.record.created)


def named(instances: Sequence[Instance], app_id: str) -> Instance:
    """The sidecar of an app, one of this home's runs first; refused with the closest name."""
    for each in sorted(instances, key=lambda each: not each.is_ours):
        if each.app_id == app_id:
            return each
    ids = [each.app_id for each in instances]
    if not ids:
        raise Refusal(f'no app "{app_id}" is running, nor any other')
    said = suggest.hint(app_id, ids)
    raise Refusal(f'no app "{app_id}" is running{said}; these are: {", ".join(ids)}')


def by_hand() -> list[Record]:
    """Sidecars found among the machine's processes by their command line."""
    found = []
    for process in processes.every():
        if process.dead or process.session == 0:
            continue
        args = _sidecar_args(processes.command_line(process.pid))
        if args is not None:
            found.append(_from_flags(process, _flags(args)))
    return found


def _sidecar_args(words: Sequence[str]) -> Sequence[str] | None:
    """The arguments of a sidecar's command line, None for any other program's."""
    for place, word in enumerate(words[:6]):
        if os.path.basename(word) in ("pilliond", "pilliond.exe"):
            return None if "--zygote" in words else words[place + 1 :]
        if word in _MODULES and words[place - 1] == "-m":
            return None if "--zygote" in words else words[place + 1 :]
    return None


def _flags(args: Sequence[str]) -> dict[str, str]:
    """Flag and value as far as a glance tells: a switch has no value."""
    found: dict[str, str] = {}
    for place, word in enumerate(args):
        if not word.startswith("-"):
            continue
        name, equals, text = word.lstrip("-").partition("=")
        following = args[place + 1] if place + 1 < len(args) else ""
        found[name] = text if equals else ("" if following.startswith("--") else following)
    return found


def _from_flags(process: processes.Process, flags: Mapping[str, str]) -> Record:
    return Record(
        app_id=flags.get("app-id", ""),
        pid=process.pid,
        started=process.started,
        created=processes.started_at(process.pid),
        http_port=_number(flags.get("dapr-http-port", "")) or 3500,
        grpc_port=_number(flags.get("dapr-grpc-port", "")) or 50001,
        metrics_port=_number(flags.get("metrics-port", "")) or 9090,
        metrics_enabled=flags.get("enable-metrics", "") not in ("false", "False", "FALSE", "f", "F", "0"),
        app_port=_number(flags.get("app-port", "")),
        max_body_size=flags.get("max-body-size", "") or "4Mi",
        read_buffer_size=flags.get("read-buffer-size", "") or "4Ki",
        unix_domain_socket=flags.get("unix-domain-socket", ""),
    )


async def _asked(instance: Instance) -> Instance:
    async with instance.sidecar() as sidecar:
        told = await sidecar.metadata()
    extended: Mapping[str, Any] = told.get("extended") or {}
    record = instance.record
    return replace(
        instance,
        record=replace(
            record,
            app_id=record.app_id or str(told.get("id") or ""),
            app_pid=_number(extended.get("appPID", "")) or record.app_pid,
            cli_pid=_number(extended.get("cliPID", "")) or record.cli_pid,
            command=str(extended.get("appCommand", "") or record.command),
            run_template_path=str(extended.get("runTemplatePath", "") or record.run_template_path),
            run_template_name=str(extended.get("runTemplateName", "") or record.run_template_name),
            app_log_path=str(extended.get("appLogPath", "") or record.app_log_path),
            daprd_log_path=str(extended.get("daprdLogPath", "") or record.daprd_log_path),
        ),
    )


def _number(text: object) -> int:
    return int(str(text)) if str(text).isdecimal() else 0


def age(created: float) -> str:
    """How long ago, in the largest whole unit: `5m`, `3h`, `2d`."""
    seconds = max(0, int(time.time() - created)) if created else 0
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
