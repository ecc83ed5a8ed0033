"""A process's membership in the broker: alive while the kernel holds its lock, whatever a clock says."""

import os
import sqlite3
import uuid
from collections.abc import Collection
from pathlib import Path

from pillion.drivers.clients.filelock import FileLock, is_locked
from pillion.drivers.clients.sqlite import SqliteFile
from pillion.drivers.pubsub.sqlite import tables
from pillion.drivers.pubsub.sqlite.tables import Listener


class Membership:
    """This process's row among the owners and the lock that proves it alive.

    The kernel frees the lock however the process ends; then anyone may release what it held. A process that is slow or
    stopped keeps its lock, hence its messages.
    """

    def __init__(self, file: SqliteFile, wake: str) -> None:
        self.id = uuid.uuid4().hex
        self._file = file
        self._wake = wake
        self._folder = Path(f"{file.path}.owners")
        self._lock = FileLock(self._folder / self.id)

    async def join(self, now: float) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock.take()
        pid = os.getpid()
        try:
            await self._file.write(lambda db: tables.add_owner(db, self.id, pid, self._wake, now))
        except BaseException:
            self._lock.free(remove=True)
            raise

    async def leave(self, now: float) -> None:
        try:
            await self._file.write(lambda db: tables.remove_owner(db, self.id, now, failed=False))
        finally:
            self._lock.free(remove=True)

    async def release_the_dead(self, now: float) -> list[Listener]:
        """Free what dead processes held. Their ids never come back, so looking and freeing need not be one step."""
        dead = await self._file.read(self._dead)
        if not dead:
            return []

        def release(db: sqlite3.Connection) -> list[Listener]:
            return [one for owner in dead for one in tables.remove_owner(db, owner, now, failed=True)]

        listeners = await self._file.write(release)
        for owner in dead:
            (self._folder / owner).unlink(missing_ok=True)
        return listeners

    async def release_strays(self, seats: Collection[int], now: float) -> list[Listener]:
        """Free what seats of ours hold that we no longer know: a close that the disk refused."""
        known = await self._file.read(lambda db: tables.seats_of(db, self.id))
        strays = [seat for seat in known if seat not in seats]
        if not strays:
            return []
        return await self._file.write(lambda db: tables.leave(db, strays, now, failed=False))

    def _dead(self, db: sqlite3.Connection) -> list[str]:
        others = [owner for owner in tables.owners(db) if owner != self.id]
        return [owner for owner in others if not is_locked(self._folder / owner)]
