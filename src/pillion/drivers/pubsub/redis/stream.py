"""One topic at rest: a stream, its group, and the commands that move messages through it. Dapr's layout, to the field."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pillion.contracts.words import DriverError, Refused
from pillion.drivers.clients.redis_lane import Lane
from pillion.drivers.clients.redis_wire import Word
from pillion.model.pubsub import Message, Publication
from pillion.model.state import NOTHING
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass

log = logging.getLogger("pillion.pubsub.redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """How a stream is kept short when something is added; a length comes before an age."""

    length: int = 0
    age: timedelta = timedelta()

    def words(self, clock: Clock) -> Sequence[Word]:
        if self.length > 0:
            return ("MAXLEN", "~", self.length)
        if self.age > timedelta():
            return ("MINID", "~", f"{int((clock.now() - self.age.total_seconds()) * 1000)}-1")
        return ()


_ENCODED: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def addition(message: Publication, trim: Sequence[Word]) -> tuple[Word, ...]:
    """The command that publishes a message: its bytes in `data`, its metadata as JSON in `metadata`."""
    metadata = _ENCODED(dict(message.metadata)) if message.metadata else b"{}"
    return (b"XADD", message.topic, *trim, b"*", b"data", message.data, b"metadata", metadata)


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry the group has handed out and nobody has acknowledged."""

    id: str
    deliveries: int


class Stream:
    """A topic as one consumer group sees it.

    The group's one consumer is named like the group, as Dapr's sidecars name theirs: which process holds an entry is told by how long it
    has been idle, never by a name. Every call raises Unavailable or Refused.
    """

    def __init__(self, lane: Lane, topic: str, group: str) -> None:
        self.topic = topic
        self.group = group
        self._lane = lane

    async def make_group(self) -> None:
        """The group, beginning at the oldest entry kept; as it is, where it exists."""
        try:
            await self._lane.call("XGROUP", "CREATE", self.topic, self.group, "0", "MKSTREAM")
        except Refused as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def read(self, reader: Lane, count: int, block: float) -> list[Message]:
        """New entries, ours from now on; waits up to `block` seconds for the first. Makes the group anew where it was lost."""
        waits = ("COUNT", count, "BLOCK", int(block * 1000))
        try:
            answer = await reader.call(
                b"XREADGROUP", b"GROUP", self.group, self.group, *waits, b"STREAMS", self.topic, b">"
            )
        except Refused as error:
            await self._mended(error)
            return []
        return [self._message(id, fields, 1) for _, entries in answer or () for id, fields in entries]

    async def accept(self, ids: Sequence[str]) -> None:
        await self._lane.call(b"XACK", self.topic, self.group, *ids)

    async def hold(self, ids: Sequence[str]) -> None:
        """Say that we are still at these, so that nobody takes them for dead."""
        await self._reclaim(ids, "IDLE", 0)

    async def release(self, messages: Sequence[Message], idle: float) -> None:
        """Let others have these: as idle as the dead, and this delivery not counted."""
        for attempt in {message.attempt for message in messages}:
            ids = [message.id for message in messages if message.attempt == attempt]
            await self._reclaim(ids, "IDLE", int(idle * 1000) + 1, "RETRYCOUNT", max(0, attempt - 1))

    async def left_behind(self, idle: float, count: int) -> list[Pending]:
        """Entries nobody has spoken for in `idle` seconds."""
        least = max(1, int(idle * 1000))
        try:
            found = await self._lane.call("XPENDING", self.topic, self.group, "IDLE", least, "-", "+", count)
        except Refused as error:
            await self._mended(error)
            return []
        return [Pending(id.decode(), deliveries) for id, _, _, deliveries in found]

    async def take(self, entries: Sequence[Pending], idle: float) -> list[Message]:
        """Those of the entries that are still idle so long, ours from now on. What was deleted meanwhile is acknowledged."""
        if not entries:
            return []
        ids = [entry.id for entry in entries]
        try:
            answer = await self._lane.call(
                "XCLAIM", self.topic, self.group, self.group, int(idle * 1000), *ids
            )
        except Refused as error:
            await self._mended(error)
            return []
        attempts = {entry.id: entry.deliveries + 1 for entry in entries}
        taken = {each[0].decode(): each[1] for each in answer if each is not None and each[1] is not None}
        if idle == 0 and len(taken) < len(ids):
            await self.accept([id for id in ids if id not in taken])
        return [self._message(id, fields, attempts[id]) for id, fields in taken.items()]

    async def connection_id(self, reader: Lane) -> int:
        """What the server calls the connection of a reader."""
        return int(await reader.at(self.topic).call("CLIENT", "ID"))

    async def unblock(self, connection: int) -> None:
        """End the wait of a reader at the server; best effort."""
        with contextlib.suppress(DriverError):
            await self._lane.at(self.topic).call("CLIENT", "UNBLOCK", connection)

    async def _reclaim(self, ids: Sequence[str], *how: Word) -> None:
        if not ids:
            return
        try:
            await self._lane.call("XCLAIM", self.topic, self.group, self.group, 0, *ids, *how, "JUSTID")
        except Refused as error:
            await self._mended(error)

    async def _mended(self, error: Refused) -> None:
        """After a loss of data the group is gone: begin again with what the server still has."""
        said = str(error)
        if "UNBLOCKED" in said:
            return
        if "NOGROUP" not in said:
            raise error
        log.warning("group %s of %s is lost and is made anew: %s", self.group, self.topic, said)
        await self.make_group()

    def _message(self, id: bytes | str, fields: Sequence[bytes], attempt: int) -> Message:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        return Message(
            topic=self.topic,
            data=named.get(b"data", b""),
            metadata=_metadata(named.get(b"metadata")),
            id=id.decode() if isinstance(id, bytes) else id,
            attempt=attempt,
        )


def _metadata(text: bytes | None) -> Mapping[str, str]:
    if not text or text == b"{}":
        return NOTHING
    try:
        found: Any = json.loads(text)
    except ValueError:
        log.warning("a message's metadata is not JSON: it is delivered without")
        return NOTHING
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else NOTHING
