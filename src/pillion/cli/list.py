"""`pillion list`: what runs on this machine, as a table, JSON or YAML."""

import asyncio
import json
import os
import time
from collections.abc import Sequence

from pillion.cli import instances, records
from pillion.cli.command import KUBERNETES, Command, Refusal, refuse_kubernetes
from pillion.cli.instances import Instance
from pillion.cli.options import Given, Option
from pillion.toolbox import quantities, suggest

_FORMATS = ("table", "json", "yaml")
_COLUMNS = (
    ("APP ID", "appId"),
    ("HTTP PORT", "httpPort"),
    ("GRPC PORT", "grpcPort"),
    ("APP PORT", "appPort"),
    ("COMMAND", "command"),
    ("AGE", "age"),
    ("CREATED", "created"),
    ("DAPRD PID", "daprdPid"),
    ("CLI PID", "cliPid"),
    ("APP PID", "appPid"),
    ("RUN_TEMPLATE_PATH", "runTemplatePath"),
    ("APP_LOG_PATH", "appLogPath"),
    ("DAPRD_LOG_PATH", "daprdLogPath"),
)
Row = dict[str, str | int | bool]


def run(given: Given) -> int:
    """Print what runs."""
    refuse_kubernetes(given)
    shape = given.text("output")
    if shape not in _FORMATS:
        raise Refusal(f"-o {shape}: not table, json or yaml{suggest.hint(shape, _FORMATS)}")
    found = asyncio.run(instances.running(records.home(os.environ)))
    print(_SHAPES[shape]([row(each) for each in found]))
    return 0


def row(instance: Instance) -> Row:
    """One sidecar under the names that Dapr's CLI gives."""
    record = instance.record
    created = time.strftime("%Y-%m-%d %H:%M.%S", time.localtime(record.created)) if record.created else ""
    return {
        "appId": record.app_id,
        "httpPort": record.http_port,
        "grpcPort": record.grpc_port,
        "appPort": record.app_port,
        "metricsEnabled": record.metrics_enabled,
        "command": record.command,
        "age": instances.age(record.created),
        "created": created,
        "daprdPid": record.pid,
        "cliPid": record.cli_pid,
        "appPid": record.app_pid,
        "maxRequestBodySize": _size(record.max_body_size),
        "httpReadBufferSize": _size(record.read_buffer_size),
        "runTemplatePath": record.run_template_path,
        "appLogPath": record.app_log_path,
        "daprdLogPath": record.daprd_log_path,
        "runTemplateName": record.run_template_name,
    }


def _size(text: str) -> int:
    try:
        return int(quantities.parse(text))
    except quantities.QuantityError:
        return 0


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return "No Dapr instances found."
    lines = [[title for title, _ in _COLUMNS]]
    lines += [[_shortened(str(each[key])) for _, key in _COLUMNS] for each in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _shortened(text: str) -> str:
    """Long commands and paths keep their end, which is what tells them apart."""
    return text if len(text) <= 40 else f"...{text[-37:]}"


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(rows, indent=2)


def _yaml(rows: Sequence[Row]) -> str:
    """Flat rows of scalars; a JSON scalar is a YAML one."""
    if not rows:
        return "[]"
    lines = []
    for each in rows:
        pairs = [f"{name}: {json.dumps(value)}" for name, value in each.items()]
        lines += [f"- {pairs[0]}", *(f"  {pair}" for pair in pairs[1:])]
    return "\n".join(lines)


_SHAPES = {"table": _table, "json": _json, "yaml": _yaml}

COMMANDS = (
    Command(
        name="list",
        summary="Show the sidecars and apps that run on this machine",
        run=run,
        options=(
            Option("output", "o", "text", "table", "How to show them: table, json or yaml"),
            KUBERNETES,
            Option("all-namespaces", "A", "bool", "false", hidden=True),
            Option("namespace", "n", hidden=True),
        ),
        examples=("pillion list", "pillion list -o json"),
    ),
)
