"""The one-thread SQLite file: group commit, isolation of failures, opening, and trouble in our words."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from support.waiting import eventually

from pillion.contracts.words import EtagMismatch, Refused, Unavailable
from pillion.drivers.clients.filelock import FileLock, is_locked
from pillion.drivers.clients.filesystems import network_filesystem
from pillion.drivers.clients.sqlite import Habits, SqliteFile
from pillion.drivers.clients.sqlite_place import MEMORY, Place, place_of

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
    ("text", "place"),
    [
        ("data.db", Place(path="data.db")),
        ("/var/a.db", Place(path="/var/a.db")),
        ("data.db?cache=shared&_txlock=deferred", Place(path="data.db")),
        ("file:data.db?_pragma=cache_size(-2000)", Place(path="data.db", pragmas=("cache_size = -2000",))),
        ("file:a%20b.db?mode=ro", Place(path="a b.db", parameters=(("mode", "ro"),))),
        ("file:///var/a.db?immutable=1", Place(path="/var/a.db", parameters=(("immutable", "1"),))),
        ("file://localhost/var/a.db", Place(path="/var/a.db")),
        ("file::memory:?cache=shared", Place(path=MEMORY)),
        ("file:x?mode=memory", Place(path=MEMORY)),
        (":memory:", Place(path=MEMORY)),
        (":MEMORY:?_pragma=optimize", Place(path=MEMORY, pragmas=("optimize",))),
    ],
)
def test_what_a_connection_string_says(text: str, place: Place) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("pragma", "why"),
    [
        ("busy_timeout(5)", "forbidden option '_pragma=busy_timeout' .*: use busyTimeout"),
        ("journal_mode=DELETE", "forbidden option '_pragma=journal_mode' .*: use disableWAL"),
        ("foreign_keys(1)", "forbidden option '_pragma=foreign_keys'"),
        ("a; DROP TABLE state", "not of the form"),
    ],
)
def test_pragmas_that_are_not_to_be_given_are_refused(pragma: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        place_of(f"file:data.db?_pragma={pragma}")


async def test_parameters_and_pragmas_reach_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "a b%.db"
    await (await opened(path)).close()
    file = SqliteFile(place_of(f"file:{tmp_path}/a%20b%25.db?mode=ro&_pragma=cache_size(-77)"))
    await file.open()
    assert await file.read(lambda db: db.execute("PRAGMA cache_size").fetchone()) == (-77,)
    assert await file.read(count) == 0
    with pytest.raises(Unavailable, match="readonly"):
        await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    await file.close()


async def test_without_a_write_ahead_log_there_is_none_even_where_there_was(tmp_path: Path) -> None:
    await (await opened(tmp_path / "a.db")).close()
    file = await opened(tmp_path / "a.db", Habits(migrations=[TABLE], wal=False))
    assert await file.read(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("delete",)
    await file.close()


HASTY = Habits(migrations=[TABLE], timeout=timedelta(milliseconds=200))


async def test_what_runs_too_long_is_ended_and_what_comes_after_goes_on(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db", HASTY)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(Unavailable, match="context deadline exceeded"):
        await file.read(lambda db: db.execute(endless).fetchone())
    assert await file.read(count) == 0
    await file.close()


async def test_what_waited_too_long_for_its_turn_is_not_done_later(tmp_path: Path) -> None:
    file, begun, go_on = await opened(tmp_path / "a.db", HASTY), threading.Event(), threading.Event()
    holding = asyncio.create_task(file.read(lambda db: begun.set() or go_on.wait(5)))
    await eventually(begun.is_set)
    with pytest.raises(Unavailable, match="context deadline exceeded"):
        await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    with pytest.raises(Unavailable, match="context deadline exceeded"):
        await holding
    go_on.set()
    assert await file.read(count) == 0
    await file.close()


async def test_what_is_quick_is_never_given_up(tmp_path: Path) -> None:
    file = await opened(tmp_path / "a.db", HASTY)
    deadline = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.gather(*(file.read(count) for _ in range(20)))
    await file.close()


async def test_waiting_for_another_process_ends_with_the_timeout(tmp_path: Path) -> None:
    patient = Habits(
        migrations=[TABLE], timeout=timedelta(milliseconds=200), busy_timeout=timedelta(minutes=1)
    )
    file = await opened(tmp_path / "a.db", patient)
    with closing(sqlite3.connect(tmp_path / "a.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match="locked|deadline"):
            await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
        assert asyncio.get_running_loop().time() - started < 2
    await file.write(lambda db: db.execute("INSERT INTO t VALUES (2)"))
    await file.close()


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
