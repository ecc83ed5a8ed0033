"""The registry: one SQLite file in which the sidecars of a machine find each other."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.waiting import eventually

from pillion.contracts.names import Announcement
from pillion.contracts.words import DriverError, Refused
from pillion.drivers.names.sqlite import SqliteNames, SqliteNamesSettings
from pillion.plug import settings
from pillion.plug.component import Context
from pillion.testing.clock import HandClock
from pillion.toolbox.tasks import Crew


def names(folder: Path, clock: HandClock | None = None, **metadata: str) -> SqliteNames:
    read = settings.read(SqliteNamesSettings, metadata)
    context = Context(name="names", clock=clock or HandClock(), crew=Crew("names"), data_home=folder)
    return SqliteNames(read, context)


@asynccontextmanager
async def opened(folder: Path, clock: HandClock | None = None, **metadata: str) -> AsyncIterator[SqliteNames]:
    made = names(folder, clock, **metadata)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def who(app_id: str, port: int, namespace: str = "") -> Announcement:
    return Announcement(app_id, namespace, "127.0.0.1", port)


def rows(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / "names.db") as db:
        found = db.execute(
            "SELECT address, app_id, namespace, last_update FROM hosts ORDER BY address"
        ).fetchall()
    db.close()
    return found


async def test_sidecars_of_one_file_find_each_other_at_once(tmp_path: Path) -> None:
    clock = HandClock()
    async with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
        await one.announce(who("a", 1))
        await other.announce(who("b", 2))
        await other.announce(who("b", 3))
        assert await other.resolve("a", "default") == ["127.0.0.1:1"]
        assert sorted(await one.resolve("b", "")) == ["127.0.0.1:2", "127.0.0.1:3"]
        assert await one.resolve("nosuch", "") == []


async def test_the_layout_is_daprs(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        await one.announce(who("a", 1))
    with sqlite3.connect(tmp_path / "names.db") as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(hosts)")]
        assert columns == ["registration_id", "address", "app_id", "namespace", "last_update"]
        assert db.execute("SELECT key, value FROM metadata").fetchall() == [("nr-migrations", "1")]
    db.close()


async def test_namespaces_are_apart_and_none_is_the_default_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        await one.announce(who("a", 1, "prod"))
        await one.announce(who("a", 2))
        assert await one.resolve("a", "prod") == ["127.0.0.1:1"]
        assert await one.resolve("a", "default") == ["127.0.0.1:2"]


async def test_a_row_is_renewed_while_the_sidecar_lives_and_goes_when_it_stops(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock) as one:
        row = await one.announce(who("a", 1))
        await eventually(lambda: clock.sleepers)
        await clock.advance(4)
        await eventually(lambda: rows(tmp_path) == [("127.0.0.1:1", "a", "", 1004)])
        await row.close()
        await row.close()
        assert rows(tmp_path) == []


async def test_a_row_that_is_not_renewed_is_not_found_after_five_seconds(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock) as one, opened(tmp_path, HandClock(1000)) as still:
        await still.announce(who("a", 1))
        await clock.advance(4)
        assert await one.resolve("a", "") == ["127.0.0.1:1"]
        await clock.advance(1)
        assert await one.resolve("a", "") == []


async def test_whoever_takes_an_address_takes_its_row(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await one.announce(who("a", 1))
        await other.announce(who("b", 1))
        assert await one.resolve("a", "") == [] and await one.resolve("b", "") == ["127.0.0.1:1"]


async def test_a_dropped_address_is_not_offered_before_it_shows_life(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock) as one, opened(tmp_path, HandClock(1000)) as other:
        await other.announce(who("a", 1))
        await one.resolve("a", "")
        one.drop("a", "127.0.0.1:1")
        assert await one.resolve("a", "") == []
        await other.announce(who("a", 1))
        assert await one.resolve("a", "") == ["127.0.0.1:1"]


async def test_a_row_that_was_lost_is_written_again(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock) as one:
        await one.announce(who("a", 1))
        with sqlite3.connect(tmp_path / "names.db") as db:
            db.execute("DELETE FROM hosts")
        db.close()
        await eventually(lambda: clock.sleepers)
        await clock.advance(4)
        await eventually(lambda: rows(tmp_path))


async def test_rows_of_the_dead_are_cleared_every_hour(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock, cleanupInterval="8s") as one:
        await one.replace("dead", who("z", 9))
        await one.announce(who("a", 1))
        for _ in range(3):
            await eventually(lambda: clock.sleepers)
            await clock.advance(4)
            await eventually(lambda: ("127.0.0.1:1", "a", "", int(clock.now())) in rows(tmp_path))
        await eventually(lambda: [row[1] for row in rows(tmp_path)] == ["a"])


async def test_two_that_start_at_once_on_a_fresh_file_both_succeed(tmp_path: Path) -> None:
    made = [names(tmp_path) for _ in range(8)]
    await asyncio.gather(*(each.open() for each in made))
    await asyncio.gather(*(each.announce(who("a", port)) for port, each in enumerate(made)))
    assert len(rows(tmp_path)) == 8
    await asyncio.gather(*(each.close() for each in made))


async def test_a_registry_in_trouble_does_not_stop_the_sidecar(tmp_path: Path) -> None:
    clock = HandClock(1000)
    async with opened(tmp_path, clock, busyTimeout="10ms") as one:
        with sqlite3.connect(tmp_path / "names.db", isolation_level=None) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            await one.announce(who("a", 1))
            assert rows(tmp_path) == []
            blocker.execute("ROLLBACK")
        blocker.close()
        await eventually(lambda: clock.sleepers)
        await clock.advance(4)
        await eventually(lambda: rows(tmp_path))


async def test_the_file_may_lie_elsewhere_under_other_table_names(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mine.db"
    async with opened(
        tmp_path, connectionString=str(path), tableName="places", metadataTableName="notes"
    ) as one:
        await one.announce(who("a", 1))
        assert await one.resolve("a", "") == ["127.0.0.1:1"]
    with sqlite3.connect(path) as db:
        assert {"places", "notes"} <= {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    db.close()


BAD: list[dict[str, str]] = [
    {"tableName": "a b"},
    {"metadataTableName": "x;"},
    {"updateInterval": "1s"},
    {"timeout": "5s"},
]


@pytest.mark.parametrize("metadata", BAD)
async def test_settings_that_cannot_be_are_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    made = names(tmp_path, **metadata)
    with pytest.raises(Refused):
        await made.open()
    await made.close()


async def test_without_a_folder_there_is_no_registry() -> None:
    made = SqliteNames(settings.read(SqliteNamesSettings, {}), Context(name="names"))
    with pytest.raises(DriverError, match="connectionString"):
        await made.open()
    await made.close()


def test_the_defaults_are_daprs() -> None:
    read = settings.read(SqliteNamesSettings, {})
    assert (read.update_interval, read.cleanup_interval) == (timedelta(seconds=5), timedelta(hours=1))
    assert (read.timeout, read.busy_timeout) == (timedelta(seconds=1), timedelta(milliseconds=800))
