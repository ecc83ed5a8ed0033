"""nameresolution.sqlite: one SQLite file in which the sidecars of a machine write where they are."""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from sqlite3 import Connection
from typing import TypeVar

from pillion.contracts.names import Announced, Announcement, Names
from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.sqlite import Habits, SqliteFile
from pillion.drivers.clients.sqlite_place import path_of
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.ids import uuid4
from pillion.toolbox.lazily import dataclass

R = TypeVar("R")
FILE = "names.db"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteNamesSettings:
    connection_string: str = setting(
        "Path of the database file. Without one it is the registry in Pillion's own folder.",
        default="",
        example="/var/run/names.db",
    )
    table_name: str = setting("Table of the sidecars.", default="hosts")
    metadata_table_name: str = setting("Table of the layout's version.", default="metadata")
    update_interval: timedelta = setting(
        "A sidecar that has not renewed its row for so long is taken for dead.", default="5s"
    )
    cleanup_interval: timedelta = setting("How often rows of the dead are removed.", default="1h")
    timeout: timedelta = setting("How long one look-up or renewal may take.", default="1s")
    busy_timeout: timedelta = setting("How long to wait for another writer.", default="800ms")
    disable_wal: bool = setting("Do without the write-ahead log.", default="false", name="disableWAL")


@driver("nameresolution.sqlite", settings=SqliteNamesSettings, title="SQLite", status="stable")
class SqliteNames(Names[SqliteNamesSettings]):
    """Finds the sidecars of one machine through a shared SQLite file, without any network.

    Each sidecar keeps one row and renews it; the row goes when the sidecar stops. An address that refused a connection is not given out
    again before its row has changed.
    """

    async def open(self) -> None:
        own = self.settings
        self._check()
        self._seen: dict[str, tuple[str, int]] = {}
        self._dropped: dict[str, tuple[str, int]] = {}
        if not own.connection_string and self.context.data_home is None:
            raise Refused("there is no folder for the registry: give connectionString")
        path = path_of(own.connection_string) if own.connection_string else str(self._home())
        self._file = SqliteFile(
            path,
            Habits(
                busy_timeout=own.busy_timeout,
                wal=not own.disable_wal,
                replace_corrupt=not own.connection_string,
            ),
        )
        await self._file.open()
        try:
            await self._file.write(self._lay_out)
        except BaseException:
            await self._file.close()
            raise

    async def close(self) -> None:
        await self.context.crew.close()
        if hasattr(self, "_file"):
            await self._file.close()

    async def resolve(self, app_id: str, namespace: str) -> Sequence[str]:
        """The addresses whose rows are fresh, in random order."""
        spaces = ("", "default") if namespace in ("", "default") else (namespace, namespace)
        now = int(self.context.clock.now())
        oldest = now - int(self.settings.update_interval.total_seconds())
        query = (
            f"SELECT address, registration_id, last_update FROM {self.settings.table_name} "
            "WHERE app_id = ? AND namespace IN (?, ?) AND last_update > ? ORDER BY random()"
        )
        rows = await self._timed(
            self._file.read(lambda db: db.execute(query, (app_id, *spaces, oldest)).fetchall())
        )
        return [address for address, *sign in rows if self._is_new(address, (sign[0], sign[1]))]

    async def announce(self, who: Announcement) -> Announced:
        """Write our row, and keep it fresh. Trouble is tried again with the next renewal."""
        row = _Row(self, who)
        try:
            await row.write()
        except DriverError as error:
            self.context.log.warning(
                "%s: this sidecar is not in the registry yet: %s", self._file.path, error
            )
        self.context.start(row.keep(), "renew")
        return row

    def drop(self, app_id: str, address: str) -> None:
        sign = self._seen.get(address)
        if sign is not None:
            self._dropped[address] = sign

    async def replace(self, registration: str, who: Announcement) -> None:
        """Take the address over from whoever had it."""
        text = (
            f"REPLACE INTO {self.settings.table_name} "
            "(registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, ?, ?)"
        )
        row = (registration, _address(who), who.app_id, who.namespace, int(self.context.clock.now()))
        await self._timed(self._file.write(lambda db: _count(db, text, *row)))

    async def renew(self, registration: str) -> bool:
        """Whether our row was there to be renewed."""
        text = f"UPDATE {self.settings.table_name} SET last_update = ? WHERE registration_id = ?"
        now = int(self.context.clock.now())
        return await self._timed(self._file.write(lambda db: _count(db, text, now, registration))) > 0

    async def remove(self, registration: str) -> None:
        """Our row goes."""
        text = f"DELETE FROM {self.settings.table_name} WHERE registration_id = ?"
        await self._timed(self._file.write(lambda db: _count(db, text, registration)))

    async def clean(self) -> None:
        """The rows of the dead go."""
        oldest = int(self.context.clock.now()) - int(self.settings.update_interval.total_seconds())
        text = f"DELETE FROM {self.settings.table_name} WHERE last_update < ?"
        await self._timed(self._file.write(lambda db: _count(db, text, oldest)))

    def _home(self) -> str:
        assert self.context.data_home is not None
        return str(self.context.data_home / FILE)

    def _check(self) -> None:
        own = self.settings
        for name in (own.table_name, own.metadata_table_name):
            if not _IDENTIFIER(name):
                raise Refused(f"invalid table name {name!r}: letters, digits and underscores only")
        if own.update_interval < timedelta(seconds=1) or own.update_interval <= own.timeout:
            raise Refused("updateInterval must be at least 1s and greater than timeout")

    def _is_new(self, address: str, sign: tuple[str, int]) -> bool:
        self._seen[address] = sign
        if self._dropped.get(address) == sign:
            return False
        self._dropped.pop(address, None)
        return True

    async def _timed(self, work: Awaitable[R]) -> R:
        try:
            async with asyncio.timeout(self.settings.timeout.total_seconds()):
                return await work
        except TimeoutError as error:
            raise Unavailable(f"{self._file.path} did not answer in time") from error

    def _lay_out(self, db: Connection) -> None:
        """Dapr's tables. Two sidecars that come first at once both find them afterwards."""
        hosts, metadata = self.settings.table_name, self.settings.metadata_table_name
        for statement in (
            f"CREATE TABLE IF NOT EXISTS {metadata} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {hosts} (registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, "
            "app_id TEXT NOT NULL, namespace TEXT NOT NULL, last_update INTEGER NOT NULL)",
            f"CREATE UNIQUE INDEX IF NOT EXISTS {hosts}_address_idx ON {hosts} (address)",
            f"CREATE INDEX IF NOT EXISTS {hosts}_last_update_idx ON {hosts} (last_update)",
            f"INSERT OR IGNORE INTO {metadata} (key, value) VALUES ('nr-migrations', '1')",
        ):
            db.execute(statement)


