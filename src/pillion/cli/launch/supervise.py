"""Every app of one run, side by side, until all have ended or a signal comes."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pillion.cli import processes
from pillion.cli.launch.children import Nursery, end_all
from pillion.cli.launch.output import Sink, Voice
from pillion.cli.launch.plan import Plan, Wishes
from pillion.cli.launch.ride import Ride, Sinks, Stop
from pillion.resources import folder
from pillion.resources.runfile import AppRun
from pillion.toolbox.tasks import Crew

_SWEEP_GRACE = 2.0
_WATCH = 1.0
"""Seconds between two looks at our parent, for kernels that do not tell of its end."""


def supervise(plans: Sequence[Plan], wishes: Wishes, voice: Voice, *, many: bool) -> int:
    """Run them all; 0 unless one of them failed. `many` gives each app its name as a prefix, and files."""
    return asyncio.run(_Run(wishes, voice).go(plans, many=many))


class _Run:
    """The state of one `pillion run`."""

    def __init__(self, wishes: Wishes, voice: Voice) -> None:
        self._wishes = wishes
        self._voice = voice
        self._nursery = Nursery()
        self._stop = Stop()
        self._broken = False

    async def go(self, plans: Sequence[Plan], *, many: bool) -> int:
        self._nursery.open()
        self._catch_signals()
        crew = Crew("run", self._fell)
        watching = crew.start(self._watch_parent(os.getppid()), "watch")
        try:
            if len(plans) > 1 and self._wishes.zygote:
                self._warm(plans)
            rides = self._rides(plans, many=many)
            tasks = [crew.start(ride.run(rides), name) for name, ride in rides.items()]
            await asyncio.wait(tasks)
            watching.cancel()
            self._nursery.cool()
            await self._sweep()
        finally:
            await crew.close()
            self._nursery.close()
        return int(self._broken or any(ride.failed for ride in rides.values()))

    def _rides(self, plans: Sequence[Plan], *, many: bool) -> dict[str, Ride]:
        now = time.strftime("%Y%m%d%H%M%S")
        rides = {}
        for number, plan in enumerate(plans):
            colour = self._voice.colour(number)
            sinks = _sinks_of_many(plan.app, colour, now) if many else _sinks_of_one(colour)
            if many:
                self._voice.info(f"Writing log files to directory: {plan.app.logs_dir}")
            rides[plan.app_id] = Ride(
                plan, self._wishes, sinks, nursery=self._nursery, voice=self._voice, stop=self._stop
            )
        return rides

    def _warm(self, plans: Sequence[Plan]) -> None:
        """One process imports what all sidecars will need, while the rest is made ready."""
        types = _types({path for each in plans for path in each.resources}, embedded=self._wishes.embedded)
        self._nursery.warm(len(plans), types, env=plans[0].sidecar_env, folder=self._wishes.home)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:
                loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stop.asked.is_set():
            self._voice.warn("told again to stop: killing what is left")
            self._stop.hurry.set()
            return
        self._voice.info("\nterminated signal received: shutting down")
        self._stop.asked.set()

    def _fell(self, name: str, error: BaseException) -> None:
        """A ride broke: the others are ended in good order."""
        self._broken = True
        self._voice.bad(f"{name}: {type(error).__name__}: {error}")
        self._stop.asked.set()

    async def _watch_parent(self, parent: int) -> None:
        # Not every kernel tells of a parent's end, so we look.
        while os.getppid() == parent:  # noqa: ASYNC110
            await asyncio.sleep(_WATCH)
        self._stop.asked.set()

    async def _sweep(self) -> None:
        """End what fled from its app's session: it has become our child."""
        ours = os.getpid()
        left = [each for each in processes.tree([ours]) if each.pid != ours]
        if left:
            await end_all(left, grace=_SWEEP_GRACE, hurry=self._stop.hurry)


def _types(places: Iterable[Path], *, embedded: bool) -> Sequence[str]:
    """What the components of some folders are, as `type/version`, and what may stand in for them."""
    components = [each for place in places for each in folder.load([place]).components]
    found = {f"{each.type}/{each.version or 'v1'}" for each in components}
    return sorted(found | ({"state.sqlite/v1", "pubsub.sqlite/v1"} if embedded else set()))


def _sinks_of_one(colour: str) -> Sinks:
    return Sinks(app=Sink("== APP == ", colour), sidecar=Sink())


def _sinks_of_many(app: AppRun, colour: str, now: str) -> Sinks:
    app_log = _log(app, "app", now) if app.app_log_destination != "console" and app.command else None
    sidecar_log = _log(app, "daprd", now) if app.daprd_log_destination != "console" else None
    return Sinks(
        app=Sink(
            f"== APP - {app.app_id} == ", colour, console=app.app_log_destination != "file", file=app_log
        ),
        sidecar=Sink(
            f"== DAPR - {app.app_id} == ",
            colour,
            console=app.daprd_log_destination in ("console", "fileAndConsole"),
            file=sidecar_log,
        ),
        app_log=app_log,
        sidecar_log=sidecar_log,
    )


def _log(app: AppRun, kind: str, now: str) -> Path:
    return app.logs_dir / f"{app.app_id}_{kind}_{now}.log"
