"""The embedded broker between processes that die, freeze, compete and sleep."""

import asyncio
import logging
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.broker_process import BrokerProcess, Job
from support.waiting import eventually

from pillion.drivers.pubsub.sqlite import SqlitePubSub
from pillion.model.pubsub import Publication
from pillion.plug.component import Context
from pillion.plug.settings import read

KIND = "pubsub.sqlite/v1"
MANY = 10_000


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[SqlitePubSub]:
    metadata = {"connectionString": str(tmp_path / "broker.db")}
    broker = SqlitePubSub(
        read(SqlitePubSub.spec.settings, metadata), Context(name="publisher", app_id="publisher")
    )
    await broker.open()
    yield broker
    await broker.close()


def consumer(folder: Path, *, in_flight: int = 64, hold: float = 0.0, **metadata: str) -> BrokerProcess:
    where = {"connectionString": str(folder / "broker.db"), "consumerID": "app"}
    return BrokerProcess(Job(KIND, {**where, **metadata}, in_flight=in_flight, hold=hold))


async def publish_numbered(broker: SqlitePubSub, count: int) -> set[str]:
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        outcomes = await broker.publish_many([Publication("t", b"%d" % number) for number in numbers])
        assert outcomes == [None] * len(outcomes)
    return {str(number) for number in range(count)}


def doubled(*processes: BrokerProcess) -> int:
    counts = Counter(data for process in processes for data in process.data)
    return sum(count - 1 for count in counts.values())


@pytest.mark.timeout(60)
async def test_none_of_ten_thousand_is_lost_when_consumers_are_killed(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    wanted = await publish_numbered(publisher, MANY)
    killed: list[BrokerProcess] = []
    for _ in range(3):
        async with consumer(tmp_path, hold=0.02) as victim:
            await eventually(lambda: len(victim.done) > 1500, timeout=15)
            await victim.kill()
            killed.append(victim)
    assert any(len(victim.got) > len(victim.done) for victim in killed), "nobody died with a message in hand"
    async with consumer(tmp_path) as survivor:
        everyone = [*killed, survivor]
        await eventually(lambda: {data for one in everyone for data in one.done} == wanted, timeout=20)
        await survivor.stop()
    twice = Counter(data for one in everyone for data in one.done).values()
    assert sum(count - 1 for count in twice) <= 3 * 64  # done, and killed before that was written


@pytest.mark.timeout(60)
async def test_two_replicas_share_ten_thousand_without_a_double(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    async with consumer(tmp_path, hold=0.001) as first, consumer(tmp_path, hold=0.001) as second:
        wanted = await publish_numbered(publisher, MANY)
        await eventually(lambda: set(first.data) | set(second.data) == wanted, timeout=30)
    assert doubled(first, second) == 0
    assert min(len(first.got), len(second.got)) > MANY // 10


@pytest.mark.timeout(30)
async def test_a_dead_consumers_messages_go_to_a_living_one_within_seconds(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    async with consumer(tmp_path, hold=60) as victim:
        wanted = await publish_numbered(publisher, 10)
        await eventually(lambda: set(victim.data) == wanted)
        async with consumer(tmp_path, in_flight=1) as heir:
            assert not heir.data
            begun = time.monotonic()
            await victim.kill()
            await eventually(lambda: set(heir.data) == wanted)
            assert time.monotonic() - begun < 3


@pytest.mark.timeout(30)
async def test_a_frozen_consumer_keeps_what_it_holds_and_the_others_go_on(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    async with consumer(tmp_path, in_flight=5, hold=0.5) as frozen:
        held = await publish_numbered(publisher, 5)
        await eventually(lambda: set(frozen.data) == held)
        frozen.freeze()
        async with consumer(tmp_path) as awake:
            await publisher.publish_many([Publication("t", b"%d" % number) for number in range(100, 200)])
            await eventually(lambda: len(awake.got) == 100)
            await asyncio.sleep(2.5)  # two rounds of looking for the dead: nothing may come of them
            assert len(awake.got) == 100
            frozen.thaw()
            await publisher.publish(Publication("t", b"after"))
            await eventually(lambda: "after" in [*awake.data, *frozen.data])
            assert doubled(frozen, awake) == 0


@pytest.mark.timeout(30)
async def test_a_message_held_past_a_processing_timeout_goes_to_another(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    async with consumer(tmp_path, in_flight=1, hold=60) as slow:
        await publish_numbered(publisher, 1)
        await eventually(lambda: slow.data == ["0"])
        async with consumer(tmp_path, processingTimeout="300ms") as quick:
            await eventually(lambda: quick.data == ["0"])


@pytest.mark.timeout(60)
async def test_what_a_killed_publisher_was_told_is_kept_arrives(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    metadata = {"connectionString": str(tmp_path / "broker.db")}
    async with BrokerProcess(Job(KIND, metadata, count=MANY), role="publish") as victim:
        await eventually(lambda: len(victim.sent) > 2000, timeout=15)
        await victim.kill()
    async with consumer(tmp_path) as reader:
        told = {str(number) for number in victim.sent}
        await eventually(lambda: told <= set(reader.data), timeout=20)
    assert doubled(reader) == 0


@pytest.mark.timeout(60)
async def test_a_message_wakes_an_idle_process_within_twenty_milliseconds(
    publisher: SqlitePubSub, tmp_path: Path
) -> None:
    async with consumer(tmp_path) as idle:
        for _ in range(4):
            figures = await delays(publisher, idle)
            logging.getLogger("figures").info("publish to delivery, ms: %s", figures)
            if figures["p99"] <= 20:
                return
            assert figures["p50"] <= 20, figures  # whatever the machine is busy with
            if figures["late"] <= 3:
                break
    if figures["late"] > 3:
        pytest.skip(f"the machine itself was late by milliseconds: {figures}")
    raise AssertionError(figures)


async def delays(publisher: SqlitePubSub, idle: BrokerProcess) -> dict[str, float]:
    """Publish a thousand messages one by one into silence; milliseconds from the call to the delivery.

    `late` is how much later than asked our own timer rang at its 99th percentile: what this machine adds to every hop, of which
    a message takes six.
    """
    idle.got.clear()
    published: dict[str, float] = {}
    late: list[float] = []
    for number in range(1000):
        published[str(number)] = time.monotonic()
        await publisher.publish(Publication("t", b"%d" % number))
        asked = time.monotonic()
        await asyncio.sleep(0.002)
        late.append((time.monotonic() - asked - 0.002) * 1000)
    await eventually(lambda: len(idle.got) == 1000)
    took = sorted((one.at - published[one.data]) * 1000 for one in idle.got)
    figures = {"p50": statistics.median(took), "p99": took[989], "max": took[-1], "late": sorted(late)[989]}
    return {name: round(value, 2) for name, value in figures.items()}


@pytest.mark.timeout(30)
async def test_an_idle_consumer_hardly_uses_the_processor(publisher: SqlitePubSub, tmp_path: Path) -> None:
    async with consumer(tmp_path) as idle:
        await publish_numbered(publisher, 1)
        await eventually(lambda: len(idle.got) == 1)
        before = idle.cpu
        await asyncio.sleep(3)
        assert idle.cpu - before <= 0.06
