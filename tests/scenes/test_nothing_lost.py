"""Numbered messages through kill -9, frozen consumers, a broker that dies and a full disk: every number arrives."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.redis_server import RedisServer
from support.sidecar import Ports, Process, Sidecar, Stage, component, free_port, until

APPS = Path(__file__).parent / "ops_apps"
COUNT, BATCH = 10_000, 20
IN_PUBLISHING = 4 * BATCH
"""Messages a publisher may have on their way at one moment: it cannot know whether an unanswered one arrived."""
IN_HANDS = 128
"""Messages one consumer may have on their way to its app, or from it."""
PATIENCE = 60.0
MNT_DETACH = 2


class Redis:
    """A Redis that writes every command to disk before it answers, for scenes that are not asynchronous."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder, durable=True)
        self._runner = asyncio.Runner()

    def start(self) -> None:
        self._runner.run(self.server.start())

    def kill(self) -> None:
        self._runner.run(self.server.kill())

    def close(self) -> None:
        self.kill()
        self._runner.close()


@dataclass(frozen=True)
class Consumer:
    """An app that reads, and its sidecar."""

    port: int
    app: Process | None
    sidecar: Sidecar


@dataclass
class Story:
    """A publisher and its sidecar, consumers and theirs, and what each has written down."""

    stage: Stage
    resources: Path
    redis: Redis | None = None
    publishing_ports: Ports = field(default_factory=Ports)

    def consumer(self, app_port: int | None = None) -> "Consumer":
        """A sidecar of the reading app, and the app where none listens at the port yet; a second one competes."""
        port = app_port or free_port()
        app = self.subscriber(port) if app_port is None else None
        sidecar = self.stage.sidecar("reader", app_port=port, resources=self.resources)
        return Consumer(port, app, sidecar.ready())

    def subscriber(self, port: int) -> Process:
        return self.stage.python(
            f"reader-{port}", APPS / "counting_subscriber.py", str(port), str(self.book("read"))
        )

    def publishing_sidecar(self) -> Sidecar:
        return self.stage.sidecar("writer", resources=self.resources, ports=self.publishing_ports).outbound()

    def publish(self, count: int = COUNT, batch: int = BATCH) -> Process:
        port = str(self.publishing_ports.http)
        script = APPS / "counting_publisher.py"
        return self.stage.python("writer", script, port, str(self.book("sent")), str(count), str(batch))

    def book(self, name: str) -> Path:
        return self.stage.folder / f"{name}.txt"

    def lines(self, name: str) -> list[str]:
        book = self.book(name)
        return book.read_text().splitlines() if book.exists() else []

    def partly_read(self) -> bool:
        return len(self.lines("read")) >= COUNT // 3

    def partly_sent(self) -> bool:
        return len(self.lines("sent")) >= COUNT // BATCH // 3

    def end(self, count: int = COUNT) -> Counter[int]:
        """Wait until every number was read; how often each was."""
        wanted = set(map(str, range(count)))
        until(lambda: wanted <= set(self.lines("read")), PATIENCE, "every number was read")
        read = Counter(map(int, self.lines("read")))
        print(f"{count} numbers: none lost, {doubled(read)} doubled")
        return read

    def repeated_batches(self) -> int:
        return len([line for line in self.lines("sent") if line.startswith("again")])


