"""A process of its own that consumes or publishes, for tests that kill, stop and race processes.

As a program: `python broker_process.py consume|publish <json>`. It prints one line per event, each written at once, so that a
line read by the test was truly reached before a kill: `ready`, `got <data> <monotonic time>` when a delivery begins, `done
<data>` when the app is through with it, `sent <number>`, `end`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass
class Job:
    """What the process is to do."""

    kind: str
    metadata: dict[str, str]
    topic: str = "t"
    in_flight: int = 64
    hold: float = 0.0
    """Seconds a delivery takes."""
    count: int = 0
    """Messages to publish, numbered from 0; a batch of ten at a time."""


@dataclass
class Got:
    """One delivery, when it happened, and when the test asked for it."""

    data: str
    at: float


@dataclass
class BrokerProcess:
    """The test's side: start, watch, kill, freeze."""

    job: Job
    role: str = "consume"
    got: list[Got] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    _process: asyncio.subprocess.Process | None = None
    _listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        self._process = await asyncio.create_subprocess_exec(
            *[sys.executable, __file__, self.role, json.dumps(vars(self.job))],
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        self._listening = asyncio.create_task(self._listen())
        async with asyncio.timeout(10):
            await self.ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def data(self) -> list[str]:
        return [one.data for one in self.got]

    @property
    def cpu(self) -> float:
        """Seconds of processor it has used."""
        assert self._process
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    async def _end(self, how: signal.Signals) -> None:
        process, listening = self._process, self._listening
        if process is None or listening is None:
            return
        if process.returncode is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(10):
            await process.wait()
            await listening

    async def _listen(self) -> None:
        assert self._process and self._process.stdout
        while line := (await self._process.stdout.readline()).decode().split():
            match line:
                case ["ready"]:
                    self.ready.set()
                case ["got", data, at]:
                    self.got.append(Got(data, float(at)))
                case ["done", data]:
                    self.done.append(data)
                case ["sent", *numbers]:
                    self.sent += map(int, numbers)
                case ["end"]:
                    self.ended = True


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def perform(role: str, job: Job) -> None:
    from pillion.drivers.index import INDEX
    from pillion.model.pubsub import Message, Publication, Topic, Verdict
    from pillion.plug.component import Context
    from pillion.plug.settings import read

    module, _, name = INDEX[job.kind]["at"].partition(":")
    cls = getattr(__import__(module, fromlist=[name]), name)
    broker = cls(read(cls.spec.settings, job.metadata), Context(name=role))
    await broker.open()

    async def deliver(message: Message) -> Verdict:
        say("got", message.data.decode(), time.monotonic())
        if job.hold:
            await asyncio.sleep(job.hold)
        say("done", message.data.decode())
        return Verdict.ACK

    async def publish() -> None:
        for start in range(0, job.count, 10):
            numbers = range(start, min(start + 10, job.count))
            outcomes = await broker.publish_many([Publication(job.topic, b"%d" % n) for n in numbers])
            say("sent", *[n for n, outcome in zip(numbers, outcomes, strict=True) if outcome is None])
        say("end")

    asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stop: Callable[[], Any] = lambda: asked.done() or asked.set_result(None)  # noqa: E731
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    if role == "consume":
        await broker.subscribe(Topic(job.topic, in_flight=job.in_flight), deliver)
        say("ready")
    else:
        say("ready")
        await publish()
    await asked
    await broker.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(perform(sys.argv[1], Job(**json.loads(sys.argv[2]))))
