"""pubsub.sqlite within one process: where its file lies, what it refuses, full disks and lost closes."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.waiting import eventually

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.filelock import is_locked
from pillion.drivers.pubsub.sqlite import SqlitePubSub
from pillion.model.pubsub import Publication, Topic, Verdict
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.clock import HandClock
from pillion.testing.conformance.pubsub import Inbox

Open = Callable[..., Awaitable[SqlitePubSub]]


@pytest.fixture
async def open_(tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_one(context: Context | None = None, **metadata: str) -> SqlitePubSub:
            context = context or Context(name="pubsub", app_id="app", data_home=tmp_path)
            broker = SqlitePubSub(read(SqlitePubSub.spec.settings, metadata), context)
            await broker.open()
            stack.push_async_callback(broker.close)
            return broker

        yield open_one


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


async def test_the_file_lies_in_pillions_home(open_: Open, tmp_path: Path) -> None:
    broker = await open_()
    await broker.publish(Publication("t", b"1"))
    assert rows(tmp_path / "broker.db", "SELECT topic, data FROM messages") == [("t", b"1")]


async def test_without_a_writable_home_it_says_what_to_set(open_: Open) -> None:
    with pytest.raises(Refused, match="connectionString"):
        await open_(Context(name="pubsub"))


async def test_memory_cannot_be_shared_and_is_refused(open_: Open) -> None:
    with pytest.raises(Refused, match="in-memory"):
        await open_(connectionString=":memory:")


async def test_a_size_that_is_none_is_refused(open_: Open) -> None:
    with pytest.raises(Refused, match="maxSize"):
        await open_(maxSize="plenty")


async def test_messages_outlive_the_driver(open_: Open) -> None:
    first = await open_()
    await first.publish(Publication("t", b"1", "text/plain", {"a": "b"}))
    await first.close()
    second, inbox = await open_(), Inbox()
    await second.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1")
    assert inbox.got[0].content_type == "text/plain" and dict(inbox.got[0].metadata) == {"a": "b"}


async def test_the_app_id_is_the_group_where_none_is_named(open_: Open, tmp_path: Path) -> None:
    broker = await open_()
    await broker.subscribe(Topic("t"), Inbox())
    assert rows(tmp_path / "broker.db", "SELECT topic, consumer FROM groups") == [("t", "app")]


async def test_closing_leaves_no_owner_no_seat_and_no_lock(open_: Open, tmp_path: Path) -> None:
    broker = await open_()
    await broker.subscribe(Topic("t"), Inbox())
    [lock] = (tmp_path / "broker.db.owners").iterdir()
    assert is_locked(lock)
    await broker.close()
    assert not lock.exists()
    assert rows(tmp_path / "broker.db", "SELECT id FROM owners UNION SELECT id FROM subscriptions") == []


async def test_a_corrupt_file_is_kept_aside_and_the_broker_goes_on(open_: Open, tmp_path: Path) -> None:
    (tmp_path / "broker.db").write_bytes(b"not a database, but somebody's bytes" * 50)
    broker, inbox = await open_(), Inbox()
    await broker.subscribe(Topic("t"), inbox)
    await broker.publish(Publication("t", b"1"))
    await inbox.receives(b"1")
    [kept] = tmp_path.glob("broker.db.corrupt-*")
    assert kept.read_bytes().startswith(b"not a database")


async def test_a_full_broker_makes_room_of_what_is_done_with_before_it_refuses(open_: Open) -> None:
    broker, inbox = await open_(maxSize="1Mi"), Inbox()
    await broker.subscribe(Topic("t"), inbox)
    for number in range(60):  # three times what it may hold
        await broker.publish(Publication("t", b"%d" % number + b"x" * 50_000))
        await inbox.until(lambda number=number: len(inbox.got) > number, "the message")
        await eventually(lambda: _settled(broker))


async def test_a_broker_full_of_wanted_messages_refuses_and_recovers(open_: Open) -> None:
    broker, inbox = await open_(maxSize="1Mi"), Inbox()
    waiting = await broker.subscribe(Topic("t"), inbox)
    await waiting.pause()
    with pytest.raises(Unavailable, match="maxSize"):
        for _ in range(30):
            await broker.publish(Publication("t", b"x" * 50_000))
    await waiting.resume()
    await eventually(lambda: len(inbox.got) >= 20)
    await eventually(lambda: _settled(broker))
    await broker.publish(Publication("t", b"room again"))
    await inbox.until(lambda: b"room again" in inbox.data, "the message")


async def _settled(broker: SqlitePubSub) -> bool:
    file = broker._file
    assert file
    return await file.read(lambda db: db.execute("SELECT count(*) FROM claims").fetchone()) == (0,)


async def _allow_pages(broker: SqlitePubSub, pages: int) -> None:
    """As a full disk would: SQLite refuses to let the file grow."""
    file = broker._file
    assert file
    await file.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def test_a_full_disk_is_unavailable_and_nothing_accepted_is_lost(open_: Open, tmp_path: Path) -> None:
    told: list[bool] = []
    context = Context(
        name="pubsub", app_id="app", data_home=tmp_path, health=lambda well, reason: told.append(well)
    )
    broker, inbox = await open_(context), Inbox()
    await _allow_pages(broker, 100)
    kept = []
    with pytest.raises(Unavailable, match="full"):
        for number in range(1000):
            await broker.publish(Publication("t", b"%d" % number + b"x" * 3000))
            kept.append(b"%d" % number + b"x" * 3000)
    assert kept
    await _allow_pages(broker, 1_000_000)
    await broker.subscribe(Topic("t"), inbox)
    await inbox.receives(*kept)


async def test_verdicts_a_full_disk_refused_are_said_again(open_: Open, tmp_path: Path) -> None:
    told: list[bool] = []
    context = Context(
        name="pubsub", app_id="app", data_home=tmp_path, health=lambda well, reason: told.append(well)
    )
    broker, inbox = await open_(context), Inbox()
    inbox.held.clear()
    await broker.subscribe(Topic("t", in_flight=4), inbox)
    await broker.publish_many([Publication("t", b"%d" % number) for number in range(4)])
    await inbox.until(lambda: inbox.busy == 4, "four messages")
    blocker = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    file = broker._file
    assert file
    await file.read(lambda db: db.execute("PRAGMA busy_timeout = 20"))
    blocker.execute("BEGIN IMMEDIATE")
    inbox.held.set()
    await eventually(lambda: told == [False])
    blocker.execute("ROLLBACK")
    blocker.close()
    await eventually(lambda: _settled(broker))
    await eventually(lambda: told[-1])
    assert len(inbox.got) == 4


async def test_a_seat_whose_close_the_disk_refused_is_freed_later(open_: Open, tmp_path: Path) -> None:
    broker, stuck, inbox = await open_(), Inbox(), Inbox()
    stuck.held.clear()
    lost = await broker.subscribe(Topic("t"), stuck)
    await broker.publish(Publication("t", b"1"))
    await stuck.until(lambda: stuck.busy == 1, "the message")
    blocker = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    file = broker._file
    assert file
    await file.read(lambda db: db.execute("PRAGMA busy_timeout = 20"))
    blocker.execute("BEGIN IMMEDIATE")
    await lost.close()
    blocker.execute("ROLLBACK")
    blocker.close()
    await broker.subscribe(Topic("t"), inbox)
    await inbox.receives(b"1")


async def test_an_abandoning_app_is_not_asked_in_a_tight_loop(open_: Open) -> None:
    broker, inbox = await open_(), Inbox(lambda message: Verdict.ABANDON)
    await broker.subscribe(Topic("t"), inbox)
    await broker.publish(Publication("t", b"1"))
    await inbox.until(lambda: bool(inbox.got), "the message")
    await asyncio.sleep(0.5)
    assert 2 <= len(inbox.got) <= 10


async def test_too_many_failures_end_in_the_dead_table(open_: Open, tmp_path: Path) -> None:
    broker = await open_(maxDeliveries="3", backOffInitialInterval="5ms")
    inbox = Inbox(lambda message: Verdict.RETRY)
    await broker.subscribe(Topic("t"), inbox)
    await broker.publish(Publication("t", b"poison"))
    dead = "SELECT data, attempts FROM dead"
    await eventually(lambda: rows(tmp_path / "broker.db", dead) == [(b"poison", 3)])
    assert len(inbox.got) == 3


async def test_two_runtimes_of_one_process_share_a_broker(open_: Open) -> None:
    first, second = await open_(), await open_()
    one, two = Inbox(), Inbox()
    one.held.clear()
    await first.subscribe(Topic("t", in_flight=1), one)
    await first.publish(Publication("t", b"0"))
    await one.until(lambda: one.busy == 1, "the first message")
    await second.subscribe(Topic("t", in_flight=1), two)
    await first.publish_many([Publication("t", b"%d" % number) for number in range(1, 10)])
    await two.until(lambda: len(two.got) == 9, "what the first does not hold")
    one.held.set()
    assert sorted(one.data + two.data) == [b"%d" % number for number in range(10)]


async def test_what_a_leaving_seat_failed_goes_to_another_seat_of_its_process(open_: Open) -> None:
    broker, leaving = await open_(backOffInitialInterval="20ms"), Inbox(lambda message: Verdict.RETRY)
    staying = Inbox()
    leaving.held.clear()
    await eventually(lambda: broker._version != -1)  # its first glance, which looks at everything, is over
    first = await broker.subscribe(Topic("t"), leaving)
    await broker.publish(Publication("t", b"1"))
    await leaving.until(lambda: leaving.busy == 1, "the message")
    await broker.subscribe(Topic("t"), staying)
    await eventually(lambda: broker._opened()._waiting == 0)  # it has looked, and found nothing
    draining = asyncio.create_task(first.drain(5))
    await asyncio.sleep(0)
    leaving.held.set()
    await draining
    await first.close()
    await staying.receives(b"1")


async def test_what_waits_behind_its_key_goes_on_when_the_seat_before_it_leaves(open_: Open) -> None:
    broker, leaving, staying = await open_(), Inbox(), Inbox()
    leaving.held.clear()
    await eventually(lambda: broker._version != -1)  # its first glance, which looks at everything, is over
    first = await broker.subscribe(Topic("t", in_flight=1), leaving)
    await broker.publish(Publication("t", b"1", order_key="k"))
    await leaving.until(lambda: leaving.busy == 1, "the first message")
    await broker.subscribe(Topic("t"), staying)
    await broker.publish(Publication("t", b"2", order_key="k"))
    await eventually(lambda: broker._opened()._waiting == 0)
    draining = asyncio.create_task(first.drain(5))
    await asyncio.sleep(0)
    leaving.held.set()
    await draining
    await staying.receives(b"2")


async def test_a_dead_subscriber_does_not_keep_its_group_for_ever_where_only_publishers_are_left(
    open_: Open, tmp_path: Path
) -> None:
    clock = HandClock()
    context = Context(name="pubsub", app_id="app", data_home=tmp_path, clock=clock)
    await open_(context, retention="10s")
    change(tmp_path / "broker.db", "INSERT INTO groups VALUES (1, 't', 'gone', 0, 0)")
    change(tmp_path / "broker.db", "INSERT INTO subscriptions VALUES (1, 'dead', 1)")
    change(tmp_path / "broker.db", "INSERT INTO owners VALUES ('dead', 1, 'unix:nowhere', 0)")
    for _ in range(31):
        await eventually(lambda: clock.sleepers == 1)
        await clock.advance(0.5)
    await eventually(lambda: rows(tmp_path / "broker.db", "SELECT * FROM groups") == [])


def change(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()


async def test_who_could_not_join_holds_no_lock(open_: Open, tmp_path: Path) -> None:
    await (await open_()).close()
    change(
        tmp_path / "broker.db",
        "CREATE TRIGGER no BEFORE INSERT ON owners BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    with pytest.raises(Refused, match="no"):
        await open_()
    assert list((tmp_path / "broker.db.owners").iterdir()) == []
