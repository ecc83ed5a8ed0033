"""One app and the sidecar beside it, from start to end."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pillion.cli import processes, records
from pillion.cli.launch.children import Child, Nursery, end
from pillion.cli.launch.output import Sink, Voice
from pillion.cli.launch.plan import Plan, Wishes
from pillion.cli.records import Record
from pillion.cli.sidecar import Sidecar, socket_path
from pillion.resources import folder
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

SERVES_WITHIN = 20.0
READY_WITHIN = 60.0
DEPENDENCY_WITHIN = 300.0
SIDECAR_GRACE = 12.0
"""Seconds a sidecar is given to drain; its own limit is 5, after which it ends itself."""
APP_GRACE = 5.0
_LOOK = 0.03


@dataclass(slots=True)
class Stop:
    """The wish to end: `asked` for an orderly end of everything, `hurry` for one at once."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Where the output of an app and of its sidecar goes."""

    app: Sink
    sidecar: Sink
    app_log: Path | None = None
    sidecar_log: Path | None = None


class Ride:
    """Starts the sidecar, then the app; ends both when either ends or a stop is asked for.

    `ready` is set when the sidecar is ready and the app answers it; `over` when nothing of the two is left.
    """

    def __init__(
        self, plan: Plan, wishes: Wishes, sinks: Sinks, *, nursery: Nursery, voice: Voice, stop: Stop
    ) -> None:
        self.plan = plan
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        self.failed = False
        self._wishes = wishes
        self._sinks = sinks
        self._nursery = nursery
        self._voice = voice
        self._stop = stop
        self._sidecar: Child | None = None
        self._app: Child | None = None
        self._record: Record | None = None
        self._crew = Crew(f"ride of {plan.app_id}")
        self._asked: asyncio.Task[bool] = self._crew.start(stop.asked.wait(), "stop")

    async def run(self, others: "Mapping[str, Ride]") -> None:
        """The whole story, `dependsOn` first. Whatever happens, both processes are gone at its end."""
        try:
            if await self._wait_for_others(others):
                await self._live()
        finally:
            await self._end()
            self.over.set()
            await self._crew.close()

    async def _wait_for_others(self, others: "Mapping[str, Ride]") -> bool:
        """Whether every app it depends on became ready."""
        for name in self.plan.app.depends_on:
            other = others[name]
            if not other.ready.is_set():
                self._voice.info(f"{self.plan.app_id} waits for {name}")
            told = [self._crew.start(event.wait()) for event in (other.ready, other.over)]
            await self._first({*told, self._asked}, DEPENDENCY_WITHIN)
            if self._stop.asked.is_set():
                return False
            if not other.ready.is_set():
                self._fail(
                    f"{self.plan.app_id} is not started: {name}, which it depends on, did not become ready"
                )
                return False
        return True

    async def _live(self) -> None:
        if not await self._start_sidecar() or not await self._start_app():
            return
        await self._tell_sidecar()
        ends = {child.ended for child in (self._sidecar, self._app) if child is not None}
        async with self._client() as sidecar:
            await self._become_ready(sidecar, ends)
        await self._first({*ends, self._asked})
        self._tell_end()

    async def _become_ready(self, sidecar: Sidecar, ends: "set[asyncio.Future[int]]") -> None:
        """Look until the app answers its sidecar, or one of them ends; say so when that takes long."""
        told_at = asyncio.get_running_loop().time() + READY_WITHIN
        while not await sidecar.is_ready():
            if await self._first({*ends, self._asked}, _LOOK):
                return
            if told_at and asyncio.get_running_loop().time() >= told_at:
                told_at = 0.0
                self._voice.warn(
                    f"{self.plan.app_id}: nobody has answered on the app's port {self.plan.app.app_port} for "
                    f"{READY_WITHIN:g} s; is it the port the app listens on?"
                )
        self.ready.set()

    async def _first(self, waiting: "set[asyncio.Future[Any]]", seconds: float | None = None) -> bool:
        """Wait until one of them is done, or the time is over; whether one is."""
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)

    async def _start_sidecar(self) -> bool:
        plan = self.plan
        self._voice.info(
            f"Starting Dapr with id {plan.app_id}. HTTP Port: {plan.http_port}. gRPC Port: {plan.grpc_port}"
        )
        try:
            self._sidecar = await self._nursery.start(
                "sidecar",
                plan.sidecar,
                env=plan.sidecar_env,
                folder=plan.app.app_dir,
                sink=self._sinks.sidecar,
                forked=True,
            )
        except OSError as error:
            self._fail(f"the sidecar of {plan.app_id} could not be started: {error}")
            return False
        self._note()
        return await self._sidecar_serves({self._sidecar.ended, self._asked})

    async def _sidecar_serves(self, ends: "set[asyncio.Future[Any]]") -> bool:
        """Wait until it can serve the app, which then finds it there; after a while the app is started all the same."""
        async with self._client() as sidecar:
            until = asyncio.get_running_loop().time() + SERVES_WITHIN
            while not await sidecar.is_ready("/v1.0/healthz/outbound"):
                if await self._first(ends, _LOOK):
                    self._tell_end()
                    return False
                if asyncio.get_running_loop().time() >= until:
                    said = f"the sidecar of {self.plan.app_id} does not serve after {SERVES_WITHIN:g} s: see its log"
                    self._voice.warn(f"{said}; the app is started all the same")
                    return True
            if self._wishes.embedded:
                await self._tell_stand_ins(sidecar)
        return True

    async def _tell_stand_ins(self, sidecar: Sidecar) -> None:
        """Name the components that run on another engine than their manifest asks for; the sidecar's log may be in a file."""
        asked = {each.name: each.type for each in folder.load(self.plan.resources).components}
        for part in (await sidecar.metadata()).get("components") or ():
            name, kind = part["name"], part["type"]
            if name in asked and asked[name].lower() != kind.lower():
                self._voice.warn(
                    f"{self.plan.app_id}: {name} runs on {kind} in {self._wishes.home}, not on {asked[name]}, "
                    "whose server does not answer (--embedded)"
                )

    async def _start_app(self) -> bool:
        plan = self.plan
        if not plan.app.command:
            self._voice.good(f"You're up and running! {plan.app_id} has no command: its sidecar runs alone.")
            return True
        try:
            self._app = await self._nursery.start(
                "app", plan.app.command, env=plan.env, folder=plan.app.app_dir, sink=self._sinks.app
            )
        except OSError as error:
            self._fail(f"{plan.app_id} could not be started: {error}")
            return False
        self._note()
        self._voice.good(f"You're up and running! {plan.app_id} and its sidecar have started.")
        return True

    async def _tell_sidecar(self) -> None:
        """What `list` and `stop`, Dapr's too, ask a sidecar for."""
        assert self._record is not None
        record = self._record
        facts = {
            "cliPID": str(record.cli_pid),
            "appPID": str(record.app_pid or ""),
            "appCommand": record.command,
            "runTemplatePath": record.run_template_path,
            "runTemplateName": record.run_template_name,
            "appLogPath": record.app_log_path,
            "daprdLogPath": record.daprd_log_path,
        }
        async with self._client() as sidecar:
            for name, value in facts.items():
                if value and not await sidecar.put_metadata(name, value):
                    self._voice.warn(f"the sidecar of {record.app_id} did not take {name}")

    def _client(self) -> Sidecar:
        folder = self.plan.app.unix_domain_socket
        path = socket_path(folder, self.plan.app_id) if folder else ""
        host = self.plan.app.api_listen_addresses.split(",")[0].strip("[] ")
        reachable = host if host not in ("", "0.0.0.0", "::", "localhost") else "127.0.0.1"
        return Sidecar(self.plan.http_port, socket=path, host=reachable)

    def _note(self) -> None:
        """Keep on disk what runs now."""
        assert self._sidecar is not None
        found = processes.find(self._sidecar.pid)
        app_id, app, plan = self.plan.app_id, self.plan.app, self.plan
        made = self._record or Record(
            app_id=app_id,
            pid=self._sidecar.pid,
            started=found.started if found else "",
            created=time.time(),
            http_port=plan.http_port,
            grpc_port=plan.grpc_port,
            metrics_port=plan.metrics_port,
            app_port=max(0, app.app_port),
            cli_pid=os.getppid(),
            command=plan.command,
            max_body_size=app.max_body_size or "4Mi",
            read_buffer_size=app.read_buffer_size or "4Ki",
            unix_domain_socket=app.unix_domain_socket,
            run_template_path=self._wishes.run_template_path,
            run_template_name=self._wishes.run_template_name,
            app_log_path=str(self._sinks.app_log or ""),
            daprd_log_path=str(self._sinks.sidecar_log or ""),
        )
        self._record = replace(made, app_pid=self._app.pid if self._app else 0)
        try:
            records.write(self._wishes.home, self._record)
        except OSError as error:
            self._voice.warn(f"{app_id} will not be shown by `pillion list`: {error}")

    def _tell_end(self) -> None:
        """Say who ended by itself, and after how long."""
        if self._stop.asked.is_set():
            return
        app, sidecar = self._app, self._sidecar
        if app is not None and not app.is_alive:
            self._tell_app(app)
        elif sidecar is not None and not sidecar.is_alive:
            self._tell_sidecar_end(sidecar)

    def _tell_app(self, app: Child) -> None:
        status = app.ended.result()
        after = f"after {_span(app)}"
        if status == 0:
            self._voice.good(f"Exited App successfully: {self.plan.app_id} ended {after}")
            return
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        self._fail(f"The App process exited with error code: {status}: {self.plan.app_id} {how} {after}")

    def _tell_sidecar_end(self, sidecar: Child) -> None:
        status = sidecar.ended.result()
        name = f"the sidecar of {self.plan.app_id}"
        if status == 0:
            self._voice.info(f"{name} was asked to stop, so its app is stopped too")
            return
        log = self._sinks.sidecar_log
        where = f"the reason is in {log}" if log else "the reason is above"
        self._fail(f"{name} ended with status {status} after {_span(sidecar)}; {where}")
        if log is not None:
            self._repeat(log)

    def _repeat(self, log: Path) -> None:
        """The last lines of a log that a person has not seen."""
        try:
            lines = log.read_text(errors="replace").splitlines()
        except OSError:
            return
        telling = [line for line in lines if "level=fatal" in line or "level=error" in line] or lines
        for line in telling[-3:]:
            self._voice.info(f"  {line}")

    def _fail(self, text: str) -> None:
        self.failed = True
        self._voice.bad(text)

    async def _end(self) -> None:
        """The sidecar drains while the app can still take what is in flight; then the app."""
        if self._sidecar is not None:
            was_alive = self._sidecar.is_alive
            await end(self._sidecar, grace=SIDECAR_GRACE, hurry=self._stop.hurry)
            if was_alive and self._sidecar.ended.done() and self._sidecar.ended.result() == 0:
                self._voice.good(f"Exited Dapr successfully: {self.plan.app_id}")
        if self._app is not None:
            was_alive = self._app.is_alive
            await end(self._app, grace=APP_GRACE, hurry=self._stop.hurry)
            if was_alive:
                self._voice.good(f"Exited App successfully: {self.plan.app_id}")
        if self._record is not None:
            records.forget(self._wishes.home, self._record)


def _span(child: Child) -> str:
    seconds = asyncio.get_running_loop().time() - child.born
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
