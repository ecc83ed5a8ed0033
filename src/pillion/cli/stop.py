"""`pillion stop`: ends apps and their sidecars, and waits until they are gone."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pillion.cli import instances, processes, records
from pillion.cli.command import KUBERNETES, Command, Refusal, refuse_kubernetes
from pillion.cli.instances import Instance
from pillion.cli.options import Given, Option

PATIENCE = 30.0
"""Seconds for an orderly end: the sidecar's own grace, then the app's."""


def run(given: Given) -> int:
    """Stop what is named; 1 if some of it could not be."""
    refuse_kubernetes(given)
    asked = [*given.words, *([given.text("app-id")] if "app-id" in given else [])]
    if not asked and "run-file" not in given:
        raise Refusal("stop: name what to stop: --app-id ID, or --run-file FILE for all apps of a run file")
    return asyncio.run(_stop(asked, given.text("run-file"), _patience(given)))


def _patience(given: Given) -> float:
    return float(given.number("timeout")) if given.number("timeout") > 0 else PATIENCE


async def _stop(asked: Sequence[str], run_file: str, patience: float) -> int:
    running = await instances.running(records.home(os.environ))
    failed = False
    if run_file:
        failed |= not await _stop_file(running, run_file, patience)
    apps = Counter(each.record.cli_pid for each in running)
    for app_id in dict.fromkeys(asked):
        try:
            found = instances.named(running, app_id)
        except Refusal as refusal:
            print(f"failed to stop app id {app_id}: {refusal}")
            failed = True
            continue
        ended = await _end([_target(found, apps[found.record.cli_pid])], [found], patience)
        print(f"app stopped successfully: {app_id}" if ended else _left(app_id, patience))
        failed |= not ended
    return 1 if failed else 0


async def _stop_file(running: Iterable[Instance], run_file: str, patience: float) -> bool:
    path = Path(run_file).absolute()
    path = (path / "dapr.yaml" if path.is_dir() else path).resolve()
    found = [each for each in running if _same(each.record.run_template_path, path)]
    if not found:
        print(f"no app of {path} is running; `pillion list` shows what is")
        return False
    ended = await _end({each.record.cli_pid or each.record.pid for each in found}, found, patience)
    print("Dapr and app processes stopped successfully" if ended else _left(str(path), patience))
    return ended


def _same(text: str, path: Path) -> bool:
    return bool(text) and Path(text).resolve() == path


def _target(instance: Instance, apps_of_run: int) -> int:
    """Whom to tell: the run that has this app alone, else the sidecar, whose end its run takes for the app's."""
    record = instance.record
    if record.cli_pid and apps_of_run == 1 and processes.is_alive(record.cli_pid):
        return record.cli_pid
    return record.pid


async def _end(targets: Iterable[int], of: Sequence[Instance], patience: float) -> bool:
    """Tell them and wait until sidecars and apps are gone; whether they are."""
    pids = {pid for each in of for pid in (each.record.pid, each.record.app_pid) if pid}
    waited = [found for pid in pids | set(targets) if (found := processes.find(pid)) is not None]
    for pid in set(targets):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
        except PermissionError:
            print(f"process {pid} belongs to another user")
    deadline = asyncio.get_running_loop().time() + patience
    # The processes are not our children, so nobody tells us of their end: we look.
    while any(processes.is_alive(each.pid, each.started) for each in waited):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _left(name: str, patience: float) -> str:
    return f"{name} was told to stop and still runs after {patience:g} s; `pillion list` shows its processes"


COMMANDS = (
    Command(
        name="stop",
        summary="Stop apps and their sidecars",
        takes="[APP-ID…]",
        run=run,
        options=(
            Option("app-id", "a", help="The app to stop"),
            Option(
                "run-file", "f", help="Stop every app of this run file, or of the dapr.yaml in this folder"
            ),
            Option(
                "wait", "w", "bool", "true", "Wait until they are gone, which is always done", hidden=True
            ),
            Option("timeout", "t", "int", "30", "Seconds to wait until they are gone"),
            KUBERNETES,
        ),
        examples=("pillion stop --app-id orders", "pillion stop orders stock", "pillion stop -f dapr.yaml"),
    ),
)
