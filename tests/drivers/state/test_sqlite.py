"""state.sqlite: what lies in the file, and who else may read it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from support.waiting import eventually

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.state.sqlite import SqliteSettings, SqliteStore
from pillion.model.state import Entry, Put
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.clock import HandClock

JSON = "application/json"


@asynccontextmanager
async def opened(
    folder: Path | None, clock: HandClock | None = None, **metadata: str
) -> AsyncIterator[SqliteStore]:
    context = Context(name="sq", clock=clock or HandClock(), data_home=folder)
    store = SqliteStore(read(SqliteSettings, metadata), context)
    try:
        await store.open()
        yield store
    finally:
        await context.crew.close()
        await store.close()


def rows(path: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(query, values).fetchall()
        db.commit()
        return found


async def test_text_and_bytes_lie_as_dapr_lays_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(Put("appa||j", b'{"a":1}', content_type=JSON, expires_at=1_700_000_100.5))
        await store.put(Put("appa||b", b"\x00\x01"))
        found = rows(tmp_path / "state.db", "SELECT * FROM state ORDER BY key DESC")
    assert [(key, value, binary, ends, written) for key, value, binary, _, ends, written in found] == [
        ("appa||j", '{"a":1}', 0, "2023-11-14 22:15:00", "2023-11-14 22:13:20"),
        ("appa||b", "AAE=", 1, None, "2023-11-14 22:13:20"),
    ]
    assert all(len(etag) == 36 for _, _, _, etag, _, _ in found)
    assert rows(tmp_path / "state.db", "SELECT * FROM metadata") == [("migrations", "1")]


async def test_what_dapr_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    async with opened(None, connectionString=str(path)):
        pass
    insert = "INSERT INTO state VALUES (?, ?, ?, ?, ?, CURRENT_TIMESTAMP)"
    rows(path, insert, "j", '"v"', False, "e1", "2123-11-14 22:15:00")
    rows(path, insert, "b", "AAE=", True, "e2", None)
    rows(path, insert, "old", "1", False, "e3", "2001-01-01 00:00:00")
    async with opened(None, connectionString=f"file:{path}?cache=shared") as store:
        assert await store.get("j") == Entry(b'"v"', "e1", 4855673700.0, JSON)
        assert await store.get("b") == Entry(b"\x00\x01", "e2")
        assert await store.get("old") is None


async def test_tables_may_be_named_and_live_beside_others(tmp_path: Path) -> None:
    names = {"tableName": "mine", "metadataTableName": "my_numbers"}
    async with opened(tmp_path) as first, opened(tmp_path, **names) as second:
        await first.put(Put("k", b"1"))
        await second.put(Put("k", b"2"))
        assert [entry and entry.value for entry in (await first.get("k"), await second.get("k"))] == [
            b"1",
            b"2",
        ]


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"tableName": "a; DROP TABLE b"}, "invalid identifier: a; DROP TABLE b"),
        ({"metadataTableName": "a-b"}, "invalid identifier: a-b"),
        ({"timeout": "500ms"}, "must be greater than 1s"),
        ({}, "no writable folder"),
    ],
)
async def test_what_cannot_be_is_refused(metadata: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        async with opened(None, **metadata):
            pass


async def test_a_table_that_is_no_state_stores_is_refused(tmp_path: Path) -> None:
    rows(tmp_path / "state.db", "CREATE TABLE state (key TEXT, value TEXT)")
    with pytest.raises(Refused, match="lacks etag, expiration_time, is_binary, update_time"):
        async with opened(tmp_path):
            pass


async def test_rows_that_have_ended_are_removed_in_time(tmp_path: Path) -> None:
    clock = HandClock()
    async with opened(tmp_path, clock, cleanupIntervalInSeconds="60") as store:
        await store.put(Put("k", b"1", expires_at=clock.now() + 5))
        await store.put(Put("stays", b"1"))
        await eventually(lambda: clock.sleepers == 1)
        await clock.advance(61)
        await eventually(lambda: rows(tmp_path / "state.db", "SELECT key FROM state") == [("stays",)])


async def test_of_two_that_share_a_file_one_cleans_up_in_an_interval(tmp_path: Path) -> None:
    clock = HandClock()
    async with (
        opened(tmp_path, clock, cleanupInterval="60s") as store,
        opened(tmp_path, clock, cleanupInterval="60s"),
    ):
        await eventually(lambda: clock.sleepers == 2)
        await clock.advance(60)
        last = "SELECT value FROM metadata WHERE key = 'last-cleanup'"
        await eventually(lambda: rows(tmp_path / "state.db", last) == [("2023-11-14 22:14:20",)])
        await store.put(Put("k", b"1", expires_at=clock.now() + 1))
        rows(
            tmp_path / "state.db",
            "UPDATE metadata SET value = '2023-11-14 22:15:19' WHERE key = 'last-cleanup'",
        )
        await eventually(lambda: clock.sleepers == 2)
        await clock.advance(60)  # somebody else did it a second ago
        await eventually(lambda: clock.sleepers == 2)
        assert rows(tmp_path / "state.db", "SELECT key FROM state") == [("k",)]
        await clock.advance(60)
        await eventually(lambda: rows(tmp_path / "state.db", "SELECT key FROM state") == [])


async def test_a_file_opened_for_reading_is_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(Put("k", b"1"))
        async with opened(None, connectionString=f"file:{tmp_path}/state.db?mode=ro") as reader:
            assert (await reader.get("k")) is not None
            with pytest.raises(Unavailable, match="readonly"):
                await reader.put(Put("k", b"2"))


async def test_an_operation_takes_no_longer_than_its_timeout(tmp_path: Path) -> None:
    async with opened(tmp_path, timeout="1s", busyTimeout="1m") as store:
        with closing(sqlite3.connect(tmp_path / "state.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked|context deadline exceeded"):
                await store.put(Put("k", b"1"))
        await store.put(Put("k", b"2"))


async def test_a_store_in_memory_needs_no_file(tmp_path: Path) -> None:
    async with opened(None, connectionString=":memory:") as store:
        await store.put(Put("k", b"1"))
        assert (await store.get("k")) is not None


async def test_nothing_committed_is_lost_without_closing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(Put("k", b"1"))
        assert rows(tmp_path / "state.db", "SELECT value FROM state") == [("MQ==",)]