class _Row:
    """One sidecar's registration."""

    def __init__(self, names: SqliteNames, who: Announcement) -> None:
        self._names = names
        self._who = who
        self._id = uuid4()
        self._closed = False

    async def write(self) -> None:
        await self._names.replace(self._id, self._who)

    async def keep(self) -> None:
        """Renew until closed; a row that was lost is written again."""
        own, clock = self._names.settings, self._names.context.clock
        pause = (own.update_interval - own.timeout).total_seconds()
        clean_at = clock.monotonic() + own.cleanup_interval.total_seconds()
        while True:
            await clock.sleep(pause)
            if self._closed:
                return
            try:
                if not await self._names.renew(self._id):
                    await self.write()
                if clock.monotonic() >= clean_at:
                    clean_at = clock.monotonic() + own.cleanup_interval.total_seconds()
                    await self._names.clean()
            except DriverError as error:
                self._names.context.log.warning("the registration could not be renewed: %s", error)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._names.remove(self._id)
        except DriverError as error:
            self._names.context.log.debug("the registration could not be removed: %s", error)


def _count(db: Connection, text: str, *values: str | int) -> int:
    return db.execute(text, values).rowcount


def _address(who: Announcement) -> str:
    host = f"[{who.host}]" if ":" in who.host else who.host
    return f"{host}:{who.port}"
