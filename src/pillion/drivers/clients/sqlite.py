"""One SQLite file on a thread of its own: what is asked at the same time is committed together."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.filelock import FileLock
from pillion.drivers.clients.filesystems import network_filesystem
from pillion.drivers.clients.sqlite_place import Place

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]
Migration = tuple[str, ...]
"""The statements of one additive step; the file's `user_version` counts the steps it has taken."""

BATCH: Final = 256
"""The most requests that share one commit."""
WAITING: Final = 16_384
"""Requests that may wait for the thread; one more is refused as overload."""

log = logging.getLogger("pillion.sqlite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a file is opened.

    `durability` normal survives the death of the process; full also survives a power cut, at one fsync a commit.
    `replace_corrupt` moves a broken file aside and starts afresh: for files that are ours, never for one a person named.
    `timeout` is how long anything asked may take in all, waiting for its turn included; None for as long as it takes.
    """

    busy_timeout: timedelta = timedelta(seconds=5)
    timeout: timedelta | None = None
    durability: Literal["normal", "full"] = "normal"
    wal: bool = True
    migrations: Sequence[Migration] = ()
    incremental_vacuum: bool = False
    replace_corrupt: bool = False


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    writes: bool
    answer: "asyncio.Future[Any]" = field(repr=False)
    asked: float


@dataclass(frozen=True, slots=True)
class _Done:
    job: _Job
    value: Any = None
    error: BaseException | None = None


class SqliteFile:
    """A connection that lives on one thread and is reached by `read` and `write`.

    The work given runs on that thread: it must touch nothing but its connection, and may be run a second time after a
    rollback. Writes that wait together share one transaction, each inside a savepoint: one that raises is undone alone.
    A write has returned only when its transaction is committed. If the caller is cancelled the write may still happen.

    | SQLite's trouble                  | the word raised                          |
    |-----------------------------------|------------------------------------------|
    | locked past the timeout, disk full, I/O | Unavailable                        |
    | not done within `timeout`: perhaps later, if it had begun | Unavailable      |
    | not a database, a newer layout, a network file system, too big | Refused     |
    """

    def __init__(self, path: str | Path | Place, habits: Habits = Habits()) -> None:
        self.place = path if isinstance(path, Place) else Place(path=str(path))
        self.path = self.place.path
        self.habits = habits
        self.moved: Path | None = None
        """Where a corrupt file was put by `open`."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._pending: deque[_Job] = deque()
        """What was asked, oldest first, where there is a timeout."""
        self._watch: asyncio.TimerHandle | None = None
        self._db: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    async def open(self) -> None:
        """Start the thread and connect. Only after a fork, never before one."""
        self._loop = asyncio.get_running_loop()
        self._jobs = queue.SimpleQueue()
        self._ended = self._loop.create_future()
        ready: asyncio.Future[None] = self._loop.create_future()
        thread = threading.Thread(target=self._live, args=(ready,), name=f"sqlite {self.path}", daemon=True)
        self._thread = thread
        thread.start()
        try:
            await ready
        except BaseException:
            self._thread = None
            self._jobs.put(None)
            raise

    async def close(self) -> None:
        """Finish what was asked before, then end the thread. Safe unopened and safe twice."""
        thread, self._thread = self._thread, None
        if thread is None or self._ended is None:
            return
        self._jobs.put(None)
        await asyncio.shield(self._ended)
        thread.join()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def write(self, work: Work[R]) -> R:
        """Run `work` inside a transaction and return its answer once that is committed."""
        answer: R = await self._ask(work, writes=True)
        return answer

    async def read(self, work: Work[R]) -> R:
        """Run `work` on one snapshot of what is committed."""
        answer: R = await self._ask(work, writes=False)
        return answer

    def _ask(self, work: Work[R], *, writes: bool) -> "asyncio.Future[R]":
        if self._thread is None or self._loop is None:
            raise Unavailable(f"{self.path} is not open")
        if self._waiting >= WAITING:
            raise Unavailable(f"{self.path} has too many requests waiting")
        self._waiting += 1
        answer: asyncio.Future[R] = self._loop.create_future()
        job = _Job(work, writes, answer, self._loop.time())
        if self.habits.timeout is not None:
            self._pending.append(job)
            self._watch_on(self.habits.timeout.total_seconds())
        self._jobs.put(job)
        return answer

    def _watch_on(self, limit: float) -> None:
        """One timer for all: it rings when the oldest that waits has had its time."""
        assert self._loop is not None
        pending = self._pending
        while pending and pending[0].answer.done():
            pending.popleft()
        if pending and self._watch is None:
            self._watch = self._loop.call_at(pending[0].asked + limit, self._give_up, limit)

    def _give_up(self, limit: float) -> None:
        assert self._loop is not None
        self._watch, before = None, self._loop.time() - limit
        stuck = False
        for job in self._pending:
            if job.asked > before + 0.001:
                break
            if not job.answer.done():
                stuck = True
                job.answer.set_exception(Unavailable(f"{self.path}: context deadline exceeded"))
        if stuck and self._db is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it has just been closed
                self._db.interrupt()  # what runs so long, or holds up what has waited so long
        self._watch_on(limit)

    def _settle(self, batch: list[_Done]) -> None:
        self._waiting -= len(batch)
        for done in batch:
            if done.job.answer.done():
                continue
            if done.error is not None:
                done.job.answer.set_exception(done.error)
            else:
                done.job.answer.set_result(done.value)

    # Below here everything runs on the file's own thread.

    def _live(self, ready: "asyncio.Future[None]") -> None:
        try:
            db = self._connect()
        except (sqlite3.Error, OSError, DriverError) as error:
            self._tell(_resolve, ready, translated(error, self.path))
            self._tell(_resolve, self._ended, None)
            return
        self._db = db
        self._tell(_resolve, ready, None)
        try:
            while batch := self._next_batch():
                self._tell(self._settle, self._perform(db, batch))
        finally:
            self._db = None
            db.close()
            self._tell(_resolve, self._ended, None)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            log.debug("%s: the loop is gone, nobody hears the answer", self.path)

    def _next_batch(self) -> list[_Job]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH:
                return batch
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._jobs.put(None)  # the end was asked behind these: answer them first
        return batch

    def _perform(self, db: sqlite3.Connection, batch: list[_Job]) -> list[_Done]:
        stale = [
            job for job in batch if job.answer.done()
        ]  # whoever asked has gone, or was told that it took too long
        fresh = [job for job in batch if not job.answer.done()] if stale else batch
        reads = [job for job in fresh if not job.writes]
        writes = [job for job in fresh if job.writes]
        done = [_Done(job) for job in stale]
        done += [self._alone(db, job, "BEGIN") for job in reads]
        return done + self._together(db, writes) if writes else done

    def _together(self, db: sqlite3.Connection, jobs: list[_Job]) -> list[_Done]:
        if len(jobs) == 1:
            return [self._alone(db, jobs[0], "BEGIN IMMEDIATE")]
        try:
            db.execute("BEGIN IMMEDIATE")
            done = [self._inside(db, job) for job in jobs]
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _rollback(db)
            if _code(error) in _BUSY:
                return [_Done(job, error=translated(error, self.path)) for job in jobs]
            return [
                _Done(job) if job.answer.done() else self._alone(db, job, "BEGIN IMMEDIATE") for job in jobs
            ]
        return done

    def _inside(self, db: sqlite3.Connection, job: _Job) -> _Done:
        """One job of several. Raises only when SQLite has given up the whole transaction."""
        db.execute("SAVEPOINT job")
        try:
            value = job.work(db)
        except BaseException as error:  # the job's root: told to whoever asked
            if not db.in_transaction:
                raise sqlite3.OperationalError("the transaction was lost") from error
            db.execute("ROLLBACK TO job")
            db.execute("RELEASE job")
            return _Done(job, error=translated(error, self.path))
        db.execute("RELEASE job")
        return _Done(job, value)

    def _alone(self, db: sqlite3.Connection, job: _Job, begin: str) -> _Done:
        try:
            db.execute(begin)
            value = job.work(db)
            db.execute("COMMIT")
        except BaseException as error:  # the job's root: told to whoever asked
            _rollback(db)
            return _Done(job, error=translated(error, self.path))
        return _Done(job, value)

    # Opening.

    def _connect(self) -> sqlite3.Connection:
        if not self.place.in_memory:
            self._check_place()
        try:
            return self._prepared()
        except sqlite3.DatabaseError as error:
            if _code(error) not in _CORRUPT or not self.habits.replace_corrupt or self.place.in_memory:
                raise
        return self._replaced()

    def _check_place(self) -> None:
        folder = Path(self.path).absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        kind = network_filesystem(folder)
        if kind and self.habits.wal:
            raise Refused(
                f"{self.path} lies on a network file system ({kind}), where SQLite cannot share a file safely: "
                "choose a folder on a local disk"
            )

    def _prepared(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.place.uri if self.place.parameters else self.path,
            uri=bool(self.place.parameters),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            longest = min(self.habits.busy_timeout, self.habits.timeout or self.habits.busy_timeout)
            db.execute(f"PRAGMA busy_timeout = {round(longest.total_seconds() * 1000)}")
            self._patiently(lambda: self._set_habits(db))
            for pragma in self.place.pragmas:
                db.execute(f"PRAGMA {pragma}")
            if not self.place.read_only:
                self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _set_habits(self, db: sqlite3.Connection) -> None:
        if self.place.read_only:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return
        if self.habits.incremental_vacuum:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if not self.habits.wal and not self.place.in_memory:
            db.execute("PRAGMA journal_mode = DELETE")
        elif not self.place.in_memory:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise Refused(
                    f"{self.path}: this file system has no shared memory for SQLite's write-ahead log"
                )
            db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute(f"PRAGMA synchronous = {self.habits.durability}")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _patiently(self, step: Callable[[], None]) -> None:
        """Several processes may open a new file at once, and changing its journal does not wait by itself."""
        deadline = time.monotonic() + self.habits.busy_timeout.total_seconds()
        while True:
            try:
                return step()
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _migrate(self, db: sqlite3.Connection) -> None:
        steps = self.habits.migrations
        if not steps or _layout(db) == len(steps):
            return
        db.execute("BEGIN EXCLUSIVE")
        try:
            found = _layout(db)
            if found > len(steps):
                raise Refused(
                    f"{self.path} has layout {found} and this Pillion knows {len(steps)}: "
                    "install the newer Pillion that wrote it, or move the file away"
                )
            for step in steps[found:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(steps)}")
            db.execute("COMMIT")
        except BaseException:
            _rollback(db)
            raise

    def _replaced(self) -> sqlite3.Connection:
        """Move the broken file aside, unless another process just did, and open a new one."""
        turn = FileLock(Path(f"{self.path}.mending"))
        self._patiently(lambda: _take(turn))
        try:
            try:
                return self._prepared()
            except sqlite3.DatabaseError as error:
                if _code(error) not in _CORRUPT:
                    raise
                self.moved = moved_aside(Path(self.path))
                log.warning(
                    "%s was corrupt: it is kept as %s, and a new one was begun",
                    self.path,
                    self.moved,
                )
            return self._prepared()
        finally:
            turn.free(remove=True)


def moved_aside(path: Path) -> Path:
    """Rename a file and its journals to a name that says when and why; the new name of the file itself."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        journal = Path(f"{path}{suffix}")
        if journal.exists():
            journal.replace(f"{target}{suffix}")
    return target


def translated(error: BaseException, path: str) -> BaseException:
    """SQLite's and the system's trouble in the contract's words; anything else as it is."""
    if isinstance(error, sqlite3.Error):
        text = f"{path}: {error}"
        word = Unavailable if _code(error) in _PASSING else Refused
    elif isinstance(error, OSError):
        text, word = f"{path}: {error.strerror or error}", Unavailable
    else:
        return error
    said = word(text)
    said.__cause__ = error
    return said


_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING: Final = {
    *_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _layout(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _rollback(db: sqlite3.Connection) -> None:
    """Undo. What cannot even be undone shows in the next request: whoever asked now must still be answered."""
    if db.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")


def _take(turn: FileLock) -> None:
    if not turn.take():
        busy = sqlite3.OperationalError(f"{turn.path} is held by another process")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise busy


def _resolve(answer: "asyncio.Future[None] | None", error: BaseException | None) -> None:
    if answer is None or answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(None)
