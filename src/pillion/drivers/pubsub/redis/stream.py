"""One topic at rest: a stream, its group, and the commands that move messages through it. Dapr's layout, to the field."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError, ResponseError

from pillion.drivers.clients.redis_client import Client, in_our_words
from pillion.drivers.clients.redis_pipe import Lane, Word
from pillion.model.pubsub import Message, Publication

log = logging.getLogger("pillion.pubsub.redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """How a stream is kept short when something is added; a length comes before an age."""

    length: int = 0
    age: timedelta = timedelta()

    def words(self, now: float) -> list[Word]:
        if self.length > 0:
            return ["MAXLEN", "~", self.length]
        if self.age > timedelta():
            return ["MINID", "~", f"{int((now - self.age.total_seconds()) * 1000)}-1"]
        return []


def addition(message: Publication, trim: Trim, now: float) -> list[Word]:
    """The command that publishes a message: its bytes in `data`, its metadata as JSON in `metadata`."""
    metadata = json.dumps(dict(message.metadata), separators=(",", ":"), sort_keys=True)
    return ["XADD", message.topic, *trim.words(now), "*", "data", message.data, "metadata", metadata]


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

    def __init__(self, client: Client, lane: Lane, where: str, topic: str, group: str) -> None:
        self.topic = topic
        self._lane = lane
        self.group = group
        self._client = client
        self._where = where

    async def make_group(self) -> None:
        """The group, beginning at the oldest entry kept; as it is, where it exists."""
        with in_our_words(self._where):
            try:
                await self._client.xgroup_create(self.topic, self.group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def read(self, reader: Client, count: int, block: float) -> list[Message]:
        """New entries, ours from now on; waits up to `block` seconds for the first. Makes the group anew where it was lost."""
        with in_our_words(self._where):
            try:
                answer: Any = await reader.xreadgroup(
                    self.group, self.group, {self.topic: ">"}, count=count, block=int(block * 1000)
                )
            except ResponseError as error:
                await self._mended(error)
                return []
        return [self._message(id, fields, 1) for _, entries in answer or () for id, fields in entries]

    async def accept(self, ids: Sequence[str]) -> None:
        await self._lane.call("XACK", self.topic, self.group, *ids)

    async def hold(self, ids: Sequence[str]) -> None:
        """Say that we are still at these, so that nobody takes them for dead."""
        await self._reclaim(ids, idle=0)

    async def release(self, messages: Sequence[Message], idle: float) -> None:
        """Let others have these: as idle as the dead, and this delivery not counted."""
        for attempt in {message.attempt for message in messages}:
            ids = [message.id for message in messages if message.attempt == attempt]
            await self._reclaim(ids, idle=int(idle * 1000) + 1, count=max(0, attempt - 1))

    async def left_behind(self, idle: float, count: int) -> list[Pending]:
        """Entries nobody has spoken for in `idle` seconds."""
        with in_our_words(self._where):
            try:
                found: Any = await self._client.xpending_range(
                    self.topic, self.group, min="-", max="+", count=count, idle=max(1, int(idle * 1000))
                )
            except ResponseError as error:
                await self._mended(error)
                return []
        return [Pending(_text(one["message_id"]), int(one["times_delivered"])) for one in found]

    async def take(self, entries: Sequence[Pending], idle: float) -> list[Message]:
        """Those of the entries that are still idle so long, ours from now on. What was deleted meanwhile is acknowledged."""
        if not entries:
            return []
        ids: list[Any] = [entry.id for entry in entries]
        with in_our_words(self._where):
            try:
                answer: Any = await self._client.xclaim(
                    self.topic, self.group, self.group, int(idle * 1000), ids
                )
            except ResponseError as error:
                await self._mended(error)
                return []
        attempts = {entry.id: entry.deliveries + 1 for entry in entries}
        taken = [(_text(id), fields) for id, fields in answer if id is not None and fields is not None]
        if idle == 0 and len(taken) < len(ids):
            await self.accept([id for id in ids if id not in dict(taken)])
        return [self._message(id, fields, attempts[id]) for id, fields in taken]

    async def connection_id(self, reader: Client) -> int:
        """What the server calls the connection of a reader."""
        with in_our_words(self._where):
            return int(await reader.client_id())

    async def unblock(self, connection: int) -> None:
        """End the wait of a reader at the server; best effort."""
        with contextlib.suppress(RedisError, OSError):
            await self._client.execute_command("CLIENT UNBLOCK", connection)  # type: ignore[no-untyped-call]

    async def _reclaim(self, ids: Sequence[str], *, idle: int, count: int | None = None) -> None:
        if not ids:
            return
        with in_our_words(self._where):
            try:
                await self._client.xclaim(
                    self.topic,
                    self.group,
                    self.group,
                    0,
                    list(ids),
                    idle=idle,
                    retrycount=count,
                    justid=True,
                )
            except ResponseError as error:
                await self._mended(error)

    async def _mended(self, error: ResponseError) -> None:
        """After a loss of data the group is gone: begin again with what the server still has."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
            raise error
        if str(error).startswith("NOGROUP"):
            log.warning("%s has lost group %s of %s: it is made anew", self._where, self.group, self.topic)
            await self.make_group()

    def _message(self, id: str | bytes, fields: Mapping[bytes, bytes], attempt: int) -> Message:
        return Message(
            topic=self.topic,
            data=fields.get(b"data", b""),
            metadata=_metadata(fields.get(b"metadata")),
            id=_text(id),
            attempt=attempt,
        )


def _metadata(text: bytes | None) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        log.warning("a message's metadata is not JSON: it is delivered without")
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _text(id: str | bytes) -> str:
    return id.decode() if isinstance(id, bytes) else id
