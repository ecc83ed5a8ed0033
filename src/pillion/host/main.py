"""The `pilliond` process: flags in, signals handled, one exit status out.

| status | when |
|--------|------|
| 0 | a graceful stop: SIGTERM, SIGINT, the shutdown API |
| 1 | it could not start, a stop took longer than its grace, a second signal, a forced shutdown |
| 2 | a command line that cannot be understood |
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TextIO

from pillion import DAPR_VERSION, __version__
from pillion.host import flags as flag_rules
from pillion.host import logs
from pillion.host.flags import FlagError, Flags
from pillion.host.runtime import Runtime
from pillion.host.setup import Fatal, LoadError, prepare
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime")

SETTLED_AFTER = 0.25
"""Seconds for who waits for the start to be told of it first."""

FORCED_AFTER = 0.1
"""Seconds a forced shutdown leaves for its own answer."""


def main(args: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Entry point of `pilliond`."""
    sys.exit(run(sys.argv[1:] if args is None else args, os.environ if environ is None else environ))


def run(args: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line says; the exit status."""
    try:
        flags = flag_rules.parse(args, environ)
    except FlagError as error:
        return _refused(error)
    if flags.version:
        _say(DAPR_VERSION)
        return 0
    if flags.build_info:
        _say(f"Version: {DAPR_VERSION}\nGit Commit: pillion-{__version__}\nGit Version: v{DAPR_VERSION}")
        return 0
    if flags.wait:
        from pillion.host.outbound import wait

        return wait(flags)
    if flags.zygote:
        return _stand_by(args)
    try:
        output = logs.configure(
            app_id=flags.app_id, level=flags.log_level, as_json=flags.log_as_json, file=flags.log_file
        )
    except OSError as error:
        said = f"the log file {flags.log_file} cannot be written: {error.strerror}. Choose another with --log-file"
        return _refused(FlagError([said], status=1))
    try:
        return _loop(Process(flags, environ).run())
    finally:
        logs.release(output)


def _stand_by(args: Sequence[str]) -> int:
    """Be the zygote, and in each of its children a process that was started like any other."""
    from pillion.host import zygote

    try:
        born = zygote.stand_by(args)
    except (zygote.NotOurs, zygote.Unsafe) as error:
        return _refused(FlagError([str(error)], status=1))
    return 0 if born is None else run(born.args, born.environ)


class Process:
    """Runtimes one after the other: SIGHUP ends one and starts the next in the same process."""

    def __init__(self, flags: Flags, environ: Mapping[str, str]) -> None:
        self._flags = flags
        self._environ = environ
        self._why: asyncio.Queue[str] = asyncio.Queue(16)
        self._stopping = False
        self._began = 0

    async def run(self) -> int:
        """Until told to stop; the exit status."""
        self._catch_signals()
        while True:
            status = await self._one()
            if status is not None:
                return status
            log.info("Restarting the runtime")

    async def _one(self) -> int | None:
        """One runtime from start to end; None asks for another."""
        runtime: Runtime | None = None
        self._began += 1
        try:
            runtime = Runtime(prepare(self._flags, self._environ), self._asked)
            reason = await self._until_told(runtime)
        except (Fatal, LoadError) as error:
            for sentence in error.sentences:
                log.critical("Fatal error from runtime: %s", sentence)
            if runtime is not None:
                await runtime.abandon()
            return 1
        return await self._stop(runtime, reason)

    async def _until_told(self, runtime: Runtime) -> str:
        """Start it and wait for a reason to stop, which may come before the start is over."""
        crew = Crew("process", _ignore)
        starting = crew.start(runtime.start(), "start")
        told = crew.start(self._why.get(), "wait")
        await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            try:
                starting.result()
                crew.start(_settle_soon(again=self._began > 1), "settle")
                return await told
            finally:
                await crew.close()
        starting.cancel()
        await asyncio.wait((starting,))
        return told.result()

    async def _stop(self, runtime: Runtime, reason: str) -> int | None:
        if reason == "force":
            await asyncio.sleep(FORCED_AFTER)
            return 1
        self._stopping = True
        if reason == "api":
            logging.getLogger("dapr.api").info("Shutdown requested via API")
        crew = Crew("stop")
        stopping = crew.start(runtime.stop(), "stop")
        again = crew.start(self._hurry(), "hurry")
        blocked = self._flags.block_shutdown.total_seconds() if self._flags.block_shutdown else 0.0
        grace = self._flags.graceful_shutdown.total_seconds() + blocked
        done, _ = await asyncio.wait((stopping, again), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if stopping not in done:
            if again in done:
                log.critical("Received signal '%s' during shutdown; exiting immediately", again.result())
            else:
                log.critical("Graceful shutdown timeout exceeded, forcing shutdown")
            _leave(1)
        stopping.result()
        await crew.close()
        self._stopping = False
        log.info("Daprd shutdown gracefully")
        return None if reason == "hangup" else 0

    async def _hurry(self) -> str:
        """Returns when another signal comes while stopping."""
        while True:
            reason = await self._why.get()
            if reason in ("terminated", "interrupt"):
                return reason

    def _asked(self, force: bool) -> None:
        self._tell("force" if force else "api")

    def _tell(self, reason: str) -> None:
        try:
            self._why.put_nowait(reason)
        except asyncio.QueueFull:
            log.debug("asked to stop again and again")

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        names = {"SIGTERM": "terminated", "SIGINT": "interrupt", "SIGHUP": "hangup"}
        for name, reason in names.items():
            number = getattr(signal, name, None)
            if number is None:
                continue
            try:
                loop.add_signal_handler(number, self._signalled, reason)
            except NotImplementedError:  # Windows: Ctrl-C alone, through the interpreter
                signal.signal(number, lambda *_, why=reason: loop.call_soon_threadsafe(self._signalled, why))

    def _signalled(self, reason: str) -> None:
        if not self._stopping:
            logging.getLogger("dapr.signals").info("Received signal '%s'; beginning shutdown", reason)
        self._tell(reason)


def _ignore(name: str, error: BaseException) -> None:
    """The failure is raised where the task is awaited."""


def _leave(status: int) -> None:
    """End now: something did not stop in time, so nothing may be waited for."""
    logging.shutdown()
    os._exit(status)


async def _settle_soon(*, again: bool) -> None:
    """What every sidecar needs soon, and none in its first moment: the messages of gRPC, a tidy heap."""
    await asyncio.sleep(SETTLED_AFTER)
    from pillion.wire.proto import warm

    warm()
    _settle(again=again)


def _settle(*, again: bool) -> None:
    """What was made during start stays: keep it out of the collector's way, and no more what an earlier runtime left.

    The first time nothing is thawed: what a zygote froze is shared with its other children as long as nobody looks at it.
    """
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _refused(error: FlagError) -> int:
    if error.usage:
        _say(error.usage, sys.stderr if error.status else sys.stdout)
    output = logs.configure(app_id="", level="info", as_json=False, file="")
    try:
        for problem in error.problems:
            if error.status == 1:
                log.critical("Fatal error from runtime: %s", problem)
            else:
                _say(problem, sys.stderr)
    finally:
        logs.release(output)
    return error.status


def _say(text: str, to: TextIO | None = None) -> None:
    stream = to or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


if __name__ == "__main__":
    main()
