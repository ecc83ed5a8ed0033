"""state.sqlite: every key is a row of one local database file, as Dapr lays it out."""

import base64
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import DriverError, EtagMismatch, Refused, Unavailable
from pillion.drivers.clients.sqlite import Habits, SqliteFile
from pillion.drivers.clients.sqlite_place import Place, place_of
from pillion.model.state import NOTHING, Consistency, Delete, Entry, Guard, Put, Write
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.ids import uuid4
from pillion.toolbox.lazily import dataclass

_NAME: Final = re.compile(r"[0-9A-Za-z_]+", re.ASCII)
_JSON: Final = "application/json"
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_LAYOUT: Final = "1"
"""The number of the layout below, as the metadata table keeps it; a newer one is welcome if it has the same columns."""
_COLUMNS: Final = frozenset({"key", "value", "is_binary", "etag", "expiration_time", "update_time"})
_AT_ONCE: Final = 500
"""Keys in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteSettings:
    """The file and its habits."""

    connection_string: str = setting(
        "Path of the file, or a `file:` URI; `:memory:` for none. Empty: a file of the sidecars of this user.",
        default="",
        aliases=("url",),
        example="data.db",
    )
    timeout: timedelta = setting(
        "How long an operation may take, waiting for others included.",
        default="20s",
        aliases=("timeoutInSeconds",),
    )
    busy_timeout: timedelta = setting("How long to wait while another process writes.", default="2s")
    # The wire name is spelled out: DisableWAL has no camelCase of its own.
    disable_wal: bool = setting(
        "Keep no write-ahead log: slower, for file systems without shared memory.",
        name="disableWAL",
        default="false",
    )
    table_name: str = setting("The table of the values.", default="state")
    metadata_table_name: str = setting("The table that numbers the layout.", default="metadata")
    cleanup_interval: timedelta = setting(
        "How often rows that have ended are removed; 0 for never (they are hidden all the same).",
        default="0",
        aliases=("cleanupIntervalInSeconds",),
    )


@driver("state.sqlite", settings=SqliteSettings, title="SQLite", status="stable")
class SqliteStore(StateStore[SqliteSettings]):
    """Keeps every key as a row of one local SQLite file.

    Good for one host and for development; several sidecars may share the file, Dapr's among them. A write has returned
    when it is committed: it outlives the sidecar's death. What is asked at the same time is committed together.
    """

    features = Feature.ETAG | Feature.TRANSACTIONAL | Feature.TTL | Feature.KEYS_LIKE
    canonical_json = True
    stepped = True
    _file: SqliteFile | None = None

    async def open(self) -> None:
        settings = self.settings
        for name in (settings.table_name, settings.metadata_table_name):
            if not _NAME.fullmatch(name):
                raise Refused(f"invalid identifier: {name}")
        if settings.timeout < timedelta(seconds=1):
            raise Refused("invalid value for 'timeout': must be greater than 1s")
        self._sql = _Sql(settings.table_name, settings.metadata_table_name)
        place = self._place()
        file = SqliteFile(place, self._habits())
        await file.open()
        self._file = file
        if not place.read_only:
            await file.write(self._lay_out)
        await file.read(self._check_layout)
        if settings.cleanup_interval > timedelta():
            self.context.start(self._clean(), "cleanup")

    async def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            await file.close()

    async def get(
        self, key: str, *, consistency: Consistency = Consistency.ANY, metadata: Mapping[str, str] = NOTHING
    ) -> Entry | None:
        now = self._now()
        row = await self._open().read(lambda db: db.execute(self._sql.get, (key, now)).fetchone())
        return None if row is None else _entry(row)

    async def get_many(
        self,
        keys: Sequence[str],
        *,
        consistency: Consistency = Consistency.ANY,
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Entry | None | DriverError]:
        now = self._now()

        def work(db: sqlite3.Connection) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                for key, *row in db.execute(self._sql.get_many(len(some)), (*some, now)):
                    found[key] = row
            return found

        rows = await self._open().read(work)
        return [_entry(rows[key]) if key in rows else None for key in keys]

    async def put(self, put: Put) -> None:
        now = self._now()
        await self._open().write(lambda db: self._put(db, put, now))

    async def delete(self, delete: Delete) -> None:
        now = self._now()
        await self._open().write(lambda db: self._delete(db, delete, now))

    async def write_many(self, writes: Sequence[Write]) -> list[DriverError | None]:
        now = self._now()

        def work(db: sqlite3.Connection) -> list[DriverError | None]:
            return [self._attempt(db, write, now) for write in writes]

        return await self._open().write(work)

    async def transact(self, writes: Sequence[Write]) -> None:
        now = self._now()

        def work(db: sqlite3.Connection) -> None:
            for write in writes:
                self._apply(db, write, now)

        await self._open().write(work)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        now, last = self._now(), ""
        while True:
            page = await self._page(prefix, last, now)
            for last in page:
                yield last
            if len(page) < _AT_ONCE:
                return

    async def _page(self, prefix: str, last: str, now: str) -> list[str]:
        wanted = (last, prefix, prefix, now)
        return await self._open().read(lambda db: [key for (key,) in db.execute(self._sql.keys, wanted)])

    def _place(self) -> Place:
        text = self.settings.connection_string
        if text:
            return place_of(text)
        if self.context.data_home is None:
            raise Refused("connectionString is empty, and there is no writable folder for a file of ours")
        return Place(path=str(self.context.data_home / "state.db"))

    def _habits(self) -> Habits:
        settings = self.settings
        return Habits(
            busy_timeout=max(timedelta(), settings.busy_timeout),
            timeout=settings.timeout,
            wal=not settings.disable_wal,
        )

    def _open(self) -> SqliteFile:
        if self._file is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._file

    def _now(self) -> str:
        return _time(self.context.clock.now())

    def _lay_out(self, db: sqlite3.Connection) -> None:
        table, numbers = self.settings.table_name, self.settings.metadata_table_name
        db.execute(
            f"CREATE TABLE IF NOT EXISTS {numbers} (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
        )
        db.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, "
            "is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL, "
            "update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        db.execute(f"INSERT OR IGNORE INTO {numbers} (key, value) VALUES ('migrations', ?)", (_LAYOUT,))

    def _check_layout(self, db: sqlite3.Connection) -> None:
        table = self.settings.table_name
        lacking = _COLUMNS - {name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")}
        if lacking:
            raise Refused(
                f"table {table} of {self._place().path} is not a state store's: it lacks {', '.join(sorted(lacking))}"
            )

    async def _clean(self) -> None:
        interval = self.settings.cleanup_interval
        while True:
            await self.context.clock.sleep(interval.total_seconds())
            try:
                await self._open().write(lambda db: self._remove_ended(db, interval))
            except DriverError as error:
                self.context.log.warning("rows that have ended could not be removed: %s", error)

    # Below here everything runs on the file's own thread.

    def _remove_ended(self, db: sqlite3.Connection, interval: timedelta) -> None:
        """Once an interval, whoever of those that share the file comes first: the metadata table says when it was last done."""
        now = self._now()
        if db.execute(self._sql.turn, (now, interval.total_seconds() - 0.1)).rowcount > 0:
            db.execute(self._sql.clean, (now,))

    def _attempt(self, db: sqlite3.Connection, write: Write, now: str) -> DriverError | None:
        try:
            self._apply(db, write, now)
        except EtagMismatch as error:
            return error
        return None

    def _apply(self, db: sqlite3.Connection, write: Write, now: str) -> None:
        if isinstance(write, Put):
            self._put(db, write, now)
        else:
            self._delete(db, write, now)

    def _put(self, db: sqlite3.Connection, put: Put, now: str) -> None:
        self._check(db, put, now)
        plain = put.content_type == _JSON
        value = put.value.decode("utf-8", "replace") if plain else base64.b64encode(put.value).decode()
        ends = None if put.expires_at is None else _time(put.expires_at)
        db.execute(self._sql.put, (put.key, value, not plain, uuid4(), ends, now))

    def _delete(self, db: sqlite3.Connection, delete: Delete, now: str) -> None:
        self._check(db, delete, now)
        db.execute(self._sql.delete, (delete.key,))

    def _check(self, db: sqlite3.Connection, write: Write, now: str) -> None:
        if write.expect is Guard.NONE:
            return
        held = db.execute(self._sql.etag, (write.key, now)).fetchone()
        if write.expect is Guard.ABSENT:
            if held is not None:
                raise EtagMismatch
        elif held is None or held[0] != write.expect:
            raise EtagMismatch


class _Sql:
    """The statements of one table and the one that numbers it; their names were checked to be plain words."""

    def __init__(self, table: str, numbers: str) -> None:
        live = "(expiration_time IS NULL OR expiration_time > ?)"
        self._columns = "value, is_binary, etag, expiration_time"
        self._table, self._live = table, live
        self.get = f"SELECT {self._columns} FROM {table} WHERE key = ? AND {live}"
        self.etag = f"SELECT etag FROM {table} WHERE key = ? AND {live}"
        self.put = (
            f"INSERT OR REPLACE INTO {table} (key, value, is_binary, etag, expiration_time, update_time) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        self.delete = f"DELETE FROM {table} WHERE key = ?"
        self.turn = (
            f"INSERT INTO {numbers} (key, value) VALUES ('last-cleanup', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1 "
            "WHERE strftime('%s', ?1) - strftime('%s', value) > ?2"
        )
        self.clean = f"DELETE FROM {table} WHERE expiration_time IS NOT NULL AND expiration_time <= ?"
        self.keys = (
            f"SELECT key FROM {table} WHERE key > ? AND substr(key, 1, length(?)) = ? AND {live} "
            f"ORDER BY key LIMIT {_AT_ONCE}"
        )

    def get_many(self, count: int) -> str:
        marks = ",".join("?" * count)
        return f"SELECT key, {self._columns} FROM {self._table} WHERE key IN ({marks}) AND {self._live}"


def _time(seconds: float) -> str:
    """An instant as SQLite's own CURRENT_TIMESTAMP is written: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime(_TIME)


def _entry(row: Sequence[Any]) -> Entry:
    value, is_binary, etag, ends = row
    data = base64.b64decode(value) if is_binary else _bytes(value)
    expires = None if ends is None else _instant(ends)
    return Entry(data, etag, expires, "" if is_binary else _JSON)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _instant(text: str) -> float:
    return datetime.fromisoformat(text.removesuffix("Z")[:19]).replace(tzinfo=UTC).timestamp()
