"""The one-thread SQLite file: group commit, isolation of failures, opening, and trouble in our words."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pillion.contracts.words import EtagMismatch, Refused, Unavailable
from pillion.drivers.clients.filelock import FileLock, is_locked
from pillion.drivers.clients.filesystems import network_filesystem
from pillion.drivers.clients.sqlite import MEMORY, Habits, SqliteFile, path_of

TABLE = ("CREATE TABLE IF NOT EXISTS t (n INTEGER)",)
ONE_TABLE = Habits(migrations=[TABLE])


async def opened(path: Path | str, habits: Habits = ONE_TABLE) -> SqliteFile:
    file = SqliteFile(path, habits)
    await file.open()
    return file


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM t").fetchone()[0])


async def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")
    await file.write(lambda db: db.execute("INSERT INTO t VALUES (7)"))
    assert await file.read(lambda db: db.execute("SELECT n FROM t").fetchall()) == [(7,)]
    await file.close()


async def test_memory_is_a_place_too() -> None:
    file = await opened(MEMORY)
    await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    assert await file.read(count) == 1
    await file.close()


async def test_writes_that_wait_together_share_commits(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")
    begun: list[str] = []
    await file.read(lambda db: db.set_trace_callback(begun.append))
    await asyncio.gather(
        *(file.write(lambda db: db.execute("INSERT INTO t VALUES (1)")) for _ in range(1000))
    )
    assert await file.read(count) == 1000
    assert sum(line == "COMMIT" for line in begun) < 100
    await file.close()


async def test_a_write_that_fails_does_not_sink_its_neighbours(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")

    def fails(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (99)")
        raise EtagMismatch("no")

    def good(db: sqlite3.Connection) -> object:
        return db.execute("INSERT INTO t VALUES (1)").rowcount

    outcomes = await asyncio.gather(
        file.write(good), file.write(fails), file.write(good), return_exceptions=True
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "int",
        "EtagMismatch",
        "int",
    ]
    assert await file.read(lambda db: db.execute("SELECT n FROM t").fetchall()) == [
        (1,),
        (1,),
    ]
    await file.close()


async def test_close_answers_what_was_asked_before_it(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")
    writes = [
        asyncio.ensure_future(file.write(lambda db: db.execute("INSERT INTO t VALUES (1)")))
        for _ in range(50)
    ]
    await asyncio.sleep(0)
    await file.close()
    await asyncio.gather(*writes)
    await file.close()
    with pytest.raises(Unavailable, match="not open"):
        await file.read(count)


async def test_a_locked_file_is_unavailable_and_recovers(tmp_path: Path) -> None:
    file = await opened(
        tmp_path / "a.db",
        Habits(migrations=[TABLE], busy_timeout=ONE_TABLE.busy_timeout / 100),
    )
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    other.execute("COMMIT")
    other.close()
    await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    await file.close()


async def test_a_full_disk_is_unavailable_and_recovers(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")
    fat = b"x" * 50_000

    def fatten(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (?)", (fat,))

    await file.read(lambda db: db.execute("PRAGMA max_page_count = 20").fetchone())
    outcomes = await asyncio.gather(*(file.write(fatten) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Unavailable) >= 3
    await file.read(lambda db: db.execute("PRAGMA max_page_count = 20000").fetchone())
    await file.write(fatten)
    await file.close()


async def test_a_corrupt_file_is_moved_aside_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this was never a database" * 100)
    file = await opened(path, Habits(migrations=[TABLE], replace_corrupt=True))
    assert file.moved is not None and file.moved.read_bytes().startswith(b"this was never")
    assert await file.read(count) == 0
    await file.close()


async def test_a_file_a_person_named_is_never_moved(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"this was never a database" * 100)
    with pytest.raises(Refused, match="not a database"):
        await opened(path)
    assert path.exists()


async def test_a_newer_layout_is_refused_with_what_to_do(tmp_path: Path) -> None:
    newer = await opened(tmp_path / "a.db", Habits(migrations=[TABLE, ("CREATE TABLE u (n)",)]))
    await newer.close()
    with pytest.raises(Refused, match="layout 2 and this Pillion knows 1"):
        await opened(tmp_path / "a.db")


async def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    files = await asyncio.gather(*(opened(tmp_path / "a.db") for _ in range(8)))
    await asyncio.gather(*(file.write(lambda db: db.execute("INSERT INTO t VALUES (1)")) for file in files))
    assert await files[0].read(count) == 8
    await asyncio.gather(*(file.close() for file in files))


async def test_an_open_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    blocker = tmp_path / "folder"
    blocker.write_text("a file where a folder is needed")
    file = SqliteFile(blocker / "a.db", ONE_TABLE)
    with pytest.raises(Unavailable):
        await file.open()
    blocker.unlink()
    await file.open()
    assert await file.read(count) == 0
    await file.close()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data.db", "data.db"),
        ("/var/a.db", "/var/a.db"),
        ("file:data.db?cache=shared&_pragma=busy_timeout(1)", "data.db"),
        ("file:///var/a.db", "/var/a.db"),
        ("file::memory:?cache=shared", ":memory:"),
        ("file:x?mode=memory", ":memory:"),
        (":memory:", ":memory:"),
    ],
)
def test_the_path_within_a_connection_string(text: str, path: str) -> None:
    assert path_of(text) == path


def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("/dev/vda / ext4 rw 0 0\nserver:/x /home/team nfs4 rw 0 0\n")
    assert network_filesystem(Path("/home/team/ann"), table) == "nfs4"
    assert network_filesystem(Path("/home/teams"), table) == ""


def test_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert first.take() and not second.take() and is_locked(tmp_path / "l")
    first.free(remove=True)
    assert not is_locked(tmp_path / "l") and second.take()
    second.free()


async def test_who_asked_is_answered_even_when_nothing_can_be_undone(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db")

    def sticks(db: sqlite3.Connection) -> None:
        db.set_authorizer(
            lambda action, what, *_: sqlite3.SQLITE_DENY if what == "ROLLBACK" else sqlite3.SQLITE_OK
        )
        raise EtagMismatch("no")

    with pytest.raises(EtagMismatch):
        await file.write(sticks)
    with pytest.raises(Refused):
        await file.write(count)
    await file.close()