def doubled(read: Counter[int]) -> int:
    return sum(times - 1 for times in read.values())


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def story(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Iterator[Story]:
    if request.param == "sqlite":
        yield Story(stage, stage.resources(component("pubsub", "pubsub.sqlite")))
        return
    redis = Redis(tmp_path)
    redis.start()
    try:
        yield Story(stage, stage.resources(over_redis(redis)), redis)
    finally:
        redis.close()


def over_redis(redis: Redis) -> str:
    # A dead consumer is known by its silence: two seconds here, so that the scene does not take a minute.
    return component(
        "pubsub", "pubsub.redis", redisHost=redis.server.address, processingTimeout="2s",
        redeliverInterval="500ms", queueDepth="50",
        concurrency="50",
    )  # fmt: skip


def test_the_subscribing_sidecar_is_killed(story: Story) -> None:
    story.publishing_sidecar()
    first = story.consumer()
    story.publish()
    until(story.partly_read, PATIENCE)
    first.sidecar.kill()
    story.consumer(first.port)
    assert doubled(story.end()) <= IN_HANDS, "only what was in the dead sidecar's hands may come twice"


def test_the_publishing_sidecar_is_killed(story: Story) -> None:
    sidecar = story.publishing_sidecar()
    story.consumer()
    story.publish()
    until(story.partly_sent, PATIENCE)
    sidecar.kill()
    assert len(story.lines("sent")) < COUNT // BATCH, "it had not published all of them"
    story.publishing_sidecar()
    assert doubled(story.end()) <= IN_PUBLISHING, "only what was unanswered at the kill may come twice"


def test_the_app_is_killed(story: Story) -> None:
    story.publishing_sidecar()
    reader = story.consumer()
    story.publish()
    until(story.partly_read, PATIENCE)
    assert reader.app is not None
    reader.app.kill()
    story.subscriber(reader.port)
    assert doubled(story.end()) <= IN_HANDS, "only what the app had noted and not answered may come twice"


def test_a_frozen_consumer_holds_nothing_up_but_what_is_in_its_hands(story: Story) -> None:
    story.publishing_sidecar()
    first = story.consumer()
    second = story.consumer()
    story.publish()
    until(story.partly_read, PATIENCE)
    until(lambda: frozen(first.sidecar, story))
    until(lambda: len(set(story.lines("read"))) >= COUNT - IN_HANDS, PATIENCE, "the other one goes on")
    first.sidecar.signal(signal.SIGCONT)
    read = story.end()
    # An embedded consumer is alive while its process is; a Redis one that is silent for too long is taken for dead.
    assert doubled(read) <= (0 if story.redis is None else IN_HANDS)
    assert second.sidecar.status is None and first.sidecar.status is None


def test_a_frozen_app_is_waited_for(story: Story) -> None:
    story.publishing_sidecar()
    reader = story.consumer()
    story.publish()
    until(story.partly_read, PATIENCE)
    assert reader.app is not None
    reader.app.signal(signal.SIGSTOP)
    # Everything is published and the app takes no more: what it has not taken waits with the broker.
    until(lambda: len(story.lines("sent")) == COUNT // BATCH, PATIENCE, "publishing goes on without it")
    assert len(story.lines("read")) < COUNT
    reader.app.signal(signal.SIGCONT)
    assert doubled(story.end()) == 0


def frozen(sidecar: Sidecar, story: Story) -> bool:
    """Freeze it, but not in a transaction of the embedded broker: a file it has locked stays locked until it goes on."""
    sidecar.signal(signal.SIGSTOP)
    until(lambda: "\nState:\tT" in Path(f"/proc/{sidecar.pid}/status").read_text())
    if story.redis is not None or may_write(story):
        return True
    sidecar.signal(signal.SIGCONT)
    return False


def may_write(story: Story) -> bool:
    with contextlib.closing(sqlite3.connect(story.stage.home / "broker.db", timeout=0.5)) as broker:
        try:
            broker.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        broker.rollback()
    return True


def test_a_process_that_keeps_the_embedded_broker_locked_is_outlived(stage: Stage) -> None:
    story = Story(stage, stage.resources(component("pubsub", "pubsub.sqlite")))
    sidecars = [story.publishing_sidecar(), story.consumer().sidecar]
    story.publish()
    until(story.partly_sent, PATIENCE)
    with contextlib.closing(sqlite3.connect(stage.home / "broker.db", timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        until(lambda: story.repeated_batches() > 0, PATIENCE, "publishing is refused after five seconds")
        other.rollback()
    assert doubled(story.end()) <= IN_HANDS, "a refused publish has not happened"
    assert [each.status for each in sidecars] == [None, None]


@pytest.mark.needs("redis-server")
def test_redis_is_killed_and_comes_back(stage: Stage, tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    redis.start()
    try:
        story = Story(stage, stage.resources(over_redis(redis)), redis)
        story.publishing_sidecar()
        story.consumer()
        story.publish()
        until(story.partly_sent, PATIENCE)
        redis.kill()
        until(lambda: story.repeated_batches() > 0, PATIENCE, "publishing fails while Redis is away")
        redis.start()
        read = story.end()
        assert doubled(read) <= IN_HANDS + IN_PUBLISHING, "in hand, or unanswered, when Redis died"
    finally:
        redis.close()


def test_the_embedded_broker_may_not_write_for_a_while(stage: Stage) -> None:
    """A limit on the size of files that both processes may write: what a full disk is to a process that is not root."""
    story = Story(stage, stage.resources(component("pubsub", "pubsub.sqlite")))
    sidecars = [story.publishing_sidecar(), story.consumer().sidecar]
    story.publish()
    until(story.partly_sent, PATIENCE)
    for each in sidecars:
        resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    until(lambda: story.repeated_batches() > 0, PATIENCE, "publishing is refused")
    for each in sidecars:
        resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    read = story.end()
    assert doubled(read) <= IN_HANDS, "a refused publish has not happened; an acknowledgement may be lost"
    assert [each.status for each in sidecars] == [None, None]


def test_the_disk_of_the_embedded_broker_is_full(stage: Stage, small_disk: Path) -> None:
    broker = component("pubsub", "pubsub.sqlite", connectionString=str(small_disk / "broker.db"))
    story = Story(stage, stage.resources(broker))
    sidecars = [story.publishing_sidecar(), story.consumer().sidecar]
    story.publish()
    until(story.partly_sent, PATIENCE)
    ballast = small_disk / "ballast"
    fill(ballast)
    until(lambda: story.repeated_batches() > 0, PATIENCE, "publishing is refused")
    ballast.unlink()
    assert doubled(story.end()) <= IN_HANDS, "a refused publish has not happened"
    assert [each.status for each in sidecars] == [None, None]


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB, which only root may mount."""
    libc, place = ctypes.CDLL(None, use_errno=True), tmp_path / "disk"
    place.mkdir()
    if libc.mount(b"none", os.fsencode(place), b"tmpfs", 0, b"size=64m") != 0:
        pytest.skip(f"no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), MNT_DETACH)
