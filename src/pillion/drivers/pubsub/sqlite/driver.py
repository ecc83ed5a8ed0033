"""pubsub.sqlite: a durable broker in one file, shared by every sidecar of the machine."""

import asyncio
import itertools
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from pillion.contracts.pubsub import Deliver, Feature, PubSub, Subscription
from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.sqlite import Habits, SqliteFile
from pillion.drivers.clients.sqlite_place import MEMORY, path_of
from pillion.drivers.pubsub.sqlite import tables
from pillion.drivers.pubsub.sqlite.bell import ALL, Bell
from pillion.drivers.pubsub.sqlite.consumer import Consumer
from pillion.drivers.pubsub.sqlite.membership import Membership
from pillion.drivers.pubsub.sqlite.tables import Listener, Seat
from pillion.drivers.pubsub.sqlite.upkeep import Janitor, Limits
from pillion.model.pubsub import Publication, Topic
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox import quantities
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

GLANCE = 0.5
"""Seconds between two looks at whether another process has written, in case no bell was heard."""
LEASE = 120
CLEANING = 60
"""Glances between two marks of being seen, and between two visits of the janitor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlitePubSubSettings:
    connection_string: str = setting(
        "Path of the broker's file, shared by all sidecars that are to hear each other. Empty: `broker.db` in Pillion's home.",
        default="",
        aliases=("path",),
        example="/var/lib/pillion/broker.db",
    )
    consumer_id: str = setting(
        "The consumer group: each message goes to one member of it. The app id where it is not given.",
        name="consumerID",
        default="",
    )
    retention: timedelta = setting(
        "How long messages, and groups nobody listens for, are kept.", default="168h"
    )
    max_size: str = setting(
        "How much the file may hold (such as 512Mi); past that, publishing is refused until there is room.",
        default="1Gi",
    )
    durability: Literal["normal", "full"] = setting(
        "`normal` survives the death of any process; `full` also a power cut, at one disk flush per commit.",
        default="normal",
    )
    processing_timeout: timedelta = setting(
        "Hand a message to another consumer when its handler takes longer than this, alive or not. 0: never.",
        default="0s",
    )
    max_deliveries: int = setting(
        "Failed deliveries after which a message goes to the dead table. 0: it is tried for ever.",
        default="0",
    )
    back_off_initial_interval: timedelta = setting(
        "The wait before a failed message is tried again; it doubles each time.", default="100ms"
    )
    back_off_max_interval: timedelta = setting("The longest wait between two tries.", default="30s")


@driver("pubsub.sqlite", settings=SqlitePubSubSettings, title="SQLite", status="stable")
class SqlitePubSub(PubSub[SqlitePubSubSettings]):
    """Keeps messages in one local SQLite file, which all sidecars of a machine share without a server.

    Every consumer group gets every message at least once, whichever process dies; the members of a group compete. A failed
    message comes back after 0.1 s, then twice as late each time up to 30 s. Messages with the same `partitionKey` are delivered
    one after the other in the order they were published. A new group begins at the oldest message kept.
    """

    features = Feature.MESSAGE_TTL | Feature.REDELIVERY | Feature.ORDER_KEY
    stepped = True

    _file: SqliteFile | None = None

    async def open(self) -> None:
        self._size = self._limits()
        file = SqliteFile(self._path(), self._habits())
        self._bell = Bell(self._rung)
        self._consumers: dict[int, Consumer] = {}
        self._to_ring: set[Listener] = set()
        self._crew = Crew(self.context.name)
        self._version = -1
        self._well = True
        try:
            await file.open()
            await self._bell.open()
            self._member = Membership(file, self._bell.address)
            await self._member.join(self.context.clock.now())
        except BaseException:
            self._bell.close()
            await file.close()
            raise
        self._file = file
        self._janitor = Janitor(file, self._size)
        self._crew.start(self._watch(), "watch")

    async def close(self) -> None:
        file = self._file
        if file is None:
            return
        for consumer in list(self._consumers.values()):
            await consumer.close()
        self._file = None
        await self._crew.close()
        try:
            await self._member.leave(self.context.clock.now())
        except DriverError as error:
            self.context.log.warning("%s: the next to look cleans up after us: %s", self.context.name, error)
        self._bell.close()
        await file.close()

    async def publish(self, message: Publication) -> None:
        await self._publish((message,))

    async def publish_many(self, messages: Sequence[Publication]) -> list[DriverError | None]:
        try:
            await self._publish(messages)
        except DriverError as error:
            return [error] * len(messages)
        return [None] * len(messages)

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        file, now = self._opened(), self.context.clock.now()
        group_name = self.settings.consumer_id or self.context.app_id
        owner = self._member.id
        id, group = await file.write(lambda db: tables.join(db, owner, topic, group_name, now))
        seat = Seat(id, group, self.settings.max_deliveries)
        consumer = Consumer(file, seat, topic, deliver, self._backoff(), self.context.clock)
        consumer.left = self._left
        consumer.released = self._ring
        consumer.health = self._told
        self._consumers[id] = consumer
        consumer.start()
        return consumer

    async def _publish(self, messages: Sequence[Publication]) -> None:
        now, limit = self.context.clock.now(), self._size.max_size
        file = self._opened()
        try:
            listeners = await file.write(lambda db: tables.publish(db, messages, now, limit))
        except tables.Full:
            await self._janitor.make_room(now)
            listeners = await file.write(lambda db: tables.publish(db, messages, now, limit))
        self._ring(listeners)

    def _ring(self, listeners: Sequence[Listener]) -> None:
        """Ring each place once for all that was committed together."""
        if listeners and not self._to_ring:
            asyncio.get_running_loop().call_soon(self._ring_now)
        self._to_ring.update(listeners)

    def _ring_now(self) -> None:
        listeners, self._to_ring = self._to_ring, set()
        for address, group in listeners:
            self._bell.ring(address, str(group))

    def _rung(self, what: str) -> None:
        for consumer in self._consumers.values():
            if what in (ALL, str(consumer.seat.group)):
                consumer.look()

    def _left(self, consumer: Consumer) -> None:
        self._consumers.pop(consumer.seat.id, None)

    def _told(self, well: bool, reason: str) -> None:
        if well != self._well:
            self._well = well
            self.context.health(well, reason)

    async def _watch(self) -> None:
        """What nobody rings for: a lost bell, a dead process, old messages. One glance costs some microseconds."""
        glances = itertools.count(1)
        while True:
            await self.context.clock.sleep(GLANCE)
            try:
                await self._glance(next(glances))
            except DriverError as error:
                self._told(False, str(error))

    async def _glance(self, number: int) -> None:
        version = await self._opened().read(_data_version)
        if version != self._version:
            self._version = version
            self._rung(ALL)
        if number % 2 == 0 and self._consumers:
            await self._release()
        if number % LEASE == 1:
            await self._opened().write(self._mark_seen)
        if number % CLEANING == CLEANING // 2:
            await (
                self._release()
            )  # also where nobody subscribes: a dead seat would keep its group's messages for ever
            await self._janitor.clean(self.context.clock.now())
        self._told(True, "")

    async def _release(self) -> None:
        now = self.context.clock.now()
        listeners = await self._member.release_the_dead(now)
        listeners += await self._member.release_strays(self._consumers.keys(), now)
        timeout = self.settings.processing_timeout.total_seconds()
        if timeout > 0:
            groups = {consumer.seat.group for consumer in self._consumers.values()}
            listeners += await self._opened().write(
                lambda db: tables.release_overdue(db, groups, now - timeout, now)
            )
        self._ring(listeners)

    def _mark_seen(self, db: sqlite3.Connection) -> None:
        tables.mark_seen(db, self._member.id, self.context.clock.now())

    def _opened(self) -> SqliteFile:
        if self._file is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._file

    def _habits(self) -> Habits:
        return Habits(
            durability=self.settings.durability,
            migrations=tables.LAYOUT,
            incremental_vacuum=True,
            replace_corrupt=True,
        )

    def _path(self) -> str:
        given = path_of(self.settings.connection_string)
        if given == MEMORY:
            raise Refused(
                "the broker's file is shared by processes: `:memory:` cannot be; use pubsub.in-memory"
            )
        if given:
            return given
        if self.context.data_home is None:
            raise Refused("there is no writable folder for the broker's file: set connectionString")
        return str(self.context.data_home / "broker.db")

    def _limits(self) -> Limits:
        try:
            size = quantities.parse(self.settings.max_size)
        except quantities.QuantityError as error:
            raise Refused(f"maxSize: {error}") from error
        return Limits(self.settings.retention.total_seconds(), size)

    def _backoff(self) -> Backoff:
        return Backoff(
            self.settings.back_off_initial_interval, self.settings.back_off_max_interval, jitter=0.2
        )


def _data_version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA data_version").fetchone()
    return int(version)
