"""The broker's tables, and every statement made of them. Plain functions of a connection inside a transaction.

`claims` holds only what is out or has failed, so that publishing is one insert however many groups listen:

| claim            | subscription | visible_at                |
|------------------|--------------|---------------------------|
| out              | whose it is  | –                         |
| failed, released | NULL         | when it may be had        |
| behind its key   | NULL         | NULL, until the key is free |
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from pillion.contracts.words import Unavailable
from pillion.drivers.clients.sqlite import Migration
from pillion.model.pubsub import Message, Publication, Topic, Verdict
from pillion.toolbox.lazily import dataclass

LAYOUT: Final[Sequence[Migration]] = (
    (
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, data BLOB NOT NULL, content_type TEXT NOT NULL,
            metadata TEXT NOT NULL, order_key TEXT NOT NULL, published REAL NOT NULL, expires REAL)""",
        "CREATE INDEX messages_of_topic ON messages (topic, id)",
        """CREATE TABLE groups (
            id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, consumer TEXT NOT NULL, cursor INTEGER NOT NULL,
            seen REAL NOT NULL, UNIQUE (topic, consumer))""",
        "CREATE TABLE owners (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, wake TEXT NOT NULL, seen REAL NOT NULL)",
        """CREATE TABLE subscriptions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, group_id INTEGER NOT NULL)""",
        "CREATE INDEX subscriptions_of_group ON subscriptions (group_id)",
        """CREATE TABLE claims (
            group_id INTEGER NOT NULL, message_id INTEGER NOT NULL, subscription INTEGER, attempts INTEGER NOT NULL,
            visible_at REAL, claimed_at REAL, order_key TEXT NOT NULL, PRIMARY KEY (group_id, message_id)) WITHOUT ROWID""",
        """CREATE INDEX claims_to_have ON claims (group_id, visible_at)
            WHERE subscription IS NULL AND visible_at IS NOT NULL""",
        "CREATE INDEX claims_of_subscription ON claims (subscription) WHERE subscription IS NOT NULL",
        "CREATE INDEX claims_of_key ON claims (group_id, order_key, message_id) WHERE order_key <> ''",
        """CREATE TABLE dead (
            id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL, topic TEXT NOT NULL, consumer TEXT NOT NULL,
            data BLOB NOT NULL, content_type TEXT NOT NULL, metadata TEXT NOT NULL, order_key TEXT NOT NULL,
            published REAL NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL)""",
    ),
)

PARKED: Final = 1024
"""Messages of a group that may wait behind their keys before it takes no new ones."""
BYTES: Final = 8 * 1024 * 1024
"""A turn claims no more once it carries so much."""

Listener = tuple[str, int]
"""Where to ring, and for which group."""


class Full(Unavailable):
    """The file is at its limit, and what is in it is still wanted."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One message that is ours until it is settled. `attempts` counts the deliveries that failed before this one."""

    id: int
    attempts: int
    order_key: str
    message: Message


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a claimed message; `due` is when one that was not accepted may be had again."""

    claimed: Claimed
    verdict: Verdict
    due: float


@dataclass(frozen=True, slots=True)
class Seat:
    """A subscription's place: its own row, its group's, and how often the group lets a message fail (0: for ever)."""

    id: int
    group: int
    max_deliveries: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one visit to the file brought.

    `due` is when the next failed message may be had; `more` that there is more to claim at once; `listeners` who may have what
    was released.
    """

    claimed: list[Claimed]
    due: float | None
    more: bool
    listeners: list[Listener]


# Publishing.


def publish(
    db: sqlite3.Connection, messages: Sequence[Publication], now: float, max_size: int
) -> list[Listener]:
    """Add all, and say who listens. Refused when the file is full: nothing is ever dropped to make room."""
    if used(db) >= max_size:
        raise Full(
            f"the broker's file holds {max_size} bytes of messages that are still wanted, which is its limit (maxSize)"
        )
    db.executemany(
        "INSERT INTO messages (topic, data, content_type, metadata, order_key, published, expires) VALUES (?,?,?,?,?,?,?)",
        [
            (m.topic, m.data, m.content_type, json.dumps(dict(m.metadata)), m.order_key, now, m.expires_at)
            for m in messages
        ],
    )
    return [listener for topic in {m.topic for m in messages} for listener in listeners_of_topic(db, topic)]


