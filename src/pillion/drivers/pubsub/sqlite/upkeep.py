"""Keeping the broker's file small: what nobody needs any more goes, in slices short enough for everybody else."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from pillion.drivers.clients.filelock import FileLock
from pillion.drivers.clients.sqlite import SqliteFile
from pillion.drivers.pubsub.sqlite import tables
from pillion.toolbox.lazily import dataclass

SLICE = 500

log = logging.getLogger("pillion.pubsub.sqlite")

_DONE_WITH = """SELECT m.id FROM messages m
    WHERE m.id <= coalesce((SELECT min(g.cursor) FROM groups g WHERE g.topic = m.topic), m.id)
      AND NOT EXISTS (SELECT 1 FROM groups g JOIN claims c ON c.group_id = g.id AND c.message_id = m.id
                      WHERE g.topic = m.topic)"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long messages are kept (seconds), and how large the file may be (bytes)."""

    retention: float
    max_size: int


class Janitor:
    """Deletes what every group is done with, once it is old or the file is crowded, and groups nobody has visited.

    Whoever takes the lock does the work; the others skip it. A message some group still waits for is never deleted: a file that is
    full of those refuses to take more.
    """

    def __init__(self, file: SqliteFile, limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self._lock = FileLock(Path(f"{file.path}.janitor"))
        self._turn = asyncio.Lock()

    async def clean(self, now: float) -> None:
        """One round, unless somebody else is at it."""
        async with self._turn:
            if not self._lock.take():
                return
            try:
                await self._clean(now)
            finally:
                self._lock.free()

    async def make_room(self, now: float) -> None:
        """One round, unless one has just made enough room."""
        if await self._is_crowded():
            await self.clean(now)

    async def _clean(self, now: float) -> None:
        horizon = now - self._limits.retention
        for topic, consumer in await self._file.write(lambda db: forget_groups(db, horizon)):
            log.info(
                "group %s of topic %s was not seen for the retention time and is forgotten", consumer, topic
            )
        await self._slices(lambda db: delete_old(db, horizon))
        if await self._is_crowded():
            goal = self._limits.max_size * 8 // 10
            await self._slices(lambda db: delete_done(db, goal))
        await self._slices(shrink)

    async def _is_crowded(self) -> bool:
        return await self._file.read(tables.used) > self._limits.max_size * 9 // 10

    async def _slices(self, work: Callable[[sqlite3.Connection], bool]) -> None:
        more = True
        while more:
            more = await self._file.write(work)


def forget_groups(db: sqlite3.Connection, horizon: float) -> list[tuple[str, str]]:
    gone = db.execute(
        """SELECT id, topic, consumer FROM groups
           WHERE seen < ? AND id NOT IN (SELECT group_id FROM subscriptions)""",
        (horizon,),
    ).fetchall()
    for group, _, _ in gone:
        db.execute("DELETE FROM claims WHERE group_id = ?", (group,))
        db.execute("DELETE FROM groups WHERE id = ?", (group,))
    return [(topic, consumer) for _, topic, consumer in gone]


def delete_old(db: sqlite3.Connection, horizon: float) -> bool:
    """One slice of what is past its time; whether there may be more."""
    old = f"{_DONE_WITH} AND m.published < ? ORDER BY m.id LIMIT {SLICE}"
    gone = db.execute(f"DELETE FROM messages WHERE id IN ({old})", (horizon,)).rowcount
    gone += db.execute(
        f"DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE at < ? LIMIT {SLICE})", (horizon,)
    ).rowcount
    return gone >= SLICE


def delete_done(db: sqlite3.Connection, goal: int) -> bool:
    """One slice of the oldest that every group is done with, while the file is above its goal."""
    if tables.used(db) <= goal:
        return False
    gone = db.execute(f"DELETE FROM messages WHERE id IN ({_DONE_WITH} ORDER BY m.id LIMIT {SLICE})").rowcount
    return gone > 0


def shrink(db: sqlite3.Connection) -> bool:
    """One slice of free pages given back to the file system; whether there are more."""
    db.execute(f"PRAGMA incremental_vacuum({SLICE})").fetchall()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(free) > SLICE