def used(db: sqlite3.Connection) -> int:
    """Bytes in use, without the pages that deleted rows have left free."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages - free) * int(size)


def listeners_of_topic(db: sqlite3.Connection, topic: str) -> list[Listener]:
    return db.execute(
        """SELECT DISTINCT o.wake, s.group_id FROM groups g JOIN subscriptions s ON s.group_id = g.id
           JOIN owners o ON o.id = s.owner WHERE g.topic = ?""",
        (topic,),
    ).fetchall()


def listeners_of_groups(db: sqlite3.Connection, groups: Iterable[int]) -> list[Listener]:
    found: list[Listener] = []
    for group in groups:
        found += db.execute(
            """SELECT DISTINCT o.wake, s.group_id FROM subscriptions s JOIN owners o ON o.id = s.owner
               WHERE s.group_id = ?""",
            (group,),
        ).fetchall()
    return found


# Coming and going.


def join(db: sqlite3.Connection, owner: str, topic: Topic, consumer: str, now: float) -> tuple[int, int]:
    """Take a seat; a group that is new begins at the oldest message kept. Returns the seat's id and the group's."""
    db.execute(
        """INSERT INTO groups (topic, consumer, cursor, seen) VALUES (?, ?, 0, ?)
           ON CONFLICT (topic, consumer) DO UPDATE SET seen = excluded.seen""",
        (topic.name, consumer, now),
    )
    (group,) = db.execute(
        "SELECT id FROM groups WHERE topic = ? AND consumer = ?", (topic.name, consumer)
    ).fetchone()
    seat = db.execute("INSERT INTO subscriptions (owner, group_id) VALUES (?, ?)", (owner, group)).lastrowid
    return int(seat or 0), int(group)


def leave(db: sqlite3.Connection, seats: Iterable[int], now: float, *, failed: bool) -> list[Listener]:
    """Give up seats and release what they hold. `failed` counts the deliveries: a message that kills its consumer is seen."""
    groups: set[int] = set()
    for seat in seats:
        held = db.execute("SELECT DISTINCT group_id FROM claims WHERE subscription = ?", (seat,)).fetchall()
        groups.update(group for (group,) in held)
        db.execute(
            "UPDATE claims SET subscription = NULL, visible_at = ?, attempts = attempts + ? WHERE subscription = ?",
            (now, int(failed), seat),
        )
        db.execute("DELETE FROM subscriptions WHERE id = ?", (seat,))
    return listeners_of_groups(db, groups)


def seats_of(db: sqlite3.Connection, owner: str) -> list[int]:
    return [seat for (seat,) in db.execute("SELECT id FROM subscriptions WHERE owner = ?", (owner,))]


def add_owner(db: sqlite3.Connection, owner: str, pid: int, wake: str, now: float) -> None:
    db.execute(
        "INSERT OR REPLACE INTO owners (id, pid, wake, seen) VALUES (?, ?, ?, ?)", (owner, pid, wake, now)
    )


def remove_owner(db: sqlite3.Connection, owner: str, now: float, *, failed: bool) -> list[Listener]:
    listeners = leave(db, seats_of(db, owner), now, failed=failed)
    db.execute("DELETE FROM owners WHERE id = ?", (owner,))
    return listeners


def owners(db: sqlite3.Connection) -> list[str]:
    return [owner for (owner,) in db.execute("SELECT id FROM owners")]


def mark_seen(db: sqlite3.Connection, owner: str, now: float) -> None:
    db.execute("UPDATE owners SET seen = ? WHERE id = ?", (now, owner))
    db.execute(
        "UPDATE groups SET seen = ? WHERE id IN (SELECT group_id FROM subscriptions WHERE owner = ?)",
        (now, owner),
    )


def release_overdue(
    db: sqlite3.Connection, groups: Iterable[int], before: float, now: float
) -> list[Listener]:
    """Release what has been out since before `before`, whoever has it: only where a processing timeout is set."""
    late = []
    for group in groups:
        freed = db.execute(
            """UPDATE claims SET subscription = NULL, visible_at = ?, attempts = attempts + 1
               WHERE group_id = ? AND subscription IS NOT NULL AND claimed_at < ?""",
            (now, group, before),
        ).rowcount
        late += [group] if freed else []
    return listeners_of_groups(db, late)


# Consuming.


def turn(db: sqlite3.Connection, seat: Seat, settled: Sequence[Settled], free: int, now: float) -> Turn:
    """Settle what was decided, then claim up to `free` messages: failed ones that are due before new ones."""
    for done in settled:
        _settle(db, seat, done, now)
    claimed = _claim_due(db, seat, free, now) if free > 0 else []
    more = False
    if len(claimed) < free:
        new, more = _claim_new(db, seat, free - len(claimed), now)
        claimed += new
    # Others must hear of what failed or was freed, for their own alarms: this seat may be full, or gone, when it is due.
    others = any(done.verdict is not Verdict.ACK for done in settled) or (settled and free <= 0)
    listeners = listeners_of_groups(db, [seat.group]) if others else []
    return Turn(claimed, _next_due(db, seat.group), more, listeners)


def _next_due(db: sqlite3.Connection, group: int) -> float | None:
    (due,) = db.execute(
        "SELECT min(visible_at) FROM claims WHERE group_id = ? AND subscription IS NULL AND visible_at IS NOT NULL",
        (group,),
    ).fetchone()
    return None if due is None else float(due)


def _settle(db: sqlite3.Connection, seat: Seat, done: Settled, now: float) -> None:
    claimed = done.claimed
    if done.verdict is Verdict.ACK:
        _forget(db, seat.group, claimed.id, claimed.order_key)
        return
    failed = done.verdict is Verdict.RETRY
    if failed and 0 < seat.max_deliveries <= claimed.attempts + 1 and _is_ours(db, seat, claimed.id):
        _bury(db, seat.group, claimed.id, claimed.order_key, claimed.attempts + 1, now)
        return
    db.execute(
        """UPDATE claims SET subscription = NULL, visible_at = ?, attempts = attempts + ?
           WHERE group_id = ? AND message_id = ? AND subscription = ?""",
        (done.due, int(failed), seat.group, claimed.id, seat.id),
    )


def _is_ours(db: sqlite3.Connection, seat: Seat, message: int) -> bool:
    held = "SELECT 1 FROM claims WHERE group_id = ? AND message_id = ? AND subscription = ?"
    return db.execute(held, (seat.group, message, seat.id)).fetchone() is not None


def _forget(db: sqlite3.Connection, group: int, message: int, order_key: str) -> None:
    """The group is done with a message; the next of its key may come."""
    db.execute("DELETE FROM claims WHERE group_id = ? AND message_id = ?", (group, message))
    if order_key:
        db.execute(
            """UPDATE claims SET visible_at = 0 WHERE group_id = ?1 AND subscription IS NULL AND visible_at IS NULL
               AND message_id = (SELECT min(message_id) FROM claims WHERE group_id = ?1 AND order_key = ?2 AND order_key <> '')""",
            (group, order_key),
        )


def _bury(
    db: sqlite3.Connection, group: int, message: int, order_key: str, attempts: int, now: float
) -> None:
    db.execute(
        """INSERT INTO dead (message_id, topic, consumer, data, content_type, metadata, order_key, published, attempts,
                             reason, at)
           SELECT m.id, m.topic, g.consumer, m.data, m.content_type, m.metadata, m.order_key, m.published, ?, ?, ?
           FROM messages m JOIN groups g ON g.id = ? WHERE m.id = ?""",
        (attempts, "maxDeliveries", now, group, message),
    )
    _forget(db, group, message, order_key)


def _claim_due(db: sqlite3.Connection, seat: Seat, free: int, now: float) -> list[Claimed]:
    rows = db.execute(
        f"""SELECT m.{_COLUMNS}, c.attempts FROM claims c JOIN messages m ON m.id = c.message_id
            WHERE c.group_id = ? AND c.subscription IS NULL AND c.visible_at IS NOT NULL AND c.visible_at <= ?
            ORDER BY c.visible_at, c.message_id LIMIT ?""",
        (seat.group, now, free),
    ).fetchall()
    claimed = []
    for row in rows:
        message = _claimed(row[:-2], row[-1])
        if _is_past(row[-2], now):
            _forget(db, seat.group, message.id, message.order_key)
        elif 0 < seat.max_deliveries <= message.attempts:
            _bury(db, seat.group, message.id, message.order_key, message.attempts, now)
        else:
            claimed.append(message)
    db.executemany(
        """UPDATE claims SET subscription = ?, visible_at = NULL, claimed_at = ?
           WHERE group_id = ? AND message_id = ?""",
        [(seat.id, now, seat.group, message.id) for message in claimed],
    )
    return claimed


def _claim_new(db: sqlite3.Connection, seat: Seat, free: int, now: float) -> tuple[list[Claimed], bool]:
    """Walk on from the cursor until the slots are filled; and whether the walk was cut short before that."""
    place = db.execute("SELECT topic, cursor FROM groups WHERE id = ?", (seat.group,)).fetchone()
    if place is None:
        return [], False
    topic, start = place
    walk = _Walk(db, seat, now, start)
    rows = db.execute(
        f"SELECT m.{_COLUMNS} FROM messages m WHERE m.topic = ? AND m.id > ? ORDER BY m.id LIMIT ?",
        (topic, start, free + PARKED),
    )
    steps = 0
    for row in rows:
        steps += 1
        if not walk.step(_claimed(row[:-1], 0), row[-1]) or len(walk.claimed) == free or walk.carried > BYTES:
            break
    db.executemany("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", walk.claims)
    if walk.reached != start:
        db.execute("UPDATE groups SET cursor = ? WHERE id = ?", (walk.reached, seat.group))
    return walk.claimed, walk.carried > BYTES or steps == free + PARKED


class _Walk:
    """One walk past the cursor: what it claims, what it parks because its key is busy, and where it got to."""

    def __init__(self, db: sqlite3.Connection, seat: Seat, now: float, start: int) -> None:
        self.claimed: list[Claimed] = []
        self.claims: list[tuple[object, ...]] = []
        self.reached = start
        self.carried = 0
        self._db = db
        self._seat = seat
        self._now = now
        self._busy: set[str] = set()
        self._parked: int | None = None

    def step(self, message: Claimed, expires: float | None) -> bool:
        """Take one message on; False when the walk must end before it."""
        if not _is_past(expires, self._now):
            key = message.order_key
            if key and (key in self._busy or _is_busy(self._db, self._seat.group, key)):
                if not self._park(message):
                    return False
            else:
                self.claims.append((self._seat.group, message.id, self._seat.id, 0, None, self._now, key))
                self.claimed.append(message)
                self.carried += len(message.message.data)
            self._busy.add(key)
        self.reached = message.id
        return True

    def _park(self, message: Claimed) -> bool:
        if self._parked is None:
            self._parked = _parked(self._db, self._seat.group)
        if self._parked >= PARKED:
            return False
        self._parked += 1
        self.claims.append((self._seat.group, message.id, None, 0, None, None, message.order_key))
        return True


_COLUMNS: Final = "id, m.topic, m.data, m.content_type, m.metadata, m.order_key, m.expires"


def _claimed(row: Sequence[object], attempts: int) -> Claimed:
    id, topic, data, content_type, metadata, order_key = row
    message = Message(
        topic=str(topic),
        data=bytes(data),  # type: ignore[call-overload]
        content_type=str(content_type),
        metadata=json.loads(str(metadata)),
        id=str(id),
        attempt=attempts + 1,
    )
    return Claimed(int(str(id)), attempts, str(order_key), message)


def _is_past(expires: float | None, now: float) -> bool:
    return expires is not None and expires <= now


def _is_busy(db: sqlite3.Connection, group: int, key: str) -> bool:
    return bool(
        db.execute(
            "SELECT 1 FROM claims WHERE group_id = ? AND order_key = ? AND order_key <> '' LIMIT 1",
            (group, key),
        ).fetchone()
    )


def _parked(db: sqlite3.Connection, group: int) -> int:
    (count,) = db.execute(
        """SELECT count(*) FROM claims
           WHERE group_id = ? AND order_key <> '' AND subscription IS NULL AND visible_at IS NULL""",
        (group,),
    ).fetchone()
    return int(count)
